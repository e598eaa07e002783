//! The sans-I/O machine as a whole: bytes, connection events, time, lookups and disk results in;
//! actions out. The shell drives it in production, tests drive it with virtual time.
//!
//! A turn, in this order (the contract with the shell):
//! 1. [`Node::begin_turn`] with the clock: tilt is checked.
//! 2. Every input that is there, above all every readable socket; after each input the actions are
//!    drained with [`Node::poll_action`].
//! 3. [`Node::run_due`]: deadlines that fell due, a few; then drain. Again for up to 1 ms.
//! 4. [`Node::end_turn`]: at most one save is handed over; then drain.
//! 5. Flush every connection of [`Node::take_touched`] once from its [`Node::output`]; see to what
//!    [`Node::take_gather`] gives.
//! 6. Sleep until [`Node::next_deadline`] or the next wakeup.
#![forbid(unsafe_code)]

mod outputs;
mod partial;
mod saving;

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::config::load::Loaded;
use crate::config::settings::Settings;
use crate::resp::reply::{self, ReplyParser};
use crate::sentinel::action::{Action, Cx, LogLevel};
use crate::sentinel::log_limit::{LineKind, LogLimits};
use crate::sentinel::setup::SentinelConfig;
use crate::sentinel::thresholds::Thresholds;
use crate::sentinel::{Sentinel, Surroundings};
use crate::server::Server;
pub use crate::server::facts::{CpuTimes, Endpoint, ProcessFacts};
use crate::util::ident::{AskId, CheckId, ConnId, JobId, LookupId};
use crate::util::rng::Rng;
use crate::util::time::{Clock, Mono};
use outputs::Outputs;
use partial::Partials;
pub use saving::SaveJob;
use saving::Saving;

/// Pieces of due work per call, some microseconds each; the shell, which has a clock, calls again
/// until 1 ms is over.
const DUE_PER_CALL: usize = 16;

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
    /// The defaults, but in tests of what only large instances do.
    pub thresholds: Thresholds,
    /// Operating-system randomness: a new id comes from it, and the seed of the dice.
    pub random: [u8; 32],
    pub clock: Clock,
}

/// The whole daemon without its sockets, files and clock.
pub struct Node {
    sentinel: Sentinel,
    server: Server,
    saving: Saving,
    outputs: Outputs,
    partial: Partials,
    rng: Rng,
    clock: Clock,
    /// Actions of the input being handled.
    fresh: Vec<Action>,
    /// Actions for the shell.
    ready: VecDeque<Action>,
    shutdown_asked: bool,
    log_limits: LogLimits,
}

/// Runs `$body` with the parts of the node and a context, then passes its actions on.
macro_rules! handle {
    ($node:ident, |$cx:ident, $sentinel:ident, $server:ident| $body:expr) => {{
        let result = {
            let $sentinel = &mut $node.sentinel;
            let $server = &mut $node.server;
            let $cx = &mut Cx {
                now: $node.clock.mono,
                wall: $node.clock.wall,
                rng: &mut $node.rng,
                actions: &mut $node.fresh,
                out: &mut $node.outputs,
                log_limits: &mut $node.log_limits,
            };
            let result = $body;
            $server.settle($cx);
            result
        };
        $node.ready.extend($node.fresh.drain(..));
        result
    }};
}

