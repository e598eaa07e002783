//! Thousands of masters in one node, in memory and in virtual time: what grows with them and what
//! must not. Allocations and bytes are counted, so the results do not depend on the machine.
//!
//! `SCALE_MASTERS=n` runs the sizes of the growth tests up to n; under callgrind with
//! `--toggle-collect='*Node*'` the instructions of the same run are those of the node alone.

mod count;
mod farm;
#[path = "../support/no_files.rs"]
mod no_files;

use farm::{Farm, Options};

/// Half a minute: connected, discovered, INFO asked twice, every buffer as large as it gets.
const WARM_MS: u64 = 31_000;

fn settled(options: Options) -> Farm {
    let mut farm = Farm::new(options);
    farm.run(WARM_MS);
    let (replicas, peers) = farm.known();
    assert_eq!((replicas, peers), (2 * options.masters, 2 * options.masters));
    farm
}

#[test]
fn what_runs_all_the_time_takes_no_memory() {
    let mut farm = settled(Options { masters: 400, info_ms: 600_000, ..Options::default() });
    let (before, seconds) = (farm.traffic, 20);
    let spent = count::allocations(|| farm.run(1_000 * seconds));
    let sent = farm.traffic.minus(&before);
    assert!(sent.pings >= 1_150 * seconds, "PINGs go on: {sent:?}");
    assert!(sent.hellos >= 900 * seconds, "hellos go on: {sent:?}");
    assert!(sent.heard >= 1_190 * seconds, "hellos arrive: {sent:?}");
    // Buffers that are kept may still grow now and then.
    assert!(spent.allocations <= seconds, "{spent:?} for {sent:?}");
}

#[test]
fn info_that_says_nothing_new_is_not_taken_apart() {
    let mut farm = settled(Options { masters: 400, ..Options::default() });
    let before = farm.traffic;
    let spent = count::allocations(|| farm.run(20_000));
    let sent = farm.traffic.minus(&before);
    assert!(sent.infos >= 2_200, "{sent:?}");
    // The list of a master's replicas, no more.
    assert!(spent.allocations <= sent.infos / 2, "{spent:?} for {sent:?}");
}

#[test]
fn commands_of_an_instance_share_packets() {
    let mut farm = settled(Options { masters: 400, ..Options::default() });
    let before = farm.traffic;
    farm.run(20_000);
    let sent = farm.traffic.minus(&before);
    let commands = sent.pings + sent.hellos + sent.infos;
    // A PING a second is the floor; what else is due goes along.
    assert!(sent.writes <= sent.pings + sent.pings / 10, "{sent:?}");
    assert!(commands >= sent.pings + sent.pings / 2 - sent.pings / 10, "{sent:?}");
    // Own hellos and those of two others, a round every 2 s, read two rounds at a time.
    assert!(sent.reads <= sent.writes + sent.heard / 2, "{sent:?}");
    // Fifty moments of a second, the answers to each, and what others begin.
    assert!(sent.turns <= 20 * 450, "{sent:?}");
}

/// What one master with two replicas, under two other sentinels, takes.
fn weigh(masters: usize) -> (u64, f64) {
    let options = Options { masters, info_bytes: 500, ..Options::default() };
    let spent = count::allocations(|| {
        let mut farm = settled(options);
        let live = count::live_bytes();
        let before = farm.traffic;
        farm.run(4_000);
        let work = farm.traffic.minus(&before).work();
        drop(farm);
        (live, work)
    });
    let (live, work) = spent.result;
    (live / masters as u64, work as f64 / masters as f64)
}

#[test]
fn memory_and_work_grow_linearly() {
    let largest = std::env::var("SCALE_MASTERS").ok().and_then(|n| n.parse().ok());
    let (small_bytes, small_work) = weigh(500);
    let largest = largest.unwrap_or(2_000);
    let (large_bytes, large_work) = weigh(largest);
    println!("500 masters: {small_bytes} bytes and {small_work:.1} pieces of work in 4 s each");
    println!("{largest} masters: {large_bytes} bytes and {large_work:.1} pieces of work each");
    assert!(large_bytes <= small_bytes + small_bytes / 4, "{small_bytes} → {large_bytes}");
    assert!(large_bytes <= 10_500, "{large_bytes} bytes for a master");
    assert!(large_work <= small_work * 1.1, "{small_work} → {large_work}");
}

/// A zone with the masters of a thousand groups falls silent, and connects into it hang. Nobody in
/// the groups beside them is held down for it: not while the links into the zone are made anew, not
/// in the mass failover, and not when all links of the healthy ones break among all those connects.
#[test]
fn a_dark_zone_takes_nobody_with_it_and_costs_little() {
    const HEALTHY: std::ops::Range<usize> = 0..200;
    const LOST: std::ops::Range<usize> = 200..1_200;
    let mut farm = settled(Options { masters: 1_200, ..Options::default() });
    assert_eq!(farm.standing(HEALTHY), 200 * 6);
    let closed = farm.closed;
    farm.darken(LOST);
    let run = |farm: &mut Farm, ms: u64| {
        for _ in 0..ms / 100 {
            farm.run(100);
            assert_eq!(farm.down(HEALTHY), 0);
        }
    };
    run(&mut farm, 8_000);
    assert_eq!(farm.switched(), LOST.len());
    // Links that bring nothing are made anew after a while: now all connects into the zone hang.
    run(&mut farm, 12_000);
    assert_eq!(farm.standing(LOST), LOST.len() * 4, "the other nodes of these groups");
    for _ in 0..10 {
        farm.kick(HEALTHY);
        farm.run(100);
        assert_eq!(farm.standing(HEALTHY), 200 * 6, "back at once");
        run(&mut farm, 3_000);
    }
    // Nothing but links into the zone was given up, and these are tried now and then only.
    assert_eq!(farm.closed - closed, farm.closed_hung);
    let before = farm.traffic;
    run(&mut farm, 15_000);
    let connects = farm.traffic.minus(&before).connects;
    assert!((2_000..=2 * 2_000 + 100).contains(&connects), "{connects} connects in 15 s");
}

#[test]
fn all_masters_fail_over_at_once_and_no_link_is_lost() {
    let masters = 2_000;
    let mut farm = settled(Options { masters, peer_bytes_per_ms: 512, ..Options::default() });
    let closed = farm.closed;
    let began = farm.now();
    farm.hang_masters();
    while farm.switched() < masters {
        farm.run(100);
        assert!(farm.now() - began < 20_000, "{} of {masters} switched", farm.switched());
    }
    farm.run(1_000);
    println!("all switched after {} ms", farm.now() - began);
    // The replicas of each: what is published there was wanted at once.
    assert!(farm.gathering_ended >= 2 * masters as u64, "{}", farm.gathering_ended);
    // Only connections to the masters that hang may have been given up.
    assert_eq!(farm.closed - closed, farm.closed_hung, "links that worked were closed");
    assert!(farm.peer_backlog_max > 64 * 1024, "the peers kept up: nothing was shown");
    assert!(farm.peer_backlog_max <= 256 * 1024, "{}", farm.peer_backlog_max);
}
