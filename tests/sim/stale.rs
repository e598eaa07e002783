//! What lasts long and what is old: outages of many times down-after, INFO of half a minute ago,
//! tilt, scripts that hang, and a life of years.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use crate::checks::Event;
use crate::net::{HostId, Us};
use crate::property::Property;
use crate::redis::faults::InfoAnswer;
use crate::settle::{random_options, seeds};
use crate::storm::{await_failover, chance, mend, random_world_with};
use crate::world::{MS, Options, SECOND, Trap, World};

const REST: Us = 120 * SECOND;

/// The master is gone for a hundred times down-after, and its replicas are out of reach for most of
/// that time: one of them takes over as soon as it is back.
#[test]
fn an_outage_of_a_hundred_times_down_after() {
    for seed in seeds(5) {
        let change = |options: &mut Options, rng: &mut Rng| {
            options.replicas = 2;
            options.down_after_ms = 500 + rng.below(500);
        };
        let mut world = random_world_with("an_outage_of_a_hundred_times", seed, change);
        let master = world.first_master(0);
        world.cut_off(&[master + 1, master + 2]);
        world.kill_server(master);
        let away = 100 * world.options.down_after_ms * MS;
        world.run_for(away);
        assert_eq!(world.checks.count("+promoted-slave"), 0);
        world.heal();
        await_failover(&mut world, master);
        let longer = world.rng.below(away);
        world.run_for(longer);
        world.restart_server(master);
        world.settle(REST);
    }
}

/// Half of the replicas have told nothing for half a minute: it is one of the others.
#[test]
fn half_of_the_replicas_are_silent() {
    for seed in seeds(5) {
        let change = |options: &mut Options, _: &mut Rng| options.replicas = 4;
        let mut world = random_world_with("half_of_the_replicas_are_silent", seed, change);
        let master = world.first_master(0);
        let odd = world.rng.below(2) as usize;
        let mute: Vec<HostId> = [master + 1 + odd, master + 3 + odd].into();
        for host in &mute {
            world.farm.at_mut(*host).set_info_answer(InfoAnswer::Silent);
            world.farm.at_mut(*host).priority = 1;
        }
        world.run_for(35 * SECOND);
        world.kill_server(master);
        await_failover(&mut world, master);
        let new = world.held_master(0, 0).expect("it is monitored");
        assert!(!mute.contains(&new), "{new} of {mute:?}");
        for host in &mute {
            world.farm.at_mut(*host).set_info_answer(InfoAnswer::Given);
        }
        // What they were asked meanwhile they answer now, or never: their links are made anew.
        world.restart_server(master);
        world.settle(REST);
    }
}

/// All that is known of the replicas is 30 s old, and the pauses between INFO are long: nobody is
/// promoted for what it said then.
#[test]
fn info_of_half_a_minute_ago_is_not_believed() {
    for seed in seeds(5) {
        let change = |options: &mut Options, _: &mut Rng| options.replicas = 2;
        let mut world = random_world_with("info_of_half_a_minute_ago", seed, change);
        let master = world.first_master(0);
        for host in [master + 1, master + 2] {
            world.farm.at_mut(host).set_info_answer(InfoAnswer::Refused);
        }
        world.run_for(30 * SECOND);
        world.kill_server(master);
        world.run_for(world.options.down_after_ms * MS + 10 * SECOND);
        assert_eq!(world.checks.count("+promoted-slave"), 0, "seed {seed}");
        assert!(world.checks.count("-failover-abort-no-good-slave") > 0, "seed {seed}");
        for host in [master + 1, master + 2] {
            world.farm.at_mut(host).set_info_answer(InfoAnswer::Given);
        }
        await_failover(&mut world, master);
        world.restart_server(master);
        world.settle(REST);
    }
}

fn three_masters(options: &mut Options, _: &mut Rng) {
    options.masters = 3;
}

/// A sentinel in tilt shares its links between masters, one of which dies meanwhile: the others
/// replace it, and the one in tilt learns of it.
#[test]
fn tilt_with_links_that_masters_share() {
    for seed in seeds(5) {
        let mut world =
            random_world_with("tilt_with_links_that_masters_share", seed, three_masters);
        let at = world.rng.below(world.sentinels.len() as u64) as usize;
        world.pause(at);
        world.run_for(4 * SECOND);
        world.resume(at);
        world.run_for(SECOND);
        assert_eq!(world.checks.count("+tilt"), 1);
        let group = world.rng.below(3) as usize;
        let master = world.first_master(group);
        world.kill_server(master);
        let limit = world.options.down_after_ms * MS + 30 * SECOND;
        world.await_for("all follow", limit, |world| world.all_moved(group, master));
        world.run_for(10 * SECOND);
        world.restart_server(master);
        world.run_for(30 * SECOND);
        world.settle(REST);
    }
}

