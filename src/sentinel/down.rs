//! Down: subjectively by our own PINGs, objectively with others (spec/protocol.md section 7).
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::Cx;
use super::event::{Event, Subject};
use super::failover::{Cause, State};
use super::instance::{Addr, InstId, MasterId, Peer, PeerId, Role};
use super::link::{Channel, Sent};
use super::log_limit::LineKind;
use super::timers::NEVER;
use crate::resp::reply::Reply;
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

/// A peer's answer counts for this many ask-periods.
const ANSWER_PERIODS: u64 = 5;
/// A peer that answered with an error is asked again after this, at the earliest.
const ASK_RETRY_MS: u64 = 100;

impl Sentinel {
    /// Since when an instance has been silent; `None`: it is not.
    pub(super) fn silent_since(&self, inst: InstId) -> Option<Mono> {
        let link = &self.links[self.base(inst).link];
        match (link.outstanding_since, &link.cmd) {
            (Some(since), _) => Some(since),
            (None, None) => Some(link.last_available),
            (None, Some(_)) => None,
        }
    }

    /// When an instance that is up will be judged subjectively down, as things stand.
    fn down_from(&self, inst: InstId) -> Mono {
        let down_after_ms = self.base(inst).down_after_ms;
        let link = &self.links[self.base(inst).link];
        let limit_ms = match self.masters[self.master_of(inst)].options.refused_down_after_ms {
            refused_ms if refused_ms > 0 && link.refused => down_after_ms.min(refused_ms),
            _ => down_after_ms,
        };
        let limit_ms = if defect(Defect::JudgeTooEarly) { limit_ms / 2 } else { limit_ms };
        let silent = self.silent_since(inst).map_or(NEVER, |at| link.silent_for(at, limit_ms + 1));
        let InstId::Master(id) = inst else { return silent };
        let master = &self.masters[id];
        let demoted = match master.data.role_reported {
            Role::Master => NEVER,
            Role::Slave => {
                let wait_ms = down_after_ms + 2 * self.periods.info_ms;
                master.data.role_reported_since.after(wait_ms + 1)
            }
        };
        let wait_ms = master.options.master_reboot_down_after_ms;
        let rebooted = master.reboot_since.map_or(NEVER, |at| at.after(wait_ms + 1));
        silent.min(demoted).min(rebooted)
    }

    /// When sdown has to be looked at; far away while it is set (only an answer clears it).
    pub(super) fn sdown_due(&self, inst: InstId) -> Mono {
        if self.base(inst).sdown.is {
            return NEVER;
        }
        self.down_from(inst).max(self.tilt.judge_from)
    }

    /// After an answer: clears sdown if it no longer holds. It is never set here, as the PONG that
    /// speaks against it may lie unread behind this answer; the timer does that.
    pub(super) fn check_up(&mut self, cx: &mut Cx, inst: InstId) {
        if self.base(inst).sdown.is {
            self.check_sdown(cx, inst);
        }
    }

    /// Sets or clears sdown.
    pub(super) fn check_sdown(&mut self, cx: &mut Cx, inst: InstId) {
        let down = self.down_from(inst) <= cx.now;
        if down == self.base(inst).sdown.is || (down && cx.now < self.tilt.judge_from) {
            return;
        }
        let base = self.base_mut(inst);
        base.sdown.is = down;
        if down {
            base.sdown.since = Some(cx.now);
            let link = base.link;
            self.links[link].holder_down = true;
            self.plain_event(cx, Event::warning("+sdown"), inst);
        } else {
            if let Some(data) = self.data_mut(inst) {
                data.script_kill_sent = false;
            }
            self.plain_event(cx, Event::warning("-sdown"), inst);
        }
        match inst {
            InstId::Master(master) => self.master_sdown_changed(cx, master, down),
            // The leader we voted for may be the one that went away.
            InstId::Peer(peer) => {
                let master = self.peers[peer].master;
                self.arm(cx.now, InstId::Master(master));
            }
            InstId::Replica(replica) => {
                let master = self.replicas[replica].master;
                self.arm(cx.now, InstId::Master(master));
            }
        }
    }

    fn master_sdown_changed(&mut self, cx: &mut Cx, id: MasterId, down: bool) {
        let peers: Vec<PeerId> = self.masters[id].peers.values().copied().collect();
        for peer in &peers {
            self.peers[*peer].answer = None;
            self.peers[*peer].first_answer = None;
        }
        if down {
            if self.masters[id].failover.is_none() {
                self.masters[id].election.begin();
            }
            for peer in peers {
                self.ask_peer(cx, peer);
            }
            self.ask_replicas_info(cx, id);
            self.read_all_hellos(cx, id);
        } else {
            // Not with odown: that also goes, and comes back, when peers are slow to answer, and
            // a new attempt that was planned must not be forgotten then.
            self.masters[id].election.calm_down();
        }
        self.check_odown(cx, id);
    }

