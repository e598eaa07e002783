//! CLIENT.
#![forbid(unsafe_code)]

use super::Rig;
use crate::config::settings::Settings;
use crate::sentinel::action::LogLevel;

#[test]
fn names_and_libraries() {
    let long = "n".repeat(1024);
    Rig::new().play(
        &"
        A> client setname \"a b\"
        A< -ERR Client names cannot contain spaces, newlines or special characters.
        A> client setname abc
        A< +OK
        A> client getname
        A< $3 abc
        A> client setname \"\"
        A< +OK
        A> client getname
        A< $-1
        A> client setinfo lib-name x
        A< +OK
        A> client setinfo LIB-VER \"1 2\"
        A< -ERR LIB-VER cannot contain spaces, newlines or special characters.
        A> client setname LONG+
        A< -ERR Client names cannot be longer than 1024 bytes.
        A> hello 2 setname LONG+
        A< -ERR Client names cannot be longer than 1024 bytes.
        A> client setname LONG
        A< +OK
        A> client setinfo lib-name LONG+
        A< -ERR lib-name cannot be longer than 1024 bytes.
        A> client setinfo LIB-VER LONG+
        A< -ERR LIB-VER cannot be longer than 1024 bytes.
        A> client setinfo lib-ver LONG
        A< +OK
        A> client setinfo foo x
        A< -ERR Unrecognized option 'foo'
        A> client maint_notifications on
        A< -ERR unknown subcommand 'maint_notifications'. Try CLIENT HELP.
        A> client no-touch on
        A< -ERR unknown subcommand 'no-touch'. Try CLIENT HELP.
        "
        .replace("LONG", &long),
    );
}

#[test]
fn a_request_that_is_held_back_is_kept_as_its_bytes() {
    let mut rig = Rig::new();
    rig.play("A> client reply skip\nB> client pause 1000\nB< +OK\nA> ping a\nA> ping b\nA: held");
    let conn = rig.client('A');
    assert_eq!(rig.server.clients[&conn].query, b"ping a\r\nping b\r\n");
    rig.play("wait 999\nA<\nwait 1\nA: free\nA< $1 b");
    assert_eq!(rig.server.clients[&conn].query.capacity(), 0);
}

#[test]
fn the_line_of_a_client() {
    let mut rig = Rig::new();
    let conn = rig.client('A');
    rig.ask(
        conn,
        b"client setname me\r\nclient setinfo lib-name lib\r\nclient setinfo lib-ver 1\r\n",
    );
    rig.now = rig.now.after(5_000);
    let got = String::from_utf8(rig.ask(conn, b"client info\r\n")).unwrap();
    let (_, line) = got.split_once("\r\n").unwrap();
    let pairs: Vec<_> = line.trim_end().split(' ').map(|p| p.split_once('=').unwrap()).collect();
    let names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
    let wanted = "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free \
        argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name \
        lib-ver";
    assert_eq!(names.join(" "), wanted);
    for pair in [
        ("id", "1"),
        ("addr", "127.0.0.1:5065"),
        ("laddr", "127.0.0.1:26379"),
        ("fd", "9"),
        ("name", "me"),
        ("age", "5"),
        ("idle", "0"),
        ("flags", "N"),
        ("cmd", "client|info"),
        ("user", "default"),
        ("redir", "-1"),
        ("resp", "2"),
        ("lib-name", "lib"),
        ("lib-ver", "1"),
    ] {
        assert!(pairs.contains(&pair), "{pair:?} not in {line}");
    }
    let other = rig.client('B');
    rig.ask(other, b"subscribe a b\r\npsubscribe c\r\n");
    let list = String::from_utf8(rig.ask(conn, b"client list\r\n")).unwrap();
    assert_eq!(list.matches("\n").count(), 4, "{list}");
    assert!(list.contains("flags=P db=0 sub=2 psub=1") && list.contains(" cmd=psubscribe "));
    let verbatim = rig.ask(conn, b"hello 3\r\nclient info\r\n");
    assert!(String::from_utf8(verbatim).unwrap().contains("\r\ntxt:id=1 "));
}

#[test]
fn lists_are_filtered() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client('A'), rig.client('B'));
    rig.ask(b, b"subscribe x\r\n");
    let mut count = |request: &str| {
        let got = String::from_utf8(rig.ask(a, format!("client list {request}\r\n").as_bytes()));
        got.unwrap().matches("id=").count()
    };
    let cases =
        [("type normal", 1), ("TYPE pubsub", 1), ("type master", 0), ("id 1 2 9", 2), ("id 9", 0)];
    for (request, wanted) in cases {
        assert_eq!(count(request), wanted, "{request}");
    }
    rig.play(
        "
        A> client list type foo
        A< -ERR Unknown client type 'foo'
        A> client list type
        A< -ERR syntax error
        A> client list id
        A< -ERR syntax error
        A> client list id a
        A< -ERR Invalid client ID
        A> client list foo
        A< -ERR syntax error
        ",
    );
}

