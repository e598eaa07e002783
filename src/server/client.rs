//! One client: who it is, what it may do, what it waits for, and its line in CLIENT LIST.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;

use super::acl::user::User;
use super::client_memory::{ClientMemory, Entry, Standing};
use super::facts::Endpoint;
use super::pubsub::{Held, Kind};
use super::table::Command;
use super::tracking::Tracking;
use crate::resp::request::{RequestParser, UNAUTHENTICATED_BULK_BYTES};
use crate::resp::write::Dialect;
use crate::sentinel::instance::MasterId;
use crate::sentinel::vote::{Ask, Ticket};
use crate::util::ident::ConnId;
use crate::util::time::Mono;

/// What a client may make us hold beside its output, in bytes.
pub const CLIENT_MAX_BYTES: usize = 1 << 20;
/// As much of it is kept for requests: who holds more than the rest has its subscriptions refused.
pub const QUERY_RESERVED_BYTES: usize = 64 << 10;
/// Most bytes of unread requests before a client has authenticated: the longest argument that it
/// may send then, and what belongs to it.
pub const STRANGER_QUERY_BYTES: usize = UNAUTHENTICATED_BULK_BYTES + (4 << 10);
/// What a connection takes beside [`Client`]: its socket, its place in our tables, its name there.
const CONNECTION_BYTES: usize = 640;
/// As many times more a client that has not authenticated weighs when too much is held, since its
/// budget is that much smaller.
const STRANGER_WEIGHT: usize = CLIENT_MAX_BYTES / STRANGER_QUERY_BYTES;
/// Most replies that may queue behind a vote; then the client is held.
const BEHIND_MAX: usize = 4096;
/// Most bytes of such replies.
const BEHIND_MAX_BYTES: usize = 256 << 10;
/// What a reply there takes beside its bytes.
const SLOT_BYTES: usize = size_of::<Slot>() + 32;

/// Why no further request of a client is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Its command waits for a save, a lookup or a check of a script.
    Answer,
    /// The next request may not run before its votes are saved.
    Votes,
    /// CLIENT PAUSE.
    Pause,
    /// It does not take its replies.
    Output,
    /// It has had its share of this turn.
    Turn,
}

/// A reply in the queue behind a vote or an ask.
#[derive(Debug)]
pub enum Slot {
    /// Composed when the vote is on disk, or at the deadline.
    Vote {
        down: bool,
        master: MasterId,
        ticket: Ticket,
        deadline: Mono,
    },
    /// An ask about a host that is being looked up.
    Ask {
        ask: Box<HeldAsk>,
        deadline: Mono,
    },
    Ready(Vec<u8>),
}

/// A SENTINEL IS-MASTER-DOWN-BY-ADDR that is kept.
#[derive(Debug)]
pub struct HeldAsk {
    pub host: Vec<u8>,
    pub port: i64,
    pub epoch: u64,
    pub runid: Vec<u8>,
    pub asker: Option<Vec<u8>>,
}

impl HeldAsk {
    /// The memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<HeldAsk>() + self.host.len() + self.runid.len()
    }

    pub fn as_ask(&self) -> Ask<'_> {
        let (ip, runid) = (&self.host[..], &self.runid[..]);
        Ask { ip, port: self.port, epoch: self.epoch, runid, asker: self.asker.as_deref() }
    }
}

impl From<&Ask<'_>> for HeldAsk {
    fn from(ask: &Ask) -> HeldAsk {
        HeldAsk {
            host: ask.ip.to_vec(),
            port: ask.port,
            epoch: ask.epoch,
            runid: ask.runid.to_vec(),
            asker: ask.asker.map(<[u8]>::to_vec),
        }
    }
}

/// Whether replies are sent (CLIENT REPLY).
#[derive(Clone, Copy, Debug, Default)]
pub struct Muting {
    pub off: bool,
    /// The reply of the present command is left out.
    pub skip: bool,
    /// That of the next one will be.
    pub skip_next: bool,
}

