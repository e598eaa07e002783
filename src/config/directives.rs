//! The server's own directives with effect: a table of names, forms and what they set.
#![forbid(unsafe_code)]

use super::settings::{
    BindAddr, ClientsMemory, LogFormat, LogTimestamp, OutputLimit, Settings, Supervised,
};
use super::values::{self, BAD_DIRECTIVE, Reason, WRONG_COUNT};
use crate::sentinel::action::LogLevel;
use crate::util::num;

/// The form of a directive's arguments, and where they go. All but `Words` take one word.
enum Form {
    Int(i64, i64, fn(&mut Settings, i64)),
    Mode(fn(&mut Settings, u32)),
    Flag(fn(&mut Settings, bool)),
    Choice(&'static [&'static str], fn(&mut Settings, usize)),
    /// Without control characters.
    Text(fn(&mut Settings, &[u8])),
    /// A number of bytes, with a unit.
    Memory(fn(&mut Settings, u64)),
    /// Any bytes: a password.
    Secret(fn(&mut Settings, &[u8])),
    /// Any number of words, with checks of its own.
    Words(fn(&mut Settings, &[Vec<u8>]) -> Result<(), Reason>),
}

const INT_MAX: i64 = i32::MAX as i64;
const UINT_MAX: i64 = u32::MAX as i64;
const PROTECTION: &[&str] = &["no", "yes", "local"];

/// Our own commands, as `rename-command` knows them.
const COMMANDS: &[&str] = &[
    "acl",
    "auth",
    "client",
    "command",
    "hello",
    "info",
    "ping",
    "psubscribe",
    "publish",
    "punsubscribe",
    "role",
    "sentinel",
    "shutdown",
    "subscribe",
    "unsubscribe",
];

const DIRECTIVES: &[(&str, Form)] = &[
    ("port", Form::Int(0, 65535, |s, n| s.port = n as u16)),
    ("bind", Form::Words(set_bind)),
    ("bind-source-addr", Form::Text(|s, t| s.bind_source_addr = some_text(t))),
    ("tcp-backlog", Form::Int(0, INT_MAX, |s, n| s.tcp_backlog = n as u32)),
    ("tcp-keepalive", Form::Int(0, INT_MAX, |s, n| s.tcp_keepalive_s = n as u32)),
    ("unixsocket", Form::Text(|s, t| s.unixsocket = some_text(t))),
    ("unixsocketperm", Form::Mode(|s, mode| s.unixsocketperm = Some(mode))),
    ("unixsocketgroup", Form::Text(|s, t| s.unixsocketgroup = some_text(t))),
    ("timeout", Form::Int(0, INT_MAX, |s, n| s.timeout_s = n as u64)),
    ("maxclients", Form::Int(1, UINT_MAX, |s, n| s.maxclients = n as u32)),
    ("maxmemory", Form::Memory(|s, bytes| s.maxmemory_bytes = bytes)),
    ("maxmemory-clients", Form::Words(set_clients_memory)),
    ("protected-mode", Form::Flag(|s, on| s.protected_mode = on)),
    ("requirepass", Form::Secret(|s, t| s.requirepass = some_text(t))),
    ("user", Form::Words(add_user)),
    ("aclfile", Form::Text(|s, t| s.aclfile = some_text(t))),
    ("acllog-max-len", Form::Int(0, i64::MAX, |s, n| s.acllog_max_len = n as u64)),
    (
        "acl-pubsub-default",
        Form::Choice(&["allchannels", "resetchannels"], |s, n| {
            s.acl_pubsub_allchannels = n == 0;
        }),
    ),
    ("client-output-buffer-limit", Form::Words(set_output_limits)),
    ("rename-command", Form::Words(rename_command)),
    ("daemonize", Form::Flag(|s, on| s.daemonize = on)),
    ("pidfile", Form::Text(|s, t| s.pidfile = some_text(t))),
    (
        "supervised",
        Form::Choice(&["upstart", "systemd", "auto", "no"], |s, n| {
            use Supervised::*;
            s.supervised = [Upstart, Systemd, Auto, No][n];
        }),
    ),
    ("logfile", Form::Text(|s, t| s.logfile = t.to_vec())),
    (
        "loglevel",
        Form::Choice(&["debug", "verbose", "notice", "warning", "nothing"], |s, n| {
            use LogLevel::*;
            s.loglevel = [Some(Debug), Some(Verbose), Some(Notice), Some(Warning), None][n];
        }),
    ),
    (
        "log-format",
        Form::Choice(&["legacy", "logfmt", "json"], |s, n| {
            s.log_format = [LogFormat::Legacy, LogFormat::Logfmt, LogFormat::Json][n];
        }),
    ),
    (
        "log-timestamp-format",
        Form::Choice(&["legacy", "iso8601", "milliseconds"], |s, n| {
            use LogTimestamp::*;
            s.log_timestamp = [Legacy, Iso8601, Milliseconds][n];
        }),
    ),
    ("syslog-enabled", Form::Flag(|s, on| s.syslog_enabled = on)),
    ("syslog-ident", Form::Text(|s, t| s.syslog_ident = t.to_vec())),
    (
        "syslog-facility",
        Form::Choice(FACILITIES, |s, n| {
            s.syslog_facility = FACILITIES[n].as_bytes().to_vec();
        }),
    ),
    ("hz", Form::Int(0, INT_MAX, |s, n| s.hz = n as u32)),
    ("set-proc-title", Form::Flag(|s, on| s.set_proc_title = on)),
    ("proc-title-template", Form::Words(set_title)),
    // There is neither DEBUG nor CONFIG SET of protected settings here: only the form is checked.
    ("enable-debug-command", Form::Choice(PROTECTION, |_, _| {})),
    ("enable-protected-configs", Form::Choice(PROTECTION, |_, _| {})),
];

