//! Clients: their requests, replies, subscriptions and rights.
//!
//! [`Server`] is the whole; [`dispatch`] takes a request through its checks to a handler of
//! [`table`], of which each family has a file `cmd_…`; [`waits`] are the replies that cannot be
//! given at once.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::settings::{OutputLimit, Settings};
use crate::resp::request::Spare;
use crate::resp::write::Dialect;
use crate::sentinel::Sentinel;
use crate::sentinel::action::{Action, Cx, Load, LogLevel, Outbox};
use crate::sentinel::log_limit::LineKind;
use crate::sentinel::sentineld_peers::LIB_NAME;
use crate::util::ident::ConnId;
use crate::util::time::Mono;

pub mod acl;
pub mod auth;
pub mod call;
pub mod client;
pub mod client_memory;
mod cmd_acl;
mod cmd_client;
mod cmd_command;
mod cmd_connection;
mod cmd_info;
mod cmd_pubsub;
mod cmd_sentinel;
mod cmd_shutdown;
mod dispatch;
mod eviction;
pub mod facts;
pub mod pubsub;
mod sentinel_config;
mod sentinel_debug;
mod sentinel_help;
mod sentinel_map;
mod sentinel_set;
pub mod stats;
pub mod table;
#[cfg(test)]
mod tests;
mod tracking;
mod waits;
mod work;

use acl::asks::Asks;
use acl::log::AclLog;
use acl::users::Users;
use client::{Client, Hold};
use client_memory::ClientMemory;
use eviction::{Lingering, limit_of_all};
use facts::{CpuTimes, Endpoint, ProcessFacts};
use pubsub::{Kind, PubSub};
use stats::Stats;
use table::Names;
use tracking::Tracking;
use waits::Waits;
use work::Work;

/// The version that INFO and HELLO tell: clients look at it to know what they may send, and what
/// 7.2 brought (CLIENT SETINFO, CONFIG with several parameters) is here. Our own stands in
/// `sentineld_version`.
pub const REDIS_VERSION: &str = "7.2.0";

/// The options of SENTINEL SET, then the settings of SENTINEL CONFIG SET.
pub fn setting_names() -> (Vec<&'static str>, Vec<&'static str>) {
    (sentinel_set::option_names().collect(), sentinel_config::param_names().collect())
}

/// A client that leaves more than this unread is not served further until it has caught up.
const OUTPUT_HOLD_BYTES: usize = 1 << 20;
/// The same for one that has not authenticated: what it gets then is short.
const STRANGER_OUTPUT_HOLD_BYTES: usize = 16 << 10;
/// When it is served again.
const OUTPUT_RESUME_BYTES: usize = OUTPUT_HOLD_BYTES / 4;
const STRANGER_OUTPUT_RESUME_BYTES: usize = STRANGER_OUTPUT_HOLD_BYTES / 4;

/// So many connections that are about to be closed do not count as clients.
const LINGERING_FREE: usize = 32;
/// What is kept of the buffer for replies that nobody gets.
const SINK_KEPT_BYTES: usize = 64 << 10;

/// CLIENT PAUSE in force.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Mono,
    writes_only: bool,
}

/// All clients and what they share.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    facts: ProcessFacts,
    cpu: CpuTimes,
    started: Mono,
    names: Names,
    users: Users,
    /// Users changed since the settings were saved.
    users_unsaved: bool,
    acl_log: AclLog,
    asks: Asks,
    clients: BTreeMap<ConnId, Client>,
    /// The same by what CLIENT ID gives.
    by_id: BTreeMap<u64, ConnId>,
    /// How many of them have tracking on.
    tracking_clients: usize,
    /// Connections that are closed as soon as they have taken their output.
    lingering: BTreeMap<ConnId, Lingering>,
    /// What all of them hold.
    memory: ClientMemory,
    next_client_id: u64,
    maxclients: u32,
    pubsub: PubSub,
    stats: Stats,
    waits: Waits,
    work: Work,
    pause: Option<Pause>,
    /// Clients that it holds.
    paused: BTreeSet<ConnId>,
    /// Clients whose hold has ended and whose unread requests are to be looked at.
    resumed: BTreeSet<ConnId>,
    /// Disconnected clients that may have announced themselves as sentineld.
    left_peers: Vec<ConnId>,
    /// Clients that have not taken all of their output.
    lagging: BTreeSet<ConnId>,
    /// Clients over their soft output limit.
    over_soft: BTreeSet<ConnId>,
    /// Up to here the actions of this input hold no event any more.
    settled: usize,
    /// The client whose command runs: it is not closed before its command has ended.
    running: Option<ConnId>,
    /// Buffers of requests that have run.
    spare: Spare,
    /// Takes replies that nobody gets.
    sink: Vec<u8>,
    last_idle_check: Mono,
}

