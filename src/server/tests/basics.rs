//! Parsing, the order of the checks, errors, authentication, HELLO, COMMAND, INFO.
#![forbid(unsafe_code)]

use super::{Rig, readable};
use crate::config::settings::Settings;
use crate::sentinel::action::Action;

#[test]
fn requests_in_pieces_and_many_at_once() {
    let mut rig = Rig::new();
    let conn = rig.connect();
    let request = b"*2\r\n$4\r\nPING\r\n$5\r\nhe\r\no\r\n  ping\r\n\r\n*1\r\n$4\r\nping\r\n";
    let mut whole = Vec::new();
    for byte in request {
        whole.extend(rig.ask(conn, &[*byte]));
    }
    assert_eq!(whole, b"$5\r\nhe\r\no\r\n+PONG\r\n+PONG\r\n");
    assert_eq!(rig.ask(conn, request), whole);
    let many = b"PING\r\n".repeat(300);
    assert_eq!(rig.ask(conn, &many), b"+PONG\r\n".repeat(300));
}

#[test]
fn checks_come_in_their_order() {
    let settings = Settings { requirepass: Some(b"secret".to_vec()), ..Settings::default() };
    let mut rig = Rig::with(settings);
    rig.play(
        "
        A> get a
        A< -ERR unknown command 'get', with args beginning with: 'a'
        A> client
        A< -ERR wrong number of arguments for 'client' command
        A> client foo
        A< -ERR unknown subcommand 'foo'. Try CLIENT HELP.
        A> ping
        A< -NOAUTH Authentication required.
        A> client id
        A< -NOAUTH Authentication required.
        A> sentinel master
        A< -ERR wrong number of arguments for 'sentinel|master' command
        A> auth wrong
        A< -WRONGPASS invalid username-password pair or user is disabled.
        A> auth secret
        A< +OK
        A> auth wrong
        A< -WRONGPASS invalid username-password pair or user is disabled.
        A> ping
        A< +PONG
        A> reset
        A< +RESET
        A> ping
        A< -NOAUTH Authentication required.
        A> hello 3
        A< -NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO
        .. <proto> AUTH <user> <pass> option can be used to authenticate the client and select the
        .. RESP protocol version at the same time
        A> hello 3 setname abc auth default wrong
        A< -WRONGPASS invalid username-password pair or user is disabled.
        A> auth default secret
        A< +OK
        A> client getname
        A< $-1
        A> quit
        A< +OK
        A: closed
        ",
    );
}

#[test]
fn errors_repeat_a_bounded_part_of_the_request() {
    let mut rig = Rig::new();
    let conn = rig.connect();
    let got = rig.ask(
        conn,
        &[&[b'x'; 200][..], b" ", &[b'y'; 100], b" zz zz ", &[b'q'; 99], b"\r\n"].concat(),
    );
    let wanted = format!(
        "-ERR unknown command '{}', with args beginning with: '{}' 'zz' 'zz' '{}' \r\n",
        "x".repeat(128),
        "y".repeat(100),
        "q".repeat(128 - 103 - 10),
    );
    assert_eq!(String::from_utf8(got).unwrap(), wanted);
    let got = rig.ask(conn, b"*2\r\n$3\r\nfoo\r\n$4\r\na\r\nb\r\n");
    assert_eq!(got, b"-ERR unknown command 'foo', with args beginning with: 'a  b' \r\n");
    let got = rig.ask(conn, &[b"client ", &[b'x'; 200][..], b"\r\n"].concat());
    let wanted = format!("-ERR unknown subcommand '{}'. Try CLIENT HELP.\r\n", "x".repeat(128));
    assert_eq!(String::from_utf8(got).unwrap(), wanted);
}

#[test]
fn protocol_errors_are_told_and_close() {
    let cases: [(&[u8], &str); 6] = [
        (b"*a\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\na\r\n", "-ERR Protocol error: expected '$', got 'a'"),
        (b"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$600000\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"\"abc\r\n", "-ERR Protocol error: unbalanced quotes in request"),
        (&[b'x'; 70_000], "-ERR Protocol error: too big inline request"),
    ];
    for (request, wanted) in cases {
        let mut rig = Rig::new();
        let conn = rig.connect();
        assert_eq!(
            readable(&rig.ask(conn, &[b"ping\r\n", request].concat())),
            format!("+PONG {wanted}")
        );
        assert!(rig.closed.contains(&conn) && !rig.server.owns(conn));
        rig.send(conn, b"ping\r\n");
        rig.enter(|server, _, cx| server.closed(cx, conn));
    }
}

