//! Automatic failover: the master goes away, a replica takes over, everybody follows.

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::wait::{self, LONG};
use crate::world;
use std::time::{Duration, Instant};

#[test]
fn killed_master_is_replaced_and_comes_back_as_replica() {
    let world = world!();
    let mut group = Group::new(&world, 2, 3);
    let old = group.nodes[0].port;
    group.nodes[0].ask(&["SET", "kept", "yes"]);
    for replica in &group.nodes[1..] {
        replica.wait_key("kept", "yes");
    }
    group.nodes[0].kill();
    let new = group.wait_switched_from(old);
    group.wait_all_follow(new);
    group.nodes[new].wait_key("kept", "yes");
    for sentinel in &group.sentinels {
        wait::wait("the config file to name the new master", LONG, || {
            let line = format!("{MASTER} 127.0.0.1 {} 2", group.nodes[new].port);
            wait::expect_eq(sentinel.state_lines("monitor"), vec![line])
        });
    }
    group.nodes[0].restart();
    group.nodes[0].wait_replica_of(group.nodes[new].port);
    for sentinel in &group.sentinels {
        wait::wait("the old master to be listed as a good replica", LONG, || {
            let replica = sentinel.replica(MASTER, old);
            wait::expect(replica.get("flags").is_some_and(|flags| flags == "slave"), replica)
        });
    }
}

#[test]
fn frozen_master_is_replaced_and_comes_back_as_replica() {
    let world = world!();
    let group = Group::new(&world, 1, 3);
    let old = group.nodes[0].port;
    group.nodes[0].freeze();
    let new = group.wait_switched_from(old);
    group.nodes[0].thaw();
    group.nodes[0].wait_replica_of(group.nodes[new].port);
    assert_eq!(group.agreed_port(), Ok(group.nodes[new].port));
}

/// Generous bounds: tight ones belong to a benchmark on a quiet machine. The last proof of life
/// may be a PING period (half a second) older than the kill.
#[test]
fn failover_takes_seconds_and_not_before_down_after() {
    let world = world!();
    let options = GroupOptions { replicas: 2, down_after_ms: 2500, ..Default::default() };
    let mut group = Group::start(&world, options);
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    let start = Instant::now();
    group.wait_switched_from(old);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1900), "too early, after {took:?}");
    assert!(took <= Duration::from_secs(30), "too late, after {took:?}");
}
