//! A group in one process: real nodes, model data nodes, virtual time; everything follows from one
//! seed. This file holds the queue of what happens and what the scenarios do to the group.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use sentineld::util::rng::Rng;

use crate::checks::Checks;
use crate::hosts::{Disk, Input, SentinelHost};
use crate::net::{ConnKey, HostId, Net, Segment, Side, Us};
use crate::redis::{Client, Effect, Farm, Mode, REPLICATION_TICK_US};
use crate::wire::{self, Stream, Value, Words};

pub const MS: Us = 1_000;
pub const SECOND: Us = 1_000_000;

/// What a scenario chooses.
#[derive(Clone, Debug)]
pub struct Options {
    pub sentinels: usize,
    pub masters: usize,
    pub replicas: usize,
    pub quorum: usize,
    pub down_after_ms: u64,
    pub failover_timeout_ms: u64,
    pub parallel_syncs: u32,
    pub latency_us: (Us, Us),
    pub save_us: (Us, Us),
    pub save_fails_percent: u64,
    /// Reads and writes are torn at random points.
    pub torn: bool,
    /// Further lines of every sentinel's file.
    pub extra: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            sentinels: 3,
            masters: 1,
            replicas: 2,
            quorum: 2,
            down_after_ms: 1_000,
            failover_timeout_ms: 5_000,
            parallel_syncs: 1,
            latency_us: (0, MS),
            save_us: (2 * MS, 2 * MS),
            save_fails_percent: 0,
            torn: true,
            extra: String::new(),
        }
    }
}

/// What happens at a moment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ev {
    Deliver(ConnKey, Side),
    /// A turn of a sentinel, if it is still meant to wake then.
    Wake(usize),
    /// The save of that life of a sentinel ends.
    Saved {
        sentinel: usize,
        life: u64,
    },
    ChildEnds {
        sentinel: usize,
        life: u64,
        pid: i32,
    },
    Relay(HostId, Vec<u8>),
    Replication,
}

/// A scenario's hand on a moment inside a sentinel's turn: at that event, of that sentinel or any.
#[derive(Clone, Debug)]
pub struct Trap {
    pub event: &'static str,
    /// The process dies right there, before anything of this turn leaves.
    pub dies: bool,
    pub caught: Option<usize>,
}

/// The whole of it.
pub struct World {
    pub name: &'static str,
    pub seed: u64,
    pub options: Options,
    pub now: Us,
    pub rng: Rng,
    pub net: Net,
    pub farm: Farm,
    pub sentinels: Vec<SentinelHost>,
    pub checks: Checks,
    pub trap: Option<Trap>,
    pub tracing: bool,
    queue: BinaryHeap<Reverse<(Us, u64, Ev)>>,
    queued: u64,
    /// What arrived for the operator.
    inbox: BTreeMap<ConnKey, Stream>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, name) = (self.seed, self.name);
            eprintln!("seed {seed} at {} us, {:?}", self.now, self.options);
            eprintln!("replay: GROUPS_SEED={seed} cargo test --test groups {name}");
        }
    }
}

impl World {
    /// A group whose sentinels start within a moment.
    pub fn new(name: &'static str, seed: u64, options: Options) -> World {
        let mut rng = Rng::new(seed);
        let sentinels = options.sentinels;
        let farm = Farm::new(sentinels, options.masters, options.replicas, &mut rng);
        let hosts = sentinels + farm.servers.len() + 1;
        let down_after_us = options.down_after_ms * MS;
        let checks = Checks::new(sentinels, options.masters, options.quorum, down_after_us);
        let mut world = World {
            name,
            seed,
            now: 0,
            net: Net::new(hosts, options.latency_us),
            farm,
            sentinels: Vec::new(),
            checks,
            trap: None,
            tracing: std::env::var("GROUPS_SEED").is_ok(),
            queue: BinaryHeap::new(),
            queued: 0,
            inbox: BTreeMap::new(),
            rng,
            options,
        };
        for index in 0..sentinels {
            let file = world.first_file();
            world.sentinels.push(SentinelHost::new(index, file, &mut world.rng));
        }
        world.schedule(0, Ev::Replication);
        for index in 0..sentinels {
            world.start_sentinel(index);
        }
        world
    }

