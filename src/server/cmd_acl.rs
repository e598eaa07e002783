//! ACL: users and their rights, as commands (spec/commands.md, ACL).
#![forbid(unsafe_code)]

use super::acl::asks::Purpose;
use super::acl::check::{Denial, check};
use super::acl::file;
use super::acl::log::Entry;
use super::acl::rules::{RuleError, Selector};
use super::acl::user::{User, is_valid_name};
use super::auth::DEFAULT_USER;
use super::call::{Call, text};
use super::table::{CATEGORY_NAMES, Categories, Command, Flags, command};
use crate::resp::write::{self, Dialect};
use crate::sentinel::action::Question;
use crate::util::num;
use crate::util::time::Mono;

const QUIET: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = QUIET.and(Flags::ADMIN);
const SLOW: Categories = Categories::SLOW;
const DANGEROUS: Categories = SLOW.and(Categories::ADMIN).and(Categories::DANGEROUS);
/// Entries of ACL LOG when no number is given.
const LOG_ENTRIES: usize = 10;
/// Longest password that ACL GENPASS makes, in bits; and the usual one.
const GENPASS_MAX_BITS: i64 = 4096;
const GENPASS_BITS: i64 = 256;

/// The subcommands, sorted by name.
#[rustfmt::skip]
pub const SUBCOMMANDS: &[Command] = &[
    command!("acl" | "cat", -2, QUIET, SLOW, cat, "6.0.0", "The categories, or what is in one."),
    command!("acl" | "deluser", -3, ADMIN, DANGEROUS, deluser, "6.0.0", "Removes users."),
    command!("acl" | "dryrun", -4, ADMIN, DANGEROUS, dryrun, "7.0.0",
        "Whether a user may run a command."),
    command!("acl" | "genpass", -2, QUIET, SLOW, genpass, "6.0.0", "A random password."),
    command!("acl" | "getuser", 3, ADMIN, DANGEROUS, getuser, "6.0.0", "The rules of a user."),
    command!("acl" | "help", 2, Flags::LOADING.and(Flags::STALE), SLOW, help, "6.0.0",
        "Lists the subcommands."),
    command!("acl" | "list", 2, ADMIN, DANGEROUS, list, "6.0.0", "All users as lines of a file."),
    command!("acl" | "load", 2, ADMIN, DANGEROUS, load, "6.0.0", "Reads the ACL file again."),
    command!("acl" | "log", -2, ADMIN, DANGEROUS, log, "6.0.0", "What was refused."),
    command!("acl" | "save", 2, ADMIN, DANGEROUS, save, "6.0.0", "Writes the ACL file."),
    command!("acl" | "setuser", -3, ADMIN, DANGEROUS, setuser, "6.0.0",
        "Adds a user or changes its rules."),
    command!("acl" | "users", 2, ADMIN, DANGEROUS, users, "6.0.0", "The names of all users."),
    command!("acl" | "whoami", 2, QUIET, SLOW, whoami, "6.0.0", "The user of this connection."),
];

const HELP: &[&str] = &[
    "CAT [<category>]",
    "    Return the names of all categories, or of the commands in <category>.",
    "DELUSER <username> [<username> ...]",
    "    Remove users and close their connections.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Say whether the user might run the command, without running it.",
    "GETUSER <username>",
    "    Return the rules of a user.",
    "GENPASS [<bits>]",
    "    Return a random password of 256 bits, or of <bits>, in hex digits.",
    "LIST",
    "    Return all users with their rules, as lines of a configuration file.",
    "LOAD",
    "    Take all users from the ACL file.",
    "LOG [<count> | RESET]",
    "    Return the latest refusals, or forget them all.",
    "SAVE",
    "    Write all users into the ACL file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Add a user, or change one, by the rules given.",
    "USERS",
    "    Return the names of all users.",
    "WHOAMI",
    "    Return the user of this connection.",
];

const BAD_NAME: &[u8] = b"ERR Usernames can't contain spaces or null characters";
const NO_FILE: &[u8] = b"ERR This Redis instance is not configured to use an ACL file. You may \
    want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming \
    you have a Redis configuration file set) in order to store users in the Redis configuration.";
const BAD_BITS: &[u8] = b"ERR ACL GENPASS argument must be the number of bits for the output \
    password, a positive number up to 4096";

fn help(call: &mut Call<'_, '_>) {
    call.help("ACL", HELP);
}

fn whoami(call: &mut Call<'_, '_>) {
    let name = call.client().user.name.clone();
    write::bulk(call.reply().out, &name);
}

