//! Settings at their limits: times of a millisecond and of an hour, one address watched under two
//! names. Some of them no group can work with; then no rule may be broken meanwhile, and the group
//! has to settle when they are changed.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use crate::net::{Net, Us};
use crate::property::Property;
use crate::settle::{random_options, seeds};
use crate::storm::{await_failover, chance, crash_at_a_step, mend, random_world_with};
use crate::wire::Value;
use crate::world::{MS, Options, SECOND, World};

const REST: Us = 120 * SECOND;

fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

/// Every sentinel gets other times.
fn set_times(world: &mut World, down_after_ms: u64, failover_timeout_ms: u64) {
    world.options.down_after_ms = down_after_ms;
    world.options.failover_timeout_ms = failover_timeout_ms;
    let (down_after, timeout) = (down_after_ms.to_string(), failover_timeout_ms.to_string());
    for at in 0..world.sentinels.len() {
        let reply = world.command(
            at,
            &[
                b"SENTINEL",
                b"SET",
                b"m0",
                b"down-after-milliseconds",
                down_after.as_bytes(),
                b"failover-timeout",
                timeout.as_bytes(),
            ],
        );
        assert_eq!(reply, Value::Simple(b"OK".to_vec()));
    }
}

#[test]
fn times_of_milliseconds() {
    for seed in seeds(3) {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut options = random_options(&mut rng);
        options.down_after_ms = pick(&mut rng, &[1, 2, 5, 20]);
        options.failover_timeout_ms = pick(&mut rng, &[1, 10, 100, 1_000]);
        let mut world = World::new("times_of_milliseconds", seed, options);
        world.checks.waived.majority_of_all = true;
        world.run_for(SECOND);
        for _ in 0..3 {
            let hosts = world.options.replicas as u64 + 1;
            let host = world.first_master(0) + world.rng.below(hosts) as usize;
            match chance(&mut world, 50) {
                true => world.kill_server(host),
                false => world.freeze_server(host),
            }
            let away = world.rng.below(1_500) * MS;
            world.run_for(away);
            mend(&mut world);
            let pause = world.rng.below(1_000) * MS;
            world.run_for(pause);
        }
        set_times(&mut world, 1_000, 5_000);
        let (property, what) = (Property::EverybodyIsFound, "everybody is found");
        world.await_property(property, what, 60 * SECOND, World::discovered);
        world.settle(REST);
    }
}

/// Whoever is away for a little less than an hour is not held down; a master that stays away is
/// replaced after it.
#[test]
fn a_down_after_of_an_hour() {
    let hour = 3_600 * SECOND;
    for seed in seeds(1) {
        let change = |options: &mut Options, _: &mut Rng| {
            (options.sentinels, options.quorum, options.replicas) = (3, 2, 1);
            options.down_after_ms = hour / MS;
        };
        let mut world = random_world_with("a_down_after_of_an_hour", seed, change);
        let master = world.first_master(0);
        world.freeze_server(master);
        world.run_for(hour - 10 * SECOND);
        world.thaw_server(master);
        world.run_for(5 * SECOND);
        assert_eq!(world.checks.count("+sdown"), 0);
        let killed = world.now;
        world.kill_server(master);
        await_failover(&mut world, master);
        assert!(world.now - killed + 2 * SECOND > hour, "{} us", world.now - killed);
        world.restart_server(master);
        world.settle(REST);
    }
}

/// Nobody waits for a leader that is gone as long as failover-timeout.
#[test]
fn a_failover_timeout_of_three_minutes() {
    const STEPS: [&str; 5] = [
        "+try-failover",
        "+elected-leader",
        "+failover-state-wait-promotion",
        "+promoted-slave",
        "+slave-reconf-sent",
    ];
    for seed in seeds(10) {
        let change = |options: &mut Options, _: &mut Rng| options.failover_timeout_ms = 180_000;
        let mut world = random_world_with("a_failover_timeout_of_three_minutes", seed, change);
        let master = world.first_master(0);
        crash_at_a_step(&mut world, &STEPS);
        // It may be back before anybody has taken its place.
        if !world.farm.at(master).is_some_and(|server| server.running) {
            await_failover(&mut world, master);
        }
        mend(&mut world);
        world.settle(400 * SECOND);
    }
}

/// A mistake of operators: every sentinel watches the same master under two names. Their failovers
/// may come to different ends, but nobody is told to follow itself, all files say what is known,
/// and as long as nothing fails nothing happens.
#[test]
fn two_names_for_one_master() {
    for seed in seeds(8) {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut options = random_options(&mut rng);
        // When hellos are held back is judged by the failovers of the first name alone.
        options.bundle_links = None;
        let (ip, quorum) = (Net::ip_of(options.sentinels), options.quorum);
        let down_after_ms = [options.down_after_ms, 1_500][rng.below(2) as usize];
        options.extra = format!(
            "sentinel monitor alias {ip} 6379 {quorum}\n\
             sentinel down-after-milliseconds alias {down_after_ms}\n\
             sentinel failover-timeout alias {}\n",
            options.failover_timeout_ms
        );
        let mut world = World::new("two_names_for_one_master", seed, options);
        world.discover();
        assert_eq!(world.checks.count("+sdown"), 0);
        // What is told about one name the checkers hold against the other: it is counted only.
        world.checks.first_c_like = 0;
        for _ in 0..3 {
            let at = world.rng.below(world.sentinels.len() as u64) as usize;
            if let Some(master) = world.held_master(at, 0) {
                world.kill_server(master);
                world.run_for(20 * SECOND);
                world.restart_server(master);
                world.run_for(10 * SECOND);
            }
        }
        let itself = world.checks.reported.get(&Property::NobodyFollowsItself);
        assert_eq!(itself, None, "seed {seed}");
        let moved = (0..world.sentinels.len()).all(|at| {
            let node = world.sentinels[at].node.as_ref().expect("it runs");
            node.held("alias").is_some_and(|held| held.ip.is_some())
        });
        assert!(moved);
        world.check_all_files();
    }
}
