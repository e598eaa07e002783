//! What it remembers: instances, links, one watch per master; and the file it keeps.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::IpAddr;

use sentineld::util::ident::ConnId;

use super::CPeer;
use crate::wire::{Stream, show};

/// Of an instance or of a link; counted up, never used again.
pub type Id = u64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Master,
    Replica,
    Peer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Master,
    Slave,
}

/// How far a replica is with following the promoted one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reconf {
    None,
    Sent,
    InProgress,
    Done,
}

/// Where a failover stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    None,
    WaitStart,
    SelectSlave,
    SendSlaveofNoOne,
    WaitPromotion,
    ReconfSlaves,
    UpdateConfig,
}

pub type Addr = (IpAddr, u16);

/// A master, replica or sentinel; all times in ms of the wall clock, 0 is never.
#[derive(Clone, Debug)]
pub struct Inst {
    pub kind: Kind,
    /// The master it belongs to; a master's own id.
    pub master: Id,
    pub name: String,
    pub runid: String,
    pub addr: Addr,
    pub link: Id,
    pub down_after_ms: u64,
    pub sdown: bool,
    pub sdown_since: u64,
    pub last_publish: u64,
    pub last_hello: u64,
    pub last_ask_reply: u64,
    pub info_refresh: u64,
    pub role: Role,
    pub role_since: u64,
    pub conf_changed: u64,
    pub script_kill_sent: bool,
    /// Replicas.
    pub priority: u32,
    pub offset: u64,
    pub reported_master: Option<Addr>,
    pub master_link_up: bool,
    pub master_link_down_ms: i64,
    pub reconf: Reconf,
    pub reconf_sent: u64,
    /// Sentinels.
    pub says_down: bool,
    pub leader: String,
    pub leader_epoch: u64,
}

/// What belongs to a master alone.
#[derive(Clone, Debug)]
pub struct Watch {
    pub quorum: usize,
    pub parallel_syncs: usize,
    pub failover_timeout_ms: u64,
    pub config_epoch: u64,
    pub leader: String,
    pub leader_epoch: u64,
    pub odown: bool,
    pub odown_since: u64,
    pub failover_epoch: u64,
    pub state: State,
    pub state_since: u64,
    pub failover_start: u64,
    pub forced: bool,
    pub promoted: Option<Id>,
    /// By `ip:port`.
    pub replicas: BTreeMap<String, Id>,
    /// By run id.
    pub peers: BTreeMap<String, Id>,
}

/// Which reply comes next on a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    Ping(Id),
    Info(Id),
    Publish(Id),
    Ask(Id),
    Other,
}

/// The connections to an instance; sentinels of one run id share a link.
#[derive(Clone, Debug)]
pub struct Link {
    pub sharers: usize,
    pub with_pubsub: bool,
    pub cmd: Option<ConnId>,
    pub pubsub: Option<ConnId>,
    pub local: Option<IpAddr>,
    pub cmd_since: u64,
    pub pubsub_since: u64,
    pub last_reconnect: u64,
    pub ping_open_since: u64,
    pub last_ping: u64,
    pub last_available: u64,
    pub last_pong: u64,
    pub pubsub_heard: u64,
    pub pending: VecDeque<Sent>,
    pub replies: Stream,
    pub messages: Stream,
}

impl Link {
    pub fn connected(&self) -> bool {
        self.cmd.is_some() && (self.pubsub.is_some() || !self.with_pubsub)
    }
}

pub fn addr_of(ip: &str, port: &str) -> Option<Addr> {
    Some((ip.parse().ok()?, port.parse().ok().filter(|port| *port > 0)?))
}

pub fn key_of(addr: Addr) -> String {
    format!("{}:{}", addr.0, addr.1)
}

impl CPeer {
    pub fn fresh_id(&mut self) -> Id {
        self.last_id += 1;
        self.last_id
    }

    pub fn new_link(&mut self, with_pubsub: bool) -> Id {
        let id = self.fresh_id();
        let now = self.now();
        let link = Link {
            sharers: 1,
            with_pubsub,
            cmd: None,
            pubsub: None,
            local: None,
            cmd_since: 0,
            pubsub_since: 0,
            last_reconnect: 0,
            ping_open_since: now,
            last_ping: 0,
            last_available: now,
            last_pong: now,
            pubsub_heard: 0,
            pending: VecDeque::new(),
            replies: Stream::default(),
            messages: Stream::default(),
        };
        self.links.insert(id, link);
        id
    }

