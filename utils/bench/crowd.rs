//! Three sentinels that watch the farm: what they are asked and told while they are measured.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::bench::{Bench, Side};
use crate::client::Client;
use crate::farm::Farms;
use crate::group::Member;
use crate::machine::{cpu_seconds, resident_mib};

pub const SENTINELS: usize = 3;
pub const REPLICAS: usize = 2;
pub const DOWN_AFTER_MS: u64 = 5_000;
pub const FAILOVER_TIMEOUT_MS: u64 = 10_000;

const REPLY_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// The sentinels; dropping it ends them.
pub struct Crowd<'a> {
    pub sentinels: Vec<Member>,
    pub masters: usize,
    begun: Instant,
    bench: &'a Bench,
    dir: String,
}

impl<'a> Crowd<'a> {
    /// Starts `count` sentinels of one side that watch all masters of the farm; `more`: further
    /// lines of their configuration.
    pub fn start(
        bench: &'a Bench,
        side: Side,
        farms: &Farms,
        masters: usize,
        count: usize,
        more: &str,
    ) -> Result<Crowd<'a>, String> {
        let dir = bench.make_dir()?;
        let begun = Instant::now();
        let mut crowd = Crowd { sentinels: Vec::new(), masters, begun, bench, dir };
        let path = bench.dir().join(&crowd.dir);
        let monitor = farms.config(count / 2 + 1)?;
        let mut files = Vec::new();
        for _ in 0..count {
            let port = bench.free_port()?;
            let file = path.join(format!("{port}.conf"));
            let mut text = format!("port {port}\nbind 127.0.0.1\ndir \"{}\"\n", path.display());
            text.push_str(more);
            text.push_str(&monitor);
            for master in 0..masters {
                text.push_str(&format!(
                    "sentinel down-after-milliseconds m{master} {DOWN_AFTER_MS}\n\
                     sentinel failover-timeout m{master} {FAILOVER_TIMEOUT_MS}\n"
                ));
            }
            fs::write(&file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
            files.push((port, file));
        }
        crowd.begun = Instant::now();
        for (port, file) in files {
            let name = format!("{}/{port}", crowd.dir);
            let args = [&*file.to_string_lossy()];
            let child = bench.guard().spawn(&name, &bench.program(side).path, &args)?;
            crowd.sentinels.push(Member { port, child });
        }
        Ok(crowd)
    }

    pub fn pids(&self) -> Vec<u32> {
        self.sentinels.iter().map(|s| s.child.id()).collect()
    }

    /// Since the sentinels were started.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The seconds after which each sentinel answered a PING; `None` if not within the limit.
    pub fn first_answers(&mut self, limit: Duration) -> Result<Vec<Option<f64>>, String> {
        let begun = self.begun;
        let answers = std::thread::scope(|scope| {
            let wait = |port: u16| move || first_answer(port, begun, limit);
            let threads: Vec<_> =
                self.sentinels.iter().map(|s| scope.spawn(wait(s.port))).collect();
            threads.into_iter().map(|t| t.join().ok().flatten()).collect()
        });
        self.check_alive()?;
        Ok(answers)
    }

    /// For how many masters a sentinel knows all replicas and all sentinels and misses none.
    pub fn discovered(&self, sentinel: usize) -> Option<usize> {
        let port = self.sentinels[sentinel].port;
        let mut client = Client::connect(port, Some(REPLY_LIMIT)).ok()?;
        let info = client.ask(&["INFO", "sentinel"]).ok()?;
        let end = format!(",slaves={REPLICAS},sentinels={}", self.sentinels.len());
        let known = |line: &&str| line.contains(",status=ok,") && line.trim_end().ends_with(&end);
        Some(info.text().lines().filter(known).count())
    }

