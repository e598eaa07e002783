//! Together with redis-sentinel: in one group, and one after the other on the same file.

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::recorder::Recorder;
use crate::support::sentinel::{Program, Sentinel};
use crate::support::wait::{self, LONG};
use crate::support::world::World;
use crate::world;
use std::collections::BTreeSet;
use std::rc::Rc;

use Program::{Redis, UnderTest};

/// Runs a failover of a mixed group that the first sentinel leads: it alone takes the master for
/// down, all others only vote.
fn led_by_the_first(world: &Rc<World>, programs: [Program; 3]) {
    led_by_the_first_after(world, programs, |_| {});
}

/// The same in a group to which something has happened before.
fn led_by_the_first_after(world: &Rc<World>, programs: [Program; 3], before: impl FnOnce(&Group)) {
    if !world.need("redis-sentinel") {
        return;
    }
    let options = GroupOptions {
        quorum: 1,
        replicas: 2,
        programs: programs.to_vec(),
        ..GroupOptions::default()
    };
    let mut group = Group::start(world, options);
    for voter in &group.sentinels[1..] {
        voter.ok(&["SENTINEL", "SET", MASTER, "down-after-milliseconds", "30000"]);
    }
    before(&group);
    let recorders: Vec<Recorder> = group.sentinels.iter().map(Sentinel::record).collect();
    let leader = group.sentinels[0].id();
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    let new = group.wait_switched_from(old);
    group.wait_all_follow(new);
    recorders[0].wait("+failover-end", MASTER);
    let epoch = recorders[0].wait("+vote-for-leader", &leader);
    for voter in &recorders[1..] {
        assert_eq!(voter.wait("+vote-for-leader", &leader), epoch);
        // From the leader, or from a voter that heard it first.
        voter.wait("+config-update-from", "sentinel ");
        voter.assert_none("+try-failover");
    }
    // The old master comes back, whoever of them sees to it.
    group.nodes[0].restart();
    group.nodes[0].wait_replica_of(group.nodes[new].port);
    let epochs: BTreeSet<String> =
        group.sentinels.iter().map(|s| s.master_field(MASTER, "config-epoch")).collect();
    assert_eq!(epochs.len(), 1, "{epochs:?}");
}

#[test]
fn ours_leads_and_redis_sentinels_vote() {
    let world = world!();
    led_by_the_first(&world, [UnderTest, Redis, Redis]);
}

#[test]
fn redis_sentinel_leads_and_ours_vote() {
    let world = world!();
    led_by_the_first(&world, [Redis, UnderTest, UnderTest]);
}

#[test]
fn ours_leads_with_both_kinds_voting() {
    let world = world!();
    led_by_the_first(&world, [UnderTest, UnderTest, Redis]);
}

/// Somebody asks the last sentinel for a vote in that epoch. It may be adopted by all.
fn name_epoch(group: &Group, epoch: u64, adopted: bool) {
    let port = group.nodes[0].port.to_string();
    let (verb, text, nobody) = ("IS-MASTER-DOWN-BY-ADDR", epoch.to_string(), "f".repeat(40));
    group.sentinels[2].ask(&["SENTINEL", verb, &group.nodes[0].host, &port, &text, &nobody]);
    let reached = if adopted { &group.sentinels[..] } else { &group.sentinels[2..] };
    for sentinel in reached {
        wait::wait("the epoch to be adopted", LONG, || {
            let lines = sentinel.state_lines("current-epoch");
            wait::expect(lines == [text.clone()], lines)
        });
    }
}

/// Near the end of all epochs: `redis-sentinel` adopts all of them, ours those that leave room.
const HUGE_EPOCHS: [u64; 2] = [1 << 62, (1 << 63) - (1 << 33)];

#[test]
fn ours_leads_where_redis_sentinels_are_at_huge_epochs() {
    let world = world!();
    for epoch in HUGE_EPOCHS {
        led_by_the_first_after(&world, [UnderTest, Redis, Redis], |group| {
            name_epoch(group, epoch, true);
        });
    }
}

#[test]
fn redis_sentinel_leads_where_ours_are_at_huge_epochs() {
    let world = world!();
    for epoch in HUGE_EPOCHS {
        led_by_the_first_after(&world, [Redis, UnderTest, UnderTest], |group| {
            name_epoch(group, epoch, true);
        });
    }
}

/// A redis-sentinel at the very end is lost as a voter; the others fail over, and it follows them.
#[test]
fn ours_leads_beside_a_redis_sentinel_without_epochs() {
    let world = world!(only_ours: "two of it are lost as well");
    if !world.need("redis-sentinel") {
        return;
    }
    let programs = vec![UnderTest, UnderTest, Redis];
    let options = GroupOptions { replicas: 2, programs, ..GroupOptions::default() };
    let mut group = Group::start(&world, options);
    name_epoch(&group, (1 << 63) - 1, false);
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    let new = group.wait_switched_from(old);
    group.wait_all_follow(new);
    let epochs: BTreeSet<String> =
        group.sentinels.iter().map(|s| s.master_field(MASTER, "config-epoch")).collect();
    assert_eq!(epochs.len(), 1, "{epochs:?}");
}

/// All find out at the same time and may all stand for election.
#[test]
fn mixed_group_agrees_when_all_see_the_fault_at_once() {
    let world = world!();
    if !world.need("redis-sentinel") {
        return;
    }
    let programs = vec![UnderTest, Redis, UnderTest, Redis, UnderTest];
    let options = GroupOptions {
        sentinels: 5,
        quorum: 3,
        failover_timeout_ms: 4000,
        programs,
        ..GroupOptions::default()
    };
    let mut group = Group::start(&world, options);
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    let new = group.wait_switched_from(old);
    for sentinel in &group.sentinels {
        wait::wait("one config epoch", LONG, || {
            let epoch = sentinel.master_field(MASTER, "config-epoch");
            wait::expect_eq(epoch, group.sentinels[0].master_field(MASTER, "config-epoch"))
        });
    }
    group.nodes[0].restart();
    group.nodes[0].wait_replica_of(group.nodes[new].port);
}

