//! When to try: staggered candidacies and early new elections (design/beyond.md 2).
//!
//! Sentinels that hold a master objectively down would all start at once and split the votes. So
//! they let each other go first, in an order that both of any two can tell from what they asked and
//! answered, without a message of its own (see `precedence`): who found the master down clearly
//! before the other goes first; of those that found it at the same time, the one with the smaller
//! run id. Peers that would not answer, or that do not hold the master down, are not waited for.
//! The first one starts at once, each further one a step later (see [`step_ms`], [`stagger_ms`]);
//! a vote given to another ends the wait.
//!
//! The order of the run ids is the same for all masters and epochs, so of masters that fail
//! together and are found down at the same time one sentinel leads most, and its epochs reach the
//! voters in order. An election that failed nevertheless is repeated early ([`retry_ms`]), not
//! after 2 × failover-timeout only.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::Sentinel;
use super::action::Cx;
use super::failover::{Cause, Failover, State};
use super::instance::{InstId, MasterId, Peer, PeerId, Role};
use super::log_limit::LineKind;
use super::timers::NEVER;
use crate::util::defect::{Defect, defect};
use crate::util::time::{Mono, Wall};

/// Bounds of the step between candidates, in ms.
const STEP_MIN_MS: u64 = 20;
const STEP_MAX_MS: u64 = 250;
/// A leader that was out of our sight when it got our vote has this long for its work, in ms.
const UNSEEN_LEADER_MS: u64 = 1_000;
/// A peer that asked so many ask-periods before our own sdown holds the master down still.
const DENIAL_PERIODS: u64 = 2;
/// At most so many candidates are waited for.
const MAX_STEPS: u64 = 5;
/// So many attempts in a row are repeated at once if nobody else does so.
const UNOPPOSED_MAX: u32 = 2;
/// Early new elections after failed ones; then the plain delay of 2 × failover-timeout.
const MAX_EARLY: u32 = 8;

/// What is remembered of elections for one master, as long as it stays sdown.
#[derive(Clone, Debug, Default)]
pub struct Election {
    /// An early new attempt of ours, after one that failed.
    pub retry_at: Option<Mono>,
    /// Early attempts so far.
    pub attempts: u32,
    /// The last attempt found no suitable replica: wait until there is one.
    pub needs_replica: bool,
    /// For whom we voted last.
    pub voted_for: Option<VotedFor>,
}

/// The leader we are waiting for.
#[derive(Clone, Debug)]
pub struct VotedFor {
    pub leader: Vec<u8>,
    /// Until then it may work though we do not see it: it asked for the vote, so it was alive.
    pub trusted_until: Mono,
}

impl Election {
    /// The master goes down: earlier attempts, which settled no conflict, do not count. Whom we
    /// voted for is not forgotten.
    pub fn begin(&mut self) {
        *self = Election { voted_for: self.voted_for.take(), ..Election::default() };
    }

    /// The master is up again.
    pub fn calm_down(&mut self) {
        *self = Election::default();
    }
}

/// The step D between candidates: long enough for a vote to be asked for, saved and told.
pub fn step_ms(round_trip_8th_ms: u64, save_ms: u64) -> u64 {
    (4 * (round_trip_8th_ms.div_ceil(8) + save_ms)).clamp(STEP_MIN_MS, STEP_MAX_MS)
}

/// How long to let others go first: `smaller` peers with smaller run ids, and `earlier` peers that
/// found the master down before us. The latter are about to start, or no majority would agree with
/// us already, so half a step does; and three sentinels that each wait for the next do not go on
/// waiting, nor start together.
pub fn stagger_ms(smaller: u64, earlier: u64, step_ms: u64) -> u64 {
    let later_ms = match earlier {
        0 => 0,
        n => step_ms / 2 + (n - 1).min(MAX_STEPS) * step_ms / 4,
    };
    smaller.min(MAX_STEPS) * step_ms + later_ms
}

