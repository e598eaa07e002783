//! Real client libraries do their work through a failover; README.md beside this file tells how.
//!
//! Prints one line for each client and variant, then how many passed and failed. The exit code is
//! that of the outcome. A client that cannot be had on this machine is NOT RUN; with CI=true in
//! the environment this is a failure.
#![forbid(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod exporter;
mod group;
mod output;
mod proxy;
mod requests;
mod story;

use clients::{CLIENTS, Client, Variant};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How many groups run at a time: they wait most of the time.
const WORKERS: usize = 4;

/// What became of a client in a variant.
enum Outcome {
    Passed(String),
    Failed(String),
    NotRun(String),
}

/// What was learned from one run.
struct Report {
    client: &'static str,
    title: String,
    outcome: Outcome,
    commands: BTreeSet<String>,
    errors: BTreeSet<String>,
}

fn main() -> ExitCode {
    let chosen: BTreeSet<String> = std::env::args().skip(1).collect();
    let known = |name: &String| CLIENTS.iter().any(|client| client.name == name);
    if let Some(name) = chosen.iter().find(|name| !known(name)) {
        let names: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
        eprintln!("no client {name}; there are: {}", names.join(" "));
        return ExitCode::from(2);
    }
    let wanted = |client: &Client| chosen.is_empty() || chosen.contains(client.name);
    let clients: Vec<&'static Client> = CLIENTS.iter().filter(|client| wanted(client)).collect();
    let kits: BTreeSet<&str> = clients.iter().map(|client| client.kit).collect();
    let kits: BTreeMap<&str, Result<(), String>> =
        kits.into_iter().map(|kit| (kit, clients::install(kit))).collect();
    let mut jobs = Vec::new();
    let mut reports = Vec::new();
    for client in clients {
        match &kits[client.kit] {
            Ok(()) => jobs.extend(client.variants().map(|variant| (client, variant))),
            Err(reason) => reports.push(not_run(client, reason)),
        }
    }
    for report in &reports {
        show(report);
    }
    reports.extend(run_all(jobs));
    write_lists(&reports);
    finish(&reports)
}

fn not_run(client: &'static Client, reason: &str) -> Report {
    Report {
        client: client.name,
        title: client.name.into(),
        outcome: Outcome::NotRun(reason.into()),
        commands: BTreeSet::new(),
        errors: BTreeSet::new(),
    }
}

/// Runs all jobs, a few at a time, and shows each outcome as it comes.
fn run_all(mut jobs: Vec<(&'static Client, Variant)>) -> Vec<Report> {
    jobs.reverse();
    let jobs = Arc::new(Mutex::new(jobs));
    let (sender, reports) = mpsc::channel();
    for _ in 0..WORKERS {
        let (jobs, sender) = (jobs.clone(), sender.clone());
        thread::spawn(move || {
            loop {
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some((client, variant)) = job else { return };
                if sender.send(run(client, variant)).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    reports.iter().inspect(show).collect()
}

/// Runs one client; a panic of the story is a failure with its text.
fn run(client: &'static Client, variant: Variant) -> Report {
    let journal = Arc::new(proxy::Journal::default());
    let noted = journal.clone();
    let name = format!("{}-{}", client.name, variant.name);
    let story = thread::Builder::new().name(name).spawn(move || {
        if client.kit == "exporter" {
            exporter::run(client, variant, &journal)
        } else {
            story::run(client, variant, &journal)
        }
    });
    let outcome = story.expect("a thread").join();
    let (version, outcome) = match outcome {
        Ok((version, text)) => (version, Outcome::Passed(text)),
        Err(panic) => (String::new(), Outcome::Failed(panic_text(&*panic))),
    };
    Report {
        client: client.name,
        title: format!("{} {version} ({})", client.name, variant.title()).replace("  ", " "),
        outcome,
        commands: noted.commands(),
        errors: noted.errors(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or(panic.downcast_ref::<&str>().map(|text| text.to_string()));
    text.unwrap_or("panicked".into()).replace('\n', " ")
}

fn show(report: &Report) {
    match &report.outcome {
        Outcome::Passed(text) => println!("{}: ok ({text})", report.title),
        Outcome::Failed(text) => println!("{}: FAILED ({text})", report.title),
        Outcome::NotRun(text) => println!("{}: NOT RUN ({text})", report.title),
    }
}

/// The directory for what is made here.
fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

/// Writes what was sent and which errors came back; of a run of some clients only, the lines of
/// the others stay.
fn write_lists(reports: &[Report]) {
    let other = support::sentinel::Program::UnderTest.is_redis();
    let suffix = if other { "-other" } else { "" };
    let run: BTreeSet<&str> = reports.iter().map(|report| report.client).collect();
    let write = |name: &str, of: fn(&Report) -> &BTreeSet<String>| {
        let path = target_dir().join(format!("clients-{name}{suffix}.txt"));
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let is_kept = |line: &&str| !run.contains(line.split(' ').next().unwrap_or_default());
        let mut lines: BTreeSet<String> = old.lines().filter(is_kept).map(str::to_string).collect();
        for report in reports {
            lines.extend(of(report).iter().map(|word| format!("{} {word}", report.client)));
        }
        let text = lines.iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        });
        std::fs::write(&path, text).expect("the target directory can be written");
    };
    write("commands", |report| &report.commands);
    write("errors", |report| &report.errors);
}

fn finish(reports: &[Report]) -> ExitCode {
    let count = |is: fn(&Outcome) -> bool| reports.iter().filter(|r| is(&r.outcome)).count();
    let passed = count(|outcome| matches!(outcome, Outcome::Passed(_)));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let not_run = count(|outcome| matches!(outcome, Outcome::NotRun(_)));
    let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
    let failed = if strict { failed + not_run } else { failed };
    let rest = if not_run > 0 { format!(", {not_run} NOT RUN") } else { String::new() };
    println!("{passed} passed, {failed} failed{rest}");
    if failed == 0 && passed + not_run > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
