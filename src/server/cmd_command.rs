//! COMMAND: what the table holds, told to clients.
#![forbid(unsafe_code)]

use super::call::{Call, text};
use super::table::{Categories, Command, FULL_NAME_MAX_BYTES, Flags, command};
use crate::resp::write::{self, Dialect};
use crate::util::glob::Pattern;

const QUIET: Flags = Flags::LOADING.and(Flags::STALE);
const SLOW: Categories = Categories::SLOW.and(Categories::CONNECTION);
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// The subcommands, sorted by name.
pub const SUBCOMMANDS: &[Command] = &[
    command!("command" | "count", 2, QUIET, SLOW, count, "2.8.13", "How many commands there are."),
    command!("command" | "docs", -2, QUIET, SLOW, docs, "7.0.0", "Explains commands.",
        tips: UNORDERED),
    command!(
        "command" | "getkeys",
        -3,
        QUIET,
        SLOW,
        getkeys,
        "2.8.13",
        "The keys in a command; no command here has any."
    ),
    command!(
        "command" | "getkeysandflags",
        -3,
        QUIET,
        SLOW,
        getkeys,
        "7.0.0",
        "The keys in a command and how they are used."
    ),
    command!("command" | "help", 2, QUIET, SLOW, help, "5.0.0", "Lists the subcommands."),
    command!("command" | "info", -2, QUIET, SLOW, info, "2.8.13", "Describes commands.",
        tips: UNORDERED),
    command!("command" | "list", -2, QUIET, SLOW, list, "7.0.0", "The names of all commands.",
        tips: UNORDERED),
];

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the number of commands.",
    "LIST",
    "    Return the names of all commands, or with FILTERBY of those that fit.",
    "INFO [<command-name> ...]",
    "    Return details about the commands named, or about all.",
    "DOCS [<command-name> ...]",
    "    Return explanations of the commands named, or of all.",
    "GETKEYS <full-command>",
    "    Return the keys in a command; no command here has any.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys in a command and how they are used.",
];

/// Names that one COMMAND INFO or COMMAND DOCS takes. There are fewer to know, and each may bring
/// thousands of bytes.
const NAMES_MAX: usize = 1024;
const TOO_MANY_NAMES: &[u8] = b"ERR too many command names";

fn help(call: &mut Call<'_, '_>) {
    call.help("COMMAND", HELP);
}

/// `COMMAND` alone.
pub fn command(call: &mut Call<'_, '_>) {
    let all: Vec<_> = call.server.names.listed().collect();
    let reply = call.reply();
    write::array(reply.out, all.len());
    for command in all {
        entry(reply.out, command, reply.dialect);
    }
}

fn count(call: &mut Call<'_, '_>) {
    let n = call.server.names.listed().count();
    call.int(n as i64);
}

fn info(call: &mut Call<'_, '_>) {
    let wanted = &call.args[2..];
    if wanted.is_empty() {
        return command(call);
    }
    if wanted.len() > NAMES_MAX {
        return call.error(TOO_MANY_NAMES);
    }
    let found: Vec<_> = wanted.iter().map(|name| call.server.names.find_full(name)).collect();
    let reply = call.reply();
    write::array(reply.out, found.len());
    for command in found {
        match command.filter(|c| c.is_listed()) {
            Some(command) => entry(reply.out, command, reply.dialect),
            None => write::null(reply.out, reply.dialect),
        }
    }
}

/// name, arity, flags, no keys, categories, tips, no key specs, subcommands.
fn entry(out: &mut Vec<u8>, command: &Command, dialect: Dialect) {
    write::array(out, 10);
    write::bulk(out, command.full_name.as_bytes());
    write::int(out, i64::from(command.arity));
    let flags = command.flags.names();
    write::set(out, flags.clone().count(), dialect);
    for flag in flags {
        write::simple(out, flag.as_bytes());
    }
    for _key_position in 0..3 {
        write::int(out, 0);
    }
    let categories = command.categories.names();
    write::set(out, categories.clone().count(), dialect);
    for category in categories {
        write::simple(out, format!("@{category}").as_bytes());
    }
    write::set(out, command.tips.len(), dialect);
    for tip in command.tips {
        write::bulk(out, tip.as_bytes());
    }
    write::set(out, 0, dialect);
    if command.subcommands.is_empty() {
        write::set(out, 0, dialect);
    } else {
        write::array(out, command.subcommands.len());
        for subcommand in command.subcommands {
            entry(out, subcommand, dialect);
        }
    }
}

fn docs(call: &mut Call<'_, '_>) {
    let wanted = &call.args[2..];
    if wanted.len() > NAMES_MAX {
        return call.error(TOO_MANY_NAMES);
    }
    let names = &call.server.names;
    let found: Vec<_> = if wanted.is_empty() {
        names.listed().collect()
    } else {
        wanted.iter().filter_map(|n| names.find_full(n)).filter(|c| c.is_listed()).collect()
    };
    let reply = call.reply();
    explain(reply.out, &found, reply.dialect);
}

fn explain(out: &mut Vec<u8>, commands: &[&Command], dialect: Dialect) {
    write::map(out, commands.len(), dialect);
    for command in commands {
        write::bulk(out, command.full_name.as_bytes());
        let is_container = !command.subcommands.is_empty();
        write::map(out, if is_container { 4 } else { 3 }, dialect);
        let group = command.group();
        for (field, value) in
            [("summary", command.summary), ("since", command.since), ("group", group)]
        {
            write::bulk(out, field.as_bytes());
            write::bulk(out, value.as_bytes());
        }
        if is_container {
            write::bulk(out, b"subcommands");
            explain(out, &command.subcommands.iter().collect::<Vec<_>>(), dialect);
        }
    }
}

fn list(call: &mut Call<'_, '_>) {
    let with_subcommands = |c: &'static Command| std::iter::once(c).chain(c.subcommands);
    let all: Vec<_> = call.server.names.listed().flat_map(with_subcommands).collect();
    let found = match &call.args[2..] {
        [] => Some(all),
        [by, kind, what] if by.eq_ignore_ascii_case(b"filterby") => {
            select(all.into_iter(), kind, what)
        }
        _ => None,
    };
    let Some(found) = found else { return call.error(text::SYNTAX) };
    let out = call.reply().out;
    write::array(out, found.len());
    for command in found {
        write::bulk(out, command.full_name.as_bytes());
    }
}

/// Those of `commands` that a filter lets through; `None`: no such filter.
fn select(
    commands: impl Iterator<Item = &'static Command>,
    kind: &[u8],
    what: &[u8],
) -> Option<Vec<&'static Command>> {
    match kind.to_ascii_lowercase().as_slice() {
        b"module" => Some(Vec::new()),
        b"aclcat" => {
            let category = Categories::named(what);
            let is_in = |c: &&Command| category.is_some_and(|wanted| c.categories.has(wanted));
            Some(commands.filter(is_in).collect())
        }
        b"pattern" => {
            let pattern = Pattern::new(what, true, FULL_NAME_MAX_BYTES);
            let fits = |c: &&Command| pattern.matches(c.full_name.as_bytes());
            Some(commands.filter(fits).collect())
        }
        _ => None,
    }
}

fn getkeys(call: &mut Call<'_, '_>) {
    let words = &call.args[2..];
    match call.server.names.find(words) {
        Err(_) => call.error(b"ERR Invalid command specified"),
        // Said before the count of the words is looked at.
        Ok(_) => call.error(b"ERR The command has no key arguments"),
    }
}
