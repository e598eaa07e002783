//! The failover, state by state (spec/protocol.md section 9, design/beyond.md 1).
//!
//! [`Sentinel::master_progress`] looks at a master whenever something about it has changed; each
//! state has one function. Up to the promotion a failover can be aborted; with the promotion the
//! master is switched at once, and what is left of the work is a [`Reconf`] beside the master.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::{Cx, LogLevel};
use super::election::Retry;
use super::event::{Event, Subject};
use super::instance::{InstId, MasterId, ReconfState, ReplicaId};
use super::orders::{Beside, Order};
use super::select::{Choice, FRESH_INFO_WAIT_MS, choose};
use super::timers::NEVER;
use crate::util::backoff::Backoff;
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

/// INFO after the promotion was asked for: first after this, then doubling, at most
/// [`INFO_GAP_MAX_MS`] apart.
pub(super) const INFO_GAP_FIRST_MS: u64 = 2;
pub(super) const INFO_GAP_MAX_MS: u64 = 100;
/// Exit code of SENTINEL SIMULATE-FAILURE.
const SIMULATED_CRASH_CODE: i32 = 99;
/// More states than a failover can pass through in one turn.
const MAX_STEPS_PER_TURN: usize = 8;

/// Why there is a failover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The master is objectively down.
    Down,
    /// SENTINEL FAILOVER: without an election.
    Forced,
    /// One config epoch has two addresses, see [`super::conflict`].
    Conflict,
}

/// A failover in progress, from its start to the switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failover {
    pub epoch: u64,
    pub cause: Cause,
    pub started: Mono,
    pub state: State,
    pub state_since: Mono,
    /// When the promotion was first asked for; asking again does not give it more time.
    pub promotion_since: Option<Mono>,
    pub attempt: Attempt,
}

/// How the chosen replica was asked so far, if it refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attempt {
    /// It takes no more than that beside SLAVEOF, which then is in no transaction.
    pub beside: Option<Beside>,
    /// It refused SLAVEOF the last time.
    pub refused: bool,
    /// When an order was lost with its connection; it may have run all the same.
    pub unanswered: Option<Mono>,
    pub retry: Backoff,
}

/// The states before the switch; what exists only in a state lives in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    WaitStart,
    SelectSlave,
    SendSlaveofNoOne {
        replica: ReplicaId,
    },
    WaitPromotion {
        replica: ReplicaId,
        next_info: Mono,
        info_gap_ms: u64,
    },
    /// A conflict is settled by keeping the master, once it says that it is one. It was told to be
    /// one when it said otherwise.
    KeepMaster {
        ordered: Option<Mono>,
        next_info: Mono,
        info_gap_ms: u64,
    },
}

impl State {
    /// The replica that is to be promoted.
    pub fn replica(&self) -> Option<ReplicaId> {
        match *self {
            State::SendSlaveofNoOne { replica } => Some(replica),
            State::WaitPromotion { replica, .. } => Some(replica),
            State::WaitStart | State::SelectSlave | State::KeepMaster { .. } => None,
        }
    }
}

/// What is left of a failover after the switch: replicas that do not yet follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reconf {
    pub since: Mono,
    pub cause: Cause,
    /// The old master, told to follow beside the count of parallel-syncs.
    pub old_master: Option<ReplicaId>,
}

impl Sentinel {
    /// Does for a master whatever can be done now: start, votes, the steps of a failover.
    pub(super) fn master_progress(&mut self, cx: &mut Cx, id: MasterId) {
        if self.tilt.since.is_some() && !defect(Defect::ActInTilt) {
            return;
        }
        for _ in 0..MAX_STEPS_PER_TURN {
            let before = self.masters[id].failover.map(|failover| failover.state);
            self.step(cx, id);
            if self.masters[id].failover.map(|failover| failover.state) == before {
                break;
            }
        }
        self.step_reconf(cx, id);
        self.arm(cx.now, InstId::Master(id));
    }