/// A connected client.
#[derive(Debug)]
pub struct Client {
    pub conn: ConnId,
    /// What CLIENT ID gives; counts up from 1.
    pub id: u64,
    pub endpoint: Endpoint,
    pub fd: i32,
    pub created: Mono,
    /// Last time something came from it or it took output.
    pub last_active: Mono,
    /// Empty: none.
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    pub dialect: Dialect,
    /// Has logged in, or began when nobody had to.
    pub authenticated: bool,
    /// Whose rights it has.
    pub user: Arc<User>,
    pub no_evict: bool,
    /// Comes from where a sentinel lives that we know, and says that it is that one.
    pub is_peer: bool,
    /// To be closed when its command has ended, for what it holds; it gets nothing more.
    pub doomed: bool,
    /// What it counts with among all clients.
    pub entry: Entry,
    pub tracking: Tracking,
    pub muting: Muting,
    pub channels: Held,
    pub patterns: Held,
    /// The memory that its subscriptions take, in bytes.
    pub subscribed_bytes: usize,
    pub last_command: Option<&'static Command>,
    pub parser: RequestParser,
    /// Bytes of requests that have not run yet; no buffer while the client is idle.
    pub query: Vec<u8>,
    pub hold: Option<Hold>,
    /// It sends nothing more: it is closed when it has got its answers.
    pub read_closed: bool,
    /// Replies that wait for votes, oldest first.
    pub behind: VecDeque<Slot>,
    pub behind_bytes: usize,
    /// Bytes of output not yet taken by the client.
    pub unsent: usize,
    /// The memory that they take.
    pub output_bytes: usize,
    /// Since when `unsent` is over the soft limit.
    pub over_soft_since: Option<Mono>,
}

impl Client {
    /// A client that just connected.
    pub fn new(
        conn: ConnId,
        id: u64,
        endpoint: Endpoint,
        fd: i32,
        now: Mono,
        user: Arc<User>,
    ) -> Client {
        Client {
            conn,
            id,
            endpoint,
            fd,
            created: now,
            last_active: now,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            dialect: Dialect::Resp2,
            authenticated: false,
            user,
            no_evict: false,
            is_peer: false,
            doomed: false,
            entry: Entry::default(),
            tracking: Tracking::default(),
            muting: Muting::default(),
            channels: Held::default(),
            patterns: Held::default(),
            subscribed_bytes: 0,
            last_command: None,
            parser: RequestParser::default(),
            query: Vec::new(),
            hold: None,
            read_closed: false,
            behind: VecDeque::new(),
            behind_bytes: 0,
            unsent: 0,
            output_bytes: 0,
            over_soft_since: None,
        }
    }

    /// Channels and patterns it listens to.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// What it listens to of one kind.
    pub fn held(&mut self, kind: Kind) -> &mut Held {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }

    /// Whether only the commands of a RESP2 subscription may run.
    pub fn in_subscription(&self) -> bool {
        self.dialect == Dialect::Resp2 && self.subscriptions() > 0
    }

    /// Whether the reply of the present command is thrown away.
    pub fn is_muted(&self) -> bool {
        self.muting.off || self.muting.skip || self.doomed
    }

    /// Whether something that it asked for is still to be done or answered.
    pub fn is_served_later(&self) -> bool {
        self.hold.is_some() || !self.behind.is_empty()
    }

    /// Bytes of replies that wait for it, sent or not.
    pub fn held_bytes(&self) -> usize {
        self.unsent + self.behind_bytes
    }

    /// Whether the queue behind its votes has room for another reply.
    pub fn has_room_behind(&self) -> bool {
        self.behind.len() < BEHIND_MAX && self.behind_bytes < BEHIND_MAX_BYTES
    }

