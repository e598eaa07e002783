//! A node with a shell around it that does what every shell does, and looks at what comes out.

use super::resp;
use sentineld::config::load::{Files, Loaded, load};
use sentineld::config::rewrite::rewrite;
use sentineld::node::{Closed, Endpoint, Node, ProcessFacts, Setup};
use sentineld::resp::request::{Limits, RequestParser};
use sentineld::sentinel::action::{Action, LogLevel, Question};
use sentineld::sentinel::hello::MAX_PEERS;
use sentineld::sentinel::info::MAX_REPLICAS;
use sentineld::sentinel::instance::MasterId;
use sentineld::sentinel::thresholds::Thresholds;
use sentineld::util::ident::ConnId;
use sentineld::util::time::{Clock, Mono, Wall};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// The node's own id.
pub const OWN_ID: &str = "5555555555555555555555555555555555555555";
const START_MS: u64 = 1_000_000_000;
/// More turns at one moment mean a loop.
const TURNS_MAX: usize = 5_000;
/// A few KB of requests never need more.
const OUTPUT_MAX_BYTES: usize = 16 << 20;

/// One further file beside the main one, which has every name.
pub struct OneFile<'a>(pub &'a [u8]);

impl Files for OneFile<'_> {
    fn read(&mut self, path: &[u8]) -> Result<Vec<u8>, String> {
        if path.starts_with(b"missing") { Err("No such file".into()) } else { Ok(self.0.to_vec()) }
    }
    fn glob(&mut self, pattern: &[u8]) -> Vec<Vec<u8>> {
        if pattern.len().is_multiple_of(2) { Vec::new() } else { vec![b"found.conf".to_vec()] }
    }
    fn chdir(&mut self, dir: &[u8]) -> Result<Vec<u8>, String> {
        if dir.starts_with(b"/missing") {
            Err("No such directory".into())
        } else {
            Ok(dir.to_vec())
        }
    }
    fn is_executable(&mut self, path: &[u8]) -> bool {
        path.ends_with(b".sh")
    }
    fn can_append(&mut self, path: &[u8]) -> Result<(), String> {
        if path.starts_with(b"/missing") { Err("No such directory".into()) } else { Ok(()) }
    }
}

/// What may only grow, of one master.
#[derive(Clone, Copy, Default)]
struct Epochs {
    config: u64,
    vote: u64,
}

/// What the hosts that are watched answer to INFO; nothing at all if there is none.
pub type InfoText = Option<Vec<u8>>;

pub struct House {
    pub node: Node,
    /// The file as it was saved last.
    pub disk: Vec<u8>,
    /// Log lines but those for debugging.
    pub log: Vec<String>,
    pub saves: usize,
    pub exited: bool,
    /// What the hosts answer.
    pub info: InfoText,
    pub infos_answered: usize,
    /// Every save fails.
    pub disk_broken: bool,
    now: u64,
    clients: BTreeSet<ConnId>,
    links: BTreeMap<ConnId, Vec<u8>>,
    output: BTreeMap<ConnId, Vec<u8>>,
    answers: Vec<(ConnId, Vec<u8>)>,
    epochs: BTreeMap<MasterId, Epochs>,
    current_epoch: u64,
}

impl House {
    /// A node of this configuration, if it can be loaded.
    pub fn new(config: &str) -> House {
        let text = format!("sentinel myid {OWN_ID}\n{config}");
        let loaded: Loaded =
            load(text.as_bytes(), None, &[], &mut OneFile(b"")).expect("a good configuration");
        let facts = ProcessFacts {
            tcp_port: 26379,
            config_file: b"/s.conf".to_vec(),
            run_id: b"6".repeat(40),
            ..ProcessFacts::default()
        };
        let clock = clock_at(START_MS);
        let thresholds = Thresholds::default();
        let node = Node::new(Setup { loaded, facts, thresholds, random: [7; 32], clock });
        let mut house = House {
            node,
            disk: text.into_bytes(),
            log: Vec::new(),
            saves: 0,
            exited: false,
            info: None,
            infos_answered: 0,
            disk_broken: false,
            now: START_MS,
            clients: BTreeSet::new(),
            links: BTreeMap::new(),
            output: BTreeMap::new(),
            answers: Vec::new(),
            epochs: BTreeMap::new(),
            current_epoch: 0,
        };
        house.node.start();
        house.turn();
        house
    }