#[test]
fn unauthenticated_clients_have_smaller_limits() {
    let settings = Settings { requirepass: Some(b"secret".to_vec()), ..Settings::default() };
    let mut rig = Rig::with(settings);
    let conn = rig.connect();
    let got = rig.ask(conn, b"*11\r\n");
    assert_eq!(got, b"-ERR Protocol error: unauthenticated multibulk length\r\n");
    let conn = rig.connect();
    let got = rig.ask(conn, b"*2\r\n$4\r\nAUTH\r\n$16385\r\n");
    assert_eq!(got, b"-ERR Protocol error: unauthenticated bulk length\r\n");
    let conn = rig.connect();
    assert_eq!(rig.ask(conn, b"auth secret\r\n*11\r\n"), b"+OK\r\n");
    assert!(!rig.closed.contains(&conn));
}

#[test]
fn http_is_cut_off_without_a_reply() {
    let mut rig = Rig::new();
    rig.play(
        "
        A> POST / HTTP/1.1
        A<
        A: closed
        log SECURITY ATTACK: 127.0.0.1:5065
        B> host: example
        B: closed
        ",
    );
    assert_eq!(rig.logged, "");
    rig.now = rig.now.after(60_000);
    rig.enter(|_, _, cx| cx.log_held_back());
    rig.play("log 1 similar line was held back in the last 60 s");
    rig.play("C> Host: x\nlog SECURITY ATTACK: 127.0.0.1:5067");
}

#[test]
fn hello_switches_all_or_nothing() {
    let mut rig = Rig::new();
    rig.play(
        "
        A> hello 4
        A< -NOPROTO unsupported protocol version
        A> hello a
        A< -ERR Protocol version is not an integer or out of range
        A> hello 3 foo
        A< -ERR Syntax error in HELLO option 'foo'
        A> hello 3 auth default
        A< -ERR Syntax error in HELLO option 'auth'
        A> hello 3 setname abc foo
        A< -ERR Syntax error in HELLO option 'foo'
        A> hello 3 setname \"a b\"
        A< -ERR Client names cannot contain spaces, newlines or special characters.
        A> client getname
        A< $-1
        A> hello
        A< *12 $6 server $5 redis $7 version $5 7.2.0 $5 proto :2 $2 id :1 $4 mode $8 sentinel $7
        .. modules *0
        A> hello 3 auth default x setname abc
        A< %6 $6 server $5 redis $7 version $5 7.2.0 $5 proto :3 $2 id :1 $4 mode $8 sentinel $7
        .. modules *0
        A> client getname
        A< $3 abc
        A> sentinel get-master-addr-by-name nope
        A< _
        A> reset
        A< +RESET
        A> client getname
        A< $-1
        ",
    );
}

#[test]
fn auth_without_a_password() {
    Rig::new().play(
        "
        A> auth x
        A< -ERR AUTH <password> called without any password configured for the default user. Are you
        .. sure your configuration is correct?
        A> auth default x
        A< +OK
        A> auth foo x
        A< -WRONGPASS invalid username-password pair or user is disabled.
        A> auth a b c
        A< -ERR syntax error
        A> acl whoami
        A< $7 default
        ",
    );
}

#[test]
fn command_tells_what_the_table_holds() {
    let mut rig = Rig::new();
    rig.play(
        "
        A> command count
        A< :15
        A> command info ping quit foo client|id
        A< *4 *10 $4 ping :-1 *1 +fast :0 :0 :0 *2 +@fast +@connection *2 $25
        .. request_policy:all_shards $29 response_policy:all_succeeded *0 *0 $-1 $-1 *10 $9
        .. client|id :2 *3 +noscript +loading +stale :0 :0 :0 *2 +@slow +@connection *0 *0 *0
        A> command list filterby aclcat fast
        A< *5 $4 auth $5 hello $4 ping $7 publish $4 role
        A> command list filterby pattern CLIENT|U*
        A< *2 $14 client|unblock $14 client|unpause
        A> command list filterby module x
        A< *0
        A> command list filterby foo x
        A< -ERR syntax error
        A> command getkeys ping a
        A< -ERR The command has no key arguments
        A> command getkeys foo
        A< -ERR Invalid command specified
        A> command docs quit client|id
        A< *2 $9 client|id *6 $7 summary $20 The connection's id. $5 since $5 5.0.0 $5 group $10
        .. connection
        A> command foo
        A< -ERR unknown subcommand 'foo'. Try COMMAND HELP.
        ",
    );
    let conn = rig.client('A');
    let all = readable(&rig.ask(conn, b"command\r\n"));
    assert!(all.starts_with("*15 *10 $3 acl :-2 *0 "), "{all}");
    let hello = rig.ask(conn, b"hello 3\r\n");
    assert!(hello.starts_with(b"%6\r\n"));
    rig.play(
        "
        A> command info shutdown
        A< *1 *10 $8 shutdown :-1 ~6 +admin +noscript +loading +stale +no_multi +allow_busy :0 :0 :0
        .. ~3 +@admin +@slow +@dangerous ~0 ~0 ~0
        ",
    );
}

