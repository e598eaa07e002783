//! Connects: first segments that are lost, zones in which they all hang, and those that wait for
//! their turn in the process that makes them.
#![forbid(unsafe_code)]

use crate::checks::Event;
use crate::net::Us;
use crate::settle::seeds;
use crate::storm::{random_world, random_world_with};
use crate::world::{MS, Options, SECOND, World};

const REST: Us = 120 * SECOND;

/// All connections that stand die, with what was in them.
fn lose_all_connections(world: &mut World) {
    let stand = world.net.conns.iter().filter(|(_, conn)| conn.established);
    let keys: Vec<_> = stand.map(|(key, _)| key).collect();
    for key in keys {
        world.reset(key);
    }
}

fn hosts(world: &World) -> std::ops::Range<usize> {
    0..world.operator()
}

/// However long a connect waits for its turn, longer than links are left alone too: nobody is held
/// down for it, and in the end all are connected.
#[test]
fn connects_that_wait_for_us_are_nobodys_silence() {
    for seed in seeds(30) {
        let mut world = random_world("connects_that_wait", seed);
        let longest = [300 * MS, 3 * SECOND, 20 * SECOND][world.rng.below(3) as usize];
        world.options.connect_wait_us = (0, longest);
        for _ in 0..4 {
            lose_all_connections(&mut world);
            let pause = longest / 4 + world.rng.below(longest);
            world.run_for(pause);
        }
        world.run_for(longest + 5 * SECOND);
        let down = world.checks.events.iter().find(|event| event.name == "+sdown");
        assert_eq!(down, None, "seed {seed}");
        world.options.connect_wait_us = (0, 0);
        world.settle(REST);
    }
}

/// A master that is killed while connects wait is replaced all the same.
#[test]
fn a_killed_master_is_found_dead_though_connects_wait() {
    for seed in seeds(20) {
        let mut world = random_world("a_killed_master_is_found_dead", seed);
        world.options.connect_wait_us = (0, SECOND);
        let master = world.first_master(0);
        world.kill_server(master);
        // Each step may wait once, and one attempt is under way when the time is over.
        let limit = world.options.down_after_ms * MS + 15 * SECOND;
        world.await_for("all have a new master", limit, |world| world.all_moved(0, master));
        world.restart_server(master);
        world.options.connect_wait_us = (0, 0);
        world.settle(REST);
    }
}

/// On a slow path one first segment of two is lost at the first try: the second one comes through
/// before the connect is given up.
#[test]
fn a_slow_path_that_loses_a_first_segment_connects_all_the_same() {
    for seed in seeds(20) {
        let change = |options: &mut Options, _: &mut sentineld::util::rng::Rng| {
            options.latency_us = (140 * MS, 150 * MS);
            options.down_after_ms = 3_000;
        };
        let mut world = random_world_with("a_slow_path", seed, change);
        for to in hosts(&world) {
            for from in hosts(&world) {
                world.net.lose_first_syns(from, to);
            }
        }
        lose_all_connections(&mut world);
        world.run_for(10 * SECOND);
        let given_up = |event: &&Event| event.text.ends_with("#connect timed out");
        assert_eq!(world.checks.events.iter().find(given_up), None, "seed {seed}");
        assert_eq!(world.checks.count("+sdown"), 0, "seed {seed}");
        world.heal();
        world.settle(REST);
    }
}
