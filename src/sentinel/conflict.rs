//! Two addresses in one config epoch: who is the master?
//!
//! Every elected failover has an epoch of its own, so the largest config epoch wins everywhere.
//! SENTINEL FAILOVER is not elected: two of them at once, or one beside an election, can end in the
//! same epoch with two addresses, and hellos then change nothing (C stays like that until the next
//! failover). Here whoever hears of it starts an ordinary failover, with an election, so that one
//! address gets an epoch above the others:
//!
//! - A *claim* is a hello of our own config epoch that names another address. It counts only if
//!   that address is a replica that we know, and only for a while after the last such hello.
//! - The address wins that says master when *we* ask it; if several do, the one with the larger
//!   replication offset, then the smaller address. If none does, and the one that we hold says
//!   slave, the same order decides: two failovers have demoted each other's master.
//! - A sentinel whose address loses starts at once. One whose address wins leaves that to the
//!   others first, and then only acts if the claim is repeated: a single forged hello does nothing.
//! - Peers are asked for their vote under the address that they hold (C knows no other) and under
//!   ours.
//! - After each such failover there is a pause, which grows up to [`LONGEST_PAUSE_MS`], so that
//!   claims without end do not cause failovers without end.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Sentinel;
use super::action::Cx;
use super::event::Event;
use super::failover::{Cause, Failover, INFO_GAP_FIRST_MS, INFO_GAP_MAX_MS, State};
use super::instance::{Addr, InstId, MasterId, PeerId, ReconfState, Replica, ReplicaId, Role};
use super::log_limit::LineKind;
use super::names::{HostState, Origin};
use super::orders::Order;
use super::select::FRESH_INFO_WAIT_MS;
use super::timers::NEVER;
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

/// A claim counts for so many publish-periods after the last hello that makes it.
const CLAIM_PERIODS: u64 = 3;
/// Nodes that are claimed are not asked for INFO more often than that, in ms.
const INFO_APART_MS: u64 = 500;
/// A master that has to be promoted again is told so at most that often, in ms.
const ORDER_APART_MS: u64 = 1_000;
/// At most so many candidates with smaller run ids are waited for.
const MAX_STEPS: u64 = 5;
/// The pause after a conflict that was settled; each further one is twice as long.
const FIRST_PAUSE_MS: u64 = 2_000;
const LONGEST_PAUSE_MS: u64 = 600_000;

/// What a peer says of the master: another address in the config epoch that we are at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    pub addr: Addr,
    config_epoch: u64,
    since: Mono,
    last: Mono,
}

/// What is remembered of conflicts about a master.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Conflict {
    /// When the last claim came.
    heard: Option<Mono>,
    /// The pause after the last one that was settled; 0: there was none.
    pause_ms: u64,
    not_before: Mono,
}

impl Conflict {
    /// A conflict was settled, by us or by others.
    fn settled(&mut self, now: Mono) {
        if now.since(self.not_before) > LONGEST_PAUSE_MS {
            self.pause_ms = 0;
        }
        self.pause_ms = (2 * self.pause_ms).clamp(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
        self.not_before = now.after(self.pause_ms);
    }
}

/// What a node that may be the master is for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Says {
    /// It answered INFO: its role, and how far its replication stream is.
    Role(Role, u64),
    /// It has not answered yet.
    Nothing,
    Down,
}

/// A node that may be the master.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contender {
    /// `None`: the master as we hold it.
    pub replica: Option<ReplicaId>,
    pub says: Says,
    pub at: (Option<IpAddr>, u16),
}