    /// Waits until every sentinel knows everything.
    pub fn wait_discovered(&self, limit: Duration) -> Result<(), String> {
        let known = |sentinel| self.discovered(sentinel) == Some(self.masters);
        let until = Instant::now() + limit;
        while !(0..self.sentinels.len()).all(known) {
            if Instant::now() > until {
                return Err(format!("not all discovered within {} s", limit.as_secs()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// How often the sentinels went into tilt.
    pub fn tilts(&self) -> usize {
        let tilts = |port| {
            let info = Client::connect(port, Some(REPLY_LIMIT)).ok()?.ask(&["INFO", "sentinel"]);
            let info = info.ok()?;
            let number = |name| info.text().lines().find_map(|line| line.strip_prefix(name));
            let number = number("sentinel_total_tilt:").or_else(|| number("sentinel_tilt:"))?;
            number.trim().parse::<usize>().ok()
        };
        self.sentinels.iter().filter_map(|sentinel| tilts(sentinel.port)).sum()
    }

    /// An error, with the end of its output, if a sentinel ended.
    pub fn check_alive(&mut self) -> Result<(), String> {
        for member in &mut self.sentinels {
            if let Ok(Some(status)) = member.child.try_wait() {
                let out = self.bench.dir().join(&self.dir).join(format!("{}.out", member.port));
                let text = fs::read(out).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let lines: Vec<&str> = text.lines().collect();
                let end = lines[lines.len().saturating_sub(5)..].join("\n");
                return Err(format!("a sentinel ended ({status}); it said last:\n{end}"));
            }
        }
        Ok(())
    }

    /// The CPU time of each, in seconds.
    pub fn cpu(&self) -> Vec<f64> {
        self.pids().into_iter().map(|pid| cpu_seconds(pid).unwrap_or(0.0)).collect()
    }

    /// The resident memory of each, in MiB.
    pub fn memory(&self) -> Vec<Option<f64>> {
        self.pids().into_iter().map(resident_mib).collect()
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        for member in &mut self.sentinels {
            self.bench.guard().kill(&mut member.child);
        }
        let _ = fs::remove_dir_all(self.bench.dir().join(&self.dir));
    }
}

fn first_answer(port: u16, begun: Instant, limit: Duration) -> Option<f64> {
    loop {
        let left = limit.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())?;
        let client = Client::connect(port, Some(left));
        match client.and_then(|mut client| client.ask(&["PING"])) {
            Ok(reply) if reply.text() == "PONG" => return Some(begun.elapsed().as_secs_f64()),
            _ => std::thread::sleep(POLL),
        }
    }
}

/// How many masters each sentinel said to have switched, and when the last one was.
pub struct Switches {
    shared: Arc<Shared>,
}

struct Shared {
    listening: AtomicUsize,
    begun: OnceLock<Instant>,
    sentinels: Vec<Told>,
}

#[derive(Default)]
struct Told {
    count: AtomicUsize,
    /// When the last one was, after the beginning.
    latest_us: AtomicU64,
}

impl Switches {
    /// Begins to listen to all sentinels; the threads end when the sentinels do. One that does not
    /// answer within the limit is listened to as soon as it does.
    pub fn listen(crowd: &Crowd) -> Switches {
        let sentinels = crowd.sentinels.iter().map(|_| Told::default()).collect();
        let shared = Shared { listening: AtomicUsize::new(0), begun: OnceLock::new(), sentinels };
        let shared = Arc::new(shared);
        for (number, sentinel) in crowd.sentinels.iter().enumerate() {
            let (shared, port) = (shared.clone(), sentinel.port);
            std::thread::spawn(move || listen(port, number, &shared));
        }
        let until = Instant::now() + REPLY_LIMIT;
        let count = crowd.sentinels.len();
        while shared.listening.load(Ordering::Relaxed) < count && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        Switches { shared }
    }

    /// From now on switches count.
    pub fn begin(&self) {
        let _ = self.shared.begun.set(Instant::now());
    }

    /// The count of the sentinel that knows the fewest.
    pub fn fewest(&self) -> usize {
        let counts = self.shared.sentinels.iter().map(|told| told.count.load(Ordering::Relaxed));
        counts.min().unwrap_or(0)
    }

    /// The seconds until the latest.
    pub fn latest(&self) -> f64 {
        let times = self.shared.sentinels.iter().map(|told| told.latest_us.load(Ordering::Relaxed));
        times.max().unwrap_or(0) as f64 / 1e6
    }
}

/// Counts the masters that a sentinel says to have switched.
fn listen(port: u16, number: usize, shared: &Shared) {
    let Ok(mut client) = Client::connect(port, None) else { return };
    if client.ask(&["SUBSCRIBE", "+switch-master"]).is_err() {
        return;
    }
    shared.listening.fetch_add(1, Ordering::Relaxed);
    let mut names = HashSet::new();
    while let Ok(reply) = client.read_reply() {
        let text = reply.list().get(2).map_or("", |text| text.text());
        let name = text.split(' ').next().unwrap_or_default().to_string();
        if let Some(begun) = shared.begun.get()
            && names.insert(name)
        {
            let told = &shared.sentinels[number];
            told.latest_us.store(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
            told.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
