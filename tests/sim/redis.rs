//! A model of data nodes: what a sentinel sees of `redis-server` 7.0, with data as a history of
//! bytes that grows. `recorded` holds it against the real one.
//!
//! What it leaves out: keys and their values, AOF, output buffer limits, the ways of a cluster. A
//! replica's connection to its master is no connection of [`Net`]: it exists while both ends know
//! the same number (`replication`), and needs only that the hosts reach each other.
#![forbid(unsafe_code)]

mod commands;
pub mod denials;
pub mod faults;
mod history;
mod info;
mod named;
mod pubsub;
mod replication;
mod run;

use std::collections::BTreeMap;

use sentineld::util::rng::Rng;

use crate::net::{ConnKey, HostId, Us};
use crate::wire::{Span, Stream, Words};

use history::{History, Id};
pub use replication::REPLICATION_TICK_US;

use denials::Denials;
use faults::{ConfigFile, InfoAnswer, Saved};
use replication::{Attached, Link, SyncTimes};

pub const REDIS_PORT: u16 = 6379;
pub const HELLO: &[u8] = b"__sentinel__:hello";

/// What a node answers to most commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Normal,
    Loading,
    Busy,
}

/// A client's side of the server.
#[derive(Clone, Default, Debug)]
pub struct Client {
    input: Stream,
    /// The transaction that it gathers.
    multi: Option<Vec<Words>>,
    /// A command of the transaction was refused.
    spoiled: bool,
    channels: Vec<Vec<u8>>,
    authenticated: bool,
    /// Closed behind the reply.
    closing: bool,
}

/// A script that does not end.
#[derive(Clone, Copy, Debug)]
struct Script {
    owner: Option<ConnKey>,
    killable: bool,
}

/// One data node.
#[derive(Clone, Debug)]
pub struct Server {
    pub host: HostId,
    /// Index of the group of data nodes (the monitored master) it belongs to.
    pub group: usize,
    pub running: bool,
    pub frozen: bool,
    pub mode: Mode,
    /// When loading ends; `None`: when somebody says so.
    loading_until: Option<Us>,
    script: Option<Script>,
    run_id: Id,
    /// Whom it replicates; `None`: a master.
    pub master: Option<HostId>,
    /// How it was told of it, if not by its first address.
    master_text: Option<String>,
    /// What its config file says: the role after a restart.
    saved_master: Option<HostId>,
    saved_text: Option<String>,
    /// Its replica-announce-ip, if that is a name.
    pub announces: Option<String>,
    /// No node is here: the address may be given to one.
    pub vacant: bool,
    /// It is in sync with its master.
    pub link_up: bool,
    link: Link,
    /// When it was heard last over the link.
    heard: Us,
    /// `None`: no link was lost since it follows this master.
    down_since: Option<Us>,
    history: History,
    /// A replica that knows from where on it misses data.
    has_place: bool,
    /// What a restart finds on the disk.
    saved: Option<Saved>,
    /// What it has when it has loaded that.
    loads: Option<History>,
    /// The connections of its replicas, in the order in which they came.
    attached: Vec<Attached>,
    /// Messages of its master that it has not read yet.
    unread: Vec<Vec<u8>>,
    pub priority: u32,
    pub announced: bool,
    /// Usual and new names of commands, as by `rename-command`.
    pub renamed: Vec<(&'static str, &'static str)>,
    /// What clients ask waits, as by CLIENT PAUSE.
    pub clients_paused: bool,
    serves_stale_data: bool,
    password: Option<Vec<u8>>,
    /// For its master.
    master_password: Option<Vec<u8>>,
    config_file: ConfigFile,
    info_answer: InfoAnswer,
    denials: Denials,
    pub times: SyncTimes,
    pub clients: BTreeMap<ConnKey, Client>,
    /// How often it was told to become a master, for the checks.
    pub promotions: u32,
}

/// What handling a request leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    Reply(ConnKey, Vec<u8>),
    Close(ConnKey),
    /// A hello for the subscribers of another node.
    Relay(HostId, Vec<u8>),
    /// It follows another node now, or none.
    Role(Option<HostId>),
}

/// All data nodes; host ids count from `first`.
#[derive(Debug)]
pub struct Farm {
    pub first: HostId,
    pub servers: Vec<Server>,
    /// Where the hosts of all names are, in lower case.
    pub zone: BTreeMap<String, HostId>,
    /// The most bytes that clients write to a master from one replication tick to the next.
    pub traffic_bytes: u64,
    /// Replication connections made so far.
    links: u64,
    /// Reused by all requests.
    spans: Vec<Span>,
    text: Vec<u8>,
}

