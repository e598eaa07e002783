//! Tests of the loop with a scripted machine in the core's place.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Events;

use super::clock;
use super::connect::Options;
use super::event_loop::{End, EventLoop, Parts};
use super::listen::Listener;
use super::logging;
use super::machine::Machine;
use super::notify::Supervisor;
use super::pacer::BURST;
use super::sockets::{CLOSING_MAX_MS, ENDING_MAX_MS};
use super::testing::{TempDir, wait_until};
use crate::node::{Closed, CpuTimes, Endpoint, SaveJob};
use crate::sentinel::action::{Action, Question};
use crate::util::ident::{AskId, CheckId, ConnId, JobId, LookupId};
use crate::util::time::{Clock, Mono};

/// Records its inputs, in order; does what a test put into `on_input` when that input comes.
#[derive(Default)]
pub(super) struct Script {
    pub(super) actions: VecDeque<Action>,
    pub(super) inputs: Vec<String>,
    bytes: BTreeMap<ConnId, Vec<u8>>,
    pub(super) outputs: BTreeMap<ConnId, Vec<u8>>,
    touched: Vec<ConnId>,
    on_input: Vec<(String, Vec<Action>)>,
    next_conn: u64,
    established: BTreeSet<ConnId>,
    /// How often there is more due work.
    due_left: u64,
    at_rest: bool,
    /// It does not close clients that send nothing more.
    answers_late: bool,
    /// How long it takes to receive something.
    busy: Duration,
}

impl Script {
    fn input(&mut self, what: String) {
        if let Some(at) = self.on_input.iter().position(|(on, _)| *on == what) {
            self.actions.extend(self.on_input.remove(at).1);
        }
        self.inputs.push(what);
    }

    fn on(&mut self, what: &str, actions: Vec<Action>) {
        self.on_input.push((what.to_string(), actions));
    }

    pub(super) fn say(&mut self, conn: ConnId, bytes: &[u8]) {
        self.outputs.entry(conn).or_default().extend_from_slice(bytes);
        self.touched.push(conn);
    }

    pub(super) fn saw(&self, what: &str) -> bool {
        self.inputs.iter().any(|input| input == what)
    }

    fn place(&self, what: &str) -> usize {
        self.inputs.iter().position(|input| input == what).unwrap_or_else(|| panic!("no {what}"))
    }

    fn is_established(&self, conn: u64) -> bool {
        self.established.contains(&ConnId(conn))
    }

    fn received_len(&self, conn: u64) -> usize {
        self.bytes.get(&ConnId(conn)).map_or(0, Vec::len)
    }
}

impl Machine for Script {
    fn start(&mut self) {
        self.input("start".to_string());
    }
    fn begin_turn(&mut self, _clock: Clock) {
        self.input("begin".to_string());
    }
    fn run_due(&mut self) -> bool {
        self.input("due".to_string());
        self.due_left = self.due_left.saturating_sub(1);
        self.due_left > 0
    }
    fn end_turn(&mut self) {
        self.input("end".to_string());
    }
    fn next_deadline(&self) -> Mono {
        clock::mono().after(5)
    }
    fn is_at_rest(&self) -> bool {
        self.at_rest
    }
    fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if let Some(Action::Log { text, .. }) = &action {
            self.inputs.push(format!("log {}", String::from_utf8_lossy(text)));
        }
        action
    }
    fn take_save(&mut self, generation: u64) -> Option<SaveJob> {
        Some(SaveJob { generation, state: Arc::default() })
    }
    fn take_touched(&mut self, into: &mut Vec<ConnId>) {
        into.append(&mut self.touched);
    }
    fn output(&self, conn: ConnId) -> Option<&[u8]> {
        self.outputs.get(&conn).map(Vec::as_slice)
    }
    fn sent(&mut self, conn: ConnId, n: usize) {
        self.outputs.get_mut(&conn).unwrap().drain(..n);
        self.inputs.push(format!("sent {}", conn.0));
    }
    fn accepted(&mut self, _endpoint: Endpoint, _fd: i32) -> ConnId {
        self.next_conn += 1;
        self.input(format!("accepted {}", self.next_conn));
        ConnId(self.next_conn)
    }
    fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        let begun = Instant::now();
        while begun.elapsed() < self.busy {}
        self.bytes.entry(conn).or_default().extend_from_slice(bytes);
        self.input(format!("received {}", conn.0));
    }
    fn read_closed(&mut self, conn: ConnId) {
        self.input(format!("eof {}", conn.0));
        if !self.answers_late {
            self.actions.push_back(Action::CloseAfterFlush { conn });
        }
    }
    fn closed(&mut self, conn: ConnId, why: Closed) {
        self.input(format!("closed {} {why:?}", conn.0));
    }
    fn conn_started(&mut self, conn: ConnId, local: Option<IpAddr>) {
        self.input(format!("started {} {}", conn.0, local.is_some()));
    }
    fn conn_established(&mut self, conn: ConnId) {
        self.established.insert(conn);
        self.input(format!("established {}", conn.0));
    }
    fn conn_failed(&mut self, conn: ConnId, why: Closed) {
        self.input(format!("failed {} {why:?}", conn.0));
    }
    fn persisted(&mut self, generation: u64, result: Result<(), String>, _took_ms: u64) {
        self.input(format!("persisted {generation} {}", result.is_ok()));
    }
    fn resolved(&mut self, lookup: LookupId, ips: Vec<IpAddr>) {
        self.input(format!("resolved {} {}", lookup.0, !ips.is_empty()));
    }
    fn script_checked(&mut self, check: CheckId, executable: bool) {
        self.input(format!("checked {} {executable}", check.0));
    }
    fn answered(&mut self, ask: AskId, result: Result<Vec<u8>, String>) {
        let shown = result.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        self.input(format!("answered {} {shown:?}", ask.0));
    }
    fn spawned(&mut self, job: JobId, pid: Result<i32, String>) {
        self.input(format!("spawned {} {}", job.0, pid.is_ok()));
    }
    fn child_exited(&mut self, _pid: i32, _exit_code: i32, _signal: i32) {}
    fn shutdown_asked(&mut self) {}
    fn cpu_times(&mut self, _times: CpuTimes) {}
}

