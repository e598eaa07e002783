//! The simulator's command line: `make sim SEED=n` replays a seed with a line per event,
//! `make sim SEEDS=a..b` sweeps over seeds on all cores and reports rate and coverage.
#![forbid(unsafe_code)]
// The same modules as in the test; what only its scenarios use lies idle here.
#![allow(dead_code)]

include!("modules.rs");

use std::process::ExitCode;

use plan::Plan;
use sweep::Sweep;

const USAGE: &str = "\
usage: sim [--seed N | --seeds A..B] [options]
  --seed N        replay one seed, with a line per event on standard error
  --seeds A..B    sweep over seeds A to B-1
  --seconds N     begin no seed after so long (default without --seeds: 60)
  --jobs N        threads (default: one per core)
  --sentinels N   so many sentinels (default: drawn per seed), likewise:
  --masters N, --replicas N, --rounds N
  --bundle-links N  sentinels with N links do what only large ones do, but for this
  --names         every world has host names
  --plain         only masters that die or hang
  --quiet         replay without lines
  --hash          print one number of all worlds, and one of all transcripts
  --wall-jumps    wall clocks jump
  --elections N   print how N elections of each kind go (and 1000 masters that fail together)
";

/// What the command line asks for.
struct Wish {
    plan: Plan,
    seed: Option<u64>,
    seeds: std::ops::Range<u64>,
    jobs: usize,
    quiet: bool,
    elections: Option<u64>,
    seconds: u64,
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Wish> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let plan = Plan::default();
    let seeds = 1..u64::MAX;
    let (quiet, elections, seconds) = (false, None, 60);
    let mut wish = Wish { plan, seed: None, seeds, jobs, quiet, elections, seconds };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--hash" => wish.plan.ledger = true,
            "--plain" => wish.plan.plain = true,
            "--names" => wish.plan.names = true,
            "--wall-jumps" => wish.plan.wall_jumps = Some(true),
            "--quiet" => wish.quiet = true,
            "--seeds" => {
                let value = args.next()?;
                let (from, to) = value.split_once("..")?;
                wish.seeds = from.parse().ok()?..to.parse().ok()?;
                wish.seconds = u64::MAX;
            }
            _ => {
                let value: u64 = args.next()?.parse().ok()?;
                match arg.as_str() {
                    "--seed" => wish.seed = Some(value),
                    "--elections" => wish.elections = Some(value),
                    "--seconds" => wish.seconds = value,
                    "--jobs" => wish.jobs = (value as usize).max(1),
                    "--sentinels" => wish.plan.sentinels = Some(value as usize),
                    "--masters" => wish.plan.masters = Some(value as usize),
                    "--replicas" => wish.plan.replicas = Some(value as usize),
                    "--bundle-links" => wish.plan.bundle_links = Some(value as usize),
                    "--rounds" => wish.plan.rounds = Some(value as u32),
                    _ => return None,
                }
            }
        }
    }
    Some(wish)
}

fn main() -> ExitCode {
    let Some(wish) = parse(std::env::args().skip(1)) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(count) = wish.elections {
        election_table::table(count, wish.plan.sentinels);
        if wish.plan.sentinels.is_none() {
            election_table::together(1_000);
        }
        return ExitCode::SUCCESS;
    }
    let well = match wish.seed {
        Some(seed) => sweep::replay(seed, &Plan { tracing: !wish.quiet, ..wish.plan }),
        None => {
            Sweep { plan: wish.plan, seeds: wish.seeds, jobs: wish.jobs, seconds: wish.seconds }
                .run()
        }
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