    /// Sets or clears odown from what the peers last said; a rise may start a failover.
    pub(super) fn check_odown(&mut self, cx: &mut Cx, id: MasterId) {
        let master = &self.masters[id];
        if !master.base.sdown.is && !master.odown.is {
            return;
        }
        // Answers grow old in tilt too, though nothing is done about them there.
        let counts = |peer: &&Peer| peer.master_down && !self.is_old(cx.now, peer);
        let others = self.peers_of(id).filter(counts).count();
        let agreeing = others + 1 + usize::from(defect(Defect::OdownWithOneLess));
        let master = &mut self.masters[id];
        let quorum = master.options.quorum;
        let down = master.base.sdown.is && agreeing >= quorum as usize;
        if down == master.odown.is {
            return;
        }
        master.odown.is = down;
        let inst = InstId::Master(id);
        if down {
            master.odown.since = Some(cx.now);
            let text = format!("#quorum {agreeing}/{quorum}");
            self.event(cx, Event::warning("+odown"), Subject::Instance(inst), text.as_bytes());
            self.master_progress(cx, id);
        } else {
            self.plain_event(cx, Event::warning("-odown"), inst);
        }
        self.arm(cx.now, inst);
        let replicas: Vec<_> = self.masters[id].replicas.values().copied().collect();
        for replica in replicas {
            self.arm(cx.now, InstId::Replica(replica));
        }
    }

    /// Asks a peer whether it sees the master down and, while a failover of ours wants to be
    /// elected, for its vote. Nobody is asked in tilt.
    pub(super) fn ask_peer(&mut self, cx: &mut Cx, id: PeerId) {
        let peer = &self.peers[id];
        if self.tilt.since.is_some() || !self.usable(peer.base.link) {
            return;
        }
        if self.is_clogged(cx, peer.base.link) {
            // Thousands of masters are down at once: the timer asks about this one in a moment.
            self.peers[id].last_asked = Some(cx.now);
            self.peers[id].ask_again = true;
            self.arm(cx.now, InstId::Peer(id));
            return;
        }
        let master = &self.masters[peer.master];
        let vote_epoch = match &master.failover {
            Some(failover)
                if failover.state == State::WaitStart || defect(Defect::AskAfterElection) =>
            {
                Some(failover.epoch)
            }
            _ => None,
        };
        let told_epoch = vote_epoch.filter(|_| !defect(Defect::AskInNewestEpoch));
        let epoch = told_epoch.unwrap_or(self.current_epoch);
        let held = master.base.addr.clone();
        // Whoever holds another address knows no master at ours.
        let claim = self.claim_of(cx.now, id).filter(|_| vote_epoch.is_some());
        let claim = claim.map(|claim| claim.addr.clone());
        self.peers[id].ask_again = false;
        self.peers[id].last_asked = Some(cx.now);
        self.send_ask(cx, id, (vote_epoch, epoch), &held, false);
        if let Some(addr) = claim.filter(|_| !defect(Defect::AskByOwnAddress)) {
            self.send_ask(cx, id, (vote_epoch, epoch), &addr, true);
        }
    }

    fn send_ask(
        &mut self,
        cx: &mut Cx,
        id: PeerId,
        (vote_epoch, epoch): (Option<u64>, u64),
        about: &Addr,
        claimed: bool,
    ) {
        // The first of two may have found the connection broken.
        if !self.usable(self.peers[id].base.link) {
            return;
        }
        let ip = self.announced(about);
        let (port, epoch) = (about.port.to_string(), epoch.to_string());
        let myid = self.myid.clone();
        let runid: &[u8] = if vote_epoch.is_some() { &myid } else { b"*" };
        let verb: &[u8] = b"IS-MASTER-DOWN-BY-ADDR";
        let words = [b"SENTINEL", verb, &ip, port.as_bytes(), epoch.as_bytes(), runid];
        let config_epoch = self.masters[self.peers[id].master].config_epoch;
        let sent = Sent::Ask { peer: id, vote_epoch, config_epoch, claimed };
        self.peers[id].asks_in_flight += 1;
        self.send(cx, InstId::Peer(id), Channel::Cmd, sent, &words);
    }

    /// Whether peers are asked again and again: about a master that is down, or for votes that
    /// settle a conflict.
    fn is_asking(&self, id: MasterId) -> bool {
        let master = &self.masters[id];
        let electing = master.failover.is_some_and(|failover| {
            failover.cause == Cause::Conflict && failover.state == State::WaitStart
        });
        master.base.sdown.is || electing
    }

