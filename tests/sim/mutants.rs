//! Proves the prover: every deliberate defect of `sentineld::util::defect` has to be found by the
//! sweep within its number of seeds, and by a checker that stands outside. A panic of the core
//! finds nothing. `make sim-mutants` runs it; the build needs the feature `defects`.
#![forbid(unsafe_code)]
// The same modules as in the test; what only its scenarios use lies idle here.
#![allow(dead_code)]

include!("modules.rs");

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use sentineld::util::defect::{Defect, set};

use net::Us;
use outcome::{Outcome, cpu_ns, run_seed};
use plan::Plan;
use property::Property;

/// Within so many seeds a defect has to be found.
const SEEDS: u64 = 400;
/// Defects that no checker has found within some hundred seeds so far: what they spoil is guarded
/// a second time, or the sweep does not come there. Hunted for only where they are named.
const UNSEEN: &[Defect] = &[
    Defect::ElectWithoutEnd,
    Defect::IgnoreOvertaking,
    Defect::AskByOwnAddress,
    Defect::VotePerName,
    Defect::BelieveOldPlace,
    Defect::TellOwnName,
    Defect::TrustFirstLookup,
];
/// Defects that break nothing; they cost elections.
const HARMLESS: &[Defect] = &[
    Defect::NoStagger,
    // These two are for attackers that go on and on.
    Defect::BelieveSingleClaim,
    Defect::SettleWithoutPause,
];
/// For `--short`: they show within the first seeds.
const QUICK: &[Defect] = &[
    Defect::TellUnsavedVote,
    Defect::CountUnsavedVote,
    Defect::SaveOldVote,
    Defect::VoteTwicePerEpoch,
    Defect::ForgetVoteAtLoad,
    Defect::ForgetVoteOnSwitch,
    Defect::CountOldVotes,
    Defect::AskAfterElection,
    Defect::StartWithoutOdown,
    Defect::ReuseEpoch,
    Defect::EpochGoesBack,
    Defect::BelieveOldHello,
    Defect::TakeConfigWithoutEpoch,
    Defect::PromoteWithoutEpoch,
    Defect::JudgeTooEarly,
    Defect::OdownWithOneLess,
    Defect::SayDownWhenUp,
    Defect::LoseDeadline,
    Defect::GatherInFailover,
    Defect::JudgeGathered,
    Defect::BundleWithoutHello,
    Defect::PromoteUnwanted,
    Defect::PromoteLeastData,
    Defect::PromoteUnchecked,
    Defect::ForgetOldMaster,
    Defect::IgnoreParallelSyncs,
];
/// Each of those has to be found within so many seeds.
const QUICK_SEEDS: u64 = 30;

const USAGE: &str = "\
usage: sim-mutants [--short] [--seeds N] [NAME ...]
  --short     only defects that are found quickly
  --seeds N   at most so many seeds for each (default: 400)
  NAME        only these defects
";

/// What came of the hunt for one defect.
struct Hunt {
    defect: Defect,
    found: Option<Found>,
    /// Seeds that were run.
    seeds: u64,
    /// How many of them ended in a panic, and what the first of them said.
    panics: u64,
    panic: String,
    cpu_ns: u64,
}

/// The property that a checker found broken.
struct Found {
    property: Property,
    text: String,
    at: Us,
}

/// Runs seed after seed with a defect until a checker names a property.
fn hunt(defect: Defect, seeds: u64) -> Hunt {
    set(Some(defect));
    let began = cpu_ns();
    let mut hunt =
        Hunt { defect, found: None, seeds: 0, panics: 0, panic: String::new(), cpu_ns: 0 };
    while hunt.found.is_none() && hunt.seeds < seeds {
        hunt.seeds += 1;
        match run_seed(hunt.seeds, &Plan::default()) {
            Outcome::Ok(_) => {}
            Outcome::Violated { property, text, at } => {
                hunt.found = Some(Found { property, text, at });
            }
            Outcome::Panicked { text, .. } => {
                hunt.panics += 1;
                if hunt.panic.is_empty() {
                    hunt.panic = text;
                }
            }
        }
    }
    hunt.cpu_ns = cpu_ns() - began;
    set(None);
    hunt
}