/// What a sentinel knows that must outlive the program it runs in.
#[derive(Debug, PartialEq)]
struct Knowledge {
    id: String,
    current_epoch: Vec<String>,
    config_epoch: String,
    leader_epoch: Vec<String>,
    address: Option<u16>,
    replicas: BTreeSet<String>,
    peers: BTreeSet<String>,
    down_after: String,
    failover_timeout: String,
    quorum: String,
}

fn knowledge(sentinel: &Sentinel) -> Knowledge {
    let replicas = sentinel.replicas(MASTER);
    let peers = sentinel.peers(MASTER);
    Knowledge {
        id: sentinel.id(),
        current_epoch: sentinel.state_lines("current-epoch"),
        config_epoch: sentinel.master_field(MASTER, "config-epoch"),
        leader_epoch: sentinel.state_lines("leader-epoch"),
        address: sentinel.address_port(MASTER).unwrap(),
        replicas: replicas.iter().map(|replica| replica["name"].clone()).collect(),
        peers: peers.iter().map(|peer| format!("{} {}", peer["runid"], peer["port"])).collect(),
        down_after: sentinel.master_field(MASTER, "down-after-milliseconds"),
        failover_timeout: sentinel.master_field(MASTER, "failover-timeout"),
        quorum: sentinel.master_field(MASTER, "quorum"),
    }
}

/// Waits until nothing is under way and the files hold what the sentinels say.
fn settle(group: &Group) {
    group.wait_settled();
    group.wait_discovered();
    for sentinel in &group.sentinels {
        sentinel.ok(&["SENTINEL", "FLUSHCONFIG"]);
    }
}

/// One failover, asked for at one of the sentinels.
fn fail_over(group: &Group, at: usize) {
    let old = group.agreed_port().expect("all agree");
    wait::wait("the failover to be accepted", LONG, || {
        let reply = group.sentinels[at].ask(&["SENTINEL", "FAILOVER", MASTER]);
        wait::expect(reply.is_ok(), reply)
    });
    let new = group.wait_switched_from(old);
    group.wait_all_follow(new);
}

#[test]
fn a_group_of_redis_sentinel_is_taken_over_and_handed_back() {
    let world = world!();
    if !world.need("redis-sentinel") {
        return;
    }
    let options = GroupOptions { replicas: 2, programs: vec![Redis; 3], ..Default::default() };
    let mut group = Group::start(&world, options);
    fail_over(&group, 0);
    settle(&group);
    for to in [UnderTest, Redis] {
        for index in 0..group.sentinels.len() {
            let before = knowledge(&group.sentinels[index]);
            group.sentinels[index].replace_by(to);
            assert_eq!(knowledge(&group.sentinels[index]), before, "handed to {to:?}");
            group.wait_discovered();
        }
        fail_over(&group, 1);
        settle(&group);
    }
    // An unasked failover too, on files that went through both programs.
    let old = group.agreed_port().expect("all agree");
    let index = group.index(old);
    group.nodes[index].kill();
    group.wait_switched_from(old);
}

/// A file that ours wrote, with everything in it that can be set, is read by redis-sentinel.
#[test]
fn redis_sentinel_reads_the_file_of_ours() {
    let world = world!();
    if !world.need("redis-sentinel") {
        return;
    }
    let mut options = GroupOptions::default();
    let script = world.script("notify", "exit 0");
    options.sentinel.lines = vec![
        "sentinel announce-ip 127.0.0.1".into(),
        format!("sentinel notification-script {MASTER} {}", script.display()),
        format!("sentinel client-reconfig-script {MASTER} {}", script.display()),
        format!("sentinel rename-command {MASTER} DEBUG GUARDED"),
    ];
    let mut group = Group::start(&world, options);
    let sentinel = &group.sentinels[0];
    sentinel.ok(&["SENTINEL", "SET", MASTER, "auth-pass", "none", "auth-user", "watcher"]);
    sentinel.ok(&["SENTINEL", "SET", MASTER, "parallel-syncs", "4", "quorum", "3"]);
    sentinel.ok(&["SENTINEL", "CONFIG", "SET", "announce-hostnames", "yes"]);
    sentinel.ok(&["SENTINEL", "CONFIG", "SET", "sentinel-user", "peer"]);
    sentinel.ok(&["SENTINEL", "CONFIG", "SET", "sentinel-pass", "talk"]);
    sentinel.ok(&["SENTINEL", "MONITOR", "second", "127.0.0.1", "1", "1"]);
    let before = (knowledge(sentinel), sentinel.master(MASTER)["parallel-syncs"].clone());
    group.sentinels[0].replace_by(Redis);
    let sentinel = &group.sentinels[0];
    let after = (knowledge(sentinel), sentinel.master(MASTER)["parallel-syncs"].clone());
    assert_eq!(after, before);
    let reply = sentinel.ask(&["SENTINEL", "CONFIG", "GET", "sentinel-pass"]);
    assert_eq!(reply.table()["sentinel-pass"], "talk");
    assert_eq!(sentinel.address_port("second").unwrap(), Some(1));
    group.sentinels[0].replace_by(UnderTest);
    assert_eq!(knowledge(&group.sentinels[0]), before.0);
}
