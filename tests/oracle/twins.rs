//! Two groups alike, one of our program and one of the oracle, and how both are asked the same.

use crate::findings::Book;
use crate::resp::Reply;
use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::sentinel::{Program, Sentinel, SentinelOptions};
use crate::support::wait;
use crate::support::world::World;
use crate::words;
use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

/// How long a reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The protocol that a pass over the table speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proto {
    Resp2,
    Resp3,
}

impl Proto {
    /// As reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Proto::Resp2 => "RESP2",
            Proto::Resp3 => "RESP3",
        }
    }
}

/// Bytes to send, and the words of the first request in them.
type Sent = (Vec<u8>, Vec<Vec<u8>>);

/// One connection of the test.
struct Conn {
    stream: BufReader<TcpStream>,
}

impl Conn {
    fn open(port: u16) -> Conn {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the sentinel accepts");
        stream.set_nodelay(true).expect("an option of TCP");
        stream.set_read_timeout(Some(REPLY_TIMEOUT)).expect("a timeout");
        Conn { stream: BufReader::new(stream) }
    }

    fn send(&mut self, bytes: &[u8]) {
        // A connection that was closed shows when it is read.
        let _ = self.stream.get_mut().write_all(bytes);
    }

    fn read(&mut self) -> Reply {
        Reply::read(&mut self.stream)
            .unwrap_or_else(|error| Reply::Error(format!("(none: {error})").into_bytes()))
    }

    /// Everything that comes before the answer to a marker, or until the end.
    fn read_to(&mut self, marker: &str) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            let reply = self.read();
            let is_end = matches!(&reply, Reply::Closed)
                || matches!(&reply, Reply::Error(text) if text.starts_with(b"(none"));
            if is_marker(&reply, marker) {
                return replies;
            }
            replies.push(reply);
            if is_end {
                return replies;
            }
        }
    }
}

/// The pong with the marker in it, also in a subscription; or an error that repeats it.
fn is_marker(reply: &Reply, marker: &str) -> bool {
    match reply {
        Reply::Bulk(text) => text == marker.as_bytes(),
        Reply::Error(_) => reply.text().starts_with(&format!("ERR unknown command '{marker}'")),
        Reply::Array(items) => items.len() == 2 && items[1].text() == marker,
        _ => false,
    }
}

/// One of the twins: a sentinel to ask and what surrounds it.
pub struct Side {
    /// Where it listens.
    pub port: u16,
    /// What each twin has its own value for: its common name, as `<mport>`, and the value here.
    names: Vec<(String, String)>,
    conns: BTreeMap<String, Conn>,
}

impl Side {
    fn of(port: u16) -> Side {
        let mut side = Side { port, names: Vec::new(), conns: BTreeMap::new() };
        side.learn("sport", &port.to_string());
        side
    }

    /// Gives a value of this twin its common name.
    pub fn learn(&mut self, name: &str, value: &str) {
        self.names.retain(|(known, _)| *known != format!("<{name}>"));
        self.names.push((format!("<{name}>"), value.to_string()));
        self.names.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    }

    /// Puts the values of this twin into a line of the table.
    pub fn fill(&self, line: &str) -> String {
        let fill = |line: String, (name, value): &(String, String)| line.replace(name, value);
        self.names.iter().fold(line.to_string(), fill)
    }

    /// The common name of every value of this twin that stands in a text as a word of its own.
    /// Short values, such as client ids, are too likely to be something else.
    pub fn common(&self, text: &str) -> String {
        let long = self.names.iter().filter(|(_, value)| value.len() >= 4);
        long.fold(text.to_string(), |text, (name, value)| replace_word(&text, value, name))
    }

    /// Asks in RESP2, beside the table.
    pub fn ask(&mut self, line: &str) -> Reply {
        let request = words::encode(&words::split(&self.fill(line)));
        let port = self.port;
        let conn = self.conns.entry("ctl".into()).or_insert_with(|| Conn::open(port));
        conn.send(&request);
        conn.read()
    }

    /// As [`Side::ask`], of the other sentinel of the group.
    pub fn ask_peer(&self, line: &str) -> Reply {
        let port = self.fill("<pport>").parse().expect("the port of the peer is known");
        let mut conn = Conn::open(port);
        conn.send(&words::encode(&words::split(&self.fill(line))));
        conn.read()
    }

    /// A field of a master.
    pub fn master_field(&mut self, master: &str, field: &str) -> String {
        let reply = self.ask(&format!("SENTINEL MASTER {master}"));
        reply.field(field).map(Reply::text).unwrap_or_default()
    }

    fn conn(&mut self, name: &str, proto: Proto) -> &mut Conn {
        let port = self.port;
        if !self.conns.contains_key(name) {
            let mut conn = Conn::open(port);
            if proto == Proto::Resp3 && !is_bare(name) {
                conn.send(b"HELLO 3\r\n");
                conn.read();
            }
            if !is_bare(name) {
                conn.send(b"CLIENT ID\r\n");
                let id = conn.read().text();
                self.learn(&format!("id:{name}"), &id);
                let own = conn.stream.get_ref().local_addr().expect("connected").to_string();
                self.learn(&format!("addr:{name}"), &own);
            }
            self.conns.insert(name.into(), conn);
        }
        self.conns.get_mut(name).expect("just put there")
    }
}

