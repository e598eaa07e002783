//! What ours does sooner or more safely than redis-sentinel, in tests that do not measure.
//!
//! Most of them make the timers of the protocol so long that waiting for one would fail the test.

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::wait::{self, LONG, SHORT};
use crate::world;
use std::fs;
use std::time::{Duration, Instant};

/// Makes hellos so rare that nothing of the group can be repaired by waiting for them.
fn stop_periodic_hellos(group: &Group) {
    for sentinel in &group.sentinels {
        sentinel.ok(&["SENTINEL", "DEBUG", "publish-period", "300000"]);
    }
}

#[test]
fn switch_is_told_at_the_promotion_and_not_after_the_last_replica() {
    let world = world!(only_ours: "it tells the switch at the end of the failover");
    let options = GroupOptions {
        replicas: 2,
        // A replica that is held for down holds nothing back.
        down_after_ms: 120_000,
        failover_timeout_ms: 30_000,
        node_lines: vec![(2, "replica-priority 200".into())],
        ..GroupOptions::default()
    };
    let group = Group::start(&world, options);
    let leader = &group.sentinels[0];
    let recorder = leader.record();
    // This one does not take part, and so holds back the end of the failover.
    group.nodes[2].freeze();
    leader.ok(&["SENTINEL", "FAILOVER", MASTER]);
    assert_eq!(group.wait_switched_from(group.nodes[0].port), 1);
    let addresses = format!("127.0.0.1 {} 127.0.0.1 {}", group.nodes[0].port, group.nodes[1].port);
    recorder.wait("+switch-master", &format!("{MASTER} {addresses}"));
    recorder.assert_none("+failover-end");
    let fields = leader.master(MASTER);
    assert_eq!(fields.get("failover-state").map(String::as_str), Some("reconf_slaves"));
    group.nodes[2].thaw();
    recorder.wait("+failover-end", &format!("{MASTER} 127.0.0.1 {}", group.nodes[1].port));
    group.wait_all_follow(1);
    recorder.assert_order(&["+promoted-slave", "+switch-master", "+failover-end"]);
}

#[test]
fn manual_failover_demotes_the_old_master_in_the_same_turn() {
    let world = world!(only_ours: "it waits for some hellos first");
    let group = Group::new(&world, 1, 1);
    stop_periodic_hellos(&group);
    group.sentinels[0].ok(&["SENTINEL", "FAILOVER", MASTER]);
    let new = group.wait_switched_from(group.nodes[0].port);
    group.wait_all_follow(new);
}

#[test]
fn a_frozen_master_finds_its_order_when_it_wakes() {
    let world = world!(only_ours: "it waits for some hellos first");
    let group = Group::new(&world, 1, 3);
    stop_periodic_hellos(&group);
    group.nodes[0].freeze();
    let new = group.wait_switched_from(group.nodes[0].port);
    group.nodes[0].thaw();
    group.nodes[0].wait_replica_of(group.nodes[new].port);
}

#[test]
fn a_refused_connection_can_count_sooner() {
    let world = world!(only_ours: "it has no such setting");
    let mut options = GroupOptions { down_after_ms: 120_000, ..GroupOptions::default() };
    options.sentinel.lines = vec![format!("sentinel refused-down-after-milliseconds {MASTER} 300")];
    let mut group = Group::start(&world, options);
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    group.wait_switched_from(old);
}

/// The others do not sit out twice the failover-timeout for a leader that died.
#[test]
fn a_dead_leader_is_replaced_at_once() {
    let world = world!(only_ours: "it waits for twice the failover-timeout");
    let options =
        GroupOptions { quorum: 1, failover_timeout_ms: 300_000, ..GroupOptions::default() };
    let mut group = Group::start(&world, options);
    for voter in &group.sentinels[1..] {
        voter.ok(&["SENTINEL", "SET", MASTER, "down-after-milliseconds", "3000"]);
    }
    let recorder = group.sentinels[1].record();
    group.sentinels[0].ok(&["SENTINEL", "SIMULATE-FAILURE", "crash-after-election"]);
    let (leader, old) = (group.sentinels[0].id(), group.nodes[0].port);
    group.nodes[0].kill();
    assert_eq!(group.sentinels[0].wait_exit(), 99);
    recorder.wait("+vote-for-leader", &leader);
    group.wait_switched_from(old);
}

