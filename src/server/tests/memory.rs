//! What clients hold: the budget of one, that of all together, and who is closed.
#![forbid(unsafe_code)]

use super::{Rig, readable};
use crate::config::settings::{ClientsMemory, OutputLimit, Settings};
use crate::sentinel::action::Action;
use crate::server::client::{CLIENT_MAX_BYTES, STRANGER_QUERY_BYTES};
use crate::util::ident::ConnId;

const KIB: usize = 1 << 10;
const PEER_ID: &str = "5e0c1d2f5e0c1d2f5e0c1d2f5e0c1d2f5e0c1d2f";

fn limited(kib: u64) -> Settings {
    Settings { clients_memory: ClientsMemory::Bytes(kib << 10), ..Settings::default() }
}

/// A request that never ends, so that so many bytes wait.
fn fill(rig: &mut Rig, conn: ConnId, bytes: usize) {
    rig.send(conn, format!("*2\r\n$4\r\nping\r\n$500000\r\n{}", "x".repeat(bytes)).as_bytes());
}

/// What all clients hold, added up one by one, is what the order says.
fn check_sums(rig: &Rig) {
    let lingering: usize = rig.server.lingering.values().map(|l| l.bytes()).sum();
    let clients: usize = rig.server.clients.values().map(|client| client.memory()).sum();
    assert_eq!(rig.server.memory.total(), clients + lingering);
}

fn evicted(rig: &mut Rig) -> String {
    let conn = rig.client('?');
    let text = readable(&rig.ask(conn, b"info stats\r\n"));
    let (_, rest) = text.split_once("evicted_clients:").unwrap();
    rest.split(' ').next().unwrap().to_string()
}

#[test]
fn the_largest_client_is_closed_when_all_hold_too_much() {
    let mut rig = Rig::with(limited(400));
    let sizes = [("A", 60), ("B", 120), ("C", 150), ("D", 30)];
    for (letter, kib) in sizes {
        let conn = rig.client(letter.chars().next().unwrap());
        fill(&mut rig, conn, kib * KIB);
    }
    assert!(rig.closed.is_empty());
    assert_eq!(evicted(&mut rig), "0");
    let conn = rig.client('E');
    fill(&mut rig, conn, 50 * KIB);
    rig.play("C: closed\nlog Evicting client: id=3 addr=127.0.0.1:5067\nA: open\nB: open\nE: open");
    let conn = rig.client('A');
    rig.send(conn, &[b'x'; 100 * KIB]);
    rig.play("A: closed\nlog Evicting client: id=1\nB: open\nD: open\nE: open");
    assert_eq!(evicted(&mut rig), "2");
    check_sums(&rig);
}

#[test]
fn output_counts_and_a_slow_subscriber_goes_before_others() {
    let output_pubsub = OutputLimit { hard_bytes: 8 << 20, ..OutputLimit::default() };
    let mut rig = Rig::with(Settings { output_pubsub, ..limited(2 << 10) });
    rig.play("A> subscribe +x\nB> subscribe +x\nC> ping");
    let b = rig.client('B');
    for round in 0..14 {
        rig.enter(|_, _, cx| {
            cx.act(Action::Publish { channel: "+x", text: vec![b'x'; 100 * KIB] })
        });
        if round < 5 {
            rig.take(b);
        }
        check_sums(&rig);
    }
    // More than the 1 MiB of other clients, but not more than all may hold.
    rig.play("A: closed\nlog Evicting client: id=1\nB: open\nC: open");
    assert!(!rig.take(b).is_empty());
}

