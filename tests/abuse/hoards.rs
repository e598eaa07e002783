//! Clients that make us keep as much as they can: one by one they may hold little, and all together
//! no more than `maxmemory-clients`.

use crate::house::{House, MASTER};
use crate::raw::Raw;
use crate::support::sentinel::SentinelOptions;
use crate::support::wait::{self, SHORT};
use crate::world;
use std::io::{Read, Write};
use std::time::Duration;

/// All clients together, as the tests set it.
const LIMIT_MIB: u64 = 16;
/// What the allocator and requests on their way may take beyond that.
const SLACK_MIB: u64 = 12;

fn limited() -> String {
    format!("maxmemory-clients {LIMIT_MIB}mb")
}

fn request(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    out
}

/// Sends all of it, reading what comes back meanwhile; both may end by a close.
fn send_and_drain(raw: &mut Raw, bytes: &[u8]) {
    raw.stream.set_nonblocking(true).unwrap();
    let (mut sent, mut sink) = (0, vec![0; 64 << 10]);
    while sent < bytes.len() {
        match raw.stream.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(error) if crate::raw::is_timeout(&error) => {}
            Err(_) => break,
        }
        match raw.stream.read(&mut sink) {
            Ok(0) => break,
            Err(error) if !crate::raw::is_timeout(&error) => break,
            Ok(_) | Err(_) => {}
        }
    }
    let _ = raw.stream.set_nonblocking(false);
}

#[test]
fn patterns_and_channels_of_half_a_megabyte() {
    let world = world!();
    let house = House::new(&world, &[&limited()]);
    let mut raws: Vec<Raw> = (0..3).map(|_| house.raw()).collect();
    for n in 0..150 {
        let topic = format!("{n}{}", "p".repeat(500_000));
        let command = ["PSUBSCRIBE", "SUBSCRIBE"][n % 2];
        send_and_drain(&mut raws[n % 3], &request(&[command, &topic]));
    }
    house.assert_grown_at_most(LIMIT_MIB + SLACK_MIB);
    // As many as they like of those that are short enough.
    for raw in &mut raws {
        let topics: Vec<String> = (0..1_000).map(|n| format!("{n}{}", "q".repeat(1_000))).collect();
        for some in topics.chunks(400) {
            let words = ["PSUBSCRIBE"].into_iter().chain(some.iter().map(|topic| &topic[..]));
            send_and_drain(raw, &request(&words.collect::<Vec<_>>()));
        }
    }
    house.assert_grown_at_most(LIMIT_MIB + SLACK_MIB);
    drop(raws);
    house.finish();
}

#[test]
fn names_of_half_a_megabyte() {
    let world = world!();
    let house = House::new(&world, &[&limited()]);
    let long = "n".repeat(500_000);
    let requests = [
        request(&["CLIENT", "SETNAME", &long]),
        request(&["CLIENT", "SETINFO", "LIB-NAME", &long]),
        request(&["CLIENT", "SETINFO", "LIB-VER", &long]),
        request(&["HELLO", "3", "SETNAME", &long]),
        request(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", &long]),
    ];
    let mut raws: Vec<Raw> = (0..300).map(|_| house.raw()).collect();
    for (n, raw) in raws.iter_mut().enumerate() {
        send_and_drain(raw, &requests[n % requests.len()]);
    }
    house.assert_grown_at_most(LIMIT_MIB + SLACK_MIB);
    // The longest that are taken, for thousands of clients and in all places where there is room.
    drop(raws);
    let name = "n".repeat(1_024);
    let prefixes: Vec<String> = (0..128).map(|n| format!("{n:03}{}", "p".repeat(1_020))).collect();
    let mut tracking = vec!["CLIENT", "TRACKING", "ON", "BCAST"];
    tracking.extend(prefixes.iter().flat_map(|prefix| ["PREFIX", prefix]));
    let all = [
        request(&["CLIENT", "SETNAME", &name]),
        request(&["CLIENT", "SETINFO", "LIB-NAME", &name]),
        request(&["CLIENT", "SETINFO", "LIB-VER", &name]),
        request(&tracking),
    ]
    .concat();
    let mut raws: Vec<Raw> = (0..400).map(|_| house.raw()).collect();
    for raw in &mut raws {
        send_and_drain(raw, &all);
    }
    house.assert_grown_at_most(LIMIT_MIB + SLACK_MIB);
    let evicted: u64 = house.sentinel.info()["evicted_clients"].parse().unwrap();
    assert!(evicted > 200, "50 MiB do not go into {LIMIT_MIB}: {evicted} evicted");
    drop(raws);
    house.finish();
}

#[test]
fn strangers_with_requests_that_never_end() {
    let world = world!();
    let login = Some(("default".to_string(), "gate".to_string()));
    let lines = ["requirepass gate".to_string(), limited()];
    let lines = lines.iter().map(String::as_str);
    let options = SentinelOptions { login, ..SentinelOptions::with_lines(lines) };
    let house = House::with(&world, options, |sentinel| sentinel.launch());
    let half = [&b"*2\r\n$4\r\nPING\r\n$500000\r\n"[..], &vec![b'x'; 400_000]].concat();
    let words = [&b"*100000\r\n"[..], &b"$9\r\nabcdefghi\r\n".repeat(80_000)].concat();
    let inline = vec![b'x'; 1_200_000];
    let mut raws: Vec<Raw> = (0..150).map(|_| house.raw()).collect();
    for (n, raw) in raws.iter_mut().enumerate() {
        send_and_drain(raw, [&half, &words, &inline][n % 3]);
    }
    house.assert_grown_at_most(LIMIT_MIB + SLACK_MIB);
    drop(raws);
    house.finish();
}

/// One who comes from where a known sentinel lives and says its id is closed after all others.
#[test]
fn a_known_sentinel_is_closed_last() {
    let world = world!();
    let id = "00000000000000000000000000000000000000aa";
    let peer = format!("sentinel known-sentinel {MASTER} 127.0.0.1 {} {id}", world.port());
    let house = House::new(&world, &["maxmemory-clients 1mb", &peer]);
    let hold = |name: &str, bytes: usize| {
        let mut raw = house.raw();
        raw.send(&request(&["CLIENT", "SETNAME", name]));
        assert_eq!(raw.read_exact(5), b"+OK\r\n");
        raw.send(b"*2\r\n$4\r\nPING\r\n$500000\r\n");
        raw.send(&vec![b'x'; bytes]);
        raw
    };
    let is_open = |raw: &Raw| {
        raw.stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let got = (&raw.stream).read(&mut [0; 16]);
        got.is_err_and(|error| crate::raw::is_timeout(&error))
    };
    let known = hold(&format!("sentinel-{}-cmd", &id[..8]), 300_000);
    let pretender = hold("sentinel-bbbbbbbb-cmd", 280_000);
    let others: Vec<Raw> = (0..20).map(|_| hold("x", 60_000)).collect();
    wait::wait("the pretender to be closed", SHORT, || {
        wait::expect(!is_open(&pretender), "still open")
    });
    wait::wait("some of the others to be closed", SHORT, || {
        let closed = others.iter().filter(|raw| !is_open(raw)).count();
        wait::expect(closed >= 5, closed)
    });
    assert!(is_open(&known), "it holds more than anybody, and is needed");
    drop((known, pretender, others));
    house.finish();
}