#[test]
fn info_has_its_sections_in_order() {
    let mut rig = Rig::new();
    rig.monitor("one", "127.0.0.1", 1, 2);
    let down = rig.monitor("two", "127.0.0.1", 2, 2);
    rig.sentinel.masters[down].base.sdown.is = true;
    rig.now = rig.now.after(86_400_000 + 5_000);
    let conn = rig.connect();
    let text = String::from_utf8(rig.ask(conn, b"info\r\n")).unwrap();
    let heads: Vec<_> = text.lines().filter(|l| l.starts_with('#')).collect();
    assert_eq!(heads, ["# Server", "# Clients", "# Stats", "# CPU", "# Sentinel"]);
    for line in [
        "redis_version:7.2.0",
        concat!("sentineld_version:", env!("CARGO_PKG_VERSION")),
        "redis_mode:sentinel",
        "uptime_in_seconds:86405",
        "uptime_in_days:1",
        "server_time_usec:1700000000000000",
        "connected_clients:1",
        "total_connections_received:1",
        "sentinel_masters:2",
        "sentinel_tilt_since_seconds:-1",
        "master0:name=one,status=ok,address=127.0.0.1:1,slaves=0,sentinels=1",
        "master1:name=two,status=sdown,address=127.0.0.1:2,slaves=0,sentinels=1",
    ] {
        assert!(text.split("\r\n").any(|l| l == line), "no {line} in {text}");
    }
    let again = String::from_utf8(rig.ask(conn, b"info everything\r\n")).unwrap();
    assert_eq!(again.lines().filter(|l| l.starts_with('#')).count(), 5);
    let cpu = String::from_utf8(rig.ask(conn, b"INFO keyspace sentinel CPU\r\n")).unwrap();
    assert!(cpu.contains("\r\n# CPU\r\nused_cpu_sys:0.000000\r\n"), "{cpu}");
    assert!(cpu.contains("\r\n\r\n# Sentinel\r\n"), "{cpu}");
    assert_eq!(rig.ask(conn, b"info keyspace\r\n"), b"$0\r\n\r\n");
    let clients = String::from_utf8(rig.ask(conn, b"foo\r\ninfo stats\r\n")).unwrap();
    assert!(clients.contains("total_error_replies:1\r\n"), "{clients}");
}

#[test]
fn role_ping_and_shutdown() {
    let mut rig = Rig::new();
    rig.monitor("b", "127.0.0.1", 1, 1);
    rig.monitor("a", "127.0.0.1", 2, 1);
    rig.play(
        "
        A> role
        A< *2 $8 sentinel *2 $1 a $1 b
        A> ping a b
        A< -ERR wrong number of arguments for 'ping' command
        A> ping \"a\\r\\nb\"
        A< $4 a b
        A> shutdown foo
        A< -ERR syntax error
        A> shutdown save nosave
        A< -ERR syntax error
        A> shutdown abort now
        A< -ERR syntax error
        A> shutdown abort
        A< -ERR No shutdown in progress.
        ",
    );
    assert_eq!(rig.other, []);
    rig.play("A> shutdown nosave now\nA<");
    assert_eq!(rig.other, [Action::Exit { code: 0, clean: true }]);
}

#[test]
fn renamed_commands_answer_to_their_new_names_only() {
    let renamed = vec![(b"role".to_vec(), b"Wer".to_vec()), (b"shutdown".to_vec(), Vec::new())];
    let mut rig = Rig::with(Settings { renamed_commands: renamed, ..Settings::default() });
    rig.play(
        "
        A> wer
        A< *2 $8 sentinel *0
        A> role
        A< -ERR unknown command 'role', with args beginning with:
        A> shutdown
        A< -ERR unknown command 'shutdown', with args beginning with:
        A> command count
        A< :14
        ",
    );
    assert_eq!(rig.other, []);
}

#[test]
fn help_has_a_head_and_a_foot() {
    let mut rig = Rig::new();
    let conn = rig.connect();
    for (container, first) in [
        ("SENTINEL", "CKQUORUM <master-name>"),
        ("CLIENT", "CACHING (YES|NO)"),
        ("ACL", "CAT [<category>]"),
        ("COMMAND", "(no subcommand)"),
    ] {
        let text =
            String::from_utf8(rig.ask(conn, format!("{container} help\r\n").as_bytes())).unwrap();
        let mut got = text.split("\r\n");
        let count: usize = got.next().unwrap()[1..].parse().unwrap();
        let head = format!("+{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
        assert_eq!(got.next().unwrap(), head);
        assert_eq!(got.next().unwrap(), format!("+{first}"));
        assert!(text.ends_with("+HELP\r\n+    Print this help.\r\n"));
        assert_eq!(text.split("\r\n").count(), count + 2);
    }
}