    fn first_file(&mut self) -> Vec<u8> {
        let id: String = (0..3).map(|_| format!("{:016x}", self.rng.next_u64())).collect();
        let mut file = format!("port 26379\nsentinel myid {}\n{}", &id[..40], self.options.extra);
        for master in 0..self.options.masters {
            let host = self.first_master(master);
            let Options { quorum, down_after_ms, failover_timeout_ms, parallel_syncs, .. } =
                self.options;
            let ip = Net::ip_of(host);
            file += &format!(
                "sentinel monitor m{master} {ip} 6379 {quorum}\n\
                 sentinel down-after-milliseconds m{master} {down_after_ms}\n\
                 sentinel failover-timeout m{master} {failover_timeout_ms}\n\
                 sentinel parallel-syncs m{master} {parallel_syncs}\n"
            );
        }
        file.into_bytes()
    }

    /// The data node that is the master of a group at the beginning.
    pub fn first_master(&self, group: usize) -> HostId {
        self.options.sentinels + group * (self.options.replicas + 1)
    }

    fn operator(&self) -> HostId {
        self.farm.first + self.farm.servers.len()
    }

    pub fn schedule(&mut self, at: Us, ev: Ev) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, ev)));
    }

    pub fn trace(&self, text: impl FnOnce() -> String) {
        if self.tracing {
            eprintln!("{:>10} us  {}", self.now, text());
        }
    }

    /// One thing happens; how far the clock went is in `now`.
    fn step(&mut self, limit: Us) -> bool {
        match self.queue.peek() {
            Some(Reverse((at, _, _))) if *at <= limit => {}
            _ => return false,
        }
        let Some(Reverse((at, _, ev))) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        match ev {
            Ev::Deliver(key, side) => self.deliver(key, side),
            Ev::Wake(sentinel) => {
                if self.sentinels[sentinel].wake_at == Some(at) {
                    self.sentinels[sentinel].wake_at = None;
                    self.turn(sentinel);
                }
            }
            Ev::Saved { sentinel, life } => self.saved(sentinel, life),
            Ev::ChildEnds { sentinel, life, pid } => {
                if self.sentinels[sentinel].life == life {
                    self.input(sentinel, Input::ChildEnds(pid));
                }
            }
            Ev::Relay(host, text) => {
                let mut effects = Vec::new();
                if self.farm.at(host).is_some_and(|server| server.alive()) {
                    self.farm.deliver(host, &text, &mut effects);
                }
                self.apply(host, effects);
            }
            Ev::Replication => {
                self.farm.tick(self.now, &self.net, &mut self.rng);
                self.schedule(self.now + REPLICATION_TICK_US, Ev::Replication);
            }
        }
        true
    }

    /// Lets time pass.
    pub fn run_for(&mut self, us: Us) {
        let end = self.now + us;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until something holds (looked at once per ms); false: it never did.
    pub fn run_until(&mut self, limit_us: Us, mut holds: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + limit_us;
        let mut next_look = self.now;
        loop {
            if self.now >= next_look {
                if holds(self) {
                    return true;
                }
                next_look = self.now + MS;
            }
            if !self.step(end) {
                self.now = end;
                return holds(self);
            }
        }
    }

    /// Waits for a thing that has to come.
    pub fn await_for(&mut self, what: &str, limit_us: Us, holds: impl FnMut(&World) -> bool) {
        let came = self.run_until(limit_us, holds);
        assert!(came, "within {} ms: {what}", limit_us / MS);
    }

    /// Something for the next turn of a sentinel.
    pub fn input(&mut self, sentinel: usize, input: Input) {
        self.sentinels[sentinel].inputs.push(input);
        self.wake_soon(sentinel);
    }

    /// A wakeup takes its time, so that some things come in one turn.
    pub fn wake_soon(&mut self, sentinel: usize) {
        let at = self.now + self.rng.below(100);
        self.wake_at(sentinel, at);
    }

    pub fn wake_at(&mut self, sentinel: usize, at: Us) {
        let host = &mut self.sentinels[sentinel];
        if host.wake_at.is_none_or(|earlier| at < earlier) {
            host.wake_at = Some(at);
            self.schedule(at, Ev::Wake(sentinel));
        }
    }

    /// Sends a segment of a connection.
    pub fn send(&mut self, key: ConnKey, side: Side, segment: Segment) {
        let at = self.net.send(self.now, &mut self.rng, key, side, segment);
        self.schedule(at, Ev::Deliver(key, side));
    }

    /// Opens a connection.
    pub fn connect(
        &mut self,
        hosts: [HostId; 2],
        conn: Option<sentineld::util::ident::ConnId>,
    ) -> ConnKey {
        let (key, at) = self.net.connect(self.now, &mut self.rng, hosts, conn);
        self.schedule(at, Ev::Deliver(key, 0));
        key
    }

    /// One side closes in order.
    pub fn close(&mut self, key: ConnKey, side: Side) {
        let Some(conn) = self.net.conns.get_mut(&key) else { return };
        if !std::mem::take(&mut conn.ends[side].open) {
            return;
        }
        conn.ends[side].readable.clear();
        self.send(key, side, Segment::Fin);
        self.net.tidy(key);
    }

    fn deliver(&mut self, key: ConnKey, side: Side) {
        let Some(segment) = self.net.arrived(self.now, key, side) else { return };
        let conn = &self.net.conns[&key];
        let to = conn.hosts[1 - side];
        let known = conn.ends[1 - side].open || segment == Segment::Syn;
        if !known {
            if matches!(segment, Segment::Bytes(_)) && conn.ends[side].open {
                self.send(key, 1 - side, Segment::Refused);
            }
        } else if to < self.sentinels.len() {
            self.to_sentinel(to, key, 1 - side, segment);
        } else if to < self.operator() {
            self.to_server(to, key, segment);
        } else {
            if let Segment::Bytes(bytes) = segment {
                self.inbox.entry(key).or_default().push(&bytes);
            }
        }
        self.net.tidy(key);
    }

    fn to_server(&mut self, host: HostId, key: ConnKey, segment: Segment) {
        let running = self.farm.at(host).is_some_and(|server| server.running);
        let alive = self.farm.at(host).is_some_and(|server| server.alive());
        let conn = self.net.conns.get_mut(&key).expect("it delivers");
        match segment {
            Segment::Syn if !running => self.send(key, 1, Segment::Refused),
            Segment::Syn => {
                conn.ends[1].open = true;
                self.farm.at_mut(host).clients.insert(key, Client::default());
            }
            Segment::Bytes(bytes) => {
                if alive {
                    conn.pipes[0].unread -= bytes.len();
                    self.unblock(key);
                }
                let effects = self.farm.received(self.now, &mut self.rng, host, key, &bytes);
                self.apply(host, effects);
            }
            // A frozen process finds what was sent before the close when it wakes.
            Segment::Fin | Segment::Refused => {
                conn.ends[1].open = false;
                if alive {
                    self.farm.at_mut(host).clients.remove(&key);
                }
            }
        }
    }

    /// What a data node's work leads to.
    fn apply(&mut self, host: HostId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(key, bytes) => self.reply(key, &bytes),
                Effect::Close(key) => self.close(key, 1),
                Effect::Relay(to, text) => {
                    if self.net.reach(host, to) {
                        let at = self.now + self.net.delay(&mut self.rng);
                        self.schedule(at, Ev::Relay(to, text));
                    }
                }
                Effect::Role(master) => self.trace(|| match master {
                    None => format!("node {host} is a master"),
                    Some(master) => format!("node {host} follows {master}"),
                }),
            }
        }
    }

    fn reply(&mut self, key: ConnKey, bytes: &[u8]) {
        if self.net.conns.get(&key).is_some_and(|conn| conn.ends[1].open) {
            self.send_torn(key, 1, bytes);
        }
    }

    /// Bytes on their way, in one piece or two.
    pub fn send_torn(&mut self, key: ConnKey, side: Side, bytes: &[u8]) {
        let cut = match self.options.torn && self.rng.below(8) == 0 {
            true => self.rng.below(bytes.len() as u64) as usize,
            false => 0,
        };
        for part in [&bytes[..cut], &bytes[cut..]] {
            if !part.is_empty() {
                self.send(key, side, Segment::Bytes(part.to_vec()));
            }
        }
    }

    /// The reader of a pipe has read: a sentinel that waits to write may go on.
    pub fn unblock(&mut self, key: ConnKey) {
        for host in self.net.conns[&key].hosts {
            if host < self.sentinels.len() && self.sentinels[host].blocked.contains(&key) {
                self.wake_soon(host);
            }
        }
    }
}

