//! Connects: from asking the shell for one to the established connection, and whose time passes
//! meanwhile (design/architecture.md, contract 4).
//!
//! A connect that waits for its turn in the shell waits for us: the clock of silence of its
//! instance stands still, and what it missed is added only if the port turns out to be closed. One
//! that has begun and hangs is silence of the other side, and is given
//! up after a while, as the kernel sends a lost SYN again at growing intervals only. An established
//! connection is never given up for being silent sooner than any other: a SLAVEOF in it runs the
//! moment its process wakes.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::Sentinel;
use super::action::Cx;
use super::instance::InstId;
use super::link::{Channel, Conn, Link, LinkId, Sent};
use super::timers::NEVER;
use crate::util::ident::ConnId;
use crate::util::time::Mono;

/// How long a connect may hang, in ms, by how many before it hung in a row. The kernel sends a SYN
/// again after 1 s, 3 s and 7 s; each limit leaves half a second for the answer to the last one.
/// Paths with longer round trips are reached by the later ones, and a dead zone costs less.
const HANG_LIMITS_MS: [u64; 5] = [1_500, 1_500, 3_500, 3_500, 7_500];

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The shell was asked for it and has not begun.
    Waiting,
    /// The connect has begun.
    Connecting,
    Established,
}

impl Link {
    pub(super) fn conn(&self, channel: Channel) -> Option<&Conn> {
        match channel {
            Channel::Cmd => self.cmd.as_ref(),
            Channel::Pubsub => self.pubsub.as_ref(),
        }
    }

    /// Whether what is sent to the instance leaves now.
    pub(super) fn cmd_established(&self) -> bool {
        self.cmd.as_ref().is_some_and(|conn| conn.stage == Stage::Established)
    }

    /// The moment at which the clock of silence stands still, if it does.
    fn clock_stopped_at(&self) -> Option<Mono> {
        let conn = self.cmd.as_ref().filter(|conn| conn.stage == Stage::Waiting);
        conn.map(|conn| conn.since)
    }

    /// When a silence that began at `since` is `limit_ms` long; far away while its clock stands
    /// still before that.
    pub(super) fn silent_for(&self, since: Mono, limit_ms: u64) -> Mono {
        let at = since.after(limit_ms);
        match self.clock_stopped_at() {
            Some(stopped) if at > stopped => NEVER,
            _ => at,
        }
    }

    /// How long a PING has been unanswered (0: none is), without the time that it waited for us.
    pub(super) fn unanswered_ms(&self, now: Mono) -> u64 {
        let now = self.clock_stopped_at().unwrap_or(now);
        self.outstanding_since.map_or(0, |since| now.since(since))
    }

    /// The port is closed there: nobody would have answered while this connect waited for us.
    pub(super) fn was_refused(&mut self, conn: &Conn) {
        self.refused = true;
        if conn.stage == Stage::Connecting {
            let earlier = |at: Mono| Mono(at.0.saturating_sub(conn.waited_ms));
            self.outstanding_since = self.outstanding_since.map(earlier);
        }
    }

    fn hang_limit_ms(&self, channel: Channel) -> u64 {
        let hangs = usize::from(self.hangs[channel as usize]);
        HANG_LIMITS_MS[hangs.min(HANG_LIMITS_MS.len() - 1)]
    }

    /// When a connect is given up.
    fn hang_ends(&self, channel: Channel) -> Mono {
        let conn = self.conn(channel).filter(|conn| conn.stage == Stage::Connecting);
        conn.map_or(NEVER, |conn| conn.since.after(self.hang_limit_ms(channel)))
    }
}

impl Sentinel {
    /// The connect of a link's connection has begun.
    pub fn conn_started(&mut self, cx: &mut Cx, id: ConnId, local: Option<IpAddr>) {
        let Some(&(link, channel)) = self.conns.get(&id) else { return };
        self.end_wait(cx.now, link, channel);
        if let Some(conn) = self.links[link].conn_mut(channel) {
            conn.local = local;
        }
        self.arm_holders(cx.now, link);
    }

    /// It was made: what waits in it leaves now.
    pub fn conn_established(&mut self, cx: &mut Cx, id: ConnId) {
        let Some(&(link, channel)) = self.conns.get(&id) else { return };
        self.end_wait(cx.now, link, channel);
        self.links[link].hangs[channel as usize] = 0;
        if let Some(conn) = self.links[link].conn_mut(channel) {
            conn.stage = Stage::Established;
            conn.since = cx.now;
            conn.last_received = cx.now;
        }
        self.restamp(cx.now, link, channel);
        self.arm_holders(cx.now, link);
    }

    /// A connection waits no longer for the shell, whatever the reason: the time that it waited is
    /// nobody's silence. Nothing happens if it does not wait.
    pub(super) fn end_wait(&mut self, now: Mono, id: LinkId, channel: Channel) {
        let link = &mut self.links[id];
        let Some(conn) = link.conn_mut(channel).as_mut() else { return };
        if conn.stage != Stage::Waiting {
            return;
        }
        let waited_ms = now.since(conn.since);
        conn.stage = Stage::Connecting;
        conn.waited_ms = waited_ms;
        conn.since = now;
        conn.last_received = now;
        link.last_reconnect[channel as usize] = Some(now);
        if channel == Channel::Cmd {
            link.last_ping_sent = link.last_ping_sent.after(waited_ms).min(now);
            link.outstanding_since = link.outstanding_since.map(|at| at.after(waited_ms).min(now));
        }
        self.restamp(now, id, channel);
    }

    /// What was queued on a connection is sent only now.
    fn restamp(&mut self, now: Mono, link: LinkId, channel: Channel) {
        let Some(conn) = self.links[link].conn_mut(channel) else { return };
        let mut infos = Vec::new();
        for (at, sent) in &mut conn.sent {
            let was = std::mem::replace(at, now);
            if let Sent::Info(inst) = sent {
                infos.push((*inst, was));
            }
        }
        for (inst, was) in infos {
            if self.alive(inst)
                && let Some(data) = self.data_mut(inst)
                && data.info_in_flight == Some(was)
            {
                data.info_in_flight = Some(now);
            }
        }
    }

    fn arm_holders(&mut self, now: Mono, link: LinkId) {
        for holder in self.links[link].holders.clone() {
            self.arm(now, holder);
        }
    }

    /// When a connect to an instance has hung for too long.
    pub(super) fn hang_due(&self, inst: InstId) -> Mono {
        let link = &self.links[self.base(inst).link];
        link.hang_ends(Channel::Cmd).min(link.hang_ends(Channel::Pubsub))
    }

    /// Gives up connects that hang. That is no news of the instance: its clock runs on.
    pub(super) fn give_up_hanging(&mut self, cx: &mut Cx, inst: InstId) {
        let id = self.base(inst).link;
        for channel in [Channel::Cmd, Channel::Pubsub] {
            let link = &mut self.links[id];
            if link.hang_ends(channel) <= cx.now {
                let hangs = &mut link.hangs[channel as usize];
                *hangs = hangs.saturating_add(1);
                self.drop_connection(cx, id, channel, "connect timed out");
            }
        }
    }
}