    fn step(&mut self, cx: &mut Cx, id: MasterId) {
        let Some(failover) = self.masters[id].failover else {
            self.consider_start(cx, id);
            return;
        };
        let chosen = failover.state.replica();
        if chosen.is_some_and(|replica| self.replicas[replica].base.sdown.is) {
            // C waits for failover-timeout here, though another replica may be well.
            self.abort_and_retry(cx, id, "-failover-abort-slave-timeout");
            self.recall_promotion(cx, &failover);
            return;
        }
        match failover.state {
            State::WaitStart => self.count_votes(cx, id, &failover),
            State::SelectSlave => self.select_slave(cx, id, &failover),
            State::SendSlaveofNoOne { replica } => self.promote(cx, id, &failover, replica),
            State::KeepMaster { .. } => self.keep_master(cx, id, &failover),
            State::WaitPromotion { replica, next_info, info_gap_ms } => {
                if self.failover_timed_out(cx, id, &failover) {
                    self.abort_and_retry(cx, id, "-failover-abort-slave-timeout");
                    self.recall_promotion(cx, &failover);
                } else if next_info <= cx.now {
                    let info_gap_ms = (info_gap_ms * 2).min(INFO_GAP_MAX_MS);
                    let next_info = cx.now.after(info_gap_ms);
                    let state = State::WaitPromotion { replica, next_info, info_gap_ms };
                    self.set_failover_state(id, state, failover.state_since);
                    self.send_info(cx, InstId::Replica(replica));
                }
            }
        }
    }

    /// When the failover of a master has to be looked at again.
    pub(super) fn failover_due(&self, now: Mono, id: MasterId) -> Mono {
        let master = &self.masters[id];
        let Some(failover) = &master.failover else {
            let start = self.start_due(now, id).min(self.settle_due(now, id));
            return start.min(self.reconf_due(id));
        };
        let timeout = failover.state_since.after(master.options.failover_timeout_ms + 1);
        match failover.state {
            State::WaitStart => self.election_deadline(id, failover),
            State::SelectSlave => failover.state_since.after(FRESH_INFO_WAIT_MS),
            State::SendSlaveofNoOne { .. } => match failover.attempt.retry.until() {
                retry if retry > now => timeout.min(retry),
                _ => timeout,
            },
            State::WaitPromotion { next_info, .. } | State::KeepMaster { next_info, .. } => {
                timeout.min(next_info)
            }
        }
    }

    /// Starts a failover in a new epoch, if one is left; the own vote is saved while the others are
    /// asked.
    pub(super) fn start_failover(&mut self, cx: &mut Cx, id: MasterId, cause: Cause) {
        let Some(epoch) = self.next_epoch(cx.now, id) else { return };
        self.end_reconf(cx, id);
        if epoch > self.current_epoch {
            self.raise_epoch(cx, id, epoch);
        }
        let start = cx.now.after(cx.rng.below(1_000));
        let now = cx.now;
        let state = State::WaitStart;
        let master = &mut self.masters[id];
        master.failover_start = Some(start);
        master.election.retry_at = None;
        master.election.needs_replica = false;
        master.election.voted_for = None;
        let promotion_since = None;
        let (started, state_since) = (now, now);
        let attempt = Attempt::default();
        let failover =
            Failover { epoch, cause, started, state, state_since, promotion_since, attempt };
        master.failover = Some(failover);
        self.plain_event(cx, Event::warning("+try-failover"), InstId::Master(id));
        let myid = self.myid.clone();
        self.record_vote(cx, id, myid, epoch);
        if self.masters[id].base.sdown.is || cause == Cause::Conflict {
            self.ask_all(cx, id);
        }
        if cause == Cause::Conflict {
            self.send_info(cx, InstId::Master(id));
        }
        if cause != Cause::Down {
            // As sdown would have done.
            self.ask_replicas_info(cx, id);
            self.read_all_hellos(cx, id);
        }
        self.arm(cx.now, InstId::Master(id));
    }

