//! Hellos in batches: while all is calm, a subscription wakes us only when several have come.
//!
//! With thousands of masters the hellos of data nodes are most of what arrives, and each of them
//! says what the sentinels also tell each other directly. So the shell is asked to leave them in
//! the socket (SO_RCVLOWAT) until there are about two rounds of them; whatever is there is read
//! before silence counts, and at once when a master goes down. It ends where a hello finds that a
//! sentinel cannot be heard directly any more.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::Cx;
use super::instance::{InstId, MasterId};
use super::link::{Conn, LinkId};
use super::timers::NEVER;
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

/// So many rounds of hellos are gathered.
const ROUNDS: usize = 2;
/// What surrounds the text of a message on the wire, in bytes.
const FRAME_BYTES: usize = 50;
/// After so long without an event nothing is in progress in which milliseconds count.
const REST_AFTER_MS: u64 = 1_000;
/// More is not left in a socket.
const GATHER_MAX_BYTES: usize = 16 * 1024;

impl Sentinel {
    /// Whether replies may wait some milliseconds for others, so that thousands of links do not
    /// wake us one by one: no event for a while, no peer that asks.
    pub fn is_at_rest(&self, now: Mono) -> bool {
        self.bundles() && now.since(self.stirred) >= REST_AFTER_MS
    }

    /// A hello of `bytes` has come over a link: are the next ones left to gather?
    pub(super) fn consider_gathering(&mut self, cx: &mut Cx, link: LinkId, bytes: usize) {
        let Some(conn) = &self.links[link].pubsub else { return };
        let (id, gathers) = (conn.id, conn.gathers);
        let Some(&holder) = self.links[link].holders.first() else { return };
        let master = self.master_of(holder);
        if gathers {
            if !self.is_calm(master) {
                self.read_hellos(cx, link);
            }
            return;
        }
        if !self.bundles() || self.base(holder).sdown.is || !self.is_calm(master) {
            return;
        }
        // Each sentinel sends one per round, we too; half a message less, as their sizes differ.
        let senders = self.masters[master].peers.len() + 1;
        let message = bytes + FRAME_BYTES;
        let wanted = (ROUNDS * senders * message - message / 2).min(GATHER_MAX_BYTES);
        cx.out.gather(id, wanted);
        self.set_gathers(link, true);
    }

    /// All sentinels can be heard directly, and nothing happens that they would tell of.
    fn is_calm(&self, id: MasterId) -> bool {
        let master = &self.masters[id];
        let quiet = !master.base.sdown.is
            && !master.odown.is
            && master.failover.is_none()
            && master.reconf.is_none();
        let mut peers = self.peers_of(id);
        quiet && !master.peers.is_empty() && peers.all(|peer| self.connected(peer.base.link))
    }

    /// When what has gathered is to be read, however little it is.
    pub(super) fn gathering_ends(&self, inst: InstId) -> Mono {
        let conn = self.links[self.base(inst).link].pubsub.as_ref();
        let waits = |conn: &&Conn| conn.gathers && !defect(Defect::LeaveGathered);
        let Some(conn) = conn.filter(waits) else { return NEVER };
        conn.last_received.after(5 * self.periods.publish_ms / 2)
    }

    /// From the timer.
    pub(super) fn end_gathering(&mut self, cx: &mut Cx, inst: InstId) {
        if self.alive(inst) && self.gathering_ends(inst) <= cx.now {
            self.read_hellos(cx, self.base(inst).link);
        }
    }

    /// Something happens around a master: every hello is wanted at once.
    pub(super) fn read_all_hellos(&mut self, cx: &mut Cx, id: MasterId) {
        if defect(Defect::GatherInFailover) {
            return;
        }
        let master = &self.masters[id];
        let replicas = master.replicas.values().map(|id| self.replicas[*id].base.link);
        let links: Vec<LinkId> = [master.base.link].into_iter().chain(replicas).collect();
        for link in links {
            self.read_hellos(cx, link);
        }
    }

    fn read_hellos(&mut self, cx: &mut Cx, link: LinkId) {
        if let Some(conn) = self.links[link].pubsub.as_ref().filter(|conn| conn.gathers) {
            cx.out.gather(conn.id, 1);
            self.set_gathers(link, false);
        }
    }