/// The contender that wins; `None`: that cannot be told yet, or there is nobody.
pub fn winner(contenders: &[Contender]) -> Option<Contender> {
    let offset = |contender: &Contender, wanted: Role| match contender.says {
        Says::Role(role, offset) if role == wanted => Some(offset),
        _ => None,
    };
    let best = |wanted: Role| {
        let with = contenders.iter().filter_map(|c| Some((Reverse(offset(c, wanted)?), c.at, c)));
        with.min_by_key(|(offset, at, _)| (*offset, *at)).map(|(.., contender)| *contender)
    };
    // A master that is down is replaced by those who agree that it is, not because of a claim.
    let is_ring = || {
        contenders.iter().all(|contender| match contender.says {
            Says::Role(role, _) => role == Role::Slave,
            Says::Down => contender.replica.is_some(),
            Says::Nothing => false,
        })
    };
    if contenders.iter().any(|contender| contender.says == Says::Nothing) {
        // A master that we hold is not left because another one answers sooner.
        return best(Role::Master).filter(|contender| contender.replica.is_none());
    }
    best(Role::Master).or_else(|| best(Role::Slave).filter(|_| is_ring()))
}

impl Sentinel {
    /// A hello of our config epoch has named a master.
    pub(super) fn note_claim(
        &mut self,
        cx: &mut Cx,
        (id, peer): (MasterId, PeerId),
        host: &[u8],
        port: u16,
    ) {
        self.peers[peer].claim.take_if(|_| self.masters[id].base.addr.is_at(host, port));
        if self.masters[id].base.addr.is_at(host, port) || host.is_empty() || port == 0 {
            return;
        }
        // A host that is being looked up will be known when the next hello comes.
        let HostState::Known(ip) = self.host_state(cx, host, Origin::Told(id)) else { return };
        let addr = Addr { host: host.to_vec(), ip: Some(ip), port };
        let replica = self.replica_at(id, &addr);
        let same = addr.same(&self.masters[id].base.addr);
        let Some(replica) = replica.filter(|_| !same) else {
            self.peers[peer].claim = None;
            return;
        };
        let config_epoch = self.masters[id].config_epoch;
        let age_ms = self.claim_ms();
        match &mut self.peers[peer].claim {
            Some(claim)
                if claim.addr.same(&addr)
                    && claim.config_epoch == config_epoch
                    && cx.now.since(claim.last) <= age_ms =>
            {
                claim.last = cx.now;
            }
            claim => {
                let (since, last) = (cx.now, cx.now);
                *claim = Some(Box::new(Claim { addr, config_epoch, since, last }));
            }
        }
        self.masters[id].conflict.heard = Some(cx.now);
        for inst in [InstId::Master(id), InstId::Replica(replica)] {
            self.ask_contender(cx, inst);
        }
        self.arm(cx.now, InstId::Master(id));
    }

    fn ask_contender(&mut self, cx: &mut Cx, inst: InstId) {
        let Some(data) = self.data(inst) else { return };
        let recent = |at: Option<Mono>| at.is_some_and(|at| cx.now.since(at) < INFO_APART_MS);
        if !recent(data.info_in_flight) && !recent(data.info_sent) {
            self.send_info(cx, inst);
        }
    }

    fn claim_ms(&self) -> u64 {
        CLAIM_PERIODS * self.periods.publish_ms
    }

    /// The address that a peer claims, if that still counts.
    pub(super) fn claim_of(&self, now: Mono, peer: PeerId) -> Option<&Claim> {
        let peer = &self.peers[peer];
        let claim = peer.claim.as_deref()?;
        let current = claim.config_epoch == self.masters[peer.master].config_epoch;
        (current && now.since(claim.last) <= self.claim_ms()).then_some(claim)
    }

    /// Whether a peer claims another address.
    pub(super) fn is_disputed(&self, now: Mono, id: MasterId) -> bool {
        self.may_be_disputed(now, id) && self.claims(now, id).next().is_some()
    }

    /// Costs nothing where all agree.
    fn may_be_disputed(&self, now: Mono, id: MasterId) -> bool {
        let heard = self.masters[id].conflict.heard;
        heard.is_some_and(|at| now.since(at) <= self.claim_ms())
    }

    fn claims(&self, now: Mono, id: MasterId) -> impl Iterator<Item = &Claim> {
        self.peers_of(id).filter_map(move |peer| self.claim_of(now, peer.id))
    }

