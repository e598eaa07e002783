//! A group in one process: real nodes, model data nodes, virtual time; everything follows from one
//! seed. This file holds the queue of what happens and what the scenarios do to the group.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use sentineld::sentinel::thresholds::Thresholds;
use sentineld::util::ident::ConnId;
use sentineld::util::rng::Rng;

use crate::checks::Checks;
use crate::coverage::Stats;
use crate::dns::{Dns, NameOptions};
use crate::draws::{self, Drawn};
use crate::gathers::LOW_WATER_MAX;
use crate::hosts::{Disk, Input, SentinelHost};
use crate::ledger::Ledger;
use crate::net::{ConnKey, HostId, Net, Segment, Side, Us};
use crate::operate::Told;
use crate::plan::Operators;
use crate::property::{Property, ensure};
use crate::queue::Queue;
use crate::redis::{Client, Effect, Farm, REPLICATION_TICK_US};
use crate::trace::Tracer;
use crate::wire::Stream;

pub const MS: Us = 1_000;
pub const SECOND: Us = 1_000_000;

/// What a scenario chooses.
#[derive(Clone, Debug)]
pub struct Options {
    pub sentinels: usize,
    /// So many of them, the last ones, behave like redis-sentinel.
    pub c_peers: usize,
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
    /// Every master has scripts, and they end in every way.
    pub scripts: bool,
    /// With so many links sentinels take themselves for large; `None`: as many as the release.
    pub bundle_links: Option<usize>,
    /// Sockets hold back no more than that.
    pub low_water_max: usize,
    /// Connects wait so long for their turn in the process that makes them.
    pub connect_wait_us: (Us, Us),
    /// Hosts have names.
    pub names: NameOptions,
    /// Further lines of every sentinel's file.
    pub extra: String,
    /// What is drawn beyond sizes and times.
    pub drawn: Drawn,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            sentinels: 3,
            c_peers: 0,
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
            scripts: false,
            bundle_links: None,
            low_water_max: LOW_WATER_MAX,
            connect_wait_us: (0, 0),
            names: NameOptions::default(),
            extra: String::new(),
            drawn: Drawn::default(),
        }
    }
}

impl Options {
    pub fn thresholds(&self) -> Thresholds {
        let released = Thresholds::default();
        Thresholds { bundle_links: self.bundle_links.unwrap_or(released.bundle_links) }
    }
}

pub use crate::queue::Ev;

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
    pub dns: Dns,
    pub sentinels: Vec<SentinelHost>,
    pub checks: Checks,
    pub trap: Option<Trap>,
    pub tracer: Tracer,
    pub ledger: Ledger,
    /// Whoever runs this world says how it ended.
    pub caught: bool,
    pub stats: Stats,
    /// What operators do, and how long they pause in the mean.
    pub operators: Operators,
    pub operate_us: Us,
    pub told: Vec<Told>,
    /// How often sentinels have read from their sockets.
    pub reads: u64,
    /// Sentinels that were made to announce the address of another.
    pub masked: BTreeSet<usize>,
    /// Somebody made sentinels known that do not exist.
    pub forged_peers: bool,
    /// Wall clocks jump every second, to anywhere.
    pub wall_jumps: bool,
    queue: Queue,
    /// When each sentinel wants to wake next.
    wakes: Vec<Us>,
    /// Kept for its room.
    pub touched: Vec<ConnId>,
    /// What arrived for the operator.
    pub inbox: BTreeMap<ConnKey, Stream>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.caught {
            let (seed, name) = (self.seed, self.name);
            eprintln!("seed {seed} at {} us, {:?}", self.now, self.options);
            eprintln!("replay: SIM_SEED={seed} cargo test --test sim {name}");
        }
    }
}

