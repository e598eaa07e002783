//! Links: the connections to an instance and what is in flight on them (spec/protocol.md 3).
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::net::IpAddr;

use super::Sentinel;
use super::action::{Action, Cx};
use super::connect::Stage;
use super::event::{Event, Subject};
use super::instance::{InstId, MasterId, PeerId};
use super::names::Origin;
use super::orders::{Order, Replies, Step};
use super::refusal::Refusals;
use super::sentineld_peers::{ID_START, LIB_NAME};
use crate::resp::write;
use crate::util::backoff::Backoff;
use crate::util::ident::{ConnId, id_type};
use crate::util::time::Mono;

id_type!(
    /// A link; sentinels with the same run id under several masters share one.
    LinkId
);

/// Periodic commands are held back while this many commands per sharer are unanswered.
pub const MAX_PENDING: usize = 100;
/// Where a refusal counts as down soon, it is tried again after this, at the earliest.
const REFUSED_RETRY_MS: u64 = 20;
/// A link with more unsent output than this is closed.
pub const MAX_UNSENT_BYTES: usize = 256 * 1024;
/// The channel of hellos.
pub const HELLO_CHANNEL: &[u8] = b"__sentinel__:hello";

/// A command that was sent and whose answer is awaited, in the order of sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// CLIENT SETNAME: nothing depends on it, so whatever comes back is fine.
    Ignored,
    /// CLIENT SETINFO, towards peers.
    SetInfo,
    Auth,
    ScriptKill,
    Ping,
    Info(InstId),
    Publish(InstId),
    Subscribe,
    /// A command of an order to a data node; `plain`: not in a transaction.
    Order {
        inst: InstId,
        order: Order,
        step: Step,
        plain: bool,
    },
    /// IS-MASTER-DOWN-BY-ADDR on behalf of this peer entry; with the epoch if it asks for a vote,
    /// and the config epoch of the address that it asks about. `claimed`: not the address that we
    /// hold, but the one that the peer holds.
    Ask {
        peer: PeerId,
        vote_epoch: Option<u64>,
        config_epoch: u64,
        claimed: bool,
    },
}

/// Which of a link's connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    Cmd,
    Pubsub,
}

/// One of a link's connections.
#[derive(Clone, Debug)]
pub struct Conn {
    pub id: ConnId,
    pub stage: Stage,
    /// When it came to this stage.
    pub since: Mono,
    /// How long the connect waited for its turn in the shell.
    pub waited_ms: u64,
    /// Our own address of it, known once the connect has begun.
    pub local: Option<IpAddr>,
    pub sent: VecDeque<(Mono, Sent)>,
    /// When something was last received; `since` before that.
    pub last_received: Mono,
    /// Hellos are left to gather, see [`super::gather`].
    pub gathers: bool,
    pub standing: Standing,
    /// The peer's ACL denies CLIENT SETINFO. Groups share their ACL, so this peer cannot announce
    /// to us what it runs either.
    pub setinfo_denied: bool,
    /// Answers to an order, up to the one to EXEC.
    pub replies: Replies,
}

/// What a command connection is good for, as far as PING has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    #[default]
    Unknown,
    /// PING had a valid answer, and was not refused for want of a password since.
    Well,
    /// The other side wants a password and has not accepted ours.
    LockedOut,
}