    /// The own vote could not be saved: without it nobody is elected. A forced failover needs no
    /// votes and goes on, as in C.
    pub(super) fn own_vote_lost(&mut self, cx: &mut Cx, id: MasterId, epoch: u64) {
        // In tilt nothing is done; the election timeout ends the attempt afterwards.
        if self.tilt.since.is_some() {
            return;
        }
        let Some(failover) = self.masters[id].failover else { return };
        if failover.epoch != epoch || failover.state != State::WaitStart {
            return;
        }
        if failover.cause == Cause::Forced {
            self.elected(cx, id);
        } else {
            self.abort_and_retry(cx, id, "-failover-abort-not-elected");
        }
    }

    pub(super) fn elected(&mut self, cx: &mut Cx, id: MasterId) {
        self.plain_event(cx, Event::warning("+elected-leader"), InstId::Master(id));
        if self.simulate.crash_after_election {
            self.simulated_crash(cx);
            self.crash(cx);
        }
        self.set_failover_state(id, State::SelectSlave, cx.now);
        let event = Event::warning("+failover-state-select-slave");
        self.plain_event(cx, event, InstId::Master(id));
    }

    /// SENTINEL SIMULATE-FAILURE: from here on silence; what must be on disk gets there first.
    fn simulated_crash(&mut self, cx: &mut Cx) {
        cx.log(LogLevel::Warning, "Sentinel CRASH because of SENTINEL simulate-failure");
        self.crash_after = Some(self.saves.at_once(cx.now));
    }

    pub(super) fn crash(&mut self, cx: &mut Cx) {
        cx.exit(SIMULATED_CRASH_CODE, false);
    }

    pub(super) fn set_failover_state(&mut self, id: MasterId, state: State, since: Mono) {
        if let Some(failover) = &mut self.masters[id].failover {
            failover.state = state;
            failover.state_since = since;
        }
    }

    fn select_slave(&mut self, cx: &mut Cx, id: MasterId, failover: &Failover) {
        if failover.cause == Cause::Conflict {
            self.select_contender(cx, id, failover);
            return;
        }
        let fault = self.fault_time(id, failover.started);
        let candidates = self.candidates(cx.now, id, fault);
        let limits = self.select_limits(cx.now, id);
        let claimed = self.claimed_master(cx.now, id, fault);
        let claimed = claimed.filter(|_| failover.cause == Cause::Down).map(Choice::Take);
        let waited_ms = cx.now.since(failover.state_since);
        match claimed.unwrap_or_else(|| choose(&candidates, &limits, waited_ms)) {
            Choice::Wait => {}
            Choice::Nobody => {
                self.masters[id].election.needs_replica = true;
                self.abort_and_retry(cx, id, "-failover-abort-no-good-slave");
            }
            Choice::Take(replica) => self.selected(cx, id, replica),
        }
    }

    pub(super) fn selected(&mut self, cx: &mut Cx, id: MasterId, replica: ReplicaId) {
        let inst = InstId::Replica(replica);
        self.plain_event(cx, Event::warning("+selected-slave"), inst);
        self.set_failover_state(id, State::SendSlaveofNoOne { replica }, cx.now);
        let event = Event::notice("+failover-state-send-slaveof-noone");
        self.plain_event(cx, event, inst);
    }

    pub(super) fn failover_timed_out(&self, cx: &Cx, id: MasterId, failover: &Failover) -> bool {
        cx.now.since(failover.state_since) > self.masters[id].options.failover_timeout_ms
    }

    /// A vote for a newer epoch was given meanwhile: its leader may be at work already.
    pub(super) fn has_voted_since(&self, id: MasterId, failover: &Failover) -> bool {
        let voted_epoch = self.masters[id].vote.last_epoch();
        let elected = failover.cause != Cause::Forced;
        let voted_since =
            voted_epoch > failover.epoch || (voted_epoch != failover.epoch && elected);
        voted_since && !defect(Defect::PromoteAfterNewerVote)
    }

