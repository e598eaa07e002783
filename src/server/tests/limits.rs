//! Limits: clients, protected mode, idle time, query and output buffers.
#![forbid(unsafe_code)]

use super::{Rig, readable};
use crate::config::settings::{OutputLimit, Settings};
use crate::sentinel::action::Action;

#[test]
fn no_more_than_maxclients() {
    let mut rig = Rig::with(Settings { maxclients: 2, ..Settings::default() });
    let first = rig.connect();
    rig.connect();
    let third = rig.connect();
    assert_eq!(rig.take(third), b"-ERR max number of clients reached\r\n");
    assert!(rig.closed.contains(&third) && !rig.server.owns(third));
    rig.enter(|server, _, cx| server.closed(cx, first));
    let fourth = rig.connect();
    assert_eq!(rig.ask(fourth, b"ping\r\n"), b"+PONG\r\n");
    rig.server.limit_clients(1);
    let fifth = rig.connect();
    assert_eq!(rig.take(fifth), b"-ERR max number of clients reached\r\n");
    let text = readable(&rig.ask(fourth, b"info clients stats\r\n"));
    assert!(text.contains("maxclients:1 ") && text.contains("rejected_connections:2"), "{text}");
}

#[test]
fn protected_mode_keeps_strangers_out() {
    let open = Settings { protected_mode: true, ..Settings::default() };
    let closed = Settings { requirepass: Some(b"x".to_vec()), ..open.clone() };
    for (settings, peer, denied) in [
        (open.clone(), "192.0.2.1:5", true),
        (open.clone(), "[2001:db8::1]:5", true),
        (open.clone(), "127.8.0.1:5", false),
        (open.clone(), "[::1]:5", false),
        (closed, "192.0.2.1:5", false),
        (Settings::default(), "192.0.2.1:5", false),
    ] {
        let mut rig = Rig::with(settings);
        let conn = rig.connect_from(peer);
        let got = readable(&rig.take(conn));
        assert_eq!(got.starts_with("-DENIED Redis is running in protected mode"), denied, "{peer}");
        assert_eq!(rig.closed.contains(&conn), denied);
        assert_eq!(got.lines().count(), usize::from(denied));
    }
}

#[test]
fn idle_clients_are_closed_but_never_subscribers() {
    let mut rig = Rig::with(Settings { timeout_s: 3, ..Settings::default() });
    rig.play(
        "
        A> ping
        B> subscribe x
        wait 2900
        A: open
        A> ping
        wait 2900
        A: open
        wait 1000
        A: closed
        log Closing idle client
        wait 10000
        B: open
        ",
    );
}

#[test]
fn requests_that_never_end_are_cut_off() {
    let mut rig = Rig::new();
    let conn = rig.connect();
    let chunk = [b"*9999\r\n".as_slice(), &b"$10\r\nxxxxxxxxxx\r\n".repeat(4000)].concat();
    assert_eq!(rig.ask(conn, &chunk), b"");
    for _ in 0..70 {
        rig.send(conn, &b"$60000\r\n"[..]);
        rig.send(conn, &[b'x'; 60_000]);
        rig.send(conn, b"\r\n");
    }
    assert!(rig.closed.contains(&conn));
    assert!(rig.logged.contains("Closing client that reached max query buffer length: id=1"));
}

#[test]
fn a_client_that_takes_no_replies_is_not_served_until_it_does() {
    let mut rig = Rig::new();
    let conn = rig.connect();
    let request = [b"ping ".as_slice(), &[b'x'; 50_000], b"\r\n"].concat();
    for _ in 0..25 {
        rig.send(conn, &request);
    }
    assert!(rig.held.contains(&conn) && !rig.closed.contains(&conn));
    let mut got = 0;
    for _ in 0..3 {
        got += rig.take(conn).len();
        assert_eq!(rig.server.next_deadline().is_some(), !rig.held.is_empty());
        rig.enter(|server, sentinel, cx| server.run_due(cx, sentinel));
    }
    assert!(rig.held.is_empty());
    assert_eq!(got, 25 * 50_010);
}

#[test]
fn output_limits_close_slow_subscribers() {
    let output_pubsub = OutputLimit { hard_bytes: 1000, soft_bytes: 300, soft_s: 2 };
    let settings = Settings { output_pubsub, ..Settings::default() };
    let mut rig = Rig::with(settings);
    let fill = |rig: &mut Rig, n: usize| {
        rig.enter(|_, _, cx| cx.act(Action::Publish { channel: "+x", text: vec![b'x'; n] }));
    };
    rig.play("A> subscribe +x\nA< *3 $9 subscribe $2 +x :1\nB> subscribe +x");
    fill(&mut rig, 400);
    rig.play("wait 1900");
    let a = rig.client('A');
    assert!(rig.take(a).len() > 400);
    rig.play(
        "
        wait 101
        log Client id=2 addr=127.0.0.1:5066
        B: closed
        wait 9000
        A: open
        ",
    );
    fill(&mut rig, 500);
    fill(&mut rig, 500);
    rig.play(
        "
        A: closed
        log scheduled to be closed ASAP for overcoming of output buffer limits.
        ",
    );
}

#[test]
fn a_client_is_not_closed_under_its_own_command() {
    let output_pubsub = OutputLimit { hard_bytes: 100, ..OutputLimit::default() };
    let mut rig = Rig::with(Settings { output_pubsub, ..Settings::default() });
    rig.monitor("m", "127.0.0.1", 1, 1);
    let conn = rig.client('A');
    rig.ask(conn, b"hello 3\r\npsubscribe *\r\n");
    rig.send(conn, b"sentinel reset *\r\nsentinel reset *\r\nsentinel reset *\r\n");
    assert!(rig.closed.contains(&conn));
}