/// The connections to one instance, and the times of its PINGs.
#[derive(Clone, Debug)]
pub struct Link {
    pub id: LinkId,
    /// The instances that use it; more than one only for sentinels.
    pub holders: Vec<InstId>,
    pub cmd: Option<Conn>,
    /// Never there towards sentinels.
    pub pubsub: Option<Conn>,
    /// Since when a PING is unanswered (or the command connection broken, whichever was first).
    pub outstanding_since: Option<Mono>,
    pub last_ping_sent: Mono,
    /// The host has refused a connect since the last valid answer.
    pub refused: bool,
    /// Last valid answer to a PING.
    pub last_available: Mono,
    /// Last answer of any kind to a PING.
    pub last_reply: Mono,
    /// When a connect of each channel was last tried; `None`: the next one need not wait.
    pub last_reconnect: [Option<Mono>; 2],
    /// How many connects of each channel hung in a row and were given up.
    pub hangs: [u8; 2],
    /// What the other side refuses.
    pub refusals: Refusals,
    /// SUBSCRIBE was refused and has not been accepted since.
    pub subscribe_refused: bool,
    pub subscribe_retry: Backoff,
    pub auth_retry: Backoff,
    /// It left a connection in the midst of a transaction.
    pub takes_no_transaction: bool,
    /// When AUTH is sent again over the command connection.
    pub auth_due: Option<Mono>,
    /// Smoothed round trip of PINGs, in 1/8 ms.
    pub rtt_8th_ms: Option<u64>,
    /// The shortest down-after of its holders, in ms.
    pub down_after_ms: u64,
    /// A holder was judged down, and no answer to a PING has cleared that of all holders since.
    pub holder_down: bool,
    /// The silence (by its beginning) of which all holders know.
    pub silence_told: Option<Mono>,
}

impl Conn {
    pub(super) fn new(id: ConnId, now: Mono) -> Conn {
        Conn {
            id,
            stage: Stage::Waiting,
            since: now,
            waited_ms: 0,
            local: None,
            sent: VecDeque::new(),
            last_received: now,
            gathers: false,
            standing: Standing::Unknown,
            setinfo_denied: false,
            replies: Replies::default(),
        }
    }

    /// Whether anything was ever received.
    pub(super) fn has_answered(&self) -> bool {
        self.last_received > self.since
    }
}

impl Link {
    pub(super) fn conn_mut(&mut self, channel: Channel) -> &mut Option<Conn> {
        match channel {
            Channel::Cmd => &mut self.cmd,
            Channel::Pubsub => &mut self.pubsub,
        }
    }

    fn needs_pubsub(&self) -> bool {
        !matches!(self.holders.first(), Some(InstId::Peer(_)))
    }

    /// Whether both needed connections are there (being established counts).
    pub fn connected(&self) -> bool {
        self.cmd.is_some() && (self.pubsub.is_some() || !self.needs_pubsub())
    }

    /// Whether commands may be sent: connected, or lacking nothing but the subscription, which the
    /// other side refuses while it takes commands.
    pub fn usable(&self) -> bool {
        let unsubscribed =
            |conn: &Conn| self.subscribe_refused && conn.standing != Standing::LockedOut;
        self.connected() || self.cmd.as_ref().is_some_and(unsubscribed)
    }

    /// The next connects are those to another server, or with another password: they need not wait
    /// and have the usual time, and nothing that was refused so far counts.
    pub(super) fn start_over(&mut self) {
        self.last_reconnect = [None; 2];
        self.hangs = [0; 2];
        self.refusals.become_former();
        self.subscribe_refused = false;
        self.takes_no_transaction = false;
        self.subscribe_retry.reset();
        self.auth_retry.reset();
        self.auth_due = None;
    }

    /// Commands on the command connection that are not answered yet.
    pub fn pending(&self) -> usize {
        let count = |conn: &Option<Conn>| conn.as_ref().map_or(0, |conn| conn.sent.len());
        count(&self.cmd) + count(&self.pubsub)
    }
}

impl Sentinel {
    /// Whether a link is not "disconnected", as flags show it.
    pub fn connected(&self, link: LinkId) -> bool {
        self.links[link].connected()
    }

    /// Whether commands may be sent over a link.
    pub fn usable(&self, link: LinkId) -> bool {
        self.links[link].usable()
    }

    /// A link without connections, as for a new instance: its clock of silence starts now.
    pub(super) fn new_link(&mut self, now: Mono, holder: InstId, down_after_ms: u64) -> LinkId {
        self.links.insert_with(|id| Link::new(id, holder, down_after_ms, now))
    }