/// How a `tls-…` line is checked; its word is recorded as it stands.
enum TlsForm {
    Int(i64),
    Flag,
    Choice(&'static [&'static str]),
    Text,
    Secret,
}

const TLS_DIRECTIVES: &[(&str, TlsForm)] = &[
    ("tls-port", TlsForm::Int(65535)),
    ("tls-replication", TlsForm::Flag),
    ("tls-cluster", TlsForm::Flag),
    ("tls-cert-file", TlsForm::Text),
    ("tls-key-file", TlsForm::Text),
    ("tls-key-file-pass", TlsForm::Secret),
    ("tls-client-cert-file", TlsForm::Text),
    ("tls-client-key-file", TlsForm::Text),
    ("tls-client-key-file-pass", TlsForm::Secret),
    ("tls-dh-params-file", TlsForm::Text),
    ("tls-ca-cert-file", TlsForm::Text),
    ("tls-ca-cert-dir", TlsForm::Text),
    ("tls-auth-clients", TlsForm::Choice(&["no", "yes", "optional"])),
    ("tls-protocols", TlsForm::Text),
    ("tls-ciphers", TlsForm::Text),
    ("tls-ciphersuites", TlsForm::Text),
    ("tls-prefer-server-ciphers", TlsForm::Flag),
    ("tls-session-caching", TlsForm::Flag),
    ("tls-session-cache-size", TlsForm::Int(INT_MAX)),
    ("tls-session-cache-timeout", TlsForm::Int(INT_MAX)),
];

const FACILITIES: &[&str] =
    &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];

/// All names, in the order of the tables.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let server = DIRECTIVES.iter().map(|(name, _)| *name);
    server.chain(TLS_DIRECTIVES.iter().map(|(name, _)| *name))
}

/// Applies a line to the settings; `None` if the name (in lower case) is not one of the table.
pub(super) fn apply(
    settings: &mut Settings,
    name: &[u8],
    args: &[Vec<u8>],
) -> Option<Result<(), Reason>> {
    if let Some((_, form)) = DIRECTIVES.iter().find(|(known, _)| known.as_bytes() == name) {
        return Some(apply_form(settings, form, args));
    }
    let (_, form) = TLS_DIRECTIVES.iter().find(|(known, _)| known.as_bytes() == name)?;
    Some(record_tls(settings, name, form, args))
}