/// The pause before an early new attempt; `rank` 0 is the best placed candidate.
pub fn retry_ms(rank: u64, attempt: u32, step_ms: u64) -> u64 {
    let doubled = attempt.saturating_sub(2).min(MAX_EARLY);
    ((rank + 1) * step_ms) << doubled
}

/// How a peer stands to us among the candidates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Precedence {
    /// It held the master down when we did not.
    Earlier,
    /// At the same time as we, and its run id is smaller.
    Smaller,
    /// It lets us go first, or does not hold the master down; or nobody knows when it will start,
    /// as it is no sentineld and knows no order.
    Behind,
}

/// How an attempt failed, for the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Retry {
    /// So many candidates go before us.
    Ranked(u64),
    /// The others do not try again before 2 × failover-timeout, as Redis Sentinel does not: their
    /// votes are free for the next epoch.
    Unopposed,
}

/// The outcome of a count of votes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    Won,
    /// Somebody else has the majority.
    Lost,
    /// No majority is possible any more.
    Split,
    Open,
}

/// Judges votes: `mine` and `best_other` were given, `open` may still come.
pub fn judge(voters: usize, quorum: usize, mine: usize, best_other: usize, open: usize) -> Count {
    let majority = voters / 2 + usize::from(!defect(Defect::MajorityOffByOne));
    let needed = majority.max(if defect(Defect::IgnoreQuorumOfVotes) { 0 } else { quorum });
    if mine >= needed {
        Count::Won
    } else if best_other >= majority {
        Count::Lost
    } else if mine + open < needed {
        Count::Split
    } else {
        Count::Open
    }
}

impl Sentinel {
    pub(super) fn step_of(&self, id: MasterId) -> u64 {
        let trips = self.peers_of(id).filter_map(|peer| self.links[peer.base.link].rtt_8th_ms);
        step_ms(trips.max().unwrap_or(0), self.saves.took_ms())
    }

    /// Whether a peer would answer: connected, and no PING outstanding for over two periods.
    pub(super) fn is_live(&self, now: Mono, peer: &Peer) -> bool {
        let link = &self.links[peer.base.link];
        let period_ms = self.ping_period_ms(InstId::Peer(peer.id));
        link.connected() && link.unanswered_ms(now) <= 2 * period_ms
    }

    pub(super) fn majority_is_live(&self, now: Mono, id: MasterId) -> bool {
        let live = self.peers_of(id).filter(|peer| self.is_live(now, peer)).count() + 1;
        let voters = self.masters[id].peers.len() + 1;
        live > voters / 2
    }

    fn a_replica_is_master(&self, id: MasterId) -> bool {
        let mut replicas = self.replicas_of(id);
        let is_master = |replica: &super::instance::Replica| {
            replica.data.role_reported == Role::Master && !replica.base.sdown.is
        };
        replicas.any(is_master)
    }

    /// When a failover of this master may start, as things stand.
    pub(super) fn start_due(&self, now: Mono, id: MasterId) -> Mono {
        let master = &self.masters[id];
        let odown = match defect(Defect::StartWithoutOdown) {
            true => &master.base.sdown,
            false => &master.odown,
        };
        let (true, Some(odown_since)) = (odown.is, odown.since) else { return NEVER };
        let waits = master.failover.is_some() || self.waits_for_vote(id);
        if waits || self.next_epoch(now, id).is_none() {
            return NEVER;
        }
        let steps = self.stagger_now(now, id);
        let plain = odown_since.max(self.next_attempt(id)).after(steps);
        let lost = self.leader_lost(id).map_or(NEVER, |at| odown_since.max(at).after(steps));
        plain.min(lost).min(self.early_retry(now, id))
    }

    /// A vote for another is being saved: wait for how that ends.
    pub(super) fn waits_for_vote(&self, id: MasterId) -> bool {
        let book = &self.masters[id].vote;
        let promised = book.latest().leader.as_ref().is_some_and(|id| *id != self.myid);
        promised && !book.pending.is_empty()
    }

