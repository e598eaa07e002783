//! For the unit tests of the core: a context with virtual time, and what it was given.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::action::{Action, Cx, LogLevel, Outbox};
use super::instance::{Addr, MasterId};
use super::log_limit::LogLimits;
use super::setup::{GlobalConfig, HostPort, MasterConfig, MasterOptions};
use super::{Sentinel, Surroundings};
use crate::util::ident::ConnId;
use crate::util::rng::Rng;
use crate::util::time::{Mono, Wall};

/// The id of the sentinel under test.
pub const OWN_ID: &[u8] = b"5555555555555555555555555555555555555555";

/// Output buffers without a shell behind them.
#[derive(Default)]
pub struct Buffers {
    open: BTreeMap<ConnId, Vec<u8>>,
    last: u64,
}

impl Outbox for Buffers {
    fn buffer(&mut self, conn: ConnId) -> Option<&mut Vec<u8>> {
        self.open.get_mut(&conn)
    }

    fn open(&mut self) -> ConnId {
        self.last += 1;
        self.open.insert(ConnId(self.last), Vec::new());
        ConnId(self.last)
    }

    fn forget(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }
}

/// A sentinel, its clock, and the actions since they were last taken.
pub struct Bench {
    pub sentinel: Sentinel,
    pub now: Mono,
    rng: Rng,
    actions: Vec<Action>,
    out: Buffers,
    log_limits: LogLimits,
}

impl Bench {
    /// A sentinel that monitors nothing.
    pub fn new() -> Bench {
        Bench::with(GlobalConfig::default())
    }

    pub fn with(global: GlobalConfig) -> Bench {
        Bench {
            sentinel: Sentinel::new(global, OWN_ID.to_vec(), Surroundings::default()),
            now: Mono(1_000_000),
            rng: Rng::new(7),
            actions: Vec::new(),
            out: Buffers::default(),
            log_limits: LogLimits::default(),
        }
    }

    /// Calls into the core at the present moment.
    pub fn call<T>(&mut self, call: impl FnOnce(&mut Sentinel, &mut Cx) -> T) -> T {
        let wall = Wall { unix_ms: 1_800_000_000_000 + self.now.0, utc_offset_s: 0 };
        let cx = &mut Cx {
            now: self.now,
            wall,
            rng: &mut self.rng,
            actions: &mut self.actions,
            out: &mut self.out,
            log_limits: &mut self.log_limits,
        };
        call(&mut self.sentinel, cx)
    }

    pub fn pass(&mut self, ms: u64) {
        self.now = self.now.after(ms);
    }

    /// All connects that were asked for since the actions were last taken begin and succeed;
    /// gives how many.
    pub fn establish(&mut self) -> usize {
        let conns = self.actions.iter().filter_map(|action| match action {
            Action::Connect { conn, .. } => Some(*conn),
            _ => None,
        });
        let conns: Vec<ConnId> = conns.collect();
        for conn in &conns {
            self.call(|sentinel, cx| {
                sentinel.conn_started(cx, *conn, None);
                sentinel.conn_established(cx, *conn);
            });
        }
        conns.len()
    }

    /// The actions since the last call.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The log lines among the actions since the last call, debug ones left out.
    pub fn log(&mut self) -> Vec<String> {
        let line = |action| match action {
            Action::Log { level, text } if level > LogLevel::Debug => {
                Some(String::from_utf8(text).unwrap())
            }
            _ => None,
        };
        self.actions().into_iter().filter_map(line).collect()
    }

    /// Monitors `name` at 127.0.0.1:6379 with quorum 2.
    pub fn monitor(&mut self, name: &[u8]) -> MasterId {
        let config = MasterConfig {
            name: name.to_vec(),
            at: HostPort { host: b"127.0.0.1".to_vec(), port: 6379 },
            options: MasterOptions::new(2),
            config_epoch: 0,
            leader_epoch: 0,
            replicas: Vec::new(),
            peers: Vec::new(),
        };
        self.call(|sentinel, cx| sentinel.load_master(cx, &config)).unwrap()
    }
}

/// An address with an IP literal as host.
pub fn addr(host: &str, port: u16) -> Addr {
    Addr { host: host.as_bytes().to_vec(), ip: host.parse().ok(), port }
}