    fn set_gathers(&mut self, link: LinkId, gathers: bool) {
        if let Some(conn) = &mut self.links[link].pubsub {
            conn.gathers = gathers;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::connect::Stage;
    use super::super::event::Event;
    use super::super::failover::Cause;
    use super::super::link::Channel;
    use super::super::testing::{Bench, addr};
    use super::super::vote::Ask;
    use super::*;

    /// A master whose subscription gathers.
    fn gathering() -> (Bench, MasterId, LinkId) {
        let mut bench = Bench::new();
        let master = bench.monitor(b"m");
        let link = bench.sentinel.masters[master].base.link;
        bench.call(|sentinel, cx| {
            open(sentinel, cx, link, Channel::Pubsub);
            sentinel.set_gathers(link, true);
            sentinel.arm(cx.now, InstId::Master(master));
        });
        (bench, master, link)
    }

    fn open(sentinel: &mut Sentinel, cx: &mut Cx, link: LinkId, channel: Channel) {
        let id = cx.out.open();
        sentinel.conns.insert(id, (link, channel));
        let conn = Conn { stage: Stage::Established, ..Conn::new(id, cx.now) };
        match channel {
            Channel::Cmd => sentinel.links[link].cmd = Some(conn),
            Channel::Pubsub => sentinel.links[link].pubsub = Some(conn),
        }
    }

    fn gathers(bench: &Bench, link: LinkId) -> Option<bool> {
        bench.sentinel.links[link].pubsub.as_ref().map(|conn| conn.gathers)
    }

    #[test]
    fn what_has_gathered_is_read_before_a_subscription_counts_as_silent() {
        let (mut bench, _, link) = gathering();
        let run = |bench: &mut Bench| {
            bench.call(|sentinel, cx| sentinel.run_due(cx, 100, &mut false));
            gathers(bench, link)
        };
        // So late that even three rounds would have come; the next turn reads first.
        bench.pass(60_000);
        assert_eq!(run(&mut bench), Some(false));
        assert_eq!(run(&mut bench), Some(false));
        bench.pass(1);
        assert_eq!(run(&mut bench), None, "and nothing had");
    }

    #[test]
    fn an_event_or_a_peer_that_asks_ends_the_rest_for_a_while() {
        let (mut bench, master, _) = gathering();
        bench.pass(60_000);
        let rests = |bench: &mut Bench| bench.call(|sentinel, cx| sentinel.is_at_rest(cx.now));
        assert!(!rests(&mut bench), "one of few links is heard at once");
        bench.sentinel.thresholds.bundle_links = 1;
        assert!(rests(&mut bench));
        for is_event in [true, false] {
            bench.call(|sentinel, cx| {
                if is_event {
                    sentinel.plain_event(cx, Event::warning("+odown"), InstId::Master(master));
                } else {
                    let (ip, runid) = (&b"127.0.0.1"[..], &b"*"[..]);
                    sentinel.asked(cx, &Ask { ip, port: 6379, epoch: 0, runid, asker: None });
                }
            });
            assert!(!rests(&mut bench));
            bench.pass(REST_AFTER_MS - 1);
            assert!(!rests(&mut bench));
            bench.pass(1);
            assert!(rests(&mut bench));
        }
    }

    #[test]
    fn hellos_are_the_only_way_from_a_sentinel_without_a_connection() {
        let (mut bench, master, link) = gathering();
        let at = addr("127.0.0.1", 26_380);
        let peer = bench.call(|sentinel, cx| sentinel.add_peer(cx, master, &[b'a'; 40], at));
        let to_peer = bench.sentinel.peers[peer].base.link;
        bench.call(|sentinel, cx| {
            open(sentinel, cx, to_peer, Channel::Cmd);
            sentinel.consider_gathering(cx, link, 100);
        });
        assert_eq!(gathers(&bench, link), Some(true));
        bench.call(|sentinel, cx| {
            sentinel.drop_connections(cx, to_peer, "test");
            sentinel.consider_gathering(cx, link, 100);
        });
        assert_eq!(gathers(&bench, link), Some(false));
    }

    #[test]
    fn a_forced_failover_wants_every_hello() {
        let (mut bench, master, link) = gathering();
        bench.call(|sentinel, cx| sentinel.start_failover(cx, master, Cause::Forced));
        assert_eq!(gathers(&bench, link), Some(false));
    }
}