#[test]
fn other_sentinels_are_spared() {
    let mut rig = Rig::with(limited(400));
    rig.monitor("m", "10.0.0.1", 6379, 1);
    let hello = format!("10.0.0.7,26379,{PEER_ID},0,m,10.0.0.1,6379,0");
    rig.enter(|_, sentinel, cx| sentinel.hello_by_publish(cx, hello.as_bytes()));
    let name = format!("client setname sentinel-{}-cmd\r\n", &PEER_ID[..8]);
    let peer = rig.connect_from("10.0.0.7:1234");
    // The name from elsewhere, another name from there, another id from there.
    let pretenders = [
        ("10.0.0.8:1", name.clone()),
        ("10.0.0.7:2", "client setname me\r\n".to_string()),
        ("10.0.0.7:3", "client setname sentinel-00000000-cmd\r\n".to_string()),
    ];
    rig.ask(peer, name.as_bytes());
    fill(&mut rig, peer, 190 * KIB);
    for (from, name) in pretenders {
        let conn = rig.connect_from(from);
        rig.ask(conn, name.as_bytes());
        fill(&mut rig, conn, 100 * KIB);
        let conn = rig.connect();
        fill(&mut rig, conn, 120 * KIB);
        fill(&mut rig, conn, 1);
        assert_eq!(rig.closed.len(), 1, "{from} alone made room: {:?}", rig.logged);
        assert!(!rig.closed.contains(&peer), "{from}");
        for conn in rig.server.clients.keys().copied().collect::<Vec<_>>() {
            if conn != peer {
                rig.enter(|server, _, cx| server.closed(cx, conn));
            }
        }
        rig.closed.clear();
    }
    check_sums(&rig);
    // Beyond half of all it is no better than others.
    rig.send(peer, &[b'x'; 30 * KIB]);
    let conn = rig.connect();
    fill(&mut rig, conn, 190 * KIB);
    assert!(rig.closed.contains(&peer) && !rig.closed.contains(&conn));
}

#[test]
fn clients_that_ask_not_to_be_evicted_have_a_share() {
    let mut rig = Rig::with(limited(400));
    rig.play("A> client no-evict on\nA< +OK\nB> client no-evict on\nB< +OK\nC> ping");
    let [a, b, c, d] = ['A', 'B', 'C', 'D'].map(|letter| rig.client(letter));
    fill(&mut rig, a, 90 * KIB);
    fill(&mut rig, c, 40 * KIB);
    fill(&mut rig, d, 275 * KIB);
    rig.play("A: open\nC: open\nD: closed");
    let e = rig.client('E');
    fill(&mut rig, e, 250 * KIB);
    rig.play("A: open\nC: open\nE: open");
    fill(&mut rig, b, 50 * KIB);
    rig.play("A: closed\nB: open\nC: open\nE: open");
    check_sums(&rig);
}

