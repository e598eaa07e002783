//! The shell of this world: turns, inputs to the node, its actions, what it writes.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use sentineld::config::load::{Loaded, load};
use sentineld::config::rewrite::rewrite;
use sentineld::node::{Closed, Node, ProcessFacts, Setup};
use sentineld::sentinel::action::{Action, LogLevel};
use sentineld::sentinel::thresholds::Thresholds;
use sentineld::util::ident::ConnId;
use sentineld::util::time::{Clock, Mono, Wall};

use super::super::hosts::{Client, Mode};
use super::super::text::{changed_lines, parse_all, request_words, show};
use super::{Conn, Input, ORIGIN, World};
use crate::file_state::FileState;
use crate::no_files::NoFiles;

/// Sun Nov 22 00:00:00 2026: the wall clock at the first start.
const ORIGIN_WALL: u64 = 1_795_305_600_000;
/// More turns without time passing mean a loop.
const MAX_TURNS_AT_ONCE: usize = 10_000;

impl World {
    pub(super) fn clock(&self) -> Clock {
        let unix_ms = ORIGIN_WALL + self.now - ORIGIN;
        Clock { mono: Mono(self.now), wall: Wall { unix_ms, utc_offset_s: 0 } }
    }

    pub(super) fn start(&mut self, text: &[u8]) {
        let loaded: Loaded = load(text, None, &[], &mut NoFiles).expect("a good config");
        let facts = ProcessFacts {
            tcp_port: loaded.settings.port,
            config_file: b"/s.conf".to_vec(),
            ..ProcessFacts::default()
        };
        let (thresholds, clock) = (Thresholds::default(), self.clock());
        let mut node = Node::new(Setup { loaded, facts, thresholds, random: [7; 32], clock });
        self.disk = text.to_vec();
        node.start();
        self.node = Some(node);
        self.turn();
    }

    pub(super) fn restart(&mut self) {
        self.node = None;
        self.queue.clear();
        self.conns.clear();
        self.clients.clear();
        self.lookups.clear();
        self.writing.clear();
        let disk = self.disk.clone();
        self.start(&disk);
    }

