//! The scripted world around one [`Node`]: its shell, its clock, its disk, its network.
//!
//! Inputs, one per line (a line that begins with two blanks continues the one above):
//! - `config` with the file below it; `start`; `restart` (kill -9, and again from the last save);
//! - `node`, `peer`, `set`: see `hosts.rs`;
//! - `advance MS`; `until TEXT MS`: until a log line holds the text; `stop MS`: the process sleeps
//!   while the world goes on, then everything that came meanwhile is there in one turn;
//! - `hello NODE from=PEER key=value…`: a hello comes on the subscription of NODE (`epoch`,
//!   `config`, `name`, `at`, and `id`, `ip`, `port` of the sender);
//! - `publish CLIENT from=…`: the same, sent to us directly;
//! - `client NAME WORDS…`: a request; `bye NAME`: it closes;
//! - `sentineld PEER…`: these peers connect to us and announce that they run sentineld;
//! - `saves auto | hold`, `saved ok | failed`; `dns NAME IP | failed` answers a lookup;
//! - `connects wait MS`: that long from now on, until their turn comes in the shell;
//! - `close NODE:cmd | NODE:pubsub`; `raw NODE:cmd TEXT`: bytes;
//! - `state MASTER`: what is known; `file WORD`: saved lines that hold the word;
//! - `show` and `hide` with `links` (connects and their failures), `intro` (what a connection
//!   begins with), `routine` (PING, INFO, PUBLISH), `asks` (IS-MASTER-DOWN-BY-ADDR with `*`);
//! - `quiet`: the outcome of this block is left out.
#![forbid(unsafe_code)]

mod turns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use sentineld::node::{Closed, Endpoint, Node};
use sentineld::sentinel::instance::InstId;
use sentineld::util::ident::{ConnId, JobId, LookupId};

use super::hosts::{Answer, Client, Host, Mode, bulk};
use super::text::{number, pair, request, words};

/// The id of the sentinel under test.
const OWN_ID: &str = "5555555555555555555555555555555555555555";
/// The monotonic time of the first start.
const ORIGIN: u64 = 1_000_000_000;

/// Something that reaches the node at a later moment.
enum Input {
    Bytes(ConnId, Vec<u8>),
    /// A connect has its turn in the shell.
    Begin(ConnId),
    /// Its first segment arrives, after so many that were lost.
    Syn(ConnId, usize),
    Closed(ConnId, Closed),
    Persisted(u64, bool),
    Resolved(LookupId, Vec<IpAddr>),
    Spawned(JobId, i32),
    Exited(i32),
}

/// A connection of the sentinel to a host.
struct Conn {
    host: Option<usize>,
    label: String,
    pubsub: bool,
    /// Its output waits until there is a connection.
    waits: bool,
    client: Client,
    /// What a silent host has not looked at yet.
    inbox: VecDeque<Vec<String>>,
}

pub struct World {
    node: Option<Node>,
    now: u64,
    queue: BTreeMap<(u64, u64), Input>,
    seq: u64,
    hosts: Vec<Host>,
    conns: BTreeMap<ConnId, Conn>,
    clients: BTreeMap<String, ConnId>,
    lookups: Vec<(LookupId, String)>,
    config: String,
    /// The text being written, and the one on disk.
    writing: BTreeMap<u64, Vec<u8>>,
    disk: Vec<u8>,
    hold_saves: bool,
    connects_wait_ms: u64,
    /// Output that waited for its connection.
    late: Vec<ConnId>,
    shown: BTreeSet<String>,
    routine: BTreeMap<String, BTreeMap<String, usize>>,
    quiet: bool,
    out: Vec<String>,
    /// Log lines of this block.
    heard: Vec<String>,
}