fn apply_form(settings: &mut Settings, form: &Form, args: &[Vec<u8>]) -> Result<(), Reason> {
    if let Form::Words(set) = form {
        return set(settings, args);
    }
    let arg = one(args)?;
    match form {
        Form::Int(min, max, set) => set(settings, values::int(arg, *min, *max)?),
        Form::Mode(set) => set(settings, values::octal_mode(arg)?),
        Form::Flag(set) => set(settings, values::flag(arg)?),
        Form::Choice(words, set) => set(settings, values::choice(arg, words)?),
        Form::Text(set) => {
            values::plain(arg)?;
            set(settings, arg);
        }
        Form::Memory(set) => {
            set(settings, values::memory(arg).ok_or("argument must be a memory value")?);
        }
        Form::Secret(set) => set(settings, arg),
        Form::Words(_) => {}
    }
    Ok(())
}

fn record_tls(
    settings: &mut Settings,
    name: &[u8],
    form: &TlsForm,
    args: &[Vec<u8>],
) -> Result<(), Reason> {
    let arg = one(args)?;
    match form {
        TlsForm::Int(max) => values::int(arg, 0, *max).map(drop)?,
        TlsForm::Flag => values::flag(arg).map(drop)?,
        TlsForm::Choice(words) => values::choice(arg, words).map(drop)?,
        TlsForm::Text => values::plain(arg)?,
        TlsForm::Secret => {}
    }
    settings.tls.insert(name.to_vec(), arg.to_vec());
    Ok(())
}

/// The name of a recorded line that asks for TLS.
pub(super) fn asks_for_tls(settings: &Settings) -> Option<&'static [u8]> {
    let value = |name: &[u8]| settings.tls.get(name);
    if value(b"tls-port").is_some_and(|port| port != b"0") {
        return Some(b"tls-port");
    }
    let replication = value(b"tls-replication").and_then(|text| values::yes_no(text));
    (replication == Some(true)).then_some(b"tls-replication")
}

fn one(args: &[Vec<u8>]) -> Result<&[u8], Reason> {
    match args {
        [arg] => Ok(arg),
        _ => Err(WRONG_COUNT.into()),
    }
}

fn some_text(text: &[u8]) -> Option<Vec<u8>> {
    (!text.is_empty()).then(|| text.to_vec())
}

/// `bind` with nothing, or with one empty word, listens on no address.
fn set_bind(settings: &mut Settings, args: &[Vec<u8>]) -> Result<(), Reason> {
    if args.len() > 16 {
        return Err("Too many bind addresses specified.".into());
    }
    for arg in args {
        values::plain(arg)?;
    }
    let listed = if args.len() == 1 && args[0].is_empty() { &[] } else { args };
    settings.bind = listed
        .iter()
        .map(|arg| match arg.strip_prefix(b"-") {
            Some(host) => BindAddr { host: host.to_vec(), optional: true },
            None => BindAddr { host: arg.clone(), optional: false },
        })
        .collect();
    Ok(())
}

/// The rules are the ACL's to read; here they are kept, one line for each name.
fn add_user(settings: &mut Settings, args: &[Vec<u8>]) -> Result<(), Reason> {
    let Some(name) = args.first() else { return Err(BAD_DIRECTIVE.into()) };
    let shown = String::from_utf8_lossy(name);
    if name.iter().any(|c| c.is_ascii_whitespace() || *c == 0) {
        return Err(format!(
            "Error in user declaration '{shown}': \
             Usernames can't contain spaces or null characters"
        ));
    }
    values::plain(name)?;
    if settings.users.iter().any(|user| user[0] == *name) {
        return Err(format!(
            "Error in user declaration '{shown}': \
             Duplicate user found. A user can only be defined once in config files"
        ));
    }
    settings.users.push(args.to_vec());
    Ok(())
}