/// A loop, a port that it listens on, and turns by hand.
pub(super) struct Bench {
    pub(super) turns: EventLoop<Script>,
    events: Events,
    at: SocketAddr,
    pub(super) dir: TempDir,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with_events(256)
    }

    fn with_events(capacity: usize) -> Bench {
        let dir = TempDir::new("loop");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        let turns = EventLoop::new(Parts {
            machine: Script::default(),
            listeners: vec![Listener::Tcp(mio::net::TcpListener::from_std(listener))],
            signals: None,
            config_file: dir.path().join("s.conf"),
            options: Options::default(),
            supervisor: Supervisor::None,
            logs: logging::install(),
        })
        .unwrap();
        Bench { turns, events: Events::with_capacity(capacity), at, dir }
    }

    pub(super) fn turn(&mut self) {
        self.turns.turn(&mut self.events).unwrap();
    }

    /// Turns until `done`.
    pub(super) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Script) -> bool) {
        wait_until(what, || {
            self.turn();
            done(&mut self.turns.machine)
        });
    }

    /// A client that the machine knows as `conn`.
    pub(super) fn client(&mut self, conn: u64) -> TcpStream {
        let client = TcpStream::connect(self.at).unwrap();
        self.until("it is accepted", |m| m.saw(&format!("accepted {conn}")));
        client
    }

    pub(super) fn act(&mut self, actions: Vec<Action>) {
        self.turns.machine.actions.extend(actions);
        self.turns.machine.inputs.clear();
        self.turn();
    }
}

pub(super) fn connect(conn: u64, ip: IpAddr, port: u16) -> Action {
    Action::Connect { conn: ConnId(conn), ip, port, hung_before: false }
}

fn log(text: &str) -> Action {
    let level = crate::sentinel::action::LogLevel::Debug;
    Action::Log { level, text: text.as_bytes().to_vec() }
}

pub(super) fn read_all(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map(|_| all)
}

#[test]
fn bytes_are_taken_before_deadlines_and_flushed_at_the_end() {
    let mut bench = Bench::new();
    let mut client = bench.client(1);
    client.write_all(b"PING").unwrap();
    bench.turns.machine.inputs.clear();
    bench.until("it is read", |m| m.saw("received 1"));
    let inputs = &bench.turns.machine.inputs;
    assert_eq!(inputs[inputs.len() - 4..], ["begin", "received 1", "due", "end"]);
    bench.turns.machine.say(ConnId(1), b"PONG");
    bench.turn();
    let mut buf = [0; 4];
    client.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"PONG");
}