/// One line of the table.
fn tell(hunt: &Hunt) {
    let name = format!("{:?}", hunt.defect);
    let cpu_s = hunt.cpu_ns as f64 / 1e9;
    let Some(Found { property, text, at }) = &hunt.found else {
        let only = match hunt.panics {
            0 => "NOT FOUND".to_owned(),
            panics => format!("ONLY PANICS ({panics}): {}", hunt.panic),
        };
        println!("{name:<26}{only:<28}{:>6}{:>12}{cpu_s:>9.2} s", hunt.seeds, "");
        return;
    };
    let (by, at_s) = (format!("{property:?}"), *at as f64 / 1e6);
    println!("{name:<26}{by:<28}{:>6}{at_s:>10.2} s{cpu_s:>9.2} s", hunt.seeds);
    if std::env::var("MUTANTS_TEXT").is_ok() {
        println!("    {text}");
    }
}

/// Hunts for all of them on all cores; gives the hunts in the order of `defects`.
fn hunt_all(defects: &[Defect], most: u64, jobs: usize) -> Vec<Hunt> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(&defect) = defects.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let hunt = hunt(defect, most);
                    tell(&hunt);
                    if let Ok(mut done) = done.lock() {
                        done.push(hunt);
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|hunt| hunt.defect);
    done
}

/// Without a defect the same seeds hold all properties.
fn clean(seeds: u64, jobs: usize) -> bool {
    let (next, well) = (AtomicU64::new(1), AtomicBool::new(true));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds || !well.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = run_seed(seed, &Plan::default());
                    if !matches!(outcome, Outcome::Ok(_)) && well.swap(false, Ordering::Relaxed) {
                        println!("without any defect:");
                        sweep::tell(seed, &Plan::default(), &outcome);
                    }
                }
            });
        }
    });
    well.into_inner()
}

fn report(hunts: &[Hunt]) -> bool {
    let missed = hunts.iter().filter(|hunt| hunt.found.is_none()).count();
    let finders: BTreeSet<Property> =
        hunts.iter().filter_map(|hunt| hunt.found.as_ref().map(|found| found.property)).collect();
    let cpu_s = hunts.iter().map(|hunt| hunt.cpu_ns).sum::<u64>() as f64 / 1e9;
    println!(
        "{} of {} defects found, by {} properties, in {cpu_s:.1} CPU seconds",
        hunts.len() - missed,
        hunts.len(),
        finders.len(),
    );
    missed == 0
}

/// The defects of these names; without any, those that are to be found.
fn chosen(names: &[String], short: bool) -> Result<Vec<Defect>, String> {
    let name_of = |defect: &Defect| format!("{defect:?}");
    if let Some(name) = names.iter().find(|name| !Defect::ALL.iter().any(|d| name_of(d) == **name))
    {
        let all: Vec<String> = Defect::ALL.iter().map(name_of).collect();
        return Err(format!("no defect {name}; there are:\n  {}", all.join("\n  ")));
    }
    let mut defects = Defect::ALL.to_vec();
    defects.retain(|defect| match names.is_empty() {
        true if short => QUICK.contains(defect),
        true => !HARMLESS.contains(defect) && !UNSEEN.contains(defect),
        false => names.contains(&name_of(defect)),
    });
    Ok(defects)
}

fn main() -> ExitCode {
    let (mut short, mut most, mut names) = (false, SEEDS, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--short" => short = true,
            "--seeds" => match args.next().and_then(|text| text.parse().ok()) {
                Some(seeds) => most = seeds,
                None => return usage(),
            },
            option if option.starts_with('-') => return usage(),
            name => names.push(name.to_owned()),
        }
    }
    let defects = match chosen(&names, short) {
        Ok(defects) => defects,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    };
    if short {
        most = most.min(QUICK_SEEDS);
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{:<26}{:<28}{:>6}{:>12}{:>11}",
        "defect", "found by", "seed", "virtual time", "CPU time"
    );
    let hunts = hunt_all(&defects, most, jobs);
    let found = report(&hunts);
    let seeds = hunts.iter().map(|hunt| hunt.seeds).max().unwrap_or(0);
    let clean = clean(seeds, jobs);
    println!(
        "the same {seeds} seeds without a defect: {}",
        if clean { "all well" } else { "BROKEN" }
    );
    if names.is_empty() && !short {
        println!("not hunted for, as no checker has found them so far: {UNSEEN:?}");
    }
    if found && clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}
