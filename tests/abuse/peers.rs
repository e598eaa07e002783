//! Peers that flood us with hellos and asks.

use crate::house::{House, MASTER};
use crate::logs;
use crate::raw::{Raw, pipeline};
use crate::support::value::Value;
use crate::support::wait::{self, SHORT};
use crate::world;
use std::time::{Duration, Instant};

/// The most peers that are remembered for one master.
const MAX_PEERS: usize = 256;
/// More saves in a second than this are too many, votes or not.
const SAVES_PER_S: f64 = 600.0;

const SAVED: &str = "new configuration saved on disk";

/// All saves so far, by the log, once it has told how many lines it held back: then it takes new
/// ones again. To find out takes some saves: how many is given too.
fn saves(house: &House) -> (usize, usize) {
    let mut own = 0;
    wait::wait("lines about saves to be written again", SHORT, || {
        let before = logs::lines_with(house, SAVED).len();
        house.sentinel.ok(&["SENTINEL", "FLUSHCONFIG"]);
        own += 1;
        let lines = logs::lines_with(house, SAVED).split_off(before);
        let written = lines.last().is_some_and(|line| line.ends_with(SAVED));
        wait::expect(written, lines)
    });
    (logs::count(house, SAVED), own)
}

/// Sends requests, waits for all replies, and gives the saves per second that they caused.
fn saves_per_s(house: &House, requests: &[String]) -> f64 {
    let (before, _) = saves(house);
    let start = Instant::now();
    let mut raw = house.raw();
    raw.stream.set_write_timeout(None).unwrap();
    let (stream, addr) = (raw.stream.try_clone().unwrap(), String::new());
    let mut reader = Raw { stream, addr };
    let taker = std::thread::spawn(move || reader.read_to_close());
    for part in requests.chunks(100) {
        raw.send(part.concat().as_bytes());
    }
    raw.send(b"QUIT\r\n");
    let replies = taker.join().unwrap();
    assert!(replies.ends_with(b"+OK\r\n"), "{}", replies.escape_ascii());
    let took = start.elapsed().as_secs_f64();
    let (after, own) = saves(house);
    let count = after - before - own;
    println!("{} requests, {count} saves in {took:.2} s", requests.len());
    count as f64 / took.max(0.5)
}

fn hello(house: &House, ip: &str, port: usize, id: usize) -> String {
    let address = house.sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).texts();
    let text = format!("{ip},{port},{id:040x},0,{MASTER},{},{},0", address[0], address[1]);
    format!("PUBLISH __sentinel__:hello {text}\r\n")
}

#[test]
fn hellos_with_ever_new_run_ids() {
    let world = world!();
    let house = House::new(&world, &[]);
    let template = hello(&house, "IP", 1, 0xdead);
    let requests: Vec<String> = (0..20_000)
        .map(|n| {
            let ip = format!("127.1.{}.{}", n / 250, n % 250 + 1);
            template
                .replace("IP,", &format!("{ip},"))
                .replace(&"0".repeat(36), &format!("{n:036x}"))
        })
        .collect();
    let rate = saves_per_s(&house, &requests);
    assert!(rate < 30.0, "{rate} saves in a second");
    assert_eq!(house.sentinel.peers(MASTER).len(), MAX_PEERS);
    house.assert_grown_at_most(8);
    house.sentinel.ask(&["SENTINEL", "RESET", MASTER]);
    house.finish();
}

/// Each such hello makes us drop a connection and begin another.
#[test]
fn hellos_of_a_peer_that_moves_all_the_time() {
    let world = world!();
    let house = House::new(&world, &[]);
    let both = [hello(&house, "127.1.0.1", 1, 7), hello(&house, "127.1.0.2", 1, 7)];
    let requests: Vec<String> = (0..5_000).map(|n| both[n % 2].clone()).collect();
    let rate = saves_per_s(&house, &requests);
    assert!(rate < 30.0, "{rate} saves in a second");
    assert_eq!(house.sentinel.peers(MASTER).len(), 1);
    house.sentinel.ask(&["SENTINEL", "RESET", MASTER]);
    house.finish();
}