/// Whoever is about to vote stands still with the vote on its way to the disk, and finds the end of
/// the save when it is in tilt.
#[test]
fn votes_that_are_saved_in_tilt() {
    for seed in seeds(15) {
        let mut world = random_world_with("votes_that_are_saved_in_tilt", seed, |_, _| {});
        world.options.save_us = (200 * MS, 3 * SECOND);
        let master = world.first_master(0);
        let event = ["+odown", "+new-epoch", "+try-failover"][world.rng.below(3) as usize];
        world.trap = Some(Trap { event, dies: false, caught: None });
        world.kill_server(master);
        let caught = |world: &World| world.trap.as_ref().and_then(|trap| trap.caught);
        if world.run_until(10 * SECOND, |world| caught(world).is_some()) {
            let leader = caught(&world).expect("it was just seen");
            let moment = world.rng.below(300) * MS;
            world.run_for(moment);
            let other = (leader + 1) % world.sentinels.len();
            let stands = if chance(&mut world, 50) { leader } else { other };
            world.pause(stands);
            let still = 2_200 * MS + world.rng.below(3_000) * MS;
            world.run_for(still);
            world.resume(stands);
        }
        let pause = world.rng.below(20_000) * MS;
        world.run_for(pause);
        world.restart_server(master);
        world.options.save_us = (0, MS);
        world.run_for(35 * SECOND);
        world.settle(REST);
    }
}

/// Two masters share the link to a sentinel, and want it to be silent for different times before
/// they hold it down: each gets what it wants, in whichever order they began to use it.
#[test]
fn links_shared_by_masters_with_different_settings() {
    for seed in seeds(5) {
        let change = |options: &mut Options, _: &mut Rng| {
            options.masters = 2;
            options.down_after_ms = 1_000;
        };
        let mut world = random_world_with("links_shared_by_masters", seed, change);
        let patient = world.rng.below(2);
        let name = format!("m{patient}");
        for at in 0..world.sentinels.len() {
            let words: [&[u8]; 5] =
                [b"SENTINEL", b"SET", name.as_bytes(), b"down-after-milliseconds", b"6000"];
            world.command(at, &words);
        }
        let dead = world.rng.below(world.sentinels.len() as u64) as usize;
        let since = world.now;
        world.crash(dead, true);
        world.run_for(12 * SECOND);
        let others = world.sentinels.len() - 1;
        for (group, range_ms) in [(patient, 5_000..9_000), (1 - patient, 0..4_000)] {
            let about = format!("@ m{group} ");
            let is = |event: &&Event| event.name == "+sdown" && event.text.contains(&about);
            let all: Vec<&Event> = world.checks.events.iter().filter(is).collect();
            assert_eq!(all.len(), others, "m{group}: {all:?}");
            for event in all {
                let ms = (event.at - since) / MS;
                assert!(range_ms.contains(&ms), "m{group}, seed {seed}: {ms} ms, {event:?}");
            }
        }
        world.restart_sentinel(dead);
        world.settle(REST);
        let up = world.checks.count("-sdown");
        assert_eq!(up, 2 * others, "seed {seed}");
    }
}

/// Scripts hang by the dozen: they are killed in time, those behind them have their turn, and
/// nothing else waits for them.
#[test]
fn scripts_hang_by_the_dozen() {
    for seed in seeds(4) {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut options = Options { scripts: true, ..random_options(&mut rng) };
        options.drawn.scripts_hang = true;
        let mut world = World::new("scripts_hang_by_the_dozen", seed, options);
        world.discover();
        world.quicken();
        for _ in 0..8 {
            let at = world.rng.below(world.sentinels.len() as u64) as usize;
            let old = world.held_master(at, 0).expect("it is monitored");
            world.kill_server(old);
            await_failover(&mut world, old);
            world.restart_server(old);
            world.run_for(5 * SECOND);
        }
        let killed = world.checks.count("-script-timeout");
        assert!(killed >= 48, "seed {seed}: {killed} scripts were killed");
        world.settle(REST);
        let none = |world: &World| world.sentinels.iter().all(|host| host.children.is_empty());
        world.await_property(Property::ScriptsAreLimited, "all have ended", 600 * SECOND, none);
    }
}

/// Sixty failovers in one life, on machines that have run for years: the last ones take no longer
/// than the first ones, and every epoch is used once.
#[test]
fn a_life_of_years() {
    for seed in seeds(2) {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut options = random_options(&mut rng);
        options.drawn.uptime_ms = 5 * 365 * 86_400_000;
        let mut world = World::new("a_life_of_years", seed, options);
        world.discover();
        let mut times = Vec::new();
        for _ in 0..60 {
            let master = world.held_master(0, 0).expect("it is monitored");
            let began = world.now;
            world.kill_server(master);
            await_failover(&mut world, master);
            times.push(world.now - began);
            world.restart_server(master);
            world.await_for("all is well", REST, |world| world.unsettled().is_none());
            // Nobody was held down a moment ago.
            world.run_for(12 * SECOND);
        }
        let worst = |times: &[Us]| times.iter().copied().max().unwrap_or(0);
        let (first, last) = (worst(&times[..20]), worst(&times[40..]));
        assert!(last <= 2 * first + SECOND, "seed {seed}: {first} us, then {last} us");
        let tries = world.checks.count("+try-failover");
        assert!(world.checks.newest_epoch() as usize <= tries, "epochs without an attempt");
        mend(&mut world);
        world.settle(REST);
    }
}
