//! Elections and speed: how often a second candidacy is needed, how long a failover takes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::net::Us;
use crate::settle::seeds;
use crate::world::{MS, Options, SECOND, World};

const REST: Us = 120 * SECOND;

/// Virtual times of one failover, less down-after.
struct Times {
    /// A replica is master.
    promoted_us: Us,
    /// Every sentinel gives the new address.
    all_us: Us,
}

/// Where the time runs: one master, two replicas, three sentinels, a quick network and disk.
fn failover(name: &'static str, seed: u64, frozen: bool) -> Times {
    let mut world = World::new(name, seed, Options::default());
    world.discover();
    let master = world.first_master(0);
    let fault = world.now;
    match frozen {
        true => world.freeze_server(master),
        false => world.kill_server(master),
    }
    world.await_for("all give the new address", 10 * SECOND, |w| w.all_moved(0, master));
    let origin = fault + world.options.down_after_ms * MS;
    let first = |name: &str| {
        let mut events = world.checks.events.iter();
        events.find(|event| event.name == name).expect("it was promoted").at
    };
    let last = world.last_event("+switch-master", fault).expect("all have switched");
    let promoted_us = first("+promoted-slave").saturating_sub(origin);
    let all_us = last.saturating_sub(origin);
    if frozen {
        world.thaw_server(master);
    } else {
        world.restart_server(master);
    }
    if seed < 4 {
        world.settle(REST);
    }
    Times { promoted_us, all_us }
}

fn print_times(what: &str, pick: impl Fn(&Times) -> Us, times: &[Times]) -> Us {
    let mut all: Vec<Us> = times.iter().map(pick).collect();
    all.sort_unstable();
    let (median, worst) = (all[all.len() / 2], all[all.len() - 1]);
    let ms = |us: Us| us as f64 / 1_000.0;
    println!("{what}: median {:.1} ms, worst {:.1} ms", ms(median), ms(worst));
    worst
}

#[test]
fn speed_after_a_kill() {
    let run = |seed| failover("speed_after_a_kill", seed, false);
    let times: Vec<Times> = seeds(60).into_iter().map(run).collect();
    print_times("killed, promoted", |times| times.promoted_us, &times);
    let worst = print_times("killed, all give the new address", |times| times.all_us, &times);
    assert!(worst <= 100 * MS, "{worst} us");
}

#[test]
fn speed_after_a_freeze() {
    let run = |seed| failover("speed_after_a_freeze", seed, true);
    let times: Vec<Times> = seeds(60).into_iter().map(run).collect();
    print_times("frozen, promoted", |times| times.promoted_us, &times);
    let worst = print_times("frozen, all give the new address", |times| times.all_us, &times);
    assert!(worst <= 250 * MS, "{worst} us");
}

/// Kills all masters at the same instant; gives failovers, candidacies and epochs used.
fn elect(name: &'static str, seed: u64, options: Options) -> (usize, usize, u64) {
    let mut world = World::new(name, seed, options);
    world.discover();
    let masters: Vec<_> = (0..world.options.masters).map(|g| world.first_master(g)).collect();
    for master in &masters {
        world.kill_server(*master);
    }
    world.await_for("all have new masters", 60 * SECOND, |world| {
        (0..masters.len()).all(|group| world.all_moved(group, masters[group]))
    });
    let mut by_master: BTreeMap<String, usize> = BTreeMap::new();
    for event in world.checks.events.iter().filter(|event| event.name == "+try-failover") {
        *by_master.entry(event.master().to_owned()).or_default() += 1;
    }
    let candidacies = by_master.values().sum();
    let epochs = world.sentinels[0].node.as_ref().expect("it runs").current_epoch();
    (masters.len(), candidacies, epochs)
}

/// How many failovers of how many seeds needed more than one candidacy, at most 5 %.
fn count_candidacies(name: &'static str, count: u64, options: &Options) {
    let (mut failovers, mut further) = (0, 0);
    for seed in seeds(count) {
        let (masters, candidacies, _) = elect(name, seed, options.clone());
        failovers += masters;
        further += candidacies - masters;
    }
    let percent = 100.0 * further as f64 / failovers as f64;
    println!("{name}: {further} further candidacies in {failovers} failovers ({percent:.2} %)");
    assert!(percent <= 5.0, "{percent} %");
}

#[test]
fn five_sentinels_detect_at_once() {
    let options = Options { sentinels: 5, quorum: 3, ..Options::default() };
    count_candidacies("five_sentinels_detect_at_once", 100, &options);
}

#[test]
fn seventeen_sentinels_detect_at_once() {
    let options = Options { sentinels: 17, quorum: 9, ..Options::default() };
    count_candidacies("seventeen_sentinels_detect_at_once", 20, &options);
}

#[test]
fn three_sentinels_far_apart() {
    let latency_us = (5 * MS, 25 * MS);
    let options = Options { latency_us, save_us: (2 * MS, 12 * MS), ..Options::default() };
    count_candidacies("three_sentinels_far_apart", 100, &options);
}

#[test]
fn twenty_masters_fail_together() {
    let options = Options { masters: 20, replicas: 1, ..Options::default() };
    let (mut failovers, mut candidacies, mut epochs) = (0, 0, 0);
    for seed in seeds(6) {
        let counts = elect("twenty_masters_fail_together", seed, options.clone());
        failovers += counts.0;
        candidacies += counts.1;
        epochs += counts.2;
    }
    println!("{failovers} masters failed together: {candidacies} candidacies, {epochs} epochs");
    assert!(candidacies * 100 <= failovers * 105);
}
