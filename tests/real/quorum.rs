//! Quorum and majority.

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::wait::{self, LONG, holds};
use crate::world;
use std::time::Duration;

const USABLE: &str = "usable Sentinels.";

#[test]
fn below_the_quorum_the_master_is_down_but_not_failed_over() {
    let world = world!();
    let options = GroupOptions { quorum: 3, ..Default::default() };
    let mut group = Group::start(&world, options);
    let old = group.nodes[0].port;
    let good = format!("OK 3 {USABLE} Quorum and failover authorization can be reached");
    assert_eq!(group.sentinels[0].ask(&["SENTINEL", "CKQUORUM", MASTER]).text(), good);
    let lost = group.sentinels[2].id();
    group.sentinels[2].kill();
    let recorder = group.sentinels[0].record();
    recorder.wait("+sdown", &format!("sentinel {lost} "));
    let refusal = format!(
        "NOQUORUM 2 {USABLE} Not enough available Sentinels to reach the specified quorum for \
         this master"
    );
    let reply = group.sentinels[0].ask(&["SENTINEL", "CKQUORUM", MASTER]);
    assert_eq!(reply.error(), Some(refusal.as_str()));

    group.nodes[0].kill();
    recorder.wait("+sdown", &format!("master {MASTER} "));
    for sentinel in &group.sentinels[..2] {
        wait::wait("the other one to agree", LONG, || {
            let peers = sentinel.peers(MASTER);
            wait::expect(peers.iter().any(|peer| peer["flags"].contains("master_down")), peers)
        });
    }
    holds("no failover below the quorum", Duration::from_secs(2), || {
        let flags = group.sentinels[0].master_field(MASTER, "flags");
        wait::expect(!flags.contains("o_down") && !flags.contains("failover"), flags)
    });
    // The third one makes the quorum full: nothing else was in the way.
    group.sentinels[2].launch().expect("it starts again");
    group.wait_switched_from(old);
}

#[test]
fn without_a_majority_nobody_is_elected() {
    let world = world!();
    let options = GroupOptions { quorum: 1, failover_timeout_ms: 2000, ..Default::default() };
    let mut group = Group::start(&world, options);
    group.sentinels[1].kill();
    group.sentinels[2].kill();
    let sentinel = &group.sentinels[0];
    let recorder = sentinel.record();
    wait::wait("both peers to be down", LONG, || {
        let reply = sentinel.ask(&["SENTINEL", "CKQUORUM", MASTER]).text();
        wait::expect(reply.starts_with("NOQUORUM 1 "), reply)
    });
    let reply = sentinel.ask(&["SENTINEL", "CKQUORUM", MASTER]);
    let refusal = format!(
        "NOQUORUM 1 {USABLE} Not enough available Sentinels to reach the majority and authorize \
         a failover"
    );
    assert_eq!(reply.error(), Some(refusal.as_str()));
    group.nodes[0].kill();
    recorder.wait("+odown", &format!("master {MASTER} "));
    recorder.wait("+try-failover", MASTER);
    recorder.wait("-failover-abort-not-elected", MASTER);
    recorder.assert_none("+elected-leader");
    assert_eq!(sentinel.address_port(MASTER).unwrap(), Some(group.nodes[0].port));
}

#[test]
fn a_master_that_comes_back_in_time_is_no_longer_down() {
    let world = world!();
    let options = GroupOptions { sentinels: 2, ..Default::default() };
    let mut group = Group::start(&world, options);
    group.sentinels[1].kill();
    let recorder = group.sentinels[0].record();
    group.nodes[0].freeze();
    recorder.wait("+sdown", &format!("master {MASTER} "));
    group.nodes[0].thaw();
    recorder.wait("-sdown", &format!("master {MASTER} "));
    recorder.assert_none("+odown");
    group.sentinels[1].launch().expect("it starts again");
    group.wait_discovered();
}
