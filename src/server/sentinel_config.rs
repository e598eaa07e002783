//! SENTINEL CONFIG: settings that are tied to no master.
#![forbid(unsafe_code)]

use super::Server;
use super::call::Call;
use super::waits::AfterSave;
use crate::resp::write;
use crate::sentinel::action::{Action, LogLevel};
use crate::sentinel::setup::GlobalConfig;
use crate::util::glob::Pattern;
use crate::util::{num, words};

/// A setting: its value as text, and how a new value is read.
struct Param {
    name: &'static str,
    get: fn(&GlobalConfig, &Server) -> Vec<u8>,
    /// `None`: no good value.
    read: fn(&[u8]) -> Option<Change>,
}

/// A new value, checked.
enum Change {
    ResolveHostnames(bool),
    AnnounceHostnames(bool),
    AnnounceIp(Option<Vec<u8>>),
    AnnouncePort(u16),
    SentinelUser(Option<Vec<u8>>),
    SentinelPass(Option<Vec<u8>>),
    LogLevel(LogLevel),
}

/// All settings, in the order in which a pattern lists them.
const PARAMS: &[Param] = &[
    Param {
        name: "resolve-hostnames",
        get: |global, _| yes_no(global.resolve_hostnames),
        read: |value| Some(Change::ResolveHostnames(read_yes_no(value)?)),
    },
    Param {
        name: "announce-hostnames",
        get: |global, _| yes_no(global.announce_hostnames),
        read: |value| Some(Change::AnnounceHostnames(read_yes_no(value)?)),
    },
    Param {
        name: "announce-ip",
        get: |global, _| global.announce_ip.clone().unwrap_or_default(),
        read: |value| Some(Change::AnnounceIp(read_host(value)?)),
    },
    Param {
        name: "announce-port",
        get: |global, _| global.announce_port.to_string().into_bytes(),
        read: |value| {
            Some(Change::AnnouncePort(num::parse_i64(value).and_then(|n| n.try_into().ok())?))
        },
    },
    Param {
        name: "sentinel-user",
        get: |global, _| global.sentinel_user.clone().unwrap_or_default(),
        read: |value| (!words::has_control(value)).then(|| Change::SentinelUser(text(value))),
    },
    Param {
        name: "sentinel-pass",
        get: |global, _| global.sentinel_pass.clone().unwrap_or_default(),
        read: |value| Some(Change::SentinelPass(text(value))),
    },
    Param {
        name: "loglevel",
        get: |_, server| level_word(server.settings.loglevel).as_bytes().to_vec(),
        read: |value| Some(Change::LogLevel(read_level(value)?)),
    },
];

/// The names of all settings.
pub(super) fn param_names() -> impl Iterator<Item = &'static str> {
    PARAMS.iter().map(|param| param.name)
}

fn yes_no(value: bool) -> Vec<u8> {
    if value { b"yes".to_vec() } else { b"no".to_vec() }
}

