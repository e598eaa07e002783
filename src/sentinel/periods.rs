//! The periods of spec/protocol.md section 2, changeable at run time with SENTINEL DEBUG.
#![forbid(unsafe_code)]

use super::setup::{DEFAULT_DOWN_AFTER_MS, DEFAULT_FAILOVER_TIMEOUT_MS};

/// All in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Periods {
    pub info_ms: u64,
    pub ping_ms: u64,
    pub ask_ms: u64,
    pub publish_ms: u64,
    pub default_down_after_ms: u64,
    pub default_failover_timeout_ms: u64,
    pub tilt_trigger_ms: u64,
    pub tilt_period_ms: u64,
    pub slave_reconf_timeout_ms: u64,
    pub min_link_reconnect_ms: u64,
    pub election_timeout_ms: u64,
    pub script_max_runtime_ms: u64,
    pub script_retry_delay_ms: u64,
}

impl Default for Periods {
    fn default() -> Self {
        Periods {
            info_ms: 10_000,
            ping_ms: 1_000,
            ask_ms: 1_000,
            publish_ms: 2_000,
            default_down_after_ms: DEFAULT_DOWN_AFTER_MS,
            default_failover_timeout_ms: DEFAULT_FAILOVER_TIMEOUT_MS,
            tilt_trigger_ms: 2_000,
            tilt_period_ms: 30_000,
            slave_reconf_timeout_ms: 10_000,
            min_link_reconnect_ms: 15_000,
            election_timeout_ms: 10_000,
            script_max_runtime_ms: 60_000,
            script_retry_delay_ms: 30_000,
        }
    }
}
