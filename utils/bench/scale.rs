//! Many masters: three sentinels and a farm of pretend data nodes. How long until they answer and
//! have discovered everything, what that takes, what watching takes, and how long until all
//! masters are failed over that hang at the same moment?
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bench::{Bench, Side, Ticker, complain, progress};
use crate::chart::{Labels, bars};
use crate::crowd::{Crowd, DOWN_AFTER_MS, FAILOVER_TIMEOUT_MS, REPLICAS, SENTINELS, Switches};
use crate::farm::{Farms, Peaks, Watch};
use crate::report::{Chart, Pair, Report, Table, Unit};
use crate::requests::Beside;

/// Beyond this many masters theirs is left out: it would take an hour.
const THEIRS_MOST: usize = 1000;
const FULL_RUNS: usize = 3;
/// A farm that needs more of a core than this may be what is slow.
const BUSY_PERCENT: f64 = 80.0;
const SETTLE: Duration = Duration::from_secs(10);
/// After a burst of requests.
const PAUSE: Duration = Duration::from_secs(3);
const STEADY: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// How long each part may take before it is given up.
#[derive(Clone, Copy)]
struct Limits {
    answer: Duration,
    discover: Duration,
    fail_over: Duration,
}

impl Limits {
    fn new(full: bool) -> Limits {
        let seconds = |short, long| Duration::from_secs(if full { long } else { short });
        Limits {
            answer: seconds(120, 300),
            discover: seconds(150, 300),
            fail_over: seconds(60, 200),
        }
    }
}

/// What is measured of one number of masters.
#[derive(Default)]
struct Results {
    answer: Pair,
    discovered: Pair,
    cpu_until: Pair,
    steady_cpu: Pair,
    memory: Pair,
    memory_after: Pair,
    promoted: Pair,
    told: Pair,
    /// Of the farm and the machine, by phase.
    peaks: [(Pair, Pair); 3],
    busy: bool,
    beside: Beside,
    tilts: [usize; 2],
}

const PHASES: [&str; 3] = ["discovering", "steady", "failing over"];

/// Measures all sizes.
pub fn measure(bench: &Bench) -> Result<Report, String> {
    let limits = Limits::new(bench.full);
    let text = format!(
        "{SENTINELS} sentinels and a farm of pretend data nodes on this one machine; each master \
         has {REPLICAS} replicas, down-after {DOWN_AFTER_MS} ms, failover-timeout \
         {FAILOVER_TIMEOUT_MS} ms. Answer: from the start of the programs to the first answered \
         PING. Discovered: until every sentinel knows all replicas and sentinels of all masters \
         and misses none. CPU: of one sentinel, until then, and during {} s that begin {} s \
         later. Memory: resident, of one sentinel. Then all masters hang in one moment, with \
         their connections open: until a replica of each is promoted, and until every sentinel \
         has said +switch-master of each. Given up after {} s, {} s and {} s; then the table \
         shows how far it came. Runs with each number of masters: {} of ours, {} of theirs, \
         which is not measured with more than {THEIRS_MOST} masters.",
        STEADY.as_secs(),
        SETTLE.as_secs(),
        limits.answer.as_secs(),
        limits.discover.as_secs(),
        limits.fail_over.as_secs(),
        runs(bench, Side::Ours, 1),
        runs(bench, Side::Theirs, 1)
    );
    let mut table = Table::of_pairs("Many masters", &text, &["masters", "what"]);
    let text = "The most in any second, in percent: of one core by the busiest process of the \
                farm, and of all cores by everything. Where the farm needs nearly a core, times \
                are its times too.";
    let names = ["masters", "while", "farm: ours", "theirs", "machine: ours", "theirs"];
    let mut farm = Table::new("The farm's own CPU", text, &names);
    let mut requests = Beside::table();
    let text = "The medians above divided by the number of masters: what stays the same from row \
                to row grows in proportion. The memory of a sentinel with hardly anything to \
                watch is in it.";
    let names = ["masters", "program", "CPU to discover", "steady CPU, per second", "memory"];
    let mut shares = Table::new("Per master", text, &names);
    let mut all = Vec::new();
    for masters in sizes(bench) {
        let mut results = Results::default();
        for run in 0..runs(bench, Side::Ours, masters) {
            for side in Side::BOTH {
                if run < runs(bench, side, masters) {
                    let title =
                        format!("{masters} masters, {}, run {}", name(bench, side), run + 1);
                    if let Err(why) = one(bench, side, masters, limits, &title, &mut results) {
                        complain(&format!("{title}: {why}"));
                        table.text.push_str(&format!(" Failed: {title}: {why}."));
                    }
                }
            }
        }
        add_rows(&mut table, &mut farm, masters, &results);
        results.beside.add_rows(&mut requests, &masters.to_string());
        add_shares(&mut shares, bench, masters, &results);
        all.push((format!("{masters} masters"), results));
    }
    Ok(Report { tables: vec![table, shares, requests, farm], charts: charts(bench, &all) })
}

