//! Many seeds on all cores, and one seed again with a line per event.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::attack::ATTACKS;
use crate::checks::Figures;
use crate::coverage::{EVENTS, Stats};
use crate::dns::NAME_TROUBLES;
use crate::draws::{DRAWN, EVENTS_MET};
use crate::gathers::LARGE_ONLY;
use crate::ledger::{hash_transcripts, transcripts};
use crate::net::Us;
use crate::operate::COMMANDS;
use crate::outcome::{Outcome, options_of, run_seed};
use crate::plan::Plan;
use crate::trouble::{FAULTS, LATER_FAULTS};

/// From so many worlds on everything has to have been reached.
const LARGE: u64 = 500;

/// From so many worlds on every drawn option has to have met every event.
const ALL_CELLS: u64 = 2_000;

/// A sweep over seeds.
pub struct Sweep {
    pub plan: Plan,
    pub seeds: Range<u64>,
    pub jobs: usize,
    /// No new seed is begun after so long.
    pub seconds: u64,
}

/// What the threads of a sweep share.
struct Shared {
    next: AtomicU64,
    failed: AtomicBool,
    stats: Mutex<Stats>,
}

impl Sweep {
    /// Runs it and prints what it found; false: a seed failed, or something was never reached.
    pub fn run(&self) -> bool {
        let began = Instant::now();
        let shared = Shared {
            next: AtomicU64::new(self.seeds.start),
            failed: AtomicBool::new(false),
            stats: Mutex::new(Stats::default()),
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| self.work(&shared, began));
            }
        });
        let stats = shared.stats.into_inner().unwrap_or_default();
        let missing = report(&stats, began.elapsed().as_secs_f64());
        if self.plan.ledger && !shared.failed.load(Ordering::Relaxed) {
            tell_hashes(&stats);
        }
        let large = stats.worlds >= LARGE && self.plan.is_free();
        if large && !missing.is_empty() {
            println!("never reached: {}", missing.join(", "));
        }
        let unmet = match stats.worlds >= ALL_CELLS && self.plan.is_free() {
            true => stats.unmet(),
            false => Vec::new(),
        };
        if !unmet.is_empty() {
            println!("never met: {}", unmet.join(", "));
        }
        !shared.failed.into_inner() && (!large || missing.is_empty()) && unmet.is_empty()
    }

    fn work(&self, shared: &Shared, began: Instant) {
        let mut all = Stats::default();
        loop {
            let seed = shared.next.fetch_add(1, Ordering::Relaxed);
            let late = began.elapsed().as_secs() >= self.seconds;
            if late || seed >= self.seeds.end || shared.failed.load(Ordering::Relaxed) {
                break;
            }
            match run_seed(seed, &self.plan) {
                Outcome::Ok(stats) => all.add(&stats),
                bad => {
                    if !shared.failed.swap(true, Ordering::Relaxed) {
                        tell(seed, &self.plan, &bad);
                        println!("what happened last:");
                        run_seed(seed, &Plan { tail: true, ..self.plan });
                    }
                }
            }
        }
        if let Ok(mut stats) = shared.stats.lock() {
            stats.add(&all);
        }
    }
}

/// Runs one seed as the plan says and tells how it ended.
pub fn replay(seed: u64, plan: &Plan) -> bool {
    let outcome = run_seed(seed, plan);
    tell(seed, plan, &outcome);
    matches!(outcome, Outcome::Ok(_))
}

/// Seed, options, and how it ended.
pub fn tell(seed: u64, plan: &Plan, outcome: &Outcome) {
    println!("seed {seed}: {:?}", options_of(seed, plan));
    match outcome {
        Outcome::Ok(stats) => {
            println!("all properties held, {} failovers", stats.completed[0] + stats.completed[1]);
            if plan.ledger {
                tell_hashes(stats);
            }
        }
        Outcome::Violated { property, text, at } => {
            println!("VIOLATED {property:?} at {} ms: {text}", at / 1_000);
        }
        Outcome::Panicked { text, at, in_core } => {
            let whose = if *in_core { "the core" } else { "the simulator" };
            println!("panic in {whose} at {} ms: {text}", at / 1_000);
        }
    }
    if !matches!(outcome, Outcome::Ok(_)) {
        println!("replay with a line per event: make sim SEED={seed}{}", plan.words());
    }
}