impl Server {
    /// A server without clients.
    pub fn new(settings: Settings, facts: ProcessFacts, now: Mono) -> Server {
        Server {
            names: Names::new(&settings.renamed_commands),
            users: Users::new(&settings),
            users_unsaved: true,
            acl_log: AclLog::default(),
            asks: Asks::default(),
            maxclients: settings.maxclients,
            memory: ClientMemory::new(limit_of_all(&settings)),
            settings,
            facts,
            cpu: CpuTimes::default(),
            started: now,
            clients: BTreeMap::new(),
            by_id: BTreeMap::new(),
            tracking_clients: 0,
            lingering: BTreeMap::new(),
            next_client_id: 1,
            pubsub: PubSub::default(),
            stats: Stats::default(),
            waits: Waits::default(),
            work: Work::default(),
            pause: None,
            paused: BTreeSet::new(),
            resumed: BTreeSet::new(),
            left_peers: Vec::new(),
            lagging: BTreeSet::new(),
            over_soft: BTreeSet::new(),
            settled: 0,
            running: None,
            spare: Spare::default(),
            sink: Vec::new(),
            last_idle_check: now,
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The descriptor limit allows only this many clients.
    pub fn limit_clients(&mut self, maxclients: u32) {
        self.maxclients = maxclients;
    }

    /// CPU times for INFO.
    pub fn cpu_times(&mut self, times: CpuTimes) {
        self.cpu = times;
    }

    /// Whether `conn` is a client's.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.clients.contains_key(&conn)
    }

    /// A turn begins: clients may cause work again.
    pub fn begin_turn(&mut self) {
        self.work.begin_turn();
    }

    /// A client connected. It may be refused: then it gets an error and is closed.
    pub fn accepted(&mut self, cx: &mut Cx, conn: ConnId, endpoint: Endpoint, fd: i32) {
        self.begin();
        let user = Arc::clone(self.users.default_user());
        let client = Client::new(conn, self.next_client_id, endpoint, fd, cx.now, user);
        if self.logs(LogLevel::Verbose) {
            cx.log_limited(LineKind::Accepted, || match endpoint {
                Endpoint::Tcp { .. } => [b"Accepted ", &client.addresses(b"").0[..]].concat(),
                Endpoint::Unix => [b"Accepted connection to ", self.unixsocket()].concat(),
            });
        }
        let refusal = if self.is_full() {
            Some(&b"ERR max number of clients reached"[..])
        } else if self.is_protected_from(&endpoint) {
            Some(PROTECTED)
        } else {
            None
        };
        if let Some(text) = refusal {
            self.stats.rejected += 1;
            if let Some(out) = cx.out.buffer(conn) {
                crate::resp::write::error(out, text);
            }
            return self.linger(cx, conn);
        }
        self.next_client_id += 1;
        self.stats.connections += 1;
        let authenticated = self.users.default_is_open();
        self.by_id.insert(client.id, conn);
        self.clients.insert(conn, Client { authenticated, ..client });
        self.weigh(cx, conn);
    }

    /// Whether there is no room for another client. Some that are about to be gone may overlap with
    /// those that take their place; more than that use up the descriptors of others.
    fn is_full(&self) -> bool {
        let lingering = self.lingering.len().saturating_sub(LINGERING_FREE);
        self.clients.len() + lingering >= self.maxclients as usize
    }

    fn is_protected_from(&self, endpoint: &Endpoint) -> bool {
        self.settings.protected_mode && self.users.default_is_open() && !endpoint.is_local()
    }

    /// Bytes arrived from a client.
    pub fn received(&mut self, cx: &mut Cx, sentinel: &mut Sentinel, conn: ConnId, bytes: &[u8]) {
        self.begin();
        self.stats.reads += 1;
        self.stats.input_bytes += bytes.len() as u64;
        self.take_bytes(cx, sentinel, conn, bytes);
        self.run_resumed(cx, sentinel);
    }

    /// A client sends nothing more. What it asked for before is answered, however late.
    pub fn read_closed(&mut self, cx: &mut Cx, conn: ConnId) {
        self.begin();
        if let Some(client) = self.clients.get_mut(&conn) {
            client.read_closed = true;
            self.close_if_done(cx, conn);
        }
    }

    /// Closes a client that sends nothing more, once nothing is to be done for it any more.
    fn close_if_done(&mut self, cx: &mut Cx, conn: ConnId) {
        let Some(client) = self.clients.get(&conn) else { return };
        if client.read_closed && !client.is_served_later() {
            self.log_closed(cx, client);
            self.close_after_flush(cx, conn);
        }
    }

    /// A client's connection is gone. Harmless for one that was forgotten before.
    pub fn closed(&mut self, cx: &mut Cx, conn: ConnId) {
        self.stop_lingering(conn);
        let Some(client) = self.forget(conn) else { return };
        self.log_closed(cx, &client);
    }

    fn log_closed(&self, cx: &mut Cx, client: &Client) {
        if self.logs(LogLevel::Verbose) {
            let (now, path) = (cx.now, self.unixsocket());
            cx.log_limited(LineKind::ClientClosed, || {
                [b"Client closed connection ", &client.describe(now, path)[..]].concat()
            });
        }
    }

    /// Bytes of `conn` were taken by the network; this is left.
    pub fn sent_bytes(&mut self, conn: ConnId, n: usize, left: Load, now: Mono) {
        self.stats.writes += 1;
        self.stats.output_bytes += n as u64;
        let Some(client) = self.clients.get_mut(&conn) else {
            return self.weigh_lingering(conn, left);
        };
        client.last_active = now;
        (client.unsent, client.output_bytes) = (left.unsent, left.memory);
        if left.unsent > 0 {
            self.lagging.insert(conn);
        } else if !self.lagging.is_empty() {
            self.lagging.remove(&conn);
        }
        client.weigh(&mut self.memory, self.users.must_log_in(client));
        let is_stranger = self.users.must_log_in(client);
        let most = if is_stranger { STRANGER_OUTPUT_RESUME_BYTES } else { OUTPUT_RESUME_BYTES };
        if client.hold == Some(Hold::Output) && client.unsent <= most {
            self.resumed.insert(conn);
        }
        let limit = limit_of(&self.settings, client);
        if client.over_soft_since.is_some() && !is_over(limit.soft_bytes, client.unsent) {
            client.over_soft_since = None;
            self.over_soft.remove(&conn);
        }
    }

    /// Hands every event among the actions to its subscribers; the other actions keep their order.
    pub fn settle(&mut self, cx: &mut Cx) {
        self.begin();
        self.settle_new(cx);
    }

    /// About ten times a second: idle clients, soft output limits, figures.
    pub fn tick(&mut self, cx: &mut Cx, sentinel: &mut Sentinel) {
        self.begin();
        self.stats.tick(cx.now);
        for conn in self.over_soft.iter().copied().collect::<Vec<_>>() {
            self.check_output(cx, conn);
        }
        if self.settings.timeout_s > 0 && cx.now.since(self.last_idle_check) >= 1000 {
            self.last_idle_check = cx.now;
            self.close_idle(cx);
        }
        self.run_due(cx, sentinel);
    }

    /// Waits that end by themselves, and clients that may go on.
    pub fn run_due(&mut self, cx: &mut Cx, sentinel: &mut Sentinel) {
        self.begin();
        if self.pause.is_some_and(|pause| pause.until <= cx.now) {
            self.end_pause();
        }
        self.run_due_waits(cx, sentinel);
        self.run_cut_off(cx, sentinel);
        self.run_due_asks(cx);
        self.run_resumed(cx, sentinel);
    }

    /// When [`Server::run_due`] has work again.
    pub fn next_deadline(&self) -> Option<Mono> {
        if !self.resumed.is_empty() || !self.work.waiting.is_empty() {
            return Some(Mono(0));
        }
        let pause = self.pause.map(|pause| pause.until);
        let waits = [self.waits.next_deadline(), self.asks.next_deadline(), pause];
        waits.into_iter().flatten().min()
    }

    /// Every entry begins with a list of actions whose events are not handed out yet.
    fn begin(&mut self) {
        self.settled = 0;
    }

    /// Like [`Server::settle`], for the actions added since the last time within one entry.
    fn settle_new(&mut self, cx: &mut Cx) {
        let is_event = |action: &Action| matches!(action, Action::Publish { .. });
        if cx.actions[self.settled..].iter().any(is_event) {
            for action in cx.actions.split_off(self.settled) {
                match action {
                    Action::Publish { channel, text } => self.deliver(cx, channel, &text),
                    other => cx.actions.push(other),
                }
            }
        }
        self.settled = cx.actions.len();
    }

    fn deliver(&mut self, cx: &mut Cx, channel: &'static str, text: &[u8]) {
        for (topic, is_pattern) in self.pubsub.reached(channel) {
            let pattern = is_pattern.then_some(&topic[..]);
            let subscribers = self.pubsub.subscribers(&topic, is_pattern);
            let bytes = channel.len() + text.len() + pattern.map_or(40, |p| p.len() + 60);
            self.work.charge_each(subscribers.len() * bytes, work::BYTE_NS);
            for conn in subscribers {
                let Some(client) = self.clients.get(&conn).filter(|client| !client.doomed) else {
                    continue;
                };
                if let Some(out) = cx.out.buffer(conn) {
                    let channel = channel.as_bytes();
                    pubsub::write_message(out, client.dialect, pattern, channel, text);
                    self.check_output(cx, conn);
                }
            }
        }
    }

    /// Where the reply of `conn` goes: its output, the queue behind its votes, or nowhere.
    fn writer<'w>(&'w mut self, out: &'w mut dyn Outbox, conn: ConnId) -> &'w mut Vec<u8> {
        self.writer_and_dialect(out, conn).0
    }

    fn writer_and_dialect<'w>(
        &'w mut self,
        out: &'w mut dyn Outbox,
        conn: ConnId,
    ) -> (&'w mut Vec<u8>, Dialect) {
        self.sink.clear();
        let Some(client) = self.clients.get_mut(&conn) else {
            return (&mut self.sink, Dialect::Resp2);
        };
        let dialect = client.dialect;
        let writer = if client.is_muted() {
            &mut self.sink
        } else if client.behind.is_empty() {
            out.buffer(conn).unwrap_or(&mut self.sink)
        } else {
            client.behind_tail()
        };
        (writer, dialect)
    }