impl Node {
    /// A node that has not acted yet; call [`Node::start`] next.
    pub fn new(setup: Setup) -> Node {
        let Setup { loaded, facts, thresholds, random, clock } = setup;
        let mut seed = [0; 8];
        seed.copy_from_slice(&random[24..]);
        let myid = loaded.sentinel.global.myid.clone();
        let new_id = myid.is_none();
        let myid = myid.unwrap_or_else(|| to_hex(&random[..20]));
        let surroundings =
            Surroundings { port: facts.tcp_port, requirepass: loaded.settings.requirepass.clone() };
        let mut sentinel = Sentinel::new(loaded.sentinel.global.clone(), myid, surroundings);
        sentinel.thresholds = thresholds;
        let mut node = Node {
            sentinel,
            saving: Saving::new(&loaded),
            server: Server::new(loaded.settings, facts, clock.mono),
            outputs: Outputs::default(),
            partial: Partials::default(),
            rng: Rng::new(u64::from_le_bytes(seed)),
            clock,
            fresh: Vec::new(),
            ready: VecDeque::new(),
            shutdown_asked: false,
            log_limits: LogLimits::default(),
        };
        handle!(node, |cx, sentinel, _server| {
            for master in &loaded.sentinel.masters {
                sentinel.load_master(cx, master);
            }
            for text in &loaded.warnings {
                cx.log(LogLevel::Warning, text.as_str());
            }
            // What was left out or lowered must not stay in the file.
            if new_id || !loaded.warnings.is_empty() {
                sentinel.save_asked(cx);
            }
        });
        node
    }

    /// Start of monitoring: the id and every master are logged, the timers begin.
    pub fn start(&mut self) {
        handle!(self, |cx, sentinel, _server| {
            let id = String::from_utf8_lossy(&sentinel.myid);
            cx.log(LogLevel::Notice, format!("Sentinel ID is {id}"));
            for master in sentinel.masters.ids() {
                sentinel.monitored(cx, master);
            }
            sentinel.start_timers(cx);
        });
    }

    /// Begins a turn: takes the time for all that follows in it.
    pub fn begin_turn(&mut self, clock: Clock) {
        self.clock = clock;
        self.server.begin_turn();
        handle!(self, |cx, sentinel, _server| sentinel.check_tilt(cx));
    }

    /// Runs deadlines that fell due, at most a bounded amount; true if more are due.
    pub fn run_due(&mut self) -> bool {
        let mut ticked = false;
        let more = handle!(self, |cx, sentinel, server| {
            let more = sentinel.run_due(cx, DUE_PER_CALL, &mut ticked);
            if ticked {
                cx.log_held_back();
                server.tick(cx, sentinel);
            }
            server.run_due(cx, sentinel);
            more
        });
        if ticked && self.shutdown_asked {
            self.shutdown_asked = false;
            handle!(self, |cx, _sentinel, _server| {
                cx.log(LogLevel::Notice, "User requested shutdown...");
                cx.exit(0, true);
            });
        }
        more
    }

    /// Ends a turn: hands over at most one save.
    pub fn end_turn(&mut self) {
        for conn in self.server.take_left_peers() {
            self.sentinel.sentineld_peers.remove(conn);
        }
        let taken = self.sentinel.saves.take(self.clock.mono);
        if let Some((generation, changes)) = taken {
            let settings = self.server.settings_to_save();
            self.saving.prepare(&self.sentinel, settings, generation, &changes);
            self.ready.push_back(Action::Persist { generation });
        }
    }

    /// When [`Node::run_due`] or [`Node::end_turn`] has work again.
    pub fn next_deadline(&self) -> Mono {
        let sentinel = self.sentinel.next_deadline();
        self.server.next_deadline().map_or(sentinel, |server| server.min(sentinel))
    }

    /// Whether what arrives over links may wait a few milliseconds; clients and deadlines never do.
    pub fn is_at_rest(&self) -> bool {
        self.sentinel.is_at_rest(self.clock.mono)
    }