fn read_yes_no(value: &[u8]) -> Option<bool> {
    match value.to_ascii_lowercase().as_slice() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

/// Empty is unset.
fn text(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

/// A host as it can stand in a hello: no blanks, no commas. The inner `None`: unset.
fn read_host(value: &[u8]) -> Option<Option<Vec<u8>>> {
    let fits = |b: &u8| *b > b' ' && *b != 0x7f && *b != b',';
    value.iter().all(fits).then(|| text(value))
}

const LEVELS: [(LogLevel, &str); 4] = [
    (LogLevel::Debug, "debug"),
    (LogLevel::Verbose, "verbose"),
    (LogLevel::Notice, "notice"),
    (LogLevel::Warning, "warning"),
];

fn level_word(level: Option<LogLevel>) -> &'static str {
    LEVELS.iter().find(|(l, _)| Some(*l) == level).map_or("nothing", |(_, word)| word)
}

fn read_level(value: &[u8]) -> Option<LogLevel> {
    let is_meant = |word: &str| word.as_bytes().eq_ignore_ascii_case(value);
    LEVELS.iter().find(|(_, word)| is_meant(word)).map(|(level, _)| *level)
}

/// `SENTINEL CONFIG GET pattern … | SET option value …`.
pub fn config(call: &mut Call<'_, '_>) {
    match call.args[2].to_ascii_lowercase().as_slice() {
        b"get" => get(call),
        b"set" if call.args.len() >= 5 => set(call),
        _ => call.error(
            b"ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...] / SET <param> <value> \
            [<param> <value> ...] are supported.",
        ),
    }
}

fn get(call: &mut Call<'_, '_>) {
    let mut found: Vec<(&str, Vec<u8>)> = Vec::new();
    let longest = PARAMS.iter().map(|param| param.name.len()).max().unwrap_or(0);
    for pattern in &call.args[3..] {
        let pattern = Pattern::new(pattern, true, longest);
        for param in PARAMS {
            let is_new = found.iter().all(|(name, _)| *name != param.name);
            if is_new && pattern.matches(param.name.as_bytes()) {
                found.push((param.name, (param.get)(&call.sentinel.global, call.server)));
            }
        }
    }
    let reply = call.reply();
    write::map(reply.out, found.len(), reply.dialect);
    for (name, value) in found {
        write::bulk(reply.out, name.as_bytes());
        write::bulk(reply.out, &value);
    }
}

fn set(call: &mut Call<'_, '_>) {
    let changes = match read_changes(&call.args[3..]) {
        Ok(changes) => changes,
        Err(text) => return call.error(&text),
    };
    for change in &changes {
        if let Change::LogLevel(level) = change {
            call.server.settings.loglevel = Some(*level);
            call.cx.act(Action::SetLogLevel { level: *level });
        }
    }
    let ticket = call.sentinel.set_globals(call.cx, |global| {
        for change in changes {
            apply(global, change);
        }
    });
    call.charge_look_at_instances();
    call.server.wait_for_save(call.cx, call.sentinel, call.conn, ticket, AfterSave::Nothing);
}

/// Reads all pairs before any is applied; the error text otherwise.
fn read_changes(words: &[Vec<u8>]) -> Result<Vec<Change>, Vec<u8>> {
    let about = |before: &str, word: &[u8], after: &str| {
        [before.as_bytes(), b"'", word, b"'", after.as_bytes()].concat()
    };
    let mut seen: Vec<&str> = Vec::new();
    let mut changes = Vec::new();
    for pair in words.chunks(2) {
        let option = &pair[0];
        let is_named = |p: &&Param| p.name.as_bytes().eq_ignore_ascii_case(option);
        let Some(param) = PARAMS.iter().find(is_named) else {
            return Err(about("ERR Invalid argument ", option, " to SENTINEL CONFIG SET"));
        };
        if seen.contains(&param.name) {
            return Err(about("ERR Duplicate argument ", option, " to SENTINEL CONFIG SET"));
        }
        let Some(value) = pair.get(1) else {
            return Err(about("ERR Missing argument ", option, " value"));
        };
        let Some(change) = (param.read)(value) else {
            let to = about(" to SENTINEL CONFIG SET ", option, "");
            return Err([about("ERR Invalid value ", value, ""), to].concat());
        };
        seen.push(param.name);
        changes.push(change);
    }
    Ok(changes)
}

fn apply(global: &mut GlobalConfig, change: Change) {
    match change {
        Change::ResolveHostnames(yes) => global.resolve_hostnames = yes,
        Change::AnnounceHostnames(yes) => global.announce_hostnames = yes,
        Change::AnnounceIp(host) => global.announce_ip = host,
        Change::AnnouncePort(port) => global.announce_port = port,
        Change::SentinelUser(user) => global.sentinel_user = user,
        Change::SentinelPass(pass) => global.sentinel_pass = pass,
        Change::LogLevel(_) => {}
    }
}
