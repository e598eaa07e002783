//! One node among pretended data nodes and sentinels: they answer a millisecond later, in order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sentineld::config::load::{Loaded, load};
use sentineld::node::{Closed, Endpoint, Node, ProcessFacts, Setup};
use sentineld::sentinel::action::Action;
use sentineld::sentinel::thresholds::Thresholds;
use sentineld::shell::pacer::Pacer;
use sentineld::util::ident::ConnId;
use sentineld::util::time::{Clock, Mono, Wall};

use crate::count;
use crate::no_files::NoFiles;

const HELLO: &str = "__sentinel__:hello";
const PEER_IDS: [&str; 2] =
    ["eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "ffffffffffffffffffffffffffffffffffffffff"];
const START_MS: u64 = 1_000_000;
const SAVE_MS: u64 = 5;
const ROUND_MS: u64 = 2_000;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub masters: usize,
    /// How long an INFO is, about.
    pub info_bytes: usize,
    /// The info-period; long ones leave INFO out of what is measured.
    pub info_ms: u64,
    /// How fast the other sentinels read.
    pub peer_bytes_per_ms: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { masters: 1, info_bytes: 4_000, info_ms: 10_000, peer_bytes_per_ms: 1 << 20 }
    }
}

/// What was sent and received.
#[derive(Clone, Copy, Default, Debug)]
pub struct Traffic {
    pub pings: u64,
    pub hellos: u64,
    pub infos: u64,
    /// Hellos of others that were there to be read.
    pub heard: u64,
    pub writes: u64,
    pub reads: u64,
    pub turns: u64,
    /// Connects that began.
    pub connects: u64,
}

impl Traffic {
    pub fn minus(&self, other: &Traffic) -> Traffic {
        Traffic {
            pings: self.pings - other.pings,
            hellos: self.hellos - other.hellos,
            infos: self.infos - other.infos,
            heard: self.heard - other.heard,
            writes: self.writes - other.writes,
            reads: self.reads - other.reads,
            turns: self.turns - other.turns,
            connects: self.connects - other.connects,
        }
    }

    /// All that costs something.
    pub fn work(&self) -> u64 {
        self.pings + self.hellos + self.infos + self.heard + self.writes + self.reads
    }
}

/// What a connection leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// A data node: its group, and 0 for the first master, 1 and 2 for the replicas.
    Data {
        group: usize,
        number: usize,
    },
    Peer,
    /// Another sentinel's connection to us.
    FromPeer,
}

#[derive(Debug)]
struct Conn {
    place: Place,
    /// Requests of which the rest is still to come.
    request: Vec<u8>,
    /// What arrived and was not read.
    unread: Vec<u8>,
    low_water: usize,
    multi: Option<Vec<Vec<Vec<u8>>>>,
}

#[derive(Debug, Default)]
struct Group {
    /// Which of the three is the master now.
    master: usize,
    hung: bool,
    /// Connects to its first master hang, too.
    dark: bool,
    subscribed: [Option<ConnId>; 3],
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    Bytes(ConnId, Vec<u8>),
    Closed(ConnId),
    Saved(u64),
    /// The other sentinels say hello about a group.
    Round(usize),
}

pub struct Farm {
    options: Options,
    node: Node,
    now: u64,
    conns: BTreeMap<ConnId, Conn>,
    groups: Vec<Group>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    serial: u64,
    from_peers: Vec<ConnId>,
    blocked: Vec<ConnId>,
    /// As the shell paces connects.
    pacer: Pacer,
    /// Connects that never end by themselves.
    hanging: BTreeSet<ConnId>,
    pub traffic: Traffic,
    /// Connections that the node closed, and how many of them led to nodes that hang.
    pub closed: u64,
    pub closed_hung: u64,
    /// The most that waited for a peer to be read.
    pub peer_backlog_max: usize,
    /// How often a connection was to be read at once again.
    pub gathering_ended: u64,
}

fn data_ip(group: usize, number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, (group >> 8) as u8, (group & 255) as u8, 1 + number as u8)
}

