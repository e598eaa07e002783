//! What befalls data nodes beyond dying and hanging: lost data, slow transfers, chains, passwords,
//! INFO that does not come, files that cannot be written.
#![forbid(unsafe_code)]

use crate::net::Us;
use crate::redis::faults::{ConfigFile, Data, InfoAnswer};
use crate::settle::seeds;
use crate::storm::{await_failover, random_world_with};
use crate::world::{MS, SECOND, World};

/// In which time a healed group has to come to rest.
const REST: Us = 120 * SECOND;

fn world_of(name: &'static str, seed: u64, replicas: usize) -> World {
    random_world_with(name, seed, |options, _| options.replicas = replicas)
}

/// The old master comes back as a master with nothing and is made a replica.
#[test]
fn old_master_returns_empty() {
    for seed in seeds(20) {
        let mut world = world_of("old_master_returns_empty", seed, 2);
        let master = world.first_master(0);
        world.kill_server(master);
        await_failover(&mut world, master);
        world.farm.restart_with(world.now, master, Data::Empty, &mut world.rng);
        world.settle(REST);
        assert_ne!(world.held_master(0, 0), Some(master));
    }
}

/// Every full transfer takes seconds, with a replica that loads meanwhile.
#[test]
fn slow_transfers() {
    for seed in seeds(20) {
        let mut world = world_of("slow_transfers", seed, 3);
        for server in &mut world.farm.servers {
            server.times.wait_us = 500 * MS;
            server.times.send_us = 2 * SECOND;
            server.times.load_us = 2 * SECOND;
        }
        let master = world.first_master(0);
        world.kill_server(master);
        await_failover(&mut world, master);
        world.farm.restart_with(world.now, master, Data::Saved, &mut world.rng);
        world.settle(REST);
    }
}

/// A replica of a replica is told to follow the master, and all follow a new one.
#[test]
fn chained_replicas() {
    for seed in seeds(20) {
        let mut world = world_of("chained_replicas", seed, 3);
        let master = world.first_master(0);
        world.farm.set_master(world.now, &mut world.rng, master + 2, Some(master + 1));
        let pause = world.rng.below(5_000) * MS;
        world.run_for(pause);
        world.kill_server(master);
        await_failover(&mut world, master);
        world.restart_server(master);
        world.settle(REST);
    }
}

/// A replica whose INFO is refused, or never comes, is not promoted.
#[test]
fn replica_without_info() {
    for seed in seeds(20) {
        let mut world = world_of("replica_without_info", seed, 2);
        let master = world.first_master(0);
        let mute = master + 1 + world.rng.below(2) as usize;
        let answer = [InfoAnswer::Refused, InfoAnswer::Silent][world.rng.below(2) as usize];
        world.farm.at_mut(mute).set_info_answer(answer);
        world.run_for(15 * SECOND);
        world.kill_server(master);
        await_failover(&mut world, master);
        assert_ne!(world.held_master(0, 0), Some(mute), "{answer:?}");
        world.farm.at_mut(mute).set_info_answer(InfoAnswer::Given);
        world.restart_server(master);
        world.settle(REST);
    }
}

/// No node can write its file: whoever was promoted is a replica again after a restart, and the
/// sentinels see to it that it follows the right one.
#[test]
fn role_that_is_not_written() {
    for seed in seeds(20) {
        let mut world = world_of("role_that_is_not_written", seed, 2);
        for server in &mut world.farm.servers {
            server.set_config_file(ConfigFile::Fails);
        }
        let master = world.first_master(0);
        world.kill_server(master);
        await_failover(&mut world, master);
        world.restart_server(master);
        world.settle(REST);
        let new = world.held_master(0, 0).expect("settled");
        world.kill_server(new);
        await_failover(&mut world, new);
        world.restart_server(new);
        world.settle(REST);
    }
}

/// New connections to a node are refused for want of a password: it counts as down.
#[test]
fn wrong_password() {
    for seed in seeds(10) {
        let mut world = world_of("wrong_password", seed, 2);
        let replica = world.first_master(0) + 1;
        world.farm.at_mut(replica).set_password(Some(b"secret"));
        world.run_for(2 * SECOND);
        assert_eq!(world.checks.count("+sdown"), 0, "who is connected stays so");
        world.kill_server(replica);
        world.restart_server(replica);
        let down = |world: &World| world.checks.count("+sdown") == world.options.sentinels;
        world.await_for("all hold it down", 20 * SECOND, down);
        world.farm.at_mut(replica).set_password(None);
        world.settle(REST);
        assert_eq!(world.checks.count("+try-failover"), 0);
    }
}
