//! Chosen faults, each until the group has healed: the short form.

use crate::cluster::{BOUND, Layout};
use crate::faults::{Fault, MOMENTS, Plan, Which, Whose};
use crate::net::{Neighbours, Net};
use crate::support::wait::{self, expect};
use crate::support::world::World;
use crate::trial::Trial;
use crate::world;
use sentineld::util::rng::Rng;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Longer than any scenario: such a fault ends by healing.
const FOR_EVER_MS: u64 = 3_600_000;

/// A trial, or none where there can be no hosts.
fn trial(world: &Rc<World>, layout: Layout) -> Option<Trial> {
    if !world.need("ip") {
        return None;
    }
    match Net::new(layout.hosts().len(), layout.neighbours, 1) {
        Ok(net) => Some(Trial::start(world, net, layout, 1)),
        Err(missing) => {
            world.not_run(&missing);
            None
        }
    }
}

/// Heals, comes to rest, and is judged.
#[track_caller]
fn settle_and_finish(mut trial: Trial) {
    let settled = trial.settle();
    let master = settled.unwrap_or_else(|seen| panic!("{seen}\n{}", trial.diary()));
    let diary = trial.diary();
    match trial.finish(master) {
        Ok(tally) => println!("{tally:?}"),
        Err(problems) => panic!("{problems}\n{diary}"),
    }
}

/// Waits until all sentinels but those left out give another address than that of node `old`.
#[track_caller]
fn wait_switched(trial: &Trial, old: usize, left_out: &[usize]) -> usize {
    let cluster = &trial.cluster;
    wait::wait("a new master", BOUND, || {
        let all = 0..cluster.sentinels.len();
        let mut masters = Vec::new();
        for sentinel in all.filter(|sentinel| !left_out.contains(sentinel)) {
            masters.push(cluster.node_at(cluster.address_port(sentinel)?)?);
        }
        let one = masters.iter().all(|master| *master == masters[0] && *master != old);
        expect(one, &masters)?;
        Ok(masters[0])
    })
}

/// With `min-replicas-to-write`, a master that is alone with a client and a minority stops taking
/// its writes; the others go on with a new one, and the minority starts nothing.
#[test]
fn the_master_is_cut_off_with_a_minority() {
    let world = world!();
    let neighbours = Neighbours::Known;
    let layout = Layout { min_replicas: true, neighbours, ..Layout::default() };
    let Some(mut trial) = trial(&world, layout) else { return };
    let old = trial.cluster.presumed_master();
    assert_eq!(old, 0);
    let fault = Fault::Minority { first: 0, ms: FOR_EVER_MS };
    trial.storm(&Plan::at_once(0, &[fault]));
    let new = wait_switched(&trial, old, &[0]);
    let port = |node: usize| trial.cluster.nodes[node].port;
    trial.writers[1].wait_written(port(new), Instant::now() + BOUND).unwrap();
    wait::wait("the old master to take no more writes", BOUND, || {
        let last = trial.writers[0].last().ok_or("no write")?;
        expect(last.at.elapsed() > Duration::from_secs(2), last)
    });
    let last = trial.writers[0].last().unwrap();
    assert_eq!(last.port, port(old), "the client of the minority sees the old master only");
    assert_eq!(trial.cluster.address_port(0), Ok(port(old)));
    assert_eq!(trial.count("+elected-leader")[0], 0, "elected by a minority");
    settle_and_finish(trial);
}

/// A master that hears but is not heard, then one that is heard but does not hear.
#[test]
fn the_master_is_cut_off_in_one_direction() {
    let world = world!();
    let layout = Layout { together: false, ..Layout::default() };
    let Some(mut trial) = trial(&world, layout) else { return };
    for outward in [true, false] {
        let old = trial.cluster.presumed_master();
        let fault = Fault::OneWay { of: Whose::Master, outward, ms: FOR_EVER_MS };
        trial.storm(&Plan::at_once(0, &[fault]));
        wait_switched(&trial, old, &[]);
        trial.settle().unwrap_or_else(|seen| panic!("{seen}\n{}", trial.diary()));
    }
    settle_and_finish(trial);
}

