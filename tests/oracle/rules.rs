//! What may differ: fields whose values are of the moment (masked, but checked), and the short
//! list of differences that are wanted, each with its reason.

use crate::leaves::Shape;

/// What a masked value must be, on both sides.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// A number in this range.
    Number(i64, i64),
    /// Digits with a fraction.
    Decimal,
    /// Hexadecimal digits, as many on both sides.
    Hex,
    /// A time that may have a fraction.
    Seconds,
    /// Anything but nothing.
    Text,
    /// Anything.
    Any,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Any text that begins so.
    Begins(&'static str),
    /// An address of the loopback.
    Address,
}

impl Check {
    /// Whether a value is what it must be.
    pub fn holds(self, text: &str) -> bool {
        match self {
            Check::Number(low, high) => text.parse().is_ok_and(|n: i64| (low..=high).contains(&n)),
            Check::Decimal => text.contains('.') && text.parse::<f64>().is_ok(),
            Check::Hex => !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit()),
            Check::Seconds => text.parse().is_ok_and(|n: f64| (0.0..60.0).contains(&n)),
            Check::Text => !text.is_empty(),
            Check::Any => true,
            Check::OneOf(words) => words.contains(&text),
            Check::Begins(front) => text.starts_with(front),
            Check::Address => {
                let port = text.strip_prefix("127.0.0.1:").unwrap_or_default();
                port.parse::<u16>().is_ok()
            }
        }
    }
}

const ROW: Shape = Shape::Fields(&[]);
const ROWS: Shape = Shape::Unordered("name", &ROW);
const PLAIN: Shape = Shape::Plain;
const WORDS: Shape = Shape::Unordered("", &PLAIN);
const SUBCOMMANDS: Shape = Shape::Unordered("0", &SUBCOMMAND);
const SUBCOMMAND: Shape =
    Shape::Tuple(&[PLAIN, PLAIN, WORDS, PLAIN, PLAIN, PLAIN, WORDS, WORDS, WORDS, PLAIN]);
const COMMAND: Shape =
    Shape::Tuple(&[PLAIN, PLAIN, WORDS, PLAIN, PLAIN, PLAIN, WORDS, WORDS, WORDS, SUBCOMMANDS]);
const DOCS: Shape = Shape::Fields(&[("subcommands", Shape::ByName(&ROW))]);
const LOG_ENTRY: Shape = Shape::Fields(&[("client-info", Shape::Clients)]);

/// How the replies of a command are to be read.
pub fn shape(command: &str) -> Shape {
    match command {
        "sentinel|master" | "hello" | "sentinel|debug" | "client|trackinginfo" => ROW,
        "sentinel|config" => Shape::ByName(&PLAIN),
        "sentinel|masters" | "sentinel|replicas" | "sentinel|slaves" | "sentinel|sentinels" => ROWS,
        "sentinel|pending-scripts" => Shape::Unordered("argv.0", &ROW),
        "acl|log" => Shape::List(&LOG_ENTRY),
        "acl|getuser" => ROW,
        "role" => Shape::Tuple(&[PLAIN, WORDS]),
        "command" | "command|info" => Shape::Unordered("0", &COMMAND),
        "command|list" | "acl|cat" => WORDS,
        "command|docs" => Shape::ByName(&DOCS),
        "info" => Shape::Info,
        "client|list" | "client|info" => Shape::Clients,
        "acl|help" | "client|help" | "command|help" | "sentinel|help" => Shape::Help,
        _ => Shape::Plain,
    }
}

/// Commands that ours answers without listing them in COMMAND.
pub const UNLISTED: [&str; 2] = ["quit", "reset"];

/// A field that is not compared but checked.
struct Mask {
    commands: &'static [&'static str],
    fields: &'static [&'static str],
    check: Check,
}

const INSTANCES: &[&str] = &[
    "sentinel|master",
    "sentinel|masters",
    "sentinel|replicas",
    "sentinel|slaves",
    "sentinel|sentinels",
];
const CLIENTS: &[&str] = &["client|list", "client|info", "acl|log"];
const INFO: &[&str] = &["info"];
const MAX: i64 = i64::MAX;