fn charts(bench: &Bench, all: &[(String, Results)]) -> Vec<Chart> {
    type Pick = fn(&Results) -> &Pair;
    let charts: [(&str, &str, &str, Pick, Unit); 4] = [
        (
            "bench-discovery.svg",
            "Many masters: until everything is discovered",
            "Time from the start of three sentinels; shorter is better",
            |results| &results.discovered,
            Unit::Seconds,
        ),
        (
            "bench-cpu.svg",
            "Many masters: CPU for watching them",
            "Of one core, by one sentinel; less is better",
            |results| &results.steady_cpu,
            Unit::Percent,
        ),
        (
            "bench-memory.svg",
            "Many masters: memory",
            "Resident, of one sentinel; less is better",
            |results| &results.memory,
            Unit::Mebibytes,
        ),
        (
            "bench-disaster.svg",
            "Many masters: all hang at once",
            "Until all are failed over and all sentinels say so, down-after 5 s included",
            |results| &results.told,
            Unit::Seconds,
        ),
    ];
    let draw = |(file, title, axis, pick, unit): (&str, &str, &str, Pick, Unit)| {
        let rows = all.iter().map(|(label, results)| (label.clone(), pick(results).clone()));
        let rows: Vec<(String, Pair)> = rows.collect();
        bars(&Labels { file, title, axis }, bench.names(), &rows, unit)
    };
    charts.map(draw).into()
}

fn name(bench: &Bench, side: Side) -> &str {
    &bench.program(side).name
}

/// A run of theirs with many masters takes minutes.
fn runs(bench: &Bench, side: Side, masters: usize) -> usize {
    match (side, bench.runs) {
        (Side::Theirs, _) if masters > THEIRS_MOST || bench.ours_only => 0,
        (_, Some(runs)) => runs,
        (Side::Ours, None) if bench.full => FULL_RUNS,
        _ => 1,
    }
}

fn sizes(bench: &Bench) -> Vec<usize> {
    match bench.masters {
        Some(masters) => vec![masters],
        None if bench.full => vec![100, 1000, 3000],
        None => vec![100, 1000],
    }
}

/// One start, one life and one disaster.
fn one(
    bench: &Bench,
    side: Side,
    masters: usize,
    limits: Limits,
    title: &str,
    results: &mut Results,
) -> Result<(), String> {
    let farms = Farms::start(bench, masters)?;
    let mut watch = Watch::start(farms.pids());
    progress(&format!("{title}: starting"));
    let mut crowd = Crowd::start(bench, side, &farms, masters, SENTINELS, "")?;
    for answer in crowd.first_answers(limits.answer)? {
        results.answer.of(side).add(answer);
    }
    let found = discover(&mut crowd, &farms, limits.discover, title)?;
    match found {
        Found::All(seconds) => {
            results.discovered.of(side).add(Some(seconds));
            crowd.cpu().into_iter().for_each(|cpu| results.cpu_until.of(side).add(Some(cpu)));
        }
        Found::Part(count) => {
            let reached = reached(count, masters, limits.discover);
            results.discovered.of(side).add_reached(reached.clone());
            results.cpu_until.of(side).add_reached(reached);
        }
    }
    results.add_peaks(side, 0, watch.take());
    wait(SETTLE, &format!("{title}: settling"));
    watch.take();
    let (before, begun) = (crowd.cpu(), Instant::now());
    wait(STEADY, &format!("{title}: steady"));
    let seconds = begun.elapsed().as_secs_f64();
    for (from, to) in before.iter().zip(crowd.cpu()) {
        results.steady_cpu.of(side).add(Some((to - from) / seconds * 100.0));
    }
    crowd.memory().into_iter().for_each(|mib| results.memory.of(side).add(mib));
    results.add_peaks(side, 1, watch.take());
    progress(&format!("{title}: requests"));
    results.beside.measure_watched(&crowd, side);
    wait(PAUSE, &format!("{title}: settling again"));
    watch.take();
    fail_over(&mut crowd, side, &farms, limits.fail_over, title, results)?;
    let tilts = crowd.tilts();
    if tilts > 0 {
        complain(&format!("{title}: {tilts} times in tilt"));
    }
    results.tilts[side as usize] += tilts;
    crowd.memory().into_iter().for_each(|mib| results.memory_after.of(side).add(mib));
    results.add_peaks(side, 2, watch.take());
    if results.busy {
        complain(&format!("{title}: the farm used over {BUSY_PERCENT} % of a core"));
    }
    let refusals = farms.state()?.refusals;
    if refusals > 0 {
        complain(&format!("{title}: the farm ran out of descriptors {refusals} times"));
    }
    Ok(())
}