#[test]
fn at_rest_links_wait_and_clients_do_not() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (ip, port) = ("127.0.0.1".parse().unwrap(), listener.local_addr().unwrap().port());
    bench.act(vec![connect(77, ip, port)]);
    let (mut link, _) = listener.accept().unwrap();
    let mut client = bench.client(1);
    bench.turn();
    bench.turns.machine.at_rest = true;
    for round in 1..=3 {
        link.write_all(b"+").unwrap();
        client.write_all(b"x").unwrap();
        // The first turn may come before the kernel has carried the bytes over.
        bench.until("the client is heard", |m| m.received_len(1) == round);
        bench.until("the link is heard", |m| m.received_len(77) == round);
    }
    // A nap of its own costs the client nothing: it is heard in the turn that it wakes.
    bench.turns.machine.inputs.clear();
    client.write_all(b"x").unwrap();
    bench.until("the client is heard", |m| m.received_len(1) == 4);
    let inputs = &bench.turns.machine.inputs;
    assert_eq!(inputs[inputs.len() - 4..], ["begin", "received 1", "due", "end"]);
    // Neither does it cost what is due.
    bench.turns.machine.due_left = 3;
    bench.turns.machine.inputs.clear();
    bench.turn();
    assert_eq!(bench.turns.machine.inputs, ["begin", "due", "due", "due", "end"]);
}

#[test]
fn more_events_than_fit_into_one_poll_are_all_taken_first() {
    let mut bench = Bench::with_events(4);
    let mut clients: Vec<TcpStream> = (1..=30).map(|n| bench.client(n)).collect();
    bench.turn();
    bench.turns.machine.inputs.clear();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    bench.turn();
    let machine = &bench.turns.machine;
    for n in 1..=30 {
        assert!(machine.place(&format!("received {n}")) < machine.place("due"));
    }
}

#[test]
fn answers_come_after_the_list_is_drained() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (ip, port) = ("127.0.0.1".parse().unwrap(), listener.local_addr().unwrap().port());
    bench.turns.machine.on("started 77 true", vec![log("from the answer")]);
    bench.act(vec![
        connect(77, ip, port),
        Action::CheckScript { check: CheckId(1), path: b"/bin/sh".to_vec() },
        Action::CheckScript { check: CheckId(2), path: b"/etc/passwd".to_vec() },
        Action::Spawn { job: JobId(3), argv: vec![b"a\0b".to_vec()] },
        log("last"),
    ]);
    assert_eq!(
        bench.turns.machine.inputs[1..7],
        ["log last", "started 77 true", "log from the answer", "checked 1 true"]
            .into_iter()
            .chain(["checked 2 false", "spawned 3 false"])
            .collect::<Vec<_>>()
    );
    // What is said before the connection is there is sent when it is.
    bench.turns.machine.say(ConnId(77), b"early");
    let (mut peer, _) = listener.accept().unwrap();
    bench.turn();
    bench.turn();
    let mut buf = [0; 5];
    peer.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"early");
}

#[test]
fn random_bytes_are_there_when_asked_for() {
    let mut bench = Bench::new();
    let question = Question::Random { bytes: 16 };
    bench.act(vec![Action::Ask { ask: AskId(7), question }]);
    let answer = bench.turns.machine.inputs.iter().find(|i| i.starts_with("answered 7 Ok("));
    assert!(answer.is_some(), "{:?}", bench.turns.machine.inputs);
}

#[test]
fn a_closed_port_is_told_as_refused() {
    let mut bench = Bench::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ip = "127.0.0.1".parse().unwrap();
    bench.act(vec![connect(5, ip, port)]);
    bench.until("it is refused", |m| m.saw("closed 5 Refused") || m.saw("failed 5 Refused"));
    assert_eq!(bench.turns.table.len(), 0);
}

#[test]
fn nothing_is_told_of_a_connection_closed_before_its_answer() {
    let mut bench = Bench::new();
    let (ip, port) = (bench.at.ip(), bench.at.port());
    let conn = ConnId(500);
    bench.act(vec![connect(500, ip, port), Action::Close { conn }, log("x")]);
    bench.until("its other end is seen", |m| m.saw("closed 1 Eof") || m.saw("closed 1 Error"));
    assert!(!bench.turns.machine.inputs.iter().any(|i| i.contains(" 500")));
}

