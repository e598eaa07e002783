//! SENTINEL: what is read, what is changed, and every error.
#![forbid(unsafe_code)]

use super::{Rig, readable};
use crate::sentinel::Simulate;
use crate::sentinel::action::{Action, LogLevel};
use crate::sentinel::info_text::Models;
use crate::sentinel::instance::Master;

fn two_masters() -> Rig {
    let mut rig = Rig::new();
    rig.monitor("other", "127.0.0.1", 2, 2);
    rig.monitor("dead", "127.0.0.1", 1, 1);
    rig
}

#[test]
fn masters_are_looked_up_by_their_exact_name() {
    two_masters().play(
        "
        A> sentinel get-master-addr-by-name dead
        A< *2 $9 127.0.0.1 $1 1
        A> SENTINEL GET-PRIMARY-ADDR-BY-NAME dead
        A< *2 $9 127.0.0.1 $1 1
        A> sentinel get-master-addr-by-name DEAD
        A< *-1
        A> sentinel master nope
        A< -ERR No such master with that name
        A> sentinel replicas nope
        A< -ERR No such master with that name
        A> sentinel slaves dead
        A< *0
        A> sentinel sentinels nope
        A< -ERR No such master with that name
        A> sentinel sentinels dead
        A< *0
        A> sentinel ckquorum nope
        A< -ERR No such master with that name
        A> sentinel failover nope
        A< -ERR No such master with that name
        A> sentinel failover dead coordinated
        A< -ERR wrong number of arguments for 'sentinel|failover' command
        A> sentinel failover dead
        A< -NOGOODSLAVE No suitable replica to promote
        A> sentinel remove nope
        A< -ERR No such master with that name
        A> sentinel reset nope*
        A< :0
        A> sentinel reset *
        A< :2
        A> sentinel myid x
        A< -ERR wrong number of arguments for 'sentinel|myid' command
        A> sentinel myid
        A< $40 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        A> sentinel foo
        A< -ERR unknown subcommand 'foo'. Try SENTINEL HELP.
        ",
    );
}

/// The names and values of the first map in a RESP2 reply.
fn pairs(reply: &str) -> Vec<(String, String)> {
    let words: Vec<_> = reply.split("\r\n").collect();
    let start = words.iter().position(|w| w.starts_with('$')).unwrap();
    let texts: Vec<_> = words[start..].iter().skip(1).step_by(2).copied().collect();
    texts.chunks_exact(2).map(|p| (p[0].to_string(), p[1].to_string())).collect()
}

#[test]
fn a_master_as_a_map() {
    let mut rig = two_masters();
    rig.now = rig.now.after(1234);
    let conn = rig.connect();
    let reply = String::from_utf8(rig.ask(conn, b"sentinel master dead\r\n")).unwrap();
    assert!(reply.starts_with("*40\r\n"), "{reply}");
    let got = pairs(&reply);
    let names: Vec<_> = got.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "name",
            "ip",
            "port",
            "runid",
            "flags",
            "link-pending-commands",
            "link-refcount",
            "last-ping-sent",
            "last-ok-ping-reply",
            "last-ping-reply",
            "down-after-milliseconds",
            "info-refresh",
            "role-reported",
            "role-reported-time",
            "config-epoch",
            "num-slaves",
            "num-other-sentinels",
            "quorum",
            "failover-timeout",
            "parallel-syncs"
        ]
    );
    for (name, value) in [
        ("name", "dead"),
        ("port", "1"),
        ("runid", ""),
        ("link-refcount", "1"),
        ("down-after-milliseconds", "30000"),
        ("role-reported", "master"),
        ("role-reported-time", "1234"),
        ("last-ok-ping-reply", "1234"),
        ("info-refresh", "0"),
    ] {
        assert!(got.contains(&(name.into(), value.into())), "{name}={value} not in {got:?}");
    }
    let since = rig.now;
    let id = rig.sentinel.master_named(b"dead").unwrap();
    let master: &mut Master = &mut rig.sentinel.masters[id];
    master.base.sdown.is = true;
    master.base.sdown.since = Some(since);
    master.odown = master.base.sdown;
    master.options.notification_script = Some(b"/x".to_vec());
    rig.now = rig.now.after(7);
    let reply = String::from_utf8(rig.ask(conn, b"hello 3\r\nsentinel master dead\r\n")).unwrap();
    assert!(reply.contains("%23\r\n"), "{reply}");
    assert!(reply.contains("$11\r\ns-down-time\r\n$1\r\n7\r\n$11\r\no-down-time\r\n$1\r\n7\r\n"));
    assert!(reply.ends_with("$19\r\nnotification-script\r\n$2\r\n/x\r\n"));
    assert!(rig.ask(conn, b"sentinel masters\r\n").starts_with(b"*2\r\n%23\r\n"));
}

