//! What subscribers see: order and texts of a failover's events, and Pub/Sub itself.

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::recorder::Recorder;
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::value::Value;
use crate::support::wait::{self, LONG};
use crate::support::world::World;
use crate::world;
use std::rc::Rc;

/// The steps of a failover up to the promotion, as its leader tells them.
const LEADER_STEPS: [&str; 12] = [
    "+sdown",
    "+odown",
    "+new-epoch",
    "+try-failover",
    "+vote-for-leader",
    "+elected-leader",
    "+failover-state-select-slave",
    "+selected-slave",
    "+failover-state-send-slaveof-noone",
    "+failover-state-wait-promotion",
    "+promoted-slave",
    "+failover-state-reconf-slaves",
];

/// A group in which only the first sentinel finds out by itself that the master is down, so that
/// it is the leader.
fn group_with_one_leader(world: &Rc<World>) -> Group {
    let options = GroupOptions { replicas: 2, quorum: 1, ..Default::default() };
    let group = Group::start(world, options);
    for voter in &group.sentinels[1..] {
        voter.ok(&["SENTINEL", "SET", MASTER, "down-after-milliseconds", "30000"]);
    }
    group
}

#[test]
fn leader_and_voter_tell_the_steps_in_order() {
    let world = world!();
    let mut group = group_with_one_leader(&world);
    let recorders: Vec<Recorder> = group.sentinels.iter().map(|s| s.record()).collect();
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    let new = group.wait_switched_from(old);
    let promoted = &group.nodes[new];
    let leader = &recorders[0];
    leader.wait("+failover-end", MASTER);
    leader.wait("+slave", &format!("slave 127.0.0.1:{old} 127.0.0.1 {old} @ {MASTER}"));
    leader.assert_order(&LEADER_STEPS);
    leader.assert_order(&["+failover-state-reconf-slaves", "+slave-reconf-sent"]);
    leader.assert_order(&["+slave-reconf-sent", "+slave-reconf-inprog", "+slave-reconf-done"]);
    leader.assert_order(&["+slave-reconf-done", "+failover-end"]);
    leader.assert_order(&["+promoted-slave", "+switch-master", "+slave"]);
    leader.assert_none("+config-update-from");

    let master = format!("master {MASTER} 127.0.0.1 {old}");
    let replica = format!(
        "slave {0} 127.0.0.1 {1} @ {MASTER} 127.0.0.1 {old}",
        promoted.name(),
        promoted.port
    );
    let switch = format!("{MASTER} 127.0.0.1 {old} 127.0.0.1 {}", promoted.port);
    assert_eq!(leader.texts("+sdown")[0], master);
    assert_eq!(leader.texts("+odown"), [format!("{master} #quorum 1/1")]);
    assert_eq!(leader.texts("+new-epoch"), ["1"]);
    assert_eq!(leader.texts("+try-failover").join("\n"), master);
    assert_eq!(leader.texts("+vote-for-leader"), [format!("{} 1", group.sentinels[0].id())]);
    assert_eq!(leader.texts("+elected-leader").join("\n"), master);
    assert_eq!(leader.texts("+selected-slave").join("\n"), replica);
    assert_eq!(leader.texts("+promoted-slave"), [replica]);
    assert_eq!(leader.texts("+switch-master").join("\n"), switch);

    for voter in &recorders[1..] {
        voter.assert_order(&["+new-epoch", "+vote-for-leader", "+config-update-from"]);
        voter.assert_order(&["+config-update-from", "+switch-master", "+slave"]);
        voter.assert_none("+try-failover");
        voter.assert_none("+failover-end");
        assert_eq!(voter.texts("+switch-master").join("\n"), switch);
        let id = group.sentinels[0].id();
        assert_eq!(voter.texts("+vote-for-leader"), [format!("{id} 1")]);
        // From the leader, or from the other voter that heard it first.
        let sender = voter.texts("+config-update-from").join("\n");
        let watched = format!("@ {MASTER} 127.0.0.1 {old}");
        assert!(sender.starts_with("sentinel ") && sender.ends_with(&watched), "{sender}");
    }
}

fn lone_sentinel(world: &Rc<World>) -> Sentinel {
    let dead = world.port();
    let lines = [
        format!("sentinel monitor {MASTER} 127.0.0.1 {dead} 2"),
        format!("sentinel down-after-milliseconds {MASTER} 30000"),
    ];
    Sentinel::start(world, &SentinelOptions::with_lines(lines))
}

