//! SENTINEL FAILOVER, and which replica is chosen.

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::node::Role;
use crate::support::wait::{self, LONG};
use crate::world;

#[test]
fn manual_failover_moves_a_healthy_master() {
    let world = world!();
    let group = Group::new(&world, 2, 3);
    let recorder = group.sentinels[0].record();
    let old = group.nodes[0].port;
    group.sentinels[0].ok(&["SENTINEL", "failover", MASTER]);
    let new = group.wait_switched_from(old);
    group.wait_all_follow(new);
    recorder.assert_order(&[
        "+new-epoch",
        "+try-failover",
        "+vote-for-leader",
        "+elected-leader",
        "+selected-slave",
        "+promoted-slave",
        "+switch-master",
    ]);
    recorder.assert_none("+odown");
    for sentinel in &group.sentinels {
        assert_eq!(sentinel.master_field(MASTER, "config-epoch"), "1");
    }
    assert!(
        group.sentinels[0]
            .log_text()
            .contains(&format!("Executing user requested FAILOVER of '{MASTER}'"))
    );
}

#[test]
fn second_manual_failover_is_refused_until_the_first_gave_up() {
    let world = world!();
    let options =
        GroupOptions { sentinels: 1, quorum: 1, failover_timeout_ms: 2500, ..Default::default() };
    let group = Group::start(&world, options);
    let sentinel = &group.sentinels[0];
    let recorder = sentinel.record();
    // A replica that cannot act holds the failover at its promotion.
    group.nodes[1].freeze();
    sentinel.ok(&["SENTINEL", "FAILOVER", MASTER]);
    let error = sentinel.ask(&["SENTINEL", "FAILOVER", MASTER]);
    assert_eq!(error.error(), Some("INPROG Failover already in progress"));
    let fields = sentinel.master(MASTER);
    assert!(fields["flags"].contains("failover_in_progress"), "{fields:?}");
    assert!(fields["flags"].contains("force_failover"), "{fields:?}");
    assert!(fields.contains_key("failover-state"), "{fields:?}");
    recorder.wait("-failover-abort-slave-timeout", MASTER);
    assert!(!sentinel.master_field(MASTER, "flags").contains("failover"));
    assert_eq!(sentinel.address_port(MASTER).unwrap(), Some(group.nodes[0].port));
}

#[test]
fn without_a_suitable_replica_a_failover_is_refused() {
    let world = world!();
    let options = GroupOptions {
        sentinels: 1,
        quorum: 1,
        node_lines: vec![(1, "replica-priority 0".into())],
        ..Default::default()
    };
    let group = Group::start(&world, options);
    let sentinel = &group.sentinels[0];
    wait::wait("the priority to be known", LONG, || {
        let replica = sentinel.replica(MASTER, group.nodes[1].port);
        wait::expect_eq(replica["slave-priority"].as_str(), "0")
    });
    let error = sentinel.ask(&["SENTINEL", "FAILOVER", MASTER]);
    assert_eq!(error.error(), Some("NOGOODSLAVE No suitable replica to promote"));
    let error = sentinel.ask(&["SENTINEL", "FAILOVER", "nobody"]);
    assert_eq!(error.error(), Some("ERR No such master with that name"));
}

#[test]
fn lower_priority_is_promoted_first_and_zero_never() {
    let world = world!();
    let options = GroupOptions {
        replicas: 3,
        sentinels: 1,
        quorum: 1,
        // The next failover may start twice this time after the one before.
        failover_timeout_ms: 2500,
        node_lines: vec![
            (1, "replica-priority 0".into()),
            (2, "replica-priority 50".into()),
            (3, "replica-priority 10".into()),
        ],
        ..Default::default()
    };
    let mut group = Group::start(&world, options);
    let recorder = group.sentinels[0].record();
    group.nodes[0].kill();
    assert_eq!(group.wait_switched_from(group.nodes[0].port), 3);
    group.wait_all_follow(3);
    group.wait_settled();
    group.nodes[3].kill();
    assert_eq!(group.wait_switched_from(group.nodes[3].port), 2);
    group.wait_all_follow(2);
    group.wait_settled();
    group.nodes[2].kill();
    recorder.wait("-failover-abort-no-good-slave", &group.nodes[2].port.to_string());
    let followed = group.nodes[2].port;
    let role = group.nodes[1].role();
    assert!(matches!(role, Ok(Role::Replica { of_port, .. }) if of_port == followed), "{role:?}");
}
