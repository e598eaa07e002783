//! How much work clients may cause in one turn, so that the links and all other clients get theirs.
//!
//! There is no clock here: the time that requests take is estimated from what they make us do. A
//! client that has used its slice goes on in the next turn, in the order in which clients were cut
//! off.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::util::ident::ConnId;

/// What one client gets in one turn.
pub const SLICE_NS: u64 = 250_000;
/// What all clients together get in one turn, and as much again those that were cut off in the turn
/// before. A client that comes when it is used up gets one request.
pub const TURN_NS: u64 = 2_000_000;
/// Parsing and checking a request, and a short reply.
pub const REQUEST_NS: u64 = 250;
/// Composing a byte of a reply.
pub const BYTE_NS: u64 = 2;
/// Carrying out an action: a log line, a connect.
pub const ACTION_NS: u64 = 5_000;
/// Looking at one client.
pub const LOOK_NS: u64 = 50;
/// Comparing a password with one of a user's, the hash of which is taken first.
pub const PASSWORD_NS: u64 = 50;
/// Matching the pattern of a new subscription with the names of all events.
pub const PATTERN_NS: u64 = 2_000;

/// The account of one turn.
#[derive(Debug, Default)]
pub struct Work {
    /// Used in this turn so far.
    spent_ns: u64,
    /// Clients that were cut off, the first one first.
    pub waiting: VecDeque<ConnId>,
}

impl Work {
    /// A new turn has begun.
    pub fn begin_turn(&mut self) {
        self.spent_ns = 0;
    }

    /// Something took about this long.
    pub fn charge(&mut self, ns: u64) {
        self.spent_ns = self.spent_ns.saturating_add(ns);
    }

    /// As [`Work::charge`], for so many things that take `ns` each.
    pub fn charge_each(&mut self, count: usize, ns: u64) {
        self.charge((count as u64).saturating_mul(ns));
    }

    /// Used in this turn so far, in estimated ns.
    pub fn spent_ns(&self) -> u64 {
        self.spent_ns
    }

    /// Where the account will stand when the slice of the next client is used up.
    pub fn slice_end_ns(&self) -> u64 {
        if self.spent_ns < TURN_NS { self.spent_ns + SLICE_NS } else { self.spent_ns }
    }
}