    /// A client connects from this machine.
    pub fn connect(&mut self) -> ConnId {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let endpoint = Endpoint::Tcp { peer: address(40_000), local: address(26_379) };
        self.node.begin_turn(clock_at(self.now));
        let conn = self.node.accepted(endpoint, 9);
        self.clients.insert(conn);
        self.finish_turn();
        conn
    }

    /// Whether a client is still connected.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.clients.contains(&conn)
    }

    /// A client sends bytes, in these pieces.
    pub fn send(&mut self, conn: ConnId, pieces: &[&[u8]]) {
        for piece in pieces {
            if self.clients.contains(&conn) && !self.exited {
                self.node.begin_turn(clock_at(self.now));
                self.node.received(conn, piece);
                self.finish_turn();
            }
        }
    }

    /// What a client has got since the last call.
    pub fn take_output(&mut self, conn: ConnId) -> Vec<u8> {
        self.output.remove(&conn).unwrap_or_default()
    }

    /// A client goes.
    pub fn close(&mut self, conn: ConnId) {
        if self.clients.remove(&conn) {
            self.node.begin_turn(clock_at(self.now));
            self.node.closed(conn, Closed::Eof);
            self.finish_turn();
        }
    }

    /// Time passes, with all that falls due.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut turns = 0;
        while !self.exited {
            let next = self.node.next_deadline().0.max(self.now);
            if next > end {
                break;
            }
            turns = if next == self.now { turns + 1 } else { 0 };
            assert!(turns < TURNS_MAX, "it does not come to rest");
            self.now = next;
            self.turn();
        }
        self.now = end;
        if !self.exited {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.node.begin_turn(clock_at(self.now));
        self.finish_turn();
    }

    fn finish_turn(&mut self) {
        self.drain();
        for (conn, bytes) in std::mem::take(&mut self.answers) {
            if self.links.contains_key(&conn) {
                for piece in super::cut(&bytes) {
                    self.node.received(conn, piece);
                    self.drain();
                }
            }
        }
        let mut pieces = 0;
        while self.node.run_due() {
            self.drain();
            pieces += 1;
            assert!(pieces < TURNS_MAX, "there is always more that is due");
        }
        self.drain();
        self.node.end_turn();
        self.drain();
        self.flush();
        self.check();
    }

    fn drain(&mut self) {
        while let Some(action) = self.node.poll_action() {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { conn, .. } => {
                self.links.insert(conn, Vec::new());
                self.node.conn_started(conn, Some(IpAddr::from([127, 0, 0, 1])));
                self.node.conn_established(conn);
            }
            Action::Close { conn } => self.forget(conn),
            Action::CloseAfterFlush { conn } => {
                self.flush_one(conn);
                self.forget(conn);
            }
            Action::Persist { generation } => self.save(generation),
            Action::Resolve { lookup, .. } => self.node.resolved(lookup, Vec::new()),
            Action::CheckScript { check, path } => {
                self.node.script_checked(check, path.ends_with(b".sh"));
            }
            Action::Ask { ask, question } => {
                let answer = match question {
                    Question::Random { bytes } => Ok(vec![7; bytes]),
                    Question::ReadFile { .. } => Err("No such file or directory".to_string()),
                    Question::WriteFile { .. } => Ok(Vec::new()),
                };
                self.node.answered(ask, answer);
            }
            Action::Spawn { job, .. } => self.node.spawned(job, Err("no forks".to_string())),
            Action::Log { level, text } => {
                if level > LogLevel::Debug {
                    self.log.push(String::from_utf8_lossy(&text).into_owned());
                }
            }
            Action::Exit { .. } => self.exited = true,
            Action::Hold { .. }
            | Action::Kill { .. }
            | Action::Publish { .. }
            | Action::SetLogLevel { .. } => {}
        }
    }

    fn forget(&mut self, conn: ConnId) {
        self.clients.remove(&conn);
        self.links.remove(&conn);
    }

    /// Whatever is saved can be loaded, and saving it again changes nothing.
    fn save(&mut self, generation: u64) {
        self.saves += 1;
        let job = self.node.take_save(generation).expect("the lines of the save");
        let result = if self.disk_broken {
            Err("No space left on device".to_string())
        } else {
            let text = rewrite(&self.disk, &job.state);
            assert_eq!(
                rewrite(&text, &job.state).escape_ascii().to_string(),
                text.escape_ascii().to_string(),
                "written twice"
            );
            if let Err(error) = load(&text, None, &[], &mut OneFile(b"")) {
                panic!("saved but not loaded: {error:?}\n{}", String::from_utf8_lossy(&text));
            }
            self.disk = text;
            Ok(())
        };
        self.node.persisted(generation, result, 1);
    }

    fn flush(&mut self) {
        let mut touched = Vec::new();
        self.node.take_touched(&mut touched);
        for conn in touched {
            self.flush_one(conn);
        }
    }

    fn flush_one(&mut self, conn: ConnId) {
        let bytes = self.node.output(conn).unwrap_or_default().to_vec();
        self.node.sent(conn, bytes.len());
        if self.clients.contains(&conn) {
            let output = self.output.entry(conn).or_default();
            output.extend_from_slice(&bytes);
            assert!(output.len() < OUTPUT_MAX_BYTES, "{} bytes of output", output.len());
            resp::count(output);
        } else if let Some(unread) = self.links.get_mut(&conn) {
            unread.extend_from_slice(&bytes);
            self.answer(conn);
        }
    }

    /// The watched host answers, in the next turn.
    fn answer(&mut self, conn: ConnId) {
        let Some(info) = self.info.clone() else { return };
        let limits = Limits { args: 1 << 20, bulk_bytes: 1 << 20, authenticated: true };
        let unread = self.links.get_mut(&conn).expect("an open link");
        let mut bytes = Vec::new();
        while let Some((words, used)) =
            RequestParser::default().next(unread, limits).expect("a request of ours")
        {
            unread.drain(..used);
            match words[0].to_ascii_uppercase().as_slice() {
                b"INFO" => {
                    self.infos_answered += 1;
                    bytes.extend_from_slice(format!("${}\r\n", info.len()).as_bytes());
                    bytes.extend_from_slice(&info);
                    bytes.extend_from_slice(b"\r\n");
                }
                b"PING" => bytes.extend_from_slice(b"+PONG\r\n"),
                b"PUBLISH" => bytes.extend_from_slice(b":1\r\n"),
                b"SUBSCRIBE" => {
                    bytes.extend_from_slice(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n");
                }
                _ => bytes.extend_from_slice(b"+OK\r\n"),
            }
        }
        self.answers.push((conn, bytes));
    }

    /// What holds at the end of each turn: epochs only grow, and nothing is without limits.
    fn check(&mut self) {
        let sentinel = self.node.sentinel();
        assert!(sentinel.current_epoch >= self.current_epoch, "the current epoch went back");
        self.current_epoch = sentinel.current_epoch;
        for (id, master) in sentinel.masters.iter() {
            let known = self.epochs.entry(id).or_default();
            let epochs = Epochs { config: master.config_epoch, vote: master.vote.durable.epoch };
            assert!(epochs.config >= known.config, "the config epoch went back");
            assert!(epochs.vote >= known.vote, "the epoch of the vote went back");
            *known = epochs;
            assert!(master.peers.len() <= MAX_PEERS);
            assert!(master.replicas.len() <= MAX_REPLICAS + 1);
        }
    }
}

fn clock_at(now: u64) -> Clock {
    let unix_ms = 1_795_305_600_000 + now - START_MS;
    Clock { mono: Mono(now), wall: Wall { unix_ms, utc_offset_s: 0 } }
}
