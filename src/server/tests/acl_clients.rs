//! What users may do, and what becomes of clients when their users change.
#![forbid(unsafe_code)]

use super::Rig;
use crate::config::settings::Settings;

fn users(lines: &[&str]) -> Settings {
    let words = |line: &&str| line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
    Settings { users: lines.iter().map(words).collect(), ..Settings::default() }
}

#[test]
fn users_log_in_with_auth_and_hello() {
    Rig::with(users(&["bob on >pw +@all", "eve off >pw +@all"])).play(
        "
        A> auth bob wrong
        A< -WRONGPASS invalid username-password pair or user is disabled.
        A> acl whoami
        A< $7 default
        A> auth bob pw
        A< +OK
        A> acl whoami
        A< $3 bob
        A> auth eve pw
        A< -WRONGPASS invalid username-password pair or user is disabled.
        A> hello 3 auth eve pw
        A< -WRONGPASS invalid username-password pair or user is disabled.
        A> hello 2 auth default any setname a
        A< *12 $6 server $5 redis $7 version $5 7.2.0 $5 proto :2 $2 id :1 $4 mode $8 sentinel
        .. $7 modules *0
        A> acl whoami
        A< $7 default
        A> auth bob pw
        A< +OK
        A> reset
        A< +RESET
        A> acl whoami
        A< $7 default
        A> client kill user nobody
        A< -ERR No such user 'nobody'
        B> auth bob pw
        B< +OK
        A> client kill user bob
        A< :1
        B: closed
        A: open
        ",
    );
}

#[test]
fn strangers_may_only_log_in() {
    Rig::with(users(&["default off", "bob on >pw +ping"])).play(
        "
        A> ping
        A< -NOAUTH Authentication required.
        A> foo
        A< -ERR unknown command 'foo', with args beginning with:
        A> sentinel master
        A< -ERR wrong number of arguments for 'sentinel|master' command
        A> auth x
        A< -WRONGPASS invalid username-password pair or user is disabled.
        A> hello
        A< -NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO
        .. <proto> AUTH <user> <pass> option can be used to authenticate the client and select the
        .. RESP protocol version at the same time
        A> auth bob pw
        A< +OK
        A> ping
        A< +PONG
        A> reset
        A< +RESET
        A> ping
        A< -NOAUTH Authentication required.
        ",
    );
}

#[test]
fn who_need_not_log_in_any_more_or_must_from_now_on() {
    Rig::with(users(&["default on >pw +@all &*"])).play(
        "
        A> ping
        A< -NOAUTH Authentication required.
        B> auth pw
        B< +OK
        B> acl setuser default nopass
        B< +OK
        A> ping
        A< +PONG
        B> acl setuser default >new
        B< +OK
        A> ping
        A< -NOAUTH Authentication required.
        B> ping
        B< +PONG
        ",
    );
}

#[test]
fn rights_are_checked_between_authentication_and_subscription() {
    Rig::with(users(&["bob on nopass +subscribe +client|id +ping|hi &news* &one"])).play(
        "
        A> auth bob x
        A< +OK
        A> sentinel foo
        A< -ERR unknown subcommand 'foo'. Try SENTINEL HELP.
        A> sentinel master
        A< -ERR wrong number of arguments for 'sentinel|master' command
        A> sentinel masters
        A< -NOPERM User bob has no permissions to run the 'sentinel|masters' command
        A> client list
        A< -NOPERM User bob has no permissions to run the 'client|list' command
        A> client id
        A< :1
        A> ping
        A< -NOPERM User bob has no permissions to run the 'ping' command
        A> ping HI
        A< $2 HI
        A> subscribe one two
        A< -NOPERM No permissions to access a channel
        A> subscribe newsletter
        A< *3 $9 subscribe $10 newsletter :1
        A> unsubscribe
        A< -NOPERM User bob has no permissions to run the 'unsubscribe' command
        A> client id
        A< -ERR Can't execute 'client|id': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT /
        .. RESET are allowed in this context
        A> client list
        A< -NOPERM User bob has no permissions to run the 'client|list' command
        ",
    );
}