    /// The master as held, and every replica that is claimed to be it. INFO counts that was asked
    /// for at `since` or later.
    fn contenders(&self, now: Mono, id: MasterId, since: Mono) -> Vec<Contender> {
        let replicas: BTreeSet<ReplicaId> =
            self.claims(now, id).filter_map(|claim| self.replica_at(id, &claim.addr)).collect();
        let own = [InstId::Master(id)].into_iter();
        own.chain(replicas.into_iter().map(InstId::Replica))
            .map(|inst| self.contender(now, inst, since))
            .collect()
    }

    fn contender(&self, now: Mono, inst: InstId, since: Mono) -> Contender {
        let base = self.base(inst);
        let replica = match inst {
            InstId::Replica(id) => Some(id),
            InstId::Master(_) | InstId::Peer(_) => None,
        };
        let at = (base.addr.ip, base.addr.port);
        let answered = self.data(inst).filter(|data| data.info_sent.is_some_and(|at| at >= since));
        // One that is held down for the role that it reports answers all the same.
        let silent = self.silent_since(inst).is_some_and(|at| now.since(at) > base.down_after_ms);
        let says = match answered {
            _ if silent => Says::Down,
            Some(data) => Says::Role(data.role_reported, data.stream_offset),
            None => Says::Nothing,
        };
        Contender { replica, says, at }
    }

    /// When a failover that settles a conflict may start, as things stand.
    pub(super) fn settle_due(&self, now: Mono, id: MasterId) -> Mono {
        if !self.may_be_disputed(now, id) || defect(Defect::LeaveConflicts) {
            return NEVER;
        }
        let master = &self.masters[id];
        if master.failover.is_some()
            || self.waits_for_vote(id)
            || self.next_epoch(now, id).is_none()
        {
            return NEVER;
        }
        // Epochs must not pass for nothing. The next claim looks again.
        if !self.majority_is_live(now, id) {
            return NEVER;
        }
        let Some(since) = self.claims(now, id).map(|claim| claim.since).min() else { return NEVER };
        let due = match winner(&self.contenders(now, id, since)) {
            Some(Contender { replica: Some(_), .. }) => since,
            Some(_) => match self.repeated_claim(now, id) {
                Some(since) => since.after(self.periods.publish_ms * 3 / 2),
                None => return NEVER,
            },
            None => return NEVER,
        };
        let due = due.max(master.conflict.not_before);
        // Whom we voted for before is at work, or gone.
        let next = self.next_attempt(id).min(self.leader_gone(id).unwrap_or(NEVER));
        let plain = due.max(next).after(self.settle_stagger(now, id));
        master.election.retry_at.map_or(plain, |at| plain.min(due.max(at)))
    }

    /// Since when a peer goes on claiming another address.
    fn repeated_claim(&self, now: Mono, id: MasterId) -> Option<Mono> {
        let once = defect(Defect::BelieveSingleClaim);
        let repeated = |claim: &&Claim| claim.last.since(claim.since) >= self.periods.publish_ms;
        self.claims(now, id).filter(|claim| repeated(claim) || once).map(|claim| claim.since).min()
    }

    /// All sentinels hear of a conflict at the same time: the smallest run id goes first.
    fn settle_stagger(&self, now: Mono, id: MasterId) -> u64 {
        let smaller =
            |peer: &&super::instance::Peer| peer.base.runid < self.myid && self.is_live(now, peer);
        let smaller = self.peers_of(id).filter(smaller).count() as u64;
        smaller.min(MAX_STEPS) * self.step_of(id)
    }

    /// Tells why a failover of a master that is up begins.
    pub(super) fn log_conflict(&self, cx: &mut Cx, id: MasterId) {
        let Some(claim) = self.claims(cx.now, id).next() else { return };
        let told = |addr: &Addr| {
            format!("{}:{}", String::from_utf8_lossy(&self.announced(addr)), addr.port)
        };
        let master = &self.masters[id];
        let epoch = claim.config_epoch;
        cx.log_limited(LineKind::TwoAddresses, || {
            let name = String::from_utf8_lossy(&master.base.name);
            let [own, other] = [&master.base.addr, &claim.addr].map(told);
            format!("Config epoch {epoch} of '{name}' has two addresses, {own} and {other}")
        });
    }

