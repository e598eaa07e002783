//! Subscriptions, their rules in both dialects, and the order of events and replies.
#![forbid(unsafe_code)]

use super::Rig;
use crate::sentinel::action::Action;

fn publish(rig: &mut Rig, channel: &'static str, text: &str) {
    let text = text.as_bytes().to_vec();
    rig.enter(|_, _, cx| cx.act(Action::Publish { channel, text }));
}

#[test]
fn confirmations_count_what_is_held() {
    Rig::new().play(
        "
        A> unsubscribe
        A< *3 $11 unsubscribe $-1 :0
        A> unsubscribe a b
        A< *3 $11 unsubscribe $1 a :0 *3 $11 unsubscribe $1 b :0
        A> subscribe a a b
        A< *3 $9 subscribe $1 a :1 *3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2
        A> psubscribe a* b
        A< *3 $10 psubscribe $2 a* :3 *3 $10 psubscribe $1 b :4
        A> unsubscribe
        A< *3 $11 unsubscribe $1 a :3 *3 $11 unsubscribe $1 b :2
        A> unsubscribe
        A< *3 $11 unsubscribe $-1 :2
        A> punsubscribe
        A< *3 $12 punsubscribe $2 a* :1 *3 $12 punsubscribe $1 b :0
        A> subscribe
        A< -ERR wrong number of arguments for 'subscribe' command
        ",
    );
}

#[test]
fn channels_and_patterns_have_a_longest_length() {
    let long = "x".repeat(1024);
    let text = "
        A> subscribe a LONG+ LONG b
        A< *3 $9 subscribe $1 a :1 -ERR Channel names cannot be longer than 1024 bytes.
        .. *3 $9 subscribe $1024 LONG :2 *3 $9 subscribe $1 b :3
        A> psubscribe *LONG *
        A< -ERR Patterns cannot be longer than 1024 bytes. *3 $10 psubscribe $1 * :4
        A> unsubscribe LONG+
        A< *3 $11 unsubscribe $1025 LONG+ :4
        ";
    Rig::new().play(&text.replace("LONG", &long));
}

#[test]
fn a_resp2_subscription_allows_little() {
    let only =
        "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    Rig::new().play(&format!(
        "
        A> subscribe a
        A< *3 $9 subscribe $1 a :1
        A> ping
        A< *2 $4 pong $0
        A> ping x
        A< *2 $4 pong $1 x
        A> get x
        A< -ERR unknown command 'get', with args beginning with: 'x'
        A> client
        A< -ERR wrong number of arguments for 'client' command
        A> client id
        A< -ERR Can't execute 'client|id': {only}
        A> hello 3
        A< -ERR Can't execute 'hello': {only}
        A> auth x
        A< -ERR Can't execute 'auth': {only}
        A> unsubscribe
        A< *3 $11 unsubscribe $1 a :0
        A> client id
        A< :1
        A> subscribe a
        A< *3 $9 subscribe $1 a :1
        A> reset
        A< +RESET
        A> client id
        A< :1
        A> subscribe a
        A< *3 $9 subscribe $1 a :1
        A> quit
        A< +OK
        A: closed
        "
    ));
}

#[test]
fn in_resp3_all_is_allowed_and_messages_are_pushes() {
    let mut rig = Rig::new();
    let conn = rig.client('A');
    rig.ask(conn, b"hello 3\r\n");
    rig.play(
        "
        A> subscribe a
        A< >3 $9 subscribe $1 a :1
        A> ping
        A< +PONG
        A> client id
        A< :1
        A> psubscribe +s*
        A< >3 $10 psubscribe $3 +s* :2
        ",
    );
    publish(&mut rig, "+sdown", "master x");
    rig.play(
        "
        A< >4 $8 pmessage $3 +s* $6 +sdown $8 master x
        A> unsubscribe
        A< >3 $11 unsubscribe $1 a :1
        A> unsubscribe
        A< >3 $11 unsubscribe _ :1
        A> reset
        A< +RESET
        ",
    );
    publish(&mut rig, "+sdown", "master x");
    rig.play("A<");
}

