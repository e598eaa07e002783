//! Tests of the loop: what becomes of output when a connection is closed, and how much of what the
//! threads bring one turn takes.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;

use super::event_loop::RESULTS_PER_TURN;
use super::event_loop_tests::{Bench, connect, read_all};
use super::testing::wait_until;
use crate::sentinel::action::{Action, Question};
use crate::util::ident::{AskId, ConnId};

/// Far more than the kernel keeps for a socket whose other side reads nothing.
const MUCH: usize = 32 << 20;

/// A link `conn` whose other side reads nothing for now.
fn link(bench: &mut Bench, conn: u64) -> TcpStream {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (ip, port) = (server.local_addr().unwrap().ip(), server.local_addr().unwrap().port());
    bench.act(vec![connect(conn, ip, port)]);
    bench.until("it is there", |m| m.saw(&format!("established {conn}")));
    server.accept().unwrap().0
}

/// Sends until the kernel takes nothing more; how many bytes it took.
fn clog(bench: &mut Bench, conn: u64) -> usize {
    bench.turns.machine.say(ConnId(conn), &vec![b'x'; MUCH]);
    let mut left = 0;
    wait_until("the kernel takes nothing more", || {
        let before = std::mem::replace(&mut left, bench.turns.machine.outputs[&ConnId(conn)].len());
        for _ in 0..20 {
            bench.turn();
        }
        before == left && left < MUCH
    });
    assert!(left > 0);
    MUCH - left
}

#[test]
fn what_a_link_could_not_deliver_ends_with_it() {
    let mut bench = Bench::new();
    let mut node = link(&mut bench, 77);
    let sent = clog(&mut bench, 77);
    bench.act(vec![Action::Close { conn: ConnId(77) }]);
    let mut arrived = 0;
    let mut buf = vec![0; 1 << 16];
    let end = loop {
        match node.read(&mut buf) {
            Ok(0) => break None,
            Ok(n) => arrived += n,
            Err(e) => break Some(e.kind()),
        }
    };
    assert_eq!(end, Some(ErrorKind::ConnectionReset), "{arrived} of {sent} bytes");
    assert!(arrived < sent, "{arrived} of {sent} bytes");
}

#[test]
fn the_end_of_the_process_is_the_end_of_its_links() {
    let mut bench = Bench::new();
    let node = link(&mut bench, 77);
    clog(&mut bench, 77);
    drop(bench);
    let end = read_all(&node).map(|all| all.len()).map_err(|e| e.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_link_that_delivered_all_ends_in_order() {
    let mut bench = Bench::new();
    let node = link(&mut bench, 77);
    bench.turns.machine.say(ConnId(77), b"PING\r\n");
    bench.turn();
    let mut first = [0; 6];
    wait_until("it arrives", || (&node).read_exact(&mut first).is_ok());
    bench.act(vec![Action::Close { conn: ConnId(77) }]);
    assert_eq!(read_all(&node).unwrap(), b"");
}

#[test]
fn a_client_may_read_what_was_sent_after_the_close() {
    let mut bench = Bench::new();
    let client = bench.client(1);
    let sent = clog(&mut bench, 1);
    bench.act(vec![Action::Close { conn: ConnId(1) }]);
    assert_eq!(read_all(&client).unwrap().len(), sent);
}

#[test]
fn a_turn_takes_its_share_of_results() {
    let mut bench = Bench::new();
    let last = bench.dir.path().join("last");
    let path = last.as_os_str().as_bytes().to_vec();
    let mut actions = Vec::new();
    let count = 3 * RESULTS_PER_TURN as u64;
    for ask in 0..count {
        let question = Question::ReadFile { path: path.clone() };
        actions.push(Action::Ask { ask: AskId(ask), question });
    }
    let question = Question::WriteFile { path, text: Vec::new() };
    actions.push(Action::Ask { ask: AskId(count), question });
    bench.turns.machine.actions.extend(actions);
    bench.turns.drain();
    wait_until("all is done", || last.exists());
    let mut answered = 0;
    while answered <= count {
        bench.turns.machine.inputs.clear();
        bench.turn();
        let of_turn =
            bench.turns.machine.inputs.iter().filter(|input| input.starts_with("answered"));
        let of_turn = of_turn.count();
        assert!(of_turn <= RESULTS_PER_TURN, "{of_turn} in one turn");
        answered += of_turn as u64;
    }
}