#[test]
fn subscribers_by_name_and_by_pattern_get_each_event() {
    let world = world!();
    let sentinel = lone_sentinel(&world);
    let mut client = sentinel.connect().unwrap();
    let words = |value: Value| value.texts();
    assert_eq!(words(client.ask(&["SUBSCRIBE", "+set"]).unwrap()), ["subscribe", "+set", "1"]);
    let reply = client.ask(&["PSUBSCRIBE", "+s*", "-s*"]).unwrap();
    assert_eq!(words(reply), ["psubscribe", "+s*", "2"]);
    assert_eq!(words(client.read().unwrap()), ["psubscribe", "-s*", "3"]);
    assert_eq!(words(client.ask(&["PING"]).unwrap()), ["pong", ""]);
    assert_eq!(words(client.ask(&["PING", "hi"]).unwrap()), ["pong", "hi"]);
    let error = client.ask(&["INFO"]).unwrap();
    assert!(error.text().starts_with("ERR Can't execute 'info': only (P|S)SUBSCRIBE"), "{error:?}");

    sentinel.ok(&["SENTINEL", "SET", MASTER, "quorum", "3"]);
    let port = sentinel.master_field(MASTER, "port");
    let text = format!("master {MASTER} 127.0.0.1 {port} quorum 3");
    assert_eq!(words(client.read().unwrap()), ["message", "+set", &text]);
    assert_eq!(words(client.read().unwrap()), ["pmessage", "+s*", "+set", &text]);

    assert_eq!(words(client.ask(&["UNSUBSCRIBE", "+set"]).unwrap()), ["unsubscribe", "+set", "2"]);
    let reply = client.ask(&["PUNSUBSCRIBE"]).unwrap();
    assert_eq!(reply.texts()[0], "punsubscribe");
    assert_eq!(client.read().unwrap().texts()[2], "0");
    assert_eq!(client.ask(&["PING"]).unwrap(), Value::Simple("PONG".into()));
}

#[test]
fn publish_takes_hellos_and_nothing_else() {
    let world = world!();
    let sentinel = lone_sentinel(&world);
    let error = sentinel.ask(&["PUBLISH", "news", "hello"]);
    let wanted = "ERR Only HELLO messages are accepted by Sentinel instances.";
    assert_eq!(error.error(), Some(wanted));
    assert_eq!(sentinel.ask(&["PUBLISH", "__sentinel__:hello", "rubbish"]), Value::Int(1));

    let recorder = sentinel.record();
    let port = sentinel.master_field(MASTER, "port");
    let (peer, id) = (world.port(), "a".repeat(40));
    let hello = format!("127.0.0.1,{peer},{id},7,{MASTER},127.0.0.1,{port},0");
    assert_eq!(sentinel.ask(&["PUBLISH", "__sentinel__:hello", &hello]), Value::Int(1));
    recorder.wait("+sentinel", &format!("sentinel {id} 127.0.0.1 {peer} @ {MASTER}"));
    assert_eq!(recorder.wait("+new-epoch", ""), "7");
    assert_eq!(sentinel.peers(MASTER)[0]["runid"], id);
    sentinel.wait_config_line("sentinel current-epoch 7");
    sentinel.wait_config_line(&format!("sentinel known-sentinel {MASTER} 127.0.0.1 {peer} {id}"));
}

/// A hello with a newer configuration moves the master; one with an older does not.
#[test]
fn newest_configuration_wins_by_hello() {
    let world = world!();
    let sentinel = lone_sentinel(&world);
    let recorder = sentinel.record();
    let old = sentinel.address_port(MASTER).unwrap().unwrap();
    let (peer, id, new) = (world.port(), "b".repeat(40), world.port());
    let hello = |epoch: u32, port: u16| {
        let text = format!("127.0.0.1,{peer},{id},{epoch},{MASTER},127.0.0.1,{port},{epoch}");
        assert_eq!(sentinel.ask(&["PUBLISH", "__sentinel__:hello", &text]), Value::Int(1));
    };
    hello(5, new);
    recorder.wait("+switch-master", &format!("{MASTER} 127.0.0.1 {old} 127.0.0.1 {new}"));
    assert_eq!(sentinel.address_port(MASTER).unwrap(), Some(new));
    hello(4, old);
    hello(5, old);
    assert_eq!(sentinel.address_port(MASTER).unwrap(), Some(new));
    assert_eq!(sentinel.master_field(MASTER, "config-epoch"), "5");
    assert_eq!(sentinel.replicas(MASTER)[0]["port"], old.to_string());
    wait::wait("the file to hold the new address", LONG, || {
        let line = format!("{MASTER} 127.0.0.1 {new} 2");
        wait::expect_eq(sentinel.state_lines("monitor"), vec![line])
    });
}

#[test]
fn hellos_of_the_group_pass_through_the_data_nodes() {
    let world = world!();
    let group = Group::new(&world, 1, 1);
    let sentinel = &group.sentinels[0];
    for node in &group.nodes {
        let mut client = node.connect().unwrap();
        client.ask(&["SUBSCRIBE", "__sentinel__:hello"]).unwrap();
        let hello = client.read().unwrap().texts();
        let master = group.nodes[0].port;
        let id = sentinel.id();
        let port = sentinel.port;
        let wanted = format!("127.0.0.1,{port},{id},0,{MASTER},127.0.0.1,{master},0");
        assert_eq!(hello[2], wanted);
    }
}