    /// Asks all connected peers at once, whatever is in flight.
    pub(super) fn ask_all(&mut self, cx: &mut Cx, master: MasterId) {
        let peers: Vec<PeerId> = self.masters[master].peers.values().copied().collect();
        for peer in peers {
            self.ask_peer(cx, peer);
        }
    }

    /// When a peer is to be asked again, or what it said grows too old.
    pub(super) fn ask_due(&self, id: PeerId) -> Mono {
        let peer = &self.peers[id];
        let said_much = peer.master_down || peer.leader.is_some();
        let expiry = match said_much && !defect(Defect::BelieveOldAnswers) {
            true => peer.last_ask_reply.after(ANSWER_PERIODS * self.periods.ask_ms + 1),
            false => NEVER,
        };
        expiry.min(self.next_ask(id))
    }

    /// When a peer is to be asked again, if at all.
    fn next_ask(&self, id: PeerId) -> Mono {
        let peer = &self.peers[id];
        let asking =
            self.is_asking(peer.master) && peer.asks_in_flight == 0 && self.usable(peer.base.link);
        if !asking {
            return NEVER;
        }
        let retry = peer.last_asked.map_or(Mono(0), |at| at.after(ASK_RETRY_MS));
        let due = peer.last_ask_reply.after(self.periods.ask_ms);
        if peer.ask_again { retry } else { due.max(retry) }
    }

    /// Whether what a peer last said does not count any more.
    fn is_old(&self, now: Mono, peer: &Peer) -> bool {
        let age_ms = now.since(peer.last_ask_reply);
        age_ms > ANSWER_PERIODS * self.periods.ask_ms && !defect(Defect::BelieveOldAnswers)
    }

    /// From the timer: asks again, forgets old answers.
    pub(super) fn keep_asking(&mut self, cx: &mut Cx, id: PeerId) {
        if self.is_old(cx.now, &self.peers[id]) {
            let peer = &mut self.peers[id];
            peer.master_down = false;
            peer.leader = None;
            let master = peer.master;
            self.check_odown(cx, master);
        }
        if self.next_ask(id) <= cx.now {
            self.ask_peer(cx, id);
        }
    }

