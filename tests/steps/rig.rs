//! A node in memory whose time stands still: inputs go in, and what they cause is done at once.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sentineld::config::load::load;
use sentineld::node::{Closed, Endpoint, Node, ProcessFacts, Setup};
use sentineld::sentinel::action::{Action, Question};
use sentineld::sentinel::thresholds::Thresholds;
use sentineld::util::ident::{ConnId, LookupId};
use sentineld::util::time::{Clock, Mono, Wall};

use crate::counter;
use crate::no_files::NoFiles;

/// What the shell reads at a time.
const READ_BYTES: usize = 16 << 10;

/// A node and the world around it.
pub struct Rig {
    pub node: Node,
    /// Connections of links, by the address that they lead to, in the order of their connects.
    pub links: Vec<(SocketAddr, ConnId)>,
    link_conns: BTreeSet<ConnId>,
    held: BTreeSet<ConnId>,
    closed: BTreeSet<ConnId>,
    /// Lookups that wait for [`Rig::resolve`].
    pub lookups: Vec<(LookupId, Vec<u8>)>,
    /// Saves do not end: whoever waits for one goes on waiting.
    pub holds_saves: bool,
    clients: u32,
    /// Instructions so far, while they are counted.
    steps: Option<u64>,
    now: u64,
}

impl Rig {
    /// A node that watches so many masters, none of which answers.
    pub fn new(masters: usize) -> Rig {
        Rig::with_lines(masters, "")
    }

    /// As [`Rig::new`], with further lines of the configuration.
    pub fn with_lines(masters: usize, lines: &str) -> Rig {
        let mut file = String::from("port 26379\nmaxmemory-clients 0\nmaxclients 100000\n");
        for number in 0..masters {
            let ip = master_ip(number);
            file += &format!("sentinel monitor m{number} {ip} 6379 2\n");
        }
        file += lines;
        let loaded = load(file.as_bytes(), None, &[], &mut NoFiles).expect("the file is good");
        let facts = ProcessFacts { pid: 1, tcp_port: 26379, ..ProcessFacts::default() };
        let thresholds = Thresholds::default();
        let clock = clock(1_000_000);
        let node = Node::new(Setup { loaded, facts, thresholds, random: [7; 32], clock });
        let mut rig = Rig {
            node,
            links: Vec::new(),
            link_conns: BTreeSet::new(),
            held: BTreeSet::new(),
            closed: BTreeSet::new(),
            lookups: Vec::new(),
            holds_saves: false,
            clients: 0,
            steps: None,
            now: 1_000_000,
        };
        rig.node.start();
        rig.settle();
        rig
    }

    /// A client from an address of its own.
    pub fn client(&mut self) -> ConnId {
        self.clients += 1;
        let peer = SocketAddr::from((Ipv4Addr::from(0xc600_0000 + self.clients), 40_000));
        self.client_from(peer)
    }

    pub fn client_from(&mut self, peer: SocketAddr) -> ConnId {
        let local = SocketAddr::from((Ipv4Addr::new(192, 168, 0, 9), 26_379));
        let conn = self.inside(|node| node.accepted(Endpoint::Tcp { peer, local }, 10));
        self.drain();
        conn
    }

    /// The client is gone.
    pub fn leave(&mut self, conn: ConnId) {
        self.inside(|node| node.closed(conn, Closed::Eof));
        self.drain();
    }

    /// Hands in bytes of a connection and does all that they cause.
    pub fn give(&mut self, conn: ConnId, bytes: &[u8]) {
        for part in bytes.chunks(READ_BYTES) {
            while self.held.contains(&conn) && self.node.next_deadline().0 <= self.now {
                self.turn();
            }
            self.inside(|node| node.received(conn, part));
            self.turn();
        }
        self.settle();
    }

    /// The instructions of the node alone in what `act` does; `None` if they cannot be counted.
    pub fn steps(&mut self, act: impl FnOnce(&mut Rig)) -> Option<u64> {
        counter::count(|| ())?;
        self.steps = Some(0);
        act(self);
        self.steps.take()
    }

    fn inside<T>(&mut self, code: impl FnOnce(&mut Node) -> T) -> T {
        let Some(before) = self.steps else { return code(&mut self.node) };
        let (steps, result) = counter::count(|| code(&mut self.node)).expect("it was asked before");
        self.steps = Some(before + steps);
        result
    }

    pub fn is_closed(&self, conn: ConnId) -> bool {
        self.closed.contains(&conn)
    }

