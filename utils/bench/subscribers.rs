//! Thousands of subscribers and one +switch-master: how long from the first to the last, and what
//! memory do they take?
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::bench::{Bench, Side, progress};
use crate::client::{Client, Reply};
use crate::crowd::Crowd;
use crate::farm::Farms;
use crate::machine::raise_descriptors;
use crate::report::{Pair, Report, Table, Unit};

const SUBSCRIBERS: usize = 10_000;
/// Beside the subscribers, in this process and in the sentinel.
const OTHER_DESCRIPTORS: usize = 200;
const QUICK_ROUNDS: usize = 3;
const FULL_ROUNDS: usize = 10;
const REQUEST: &[u8] = b"*2\r\n$9\r\nSUBSCRIBE\r\n$14\r\n+switch-master\r\n";
/// How the one message begins that each is waiting for.
const MESSAGE: &[u8] = b"*3\r\n$7\r\nmessage\r\n";
const LIMIT: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(500);
/// So many subscribe at a time: the queue of a listener is short.
const BATCH: usize = 100;

#[derive(Default)]
struct Results {
    subscribed: Pair,
    spread: Pair,
    order: Pair,
    memory_before: Pair,
    memory_with: Pair,
    memory_after: Pair,
}

/// Measures both in turn.
pub fn measure(bench: &Bench) -> Result<Report, String> {
    let rounds = bench.runs.unwrap_or(if bench.full { FULL_ROUNDS } else { QUICK_ROUNDS });
    let room = raise_descriptors()? as usize;
    let count = SUBSCRIBERS.min(room.saturating_sub(OTHER_DESCRIPTORS));
    let mut results = Results::default();
    for side in Side::BOTH {
        one(bench, side, count, rounds, &mut results)?;
    }
    let text = format!(
        "One sentinel, one master, {count} clients that subscribed to +switch-master, all in one \
         process on the same machine. {rounds} times SENTINEL FAILOVER: from the first client \
         that has the message to the last, and from the order to the last. Memory: resident, \
         before the clients came, with them, and after the last message."
    );
    let mut table = Table::of_pairs("Subscribers", &text, &["what"]);
    let rows = [
        ("first to last", &results.spread, Unit::Milliseconds),
        ("order to last", &results.order, Unit::Milliseconds),
        ("until all subscribed", &results.subscribed, Unit::Milliseconds),
        ("memory without", &results.memory_before, Unit::Mebibytes),
        ("memory with", &results.memory_with, Unit::Mebibytes),
        ("memory after", &results.memory_after, Unit::Mebibytes),
    ];
    rows.iter().for_each(|(what, pair, unit)| table.add_pair(&[what], pair, *unit));
    Ok(Report { tables: vec![table], charts: vec![] })
}

fn one(
    bench: &Bench,
    side: Side,
    count: usize,
    rounds: usize,
    results: &mut Results,
) -> Result<(), String> {
    let name = &bench.program(side).name;
    progress(&format!("subscribers: {name}: starting"));
    let farms = Farms::start(bench, 1)?;
    let more = format!("maxclients {}\n", count + OTHER_DESCRIPTORS / 2);
    let mut crowd = Crowd::start(bench, side, &farms, 1, 1, &more)?;
    crowd.first_answers(LIMIT)?;
    crowd.wait_discovered(LIMIT)?;
    let port = crowd.sentinels[0].port;
    crowd.memory().into_iter().for_each(|mib| results.memory_before.of(side).add(mib));
    progress(&format!("subscribers: {name}: {count} subscribe"));
    let begun = Instant::now();
    let mut audience = Audience::subscribe(port, count)?;
    results.subscribed.of(side).add(Some(begun.elapsed().as_secs_f64() * 1000.0));
    crowd.memory().into_iter().for_each(|mib| results.memory_with.of(side).add(mib));
    for round in 0..rounds {
        progress(&format!("subscribers: {name}: failover {} of {rounds}", round + 1));
        let ordered = order_failover(port)?;
        let (first, last) = audience.wait()?;
        let milliseconds = |from: Instant| last.duration_since(from).as_secs_f64() * 1000.0;
        results.spread.of(side).add(Some(milliseconds(first)));
        results.order.of(side).add(Some(milliseconds(ordered)));
    }
    crowd.memory().into_iter().for_each(|mib| results.memory_after.of(side).add(mib));
    Ok(())
}