enum Found {
    /// Everything, after so many seconds.
    All(f64),
    /// This many masters were complete at the sentinel that knew the fewest.
    Part(usize),
}

fn discover(
    crowd: &mut Crowd,
    farms: &Farms,
    limit: Duration,
    title: &str,
) -> Result<Found, String> {
    // Each sentinel subscribes to each node; to ask before that is done would only disturb.
    let subscribers = crowd.masters * (REPLICAS + 1) * crowd.sentinels.len();
    let mut ticker = Ticker::new();
    let mut fewest = 0;
    loop {
        let state = farms.state()?;
        if state.subscribers >= subscribers || crowd.age() > limit {
            let counts = (0..crowd.sentinels.len()).map(|s| crowd.discovered(s).unwrap_or(0));
            fewest = counts.min().unwrap_or(0);
        }
        if fewest == crowd.masters {
            return Ok(Found::All(crowd.age().as_secs_f64()));
        }
        if crowd.age() > limit {
            return Ok(Found::Part(fewest));
        }
        if ticker.due() {
            crowd.check_alive()?;
            progress(&format!(
                "{title}: {:.0} s, {} of {subscribers} subscriptions",
                crowd.age().as_secs_f64(),
                state.subscribers
            ));
        }
        std::thread::sleep(POLL);
    }
}

/// All masters hang, while a client asks for their addresses.
fn fail_over(
    crowd: &mut Crowd,
    side: Side,
    farms: &Farms,
    limit: Duration,
    title: &str,
    results: &mut Results,
) -> Result<(), String> {
    let (masters, sentinel) = (crowd.masters, (crowd.sentinels[0].port, crowd.pids()[0]));
    let switches = Switches::listen(crowd);
    let done = AtomicBool::new(false);
    let (promoted, asked) = std::thread::scope(|scope| {
        let stop = || done.load(Ordering::Relaxed);
        let asked = scope.spawn(move || Beside::pace(sentinel, masters, stop));
        let promoted = hang(crowd, farms, &switches, limit, title);
        done.store(true, Ordering::Relaxed);
        (promoted, asked.join().unwrap_or(Err("the load generator failed".to_string())))
    });
    match promoted? {
        Promoted::All(seconds) => results.promoted.of(side).add(Some(seconds)),
        Promoted::Part(count) => {
            results.promoted.of(side).add_reached(reached(count, masters, limit));
        }
    }
    match switches.fewest() {
        all if all == masters => results.told.of(side).add(Some(switches.latest())),
        some => results.told.of(side).add_reached(reached(some, masters, limit)),
    }
    results.beside.add_failing_over(side, &asked);
    Ok(())
}

enum Promoted {
    /// A replica of each, after so many seconds.
    All(f64),
    /// Of so many masters.
    Part(usize),
}