    /// Empties the reply that nobody gets; a large one is given back.
    fn drop_sink(&mut self) {
        self.sink.clear();
        if self.sink.capacity() > SINK_KEPT_BYTES {
            self.sink = Vec::new();
        }
    }

    /// Notes how much output waits for a client, and acts on the limits of its class.
    fn check_output(&mut self, cx: &mut Cx, conn: ConnId) {
        self.weigh(cx, conn);
        let Some(client) = self.clients.get_mut(&conn).filter(|client| !client.doomed) else {
            return;
        };
        let limit = limit_of(&self.settings, client);
        if is_over(limit.soft_bytes, client.unsent) {
            client.over_soft_since.get_or_insert(cx.now);
            self.over_soft.insert(conn);
        } else if client.over_soft_since.take().is_some() {
            self.over_soft.remove(&conn);
        }
        let too_long = client
            .over_soft_since
            .is_some_and(|since| cx.now.since(since) > limit.soft_s.saturating_mul(1000));
        if is_over(limit.hard_bytes, client.unsent) || too_long {
            let path = self.settings.unixsocket.as_deref().unwrap_or(b"");
            let now = cx.now;
            cx.log_limited(LineKind::OutputTooLong, || {
                let why = b" scheduled to be closed ASAP for overcoming of output buffer limits.";
                [b"Client ", &client.describe(now, path)[..], why].concat()
            });
            self.dismiss(cx, conn);
        }
    }