/// Orders a failover, again and again while one is still going on; gives when it was accepted.
fn order_failover(port: u16) -> Result<Instant, String> {
    let until = Instant::now() + LIMIT;
    while Instant::now() < until {
        let at = Instant::now();
        let client = Client::connect(port, Some(LIMIT));
        match client.and_then(|mut client| client.ask(&["SENTINEL", "FAILOVER", "m0"])) {
            Ok(Reply::Text(text)) if text == "OK" => return Ok(at),
            Ok(_) => std::thread::sleep(RETRY),
            Err(e) => return Err(format!("SENTINEL FAILOVER: {e}")),
        }
    }
    Err(format!("SENTINEL FAILOVER was refused for {} s", LIMIT.as_secs()))
}

/// All subscribers.
struct Audience {
    poll: Poll,
    streams: Vec<mio::net::TcpStream>,
    buffer: Vec<u8>,
}

impl Audience {
    /// Connects them all and waits until each is subscribed.
    fn subscribe(port: u16, count: usize) -> Result<Audience, String> {
        let failed = |e| format!("cannot subscribe: {e}");
        let poll = Poll::new().map_err(failed)?;
        let mut audience = Audience { poll, streams: Vec::new(), buffer: vec![0; 4096] };
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while audience.streams.len() < count {
            let first = audience.streams.len();
            let mut batch = Vec::new();
            for _ in first..count.min(first + BATCH) {
                let mut stream = TcpStream::connect_timeout(&at, LIMIT).map_err(failed)?;
                stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
                stream.write_all(REQUEST).map_err(failed)?;
                batch.push(stream);
            }
            for mut stream in batch {
                let got = stream.read(&mut audience.buffer).map_err(failed)?;
                if !audience.buffer[..got].starts_with(b"*3\r\n$9\r\nsubscribe\r\n") {
                    let text = String::from_utf8_lossy(&audience.buffer[..got]).into_owned();
                    return Err(format!("SUBSCRIBE was answered {}", text.trim_end()));
                }
                stream.set_nonblocking(true).map_err(failed)?;
                let mut stream = mio::net::TcpStream::from_std(stream);
                let token = Token(audience.streams.len());
                let registry = audience.poll.registry();
                registry.register(&mut stream, token, Interest::READABLE).map_err(failed)?;
                audience.streams.push(stream);
            }
        }
        Ok(audience)
    }

    /// Waits until each has the message; gives when the first and the last had it.
    fn wait(&mut self) -> Result<(Instant, Instant), String> {
        let mut missing = vec![true; self.streams.len()];
        let mut left = self.streams.len();
        let mut first = None;
        let mut events = Events::with_capacity(1024);
        let until = Instant::now() + LIMIT;
        while left > 0 {
            if Instant::now() > until {
                return Err(format!("{left} subscribers have no message after {LIMIT:?}"));
            }
            match self.poll.poll(&mut events, Some(RETRY)) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                result => result.map_err(|e| format!("cannot wait for events: {e}"))?,
            }
            for event in &events {
                let at = event.token().0;
                if self.read(at)? && std::mem::replace(&mut missing[at], false) {
                    left -= 1;
                    first.get_or_insert(Instant::now());
                }
            }
        }
        let last = Instant::now();
        Ok((first.unwrap_or(last), last))
    }

    /// Whether a message came.
    fn read(&mut self, at: usize) -> Result<bool, String> {
        match self.streams[at].read(&mut self.buffer) {
            Ok(0) => Err("a subscriber was disconnected".to_string()),
            Ok(count) if self.buffer[..count].starts_with(MESSAGE) => Ok(true),
            Ok(count) => {
                let text = String::from_utf8_lossy(&self.buffer[..count]);
                Err(format!("a subscriber was told {}", text.trim_end()))
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(false),
            Err(e) => Err(format!("a subscriber: {e}")),
        }
    }
}