    fn promote(&mut self, cx: &mut Cx, id: MasterId, failover: &Failover, replica: ReplicaId) {
        if self.has_voted_since(id, failover) {
            self.abort_failover(cx, id, "-failover-abort-not-elected");
            return;
        }
        // Also when the replica can be reached again, as after a tilt: the choice is too old, and
        // the next step would give up what was just sent.
        if self.failover_timed_out(cx, id, failover) {
            self.abort_and_retry(cx, id, "-failover-abort-slave-timeout");
            return;
        }
        let attempt = failover.attempt;
        if self.gives_up_promotion(cx.now, id, replica, &attempt) {
            self.masters[id].election.needs_replica = true;
            self.abort_and_retry(cx, id, "-failover-abort-slave-timeout");
            return;
        }
        let inst = InstId::Replica(replica);
        if attempt.retry.until() > cx.now || !self.usable(self.base(inst).link) {
            return;
        }
        let info_gap_ms = INFO_GAP_FIRST_MS;
        let next_info = cx.now.after(info_gap_ms);
        let state = State::WaitPromotion { replica, next_info, info_gap_ms };
        // Before sending: a connection that breaks in it puts the state back.
        let since = failover.promotion_since.unwrap_or(cx.now);
        self.set_failover_state(id, state, since);
        if let Some(failover) = &mut self.masters[id].failover {
            failover.promotion_since = Some(since);
            failover.attempt.refused = false;
        }
        let order = Order::Promote { epoch: failover.epoch };
        self.send_order(cx, inst, order, None, attempt.beside);
        self.send_info(cx, inst);
        // Not for an order that is given again as it was refused.
        if !attempt.refused && attempt.beside.is_none() {
            self.plain_event(cx, Event::notice("+failover-state-wait-promotion"), inst);
        }
        if defect(Defect::PromoteUnchecked) {
            self.promoted(cx, id, replica);
        }
    }

    /// The connection to a replica broke: if it was being promoted, the transaction may be lost
    /// and is sent again over the next connection. The time limit of the state runs on.
    pub(super) fn promotion_interrupted(&mut self, now: Mono, id: ReplicaId) {
        let master = self.replicas[id].master;
        if let Some(failover) = &mut self.masters[master].failover
            && matches!(failover.state, State::WaitPromotion { replica, .. } if replica == id)
        {
            failover.state = State::SendSlaveofNoOne { replica: id };
            failover.attempt.unanswered = Some(now);
        }
    }

    /// The chosen replica reports master: switch at once, tell everybody, then see to the rest.
    pub(super) fn promoted(&mut self, cx: &mut Cx, id: MasterId, replica: ReplicaId) {
        let Some(failover) = self.masters[id].failover else { return };
        self.conflict_settled(cx.now, id);
        if !defect(Defect::PromoteWithoutEpoch) {
            self.masters[id].config_epoch = failover.epoch;
        }
        self.plain_event(cx, Event::warning("+promoted-slave"), InstId::Replica(replica));
        if self.simulate.crash_after_promotion {
            self.simulated_crash(cx);
        }
        let event = Event::warning("+failover-state-reconf-slaves");
        self.plain_event(cx, event, InstId::Master(id));
        let from = self.told_address(id);
        let new = self.replicas[replica].base.addr.clone();
        let to = (self.announced(&new), new.port);
        self.queue_reconfig_script(cx, id, b"leader", from.clone(), to.clone());
        self.switch_event(cx, id, &from, &to);
        let old_master = self.switch_to(cx, id, new);
        self.begin_reconf(cx.now, id, failover.cause, old_master);
        self.saves.at_once(cx.now);
        self.hello_to_all(cx, id);
        if let Some(old_master) = old_master {
            self.demote(cx, id, old_master);
        }
        self.step_reconf(cx, id);
    }