/// Links that break and come back: too short for a failover, and long enough for one.
#[test]
fn links_flap() {
    let world = world!();
    let Some(mut trial) = trial(&world, Layout::default()) else { return };
    let flap = |of, off_ms, on_ms, times| Fault::Flap { of, off_ms, on_ms, times };
    trial.storm(&Plan::at_once(3_500, &[flap(Whose::Master, 150, 350, 7)]));
    trial.settle().unwrap_or_else(|seen| panic!("{seen}\n{}", trial.diary()));
    let slow = flap(Whose::Master, 1_500, 400, 3);
    trial.storm(&Plan::at_once(6_000, &[slow, flap(Whose::Host(2), 400, 700, 6)]));
    settle_and_finish(trial);
}

/// The master dies while everything takes long and every tenth frame gets lost.
#[test]
fn a_failover_over_a_bad_network() {
    let world = world!();
    let Some(mut trial) = trial(&world, Layout { together: false, ..Layout::default() }) else {
        return;
    };
    let ms = FOR_EVER_MS;
    let faults = [
        Fault::Slow { of: Whose::Everybody, least_ms: 10, most_ms: 60, ms },
        Fault::Lossy { of: Whose::Everybody, percent: 10, ms },
    ];
    trial.storm(&Plan::at_once(2_000, &faults));
    let old = trial.cluster.presumed_master();
    trial.storm(&Plan::at_once(0, &[Fault::KillNode { which: Which::Master, ms }]));
    wait_switched(&trial, old, &[]);
    settle_and_finish(trial);
}

/// Whenever the leader is killed in its failover, the others get there.
#[test]
fn the_leader_is_killed_in_its_failover() {
    let world = world!();
    let Some(mut trial) = trial(&world, Layout { sentinels: 5, replicas: 3, ..Layout::default() })
    else {
        return;
    };
    for at in [MOMENTS[0], MOMENTS[2], MOMENTS[3]] {
        let old = trial.cluster.presumed_master();
        let fault = Fault::KillLeader { at, ms: FOR_EVER_MS };
        trial.storm(&Plan::at_once(0, &[fault]));
        let dead: Vec<usize> =
            (0..5).filter(|s| !trial.cluster.sentinels[*s].is_running()).collect();
        assert_eq!(dead.len(), 1, "{at}\n{}", trial.diary());
        wait_switched(&trial, old, &dead);
        trial.settle().unwrap_or_else(|seen| panic!("{seen}\n{}", trial.diary()));
    }
    settle_and_finish(trial);
}

/// A sentinel that was stopped while the others failed over goes into tilt, acts on nothing, and
/// follows them.
#[test]
fn a_sentinel_sleeps_through_the_failover() {
    let world = world!();
    let Some(mut trial) = trial(&world, Layout::default()) else { return };
    let old = trial.cluster.presumed_master();
    let faults = [
        Fault::StopSentinel { index: 1, ms: FOR_EVER_MS },
        Fault::KillNode { which: Which::Master, ms: FOR_EVER_MS },
    ];
    trial.storm(&Plan::at_once(3_000, &faults));
    wait_switched(&trial, old, &[1]);
    let settled = trial.settle();
    settled.unwrap_or_else(|seen| panic!("{seen}\n{}", trial.diary()));
    assert_eq!(trial.count("+tilt"), [0, 1, 0]);
    assert_eq!(trial.count("+try-failover")[1], 0);
    settle_and_finish(trial);
}

/// Everything that can go wrong, at random but always the same, most of it at once.
#[test]
fn all_at_once() {
    let world = world!();
    let layout = Layout { sentinels: 5, replicas: 3, ..Layout::default() };
    let Some(mut trial) = trial(&world, layout) else { return };
    let plan = Plan::draw(&mut Rng::new(4), &trial.cluster.layout, 20_000, true);
    trial.storm(&plan);
    settle_and_finish(trial);
}

/// The same with a `redis-sentinel` among ours, for a shorter time.
#[test]
fn all_at_once_in_a_mixed_group() {
    let world = world!();
    if !world.need("redis-sentinel") {
        return;
    }
    let layout = Layout { redis: [1].into(), together: false, ..Layout::default() };
    let Some(mut trial) = trial(&world, layout) else { return };
    let plan = Plan::draw(&mut Rng::new(12), &trial.cluster.layout, 10_000, true);
    trial.storm(&plan);
    settle_and_finish(trial);
}
