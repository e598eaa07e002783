//! Faults of data nodes, sentinels, network, disks and processes: each scenario over many seeds.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use crate::net::{HostId, Us};
use crate::redis::Mode;
use crate::settle::seeds;
use crate::storm::{
    await_failover, chance, crash_at_a_step, mend, random_world, random_world_with, replace_master,
    storm,
};
use crate::world::{MS, Options, SECOND, Trap, World};

/// In which time a healed group has to come to rest.
const REST: Us = 120 * SECOND;

#[test]
fn killed_master() {
    for seed in seeds(40) {
        let mut world = random_world("killed_master", seed);
        let master = replace_master(&mut world, World::kill_server, World::restart_server);
        world.settle(REST);
        assert_ne!(world.held_master(0, 0), Some(master));
    }
}

#[test]
fn frozen_master() {
    for seed in seeds(40) {
        let mut world = random_world("frozen_master", seed);
        replace_master(&mut world, World::freeze_server, World::thaw_server);
        world.settle(REST);
    }
}

/// Shorter than down-after: nothing happens.
#[test]
fn short_freezes() {
    for seed in seeds(20) {
        let mut world = random_world("short_freezes", seed);
        let master = world.first_master(0);
        for _ in 0..5 {
            world.freeze_server(master);
            let latency = world.options.latency_us.1;
            let still = world.options.down_after_ms * MS - 2 * latency - 110 * MS;
            let still = world.rng.below(still);
            world.run_for(still);
            world.thaw_server(master);
            let pause = 200 * MS + world.rng.below(SECOND);
            world.run_for(pause);
        }
        assert_eq!(world.checks.count("+sdown"), 0);
        world.settle(REST);
    }
}

const STEPS: [&str; 10] = [
    "+sdown",
    "+odown",
    "+new-epoch",
    "+try-failover",
    "+vote-for-leader",
    "+elected-leader",
    "+selected-slave",
    "+failover-state-wait-promotion",
    "+promoted-slave",
    "+slave-reconf-sent",
];

/// Whoever comes to a step of the failover dies there, or a moment later, and comes back later.
#[test]
fn crashing_leader() {
    for seed in seeds(120) {
        let mut world = random_world("crashing_leader", seed);
        crash_at_a_step(&mut world, &STEPS);
        world.settle(REST);
    }
}

/// Sentinels crash and come back all the time while the master is away.
#[test]
fn crashing_sentinels() {
    for seed in seeds(40) {
        let mut world = random_world("crashing_sentinels", seed);
        let master = world.first_master(0);
        world.kill_server(master);
        for _ in 0..10 {
            let pause = world.rng.below(800) * MS;
            world.run_for(pause);
            let at = world.rng.below(world.sentinels.len() as u64) as usize;
            if world.sentinels[at].runs() {
                let silently = chance(&mut world, 30);
                world.crash(at, silently);
            } else {
                world.restart_sentinel(at);
            }
        }
        for at in 0..world.sentinels.len() {
            if !world.sentinels[at].runs() {
                world.restart_sentinel(at);
            }
        }
        await_failover(&mut world, master);
        world.restart_server(master);
        world.settle(REST);
    }
}

/// The master and a minority of the sentinels on one side.
#[test]
fn partition() {
    for seed in seeds(60) {
        let mut world = random_world("partition", seed);
        let master = world.first_master(0);
        let minority = world.rng.below(world.options.sentinels as u64 / 2 + 1) as usize;
        let mut cut: Vec<HostId> = (0..minority).collect();
        cut.push(master);
        let last = master + world.options.replicas;
        if world.options.replicas > 1 && chance(&mut world, 30) {
            cut.push(last);
        }
        world.cut_off(&cut);
        let limit = world.options.down_after_ms * MS + 40 * SECOND;
        world.await_for("the majority has a new master", limit, |world| {
            (minority..world.options.sentinels).all(|at| world.held_master(at, 0) != Some(master))
        });
        let away = world.rng.below(30_000) * MS;
        world.run_for(away);
        world.heal();
        world.settle(REST);
    }
}

/// Cuts at random, again and again.
#[test]
fn restless_network() {
    for seed in seeds(60) {
        let mut world = random_world("restless_network", seed);
        let data = world.options.replicas + 1;
        for _ in 0..6 {
            let hosts = world.options.sentinels + data;
            let cut: Vec<HostId> = (0..hosts).filter(|_| chance(&mut world, 35)).collect();
            world.cut_off(&cut);
            let pause = world.rng.below(6_000) * MS;
            world.run_for(pause);
            if chance(&mut world, 70) {
                world.heal();
                let pause = world.rng.below(3_000) * MS;
                world.run_for(pause);
            }
        }
        world.heal();
        world.settle(REST);
    }
}

/// Saves take up to 3 s, and some fail.
#[test]
fn bad_disks() {
    for seed in seeds(60) {
        let mut world = random_world("bad_disks", seed);
        let slowest = [50 * MS, 600 * MS, 3 * SECOND][world.rng.below(3) as usize];
        world.options.save_us = (MS, slowest);
        world.options.save_fails_percent = [0, 10, 50][world.rng.below(3) as usize];
        let master = world.first_master(0);
        world.kill_server(master);
        world.await_for("all have a new master", REST, |world| world.all_moved(0, master));
        if chance(&mut world, 50) {
            let at = world.rng.below(world.options.sentinels as u64) as usize;
            world.crash(at, false);
            world.restart_sentinel(at);
        }
        world.restart_server(master);
        let pause = world.rng.below(3_000) * MS;
        world.run_for(pause);
        world.options.save_fails_percent = 0;
        world.settle(REST);
    }
}

