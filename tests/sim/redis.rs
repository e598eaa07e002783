//! A model of data nodes: what a sentinel sees of them, with replication as a number that grows.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use sentineld::util::rng::Rng;

use crate::net::{ConnKey, HostId, Net, Us};
use crate::wire::{self, Stream, Words};

pub const REDIS_PORT: u16 = 6379;
pub const HELLO: &[u8] = b"__sentinel__:hello";
/// How often replication is looked at.
pub const REPLICATION_TICK_US: Us = 50_000;
/// A replica that hears nothing of its master for this long gives its link up.
const REPLICATION_TIMEOUT_US: Us = 3_000_000;

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
    multi: Option<Vec<Words>>,
    pub subscribed: bool,
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
    pub run_id: String,
    /// Whom it replicates; `None`: a master.
    pub master: Option<HostId>,
    /// What its config file says: the role after a restart.
    saved_master: Option<HostId>,
    pub link_up: bool,
    next_try: Us,
    heard: Us,
    /// `None`: never in sync with this master.
    down_since: Option<Us>,
    pub offset: u64,
    pub priority: u32,
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
}

fn random_run_id(rng: &mut Rng) -> String {
    let words: String = (0..3).map(|_| format!("{:016x}", rng.next_u64())).collect();
    words[..40].to_owned()
}

impl Server {
    fn new(host: HostId, group: usize, master: Option<HostId>, rng: &mut Rng) -> Server {
        Server {
            host,
            group,
            running: true,
            frozen: false,
            mode: Mode::Normal,
            run_id: random_run_id(rng),
            master,
            saved_master: master,
            link_up: master.is_some(),
            next_try: 0,
            heard: 0,
            down_since: None,
            offset: 1_000,
            priority: 100,
            clients: BTreeMap::new(),
            promotions: 0,
        }
    }

    /// Whether it answers right now.
    pub fn alive(&self) -> bool {
        self.running && !self.frozen
    }

    /// CLIENT KILL TYPE, without the asker itself.
    fn kill_clients(&mut self, asker: ConnKey, kind: &[u8], effects: &mut Vec<Effect>) -> Vec<u8> {
        let pubsub = kind == b"PUBSUB";
        let meant = |(key, client): (&ConnKey, &Client)| {
            (*key != asker && client.subscribed == pubsub).then_some(*key)
        };
        let killed: Vec<_> = self.clients.iter().filter_map(meant).collect();
        for key in &killed {
            self.clients.remove(key);
            effects.push(Effect::Close(*key));
        }
        format!(":{}\r\n", killed.len()).into_bytes()
    }

    fn follow(&mut self, now: Us, rng: &mut Rng, master: Option<HostId>) {
        if self.master == master {
            return;
        }
        if master.is_none() {
            self.promotions += 1;
        }
        self.master = master;
        self.link_up = false;
        self.down_since = None;
        self.next_try = now + 1_000 + rng.below(200_000);
    }
}