#[test]
fn connects_beyond_the_rate_wait_for_their_turn() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let mut bench = Bench::new();
    let (ip, port) = (bench.at.ip(), bench.at.port());
    let connect = |n: u64| connect(10_000 + n, ip, port);
    bench.turns.machine.actions.extend((0..540).map(connect));
    bench.turns.machine.actions.push_back(Action::Close { conn: ConnId(10_539) });
    bench.turns.drain();
    let begun = |bench: &Bench| {
        let inputs = bench.turns.machine.inputs.iter();
        inputs.filter(|input| input.starts_with("started")).count() as u64
    };
    assert_eq!(begun(&bench), BURST);
    assert!(bench.turns.sleep_time() <= Duration::from_millis(1));
    bench.until("all but the closed one have begun", |m| m.saw("started 10538 true"));
    assert!(!bench.turns.machine.saw("started 10539 true"));
    assert_eq!(begun(&bench), 539);
}

#[test]
fn a_client_need_not_wait_until_all_links_were_read() {
    const LINKS: u64 = 300;
    let mut bench = Bench::with_events(1024);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (ip, port) = (server.local_addr().unwrap().ip(), server.local_addr().unwrap().port());
    let mut nodes = Vec::new();
    for n in 1_000..1_000 + LINKS {
        bench.act(vec![connect(n, ip, port)]);
        nodes.push(server.accept().unwrap().0);
    }
    let mut client = bench.client(1);
    bench.until("all links stand", |m| (1_000..1_000 + LINKS).all(|n| m.is_established(n)));
    bench.turns.machine.inputs.clear();
    bench.turns.machine.busy = Duration::from_micros(20);
    for node in &mut nodes {
        node.write_all(b"x").unwrap();
    }
    client.write_all(b"x").unwrap();
    bench.turn();
    let machine = &bench.turns.machine;
    let links: Vec<usize> =
        (1_000..1_000 + LINKS).map(|n| machine.place(&format!("received {n}"))).collect();
    let client = machine.place("received 1");
    assert!(links.iter().all(|link| *link < machine.place("due")));
    let before = links.iter().filter(|link| **link < client).count();
    assert!((1..=13).contains(&before), "{before} links before the client");
}

#[test]
fn links_are_flushed_once_at_the_end_and_clients_at_once() {
    let mut bench = Bench::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (ip, port) = (server.local_addr().unwrap().ip(), server.local_addr().unwrap().port());
    bench.act(vec![connect(77, ip, port)]);
    let _node = server.accept().unwrap();
    let mut client = bench.client(1);
    bench.until("the link stands", |m| m.is_established(77));
    bench.turns.machine.say(ConnId(77), b"PING");
    bench.turns.machine.say(ConnId(1), b"PONG");
    bench.turns.machine.inputs.clear();
    client.write_all(b"x").unwrap();
    bench.turn();
    assert_eq!(
        bench.turns.machine.inputs,
        ["begin", "received 1", "sent 1", "due", "end", "sent 77"]
    );
}

#[test]
fn due_work_goes_on_in_the_turn_until_a_millisecond_is_over() {
    let mut bench = Bench::new();
    bench.turn();
    bench.turns.machine.inputs.clear();
    bench.turns.machine.due_left = 3;
    bench.turn();
    assert_eq!(bench.turns.machine.inputs, ["begin", "due", "due", "due", "end"]);
    bench.turns.machine.due_left = u64::MAX;
    let mut client = bench.client(1);
    client.write_all(b"x").unwrap();
    bench.until("a client is read between", |m| m.received_len(1) == 1);
    assert!(bench.turns.sleep_time().is_zero());
}

#[test]
fn a_flood_is_read_in_shares_and_to_its_end() {
    let mut bench = Bench::new();
    let mut client = bench.client(1);
    let writer = std::thread::spawn(move || client.write_all(&vec![7; 3 << 20]).unwrap());
    let mut before = 0;
    bench.until("all is read", |m| {
        let len = m.received_len(1);
        assert!(len - before <= 512 << 10, "two shares of a turn at most");
        before = len;
        len == 3 << 20 && m.saw("closed 1 Eof")
    });
    writer.join().unwrap();
}

#[test]
fn data_before_the_end_is_delivered() {
    let mut bench = Bench::new();
    let mut client = bench.client(1);
    client.write_all(b"last words").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    bench.until("the end is told", |m| m.saw("closed 1 Eof"));
    assert_eq!(bench.turns.machine.bytes[&ConnId(1)], b"last words");
}

