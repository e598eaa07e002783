//! A load generator: many connections in one thread that ask the same things again and again, with
//! as little of its own as can be, since it shares the machine with what it measures.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::latency::Latencies;
use crate::machine::cpu_seconds;

const READ_BYTES: usize = 256 * 1024;
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// How long the last replies are waited for.
const LAST_REPLIES: Duration = Duration::from_secs(10);

/// What to ask, and how.
pub struct Load<'a> {
    pub port: u16,
    /// The process that serves it.
    pub pid: u32,
    pub connections: usize,
    /// The requests, taken in turn.
    pub requests: &'a [Vec<u8>],
}

/// What came of it.
pub struct Outcome {
    pub requests: u64,
    pub seconds: f64,
    /// Of the server, in seconds.
    pub server_cpu: f64,
    /// Of this process, in seconds.
    own_cpu: f64,
    pub latencies: Latencies,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// How much of a core the load generator used, in percent.
    pub fn own_percent(&self) -> f64 {
        self.own_cpu / self.seconds * 100.0
    }

    /// Requests per second of CPU time of the server.
    pub fn per_cpu_second(&self) -> f64 {
        self.requests as f64 / self.server_cpu.max(0.001)
    }
}

struct Connection {
    stream: mio::net::TcpStream,
    counter: Counter,
    /// When what is unanswered was sent.
    sent: VecDeque<Instant>,
    /// Requests of which the server's socket had no room yet.
    unsent: Vec<u8>,
}

/// All connections and the loop around them.
struct Generator<'a> {
    load: &'a Load<'a>,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    next: usize,
    done: u64,
    latencies: Latencies,
}

impl Load<'_> {
    /// As fast as it goes: each connection sends `pipeline` requests, waits for all replies, and
    /// sends the next. A latency is that of all `pipeline` together.
    pub fn closed(&self, pipeline: usize, time: Duration) -> Result<Outcome, String> {
        let mut generator = Generator::new(self)?;
        let (cpu, begun) = (self.cpu()?, Instant::now());
        (0..self.connections).try_for_each(|at| generator.send(at, pipeline))?;
        let until = begun + time;
        while Instant::now() < until {
            for at in generator.turn(Some(until - begun))? {
                if generator.connections[at].sent.is_empty() {
                    generator.send(at, pipeline)?;
                }
            }
        }
        generator.give_up();
        generator.outcome(begun, cpu)
    }

    /// So many requests per second, whatever the replies do, until `stop` says so.
    pub fn paced(&self, per_second: u32, stop: impl Fn() -> bool) -> Result<Outcome, String> {
        let mut generator = Generator::new(self)?;
        let (cpu, begun) = (self.cpu()?, Instant::now());
        let pause = Duration::from_secs(1) / per_second;
        let mut due = begun;
        let mut at = 0;
        while !stop() {
            let now = Instant::now();
            if now >= due {
                generator.send(at, 1)?;
                at = (at + 1) % self.connections;
                // After a break of its own it does not make up for what it missed.
                due = (due + pause).max(now - 10 * pause);
            }
            generator.turn(Some(due.saturating_duration_since(Instant::now())))?;
        }
        let until = Instant::now() + LAST_REPLIES;
        while generator.outstanding() > 0 && Instant::now() < until {
            generator.turn(Some(Duration::from_millis(10)))?;
        }
        generator.give_up();
        generator.outcome(begun, cpu)
    }

    /// Of the server and of this process.
    fn cpu(&self) -> Result<[f64; 2], String> {
        let server = cpu_seconds(self.pid).ok_or("the server is gone")?;
        Ok([server, cpu_seconds(std::process::id()).unwrap_or(0.0)])
    }
}