impl World {
    pub fn new() -> World {
        World {
            node: None,
            now: ORIGIN,
            queue: BTreeMap::new(),
            seq: 0,
            hosts: Vec::new(),
            conns: BTreeMap::new(),
            clients: BTreeMap::new(),
            lookups: Vec::new(),
            config: String::new(),
            writing: BTreeMap::new(),
            disk: Vec::new(),
            hold_saves: false,
            connects_wait_ms: 0,
            late: Vec::new(),
            shown: BTreeSet::new(),
            routine: BTreeMap::new(),
            quiet: false,
            out: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Runs the inputs of a block; gives its outcome.
    pub fn run_block(&mut self, lines: &[String]) -> Vec<String> {
        let mut commands: Vec<Vec<String>> = Vec::new();
        for line in lines {
            match line.strip_prefix("  ") {
                Some(more) => commands.last_mut().expect("a first line").push(more.to_string()),
                None => commands.push(vec![line.clone()]),
            }
        }
        for command in commands {
            let line = self.with_ids(&command[0]);
            println!("> {line}");
            self.run(&line, &command[1..]);
        }
        for (host, counts) in std::mem::take(&mut self.routine) {
            let counts: Vec<String> = counts.iter().map(|(w, n)| format!("{w} {n}")).collect();
            self.out.push(format!("routine: {host} {}", counts.join(" ")));
        }
        self.heard.clear();
        if std::mem::take(&mut self.quiet) {
            self.out = vec!["(not shown)".to_string()];
        }
        if self.out.is_empty() {
            self.out.push("(nothing)".to_string());
        }
        let out = std::mem::take(&mut self.out);
        out.iter().map(|line| self.without_ids(line)).collect()
    }

    fn run(&mut self, line: &str, more: &[String]) {
        let words = words(line);
        let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        match (words[0].as_str(), args.as_slice()) {
            ("config", []) => self.config = more.join("\n") + "\n",
            ("start", []) => {
                let text = format!("sentinel myid {OWN_ID}\n{}", self.config);
                self.start(text.as_bytes());
            }
            ("quiet", []) => self.quiet = true,
            ("restart", []) => self.restart(),
            ("node", [name, port, settings @ ..]) => {
                self.hosts.push(Host::node(name, number(port)));
                self.set(name, settings);
            }
            ("peer", [name, port, settings @ ..]) => {
                self.hosts.push(Host::peer(name, number(port)));
                self.set(name, settings);
            }
            ("set", [name, settings @ ..]) => self.set(name, settings),
            ("advance", [ms]) => self.advance(number(ms), None),
            ("until", [text, ms]) => self.advance(number(ms), Some(text)),
            ("stop", [ms]) => {
                self.now += number::<u64>(ms);
                self.turn();
            }
            ("hello", [node, fields @ ..]) => self.hello(node, fields),
            ("publish", [client, fields @ ..]) => {
                let text = self.hello_text(fields);
                let words = ["PUBLISH", "__sentinel__:hello", &text].map(str::to_string);
                self.request(client, &words);
            }
            ("client", [name, ..]) => self.request(name, &words[2..]),
            ("sentineld", names) => names.iter().for_each(|name| self.introduce(name)),
            ("bye", [name]) => {
                let conn = self.clients.remove(*name).expect("a client of that name");
                self.at(0, Input::Closed(conn, Closed::Eof));
                self.turn();
            }
            ("saves", [mode]) => self.hold_saves = *mode == "hold",
            ("saved", [how]) => self.saved(*how == "ok"),
            ("dns", [name, answer]) => self.answer_lookup(name, answer),
            ("connects", ["wait", ms]) => self.connects_wait_ms = number(ms),
            ("close", [label]) => {
                let conn = self.conn_labelled(label);
                self.at(0, Input::Closed(conn, Closed::Eof));
                self.turn();
            }
            ("raw", [label, text]) => {
                let bytes = text.replace("\\r\\n", "\r\n").into_bytes();
                let conn = self.conn_labelled(label);
                self.at(0, Input::Bytes(conn, bytes));
                self.turn();
            }
            ("state", [master]) => self.state(master),
            ("file", [word]) => self.file(word),
            ("show", what) => self.shown.extend(what.iter().map(|word| word.to_string())),
            ("hide", what) => self.shown.retain(|word| !what.contains(&word.as_str())),
            _ => panic!("what is: {line}"),
        }
    }

    // ---- ids and labels --------------------------------------------------------------------

    fn ids(&self) -> Vec<(String, String)> {
        let mut ids: Vec<(String, String)> =
            self.hosts.iter().map(|host| (format!("${}", host.name), host.id.clone())).collect();
        ids.push(("$me".to_string(), OWN_ID.to_string()));
        // Longer names first, so that $s10 is not taken for $s1.
        ids.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        ids
    }

    fn with_ids(&self, line: &str) -> String {
        self.ids().iter().fold(line.to_string(), |line, (name, id)| line.replace(name, id))
    }

    fn without_ids(&self, line: &str) -> String {
        self.ids().iter().fold(line.to_string(), |line, (name, id)| line.replace(id, name))
    }

    fn host(&self, name: &str) -> usize {
        let found = self.hosts.iter().position(|host| host.name == name);
        found.unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    fn conn_labelled(&self, label: &str) -> ConnId {
        let mut all = self.conns.iter();
        let found = all.find(|(_, conn)| conn.label == label).map(|(id, _)| *id);
        found.unwrap_or_else(|| panic!("no connection {label}"))
    }

    fn say(&mut self, what: &str) {
        let ms = self.now - ORIGIN;
        self.out.push(format!("{:5}.{:03}  {what}", ms / 1_000, ms % 1_000));
    }

    /// Something about a connection; counted only, unless links are shown.
    fn say_link(&mut self, what: &str, label: &str) {
        if self.shown.contains("links") {
            self.say(&format!("{what} {label}"));
        } else {
            let counts = self.routine.entry(label.to_string()).or_default();
            *counts.entry(what.to_string()).or_default() += 1;
        }
    }

    // ---- hosts -----------------------------------------------------------------------------

    fn set(&mut self, name: &str, settings: &[&str]) {
        let at = |host: &Host| (host.name.clone(), (host.ip.to_string(), host.port));
        let names: BTreeMap<String, (String, u16)> = self.hosts.iter().map(at).collect();
        let find = |name: &str| match (names.get(name), name.rsplit_once(':')) {
            (Some(addr), _) => addr.clone(),
            (None, Some((host, port))) => (host.to_string(), number(port)),
            (None, None) => panic!("nobody is called {name}"),
        };
        let index = self.host(name);
        let was = self.hosts[index].mode;
        for word in settings {
            self.hosts[index].set(word, &find);
        }
        let of_host = |(id, conn): (&ConnId, &Conn)| (conn.host == Some(index)).then_some(*id);
        let conns: Vec<ConnId> = self.conns.iter().filter_map(of_host).collect();
        match (was, self.hosts[index].mode) {
            (Mode::Up | Mode::Silent | Mode::Hangs, Mode::Refused) => {
                for id in conns {
                    self.at(1, Input::Closed(id, Closed::Eof));
                }
            }
            (Mode::Silent | Mode::Hangs, Mode::Up) => {
                for id in conns {
                    let conn = self.conns.get_mut(&id).expect("listed just now");
                    let kept: Vec<Vec<String>> = conn.inbox.drain(..).collect();
                    self.answer(id, index, &kept);
                }
            }
            _ => {}
        }
    }

    /// The host looks at requests and answers after its delay.
    fn answer(&mut self, id: ConnId, index: usize, requests: &[Vec<String>]) {
        let (ip, port) = (self.hosts[index].ip.to_string(), self.hosts[index].port);
        let follower = |host: &&Host| host.follows(&ip, port) && host.mode != Mode::Refused;
        let followers: Vec<(String, u16)> = (self.hosts.iter().filter(follower))
            .map(|host| (host.ip.to_string(), host.port))
            .collect();
        let delay_ms = self.hosts[index].delay_ms;
        let mut bytes = String::new();
        for words in requests {
            let Some(conn) = self.conns.get_mut(&id) else { return };
            match self.hosts[index].answer(self.now, &mut conn.client, words, &followers) {
                Answer::Reply(text) => bytes.push_str(&text),
                Answer::Published(text, payload) => {
                    bytes.push_str(&text);
                    self.publish_to_subscribers(index, delay_ms, &payload);
                }
                Answer::Kicked(text) => {
                    bytes.push_str(&text);
                    for sub in self.subscriptions(index) {
                        self.at(delay_ms, Input::Closed(sub, Closed::Eof));
                    }
                }
            }
        }
        if !bytes.is_empty() {
            self.at(delay_ms, Input::Bytes(id, bytes.into_bytes()));
        }
    }

    fn subscriptions(&self, index: usize) -> Vec<ConnId> {
        let of_host = |(_, conn): &(&ConnId, &Conn)| conn.host == Some(index) && conn.pubsub;
        self.conns.iter().filter(of_host).map(|(id, _)| *id).collect()
    }

    fn publish_to_subscribers(&mut self, index: usize, delay_ms: u64, payload: &str) {
        let channel = bulk("__sentinel__:hello");
        let message = format!("*3\r\n$7\r\nmessage\r\n{channel}{}", bulk(payload));
        for sub in self.subscriptions(index) {
            self.at(delay_ms, Input::Bytes(sub, message.clone().into_bytes()));
        }
    }

    fn hello_text(&self, fields: &[&str]) -> String {
        let fields: BTreeMap<&str, &str> = fields.iter().map(|word| pair(word)).collect();
        let sender = &self.hosts[self.host(fields["from"])];
        let field =
            |key: &str, usual: String| fields.get(key).map_or(usual, |value| value.to_string());
        let at = field("at", "127.0.0.1:6379".to_string());
        let (master_ip, master_port) = at.rsplit_once(':').expect("host:port");
        [
            field("ip", sender.ip.to_string()),
            field("port", sender.port.to_string()),
            field("id", sender.id.clone()),
            field("epoch", "0".to_string()),
            field("name", "mymaster".to_string()),
            master_ip.to_string(),
            master_port.to_string(),
            field("config", "0".to_string()),
        ]
        .join(",")
    }

    fn hello(&mut self, node: &str, fields: &[&str]) {
        let text = self.hello_text(fields);
        self.publish_to_subscribers(self.host(node), 0, &text);
        self.turn();
    }

    // ---- clients, disk, lookups ------------------------------------------------------------

    fn request(&mut self, name: &str, words: &[String]) {
        if !self.clients.contains_key(name) {
            let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
            let local = SocketAddr::from(([127, 0, 0, 1], 26_379));
            let conn = self.node().accepted(Endpoint::Tcp { peer, local }, 9);
            self.clients.insert(name.to_string(), conn);
        }
        let conn = self.clients[name];
        self.at(0, Input::Bytes(conn, request(words)));
        self.turn();
    }

    /// A peer connects to us, and says that it is sentineld.
    fn introduce(&mut self, peer: &str) {
        let name = format!("sentinel-{}-cmd", &self.hosts[self.host(peer)].id[..8]);
        for words in
            [["CLIENT", "SETNAME", &name, ""], ["CLIENT", "SETINFO", "LIB-NAME", "sentineld"]]
        {
            let words: Vec<String> =
                words.iter().map(|w| w.to_string()).filter(|w| !w.is_empty()).collect();
            self.request(&format!("{peer}:us"), &words);
        }
    }

    fn saved(&mut self, ok: bool) {
        let generation = *self.writing.keys().next().expect("a save in flight");
        self.at(0, Input::Persisted(generation, ok));
        self.turn();
    }

    fn answer_lookup(&mut self, name: &str, answer: &str) {
        let found = self.lookups.iter().rposition(|(_, host)| host == name);
        let Some(found) = found else {
            self.say("(nobody asked for it)");
            return;
        };
        let (lookup, _) = self.lookups.swap_remove(found);
        self.lookups.retain(|(_, host)| host != name);
        let ips = answer.parse().into_iter().collect();
        self.at(0, Input::Resolved(lookup, ips));
        self.turn();
    }

    fn state(&mut self, name: &str) {
        let sentinel = self.node().sentinel();
        let id = sentinel.master_named(name.as_bytes()).expect("a master of that name");
        let master = &sentinel.masters[id];
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let at =
            format!("{}:{}", lossy(&sentinel.announced(&master.base.addr)), master.base.addr.port);
        let mut lines = vec![format!(
            "{name} at {at}: {}; epoch {}, config {}, leader {}; {}",
            sentinel.flags(InstId::Master(id)),
            sentinel.current_epoch,
            master.config_epoch,
            master.vote.durable.epoch,
            sentinel.failover_state_word(id).unwrap_or("none"),
        )];
        for replica in sentinel.replicas_of(id) {
            let flags = sentinel.flags(InstId::Replica(replica.id));
            lines.push(format!("  {}: {flags}", lossy(&replica.base.name)));
        }
        for peer in sentinel.peers_of(id) {
            let flags = sentinel.flags(InstId::Peer(peer.id));
            let at = &peer.base.addr;
            let (host, port) = (lossy(&at.host), at.port);
            lines.push(format!("  {} at {host}:{port}: {flags}", lossy(&peer.base.name)));
        }
        self.out.append(&mut lines);
    }

    fn file(&mut self, word: &str) {
        let text = String::from_utf8_lossy(&self.disk).into_owned();
        let lines = text.lines().filter(|line| line.contains(word));
        self.out.extend(lines.map(|line| format!("  {line}")));
    }
}
