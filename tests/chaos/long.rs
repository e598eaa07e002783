//! The long form: group after group under random faults, for minutes.
//!
//! Everything that is chosen follows from the seed, each round's from a seed of its own, which is
//! printed with it: `SEED=n ROUNDS=1` repeats a round's choices (not its timing).

use crate::cluster::{BOUND, Layout};
use crate::faults::Plan;
use crate::net::{Neighbours, Net};
use crate::support::world::World;
use crate::trial::{Tally, Trial};
use crate::world;
use crate::writer::Losses;
use sentineld::util::rng::{Rng, mix};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A group is healed and looked at so often before the next one.
const STORMS_PER_ROUND: usize = 3;

/// A number from the environment.
fn setting(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => usual,
    }
}

/// Every third group has sentinels of both kinds.
fn draw_layout(rng: &mut Rng, seed: u64, with_redis: bool) -> Layout {
    let sentinels = [3, 5][rng.below(2) as usize];
    let mixed = seed.is_multiple_of(3) && with_redis;
    let redis = (0..sentinels).filter(|_| mixed && rng.below(2) == 0).collect();
    Layout {
        sentinels,
        redis,
        replicas: 2 + rng.below(2) as usize,
        together: rng.below(2) == 0,
        min_replicas: rng.below(2) == 0,
        down_after_ms: [500, 1_000, 2_000][rng.below(3) as usize],
        failover_timeout_ms: 3_000 + rng.below(2_000),
        neighbours: [Neighbours::Asked, Neighbours::Known][rng.below(2) as usize],
    }
}

/// `make chaos`.
#[test]
#[ignore = "it takes minutes: make chaos"]
fn chaos() {
    let world = world!();
    let own_seed = std::process::id().into();
    let seed = setting("SEED", mix(own_seed) % 1_000_000);
    let end = Instant::now() + Duration::from_secs(60 * setting("MINUTES", 10));
    let rounds = setting("ROUNDS", u64::MAX);
    let with_redis = crate::support::world::find_program("redis-sentinel").is_some();
    println!("SEED={seed}: every group is at rest {BOUND:?} after healing, or this fails");
    if let Err(missing) = Net::new(1, Neighbours::Asked, 0) {
        println!("No hosts here, {missing} is missing: only processes are killed and stopped");
    }
    let mut total = Total::default();
    for round in 0..rounds {
        if Instant::now() >= end {
            break;
        }
        let round_seed = seed + round;
        let here = format!("round{round_seed}::here");
        let Some(world) = World::open(&here) else { return };
        total.add(run_round(&world, round_seed, with_redis));
    }
    drop(world);
    total.print();
}

/// One group: storms, each followed by healing.
fn run_round(world: &Rc<World>, seed: u64, with_redis: bool) -> (Layout, Tally) {
    let mut rng = Rng::new(seed);
    let layout = draw_layout(&mut rng, seed, with_redis);
    let net = Net::new(layout.hosts().len(), layout.neighbours, seed);
    let net = net.unwrap_or_else(|_| Net::flat());
    let with_switch = net.has_switch();
    println!("SEED={seed} ROUNDS=1: {layout:?}");
    let mut trial = Trial::start(world, net, layout.clone(), seed);
    let mut master = 0;
    for storm in 0..STORMS_PER_ROUND {
        let span_ms = 5_000 + rng.below(12_000);
        let plan = Plan::draw(&mut rng, &layout, span_ms, with_switch);
        trial.storm(&plan);
        let before = Instant::now();
        match trial.settle() {
            Ok(found) => master = found,
            Err(seen) => fail(&trial, seed, &seen),
        }
        println!(
            "  storm {storm}: {} faults in {:.1} s, at rest after {:.1} s",
            plan.faults.len(),
            span_ms as f64 / 1000.0,
            trial.last_rest().unwrap_or(before.elapsed()).as_secs_f64(),
        );
    }
    let kept = trial.keep(&kept_dir(seed));
    let diary = trial.diary();
    match trial.finish(master) {
        Ok(tally) => {
            let _ = std::fs::remove_dir_all(kept_dir(seed));
            (layout, tally)
        }
        Err(problems) => {
            panic!("SEED={seed}: {problems}\n{diary}\nlogs: {:?} ({kept:?})", kept_dir(seed))
        }
    }
}

/// Where the logs of a round that failed go.
fn kept_dir(seed: u64) -> PathBuf {
    let top = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    top.join(format!("chaos-{seed}"))
}

fn fail(trial: &Trial, seed: u64, seen: &str) -> ! {
    let dir = kept_dir(seed);
    let kept = trial.keep(&dir);
    panic!("SEED={seed}: {seen}\n{}\nlogs: {dir:?} ({kept:?})", trial.diary());
}

/// All rounds together.
#[derive(Default)]
struct Total {
    rounds: usize,
    all: Tally,
    /// Writes by the kind of group.
    writes: BTreeMap<String, Losses>,
}

impl Total {
    fn add(&mut self, (layout, tally): (Layout, Tally)) {
        self.rounds += 1;
        for (kind, count) in tally.faults {
            *self.all.faults.entry(kind).or_default() += count;
        }
        self.all.rests.extend(tally.rests);
        let (sum, new) = (&mut self.all.findings, tally.findings);
        sum.votes += new.votes;
        sum.elections += new.elections;
        sum.failovers += new.failovers;
        sum.tilts += new.tilts;
        sum.oddities.extend(new.oddities);
        self.all.files += tally.files;
        self.all.files_by_redis += tally.files_by_redis;
        let kind = match layout.redis.is_empty() {
            true => "our sentinels",
            false => "sentinels of both kinds",
        };
        let guard = match layout.min_replicas {
            true => "min-replicas-to-write 1, min-replicas-max-lag 2",
            false => "no min-replicas-to-write",
        };
        let writes = self.writes.entry(format!("{kind}, {guard}")).or_default();
        writes.acknowledged += tally.writes.acknowledged;
        writes.lost += tally.writes.lost;
        let (sum, new) = (&mut self.all.frames, tally.frames);
        sum.passed += new.passed;
        sum.delayed += new.delayed;
        sum.lost += new.lost;
        sum.cut_off += new.cut_off;
    }

    fn print(&self) {
        let Tally { faults, rests, findings, files, files_by_redis, frames, .. } = &self.all;
        let longest = rests.iter().max().copied().unwrap_or_default();
        let mut sorted = rests.clone();
        sorted.sort();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        println!("{} groups, {} healings", self.rounds, rests.len());
        println!(
            "at rest after {:.1} s (median), {:.1} s (longest)",
            median.as_secs_f64(),
            longest.as_secs_f64()
        );
        println!("failovers: {}, elections won: {}", findings.failovers, findings.elections);
        println!("votes checked: {}, tilts: {}", findings.votes, findings.tilts);
        println!("config files loaded: {files}, by redis-sentinel too: {files_by_redis}");
        for (kind, count) in faults {
            println!("fault: {kind}: {count}");
        }
        println!("frames: {frames:?}");
        // Replication is asynchronous: a master that dies takes with it what it acknowledged and
        // had not yet passed on, and one that is cut off takes writes until it is told better.
        for (kind, Losses { acknowledged, lost }) in &self.writes {
            println!("writes, {kind}: {acknowledged} acknowledged, {lost} of them lost");
        }
        for oddity in &findings.oddities {
            println!("of redis-sentinel: {oddity}");
        }
    }
}