/// Connections with these names send nothing of their own, and may be unauthenticated.
fn is_bare(name: &str) -> bool {
    name.starts_with("bare")
}

/// Replaces `word` where neither a letter nor a digit touches it.
fn replace_word(text: &str, word: &str, with: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let end = at + word.len();
        let joined = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let touched = joined(rest[..at].chars().next_back()) || joined(rest[end..].chars().next());
        out.push_str(&rest[..at]);
        out.push_str(if touched { word } else { with });
        rest = &rest[end..];
    }
    out + rest
}

/// Both sides and the book of what was compared.
pub struct Twins {
    pub ours: Side,
    pub oracle: Side,
    pub book: Book,
    /// What the current pass speaks.
    pub proto: Proto,
    serial: u32,
    /// The processes; they end with this.
    _groups: Vec<Group>,
    _sentinels: Vec<Sentinel>,
}

impl Twins {
    /// Two groups of a master, two replicas and two sentinels each.
    pub fn groups(world: &Rc<World>, book: Book) -> Twins {
        let mut sides = Vec::new();
        let mut groups = Vec::new();
        for program in [Program::UnderTest, Program::Redis] {
            let group = start_group(world, program);
            sides.push(describe(&group));
            groups.push(group);
        }
        Twins::new(sides, book, groups, Vec::new())
    }

    /// Two sentinels alone, with these config lines.
    pub fn alone(world: &Rc<World>, book: Book, lines: &[String], password: &str) -> Twins {
        let mut sides = Vec::new();
        let mut sentinels = Vec::new();
        for program in [Program::UnderTest, Program::Redis] {
            let login = Some(password).filter(|password| !password.is_empty());
            let login = login.map(|password| ("default".into(), password.into()));
            let mut options = SentinelOptions::with_lines(lines.iter().cloned());
            (options.program, options.login, options.fast) = (program, login, false);
            let sentinel = Sentinel::start(world, &options);
            let mut side = Side::of(sentinel.port);
            side.learn("myid", &sentinel.id());
            sides.push(side);
            sentinels.push(sentinel);
        }
        Twins::new(sides, book, Vec::new(), sentinels)
    }

    fn new(
        mut sides: Vec<Side>,
        book: Book,
        groups: Vec<Group>,
        sentinels: Vec<Sentinel>,
    ) -> Twins {
        let oracle = sides.pop().expect("two sides");
        let ours = sides.pop().expect("two sides");
        let (proto, serial) = (Proto::Resp2, 0);
        Twins { ours, oracle, book, proto, serial, _groups: groups, _sentinels: sentinels }
    }

