//! Many clients at once.

use crate::house::House;
use crate::raw::{Raw, pipeline};
use crate::support::sentinel::SentinelOptions;
use crate::support::wait::{self, LONG};
use crate::world;
use std::net::TcpStream;
use std::time::Duration;

/// What one idle client may cost, in bytes, socket buffers aside.
const IDLE_CLIENT_BYTES: usize = 3 << 10;
/// Idle clients if the limit of descriptors allows so many, else fewer.
const CROWD: usize = 10_000;

/// Raises this process's own limit; gives how many connections it and its child can have.
fn room() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits can be read");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
    usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(400)
}

#[test]
fn ten_thousand_idle_clients() {
    let world = world!();
    let count = CROWD.min(room());
    let house = House::new(&world, &["maxclients 10002"]);
    let connect = |_| TcpStream::connect(("127.0.0.1", house.sentinel.port)).unwrap();
    let crowd: Vec<TcpStream> = (0..count).map(connect).collect();
    wait::wait("all to be accepted", LONG, || {
        wait::expect(house.other_clients() == count, house.other_clients())
    });
    let grown = house.grown_kib() as usize * 1024;
    println!("{count} idle clients: {} bytes each", grown / count);
    assert!(grown / count <= IDLE_CLIENT_BYTES, "{} bytes per idle client", grown / count);
    if count == CROWD {
        // The witness and this one fill it; the next one is told so.
        let _last = house.raw();
        let told = String::from_utf8(house.raw().read_to_close()).unwrap();
        assert_eq!(told, "-ERR max number of clients reached\r\n");
    }
    let (before, span) = (house.gauge.ticks(), Duration::from_secs(1));
    std::thread::sleep(span);
    let ticks = house.gauge.ticks() - before;
    assert!(ticks <= 15, "{ticks} ticks in a second with idle clients");
    drop(crowd);
    house.finish();
}

#[test]
fn connects_beyond_maxclients() {
    let world = world!();
    let house = House::new(&world, &["maxclients 20"]);
    let kept: Vec<Raw> = (0..15).map(|_| house.raw()).collect();
    let mut refused = 0;
    let mut more = Vec::new();
    for _ in 0..1000 {
        let raw = house.raw();
        more.push(raw);
        if more.len() == 100 {
            for mut raw in more.drain(..) {
                raw.stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
                let mut told = [0; 36];
                let got = std::io::Read::read(&mut raw.stream, &mut told).unwrap_or(0);
                refused += usize::from(told[..got].starts_with(b"-ERR max number of clients"));
            }
        }
    }
    assert!(refused >= 900, "{refused} of 1000 were told so");
    drop(kept);
    house.finish();
}

#[test]
fn connects_and_disconnects() {
    let world = world!();
    let house = House::new(&world, &[]);
    let goodbyes: [&[u8]; 5] = [
        b"",
        b"PING\r\n",
        b"*2\r\n$4\r\nPING\r\n$100\r\nhalf",
        b"SUBSCRIBE a b c\r\nPING\r\n",
        b"COMMAND\r\nCOMMAND\r\nQUIT\r\nPING\r\n",
    ];
    let port = house.sentinel.port;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for round in 0..1000 {
                    Raw::connect(port).send(goodbyes[round % goodbyes.len()]);
                }
            });
        }
    });
    house.assert_grown_at_most(8);
    house.finish();
}

#[test]
fn strangers() {
    let world = world!();
    let login = Some(("default".to_string(), "gate".to_string()));
    let options = SentinelOptions { login, ..SentinelOptions::with_lines(["requirepass gate"]) };
    let house = House::with(&world, options, |sentinel| sentinel.launch());
    let requests = [
        "SENTINEL MASTERS",
        "AUTH wrong",
        "HELLO 3 AUTH default wrong",
        "COMMAND",
        "PSUBSCRIBE *",
        "PUBLISH __sentinel__:hello x",
    ];
    let floods: Vec<Raw> = std::thread::scope(|scope| {
        let start = |n: usize| {
            let mut raw = house.raw();
            let requests = pipeline(requests[n % requests.len()]);
            scope.spawn(move || {
                raw.flood(&requests, Duration::from_millis(1500));
                raw
            })
        };
        let threads: Vec<_> = (0..24).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    house.assert_grown_at_most(24 * 4);
    drop(floods);
    let many = "-ERR Protocol error: unauthenticated multibulk length\r\n";
    let long = "-ERR Protocol error: unauthenticated bulk length\r\n";
    for (bytes, wanted) in [("*11\r\n", many), ("*1\r\n$16385\r\n", long)] {
        let mut raw = house.raw();
        raw.send(bytes.as_bytes());
        assert_eq!(String::from_utf8(raw.read_to_close()).unwrap(), wanted);
    }
    house.finish();
}
