//! A sentinel that behaves like redis-sentinel as spec/protocol.md tells it, in a group beside the
//! real ones: it acts on a timer of 10 to 19 Hz, one state of a failover per tick; it counts votes
//! by its current epoch; it saves its file in the middle of its work and waits for the disk.
//!
//! A model, made to find out how groups of both kinds get along: what it does not need for that
//! (scripts, names to be looked up, TLS, ACL, most commands) it has not.
#![forbid(unsafe_code)]

mod command;
mod failover;
mod hello;
mod info;
mod link;
mod state;
mod vote;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use sentineld::node::{Closed, Endpoint};
use sentineld::sentinel::action::{Action, LogLevel};
use sentineld::util::ident::ConnId;
use sentineld::util::rng::Rng;
use sentineld::util::time::{Clock, Mono};

use crate::brain::Held;
use crate::wire::Stream;
use state::{Id, Inst, Kind, Link, State, Watch};

const TILT_TRIGGER_MS: u64 = 2_000;
const TILT_PERIOD_MS: u64 = 30_000;

/// Whose bytes a connection carries.
#[derive(Debug)]
enum Use {
    Client(Stream),
    Cmd(Id),
    Pubsub(Id),
}

#[derive(Debug)]
struct Conn {
    carries: Use,
    output: Vec<u8>,
}

/// One such sentinel.
#[derive(Debug)]
pub struct CPeer {
    pub myid: String,
    pub current_epoch: u64,
    port: u16,
    clock: Clock,
    rng: Rng,
    tilt_since: Option<u64>,
    last_tick: u64,
    next_tick: Mono,
    insts: BTreeMap<Id, Inst>,
    watches: BTreeMap<Id, Watch>,
    links: BTreeMap<Id, Link>,
    last_id: Id,
    conns: BTreeMap<ConnId, Conn>,
    last_conn: u64,
    /// In the order of the first write.
    touched: Vec<ConnId>,
    actions: VecDeque<Action>,
    /// The file as it was written last, until the host has taken it.
    written: Option<Vec<u8>>,
    writes: u64,
}

impl CPeer {
    pub fn new(file: &[u8], seed: u64, clock: Clock) -> CPeer {
        let mut peer = CPeer {
            myid: String::new(),
            current_epoch: 0,
            port: 26379,
            clock,
            rng: Rng::new(seed),
            tilt_since: None,
            last_tick: clock.wall.unix_ms,
            next_tick: clock.mono,
            insts: BTreeMap::new(),
            watches: BTreeMap::new(),
            links: BTreeMap::new(),
            last_id: 0,
            conns: BTreeMap::new(),
            last_conn: 0,
            touched: Vec::new(),
            actions: VecDeque::new(),
            written: None,
            writes: 0,
        };
        peer.load(file);
        peer
    }

    pub fn start(&mut self) {
        let id = format!("Sentinel ID is {}", self.myid);
        self.log(&id);
        let masters: Vec<Id> = self.watches.keys().copied().collect();
        for id in masters {
            let quorum = self.watches[&id].quorum;
            self.event("+monitor", id, &format!(" quorum {quorum}"));
        }
        self.save();
    }

    /// How it sees a master.
    pub fn held(&self, name: &str) -> Option<Held> {
        let id = self.master_named(name)?;
        let watch = &self.watches[&id];
        Some(Held {
            ip: Some(self.told_addr(id).0),
            replicas: watch.replicas.len(),
            peers: watch.peers.len(),
            in_failover: watch.state != State::None,
            down: self.insts[&id].sdown || watch.odown,
        })
    }

    fn now(&self) -> u64 {
        self.clock.wall.unix_ms
    }

    fn log(&mut self, line: &str) {
        self.actions.push_back(Action::Log { level: LogLevel::Notice, text: line.into() });
    }

    /// An event about an instance; `tail` is what follows its description.
    fn event(&mut self, event: &str, id: Id, tail: &str) {
        let inst = &self.insts[&id];
        let (ip, port) = inst.addr;
        let text = match inst.kind {
            Kind::Master => format!("{event} master {} {ip} {port}{tail}", inst.name),
            kind => {
                let kind = if kind == Kind::Replica { "slave" } else { "sentinel" };
                let master = &self.insts[&inst.master];
                let (master_ip, master_port) = master.addr;
                let of = format!("@ {} {master_ip} {master_port}", master.name);
                format!("{event} {kind} {} {ip} {port} {of}{tail}", inst.name)
            }
        };
        self.log(&text);
    }