#[test]
fn a_sentinel_as_a_map() {
    let mut rig = two_masters();
    let (conn, id) = (rig.connect(), "b".repeat(40));
    let hello = format!("publish __sentinel__:hello 127.0.0.1,5000,{id},0,dead,127.0.0.1,1,0\r\n");
    assert_eq!(rig.ask(conn, hello.as_bytes()), b":1\r\n");
    let reply = String::from_utf8(rig.ask(conn, b"sentinel sentinels dead\r\n")).unwrap();
    assert!(reply.starts_with("*1\r\n*28\r\n"), "{reply}");
    let got = pairs(&reply);
    let last: Vec<_> = got[11..].iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(
        last,
        [("last-hello-message", "0"), ("voted-leader", "?"), ("voted-leader-epoch", "0")]
    );
    assert_eq!((got[0].1.as_str(), got[2].1.as_str()), (id.as_str(), "5000"));
    rig.play(
        "
        A> sentinel ckquorum dead
        A< +OK 2 usable Sentinels. Quorum and failover authorization can be reached
        A> sentinel ckquorum other
        A< -NOQUORUM 1 usable Sentinels. Not enough available Sentinels to reach the specified
        .. quorum for this master
        ",
    );
    let master = rig.sentinel.master_named(b"dead").unwrap();
    rig.sentinel.masters[master].options.quorum = 2;
    for peer in rig.sentinel.peers.ids() {
        rig.sentinel.peers[peer].base.sdown.is = true;
    }
    rig.play(
        "
        A> sentinel ckquorum dead
        A< -NOQUORUM 1 usable Sentinels. Not enough available Sentinels to reach the specified
        .. quorum for this master. Not enough available Sentinels to reach the majority and
        .. authorize a failover
        ",
    );
}

#[test]
fn monitor_checks_its_words_in_order() {
    two_masters().play(
        "
        A> sentinel monitor x 127.0.0.1 a a
        A< -ERR Invalid quorum
        A> sentinel monitor x 127.0.0.1 1 99999999999
        A< -ERR Invalid quorum
        A> sentinel monitor x 127.0.0.1 a 0
        A< -ERR Invalid port
        A> sentinel monitor x foo.bar 99999 0
        A< -ERR Quorum must be 1 or greater.
        A> sentinel monitor x foo.bar 99999 1
        A< -ERR Invalid IP address or hostname specified
        A> sentinel monitor dead 127.0.0.1 99999 1
        A< -ERR Invalid port number.
        A> sentinel monitor dead 127.0.0.1 1 1
        A< -ERR Duplicate master name.
        A> sentinel monitor x 127.0.0.1 1
        A< -ERR wrong number of arguments for 'sentinel|monitor' command
        A> sentinel monitor \"\" 127.0.0.1 1 1
        A< -ERR Invalid master name: it must not be empty nor hold blanks, quotes or control
        .. characters
        A> sentinel monitor \"a\\nb\" 127.0.0.1 1 1
        A< -ERR Invalid master name: it must not be empty nor hold blanks, quotes or control
        .. characters
        A> sentinel monitor \"a b\" 127.0.0.1 1 1
        A< -ERR Invalid master name: it must not be empty nor hold blanks, quotes or control
        .. characters
        ",
    );
}

