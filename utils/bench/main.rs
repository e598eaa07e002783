//! Measures sentineld side by side with `redis-sentinel` on this machine, the runs of the two in
//! turn, and writes tables to the terminal and to a Markdown file. Run it with `make bench`, which
//! takes a few minutes, or `make bench FULL=1`, which takes about three quarters of an hour.
//!
//! Options: `--full`, `--runs N` (instead of the usual number), `--only NAME` (one measurement;
//! then no file is written unless `--out` is given), `--out FILE` (default `docs/bench.md`).
//! It shows numbers and passes no judgement: the exit code tells only whether it could measure.
//! Nothing is left behind, however it ends.
#![forbid(unsafe_code)]

mod bench;
#[allow(dead_code, reason = "the demo reads numbers, which nothing here does yet")]
#[path = "../demo/client.rs"]
mod client;
mod failover;
mod group;
#[path = "../demo/guard.rs"]
mod guard;
mod idle;
mod machine;
mod report;

use std::fs::OpenOptions;
use std::path::Path;
use std::process::ExitCode;

use bench::Bench;
use report::Table;

type Measure = fn(&Bench) -> Result<Vec<Table>, String>;

/// All measurements: a new one is a module and a line here.
const MEASUREMENTS: [(&str, Measure); 2] =
    [("idle", idle::measure), ("failover", failover::measure)];

const DEFAULT_OUT: &str = "docs/bench.md";

/// What was asked for.
#[derive(Default)]
struct Options {
    full: bool,
    runs: Option<usize>,
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
            "--runs" => {
                let runs = value()?.parse().ok().filter(|n| *n > 0);
                options.runs = Some(runs.ok_or("--runs needs a number above 0")?);
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
    let default = options.only.is_none().then_some(DEFAULT_OUT);
    let out = options.out.as_deref().or(default);
    // Now, not after an hour of measuring, is the time to find out that it cannot be written.
    if let Some(out) = out {
        make_writable(out).map_err(|e| format!("cannot write {out}: {e}"))?;
    }
    let bench = Bench::new(options.full, options.runs)?;
    let mut facts = vec![
        ("ours".to_string(), bench.ours.version.clone()),
        ("theirs".to_string(), format!("{}: {}", bench.theirs.name, bench.theirs.version)),
        ("data node".to_string(), bench.server_version.clone()),
    ];
    facts.extend(machine::describe());
    facts.extend(machine::describe_load("before", &bench.dir())?);
    print_facts(&facts);
    let mut tables = Vec::new();
    for (name, measure) in MEASUREMENTS {
        if options.only.as_deref().is_none_or(|only| only == name) {
            let measured = measure(&bench)?;
            bench::end_progress();
            measured.iter().for_each(|table| println!("\n{}", table.plain().trim_end()));
            tables.extend(measured);
        }
    }
    println!();
    let after = machine::describe_load("after", &bench.dir())?;
    print_facts(&after);
    facts.extend(after);
    if let Some(out) = out {
        let text = document(options, &facts, &tables);
        std::fs::write(out, text).map_err(|e| format!("cannot write {out}: {e}"))?;
        println!("\nwritten to {out}");
    }
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

/// The Markdown file.
fn document(options: &Options, facts: &[(String, String)], tables: &[Table]) -> String {
    let command = if options.full { "make bench FULL=1" } else { "make bench" };
    let intro = format!(
        "Written by `{command}`: both programs on the same machine in the same run, in turn. A \
         ratio is theirs by ours. The numbers are for comparing the two columns; on another \
         machine, or a busy one, both are others."
    );
    let mut text = format!("# Measured side by side\n\n{}\n\n", report::wrap(&intro));
    text.push_str("| | |\n|-|-|\n");
    facts.iter().for_each(|(name, value)| text.push_str(&format!("| {name} | {value} |\n")));
    tables.iter().for_each(|table| text.push_str(&format!("\n{}", table.markdown())));
    text
}