    pub fn begin_turn(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// The timer, if it is due.
    pub fn run_due(&mut self) {
        if self.clock.mono < self.next_tick {
            return;
        }
        let hz = 10 + self.rng.below(10);
        self.next_tick = self.clock.mono.after(1_000 / hz);
        self.check_tilt();
        let masters: Vec<Id> = self.watches.keys().copied().collect();
        for id in &masters {
            self.handle(*id);
            let watch = &self.watches[id];
            let others: Vec<Id> =
                watch.replicas.values().chain(watch.peers.values()).copied().collect();
            for other in others {
                self.handle(other);
            }
        }
        // One failover is finished per tick.
        let over = |id: &&Id| self.watches[id].state == State::UpdateConfig;
        if let Some(id) = masters.iter().find(over) {
            self.switch_to_promoted(*id);
        }
    }

    fn check_tilt(&mut self) {
        let now = self.now();
        let late = now < self.last_tick || now - self.last_tick > TILT_TRIGGER_MS;
        self.last_tick = now;
        if late {
            self.tilt_since = Some(now);
            self.log("+tilt #tilt mode entered");
        }
    }

    /// One instance's share of a tick.
    fn handle(&mut self, id: Id) {
        self.reconnect(id);
        self.send_periodic(id);
        if let Some(since) = self.tilt_since {
            if self.now() - since < TILT_PERIOD_MS {
                return;
            }
            self.tilt_since = None;
            self.log("-tilt #tilt mode exited");
        }
        self.check_sdown(id);
        if self.insts[&id].kind == Kind::Master {
            self.check_odown(id);
            if self.start_if_due(id) {
                self.ask_peers(id, true);
            }
            self.failover_step(id);
            self.ask_peers(id, false);
        }
    }

    pub fn next_deadline(&self) -> Mono {
        self.next_tick
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What it wrote to its file since the last call, and how often.
    pub fn take_written(&mut self) -> Option<(Vec<u8>, u64)> {
        let text = self.written.take()?;
        Some((text, std::mem::take(&mut self.writes)))
    }

    fn open(&mut self, carries: Use) -> ConnId {
        self.last_conn += 1;
        let id = ConnId(self.last_conn);
        self.conns.insert(id, Conn { carries, output: Vec::new() });
        id
    }

    fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(open) = self.conns.get_mut(&conn) {
            open.output.extend_from_slice(bytes);
            if !self.touched.contains(&conn) {
                self.touched.push(conn);
            }
        }
    }

    pub fn take_touched(&mut self, into: &mut Vec<ConnId>) {
        into.append(&mut self.touched);
    }

    pub fn output(&self, conn: ConnId) -> Option<&[u8]> {
        self.conns.get(&conn).map(|conn| conn.output.as_slice())
    }

    pub fn sent(&mut self, conn: ConnId, n: usize) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.output.drain(..n);
        }
    }

    pub fn accepted(&mut self, _endpoint: Endpoint) -> ConnId {
        self.open(Use::Client(Stream::default()))
    }

    pub fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(open) = self.conns.get_mut(&conn) else { return };
        match &mut open.carries {
            Use::Client(requests) => {
                requests.push(bytes);
                self.run_requests(conn);
            }
            Use::Cmd(link) => {
                let link = *link;
                self.replies_arrived(link, bytes);
            }
            Use::Pubsub(link) => {
                let link = *link;
                self.messages_arrived(link, bytes);
            }
        }
    }

    pub fn closed(&mut self, conn: ConnId, _why: Closed) {
        let Some(open) = self.conns.remove(&conn) else { return };
        match open.carries {
            Use::Client(_) => {}
            Use::Cmd(link) => self.cmd_lost(link),
            Use::Pubsub(link) => self.pubsub_lost(link),
        }
    }

    pub fn conn_started(&mut self, conn: ConnId, local: Option<IpAddr>) {
        if let Some(Conn { carries: Use::Cmd(link), .. }) = self.conns.get(&conn) {
            self.links.get_mut(link).expect("its connection was just made").local = local;
        }
    }
}
