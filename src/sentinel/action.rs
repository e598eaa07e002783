//! What the core asks of the world: one ordered list, drained after every input.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::log_limit::LogLimits;
use crate::util::ident::{AskId, CheckId, ConnId, JobId, LookupId};
use crate::util::rng::Rng;
use crate::util::time::{Mono, Wall};

/// Log levels, lowest first; the words of the `loglevel` directive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// What the core wants of the world and cannot do itself; answered with bytes, or with the
/// system's reason why not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// The text of a file.
    ReadFile { path: Vec<u8> },
    /// Put `text` into the place of a file, atomically and synced; answered with no bytes.
    WriteFile { path: Vec<u8>, text: Vec<u8> },
    /// So many random bytes of the operating system.
    Random { bytes: usize },
}

/// One thing to be done outside the core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Open a TCP connection. Answered by `conn_started` when the connect begins, or by
    /// `conn_failed`; then by `conn_established`, or by `closed`. The last connect there hung if
    /// `hung_before`: it must not hold up those of which nothing bad is known.
    Connect { conn: ConnId, ip: IpAddr, port: u16, hung_before: bool },
    /// Close now; nothing more will be asked of or reported for this connection.
    Close { conn: ConnId },
    /// Close when all output has left (or at once, if the peer takes none for 5 s).
    CloseAfterFlush { conn: ConnId },
    /// Stop reading from (true) or read again from (false) a client that waits for an answer.
    Hold { conn: ConnId, hold: bool },
    /// Write the state to disk: fetch the lines with `Node::take_save`, answer with `persisted`.
    Persist { generation: u64 },
    /// Look a name up; answered by `resolved`. A name that is not our `own` was told by others,
    /// and may wait for those that are.
    Resolve { lookup: LookupId, host: Vec<u8>, own: bool },
    /// Is this path an executable file? Answered by `script_checked`.
    CheckScript { check: CheckId, path: Vec<u8> },
    /// Answered by `answered`.
    Ask { ask: AskId, question: Question },
    /// Fork and exec; answered by `spawned`, later by `child_exited`.
    Spawn { job: JobId, argv: Vec<Vec<u8>> },
    /// SIGKILL to a child.
    Kill { pid: i32 },
    /// A log line.
    Log { level: LogLevel, text: Vec<u8> },
    /// An event for subscribers; the node turns it into replies, the shell never sees it.
    Publish { channel: &'static str, text: Vec<u8> },
    /// The log level was changed.
    SetLogLevel { level: LogLevel },
    /// End the process: remove pid file and unix socket when `clean`, then exit with `code`.
    Exit { code: i32, clean: bool },
}

/// What a connection writes: bytes that wait for the next flush.
pub trait Outbox {
    /// The output buffer of `conn`, marked to be flushed at the end of the turn; `None` if closed.
    fn buffer(&mut self, conn: ConnId) -> Option<&mut Vec<u8>>;
    /// How many bytes of it have not left yet.
    fn unsent(&mut self, conn: ConnId) -> usize {
        self.buffer(conn).map_or(0, |out| out.len())
    }
    /// The same, and how much memory that takes.
    fn load(&mut self, conn: ConnId) -> Load {
        let unsent = self.unsent(conn);
        Load { unsent, memory: unsent }
    }
    /// A fresh connection id, with an output buffer.
    fn open(&mut self) -> ConnId;
    /// Forgets the buffer of a connection that was closed.
    fn forget(&mut self, conn: ConnId);
    /// Nothing of `conn` needs to be read before so many bytes have come; 1: read all at once.
    /// Only a wish, to save wakeups.
    fn gather(&mut self, _conn: ConnId, _bytes: usize) {}
}

/// The output of a connection that has not left yet, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    pub unsent: usize,
    /// What its buffer takes, with the room in it.
    pub memory: usize,
}

/// What every acting method of the core gets: the moment, the dice, and where actions go.
pub struct Cx<'a> {
    pub now: Mono,
    pub wall: Wall,
    pub rng: &'a mut Rng,
    pub actions: &'a mut Vec<Action>,
    pub out: &'a mut dyn Outbox,
    pub log_limits: &'a mut LogLimits,
}

impl Cx<'_> {
    /// Appends an action.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Appends a log line that is ours alone to cause; for all others there is
    /// [`Cx::log_limited`].
    pub fn log(&mut self, level: LogLevel, text: impl Into<Vec<u8>>) {
        self.actions.push(Action::Log { level, text: text.into() });
    }
}