/// Faults, and their ends.
impl World {
    pub fn kill_server(&mut self, host: HostId) {
        self.trace(|| format!("kill node {host}"));
        for key in self.farm.kill(host) {
            self.close(key, 1);
        }
    }

    pub fn restart_server(&mut self, host: HostId) {
        self.trace(|| format!("restart node {host}"));
        self.farm.restart(self.now, host, &mut self.rng);
    }

    pub fn freeze_server(&mut self, host: HostId) {
        self.trace(|| format!("freeze node {host}"));
        self.farm.at_mut(host).frozen = true;
    }

    /// The process goes on with what waits for it.
    pub fn thaw_server(&mut self, host: HostId) {
        self.trace(|| format!("thaw node {host}"));
        self.farm.at_mut(host).frozen = false;
        let clients: Vec<ConnKey> = self.farm.at_mut(host).clients.keys().copied().collect();
        for key in clients {
            let effects = self.farm.work(self.now, &mut self.rng, host, key);
            self.apply(host, effects);
            let conn = self.net.conns.get_mut(&key);
            let open = conn.is_some_and(|conn| {
                let on_the_way = |(_, segment): &(Us, Segment)| match segment {
                    Segment::Bytes(bytes) => bytes.len(),
                    _ => 0,
                };
                conn.pipes[0].unread = conn.pipes[0].queue.iter().map(on_the_way).sum();
                conn.ends[1].open
            });
            if open {
                self.unblock(key);
            } else {
                self.farm.at_mut(host).clients.remove(&key);
            }
        }
    }