    /// Runs the lines of a table; see [`crate::tables`] for what a line may be.
    pub fn run(&mut self, table: &str) {
        let table = table.replace("\\\n", "");
        for line in table.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once("> ") {
                Some(("raw", bytes)) => self.raw(line, &words::unescape(bytes)),
                Some(("inline", bytes)) => {
                    let sent = [bytes.as_bytes(), b"\r\n"].concat();
                    self.compare("a", line, &|_| (sent.clone(), inline_name(bytes)));
                }
                Some(("message", conn)) => self.message(conn),
                Some(("close", conn)) => self.close(conn),
                Some((conn, requests)) if is_name(conn) => self.requests(conn, line, requests),
                _ => self.requests("a", line, line),
            }
        }
    }

    /// Runs a table in both protocols, each time on new connections.
    pub fn run_both(&mut self, table: &str) {
        for proto in [Proto::Resp2, Proto::Resp3] {
            self.pass(proto);
            self.run(table);
        }
    }

    /// Begins a pass: new connections in this protocol.
    pub fn pass(&mut self, proto: Proto) {
        self.proto = proto;
        for side in [&mut self.ours, &mut self.oracle] {
            side.conns.retain(|name, _| name == "ctl");
        }
        // The next request must not overtake the closing of these connections.
        self.wait("the connections to be closed", |side| {
            let list = side.ask("CLIENT LIST").text();
            let mine = list.split("\\n").filter(|line| line.contains("cmd=") && is_mine(line));
            wait::expect_eq(mine.count(), 1)
        });
    }

    /// Sends requests (several are separated by ` ;; ` and sent in one write) and compares.
    fn requests(&mut self, conn: &str, line: &str, requests: &str) {
        let proto = self.proto;
        let encode = |side: &Side| {
            let mut bytes = Vec::new();
            let mut first = Vec::new();
            for request in requests.split(" ;; ") {
                let mut words = words::split(&side.fill(request));
                if proto == Proto::Resp3 {
                    // One pass types command names in lower case.
                    words.iter_mut().take(2).for_each(|word| lower_name(word));
                }
                bytes.extend_from_slice(&words::encode(&words));
                if first.is_empty() {
                    first = words;
                }
            }
            (bytes, first)
        };
        self.compare(conn, line, &encode);
    }

    /// Sends bytes as they are on a connection of their own.
    pub fn raw(&mut self, line: &str, bytes: &[u8]) {
        let name = vec![b"(protocol)".to_vec()];
        self.compare("bare-raw", line, &|_| (bytes.to_vec(), name.clone()));
        self.close("bare-raw");
    }

    /// As [`Twins::raw`], without a marker behind it: the other side must close.
    pub fn raw_alone(&mut self, line: &str, bytes: &[u8]) {
        let words = [b"(protocol)".to_vec()];
        let read = |side: &Side| {
            let mut conn = Conn::open(side.port);
            conn.send(bytes);
            conn.read_to("")
        };
        let (ours, oracle) = (read(&self.ours), read(&self.oracle));
        let proto = Proto::Resp2;
        self.book.compare(proto, line, &words, (&self.ours, &ours), (&self.oracle, &oracle));
    }

    fn compare(&mut self, conn: &str, line: &str, encode: &dyn Fn(&Side) -> Sent) {
        self.serial += 1;
        let marker = format!("marker-{}", self.serial);
        let mut words = Vec::new();
        for side in [&mut self.ours, &mut self.oracle] {
            side.conn(conn, self.proto);
            let (mut bytes, first) = encode(side);
            words = first;
            let ping = if is_bare(conn) { "" } else { "PING" };
            let mut last = words::split(&format!("{ping} {marker}"));
            last.retain(|word| !word.is_empty());
            bytes.extend_from_slice(&words::encode(&last));
            side.conn(conn, self.proto).send(&bytes);
        }
        let ours = self.ours.conn(conn, self.proto).read_to(&marker);
        let oracle = self.oracle.conn(conn, self.proto).read_to(&marker);
        if ours.last() == Some(&Reply::Closed) || oracle.last() == Some(&Reply::Closed) {
            self.close(conn);
        }
        let proto = if conn == "bare-raw" { Proto::Resp2 } else { self.proto };
        self.book.compare(proto, line, &words, (&self.ours, &ours), (&self.oracle, &oracle));
    }

    /// Waits for one message on a connection that subscribed.
    fn message(&mut self, conn: &str) {
        let ours = vec![self.ours.conn(conn, self.proto).read()];
        let oracle = vec![self.oracle.conn(conn, self.proto).read()];
        let (line, words) = (format!("message> {conn}"), vec![b"(message)".to_vec()]);
        let proto = self.proto;
        self.book.compare(proto, &line, &words, (&self.ours, &ours), (&self.oracle, &oracle));
    }

    fn close(&mut self, conn: &str) {
        self.ours.conns.remove(conn);
        self.oracle.conns.remove(conn);
    }

    /// Asks both beside the table and wants `+OK`.
    #[track_caller]
    pub fn ok(&mut self, line: &str) {
        for side in [&mut self.ours, &mut self.oracle] {
            let reply = side.ask(line);
            assert_eq!(reply, Reply::Simple(b"OK".into()), "{line}");
        }
    }

    /// Waits until `probe` holds for both.
    #[track_caller]
    pub fn wait(&mut self, what: &str, mut probe: impl FnMut(&mut Side) -> Result<(), String>) {
        for (name, side) in [("ours", &mut self.ours), ("the oracle", &mut self.oracle)] {
            wait::wait(&format!("{what} ({name})"), wait::LONG, || probe(side));
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// Whether a line of CLIENT LIST is of this test and no peer's link.
fn is_mine(line: &str) -> bool {
    !line.contains(" name=sentinel-")
}

fn inline_name(bytes: &str) -> Vec<Vec<u8>> {
    words::split(bytes.split(['\\', '\'']).next().unwrap_or_default())
}

/// Lower case, for what consists of letters and dashes only.
fn lower_name(word: &mut [u8]) {
    if word.iter().all(|b| b.is_ascii_uppercase() || *b == b'-') {
        word.make_ascii_lowercase();
    }
}

fn start_group(world: &Rc<World>, program: Program) -> Group {
    Group::start(
        world,
        GroupOptions {
            replicas: 2,
            sentinels: 2,
            quorum: 2,
            programs: vec![program; 2],
            // So that both promote the same ones, there and back.
            node_lines: vec![(0, "replica-priority 20".into()), (1, "replica-priority 10".into())],
            ..GroupOptions::default()
        },
    )
}

fn describe(group: &Group) -> Side {
    let mut side = Side::of(group.sentinels[0].port);
    for (name, node) in ["m", "r1", "r2"].iter().zip(&group.nodes) {
        side.learn(&format!("{name}port"), &node.port.to_string());
        let info = node.ask(&["INFO", "server"]).text();
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        side.learn(&format!("{name}run"), run.expect("INFO tells the run id").trim());
    }
    let ids = [group.sentinels[0].id(), group.sentinels[1].id()];
    side.learn("pport", &group.sentinels[1].port.to_string());
    for (name, id) in ["my", "peer"].iter().zip(ids) {
        side.learn(&format!("{name}id"), &id);
        side.learn(&format!("{name}8"), &id[..8]);
    }
    assert_eq!(MASTER, "mymaster", "the tables name it");
    side
}
