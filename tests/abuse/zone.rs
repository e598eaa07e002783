//! Many pretended data nodes in one thread, all on one port of as many loopback addresses, which
//! can fall silent together as a zone behind a dead switch does: what is connected hears nothing
//! any more, and new connections hang.

use crate::support::value::Value;
use crate::support::wait::{self, SHORT};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{Backlog, listen};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const LISTENER: Token = Token(usize::MAX);
const PAUSE: Duration = Duration::from_millis(5);
/// A loopback connect that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_millis(300);
/// Connections that fill a backlog of no length, at most.
const FILLERS_MAX: usize = 64;

/// What a node is and knows.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whom it replicates from; `None`: a master.
    pub master: Option<SocketAddr>,
    /// What a master lists.
    pub replicas: Vec<SocketAddr>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    silent: AtomicBool,
    /// All connections are to be closed once.
    kick: AtomicBool,
    facts: Mutex<BTreeMap<IpAddr, Facts>>,
}

/// The nodes of a zone; dropping it ends them.
pub struct Zone {
    pub port: u16,
    net: u8,
    shared: Arc<Shared>,
    socket: std::net::TcpListener,
    fillers: Vec<std::net::TcpStream>,
    thread: Option<JoinHandle<()>>,
}

impl Zone {
    /// Nodes at 127.`net`.x.y, all of them masters without replicas until told otherwise.
    pub fn start(port: u16, net: u8) -> Zone {
        let socket = std::net::TcpListener::bind(("0.0.0.0", port)).expect("the port is free");
        listen(&socket, Backlog::new(4096).expect("a length")).expect("it listens");
        socket.set_nonblocking(true).expect("a flag");
        let shared = Arc::<Shared>::default();
        let (copy, listener) = (shared.clone(), socket.try_clone().expect("one more descriptor"));
        let thread = std::thread::spawn(move || Server::new(copy, listener).run());
        Zone { port, net, shared, socket, fillers: Vec::new(), thread: Some(thread) }
    }

    /// The address of a node.
    pub fn at(&self, number: usize) -> SocketAddr {
        let ip = Ipv4Addr::new(127, self.net, (number / 250) as u8, (number % 250 + 1) as u8);
        SocketAddr::from((ip, self.port))
    }

    /// What a node is from now on.
    pub fn set(&self, number: usize, facts: Facts) {
        self.shared.facts.lock().expect("no panic").insert(self.at(number).ip(), facts);
    }

    /// Nodes that are masters now.
    pub fn masters(&self) -> usize {
        let facts = self.shared.facts.lock().expect("no panic");
        facts.values().filter(|facts| facts.master.is_none()).count()
    }