    pub(super) fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("the story has a start")
    }

    pub(super) fn at(&mut self, delay_ms: u64, input: Input) {
        self.seq += 1;
        self.queue.insert((self.now + delay_ms, self.seq), input);
    }

    pub(super) fn advance(&mut self, ms: u64, until: Option<&str>) {
        let end = self.now + ms;
        let mut turns = 0;
        let heard = self.heard.len();
        loop {
            let due = self.node().next_deadline().0.max(self.now);
            let next = self.queue.keys().next().map_or(due, |(at, _)| due.min(*at));
            if next > end {
                break;
            }
            turns = if next == self.now { turns + 1 } else { 0 };
            assert!(turns < MAX_TURNS_AT_ONCE, "the node does not come to rest");
            self.now = next.max(self.now);
            self.turn();
            let seen = |text: &str| self.heard[heard..].iter().any(|line| line.contains(text));
            if until.is_some_and(seen) {
                return;
            }
        }
        self.now = end;
        if until.is_some() {
            self.say("(did not happen)");
        }
    }

    /// One turn of the contract between node and shell.
    pub(super) fn turn(&mut self) {
        let clock = self.clock();
        self.node().begin_turn(clock);
        self.drain();
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.now
        {
            let input = entry.remove();
            self.feed(input);
            self.drain();
        }
        while self.node().run_due() {
            self.drain();
        }
        self.drain();
        self.node().end_turn();
        assert_eq!(self.node().sentinel().check_indexes(), Ok(()));
        self.drain();
        self.check_file();
        self.flush();
    }

    /// With nothing left to save, a restart would find all that the node knows.
    fn check_file(&mut self) {
        if !self.node().sentinel().saves.is_idle() {
            return;
        }
        let file = FileState::of_file(&self.disk).expect("its own file");
        let differences = file.differences(&FileState::of_node(self.node()));
        let text = String::from_utf8_lossy(&self.disk);
        assert!(differences.is_empty(), "{}\n{text}", differences.join("\n"));
    }

    pub(super) fn feed(&mut self, input: Input) {
        let now_clients: BTreeSet<ConnId> = self.clients.values().copied().collect();
        match input {
            Input::Bytes(conn, bytes) => {
                if self.conns.contains_key(&conn) || now_clients.contains(&conn) {
                    self.node().received(conn, &bytes);
                }
            }
            Input::Begin(conn) => self.begin_connect(conn),
            Input::Syn(conn, lost) => self.syn(conn, lost),
            Input::Closed(conn, why) => {
                let known = self.conns.remove(&conn);
                if let Some(conn) = &known {
                    let what = if why == Closed::Refused { "refused" } else { "lost" };
                    let label = conn.label.clone();
                    self.say_link(what, &label);
                }
                if known.is_some() || !now_clients.contains(&conn) {
                    self.node().closed(conn, why);
                }
            }
            Input::Persisted(generation, ok) => {
                let text = self.writing.remove(&generation).expect("a save in flight");
                if ok {
                    self.disk = text;
                }
                let result = if ok { Ok(()) } else { Err("No space left on device".to_string()) };
                self.node().persisted(generation, result, 1);
            }
            Input::Resolved(lookup, ips) => self.node().resolved(lookup, ips),
            Input::Spawned(job, pid) => self.node().spawned(job, Ok(pid)),
            Input::Exited(pid) => self.node().child_exited(pid, 0, 0),
        }
    }

    pub(super) fn drain(&mut self) {
        while let Some(action) = self.node().poll_action() {
            self.act(action);
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Connect { conn, ip, port, .. } => self.connect(conn, ip, port),
            Action::Close { conn } | Action::CloseAfterFlush { conn } => {
                if let Some(conn) = self.conns.remove(&conn) {
                    self.say_link("close", &conn.label);
                } else if let Some((name, _)) = self.clients.iter().find(|(_, id)| **id == conn) {
                    let name = name.clone();
                    self.clients.remove(&name);
                    self.say(&format!("close {name}"));
                }
            }
            Action::Persist { generation } => {
                let job = self.node().take_save(generation).expect("the job of this save");
                let text = rewrite(&self.disk, &job.state);
                let changes = changed_lines(&self.disk, &text);
                self.say(&format!("save {generation}: {changes}"));
                self.writing.insert(generation, text);
                if !self.hold_saves {
                    self.at(1, Input::Persisted(generation, true));
                }
            }
            Action::Resolve { lookup, host, .. } => {
                let host = String::from_utf8_lossy(&host).into_owned();
                self.say(&format!("lookup {host}"));
                self.heard.push(format!("lookup {host}"));
                self.lookups.push((lookup, host));
            }
            Action::CheckScript { check, .. } => self.node().script_checked(check, true),
            Action::Spawn { job, argv } => {
                let argv: Vec<_> = argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
                self.say(&format!("spawn {}", argv.join(" ")));
                let pid = 1_000 + job.0 as i32;
                self.at(0, Input::Spawned(job, pid));
                self.at(5, Input::Exited(pid));
            }
            Action::Kill { pid } => self.say(&format!("kill {pid}")),
            Action::Log { level, text } => self.logged(level, &text),
            Action::Exit { code, clean } => self.say(&format!("exit {code} clean={clean}")),
            Action::Ask { .. } => panic!("no story has users"),
            Action::Hold { .. } | Action::Publish { .. } | Action::SetLogLevel { .. } => {}
        }
    }

    pub(super) fn logged(&mut self, level: LogLevel, text: &[u8]) {
        let text = String::from_utf8_lossy(text).into_owned();
        // The action `save` tells it already.
        if text == "Sentinel new configuration saved on disk"
            || text.contains("-child ")
            || (text.contains("-link-reconnection") && !self.shown.contains("links"))
        {
            return;
        }
        let mark = match level {
            LogLevel::Warning => '#',
            LogLevel::Notice => '*',
            LogLevel::Verbose => '-',
            LogLevel::Debug => '.',
        };
        self.say(&format!("{mark} {text}"));
        self.heard.push(text);
    }

    pub(super) fn connect(&mut self, id: ConnId, ip: IpAddr, port: u16) {
        let found = self.hosts.iter().position(|host| host.ip == ip && host.port == port);
        let output = self.node().output(id).unwrap_or_default();
        let pubsub = output.windows(9).any(|window| window == b"SUBSCRIBE");
        let kind = if pubsub { "pubsub" } else { "cmd" };
        let name = found.map_or(format!("{ip}:{port}"), |host| self.hosts[host].name.clone());
        let label = format!("{name}:{kind}");
        self.say_link("connect", &label);
        let inbox = VecDeque::new();
        let hangs = found.is_some_and(|host| self.hosts[host].mode == Mode::Hangs);
        let waits = hangs || self.connects_wait_ms > 0;
        let client = Client::default();
        let conn = Conn { host: found, label, pubsub, waits, client, inbox };
        self.conns.insert(id, conn);
        match self.connects_wait_ms {
            0 => self.begin_connect(id),
            ms => self.at(ms, Input::Begin(id)),
        }
    }

    fn begin_connect(&mut self, id: ConnId) {
        if self.conns.contains_key(&id) {
            self.node().conn_started(id, Some(IpAddr::from([127, 0, 0, 1])));
            self.syn(id, 0);
        }
    }

    /// As Linux does it: a first segment that is lost is sent again 1 s, 3 s and 7 s after the
    /// first time.
    fn syn(&mut self, id: ConnId, lost: usize) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let host = conn.host;
        match host.map_or(Mode::Refused, |host| self.hosts[host].mode) {
            Mode::Refused => self.at(1, Input::Closed(id, Closed::Refused)),
            Mode::Hangs => self.at(1_000 << lost, Input::Syn(id, lost + 1)),
            Mode::Up | Mode::Silent | Mode::Full => {
                if std::mem::take(&mut conn.waits) {
                    self.late.push(id);
                }
                self.node().conn_established(id);
                if host.is_some_and(|host| self.hosts[host].mode == Mode::Full) {
                    let text = b"-ERR max number of clients reached\r\n";
                    self.at(1, Input::Bytes(id, text.to_vec()));
                    self.at(1, Input::Closed(id, Closed::Eof));
                }
            }
        }
    }

    // ---- output ----------------------------------------------------------------------------

    pub(super) fn flush(&mut self) {
        let mut touched = std::mem::take(&mut self.late);
        touched.retain(|id| self.conns.contains_key(id));
        self.node().take_touched(&mut touched);
        let mut seen = BTreeSet::new();
        for id in touched {
            let waits = self.conns.get(&id).is_some_and(|conn| conn.waits);
            if waits || !seen.insert(id) {
                continue;
            }
            let bytes = self.node().output(id).unwrap_or_default().to_vec();
            self.node().sent(id, bytes.len());
            if let Some((name, _)) = self.clients.iter().find(|(_, conn)| **conn == id) {
                let name = name.clone();
                for reply in parse_all(&bytes, show) {
                    self.say(&format!("{name} > {reply}"));
                }
            } else if self.conns.contains_key(&id) {
                self.sent_to_host(id, &parse_all(&bytes, request_words));
            }
        }
    }

    pub(super) fn sent_to_host(&mut self, id: ConnId, requests: &[Vec<String>]) {
        let conn = &self.conns[&id];
        let (host, label) = (conn.host, conn.label.clone());
        let name = label.rsplit_once(':').map_or(label.clone(), |(name, _)| name.to_string());
        let mut shown = Vec::new();
        for words in requests {
            let verb = words[0].to_ascii_uppercase();
            let class = match verb.as_str() {
                "AUTH" | "CLIENT" | "SUBSCRIBE" if !verb.contains("KILL") => "intro",
                "PING" | "INFO" | "PUBLISH" => "routine",
                "SENTINEL" if words.last().is_some_and(|word| word == "*") => "asks",
                _ => "",
            };
            let kill = words.get(1).is_some_and(|word| word == "KILL");
            if class.is_empty() || kill || self.shown.contains(class) {
                shown.push(words.join(" "));
            } else if class != "intro" {
                let word = if class == "asks" { "ask" } else { &words[0] };
                let counts = self.routine.entry(name.clone()).or_default();
                *counts.entry(word.to_string()).or_default() += 1;
            }
        }
        if !shown.is_empty() {
            self.say(&format!("{label} < {}", shown.join(" | ")));
        }
        let Some(host) = host else { return };
        match self.hosts[host].mode {
            Mode::Up => self.answer(id, host, requests),
            Mode::Silent | Mode::Hangs => {
                let conn = self.conns.get_mut(&id).expect("looked at just now");
                conn.inbox.extend(requests.iter().cloned());
            }
            Mode::Refused | Mode::Full => {}
        }
    }
}