#[test]
fn set_refuses_what_it_cannot_take() {
    two_masters().play(
        "
        A> sentinel set dead quorum
        A< -ERR wrong number of arguments for 'sentinel|set' command
        A> sentinel set nope quorum 1
        A< -ERR No such master with that name
        A> sentinel set dead quorum 0
        A< -ERR Invalid argument '0' for SENTINEL SET 'quorum'
        A> sentinel set dead down-after-milliseconds 9999999999999999
        A< -ERR Invalid argument '9999999999999999' for SENTINEL SET 'down-after-milliseconds'
        A> sentinel set dead parallel-syncs x
        A< -ERR Invalid argument 'x' for SENTINEL SET 'parallel-syncs'
        A> sentinel set dead Foo 1
        A< -ERR Unknown option or number of arguments for SENTINEL SET 'Foo'
        A> sentinel set dead rename-command a
        A< -ERR Unknown option or number of arguments for SENTINEL SET 'rename-command'
        A> sentinel set dead rename-command \"\" a
        A< -ERR Invalid argument '' for SENTINEL SET 'rename-command'
        A> sentinel set dead rename-command b \"a\\nc\"
        A< -ERR Invalid argument 'a c' for SENTINEL SET 'rename-command'
        A> sentinel set dead auth-user \"a\\r\\nb\"
        A< -ERR Invalid argument 'a  b' for SENTINEL SET 'auth-user'
        A> sentinel set dead master-reboot-down-after-period -1
        A< -ERR Invalid argument '-1' for SENTINEL SET 'master-reboot-down-after-period'
        A: free
        ",
    );
}

#[test]
fn set_applies_up_to_the_first_bad_option() {
    let mut rig = two_masters();
    rig.play(
        "
        E> subscribe +set
        E< *3 $9 subscribe $4 +set :1
        A> sentinel set dead QUORUM 5 auth-pass secret rename-command config guessme quorum
        A< -ERR Unknown option or number of arguments for SENTINEL SET 'quorum'
        E< *3 $7 message $4 +set $32 master dead 127.0.0.1 1 QUORUM 5 *3 $7 message $4 +set $40
        .. master dead 127.0.0.1 1 auth-pass ****** *3 $7 message $4 +set $53 master dead 127.0.0.1
        .. 1 rename-command config guessme
        A> sentinel set dead master-reboot-down-after-period 0 failover-timeout 7 auth-pass \"\"
        save ok
        A< +OK
        ",
    );
    let id = rig.sentinel.master_named(b"dead").unwrap();
    let options = &rig.sentinel.masters[id].options;
    assert_eq!((options.quorum, options.failover_timeout_ms, &options.auth_pass), (5, 7, &None));
    assert_eq!(options.renamed.lookup(b"CONFIG"), b"guessme");
}

#[test]
fn config_reads_and_writes_globals() {
    let only = "-ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...] / SET <param> <value> \
        [<param> <value> ...] are supported.";
    let mut rig = Rig::new();
    rig.play(&format!(
        "
        A> sentinel config get
        A< -ERR wrong number of arguments for 'sentinel|config' command
        A> sentinel config set announce-ip
        A< {only}
        A> sentinel config foo bar
        A< {only}
        A> sentinel config get *
        A< *14 $17 resolve-hostnames $2 no $18 announce-hostnames $2 no $11 announce-ip $0  $13
        .. announce-port $1 0 $13 sentinel-user $0  $13 sentinel-pass $0  $8 loglevel $6 notice
        A> sentinel config get ANNOUNCE-P* announce-port foo
        A< *2 $13 announce-port $1 0
        A> sentinel config get foo
        A< *0
        A> sentinel config set foo bar
        A< -ERR Invalid argument 'foo' to SENTINEL CONFIG SET
        A> sentinel config set announce-port 5 announce-port 6
        A< -ERR Duplicate argument 'announce-port' to SENTINEL CONFIG SET
        A> sentinel config set announce-port 5 announce-ip
        A< -ERR Missing argument 'announce-ip' value
        A> sentinel config set announce-port 70000
        A< -ERR Invalid value '70000' to SENTINEL CONFIG SET 'announce-port'
        A> sentinel config set resolve-hostnames maybe
        A< -ERR Invalid value 'maybe' to SENTINEL CONFIG SET 'resolve-hostnames'
        A> sentinel config set announce-ip \"a,b\"
        A< -ERR Invalid value 'a,b' to SENTINEL CONFIG SET 'announce-ip'
        A> sentinel config set sentinel-user \"a\\nb\"
        A< -ERR Invalid value 'a b' to SENTINEL CONFIG SET 'sentinel-user'
        A> sentinel config set loglevel loud
        A< -ERR Invalid value 'loud' to SENTINEL CONFIG SET 'loglevel'
        A> sentinel config get announce-port
        A< *2 $13 announce-port $1 0
        A> sentinel config set Announce-Port 5 announce-ip 1.2.3.4 LOGLEVEL debug resolve-hostnames
        .. yes
        save ok
        A< +OK
        A> sentinel config get a* loglevel
        A< *8 $18 announce-hostnames $2 no $11 announce-ip $7 1.2.3.4 $13 announce-port $1 5 $8
        .. loglevel $5 debug
        "
    ));
    assert_eq!(rig.other, [Action::SetLogLevel { level: LogLevel::Debug }]);
    assert_eq!(rig.server.settings().loglevel, Some(LogLevel::Debug));
}