    /// Nothing is read and answered any more, and new connections hang.
    pub fn fall_silent(&mut self) {
        self.shared.silent.store(true, Ordering::SeqCst);
        listen(&self.socket, Backlog::new(0).expect("a length")).expect("it listens");
        for _ in 0..FILLERS_MAX {
            match std::net::TcpStream::connect_timeout(&self.at(0), HANGS_AFTER) {
                Ok(filler) => self.fillers.push(filler),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                    return;
                }
            }
        }
        panic!("connections do not hang");
    }

    /// It listens again with room, and answers what waits.
    pub fn come_back(&mut self) {
        listen(&self.socket, Backlog::new(4096).expect("a length")).expect("it listens");
        self.fillers.clear();
        self.shared.silent.store(false, Ordering::SeqCst);
    }

    /// Closes every connection once, as CLIENT KILL does.
    pub fn kick(&self) {
        self.shared.kick.store(true, Ordering::SeqCst);
        wait::wait("the connections to be closed", SHORT, || {
            wait::expect(!self.shared.kick.load(Ordering::SeqCst), "still open")
        });
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Conn {
    stream: TcpStream,
    ip: IpAddr,
    input: Vec<u8>,
    /// Commands of an open transaction.
    multi: Option<Vec<Vec<String>>>,
}

struct Server {
    shared: Arc<Shared>,
    listener: TcpListener,
    poll: Poll,
    conns: BTreeMap<usize, Conn>,
    next: usize,
    /// Connections to nodes that were told to close them.
    killed: Vec<(IpAddr, usize)>,
}

impl Server {
    fn new(shared: Arc<Shared>, listener: std::net::TcpListener) -> Server {
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new().expect("a poll");
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("registered");
        Server { shared, listener, poll, conns: BTreeMap::new(), next: 0, killed: Vec::new() }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut pending: Vec<Token> = Vec::new();
        while !self.shared.stop.load(Ordering::SeqCst) {
            if self.shared.kick.load(Ordering::SeqCst) {
                self.conns.clear();
                self.shared.kick.store(false, Ordering::SeqCst);
            }
            // Edges that come while it is silent are taken when it is back.
            let _ = self.poll.poll(&mut events, Some(PAUSE));
            pending.extend(events.iter().map(|event| event.token()));
            if self.shared.silent.load(Ordering::SeqCst) {
                continue;
            }
            for token in std::mem::take(&mut pending) {
                match token {
                    LISTENER => self.accept(),
                    Token(number) => self.serve(number),
                }
            }
            for (ip, but) in std::mem::take(&mut self.killed) {
                self.conns.retain(|number, conn| conn.ip != ip || *number == but);
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let Ok(at) = stream.local_addr() else { continue };
            let _ = stream.set_nodelay(true);
            self.next += 1;
            let token = Token(self.next);
            if self.poll.registry().register(&mut stream, token, Interest::READABLE).is_ok() {
                let conn = Conn { stream, ip: at.ip(), input: Vec::new(), multi: None };
                self.conns.insert(self.next, conn);
            }
        }
    }

    fn serve(&mut self, number: usize) {
        let Some(mut conn) = self.conns.remove(&number) else { return };
        let mut buf = [0; 4096];
        loop {
            match conn.stream.read(&mut buf) {
                Ok(0) => return,
                Ok(n) => conn.input.extend_from_slice(&buf[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
        let mut output = Vec::new();
        loop {
            let mut rest = conn.input.as_slice();
            let Ok(request) = Value::read(&mut rest) else { break };
            let left = rest.len();
            conn.input.drain(..conn.input.len() - left);
            self.answer(number, &mut conn, request.texts(), &mut output);
        }
        if conn.stream.write_all(&output).is_ok() {
            self.conns.insert(number, conn);
        }
    }

    fn answer(&mut self, number: usize, conn: &mut Conn, words: Vec<String>, to: &mut Vec<u8>) {
        let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        if let Some(multi) = conn.multi.as_mut().filter(|_| name != "EXEC") {
            multi.push(words);
            return to.extend_from_slice(b"+QUEUED\r\n");
        }
        match name.as_str() {
            "PING" => to.extend_from_slice(b"+PONG\r\n"),
            "PUBLISH" => to.extend_from_slice(b":1\r\n"),
            "SUBSCRIBE" => to
                .extend_from_slice(b"*3\r\n$9\r\nsubscribe\r\n$18\r\n__sentinel__:hello\r\n:1\r\n"),
            "INFO" => {
                let text = self.info(conn.ip);
                to.extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
            }
            "MULTI" => {
                conn.multi = Some(Vec::new());
                to.extend_from_slice(b"+OK\r\n");
            }
            "EXEC" => {
                let multi = conn.multi.take().unwrap_or_default();
                to.extend_from_slice(format!("*{}\r\n", multi.len()).as_bytes());
                for words in multi {
                    self.execute(number, conn.ip, &words);
                    to.extend_from_slice(b"+OK\r\n");
                }
            }
            _ => {
                self.execute(number, conn.ip, &words);
                to.extend_from_slice(b"+OK\r\n");
            }
        }
    }

    fn execute(&mut self, number: usize, ip: IpAddr, words: &[String]) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["SLAVEOF", host, port] => {
                let master = format!("{host}:{port}").parse().ok();
                self.shared.facts.lock().expect("no panic").entry(ip).or_default().master = master;
            }
            ["CLIENT", "KILL", ..] => self.killed.push((ip, number)),
            _ => {}
        }
    }

    fn info(&self, ip: IpAddr) -> String {
        let facts = self.shared.facts.lock().expect("no panic").get(&ip).cloned();
        let facts = facts.unwrap_or_default();
        let bytes = match ip {
            IpAddr::V4(ip) => u32::from(ip),
            IpAddr::V6(_) => 0,
        };
        let mut text = format!("run_id:{bytes:040x}\r\n");
        match facts.master {
            None => {
                text += "role:master\r\n";
                for (index, at) in facts.replicas.iter().enumerate() {
                    let (ip, port) = (at.ip(), at.port());
                    text += &format!(
                        "slave{index}:ip={ip},port={port},state=online,offset=1,lag=0\r\n"
                    );
                }
            }
            Some(at) => {
                let (ip, port) = (at.ip(), at.port());
                text += &format!("role:slave\r\nmaster_host:{ip}\r\nmaster_port:{port}\r\n");
                text += "master_link_status:up\r\nslave_repl_offset:1\r\nslave_priority:100\r\n";
            }
        }
        text
    }
}
