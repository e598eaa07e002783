//! The loop: all connections of all nodes in one thread, what is to be sent gathered per turn.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket,
    sockopt,
};
use slab::Slab;

use crate::info::Info;
use crate::nodes::Nodes;
use crate::request::{Parsed, parse};

/// Several, since thousands of connections may be begun at once and each has a short queue.
const LISTENERS: usize = 8;
const BACKLOG: i32 = 4096;
const MAX_EVENTS: usize = 4096;
const READ_BYTES: usize = 64 * 1024;
/// A client that lets this much lie is dropped.
const MAX_OUTPUT_BYTES: usize = 4 * 1024 * 1024;
/// When no descriptor is left, accepting is tried again after this time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

pub type Words = Vec<Vec<u8>>;

/// A connection.
pub struct Client {
    /// `None`: it was closed while its node hung, which reads what it sent only later.
    stream: Option<TcpStream>,
    /// `None`: connected to the address for orders.
    pub node: Option<usize>,
    input: Vec<u8>,
    pub output: Vec<u8>,
    pub multi: Option<Vec<Words>>,
    pub subscribed: bool,
    dirty: bool,
}

/// What happened so far.
#[derive(Default)]
pub struct Counts {
    pub requests: u64,
    pub infos: u64,
    pub publishes: u64,
    pub deliveries: u64,
    pub accepts: u64,
    /// Accepts that failed for want of descriptors.
    pub refusals: u64,
}

/// Everything.
pub struct Server {
    poll: Poll,
    listeners: Vec<TcpListener>,
    pub clients: Slab<Client>,
    pub nodes: Nodes,
    pub info: Info,
    pub counts: Counts,
    dirty: Vec<usize>,
    /// Accepting ended early.
    accept_again: bool,
    scratch: Vec<u8>,
    pub stop: bool,
}

impl Server {
    /// Listens on a port of all addresses; who listens where is told apart by the address that a
    /// client connected to.
    pub fn new(nodes: Nodes) -> Result<Server, String> {
        let port = nodes.port;
        let poll = Poll::new().map_err(|e| e.to_string())?;
        // Alone on the port: the others below share it among themselves.
        open_listener(port, false).map_err(|e| format!("port {port}: {e}"))?;
        let mut listeners = Vec::new();
        for number in 0..LISTENERS {
            let mut listener =
                open_listener(port, true).map_err(|e| format!("port {port}: {e}"))?;
            let registered =
                poll.registry().register(&mut listener, Token(number), Interest::READABLE);
            registered.map_err(|e| e.to_string())?;
            listeners.push(listener);
        }
        Ok(Server {
            poll,
            listeners,
            clients: Slab::new(),
            info: Info::new(port),
            nodes,
            counts: Counts::default(),
            dirty: Vec::new(),
            accept_again: false,
            scratch: vec![0; READ_BYTES],
            stop: false,
        })
    }

