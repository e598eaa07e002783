//! `sentineld-fuzz TARGET MINUTES CORPUS FOUND`: the fuzzer of `tests/fuzz`, guided by coverage.
//!
//! `make fuzz` builds it with the options that have LLVM count how often each edge of the code is
//! passed, in bytes whose place it tells at the start. They are plain `-C` options of the stable
//! compiler. An input that passes an edge for the first time, or in another order of magnitude,
//! is kept in FOUND, which the next run takes into its corpus. A failing input ends the run; it is
//! kept there too, under the name `crash-…`.

#[path = "../../engine.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod engine;
#[path = "../../targets/mod.rs"]
mod targets;

use engine::{Feedback, Fuzzer, read_corpus};
use std::path::PathBuf;
use std::process::exit;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the counters lie: first and behind the last, for each part of the program.
static COUNTERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called before `main` for each part of the program that has counters.
///
/// # Safety
/// The compiler gives both ends of one array of bytes that lives as long as the program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    let mut counters = COUNTERS.lock().expect("nobody panics with it");
    let range = (start as usize, end as usize);
    if range.0 != range.1 && !counters.contains(&range) {
        counters.push(range);
    }
}

/// Called beside it with places in the code, which are not looked at.
#[unsafe(no_mangle)]
pub extern "C" fn __sanitizer_cov_pcs_init(_start: *const usize, _end: *const usize) {}

/// The classes of counts that were met on each edge.
struct Coverage {
    ranges: Vec<(usize, usize)>,
    seen: Vec<u8>,
    edges: usize,
}

impl Coverage {
    fn new() -> Coverage {
        let ranges = COUNTERS.lock().expect("nobody panics with it").clone();
        let total = ranges.iter().map(|(start, end)| end - start).sum();
        Coverage { ranges, seen: vec![0; total], edges: 0 }
    }

    /// Calls `look` with the place of each counter.
    fn each(&self, mut look: impl FnMut(usize, *mut u8)) {
        let places = self.ranges.iter().flat_map(|(start, end)| *start..*end);
        for (index, place) in places.enumerate() {
            look(index, place as *mut u8);
        }
    }
}

impl Feedback for Coverage {
    fn begin(&mut self) {
        // SAFETY: the ranges are those of the compiler's counters; only this thread runs code
        // that counts.
        self.each(|_, counter| unsafe { counter.write_volatile(0) });
    }

    fn is_new(&mut self, _signature: u64) -> bool {
        let mut seen = std::mem::take(&mut self.seen);
        let mut new = false;
        let mut edges = 0;
        self.each(|index, counter| {
            // SAFETY: as above.
            let count = unsafe { counter.read_volatile() };
            let class = match count {
                0 => return,
                1 => 1,
                2 => 2,
                3 => 4,
                4..=7 => 8,
                8..=15 => 16,
                16..=31 => 32,
                32..=127 => 64,
                _ => 128,
            };
            edges += usize::from(seen[index] == 0);
            new |= seen[index] & class == 0;
            seen[index] |= class;
        });
        self.seen = seen;
        self.edges += edges;
        new
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, minutes, corpus, found] = args.as_slice() else {
        eprintln!("usage: sentineld-fuzz TARGET MINUTES CORPUS FOUND");
        exit(2);
    };
    let Some(target) = targets::named(name) else {
        let known: Vec<&str> = targets::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("{name}: no such target; there are {}", known.join(" "));
        exit(2);
    };
    let minutes: f64 = minutes.parse().expect("MINUTES is a number");
    let (corpus, found) = (PathBuf::from(corpus).join(name), PathBuf::from(found).join(name));
    std::fs::create_dir_all(&found).expect("a directory for what is found");
    let mut inputs = read_corpus(&corpus);
    inputs.extend(read_corpus(&found));
    let mut coverage = Coverage::new();
    if coverage.seen.is_empty() {
        eprintln!("built without counters: use make fuzz");
        exit(2);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let seed = now.as_nanos() as u64;
    println!("{name}: seed {seed}, {} inputs, {minutes} minutes", inputs.len());
    let mut fuzzer = Fuzzer::new(target, seed, inputs).keep_in(found.clone());
    let report = fuzzer.run(Duration::from_secs_f64(minutes * 60.0), &mut coverage);
    let (edges, all) = (coverage.edges, coverage.seen.len());
    println!("{name}: {} runs, {} kept, {edges} of {all} edges", report.runs, report.kept);
    if let Some(failure) = report.failure {
        let path = found.join(format!("crash-{:016x}", engine::hash(&failure.input)));
        std::fs::write(&path, &failure.input).expect("the input is written");
        println!("\"{}\"\n{}\n{}", failure.input.escape_ascii(), failure.message, path.display());
        exit(1);
    }
}