#[test]
fn kill_by_conditions() {
    let mut rig = Rig::new();
    rig.play(
        "
        A> client kill 1.2.3.4:5
        A< -ERR No such client
        A> client kill id a
        A< -ERR client-id should be greater than 0
        A> client kill id 0
        A< -ERR client-id should be greater than 0
        A> client kill foo bar
        A< -ERR syntax error
        A> client kill id 9 skipme
        A< -ERR syntax error
        A> client kill type foo
        A< -ERR Unknown client type 'foo'
        A> client kill user nobody
        A< -ERR No such user 'nobody'
        A> client kill skipme maybe
        A< -ERR syntax error
        B> ping
        B< +PONG
        A> client kill user default
        A< :1
        B: closed
        A: open
        C> ping
        C< +PONG
        A> client kill addr 127.0.0.1:5067 laddr 127.0.0.1:1
        A< :0
        A> client kill 127.0.0.1:5067
        A< +OK
        C: closed
        D> subscribe x
        A> client kill maxage 1
        A< :0
        A> client kill type pubsub id 4
        A< :1
        D: closed
        A> client kill id 1
        A< :0
        A> client kill id 1 skipme no
        A< :1
        A: closed
        E> ping
        E< +PONG
        E> client kill 127.0.0.1:5069
        E< +OK
        E: closed
        ",
    );
}

#[test]
fn replies_can_be_switched_off() {
    Rig::new().play(
        "
        A> client reply foo
        A< -ERR syntax error
        A> client reply skip
        A> ping a
        A<
        A> ping b
        A< $1 b
        A> client reply off
        A> ping
        A> foo
        A> client reply skip
        A<
        A> client reply on
        A< +OK
        A> ping
        A< +PONG
        ",
    );
}

#[test]
fn a_pause_holds_clients_back() {
    let mut rig = Rig::new();
    rig.play(
        "
        A> client pause a
        A< -ERR timeout is not an integer or out of range
        A> client pause -1
        A< -ERR timeout is negative
        A> client pause 100 foo
        A< -ERR CLIENT PAUSE mode must be WRITE or ALL
        A> client pause 1000 write
        A< +OK
        B> ping
        B< +PONG
        B> publish __sentinel__:hello x
        B> ping
        B<
        B: held
        A> client unpause
        A< +OK
        B< :1 +PONG
        B: free
        A> client pause 1000
        A< +OK
        A> ping
        A> ping a
        B> foo
        B< -ERR unknown command 'foo', with args beginning with:
        wait 500
        A<
        wait 500
        A< +PONG $1 a
        A: free
        ",
    );
    assert_eq!(rig.server.next_deadline(), None);
}

#[test]
fn tracking_has_no_effect_but_answers() {
    Rig::new().play(
        "
        A> client tracking on
        A< +OK
        A> client trackinginfo
        A< *6 $5 flags *1 $2 on $8 redirect :0 $8 prefixes *0
        A> client getredir
        A< :0
        A> client caching yes
        A< -ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.
        A> client tracking off
        A< +OK
        A> client caching foo
        A< -ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or
        .. OPTOUT mode enabled
        A> client tracking foo
        A< -ERR syntax error
        A> client tracking on redirect 5
        A< -ERR The client ID you want redirect to does not exist
        A> client getredir
        A< :-1
        A> client no-evict on
        A< +OK
        A> client no-evict foo
        A< -ERR syntax error
        A> client unblock 5
        A< :0
        A> client unblock a
        A< -ERR value is not an integer or out of range
        A> client unblock 5 foo
        A< -ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR
        ",
    );
}

#[test]
fn comings_and_goings_are_logged_at_verbose() {
    let settings = Settings { loglevel: Some(LogLevel::Verbose), ..Settings::default() };
    let mut rig = Rig::with(settings);
    rig.play(
        "
        A> ping
        log Accepted 127.0.0.1:5065
        A> *x
        log Protocol error (invalid multibulk length) from client: id=1 addr=127.0.0.1:5065
        ",
    );
    let conn = rig.client('B');
    rig.enter(|server, _, cx| server.closed(cx, conn));
    rig.play("log Client closed connection id=2 addr=127.0.0.1:5066");
}

#[test]
fn a_peer_announces_that_it_runs_sentineld() {
    let runs_sentineld = |rig: &mut Rig| {
        for conn in rig.server.take_left_peers() {
            rig.sentinel.sentineld_peers.remove(conn);
        }
        rig.sentinel.sentineld_peers.contains(b"00c0ffee00000000000000000000000000000000")
    };
    let announce = "
        A> client setname sentinel-00c0ffee-cmd
        A< +OK
        A> client setinfo lib-name sentineld
        A< +OK
        ";
    for (line, stays) in [
        ("A> client setinfo lib-ver 1\nA< +OK", true),
        ("A> client setinfo lib-name other\nA< +OK", false),
        ("A> client setname other\nA< +OK", false),
        ("A> reset\nA< +RESET", false),
        ("A> quit\nA< +OK", false),
        ("A!", false),
    ] {
        let mut rig = Rig::new();
        rig.play("A> client setinfo lib-name sentineld\nA< +OK");
        assert!(!runs_sentineld(&mut rig), "without a name");
        rig.play(announce);
        assert!(runs_sentineld(&mut rig));
        rig.play(line);
        assert_eq!(runs_sentineld(&mut rig), stays, "{line}");
    }
}