/// A number of bytes, or a percentage of `maxmemory`.
fn set_clients_memory(settings: &mut Settings, args: &[Vec<u8>]) -> Result<(), Reason> {
    let arg = one(args)?;
    let percent = arg.strip_suffix(b"%").map(num::parse_u64);
    settings.clients_memory = match (percent, values::memory(arg)) {
        (Some(Some(percent @ 0..=100)), _) => ClientsMemory::Percent(percent),
        (Some(Some(_)), _) => return Err("percentage argument must be less or equal to 100".into()),
        (None, Some(bytes)) => ClientsMemory::Bytes(bytes),
        _ => return Err("argument must be a memory or percent value".into()),
    };
    Ok(())
}

fn set_output_limits(settings: &mut Settings, args: &[Vec<u8>]) -> Result<(), Reason> {
    if !args.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = [settings.output_normal, settings.output_pubsub, settings.output_replica];
    for group in args.chunks_exact(4) {
        let class = match group[0].to_ascii_lowercase().as_slice() {
            b"normal" => 0,
            b"pubsub" => 1,
            b"replica" | b"slave" => 2,
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        };
        limits[class] = output_limit(group)
            .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
    }
    [settings.output_normal, settings.output_pubsub, settings.output_replica] = limits;
    Ok(())
}

fn output_limit(group: &[Vec<u8>]) -> Option<OutputLimit> {
    Some(OutputLimit {
        hard_bytes: values::memory(&group[1])?,
        soft_bytes: values::memory(&group[2])?,
        soft_s: values::lenient_u64(&group[3])?,
    })
}

/// Lines build on each other: a name that was given can be renamed again, one that was taken away
/// is unknown.
fn rename_command(settings: &mut Settings, args: &[Vec<u8>]) -> Result<(), Reason> {
    let [old, new] = args else { return Err(BAD_DIRECTIVE.into()) };
    values::plain(new)?;
    let original = command_called(settings, old).ok_or("No such command in rename-command")?;
    settings.renamed_commands.retain(|(command, _)| *command != original);
    let removed = new.is_empty();
    if !removed && command_called(settings, new).is_some_and(|other| other != original) {
        return Err("Target command name already exists".into());
    }
    if !new.eq_ignore_ascii_case(&original) {
        settings.renamed_commands.push((original, new.clone()));
    }
    Ok(())
}

/// The usual name (lower case) of the command that answers to `name` now.
fn command_called(settings: &Settings, name: &[u8]) -> Option<Vec<u8>> {
    let renamed = &settings.renamed_commands;
    if let Some((command, _)) =
        renamed.iter().find(|(_, new)| !new.is_empty() && new.eq_ignore_ascii_case(name))
    {
        return Some(command.clone());
    }
    let lower = name.to_ascii_lowercase();
    let usual = COMMANDS.iter().any(|command| command.as_bytes() == lower);
    (usual && !renamed.iter().any(|(command, _)| *command == lower)).then_some(lower)
}

const TITLE_FIELDS: &[&[u8]] = &[
    b"title",
    b"listen-addr",
    b"server-mode",
    b"port",
    b"tls-port",
    b"unixsocket",
    b"config-file",
];

fn set_title(settings: &mut Settings, args: &[Vec<u8>]) -> Result<(), Reason> {
    let template = one(args)?;
    values::plain(template)?;
    if !title_is_valid(template) {
        return Err("template format is invalid or contains unknown variables".into());
    }
    settings.proc_title_template = template.to_vec();
    Ok(())
}

fn title_is_valid(template: &[u8]) -> bool {
    let mut rest = template;
    while let Some(open) = rest.iter().position(|c| *c == b'{') {
        let field = &rest[open + 1..];
        let Some(close) = field.iter().position(|c| *c == b'}') else { return false };
        if !TITLE_FIELDS.contains(&&field[..close]) {
            return false;
        }
        rest = &field[close + 1..];
    }
    !template.is_empty()
}