#[test]
fn events_reach_channels_first_and_then_patterns() {
    let mut rig = Rig::new();
    rig.play(
        "
        A> psubscribe * +x
        A< *3 $10 psubscribe $1 * :1 *3 $10 psubscribe $2 +x :2
        A> subscribe +x
        A< *3 $9 subscribe $2 +x :3
        B> subscribe -x +y
        B< *3 $9 subscribe $2 -x :1 *3 $9 subscribe $2 +y :2
        ",
    );
    publish(&mut rig, "+x", "one");
    publish(&mut rig, "+y", "two");
    rig.play(
        "
        A< *3 $7 message $2 +x $3 one *4 $8 pmessage $1 * $2 +x $3 one *4 $8 pmessage $2 +x $2 +x $3
        .. one *4 $8 pmessage $1 * $2 +y $3 two
        B< *3 $7 message $2 +y $3 two
        ",
    );
    let a = rig.client('A');
    rig.enter(|server, _, cx| server.closed(cx, a));
    publish(&mut rig, "+x", "one");
    let b = rig.client('B');
    assert_eq!(rig.take(a), b"");
    assert_eq!(rig.take(b), b"");
    let other = rig.connect();
    let stats = String::from_utf8(rig.ask(other, b"info stats\r\n")).unwrap();
    assert!(stats.contains("pubsub_channels:2\r\npubsub_patterns:0\r\n"), "{stats}");
}

#[test]
fn other_actions_keep_their_order_when_events_are_taken_out() {
    let mut rig = Rig::new();
    rig.play("A> subscribe +x\nA< *3 $9 subscribe $2 +x :1");
    rig.enter(|_, _, cx| {
        for generation in 1..4 {
            cx.act(Action::Persist { generation });
            cx.act(Action::Publish { channel: "+x", text: vec![b'0' + generation as u8] });
        }
    });
    let kept: Vec<_> = (1..4).map(|generation| Action::Persist { generation }).collect();
    assert_eq!(rig.other, kept);
    rig.play("A< *3 $7 message $2 +x $1 1 *3 $7 message $2 +x $1 2 *3 $7 message $2 +x $1 3");
}

#[test]
fn the_events_of_a_command_come_before_its_reply() {
    let mut rig = Rig::new();
    rig.monitor("m", "127.0.0.1", 1, 1);
    let conn = rig.client('A');
    rig.ask(conn, b"hello 3\r\npsubscribe *\r\n");
    rig.play(
        "
        A> sentinel reset m
        A< >4 $8 pmessage $1 * $13 +reset-master $20 master m 127.0.0.1 1 :1
        A> sentinel monitor x 127.0.0.1 7 2
        A<
        save ok
        A< +OK >4 $8 pmessage $1 * $8 +monitor $29 master x 127.0.0.1 7 quorum 2
        A> sentinel remove x
        A< >4 $8 pmessage $1 * $8 -monitor $20 master x 127.0.0.1 7
        save ok
        A< +OK
        ",
    );
}

#[test]
fn only_hellos_may_be_published() {
    let mut rig = Rig::new();
    rig.monitor("m", "127.0.0.1", 1, 1);
    rig.play(&format!(
        "
        A> publish foo x
        A< -ERR Only HELLO messages are accepted by Sentinel instances.
        A> publish __sentinel__:hello x
        A< :1
        B> subscribe +sentinel
        B< *3 $9 subscribe $9 +sentinel :1
        A> publish __sentinel__:hello 127.0.0.1,5000,{id},0,m,127.0.0.1,1,0
        B< *3 $7 message $9 +sentinel $80 sentinel {id} 127.0.0.1 5000 @ m 127.0.0.1 1
        A< :1
        ",
        id = "b".repeat(40)
    ));
}