#[test]
fn debug_lists_and_changes_periods() {
    let mut rig = Rig::new();
    let conn = rig.client('A');
    let list = readable(&rig.ask(conn, b"sentinel debug\r\n"));
    assert!(list.starts_with("*26 $11 INFO-PERIOD $5 10000 $11 PING-PERIOD $4 1000 "), "{list}");
    assert!(list.ends_with("$18 SCRIPT-RETRY-DELAY $5 30000"), "{list}");
    rig.play(
        "
        A> sentinel debug info-period 0
        A< -ERR Invalid argument '0' for SENTINEL DEBUG 'info-period'
        A> sentinel debug foo 1
        A< -ERR Unknown option or number of arguments for SENTINEL DEBUG 'foo'
        A> sentinel debug ping-period 20 INFO-period x
        A< -ERR Invalid argument 'x' for SENTINEL DEBUG 'INFO-period'
        A> sentinel debug info-period
        A< -ERR Unknown option or number of arguments for SENTINEL DEBUG 'info-period'
        A> sentinel debug Info-Period 30 TILT-TRIGGER 40
        A< +OK
        ",
    );
    let periods = rig.sentinel.periods;
    assert_eq!((periods.ping_ms, periods.info_ms, periods.tilt_trigger_ms), (20, 30, 40));
}

#[test]
fn failures_are_simulated_on_request() {
    let mut rig = Rig::new();
    rig.play(
        "
        A> sentinel simulate-failure crash-after-election CRASH-after-promotion
        A< +OK
        log Failure simulation
        A> sentinel simulate-failure
        A< -ERR wrong number of arguments for 'sentinel|simulate-failure' command
        ",
    );
    let both = Simulate { crash_after_election: true, crash_after_promotion: true };
    assert_eq!(rig.sentinel.simulate, both);
    rig.play(
        "
        A> sentinel simulate-failure crash-after-promotion foo
        A< -ERR Unknown failure simulation specified
        ",
    );
    assert_eq!(
        rig.sentinel.simulate,
        Simulate { crash_after_promotion: true, ..Default::default() }
    );
    rig.play(
        "
        A> sentinel simulate-failure help crash-after-election
        A< *2 $20 crash-after-election $21 crash-after-promotion
        ",
    );
    assert_eq!(rig.sentinel.simulate, Simulate::default());
}

#[test]
fn cached_infos_and_scripts() {
    let mut rig = two_masters();
    rig.play(
        "
        A> sentinel info-cache dead nope dead
        A< *2 $4 dead *1 *2 :0 $-1
        A> sentinel pending-scripts
        A< *0
        ",
    );
    let id = rig.sentinel.master_named(b"dead").unwrap();
    let data = &mut rig.sentinel.masters[id].data;
    data.info_refresh = Some(rig.now);
    Models::default().keep(&mut data.info_text, b"role:master\r\n");
    rig.now = rig.now.after(5);
    let conn = rig.client('A');
    let got = rig.ask(conn, b"sentinel info-cache dead other\r\n");
    let wanted = "*4 $4 dead *1 *2 :5 $13 role:master  $5 other *1 *2 :0 $-1";
    assert_eq!(readable(&got), wanted);
}