/// With 100 ms of PING period a replica is promoted within few PINGs; this bound is for a busy
/// machine, the goals themselves are measured elsewhere.
#[test]
fn failover_needs_no_timer_but_down_after() {
    let world = world!(only_ours: "each of its steps waits for a timer");
    let options = GroupOptions { replicas: 2, ..Default::default() };
    let mut group = Group::start(&world, options);
    for sentinel in &group.sentinels {
        // Long enough to be missed if one of them were waited for.
        let words = ["SENTINEL", "DEBUG", "info-period", "60000", "ask-period", "60000"];
        sentinel.ok(&words);
    }
    stop_periodic_hellos(&group);
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    let start = Instant::now();
    group.wait_switched_from(old);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
}

#[test]
fn a_vote_that_cannot_be_saved_is_not_given() {
    let world = world!(only_ours: "it votes whether or not it can save");
    let group = Group::new(&world, 0, 1);
    let sentinel = &group.sentinels[0];
    let port = group.nodes[0].port.to_string();
    let vote = |letter: &str, epoch: &str| {
        let id = letter.repeat(40);
        let command = "IS-MASTER-DOWN-BY-ADDR";
        let words = ["SENTINEL", command, "127.0.0.1", &port, epoch, &id];
        sentinel.ask(&words).texts()
    };
    assert_eq!(vote("a", "3"), ["0", &"a".repeat(40), "3"]);
    let dir = sentinel.config.parent().unwrap().to_path_buf();
    let away = dir.with_extension("away");
    fs::rename(&dir, &away).unwrap();
    assert_ne!(vote("b", "4")[1], "b".repeat(40), "a vote that is not on disk");
    fs::rename(&away, &dir).unwrap();
    wait::wait("votes to be given again", SHORT, || {
        wait::expect_eq(vote("c", "5"), vec!["0".into(), "c".repeat(40), "5".into()])
    });
}

/// The epochs of the masters of one sentinel do not stand in each other's way.
#[test]
fn an_election_of_one_master_does_not_spend_the_votes_of_another() {
    let world = world!(only_ours: "it refuses epochs below the newest of all masters");
    let group = Group::new(&world, 0, 1);
    let sentinel = &group.sentinels[0];
    let other = world.port().to_string();
    sentinel.ok(&["SENTINEL", "MONITOR", "second", "127.0.0.1", &other, "1"]);
    let first = group.nodes[0].port.to_string();
    let vote = |port: &str, letter: &str, epoch: &str| {
        let id = letter.repeat(40);
        let command = "IS-MASTER-DOWN-BY-ADDR";
        sentinel.ask(&["SENTINEL", command, "127.0.0.1", port, epoch, &id]).texts()
    };
    let granted = |letter: &str, epoch: &str| ["0".into(), letter.repeat(40), epoch.to_string()];
    assert_eq!(vote(&first, "a", "9"), granted("a", "9"));
    assert_eq!(vote(&other, "b", "8")[1..], granted("b", "8")[1..]);
    assert_eq!(vote(&other, "c", "8")[1..], granted("b", "8")[1..], "a second vote");
    assert_eq!(vote(&first, "c", "9"), granted("a", "9"), "a second vote");
    wait::wait("both votes to be on disk", LONG, || {
        let mut lines = sentinel.state_lines("leader-epoch");
        lines.sort();
        wait::expect_eq(lines, vec![format!("{MASTER} 9"), "second 8".into()])
    });
}