impl<'a> Generator<'a> {
    fn new(load: &'a Load<'a>) -> Result<Generator<'a>, String> {
        let failed = |e| format!("cannot connect to port {}: {e}", load.port);
        let poll = Poll::new().map_err(failed)?;
        let mut connections = Vec::new();
        for number in 0..load.connections {
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, load.port));
            let stream = TcpStream::connect_timeout(&at, CONNECT_LIMIT).map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            stream.set_nonblocking(true).map_err(failed)?;
            let mut stream = mio::net::TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(number), interest).map_err(failed)?;
            let (counter, sent, unsent) = (Counter::default(), VecDeque::new(), Vec::new());
            connections.push(Connection { stream, counter, sent, unsent });
        }
        Ok(Generator {
            load,
            poll,
            events: Events::with_capacity(load.connections.max(16)),
            connections,
            buffer: vec![0; READ_BYTES],
            next: 0,
            done: 0,
            latencies: Latencies::default(),
        })
    }

    fn send(&mut self, at: usize, count: usize) -> Result<(), String> {
        let connection = &mut self.connections[at];
        let now = Instant::now();
        for _ in 0..count {
            connection.unsent.extend_from_slice(&self.load.requests[self.next]);
            self.next = (self.next + 1) % self.load.requests.len();
            connection.sent.push_back(now);
        }
        flush(connection)
    }

    /// Waits for what comes and takes it; gives the connections that got replies.
    fn turn(&mut self, limit: Option<Duration>) -> Result<Vec<usize>, String> {
        match self.poll.poll(&mut self.events, limit) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(Vec::new()),
            result => result.map_err(|e| format!("cannot wait for events: {e}"))?,
        }
        let mut replied = Vec::new();
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let at = event.token().0;
            if event.is_writable() {
                flush(&mut self.connections[at])?;
            }
            if event.is_readable() && self.read(at)? {
                replied.push(at);
            }
        }
        self.events = events;
        Ok(replied)
    }

    /// Whether replies came.
    fn read(&mut self, at: usize) -> Result<bool, String> {
        let connection = &mut self.connections[at];
        let mut replies = 0;
        loop {
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed a connection".to_string()),
                Ok(count) => {
                    replies += connection.counter.feed(&self.buffer[..count])?;
                    if count < self.buffer.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("cannot read: {e}")),
            }
        }
        let now = Instant::now();
        for _ in 0..replies {
            let sent = connection.sent.pop_front().ok_or("more replies than requests")?;
            self.latencies.add(now.duration_since(sent));
        }
        self.done += replies;
        Ok(replies > 0)
    }

    fn outstanding(&self) -> usize {
        self.connections.iter().map(|connection| connection.sent.len()).sum()
    }

    /// What is unanswered took at least so long.
    fn give_up(&mut self) {
        for sent in self.connections.iter().flat_map(|connection| &connection.sent) {
            self.latencies.add(sent.elapsed());
        }
    }

    fn outcome(self, begun: Instant, cpu: [f64; 2]) -> Result<Outcome, String> {
        let seconds = begun.elapsed().as_secs_f64();
        let [server, own] = self.load.cpu()?;
        let (server_cpu, own_cpu) = (server - cpu[0], own - cpu[1]);
        if self.done == 0 {
            return Err("no reply at all".to_string());
        }
        let (requests, latencies) = (self.done, self.latencies);
        Ok(Outcome { requests, seconds, server_cpu, own_cpu, latencies })
    }
}

fn flush(connection: &mut Connection) -> Result<(), String> {
    while !connection.unsent.is_empty() {
        match connection.stream.write(&connection.unsent) {
            Ok(count) if count == connection.unsent.len() => connection.unsent.clear(),
            Ok(count) => drop(connection.unsent.drain(..count)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(format!("cannot write: {e}")),
        }
    }
    Ok(())
}

/// Counts replies in a stream without keeping them: bodies are skipped by their lengths.
#[derive(Debug, Default)]
struct Counter {
    /// Values that the reply still needs beside the one that comes.
    open: u64,
    /// Bytes of a body still to come.
    skip: usize,
    /// The beginning of a line that was cut.
    line: Vec<u8>,
}

impl Counter {
    /// How many replies end in these bytes; an error reply is an error.
    fn feed(&mut self, bytes: &[u8]) -> Result<u64, String> {
        let mut rest = bytes;
        let mut replies = 0;
        while !rest.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(rest.len());
                self.skip -= skipped;
                rest = &rest[skipped..];
                replies += u64::from(self.skip == 0 && self.ended());
                continue;
            }
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.line.extend_from_slice(rest);
                break;
            };
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            let ended = if self.line.is_empty() {
                self.take(line)?
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take(&whole)?
            };
            replies += u64::from(ended && self.ended());
        }
        Ok(replies)
    }

    /// Whether the line is a value of its own.
    fn take(&mut self, line: &[u8]) -> Result<bool, String> {
        let mark = line[0];
        let text = line.get(1..line.len() - 2).unwrap_or_default();
        if mark == b'+' || mark == b':' {
            return Ok(true);
        }
        let number: Option<i64> = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
        match (mark, number) {
            (b'$' | b'*', Some(-1)) | (b'*', Some(0)) => Ok(true),
            (b'$', Some(length)) => {
                self.skip = length as usize + 2;
                Ok(false)
            }
            (b'*', Some(count)) => {
                self.open += count as u64 - 1;
                Ok(false)
            }
            _ => Err(format!("a reply was {}", String::from_utf8_lossy(line).trim_end())),
        }
    }

    /// A value ended; whether the reply did.
    fn ended(&mut self) -> bool {
        if self.open == 0 {
            return true;
        }
        self.open -= 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_in_any_pieces() {
        let text = b"+PONG\r\n*2\r\n$3\r\na\r\n\r\n*2\r\n:1\r\n$-1\r\n*0\r\n$0\r\n\r\n*-1\r\n";
        for size in 1..=text.len() {
            let mut counter = Counter::default();
            let counts = text.chunks(size).map(|piece| counter.feed(piece).expect("no error"));
            assert_eq!(counts.sum::<u64>(), 5, "{size}");
        }
        assert!(Counter::default().feed(b"-ERR no\r\n").is_err());
    }
}