    /// `master`: 0 for a master itself. A sentinel takes the link that its run id has already.
    pub fn new_inst(&mut self, kind: Kind, master: Id, name: &str, addr: Addr) -> Id {
        let shared = self.insts.values().find(|inst| kind == Kind::Peer && inst.name == name);
        let link = match shared.map(|inst| inst.link) {
            Some(link) => {
                self.links.get_mut(&link).expect("of an instance").sharers += 1;
                link
            }
            None => self.new_link(kind != Kind::Peer),
        };
        let id = self.fresh_id();
        let now = self.now();
        let master = if master == 0 { id } else { master };
        let down_after_ms = self.insts.get(&master).map_or(30_000, |inst| inst.down_after_ms);
        let runid = if kind == Kind::Peer { name } else { "" };
        let inst = Inst {
            kind,
            master,
            name: name.to_owned(),
            runid: runid.to_owned(),
            addr,
            link,
            down_after_ms,
            sdown: false,
            sdown_since: 0,
            last_publish: now,
            last_hello: now,
            last_ask_reply: now,
            info_refresh: 0,
            role: if kind == Kind::Master { Role::Master } else { Role::Slave },
            role_since: now,
            conf_changed: now,
            script_kill_sent: false,
            priority: 100,
            offset: 0,
            reported_master: None,
            master_link_up: false,
            master_link_down_ms: 0,
            reconf: Reconf::None,
            reconf_sent: 0,
            says_down: false,
            leader: String::new(),
            leader_epoch: 0,
        };
        self.insts.insert(id, inst);
        id
    }

    pub fn new_master(&mut self, name: &str, addr: Addr, quorum: usize) -> Id {
        let id = self.new_inst(Kind::Master, 0, name, addr);
        let watch = Watch {
            quorum,
            parallel_syncs: 1,
            failover_timeout_ms: 180_000,
            config_epoch: 0,
            leader: String::new(),
            leader_epoch: 0,
            odown: false,
            odown_since: 0,
            failover_epoch: 0,
            state: State::None,
            state_since: 0,
            failover_start: 0,
            forced: false,
            promoted: None,
            replicas: BTreeMap::new(),
            peers: BTreeMap::new(),
        };
        self.watches.insert(id, watch);
        id
    }

    pub fn add_replica(&mut self, master: Id, addr: Addr) -> Option<Id> {
        let key = key_of(addr);
        if self.watches[&master].replicas.contains_key(&key) {
            return None;
        }
        let id = self.new_inst(Kind::Replica, master, &key, addr);
        self.watch_mut(master).replicas.insert(key, id);
        Some(id)
    }

    pub fn add_peer(&mut self, master: Id, runid: &str, addr: Addr) -> Id {
        let id = self.new_inst(Kind::Peer, master, runid, addr);
        self.watch_mut(master).peers.insert(runid.to_owned(), id);
        id
    }

    /// Forgets a replica or sentinel, and its link with the last who shares it.
    pub fn drop_inst(&mut self, id: Id) {
        let Some(inst) = self.insts.remove(&id) else { return };
        let watch = self.watch_mut(inst.master);
        watch.replicas.retain(|_, other| *other != id);
        watch.peers.retain(|_, other| *other != id);
        if watch.promoted == Some(id) {
            watch.promoted = None;
        }
        let link = self.links.get_mut(&inst.link).expect("of an instance");
        link.sharers -= 1;
        if link.sharers == 0 {
            self.close_link(inst.link);
            self.links.remove(&inst.link);
        }
    }

    pub fn watch_mut(&mut self, master: Id) -> &mut Watch {
        self.watches.get_mut(&master).expect("a master is watched")
    }

    pub fn inst_mut(&mut self, id: Id) -> &mut Inst {
        self.insts.get_mut(&id).expect("it is known")
    }

    pub fn link_of(&self, id: Id) -> &Link {
        &self.links[&self.insts[&id].link]
    }

    pub fn link_of_mut(&mut self, id: Id) -> &mut Link {
        let link = self.insts[&id].link;
        self.links.get_mut(&link).expect("of an instance")
    }

