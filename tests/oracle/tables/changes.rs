//! SENTINEL subcommands that change what is watched and how, with what shows of it afterwards.

use crate::support::wait;
use crate::twins::{Proto, Side, Twins};

pub fn run(t: &mut Twins) {
    for (proto, epoch) in [(Proto::Resp2, 100), (Proto::Resp3, 200)] {
        t.pass(proto);
        t.run(WATCH);
        t.run(SET);
        // Other credentials have torn the links down.
        wait_whole(t);
        t.run("SENTINEL MASTER mymaster\nSENTINEL REPLICAS mymaster");
        t.run(MONITOR);
        t.run(CONFIG);
        let fill = |n: u64| (format!("<e{n}>"), (epoch + n).to_string());
        let epochs: Vec<_> = [1, 2, 3, 9].map(fill).into();
        t.run(&epochs.iter().fold(VOTES.into(), |text: String, (name, e)| text.replace(name, e)));
        ghost(t);
        t.run("SENTINEL RESET nobody*\nSENTINEL RESET mymaster");
        wait_whole(t);
        t.run(AFTER_RESET);
    }
}

/// A second master that is not there: subjectively, then objectively down.
fn ghost(t: &mut Twins) {
    t.run(GHOST);
    wait_flags(t, "ghost", "s_down,master,disconnected");
    t.run(GHOST_DOWN);
    t.run("SENTINEL SET ghost quorum 1");
    wait_flags(t, "ghost", "s_down,o_down,master,disconnected");
    t.run(GHOST_OUT);
}

fn wait_flags(t: &mut Twins, master: &str, flags: &str) {
    t.wait(&format!("{master} to be {flags}"), |side| {
        wait::expect_eq(side.master_field(master, "flags").as_str(), flags)
    });
}

/// Waits until the group of both is known again, with all links up.
pub fn wait_whole(t: &mut Twins) {
    t.wait("the group to be found again", |side| {
        for (field, wanted) in [("flags", "master"), ("num-slaves", "2")] {
            wait::expect_eq(side.master_field("mymaster", field).as_str(), wanted)?;
        }
        wait::expect_eq(side.master_field("mymaster", "num-other-sentinels").as_str(), "1")?;
        all_have(side, "REPLICAS", &[("flags", "slave"), ("master-link-status", "ok")])?;
        all_have(side, "SENTINELS", &[("flags", "sentinel")])
    });
}

fn all_have(side: &mut Side, what: &str, wanted: &[(&str, &str)]) -> Result<(), String> {
    let rows = side.ask(&format!("SENTINEL {what} mymaster"));
    for row in rows.items() {
        for (field, wanted) in wanted {
            let seen = row.field(field).map(|value| value.text()).unwrap_or_default();
            wait::expect_eq(seen.as_str(), *wanted)?;
        }
    }
    Ok(())
}

const WATCH: &str = r#"
sub> SUBSCRIBE +set +monitor -monitor +reset-master +new-epoch +vote-for-leader
sub> PSUBSCRIBE +vote*
"#;

const SET: &str = r#"
SENTINEL SET mymaster
SENTINEL SET mymaster quorum
SENTINEL SET nobody quorum 2
SENTINEL SET mymaster foo bar
SENTINEL SET mymaster quorum x
SENTINEL SET mymaster quorum 0
SENTINEL SET mymaster quorum -1
SENTINEL SET mymaster quorum 99999999999999999999
SENTINEL SET mymaster quorum ""
SENTINEL SET mymaster QUORUM 2
message> sub
SENTINEL SET mymaster down-after-milliseconds 0
SENTINEL SET mymaster down-after-milliseconds 2500
message> sub
SENTINEL SET mymaster failover-timeout 0
SENTINEL SET mymaster failover-timeout 9000
message> sub
SENTINEL SET mymaster parallel-syncs 0
SENTINEL SET mymaster parallel-syncs x
SENTINEL SET mymaster parallel-syncs 3
message> sub
SENTINEL SET mymaster auth-user walter
message> sub
SENTINEL SET mymaster auth-user ""
message> sub
SENTINEL SET mymaster auth-pass ""
message> sub
SENTINEL SET mymaster notification-script /bin/true
SENTINEL SET mymaster client-reconfig-script /bin/true
SENTINEL SET mymaster notification-script ""
SENTINEL SET mymaster rename-command
SENTINEL SET mymaster rename-command A
SENTINEL SET mymaster rename-command "" b
SENTINEL SET mymaster rename-command A ""
SENTINEL SET mymaster rename-command GUARDED hidden
message> sub
SENTINEL SET mymaster rename-command guarded other
message> sub
SENTINEL SET mymaster rename-command GUARDED GUARDED
message> sub
SENTINEL SET mymaster master-reboot-down-after-period -1
SENTINEL SET mymaster master-reboot-down-after-period x
SENTINEL SET mymaster master-reboot-down-after-period 10
message> sub
SENTINEL SET mymaster master-reboot-down-after-period 0
message> sub
SENTINEL SET mymaster quorum 2 foo bar
message> sub
SENTINEL SET mymaster quorum 2 parallel-syncs
message> sub
SENTINEL SET mymaster quorum 2 parallel-syncs 1 failover-timeout 8000
message> sub
message> sub
message> sub
SENTINEL SET mymaster down-after-milliseconds 5000 down-after-milliseconds 1500
message> sub
message> sub
sentinel set mymaster PARALLEL-syncs 1
message> sub
sub> PING
"#;

