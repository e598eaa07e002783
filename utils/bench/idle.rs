//! What one sentinel with one master takes: time to start, memory, size of the program.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::bench::{Bench, Side, progress};
use crate::client::Client;
use crate::group::{Group, Shape};
use crate::machine::resident_mib;
use crate::report::{Pair, Report, Table, Unit};

const QUICK_RUNS: usize = 10;
const FULL_RUNS: usize = 20;
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_micros(200);
const SETTLE: Duration = Duration::from_secs(3);
const SHAPE: Shape = Shape { sentinels: 0, down_after_ms: 30_000 };

/// Measures all three.
pub fn measure(bench: &Bench) -> Result<Report, String> {
    let runs = bench.runs.unwrap_or(if bench.full { FULL_RUNS } else { QUICK_RUNS });
    let (mut start, mut memory, mut size) = (Pair::default(), Pair::default(), Pair::default());
    // The data nodes stay, only the sentinel is new each time; each side has its own nodes, or the
    // two sentinels would find each other.
    let mut groups = [Group::start(bench, SHAPE)?, Group::start(bench, SHAPE)?];
    for run in 0..runs {
        progress(&format!("one sentinel: run {} of {runs}", run + 1));
        let mut sentinels = Vec::new();
        for side in Side::BOTH {
            let sentinel = first_answer(&mut groups[side as usize], side)?;
            start.of(side).add(sentinel.start_ms);
            sentinels.push((side, sentinel.pid));
        }
        std::thread::sleep(SETTLE);
        for (side, pid) in sentinels {
            memory.of(side).add(resident_mib(pid));
        }
        groups.iter_mut().for_each(Group::end_sentinels);
    }
    for side in Side::BOTH {
        let path = &bench.program(side).path;
        let bytes = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
        size.of(side).add(Some(bytes.len() as f64 / (1024.0 * 1024.0)));
    }
    let text = format!(
        "A sentinel that watches one master with two replicas, {runs} runs each. Start: from \
         starting the program to the first answered PING. Memory: resident, {} s after that, code \
         included. Program: the file.",
        SETTLE.as_secs()
    );
    let mut table = Table::of_pairs("One sentinel, one master", &text, &["what"]);
    table.add_pair(&["start"], &start, Unit::Milliseconds);
    table.add_pair(&["memory"], &memory, Unit::Mebibytes);
    table.add_pair(&["program"], &size, Unit::Mebibytes);
    Ok(Report { tables: vec![table], charts: vec![] })
}

struct Started {
    pid: u32,
    /// Milliseconds to the first answer; `None` if none came.
    start_ms: Option<f64>,
}

/// Starts a sentinel and waits for its first answer.
fn first_answer(group: &mut Group, side: Side) -> Result<Started, String> {
    let ready = group.prepare_sentinel()?;
    let begun = Instant::now();
    group.start_sentinel(side, &ready)?;
    let mut start_ms = None;
    while begun.elapsed() < START_LIMIT && start_ms.is_none() {
        let client = Client::connect(ready.port, Some(START_LIMIT));
        match client.and_then(|mut c| c.ask(&["PING"])) {
            Ok(reply) if reply.text() == "PONG" => {
                start_ms = Some(begun.elapsed().as_secs_f64() * 1000.0);
            }
            _ => std::thread::sleep(POLL),
        }
    }
    let pid = group.sentinels.last().map_or(0, |s| s.child.id());
    Ok(Started { pid, start_ms })
}
