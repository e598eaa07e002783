//! Epochs near the end of the range, named by anybody: failover must go on working.

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::sentinel::{Program, Sentinel};
use crate::support::wait::{self, LONG};
use crate::support::world::World;
use crate::world;
use std::rc::Rc;

/// Where the group is left before its master dies.
fn kill_and_wait(group: &mut Group) -> usize {
    let old = group.agreed_port().expect("all agree");
    let index = group.index(old);
    group.nodes[index].kill();
    let new = group.wait_switched_from(old);
    group.nodes[index].restart();
    group.nodes[index].wait_replica_of(group.nodes[new].port);
    group.wait_settled();
    new
}

/// Asks for a vote in that epoch, for a candidate that nobody knows; the answer does not matter.
fn ask(sentinel: &Sentinel, group: &Group, epoch: u64) {
    let port = group.agreed_port().expect("all agree").to_string();
    let (host, verb) = (&group.nodes[0].host, "IS-MASTER-DOWN-BY-ADDR");
    let (epoch, runid) = (epoch.to_string(), "f".repeat(40));
    sentinel.ask(&["SENTINEL", verb, host, &port, &epoch, &runid]);
}

/// A hello from a sentinel that does not exist.
fn hello(group: &Group, current: &str, config: &str) -> String {
    let (host, port) = (&group.nodes[0].host, group.agreed_port().expect("all agree"));
    let id = "e".repeat(40);
    format!("{host},1,{id},{current},{MASTER},{host},{port},{config}")
}

fn group_of(world: &Rc<World>, programs: &[Program]) -> Group {
    let options = GroupOptions {
        replicas: 2,
        failover_timeout_ms: 4000,
        programs: programs.to_vec(),
        ..GroupOptions::default()
    };
    Group::start(world, options)
}

#[test]
fn one_request_with_a_huge_epoch() {
    let world = world!(only_ours: "it dies of the last one");
    for epoch in [1 << 62, (1 << 63) - (1 << 33), (1 << 63) - 1] {
        let mut group = group_of(&world, &[]);
        ask(&group.sentinels[0], &group, epoch);
        kill_and_wait(&mut group);
        // Over a restart of all, too.
        for sentinel in &mut group.sentinels {
            sentinel.kill();
            sentinel.restart();
        }
        group.wait_discovered();
        kill_and_wait(&mut group);
    }
}

#[test]
fn one_hello_with_a_huge_epoch() {
    let world = world!(only_ours: "it dies of the last ones");
    let huge = (1_u64 << 62).to_string();
    let beyond = u64::MAX.to_string();
    for (current, config) in [(&*huge, "0"), ("0", &*huge), (&*beyond, &*beyond)] {
        let mut group = group_of(&world, &[]);
        let text = hello(&group, current, config);
        group.sentinels[0].ask(&["PUBLISH", "__sentinel__:hello", &text]);
        // The sender was taken in all the same.
        wait::wait("the sender to be known", LONG, || {
            let peers = group.sentinels[0].peers(MASTER).len();
            wait::expect_eq(peers, 3)
        });
        kill_and_wait(&mut group);
    }
}

/// Sets all epochs in the file of a sentinel that is stopped meanwhile.
fn write_epochs(sentinel: &mut Sentinel, epoch: &str) {
    sentinel.terminate();
    let of_epochs = |line: &&str| !line.contains("-epoch ");
    let text = sentinel.config_text();
    let mut lines: Vec<String> = text.lines().filter(of_epochs).map(str::to_string).collect();
    lines.push(format!("sentinel current-epoch {epoch}"));
    lines
        .extend(["config", "leader"].map(|kind| format!("sentinel {kind}-epoch {MASTER} {epoch}")));
    std::fs::write(&sentinel.config, lines.join("\n") + "\n").expect("the file is writable");
    sentinel.launch().expect("it starts");
}

/// As redis-sentinel leaves them behind, which adopts whatever it is told.
#[test]
fn files_with_huge_epochs() {
    let world = world!(only_ours: "it dies of the last ones");
    for (epoch, files) in [("9223372036854775807", 3), ("18446744073709551615", 1)] {
        let mut group = group_of(&world, &[]);
        for sentinel in &mut group.sentinels[..files] {
            write_epochs(sentinel, epoch);
            assert!(sentinel.log_text().contains("leaves no room for failovers"));
            wait::wait("the number to leave the file", LONG, || {
                let text = sentinel.config_text();
                wait::expect(!text.contains(epoch), text)
            });
        }
        group.wait_discovered();
        kill_and_wait(&mut group);
    }
}
