//! A client as an application has one: it asks a sentinel for the master, increments a counter
//! there every 2 ms, and asks again when that fails.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Client, Reply};
use crate::group::MASTER;

const PERIOD: Duration = Duration::from_millis(2);
const LIMIT: Duration = Duration::from_millis(200);

/// The time in which no write succeeded.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// The last acknowledgement before it.
    pub last: Instant,
    /// The first acknowledgement after it.
    pub next: Instant,
    /// How many writes were acknowledged before it.
    pub acknowledged: i64,
    /// How many of them the new master does not have.
    pub lost: i64,
}

impl Outage {
    pub fn length_ms(&self) -> u128 {
        self.next.duration_since(self.last).as_millis()
    }
}

#[derive(Default)]
struct Log {
    acknowledged: i64,
    /// Time and value of the last acknowledgement.
    last: Option<(Instant, i64)>,
    /// Only failures after the mark make an outage.
    marked: bool,
    failed: bool,
    outage: Option<Outage>,
}

impl Log {
    fn succeeded(&mut self, value: i64) {
        let now = Instant::now();
        if let Some((last, before)) = self.last
            && self.failed
            && self.outage.is_none()
        {
            let lost = (before + 1 - value).max(0);
            let acknowledged = self.acknowledged;
            self.outage = Some(Outage { last, next: now, acknowledged, lost });
        }
        self.failed = false;
        self.acknowledged += 1;
        self.last = Some((now, value));
    }
}

/// The running client.
pub struct Writer {
    log: Arc<Mutex<Log>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts writing.
    pub fn start(sentinel_ports: Vec<u16>) -> Writer {
        let (log, stop) = (Arc::new(Mutex::new(Log::default())), Arc::new(AtomicBool::new(false)));
        let shared = (Arc::clone(&log), Arc::clone(&stop));
        let thread = std::thread::spawn(move || write_on(&sentinel_ports, &shared.0, &shared.1));
        Writer { log, stop, thread: Some(thread) }
    }

    /// How many writes were acknowledged.
    pub fn count(&self) -> i64 {
        lock(&self.log).acknowledged
    }

    /// The next failure begins the outage.
    pub fn mark(&self) {
        let mut log = lock(&self.log);
        log.marked = true;
        log.failed = false;
    }

    /// The outage, once it is over.
    pub fn outage(&self) -> Option<Outage> {
        lock(&self.log).outage
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_on(sentinel_ports: &[u16], log: &Mutex<Log>, stop: &AtomicBool) {
    let mut master: Option<Client> = None;
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        if master.is_none() {
            turn += 1;
            master = find_master(sentinel_ports[turn % sentinel_ports.len()]);
        }
        match master.as_mut().map(|m| m.ask(&["INCR", "counter"])) {
            Some(Ok(Reply::Number(value))) => lock(log).succeeded(value),
            _ => {
                master = None;
                let mut log = lock(log);
                log.failed = log.marked;
            }
        }
        std::thread::sleep(PERIOD);
    }
}

/// Connects to the master that a sentinel names.
fn find_master(sentinel_port: u16) -> Option<Client> {
    let mut sentinel = Client::connect(sentinel_port, Some(LIMIT)).ok()?;
    let reply = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).ok()?;
    let port = reply.list().get(1)?.text().parse().ok()?;
    Client::connect(port, Some(LIMIT)).ok()
}
