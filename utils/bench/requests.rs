//! What clients get: requests per second and latencies, of a sentinel that watches one master, and
//! (called by the measurement of many masters) of one that watches many and fails them over.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::bench::{Bench, Side, complain, progress};
use crate::chart::{Labels, bars};
use crate::crowd::Crowd;
use crate::farm::Farms;
use crate::load::{Load, Outcome};
use crate::report::{Pair, Report, Table, Unit};

const CONNECTIONS: usize = 50;
const PIPELINES: [usize; 2] = [1, 16];
const QUICK_ROUNDS: usize = 3;
const FULL_ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
const DISCOVER_LIMIT: Duration = Duration::from_secs(60);
const WARM_UP: Duration = Duration::from_millis(200);
/// For latencies beside other work: often enough for percentiles, too seldom to be a load.
const PACED_PER_SECOND: u32 = 500;
const PACED_CONNECTIONS: usize = 10;
const PACED_TIME: Duration = Duration::from_secs(8);
/// MASTERS of a thousand masters is a megabyte; so many are asked for at the same time.
const LARGE_CONNECTIONS: usize = 5;

/// The three requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Address,
    Masters,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Address, Kind::Masters, Kind::Ping];

    fn name(self) -> &'static str {
        match self {
            Kind::Ping => "PING",
            Kind::Address => "GET-MASTER-ADDR-BY-NAME",
            Kind::Masters => "MASTERS",
        }
    }

    /// As bytes, for each master where it names one.
    fn requests(self, masters: usize) -> Vec<Vec<u8>> {
        match self {
            Kind::Ping => vec![request(&["PING"])],
            Kind::Masters => vec![request(&["SENTINEL", "MASTERS"])],
            Kind::Address => {
                let ask = |name: String| request(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &name]);
                (0..masters).map(|number| ask(format!("m{number}"))).collect()
            }
        }
    }
}

fn request(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| text.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    text.into_bytes()
}

/// The results of one kind of load.
#[derive(Clone, Default)]
pub struct Rates {
    per_second: Pair,
    per_cpu_second: Pair,
    median: Pair,
    p99: Pair,
    slowest: Pair,
    /// The most of a core that the load generator used, in percent.
    own_percent: f64,
}

impl Rates {
    /// An error is told and counts as a run without a result.
    fn add(&mut self, side: Side, outcome: &Result<Outcome, String>) {
        if let Err(why) = outcome {
            complain(&format!("requests, {side:?}: {why}"));
        }
        let outcome = outcome.as_ref().ok();
        let own = outcome.map_or(0.0, Outcome::own_percent);
        self.own_percent = self.own_percent.max(own);
        let latency = |share| outcome.and_then(|o| o.latencies.within(share));
        self.per_second.of(side).add(outcome.map(Outcome::per_second));
        self.per_cpu_second.of(side).add(outcome.map(Outcome::per_cpu_second));
        self.median.of(side).add(latency(0.5));
        self.p99.of(side).add(latency(0.99));
        self.slowest.of(side).add(latency(1.0));
    }

    fn add_rates(&self, table: &mut Table, names: &[&str]) {
        let row = |what: &'static str| [names, &[what]].concat();
        table.add_pair(&row("per second"), &self.per_second, Unit::PerSecond);
        table.add_pair(&row("per CPU second"), &self.per_cpu_second, Unit::PerSecond);
    }

    fn add_latencies(&self, table: &mut Table, names: &[&str]) {
        let row = |what: &'static str| [names, &[what]].concat();
        table.add_pair(&row("latency, median"), &self.median, Unit::Milliseconds);
        table.add_pair(&row("latency, 99 %"), &self.p99, Unit::Milliseconds);
    }
}