/// Rate and coverage; gives what was never reached.
fn report(stats: &Stats, seconds: f64) -> Vec<&'static str> {
    let [elected, forced] = stats.completed;
    let cpu_s = stats.cpu_ns as f64 / 1e9;
    println!(
        "{} worlds in {seconds:.1} s, {:.0} s of virtual time, {} looks of the checkers",
        stats.worlds,
        stats.virtual_us as f64 / 1e6,
        stats.looked,
    );
    println!(
        "{elected} failovers after an election and {forced} forced ones; \
         {:.0} of the former per CPU second ({cpu_s:.1} s after discovery)",
        elected as f64 / cpu_s,
    );
    for (figures, what) in stats.figures.iter().zip([
        "worlds in which masters die or hang, and nothing else happens",
        "worlds with other faults or with operators",
    ]) {
        println!("{what}");
        tell_figures(figures);
    }
    let mut missing = Vec::new();
    let mut row = |name: &'static str, count: u64| {
        println!("{count:>12}  {name}");
        if count == 0 {
            missing.push(name);
        }
    };
    println!("events");
    for name in EVENTS {
        row(name, stats.events.get(name).copied().unwrap_or(0));
    }
    println!("faults");
    for fault in FAULTS.into_iter().chain(LATER_FAULTS) {
        row(fault.name(), stats.faults.get(fault.name()).copied().unwrap_or(0));
    }
    row("wall-jump", stats.faults.get("wall-jump").copied().unwrap_or(0));
    println!("commands of operators");
    for name in COMMANDS {
        row(name, stats.commands.get(name).copied().unwrap_or(0));
    }
    println!("attacks");
    for name in ATTACKS {
        row(name, stats.attacks.get(name).copied().unwrap_or(0));
    }
    tell_cells(stats);
    println!("names");
    for name in NAME_TROUBLES {
        row(name, stats.names.get(name).copied().unwrap_or(0));
    }
    println!("what only large instances do");
    for name in LARGE_ONLY {
        row(name, stats.large.get(name).copied().unwrap_or(0));
    }
    missing
}

/// The table of drawn options and events: in how many worlds they met.
fn tell_cells(stats: &Stats) {
    println!("worlds with a drawn option that met an event");
    for (at, event) in EVENTS_MET.iter().enumerate() {
        println!("  {}{event}", "| ".repeat(at));
    }
    for option in DRAWN {
        let cell = |event| stats.met.get(&(option, event)).copied().unwrap_or(0);
        let cells: Vec<String> = EVENTS_MET.map(|event| format!("{:>5}", cell(event))).into();
        println!("{} {option}", cells.join(""));
    }
}

/// What a change of the program that nobody is to notice must keep.
fn tell_hashes(stats: &Stats) {
    println!("hash of {} worlds: {:016x}", stats.worlds, stats.ledger);
    match hash_transcripts(transcripts()) {
        Ok((hash, count)) => println!("hash of {count} transcripts: {hash:016x}"),
        Err(error) => println!("the transcripts cannot be read: {error}"),
    }
}

/// What failovers took.
fn tell_figures(figures: &Figures) {
    let all = figures.failovers.max(1) as f64;
    println!(
        "  {} failovers after an election, {:.3} candidacies and {:.3} epochs each, {} given up",
        figures.failovers,
        figures.candidacies as f64 / all,
        figures.epochs as f64 / all,
        figures.given_up,
    );
    let simple = figures.failovers - figures.no_replica;
    let percent = |count: u64| 100.0 * count as f64 / simple.max(1) as f64;
    println!(
        "  in {} of them no leader lacked a replica: {:.2} % with a second candidacy, {:.2} % in a \
         second epoch",
        simple,
        percent(figures.crossed),
        percent(figures.repeated),
    );
    let waited = figures.waited;
    tell_times("fault to promotion, less down-after", &figures.took_us);
    println!("  {waited} of these masters waited 2 x failover-timeout");
    tell_times("all mended to at rest", &figures.settled_us);
}

fn tell_times(what: &str, times_us: &[Us]) {
    let mut sorted = times_us.to_vec();
    sorted.sort_unstable();
    let Some(last) = sorted.len().checked_sub(1) else { return };
    let ms = |percent: usize| sorted[(sorted.len() * percent / 100).min(last)] as f64 / 1e3;
    println!(
        "  {what}: median {:.1} ms, 99 % {:.1} ms, worst {:.1} ms ({})",
        ms(50),
        ms(99),
        ms(100),
        sorted.len(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same seed is the same world, to the last line; and wall clocks that jump change nothing.
    #[test]
    fn a_seed_is_one_world() {
        for seed in 1..=4 {
            let plan = Plan { rounds: Some(1), hashing: true, ..Plan::default() };
            let hash = |wall_jumps| {
                let outcome = run_seed(seed, &Plan { wall_jumps: Some(wall_jumps), ..plan });
                let Outcome::Ok(stats) = outcome else { panic!("seed {seed}: {outcome:?}") };
                (stats.hash, stats.virtual_us)
            };
            let first = hash(false);
            assert_ne!(first.0, 0);
            assert_eq!(hash(false), first, "seed {seed} again");
            assert_eq!(hash(true), first, "seed {seed} with other times of day");
        }
    }

    /// `SIM_SEED` and `SIM_TIMES` mean here what they mean for the scenarios.
    #[test]
    fn seeds_hold_all_properties() {
        let plan = Plan { tracing: true, ..Plan::default() };
        if let Some(seed) = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
            assert!(replay(seed, &plan));
            return;
        }
        let seeds = crate::settle::seeds(24);
        let seeds = seeds[0]..seeds[seeds.len() - 1] + 1;
        assert!(Sweep { plan: Plan::default(), seeds, jobs: 2, seconds: u64::MAX }.run());
    }
}