    pub fn master_named(&self, name: &str) -> Option<Id> {
        self.watches.keys().copied().find(|id| self.insts[id].name == name)
    }

    /// The address that clients and peers are told.
    pub fn told_addr(&self, master: Id) -> Addr {
        let watch = &self.watches[&master];
        match watch.promoted {
            Some(promoted) if watch.state >= State::ReconfSlaves => self.insts[&promoted].addr,
            _ => self.insts[&master].addr,
        }
    }

    /// Reads what the file says; lines that mean nothing to it are left out.
    pub fn load(&mut self, file: &[u8]) {
        for line in show(file).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            self.load_line(&words).unwrap_or_else(|| panic!("a bad line: {line}"));
        }
    }

    fn load_line(&mut self, words: &[&str]) -> Option<()> {
        match *words {
            ["port", port] => self.port = port.parse().ok()?,
            ["sentinel", "myid", id] => self.myid = id.to_owned(),
            ["sentinel", "current-epoch", epoch] => self.current_epoch = epoch.parse().ok()?,
            ["sentinel", "monitor", name, ip, port, quorum] => {
                self.new_master(name, addr_of(ip, port)?, quorum.parse().ok()?);
            }
            ["sentinel", verb, name, ref values @ ..] => {
                let Some(id) = self.master_named(name) else { return Some(()) };
                self.load_master_line(id, verb, values)?;
            }
            _ => {}
        }
        Some(())
    }

    fn load_master_line(&mut self, id: Id, verb: &str, values: &[&str]) -> Option<()> {
        match (verb, values) {
            ("down-after-milliseconds", [ms]) => {
                self.inst_mut(id).down_after_ms = ms.parse().ok()?;
            }
            ("failover-timeout", [ms]) => {
                self.watch_mut(id).failover_timeout_ms = ms.parse().ok()?;
            }
            ("parallel-syncs", [n]) => self.watch_mut(id).parallel_syncs = n.parse().ok()?,
            ("config-epoch", [n]) => {
                let epoch = n.parse().ok()?;
                self.watch_mut(id).config_epoch = epoch;
                self.current_epoch = self.current_epoch.max(epoch);
            }
            ("leader-epoch", [n]) => self.watch_mut(id).leader_epoch = n.parse().ok()?,
            ("known-replica" | "known-slave", [ip, port]) => {
                self.add_replica(id, addr_of(ip, port)?);
            }
            ("known-sentinel", [ip, port, runid]) => {
                self.add_peer(id, runid, addr_of(ip, port)?);
            }
            _ => {}
        }
        Some(())
    }

    /// Writes the file at once; the host does not go on before it is done.
    pub fn save(&mut self) {
        let mut file = format!(
            "port {}\nsentinel myid {}\nsentinel current-epoch {}\n",
            self.port, self.myid, self.current_epoch
        );
        for id in self.watches.keys() {
            self.render_master(&mut file, *id);
        }
        self.written = Some(file.into_bytes());
        self.writes += 1;
    }

    fn render_master(&self, file: &mut String, id: Id) {
        let (inst, watch) = (&self.insts[&id], &self.watches[&id]);
        let (name, told) = (&inst.name, self.told_addr(id));
        let mut line = |text: String| {
            let _ = writeln!(file, "sentinel {text}");
        };
        line(format!("monitor {name} {} {} {}", told.0, told.1, watch.quorum));
        line(format!("down-after-milliseconds {name} {}", inst.down_after_ms));
        line(format!("failover-timeout {name} {}", watch.failover_timeout_ms));
        line(format!("parallel-syncs {name} {}", watch.parallel_syncs));
        line(format!("config-epoch {name} {}", watch.config_epoch));
        line(format!("leader-epoch {name} {}", watch.leader_epoch));
        for replica in watch.replicas.values() {
            // While the promoted one is told as the master, the old one stands in its place.
            let addr = self.insts[replica].addr;
            let (ip, port) = if addr == told { inst.addr } else { addr };
            line(format!("known-replica {name} {ip} {port}"));
        }
        for peer in watch.peers.values() {
            let Inst { addr: (ip, port), runid, .. } = &self.insts[peer];
            line(format!("known-sentinel {name} {ip} {port} {runid}"));
        }
    }
}
