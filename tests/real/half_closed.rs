//! Clients that send nothing more and read on, as `printf … | nc -N` does: what they asked for is
//! answered before the connection is closed.

use crate::support::fake::FakeMaster;
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::wait::{self, SHORT};
use crate::world;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// Sends all, ends its side, and gives whatever comes until the other side closes.
fn over_tcp(port: u16, requests: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it accepts");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    stream.write_all(requests).expect("it reads");
    stream.shutdown(Shutdown::Write).expect("its side ends");
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("it closes in order");
    answers
}

fn shown(answers: &[u8]) -> String {
    String::from_utf8_lossy(answers).into_owned()
}

#[test]
fn every_request_before_the_end_is_answered() {
    let world = world!();
    let socket = world.path("socket");
    let line = format!("unixsocket {}", socket.display());
    let sentinel = Sentinel::start(&world, &SentinelOptions::with_lines([line]));
    for _ in 0..50 {
        assert_eq!(shown(&over_tcp(sentinel.port, b"PING\r\n")), "+PONG\r\n");
        let mut stream = UnixStream::connect(&socket).expect("it accepts");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        stream.write_all(b"PING\r\nPING x\r\n").expect("it reads");
        stream.shutdown(Shutdown::Write).expect("its side ends");
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).expect("it closes in order");
        assert_eq!(shown(&answers), "+PONG\r\n$1\r\nx\r\n");
    }
    // More than a turn's share, and more than the sockets hold while nobody reads.
    let many = 200_000;
    let answers = over_tcp(sentinel.port, &b"PING\r\n".repeat(many));
    assert_eq!(answers.len(), many * b"+PONG\r\n".len());
    // Half a request is not answered, and is nothing to wait for.
    let answers = over_tcp(sentinel.port, b"PING\r\n*2\r\n$4\r\nPING\r\n$100\r\nx");
    assert_eq!(shown(&answers), "+PONG\r\n");
    let answers = over_tcp(sentinel.port, b"SUBSCRIBE a\r\n");
    assert_eq!(shown(&answers), "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
}

#[test]
fn what_has_to_be_saved_is_answered_too() {
    let world = world!();
    let sentinel = Sentinel::start(&world, &SentinelOptions::default());
    let port = world.port();
    let _master = FakeMaster::start(port);
    for round in 0..10 {
        let monitor = format!("SENTINEL MONITOR m{round} 127.0.0.1 {port} 1\r\nPING\r\n");
        let answers = over_tcp(sentinel.port, monitor.as_bytes());
        assert_eq!(shown(&answers), "+OK\r\n+PONG\r\n");
        let candidate = format!("{round:040}");
        let ask = format!(
            "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {port} {} {candidate}\r\n",
            round + 1
        );
        let answers = shown(&over_tcp(sentinel.port, ask.as_bytes()));
        assert!(answers.starts_with("*3\r\n:0\r\n$40\r\n"), "{answers}");
        let answers = over_tcp(sentinel.port, b"SENTINEL FLUSHCONFIG\r\n");
        assert_eq!(shown(&answers), "+OK\r\n");
    }
}

/// Held by a pause, with more answers than sockets hold while nobody reads them, over both kinds.
#[test]
fn whoever_is_held_back_is_answered_too() {
    let world = world!(only_ours: "it closes clients that it holds back");
    let socket = world.path("socket");
    let line = format!("unixsocket {}", socket.display());
    let sentinel = Sentinel::start(&world, &SentinelOptions::with_lines([line]));
    let once = over_tcp(sentinel.port, b"COMMAND\r\n");
    // The kernel keeps some megabytes for each side.
    let many = (24 << 20) / once.len() + 1;
    let requests = b"COMMAND\r\n".repeat(many);
    assert!(over_tcp(sentinel.port, &requests) == once.repeat(many), "{many} answers");
    let over_unix = |requests: &[u8]| {
        let mut stream = UnixStream::connect(&socket).expect("it accepts");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        stream.write_all(requests).expect("it reads");
        stream.shutdown(Shutdown::Write).expect("its side ends");
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).expect("it closes in order");
        answers
    };
    assert!(over_unix(&requests) == once.repeat(many), "{many} answers");
    for _ in 0..3 {
        sentinel.ok(&["CLIENT", "PAUSE", "300"]);
        assert_eq!(shown(&over_tcp(sentinel.port, &b"PING\r\n".repeat(3))), "+PONG\r\n".repeat(3));
        sentinel.ok(&["CLIENT", "PAUSE", "300"]);
        assert_eq!(shown(&over_unix(b"PING\r\n")), "+PONG\r\n");
    }
}

#[test]
fn whoever_is_gone_altogether_leaves_nothing_behind() {
    let world = world!();
    let sentinel = Sentinel::start(&world, &SentinelOptions::default());
    for _ in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", sentinel.port)).expect("it accepts");
        let requests = b"PING\r\nCOMMAND\r\nSENTINEL FLUSHCONFIG\r\nCOMMAND\r\n";
        stream.write_all(requests).expect("it reads");
    }
    wait::wait("all clients to be gone", SHORT, || {
        let clients = sentinel.info()["connected_clients"].clone();
        wait::expect(clients == "1", clients)
    });
    let sockets = || {
        let dir = format!("/proc/{}/fd", sentinel.process().pid());
        let names = std::fs::read_dir(dir).expect("it runs").flatten();
        let links = names.filter_map(|name| std::fs::read_link(name.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    };
    wait::wait("their sockets to be closed", SHORT, || wait::expect(sockets() <= 8, sockets()));
}
