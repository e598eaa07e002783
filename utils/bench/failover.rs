//! Failover times: the primary is killed or frozen at a random moment; how long until a replica
//! reports that it is a master, and until every sentinel gives the new address?
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bench::{Bench, Side, complain, progress, random_time};
use crate::chart::{Labels, bars};
use crate::client::{Client, Reply};
use crate::group::{FAILOVER_TIMEOUT_MS, Group, MASTER, Shape, Signals};
use crate::report::{Pair, Report, Table, Unit};

/// Of the setting that everybody has, and of the others.
const QUICK_RUNS: [usize; 2] = [5, 3];
const FULL_RUNS: [usize; 2] = [20, 10];
/// The setting that everybody has.
const COMMON: Shape = Shape { sentinels: 3, down_after_ms: 1000 };
/// A run that takes longer counts as one without a failover.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_micros(500);
/// How long before the earliest possible failover polling begins; before, it would only disturb.
const EARLY: Duration = Duration::from_millis(100);
/// More than a period of PING, hello or INFO of either program, so that the fault meets any phase.
const PHASES: Duration = Duration::from_millis(2500);
/// A connection that is silent for so long is opened anew.
const SILENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 3;

/// What happens to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Its connections break and its port refuses.
    Killed,
    /// Its connections stay and nothing answers.
    Frozen,
}

/// Milliseconds since the fault less down-after; `None` if it did not happen within the limit.
#[derive(Clone, Copy, Debug)]
struct Times {
    promoted: Option<f64>,
    told: Option<f64>,
}

/// Measures all settings.
pub fn measure(bench: &Bench) -> Result<Report, String> {
    let [common, others] = if bench.full { FULL_RUNS } else { QUICK_RUNS };
    let runs_of = |shape| bench.runs.unwrap_or(if shape == COMMON { common } else { others });
    let text = format!(
        "One primary, two replicas, loopback, quorum a majority, failover-timeout \
         {FAILOVER_TIMEOUT_MS} ms. Time from the fault, less down-after; {} runs with {} \
         sentinels and down-after {} ms, {} of each other setting, the fault at a random moment. \
         \"promoted\": a replica reports the role master; \"all told\": every sentinel gives the \
         new address. Killed is `kill -9`, frozen is SIGSTOP. \"never\" is a run without a \
         failover within {} s.",
        runs_of(COMMON),
        COMMON.sentinels,
        COMMON.down_after_ms,
        bench.runs.unwrap_or(others),
        LIMIT.as_secs()
    );
    let names = ["sentinels", "down-after", "fault", "until"];
    let mut table = Table::of_pairs("Failover", &text, &names);
    let mut rows = Vec::new();
    for shape in shapes(bench.full) {
        for fault in [Fault::Killed, Fault::Frozen] {
            let (promoted, told) = measure_shape(bench, shape, fault, runs_of(shape))?;
            let sentinels = shape.sentinels.to_string();
            let down_after = format!("{} ms", shape.down_after_ms);
            let fault = if fault == Fault::Killed { "killed" } else { "frozen" };
            let names = [sentinels.as_str(), &down_after, fault];
            table.add_pair(&[&names[..], &["promoted"]].concat(), &promoted, Unit::Milliseconds);
            table.add_pair(&[&names[..], &["all told"]].concat(), &told, Unit::Milliseconds);
            rows.push((format!("{sentinels} sentinels, {down_after}, {fault}"), told));
        }
    }
    let labels = Labels {
        file: "bench-failover.svg",
        title: "Failover: until every sentinel gives the new address",
        axis: "Time from the fault, less down-after; shorter is better",
    };
    let chart = bars(&labels, bench.names(), &rows, Unit::Milliseconds);
    Ok(Report { tables: vec![table], charts: vec![chart] })
}

fn shapes(full: bool) -> Vec<Shape> {
    if !full {
        return vec![COMMON, Shape { sentinels: 5, ..COMMON }];
    }
    let times =
        |sentinels| [200, 1000, 5000].map(|down_after_ms| Shape { sentinels, down_after_ms });
    [times(3), times(5)].concat()
}

/// Until promoted, and until all are told.
fn measure_shape(
    bench: &Bench,
    shape: Shape,
    fault: Fault,
    runs: usize,
) -> Result<(Pair, Pair), String> {
    let (mut promoted, mut told) = (Pair::default(), Pair::default());
    for run in 0..runs {
        progress(&format!(
            "failover: {} sentinels, down-after {} ms, {fault:?}: run {} of {runs}",
            shape.sentinels,
            shape.down_after_ms,
            run + 1
        ));
        // Who is first has no advantage over all runs.
        let first = run % Side::BOTH.len();
        for (side, times) in try_run(bench, shape, fault, first)? {
            promoted.of(side).add(times.promoted);
            told.of(side).add(times.told);
        }
    }
    Ok((promoted, told))
}

/// A run of both; groups that do not get ready are given up and others started.
fn try_run(
    bench: &Bench,
    shape: Shape,
    fault: Fault,
    first: usize,
) -> Result<Vec<(Side, Times)>, String> {
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        match run(bench, shape, fault, first) {
            Ok(times) => return Ok(times),
            Err(e) => {
                complain(&format!("{e}; trying again"));
                why = e;
            }
        }
    }
    Err(why)
}

