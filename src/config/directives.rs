//! The server's own directives with effect: a table of names, forms and what they set.
#![forbid(unsafe_code)]

use super::lines::Words;
use super::settings::{
    BindAddr, ClientsMemory, LogFormat, LogTimestamp, OutputLimit, Settings, Supervised,
};
use super::values::{self, BAD_DIRECTIVE, Reason, WRONG_COUNT};
use crate::sentinel::action::LogLevel;
use crate::util::num;

/// The form of a directive's arguments, where they go, and how they are read back. All but `Words`
/// take one word.
enum Form {
    Int(i64, i64, fn(&mut Settings, i64), fn(&Settings) -> i64),
    Mode(fn(&mut Settings, u32), fn(&Settings) -> Option<u32>),
    Flag(fn(&mut Settings, bool), fn(&Settings) -> bool),
    Choice(&'static [&'static str], fn(&mut Settings, usize), fn(&Settings) -> usize),
    /// A number of bytes, with a unit.
    Memory(fn(&mut Settings, u64), fn(&Settings) -> u64),
    /// Without control characters; empty where it is not set.
    Text(fn(&mut Settings, &[u8]), fn(&Settings) -> &[u8]),
    /// Any bytes: a password.
    Secret(fn(&mut Settings, &[u8]), fn(&Settings) -> &[u8]),
    /// Any number of words, with checks of its own; as many lines as are needed.
    Words(fn(&mut Settings, &[Vec<u8>]) -> Result<(), Reason>, fn(&Settings) -> Vec<Line>),
}

/// What tells the lines of one directive apart, and the arguments of one of them.
type Line = (Option<Vec<u8>>, Vec<Vec<u8>>);

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

const SUPERVISED: [Supervised; 4] =
    [Supervised::Upstart, Supervised::Systemd, Supervised::Auto, Supervised::No];
const LOG_LEVELS: [Option<LogLevel>; 5] = [
    Some(LogLevel::Debug),
    Some(LogLevel::Verbose),
    Some(LogLevel::Notice),
    Some(LogLevel::Warning),
    None,
];
const LOG_FORMATS: [LogFormat; 3] = [LogFormat::Legacy, LogFormat::Logfmt, LogFormat::Json];
const LOG_TIMESTAMPS: [LogTimestamp; 3] =
    [LogTimestamp::Legacy, LogTimestamp::Iso8601, LogTimestamp::Milliseconds];
const FACILITIES: &[&str] =
    &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];