    fn stagger_now(&self, now: Mono, id: MasterId) -> u64 {
        if defect(Defect::NoStagger) {
            return 0;
        }
        let (mut smaller, mut earlier) = (0, 0);
        for peer in self.peers_of(id).filter(|peer| self.is_live(now, peer)) {
            match self.precedence(id, peer) {
                Precedence::Earlier => earlier += 1,
                Precedence::Smaller => smaller += 1,
                Precedence::Behind => {}
            }
        }
        stagger_ms(smaller, earlier, self.step_of(id))
    }

    /// Whether a peer staggers its candidacies: it runs sentineld, or may not say what it runs.
    fn keeps_order(&self, peer: &Peer) -> bool {
        let cmd = self.links[peer.base.link].cmd.as_ref();
        self.sentineld_peers.contains(&peer.base.runid)
            || cmd.is_some_and(|conn| conn.setinfo_denied)
    }

    /// Whether a peer is to step forward before us. Who asks and is told 0 has found the master
    /// down first, and both know it; who is told 1 found it at the same time, and the smaller run
    /// id decides. So of two sentinels that both hold the master down one goes first, and whoever
    /// comes late does not cross the candidacy that those before it are about to start.
    fn precedence(&self, id: MasterId, peer: &Peer) -> Precedence {
        if !self.keeps_order(peer) {
            return Precedence::Behind;
        }
        let down_since = self.masters[id].base.sdown.since.unwrap_or_default();
        // A peer that holds the master down asks again and again.
        let recent = |at: Mono| down_since.since(at) <= DENIAL_PERIODS * self.periods.ask_ms;
        let denied = peer.denied.is_some_and(recent);
        match (denied, peer.answer, peer.first_answer) {
            (_, Some(false), _) | (false, _, Some(false)) => Precedence::Behind,
            (true, ..) => Precedence::Earlier,
            _ if peer.base.runid < self.myid => Precedence::Smaller,
            _ => Precedence::Behind,
        }
    }

    /// A peer asked, and was told that the master is not down.
    pub(super) fn note_denial(&mut self, now: Mono, id: MasterId, asker: Option<&[u8]>) {
        let Some(asker) = asker else { return };
        let peers = self.masters[id].peers.values();
        let meant = |peer: &&PeerId| self.peers[**peer].base.runid.starts_with(asker);
        if let Some(peer) = peers.copied().find(|peer| meant(&peer)) {
            self.peers[peer].denied = Some(now);
        }
    }

    /// When C's rule allows the next attempt.
    pub(super) fn next_attempt(&self, id: MasterId) -> Mono {
        let master = &self.masters[id];
        let wait_ms = master.options.failover_timeout_ms.saturating_mul(2);
        master.failover_start.map_or(Mono(0), |start| start.after(wait_ms))
    }

    /// Since when the leader we voted for is gone, if it is and nobody was promoted.
    fn leader_lost(&self, id: MasterId) -> Option<Mono> {
        self.leader_gone(id).filter(|_| !self.a_replica_is_master(id))
    }

    /// Since when the leader we voted for is gone, if it is.
    pub(super) fn leader_gone(&self, id: MasterId) -> Option<Mono> {
        let master = &self.masters[id];
        let voted = master.election.voted_for.as_ref()?;
        let peer = &self.peers[*master.peers.get(&voted.leader)?];
        let link = &self.links[peer.base.link];
        match (peer.base.sdown.is, link.connected()) {
            (false, true) => None,
            _ => {
                let lost = link.outstanding_since.or(peer.base.sdown.since);
                lost.map(|at| at.max(voted.trusted_until))
            }
        }
    }

    fn early_retry(&self, now: Mono, id: MasterId) -> Mono {
        let election = &self.masters[id].election;
        let Some(at) = election.retry_at else { return NEVER };
        let hopeless = election.needs_replica && !self.has_selectable_replica(now, id);
        if hopeless || self.a_replica_is_master(id) || !self.majority_is_live(now, id) {
            return NEVER;
        }
        at
    }