fn users(call: &mut Call<'_, '_>) {
    let names: Vec<_> = call.server.users.iter().map(|user| user.name.clone()).collect();
    bulks(call.reply().out, &names);
}

fn list(call: &mut Call<'_, '_>) {
    let line = |user: &std::sync::Arc<User>| [b"user ", &user.words().join(&b' ')[..]].concat();
    let lines: Vec<_> = call.server.users.iter().map(line).collect();
    bulks(call.reply().out, &lines);
}

fn bulks(out: &mut Vec<u8>, texts: &[Vec<u8>]) {
    write::array(out, texts.len());
    for text in texts {
        write::bulk(out, text);
    }
}

/// A word that may stand once behind the subcommand, or the error for more of them.
fn optional_word(words: &[Vec<u8>], name: &str) -> Result<Option<Vec<u8>>, String> {
    match &words[2..] {
        [] => Ok(None),
        [word] => Ok(Some(word.clone())),
        _ => Err(format!(
            "ERR unknown subcommand or wrong number of arguments for '{name}'. Try ACL HELP."
        )),
    }
}

fn cat(call: &mut Call<'_, '_>) {
    let typed = String::from_utf8_lossy(&call.args[1]).into_owned();
    let name = match optional_word(call.args, &typed) {
        Ok(Some(name)) => name,
        Ok(None) => {
            let names: Vec<_> = CATEGORY_NAMES.iter().map(|n| n.as_bytes().to_vec()).collect();
            return bulks(call.reply().out, &names);
        }
        Err(text) => return call.error(text.as_bytes()),
    };
    let Some(category) = Categories::named(&name) else {
        return call.error_about("ERR Unknown category ", &name, "");
    };
    let with_subcommands = |c: &'static Command| std::iter::once(c).chain(c.subcommands);
    let all = call.server.names.listed().flat_map(with_subcommands);
    let held = all.filter(|command| command.categories.has(category));
    let names: Vec<_> = held.map(|command| command.full_name.as_bytes().to_vec()).collect();
    bulks(call.reply().out, &names);
}

fn getuser(call: &mut Call<'_, '_>) {
    let user = call.server.users.get(&call.args[2]).cloned();
    let reply = call.reply();
    let (out, dialect) = (reply.out, reply.dialect);
    let Some(user) = user else { return write::null(out, dialect) };
    write::map(out, 6, dialect);
    write::bulk(out, b"flags");
    let flags = user.flags();
    write::set(out, flags.len(), dialect);
    for flag in flags {
        write::bulk(out, flag.as_bytes());
    }
    write::bulk(out, b"passwords");
    bulks(out, &user.hashes());
    write_selector(out, &user.root);
    write::bulk(out, b"selectors");
    write::array(out, user.selectors().len());
    for selector in user.selectors() {
        write::map(out, 3, dialect);
        write_selector(out, selector);
    }
}

/// Three pairs of a map.
fn write_selector(out: &mut Vec<u8>, selector: &Selector) {
    let fields: [(&[u8], _); 3] = [
        (b"commands", selector.commands.words()),
        (b"keys", selector.key_words()),
        (b"channels", selector.channel_words()),
    ];
    for (field, words) in fields {
        write::bulk(out, field);
        write::bulk(out, &words.join(&b' '));
    }
}

fn setuser(call: &mut Call<'_, '_>) {
    let (name, rules) = (&call.args[2], &call.args[3..]);
    if !is_valid_name(name) {
        return call.error(BAD_NAME);
    }
    if !call.server.users.has_room_for(name) {
        return call.error(b"ERR Too many users");
    }
    match call.server.users.changed(name, rules) {
        Ok(user) => {
            // Before it, as this connection may be one that is closed.
            call.ok();
            call.server.put_user(call.cx, user);
        }
        Err(bad) if bad.error == RuleError::Unmatched => {
            let before = format!("ERR {} starting at ", bad.error.text());
            call.error_about(&before, &bad.word, ".");
        }
        Err(bad) => {
            let after = format!(": {}", bad.error.text());
            call.error_about("ERR Error in ACL SETUSER modifier ", &bad.word, &after);
        }
    }
}

fn deluser(call: &mut Call<'_, '_>) {
    let names = &call.args[2..];
    if names.iter().any(|name| name == DEFAULT_USER) {
        return call.error(b"ERR The 'default' user cannot be removed");
    }
    let mut known: Vec<_> =
        names.iter().filter(|name| call.server.users.get(name).is_some()).cloned().collect();
    known.sort();
    known.dedup();
    call.int(known.len() as i64);
    call.server.remove_users(call.cx, &known);
}