impl World {
    /// A group whose sentinels start within a moment.
    pub fn new(name: &'static str, seed: u64, options: Options) -> World {
        crate::outcome::install_hook();
        let mut rng = Rng::new(seed);
        let sentinels = options.sentinels;
        let mut farm = Farm::new(sentinels, options.masters, options.replicas, &mut rng);
        let mut dns = Dns::new(&options, seed);
        World::add_spares(&mut dns, &mut farm, options.masters, &mut rng);
        let hosts = sentinels + farm.servers.len() + 1;
        let down_after_us = options.down_after_ms * MS;
        let mut checks = Checks::new(sentinels, options.masters, options.quorum, down_after_us);
        checks.first_c_like = sentinels - options.c_peers;
        checks.parallel_syncs = options.parallel_syncs as usize;
        checks.counter.patience_us = 2 * options.failover_timeout_ms * MS;
        let mut world = World {
            name,
            seed,
            now: 0,
            net: Net::new(hosts, options.latency_us),
            farm,
            dns,
            sentinels: Vec::new(),
            checks,
            trap: None,
            tracer: Tracer { printing: std::env::var("SIM_SEED").is_ok(), ..Tracer::default() },
            ledger: Ledger::default(),
            caught: false,
            stats: Stats::default(),
            operators: Operators::None,
            operate_us: SECOND,
            told: Vec::new(),
            reads: 0,
            masked: BTreeSet::new(),
            forged_peers: false,
            wall_jumps: false,
            queue: Queue::default(),
            wakes: vec![Us::MAX; sentinels],
            touched: Vec::new(),
            inbox: BTreeMap::new(),
            rng,
            options,
        };
        world.name_nodes();
        for index in 0..sentinels {
            let file = world.first_file(index);
            world.sentinels.push(SentinelHost::new(index, file, &mut world.rng));
        }
        let World { options, farm, sentinels: hosts, checks, .. } = &mut world;
        draws::prepare(options, farm, hosts, checks);
        world.schedule(0, Ev::Replication);
        for index in 0..sentinels {
            world.start_sentinel(index);
        }
        world
    }

    fn first_file(&mut self, sentinel: usize) -> Vec<u8> {
        let id: String = (0..3).map(|_| format!("{:016x}", self.rng.next_u64())).collect();
        let mut file = format!("port 26379\nsentinel myid {}\n{}", &id[..40], self.options.extra);
        file += &self.dns.settings(sentinel);
        for master in 0..self.options.masters {
            let host = self.first_master(master);
            let Options { quorum, down_after_ms, failover_timeout_ms, parallel_syncs, .. } =
                self.options;
            let ip = self.dns.word_for(sentinel, host);
            file += &format!(
                "sentinel monitor m{master} {ip} 6379 {quorum}\n\
                 sentinel down-after-milliseconds m{master} {down_after_ms}\n\
                 sentinel failover-timeout m{master} {failover_timeout_ms}\n\
                 sentinel parallel-syncs m{master} {parallel_syncs}\n"
            );
            if self.options.scripts {
                file += &format!(
                    "sentinel notification-script m{master} /notify\n\
                     sentinel client-reconfig-script m{master} /reconfigure\n"
                );
            }
        }
        file.into_bytes()
    }

    /// The data node that is the master of a group at the beginning.
    pub fn first_master(&self, group: usize) -> HostId {
        self.options.sentinels + group * (self.options.replicas + 1)
    }

    /// Whether a sentinel behaves like redis-sentinel.
    pub fn is_c_like(&self, sentinel: usize) -> bool {
        sentinel + self.options.c_peers >= self.options.sentinels
    }

    pub fn operator(&self) -> HostId {
        self.farm.first + self.farm.servers.len()
    }

    pub fn schedule(&mut self, at: Us, ev: Ev) {
        self.queue.push(at, ev);
    }

    pub fn trace(&mut self, text: impl FnOnce() -> String) {
        if self.tracer.is_on() {
            self.tracer.line(self.now, &text());
        }
    }

    /// What was counted, with what the checkers counted.
    pub fn take_stats(&mut self) -> Stats {
        let mut stats = std::mem::take(&mut self.stats);
        stats.worlds = 1;
        stats.hash = self.tracer.hash;
        stats.ledger = self.ledger.share(self.seed);
        stats.virtual_us = self.now;
        stats.completed = self.checks.completed;
        stats.looked = self.checks.looked;
        stats.figures[usize::from(stats.troubled)].add(&self.checks.counter.take());
        stats.events = std::mem::take(&mut self.checks.counts);
        stats.meet(&self.options.drawn.names);
        stats
    }