const DIRECTIVES: &[(&str, Form)] = &[
    ("port", Form::Int(0, 65535, |s, n| s.port = n as u16, |s| s.port.into())),
    ("bind", Form::Words(set_bind, bind_line)),
    (
        "bind-source-addr",
        Form::Text(|s, t| s.bind_source_addr = some_text(t), |s| text_of(&s.bind_source_addr)),
    ),
    (
        "tcp-backlog",
        Form::Int(0, INT_MAX, |s, n| s.tcp_backlog = n as u32, |s| s.tcp_backlog.into()),
    ),
    (
        "tcp-keepalive",
        Form::Int(0, INT_MAX, |s, n| s.tcp_keepalive_s = n as u32, |s| s.tcp_keepalive_s.into()),
    ),
    ("unixsocket", Form::Text(|s, t| s.unixsocket = some_text(t), |s| text_of(&s.unixsocket))),
    ("unixsocketperm", Form::Mode(|s, mode| s.unixsocketperm = Some(mode), |s| s.unixsocketperm)),
    (
        "unixsocketgroup",
        Form::Text(|s, t| s.unixsocketgroup = some_text(t), |s| text_of(&s.unixsocketgroup)),
    ),
    ("timeout", Form::Int(0, INT_MAX, |s, n| s.timeout_s = n as u64, |s| s.timeout_s as i64)),
    ("maxclients", Form::Int(1, UINT_MAX, |s, n| s.maxclients = n as u32, |s| s.maxclients.into())),
    ("maxmemory", Form::Memory(|s, bytes| s.maxmemory_bytes = bytes, |s| s.maxmemory_bytes)),
    ("maxmemory-clients", Form::Words(set_clients_memory, clients_memory_line)),
    ("protected-mode", Form::Flag(|s, on| s.protected_mode = on, |s| s.protected_mode)),
    ("requirepass", Form::Secret(|s, t| s.requirepass = some_text(t), |s| text_of(&s.requirepass))),
    ("user", Form::Words(add_user, user_lines)),
    ("aclfile", Form::Text(|s, t| s.aclfile = some_text(t), |s| text_of(&s.aclfile))),
    (
        "acllog-max-len",
        Form::Int(0, i64::MAX, |s, n| s.acllog_max_len = n as u64, |s| s.acllog_max_len as i64),
    ),
    (
        "acl-pubsub-default",
        Form::Choice(
            &["allchannels", "resetchannels"],
            |s, n| s.acl_pubsub_allchannels = n == 0,
            |s| usize::from(!s.acl_pubsub_allchannels),
        ),
    ),
    ("client-output-buffer-limit", Form::Words(set_output_limits, output_limit_lines)),
    ("rename-command", Form::Words(rename_command, rename_lines)),
    ("daemonize", Form::Flag(|s, on| s.daemonize = on, |s| s.daemonize)),
    ("pidfile", Form::Text(|s, t| s.pidfile = some_text(t), |s| text_of(&s.pidfile))),
    (
        "supervised",
        Form::Choice(
            &["upstart", "systemd", "auto", "no"],
            |s, n| s.supervised = SUPERVISED[n],
            |s| place_of(&SUPERVISED, &s.supervised),
        ),
    ),
    ("logfile", Form::Text(|s, t| s.logfile = t.to_vec(), |s| &s.logfile)),
    (
        "loglevel",
        Form::Choice(
            &["debug", "verbose", "notice", "warning", "nothing"],
            |s, n| s.loglevel = LOG_LEVELS[n],
            |s| place_of(&LOG_LEVELS, &s.loglevel),
        ),
    ),
    (
        "log-format",
        Form::Choice(
            &["legacy", "logfmt", "json"],
            |s, n| s.log_format = LOG_FORMATS[n],
            |s| place_of(&LOG_FORMATS, &s.log_format),
        ),
    ),
    (
        "log-timestamp-format",
        Form::Choice(
            &["legacy", "iso8601", "milliseconds"],
            |s, n| s.log_timestamp = LOG_TIMESTAMPS[n],
            |s| place_of(&LOG_TIMESTAMPS, &s.log_timestamp),
        ),
    ),
    ("syslog-enabled", Form::Flag(|s, on| s.syslog_enabled = on, |s| s.syslog_enabled)),
    ("syslog-ident", Form::Text(|s, t| s.syslog_ident = t.to_vec(), |s| &s.syslog_ident)),
    (
        "syslog-facility",
        Form::Choice(
            FACILITIES,
            |s, n| s.syslog_facility = FACILITIES[n].as_bytes().to_vec(),
            |s| place_of(FACILITIES, &String::from_utf8_lossy(&s.syslog_facility).as_ref()),
        ),
    ),
    ("hz", Form::Int(0, INT_MAX, |s, n| s.hz = n as u32, |s| s.hz.into())),
    ("set-proc-title", Form::Flag(|s, on| s.set_proc_title = on, |s| s.set_proc_title)),
    ("proc-title-template", Form::Words(set_title, |s| one_line(&s.proc_title_template))),
];

/// How a line without effect is checked; its word is recorded as it stands.
enum RecordForm {
    Int(i64),
    Flag,
    Choice(&'static [&'static str]),
    Text,
    Secret,
}

/// There is no TLS in this build, and neither DEBUG nor CONFIG SET of protected settings.
const RECORDED: &[(&str, RecordForm)] = &[
    ("tls-port", RecordForm::Int(65535)),
    ("tls-replication", RecordForm::Flag),
    ("tls-cluster", RecordForm::Flag),
    ("tls-cert-file", RecordForm::Text),
    ("tls-key-file", RecordForm::Text),
    ("tls-key-file-pass", RecordForm::Secret),
    ("tls-client-cert-file", RecordForm::Text),
    ("tls-client-key-file", RecordForm::Text),
    ("tls-client-key-file-pass", RecordForm::Secret),
    ("tls-dh-params-file", RecordForm::Text),
    ("tls-ca-cert-file", RecordForm::Text),
    ("tls-ca-cert-dir", RecordForm::Text),
    ("tls-auth-clients", RecordForm::Choice(&["no", "yes", "optional"])),
    ("tls-protocols", RecordForm::Text),
    ("tls-ciphers", RecordForm::Text),
    ("tls-ciphersuites", RecordForm::Text),
    ("tls-prefer-server-ciphers", RecordForm::Flag),
    ("tls-session-caching", RecordForm::Flag),
    ("tls-session-cache-size", RecordForm::Int(INT_MAX)),
    ("tls-session-cache-timeout", RecordForm::Int(INT_MAX)),
    ("enable-debug-command", RecordForm::Choice(PROTECTION)),
    ("enable-protected-configs", RecordForm::Choice(PROTECTION)),
];