/// Measures a sentinel that has little else to do.
pub fn measure(bench: &Bench) -> Result<Report, String> {
    let rounds = bench.runs.unwrap_or(if bench.full { FULL_ROUNDS } else { QUICK_ROUNDS });
    let text = format!(
        "One sentinel, one master with two replicas, {CONNECTIONS} connections of a load \
         generator on the same machine; each sends as many requests as \"pipeline\" says, waits \
         for all replies, and sends the next. {rounds} runs of {} s each. Per CPU second: \
         requests per second of CPU time that the sentinel used, which the load generator beside \
         it does not touch. Latency: until the reply to a request came, with a pipeline the \
         requests before it included.",
        ROUND.as_secs()
    );
    let mut table = Table::of_pairs("Requests", &text, &["request", "pipeline", "what"]);
    let farms = [Farms::start(bench, 1)?, Farms::start(bench, 1)?];
    let mut crowds = Vec::new();
    for side in Side::BOTH {
        let mut crowd = Crowd::start(bench, side, &farms[side as usize], 1, 1, "")?;
        crowd.first_answers(DISCOVER_LIMIT)?;
        crowds.push(crowd);
    }
    for crowd in &crowds {
        crowd.wait_discovered(DISCOVER_LIMIT)?;
    }
    let mut rows = Vec::new();
    let mut own_percent: f64 = 0.0;
    for kind in Kind::ALL {
        let requests = kind.requests(1);
        for pipeline in PIPELINES {
            let mut rates = Rates::default();
            for round in 0..rounds {
                progress(&format!(
                    "requests: {}, pipeline {pipeline}: run {} of {rounds}",
                    kind.name(),
                    round + 1
                ));
                for side in Side::BOTH {
                    let load = load_of(&crowds[side as usize], CONNECTIONS, &requests);
                    let warm = load.closed(pipeline, WARM_UP);
                    rates.add(side, &warm.and_then(|_| load.closed(pipeline, ROUND)));
                }
            }
            let names = [kind.name(), &pipeline.to_string()];
            rates.add_rates(&mut table, &names);
            rates.add_latencies(&mut table, &names);
            own_percent = own_percent.max(rates.own_percent);
            rows.push((format!("{}, {pipeline}", kind.name()), rates.per_second));
        }
    }
    table.text.push_str(&format!(
        " The load generator used up to {own_percent:.0} % of a core; near 100 % it may be what \
         is slow."
    ));
    let labels = Labels {
        file: "bench-requests.svg",
        title: "Requests per second",
        axis: "Request and pipeline; one sentinel, one master, 50 connections; more is better",
    };
    let chart = bars(&labels, bench.names(), &rows, Unit::PerSecond);
    Ok(Report { tables: vec![table], charts: vec![chart] })
}

/// A load on the first sentinel.
fn load_of<'a>(crowd: &Crowd, connections: usize, requests: &'a [Vec<u8>]) -> Load<'a> {
    let sentinel = &crowd.sentinels[0];
    Load { port: sentinel.port, pid: sentinel.child.id(), connections, requests }
}

/// What clients get from one of the sentinels that watch many masters.
#[derive(Default)]
pub struct Beside {
    /// As fast as it goes.
    closed: [Rates; 3],
    watched: Rates,
    failing_over: Rates,
}

impl Beside {
    /// An empty table for any number of masters.
    pub fn table() -> Table {
        let text = format!(
            "Of one of the three sentinels, all of them, the farm and the load generator on this \
             machine. {CONNECTIONS} connections as fast as they go ({LARGE_CONNECTIONS} for \
             MASTERS) for {} s each; latencies of {PACED_PER_SECOND} requests \
             GET-MASTER-ADDR-BY-NAME per second, sent at this pace whatever the replies do: for \
             {} s while all masters are watched, and from the moment at which all hang until all \
             are failed over (or given up).",
            ROUND.as_secs(),
            PACED_TIME.as_secs()
        );
        let names = ["masters", "request", "what"];
        Table::of_pairs("Requests beside many masters", &text, &names)
    }

    /// While all is well.
    pub fn measure_watched(&mut self, crowd: &Crowd, side: Side) {
        let addresses = Kind::Address.requests(crowd.masters);
        let stop = Instant::now() + PACED_TIME;
        let paced = load_of(crowd, PACED_CONNECTIONS, &addresses);
        let outcome = paced.paced(PACED_PER_SECOND, || Instant::now() >= stop);
        self.watched.add(side, &outcome);
        for (kind, rates) in Kind::ALL.into_iter().zip(&mut self.closed) {
            let requests = kind.requests(crowd.masters);
            let large = kind == Kind::Masters;
            let connections = if large { LARGE_CONNECTIONS } else { CONNECTIONS };
            rates.add(side, &load_of(crowd, connections, &requests).closed(1, ROUND));
        }
    }

    /// From now until `stop`: the latencies while all masters are failed over.
    pub fn pace(
        load: (u16, u32),
        masters: usize,
        stop: impl Fn() -> bool,
    ) -> Result<Outcome, String> {
        let requests = Kind::Address.requests(masters);
        let (port, pid) = load;
        let load = Load { port, pid, connections: PACED_CONNECTIONS, requests: &requests };
        load.paced(PACED_PER_SECOND, stop)
    }

    /// The outcome of [`Beside::pace`].
    pub fn add_failing_over(&mut self, side: Side, outcome: &Result<Outcome, String>) {
        self.failing_over.add(side, outcome);
    }

    /// Adds what was measured.
    pub fn add_rows(&self, table: &mut Table, masters: &str) {
        for (kind, rates) in Kind::ALL.into_iter().zip(&self.closed) {
            rates.add_rates(table, &[masters, kind.name()]);
        }
        let name = Kind::Address.name();
        for (when, rates) in [("watched", &self.watched), ("failing over", &self.failing_over)] {
            let rows =
                [("median", &rates.median), ("99 %", &rates.p99), ("slowest", &rates.slowest)];
            for (what, pair) in rows {
                let what = format!("{when}: {what}");
                table.add_pair(&[masters, name, &what], pair, Unit::Milliseconds);
            }
        }
    }
}
