//! A switch in user space: frames between the hosts, delayed, lost or cut off by conditions.
//!
//! It needs no modules of the kernel beyond packet sockets, so that every fault works everywhere.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use sentineld::util::rng::Rng;

use crate::frame;
use crate::net::{HostId, mac_byte, port_name};

/// How long the switch sleeps at most, so that it sees its end.
const NAP_MS: u64 = 20;
/// A burst of all hosts fits.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Longer than any frame, also one that was not cut into packets.
const FRAME_BYTES: usize = 70_000;

/// What happens to the frames that go from some hosts to others.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub from: BTreeSet<HostId>,
    pub to: BTreeSet<HostId>,
    pub effect: Effect,
}

/// What a condition does to a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// It is not passed on.
    Cut,
    /// It takes so long, drawn between the two bounds; so frames overtake each other.
    Delay { least_ms: u64, most_ms: u64 },
    /// It gets lost that often.
    Loss { percent: u64 },
}

/// Names a condition that holds.
pub type ConditionId = u64;

/// The conditions that hold now.
#[derive(Debug, Default)]
pub struct Conditions {
    next: ConditionId,
    active: BTreeMap<ConditionId, Condition>,
}

impl Conditions {
    /// Adds a condition.
    pub fn impose(&mut self, condition: Condition) -> ConditionId {
        self.next += 1;
        self.active.insert(self.next, condition);
        self.next
    }

    /// Takes a condition away.
    pub fn lift(&mut self, id: ConditionId) {
        self.active.remove(&id);
    }

    /// Takes all conditions away.
    pub fn clear(&mut self) {
        self.active.clear();
    }

    /// How a frame fares on the way between two hosts.
    fn fate(&self, from: HostId, to: HostId, rng: &mut Rng) -> Fate {
        let mut delay_us = 0;
        let mut lost = false;
        let on_the_way =
            self.active.values().filter(|c| c.from.contains(&from) && c.to.contains(&to));
        for condition in on_the_way {
            match condition.effect {
                Effect::Cut => return Fate::CutOff,
                Effect::Delay { least_ms, most_ms } => {
                    delay_us += least_ms * 1000 + rng.below((most_ms - least_ms) * 1000 + 1);
                }
                Effect::Loss { percent } => lost |= rng.below(100) < percent,
            }
        }
        match (lost, delay_us) {
            (true, _) => Fate::Lost,
            (false, 0) => Fate::Passed,
            (false, _) => Fate::Delayed(Duration::from_micros(delay_us)),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Fate {
    Passed,
    Delayed(Duration),
    Lost,
    CutOff,
}

/// Frames by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    pub passed: u64,
    pub delayed: u64,
    pub lost: u64,
    pub cut_off: u64,
}

#[derive(Default)]
struct Counters {
    passed: AtomicU64,
    delayed: AtomicU64,
    lost: AtomicU64,
    cut_off: AtomicU64,
}

#[derive(Default)]
struct Shared {
    conditions: Mutex<Conditions>,
    counters: Counters,
    ended: AtomicBool,
}

impl Shared {
    fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.conditions.lock().expect("nobody panics with the conditions")
    }
}

/// The running switch.
pub struct Switch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Starts a switch for the hosts whose ports are in the namespace of this thread.
    pub fn start(count: usize, seed: u64) -> Result<Switch, String> {
        let ports: Result<Vec<OwnedFd>, String> = (0..count).map(open_port).collect();
        let ports = ports?;
        let shared = Arc::new(Shared::default());
        let relay = Relay {
            ports,
            shared: shared.clone(),
            rng: Rng::new(seed),
            waiting: BinaryHeap::new(),
        };
        let thread = std::thread::spawn(move || relay.run());
        Ok(Switch { shared, thread: Some(thread) })
    }

    /// Changes the conditions.
    pub fn change<T>(&self, act: impl FnOnce(&mut Conditions) -> T) -> T {
        act(&mut self.shared.conditions())
    }

    /// What became of the frames so far.
    pub fn counts(&self) -> Counts {
        let counters = &self.shared.counters;
        Counts {
            passed: counters.passed.load(Ordering::Relaxed),
            delayed: counters.delayed.load(Ordering::Relaxed),
            lost: counters.lost.load(Ordering::Relaxed),
            cut_off: counters.cut_off.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the switch panicked");
        }
    }
}

/// A socket that takes and gives the frames of one host.
fn open_port(host: HostId) -> Result<OwnedFd, String> {
    let told = |what: &str, error: io::Error| format!("packet sockets ({what}: {error})");
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let port = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
        .map_err(|error| told("socket", error.into()))?;
    let name = port_name(host);
    let address = getifaddrs()
        .map_err(|error| told("getifaddrs", error.into()))?
        .filter(|interface| interface.interface_name == name)
        .find_map(|interface| interface.address?.as_link_addr().copied())
        .ok_or_else(|| format!("an interface named {name}"))?;
    bind(port.as_raw_fd(), &address).map_err(|error| told("bind", error.into()))?;
    setsockopt(&port, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES)
        .map_err(|error| told("SO_RCVBUFFORCE", error.into()))?;
    Ok(port)
}

