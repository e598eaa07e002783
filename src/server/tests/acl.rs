//! The ACL commands: users, their rules, what was refused.
#![forbid(unsafe_code)]

use super::{Rig, readable};
use crate::config::settings::Settings;

/// SHA-256 of `x`.
const X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

fn with_file() -> Settings {
    Settings { aclfile: Some(b"/users.acl".to_vec()), ..Settings::default() }
}

#[test]
fn users_are_added_changed_shown_and_removed() {
    Rig::new().play(&format!(
        "
        A> acl users
        A< *1 $7 default
        A> acl list
        A< *1 $34 user default on nopass ~* &* +@all
        A> acl setuser bob
        A< +OK
        A> acl getuser bob
        A< *12 $5 flags *1 $3 off $9 passwords *0 $8 commands $5 -@all $4 keys $0  $8 channels $0
        ..  $9 selectors *0
        A> acl setuser bob on >x +ping +client|id ~a* &hi (%R~b +info)
        A< +OK
        A> acl list
        A< *2 $155 user bob on #{X} ~a* resetchannels &hi -@all +ping +client|id (%R~b
        .. resetchannels -@all +info) $34 user default on nopass ~* &* +@all
        A> hello 3
        A< %6 $6 server $5 redis $7 version $5 7.2.0 $5 proto :3 $2 id :1 $4 mode $8 sentinel
        .. $7 modules *0
        A> acl getuser bob
        A< %6 $5 flags ~1 $2 on $9 passwords *1 $64 {X} $8 commands $22 -@all +ping +client|id
        .. $4 keys $3 ~a* $8 channels $3 &hi $9 selectors *1 %3 $8 commands $11 -@all +info
        .. $4 keys $4 %R~b $8 channels $0
        A> acl getuser eve
        A< _
        A> acl deluser bob bob eve
        A< :1
        A> acl users
        A< *1 $7 default
        "
    ));
}

