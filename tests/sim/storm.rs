//! What several scenarios put a group through; at the worst anything at any time.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use crate::net::{HostId, Us};
use crate::property::Property;
use crate::settle::random_options;
use crate::world::{MS, Options, SECOND, Trap, World};

/// A group that has found itself, with options that differ from seed to seed.
pub fn random_world(name: &'static str, seed: u64) -> World {
    random_world_with(name, seed, |_, _| {})
}

/// The same with what a scenario wants of the options.
pub fn random_world_with(
    name: &'static str,
    seed: u64,
    change: impl FnOnce(&mut Options, &mut Rng),
) -> World {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let mut options = random_options(&mut rng);
    change(&mut options, &mut rng);
    let mut world = World::new(name, seed, options);
    world.discover();
    world
}

/// How long all may take to have another master. C waits for 2 × failover-timeout after an
/// election that failed.
fn failover_limit(options: &Options) -> Us {
    match options.c_peers {
        0 => options.down_after_ms * MS + 40 * SECOND,
        _ => (options.down_after_ms + 6 * options.failover_timeout_ms) * MS,
    }
}

/// The master is away, one way or the other; waits until all have another one.
pub fn await_failover(world: &mut World, old: HostId) {
    let limit = failover_limit(&world.options);
    let (property, what) = (Property::MasterIsReplaced, "all have a new master");
    world.await_property(property, what, limit, |world| world.all_moved(0, old));
}

/// The first master goes, and comes back some time after all have another one.
pub fn replace_master(
    world: &mut World,
    go: fn(&mut World, HostId),
    come: fn(&mut World, HostId),
) -> HostId {
    let master = world.first_master(0);
    go(world, master);
    await_failover(world, master);
    let away = world.rng.below(30_000) * MS;
    world.run_for(away);
    come(world, master);
    master
}

/// The master dies. Whoever comes to one of these steps of the failover dies there, or a moment
/// later, and comes back later.
pub fn crash_at_a_step(world: &mut World, steps: &[&'static str]) {
    let master = world.first_master(0);
    let event = steps[world.rng.below(steps.len() as u64) as usize];
    let dies = chance(world, 50);
    world.trap = Some(Trap { event, dies, caught: None });
    world.kill_server(master);
    let caught = |world: &World| world.trap.as_ref().and_then(|trap| trap.caught);
    if world.run_until(10 * SECOND, |world| caught(world).is_some()) {
        let leader = caught(world).expect("it was just seen");
        if !dies {
            let moment = world.rng.below(10_000);
            world.run_for(moment);
            let silently = chance(world, 30);
            world.crash(leader, silently);
        }
        let away = world.rng.below(10_000) * MS;
        world.run_for(away);
        world.restart_sentinel(leader);
    }
    if chance(world, 50) {
        world.restart_server(master);
    }
}

pub fn chance(world: &mut World, percent: u64) -> bool {
    world.rng.below(100) < percent
}

/// A dozen troubles, some of them at the same time.
pub fn storm(world: &mut World) {
    for _ in 0..12 {
        trouble(world);
        let pause = world.rng.below(4_000) * MS;
        world.run_for(pause);
    }
}

/// Everything runs again and is connected.
pub fn mend(world: &mut World) {
    world.heal();
    for host in world.options.sentinels..world.options.sentinels + world.farm.servers.len() {
        let server = world.farm.at(host).expect("a data node");
        if !server.running {
            world.restart_server(host);
        } else if server.frozen {
            world.thaw_server(host);
        }
    }
    for at in 0..world.sentinels.len() {
        if world.sentinels[at].node.is_none() {
            world.restart_sentinel(at);
        } else if world.sentinels[at].paused {
            world.resume(at);
        }
    }
}

fn trouble(world: &mut World) {
    let at = world.rng.below(world.sentinels.len() as u64) as usize;
    let host = world.farm.first + world.rng.below(world.farm.servers.len() as u64) as usize;
    let server = world.farm.at(host).expect("a data node").clone();
    match world.rng.below(10) {
        0 | 1 if world.sentinels[at].node.is_none() => world.restart_sentinel(at),
        0 | 1 => world.crash(at, false),
        2 if world.sentinels[at].paused => world.resume(at),
        2 if world.sentinels[at].runs() => world.pause(at),
        3 | 4 => {
            let hosts = world.options.sentinels + world.farm.servers.len();
            let cut: Vec<HostId> = (0..hosts).filter(|_| chance(world, 30)).collect();
            world.cut_off(&cut);
        }
        5 => world.heal(),
        6 | 7 if server.running => world.kill_server(host),
        8 if server.frozen => world.thaw_server(host),
        8 if server.running => world.freeze_server(host),
        _ if !server.running => world.restart_server(host),
        _ => {}
    }
}
