//! Rules of users. What a user is described by makes the same user again, from the configuration
//! and from an aclfile; and both may do exactly the same.

use super::{parts, signature};
use crate::engine::{Target, hash};
use sentineld::config::settings::Settings;
use sentineld::server::acl::check::check;
use sentineld::server::acl::file;
use sentineld::server::acl::user::{User, is_valid_name};
use sentineld::server::acl::users::Users;
use sentineld::server::table::{COMMANDS, Command};

pub const TARGET: Target = Target {
    name: "acl",
    run,
    dictionary: &[
        " ",
        "on",
        "off",
        "nopass",
        "resetpass",
        ">pw",
        "<pw",
        "~*",
        "%R~x",
        "%W~x",
        "%RW~*",
        "allkeys",
        "resetkeys",
        "&*",
        "&x",
        "allchannels",
        "resetchannels",
        "+ping",
        "-ping",
        "+client|id",
        "-client|id",
        "+sentinel",
        "-sentinel|set",
        "+@all",
        "-@all",
        "+@pubsub",
        "-@dangerous",
        "allcommands",
        "nocommands",
        "reset",
        "sanitize-payload",
        "skip-sanitize-payload",
        "(",
        ")",
        "(+ping ~x)",
        "clearselectors",
        "\n",
        "default",
        "#e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "!",
        "|",
        "@",
        "+acl|cat",
        "-acl",
    ],
};

/// The first line is the name, the second one what the user is at first, the third what SETUSER
/// makes of it.
fn run(input: &[u8]) -> u64 {
    let parts = parts(input, b"\n");
    let name = parts[0];
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let words = |text: &[u8]| -> Vec<Vec<u8>> {
        text.split(|byte| *byte == b' ').filter(|w| !w.is_empty()).map(<[u8]>::to_vec).collect()
    };
    if !is_valid_name(name) {
        return 0;
    }
    let settings =
        Settings { acl_pubsub_allchannels: input.len().is_multiple_of(2), ..Settings::default() };
    let mut users = Users::with_default(&settings);
    if let Ok(user) = users.from_config(name, &words(part(1))) {
        users.put(user);
    }
    let user = match users.changed(name, &words(part(2))) {
        Ok(user) => user,
        Err(bad) => return signature(&[1, hash(bad.error.text().as_bytes())]),
    };
    let said = user.words();
    assert!(said.iter().all(|word| !word.is_empty() && !word.contains(&b' ')), "{said:?}");
    let again = match users.from_config(name, &said[1..]) {
        Ok(again) => again,
        Err(bad) => panic!("{} is not taken back: {bad:?}", shown(&said)),
    };
    assert_eq!(shown(&again.words()), shown(&said), "described twice");
    let allowed = compare(&user, &again);
    users.put(user);
    check_file(&users, &settings);
    signature(&[said.len().min(20) as u64, allowed])
}

/// A description. The default user is told to check payloads only after a restart, as with the
/// field's programs.
fn shown(words: &[Vec<u8>]) -> String {
    let words: Vec<Vec<u8>> =
        words.iter().filter(|word| *word != b"sanitize-payload").cloned().collect();
    words.join(&b' ').escape_ascii().to_string()
}

/// Both may do the same; how much that is.
fn compare(one: &User, other: &User) -> u64 {
    let mut allowed: u64 = 0;
    let mut look = |command: &Command, words: &[&str]| {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let answer = check(one, command, &words);
        assert_eq!(check(other, command, &words), answer, "{}", command.full_name);
        allowed = allowed.rotate_left(1) ^ u64::from(answer.is_ok());
    };
    for command in COMMANDS {
        look(command, &[command.name, "x", "y"]);
        for sub in command.subcommands {
            look(sub, &[command.name, sub.name, "x"]);
        }
    }
    for channel in [&b"x"[..], b"*", b"+switch-master", b""] {
        assert_eq!(one.may_hear(channel), other.may_hear(channel));
        assert_eq!(one.may_hear_pattern(channel), other.may_hear_pattern(channel));
    }
    for password in [&b"pw"[..], b"", b"x"] {
        assert_eq!(one.accepts(password), other.accepts(password));
    }
    allowed
}

fn check_file(users: &Users, settings: &Settings) {
    let text = file::compose(users);
    let mut again = Users::with_default(settings);
    let read = file::parse(&text, "users.acl", &mut again);
    assert_eq!(read, Ok(()), "{}", text.escape_ascii());
    assert_eq!(file::compose(&again).escape_ascii().to_string(), text.escape_ascii().to_string());
}