const MONITOR: &str = r#"
SENTINEL MONITOR second 127.0.0.1 1
SENTINEL MONITOR second 127.0.0.1 1 1 1
SENTINEL MONITOR second 127.0.0.1 1 x
SENTINEL MONITOR second 127.0.0.1 1 0
SENTINEL MONITOR second 127.0.0.1 1 -1
SENTINEL MONITOR second 127.0.0.1 x 1
SENTINEL MONITOR second 127.0.0.1 99999 1
SENTINEL MONITOR second 127.0.0.1 65536 1
SENTINEL MONITOR second 127.0.0.1 -1 1
SENTINEL MONITOR second 127.0.0.1 x x
SENTINEL MONITOR second 127.0.0.1 x 0
SENTINEL MONITOR second foo 1 1
SENTINEL MONITOR second foo 99999 1
SENTINEL MONITOR second foo 1 0
SENTINEL MONITOR second "" 1 1
SENTINEL MONITOR mymaster 127.0.0.1 1 1
SENTINEL MONITOR mymaster foo 1 1
SENTINEL MONITOR mymaster 127.0.0.1 99999 1
SENTINEL MASTERS
SENTINEL MONITOR second ::1 2 7
message> sub
SENTINEL MONITOR second ::1 2 7
SENTINEL MONITOR Second 127.0.0.1 0 1
message> sub
SENTINEL MASTER Second
SENTINEL REPLICAS second
SENTINEL SENTINELS second
SENTINEL GET-MASTER-ADDR-BY-NAME second
SENTINEL INFO-CACHE second
SENTINEL CKQUORUM second
SENTINEL FAILOVER second
ROLE
SENTINEL REMOVE nobody
SENTINEL REMOVE Second
message> sub
SENTINEL REMOVE Second
SENTINEL REMOVE
SENTINEL RESET
SENTINEL RESET s*nd
message> sub
SENTINEL RESET SECOND
SENTINEL RESET ""
SENTINEL REMOVE second
message> sub
SENTINEL MASTER second
SENTINEL MASTERS
ROLE
sub> PING
"#;

const CONFIG: &str = r#"
SENTINEL CONFIG SET announce-port 1234
SENTINEL CONFIG GET announce-port
SENTINEL CONFIG SET ANNOUNCE-PORT 0
SENTINEL CONFIG SET announce-ip 127.0.0.1
SENTINEL CONFIG GET announce-ip
SENTINEL CONFIG SET announce-hostnames yes
SENTINEL CONFIG SET resolve-hostnames YES
SENTINEL CONFIG GET *
SENTINEL CONFIG SET announce-hostnames no
SENTINEL CONFIG SET resolve-hostnames no
SENTINEL CONFIG SET sentinel-user walter
SENTINEL CONFIG SET sentinel-user ""
SENTINEL CONFIG SET sentinel-pass ""
SENTINEL CONFIG SET announce-hostnames no resolve-hostnames no
SENTINEL CONFIG GET *
SENTINEL CONFIG GET sentinel-user
SENTINEL FLUSHCONFIG
sub> PING
"#;

const VOTES: &str = r#"
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <mport> <e2> eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee
message> sub
message> sub
message> sub
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <mport> <e2> ffffffffffffffffffffffffffffffffffffffff
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <mport> <e2> eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <mport> <e1> ffffffffffffffffffffffffffffffffffffffff
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <mport> <e3> *
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <mport> <e3> ffffffffffffffffffffffffffffffffffffffff
message> sub
message> sub
message> sub
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 <e9> ffffffffffffffffffffffffffffffffffffffff
sub> PING
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <mport> 0 *
SENTINEL MASTER mymaster
sub> PING
"#;

const GHOST: &str = r#"
SENTINEL MONITOR ghost 127.0.0.1 1 5
message> sub
SENTINEL SET ghost failover-timeout 100
message> sub
SENTINEL SET ghost down-after-milliseconds 200
message> sub
"#;

const GHOST_DOWN: &str = r#"
SENTINEL MASTER ghost
SENTINEL MASTERS
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 0 *
SENTINEL CKQUORUM ghost
SENTINEL FAILOVER ghost
SENTINEL GET-MASTER-ADDR-BY-NAME ghost
SENTINEL INFO-CACHE ghost
INFO sentinel
ROLE
"#;

const GHOST_OUT: &str = r#"
SENTINEL MASTER ghost
INFO sentinel
SENTINEL REMOVE ghost
SENTINEL MASTER ghost
close> sub
"#;

const AFTER_RESET: &str = r#"
SENTINEL MASTER mymaster
SENTINEL REPLICAS mymaster
SENTINEL SENTINELS mymaster
SENTINEL CKQUORUM mymaster
INFO sentinel
"#;
