//! Fuzzing: random changes of known inputs against everything that reads what others wrote.
//!
//! Each target has properties of its own, said at its head. A run takes the corpus first and then
//! changes it for some seconds from one seed, so that what a change breaks shows at that change;
//! FUZZ_SECONDS sets how long, FUZZ_SEED takes a number or `new`. A failing
//! input is shown as small as it can be and belongs into the corpus once the defect is gone.
//! `make fuzz` runs the same targets for longer, guided by the code that they reach (see
//! `guided/`).
#![forbid(unsafe_code)]

mod engine;
mod targets;

use engine::{Fuzzer, Report, Signatures, Target, read_corpus, run_one};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DEFAULT_SECONDS: f64 = 6.0;
const DEFAULT_SEED: u64 = 1;

fn seconds() -> f64 {
    let set = std::env::var("FUZZ_SECONDS").ok();
    set.map_or(DEFAULT_SECONDS, |text| text.parse().expect("FUZZ_SECONDS is a number"))
}

fn seed() -> u64 {
    match std::env::var("FUZZ_SEED").as_deref() {
        Err(_) => DEFAULT_SEED,
        Ok("new") => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
            since.as_nanos() as u64
        }
        Ok(text) => text.parse().expect("FUZZ_SEED is a number or new"),
    }
}

fn corpus_of(target: &Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target.name);
    read_corpus(&dir)
}

fn fuzz(name: &str) {
    let target = targets::named(name).expect("a target of that name");
    let corpus = corpus_of(target);
    assert!(!corpus.is_empty(), "no corpus for {name}");
    let seed = seed();
    let limit = Duration::from_secs_f64(seconds());
    let report = Fuzzer::new(target, seed, corpus).run(limit, &mut Signatures::default());
    println!("{name}: seed {seed}, {} runs, {} inputs kept", report.runs, report.kept);
    if let Some(failure) = report.failure {
        let path = save_failure(name, &failure.input);
        panic!(
            "{name} with seed {seed}: \"{}\" ({} bytes, in {}):\n{}",
            failure.input.escape_ascii(),
            failure.input.len(),
            path.display(),
            failure.message
        );
    }
}

fn save_failure(name: &str, input: &[u8]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    std::fs::create_dir_all(&dir).expect("a directory for the input");
    let path = dir.join(format!("{name}-{:016x}", engine::hash(input)));
    std::fs::write(&path, input).expect("the input is written");
    path
}

macro_rules! fuzz_tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            fuzz(stringify!($name));
        })*

        #[test]
        fn every_target_is_run() {
            let run = [$(stringify!($name)),*];
            let known: Vec<&str> = targets::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(run[..], known[..]);
        }
    };
}

fuzz_tests!(request reply hello info config client acl text);

// ---- the fuzzer itself -------------------------------------------------------------------------

fn hunt(run: fn(&[u8]) -> u64, start: &str) -> Report {
    let target = Target { name: "trap", run, dictionary: &["PING", "EPOCH"] };
    let corpus = vec![start.as_bytes().to_vec()];
    Fuzzer::new(&target, 7, corpus).run(Duration::from_secs(20), &mut Signatures::default())
}

#[test]
fn failures_are_found_and_made_small() {
    fn trap(input: &[u8]) -> u64 {
        let text = String::from_utf8_lossy(input);
        assert!(!(text.contains("EPOCH 65536") && text.contains('!')), "trapped");
        u64::from(text.contains("EPOCH")) | u64::from(text.contains('!')) << 1
    }
    let failure = hunt(trap, "one EPOCH 5 two\nthree four five six\n").failure.expect("a find");
    assert_eq!(failure.input.len(), "EPOCH 65536!".len(), "{failure:?}");
    assert!(failure.message.contains("trapped"), "{failure:?}");
}

#[test]
fn new_signatures_lead_further() {
    /// Each step is far too rare to be met together with the next one.
    fn stairs(input: &[u8]) -> u64 {
        let wanted = b"\x91\x13\xc7\x55\xa0";
        let steps = wanted.iter().zip(input).take_while(|(a, b)| a == b).count();
        assert!(steps < wanted.len(), "at the top");
        steps as u64
    }
    let report = hunt(stairs, "");
    assert!(report.failure.is_some(), "{report:?}");
    assert!(report.kept >= 4, "{report:?}");
}

#[test]
fn what_takes_too_long_is_a_failure() {
    fn sleeper(_: &[u8]) -> u64 {
        std::thread::sleep(Duration::from_millis(5100));
        0
    }
    let target = Target { name: "sleeper", run: sleeper, dictionary: &[] };
    assert!(run_one(&target, b"").is_err());
}