/// Saves take 3 s, each of them: votes come late, but they come, and nothing else waits.
#[test]
fn slow_disks() {
    for seed in seeds(20) {
        let change = |options: &mut Options, _: &mut Rng| options.failover_timeout_ms = 20_000;
        let mut world = random_world_with("slow_disks", seed, change);
        world.options.save_us = (3 * SECOND, 3 * SECOND);
        world.run_for(5 * SECOND);
        let master = world.first_master(0);
        world.kill_server(master);
        let limit = world.options.down_after_ms * MS + 8 * SECOND;
        world.await_for("all have a new master", limit, |world| world.all_moved(0, master));
        world.restart_server(master);
        world.settle(REST);
        let down: Vec<_> =
            world.checks.events.iter().filter(|event| event.name == "+sdown").collect();
        assert!(down.iter().all(|event| event.text.contains(" 10.0.0.")), "{down:?}");
        assert_eq!(world.checks.count("+tilt"), 0);
    }
}

/// A pause shorter than the tilt trigger proves nothing about others.
#[test]
fn paused_sentinel() {
    for seed in seeds(30) {
        let change = |options: &mut Options, _: &mut Rng| options.down_after_ms = 1_000;
        let mut world = random_world_with("paused_sentinel", seed, change);
        for _ in 0..3 {
            let at = world.rng.below(world.options.sentinels as u64) as usize;
            world.pause(at);
            world.run_for(1_500 * MS);
            world.resume(at);
            let pause = world.rng.below(3_000) * MS;
            world.run_for(pause);
        }
        let about = |event: &&crate::checks::Event| {
            event.name == "+sdown" && !event.text.starts_with("sentinel ")
        };
        assert_eq!(world.checks.events.iter().find(about), None);
        assert_eq!(world.checks.count("+tilt"), 0);
        world.settle(REST);
    }
}

/// After 4 s of standing still a sentinel does not trust itself; the others go on.
#[test]
fn tilt() {
    for seed in seeds(30) {
        let mut world = random_world("tilt", seed);
        let master = world.first_master(0);
        let at = world.rng.below(world.options.sentinels as u64) as usize;
        world.pause(at);
        let first = world.rng.below(4_000) * MS;
        world.run_for(first);
        let fails = chance(&mut world, 50);
        if fails {
            world.kill_server(master);
        }
        world.run_for(4 * SECOND - first);
        world.resume(at);
        world.run_for(SECOND);
        assert_eq!(world.checks.count("+tilt"), 1);
        world.run_for(20 * SECOND);
        assert_eq!(world.checks.count("-tilt"), 0);
        if fails {
            await_failover(&mut world, master);
            world.restart_server(master);
        }
        world.run_for(15 * SECOND);
        assert_eq!(world.checks.count("-tilt"), 1);
        world.settle(REST);
    }
}

/// Whoever comes to a step of the failover stands still there, long enough for tilt.
#[test]
fn leader_in_tilt() {
    for seed in seeds(80) {
        let mut world = random_world("leader_in_tilt", seed);
        let master = world.first_master(0);
        let event = STEPS[world.rng.below(6) as usize];
        world.trap = Some(Trap { event, dies: false, caught: None });
        world.kill_server(master);
        let caught = |world: &World| world.trap.as_ref().and_then(|trap| trap.caught);
        if world.run_until(10 * SECOND, |world| caught(world).is_some()) {
            let leader = caught(&world).expect("it was just seen");
            let moment = world.rng.below(5_000);
            world.run_for(moment);
            world.pause(leader);
            let still = 2_500 * MS + world.rng.below(2_000) * MS;
            world.run_for(still);
            world.resume(leader);
            world.run_for(SECOND);
            assert_eq!(world.checks.count("+tilt"), 1);
        }
        world.restart_server(master);
        world.run_for(35 * SECOND);
        world.settle(REST);
    }
}

/// Nodes that answer with errors for a while.
#[test]
fn busy_and_loading() {
    for seed in seeds(20) {
        let mut world = random_world("busy_and_loading", seed);
        let master = world.first_master(0);
        world.set_mode(master, Mode::Loading);
        world.run_for(5 * SECOND);
        assert_eq!(world.checks.count("+sdown"), 0);
        world.set_mode(master, Mode::Normal);
        world.run_for(SECOND);
        let replica = master + 1;
        world.set_mode(replica, Mode::Busy);
        world.run_for(world.options.down_after_ms * MS + 5 * SECOND);
        assert!(world.checks.count("+sdown") > 0);
        assert_eq!(world.farm.at(replica).expect("a node").mode, Mode::Normal, "SCRIPT KILL");
        world.settle(REST);
        assert_eq!(world.checks.count("+try-failover"), 0);
    }
}

/// Anything at any time; then everything is healed.
#[test]
fn chaos() {
    for seed in seeds(80) {
        let mut world = random_world("chaos", seed);
        world.options.save_fails_percent = [0, 0, 10][world.rng.below(3) as usize];
        storm(&mut world);
        world.options.save_fails_percent = 0;
        mend(&mut world);
        world.settle(REST);
    }
}
