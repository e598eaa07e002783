//! A name server that does not answer, as in a network that is half down.

use crate::net::cell;
use crate::support::node::{Node, NodeOptions};
use crate::support::pulse::Pulse;
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::wait::{self, LONG, expect, expect_eq};
use crate::support::world::World;
use crate::world;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const MASTER: &str = "mymaster";
/// Gives a process a name server of its own: the file named first becomes /etc/resolv.conf.
const OWN_RESOLVER: &str = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";

#[derive(Default)]
struct Shared {
    mute: AtomicBool,
    asked: AtomicUsize,
    ended: AtomicBool,
}

/// A name server for the namespace of this thread: every name is 127.0.0.1, unless it is mute.
struct NameServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:53").expect("the port of name servers");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout can be set");
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || serve(&socket, &shared)
        });
        NameServer { shared, thread: Some(thread) }
    }

    fn set_mute(&self, mute: bool) {
        self.shared.mute.store(mute, Ordering::Relaxed);
    }

    /// How many questions came so far.
    fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 512];
    while !shared.ended.load(Ordering::Relaxed) {
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => panic!("the name server: {error}"),
        };
        shared.asked.fetch_add(1, Ordering::Relaxed);
        if !shared.mute.load(Ordering::Relaxed)
            && let Some(answer) = answer(&buffer[..length])
        {
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// The answer to a query (RFC 1035): 127.0.0.1 if an address is asked for, else nothing.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let name = query.get(12..)?;
    let end = 12 + name.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(12..end + 4)?;
    let is_address = query[end..end + 2] == [0, 1];
    let mut answer = query[..2].to_vec();
    let count = u8::from(is_address);
    answer.extend([0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    if is_address {
        // The name by reference, type A, class IN, one second to live, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

fn sentinel_options(world: &Rc<World>, lines: Vec<String>) -> SentinelOptions {
    let resolver = world.path("resolv.conf");
    fs::write(&resolver, "nameserver 127.0.0.1\n").expect("resolv.conf is written");
    let resolver = resolver.display().to_string();
    let wrapper = ["unshare", "--mount", "sh", "-c", OWN_RESOLVER, &resolver].map(String::from);
    let mut options = SentinelOptions::with_lines(lines);
    options.lines.push("sentinel resolve-hostnames yes".into());
    options.wrapper = wrapper.into();
    options
}

fn monitor_lines(host: &str, port: u16) -> Vec<String> {
    vec![
        format!("sentinel monitor {MASTER} {host} {port} 2"),
        format!("sentinel down-after-milliseconds {MASTER} 1000"),
        format!("sentinel failover-timeout {MASTER} 4000"),
    ]
}

/// Asks a sentinel all the time, and remembers how long each answer took.
struct Stopwatch {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Stopwatch {
    fn start(sentinel: &Sentinel) -> Stopwatch {
        let ended = Arc::new(AtomicBool::new(false));
        let mut client = sentinel.connect().expect("the sentinel accepts");
        let thread = std::thread::spawn({
            let ended = ended.clone();
            move || {
                let mut times = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    let sent = Instant::now();
                    let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
                    client.ask(&words).expect("the sentinel answers");
                    times.push(sent.elapsed());
                    std::thread::sleep(Duration::from_millis(5));
                }
                times
            }
        });
        Stopwatch { ended, thread }
    }

    /// How long the answers took.
    fn stop(self) -> Vec<Duration> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("the stopwatch runs")
    }
}

#[track_caller]
fn wait_found(sentinel: &Sentinel, peers: usize) {
    wait::wait("everything to be found", LONG, || {
        let fields = sentinel.master(MASTER);
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        expect_eq(field("flags").as_str(), "master")?;
        expect_eq(field("num-slaves").as_str(), "1")?;
        expect_eq(field("num-other-sentinels"), peers.to_string())
    });
}

/// The name server falls silent; then the master dies, a sentinel is killed and comes back, and one
/// is started that knows the master by name only. Only this one has to wait.
#[test]
fn a_silent_name_server_holds_up_nothing() {
    let world = world!(only_ours: "it stands still while a lookup does");
    if !world.need("ip") || !world.need("unshare") {
        return;
    }
    match cell() {
        Ok(cell) => cell.within(|| beside_a_silent_name_server(&world)),
        Err(missing) => world.not_run(&missing),
    }
}

fn beside_a_silent_name_server(world: &Rc<World>) {
    let names = NameServer::start();
    let node = |name: &str, of: Option<&Node>| {
        let lines = vec![format!("replica-announce-ip {name}")];
        let replica_of = of.map(|master| (master.host.clone(), master.port));
        Node::start(world, &NodeOptions { lines, replica_of, ..NodeOptions::default() })
    };
    let mut master = node("first.test", None);
    let replica = node("second.test", Some(&master));
    let options = sentinel_options(world, monitor_lines("first.test", master.port));
    let mut sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::start(world, &options)).collect();
    sentinels.iter().for_each(|sentinel| wait_found(sentinel, 2));
    assert!(names.asked() > 0, "nobody asks this name server");

    names.set_mute(true);
    let pulse = Pulse::start();
    let stopwatches: Vec<Stopwatch> = sentinels[..2].iter().map(Stopwatch::start).collect();
    // A question that only the name server could answer, and nobody waits for but its client.
    let mut waiting = sentinels[0].connect().unwrap();
    waiting.send(&[b"SENTINEL", b"MONITOR", b"other", b"third.test", b"1", b"1"]).unwrap();
    let asked = names.asked();
    master.kill();
    let start = Instant::now();
    for sentinel in &sentinels {
        wait::wait("the new address", LONG, || {
            expect_eq(sentinel.address_port(MASTER).unwrap(), Some(replica.port))
        });
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "the failover took {took:?}");
    master.restart();
    master.wait_replica_of(replica.port);
    wait::wait("questions without an answer", LONG, || {
        expect(names.asked() > asked, names.asked())
    });

    let start = Instant::now();
    sentinels[2].restart();
    let late = Sentinel::start(
        world,
        &sentinel_options(world, monitor_lines("second.test", replica.port)),
    );
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "two starts took {took:?}");
    wait_found(&sentinels[2], 2);
    let (times, usual) = (stopwatches.into_iter().map(Stopwatch::stop), pulse.end());
    for times in times {
        // A lookup without an answer takes seconds: nobody waited for one, not even a little.
        let (slow, worst) = (Duration::from_millis(200), Duration::from_millis(700));
        usual.assert_rarely_slow("answers", &times, (times.len() / 50, slow, worst));
    }
    assert_eq!(late.master_field(MASTER, "num-slaves"), "0", "found without a name server");

    names.set_mute(false);
    wait_found(&late, 3);
    for sentinel in sentinels.iter().chain([&late]) {
        let log = sentinel.log_text();
        assert!(!log.contains("+tilt"), "{log}");
    }
}
