//! Greedy clients: they keep to the protocol, but ask for more than their share.

use crate::house::{House, MASTER};
use crate::raw::{Raw, pipeline};
use crate::support::client::Client;
use crate::world;
use std::io::Read;
use std::time::Duration;

const SPAN: Duration = Duration::from_millis(1500);

/// Sends for a while; a second thread takes all the replies.
fn greedy(raw: &mut Raw, request: &str, prefix: &str, span: Duration) {
    let mut reader = raw.stream.try_clone().unwrap();
    let requests = pipeline(request);
    raw.send(prefix.as_bytes());
    let taker = std::thread::spawn(move || {
        let mut chunk = vec![0; 1 << 18];
        while matches!(reader.read(&mut chunk), Ok(1..)) {}
    });
    raw.flood(&requests, span);
    let _ = raw.stream.shutdown(std::net::Shutdown::Both);
    taker.join().unwrap();
}

fn all_at_once(house: &House, clients: usize, request: &str, prefix: &str) {
    let span = if prefix.is_empty() { SPAN } else { SPAN / 2 };
    let mut raws: Vec<Raw> = (0..clients).map(|_| house.raw()).collect();
    std::thread::scope(|scope| {
        for raw in &mut raws {
            scope.spawn(|| greedy(raw, request, prefix, span));
        }
    });
    // Requests that were sent would still be run, for minutes where they are dear.
    let mut killer = house.sentinel.connect().unwrap();
    for addr in raws.iter().map(|raw| &raw.addr) {
        killer.ask(&["CLIENT", "KILL", addr]).unwrap();
    }
}

#[test]
fn pipelines_that_are_read() {
    let world = world!();
    let house = House::new(&world, &[]);
    all_at_once(&house, 8, "PING", "");
    let address = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER}");
    all_at_once(&house, 8, &address, "");
    house.assert_grown_at_most(24);
    house.finish();
}

/// Replies that nobody gets cost as much to compose as others, and no unread output stops them.
#[test]
fn dear_requests_with_the_replies_off() {
    let world = world!();
    let house = House::new(&world, &[]);
    let crowd: Vec<Raw> = (0..1000).map(|_| house.raw()).collect();
    for request in ["CLIENT LIST", "CLIENT LIST TYPE pubsub", "CLIENT KILL ID 0 USER x", "COMMAND"]
    {
        all_at_once(&house, 2, request, "CLIENT REPLY OFF\r\n");
    }
    drop(crowd);
    house.finish();
}

/// One request that names the same thing over and over.
#[test]
fn requests_that_multiply() {
    let world = world!();
    let house = House::new(&world, &[]);
    let cases = [
        ("COMMAND INFO", "sentinel", 70_000),
        ("COMMAND DOCS", "sentinel", 70_000),
        ("COMMAND INFO", "sentinel", 1_000),
        ("SENTINEL INFO-CACHE", MASTER, 60_000),
        ("SENTINEL CONFIG GET", "*", 100_000),
        ("CLIENT LIST ID", "1", 100_000),
        ("PSUBSCRIBE", "*a*a*a*a*a*a*a*a*a*b", 30_000),
    ];
    for (command, word, count) in cases {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let words = [words, vec![word.as_bytes(); count]].concat();
        let mut client = Client::connect(&house.sentinel.endpoint()).unwrap();
        client.send(&words).unwrap();
        client.read().unwrap();
        house.assert_grown_at_most(32);
    }
    house.finish();
}