#[test]
fn whoever_sends_nothing_more_gets_its_answer_however_late() {
    let mut bench = Bench::new();
    bench.turns.machine.answers_late = true;
    let mut client = bench.client(1);
    client.write_all(b"PING").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    bench.until("its end is told", |m| m.saw("eof 1"));
    for _ in 0..5 {
        bench.turn();
    }
    assert_eq!(bench.turns.table.len(), 1);
    bench.turns.machine.say(ConnId(1), b"PONG");
    bench.act(vec![Action::CloseAfterFlush { conn: ConnId(1) }]);
    bench.until("it is closed", |m| m.saw("closed 1 Eof"));
    assert_eq!(read_all(&client).unwrap(), b"PONG");
    let told = bench.turns.machine.inputs.iter().filter(|input| *input == "eof 1");
    assert_eq!(told.count(), 0, "told once, before these turns");
}

#[test]
fn whoever_is_gone_altogether_is_lost_as_soon_as_that_shows() {
    let mut bench = Bench::new();
    bench.turns.machine.answers_late = true;
    drop(bench.client(1));
    bench.until("its end is told", |m| m.saw("eof 1"));
    // Nothing is heard of it until something is sent there.
    bench.turns.machine.say(ConnId(1), b"PONG");
    bench.until("it is gone", |m| m.saw("closed 1 Error"));
    assert_eq!(bench.turns.table.len(), 0);
}

#[test]
fn whoever_sends_nothing_more_does_not_wait_for_ever() {
    let mut bench = Bench::new();
    bench.turns.machine.answers_late = true;
    let clients = [bench.client(1), bench.client(2)];
    // One of them is not even read.
    bench.act(vec![Action::Hold { conn: ConnId(2), hold: true }]);
    for client in &clients {
        client.shutdown(Shutdown::Write).unwrap();
    }
    bench.until("the end of the first is told", |m| m.saw("eof 1"));
    let ending = |bench: &mut Bench, conn| {
        let token = bench.turns.table.token(ConnId(conn)).unwrap();
        bench.turns.table.get(token).unwrap().ending_since.is_some()
    };
    wait_until("the end of the second is seen", || {
        bench.turn();
        ending(&mut bench, 2)
    });
    assert!(!bench.turns.machine.saw("eof 2"));
    let begun = bench.turns.now;
    // What moves begins the time anew.
    bench.turns.now = begun.after(ENDING_MAX_MS - 1_000);
    bench.turns.machine.say(ConnId(1), b"+");
    bench.turns.flush();
    bench.turns.now = begun.after(ENDING_MAX_MS + 1_000);
    bench.turns.look_at_time();
    assert!(bench.turns.machine.saw("closed 2 Error"));
    assert_eq!(bench.turns.table.len(), 1);
    bench.turns.now = begun.after(2 * ENDING_MAX_MS + 1_000);
    bench.turns.look_at_time();
    assert!(bench.turns.machine.saw("closed 1 Error"));
    assert_eq!(bench.turns.table.len(), 0);
}

#[test]
fn a_link_whose_other_side_ends_is_lost_when_all_was_read() {
    let mut bench = Bench::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (ip, port) = (server.local_addr().unwrap().ip(), server.local_addr().unwrap().port());
    bench.act(vec![connect(77, ip, port)]);
    let (mut node, _) = server.accept().unwrap();
    node.write_all(&[b'+'; 300_000]).unwrap();
    node.shutdown(Shutdown::Write).unwrap();
    bench.until("it is lost", |m| m.saw("closed 77 Eof"));
    assert_eq!(bench.turns.machine.received_len(77), 300_000);
    assert!(!bench.turns.machine.saw("eof 77"));
}

#[test]
fn a_held_client_is_not_read_until_released() {
    let mut bench = Bench::new();
    let mut client = bench.client(1);
    bench.turns.machine.on("received 1", vec![Action::Hold { conn: ConnId(1), hold: true }]);
    client.write_all(b"one").unwrap();
    bench.until("the first is read", |m| m.received_len(1) == 3);
    client.write_all(b"two").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut other = bench.client(2);
    other.write_all(b"x").unwrap();
    bench.until("others go on", |m| m.received_len(2) == 1);
    assert_eq!(bench.turns.machine.received_len(1), 3);
    bench.act(vec![Action::Hold { conn: ConnId(1), hold: false }]);
    bench.until("the end is told", |m| m.saw("closed 1 Eof"));
    assert_eq!(bench.turns.machine.bytes[&ConnId(1)], b"onetwo");
}

