//! Groups whose nodes refuse: what is put right heals, and what need not be put right does no harm.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use crate::net::Us;
use crate::redis::denials::Denial;
use crate::refusing::{OTHER, PASSWORD, with_passwords};
use crate::settle::seeds;
use crate::storm::{await_failover, random_world_with};
use crate::world::{MS, Options, SECOND, World};

/// In which time a healed group has to come to rest.
const REST: Us = 120 * SECOND;

fn world_of(name: &'static str, seed: u64) -> World {
    random_world_with(name, seed, |options: &mut Options, _: &mut Rng| {
        options.replicas = 2;
        with_passwords(options);
    })
}

/// The old master comes back with a password that nobody knows, and is a replica soon after that
/// is put right on it.
#[test]
fn a_password_is_put_right_on_the_old_master() {
    for seed in seeds(10) {
        let mut world = world_of("a_password_is_put_right_on_the_old_master", seed);
        let master = world.first_master(0);
        world.kill_server(master);
        await_failover(&mut world, master);
        world.farm.at_mut(master).set_password(Some(OTHER));
        world.restart_server(master);
        let wrong = world.rng.below(30) * SECOND;
        world.run_for(wrong);
        let still = world.farm.masters_of(0);
        assert!(still.contains(&master), "it could not be told: {still:?}");
        world.farm.at_mut(master).set_password(Some(PASSWORD));
        // Longer than the longest pause between two tries, and the time in which it is told.
        world.await_for("it follows", 25 * SECOND, |world| {
            !world.farm.masters_of(0).contains(&master)
        });
        world.settle(REST);
    }
}

/// One replica takes no SLAVEOF: the other one is promoted, whatever their order is.
#[test]
fn a_replica_that_refuses_to_be_promoted_is_passed_over() {
    for seed in seeds(10) {
        for denial in [Denial::NoPermission, Denial::Renamed] {
            let mut world = world_of("a_replica_that_refuses_is_passed_over", seed);
            let master = world.first_master(0);
            world.farm.at_mut(master + 1).priority = 1;
            world.run_for(15 * SECOND);
            world.deny(master + 1, ("slaveof", ""), denial);
            world.kill_server(master);
            await_failover(&mut world, master);
            assert_eq!(world.held_master(0, 0), Some(master + 2), "{denial:?}");
            world.farm.at_mut(master + 1).permit_all();
            world.restart_server(master);
            world.settle(REST);
        }
    }
}

/// What is beside SLAVEOF in its transaction keeps no replica from being promoted, and no one from
/// following it.
#[test]
fn failover_without_the_commands_beside_slaveof() {
    for (at, command) in [("multi", ""), ("exec", ""), ("config", "rewrite"), ("client", "kill")]
        .into_iter()
        .enumerate()
    {
        for denial in [Denial::NoPermission, Denial::Renamed] {
            let seed = 1 + at as u64;
            let mut world = world_of("failover_without_a_command", seed);
            let master = world.first_master(0);
            for host in master..=master + 2 {
                world.deny(host, command, denial);
            }
            world.kill_server(master);
            await_failover(&mut world, master);
            world.restart_server(master);
            world.settle(REST);
        }
    }
}

/// All replicas load when the master dies; one is promoted soon after it has.
#[test]
fn replicas_that_load_are_promoted_when_they_have() {
    for seed in seeds(10) {
        let mut world = world_of("replicas_that_load_are_promoted", seed);
        // So long that a promotion that was refused and not noticed would be seen.
        world.run_for(SECOND);
        let master = world.first_master(0);
        let load_us = 3 * SECOND + world.rng.below(20 * SECOND);
        let shorter = world.rng.below(2 * SECOND);
        world.kill_server(master);
        world.restart_loading(master + 1, load_us);
        world.restart_loading(master + 2, load_us - shorter);
        world.run_for(load_us);
        let promoted = |world: &World| !world.farm.masters_of(0).is_empty();
        let limit = (world.options.down_after_ms + 2 * world.options.failover_timeout_ms) * MS;
        world.await_for("one is promoted", limit + 5 * SECOND, promoted);
        world.restart_server(master);
        world.settle(REST);
    }
}