impl Farm {
    /// `groups` groups of a master and its replicas each.
    pub fn new(first: HostId, groups: usize, replicas: usize, rng: &mut Rng) -> Farm {
        let mut servers = Vec::new();
        for group in 0..groups {
            let master = first + servers.len();
            servers.push(Server::new(master, group, None, rng));
            for _ in 0..replicas {
                let host = first + servers.len();
                servers.push(Server::new(host, group, Some(master), rng));
            }
        }
        Farm { first, servers }
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

    /// The process is gone; all its connections close.
    pub fn kill(&mut self, host: HostId) -> Vec<ConnKey> {
        let server = self.at_mut(host);
        server.running = false;
        server.frozen = false;
        std::mem::take(&mut server.clients).into_keys().collect()
    }

    /// Started again with the role of its config file, for a while loading.
    pub fn restart(&mut self, now: Us, host: HostId, rng: &mut Rng) {
        let server = self.at_mut(host);
        server.running = true;
        server.mode = Mode::Normal;
        server.run_id = random_run_id(rng);
        server.master = server.saved_master;
        server.link_up = false;
        server.down_since = None;
        server.next_try = now + 1_000 + rng.below(100_000);
    }

    /// Replication moves on at every node.
    pub fn tick(&mut self, now: Us, net: &Net, rng: &mut Rng) {
        let grown = 1 + rng.below(100);
        for server in &mut self.servers {
            if server.alive() && server.master.is_none() {
                server.offset += grown;
            }
        }
        for index in 0..self.servers.len() {
            self.replicate(now, net, rng, index);
        }
    }

    fn replicate(&mut self, now: Us, net: &Net, rng: &mut Rng, index: usize) {
        let server = &self.servers[index];
        let Some(master) = server.master else { return };
        if !server.alive() {
            return;
        }
        let source = self.at(master).filter(|source| source.host != server.host);
        let reached = source.is_some_and(|source| source.alive() && net.reach(server.host, master));
        let gone = source.is_none_or(|source| !source.running);
        let synced = source.is_some_and(|source| source.master.is_none() || source.link_up);
        let offset = source.map_or(0, |source| source.offset);
        let server = &mut self.servers[index];
        if server.link_up {
            if reached {
                server.heard = now;
                server.offset = offset;
            }
            if gone || now > server.heard + REPLICATION_TIMEOUT_US {
                server.link_up = false;
                server.down_since = Some(now);
                server.next_try = now + rng.below(1_000_000);
            }
        } else if reached && synced && now >= server.next_try {
            server.link_up = true;
            server.heard = now;
            server.offset = offset;
        }
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

    /// Handles the requests of a client that are there.
    pub fn work(&mut self, now: Us, rng: &mut Rng, host: HostId, conn: ConnKey) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.at(host).is_some_and(Server::alive) {
            let Some(client) = self.at_mut(host).clients.get_mut(&conn) else { break };
            let Some(words) = client.input.next_request() else { break };
            self.request(now, rng, host, conn, words, &mut effects);
        }
        effects
    }

    fn request(
        &mut self,
        now: Us,
        rng: &mut Rng,
        host: HostId,
        conn: ConnKey,
        words: Words,
        effects: &mut Vec<Effect>,
    ) {
        let server = self.at_mut(host);
        let client = server.clients.get_mut(&conn).expect("its request is being handled");
        let verb = words[0].to_ascii_uppercase();
        let out = match (verb.as_slice(), &mut client.multi) {
            (b"EXEC", queued @ Some(_)) => {
                let queued = queued.take().unwrap_or_default();
                let mut out = format!("*{}\r\n", queued.len()).into_bytes();
                for words in queued {
                    out.extend(self.command(now, rng, host, conn, &words, effects));
                }
                out
            }
            (_, Some(queued)) => {
                queued.push(words);
                b"+QUEUED\r\n".to_vec()
            }
            (b"MULTI", none) => {
                *none = Some(Vec::new());
                b"+OK\r\n".to_vec()
            }
            _ => self.command(now, rng, host, conn, &words, effects),
        };
        if !out.is_empty() {
            effects.push(Effect::Reply(conn, out));
        }
    }

    fn command(
        &mut self,
        now: Us,
        rng: &mut Rng,
        host: HostId,
        conn: ConnKey,
        words: &[Vec<u8>],
        effects: &mut Vec<Effect>,
    ) -> Vec<u8> {
        let upper: Vec<Vec<u8>> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
        let upper: Vec<&[u8]> = upper.iter().map(Vec::as_slice).collect();
        let server = self.at_mut(host);
        match (server.mode, upper[0]) {
            (Mode::Busy, b"SCRIPT") => server.mode = Mode::Normal,
            (Mode::Busy, _) => return b"-BUSY Redis is busy running a script.\r\n".to_vec(),
            (Mode::Loading, b"PING" | b"SLAVEOF") => {
                return b"-LOADING Redis is loading the dataset in memory\r\n".to_vec();
            }
            _ => {}
        }
        match upper[..] {
            [b"AUTH", ..]
            | [b"CLIENT", b"SETNAME", _]
            | [b"CONFIG", b"REWRITE"]
            | [b"SCRIPT", b"KILL"] => {
                if upper[0] == b"CONFIG" {
                    server.saved_master = server.master;
                }
                b"+OK\r\n".to_vec()
            }
            [b"PING"] => b"+PONG\r\n".to_vec(),
            [b"INFO", ..] => {
                let mut out = Vec::new();
                wire::bulk(&mut out, self.info(now, host).as_bytes());
                out
            }
            [b"SUBSCRIBE", _] => {
                let client = server.clients.get_mut(&conn).expect("it asks");
                client.subscribed = true;
                let mut out = b"*3\r\n$9\r\nsubscribe\r\n".to_vec();
                wire::bulk(&mut out, &words[1]);
                out.extend_from_slice(b":1\r\n");
                out
            }
            [b"PUBLISH", _, _] if words[1] == HELLO => {
                self.publish(host, &words[2], effects);
                b":1\r\n".to_vec()
            }
            [b"SLAVEOF", b"NO", b"ONE"] => {
                server.follow(now, rng, None);
                effects.push(Effect::Role(None));
                b"+OK\r\n".to_vec()
            }
            [b"SLAVEOF", to, port] => {
                assert_eq!(port, REDIS_PORT.to_string().as_bytes(), "no data node's port");
                let ip = wire::show(to).parse().expect("SLAVEOF takes an IP here");
                let master = Net::host_of(ip).expect("a host's IP");
                assert_ne!(master, host, "an instance was told to replicate from itself");
                server.follow(now, rng, Some(master));
                effects.push(Effect::Role(Some(master)));
                b"+OK\r\n".to_vec()
            }
            [b"CLIENT", b"KILL", b"TYPE", kind] => server.kill_clients(conn, kind, effects),
            _ => format!("-ERR unknown command '{}'\r\n", wire::show(&words[0])).into_bytes(),
        }
    }

    /// To the subscribers here, and on to the replicas that are in sync with a master.
    fn publish(&self, host: HostId, text: &[u8], effects: &mut Vec<Effect>) {
        self.deliver(host, text, effects);
        if self.at(host).is_none_or(|server| server.master.is_some()) {
            return;
        }
        let mut reached = vec![host];
        let mut next = 0;
        while next < reached.len() {
            let source = reached[next];
            for server in &self.servers {
                let linked = server.link_up && server.master == Some(source);
                if linked && !reached.contains(&server.host) {
                    reached.push(server.host);
                    effects.push(Effect::Relay(server.host, text.to_vec()));
                }
            }
            next += 1;
        }
    }

    /// To the subscribers of one node.
    pub fn deliver(&self, host: HostId, text: &[u8], effects: &mut Vec<Effect>) {
        let mut message = b"*3\r\n$7\r\nmessage\r\n".to_vec();
        wire::bulk(&mut message, HELLO);
        wire::bulk(&mut message, text);
        let Some(server) = self.at(host) else { return };
        for (key, client) in &server.clients {
            if client.subscribed {
                effects.push(Effect::Reply(*key, message.clone()));
            }
        }
    }

    fn info(&self, now: Us, host: HostId) -> String {
        let server = self.at(host).expect("a data node");
        let mut text = format!("# Server\r\nrun_id:{}\r\n# Replication\r\n", server.run_id);
        match server.master {
            None => text += "role:master\r\n",
            Some(master) => {
                let status = if server.link_up { "up" } else { "down" };
                text += &format!(
                    "role:slave\r\nmaster_host:{}\r\nmaster_port:{REDIS_PORT}\r\n\
                     master_link_status:{status}\r\nslave_repl_offset:{}\r\n",
                    Net::ip_of(master),
                    server.offset,
                );
                if !server.link_up {
                    let seconds = match server.down_since {
                        Some(since) => ((now - since) / 1_000_000).to_string(),
                        None => "-1".to_owned(),
                    };
                    text += &format!("master_link_down_since_seconds:{seconds}\r\n");
                }
                text += &format!("slave_priority:{}\r\nreplica_announced:1\r\n", server.priority);
            }
        }
        let linked = |s: &&Server| s.master == Some(host) && s.link_up && s.running;
        let slaves: Vec<&Server> = self.servers.iter().filter(linked).collect();
        text += &format!("connected_slaves:{}\r\n", slaves.len());
        for (n, slave) in slaves.iter().enumerate() {
            let ip = Net::ip_of(slave.host);
            text += &format!(
                "slave{n}:ip={ip},port={REDIS_PORT},state=online,offset={},lag=0\r\n",
                slave.offset
            );
        }
        text + &format!("master_repl_offset:{}\r\n", server.offset)
    }
}
