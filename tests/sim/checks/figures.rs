//! What failovers took, counted from the events that the checkers see.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use crate::net::{HostId, Us};

/// Counts over the failovers of one world or of many. Forced failovers, and those with a forced
/// one in between, are left out.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Figures {
    /// Masters that were replaced after an election.
    pub failovers: u64,
    /// Candidacies in them, also those that came to nothing and those that came too late.
    pub candidacies: u64,
    /// Failovers with more than one candidacy, although no leader had failed for lack of a replica.
    pub crossed: u64,
    /// Of those, failovers with candidacies in more than one epoch.
    pub repeated: u64,
    /// Failovers in which a leader found no replica, or none that could be promoted in time.
    pub no_replica: u64,
    /// Epochs of those candidacies.
    pub epochs: u64,
    /// Masters that nobody held down any more before one was replaced.
    pub given_up: u64,
    /// From the end of a master that all held to be one, less down-after, to the promotion, where a
    /// replica was well and nothing else befell the group's nodes meanwhile.
    pub took_us: Vec<Us>,
    /// Of those, masters that waited for 2 × failover-timeout.
    pub waited: u64,
    /// From the mending of everything until the group had come to rest.
    pub settled_us: Vec<Us>,
}

impl Figures {
    pub fn add(&mut self, other: &Figures) {
        self.failovers += other.failovers;
        self.candidacies += other.candidacies;
        self.crossed += other.crossed;
        self.repeated += other.repeated;
        self.no_replica += other.no_replica;
        self.epochs += other.epochs;
        self.given_up += other.given_up;
        self.took_us.extend(&other.took_us);
        self.waited += other.waited;
        self.settled_us.extend(&other.settled_us);
    }
}

/// The failover of one master, from the first candidacy on.
#[derive(Default, Debug)]
struct Open {
    master: Option<HostId>,
    tries: u64,
    epochs: BTreeSet<u64>,
    forced: bool,
    no_replica: bool,
    promoted: bool,
}

/// What happens to each group, towards [`Figures`].
#[derive(Default, Debug)]
pub struct Counter {
    open: BTreeMap<usize, Open>,
    /// Masters that were struck, and when.
    struck: BTreeMap<usize, (HostId, Us)>,
    down_after_us: Us,
    /// What C's rule lets a master wait.
    pub patience_us: Us,
    pub figures: Figures,
}

impl Counter {
    pub fn new(down_after_us: Us) -> Counter {
        Counter { down_after_us, ..Counter::default() }
    }

    /// Something befalls a data node of a group: if it is the master, and all sentinels know it as
    /// such, then how long they take is counted, unless more befalls the group meanwhile.
    pub fn struck(&mut self, group: usize, master: Option<HostId>, now: Us) {
        match master {
            Some(master) => self.struck.insert(group, (master, now)),
            None => self.struck.remove(&group),
        };
    }

    /// A candidacy for a group with that master.
    pub fn tried(&mut self, group: usize, master: Option<HostId>, epoch: u64, forced: bool) {
        if self.open.get(&group).is_some_and(|open| open.master != master) {
            self.close(group);
        }
        let open = self.open.entry(group).or_default();
        open.master = master;
        open.tries += 1;
        open.epochs.insert(epoch);
        open.forced |= forced;
    }

    /// A leader found nobody to promote.
    pub fn lacked_replica(&mut self, group: usize) {
        if let Some(open) = self.open.get_mut(&group) {
            open.no_replica = true;
        }
    }

    /// A replica was promoted.
    pub fn promoted(&mut self, group: usize, now: Us) {
        let Some(open) = self.open.get_mut(&group) else { return };
        if std::mem::replace(&mut open.promoted, true) || open.forced {
            return;
        }
        let Some((master, at)) = self.struck.remove(&group) else { return };
        if open.master == Some(master) {
            let took_us = (now - at).saturating_sub(self.down_after_us);
            self.figures.took_us.push(took_us);
            self.figures.waited += u64::from(took_us >= self.patience_us);
        }
    }

    /// Nobody holds the master of a group down, or the world ends.
    pub fn close(&mut self, group: usize) {
        let Some(open) = self.open.remove(&group).filter(|open| !open.forced) else { return };
        let figures = &mut self.figures;
        if !open.promoted {
            figures.given_up += 1;
            return;
        }
        figures.failovers += 1;
        figures.candidacies += open.tries;
        figures.epochs += open.epochs.len() as u64;
        if open.no_replica {
            figures.no_replica += 1;
            return;
        }
        figures.crossed += u64::from(open.tries > 1);
        figures.repeated += u64::from(open.epochs.len() > 1);
    }

    /// All that was counted in a world that ends.
    pub fn take(&mut self) -> Figures {
        let groups: Vec<usize> = self.open.keys().copied().collect();
        for group in groups {
            self.close(group);
        }
        std::mem::take(&mut self.figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> Counter {
        Counter { patience_us: 10_000, ..Counter::new(1_000) }
    }

    #[test]
    fn candidacies_for_one_master_are_one_failover() {
        let mut counter = counter();
        counter.struck(0, Some(7), 50);
        counter.tried(0, Some(7), 1, false);
        counter.tried(0, Some(7), 1, false);
        counter.tried(0, Some(7), 2, false);
        counter.promoted(0, 1_250);
        // Too late, and by one who has not heard of it.
        counter.tried(0, Some(7), 3, false);
        counter.promoted(0, 1_300);
        counter.tried(0, Some(8), 4, false);
        counter.promoted(0, 9_000);
        let figures = counter.take();
        assert_eq!((figures.failovers, figures.candidacies, figures.epochs), (2, 5, 4));
        assert_eq!((figures.crossed, figures.repeated), (1, 1));
        assert_eq!((figures.took_us, figures.waited), (vec![200], 0));
    }

    #[test]
    fn what_was_forced_or_lacked_a_replica_is_told_apart() {
        let mut counter = counter();
        counter.tried(0, Some(7), 1, false);
        counter.tried(0, Some(7), 2, true);
        counter.promoted(0, 10);
        counter.tried(1, Some(9), 3, false);
        counter.lacked_replica(1);
        counter.tried(1, Some(9), 4, false);
        counter.struck(1, Some(9), 0);
        counter.promoted(1, 11_000);
        counter.tried(2, Some(11), 5, false);
        counter.close(2);
        let figures = counter.take();
        assert_eq!((figures.failovers, figures.given_up, figures.no_replica), (1, 1, 1));
        assert_eq!((figures.crossed, figures.repeated, figures.waited), (0, 0, 1));
    }
}