impl Server {
    fn new(host: HostId, group: usize, master: Option<HostId>, rng: &mut Rng) -> Server {
        Server {
            host,
            group,
            running: true,
            frozen: false,
            mode: Mode::Normal,
            loading_until: None,
            script: None,
            run_id: Id::random(rng),
            master,
            master_text: None,
            saved_master: master,
            saved_text: None,
            announces: None,
            vacant: false,
            link_up: false,
            link: Link::Waits { until: 0 },
            heard: 0,
            down_since: None,
            history: History::new(Id::random(rng)),
            has_place: false,
            saved: None,
            loads: None,
            attached: Vec::new(),
            unread: Vec::new(),
            priority: 100,
            announced: true,
            renamed: Vec::new(),
            clients_paused: false,
            serves_stale_data: true,
            password: None,
            master_password: None,
            config_file: ConfigFile::Kept,
            info_answer: InfoAnswer::Given,
            denials: Denials::default(),
            times: SyncTimes::default(),
            clients: BTreeMap::new(),
            promotions: 0,
        }
    }

    /// Whether it answers right now.
    pub fn alive(&self) -> bool {
        self.running && !self.frozen
    }

    /// Whether it does what its master and its own clock tell it.
    fn works(&self) -> bool {
        self.alive() && self.mode != Mode::Busy
    }

    /// Loading ends by itself, if it was to; whatever ended it, the data is there then.
    fn look_at_clock(&mut self, now: Us) {
        if self.mode != Mode::Busy {
            self.script = None;
        }
        let Some(until) = self.loading_until else { return };
        if self.mode == Mode::Loading && now < until {
            return;
        }
        self.loading_until = None;
        if self.mode == Mode::Loading {
            self.mode = Mode::Normal;
        }
        if let Some(history) = self.loads.take() {
            self.history = history;
        }
    }

    fn load_until(&mut self, now: Us, until: Us) {
        if until > now {
            self.mode = Mode::Loading;
            self.loading_until = Some(until);
        }
    }
}

impl Farm {
    /// `groups` groups of a master and its replicas each, in sync.
    pub fn new(first: HostId, groups: usize, replicas: usize, rng: &mut Rng) -> Farm {
        let mut farm = Farm::empty(first);
        for _ in 0..groups {
            let master = farm.add(None, rng);
            for _ in 0..replicas {
                let replica = farm.add(Some(master), rng);
                farm.sync_at_once(replica, rng);
            }
        }
        farm
    }

    /// A farm for [`Farm::add`].
    pub fn empty(first: HostId) -> Farm {
        let (servers, spans, text) = (Vec::new(), Vec::new(), Vec::new());
        let zone = BTreeMap::new();
        Farm { first, servers, zone, traffic_bytes: 100, links: 0, spans, text }
    }

    /// One more node; it is in the group of its master, or begins a new one.
    pub fn add(&mut self, master: Option<HostId>, rng: &mut Rng) -> HostId {
        let host = self.first + self.servers.len();
        let next = self.servers.iter().map(|server| server.group + 1).max().unwrap_or(0);
        let group = master.and_then(|master| self.at(master)).map_or(next, |server| server.group);
        self.servers.push(Server::new(host, group, master, rng));
        host
    }

    pub fn at(&self, host: HostId) -> Option<&Server> {
        self.servers.get(host.checked_sub(self.first)?)
    }

    pub fn at_mut(&mut self, host: HostId) -> &mut Server {
        &mut self.servers[host - self.first]
    }

    /// Live nodes of a group that are masters.
    pub fn masters_of(&self, group: usize) -> Vec<HostId> {
        let is = |s: &&Server| s.group == group && s.alive() && s.master.is_none();
        self.servers.iter().filter(is).map(|server| server.host).collect()
    }

    /// Bytes for a server; what they lead to if it is not frozen.
    pub fn received(
        &mut self,
        now: Us,
        rng: &mut Rng,
        host: HostId,
        conn: ConnKey,
        bytes: &[u8],
    ) -> Vec<Effect> {
        let server = self.at_mut(host);
        if let Some(client) = server.clients.get_mut(&conn) {
            client.input.push(bytes);
        }
        self.work(now, rng, host, conn)
    }
}