    /// The next action, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.ready.pop_front();
        if let Some(Action::Close { conn }) = action {
            // Nobody tells us of the end of a connection that we end.
            self.partial.take(conn);
        }
        action
    }

    /// The lines of the save of that generation; the shell asks once per [`Action::Persist`].
    pub fn take_save(&mut self, generation: u64) -> Option<SaveJob> {
        self.saving.take(generation)
    }

    /// Connections with output that were written to since the last call.
    pub fn take_touched(&mut self, into: &mut Vec<ConnId>) {
        self.outputs.take_touched(into);
    }

    /// The next connection whose input may gather in its socket until so many bytes are there (1:
    /// no more). Take all of them at the end of a turn; ignoring them costs wakeups only.
    pub fn take_gather(&mut self) -> Option<(ConnId, usize)> {
        self.outputs.take_gather()
    }

    /// Unsent output of a connection.
    pub fn output(&self, conn: ConnId) -> Option<&[u8]> {
        self.outputs.output(conn)
    }

    /// The shell wrote `n` bytes from the front of the output of `conn`; they are removed.
    pub fn sent(&mut self, conn: ConnId, n: usize) {
        let left = self.outputs.sent(conn, n);
        self.server.sent_bytes(conn, n, left, self.clock.mono);
    }

    /// A client connected; gives its id (it may be closed again by an action at once).
    pub fn accepted(&mut self, endpoint: Endpoint, fd: i32) -> ConnId {
        handle!(self, |cx, _sentinel, server| {
            let conn = cx.out.open();
            server.accepted(cx, conn, endpoint, fd);
            conn
        })
    }

    /// Bytes arrived on a connection of a client or a link.
    pub fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        if self.server.owns(conn) {
            handle!(self, |cx, sentinel, server| server.received(cx, sentinel, conn, bytes));
        } else if self.sentinel.owns(conn) {
            self.link_received(conn, bytes);
        }
    }

    fn link_received(&mut self, conn: ConnId, bytes: &[u8]) {
        let mut partial = self.partial.take(conn);
        let rest = if partial.bytes.is_empty() {
            let used = self.run_replies(conn, &mut partial.parser, bytes);
            bytes[used..].to_vec()
        } else {
            let mut buffer = std::mem::take(&mut partial.bytes);
            buffer.extend_from_slice(bytes);
            let used = self.run_replies(conn, &mut partial.parser, &buffer);
            buffer.drain(..used);
            buffer
        };
        if rest.is_empty() || !self.sentinel.owns(conn) {
            return;
        }
        partial.bytes = rest;
        if !self.partial.keep(conn, partial) {
            handle!(self, |cx, sentinel, _server| {
                sentinel.link_malformed(cx, conn, "too many unfinished replies");
            });
        }
    }

    /// Takes whole replies from the front of `bytes`; gives how many bytes are done with.
    fn run_replies(&mut self, conn: ConnId, parser: &mut ReplyParser, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() && self.sentinel.owns(conn) {
            if let Some((channel, text, n)) = reply::message(&bytes[used..]) {
                used += n;
                *parser = ReplyParser::default();
                handle!(self, |cx, sentinel, _server| {
                    sentinel.link_message(cx, conn, channel, text);
                });
                continue;
            }
            match parser.next(&bytes[used..]) {
                Ok(Some((reply, n))) => {
                    used += n;
                    handle!(self, |cx, sentinel, _server| sentinel.link_reply(cx, conn, &reply));
                }
                Ok(None) => return used,
                Err(malformed) => {
                    let reason = malformed.0;
                    handle!(self, |cx, sentinel, _server| {
                        sentinel.link_malformed(cx, conn, reason);
                    });
                    return bytes.len();
                }
            }
        }
        used
    }

    /// The other side sends nothing more, and all that it sent was handed over. A client gets what
    /// it is still to get, then it is closed by an action; a link is gone.
    pub fn read_closed(&mut self, conn: ConnId) {
        if self.server.owns(conn) {
            handle!(self, |cx, _sentinel, server| server.read_closed(cx, conn));
        } else if self.sentinel.owns(conn) {
            self.closed(conn, Closed::Eof);
        }
    }

    /// A connection of a client or a link is gone.
    pub fn closed(&mut self, conn: ConnId, why: Closed) {
        self.partial.take(conn);
        handle!(self, |cx, sentinel, server| {
            // Each knows its own; a client that was forgotten already may still linger.
            server.closed(cx, conn);
            sentinel.conn_closed(cx, conn, why == Closed::Refused);
            cx.out.forget(conn);
        });
    }

    /// The connect has begun, perhaps long after it was asked for; `local` is our own address.
    pub fn conn_started(&mut self, conn: ConnId, local: Option<IpAddr>) {
        handle!(self, |cx, sentinel, _server| sentinel.conn_started(cx, conn, local));
    }

    /// The connection was made: what was queued for it leaves now.
    pub fn conn_established(&mut self, conn: ConnId) {
        handle!(self, |cx, sentinel, _server| sentinel.conn_established(cx, conn));
    }

    /// The connect failed at once.
    pub fn conn_failed(&mut self, conn: ConnId, why: Closed) {
        self.closed(conn, why);
    }

    /// A save has ended after `took_ms` (write, fsync and rename together).
    pub fn persisted(&mut self, generation: u64, result: Result<(), String>, took_ms: u64) {
        let ok = result.is_ok();
        handle!(self, |cx, sentinel, server| {
            match result {
                Ok(()) => {
                    let text = "Sentinel new configuration saved on disk";
                    cx.log_limited(LineKind::Saved, || text);
                }
                Err(reason) => {
                    let what = "Sentinel was not able to save the new configuration on disk";
                    let text = || format!("WARNING: {what}!!!: {reason}");
                    cx.log_limited(LineKind::SaveFailed, text);
                }
            }
            sentinel.saves.ended(cx.now, ok, took_ms);
            sentinel.votes_saved(cx, generation, ok);
            server.settle(cx);
            server.saved(cx, sentinel, generation, ok);
        });
    }

    /// A lookup has ended: addresses in order of preference (empty: it failed).
    pub fn resolved(&mut self, lookup: LookupId, ips: Vec<IpAddr>) {
        handle!(self, |cx, sentinel, server| {
            if let Some(host) = sentinel.resolved(cx, lookup, &ips) {
                server.host_answered(cx, sentinel, &host);
            }
        });
    }

    /// Whether a path is an executable file.
    pub fn script_checked(&mut self, check: CheckId, executable: bool) {
        handle!(self, |cx, sentinel, server| {
            server.script_checked(cx, sentinel, check, executable);
        });
    }

    /// A question has its answer: bytes, or the system's reason why there are none.
    pub fn answered(&mut self, ask: AskId, result: Result<Vec<u8>, String>) {
        handle!(self, |cx, sentinel, server| server.answered(cx, sentinel, ask, result));
    }

    /// A script runs under this pid, or the fork failed (text of the reason).
    pub fn spawned(&mut self, job: JobId, pid: Result<i32, String>) {
        handle!(self, |cx, sentinel, _server| sentinel.script_spawned(cx, job, pid));
    }

    /// A child has ended: its exit code, or the signal that killed it.
    pub fn child_exited(&mut self, pid: i32, exit_code: i32, signal: i32) {
        handle!(self, |cx, sentinel, _server| {
            sentinel.child_exited(cx, pid, exit_code, signal);
        });
    }

    /// SIGTERM or SIGINT was received: the process ends at the next tick.
    pub fn shutdown_asked(&mut self) {
        self.shutdown_asked = true;
    }

    /// The descriptor limit allows only this many clients.
    pub fn limit_clients(&mut self, maxclients: u32) {
        self.server.limit_clients(maxclients);
    }

    /// CPU times for INFO; the shell calls it when it has them anew (once a second will do).
    pub fn cpu_times(&mut self, times: CpuTimes) {
        self.server.cpu_times(times);
    }

    /// All that a save of this moment would say about Sentinel.
    pub fn export(&self) -> SentinelConfig {
        let masters = self.sentinel.masters.ids();
        SentinelConfig {
            global: self.sentinel.export_global(),
            masters: masters.into_iter().map(|id| self.sentinel.export_master(id)).collect(),
        }
    }

    /// The settings of the server as they are now.
    pub fn settings(&self) -> &Settings {
        self.server.settings()
    }

    /// The protocol state, to look at.
    pub fn sentinel(&self) -> &Sentinel {
        &self.sentinel
    }
}

fn to_hex(bytes: &[u8]) -> Vec<u8> {
    let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