    /// Starts a failover if its time has come; logs once if it must wait for long.
    pub(super) fn consider_start(&mut self, cx: &mut Cx, id: MasterId) {
        if self.start_due(cx.now, id) <= cx.now {
            self.start_failover(cx, id, Cause::Down);
            return;
        }
        if self.settle_due(cx.now, id) <= cx.now {
            if self.masters[id].election.attempts == 0 {
                self.log_conflict(cx, id);
            }
            self.start_failover(cx, id, Cause::Conflict);
            return;
        }
        let next = self.next_attempt(id);
        // An early attempt comes sooner than that line would tell.
        let early = self.start_due(cx.now, id) < next;
        let master = &mut self.masters[id];
        let blocked = master.odown.is && master.failover.is_none() && next > cx.now && !early;
        if !blocked || master.delay_logged_for == master.failover_start {
            return;
        }
        master.delay_logged_for = master.failover_start;
        let at = Wall { unix_ms: cx.wall.unix_ms + next.since(cx.now), ..cx.wall };
        let when = at.ctime();
        let text = || format!("Next failover delay: I will not start a failover before {when}");
        cx.log_limited(LineKind::FailoverDelay, text);
    }

    fn voted_for(&self, now: Mono, id: MasterId, leader: Vec<u8>) -> VotedFor {
        let peer = self.masters[id].peers.get(&leader).map(|peer| &self.peers[*peer]);
        let unseen = peer.is_some_and(|peer| !self.is_live(now, peer));
        let trusted_until = now.after(if unseen { UNSEEN_LEADER_MS } else { 0 });
        VotedFor { leader, trusted_until }
    }

    /// We voted for another: let it work.
    pub(super) fn defer_to(&mut self, cx: &mut Cx, id: MasterId, leader: Vec<u8>, epoch: u64) {
        let start = cx.now.after(cx.rng.below(1_000));
        let voted_for = Some(self.voted_for(cx.now, id, leader));
        let master = &mut self.masters[id];
        master.failover_start = Some(start);
        master.election = Election { voted_for, ..Election::default() };
        self.abort_older(cx, id, epoch);
    }

    /// Our vote in that epoch went to somebody who replaces another master: if we are a candidate
    /// in an older one, we need a new one.
    pub(super) fn give_up_older(&mut self, cx: &mut Cx, id: MasterId, epoch: u64) {
        if self.abort_older(cx, id, epoch) {
            self.schedule_retry(cx, id, Retry::Ranked(0));
        }
    }

    fn abort_older(&mut self, cx: &mut Cx, id: MasterId, epoch: u64) -> bool {
        let candidate = self.masters[id]
            .failover
            .is_some_and(|failover| failover.state == State::WaitStart && failover.epoch < epoch);
        if candidate {
            self.abort_failover(cx, id, "-failover-abort-not-elected");
        }
        candidate
    }

