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

#[cfg(test)]
mod tests {
    use super::super::action::Action;
    use super::super::testing::Bench;
    use super::*;
    use crate::resp::reply::Reply;

    /// A master whose two connects were just asked for: command connection, subscription.
    fn asked() -> (Bench, InstId, [ConnId; 2]) {
        let mut bench = Bench::new();
        let master = bench.monitor(b"m");
        bench.call(|sentinel, cx| sentinel.run_due(cx, 100, &mut false));
        let conns = connects(&mut bench);
        (bench, InstId::Master(master), [conns[0].0, conns[1].0])
    }

    fn connects(bench: &mut Bench) -> Vec<(ConnId, bool)> {
        let actions = bench.actions().into_iter();
        let connect = |action| match action {
            Action::Connect { conn, hung_before, .. } => Some((conn, hung_before)),
            _ => None,
        };
        actions.filter_map(connect).collect()
    }

    fn link(bench: &Bench, inst: InstId) -> &Link {
        &bench.sentinel.links[bench.sentinel.base(inst).link]
    }

    #[test]
    fn what_waited_in_a_connection_is_sent_when_it_leaves() {
        let (mut bench, master, conns) = asked();
        let data = |bench: &Bench| bench.sentinel.data(master).map(|data| data.info_in_flight);
        assert_eq!(data(&bench), Some(Some(bench.now)), "INFO is queued");
        bench.pass(3_000);
        let begun = bench.now;
        for conn in conns {
            bench.call(|sentinel, cx| sentinel.conn_started(cx, conn, None));
        }
        assert_eq!(link(&bench, master).outstanding_since, Some(begun));
        bench.pass(200);
        let sent = bench.now;
        for conn in conns {
            bench.call(|sentinel, cx| sentinel.conn_established(cx, conn));
        }
        assert_eq!(link(&bench, master).outstanding_since, Some(begun), "it hung that long");
        assert_eq!(data(&bench), Some(Some(sent)));
        bench.pass(40);
        for reply in [Reply::Simple(b"OK"), Reply::Simple(b"PONG"), Reply::Bulk(b"role:master")] {
            bench.call(|sentinel, cx| sentinel.link_reply(cx, conns[0], &reply));
        }
        assert_eq!(link(&bench, master).rtt_8th_ms, Some(40 * 8), "the round trip of the PING");
        assert_eq!(data(&bench), Some(None), "INFO is answered");
    }

    #[test]
    fn the_clock_stands_still_while_a_connect_waits_and_only_then() {
        let (mut bench, master, [cmd, _]) = asked();
        let since = link(&bench, master).outstanding_since.unwrap();
        let silent = |bench: &Bench, ms| link(bench, master).silent_for(since, ms);
        bench.pass(700);
        assert_eq!(silent(&bench, 500), NEVER);
        assert_eq!(silent(&bench, 0), since, "what was silence before stays one");
        assert_eq!(link(&bench, master).unanswered_ms(bench.now), 0);
        bench.call(|sentinel, cx| sentinel.conn_started(cx, cmd, None));
        let since = link(&bench, master).outstanding_since.unwrap();
        assert_eq!(since, bench.now);
        bench.pass(700);
        assert_eq!(link(&bench, master).silent_for(since, 500), since.after(500));
        assert_eq!(link(&bench, master).unanswered_ms(bench.now), 700);
        // The port is closed: the wait before counts as well.
        bench.call(|sentinel, cx| sentinel.conn_closed(cx, cmd, true));
        assert_eq!(link(&bench, master).unanswered_ms(bench.now), 1_400);
    }

    #[test]
    fn hanging_connects_are_given_up_ever_later_until_one_comes_through() {
        let (mut bench, master, mut conns) = asked();
        for (hangs, limit_ms) in HANG_LIMITS_MS.into_iter().chain([7_500, 7_500]).enumerate() {
            for conn in conns {
                bench.call(|sentinel, cx| sentinel.conn_started(cx, conn, None));
            }
            bench.pass(limit_ms - 1);
            bench.call(|sentinel, cx| sentinel.run_due(cx, 100, &mut false));
            assert_eq!(connects(&mut bench), [], "after {hangs} that hung");
            bench.pass(1);
            bench.call(|sentinel, cx| sentinel.run_due(cx, 100, &mut false));
            let again = connects(&mut bench);
            assert_eq!(again.iter().map(|(_, hung)| *hung).collect::<Vec<_>>(), [true, true]);
            conns = [again[0].0, again[1].0];
        }
        bench.call(|sentinel, cx| sentinel.conn_established(cx, conns[0]));
        assert_eq!(link(&bench, master).hangs, [0, 7]);
        // And whoever is silent then is left alone.
        bench.pass(14_000);
        bench.call(|sentinel, cx| sentinel.run_due(cx, 100, &mut false));
        assert_eq!(link(&bench, master).cmd.as_ref().map(|conn| conn.id), Some(conns[0]));
    }
}