const MASKS: &[Mask] = &[
    Mask { commands: INSTANCES, fields: &["link-pending-commands"], check: Check::Number(0, 20) },
    Mask {
        commands: INSTANCES,
        fields: &["last-ping-sent", "last-ok-ping-reply", "last-ping-reply", "last-hello-message"],
        check: Check::Number(0, 60_000),
    },
    Mask {
        commands: INSTANCES,
        fields: &["info-refresh", "role-reported-time", "s-down-time", "o-down-time"],
        check: Check::Number(0, 60_000),
    },
    Mask { commands: INSTANCES, fields: &["slave-repl-offset"], check: Check::Number(0, 1 << 40) },
    Mask {
        commands: INSTANCES,
        fields: &["master-link-down-time"],
        check: Check::Number(-1000, 60_000),
    },
    Mask { commands: &["acl|genpass"], fields: &[""], check: Check::Hex },
    Mask { commands: &["acl|log"], fields: &["age-seconds"], check: Check::Seconds },
    Mask { commands: &["hello"], fields: &["id"], check: Check::Number(1, MAX) },
    Mask { commands: &["client|id"], fields: &[""], check: Check::Number(1, MAX) },
    Mask { commands: &["client|getredir"], fields: &[""], check: Check::Number(-1, MAX) },
    Mask { commands: CLIENTS, fields: &["redir"], check: Check::Number(-1, MAX) },
    Mask {
        commands: &["command|docs"],
        fields: &["summary", "subcommands.summary"],
        check: Check::Text,
    },
    // The link of the peer goes on with its own work.
    Mask {
        commands: CLIENTS,
        fields: &["[sentinel-<peer8>-cmd].cmd"],
        check: Check::OneOf(&["ping", "publish", "sentinel|is-master-down-by-addr"]),
    },
    Mask {
        commands: &["sentinel|pending-scripts"],
        fields: &["pid", "run-time"],
        check: Check::Number(1, MAX),
    },
    Mask {
        commands: &["sentinel|info-cache"],
        fields: &["1.0.0", "1.1.0", "1.2.0"],
        check: Check::Number(0, 60_000),
    },
    Mask {
        commands: &["sentinel|info-cache"],
        fields: &["1.0.1", "1.1.1", "1.2.1"],
        check: Check::Text,
    },
    Mask {
        commands: &["acl|help", "client|help", "command|help", "sentinel|help"],
        fields: &["text"],
        check: Check::Text,
    },
    Mask { commands: CLIENTS, fields: &["addr", "client-info.addr"], check: Check::Address },
    Mask {
        commands: CLIENTS,
        fields: &["id", "fd", "client-info.id", "client-info.fd"],
        check: Check::Number(1, 100_000),
    },
    Mask {
        commands: CLIENTS,
        fields: &["age", "idle", "obl", "oll", "omem", "qbuf", "qbuf-free"],
        check: Check::Number(0, 1 << 20),
    },
    Mask {
        commands: CLIENTS,
        fields: &["argv-mem", "rbs", "rbp", "tot-mem"],
        check: Check::Number(0, 1 << 20),
    },
    Mask {
        commands: &["acl|log"],
        fields: &[
            "client-info.age",
            "client-info.idle",
            "client-info.qbuf",
            "client-info.qbuf-free",
            "client-info.argv-mem",
            "client-info.rbs",
            "client-info.rbp",
            "client-info.tot-mem",
        ],
        check: Check::Number(0, 1 << 20),
    },
    Mask {
        commands: INFO,
        fields: &[
            "Server.process_id",
            "Server.server_time_usec",
            "Stats.total_connections_received",
            "Stats.total_commands_processed",
            "Stats.total_net_input_bytes",
            "Stats.total_net_output_bytes",
            "Stats.total_reads_processed",
            "Stats.total_writes_processed",
        ],
        check: Check::Number(1, MAX),
    },
    Mask {
        commands: INFO,
        fields: &[
            "Clients.client_recent_max_input_buffer",
            "Stats.reply_buffer_shrinks",
            "Stats.reply_buffer_expands",
            "Clients.client_recent_max_output_buffer",
            "Stats.instantaneous_ops_per_sec",
            "Stats.total_error_replies",
            "Server.uptime_in_seconds",
        ],
        check: Check::Number(0, 1 << 30),
    },
    // Redrawn at each tick.
    Mask { commands: INFO, fields: &["Server.hz"], check: Check::Number(10, 20) },
    Mask { commands: INFO, fields: &["Server.run_id"], check: Check::Hex },
    Mask {
        commands: INFO,
        fields: &["Server.executable", "Server.config_file", "Server.redis_build_id"],
        check: Check::Text,
    },
    Mask {
        commands: INFO,
        fields: &[
            "Stats.instantaneous_input_kbps",
            "Stats.instantaneous_output_kbps",
            "CPU.used_cpu_sys",
            "CPU.used_cpu_user",
            "CPU.used_cpu_sys_main_thread",
            "CPU.used_cpu_user_main_thread",
            "CPU.used_cpu_sys_children",
            "CPU.used_cpu_user_children",
        ],
        check: Check::Decimal,
    },
];

/// What the value of a field has to be, if it is masked.
pub fn mask(command: &str, field: &str) -> Option<Check> {
    let fits = |mask: &&Mask| mask.commands.contains(&command) && mask.fields.contains(&field);
    MASKS.iter().find(fits).map(|mask| mask.check)
}

/// One side of an allowed difference.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    Nothing,
    /// This type and text.
    Is(&'static str, &'static str),
    /// This type, and a text for which the check holds.
    Like(&'static str, Check),
}

/// A difference that is wanted.
pub struct Allowed {
    pub commands: &'static [&'static str],
    /// Lines of the table; none: all of the command.
    pub requests: &'static [&'static str],
    /// Fields, or whole paths.
    pub fields: &'static [&'static str],
    pub oracle: Seen,
    pub ours: Seen,
    pub reason: &'static str,
}