    /// The replica that a failover has to promote as a peer holds it for the master, and it is one.
    pub(super) fn claimed_master(&self, now: Mono, id: MasterId, since: Mono) -> Option<ReplicaId> {
        if !self.is_disputed(now, id) {
            return None;
        }
        let best = winner(&self.contenders(now, id, since))?;
        best.replica.filter(|_| matches!(best.says, Says::Role(Role::Master, _)))
    }

    /// Whether a replica is claimed to be the master with as good a reason as ours.
    pub(super) fn is_rival(&self, now: Mono, id: ReplicaId) -> bool {
        let master = self.replicas[id].master;
        if !self.is_disputed(now, master) {
            return false;
        }
        let contenders = self.contenders(now, master, Mono(0));
        let claimed = contenders.iter().any(|contender| contender.replica == Some(id));
        let ours = winner(&contenders).is_some_and(|best| best.replica.is_none());
        claimed && !ours
    }

    /// Elected to settle a conflict: which address is it?
    pub(super) fn select_contender(&mut self, cx: &mut Cx, id: MasterId, failover: &Failover) {
        let contenders = self.contenders(cx.now, id, failover.started);
        let patient = cx.now.since(failover.state_since) < FRESH_INFO_WAIT_MS;
        if patient && contenders.iter().any(|contender| contender.says == Says::Nothing) {
            return;
        }
        match winner(&contenders) {
            Some(Contender { replica: Some(replica), .. }) => self.selected(cx, id, replica),
            Some(_) => {
                let next_info = cx.now;
                let state =
                    State::KeepMaster { ordered: None, next_info, info_gap_ms: INFO_GAP_FIRST_MS };
                self.set_failover_state(id, state, cx.now);
            }
            None => self.abort_and_retry(cx, id, "-failover-abort-no-good-slave"),
        }
    }

    /// The master as held stays, as soon as it says that it is one.
    pub(super) fn keep_master(&mut self, cx: &mut Cx, id: MasterId, failover: &Failover) {
        let State::KeepMaster { mut ordered, next_info, info_gap_ms } = failover.state else {
            return;
        };
        let inst = InstId::Master(id);
        if self.has_voted_since(id, failover) {
            self.abort_failover(cx, id, "-failover-abort-not-elected");
            return;
        }
        let own = self.contender(cx.now, inst, failover.started);
        if matches!(own.says, Says::Role(Role::Master, _)) {
            self.kept(cx, id, failover);
            return;
        }
        if own.says == Says::Down || self.failover_timed_out(cx, id, failover) {
            self.abort_and_retry(cx, id, "-failover-abort-no-good-slave");
            return;
        }
        if next_info > cx.now {
            return;
        }
        let due = ordered.is_none_or(|at| cx.now.since(at) >= ORDER_APART_MS);
        let is_slave = matches!(own.says, Says::Role(Role::Slave, _));
        if due && is_slave && self.usable(self.base(inst).link) {
            ordered = Some(cx.now);
            self.send_order(cx, inst, Order::Promote { epoch: failover.epoch }, None, None);
        }
        self.send_info(cx, inst);
        let info_gap_ms = (info_gap_ms * 2).min(INFO_GAP_MAX_MS);
        let next_info = cx.now.after(info_gap_ms);
        let state = State::KeepMaster { ordered, next_info, info_gap_ms };
        self.set_failover_state(id, state, failover.state_since);
    }

    /// The master as held has an epoch above all others: tell everybody, see to the replicas.
    fn kept(&mut self, cx: &mut Cx, id: MasterId, failover: &Failover) {
        let event = Event::warning("+failover-state-reconf-slaves");
        self.plain_event(cx, event, InstId::Master(id));
        self.conflict_settled(cx.now, id);
        self.masters[id].config_epoch = failover.epoch;
        self.clear_failover(id);
        let at = self.masters[id].base.addr.clone();
        let follows = |replica: &&Replica| {
            let role = replica.data.role_reported == Role::Slave && replica.master_link_up;
            role && at.is_at(&replica.master_host, replica.master_port)
        };
        let done: Vec<ReplicaId> = self.replicas_of(id).filter(follows).map(|r| r.id).collect();
        for replica in done {
            self.replicas[replica].reconf = ReconfState::Done;
        }
        self.begin_reconf(cx.now, id, Cause::Conflict, None);
        self.saves.touch_master(id);
        self.saves.at_once(cx.now);
        self.hello_to_all(cx, id);
        self.step_reconf(cx, id);
    }

