//! Users with rights of their own: rules, files, and what a restart finds.

use std::fs;

use crate::support::process::Process;
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::value::Value;
use crate::support::wait::{self, SHORT};
use crate::world;

/// SHA-256 of `x`.
const X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

/// Rules of a new user, and the fields `commands`, `keys` and `channels` they make. The rules are
/// such that no order is left to chance.
const TABLE: &[(&str, [&str; 3])] = &[
    ("on", ["-@all", "", ""]),
    ("+ping", ["-@all +ping", "", ""]),
    ("+PING -Ping", ["-@all", "", ""]),
    ("+@all -@admin +acl|whoami", ["+@all -@admin", "", ""]),
    ("+@all -ping -ping +@all", ["+@all", "", ""]),
    ("-@all allcommands -shutdown", ["+@all -shutdown", "", ""]),
    ("+client|id +@connection", ["-@all +@connection", "", ""]),
    ("+@connection -@connection", ["-@all", "", ""]),
    ("+@connection -client|kill", ["-@all +@connection -client|kill", "", ""]),
    ("+@slow +@fast", ["-@all +@slow +@fast", "", ""]),
    ("+@read", ["-@all", "", ""]),
    ("+ping|x +ping|Y", ["-@all +ping|x +ping|Y", "", ""]),
    ("+ping|x +ping", ["-@all +ping", "", ""]),
    ("~a %R~b %W~c %RW~d %r~e", ["-@all", "~a %R~b %W~c ~d %R~e", ""]),
    ("%R~a %W~a ~b ~*", ["-@all", "~*", ""]),
    ("%R~* ~z", ["-@all", "%R~* ~z", ""]),
    ("allkeys resetkeys", ["-@all", "", ""]),
    ("&a &b* &a", ["-@all", "", "&a &b*"]),
    ("&a &*", ["-@all", "", "&*"]),
    ("allchannels resetchannels &x", ["-@all", "", "&x"]),
];

/// Rules that are refused, and why.
const REFUSED: &[(&str, &str)] = &[
    ("foo", "Syntax error"),
    ("+foo", "Unknown command or category name in ACL"),
    ("+@foo", "Unknown command or category name in ACL"),
    ("-ping|x", "Unknown command or category name in ACL"),
    ("+client|foo", "Unknown command or category name in ACL"),
    ("+client|id|x", "Allowing first-arg of a subcommand is not supported"),
    ("+ping|", "Syntax error"),
    ("%X~a", "Syntax error"),
    ("<nothere", "The password you are trying to remove from the user does not exist"),
    ("#abc", "The password hash must be exactly 64 characters"),
    ("(on)", "Syntax error"),
    ("(+foo)", "Unknown command or category name in ACL"),
];

#[test]
fn rules_make_the_same_users_everywhere() {
    let world = world!();
    let sentinel = Sentinel::start(&world, &SentinelOptions::default());
    for (rules, wanted) in TABLE {
        let words: Vec<&str> =
            ["ACL", "SETUSER", "w"].into_iter().chain(rules.split(' ')).collect();
        sentinel.ok(&words);
        let user = sentinel.ask(&["ACL", "GETUSER", "w"]).items().to_vec();
        let field = |name: &str| {
            let at = user.iter().position(|item| item.text() == name).expect("the field");
            user[at + 1].text()
        };
        assert_eq!(["commands", "keys", "channels"].map(field), *wanted, "{rules}");
        assert_eq!(sentinel.ask(&["ACL", "DELUSER", "w"]), Value::Int(1));
    }
    for (rule, reason) in REFUSED {
        let answer = sentinel.ask(&["ACL", "SETUSER", "w", rule]);
        let wanted = format!("ERR Error in ACL SETUSER modifier '{rule}': {reason}");
        assert!(answer.error().is_some_and(|e| e.starts_with(&wanted)), "{rule}: {answer:?}");
    }
}

fn is_denied(answer: &Value) -> bool {
    answer.error().is_some_and(|error| error.starts_with("NOPERM "))
}

#[test]
fn users_of_the_configuration_survive_with_hashes() {
    let world = world!();
    let mut options =
        SentinelOptions::with_lines(["user bob on >x +ping (+info ~a) &hi*", "requirepass gate"]);
    options.login = Some(("default".into(), "gate".into()));
    let mut sentinel = Sentinel::start(&world, &options);
    let login = |sentinel: &Sentinel, user: &str, password: &str| {
        let mut client = sentinel.connect().unwrap();
        let answer = client.ask(&["AUTH", user, password]).unwrap();
        (client, answer.is_ok())
    };
    let (mut admin, ok) = login(&sentinel, "default", "gate");
    assert!(ok && admin.ask(&["ACL", "SETUSER", "eve", "on", ">x", "+role"]).unwrap().is_ok());
    assert!(admin.ask(&["SENTINEL", "FLUSHCONFIG"]).unwrap().is_ok());
    for line in [
        &format!("user bob on #{X} resetchannels &hi* -@all +ping (~a resetchannels -@all +info)"),
        &format!("user eve on #{X} resetchannels -@all +role"),
    ] {
        sentinel.wait_config_line(line);
    }
    assert!(sentinel.config_text().contains("\nuser default on #"));
    sentinel.kill();
    sentinel.restart();
    for (user, password, allowed, denied) in [
        ("bob", "x", "INFO", "ROLE"),
        ("eve", "x", "ROLE", "PING"),
        ("default", "gate", "ROLE", ""),
    ] {
        let (mut client, ok) = login(&sentinel, user, password);
        assert!(ok && !is_denied(&client.ask(&[allowed]).unwrap()), "{user}");
        assert!(denied.is_empty() || is_denied(&client.ask(&[denied]).unwrap()), "{user}");
        assert!(!login(&sentinel, user, "wrong").1);
    }
}