    /// Makes the connections that are missing, if it is time.
    pub(super) fn reconnect(&mut self, cx: &mut Cx, inst: InstId) {
        if self.reconnect_due(inst) > cx.now {
            return;
        }
        let addr = self.base(inst).addr.clone();
        let link_id = self.base(inst).link;
        let named = super::names::parse_ip(&addr.host).is_none();
        let due = [Channel::Cmd, Channel::Pubsub];
        let due = due.into_iter().filter(|channel| self.channel_due(inst, *channel) <= cx.now);
        let due: Vec<Channel> = due.collect();
        for channel in &due {
            self.links[link_id].last_reconnect[*channel as usize] = Some(cx.now);
        }
        let fresh = match named && self.links[link_id].cmd.is_none() {
            true => self.resolve(cx, &addr.host, Origin::Own).ok(),
            false => addr.ip,
        };
        let Some(ip) = fresh.or(addr.ip) else { return };
        self.set_ip(cx, inst, ip);
        // It may have turned out to be the same as another one, or may not have that address.
        if !self.alive(inst) {
            return;
        }
        let Some(ip) = self.base(inst).addr.ip else { return };
        for channel in due {
            self.connect(cx, inst, channel, ip, addr.port);
        }
    }

    /// When the next connect may be tried; far away if nothing is missing.
    pub(super) fn reconnect_due(&self, inst: InstId) -> Mono {
        let link = &self.links[self.base(inst).link];
        if link.connected() {
            return super::timers::NEVER;
        }
        self.channel_due(inst, Channel::Cmd).min(self.channel_due(inst, Channel::Pubsub))
    }

    /// The same for one channel: the two of a link often break one after the other, and the second
    /// has to be back as soon as the first.
    fn channel_due(&self, inst: InstId, channel: Channel) -> Mono {
        let base = self.base(inst);
        let link = &self.links[base.link];
        let missing = match channel {
            Channel::Cmd => link.cmd.is_none(),
            Channel::Pubsub => link.pubsub.is_none() && link.needs_pubsub(),
        };
        if base.addr.port == 0 || !missing {
            return super::timers::NEVER;
        }
        let plain_ms = self.ping_period_ms(inst);
        let period_ms = match self.masters[self.master_of(inst)].options.refused_down_after_ms {
            // Down so soon must not rest on one refusal: it may be a quick restart.
            limit_ms if limit_ms > 0 && link.refused && !base.sdown.is => {
                plain_ms.min((limit_ms / 4).max(REFUSED_RETRY_MS))
            }
            _ => plain_ms,
        };
        let due = link.last_reconnect[channel as usize].map_or(Mono(0), |at| at.after(period_ms));
        match channel {
            Channel::Cmd => due,
            Channel::Pubsub => due.max(link.subscribe_retry.until()),
        }
    }

    fn connect(&mut self, cx: &mut Cx, inst: InstId, channel: Channel, ip: IpAddr, port: u16) {
        let link_id = self.base(inst).link;
        let id = cx.out.open();
        *self.links[link_id].conn_mut(channel) = Some(Conn::new(id, cx.now));
        if channel == Channel::Cmd {
            self.links[link_id].auth_due = None;
            self.end_pauses(cx.now, link_id);
        }
        self.conns.insert(id, (link_id, channel));
        let hung_before = self.links[link_id].hangs[channel as usize] > 0;
        cx.act(Action::Connect { conn: id, ip, port, hung_before });
        self.introduce(cx, inst, channel);
        match channel {
            Channel::Cmd => self.send_ping(cx, inst),
            Channel::Pubsub => {
                self.send(cx, inst, channel, Sent::Subscribe, &[b"SUBSCRIBE", HELLO_CHANNEL]);
            }
        }
    }

    /// AUTH, unless no password is known.
    pub(super) fn authenticate(&mut self, cx: &mut Cx, inst: InstId, channel: Channel) {
        match self.credentials(inst) {
            (Some(user), Some(pass)) => {
                self.send(cx, inst, channel, Sent::Auth, &[b"AUTH", &user, &pass]);
            }
            (None, Some(pass)) => self.send(cx, inst, channel, Sent::Auth, &[b"AUTH", &pass]),
            (_, None) => {}
        }
    }

