//! Anything at any time, and the way back: what several scenarios put a group through.
#![forbid(unsafe_code)]

use crate::net::HostId;
use crate::world::{MS, World};

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
