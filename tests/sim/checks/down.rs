//! Sdown and odown: never too early, never without the word of the quorum, never in tilt.
#![forbid(unsafe_code)]

use super::{Checks, Event, Watched};
use crate::net::{HostId, Us};
use crate::property::{Property, ensure};

/// An answer counts for five ask-periods, and a bit: a process that stood still notices later.
const ANSWER_COUNTS_US: Us = 7_200_000;

impl Checks {
    /// Sdown is never earlier than the last proof of life plus down-after.
    pub(super) fn check_sdown(&mut self, event: &Event, group: usize) {
        let down = event.name == "+sdown";
        let sentinel = event.sentinel;
        if down {
            ensure!(!self.sentinels[sentinel].tilt, Property::NothingInTilt, "{event:?}");
        }
        let is_master = event.text.starts_with("master ");
        if is_master {
            let view = self.view(sentinel, group);
            view.end_sdown(event.at);
            view.sdown = down;
        }
        let Some(host) = event.host() else { return };
        if !is_master && !event.text.starts_with("slave ") {
            return;
        }
        if down {
            self.view(sentinel, group).syncing.remove(&host);
        }
        let held = &mut self.view(sentinel, group).down;
        match down {
            true => held.insert(host),
            false => held.remove(&host),
        };
        let last = self.proof_of_life[sentinel].get(host).copied().unwrap_or(Us::MAX);
        if !down || last == Us::MAX || self.ambiguous {
            return;
        }
        // A master that says it is a replica, or a new process, is held down for that.
        if is_master && self.infos.get(&(sentinel, host)).is_some_and(|info| info.excuses_sdown()) {
            return;
        }
        self.looked += 1;
        let silent = event.at - last;
        let early = silent + 1_000 < self.down_after_us;
        let property = Property::SdownIsNotEarly;
        ensure!(!early, property, "{event:?} only {silent} us after a proof of life");
    }

    pub(super) fn check_odown(&mut self, event: &Event, group: usize) {
        let sentinel = event.sentinel;
        ensure!(!self.sentinels[sentinel].tilt, Property::NothingInTilt, "{event:?}");
        let quorum = self.quorum;
        let view = self.view(sentinel, group);
        view.odown = event.name == "+odown";
        if !view.odown {
            let held = |of: &Watched| of.masters.get(group).is_some_and(|view| view.odown);
            if !self.sentinels.iter().any(held) {
                self.counter.close(group);
            }
            return;
        }
        let property = Property::OdownNeedsTheQuorum;
        ensure!(view.sdown, property, "{event:?} without sdown");
        let fresh = |(at, taken_back): &&(Us, Option<Us>)| {
            // What was taken back a moment ago may have counted in between.
            event.at - at <= ANSWER_COUNTS_US && taken_back.is_none_or(|at| at == event.at)
        };
        let agreed = view.agreed.values().filter(fresh).count() + 1;
        let quorum = view.quorum.unwrap_or(quorum);
        if self.waived.majority_of_all {
            return;
        }
        ensure!(agreed >= quorum, property, "{event:?}: {agreed} of {quorum} say so");
        self.looked += 1;
    }

    /// A sentinel read a peer's answer about a master at an address.
    pub fn heard(
        &mut self,
        now: Us,
        sentinel: usize,
        peer: usize,
        (group, at): (usize, HostId),
        down: bool,
    ) {
        let view = self.view(sentinel, group);
        if view.at != Some(at) {
            return;
        }
        if down {
            view.agreed.insert(peer, (now, None));
        } else if let Some((_, taken_back)) = view.agreed.get_mut(&peer) {
            taken_back.get_or_insert(now);
        }
    }
}