fn run(
    bench: &Bench,
    shape: Shape,
    fault: Fault,
    first: usize,
) -> Result<Vec<(Side, Times)>, String> {
    let mut groups = start(bench, shape)?;
    groups.rotate_left(first);
    let mut times = Vec::new();
    // A group ends before the fault of the other one.
    for (side, mut group) in groups {
        times.push((side, fail(bench, &mut group, shape, fault)?));
    }
    Ok(times)
}

/// Both wait for discovery at the same time, which takes longer than all else.
fn start(bench: &Bench, shape: Shape) -> Result<Vec<(Side, Group<'_>)>, String> {
    let mut groups = Vec::new();
    for side in Side::BOTH {
        let mut group = Group::start(bench, shape)?;
        group.start_sentinels(side)?;
        groups.push((side, group));
    }
    for (side, group) in &groups {
        let what = format!("{} to discover the group", bench.program(*side).name);
        group.wait(&what, Group::discovered)?;
    }
    Ok(groups)
}

fn fail(bench: &Bench, group: &mut Group, shape: Shape, fault: Fault) -> Result<Times, String> {
    let mut signals = Signals::start()?;
    std::thread::sleep(random_time(PHASES));
    group.wait("the group to be at rest before the fault", Group::discovered)?;
    let old_port = group.nodes[0].port.to_string();
    let given = |reply: &Reply| {
        reply.list().get(1).is_some_and(|p| !p.text().is_empty() && p.text() != old_port)
    };
    let is_master = |reply: &Reply| reply.list().first().is_some_and(|r| r.text() == "master");
    let replicas = open(&group.nodes[1..].iter().map(|n| n.port).collect::<Vec<_>>())?;
    let sentinels = open(&group.sentinels.iter().map(|s| s.port).collect::<Vec<_>>())?;

    let at = Instant::now();
    match fault {
        Fault::Killed => bench.guard().kill(&mut group.nodes[0].child),
        Fault::Frozen => signals.freeze(group.nodes[0].child.id())?,
    }
    let down_after = Duration::from_millis(shape.down_after_ms);
    let (from, until) = (at + down_after.saturating_sub(EARLY), at + down_after + LIMIT);
    let stop = AtomicBool::new(false);
    let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
    let (promoted, told) = std::thread::scope(|scope| {
        let (stop, given) = (&stop, &given);
        let until_told = sentinels.into_iter().map(|(port, client)| {
            let poll = Poll { port, words: &ask, from, until };
            scope.spawn(move || poll.run(client, given, &AtomicBool::new(false)))
        });
        let until_told: Vec<_> = until_told.collect();
        let until_promoted = replicas.into_iter().map(|(port, client)| {
            let poll = Poll { port, words: &["ROLE"], from, until };
            scope.spawn(move || poll.run(client, is_master, stop))
        });
        let until_promoted: Vec<_> = until_promoted.collect();
        let promoted = until_promoted.into_iter().filter_map(|t| t.join().ok()?).min();
        let told: Option<Vec<Instant>> =
            until_told.into_iter().map(|t| t.join().ok().flatten()).collect();
        (promoted, told.and_then(|told| told.into_iter().max()))
    });
    let since =
        |then: Instant| then.duration_since(at).as_secs_f64() * 1000.0 - shape.down_after_ms as f64;
    Ok(Times { promoted: promoted.map(since), told: told.map(since) })
}

/// Connections to these ports, made before the fault.
fn open(ports: &[u16]) -> Result<Vec<(u16, Client)>, String> {
    let connect = |port: &u16| match Client::connect(*port, Some(SILENCE)) {
        Ok(client) => Ok((*port, client)),
        Err(e) => Err(format!("cannot connect to port {port}: {e}")),
    };
    ports.iter().map(connect).collect()
}

/// Asks one server the same thing again and again.
struct Poll<'a> {
    port: u16,
    words: &'a [&'a str],
    from: Instant,
    until: Instant,
}

impl Poll<'_> {
    /// When the answer was first as wanted; then `stop` is set, which ends others that share it.
    fn run(
        &self,
        client: Client,
        wanted: impl Fn(&Reply) -> bool,
        stop: &AtomicBool,
    ) -> Option<Instant> {
        std::thread::sleep(self.from.saturating_duration_since(Instant::now()));
        let mut client = Some(client);
        while Instant::now() < self.until && !stop.load(Ordering::Relaxed) {
            // A promotion ends the connections of all clients: ask again at once.
            let fresh = client.is_none();
            client = client.or_else(|| Client::connect(self.port, Some(SILENCE)).ok());
            match client.as_mut().map(|c| c.ask(self.words)) {
                Some(Ok(reply)) if wanted(&reply) => {
                    stop.store(true, Ordering::Relaxed);
                    return Some(Instant::now());
                }
                Some(Ok(_)) => {}
                _ => {
                    client = None;
                    if !fresh {
                        continue;
                    }
                }
            }
            std::thread::sleep(POLL);
        }
        None
    }
}
