//! Single clients that misbehave.

use crate::house::{House, MASTER};
use crate::raw::{Dice, Raw, pipeline};
use crate::support::wait::{self, SHORT};
use crate::world;
use std::io::Write;
use std::time::Duration;

/// The most a client that does not read makes us hold: its output limit, one read beyond it, and
/// what the buffer grew by.
const UNREAD_MIB: u64 = 6;

#[test]
fn clients_that_never_read() {
    let world = world!();
    let house = House::new(&world, &[]);
    let requests = ["PING", "SENTINEL MASTERS", "COMMAND", "INFO", "COMMAND DOCS", "FOO bar"];
    let floods: Vec<Raw> = std::thread::scope(|scope| {
        let start = |request| {
            let mut raw = house.raw();
            scope.spawn(move || {
                raw.flood(&pipeline(request), Duration::from_millis(1500));
                raw
            })
        };
        let threads: Vec<_> = requests.into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    house.assert_grown_at_most(UNREAD_MIB * requests.len() as u64);
    let before = house.gauge.ticks();
    wait::holds("no work for those who do not read", Duration::from_millis(500), || {
        let ticks = house.gauge.ticks() - before;
        wait::expect(ticks < 20, ticks)
    });
    drop(floods);
    house.finish();
}

#[test]
fn a_client_that_reads_in_bursts_gets_every_reply() {
    const REQUESTS: usize = 60_000;
    let world = world!();
    let house = House::new(&world, &[]);
    let text = "x".repeat(500);
    let mut raw = house.raw();
    raw.stream.set_write_timeout(None).unwrap();
    let mut writer = raw.stream.try_clone().unwrap();
    let request = format!("PING {text}\r\n");
    let sender = std::thread::spawn(move || {
        for _ in 0..REQUESTS {
            writer.write_all(request.as_bytes()).unwrap();
        }
    });
    let reply = format!("$500\r\n{text}\r\n");
    let (mut left, mut dice) = (REQUESTS * reply.len(), Dice(0x5eed));
    while left > 0 {
        let part = left.min(200_000 + dice.below(600_000));
        raw.read_exact(part);
        left -= part;
        std::thread::sleep(Duration::from_millis(dice.below(4) as u64));
    }
    sender.join().unwrap();
    drop(raw);
    house.finish();
}

/// With limits of its own, so that it is soon over them, and with the default ones.
#[test]
fn subscribers_that_never_read() {
    let world = world!();
    let limit = "client-output-buffer-limit pubsub 512kb 128kb 1";
    let of_one = "scheduled to be closed ASAP for overcoming of output buffer";
    // With the default limits the one on all clients together comes first.
    let of_all = "Evicting client: ";
    for (lines, mib, why) in [(&[limit][..], 8, of_one), (&[][..], 80, of_all)] {
        let house = House::new(&world, lines);
        let mut raw = house.raw();
        // Many patterns: each event comes as often.
        let patterns: Vec<String> = (1..300).map(|stars| "*".repeat(stars)).collect();
        raw.send(format!("PSUBSCRIBE {}\r\n", patterns.join(" ")).as_bytes());
        let many = ["quorum", "1"].repeat(200);
        let words: Vec<&str> = ["SENTINEL", "SET", MASTER].into_iter().chain(many).collect();
        wait::wait("the subscriber to be closed", SHORT, || {
            house.sentinel.ok(&words);
            house.assert_grown_at_most(mib);
            wait::expect(house.sentinel.log_text().contains(why), "not closed yet")
        });
        // Nor is the connection that the requests came over there for long.
        wait::wait("all clients to be gone", SHORT, || wait::expect_eq(house.other_clients(), 0));
        drop(raw);
        house.finish();
    }
}

#[test]
fn clients_that_send_a_byte_now_and_then() {
    let world = world!();
    let house = House::new(&world, &[]);
    let mut slow: Vec<Raw> = (0..50).map(|_| house.raw()).collect();
    for byte in b"*2\r\n$4\r\nPING\r\n$3\r\nabc\r\n" {
        for raw in &mut slow {
            raw.send(&[*byte]);
        }
        std::thread::sleep(Duration::from_millis(40));
    }
    for raw in &mut slow {
        assert_eq!(raw.read_exact(9), b"$3\r\nabc\r\n");
    }
    house.assert_grown_at_most(1);
    drop(slow);
    house.finish();
}

#[test]
fn requests_beyond_every_limit() {
    let world = world!();
    let house = House::new(&world, &[]);
    let many = |n: usize| [format!("*{n}\r\n").as_bytes(), &b"$1\r\na\r\n".repeat(n)].concat();
    let bad_bulk = "-ERR Protocol error: invalid bulk length\r\n";
    let partly = [&b"*2\r\n$4\r\nPING\r\n$536870912\r\n"[..], &vec![b'x'; 4 << 20]].concat();
    let table: [(Vec<u8>, &str); 12] = [
        (many(1_000_000), ""),
        (b"*1000000000\r\n".iter().copied().chain(many(300_000)).collect(), "-ERR Protocol"),
        (b"*2147483648\r\n".to_vec(), "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*99999999999999999999\r\n".to_vec(), "-ERR Protocol error: invalid multibulk"),
        (b"*1\r\n$536870912\r\n".to_vec(), bad_bulk),
        (b"*1\r\n$536870913\r\n".to_vec(), bad_bulk),
        (b"*1\r\n$-1\r\n".to_vec(), bad_bulk),
        (partly, bad_bulk),
        (b"*1\r\n*1\r\n*1\r\n*1\r\n".to_vec(), "-ERR Protocol error: expected '$', got '*'\r\n"),
        (vec![b'a'; 70_000], "-ERR Protocol error: too big inline request\r\n"),
        ([&b"*"[..], &[b'1'; 70_000]].concat(), "-ERR Protocol error: too big mbulk count"),
        (b"PING \"abc\r\n".to_vec(), "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ];
    for (bytes, wanted) in table {
        let shown = bytes[..bytes.len().min(20)].escape_ascii().to_string();
        let mut raw = house.raw();
        raw.stream.set_write_timeout(None).unwrap();
        raw.send(&bytes);
        let got = String::from_utf8_lossy(&raw.read_to_close()).into_owned();
        // What the other side sends may be lost when it closes while we still send.
        let reset = got.is_empty() && bytes.len() > 64 << 10;
        assert!(got.starts_with(wanted) || reset, "{shown}: {got:?}");
        house.assert_grown_at_most(12);
    }
    // Just below the limits: it is an unknown command, and the client lives on.
    let mut raw = house.raw();
    raw.stream.set_write_timeout(None).unwrap();
    raw.send(&many(140_000));
    raw.send(b"PING\r\n");
    let got = raw.read_exact(20);
    assert!(got.starts_with(b"-ERR unknown command"), "{}", got.escape_ascii());
    drop(raw);
    // Declared and partly sent, then nothing more: only what was sent is held.
    let idle: Vec<Raw> = (0..50)
        .map(|_| {
            let mut raw = house.raw();
            raw.send(b"*3\r\n$4\r\nPING\r\n$500000\r\nabc");
            raw
        })
        .collect();
    house.assert_grown_at_most(12);
    drop(idle);
    house.finish();
}

#[test]
fn random_bytes() {
    let world = world!();
    let house = House::new(&world, &[]);
    let parts: [&[u8]; 12] = [
        b"*3\r\n",
        b"$4\r\n",
        b"\r\n",
        b"PING",
        b"SENTINEL",
        b"*-1\r\n",
        b"$-1\r\n",
        b"\"",
        b"\\x",
        b"SUBSCRIBE *\r\n",
        b"HELLO 3\r\n",
        b"\0",
    ];
    let mut dice = Dice(0xabcd_ef01);
    for _ in 0..400 {
        let mut bytes = Vec::new();
        for _ in 0..1 + dice.below(200) {
            if dice.below(2) == 0 {
                bytes.extend_from_slice(parts[dice.below(parts.len())]);
            } else {
                bytes.push(dice.roll() as u8);
            }
        }
        let mut raw = house.raw();
        for chunk in bytes.chunks(1 + dice.below(bytes.len())) {
            raw.send(chunk);
        }
    }
    house.assert_grown_at_most(2);
    house.finish();
}
