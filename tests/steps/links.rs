//! What data nodes, other sentinels and name servers send: three times the bytes may cost about
//! three times the steps.

use std::net::{IpAddr, Ipv4Addr};

use crate::requests::{TIMES, judge};
use crate::rig::{Rig, master_ip};
use sentineld::util::ident::ConnId;

/// A node with one master whose command link has answered `info`, and has been asked again.
fn asked_again(info: &str) -> (Rig, ConnId) {
    let mut rig = Rig::new(1);
    for (_, conn) in rig.links.clone() {
        rig.establish(conn);
    }
    let master = IpAddr::from(master_ip(0));
    let cmd = rig.links.iter().find(|(to, _)| to.ip() == master).expect("it connects").1;
    let mut answered = 0;
    for _ in 0..40 {
        if rig.asked(cmd).contains("INFO") {
            if answered > 0 {
                return (rig, cmd);
            }
            answered += 1;
        }
        rig.answer(cmd, info);
        rig.pass(500);
    }
    panic!("INFO was not asked twice: {:?}", rig.asked(cmd));
}

fn check(name: &str, small: usize, infos: impl Fn(usize) -> [String; 2]) {
    let cost = |n: usize| {
        let [first, second] = infos(n);
        let (mut rig, conn) = asked_again(&first);
        let steps = rig.steps(|rig| rig.answer(conn, &second));
        assert!(!rig.is_closed(conn), "{name}: the link was closed");
        steps
    };
    let (Some(one), Some(small_cost)) = (cost(1), cost(small)) else { return };
    let large = cost(TIMES * small).expect("counted before");
    let found = judge(name, small, [one, small_cost, large]);
    assert!(found.is_empty(), "the work grows faster than the input:\n{found}");
}

fn slaves(count: usize) -> String {
    let line = |n| format!("slave{n}:ip=10.9.0.{n},port=6379,state=online,offset=1,lag=0\r\n");
    (0..count).map(line).collect()
}

#[test]
fn info_that_is_unlike_the_one_before() {
    check("INFO of many lines after one of long lines", 4, |n| {
        let long: String = (0..15).map(|at| format!("f{at}:{}\r\n", "x".repeat(12 * n))).collect();
        [format!("role:master\r\n{long}"), format!("role:master\r\n{}", "y\n".repeat(20 * n))]
    });
    check("INFO whose lines are all in another order", 6, |n| {
        let line = |at| format!("f{at}:x\r\n");
        let there: String = (0..TIMES * n).map(line).collect();
        let back: String = (0..TIMES * n).rev().map(line).collect();
        [format!("role:master\r\n{there}"), format!("role:master\r\n{back}")]
    });
}

#[test]
fn info_of_many_replicas() {
    check("INFO of new replicas", 2, |n| {
        ["role:master\r\n".into(), format!("role:master\r\n{}", slaves(n))]
    });
    check("INFO of known replicas, one of them new", 6, |n| {
        let [before, now] = [n - 1, n].map(|n| format!("role:master\r\n{}", slaves(n)));
        [before, now]
    });
}

/// `count` masters with a name of their own each, but for `same`, which share one.
fn named(count: usize, same: usize) -> Rig {
    let host = |n| if n < same { "all.example".to_string() } else { format!("h{n}.example") };
    let line = |n| format!("sentinel monitor n{n} {} {} 2\n", host(n), 6000 + n);
    let lines: String = (0..count).map(line).collect();
    Rig::with_lines(0, &format!("sentinel resolve-hostnames yes\n{lines}"))
}

#[test]
fn an_answer_of_the_name_server() {
    let ip = IpAddr::from(Ipv4Addr::new(10, 7, 0, 1));
    let cost = |count, same| {
        let mut rig = named(count, same);
        rig.steps(|rig| rig.resolve("all.example", ip))
    };
    let (Some(one), Some(small)) = (cost(40, 1), cost(40, 5)) else { return };
    let large = cost(40, 20).expect("counted before");
    let found = judge("a name of many masters", 5, [one, small, large]);
    assert!(found.is_empty(), "the work grows faster than the input:\n{found}");
    let (few, many) = (cost(400, 1).expect("counted"), cost(2_200, 1).expect("counted"));
    println!("a name among others {few} {many}");
    assert!(many < few + 1_800, "other names add to the work: {few}, then {many}");
}

/// A reply that comes in small pieces is not read from its beginning each time.
#[test]
fn a_reply_in_pieces() {
    let cost = |n: usize| {
        let (mut rig, conn) = asked_again("role:master\r\n");
        let text = format!("${}\r\n{}\r\n", 64 * n, "x".repeat(64 * n));
        rig.steps(|rig| text.as_bytes().chunks(64).for_each(|piece| rig.give(conn, piece)))
    };
    let (Some(one), Some(small)) = (cost(1), cost(4)) else { return };
    let large = cost(16).expect("counted before");
    let found = judge("a reply in pieces", 4, [one, small, large]);
    assert!(found.is_empty(), "the work grows faster than the input:\n{found}");
}
