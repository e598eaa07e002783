//! The farm of pretend data nodes as this program uses it: as many processes as the masters need,
//! orders to them, and how much CPU they take themselves.
#![forbid(unsafe_code)]

use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::client::{Client, Reply, ask_once};
use crate::machine::{busy_seconds, cpu_seconds};

/// Three sentinels open 18 connections to each group; a process has 20,000 descriptors or so.
const GROUPS_PER_PROCESS: usize = 1000;
const FIRST_NET: usize = 64;
const START_LIMIT: Duration = Duration::from_secs(10);
const ORDER_LIMIT: Duration = Duration::from_secs(20);
const WATCH_PERIOD: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);

struct Process {
    port: u16,
    child: Child,
    options: Vec<String>,
}

/// The processes; dropping it ends them.
pub struct Farms<'a> {
    processes: Vec<Process>,
    bench: &'a Bench,
}

/// What all processes say together.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Groups with a master that answers.
    pub with_master: usize,
    pub connections: usize,
    pub subscribers: usize,
    /// Connections that failed for want of descriptors.
    pub refusals: usize,
    /// Since the latest promotion.
    pub since_promotion: Option<Duration>,
}

impl<'a> Farms<'a> {
    /// Starts enough processes for these masters, each with two replicas.
    pub fn start(bench: &'a Bench, masters: usize) -> Result<Farms<'a>, String> {
        let mut farms = Farms { processes: Vec::new(), bench };
        let dir = bench.make_dir()?;
        for first in (0..masters).step_by(GROUPS_PER_PROCESS) {
            let number = first / GROUPS_PER_PROCESS;
            let port = bench.free_port()?;
            let groups = (masters - first).min(GROUPS_PER_PROCESS);
            let options = [
                ("--port", usize::from(port)),
                ("--net", FIRST_NET + number),
                ("--groups", groups),
                ("--first", first),
            ];
            let options: Vec<String> =
                options.iter().flat_map(|(name, n)| [name.to_string(), n.to_string()]).collect();
            let args: Vec<&str> = options.iter().map(String::as_str).collect();
            let name = format!("{dir}/farm{number}");
            let child = bench.guard().spawn(&name, &bench.farm, &args)?;
            farms.processes.push(Process { port, child, options });
        }
        let until = Instant::now() + START_LIMIT;
        while !farms.processes.iter().all(|p| ask_once(p.port, &["PING"]).is_some()) {
            if Instant::now() > until {
                return Err("the farm does not answer".to_string());
            }
            std::thread::sleep(POLL);
        }
        Ok(farms)
    }

    /// The lines `sentinel monitor`; the names are m0, m1 and so on.
    pub fn config(&self, quorum: usize) -> Result<String, String> {
        let quorum = quorum.to_string();
        let lines = |process: &Process| {
            let mut command = Command::new(&self.bench.farm);
            let out = command.args(&process.options).args(["--config", &quorum]).output();
            out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        };
        let lines: Result<Vec<String>, _> = self.processes.iter().map(lines).collect();
        lines.map(|l| l.concat()).map_err(|e| format!("cannot run the farm: {e}"))
    }

    /// All current masters stop answering, their connections stay.
    pub fn hang(&self) -> Result<(), String> {
        self.order("HANG").map(drop)
    }

    /// What happened so far.
    pub fn state(&self) -> Result<State, String> {
        let mut sum = State::default();
        for reply in self.order("STATE")? {
            let number = |name| reply.field(name).parse::<usize>().unwrap_or(0);
            sum.with_master += number("with-master");
            sum.connections += number("connections");
            sum.subscribers += number("subscribers");
            sum.refusals += number("refusals");
            let since = Duration::from_micros(number("since-promotion-us") as u64);
            if !since.is_zero() {
                sum.since_promotion = Some(sum.since_promotion.map_or(since, |s| s.min(since)));
            }
        }
        Ok(sum)
    }

    fn order(&self, what: &str) -> Result<Vec<Reply>, String> {
        let ask = |process: &Process| {
            let client = Client::connect(process.port, Some(ORDER_LIMIT));
            client.and_then(|mut client| client.ask(&["FARM", what]))
        };
        let replies: Result<Vec<Reply>, _> = self.processes.iter().map(ask).collect();
        replies.map_err(|e| format!("the farm does not answer FARM {what}: {e}"))
    }

    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.child.id()).collect()
    }
}

impl Drop for Farms<'_> {
    fn drop(&mut self) {
        for process in &mut self.processes {
            self.bench.guard().kill(&mut process.child);
        }
    }
}

/// The most that was seen in any second, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peaks {
    /// Of one core, by the busiest process of the farm.
    pub farm: f64,
    /// Of all cores, by everything.
    pub machine: f64,
}

/// Watches how busy the farm and the machine are.
pub struct Watch {
    pids: Vec<u32>,
    peaks: Arc<Mutex<Peaks>>,
    /// At the last look of the caller.
    last: Reading,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to watch.
    pub fn start(pids: Vec<u32>) -> Watch {
        let (peaks, stop) = (Arc::<Mutex<Peaks>>::default(), Arc::<AtomicBool>::default());
        let shared = (pids.clone(), peaks.clone(), stop.clone());
        let thread = std::thread::spawn(move || watch(&shared.0, &shared.1, &shared.2));
        let last = Reading::now(&pids);
        Watch { pids, peaks, last, stop, thread: Some(thread) }
    }

    /// The peaks since the last call; the mean if no whole second passed.
    pub fn take(&mut self) -> Peaks {
        let now = Reading::now(&self.pids);
        let last = std::mem::replace(&mut self.last, now);
        let mean = self.last.since(&last);
        let peaks = self.peaks.lock().map(|mut peaks| std::mem::take(&mut *peaks));
        peaks.unwrap_or_default().or_higher(mean)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Peaks {
    fn or_higher(self, other: Peaks) -> Peaks {
        Peaks { farm: self.farm.max(other.farm), machine: self.machine.max(other.machine) }
    }
}

/// CPU seconds at a moment.
struct Reading {
    at: Instant,
    farm: Vec<f64>,
    machine: f64,
}

impl Reading {
    fn now(pids: &[u32]) -> Reading {
        let farm = pids.iter().map(|pid| cpu_seconds(*pid).unwrap_or(0.0)).collect();
        Reading { at: Instant::now(), farm, machine: busy_seconds() }
    }

    fn since(&self, earlier: &Reading) -> Peaks {
        let seconds = self.at.duration_since(earlier.at).as_secs_f64().max(0.001);
        let percent = |from: f64, to: f64| (to - from) / seconds * 100.0;
        let farm = earlier.farm.iter().zip(&self.farm).map(|(from, to)| percent(*from, *to));
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let machine = (percent(earlier.machine, self.machine) / cores).min(100.0);
        Peaks { farm: farm.fold(0.0, f64::max), machine }
    }
}

fn watch(pids: &[u32], peaks: &Mutex<Peaks>, stop: &AtomicBool) {
    let mut last = Reading::now(pids);
    while !stop.load(Ordering::Relaxed) {
        std::thread::park_timeout(WATCH_PERIOD);
        let now = Reading::now(pids);
        // A short piece says little: times are counted in hundredths of a second.
        if now.at.duration_since(last.at) > WATCH_PERIOD / 2 {
            let seen = now.since(&last);
            if let Ok(mut peaks) = peaks.lock() {
                *peaks = peaks.or_higher(seen);
            }
        }
        last = now;
    }
}