fn dryrun(call: &mut Call<'_, '_>) {
    let (name, words) = (&call.args[2], &call.args[3..]);
    let Some(user) = call.server.users.get(name).cloned() else {
        return call.error_about("ERR User ", name, " not found");
    };
    let Ok(command) = call.server.names.find(words) else {
        return call.error_about("ERR Command ", &words[0], " not found");
    };
    if !command.takes(words.len()) {
        let full_name = command.full_name.as_bytes();
        return call.error_about("ERR wrong number of arguments for ", full_name, " command");
    }
    let (what, object, end): (&[u8], &[u8], &[u8]) = match check(&user, command, words) {
        Ok(()) => return call.ok(),
        Err(Denial::Command) => (b"run", command.full_name.as_bytes(), b"command"),
        Err(Denial::Channel(at)) => (b"access", &words[at], b"channel"),
    };
    let parts = [b"User ", &name[..], b" has no permissions to ", what, b" the '", object, b"' "];
    write::bulk(call.reply().out, &[parts.concat().as_slice(), end].concat());
}

fn genpass(call: &mut Call<'_, '_>) {
    let typed = String::from_utf8_lossy(&call.args[1]).into_owned();
    let bits = match optional_word(call.args, &typed) {
        Ok(None) => GENPASS_BITS,
        Ok(Some(word)) => match num::parse_i64(&word) {
            Some(bits @ 1..=GENPASS_MAX_BITS) => bits,
            Some(_) => return call.error(BAD_BITS),
            None => return call.error(text::NOT_AN_INTEGER),
        },
        Err(text) => return call.error(text.as_bytes()),
    };
    let digits = (bits as usize).div_ceil(4);
    let question = Question::Random { bytes: digits.div_ceil(2) };
    call.server.ask(call.cx, call.conn, Purpose::Password { digits }, question);
}

fn save(call: &mut Call<'_, '_>) {
    let Some(path) = call.server.settings.aclfile.clone() else { return call.error(NO_FILE) };
    let text = file::compose(&call.server.users);
    let question = Question::WriteFile { path, text };
    call.server.ask(call.cx, call.conn, Purpose::Save, question);
}

fn load(call: &mut Call<'_, '_>) {
    let Some(path) = call.server.settings.aclfile.clone() else { return call.error(NO_FILE) };
    call.server.ask(call.cx, call.conn, Purpose::Load, Question::ReadFile { path });
}

fn log(call: &mut Call<'_, '_>) {
    let typed = String::from_utf8_lossy(&call.args[1]).into_owned();
    let count = match optional_word(call.args, &typed) {
        Ok(None) => LOG_ENTRIES,
        Ok(Some(word)) if word.eq_ignore_ascii_case(b"reset") => {
            call.server.acl_log.clear();
            return call.ok();
        }
        Ok(Some(word)) => match num::parse_i64(&word) {
            Some(count) => usize::try_from(count).unwrap_or(0),
            None => return call.error(text::NOT_AN_INTEGER),
        },
        Err(text) => return call.error(text.as_bytes()),
    };
    let entries: Vec<_> = call.server.acl_log.iter().take(count).cloned().collect();
    let now = call.cx.now;
    let reply = call.reply();
    write::array(reply.out, entries.len());
    for entry in &entries {
        write_entry(reply.out, entry, now, reply.dialect);
    }
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry, now: Mono, dialect: Dialect) {
    write::map(out, 10, dialect);
    write::bulk(out, b"count");
    write::int(out, entry.count as i64);
    let texts: [(&[u8], &[u8]); 4] = [
        (b"reason", entry.reason.word().as_bytes()),
        (b"context", b"toplevel"),
        (b"object", &entry.object),
        (b"username", &entry.username),
    ];
    for (field, value) in texts {
        write::bulk(out, field);
        write::bulk(out, value);
    }
    write::bulk(out, b"age-seconds");
    write::double(out, now.since(entry.updated) as f64 / 1000.0, dialect);
    write::bulk(out, b"client-info");
    write::bulk(out, &entry.client);
    let numbers: [(&[u8], u64); 3] = [
        (b"entry-id", entry.id),
        (b"timestamp-created", entry.created_unix_ms),
        (b"timestamp-last-updated", entry.updated_unix_ms),
    ];
    for (field, n) in numbers {
        write::bulk(out, field);
        write::int(out, n as i64);
    }
}