    pub(super) fn begin_reconf(
        &mut self,
        now: Mono,
        id: MasterId,
        cause: Cause,
        old_master: Option<ReplicaId>,
    ) {
        self.masters[id].reconf = Some(Reconf { since: now, cause, old_master });
    }

    /// Tells the old master to follow; a frozen one does so the moment it wakes.
    fn demote(&mut self, cx: &mut Cx, id: MasterId, old_master: ReplicaId) {
        let to = self.masters[id].base.addr.clone();
        self.send_slaveof(cx, InstId::Replica(old_master), Some(&to));
    }

    pub(super) fn switch_event(
        &mut self,
        cx: &mut Cx,
        id: MasterId,
        from: &(Vec<u8>, u16),
        to: &(Vec<u8>, u16),
    ) {
        let name = self.masters[id].base.name.clone();
        let (from_port, to_port) = (from.1.to_string(), to.1.to_string());
        let words: [&[u8]; 5] = [&name, &from.0, from_port.as_bytes(), &to.0, to_port.as_bytes()];
        let text = words.join(&b' ');
        self.event(cx, Event::warning("+switch-master"), Subject::Quiet(id), &text);
    }

    pub(super) fn abort_failover(&mut self, cx: &mut Cx, id: MasterId, name: &'static str) {
        self.masters[id].failover = None;
        self.plain_event(cx, Event::warning(name), InstId::Master(id));
    }

    pub(super) fn abort_and_retry(&mut self, cx: &mut Cx, id: MasterId, name: &'static str) {
        self.abort_failover(cx, id, name);
        self.schedule_retry(cx, id, Retry::Ranked(0));
    }

    /// After the switch: replicas told to follow, at most parallel-syncs at a time.
    pub(super) fn step_reconf(&mut self, cx: &mut Cx, id: MasterId) {
        let Some(reconf) = self.masters[id].reconf else { return };
        self.give_up_slow_replicas(cx, id);
        let timeout_ms = self.masters[id].options.failover_timeout_ms;
        let late = cx.now.since(reconf.since) > timeout_ms;
        let down = self.masters[id].base.sdown.is;
        let left = self.replicas_left(id, &reconf);
        if !down && (left.is_empty() || late) {
            if late && !left.is_empty() {
                let event = Event::warning("+failover-end-for-timeout");
                self.plain_event(cx, event, InstId::Master(id));
            }
            let told = |id: &ReplicaId| self.replicas[*id].reconf == ReconfState::Sent;
            let rest: Vec<ReplicaId> = left.into_iter().filter(|id| !told(id)).collect();
            self.end_reconf(cx, id);
            for replica in rest {
                self.reconf_best_effort(cx, id, replica);
            }
            return;
        }
        let active = |id: &ReplicaId| {
            matches!(self.replicas[*id].reconf, ReconfState::Sent | ReconfState::InProgress)
        };
        let most = match defect(Defect::IgnoreParallelSyncs) {
            true => usize::MAX,
            false => self.masters[id].options.parallel_syncs as usize,
        };
        let free = most.saturating_sub(left.iter().filter(|id| active(id)).count());
        let waiting = |replica: &&ReplicaId| {
            let replica = &self.replicas[**replica];
            replica.reconf == ReconfState::None && self.usable(replica.base.link)
        };
        let next: Vec<ReplicaId> = left.iter().filter(waiting).take(free).copied().collect();
        for replica in next {
            self.reconf_one(cx, id, replica);
            self.plain_event(cx, Event::notice("+slave-reconf-sent"), InstId::Replica(replica));
        }
    }

    /// Replicas that are up, were not promoted and do not follow yet. One that is the new master
    /// under another address does not count, or it would keep the reconfiguration open.
    fn replicas_left(&self, id: MasterId, reconf: &Reconf) -> Vec<ReplicaId> {
        let own = &self.masters[id].base.addr;
        let left = |replica: &&super::instance::Replica| {
            replica.reconf != ReconfState::Done
                && !replica.base.sdown.is
                && Some(replica.id) != reconf.old_master
                && self.may_follow(InstId::Replica(replica.id), own)
        };
        self.replicas_of(id).filter(left).map(|replica| replica.id).collect()
    }