    pub fn set_mode(&mut self, host: HostId, mode: Mode) {
        self.trace(|| format!("node {host}: {mode:?}"));
        self.farm.at_mut(host).mode = mode;
    }

    /// Those hosts no longer reach the others; what is on its way waits.
    pub fn cut_off(&mut self, hosts: &[HostId], group: u32) {
        self.trace(|| format!("cut off {hosts:?}"));
        for host in hosts {
            self.net.set_group(*host, group);
        }
    }

    /// All hosts reach each other. What waited comes late; some connections did not survive.
    pub fn heal(&mut self) {
        self.trace(|| "heal".to_owned());
        let cut: Vec<ConnKey> = self
            .net
            .conns
            .iter()
            .filter_map(|(key, conn)| {
                (!self.net.reach(conn.hosts[0], conn.hosts[1])).then_some(*key)
            })
            .collect();
        for host in 0..=self.operator() {
            self.net.set_group(host, 0);
        }
        for key in cut {
            if self.rng.below(2) == 0 {
                self.reset(key);
            }
        }
        for (key, side) in self.net.waiting() {
            let at = self.now + self.rng.below(200 * MS);
            self.schedule(at, Ev::Deliver(key, side));
        }
    }

    /// Both sides find a connection dead; what was on its way is lost.
    fn reset(&mut self, key: ConnKey) {
        for side in [0, 1] {
            let Some(conn) = self.net.conns.get_mut(&key) else { return };
            conn.pipes[side].queue.clear();
            self.send(key, side, Segment::Refused);
        }
    }