    /// One look at the votes in wait_start.
    pub(super) fn count_votes(&mut self, cx: &mut Cx, id: MasterId, failover: &Failover) {
        let own = &self.masters[id].vote;
        let counted = if defect(Defect::CountUnsavedVote) { own.latest() } else { &own.durable };
        let own_saved =
            counted.epoch == failover.epoch && counted.leader.as_ref() == Some(&self.myid);
        if failover.cause == Cause::Forced {
            match own_saved {
                true => self.elected(cx, id),
                false => self.check_election_timeout(cx, id, failover),
            }
            return;
        }
        let own_open = own.pending.iter().any(|(_, vote)| vote.epoch == failover.epoch);
        let mut votes: BTreeMap<&[u8], usize> = BTreeMap::new();
        let mut open = usize::from(own_open);
        for peer in self.peers_of(id) {
            match &peer.leader {
                Some(leader)
                    if peer.leader_epoch == failover.epoch || defect(Defect::CountOldVotes) =>
                {
                    *votes.entry(leader).or_default() += 1;
                }
                // A split vote must not wait for a peer that is down.
                _ if peer.vote_reply_epoch != Some(failover.epoch) && !peer.base.sdown.is => {
                    open += 1;
                }
                _ => {}
            }
        }
        *votes.entry(&self.myid).or_default() += usize::from(own_saved);
        let mine = votes[self.myid.as_slice()];
        let ahead = |(leader, count): &(&&[u8], &usize)| {
            **count > mine || (**count == mine && **leader < self.myid.as_slice())
        };
        let others = || votes.iter().filter(|(leader, _)| **leader != self.myid.as_slice());
        let rank = others().filter(ahead).count() as u64;
        let best = others().max_by_key(|(_, count)| **count);
        let best_other = best.map_or(0, |(_, count)| *count);
        let winner = best.map(|(leader, _)| leader.to_vec());
        let peers = &self.masters[id].peers;
        let staggers = |leader: &[u8]| {
            peers.get(leader).is_some_and(|peer| self.keeps_order(&self.peers[*peer]))
        };
        let alone = others().all(|(leader, _)| !staggers(leader));
        let voters = self.masters[id].peers.len() + 1;
        let quorum = self.masters[id].options.quorum as usize;
        match judge(voters, quorum, mine, best_other, open) {
            Count::Won if own_saved => self.elected(cx, id),
            Count::Won | Count::Open => self.check_election_timeout(cx, id, failover),
            // The own vote is told first, so that the log reads in order.
            Count::Split if own_open => self.check_election_timeout(cx, id, failover),
            Count::Lost => {
                let leader = winner.unwrap_or_default();
                let voted_for = Some(self.voted_for(cx.now, id, leader));
                self.masters[id].election.voted_for = voted_for;
                self.abort_failover(cx, id, "-failover-abort-not-elected");
            }
            Count::Split => {
                self.abort_failover(cx, id, "-failover-abort-not-elected");
                match alone && best_other > 0 {
                    true => self.schedule_retry(cx, id, Retry::Unopposed),
                    false => self.schedule_retry(cx, id, Retry::Ranked(rank)),
                }
            }
        }
    }

    fn check_election_timeout(&mut self, cx: &mut Cx, id: MasterId, failover: &Failover) {
        if self.election_deadline(id, failover) > cx.now {
            return;
        }
        self.abort_failover(cx, id, "-failover-abort-not-elected");
        self.schedule_retry(cx, id, Retry::Ranked(0));
    }

    /// When a failover in wait_start gives up.
    pub(super) fn election_deadline(&self, id: MasterId, failover: &Failover) -> Mono {
        if defect(Defect::ElectWithoutEnd) {
            return NEVER;
        }
        let master = &self.masters[id];
        let timeout_ms = self.periods.election_timeout_ms.min(master.options.failover_timeout_ms);
        master.failover_start.unwrap_or(failover.state_since).after(timeout_ms + 1)
    }