fn place_of(ip: IpAddr) -> Place {
    let IpAddr::V4(ip) = ip else { panic!("only IPv4 here: {ip}") };
    match ip.octets() {
        [10, high, low, last] => {
            let group = usize::from(high) << 8 | usize::from(low);
            Place::Data { group, number: usize::from(last) - 1 }
        }
        _ => Place::Peer,
    }
}

fn peer_ip(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 0, 1 + index as u8)
}

impl Farm {
    pub fn new(options: Options) -> Farm {
        let mut file = String::from("port 26379\n");
        for group in 0..options.masters {
            let ip = data_ip(group, 0);
            file += &format!("sentinel monitor m{group} {ip} 6379 2\n");
            file += &format!("sentinel down-after-milliseconds m{group} 5000\n");
        }
        let loaded = load(file.as_bytes(), None, &[], &mut NoFiles).expect("the file is good");
        // The smallest of all ids: it leads.
        let setup = setup_of(loaded, 26379);
        let node = count::inside(|| Node::new(setup));
        let mut farm = Farm {
            options,
            node,
            now: START_MS,
            conns: BTreeMap::new(),
            groups: (0..options.masters).map(|_| Group::default()).collect(),
            events: BinaryHeap::new(),
            serial: 0,
            from_peers: Vec::new(),
            blocked: Vec::new(),
            pacer: Pacer::default(),
            hanging: BTreeSet::new(),
            traffic: Traffic::default(),
            closed: 0,
            closed_hung: 0,
            peer_backlog_max: 0,
            gathering_ended: 0,
        };
        count::inside(|| farm.node.begin_turn(clock(START_MS)));
        count::inside(|| farm.node.start());
        farm.drain();
        farm.greet();
        farm
    }

    /// The other sentinels connect to us and begin their rounds.
    fn greet(&mut self) {
        for index in 0..PEER_IDS.len() {
            let peer = SocketAddr::from((peer_ip(index), 40_000));
            let local = SocketAddr::from((Ipv4Addr::new(192, 168, 0, 9), 26_379));
            let endpoint = Endpoint::Tcp { peer, local };
            let conn = count::inside(|| self.node.accepted(endpoint, 10 + index as i32));
            self.add_conn(conn, Place::FromPeer);
            self.from_peers.push(conn);
        }
        let period =
            request(&["SENTINEL", "DEBUG", "info-period", &self.options.info_ms.to_string()]);
        let first = self.from_peers[0];
        self.push(1, Event::Bytes(first, period));
        for group in 0..self.options.masters {
            let phase = (group as u64).wrapping_mul(0x9e37_79b9) % ROUND_MS;
            self.push(500 + phase, Event::Round(group));
        }
    }

    fn add_conn(&mut self, id: ConnId, place: Place) {
        let (request, unread) = (Vec::new(), Vec::new());
        self.conns.insert(id, Conn { place, request, unread, low_water: 1, multi: None });
    }

