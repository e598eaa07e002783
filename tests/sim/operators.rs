//! What operators do to a group: forced failovers, RESET, REMOVE and MONITOR.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use crate::net::{HostId, Net, Us};
use crate::settle::{random_options, seeds};
use crate::storm::{random_world, random_world_with};
use crate::wire::Value;
use crate::world::{MS, Options, SECOND, World};

const REST: Us = 120 * SECOND;

fn ok(reply: &Value) {
    assert_eq!(*reply, Value::Simple(b"OK".to_vec()));
}

/// One operator forces a failover while all is well.
#[test]
fn forced_failover() {
    for seed in seeds(40) {
        let mut world = random_world("forced_failover", seed);
        for _ in 0..3 {
            let at = world.rng.below(world.options.sentinels as u64) as usize;
            let old = world.held_master(at, 0).expect("it is monitored");
            ok(&world.command(at, &[b"SENTINEL", b"FAILOVER", b"m0"]));
            world.await_for("all follow", 10 * SECOND, |world| world.all_moved(0, old));
            world.settle(REST);
        }
        assert_eq!(world.checks.count("+odown"), 0);
    }
}

/// Two sentinels are told to at the same moment, which may leave two addresses in one config
/// epoch. The group settles that by itself.
#[test]
fn two_forced_failovers_at_once() {
    let (mut worlds, mut ties) = (0, 0);
    for seed in seeds(40) {
        let three = |options: &mut Options, _: &mut Rng| options.replicas = 3;
        let mut world = random_world_with("two_forced_failovers_at_once", seed, three);
        world.force_at_once(&[0, 1]);
        world.settle(REST);
        worlds += 1;
        ties += usize::from(!world.checks.conflicts.is_empty());
    }
    assert!(ties > 0 || worlds == 1, "no tie in {worlds} worlds");
}

/// Two failovers that did not know of each other leave two masters in one config epoch.
#[test]
fn two_masters_in_one_epoch() {
    let (mut worlds, mut ties) = (0, 0);
    for seed in seeds(40) {
        let three = |options: &mut Options, _: &mut Rng| options.replicas = 3;
        let mut world = random_world_with("two_masters_in_one_epoch", seed, three);
        world.force_on_both_sides();
        world.settle(REST);
        worlds += 1;
        ties += usize::from(!world.checks.conflicts.is_empty());
    }
    assert!(2 * ties > worlds, "{ties} ties in {worlds} worlds");
}

/// The last sentinel is never made to forget: the operator takes the address from it, and it
/// knows of the old master when that comes back.
fn remove_and_monitor(world: &mut World, at: usize) {
    ok(&world.command(at, &[b"SENTINEL", b"REMOVE", b"m0"]));
    let pause = world.rng.below(500) * MS;
    world.run_for(pause);
    let last = world.sentinels.len() - 1;
    let master = world.held_master(last, 0).expect("it is monitored");
    monitor(world, at, master);
}

fn monitor(world: &mut World, at: usize, master: HostId) {
    let ip = Net::ip_of(master).to_string();
    let quorum = world.options.quorum.to_string();
    let words: [&[u8]; 6] =
        [b"SENTINEL", b"MONITOR", b"m0", ip.as_bytes(), b"6379", quorum.as_bytes()];
    ok(&world.command(at, &words));
    let down_after = world.options.down_after_ms.to_string();
    let timeout = world.options.failover_timeout_ms.to_string();
    for (option, value) in
        [("down-after-milliseconds", &down_after), ("failover-timeout", &timeout)]
    {
        let words: [&[u8]; 5] = [b"SENTINEL", b"SET", b"m0", option.as_bytes(), value.as_bytes()];
        ok(&world.command(at, &words));
    }
}

/// Sentinels are made to forget, at random times around a failover.
#[test]
fn reset_and_remove() {
    for seed in seeds(60) {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut world = World::new("reset_and_remove", seed, random_options(&mut rng));
        world.checks.waived.majority_of_all = true;
        world.checks.waived.config_epochs = true;
        world.discover();
        let master = world.first_master(0);
        world.kill_server(master);
        let around = world.options.down_after_ms + 300;
        for _ in 0..4 {
            let pause = world.rng.below(around / 2) * MS;
            world.run_for(pause);
            let at = world.rng.below(world.options.sentinels as u64 - 1) as usize;
            if world.rng.below(2) == 0 {
                world.command(at, &[b"SENTINEL", b"RESET", b"*"]);
            } else {
                remove_and_monitor(&mut world, at);
            }
        }
        world.restart_server(master);
        world.await_for("everybody is found again", 60 * SECOND, World::discovered);
        world.settle(REST);
    }
}

/// A sentinel is asked for votes by anybody, in any epoch, and made to forget in every way there
/// is: the checkers see to it that it never votes twice.
#[test]
fn votes_are_kept() {
    for seed in seeds(60) {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut world = World::new("votes_are_kept", seed, random_options(&mut rng));
        world.checks.waived.config_epochs = true;
        world.run_for(SECOND);
        for _ in 0..20 {
            match world.rng.below(8) {
                0 => drop(world.command(0, &[b"SENTINEL", b"RESET", b"m0"])),
                1 => remove_and_monitor(&mut world, 0),
                2 => {
                    world.crash(0, false);
                    world.restart_sentinel(0);
                }
                _ => ask_for_vote(&mut world),
            }
        }
    }
}

fn ask_for_vote(world: &mut World) {
    let ip = Net::ip_of(world.first_master(0)).to_string();
    let epoch = (1 + world.rng.below(6)).to_string();
    let candidate = [b'a' + world.rng.below(3) as u8; 40];
    let verb = b"IS-MASTER-DOWN-BY-ADDR";
    let words: [&[u8]; 6] =
        [b"SENTINEL", verb, ip.as_bytes(), b"6379", epoch.as_bytes(), &candidate];
    world.command(0, &words);
}