#[test]
fn an_aclfile_is_saved_and_loaded() {
    let world = world!();
    let file = world.path("users.acl");
    fs::write(&file, "user default on nopass ~* &* +@all\nuser bob on >x +ping\n").unwrap();
    let line = format!("aclfile {}", file.display());
    let mut sentinel = Sentinel::start(&world, &SentinelOptions::with_lines([line]));
    sentinel.ok(&["ACL", "SETUSER", "eve", "on", "nopass", "+info"]);
    sentinel.ok(&["ACL", "SAVE"]);
    let saved = fs::read_to_string(&file).unwrap();
    let users = format!(
        "user bob on #{X} resetchannels -@all +ping\nuser default on nopass ~* &* +@all\n\
         user eve on nopass resetchannels -@all +info\n"
    );
    assert_eq!(saved, users);
    sentinel.ok(&["SENTINEL", "FLUSHCONFIG"]);
    assert!(!sentinel.config_text().contains("\nuser "), "users stand in one place only");

    let mut bob = sentinel.connect().unwrap();
    assert!(bob.ask(&["AUTH", "bob", "x"]).unwrap().is_ok());
    fs::write(&file, "user eve on\nuser\n").unwrap();
    let answer = sentinel.ask(&["ACL", "LOAD"]);
    let wanted = format!("ERR {}:2 should start with user keyword", file.display());
    assert!(answer.error().is_some_and(|e| e.starts_with(&wanted)), "{answer:?}");
    assert_eq!(bob.ask(&["PING"]).unwrap().text(), "PONG");

    fs::write(&file, "user eve on nopass +ping\nuser default on nopass ~* &* +@all\n").unwrap();
    sentinel.ok(&["ACL", "LOAD"]);
    assert!(bob.ask(&["PING"]).is_err(), "bob is gone, and so is his connection");
    assert_eq!(sentinel.ask(&["ACL", "USERS"]).texts(), ["default", "eve"]);

    sentinel.kill();
    fs::write(&file, "user eve on foo\n").unwrap();
    let process = Process::spawn(&mut sentinel.command()).expect("it starts");
    assert_eq!(process.wait("it to refuse"), 1);
    let text = sentinel.log_text() + &sentinel.output_text();
    let wanted = format!(
        "Aborting Redis startup because of ACL errors: {}:1: Syntax error. WARNING: ACL errors \
         detected",
        file.display()
    );
    assert!(text.contains(&wanted), "{text}");
}

#[test]
fn a_rule_that_cannot_be_taken_ends_the_start() {
    let world = world!(only_ours: "redis-sentinel names another word of the line");
    for (line, reason) in [
        ("user bob on foo", "Error in user declaration 'foo': Syntax error"),
        ("user bob on +foo", "Error in user declaration '+foo': Unknown command or category"),
        ("user bob (+ping", "Error in user declaration '(+ping': Unmatched parenthesis"),
    ] {
        let sentinel = Sentinel::prepare(&world, &SentinelOptions::with_lines([line]));
        let process = Process::spawn(&mut sentinel.command()).expect("it starts");
        assert_eq!(process.wait("it to refuse"), 1, "{line}");
        let text = sentinel.output_text() + &sentinel.log_text();
        assert!(text.contains(&format!(">>> '{line}'\n{reason}")), "{line}: {text}");
    }
}

#[test]
fn passwords_are_made_at_random() {
    let world = world!();
    let sentinel = Sentinel::start(&world, &SentinelOptions::default());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let password = sentinel.ask(&["ACL", "GENPASS"]).text();
        assert!(password.len() == 64 && password.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(seen.insert(password), "twice the same");
    }
    assert_eq!(sentinel.ask(&["ACL", "GENPASS", "5"]).text().len(), 2);
}

/// Two clients of one user: the one that listens loses its channel, the other its command.
#[test]
fn rights_that_are_taken_away_are_gone_at_once() {
    let world = world!();
    let sentinel = Sentinel::start(&world, &SentinelOptions::default());
    sentinel.ok(&["ACL", "SETUSER", "bob", "on", "nopass", "+@all", "&news*"]);
    let login = || {
        let mut client = sentinel.connect().unwrap();
        assert!(client.ask(&["AUTH", "bob", "any"]).unwrap().is_ok());
        client
    };
    let (mut listener, mut worker) = (login(), login());
    assert!(is_denied(&listener.ask(&["SUBSCRIBE", "other"]).unwrap()));
    assert!(is_denied(&listener.ask(&["PSUBSCRIBE", "news1*"]).unwrap()));
    assert_eq!(listener.ask(&["SUBSCRIBE", "news1"]).unwrap().items().len(), 3);
    assert!(worker.ask(&["ROLE"]).unwrap().error().is_none());
    sentinel.ok(&["ACL", "SETUSER", "bob", "off", "-role", "resetchannels"]);
    wait::wait("the listener to be closed", SHORT, || {
        listener.read().map_or(Ok(()), |value| Err(format!("{value:?}")))
    });
    assert!(is_denied(&worker.ask(&["ROLE"]).unwrap()));
    assert_eq!(worker.ask(&["PING"]).unwrap().text(), "PONG");
    assert_eq!(sentinel.ask(&["ACL", "DELUSER", "bob"]), Value::Int(1));
    assert!(worker.ask(&["PING"]).is_err(), "nobody is bob any more");
}