#[test]
fn one_client_may_hold_a_mebibyte() {
    let mut rig = Rig::with(Settings { clients_memory: ClientsMemory::Bytes(0), ..limited(0) });
    let conn = rig.connect();
    let mut refused = 0;
    for n in 0..2000 {
        let reply = rig.ask(conn, format!("psubscribe {n}-{:x<900}\r\n", "").as_bytes());
        refused += usize::from(reply == b"-ERR too many subscriptions\r\n");
    }
    let held = rig.server.clients[&conn].memory();
    assert!(refused > 800 && held <= CLIENT_MAX_BYTES, "{refused} refused, {held} bytes held");
    assert!(held > CLIENT_MAX_BYTES - 80 * KIB, "{held}");
    // It can still send requests, but no longer ones than others, together with what it holds.
    assert_eq!(rig.ask(conn, b"ping\r\n"), b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    fill(&mut rig, conn, 60 * KIB);
    assert!(!rig.closed.contains(&conn));
    fill(&mut rig, conn, 10 * KIB);
    assert!(rig.closed.contains(&conn));
    assert_eq!(rig.server.memory.total(), 0);
    assert!(rig.server.pubsub.patterns.is_empty());
}

#[test]
fn the_room_of_a_query_is_bounded_too() {
    let mut rig = Rig::new();
    let conn = rig.connect();
    rig.send(conn, b"*100000\r\n");
    let part = b"$10\r\nxxxxxxxxxx\r\n".repeat(900);
    for _ in 0..64 {
        rig.send(conn, &part);
        let query = &rig.server.clients[&conn].query;
        let (len, room) = (query.len(), query.capacity());
        assert!(room <= len + len / 4 && room <= CLIENT_MAX_BYTES, "{room} bytes for {len}");
    }
    check_sums(&rig);
    // What is left of a long request does not keep its room.
    let mut rig = Rig::new();
    let conn = rig.connect();
    fill(&mut rig, conn, 499_999);
    rig.send(conn, b"x\r\npi");
    assert!(rig.server.clients[&conn].query.capacity() < 100);
}

#[test]
fn strangers_hold_little() {
    let settings = Settings { requirepass: Some(b"gate".to_vec()), ..Settings::default() };
    let mut rig = Rig::with(settings);
    let (long, chatty) = (rig.connect(), rig.connect());
    rig.send(long, format!("*2\r\n$4\r\nAUTH\r\n$16384\r\n{:g<16384}", "").as_bytes());
    assert!(rig.server.clients[&long].memory() < STRANGER_QUERY_BYTES + 4 * KIB);
    assert_eq!(readable(&rig.ask(long, b"\r\n")).split(' ').next(), Some("-WRONGPASS"));
    rig.send(long, format!("*3\r\n$4\r\nAUTH\r\n$16384\r\n{:g<16384}\r\n$9000\r\n", "").as_bytes());
    rig.send(long, &[b'x'; 5000]);
    assert!(rig.closed.contains(&long));
    rig.send(chatty, &b"ping\r\n".repeat(2000));
    assert!(rig.held.contains(&chatty) && rig.take(chatty).len() < 20 * KIB);
}

#[test]
fn strangers_go_before_those_who_have_logged_in() {
    let settings = Settings { requirepass: Some(b"gate".to_vec()), ..limited(300) };
    let mut rig = Rig::with(settings);
    let member = rig.connect();
    rig.ask(member, b"auth gate\r\n");
    fill(&mut rig, member, 250 * KIB);
    for _ in 0..4 {
        let conn = rig.connect();
        rig.send(conn, format!("*2\r\n$4\r\nAUTH\r\n$16384\r\n{:g<16000}", "").as_bytes());
    }
    assert!(!rig.closed.contains(&member) && !rig.closed.is_empty());
    check_sums(&rig);
}

#[test]
fn an_event_for_many_never_makes_us_hold_more_than_the_limit() {
    let mut rig = Rig::with(limited(1 << 10));
    let conns: Vec<ConnId> = (0..40).map(|_| rig.connect()).collect();
    for conn in &conns {
        rig.ask(*conn, b"psubscribe * ** *** **** *****\r\n");
    }
    let text = vec![b'x'; 60 * KIB];
    rig.enter(|server, _, cx| {
        cx.act(Action::Publish { channel: "+x", text });
        server.settle(cx);
        assert!(server.memory.total() <= 1 << 20);
        assert!(server.clients.len() > 2 && server.clients.len() < 20, "{}", server.clients.len());
    });
    check_sums(&rig);
}

#[test]
fn what_a_client_does_to_itself_is_bounded_while_its_command_runs() {
    let mut rig = Rig::with(limited(1 << 10));
    rig.monitor("m", "127.0.0.1", 1, 1);
    let conn = rig.connect();
    rig.ask(conn, b"hello 3\r\npsubscribe * ** *** **** ***** ******\r\n");
    let options = " quorum 1".repeat(5000);
    let most = rig.buffers_peak(|rig| {
        rig.send(conn, format!("sentinel set m{options}\r\n").as_bytes());
    });
    assert!(rig.closed.contains(&conn) && most <= 1100 * KIB, "{most} bytes");
    assert_eq!(rig.server.memory.total(), 0);
}

#[test]
fn connections_that_linger_count() {
    let mut rig = Rig::with(limited(600));
    let lingering: Vec<ConnId> = (0..6)
        .map(|_| {
            let conn = rig.connect();
            let ping = format!("ping {:x<60000}\r\n", "");
            rig.send(conn, ping.repeat(2).as_bytes());
            rig.send(conn, b"quit\r\n");
            conn
        })
        .collect();
    let left = lingering.iter().filter(|conn| !rig.take(**conn).is_empty());
    assert_eq!(left.count(), 5);
    check_sums(&rig);
    for conn in lingering {
        rig.enter(|server, _, cx| server.closed(cx, conn));
    }
    assert_eq!(rig.server.memory.total(), 0);
}
