//! A client that writes all the time, and what became of its writes.

use crate::cluster::{Cluster, MASTER};
use crate::net::Door;
use crate::support::value::Value;
use std::collections::BTreeSet;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the writer waits for anything.
const PATIENCE: Duration = Duration::from_millis(400);
/// Between two writes, and after a failure.
const PAUSE: Duration = Duration::from_millis(4);

/// An acknowledged write.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    pub number: u64,
    pub at: Instant,
    /// The port of the node that acknowledged it.
    pub port: u16,
}

#[derive(Default)]
struct Shared {
    written: Mutex<Vec<Acknowledged>>,
    ended: AtomicBool,
}

/// A writer that appends numbers to a list of its own, in the background until it is dropped.
pub struct Writer {
    key: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the list of a writer tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    pub acknowledged: usize,
    pub lost: usize,
}

impl Writer {
    /// Starts client number `client` on its host.
    pub fn start(cluster: &Cluster, client: usize) -> Writer {
        let door = cluster.net.door(cluster.layout.client_host(client));
        let sentinels = cluster
            .sentinels
            .iter()
            .enumerate()
            .map(|(index, sentinel)| {
                let host = cluster.net.address(cluster.layout.sentinel_host(index));
                format!("{host}:{}", sentinel.port).parse().expect("an address")
            })
            .collect();
        let key = format!("written-by-{client}");
        let shared = Arc::new(Shared::default());
        let worker =
            Worker { door, sentinels, key: key.clone(), shared: shared.clone(), number: 0 };
        Writer { key, shared, thread: Some(std::thread::spawn(move || worker.run())) }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Acknowledged>> {
        self.shared.written.lock().expect("the writer does not panic")
    }

    /// The last acknowledged write.
    pub fn last(&self) -> Option<Acknowledged> {
        self.list().last().copied()
    }

    /// Waits for an acknowledgement by the node on `port` of a write sent after this call.
    pub fn wait_written(&self, port: u16, until: Instant) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let last = self.last();
            if last.is_some_and(|last| last.at > start && last.port == port) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("{} writes nothing to port {port}, last {last:?}", self.key));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Compares what was acknowledged with the list at a node. `Err`: something is in there twice,
    /// or not in the order in which it was acknowledged.
    pub fn losses(&self, cluster: &Cluster, node: usize) -> Result<Losses, String> {
        let reply = cluster.ask_node(node, &["LRANGE", &self.key, "0", "-1"])?;
        let kept: Vec<u64> = reply.texts().iter().filter_map(|text| text.parse().ok()).collect();
        let acknowledged: Vec<u64> = self.list().iter().map(|write| write.number).collect();
        compare(&acknowledged, &kept).map_err(|problem| format!("{}: {problem}", self.key))
    }
}

/// What is lost of the acknowledged numbers, which rise, if these were kept. Others may have been
/// kept too: a write without an answer may come through, late even.
fn compare(acknowledged: &[u64], kept: &[u64]) -> Result<Losses, String> {
    let known: BTreeSet<u64> = acknowledged.iter().copied().collect();
    let answered: Vec<u64> = kept.iter().copied().filter(|n| known.contains(n)).collect();
    if let Some(pair) = answered.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("{} comes before {}", pair[0], pair[1]));
    }
    let distinct: BTreeSet<u64> = kept.iter().copied().collect();
    if distinct.len() != kept.len() {
        return Err("a write was done twice".into());
    }
    Ok(Losses { acknowledged: known.len(), lost: known.len() - answered.len() })
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the writer panicked");
        }
    }
}

struct Worker {
    door: Door,
    sentinels: Vec<SocketAddr>,
    key: String,
    shared: Arc<Shared>,
    number: u64,
}

impl Worker {
    fn run(mut self) {
        let mut turn = 0;
        while !self.ended() {
            turn += 1;
            let sentinel = self.sentinels[turn % self.sentinels.len()];
            let Ok(master) = self.door.within(|| master_by(sentinel)) else {
                std::thread::sleep(PAUSE);
                continue;
            };
            // Whatever ends this, the address is asked for anew, as clients do.
            let _ =
                self.door.within(|| Link::open(master)).and_then(|link| self.write(link, master));
            std::thread::sleep(PAUSE);
        }
    }

    fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    fn write(&mut self, mut link: Link, master: SocketAddr) -> io::Result<()> {
        while !self.ended() {
            self.number += 1;
            let number = self.number.to_string();
            let reply = link.ask(&["RPUSH", &self.key, &number])?;
            if !matches!(reply, Value::Int(_)) {
                return Err(io::Error::other(reply.text()));
            }
            let write =
                Acknowledged { number: self.number, at: Instant::now(), port: master.port() };
            self.shared.written.lock().expect("nobody panics with the list").push(write);
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

fn master_by(sentinel: SocketAddr) -> io::Result<SocketAddr> {
    let mut link = Link::open(sentinel)?;
    let words = link.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER])?.texts();
    let address = words.join(":").parse();
    address.map_err(|_| io::Error::other(format!("no address: {words:?}")))
}

/// A connection with little patience.
struct Link(BufReader<TcpStream>);

impl Link {
    fn open(to: SocketAddr) -> io::Result<Link> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Link(BufReader::new(stream)))
    }

    fn ask(&mut self, words: &[&str]) -> io::Result<Value> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        Value::read(&mut self.0)
    }
}

#[test]
fn lists_are_compared() {
    assert_eq!(compare(&[1, 2, 5], &[1, 2, 4, 5]), Ok(Losses { acknowledged: 3, lost: 0 }));
    assert_eq!(compare(&[1, 2, 5], &[1, 4, 5, 3]), Ok(Losses { acknowledged: 3, lost: 1 }));
    assert!(compare(&[1, 2, 5], &[2, 1, 5]).is_err());
    assert!(compare(&[1, 2, 5], &[1, 2, 4, 4, 5]).is_err());
}