#[test]
fn setuser_takes_all_rules_or_none() {
    Rig::new().play(
        "
        A> acl setuser bob on foo
        A< -ERR Error in ACL SETUSER modifier 'foo': Syntax error
        A> acl getuser bob
        A< $-1
        A> acl setuser bob on +ping
        A< +OK
        A> acl setuser bob off +foo
        A< -ERR Error in ACL SETUSER modifier '+foo': Unknown command or category name in ACL
        A> acl setuser bob off (+info ~x
        A< -ERR Unmatched parenthesis in acl selector starting at '(+info'.
        A> acl setuser bob off \"(+info ~x) \"
        A< -ERR Unmatched parenthesis in acl selector starting at '(+info ~x) '.
        A> acl setuser bob off +client|id|x
        A< -ERR Error in ACL SETUSER modifier '+client|id|x': Allowing first-arg of a subcommand is
        .. not supported
        A> acl list
        A< *2 $37 user bob on resetchannels -@all +ping $34 user default on nopass ~* &* +@all
        A> acl setuser \"a b\" on
        A< -ERR Usernames can't contain spaces or null characters
        A> acl setuser \"\" on
        A< -ERR Usernames can't contain spaces or null characters
        A> acl deluser bob default
        A< -ERR The 'default' user cannot be removed
        A> acl users
        A< *2 $3 bob $7 default
        ",
    );
}

#[test]
fn wrong_forms_of_the_commands() {
    Rig::new().play(
        "
        A> acl
        A< -ERR wrong number of arguments for 'acl' command
        A> acl foo
        A< -ERR unknown subcommand 'foo'. Try ACL HELP.
        A> acl whoami x
        A< -ERR wrong number of arguments for 'acl|whoami' command
        A> acl setuser
        A< -ERR wrong number of arguments for 'acl|setuser' command
        A> ACL CAT x y
        A< -ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.
        A> acl cat foo
        A< -ERR Unknown category 'foo'
        A> acl log x
        A< -ERR value is not an integer or out of range
        A> acl log 1 2
        A< -ERR unknown subcommand or wrong number of arguments for 'log'. Try ACL HELP.
        A> acl genpass x
        A< -ERR value is not an integer or out of range
        A> acl genpass 1 2
        A< -ERR unknown subcommand or wrong number of arguments for 'genpass'. Try ACL HELP.
        ",
    );
}

#[test]
fn categories() {
    let mut rig = Rig::new();
    rig.play(
        "
        A> acl cat read
        A< *0
        A> acl cat PubSub
        A< *5 $10 psubscribe $7 publish $12 punsubscribe $9 subscribe $11 unsubscribe
        A> acl cat fast
        A< *5 $4 auth $5 hello $4 ping $7 publish $4 role
        ",
    );
    let conn = rig.connect();
    assert!(readable(&rig.ask(conn, b"acl cat\r\n")).starts_with("*21 $8 keyspace $4 read "));
}

#[test]
fn a_dry_run_tells_what_is_missing() {
    Rig::new().play(
        "
        A> acl setuser bob +ping +client|id +subscribe +publish &foo*
        A< +OK
        A> acl dryrun bob ping
        A< +OK
        A> acl dryrun bob hello
        A< +OK
        A> acl dryrun bob Client List
        A< $60 User bob has no permissions to run the 'client|list' command
        A> acl dryrun bob subscribe foo1 x
        A< $53 User bob has no permissions to access the 'x' channel
        A> acl dryrun bob publish foo x
        A< +OK
        A> acl dryrun bob role a
        A< -ERR wrong number of arguments for 'role' command
        A> acl dryrun bob client foo
        A< -ERR Command 'client' not found
        A> acl dryrun bob foo
        A< -ERR Command 'foo' not found
        A> acl dryrun eve ping
        A< -ERR User 'eve' not found
        A> acl log
        A< *0
        ",
    );
}

#[test]
fn the_log_tells_what_was_refused_newest_first() {
    let mut rig = Rig::new();
    rig.play(
        "
        A> acl setuser bob on nopass +subscribe
        A< +OK
        B> aUth bob x
        B< +OK
        B> ping
        B< -NOPERM User bob has no permissions to run the 'ping' command
        wait 1500
        B> subscribe secret
        B< -NOPERM No permissions to access a channel
        B> ping
        B< -NOPERM User bob has no permissions to run the 'ping' command
        B> Auth eve x
        B< -WRONGPASS invalid username-password pair or user is disabled.
        B> hello 3 auth eve x
        B< -WRONGPASS invalid username-password pair or user is disabled.
        ",
    );
    let conn = rig.client('A');
    let lines = readable(&rig.ask(conn, b"acl log\r\n"));
    let entries: Vec<_> = lines.split("*20 ").skip(1).collect();
    let shown = |count: u32, reason: &str, object: &str, user: &str| {
        let of = |text: &str| format!("${} {text}", text.len());
        format!(
            "$5 count :{count} $6 reason {} $7 context $8 toplevel $6 object {} $8 username {} ",
            of(reason),
            of(object),
            of(user)
        )
    };
    assert_eq!(entries.len(), 4);
    assert!(entries[0].starts_with(&shown(1, "auth", "hello", "eve")), "{}", entries[0]);
    assert!(entries[1].starts_with(&shown(1, "auth", "Auth", "eve")), "{}", entries[1]);
    assert!(entries[2].starts_with(&shown(2, "command", "ping", "bob")), "{}", entries[2]);
    assert!(entries[3].starts_with(&shown(1, "channel", "secret", "bob")), "{}", entries[3]);
    assert!(entries[2].contains(" $11 age-seconds $1 0 $11 client-info "));
    assert!(entries[2].contains(" cmd=ping user=bob redir="));
    assert!(entries[2].contains(" $8 entry-id :0 $17 timestamp-created :17"));
    rig.wait(250);
    let one = readable(&rig.ask(conn, b"acl log 1\r\n"));
    assert!(one.contains(" $11 age-seconds $4 0.25 "), "{one}");
    rig.play(
        "
        A> acl log reset
        A< +OK
        A> acl log
        A< *0
        A> acl log -1
        A< *0
        ",
    );
}

#[test]
fn a_password_is_made_of_the_systems_random_bytes() {
    Rig::new().play(
        "
        A> acl genpass
        asks random 32
        A: held
        A<
        B> ping
        B< +PONG
        answer abcdefghijklmnopqrstuvwxyz012345
        A< $64 6162636465666768696a6b6c6d6e6f707172737475767778797a303132333435
        A: free
        A> acl genpass 5
        asks random 1
        answer k
        A< $2 6b
        A> acl genpass 9
        asks random 2
        answer kl
        A< $3 6b6
        A> acl genpass 4096
        asks random 512
        answer failed no
        A< -ERR The system gives no random numbers
        A> acl genpass 0
        A< -ERR ACL GENPASS argument must be the number of bits for the output password, a positive
        .. number up to 4096
        A> acl genpass 4097
        A< -ERR ACL GENPASS argument must be the number of bits for the output password, a positive
        .. number up to 4096
        ",
    );
}

#[test]
fn an_answer_that_never_comes_ends_the_wait() {
    Rig::new().play(
        "
        A> acl genpass
        wait 59999
        A<
        wait 1
        A< -ERR The ACL command was not carried out in time
        A: free
        answer abcdefghijklmnopqrstuvwxyz012345
        A<
        ",
    );
}

#[test]
fn without_an_aclfile_there_is_nothing_to_save_or_load() {
    let mut rig = Rig::new();
    let conn = rig.connect();
    for command in ["save", "load"] {
        let reply = readable(&rig.ask(conn, format!("acl {command}\r\n").as_bytes()));
        let head = "-ERR This Redis instance is not configured to use an ACL file. You may want to";
        assert!(reply.starts_with(head), "{reply}");
    }
}

#[test]
fn the_aclfile_is_written_while_others_go_on() {
    Rig::with(with_file()).play(
        "
        A> acl setuser bob on +ping
        A< +OK
        A> acl save
        asks write /users.acl user bob on resetchannels -@all +ping\\nuser default on nopass ~* &*
        .. +@all\\n
        A: held
        B> ping
        B< +PONG
        answer
        A< +OK
        A> acl save
        answer failed Permission denied
        A< -ERR There was an error trying to save the ACLs. Please check the server logs for more
        .. information
        log The ACL file could not be saved: Permission denied
        ",
    );
}

#[test]
fn the_aclfile_is_taken_whole_or_not_at_all() {
    Rig::with(with_file()).play(
        "
        A> acl setuser bob on nopass +@all &*
        A< +OK
        A> acl load
        asks read /users.acl
        answer failed No such file or directory
        A< -ERR Error loading ACLs, opening file '/users.acl': No such file or directory
        A> acl load
        answer user a +foo\\nfoo\\nuser a on\\n
        A< -ERR /users.acl:1: Error in applying operation '+foo': Unknown command or category name
        .. in ACL. /users.acl:2 should start with user keyword followed by the username. WARNING:
        .. Duplicate user 'a' found on line 3. WARNING: ACL errors detected, no change to the
        .. previously active ACL rules was performed
        A> acl users
        A< *2 $3 bob $7 default
        A> acl load
        answer user eve on\\n
        A< +OK
        A> acl users
        A< *2 $7 default $3 eve
        ",
    );
}

#[test]
fn what_users_become_is_in_the_next_save() {
    let lines = |rig: &mut Rig| -> Vec<String> {
        let users = &rig.server.settings_to_save().users;
        users.iter().map(|w| String::from_utf8_lossy(&w.join(&b' ')).into_owned()).collect()
    };
    let mut rig = Rig::with(Settings {
        requirepass: Some(b"x".to_vec()),
        users: vec![["bob", "on", ">x", "~a"].map(|w| w.as_bytes().to_vec()).to_vec()],
        ..Settings::default()
    });
    let bob = format!("bob on #{X} ~a resetchannels -@all");
    assert_eq!(lines(&mut rig), [bob.clone(), format!("default on #{X} ~* &* +@all")]);
    rig.play("A> auth x\nA< +OK\nA> acl setuser default nopass\nA< +OK\n");
    assert_eq!(lines(&mut rig), [bob, "default on nopass ~* &* +@all".to_string()]);
    rig.play("A> acl deluser bob\nA< :1\n");
    assert_eq!(lines(&mut rig), ["default on nopass ~* &* +@all"]);
    assert!(rig.other.is_empty(), "SETUSER itself saves nothing");

    let mut rig = Rig::with(with_file());
    rig.play("A> acl setuser bob on\nA< +OK\n");
    assert!(lines(&mut rig).is_empty(), "users of an aclfile are not in the configuration");
}