    /// An answer `[down, leader or *, leader epoch]`; anything else counts as nothing. One that
    /// was asked for before a switch says nothing of the address that is held now.
    pub(super) fn ask_answered(
        &mut self,
        cx: &mut Cx,
        id: PeerId,
        (vote_epoch, config_epoch, claimed): (Option<u64>, u64, bool),
        reply: &Reply,
    ) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let master = peer.master;
        peer.asks_in_flight = peer.asks_in_flight.saturating_sub(1);
        let again = std::mem::take(&mut peer.ask_again);
        if let Reply::Array(items) = reply
            && let [Reply::Int(down), Reply::Bulk(leader), Reply::Int(epoch)] = items.as_slice()
        {
            if claimed {
                // What it says of its own master says nothing of ours; only the vote counts.
            } else if config_epoch == self.masters[master].config_epoch {
                peer.last_ask_reply = cx.now;
                peer.master_down = *down == 1;
                peer.answer = Some(*down == 1);
                peer.first_answer = peer.first_answer.or(peer.answer);
            } else if *down != 1 {
                // A newer configuration may also hold the same address: what the peer said before
                // it denied does not count any more.
                peer.master_down = false;
            }
            // A vote of an older epoch is no answer yet: the new one is being saved, slowly, or
            // could not be saved. The peer is asked again.
            let decided = |asked: &u64| u64::try_from(*epoch).is_ok_and(|told| told >= *asked);
            peer.vote_reply_epoch = vote_epoch.filter(decided).or(peer.vote_reply_epoch);
            let is_id = leader.len() <= 40 && leader.iter().all(u8::is_ascii_graphic);
            if *leader != b"*" && is_id && *epoch >= 0 {
                self.note_peer_vote(cx, id, leader, *epoch as u64);
            }
        }
        if again && self.is_asking(master) && self.tilt.since.is_none() {
            self.ask_peer(cx, id);
        }
        self.arm(cx.now, InstId::Peer(id));
        if self.tilt.since.is_none() {
            self.check_odown(cx, master);
            self.master_progress(cx, master);
        }
    }

    fn note_peer_vote(&mut self, cx: &mut Cx, id: PeerId, leader: &[u8], epoch: u64) {
        let peer = &mut self.peers[id];
        let news = peer.leader_epoch != epoch;
        peer.leader = Some(leader.to_vec());
        peer.leader_epoch = epoch;
        if news {
            let tail = format!(" {epoch}");
            let name = peer.base.name.as_slice();
            let text = || [name, b" voted for ", leader, tail.as_bytes()].concat();
            cx.log_limited(LineKind::PeerVote, text);
        }
    }

    /// A peer that asks us holds the master down, most likely: if we do too and it said
    /// otherwise last time, ask it again at once.
    pub(super) fn hint_from(&mut self, cx: &mut Cx, master: MasterId, asker: Option<&[u8]>) {
        if !self.masters[master].base.sdown.is || self.tilt.since.is_some() {
            return;
        }
        let peers: Vec<PeerId> = self.masters[master].peers.values().copied().collect();
        for id in peers {
            let peer = &mut self.peers[id];
            let meant = asker.is_none_or(|prefix| peer.base.runid.starts_with(prefix));
            if !meant || peer.master_down {
                continue;
            }
            if peer.asks_in_flight > 0 {
                peer.ask_again = true;
            } else if peer.answer == Some(false) {
                self.ask_peer(cx, id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, addr};
    use super::*;

    const PEER: &[u8] = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn an_ask_that_a_full_link_put_off_does_not_wait_for_the_next_period() {
        let mut bench = Bench::new();
        let id = bench.monitor(b"m");
        let at = addr("127.0.0.1", 26_380);
        let peer = bench.call(|sentinel, cx| sentinel.add_peer(cx, id, PEER, at));
        let conn = bench.call(|sentinel, cx| {
            sentinel.run_due(cx, 100, &mut false);
            let link = &mut sentinel.links[sentinel.peers[peer].base.link];
            link.cmd.as_ref().map(|conn| conn.id).unwrap()
        });
        bench.call(|sentinel, cx| {
            sentinel.masters[id].base.sdown.is = true;
            sentinel.peers[peer].last_ask_reply = cx.now;
            cx.out.buffer(conn).unwrap().resize(200_000, b' ');
            sentinel.ask_peer(cx, peer);
            assert_eq!(sentinel.peers[peer].asks_in_flight, 0);
            assert_eq!(sentinel.next_ask(peer), cx.now.after(ASK_RETRY_MS));
            cx.out.buffer(conn).unwrap().clear();
        });
        bench.pass(ASK_RETRY_MS);
        bench.call(|sentinel, cx| sentinel.keep_asking(cx, peer));
        assert_eq!(bench.sentinel.peers[peer].asks_in_flight, 1);
    }

    #[test]
    fn a_vote_for_what_is_no_id_does_not_count() {
        let mut bench = Bench::new();
        let id = bench.monitor(b"m");
        let peer = addr("127.0.0.1", 26_380);
        let peer = bench.call(|sentinel, cx| sentinel.add_peer(cx, id, PEER, peer));
        let long = [b'b'; 41];
        let bad: [&[u8]; 5] = [b"b\nc", b"\x1b[2J", b"b c", "\u{85}".as_bytes(), &long];
        for (leader, counts) in bad.map(|leader| (leader, false)).into_iter().chain([(PEER, true)])
        {
            let answer = Reply::Array(vec![Reply::Int(1), Reply::Bulk(leader), Reply::Int(7)]);
            bench.call(|sentinel, cx| sentinel.ask_answered(cx, peer, (None, 0, false), &answer));
            let told = bench.sentinel.peers[peer].leader.as_deref() == Some(leader);
            assert_eq!(told, counts, "{leader:?}");
            assert_eq!(bench.log().len(), usize::from(counts), "{leader:?}");
        }
    }

    #[test]
    fn an_answer_about_the_address_before_a_switch_does_not_count() {
        let mut bench = Bench::new();
        let id = bench.monitor(b"m");
        let peer = addr("127.0.0.1", 26_380);
        let peer = bench.call(|sentinel, cx| sentinel.add_peer(cx, id, PEER, peer));
        let yes = Reply::Array(vec![Reply::Int(1), Reply::Bulk(b"*"), Reply::Int(0)]);
        let mut hear = |config_epoch, answer: &Reply| {
            bench.call(|sentinel, cx| {
                sentinel.masters[id].config_epoch = 7;
                sentinel.masters[id].base.sdown.is = true;
                sentinel.ask_answered(cx, peer, (None, config_epoch, false), answer);
            });
            (bench.sentinel.peers[peer].master_down, bench.sentinel.masters[id].odown.is)
        };
        assert_eq!(hear(6, &yes), (false, false));
        assert_eq!(hear(7, &yes), (true, true));
        let no = Reply::Array(vec![Reply::Int(0), Reply::Bulk(b"*"), Reply::Int(0)]);
        assert_eq!(hear(6, &no), (false, false), "but a denial does, the address may be the same");
    }
}
