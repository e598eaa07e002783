//! Groups of sentinels of ours and of C-like ones.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use crate::net::{HostId, Us};
use crate::settle::{random_options, seeds};
use crate::storm::{chance, mend, storm};
use crate::world::{MS, Options, SECOND, Trap, World};

const REST: Us = 180 * SECOND;

/// Three or five sentinels, some of each kind.
fn mixed_world(name: &'static str, seed: u64) -> World {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let options = random_options(&mut rng);
    let c_peers = 1 + rng.below(options.sentinels as u64 - 1) as usize;
    let mut world = World::new(name, seed, Options { c_peers, ..options });
    world.discover();
    world
}

/// C waits for 2 × failover-timeout after an election that failed.
fn await_failover(world: &mut World, old: HostId) {
    let limit = (world.options.down_after_ms + 6 * world.options.failover_timeout_ms) * MS;
    world.await_for("all have a new master", limit, |world| world.all_moved(0, old));
}

#[test]
fn mixed_groups_replace_a_killed_master() {
    for seed in seeds(60) {
        let mut world = mixed_world("mixed_groups_replace_a_killed_master", seed);
        let master = world.first_master(0);
        world.kill_server(master);
        await_failover(&mut world, master);
        let away = world.rng.below(30_000) * MS;
        world.run_for(away);
        world.restart_server(master);
        world.settle(REST);
    }
}

#[test]
fn mixed_groups_replace_a_frozen_master() {
    for seed in seeds(60) {
        let mut world = mixed_world("mixed_groups_replace_a_frozen_master", seed);
        let master = world.first_master(0);
        world.freeze_server(master);
        await_failover(&mut world, master);
        let away = world.rng.below(30_000) * MS;
        world.run_for(away);
        world.thaw_server(master);
        world.settle(REST);
    }
}

const STEPS: [&str; 9] = [
    "+sdown",
    "+odown",
    "+try-failover",
    "+vote-for-leader",
    "+elected-leader",
    "+selected-slave",
    "+failover-state-wait-promotion",
    "+promoted-slave",
    "+slave-reconf-sent",
];

/// Whoever of them comes to a step of the failover dies there, and comes back later.
#[test]
fn mixed_groups_outlive_a_leader() {
    for seed in seeds(120) {
        let mut world = mixed_world("mixed_groups_outlive_a_leader", seed);
        let master = world.first_master(0);
        let event = STEPS[world.rng.below(STEPS.len() as u64) as usize];
        let dies = chance(&mut world, 50);
        world.trap = Some(Trap { event, dies, caught: None });
        world.kill_server(master);
        let caught = |world: &World| world.trap.as_ref().and_then(|trap| trap.caught);
        if world.run_until(10 * SECOND, |world| caught(world).is_some()) {
            let leader = caught(&world).expect("it was just seen");
            if !dies {
                let moment = world.rng.below(10_000);
                world.run_for(moment);
                let silently = chance(&mut world, 30);
                world.crash(leader, silently);
            }
            let away = world.rng.below(10_000) * MS;
            world.run_for(away);
            world.restart_sentinel(leader);
        }
        if chance(&mut world, 50) {
            world.restart_server(master);
        }
        world.settle(REST);
    }
}

#[test]
fn mixed_groups_heal_after_a_partition() {
    for seed in seeds(80) {
        let mut world = mixed_world("mixed_groups_heal_after_a_partition", seed);
        let master = world.first_master(0);
        let minority = world.rng.below(world.options.sentinels as u64 / 2 + 1) as usize;
        let first = match chance(&mut world, 50) {
            true => 0,
            false => world.options.sentinels - minority,
        };
        let mut cut: Vec<HostId> = (first..first + minority).collect();
        cut.push(master);
        world.cut_off(&cut);
        let away = world.rng.below(40_000) * MS;
        world.run_for(away);
        world.heal();
        world.settle(REST);
    }
}

/// Anything at any time; then everything is healed.
#[test]
fn mixed_groups_outlive_chaos() {
    for seed in seeds(120) {
        let mut world = mixed_world("mixed_groups_outlive_chaos", seed);
        storm(&mut world);
        mend(&mut world);
        world.settle(REST);
    }
}
