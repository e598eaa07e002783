//! A failover that was asked for, there and back.

use super::changes::wait_whole;
use crate::resp::Reply;
use crate::support::wait;
use crate::twins::{Proto, Twins};

pub fn run(t: &mut Twins) {
    for (proto, to) in [(Proto::Resp2, "<r1port>"), (Proto::Resp3, "<mport>")] {
        t.pass(proto);
        t.run(START);
        t.wait("the failover to end", |side| {
            let port = side.master_field("mymaster", "port");
            wait::expect_eq(port, side.fill(to))?;
            let addr = side.ask("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
            wait::expect_eq(addr.items()[1].text(), side.fill(to))
        });
        t.run("message> sub");
        wait_whole(t);
        // At the peer too: in the oracle it would demote a node that it has held for a master
        // since before the next failover.
        t.wait("the roles to be known to both sentinels", |side| {
            let rows = [side.ask(REPLICAS), side.ask_peer(REPLICAS)];
            let is_slave = |row: &Reply| {
                row.field("role-reported").is_some_and(|role| role.text() == "slave")
                    && row.field("master-port").is_some_and(|port| port.text() == side.fill(to))
            };
            wait::expect(rows.iter().all(|rows| rows.items().iter().all(is_slave)), rows)
        });
        t.run(AFTER);
    }
}

const REPLICAS: &str = "SENTINEL REPLICAS mymaster";

const START: &str = r#"
sub> SUBSCRIBE +switch-master
SENTINEL FAILOVER mymaster
SENTINEL FAILOVER mymaster
"#;

const AFTER: &str = r#"
SENTINEL MASTER mymaster
SENTINEL MASTERS
SENTINEL REPLICAS mymaster
SENTINEL SLAVES mymaster
SENTINEL SENTINELS mymaster
SENTINEL GET-MASTER-ADDR-BY-NAME mymaster
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <mport> 0 *
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <r1port> 0 *
SENTINEL CKQUORUM mymaster
ROLE
INFO sentinel
"#;