    /// One thing happens; how far the clock went is in `now`.
    fn step(&mut self, limit: Us) -> bool {
        let (mut wake, mut sentinel) = (Us::MAX, 0);
        for (at, next) in self.wakes.iter().enumerate() {
            if *next < wake {
                (wake, sentinel) = (*next, at);
            }
        }
        let next = self.queue.next();
        if wake.min(next) > limit {
            return false;
        }
        if wake < next {
            self.now = self.now.max(wake);
            self.wakes[sentinel] = Us::MAX;
            self.turn(sentinel);
            return true;
        }
        let Some((at, ev)) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        match ev {
            Ev::Deliver(key, side) => self.deliver(key, side),
            Ev::Saved { sentinel, life } => self.saved(sentinel as usize, life),
            Ev::ConnectTurn { sentinel, life, conn } => {
                let sentinel = sentinel as usize;
                if self.sentinels[sentinel].life == life {
                    self.input(sentinel, Input::ConnectTurn(conn));
                }
            }
            Ev::ChildEnds { sentinel, life, pid } => {
                let sentinel = sentinel as usize;
                if self.sentinels[sentinel].life == u64::from(life) {
                    self.input(sentinel, Input::ChildEnds(pid));
                }
            }
            Ev::Relay(relayed) => {
                let (host, text) = *relayed;
                let mut effects = Vec::new();
                self.farm.relayed(host, &text, &mut effects);
                self.apply(host, effects);
            }
            Ev::Operate => self.operate(),
            Ev::Resolved(answer) => self.looked_up(*answer),
            Ev::NameTrouble => self.name_trouble(),
            Ev::Resume(sentinel) => {
                if self.sentinels[sentinel].paused {
                    self.resume(sentinel);
                }
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
        self.await_property(Property::Scenario, what, limit_us, holds);
    }

    /// Waits for a thing that has to come, or else that property is broken.
    pub fn await_property(
        &mut self,
        property: Property,
        what: &str,
        limit_us: Us,
        holds: impl FnMut(&World) -> bool,
    ) {
        let came = self.run_until(limit_us, holds);
        ensure!(came, property, "within {} ms: {what}", limit_us / MS);
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
        let wake = &mut self.wakes[sentinel];
        *wake = at.min(*wake);
    }

    /// Sends a segment of a connection.
    pub fn send(&mut self, key: ConnKey, side: Side, segment: Segment) {
        let at = self.net.send(self.now, &mut self.rng, key, side, segment);
        self.schedule(at, Ev::Deliver(key, side));
    }

    /// Opens a connection.
    pub fn connect(&mut self, hosts: [HostId; 2], conn: Option<ConnId>) -> ConnKey {
        let key = self.net.open(self.now, hosts, conn);
        self.begin_connect(key);
        key
    }

    /// Sends the first segment of a connection that waited for it.
    pub fn begin_connect(&mut self, key: ConnKey) {
        let at = self.net.begin(self.now, &mut self.rng, key);
        self.schedule(at, Ev::Deliver(key, 0));
    }

    /// One side closes in order.
    pub fn close(&mut self, key: ConnKey, side: Side) {
        let Some(conn) = self.net.conns.get_mut(&key) else { return };
        if !std::mem::take(&mut conn.ends[side].open) {
            return;
        }
        conn.ends[side].readable.clear();
        let syn = matches!(conn.pipes[side].queue.front(), Some((_, Segment::Syn)));
        if syn || !conn.begun {
            // Nothing of a connect that is given up will ever arrive.
            conn.pipes[side].queue.clear();
        } else {
            self.send(key, side, Segment::Fin);
        }
        self.net.tidy(key);
    }

    fn deliver(&mut self, key: ConnKey, side: Side) {
        let lost = match side {
            0 => self.net.loses_syn(self.now, &mut self.rng, key),
            _ => None,
        };
        if let Some((at, segments)) = lost {
            // Those behind it may have been scheduled for a moment that is too early now.
            let late = at + 2 * self.net.latency_us.1;
            for at in [at].into_iter().chain((1..segments).map(|_| late)) {
                self.schedule(at, Ev::Deliver(key, side));
            }
            return;
        }
        let Some(segment) = self.net.arrived(self.now, key, side) else { return };
        let conn = &self.net.conns[&key];
        let to = conn.hosts[1 - side];
        let known = conn.ends[1 - side].open || segment == Segment::Syn;
        if !known {
            if matches!(segment, Segment::Bytes(_)) && conn.ends[side].open {
                self.send(key, 1 - side, Segment::Refused);
            }
        } else if to < self.sentinels.len() {
            self.sentinel_gets(to, key, 1 - side, segment);
        } else if to < self.operator() {
            self.server_gets(to, key, segment);
        } else {
            match segment {
                Segment::Syn => self.send(key, 1, Segment::Refused),
                Segment::Bytes(bytes) => self.inbox.entry(key).or_default().push(&bytes),
                Segment::SynAck | Segment::Fin | Segment::Refused => {}
            }
        }
        self.net.tidy(key);
    }

    fn server_gets(&mut self, host: HostId, key: ConnKey, segment: Segment) {
        let running = self.farm.at(host).is_some_and(|server| server.running);
        let listens = running && !self.net.refuses(host);
        let alive = self.farm.at(host).is_some_and(|server| server.alive());
        let conn = self.net.conns.get_mut(&key).expect("it delivers");
        match segment {
            Segment::Syn if !listens => {
                self.send(key, 1, Segment::Refused);
            }
            Segment::Syn => {
                conn.ends[1].open = true;
                self.farm.at_mut(host).clients.insert(key, Client::default());
                self.send(key, 1, Segment::SynAck);
            }
            Segment::SynAck => unreachable!("data nodes make no connections here"),
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
    pub fn apply(&mut self, host: HostId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(key, bytes) => self.reply(key, bytes),
                Effect::Close(key) => self.close(key, 1),
                Effect::Relay(to, text) => {
                    if self.net.reach(host, to) {
                        let at = self.now + self.net.delay(&mut self.rng);
                        self.schedule(at, Ev::Relay(Box::new((to, text))));
                    }
                }
                Effect::Role(None) => self.trace(|| format!("node {host} is a master")),
                Effect::Role(Some(master)) => {
                    self.trace(|| format!("node {host} follows {master}"));
                }
            }
        }
    }

    fn reply(&mut self, key: ConnKey, bytes: Vec<u8>) {
        if self.net.conns.get(&key).is_some_and(|conn| conn.ends[1].open) {
            self.send_torn(key, 1, bytes);
        }
    }

    /// Bytes on their way, in one piece or two.
    pub fn send_torn(&mut self, key: ConnKey, side: Side, mut bytes: Vec<u8>) {
        let cut = match self.options.torn && self.rng.below(8) == 0 {
            true => self.rng.below(bytes.len() as u64) as usize,
            false => 0,
        };
        if cut > 0 {
            let rest = bytes.split_off(cut);
            self.send(key, side, Segment::Bytes(bytes));
            bytes = rest;
        }
        self.send(key, side, Segment::Bytes(bytes));
    }

    /// The reader of a pipe has read: a sentinel that waits to write may go on.
    pub fn unblock(&mut self, key: ConnKey) {
        for host in self.net.conns[&key].hosts {
            if host < self.sentinels.len() && self.sentinels[host].blocked.contains(&key) {
                self.wake_soon(host);
            }
        }
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
        let new = &self.sentinels[sentinel].view;
        self.checks.judge(sentinel, |checks| checks.saved(sentinel, &old, new));
        let result = if fails { Err("No space left on device".to_owned()) } else { Ok(()) };
        self.input(sentinel, Input::Saved { generation, result, took_ms });
    }
}
