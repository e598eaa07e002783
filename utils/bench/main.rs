//! Measures sentineld side by side with `redis-sentinel` on this machine, the runs of the two in
//! turn, and writes tables to the terminal and, with charts, to a Markdown file. Run it with
//! `make bench`, which takes a quarter of an hour, or `make bench FULL=1`, which takes an hour.
//!
//! Options: `--full`, `--runs N` (instead of the usual number), `--masters N` (of the farm),
//! `--ours` (leaves theirs out there, for a quick look; then better with `--out -`),
//! `--only NAME` (one measurement; the others stay in the file as they are), `--out FILE` (default
//! `docs/bench.md`; `-` writes none). Charts go beside the file.
//! It shows numbers and passes no judgement: the exit code tells only whether it could measure. A
//! measurement that fails is told, and the next one begins. Nothing is left behind, however it
//! ends.
#![forbid(unsafe_code)]

mod bench;
mod chart;
#[allow(dead_code, reason = "the demo reads numbers, which nothing here does yet")]
#[path = "../demo/client.rs"]
mod client;
mod crowd;
mod failover;
mod farm;
mod group;
#[path = "../demo/guard.rs"]
mod guard;
mod idle;
mod latency;
mod load;
mod machine;
mod pages;
mod report;
mod requests;
mod scale;
mod subscribers;

use std::fs::OpenOptions;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use bench::Bench;
use pages::Section;
use report::Report;

type Measure = fn(&Bench) -> Result<Report, String>;

/// All measurements: a new one is a module and a line here.
const MEASUREMENTS: [(&str, Measure); 5] = [
    ("failover", failover::measure),
    ("farm", scale::measure),
    ("requests", requests::measure),
    ("subscribers", subscribers::measure),
    ("idle", idle::measure),
];

const DEFAULT_OUT: &str = "docs/bench.md";

/// What was asked for.
#[derive(Default)]
struct Options {
    full: bool,
    runs: Option<usize>,
    masters: Option<usize>,
    ours_only: bool,
    only: Option<String>,
    out: Option<String>,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            bench::end_progress();
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--full" => options.full = true,
            "--ours" => options.ours_only = true,
            "--runs" | "--masters" => {
                let number = value()?.parse().ok().filter(|n| *n > 0);
                let number = Some(number.ok_or(format!("{arg} needs a number above 0"))?);
                *(if arg == "--runs" { &mut options.runs } else { &mut options.masters }) = number;
            }
            "--only" => options.only = Some(value()?),
            "--out" => options.out = Some(value()?),
            _ => return Err(format!("unknown option {arg}")),
        }
    }
    match &options.only {
        Some(only) if !MEASUREMENTS.iter().any(|(name, _)| name == only) => {
            let names = MEASUREMENTS.map(|(name, _)| name).join(", ");
            Err(format!("no measurement {only}; there are: {names}"))
        }
        _ => Ok(options),
    }
}

fn run(options: &Options) -> Result<(), String> {
    let out = options.out.as_deref().unwrap_or(DEFAULT_OUT);
    let out = Some(out).filter(|out| *out != "-");
    // Now, not after an hour of measuring, is the time to find out that it cannot be written.
    if let Some(out) = out {
        make_writable(out).map_err(|e| format!("cannot write {out}: {e}"))?;
    }
    machine::raise_descriptors()?;
    let mut bench = Bench::new()?;
    (bench.full, bench.runs) = (options.full, options.runs);
    (bench.masters, bench.ours_only) = (options.masters, options.ours_only);
    let mut facts = vec![
        ("ours".to_string(), bench.ours.version.clone()),
        ("theirs".to_string(), format!("{}: {}", bench.theirs.name, bench.theirs.version)),
        ("data node".to_string(), bench.server_version.clone()),
    ];
    facts.extend(machine::describe());
    print_facts(&facts);
    let mut failed = Vec::new();
    for (name, measure) in MEASUREMENTS {
        if options.only.as_deref().is_none_or(|only| only == name) {
            // What is done is written, whatever comes next.
            if let Err(why) = run_one(&bench, name, measure, &facts, out) {
                bench::end_progress();
                eprintln!("bench: {name}: {why}");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// Measures one thing, shows it and puts it into the file.
fn run_one(
    bench: &Bench,
    name: &'static str,
    measure: Measure,
    facts: &[(String, String)],
    out: Option<&str>,
) -> Result<(), String> {
    let begun = Instant::now();
    let mut facts = facts.to_vec();
    facts.extend(machine::describe_load("before", &bench.dir())?);
    let report = measure(bench)?;
    facts.extend(machine::describe_load("after", &bench.dir())?);
    facts.push(("took".to_string(), format!("{} s", begun.elapsed().as_secs())));
    bench::end_progress();
    println!("\n== {name} ==");
    report.tables.iter().for_each(|table| println!("\n{}", table.plain().trim_end()));
    println!();
    print_facts(&facts[facts.len() - 5..]);
    let Some(out) = out else { return Ok(()) };
    let failed = |e| format!("cannot write {out} and its charts: {e}");
    let dir = Path::new(out).parent().unwrap_or(Path::new(""));
    for chart in &report.charts {
        std::fs::write(dir.join(&chart.file), &chart.svg).map_err(failed)?;
    }
    let charts = report.charts.into_iter().map(|chart| (chart.file, chart.what)).collect();
    let section = Section { name, facts, tables: report.tables, charts };
    let old = std::fs::read_to_string(out).unwrap_or_default();
    let order = MEASUREMENTS.map(|(name, _)| name);
    std::fs::write(out, pages::assemble(&old, &[section], &order)).map_err(failed)?;
    println!("written to {out}");
    Ok(())
}

/// Makes the directory of a file and sees that the file can be opened; what is in it stays.
fn make_writable(path: &str) -> std::io::Result<()> {
    if let Some(dir) = Path::new(path).parent() {
        std::fs::create_dir_all(dir)?;
    }
    OpenOptions::new().create(true).append(true).open(path).map(drop)
}

fn print_facts(facts: &[(String, String)]) {
    facts.iter().for_each(|(name, value)| println!("{name:<24}{value}"));
}