/// All names, in the order of the tables.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let server = DIRECTIVES.iter().map(|(name, _)| *name);
    server.chain(RECORDED.iter().map(|(name, _)| *name))
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
    let (_, form) = RECORDED.iter().find(|(known, _)| known.as_bytes() == name)?;
    Some(record(settings, name, form, args))
}

fn apply_form(settings: &mut Settings, form: &Form, args: &[Vec<u8>]) -> Result<(), Reason> {
    if let Form::Words(set, _) = form {
        return set(settings, args);
    }
    let arg = one(args)?;
    match form {
        Form::Int(min, max, set, _) => set(settings, values::int(arg, *min, *max)?),
        Form::Mode(set, _) => set(settings, values::octal_mode(arg)?),
        Form::Flag(set, _) => set(settings, values::flag(arg)?),
        Form::Choice(words, set, _) => set(settings, values::choice(arg, words)?),
        Form::Text(set, _) => {
            values::plain(arg)?;
            set(settings, arg);
        }
        Form::Memory(set, _) => {
            set(settings, values::memory(arg).ok_or("argument must be a memory value")?);
        }
        Form::Secret(set, _) => set(settings, arg),
        Form::Words(..) => {}
    }
    Ok(())
}

fn record(
    settings: &mut Settings,
    name: &[u8],
    form: &RecordForm,
    args: &[Vec<u8>],
) -> Result<(), Reason> {
    let arg = one(args)?;
    match form {
        RecordForm::Int(max) => values::int(arg, 0, *max).map(drop)?,
        RecordForm::Flag => values::flag(arg).map(drop)?,
        RecordForm::Choice(words) => values::choice(arg, words).map(drop)?,
        RecordForm::Text => values::plain(arg)?,
        RecordForm::Secret => {}
    }
    settings.recorded.insert(name.to_vec(), arg.to_vec());
    Ok(())
}

/// The name of a recorded line that asks for TLS.
pub(super) fn asks_for_tls(settings: &Settings) -> Option<&'static [u8]> {
    let value = |name: &[u8]| settings.recorded.get(name);
    if value(b"tls-port").is_some_and(|port| port != b"0") {
        return Some(b"tls-port");
    }
    let replication = value(b"tls-replication").and_then(|text| values::yes_no(text));
    (replication == Some(true)).then_some(b"tls-replication")
}

/// What a line of the table sets: its name, and what tells it from other lines of that name. For
/// the settings that commands can change, which are rendered apart, that is nothing.
pub(super) fn subjects(settings: &Settings, name: &[u8], args: &[Vec<u8>]) -> Vec<Words> {
    let with = |part: Vec<u8>| vec![name.to_vec(), part];
    match name {
        _ if is_rendered_apart(name) => Vec::new(),
        b"client-output-buffer-limit" => {
            let classes = args.chunks_exact(4).filter_map(|group| output_class(&group[0]));
            classes.map(|class| with(OUTPUT_CLASSES[class].as_bytes().to_vec())).collect()
        }
        b"rename-command" => {
            let command = args.first().and_then(|old| command_called(settings, old));
            command.map(with).into_iter().collect()
        }
        _ => vec![vec![name.to_vec()]],
    }
}

/// The lines that give these settings, each behind what it sets; those that say the default too.
pub(super) fn lines(settings: &Settings) -> Vec<(Words, Words)> {
    let mut lines = Vec::new();
    for (name, form) in DIRECTIVES.iter().filter(|(name, _)| !is_rendered_apart(name.as_bytes())) {
        for (part, args) in form_lines(settings, form) {
            let name = || std::iter::once(name.as_bytes().to_vec());
            lines.push((name().chain(part).collect(), name().chain(args).collect()));
        }
    }
    for (name, word) in &settings.recorded {
        lines.push((vec![name.clone()], vec![name.clone(), word.clone()]));
    }
    lines
}

