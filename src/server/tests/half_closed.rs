//! Clients that send nothing more and still wait for their answers.
#![forbid(unsafe_code)]

use super::Rig;

const CANDIDATE: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[test]
fn whoever_waits_for_nothing_is_closed_with_its_answers_on_their_way() {
    let mut rig = Rig::new();
    rig.play(
        "
        A> ping
        A> ping x
        A: open
        A|
        A: closed
        A< +PONG $1 x
        B|
        B: closed
        B<
        C> subscribe events
        C|
        C: closed
        C< *3 $9 subscribe $6 events :1
        ",
    );
    assert_eq!(rig.server.next_deadline(), None);
}

#[test]
fn half_a_request_is_no_reason_to_wait() {
    let mut rig = Rig::new();
    let conn = rig.client('A');
    rig.send(conn, b"PING\r\n*2\r\n$4\r\nPING\r\n$100\r\nx");
    rig.play(
        "
        A|
        A: closed
        A< +PONG
        ",
    );
}

#[test]
fn a_change_that_is_being_saved_is_answered_first() {
    let mut rig = Rig::new();
    rig.monitor("m", "127.0.0.1", 1, 1);
    rig.play(
        "
        A> sentinel set m quorum 2
        A> ping
        A|
        A: open
        A<
        save ok
        A: closed
        A< +OK +PONG
        B> sentinel monitor n 127.0.0.1 2 1
        B|
        save failed
        B: closed
        B< -ERR Failed to save config file. Check server logs.
        ",
    );
}

#[test]
fn so_is_a_vote_and_what_is_behind_it() {
    let mut rig = Rig::new();
    rig.monitor("m", "127.0.0.1", 1, 1);
    rig.play(&format!(
        "
        A> sentinel is-master-down-by-addr 127.0.0.1 1 5 {CANDIDATE}
        A|
        B> sentinel is-master-down-by-addr 127.0.0.1 1 5 {CANDIDATE}
        B> ping
        B> client id
        B> ping x
        B|
        A: open
        B: open
        save ok
        A: closed
        A< *3 :0 $40 {CANDIDATE} :5
        B: closed
        B< *3 :0 $40 {CANDIDATE} :5 +PONG :2 $1 x
        C> sentinel is-master-down-by-addr 127.0.0.1 1 6 {CANDIDATE}
        C|
        wait 499
        C: open
        wait 1
        C: closed
        C< *3 :0 $40 {CANDIDATE} :5
        "
    ));
    assert_eq!(rig.server.next_deadline(), None);
}

#[test]
fn a_pause_and_a_lookup_are_waited_for() {
    let mut rig = Rig::new();
    rig.sentinel.global.resolve_hostnames = true;
    rig.play(
        "
        A> client pause 300
        A< +OK
        B> ping
        B|
        C> sentinel monitor m a.test 1 1
        C|
        wait 299
        B: open
        wait 1
        B: closed
        B< +PONG
        wait 4700
        ",
    );
    rig.play(
        "
        C: open
        host a.test 10.0.0.1
        save ok
        C: closed
        C< +OK
        ",
    );
}

#[test]
fn requests_beyond_the_share_of_a_turn_are_answered_in_the_next_ones() {
    let mut rig = Rig::new();
    let conn = rig.client('A');
    let all = 20_000;
    rig.send(conn, &b"PING\r\n".repeat(all));
    rig.play("A|");
    let (mut pongs, mut turns) = (0, 0);
    loop {
        pongs += rig.take(conn).len() / b"+PONG\r\n".len();
        if rig.closed.contains(&conn) {
            break;
        }
        rig.enter(|server, sentinel, cx| server.run_due(cx, sentinel));
        turns += 1;
        assert!(turns < 1_000, "{pongs} answers");
    }
    assert_eq!(pongs, all);
    assert!(turns > 3, "{turns}: nothing was cut off");
}

#[test]
fn whoever_takes_no_answers_now_gets_them_later() {
    let mut rig = Rig::new();
    let conn = rig.client('A');
    let long = "x".repeat(100_000);
    for _ in 0..20 {
        rig.send(conn, format!("*2\r\n$4\r\nPING\r\n$100000\r\n{long}\r\n").as_bytes());
    }
    rig.play("A|");
    let mut got = 0;
    for _ in 0..100 {
        got += rig.take(conn).iter().filter(|byte| **byte == b'x').count();
        rig.enter(|server, sentinel, cx| server.run_due(cx, sentinel));
        if rig.closed.contains(&conn) {
            break;
        }
    }
    got += rig.take(conn).iter().filter(|byte| **byte == b'x').count();
    assert!(rig.closed.contains(&conn));
    assert_eq!(got, 20 * 100_000);
}
