//! The server driven by hand: requests in, replies out, as transcripts.
//!
//! A transcript is text; each line is one of
//! - `A> words`: client A (any letter; it connects when first named) sends an inline request;
//! - `A< text`: what A has received since, with each CRLF as one blank; `A<` alone: nothing;
//! - `A|`: A sends nothing more; `A!`: its connection is gone;
//! - `A: closed` / `A: open` / `A: held` / `A: free`: how the connection stands;
//! - `log text`: the log lines since the last such line hold this text;
//! - `save ok`, `save failed`: the save that is due ends; `wait MS`: time passes;
//! - `script yes|no`: the script that is being checked is executable or not;
//! - `asks TEXT`: the question about a file, or for random bytes, that waits is this one;
//! - `answer TEXT` (`\n` is an end of line), `answer failed TEXT`: its answer comes;
//! - `host NAME IP|-`: the lookup of NAME ends;
//! - `.. text`: goes on with the line above, behind one blank.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::Server;
use super::facts::{Endpoint, ProcessFacts};
use crate::config::settings::Settings;
use crate::sentinel::action::{Action, Cx, Load, Outbox, Question};
use crate::sentinel::instance::MasterId;
use crate::sentinel::log_limit::LogLimits;
use crate::sentinel::setup::GlobalConfig;
use crate::sentinel::{Sentinel, Surroundings};
use crate::util::ident::{AskId, CheckId, ConnId, LookupId};
use crate::util::rng::Rng;
use crate::util::time::{Mono, Wall};

mod acl;
mod acl_clients;
mod basics;
mod clients;
mod half_closed;
mod limits;
mod memory;
mod pubsub;
mod sentinel;
mod waiting;

/// Output buffers without sockets.
#[derive(Default)]
struct Buffers {
    next: u64,
    open: BTreeMap<ConnId, Vec<u8>>,
    /// The most that a buffer ever held when it was written to again.
    peak: usize,
}

impl Outbox for Buffers {
    fn buffer(&mut self, conn: ConnId) -> Option<&mut Vec<u8>> {
        let buffer = self.open.get_mut(&conn)?;
        self.peak = self.peak.max(buffer.len());
        Some(buffer)
    }

    fn open(&mut self) -> ConnId {
        self.next += 1;
        self.open.insert(ConnId(self.next), Vec::new());
        ConnId(self.next)
    }

    fn forget(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }
}

/// A server, a sentinel, and what the world around them would do.
pub struct Rig {
    pub server: Server,
    pub sentinel: Sentinel,
    pub now: Mono,
    rng: Rng,
    buffers: Buffers,
    log_limits: LogLimits,
    actions: Vec<Action>,
    /// Everything that was logged since it was last looked at.
    pub logged: String,
    pub closed: BTreeSet<ConnId>,
    pub held: BTreeSet<ConnId>,
    checks: Vec<CheckId>,
    asks: Vec<(AskId, String)>,
    lookups: Vec<(LookupId, Vec<u8>)>,
    pub other: Vec<Action>,
    named: BTreeMap<char, ConnId>,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Rig {
        let facts = ProcessFacts { os: "Linux 6 x86_64".into(), pid: 7, ..Default::default() };
        let now = Mono(1_000_000);
        let mut sentinel =
            Sentinel::new(GlobalConfig::default(), vec![b'a'; 40], Surroundings::default());
        sentinel.tilt.last_tick = Some(now);
        Rig {
            server: Server::new(settings, facts, now),
            sentinel,
            now,
            rng: Rng::new(1),
            buffers: Buffers::default(),
            log_limits: LogLimits::default(),
            actions: Vec::new(),
            logged: String::new(),
            closed: BTreeSet::new(),
            held: BTreeSet::new(),
            checks: Vec::new(),
            asks: Vec::new(),
            lookups: Vec::new(),
            other: Vec::new(),
            named: BTreeMap::new(),
        }
    }

