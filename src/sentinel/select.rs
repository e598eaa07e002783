//! Which replica is promoted: pure functions over plain data (spec/protocol.md section 9).
#![forbid(unsafe_code)]

use std::cmp::Reverse;

use super::Sentinel;
use super::instance::{InstId, Loading, MasterId, ReplicaId};
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

/// How long replicas are waited for that have not answered INFO since the fault, in ms.
pub const FRESH_INFO_WAIT_MS: u64 = 1_000;

/// What counts about a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub id: ReplicaId,
    pub sdown: bool,
    pub connected: bool,
    /// It loads its data, and takes no orders till then.
    pub loading: bool,
    /// It was told to become a master, and refused.
    pub refused: bool,
    /// Age of the last valid PING answer in ms.
    pub available_age_ms: u64,
    /// Age of the last INFO in ms; `None`: never.
    pub info_age_ms: Option<u64>,
    /// That INFO was asked for after the fault.
    pub info_fresh: bool,
    pub priority: u32,
    /// Reported replication link down time in ms.
    pub link_down_ms: i64,
    pub repl_offset: u64,
    pub runid: Vec<u8>,
}

/// The limits a replica has to keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub available_age_ms: u64,
    pub info_age_ms: u64,
    pub link_down_ms: u64,
}

/// What to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    Take(ReplicaId),
    /// Somebody may still answer with something better.
    Wait,
    Nobody,
}

/// Whether a replica could be promoted, the age of its INFO aside.
fn promotable(candidate: &Candidate, limits: &Limits) -> bool {
    let reachable = !candidate.sdown
        && candidate.connected
        && candidate.available_age_ms <= limits.available_age_ms;
    let wanted = candidate.priority != 0;
    let in_sync = candidate.link_down_ms <= i64::try_from(limits.link_down_ms).unwrap_or(i64::MAX);
    (reachable || defect(Defect::PromoteUnreachable))
        && (!candidate.loading || defect(Defect::PromoteLoading))
        && (wanted || defect(Defect::PromoteUnwanted))
        && (in_sync || defect(Defect::PromoteStale))
}

fn informed(candidate: &Candidate, limits: &Limits) -> bool {
    candidate.info_age_ms.is_some_and(|age_ms| age_ms <= limits.info_age_ms)
}

/// Lower priority, larger offset, smaller run id without case (unknown last).
fn order(candidate: &Candidate) -> (u32, Reverse<u64>, bool, Vec<u8>) {
    let runid = candidate.runid.to_ascii_lowercase();
    let offset = match defect(Defect::PromoteLeastData) {
        true => u64::MAX - candidate.repl_offset,
        false => candidate.repl_offset,
    };
    (candidate.priority, Reverse(offset), runid.is_empty(), runid)
}

fn best<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Option<ReplicaId> {
    candidates.min_by_key(|candidate| order(candidate)).map(|candidate| candidate.id)
}

/// Chooses; `waited_ms` is how long the choice has been open.
pub fn choose(candidates: &[Candidate], limits: &Limits, waited_ms: u64) -> Choice {
    let promotable = || candidates.iter().filter(|c| promotable(c, limits));
    let patient = waited_ms < FRESH_INFO_WAIT_MS;
    if patient && promotable().any(|candidate| !candidate.info_fresh) {
        return Choice::Wait;
    }
    let ready = || promotable().filter(|c| informed(c, limits));
    let willing = |c: &&Candidate| !c.refused || defect(Defect::PromoteUnwilling);
    let chosen = best(ready().filter(willing).filter(|c| c.info_fresh))
        .or_else(|| best(ready().filter(willing)))
        .or_else(|| best(ready().filter(|c| c.info_fresh)))
        .or_else(|| best(ready()));
    chosen.map_or(Choice::Nobody, Choice::Take)
}

impl Sentinel {
    pub(super) fn candidates(&self, now: Mono, id: MasterId, fault: Mono) -> Vec<Candidate> {
        let candidate = |replica: &super::instance::Replica| {
            let link = &self.links[replica.base.link];
            Candidate {
                id: replica.id,
                sdown: replica.base.sdown.is,
                connected: link.usable(),
                loading: replica.data.loading != Loading::No,
                refused: replica.refuses_promotion,
                available_age_ms: now.since(link.last_available),
                info_age_ms: replica.data.info_refresh.map(|at| now.since(at)),
                info_fresh: replica.data.info_sent.is_some_and(|at| at >= fault),
                priority: replica.priority,
                link_down_ms: replica.master_link_down_ms,
                repl_offset: replica.repl_offset,
                runid: replica.base.runid.clone(),
            }
        };
        self.replicas_of(id).map(candidate).collect()
    }

    pub(super) fn select_limits(&self, now: Mono, id: MasterId) -> Limits {
        let master = &self.masters[id];
        let sdown_ms = match (master.base.sdown.is, master.base.sdown.since) {
            (true, Some(since)) => Some(now.since(since)),
            _ => None,
        };
        let info_age_ms = match sdown_ms {
            Some(_) => 5 * self.periods.ping_ms,
            None => 3 * self.periods.info_ms,
        };
        let grace_ms = 10 * master.base.down_after_ms;
        Limits {
            available_age_ms: 5 * self.periods.ping_ms,
            info_age_ms,
            link_down_ms: sdown_ms.unwrap_or(0) + grace_ms,
        }
    }

    /// Whether a failover would find a replica to promote now, without waiting for INFO.
    pub(super) fn has_selectable_replica(&self, now: Mono, id: MasterId) -> bool {
        let limits = self.select_limits(now, id);
        let candidates = self.candidates(now, id, Mono(0));
        matches!(choose(&candidates, &limits, FRESH_INFO_WAIT_MS), Choice::Take(_))
    }

    /// Since when answers of replicas count as given after the fault.
    pub(super) fn fault_time(&self, id: MasterId, failover_since: Mono) -> Mono {
        let master = &self.masters[id];
        if !master.base.sdown.is {
            return failover_since;
        }
        self.silent_since(InstId::Master(id)).unwrap_or(failover_since).min(failover_since)
    }
}
