//! What a configuration says about Sentinel, as plain data: loading gives it, rendering takes it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

/// Built-in defaults of spec/protocol.md section 2, in milliseconds.
pub const DEFAULT_DOWN_AFTER_MS: u64 = 30_000;
pub const DEFAULT_FAILOVER_TIMEOUT_MS: u64 = 180_000;
pub const DEFAULT_PARALLEL_SYNCS: u32 = 1;

/// Commands that a master's data nodes and peers know under other names. Keys are lower case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RenameTable(pub BTreeMap<Vec<u8>, Renamed>);

/// One renamed command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Renamed {
    /// The usual name, as the operator typed it.
    pub command: Vec<u8>,
    /// The name to send instead.
    pub new_name: Vec<u8>,
}

impl RenameTable {
    /// The name to send for `command` (any case).
    pub fn lookup<'a>(&'a self, command: &'a [u8]) -> &'a [u8] {
        if self.0.is_empty() {
            return command;
        }
        self.0.get(&command.to_ascii_lowercase()).map_or(command, |r| &r.new_name)
    }

    /// Adds or replaces an entry; a command renamed to itself loses its entry.
    pub fn set(&mut self, command: &[u8], new_name: &[u8]) {
        let key = command.to_ascii_lowercase();
        if command.eq_ignore_ascii_case(new_name) {
            self.0.remove(&key);
        } else {
            let entry = Renamed { command: command.to_vec(), new_name: new_name.to_vec() };
            self.0.insert(key, entry);
        }
    }
}

/// The settings of one master that an operator may change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterOptions {
    pub quorum: u32,
    pub down_after_ms: u64,
    pub failover_timeout_ms: u64,
    pub parallel_syncs: u32,
    pub notification_script: Option<Vec<u8>>,
    pub client_reconfig_script: Option<Vec<u8>>,
    pub auth_user: Option<Vec<u8>>,
    pub auth_pass: Option<Vec<u8>>,
    /// 0 = off.
    pub master_reboot_down_after_ms: u64,
    /// Down-after of an instance whose host refuses the connection; 0 = off. Not known to C.
    pub refused_down_after_ms: u64,
    pub renamed: RenameTable,
}

impl MasterOptions {
    /// The defaults for a new master.
    pub fn new(quorum: u32) -> MasterOptions {
        MasterOptions {
            quorum,
            down_after_ms: DEFAULT_DOWN_AFTER_MS,
            failover_timeout_ms: DEFAULT_FAILOVER_TIMEOUT_MS,
            parallel_syncs: DEFAULT_PARALLEL_SYNCS,
            notification_script: None,
            client_reconfig_script: None,
            auth_user: None,
            auth_pass: None,
            master_reboot_down_after_ms: 0,
            refused_down_after_ms: 0,
            renamed: RenameTable::default(),
        }
    }
}

/// A host (IP literal or name, no brackets) and a port, as written in the file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostPort {
    pub host: Vec<u8>,
    pub port: u16,
}

/// A known sentinel of a master.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerConfig {
    pub at: HostPort,
    pub runid: Vec<u8>,
}

/// One master with its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterConfig {
    pub name: Vec<u8>,
    /// The current address: the promoted one once a replica was promoted.
    pub at: HostPort,
    pub options: MasterOptions,
    pub config_epoch: u64,
    pub leader_epoch: u64,
    pub replicas: Vec<HostPort>,
    pub peers: Vec<PeerConfig>,
}

/// What is not tied to one master.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GlobalConfig {
    /// 40 hex; `None` until the shell has given random bytes.
    pub myid: Option<Vec<u8>>,
    pub current_epoch: u64,
    pub announce_ip: Option<Vec<u8>>,
    /// 0 = not set.
    pub announce_port: u16,
    pub resolve_hostnames: bool,
    pub announce_hostnames: bool,
    pub deny_scripts_reconfig: bool,
    pub sentinel_user: Option<Vec<u8>>,
    pub sentinel_pass: Option<Vec<u8>>,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        GlobalConfig {
            myid: None,
            current_epoch: 0,
            announce_ip: None,
            announce_port: 0,
            resolve_hostnames: false,
            announce_hostnames: false,
            deny_scripts_reconfig: true,
            sentinel_user: None,
            sentinel_pass: None,
        }
    }
}

/// All that a file says about Sentinel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SentinelConfig {
    pub global: GlobalConfig,
    /// In the order of their `monitor` lines.
    pub masters: Vec<MasterConfig>,
}