    /// A sentinel's process is gone: at once and with nothing said if its host went with it.
    pub fn crash(&mut self, sentinel: usize, silently: bool) {
        self.trace(|| format!("crash {sentinel}, silently: {silently}"));
        let landed = self.rng.below(2) == 0;
        let old = self.sentinels[sentinel].view.clone();
        self.sentinels[sentinel].die(landed);
        self.checks.saved(sentinel, &old, &self.sentinels[sentinel].view);
        for (key, side) in self.net.of_host(sentinel) {
            match silently {
                true => self.net.conns.get_mut(&key).expect("listed").ends[side].open = false,
                false => self.close(key, side),
            }
        }
        if silently {
            self.net.set_group(sentinel, 1_000 + sentinel as u32);
        }
    }

    /// It runs again, with the file it left.
    pub fn restart_sentinel(&mut self, sentinel: usize) {
        self.trace(|| format!("restart {sentinel}"));
        self.net.set_group(sentinel, 0);
        for (key, side) in self.net.waiting() {
            self.schedule(self.now, Ev::Deliver(key, side));
        }
        self.start_sentinel(sentinel);
    }

    /// The process stands still.
    pub fn pause(&mut self, sentinel: usize) {
        if !self.sentinels[sentinel].runs() {
            return;
        }
        self.trace(|| format!("pause {sentinel}"));
        // Sockets take a few bytes at once: a torn write here would only be one of the model's.
        let torn = std::mem::replace(&mut self.options.torn, false);
        self.flush(sentinel);
        self.options.torn = torn;
        self.sentinels[sentinel].paused = true;
    }

    pub fn resume(&mut self, sentinel: usize) {
        self.trace(|| format!("resume {sentinel}"));
        self.sentinels[sentinel].paused = false;
        self.wake_soon(sentinel);
    }

    fn saved(&mut self, sentinel: usize, life: u64) {
        let host = &mut self.sentinels[sentinel];
        if host.life != life {
            return;
        }
        let Some(Disk { generation, began, fails, .. }) = host.disk else { return };
        let took_ms = (self.now - began) / MS;
        let old = host.view.clone();
        host.disk_ends();
        self.checks.saved(sentinel, &old, &self.sentinels[sentinel].view);
        let result = if fails { Err("No space left on device".to_owned()) } else { Ok(()) };
        self.input(sentinel, Input::Saved { generation, result, took_ms });
    }

    /// The operator sends a command to a sentinel and waits for the answer.
    pub fn command(&mut self, sentinel: usize, words: &[&[u8]]) -> Value {
        let key = self.connect([self.operator(), sentinel], None);
        let asked: Words = words.iter().map(|word| word.to_vec()).collect();
        self.trace(|| format!("operator to {sentinel}: {}", wire::show_words(&asked)));
        self.net.conns.get_mut(&key).expect("just made").asked.push_back(asked);
        self.send(key, 0, Segment::Bytes(wire::request(words)));
        let mut reply = None;
        for _ in 0..10_000 {
            self.run_for(MS);
            reply = self.inbox.get_mut(&key).and_then(Stream::next_value);
            if reply.is_some() {
                break;
            }
        }
        self.inbox.remove(&key);
        self.close(key, 0);
        let reply = reply.unwrap_or_else(|| panic!("no answer of {sentinel} within 10 s"));
        self.trace(|| format!("answer of {sentinel}: {reply:?}"));
        reply
    }
}