    /// Closes clients that neither sent nor took anything for too long. Those that wait for us are
    /// not idle, and who does not take its replies is waited for.
    fn close_idle(&mut self, cx: &mut Cx) {
        let limit_ms = self.settings.timeout_s.saturating_mul(1000);
        let is_idle = |client: &&Client| {
            client.subscriptions() == 0
                && matches!(client.hold, None | Some(Hold::Output))
                && cx.now.since(client.last_active) > limit_ms
        };
        let idle: Vec<_> = self.clients.values().filter(is_idle).map(|c| c.conn).collect();
        for conn in idle {
            cx.log_limited(LineKind::ClientIdle, || "Closing idle client");
            self.close(cx, conn);
        }
    }

    /// Closes a client at once; output it has not taken is lost.
    fn close(&mut self, cx: &mut Cx, conn: ConnId) {
        if self.forget(conn).is_some() {
            cx.out.forget(conn);
            cx.act(Action::Close { conn });
        }
    }

    /// Closes a client as soon as it has taken its output.
    fn close_after_flush(&mut self, cx: &mut Cx, conn: ConnId) {
        if self.forget(conn).is_some() {
            self.linger(cx, conn);
        }
    }

    /// Drops all that is known of a client. What it set going (a MONITOR, a SET) goes on.
    fn forget(&mut self, conn: ConnId) -> Option<Client> {
        let mut client = self.clients.remove(&conn)?;
        self.by_id.remove(&client.id);
        self.tracking_clients -= usize::from(client.tracking.is_on());
        self.memory.leave(conn, &mut client.entry);
        for kind in [Kind::Channel, Kind::Pattern] {
            let held = std::mem::take(client.held(kind));
            self.pubsub.remove_all(held, kind, conn);
        }
        self.resumed.remove(&conn);
        self.paused.remove(&conn);
        self.lagging.remove(&conn);
        self.over_soft.remove(&conn);
        self.waits.client_gone(conn, &client.behind);
        if client.lib_name == LIB_NAME {
            self.left_peers.push(conn);
        }
        Some(client)
    }