#[test]
fn asks_for_votes_in_ever_new_epochs() {
    let world = world!();
    let house = House::new(&world, &[]);
    let address = house.sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).texts();
    let ask = |epoch: usize| {
        let (ip, port) = (&address[0], &address[1]);
        format!("SENTINEL IS-MASTER-DOWN-BY-ADDR {ip} {port} {epoch} {epoch:040}\r\n")
    };
    let requests: Vec<String> = (1..20_000).map(ask).collect();
    let rate = saves_per_s(&house, &requests);
    assert!(rate < SAVES_PER_S, "{rate} saves in a second");
    house.assert_grown_at_most(12);
    // And without taking the answers.
    let mut raw = house.raw();
    raw.send(b"CLIENT REPLY OFF\r\n");
    for part in (20_000..60_000).map(ask).collect::<Vec<_>>().chunks(100) {
        raw.send(part.concat().as_bytes());
        house.assert_grown_at_most(16);
    }
    drop(raw);
    house.finish();
}

/// Whatever epoch is named, and however often: there is a vote for whoever asks in the next one.
#[test]
fn asks_for_votes_in_the_last_epochs() {
    const FREE: u64 = (1 << 63) - (1 << 33);
    let world = world!();
    let house = House::new(&world, &[]);
    let address = house.sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).texts();
    let words = |epoch: u64| {
        let (ip, port) = (&address[0], &address[1]);
        format!("SENTINEL IS-MASTER-DOWN-BY-ADDR {ip} {port} {epoch} {epoch:040}")
    };
    let ask = |epoch: u64| {
        let request = words(epoch);
        let reply = house.sentinel.ask(&request.split(' ').collect::<Vec<_>>());
        match reply.items() {
            [_, _, Value::Int(epoch)] => *epoch as u64,
            _ => panic!("{request} is answered by {reply:?}"),
        }
    };
    let mut current = 0;
    for (named, adopted) in [
        (i64::MAX as u64, false),
        (1 << 62, true),
        ((1 << 63) - 2, false),
        (FREE, true),
        (FREE + (1 << 32), false),
        (FREE + (1 << 20), true),
    ] {
        current = if adopted { named } else { current };
        assert_eq!(ask(named), current);
        current += 1;
        assert_eq!(ask(current), current, "after {named}");
    }
    // Step by step, as fast as can be; not all of them find their vote saved in time.
    let flood: Vec<String> =
        (current + 1..current + 60_000).map(|epoch| words(epoch) + "\r\n").collect();
    saves_per_s(&house, &flood);
    // In steps as large as can be.
    for step in 10..24 {
        ask(current + 60_000 + (1 << step));
    }
    wait::wait("the epochs to be saved", SHORT, || {
        let lines = house.sentinel.state_lines("current-epoch");
        current = lines.last().and_then(|line| line.parse().ok()).ok_or("no epoch")?;
        wait::expect_eq(ask(current + 1), current + 1)
    });
    let most = FREE + (1 << 24);
    assert!(current < most, "{current}");
    house.finish();
}

/// Asks that need no vote, and those about masters that nobody knows.
#[test]
fn asks_without_end() {
    let world = world!();
    let house = House::new(&world, &[]);
    std::thread::scope(|scope| {
        for target in ["127.0.0.1 1 0 *", "no.such.host 1 0 *", "10.0.0.1 6379 1 abc"] {
            let request = format!("SENTINEL IS-MASTER-DOWN-BY-ADDR {target}");
            let mut raw = house.raw();
            scope.spawn(move || raw.flood(&pipeline(&request), Duration::from_secs(1)));
        }
    });
    house.assert_grown_at_most(24);
    house.finish();
}