    /// The buffer that takes what must come after its votes; call it only while some are waited
    /// for.
    pub fn behind_tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.behind.back(), Some(Slot::Ready(_))) {
            self.behind.push_back(Slot::Ready(Vec::new()));
        }
        match self.behind.back_mut() {
            Some(Slot::Ready(bytes)) => bytes,
            _ => unreachable!("a ready slot was just put there"),
        }
    }

    /// Bytes of the reply that is last in the queue behind its votes.
    pub fn tail_len(&self) -> usize {
        match self.behind.back() {
            Some(Slot::Ready(bytes)) => bytes.len(),
            _ => 0,
        }
    }

    /// `id= addr= …`, as CLIENT LIST and the log show it; without an end of line.
    pub fn describe(&self, now: Mono, unixsocket: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut line = Vec::with_capacity(320);
        let (addr, laddr) = self.addresses(unixsocket);
        let obl = self.unsent;
        let qbuf = self.query.len();
        let qbuf_free = self.query.capacity() - qbuf;
        let held = self.memory();
        // Writing to a Vec cannot fail.
        let _ = write!(line, "id={} addr=", self.id);
        line.extend_from_slice(&addr);
        line.extend_from_slice(b" laddr=");
        line.extend_from_slice(&laddr);
        let _ = write!(line, " fd={} name=", self.fd);
        line.extend_from_slice(&self.name);
        let (age, idle) = (now.since(self.created) / 1000, now.since(self.last_active) / 1000);
        let flags = self.flag_letters();
        let (sub, psub) = (self.channels.len(), self.patterns.len());
        let _ = write!(line, " age={age} idle={idle} flags={flags} db=0 sub={sub} psub={psub}");
        let _ = write!(line, " ssub=0 multi=-1 watch=0 qbuf={qbuf} qbuf-free={qbuf_free}");
        let _ = write!(line, " argv-mem=0 multi-mem=0 rbs={obl} rbp={obl} obl={obl} oll=0 omem=0");
        let events = if self.unsent > 0 { "rw" } else { "r" };
        let cmd = self.last_command.map_or("NULL", |c| c.full_name);
        let _ = write!(line, " tot-mem={held} events={events} cmd={cmd} user=");
        line.extend_from_slice(&self.user.name);
        let resp = if self.dialect == Dialect::Resp3 { 3 } else { 2 };
        let redir = self.tracking.redirect_shown();
        let _ = write!(line, " redir={redir} resp={resp} lib-name=");
        line.extend_from_slice(&self.lib_name);
        line.extend_from_slice(b" lib-ver=");
        line.extend_from_slice(&self.lib_ver);
        line
    }

    /// Address of the client, and ours towards it, as CLIENT KILL takes them.
    pub fn addresses(&self, unixsocket: &[u8]) -> (Vec<u8>, Vec<u8>) {
        match self.endpoint {
            Endpoint::Tcp { peer, local } => {
                (peer.to_string().into_bytes(), local.to_string().into_bytes())
            }
            Endpoint::Unix => {
                let path = [unixsocket, b":0"].concat();
                (path.clone(), path)
            }
        }
    }

    fn flag_letters(&self) -> String {
        let mut flags = String::new();
        if self.subscriptions() > 0 {
            flags.push('P');
        }
        if self.tracking.is_on() {
            flags.push('t');
        }
        if matches!(self.endpoint, Endpoint::Unix) {
            flags.push('U');
        }
        if self.no_evict {
            flags.push('e');
        }
        if flags.is_empty() {
            flags.push('N');
        }
        flags
    }

    /// Bytes held for this client, roughly.
    pub fn memory(&self) -> usize {
        self.held_lastingly() + self.query.capacity() + self.behind_memory() + self.output_bytes
    }

    /// The bytes of it that stay until the client wants otherwise.
    fn held_lastingly(&self) -> usize {
        let names = [&self.name, &self.lib_name, &self.lib_ver];
        let names: usize = names.into_iter().map(Vec::capacity).sum();
        let chosen = names + self.subscribed_bytes + self.tracking.memory();
        size_of::<Client>() + CONNECTION_BYTES + chosen
    }

    fn behind_memory(&self) -> usize {
        self.behind.len() * SLOT_BYTES + self.behind_bytes
    }

    /// Whether it may hold so many bytes more until it wants otherwise.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.held_lastingly() + bytes + QUERY_RESERVED_BYTES <= CLIENT_MAX_BYTES
    }

    /// Most bytes of requests that may wait for it.
    pub fn query_max_bytes(&self, is_stranger: bool) -> usize {
        if is_stranger {
            return STRANGER_QUERY_BYTES;
        }
        let rest = CLIENT_MAX_BYTES.saturating_sub(self.held_lastingly());
        rest.max(QUERY_RESERVED_BYTES)
    }

    /// Enters what it holds now. A stranger is one who has not authenticated and must.
    pub fn weigh(&mut self, memory: &mut ClientMemory, is_stranger: bool) {
        let standing = match (self.is_peer, self.no_evict) {
            (true, _) => Standing::Peer,
            (false, true) => Standing::Spared,
            (false, false) => Standing::Ordinary,
        };
        let (bytes, weight) = (self.memory(), if is_stranger { STRANGER_WEIGHT } else { 1 });
        memory.enter(self.conn, &mut self.entry, bytes, weight, standing);
    }
}