    /// Returns and clears the clients that may have announced sentineld and have disconnected.
    pub fn take_left_peers(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.left_peers)
    }

    fn end_pause(&mut self) {
        self.pause = None;
        self.resumed.append(&mut self.paused);
    }

    /// The client that CLIENT ID gives this number.
    fn client_numbered(&self, id: u64) -> Option<&Client> {
        self.by_id.get(&id).and_then(|conn| self.clients.get(conn))
    }

    /// Changes what a client tracks.
    fn set_tracking(&mut self, conn: ConnId, wanted: Tracking) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        self.tracking_clients += usize::from(wanted.is_on());
        self.tracking_clients -= usize::from(client.tracking.is_on());
        client.tracking = wanted;
    }

    /// Whether a line of that level gets through, for those that are costly to compose.
    fn logs(&self, level: LogLevel) -> bool {
        self.settings.loglevel.is_some_and(|least| level >= least)
    }

    fn unixsocket(&self) -> &[u8] {
        self.settings.unixsocket.as_deref().unwrap_or_default()
    }
}

/// The output limit of a client's class.
fn limit_of<'s>(settings: &'s Settings, client: &Client) -> &'s OutputLimit {
    if client.subscriptions() > 0 { &settings.output_pubsub } else { &settings.output_normal }
}

/// Whether `bytes` are over a limit, of which 0 is none.
fn is_over(limit_bytes: u64, bytes: usize) -> bool {
    limit_bytes > 0 && bytes as u64 > limit_bytes
}

/// What a client from elsewhere gets in protected mode. Clients know it by its first words.
const PROTECTED: &[u8] = b"DENIED Redis is running in protected mode because protected mode is \
    enabled and no password is set for the default user. In this mode connections are only \
    accepted from the loopback interface. To connect from other machines, do one of these: 1) Give \
    the default user a password ('requirepass' in the configuration file). 2) Write \
    'protected-mode no' into the configuration file and restart; make sure that nobody can reach \
    this port from the internet. 3) If it was started by hand for a test, start it with the option \
    '--protected-mode no'. 4) Connect from the machine it runs on, over the loopback interface or \
    its unix socket.";