    /// AUTH where credentials are known, then the name of the connection.
    fn introduce(&mut self, cx: &mut Cx, inst: InstId, channel: Channel) {
        self.authenticate(cx, inst, channel);
        let suffix: &[u8] = match channel {
            Channel::Cmd => b"-cmd",
            Channel::Pubsub => b"-pubsub",
        };
        let own = &self.myid[..self.myid.len().min(ID_START)];
        let name = [b"sentinel-", own, suffix].concat();
        self.send(cx, inst, channel, Sent::Ignored, &[b"CLIENT", b"SETNAME", &name]);
        if let (InstId::Peer(_), Channel::Cmd) = (inst, channel) {
            let version = env!("CARGO_PKG_VERSION").as_bytes();
            for (what, value) in [(&b"LIB-NAME"[..], LIB_NAME), (b"LIB-VER", version)] {
                let words = [&b"CLIENT"[..], b"SETINFO", what, value];
                self.send(cx, inst, channel, Sent::SetInfo, &words);
            }
        }
    }

    /// User and password towards an instance (spec/protocol.md section 1, Credentials).
    pub(super) fn credentials(&self, inst: InstId) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        if !matches!(inst, InstId::Peer(_)) {
            let options = &self.masters[self.master_of(inst)].options;
            return (options.auth_user.clone(), options.auth_pass.clone());
        }
        match &self.global.sentinel_pass {
            Some(pass) => (self.global.sentinel_user.clone(), Some(pass.clone())),
            None => (None, self.surroundings.requirepass.clone()),
        }
    }

    /// Queues a command on a connection of an instance; its first word goes through the master's
    /// rename table. Nothing happens if the connection is not there.
    pub(super) fn send(
        &mut self,
        cx: &mut Cx,
        inst: InstId,
        channel: Channel,
        sent: Sent,
        words: &[&[u8]],
    ) {
        if self.crash_after.is_some() {
            return;
        }
        let link_id = self.base(inst).link;
        let master = self.master_of(inst);
        let Some(conn) = self.links[link_id].conn_mut(channel) else { return };
        let Some(buffer) = cx.out.buffer(conn.id) else { return };
        write::array(buffer, words.len());
        write::bulk(buffer, self.masters[master].options.renamed.lookup(words[0]));
        for word in &words[1..] {
            write::bulk(buffer, word);
        }
        conn.sent.push_back((cx.now, sent));
        let (id, held) = (conn.id, buffer.len());
        if held > MAX_UNSENT_BYTES && cx.out.unsent(id) > MAX_UNSENT_BYTES {
            self.drop_connection(cx, link_id, channel, "too much unsent output");
        }
    }

    /// Whether so much waits to leave that what can wait should: half of what closes the link.
    pub(super) fn is_clogged(&self, cx: &mut Cx, link: LinkId) -> bool {
        let conn = self.links[link].cmd.as_ref();
        conn.is_some_and(|conn| cx.out.unsent(conn.id) > MAX_UNSENT_BYTES / 2)
    }

    /// Whether periodic commands are held back.
    pub(super) fn pending_full(&self, link: LinkId) -> bool {
        self.pending_full_with(link, 0)
    }

    /// Whether they would be, were there `more` unanswered commands.
    pub(super) fn pending_full_with(&self, link: LinkId, more: usize) -> bool {
        let link = &self.links[link];
        link.pending() + more >= MAX_PENDING * link.holders.len().max(1)
    }

    /// Closes both connections of a link, on purpose: the clock of silence is left alone.
    pub(super) fn drop_connections(&mut self, cx: &mut Cx, link: LinkId, reason: &str) {
        self.drop_connection(cx, link, Channel::Cmd, reason);
        self.drop_connection(cx, link, Channel::Pubsub, reason);
    }

    pub(super) fn drop_connection(
        &mut self,
        cx: &mut Cx,
        link: LinkId,
        channel: Channel,
        reason: &str,
    ) {
        self.end_wait(cx.now, link, channel);
        let Some(conn) = self.links[link].conn_mut(channel).take() else { return };
        self.conns.remove(&conn.id);
        cx.out.forget(conn.id);
        cx.act(Action::Close { conn: conn.id });
        self.forget_in_flight(&conn);
        if channel == Channel::Cmd {
            for holder in self.links[link].holders.clone() {
                if let InstId::Replica(replica) = holder {
                    self.promotion_interrupted(cx.now, replica);
                }
            }
        }
        self.connection_event(cx, link, channel, reason);
    }

    fn connection_event(&mut self, cx: &mut Cx, link: LinkId, channel: Channel, reason: &str) {
        let Some(&holder) = self.links[link].holders.first() else { return };
        let name = match channel {
            Channel::Cmd => "-cmd-link-reconnection",
            Channel::Pubsub => "-pubsub-link-reconnection",
        };
        let text = format!("#{reason}");
        self.event(cx, Event::debug(name), Subject::Instance(holder), text.as_bytes());
        for holder in self.links[link].holders.clone() {
            self.arm(cx.now, holder);
        }
    }

    /// What was in flight on a lost connection will not be answered.
    fn forget_in_flight(&mut self, conn: &Conn) {
        for (_, sent) in &conn.sent {
            match *sent {
                Sent::Info(inst) if self.alive(inst) => {
                    if let Some(data) = self.data_mut(inst) {
                        data.info_in_flight = None;
                    }
                }
                Sent::Publish(inst) if self.alive(inst) => {
                    self.base_mut(inst).publish_in_flight = false;
                }
                Sent::Ask { peer, .. } => {
                    if let Some(peer) = self.peers.get_mut(peer) {
                        peer.asks_in_flight = 0;
                        peer.ask_again = false;
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes a holder from a link; gives up one that has none left, which is told by true.
    pub(super) fn release_link(&mut self, cx: &mut Cx, link: LinkId, holder: InstId) -> bool {
        let entry = &mut self.links[link];
        // Entries of a sentinel are in the order of their ids, thousands of them; others are alone.
        let sorted = entry.holders.binary_search(&holder).ok();
        let at = sorted.or_else(|| entry.holders.iter().position(|other| *other == holder));
        if let Some(at) = at {
            entry.holders.remove(at);
        }
        if let Some(&first) = entry.holders.first() {
            // It sends the PINGs and keeps watch from now on.
            self.arm(cx.now, first);
            return false;
        }
        for channel in [Channel::Cmd, Channel::Pubsub] {
            if let Some(conn) = self.links[link].conn_mut(channel).take() {
                self.conns.remove(&conn.id);
                cx.out.forget(conn.id);
                cx.act(Action::Close { conn: conn.id });
            }
        }
        self.links.remove(link);
        true
    }

    /// Whether a connection belongs to a link.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// A connection of a link was closed by the other side, or could not be made.
    /// `refused`: the port is closed there.
    pub fn conn_closed(&mut self, cx: &mut Cx, id: ConnId, refused: bool) {
        let Some((link_id, channel)) = self.conns.remove(&id) else { return };
        cx.out.forget(id);
        self.end_wait(cx.now, link_id, channel);
        let Some(conn) = self.links[link_id].conn_mut(channel).take() else { return };
        self.forget_in_flight(&conn);
        self.links[link_id].hangs[channel as usize] = 0;
        let holders = self.links[link_id].holders.clone();
        let link = &mut self.links[link_id];
        if channel == Channel::Cmd && link.outstanding_since.is_none() {
            link.outstanding_since = Some(cx.now);
        }
        if channel == Channel::Cmd && refused {
            link.was_refused(&conn);
        }
        self.connection_event(cx, link_id, channel, "connection lost");
        // A connect that failed is no news: the link was broken before.
        let worked = conn.has_answered();
        if channel == Channel::Cmd {
            for holder in holders {
                match holder {
                    InstId::Master(master) if worked => self.ask_replicas_info(cx, master),
                    InstId::Master(_) => {}
                    InstId::Replica(replica) => self.promotion_interrupted(cx.now, replica),
                    InstId::Peer(_) => {}
                }
            }
        }
    }

    /// What came on a connection is no reply: the other side is no server that we know.
    pub fn link_malformed(&mut self, cx: &mut Cx, id: ConnId, reason: &str) {
        if let Some(&(link, channel)) = self.conns.get(&id) {
            self.drop_connection(cx, link, channel, reason);
        }
    }

    /// Asks all replicas of a master for INFO at once: the choice of a replica must not be made
    /// on what they said before the fault.
    pub(super) fn ask_replicas_info(&mut self, cx: &mut Cx, master: MasterId) {
        let replicas: Vec<_> = self.masters[master].replicas.values().copied().collect();
        for replica in replicas {
            self.send_info(cx, InstId::Replica(replica));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, addr};
    use super::*;

    const PEER: &[u8] = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn when_the_first_holder_of_a_shared_link_goes_the_next_one_keeps_watch() {
        let mut bench = Bench::new();
        let masters = [b"m1", b"m2"].map(|name| bench.monitor(name));
        let at = addr("127.0.0.1", 26_380);
        let [_, second] = masters.map(|master| {
            bench.call(|sentinel, cx| sentinel.add_peer(cx, master, PEER, at.clone()))
        });
        let link = bench.sentinel.peers[second].base.link;
        assert_eq!(bench.sentinel.links[link].holders.len(), 2);
        bench.call(|sentinel, cx| {
            let id = cx.out.open();
            sentinel.conns.insert(id, (link, Channel::Cmd));
            sentinel.links[link].cmd =
                Some(Conn { stage: Stage::Established, ..Conn::new(id, cx.now) });
            // As when its hello got no answer: nothing else is due to it.
            sentinel.peers[second].base.publish_in_flight = true;
            sentinel.run_due(cx, 100, &mut false);
        });
        bench.call(|sentinel, cx| sentinel.remove_master(cx, masters[0]));
        for _ in 0..20 {
            bench.pass(100);
            bench.call(|sentinel, cx| sentinel.run_due(cx, 100, &mut false));
        }
        let link = &bench.sentinel.links[link];
        let pings = link
            .cmd
            .as_ref()
            .map(|conn| conn.sent.iter().filter(|(_, sent)| matches!(sent, Sent::Ping)).count());
        assert!(pings.is_some_and(|count| count >= 2), "{pings:?}");
    }

    #[test]
    fn two_connections_that_break_one_after_the_other_are_both_back_at_once() {
        let mut bench = Bench::new();
        let master = bench.monitor(b"m");
        let link = bench.sentinel.masters[master].base.link;
        bench.call(|sentinel, cx| sentinel.arm(cx.now, InstId::Master(master)));
        let connects = |bench: &mut Bench| {
            bench.pass(1);
            bench.call(|sentinel, cx| sentinel.run_due(cx, 100, &mut false));
            let count = bench.establish();
            bench.actions();
            count
        };
        assert_eq!(connects(&mut bench), 2);
        bench.pass(5_000);
        for channel in [Channel::Pubsub, Channel::Cmd] {
            let conn = bench.sentinel.links[link].conn_mut(channel).as_ref().unwrap().id;
            bench.call(|sentinel, cx| sentinel.conn_closed(cx, conn, false));
            assert_eq!(connects(&mut bench), 1, "{channel:?}");
            let conn = bench.sentinel.links[link].conn_mut(channel).as_ref().unwrap().id;
            bench.call(|sentinel, cx| sentinel.conn_closed(cx, conn, false));
            assert_eq!(connects(&mut bench), 0, "{channel:?}, and no more in this period");
            bench.pass(1_000);
            assert_eq!(connects(&mut bench), 1, "{channel:?}");
        }
    }
}
