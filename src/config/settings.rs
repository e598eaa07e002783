//! The server's own settings: everything in the file that is not a `sentinel` line.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::sentinel::action::LogLevel;

/// How the process is supervised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Supervised {
    #[default]
    No,
    Systemd,
    Upstart,
    Auto,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    #[default]
    Legacy,
    Logfmt,
    Json,
}

/// How the time stands in log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogTimestamp {
    #[default]
    Legacy,
    Iso8601,
    Milliseconds,
}

/// Hard and soft limit of unsent output of a class of clients; 0 = none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_s: u64,
}

/// What all clients together may hold (`maxmemory-clients`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientsMemory {
    /// Not said.
    #[default]
    Unset,
    /// 0 = no limit.
    Bytes(u64),
    /// Of `maxmemory`.
    Percent(u64),
}

/// What all clients together may hold if nothing is said, in bytes.
pub const CLIENTS_MEMORY_BYTES: u64 = 64 << 20;

/// One address of `bind`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindAddr {
    /// An IP literal, a name, or `*` / `::*` for all addresses of IPv4 / IPv6.
    pub host: Vec<u8>,
    /// Written with a `-`: being not available is no error.
    pub optional: bool,
}

/// Directives with effect (spec/config.md); texts are bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// 0 = no plain listener.
    pub port: u16,
    pub bind: Vec<BindAddr>,
    pub bind_source_addr: Option<Vec<u8>>,
    pub tcp_backlog: u32,
    /// Seconds; 0 = off.
    pub tcp_keepalive_s: u32,
    pub unixsocket: Option<Vec<u8>>,
    /// Octal mode; `None`: as the umask gives it.
    pub unixsocketperm: Option<u32>,
    pub unixsocketgroup: Option<Vec<u8>>,
    /// Seconds a client may be idle; 0 = for ever.
    pub timeout_s: u64,
    pub maxclients: u32,
    pub clients_memory: ClientsMemory,
    /// `maxmemory`: there is nothing to be limited here but what a percentage makes of it. 0 = not
    /// said.
    pub maxmemory_bytes: u64,
    pub protected_mode: bool,
    /// The password of the default user, unless it has a `user` line.
    pub requirepass: Option<Vec<u8>>,
    /// `user` lines, as words after `user`: the name first, each name once.
    pub users: Vec<Vec<Vec<u8>>>,
    pub aclfile: Option<Vec<u8>>,
    pub acllog_max_len: u64,
    pub acl_pubsub_allchannels: bool,
    pub output_normal: OutputLimit,
    pub output_pubsub: OutputLimit,
    pub output_replica: OutputLimit,
    /// `rename-command NAME NEW` of our own commands: lower-case name, new name (empty: removed).
    pub renamed_commands: Vec<(Vec<u8>, Vec<u8>)>,
    pub daemonize: bool,
    pub pidfile: Option<Vec<u8>>,
    pub supervised: Supervised,
    /// Empty: standard output.
    pub logfile: Vec<u8>,
    /// `None`: the word `nothing`.
    pub loglevel: Option<LogLevel>,
    pub log_format: LogFormat,
    pub log_timestamp: LogTimestamp,
    pub syslog_enabled: bool,
    pub syslog_ident: Vec<u8>,
    /// The facility word in lower case, e.g. `local0`.
    pub syslog_facility: Vec<u8>,
    pub set_proc_title: bool,
    pub proc_title_template: Vec<u8>,
    pub hz: u32,
    /// Lines that are checked in form only (`tls-…` among them), by lower-case name.
    pub recorded: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Default for Settings {
    fn default() -> Self {
        let star = |host: &[u8], optional| BindAddr { host: host.to_vec(), optional };
        Settings {
            port: 26379,
            bind: vec![star(b"*", false), star(b"::*", true)],
            bind_source_addr: None,
            tcp_backlog: 511,
            tcp_keepalive_s: 300,
            unixsocket: None,
            unixsocketperm: None,
            unixsocketgroup: None,
            timeout_s: 0,
            maxclients: 10_000,
            clients_memory: ClientsMemory::Unset,
            maxmemory_bytes: 0,
            protected_mode: false,
            requirepass: None,
            users: Vec::new(),
            aclfile: None,
            acllog_max_len: 128,
            acl_pubsub_allchannels: false,
            output_normal: OutputLimit::default(),
            output_pubsub: OutputLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_s: 60 },
            output_replica: OutputLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_s: 60 },
            renamed_commands: Vec::new(),
            daemonize: false,
            pidfile: None,
            supervised: Supervised::No,
            logfile: Vec::new(),
            loglevel: Some(LogLevel::Notice),
            log_format: LogFormat::Legacy,
            log_timestamp: LogTimestamp::Legacy,
            syslog_enabled: false,
            syslog_ident: b"sentinel".to_vec(),
            syslog_facility: b"local0".to_vec(),
            set_proc_title: true,
            proc_title_template: b"{title} {listen-addr} {server-mode}".to_vec(),
            hz: 10,
            recorded: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// What all clients together may hold, in bytes, 0 = no limit. If nothing usable is said of it,
    /// as much as `needed_bytes` at least.
    pub fn clients_memory_bytes(&self, needed_bytes: u64) -> u64 {
        match (self.clients_memory, self.maxmemory_bytes) {
            (ClientsMemory::Bytes(bytes), _) => bytes,
            (ClientsMemory::Percent(0), _) => 0,
            (ClientsMemory::Percent(percent), whole @ 1..) => (whole / 100 * percent).max(1),
            (ClientsMemory::Percent(_), 0) | (ClientsMemory::Unset, _) => {
                needed_bytes.max(CLIENTS_MEMORY_BYTES)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_clients_is_a_number_or_a_part_of_another() {
        use ClientsMemory::{Bytes, Percent, Unset};
        for (clients_memory, maxmemory_bytes, wanted) in [
            (Unset, 0, CLIENTS_MEMORY_BYTES),
            (Unset, 1 << 30, CLIENTS_MEMORY_BYTES),
            (Bytes(0), 0, 0),
            (Bytes(5), 1 << 30, 5),
            (Percent(10), 1000, 100),
            (Percent(100), u64::MAX, u64::MAX / 100 * 100),
            (Percent(0), 0, 0),
            (Percent(1), 10, 1),
            (Percent(10), 0, CLIENTS_MEMORY_BYTES),
        ] {
            let settings = Settings { clients_memory, maxmemory_bytes, ..Settings::default() };
            assert_eq!(settings.clients_memory_bytes(7), wanted, "{clients_memory:?}");
        }
        assert_eq!(Settings::default().clients_memory_bytes(1 << 30), 1 << 30);
        let off = Settings { clients_memory: Bytes(0), ..Settings::default() };
        assert_eq!(off.clients_memory_bytes(1 << 30), 0);
    }
}