    fn reconf_one(&mut self, cx: &mut Cx, id: MasterId, replica: ReplicaId) {
        let to = self.masters[id].base.addr.clone();
        self.send_slaveof(cx, InstId::Replica(replica), Some(&to));
        self.send_info(cx, InstId::Replica(replica));
        let entry = &mut self.replicas[replica];
        entry.reconf = ReconfState::Sent;
        entry.reconf_sent = Some(cx.now);
        self.arm(cx.now, InstId::Replica(replica));
    }

    fn reconf_best_effort(&mut self, cx: &mut Cx, id: MasterId, replica: ReplicaId) {
        if self.usable(self.replicas[replica].base.link) {
            let to = self.masters[id].base.addr.clone();
            if self.send_slaveof(cx, InstId::Replica(replica), Some(&to)) {
                let event = Event::notice("+slave-reconf-sent-be");
                self.plain_event(cx, event, InstId::Replica(replica));
            }
        }
    }

    fn give_up_slow_replicas(&mut self, cx: &mut Cx, id: MasterId) {
        let limit_ms = self.periods.slave_reconf_timeout_ms;
        let late = |sent: Option<Mono>| sent.is_some_and(|at| cx.now.since(at) > limit_ms);
        let slow: Vec<ReplicaId> = self
            .replicas_of(id)
            .filter(|replica| replica.reconf == ReconfState::Sent && late(replica.reconf_sent))
            .map(|replica| replica.id)
            .collect();
        for replica in slow {
            self.replicas[replica].reconf = ReconfState::Done;
            let event = Event::notice("-slave-reconf-sent-timeout");
            self.plain_event(cx, event, InstId::Replica(replica));
        }
    }

    /// INFO of a replica that was told to follow: sent → in progress → done.
    pub(super) fn note_reconf(&mut self, cx: &mut Cx, id: ReplicaId, follows: bool) {
        if self.replicas[id].reconf == ReconfState::Sent && follows {
            self.replicas[id].reconf = ReconfState::InProgress;
            self.plain_event(cx, Event::notice("+slave-reconf-inprog"), InstId::Replica(id));
        }
        let replica = &mut self.replicas[id];
        if replica.reconf == ReconfState::InProgress && replica.master_link_up {
            replica.reconf = ReconfState::Done;
            self.plain_event(cx, Event::notice("+slave-reconf-done"), InstId::Replica(id));
        }
    }

    /// Ends what is left of a switched failover, if anything.
    pub(super) fn end_reconf(&mut self, cx: &mut Cx, id: MasterId) {
        if self.masters[id].reconf.take().is_none() {
            return;
        }
        for replica in self.masters[id].replicas.values() {
            self.replicas[*replica].reconf = ReconfState::None;
        }
        self.plain_event(cx, Event::warning("+failover-end"), InstId::Master(id));
    }

    fn reconf_due(&self, id: MasterId) -> Mono {
        let master = &self.masters[id];
        let Some(reconf) = &master.reconf else { return NEVER };
        // While the new master is down nothing ends, see `step_reconf`.
        let end = match master.base.sdown.is {
            true => NEVER,
            false => reconf.since.after(master.options.failover_timeout_ms + 1),
        };
        let limit_ms = self.periods.slave_reconf_timeout_ms;
        let sent = self.replicas_of(id).filter(|replica| replica.reconf == ReconfState::Sent);
        let slow = sent.filter_map(|replica| replica.reconf_sent).min();
        end.min(slow.map_or(NEVER, |at| at.after(limit_ms + 1)))
    }

    /// Whether the replica is the one a failover in progress promotes.
    pub(super) fn is_promoted(&self, id: ReplicaId) -> bool {
        let master = &self.masters[self.replicas[id].master];
        master.failover.as_ref().is_some_and(|failover| failover.state.replica() == Some(id))
    }
}