/// [`super::render::render_server`] renders them.
fn is_rendered_apart(name: &[u8]) -> bool {
    matches!(name, b"loglevel" | b"requirepass" | b"user")
}

fn form_lines(settings: &Settings, form: &Form) -> Vec<Line> {
    match form {
        Form::Int(_, _, _, get) => one_line(get(settings).to_string().as_bytes()),
        Form::Memory(_, get) => one_line(get(settings).to_string().as_bytes()),
        Form::Mode(_, get) => {
            let mode = get(settings).map(|mode| format!("{mode:o}"));
            mode.map_or_else(Vec::new, |mode| one_line(mode.as_bytes()))
        }
        Form::Flag(_, get) => one_line(if get(settings) { b"yes" } else { b"no" }),
        Form::Choice(words, _, get) => {
            one_line(words.get(get(settings)).map_or(&b""[..], |word| word.as_bytes()))
        }
        Form::Text(_, get) | Form::Secret(_, get) => one_line(get(settings)),
        Form::Words(_, get) => get(settings),
    }
}

fn one_line(arg: &[u8]) -> Vec<Line> {
    vec![(None, vec![arg.to_vec()])]
}

fn place_of<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|other| other == one).unwrap_or(all.len())
}

fn text_of(text: &Option<Vec<u8>>) -> &[u8] {
    text.as_deref().unwrap_or_default()
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

fn bind_line(settings: &Settings) -> Vec<Line> {
    let word = |addr: &BindAddr| {
        let mark: &[u8] = if addr.optional { b"-" } else { b"" };
        [mark, &addr.host].concat()
    };
    match settings.bind.is_empty() {
        true => one_line(b""),
        false => vec![(None, settings.bind.iter().map(word).collect())],
    }
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

fn clients_memory_line(settings: &Settings) -> Vec<Line> {
    match settings.clients_memory {
        ClientsMemory::Unset => Vec::new(),
        ClientsMemory::Bytes(bytes) => one_line(bytes.to_string().as_bytes()),
        ClientsMemory::Percent(percent) => one_line(format!("{percent}%").as_bytes()),
    }
}

fn user_lines(settings: &Settings) -> Vec<Line> {
    settings.users.iter().map(|user| (user.first().cloned(), user.clone())).collect()
}

const OUTPUT_CLASSES: [&str; 3] = ["normal", "pubsub", "replica"];

fn output_class(word: &[u8]) -> Option<usize> {
    let word = if word.eq_ignore_ascii_case(b"slave") { b"replica" } else { word };
    OUTPUT_CLASSES.iter().position(|class| word.eq_ignore_ascii_case(class.as_bytes()))
}

fn output_limits(settings: &Settings) -> [OutputLimit; 3] {
    [settings.output_normal, settings.output_pubsub, settings.output_replica]
}

fn output_limit_lines(settings: &Settings) -> Vec<Line> {
    let line = |(class, limit): (&str, OutputLimit)| {
        let number = |n: u64| n.to_string().into_bytes();
        let (hard, soft) = (number(limit.hard_bytes), number(limit.soft_bytes));
        let class = class.as_bytes().to_vec();
        (Some(class.clone()), vec![class, hard, soft, number(limit.soft_s)])
    };
    OUTPUT_CLASSES.into_iter().zip(output_limits(settings)).map(line).collect()
}

fn set_output_limits(settings: &mut Settings, args: &[Vec<u8>]) -> Result<(), Reason> {
    if !args.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = output_limits(settings);
    for group in args.chunks_exact(4) {
        let class = output_class(&group[0])
            .ok_or("Invalid client class specified in buffer limit configuration.")?;
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

/// In no order that could be loaded: they may take each other's names.
fn rename_lines(settings: &Settings) -> Vec<Line> {
    let line = |(command, new): &(Vec<u8>, Vec<u8>)| {
        (Some(command.clone()), vec![command.clone(), new.clone()])
    };
    settings.renamed_commands.iter().map(line).collect()
}

/// The usual name (lower case) of the command that answers to `name` now.
pub(super) fn command_called(settings: &Settings, name: &[u8]) -> Option<Vec<u8>> {
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
