//! Groups of sentinels of ours and of C-like ones.
#![forbid(unsafe_code)]

use crate::net::{HostId, Us};
use crate::settle::seeds;
use crate::storm::{chance, crash_at_a_step, mend, random_world_with, replace_master, storm};
use crate::world::{MS, SECOND, World};

const REST: Us = 180 * SECOND;

/// Three or five sentinels, some of each kind.
fn mixed_world(name: &'static str, seed: u64) -> World {
    random_world_with(name, seed, |options, rng| {
        options.c_peers = 1 + rng.below(options.sentinels as u64 - 1) as usize;
    })
}

#[test]
fn mixed_groups_replace_a_killed_master() {
    for seed in seeds(60) {
        let mut world = mixed_world("mixed_groups_replace_a_killed_master", seed);
        replace_master(&mut world, World::kill_server, World::restart_server);
        world.settle(REST);
    }
}

#[test]
fn mixed_groups_replace_a_frozen_master() {
    for seed in seeds(60) {
        let mut world = mixed_world("mixed_groups_replace_a_frozen_master", seed);
        replace_master(&mut world, World::freeze_server, World::thaw_server);
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

/// Whoever of them comes to a step of the failover dies there, or a moment later.
#[test]
fn mixed_groups_outlive_a_leader() {
    for seed in seeds(120) {
        let mut world = mixed_world("mixed_groups_outlive_a_leader", seed);
        crash_at_a_step(&mut world, &STEPS);
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

/// Two or all are told to fail over at the same moment, whatever their kind: those of ours settle
/// what comes of it.
#[test]
fn mixed_groups_settle_two_addresses_in_one_epoch() {
    for seed in seeds(80) {
        let name = "mixed_groups_settle_two_addresses_in_one_epoch";
        let mut world = mixed_world(name, seed);
        let all: Vec<usize> = (0..world.options.sentinels).collect();
        let (first, last) = (world.rng.below(2) as usize, all.len() - 1);
        for _ in 0..2 {
            match world.rng.below(4) {
                0 => world.force_at_once(&[first, last]),
                1 => world.force_at_once(&all),
                _ => world.force_on_both_sides(),
            }
            world.settle(REST);
        }
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
