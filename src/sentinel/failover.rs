//! The failover, state by state (spec/protocol.md section 9).
#![forbid(unsafe_code)]

use super::instance::ReplicaId;
use crate::util::time::Mono;

/// A failover in progress, from its start to the switch.
#[derive(Clone, Debug)]
pub struct Failover {
    pub epoch: u64,
    pub forced: bool,
    pub state: State,
    pub state_since: Mono,
}

/// The states before the switch; what exists only in a state lives in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    WaitStart,
    SelectSlave,
    SendSlaveofNoOne { replica: ReplicaId },
    WaitPromotion { replica: ReplicaId },
}

/// What is left of a failover after the switch: replicas that do not yet follow.
#[derive(Clone, Debug)]
pub struct Reconf {
    pub since: Mono,
    pub forced: bool,
}