    /// Takes turns until nothing is due.
    pub fn settle(&mut self) {
        while self.node.next_deadline().0 <= self.now {
            self.turn();
        }
    }

    /// Lets so much time pass; everything that is due happens at its end.
    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.node.begin_turn(clock(self.now));
        self.settle();
    }

    /// What the shell does when it wakes up, but for the input.
    pub fn turn(&mut self) {
        let clock = clock(self.now);
        self.drain();
        if self.node.next_deadline().0 <= self.now {
            self.inside(|node| node.begin_turn(clock));
            while self.inside(Node::run_due) {
                self.drain();
            }
        }
        self.inside(Node::end_turn);
        self.drain();
        let mut touched = Vec::new();
        self.node.take_touched(&mut touched);
        for conn in touched {
            let len = self.node.output(conn).map_or(0, <[u8]>::len);
            // What goes over links is left for `answer`.
            if len > 0 && !self.link_conns.contains(&conn) {
                self.inside(|node| node.sent(conn, len));
            }
        }
        while self.node.take_gather().is_some() {}
    }

    fn drain(&mut self) {
        while let Some(action) = self.inside(Node::poll_action) {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Connect { conn, ip, port, .. } => {
                self.links.push((SocketAddr::new(ip, port), conn));
                self.link_conns.insert(conn);
                let local = Some(IpAddr::from([192, 168, 0, 9]));
                self.inside(|node| node.conn_started(conn, local));
            }
            Action::Hold { conn, hold: true } => drop(self.held.insert(conn)),
            Action::Hold { conn, .. } => drop(self.held.remove(&conn)),
            Action::Close { conn } | Action::CloseAfterFlush { conn } => {
                self.held.remove(&conn);
                self.closed.insert(conn);
            }
            Action::Persist { .. } if self.holds_saves => {}
            Action::Resolve { lookup, host, .. } => self.lookups.push((lookup, host)),
            Action::Persist { generation } => {
                drop(self.inside(|node| node.take_save(generation)));
                self.inside(|node| node.persisted(generation, Ok(()), 1));
            }
            Action::CheckScript { check, .. } => {
                self.inside(|node| node.script_checked(check, true));
            }
            Action::Ask { ask, question: Question::Random { bytes } } => {
                self.inside(|node| node.answered(ask, Ok(vec![7; bytes])));
            }
            _ => {}
        }
    }

    /// The connect of a link has worked.
    pub fn establish(&mut self, conn: ConnId) {
        self.inside(|node| node.conn_established(conn));
        self.settle();
    }

    /// The name server answers the lookups of `host`.
    pub fn resolve(&mut self, host: &str, ip: IpAddr) {
        let all = std::mem::take(&mut self.lookups);
        let (meant, others): (Vec<_>, _) = all.into_iter().partition(|(_, h)| h == host.as_bytes());
        self.lookups = others;
        for (lookup, _) in meant {
            self.inside(|node| node.resolved(lookup, vec![ip]));
            self.turn();
        }
        self.settle();
    }

    /// What was sent over a link and is not answered.
    pub fn asked(&self, conn: ConnId) -> String {
        String::from_utf8_lossy(self.node.output(conn).unwrap_or_default()).into_owned()
    }

    /// Answers all that was sent over a link: `info` to INFO, what is fit to everything else.
    pub fn answer(&mut self, conn: ConnId, info: &str) {
        let output = self.asked(conn);
        let mut replies = Vec::new();
        for line in output.lines() {
            match line {
                "PING" => replies.extend_from_slice(b"+PONG\r\n"),
                "AUTH" | "CLIENT" => replies.extend_from_slice(b"+OK\r\n"),
                "PUBLISH" => replies.extend_from_slice(b":1\r\n"),
                "INFO" => {
                    let text = format!("${}\r\n{info}\r\n", info.len());
                    replies.extend_from_slice(text.as_bytes());
                }
                "SUBSCRIBE" => replies.extend_from_slice(
                    b"*3\r\n$9\r\nsubscribe\r\n$18\r\n__sentinel__:hello\r\n:1\r\n",
                ),
                _ => {}
            }
        }
        let len = self.node.output(conn).map_or(0, <[u8]>::len);
        self.node.sent(conn, len);
        self.give(conn, &replies);
    }
}

pub fn master_ip(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0001 + number as u32)
}

/// A request as clients send it.
pub fn request<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn clock(now: u64) -> Clock {
    let wall = Wall { unix_ms: 1_790_000_000_000 + now, utc_offset_s: 0 };
    Clock { mono: Mono(now), wall }
}