    /// Serves until it is told to stop.
    pub fn run(&mut self) -> Result<(), String> {
        let mut events = Events::with_capacity(MAX_EVENTS);
        while !self.stop {
            let timeout = self.accept_again.then_some(ACCEPT_PAUSE);
            match self.poll.poll(&mut events, timeout) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                result => result.map_err(|e| format!("cannot wait for events: {e}"))?,
            }
            if std::mem::take(&mut self.accept_again) {
                (0..LISTENERS).for_each(|number| self.accept(number));
            }
            for event in &events {
                match event.token().0.checked_sub(LISTENERS) {
                    None => self.accept(event.token().0),
                    Some(client) => {
                        if event.is_writable() {
                            self.flush(client);
                        }
                        if event.is_readable() {
                            self.read(client, event.is_read_closed());
                        }
                    }
                }
            }
            for client in std::mem::take(&mut self.dirty) {
                self.flush(client);
            }
        }
        Ok(())
    }

    fn accept(&mut self, number: usize) {
        loop {
            match self.listeners[number].accept() {
                Ok((stream, _)) => self.add(stream),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.counts.refusals += 1;
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream) {
        let address = match stream.local_addr().map(|a| a.ip()) {
            Ok(IpAddr::V4(address)) => address,
            _ => return,
        };
        let node = self.nodes.at(address);
        if node.is_none() && address != Ipv4Addr::LOCALHOST {
            return;
        }
        let _ = stream.set_nodelay(true);
        let entry = self.clients.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(key + LISTENERS);
        if self.poll.registry().register(&mut stream, token, interest).is_err() {
            return;
        }
        entry.insert(Client {
            stream: Some(stream),
            node,
            input: Vec::new(),
            output: Vec::new(),
            multi: None,
            subscribed: false,
            dirty: false,
        });
        if let Some(node) = node {
            self.nodes.list[node].clients.push(key);
        }
        self.counts.accepts += 1;
    }

    fn hangs(&self, key: usize) -> bool {
        let node = self.clients.get(key).and_then(|client| client.node);
        node.is_some_and(|node| self.nodes.list[node].hung.is_some())
    }

    /// Reads what is there; `closed`: the end comes behind it.
    fn read(&mut self, key: usize, closed: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        while let Some(stream) = self.clients.get_mut(key).and_then(|c| c.stream.as_mut()) {
            match stream.read(&mut scratch) {
                Ok(count) if count > 0 => {
                    self.received(key, &scratch[..count]);
                    // Less than fits: nothing is left, and more would bring another event.
                    if count < scratch.len() && !closed {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                _ if self.hangs(key) => {
                    self.clients[key].stream = None;
                    break;
                }
                _ => {
                    self.remove(key);
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    fn received(&mut self, key: usize, bytes: &[u8]) {
        let hangs = self.hangs(key);
        let Some(client) = self.clients.get_mut(key) else { return };
        if hangs {
            client.input.extend_from_slice(bytes);
        } else if client.input.is_empty() {
            let used = self.handle(key, bytes);
            self.keep(key, &bytes[used..]);
        } else {
            let mut input = std::mem::take(&mut client.input);
            input.extend_from_slice(bytes);
            let used = self.handle(key, &input);
            self.keep(key, &input[used..]);
        }
    }

    fn keep(&mut self, key: usize, rest: &[u8]) {
        if let Some(client) = self.clients.get_mut(key)
            && !rest.is_empty()
        {
            client.input = rest.to_vec();
        }
    }

    /// Handles the whole requests; gives how many bytes they are.
    fn handle(&mut self, key: usize, bytes: &[u8]) -> usize {
        let mut places = Vec::new();
        let mut used = 0;
        while self.clients.contains(key) && used < bytes.len() {
            let rest = &bytes[used..];
            match parse(rest, &mut places) {
                Parsed::Incomplete => break,
                Parsed::Wrong => {
                    self.remove(key);
                    break;
                }
                Parsed::Complete(length) => {
                    let words: Vec<&[u8]> = places.iter().map(|p| &rest[p.clone()]).collect();
                    self.counts.requests += 1;
                    self.request(key, &words);
                    used += length;
                }
            }
        }
        used
    }

    /// Lets all nodes answer again: first what was sent to them while they hung.
    pub fn unhang(&mut self) -> usize {
        let mut woken = 0;
        for index in 0..self.nodes.list.len() {
            if self.nodes.list[index].hung.take().is_none() {
                continue;
            }
            woken += 1;
            for key in self.nodes.list[index].clients.clone() {
                let Some(client) = self.clients.get_mut(key) else { continue };
                let input = std::mem::take(&mut client.input);
                let gone = client.stream.is_none();
                let used = self.handle(key, &input);
                self.keep(key, &input[used..]);
                if gone {
                    self.remove(key);
                }
            }
        }
        woken
    }

    /// Puts bytes in the output of a client.
    pub fn send(&mut self, key: usize, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(key) {
            client.output.extend_from_slice(bytes);
            if !std::mem::replace(&mut client.dirty, true) {
                self.dirty.push(key);
            }
        }
    }

    fn flush(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.dirty = false;
        let Some(stream) = &mut client.stream else { return client.output.clear() };
        while !client.output.is_empty() {
            match stream.write(&client.output) {
                Ok(count) if count == client.output.len() => client.output.clear(),
                Ok(count) => drop(client.output.drain(..count)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.remove(key),
            }
        }
        if client.output.len() > MAX_OUTPUT_BYTES {
            self.remove(key);
        }
    }

    /// Closes a connection.
    pub fn remove(&mut self, key: usize) {
        let Some(client) = self.clients.try_remove(key) else { return };
        if let Some(node) = client.node {
            let node = &mut self.nodes.list[node];
            node.clients.retain(|c| *c != key);
            node.subscribers.retain(|c| *c != key);
        }
    }
}

fn open_listener(port: u16, shared: bool) -> std::io::Result<TcpListener> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::ReusePort, &shared)?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrIn::new(0, 0, 0, 0, port))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from_std(std::net::TcpListener::from(fd)))
}