/// A frame on its way: due time, serial number, destination, bytes.
type Waiting = Reverse<(Instant, u64, HostId, Vec<u8>)>;

struct Relay {
    ports: Vec<OwnedFd>,
    shared: Arc<Shared>,
    rng: Rng,
    waiting: BinaryHeap<Waiting>,
}

impl Relay {
    fn run(mut self) {
        let mut buffer = vec![0; FRAME_BYTES];
        let mut serial = 0;
        while !self.shared.ended.load(Ordering::Relaxed) {
            self.wait();
            for from in 0..self.ports.len() {
                while let Some(length) = receive(&self.ports[from], &mut buffer) {
                    self.take(from, &mut buffer[..length], &mut serial);
                }
            }
            self.send_due();
        }
    }

    /// Until there are frames, or one is due.
    fn wait(&self) {
        let now = Instant::now();
        let nap = Duration::from_millis(NAP_MS);
        let nap = self.waiting.peek().map_or(nap, |next| (next.0.0 - now).min(nap));
        let nap_ms = nap.as_micros().div_ceil(1000) as u16;
        let mut fds: Vec<PollFd> =
            self.ports.iter().map(|port| PollFd::new(port.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::from(nap_ms)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }

    fn take(&mut self, from: HostId, bytes: &mut [u8], serial: &mut u64) {
        if !frame::is_ours(bytes) {
            return;
        }
        frame::complete(bytes);
        let to = bytes[5];
        let everybody = bytes[0] & 1 == 1;
        for host in 0..self.ports.len() {
            if host == from || !(everybody || mac_byte(host) == to) {
                continue;
            }
            let fate = self.shared.conditions().fate(from, host, &mut self.rng);
            let counters = &self.shared.counters;
            let counter = match fate {
                Fate::Passed => &counters.passed,
                Fate::Delayed(_) => &counters.delayed,
                Fate::Lost => &counters.lost,
                Fate::CutOff => &counters.cut_off,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            match fate {
                Fate::Passed => pass_on(&self.ports[host], bytes),
                Fate::Delayed(delay) => {
                    *serial += 1;
                    let due = Instant::now() + delay;
                    self.waiting.push(Reverse((due, *serial, host, bytes.to_vec())));
                }
                Fate::Lost | Fate::CutOff => {}
            }
        }
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        while self.waiting.peek().is_some_and(|next| next.0.0 <= now) {
            let Some(Reverse((_, _, host, bytes))) = self.waiting.pop() else { return };
            pass_on(&self.ports[host], &bytes);
        }
    }
}

fn receive(port: &OwnedFd, buffer: &mut [u8]) -> Option<usize> {
    match recv(port.as_raw_fd(), buffer, MsgFlags::empty()) {
        Ok(length) => Some(length),
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => None,
        Err(error) => panic!("recv: {error}"),
    }
}

/// A frame that cannot be sent now is lost, as on any switch.
fn pass_on(port: &OwnedFd, bytes: &[u8]) {
    match send(port.as_raw_fd(), bytes, MsgFlags::empty()) {
        Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENETDOWN | Errno::EINTR) => {}
        Err(error) => panic!("send of {} bytes: {error}", bytes.len()),
    }
}

#[test]
fn conditions_decide_by_direction() {
    let mut rng = Rng::new(1);
    let mut conditions = Conditions::default();
    let set = |hosts: &[HostId]| hosts.iter().copied().collect::<BTreeSet<_>>();
    let cut = Condition { from: set(&[0]), to: set(&[1, 2]), effect: Effect::Cut };
    let id = conditions.impose(cut);
    assert_eq!(conditions.fate(0, 1, &mut rng), Fate::CutOff);
    assert_eq!(conditions.fate(1, 0, &mut rng), Fate::Passed);
    conditions.lift(id);
    assert_eq!(conditions.fate(0, 1, &mut rng), Fate::Passed);
    let effect = Effect::Delay { least_ms: 5, most_ms: 5 };
    for _ in 0..2 {
        conditions.impose(Condition { from: set(&[0]), to: set(&[1]), effect });
    }
    assert_eq!(conditions.fate(0, 1, &mut rng), Fate::Delayed(Duration::from_millis(10)));
    let effect = Effect::Loss { percent: 30 };
    conditions.impose(Condition { from: set(&[0]), to: set(&[1]), effect });
    let lost = (0..1000).filter(|_| conditions.fate(0, 1, &mut rng) == Fate::Lost).count();
    assert!((200..400).contains(&lost), "{lost} of 1000 at 30 percent");
    conditions.clear();
    assert_eq!(conditions.fate(0, 1, &mut rng), Fate::Passed);
}