    fn push(&mut self, after_ms: u64, event: Event) {
        self.serial += 1;
        self.events.push(Reverse((self.now + after_ms, self.serial, event)));
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    /// Replicas and sentinels that the node knows, of all masters together.
    pub fn known(&self) -> (usize, usize) {
        (self.node.sentinel().replicas.len(), self.node.sentinel().peers.len())
    }

    /// Groups whose first master is not the one the node holds any more.
    pub fn switched(&self) -> usize {
        let moved = |master: &&sentineld::sentinel::instance::Master| {
            !matches!(master.base.addr.ip.map(place_of), Some(Place::Data { number: 0, .. }))
        };
        self.node.sentinel().masters_in_order().filter(moved).count()
    }

    /// All first masters stop answering.
    pub fn hang_masters(&mut self) {
        self.groups.iter_mut().for_each(|group| group.hung = true);
    }

    /// The first masters of these groups are in a zone that falls silent: connects hang as well.
    pub fn darken(&mut self, groups: std::ops::Range<usize>) {
        for group in &mut self.groups[groups] {
            (group.hung, group.dark) = (true, true);
        }
    }

    /// All nodes of these groups close their connections to us, as CLIENT KILL makes them.
    pub fn kick(&mut self, groups: std::ops::Range<usize>) {
        let is = |conn: &Conn| match conn.place {
            Place::Data { group, .. } => groups.contains(&group),
            _ => false,
        };
        let of = self.conns.iter().filter(|(_, conn)| is(conn)).map(|(id, _)| *id);
        for id in of.collect::<Vec<_>>() {
            self.push(0, Event::Closed(id));
        }
    }

    /// Masters of these groups that are held down.
    pub fn down(&self, groups: std::ops::Range<usize>) -> usize {
        let sentinel = self.node.sentinel();
        let is_down = |group: &usize| {
            let id = sentinel.master_named(format!("m{group}").as_bytes()).expect("watched");
            sentinel.masters[id].base.sdown.is
        };
        groups.filter(is_down).count()
    }

    /// Connections to the nodes of these groups that stand.
    pub fn standing(&self, groups: std::ops::Range<usize>) -> usize {
        let is = |(id, conn): &(&ConnId, &Conn)| match conn.place {
            Place::Data { group, .. } => groups.contains(&group) && !self.hanging.contains(id),
            _ => false,
        };
        self.conns.iter().filter(is).count()
    }

    /// Lets so much time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let event = self.events.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            let deadline = self.node.next_deadline().0;
            let blocked = if self.blocked.is_empty() { u64::MAX } else { self.now + 1 };
            let connect = self.pacer.due(Mono(self.now)).map_or(u64::MAX, |at| at.0);
            let next = event.min(deadline).min(blocked).min(connect).max(self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.traffic.turns += 1;
        let clock = clock(self.now);
        count::inside(|| self.node.begin_turn(clock));
        self.drain();
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= self.now
            && let Some(Reverse((_, _, event))) = self.events.pop()
        {
            self.take(event);
        }
        loop {
            let more = count::inside(|| self.node.run_due());
            self.drain();
            count::inside(|| self.node.end_turn());
            self.drain();
            self.flush();
            if !more {
                return;
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Bytes(id, bytes) => self.arrive(id, &bytes),
            Event::Closed(id) => {
                self.forget(id);
                count::inside(|| self.node.closed(id, Closed::Eof));
                self.drain();
            }
            Event::Saved(generation) => {
                count::inside(|| self.node.persisted(generation, Ok(()), SAVE_MS));
                self.drain();
            }
            Event::Round(group) => self.round(group),
        }
    }

    /// Bytes reach our socket; they are read once there are enough.
    fn arrive(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.unread.extend_from_slice(bytes);
        if conn.unread.len() >= conn.low_water {
            self.read(id);
        }
    }

    fn read(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let bytes = std::mem::take(&mut conn.unread);
        if bytes.is_empty() {
            return;
        }
        self.traffic.reads += u64::from(conn.place != Place::FromPeer);
        count::inside(|| self.node.received(id, &bytes));
        self.drain();
    }

    /// Both other sentinels publish at every node of a group, and to us.
    fn round(&mut self, group: usize) {
        self.push(ROUND_MS, Event::Round(group));
        let master = self.groups[group].master;
        let hung = self.groups[group].hung;
        let ip = data_ip(group, master);
        for (index, id) in PEER_IDS.iter().enumerate() {
            let at = peer_ip(index);
            let text = format!("{at},26379,{id},0,m{group},{ip},6379,0");
            // They learn of a switch from us, so they have nothing to say about the new one.
            if master == 0 {
                self.push(
                    1,
                    Event::Bytes(self.from_peers[index], request(&["PUBLISH", HELLO, &text])),
                );
            }
            for number in usize::from(hung)..3 {
                self.publish(group, number, text.as_bytes());
                self.traffic.heard += 1;
            }
        }
    }

    fn publish(&mut self, group: usize, number: usize, text: &[u8]) {
        if let Some(conn) = self.groups[group].subscribed[number] {
            let mut bytes = request(&["message", HELLO, ""]);
            bytes.truncate(bytes.len() - 6);
            bytes.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            bytes.extend_from_slice(text);
            bytes.extend_from_slice(b"\r\n");
            self.push(1, Event::Bytes(conn, bytes));
        }
    }

    fn drain(&mut self) {
        self.act();
        while let Some((id, ip, _)) = self.pacer.next(Mono(self.now)) {
            self.begin_connect(id, ip);
            self.act();
        }
    }

    fn begin_connect(&mut self, id: ConnId, ip: IpAddr) {
        self.traffic.connects += 1;
        let place = place_of(ip);
        self.add_conn(id, place);
        let local = Some(IpAddr::from([192, 168, 0, 9]));
        count::inside(|| self.node.conn_started(id, local));
        if let Place::Data { group, number: 0 } = place
            && self.groups[group].dark
        {
            self.hanging.insert(id);
            return;
        }
        count::inside(|| self.node.conn_established(id));
        // What was written while it waited.
        self.blocked.push(id);
    }

    fn act(&mut self) {
        while let Some(action) = count::inside(|| self.node.poll_action()) {
            match action {
                Action::Connect { conn, ip, port, hung_before } => {
                    assert!(self.pacer.push(conn, (ip, port), hung_before));
                }
                Action::Close { conn } => self.close(conn),
                Action::Persist { generation } => {
                    count::inside(|| drop(self.node.take_save(generation)));
                    self.push(SAVE_MS, Event::Saved(generation));
                }
                other => count::inside(|| drop(other)),
            }
        }
    }

    fn close(&mut self, id: ConnId) {
        self.pacer.cancel(id);
        let Some(place) = self.forget(id) else { return };
        self.closed += 1;
        if let Place::Data { group, number: 0 } = place {
            self.closed_hung += u64::from(self.groups[group].hung);
        }
    }

    fn forget(&mut self, id: ConnId) -> Option<Place> {
        let conn = self.conns.remove(&id)?;
        self.hanging.remove(&id);
        if let Place::Data { group, number } = conn.place {
            let subscribed = &mut self.groups[group].subscribed[number];
            subscribed.take_if(|other| *other == id);
        }
        Some(conn.place)
    }

    fn flush(&mut self) {
        let mut touched = std::mem::take(&mut self.blocked);
        // Into a vector of ours: that is not the node's memory.
        self.node.take_touched(&mut touched);
        touched.sort_unstable();
        touched.dedup();
        for id in touched {
            self.flush_one(id);
        }
        while let Some((id, bytes)) = self.node.take_gather() {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            conn.low_water = bytes;
            self.gathering_ended += u64::from(bytes == 1);
            if bytes == 1 && !conn.unread.is_empty() {
                self.push(0, Event::Bytes(id, Vec::new()));
            }
        }
    }

    fn flush_one(&mut self, id: ConnId) {
        let Some(output) = self.node.output(id).filter(|output| !output.is_empty()) else { return };
        if self.hanging.contains(&id) {
            return;
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let mut n = output.len();
        if conn.place == Place::Peer {
            self.peer_backlog_max = self.peer_backlog_max.max(n);
            n = n.min(self.options.peer_bytes_per_ms);
        }
        conn.request.extend_from_slice(&output[..n]);
        let rest = n < output.len();
        count::inside(|| self.node.sent(id, n));
        if rest {
            self.blocked.push(id);
        }
        self.serve(id);
    }

    /// Answers what is there of requests.
    fn serve(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let mut bytes = std::mem::take(&mut conn.request);
        let place = conn.place;
        if place == Place::FromPeer {
            return;
        }
        self.traffic.writes += 1;
        if let Place::Data { group, number: 0 } = place
            && self.groups[group].hung
        {
            return;
        }
        let (mut used, mut out) = (0, Vec::new());
        while let Some((words, n)) = next_request(&bytes[used..]) {
            used += n;
            self.answer(id, place, words, &mut out);
        }
        bytes.drain(..used);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.request = bytes;
        }
        self.push(1, Event::Bytes(id, out));
    }

    fn answer(&mut self, id: ConnId, place: Place, words: Vec<Vec<u8>>, out: &mut Vec<u8>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let name = String::from_utf8_lossy(&words[0]).into_owned();
        if let Some(multi) = conn.multi.as_mut().filter(|_| name != "EXEC") {
            multi.push(words);
            return out.extend_from_slice(b"+QUEUED\r\n");
        }
        match (name.as_str(), place) {
            ("PING", _) => {
                self.traffic.pings += 1;
                out.extend_from_slice(b"+PONG\r\n");
            }
            ("PUBLISH", _) => {
                self.traffic.hellos += 1;
                out.extend_from_slice(b":1\r\n");
                if let Place::Data { group, number } = place {
                    self.publish(group, number, &words[2]);
                }
            }
            ("INFO", Place::Data { group, number }) => {
                self.traffic.infos += 1;
                let text = self.info(group, number);
                out.extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
            }
            ("SUBSCRIBE", Place::Data { group, number }) => {
                self.groups[group].subscribed[number] = Some(id);
                let reply =
                    format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{HELLO}\r\n:1\r\n", HELLO.len());
                out.extend_from_slice(reply.as_bytes());
            }
            ("SENTINEL", Place::Peer) => {
                let leader = String::from_utf8_lossy(&words[5]);
                let epoch = if leader == "*" { "0" } else { &String::from_utf8_lossy(&words[4]) };
                let vote = format!("*3\r\n:1\r\n${}\r\n{leader}\r\n:{epoch}\r\n", leader.len());
                out.extend_from_slice(vote.as_bytes());
            }
            ("MULTI", _) => {
                conn.multi = Some(Vec::new());
                out.extend_from_slice(b"+OK\r\n");
            }
            ("EXEC", Place::Data { group, number }) => {
                let multi = conn.multi.take().unwrap_or_default();
                let promoted =
                    multi.iter().any(|words| words[0] == b"SLAVEOF" && words[1] == b"NO");
                if promoted {
                    self.groups[group].master = number;
                }
                out.extend_from_slice(format!("*{}\r\n", multi.len()).as_bytes());
                multi.iter().for_each(|_| out.extend_from_slice(b"+OK\r\n"));
            }
            _ => out.extend_from_slice(b"+OK\r\n"),
        }
    }

    fn info(&self, group: usize, number: usize) -> String {
        let master = self.groups[group].master;
        let mut text = format!("run_id:{:040x}\r\nuptime:{}\r\n", group * 3 + number + 1, self.now);
        if number == master {
            text += "role:master\r\n";
            for (index, replica) in (0..3).filter(|other| *other != master).enumerate() {
                let ip = data_ip(group, replica);
                text += &format!("slave{index}:ip={ip},port=6379,state=online,offset=1,lag=0\r\n");
            }
        } else {
            let ip = data_ip(group, master);
            text += &format!("role:slave\r\nmaster_host:{ip}\r\nmaster_port:6379\r\n");
            text += "master_link_status:up\r\nslave_repl_offset:1\r\nslave_priority:100\r\n";
        }
        while text.len() < self.options.info_bytes {
            text += "some_field_of_a_data_node:12345678901234567890\r\n";
        }
        text
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        // What the node holds was counted and must be taken off again.
        let unused = load(b"port 1\n", None, &[], &mut NoFiles).expect("the file is good");
        let empty = Node::new(setup_of(unused, 1));
        count::inside(|| drop(std::mem::replace(&mut self.node, empty)));
    }
}

fn setup_of(loaded: Loaded, tcp_port: u16) -> Setup {
    let facts = ProcessFacts { pid: 1, tcp_port, ..ProcessFacts::default() };
    let thresholds = Thresholds::default();
    Setup { loaded, facts, thresholds, random: [0; 32], clock: clock(START_MS) }
}

fn clock(now: u64) -> Clock {
    let wall = Wall { unix_ms: 1_790_000_000_000 + now, utc_offset_s: 0 };
    Clock { mono: Mono(now), wall }
}

fn request(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len());
    for word in words {
        out += &format!("${}\r\n{word}\r\n", word.len());
    }
    out.into_bytes()
}

/// One whole request at the front, and its length.
fn next_request(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let line = |at: usize| {
        let end = bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let number = std::str::from_utf8(&bytes[at + 1..at + end]).ok()?.parse().ok()?;
        Some((number, at + end + 2))
    };
    let (count, mut at): (usize, usize) = line(0)?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let (len, start): (usize, usize) = line(at)?;
        words.push(bytes.get(start..start + len)?.to_vec());
        at = start + len + 2;
    }
    (bytes.len() >= at).then_some((words, at))
}