    /// The config epoch is about to change: if it was in dispute, the next dispute has to wait.
    pub(super) fn conflict_settled(&mut self, now: Mono, id: MasterId) {
        if self.is_disputed(now, id) && !defect(Defect::SettleWithoutPause) {
            self.masters[id].conflict.settled(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: Role = Role::Master;
    const SLAVE: Role = Role::Slave;

    fn contender(replica: Option<u64>, says: Says, last: u8) -> Contender {
        let at = (Some(IpAddr::from([127, 0, 0, last])), 6379);
        Contender { replica: replica.map(ReplicaId), says, at }
    }

    #[test]
    fn the_address_wins_that_is_a_master_and_then_the_one_that_is_ahead() {
        let role = |role, offset| Says::Role(role, offset);
        // What the master that we hold says (at .2), what the others say (from .1 on, without .2),
        // who wins: 0 is ours.
        let table: [(Says, &[Says], Option<u64>); 19] = [
            (role(MASTER, 5), &[], Some(0)),
            (role(MASTER, 5), &[role(SLAVE, 9)], Some(0)),
            (role(SLAVE, 9), &[role(MASTER, 5)], Some(1)),
            (role(MASTER, 5), &[role(MASTER, 4)], Some(0)),
            (role(MASTER, 5), &[role(MASTER, 6)], Some(1)),
            // The smaller address.
            (role(MASTER, 5), &[role(MASTER, 5)], Some(1)),
            (role(MASTER, 5), &[role(SLAVE, 9), role(MASTER, 5)], Some(0)),
            (role(SLAVE, 5), &[role(MASTER, 1), role(MASTER, 2)], Some(2)),
            // A ring.
            (role(SLAVE, 5), &[role(SLAVE, 4)], Some(0)),
            (role(SLAVE, 5), &[role(SLAVE, 6)], Some(1)),
            (role(SLAVE, 5), &[], Some(0)),
            // Nobody knows.
            (role(SLAVE, 5), &[Says::Down], Some(0)),
            (Says::Down, &[role(SLAVE, 9)], None),
            (Says::Down, &[Says::Down], None),
            (Says::Down, &[role(MASTER, 1)], Some(1)),
            (role(MASTER, 1), &[Says::Down], Some(0)),
            // Whoever has not answered yet is waited for, unless ours stays anyway.
            (Says::Nothing, &[role(MASTER, 9)], None),
            (role(SLAVE, 5), &[Says::Nothing], None),
            (role(MASTER, 5), &[Says::Nothing], Some(0)),
        ];
        for (own, others, wins) in table {
            let mut all = vec![contender(None, own, 2)];
            for (n, says) in others.iter().enumerate() {
                let n = n as u64 + 1;
                all.push(contender(Some(n), *says, if n == 1 { 1 } else { n as u8 + 1 }));
            }
            let number = |best: Contender| best.replica.map_or(0, |id| id.0);
            assert_eq!(winner(&all).map(number), wins, "{own:?} {others:?}");
            all.reverse();
            assert_eq!(winner(&all).map(number), wins, "{own:?} {others:?}, reversed");
        }
    }

    #[test]
    fn pauses_grow_as_long_as_conflicts_come() {
        let mut conflict = Conflict::default();
        let mut now = Mono(1_000_000);
        let mut pauses = Vec::new();
        for _ in 0..11 {
            conflict.settled(now);
            pauses.push(conflict.not_before.since(now) / 1_000);
            now = conflict.not_before.after(5_000);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        // A day of claims without end.
        let day_ms = 24 * 3_600_000;
        assert!(day_ms / LONGEST_PAUSE_MS < 150);
        conflict.settled(conflict.not_before.after(LONGEST_PAUSE_MS + 1));
        assert_eq!(conflict.pause_ms, FIRST_PAUSE_MS);
    }
}
