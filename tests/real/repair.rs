//! What the sentinels set right: replicas that were reconfigured by others, one sync at a time.

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::world;

#[test]
fn replica_turned_into_a_master_by_hand_is_turned_back() {
    let world = world!();
    let group = Group::new(&world, 1, 1);
    let recorder = group.sentinels[0].record();
    group.nodes[1].ask(&["REPLICAOF", "NO", "ONE"]);
    let name = group.nodes[1].name();
    recorder.wait("-role-change", &format!("slave {name} "));
    recorder.wait("+convert-to-slave", &format!("slave {name} "));
    group.nodes[1].wait_replica_of(group.nodes[0].port);
    recorder.wait("+role-change", &format!("slave {name} "));
}

#[test]
fn replica_sent_elsewhere_by_hand_is_brought_back() {
    let world = world!();
    let options =
        GroupOptions { sentinels: 1, quorum: 1, failover_timeout_ms: 2000, ..Default::default() };
    let group = Group::start(&world, options);
    let recorder = group.sentinels[0].record();
    let nowhere = world.port().to_string();
    group.nodes[1].ask(&["REPLICAOF", "127.0.0.1", &nowhere]);
    recorder.wait("+fix-slave-config", &format!("slave {} ", group.nodes[1].name()));
    group.nodes[1].wait_replica_of(group.nodes[0].port);
}

#[test]
fn parallel_syncs_limits_the_replicas_under_way() {
    let world = world!();
    let options = GroupOptions { replicas: 4, sentinels: 1, quorum: 1, ..GroupOptions::default() };
    let group = Group::start(&world, options);
    let recorder = group.sentinels[0].record();
    group.sentinels[0].ok(&["SENTINEL", "FAILOVER", MASTER]);
    recorder.wait("+failover-end", MASTER);
    assert_eq!(most_under_way(&recorder.names()), 1, "{:#?}", recorder.lines());
    assert_eq!(recorder.texts("+slave-reconf-done").len(), 3, "{:#?}", recorder.lines());
}

#[test]
fn parallel_syncs_lets_that_many_go_at_once() {
    let world = world!();
    let options = GroupOptions {
        replicas: 4,
        sentinels: 1,
        quorum: 1,
        parallel_syncs: 3,
        ..GroupOptions::default()
    };
    let group = Group::start(&world, options);
    let recorder = group.sentinels[0].record();
    group.sentinels[0].ok(&["SENTINEL", "FAILOVER", MASTER]);
    recorder.wait("+failover-end", MASTER);
    assert_eq!(most_under_way(&recorder.names()), 3, "{:#?}", recorder.lines());
}

/// The largest number of replicas that were told to move and had not arrived yet.
fn most_under_way(names: &[String]) -> i32 {
    let (mut now, mut most) = (0, 0);
    for name in names {
        match name.as_str() {
            "+slave-reconf-sent" => now += 1,
            "+slave-reconf-done" => now -= 1,
            _ => {}
        }
        most = most.max(now);
    }
    most
}