#[test]
fn a_peers_user_needs_little() {
    Rig::with(users(&[
        "peer on nopass +ping +client|setname +sentinel|is-master-down-by-addr +publish \
         &__sentinel__:hello",
    ]))
    .play(
        "
        A> auth peer x
        A< +OK
        A> client setname sentinel-12345678-cmd
        A< +OK
        A> ping
        A< +PONG
        A> sentinel is-master-down-by-addr 127.0.0.1 6379 0 *
        A< *3 :0 $1 * :0
        A> publish __sentinel__:hello x
        A< :1
        A> publish other x
        A< -NOPERM No permissions to access a channel
        ",
    );
}

#[test]
fn what_a_user_loses_its_clients_lose_at_once() {
    Rig::with(users(&["bob on >pw +@all &foo* &bar"])).play(
        "
        A> auth bob pw
        A< +OK
        A> subscribe foo1 bar
        A< *3 $9 subscribe $4 foo1 :1 *3 $9 subscribe $3 bar :2
        B> auth bob pw
        B< +OK
        B> psubscribe foo*
        B< *3 $10 psubscribe $4 foo* :1
        C> auth bob pw
        C< +OK
        D> acl setuser bob off -info
        D< +OK
        C> ping
        C< +PONG
        C> info
        C< -NOPERM User bob has no permissions to run the 'info' command
        D> acl setuser bob -@all
        D< +OK
        A: open
        D> acl setuser bob resetchannels &bar &foo1
        D< +OK
        A: open
        B: closed
        D> acl setuser bob resetchannels &bar (&foo1)
        D< +OK
        A: open
        D> acl setuser bob clearselectors
        D< +OK
        A: closed
        C: open
        D> acl deluser bob
        D< :1
        C: closed
        D: open
        ",
    );
}

#[test]
fn who_takes_its_own_rights_away_hears_so_first() {
    Rig::with(users(&["bob on nopass +@all &*", "eve on nopass +@all &*"])).play(
        "
        A> auth bob x
        A< +OK
        A> acl deluser bob
        A< :1
        A: closed
        B> auth eve x
        B< +OK
        B> hello 3
        B< %6 $6 server $5 redis $7 version $5 7.2.0 $5 proto :3 $2 id :2 $4 mode $8 sentinel
        .. $7 modules *0
        B> subscribe x
        B< >3 $9 subscribe $1 x :1
        B> acl setuser eve resetchannels
        B< +OK
        B: closed
        ",
    );
}

#[test]
fn a_load_closes_clients_of_users_that_changed() {
    let mut settings = users(&["bob on nopass +@all &*", "eve on nopass +@all &*"]);
    settings.aclfile = Some(b"f".to_vec());
    Rig::with(settings).play(
        "
        A> auth bob x
        A< +OK
        B> auth eve x
        B< +OK
        C> subscribe x
        C< *3 $9 subscribe $1 x :1
        D> subscribe +slave
        D< *3 $9 subscribe $6 +slave :1
        B> acl load
        answer user bob on nopass +@all &*\\nuser eve on nopass +@all\\nuser default on nopass
        ..  &+*\\n
        B< +OK
        B: closed
        A: open
        C: closed
        D: open
        A> ping
        A< +PONG
        ",
    );
}

#[test]
fn a_load_whose_asker_is_gone_holds_nevertheless() {
    let settings = Settings { aclfile: Some(b"f".to_vec()), ..Settings::default() };
    let mut rig = Rig::with(settings);
    let asker = rig.connect();
    rig.send(asker, b"acl load\r\n");
    rig.enter(|server, _, cx| server.closed(cx, asker));
    rig.play("answer user bob on\\n\nA> acl users\nA< *2 $3 bob $7 default\n");
}

#[test]
fn channels_of_new_users_as_the_configuration_says() {
    Rig::with(Settings { acl_pubsub_allchannels: true, ..Settings::default() }).play(
        "
        A> acl setuser bob (+ping)
        A< +OK
        A> acl setuser bob &x
        A< -ERR Error in ACL SETUSER modifier '&x': Adding a pattern after the * pattern (or the
        .. 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to
        .. start with an empty list of channels
        A> acl list
        A< *2 $38 user bob off &* -@all (&* -@all +ping) $34 user default on nopass ~* &* +@all
        ",
    );
}

#[test]
fn clients_are_listed_with_their_users() {
    let mut rig = Rig::with(users(&["bob on nopass +@all"]));
    rig.play("A> auth bob x\nA< +OK\n");
    let conn = rig.client('A');
    let line = super::readable(&rig.ask(conn, b"client info\r\n"));
    assert!(line.contains(" cmd=client|info user=bob redir=-1 "), "{line}");
}