    /// After an attempt of ours that failed: try again soon, in the order of the candidates.
    pub(super) fn schedule_retry(&mut self, cx: &mut Cx, id: MasterId, retry: Retry) {
        let step_ms = self.step_of(id);
        let election = &mut self.masters[id].election;
        election.attempts += 1;
        election.retry_at = None;
        if election.attempts <= MAX_EARLY {
            let pause_ms = match retry {
                Retry::Unopposed if election.attempts <= UNOPPOSED_MAX => 0,
                Retry::Unopposed => retry_ms(0, election.attempts, step_ms),
                Retry::Ranked(rank) => {
                    let pause_ms = retry_ms(rank, election.attempts, step_ms);
                    pause_ms + cx.rng.below(step_ms / 4 + 1)
                }
            };
            election.retry_at = Some(cx.now.after(pause_ms));
        }
        self.arm(cx.now, InstId::Master(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_follows_round_trip_and_disk_within_bounds() {
        // Round trip in 1/8 ms, save in ms, D in ms.
        let table = [
            (0, 0, 20),
            (1, 0, 20),
            (8, 3, 20),
            (8, 4, 20),
            (8, 5, 24),
            (9, 5, 28),
            (80, 10, 80),
            (8 * 30, 32, 248),
            (8 * 30, 33, 250),
            (8 * 10_000, 10_000, 250),
        ];
        for (round_trip_8th_ms, save_ms, step) in table {
            assert_eq!(step_ms(round_trip_8th_ms, save_ms), step, "{round_trip_8th_ms} {save_ms}");
        }
    }

    #[test]
    fn others_go_first_in_steps() {
        // Peers with smaller ids, peers that were earlier, step, wait.
        let table = [
            (0, 0, 20, 0),
            (1, 0, 20, 20),
            (2, 0, 100, 200),
            (5, 0, 100, 500),
            (6, 0, 100, 500),
            (255, 0, 250, 1_250),
            (0, 1, 20, 10),
            (0, 2, 80, 60),
            (0, 255, 80, 140),
            (1, 1, 20, 30),
        ];
        for (smaller, earlier, step, wait) in table {
            assert_eq!(stagger_ms(smaller, earlier, step), wait, "{smaller} {earlier} {step}");
        }
    }

    #[test]
    fn the_pause_before_a_retry_doubles_from_the_third() {
        // Rank, attempt, step, pause.
        let table = [
            (0, 1, 20, 20),
            (0, 2, 20, 20),
            (0, 3, 20, 40),
            (0, 4, 20, 80),
            (0, 8, 20, 20 * 64),
            (2, 1, 20, 60),
            (2, 3, 20, 120),
            (0, u32::MAX, 250, 250 * 256),
        ];
        for (rank, attempt, step, pause) in table {
            assert_eq!(retry_ms(rank, attempt, step), pause, "{rank} {attempt} {step}");
        }
    }

    #[test]
    fn votes_are_judged_by_majority_and_quorum() {
        // Voters, quorum, own votes, best other, still open.
        let table = [
            // Alone.
            (1, 1, 1, 0, 0, Count::Won),
            (1, 1, 0, 0, 1, Count::Open),
            // Two need both.
            (2, 1, 1, 0, 1, Count::Open),
            (2, 1, 2, 0, 0, Count::Won),
            (2, 1, 1, 0, 0, Count::Split),
            // Three: two are enough, unless the quorum is three.
            (3, 2, 2, 0, 1, Count::Won),
            (3, 1, 1, 0, 2, Count::Open),
            (3, 1, 1, 0, 0, Count::Split),
            (3, 3, 2, 0, 1, Count::Open),
            (3, 3, 2, 1, 0, Count::Split),
            (3, 2, 1, 2, 0, Count::Lost),
            (3, 2, 1, 1, 1, Count::Open),
            (3, 2, 1, 1, 0, Count::Split),
            // The majority decides whatever the quorum; a small quorum does not shorten it.
            (5, 1, 2, 0, 1, Count::Open),
            (5, 1, 2, 2, 0, Count::Split),
            (5, 5, 4, 0, 0, Count::Split),
            (5, 5, 1, 3, 1, Count::Lost),
            // Even numbers: half is no majority.
            (4, 2, 2, 2, 0, Count::Split),
            (4, 2, 2, 1, 1, Count::Open),
            (4, 2, 3, 1, 0, Count::Won),
            // A quorum above the number of voters can never be reached.
            (3, 4, 3, 0, 0, Count::Split),
        ];
        for (voters, quorum, mine, other, open, outcome) in table {
            let judged = judge(voters, quorum, mine, other, open);
            assert_eq!(judged, outcome, "{voters} {quorum} {mine} {other} {open}");
        }
    }

    #[test]
    fn never_two_winners_and_never_no_outcome_at_the_end() {
        for voters in 1..=9 {
            for quorum in 1..=voters {
                for mine in 0..=voters {
                    let rest = voters - mine;
                    let won = |mine, other| judge(voters, quorum, mine, other, 0) == Count::Won;
                    assert!(!(won(mine, rest) && won(rest, mine)), "{voters} {quorum} {mine}");
                    assert_ne!(judge(voters, quorum, mine, rest, 0), Count::Open);
                }
            }
        }
    }
}
