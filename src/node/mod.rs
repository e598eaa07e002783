//! The sans-I/O machine as a whole: bytes, connection events, time, lookups and disk results in;
//! actions out. The shell drives it in production, tests drive it with virtual time.
//!
//! A turn, in this order (the contract with the shell):
//! 1. [`Node::begin_turn`] with the clock: tilt is checked.
//! 2. Every input that is there, above all every readable socket; after each input the actions are
//!    drained with [`Node::poll_action`].
//! 3. [`Node::run_due`]: deadlines that fell due, about 1 ms of work; then drain.
//! 4. [`Node::end_turn`]: at most one save is handed over; then drain.
//! 5. Flush every connection of [`Node::take_touched`] once from its [`Node::output`].
//! 6. Sleep until [`Node::next_deadline`] or the next wakeup.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::load::Loaded;
use crate::config::rewrite::StateLines;
use crate::sentinel::action::Action;
pub use crate::server::facts::{CpuTimes, Endpoint, ProcessFacts};
use crate::util::ident::{CheckId, ConnId, JobId, LookupId};
use crate::util::time::{Clock, Mono};

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The other side closed it in order.
    Eof,
    /// The port is closed there.
    Refused,
    /// Any other error.
    Error,
}

/// What a new node is made from.
#[derive(Clone, Debug)]
pub struct Setup {
    pub loaded: Loaded,
    pub facts: ProcessFacts,
    /// Operating-system randomness: run ids come from it, and the seed of the dice.
    pub random: [u8; 32],
    pub clock: Clock,
}

/// One save: what [`Action::Persist`] asks to be written.
#[derive(Clone, Debug)]
pub struct SaveJob {
    pub generation: u64,
    pub state: Arc<StateLines>,
}

/// The whole daemon without its sockets, files and clock.
pub struct Node {}

impl Node {
    /// A node that has not acted yet; call [`Node::start`] next.
    pub fn new(_setup: Setup) -> Node {
        todo!()
    }
    /// Start of monitoring: logs, `+monitor` events, first save if an id was made.
    pub fn start(&mut self) {
        todo!()
    }

    /// Begins a turn: takes the time for all that follows in it.
    pub fn begin_turn(&mut self, _clock: Clock) {
        todo!()
    }
    /// Runs deadlines that fell due, at most a bounded amount; true if more are due.
    pub fn run_due(&mut self) -> bool {
        todo!()
    }
    /// Ends a turn: hands over at most one save.
    pub fn end_turn(&mut self) {
        todo!()
    }
    /// When [`Node::run_due`] has work again.
    pub fn next_deadline(&self) -> Mono {
        todo!()
    }

    /// The next action, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }
    /// The lines of the save of that generation; the shell asks once per [`Action::Persist`].
    pub fn take_save(&mut self, _generation: u64) -> Option<SaveJob> {
        todo!()
    }

    /// Connections with unsent output that were written to since the last call.
    pub fn take_touched(&mut self, _into: &mut Vec<ConnId>) {
        todo!()
    }
    /// Unsent output of a connection.
    pub fn output(&mut self, _conn: ConnId) -> Option<&mut Vec<u8>> {
        todo!()
    }
    /// The shell wrote `n` bytes from the front of the output of `conn`; they are removed.
    pub fn sent(&mut self, _conn: ConnId, _n: usize) {
        todo!()
    }

    /// A client connected; gives its id (it may be closed again by an action at once).
    pub fn accepted(&mut self, _endpoint: Endpoint, _fd: i32) -> ConnId {
        todo!()
    }
    /// Bytes arrived on a connection of a client or a link.
    pub fn received(&mut self, _conn: ConnId, _bytes: &[u8]) {
        todo!()
    }
    /// A connection of a client or a link is gone.
    pub fn closed(&mut self, _conn: ConnId, _why: Closed) {
        todo!()
    }
    /// The connect has begun (not yet established); `local` is our own address of it.
    pub fn conn_started(&mut self, _conn: ConnId, _local: Option<IpAddr>) {
        todo!()
    }
    /// The connect failed at once.
    pub fn conn_failed(&mut self, _conn: ConnId, _why: Closed) {
        todo!()
    }

    /// A save has ended after `took_ms` (write, fsync and rename together).
    pub fn persisted(&mut self, _generation: u64, _result: Result<(), String>, _took_ms: u64) {
        todo!()
    }
    /// A lookup has ended: addresses in order of preference (empty: it failed).
    pub fn resolved(&mut self, _lookup: LookupId, _ips: Vec<IpAddr>) {
        todo!()
    }
    /// Whether a path is an executable file.
    pub fn script_checked(&mut self, _check: CheckId, _executable: bool) {
        todo!()
    }
    /// A script runs under this pid, or the fork failed (text of the reason).
    pub fn spawned(&mut self, _job: JobId, _pid: Result<i32, String>) {
        todo!()
    }
    /// A child has ended: its exit code, or the signal that killed it.
    pub fn child_exited(&mut self, _pid: i32, _exit_code: i32, _signal: i32) {
        todo!()
    }
    /// SIGTERM or SIGINT was received.
    pub fn shutdown_asked(&mut self) {
        todo!()
    }
    /// The descriptor limit allows only this many clients.
    pub fn limit_clients(&mut self, _maxclients: u32) {
        todo!()
    }
    /// CPU times for INFO; the shell calls it when it has them anew (once a second will do).
    pub fn cpu_times(&mut self, _times: CpuTimes) {
        todo!()
    }
}