#[test]
fn a_connection_closed_in_the_turn_is_not_read_in_it() {
    let mut bench = Bench::new();
    let mut clients = [bench.client(1), bench.client(2)];
    bench.turn();
    let close = |conn| vec![Action::Close { conn: ConnId(conn) }];
    bench.turns.machine.on("received 1", close(2));
    bench.turns.machine.on("received 2", close(1));
    bench.turns.machine.inputs.clear();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    bench.turn();
    bench.turn();
    let machine = &bench.turns.machine;
    assert!(machine.saw("received 1") != machine.saw("received 2"), "{:?}", machine.inputs);
    assert!(!machine.inputs.iter().any(|input| input.starts_with("closed")));
    assert_eq!(bench.turns.table.len(), 1);
}

#[test]
fn large_output_leaves_whole_and_then_the_connection_is_closed() {
    let mut bench = Bench::new();
    let client = bench.client(1);
    let reader = std::thread::spawn(move || read_all(&client).unwrap());
    let data: Vec<u8> = (0..8 << 20).map(|n: u32| (n % 251) as u8).collect();
    bench.turns.machine.say(ConnId(1), &data);
    bench.act(vec![Action::CloseAfterFlush { conn: ConnId(1) }]);
    bench.until("it is closed", |m| m.saw("closed 1 Eof"));
    assert!(reader.join().unwrap() == data);
    assert_eq!(bench.turns.table.len(), 0);
}

#[test]
fn a_peer_that_takes_nothing_is_closed_in_the_end() {
    let mut bench = Bench::new();
    let _client = bench.client(1);
    bench.turns.machine.say(ConnId(1), &vec![0; 32 << 20]);
    bench.act(vec![Action::CloseAfterFlush { conn: ConnId(1) }]);
    for _ in 0..50 {
        bench.turn();
    }
    assert_eq!(bench.turns.table.len(), 1);
    bench.turns.now = bench.turns.now.after(CLOSING_MAX_MS + 1);
    bench.turns.look_at_time();
    assert_eq!(bench.turns.table.len(), 0);
    assert!(bench.turns.machine.saw("closed 1 Error"));
}

#[test]
fn a_write_to_a_gone_peer_is_told_once() {
    let mut bench = Bench::new();
    let client = bench.client(1);
    drop(client);
    wait_until("it is told", || {
        bench.turns.machine.say(ConnId(1), b"x");
        bench.turn();
        bench.turns.machine.inputs.iter().any(|input| input.starts_with("closed 1"))
    });
    bench.turn();
    let told = bench.turns.machine.inputs.iter().filter(|input| input.starts_with("closed 1"));
    assert_eq!(told.count(), 1);
}

#[test]
fn accepting_goes_on_when_a_connection_closes() {
    let mut bench = Bench::new();
    let _first = bench.client(1);
    bench.turns.pause_accepting(&nix::errno::Errno::EMFILE.into());
    bench.turns.accept_again = Some(Mono(u64::MAX));
    let _second = TcpStream::connect(bench.at).unwrap();
    for _ in 0..5 {
        bench.turn();
    }
    assert!(!bench.turns.machine.saw("accepted 2"));
    bench.act(vec![Action::Close { conn: ConnId(1) }]);
    bench.until("the second is accepted", |m| m.saw("accepted 2"));
}

#[test]
fn lookups_come_back() {
    let mut bench = Bench::new();
    bench.act(vec![Action::Resolve {
        lookup: LookupId(9),
        host: b"localhost".to_vec(),
        own: true,
    }]);
    bench.until("it is answered", |m| m.saw("resolved 9 true"));
}

#[test]
fn saves_come_back_whether_they_succeed_or_not() {
    let mut bench = Bench::new();
    let file = bench.dir.path().join("s.conf");
    std::fs::write(&file, "# mine\nport 5\n").unwrap();
    bench.act(vec![Action::Persist { generation: 7 }]);
    bench.until("it is saved", |m| m.saw("persisted 7 true"));
    assert!(std::fs::read(&file).unwrap().starts_with(b"# mine\nport 5\n"));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    bench.act(vec![Action::Persist { generation: 8 }]);
    bench.until("it is refused", |m| m.saw("persisted 8 false"));
}

#[test]
fn an_exit_ends_the_run_at_once() {
    let mut bench = Bench::new();
    bench.turns.machine.actions.extend([Action::Exit { code: 3, clean: true }, log("never")]);
    assert_eq!(bench.turns.run().unwrap(), End { code: 3, clean: true });
    assert!(!bench.turns.machine.saw("log never"));
}