/// Lets all masters hang and waits for all to be failed over and told, or for the limit.
fn hang(
    crowd: &mut Crowd,
    farms: &Farms,
    switches: &Switches,
    limit: Duration,
    title: &str,
) -> Result<Promoted, String> {
    let masters = crowd.masters;
    switches.begin();
    let begun = Instant::now();
    farms.hang()?;
    let mut promoted = Promoted::Part(0);
    let mut ticker = Ticker::new();
    loop {
        std::thread::sleep(POLL);
        if let Promoted::Part(_) = promoted {
            let state = farms.state()?;
            let since = state.since_promotion.unwrap_or_default();
            promoted = match state.with_master {
                all if all == masters => {
                    Promoted::All(begun.elapsed().saturating_sub(since).as_secs_f64())
                }
                some => Promoted::Part(some),
            };
        }
        let all = matches!(promoted, Promoted::All(_)) && switches.fewest() == masters;
        if all || begun.elapsed() > limit {
            return Ok(promoted);
        }
        if ticker.due() {
            crowd.check_alive()?;
            let count = if let Promoted::Part(count) = promoted { count } else { masters };
            progress(&format!(
                "{title}: {:.0} s, {count} of {masters} promoted, {} told by all",
                begun.elapsed().as_secs_f64(),
                switches.fewest()
            ));
        }
    }
}

fn reached(count: usize, masters: usize, limit: Duration) -> String {
    format!("{count} of {masters} in {} s", limit.as_secs())
}

fn wait(time: Duration, title: &str) {
    progress(&format!("{title} ({} s)", time.as_secs()));
    std::thread::sleep(time);
}

impl Results {
    fn add_peaks(&mut self, side: Side, phase: usize, peaks: Peaks) {
        let (farm, machine) = &mut self.peaks[phase];
        farm.of(side).add(Some(peaks.farm));
        machine.of(side).add(Some(peaks.machine));
        self.busy |= peaks.farm > BUSY_PERCENT;
    }
}

/// What one master takes.
fn add_shares(table: &mut Table, bench: &Bench, masters: usize, results: &Results) {
    for side in Side::BOTH {
        let share = |pair: &Pair, factor: f64, word: &str| {
            let median = pair.median(side);
            median.map_or("-".to_string(), |all| {
                format!("{:.1} {word}", all * factor / masters as f64)
            })
        };
        let cpu_ms = share(&results.cpu_until, 1000.0, "ms");
        // A percent of a core is ten milliseconds per second.
        let steady_us = share(&results.steady_cpu, 10_000.0, "us");
        let memory_kib = share(&results.memory, 1024.0, "KiB");
        let program = name(bench, side).to_string();
        table.rows.push(vec![masters.to_string(), program, cpu_ms, steady_us, memory_kib]);
    }
}

fn add_rows(table: &mut Table, farm: &mut Table, masters: usize, results: &Results) {
    let masters = masters.to_string();
    let rows = [
        ("first answer", &results.answer, Unit::Seconds),
        ("all discovered", &results.discovered, Unit::Seconds),
        ("CPU until then", &results.cpu_until, Unit::Seconds),
        ("steady CPU", &results.steady_cpu, Unit::Percent),
        ("memory", &results.memory, Unit::Mebibytes),
        ("all hang: promoted", &results.promoted, Unit::Seconds),
        ("all hang: all told", &results.told, Unit::Seconds),
        ("memory after that", &results.memory_after, Unit::Mebibytes),
    ];
    rows.iter().for_each(|(what, pair, unit)| table.add_pair(&[&masters, what], pair, *unit));
    for (phase, (of_farm, of_all)) in PHASES.iter().zip(&results.peaks) {
        let shown = [of_farm, of_all].map(|pair| pair.show_worst(Unit::Percent));
        let names = [masters.clone(), phase.to_string()];
        farm.rows.push(names.into_iter().chain(shown.into_iter().flatten()).collect());
    }
    for (side, tilts) in ["ours", "theirs"].iter().zip(results.tilts) {
        if tilts > 0 {
            table.text.push_str(&format!(
                " With {masters} masters, {side} went into tilt {tilts} times: the machine was \
                 too busy to run it."
            ));
        }
    }
    if results.busy {
        farm.text.push_str(&format!(
            " With {masters} masters a process of the farm used over {BUSY_PERCENT} % of a core."
        ));
    }
}