    /// Runs one entry of the server and does what it asks for.
    pub fn enter<T>(&mut self, run: impl FnOnce(&mut Server, &mut Sentinel, &mut Cx) -> T) -> T {
        let mut cx = Cx {
            now: self.now,
            wall: Wall { unix_ms: 1_700_000_000_000, utc_offset_s: 0 },
            rng: &mut self.rng,
            actions: &mut self.actions,
            out: &mut self.buffers,
            log_limits: &mut self.log_limits,
        };
        let result = run(&mut self.server, &mut self.sentinel, &mut cx);
        self.server.settle(&mut cx);
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Log { text, .. } => {
                    self.logged.push_str(&String::from_utf8_lossy(&text));
                    self.logged.push('\n');
                }
                Action::Close { conn } | Action::CloseAfterFlush { conn } => {
                    self.closed.insert(conn);
                }
                Action::Hold { conn, hold: true } => assert!(self.held.insert(conn)),
                Action::Hold { conn, hold: false } => assert!(self.held.remove(&conn)),
                Action::CheckScript { check, .. } => self.checks.push(check),
                Action::Ask { ask, question } => self.asks.push((ask, shown(&question))),
                Action::Resolve { lookup, host, .. } => self.lookups.push((lookup, host)),
                other => self.other.push(other),
            }
        }
        result
    }

    pub fn connect(&mut self) -> ConnId {
        self.connect_from("127.0.0.1:5000")
    }

    pub fn connect_from(&mut self, peer: &str) -> ConnId {
        let peer: SocketAddr = peer.parse().unwrap();
        let local = "127.0.0.1:26379".parse().unwrap();
        let conn = self.buffers.open();
        let endpoint = Endpoint::Tcp { peer, local };
        self.enter(|server, _, cx| server.accepted(cx, conn, endpoint, 9));
        conn
    }

    /// The client that transcripts call `letter`.
    pub fn client(&mut self, letter: char) -> ConnId {
        if let Some(conn) = self.named.get(&letter) {
            return *conn;
        }
        let conn = self.connect_from(&format!("127.0.0.1:{}", 5000 + letter as u16));
        self.named.insert(letter, conn);
        conn
    }

    /// Bytes from a client, in a turn of their own.
    pub fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        self.server.begin_turn();
        self.send_more(conn, bytes);
    }

    /// Bytes from a client, in the same turn as those before.
    pub fn send_more(&mut self, conn: ConnId, bytes: &[u8]) {
        self.enter(|server, sentinel, cx| server.received(cx, sentinel, conn, bytes));
    }

    /// What a client has received since the last call; the server hears that it was sent.
    pub fn take(&mut self, conn: ConnId) -> Vec<u8> {
        self.take_part(conn, usize::MAX)
    }

    /// The same, but at most so many bytes.
    pub fn take_part(&mut self, conn: ConnId, most: usize) -> Vec<u8> {
        let Some(buffer) = self.buffers.open.get_mut(&conn) else { return Vec::new() };
        let rest = buffer.split_off(buffer.len().min(most));
        let taken = std::mem::replace(buffer, rest);
        if !taken.is_empty() {
            let unsent = self.buffers.open.get(&conn).map_or(0, Vec::len);
            let left = Load { unsent, memory: unsent };
            self.server.sent_bytes(conn, taken.len(), left, self.now);
        }
        taken
    }

    /// What `bytes` are answered with at once.
    pub fn ask(&mut self, conn: ConnId, bytes: &[u8]) -> Vec<u8> {
        self.send(conn, bytes);
        self.take(conn)
    }

    /// The most bytes of output that one client had in what `act` does.
    pub fn buffers_peak(&mut self, act: impl FnOnce(&mut Rig)) -> usize {
        self.buffers.peak = 0;
        act(self);
        self.buffers.peak
    }

    /// A monitored master.
    pub fn monitor(&mut self, name: &str, ip: &str, port: u16, quorum: u32) -> MasterId {
        let made = self.enter(|_, sentinel, cx| {
            sentinel.monitor_asked(cx, name.as_bytes(), ip.as_bytes(), port, quorum)
        });
        self.save(true);
        self.other.clear();
        made.unwrap().0
    }

    pub fn save(&mut self, ok: bool) {
        let now = self.now;
        let (generation, _) = self.sentinel.saves.take(now).expect("a save is due");
        self.sentinel.saves.ended(now, ok, 1);
        self.enter(|server, sentinel, cx| {
            sentinel.votes_saved(cx, generation, ok);
            server.saved(cx, sentinel, generation, ok);
        });
    }

    pub fn wait(&mut self, ms: u64) {
        self.now = self.now.after(ms);
        self.enter(|server, sentinel, cx| server.tick(cx, sentinel));
    }

    fn script(&mut self, executable: bool) {
        let check = self.checks.pop().expect("a script is being checked");
        self.enter(|server, sentinel, cx| server.script_checked(cx, sentinel, check, executable));
    }

    /// Answers the question that waits longest.
    pub fn answer(&mut self, result: Result<Vec<u8>, String>) {
        let (ask, _) = self.asks.remove(0);
        self.enter(|server, sentinel, cx| server.answered(cx, sentinel, ask, result));
    }

    fn host(&mut self, host: &str, ip: Option<IpAddr>) {
        let at = self.lookups.iter().position(|(_, h)| h == host.as_bytes()).expect("a lookup");
        let (lookup, _) = self.lookups.remove(at);
        let ips: Vec<_> = ip.into_iter().collect();
        self.enter(|server, sentinel, cx| {
            let _ = sentinel.resolved(cx, lookup, &ips);
            server.host_answered(cx, sentinel, host.as_bytes());
        });
    }

    /// Plays a transcript.
    pub fn play(&mut self, transcript: &str) {
        let mut steps: Vec<String> = Vec::new();
        for line in transcript.lines().map(str::trim).filter(|l| !l.is_empty()) {
            match (line.strip_prefix(".."), steps.last_mut()) {
                (Some(more), Some(last)) => last.push_str(more),
                _ => steps.push(line.to_string()),
            }
        }
        for step in steps {
            self.step(&step);
        }
    }

    fn step(&mut self, line: &str) {
        let letter = line.chars().next().unwrap();
        let (mark, rest) = line.split_at(2);
        let rest = rest.trim();
        match &mark[1..] {
            ">" => {
                let conn = self.client(letter);
                self.send(conn, format!("{rest}\r\n").as_bytes());
            }
            "<" => {
                let conn = self.client(letter);
                let got = readable(&self.take(conn));
                assert_eq!(got, rest, "in line: {line}");
            }
            "|" => {
                let conn = self.client(letter);
                self.enter(|server, _, cx| server.read_closed(cx, conn));
            }
            "!" => {
                let conn = self.client(letter);
                self.enter(|server, _, cx| server.closed(cx, conn));
            }
            ":" => {
                let conn = self.client(letter);
                let is = match rest {
                    "closed" => self.closed.contains(&conn),
                    "open" => !self.closed.contains(&conn),
                    "held" => self.held.contains(&conn),
                    "free" => !self.held.contains(&conn),
                    _ => panic!("what is {line}?"),
                };
                assert!(is, "not true: {line}");
            }
            _ => self.happen(line),
        }
    }

    fn happen(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["log", ..] => {
                let logged = std::mem::take(&mut self.logged);
                assert!(logged.contains(&line[4..]), "{line} not in: {logged}");
            }
            ["save", how] => self.save(*how == "ok"),
            ["wait", ms] => self.wait(ms.parse().unwrap()),
            ["script", how] => self.script(*how == "yes"),
            ["asks", ..] => {
                let first = self.asks.first().map_or("", |(_, question)| question);
                assert_eq!(first, &line[5..]);
            }
            ["answer", "failed", ..] => self.answer(Err(line[14..].to_string())),
            ["answer", ..] => {
                self.answer(Ok(line[6..].trim_start().replace("\\n", "\n").into_bytes()));
            }
            ["host", name, ip] => self.host(name, ip.parse().ok()),
            _ => panic!("what is {line}?"),
        }
    }
}

/// A question in one line.
fn shown(question: &Question) -> String {
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\n', "\\n");
    match question {
        Question::ReadFile { path } => format!("read {}", show(path)),
        Question::WriteFile { path, text } => format!("write {} {}", show(path), show(text)),
        Question::Random { bytes } => format!("random {bytes}"),
    }
}

/// A reply with each CRLF as one blank.
pub fn readable(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).replace("\r\n", " ").trim_end().to_string()
}
