//! Limits: clients, protected mode, idle time, query and output buffers.
#![forbid(unsafe_code)]

use super::{Rig, readable};
use crate::config::settings::{OutputLimit, Settings};
use crate::sentinel::action::Action;
use crate::util::ident::ConnId;
use crate::util::time::Mono;

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
fn who_takes_its_replies_slowly_is_not_idle() {
    let mut rig = Rig::with(Settings { timeout_s: 3, ..Settings::default() });
    let (slow, stuck) = (rig.connect(), rig.connect());
    for conn in [slow, stuck] {
        rig.send(conn, b"command\r\ncommand docs\r\n");
    }
    for _ in 0..10 {
        rig.wait(2000);
        assert_eq!(rig.take_part(slow, 500).len(), 500);
        assert!(!rig.closed.contains(&slow));
    }
    assert!(rig.closed.contains(&stuck), "nothing was taken for 3 s");
    rig.wait(4000);
    assert!(rig.closed.contains(&slow));
}

#[test]
fn time_spent_waiting_for_us_is_no_idle_time() {
    let mut rig = Rig::with(Settings { timeout_s: 3, ..Settings::default() });
    let (paused, muted) = (rig.client('A'), rig.client('B'));
    rig.play("B> client reply off\nC> client pause 9000\nA> ping\nB> ping\nwait 8900");
    rig.play("A: held\nB: held\nA: open\nB: open\nwait 200\nwait 2000\nA: open\nB: open");
    assert_eq!(rig.take(paused), b"+PONG\r\n");
    rig.play("wait 2900\nA: open\nB: closed\nwait 1000\nA: closed");
    assert!(!rig.server.owns(muted));
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

/// Requests of `conn` that were answered since the last look at it.
fn pongs(rig: &mut Rig, conn: ConnId) -> usize {
    rig.take(conn).len() / b"+PONG\r\n".len()
}

#[test]
fn nobody_gets_more_than_a_slice_of_a_turn() {
    let mut rig = Rig::new();
    let (greedy, other) = (rig.connect(), rig.connect());
    let mut done = 0;
    rig.send(greedy, &b"ping\r\n".repeat(5000));
    let slice = pongs(&mut rig, greedy);
    assert!((200..2000).contains(&slice), "{slice} requests in a slice");
    assert!(rig.held.contains(&greedy));
    rig.send_more(other, b"ping\r\n");
    assert_eq!(pongs(&mut rig, other), 1);
    while !rig.held.is_empty() {
        assert_eq!(rig.server.next_deadline(), Some(Mono(0)), "the next turn comes at once");
        done += slice;
        rig.enter(|server, sentinel, cx| server.run_due(cx, sentinel));
        let more = pongs(&mut rig, greedy);
        assert!(more == slice || done + more == 5000, "{more} after {done}");
        if done + more == 5000 {
            break;
        }
    }
    assert_eq!(rig.server.next_deadline(), None);
}

#[test]
fn a_turn_that_is_used_up_has_one_request_for_everybody() {
    let mut rig = Rig::new();
    let clients: Vec<ConnId> = (0..40).map(|_| rig.connect()).collect();
    rig.server.begin_turn();
    for conn in &clients {
        rig.send_more(*conn, &b"ping\r\n".repeat(2000));
    }
    let first: Vec<usize> = clients.iter().map(|conn| pongs(&mut rig, *conn)).collect();
    assert!(first[0] > 100 && first[39] == 1, "{first:?}");
    // Those that got little are not the last ones in each turn that follows.
    let mut all = first;
    while !rig.held.is_empty() {
        rig.enter(|server, sentinel, cx| server.run_due(cx, sentinel));
        for (count, conn) in all.iter_mut().zip(&clients) {
            *count += pongs(&mut rig, *conn);
        }
        let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        assert!(most - least < 2000 || *most == 2000, "{all:?}");
    }
    assert_eq!(all, [2000; 40]);
}

#[test]
fn replies_that_nobody_gets_count_as_work() {
    let mut rig = Rig::new();
    let conn = rig.connect();
    rig.send(conn, b"client reply off\r\n");
    rig.send(conn, &b"command\r\n".repeat(1000));
    assert!(rig.held.contains(&conn), "cut off");
    rig.enter(|server, _, cx| server.closed(cx, conn));
    rig.held.clear();
    rig.enter(|server, sentinel, cx| server.run_due(cx, sentinel));
    assert_eq!(rig.server.next_deadline(), None, "nothing is left of it");
}

#[test]
fn clients_that_linger_use_up_room() {
    let mut rig = Rig::with(Settings { maxclients: 50, ..Settings::default() });
    let mut lingering = Vec::new();
    for _ in 0..200 {
        let conn = rig.connect();
        if rig.server.owns(conn) {
            rig.send(conn, b"quit\r\n");
        }
        lingering.push(conn);
    }
    let conn = rig.connect();
    assert_eq!(rig.take(conn), b"-ERR max number of clients reached\r\n");
    lingering.push(conn);
    for conn in lingering {
        rig.enter(|server, _, cx| server.closed(cx, conn));
    }
    let conn = rig.connect();
    assert_eq!(rig.ask(conn, b"ping\r\n"), b"+PONG\r\n");
}
