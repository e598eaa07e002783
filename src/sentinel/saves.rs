//! When the state is saved: one write in flight, what changes meanwhile goes into the next one.
//!
//! A change takes a [`Ticket`]: the generation of the first save that will hold it. Votes are
//! urgent; everything else may be gathered for [`GATHER_MS`].
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::instance::MasterId;
use super::timers::NEVER;
use super::vote::Ticket;
use crate::util::time::Mono;

/// How long changes that nobody waits for are gathered.
pub const GATHER_MS: u64 = 100;
/// After a failed save the next try for changes that nobody waits for.
const RETRY_MS: u64 = 1_000;

/// The bookkeeping of saves.
#[derive(Clone, Debug)]
pub struct Saves {
    next: u64,
    in_flight: Option<u64>,
    /// When the changes not yet handed over want to be written.
    due: Option<Mono>,
    changed: BTreeSet<MasterId>,
    changed_global: bool,
    /// Smoothed duration of a save, in 1/8 ms.
    took_8th_ms: Option<u64>,
}

/// What has to be rendered anew for a save.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub masters: BTreeSet<MasterId>,
    pub global: bool,
}

impl Default for Saves {
    fn default() -> Self {
        Saves {
            next: 1,
            in_flight: None,
            due: None,
            changed: BTreeSet::new(),
            changed_global: false,
            took_8th_ms: None,
        }
    }
}

impl Saves {
    /// The state of `master` has changed.
    pub fn touch_master(&mut self, master: MasterId) {
        self.changed.insert(master);
    }

    /// State that belongs to no master has changed.
    pub fn touch_global(&mut self) {
        self.changed_global = true;
    }

    /// Asks for a save within [`GATHER_MS`].
    pub fn soon(&mut self, now: Mono) -> Ticket {
        self.want(now.after(GATHER_MS))
    }

    /// Asks for a save as soon as the disk is free.
    pub fn at_once(&mut self, now: Mono) -> Ticket {
        self.want(now)
    }

    fn want(&mut self, at: Mono) -> Ticket {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
        Ticket(self.next)
    }

    /// Starts the save that is due, if any and if none is in flight.
    pub fn take(&mut self, now: Mono) -> Option<(u64, Changes)> {
        if self.in_flight.is_some() || self.due.is_none_or(|due| due > now) {
            return None;
        }
        let generation = self.next;
        self.next += 1;
        self.in_flight = Some(generation);
        self.due = None;
        let masters = std::mem::take(&mut self.changed);
        let global = std::mem::take(&mut self.changed_global);
        Some((generation, Changes { masters, global }))
    }

    /// The save in flight has ended; a failed one is tried again later.
    pub fn ended(&mut self, now: Mono, ok: bool, took_ms: u64) {
        self.in_flight = None;
        if ok {
            self.took_8th_ms = Some(smooth(self.took_8th_ms, took_ms));
        } else {
            self.want(now.after(RETRY_MS));
        }
    }

    /// When [`Saves::take`] has something to give.
    pub fn next_deadline(&self) -> Mono {
        match (self.in_flight, self.due) {
            (None, Some(due)) => due,
            _ => NEVER,
        }
    }

    /// Nothing is being written, and nothing waits to be.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.due.is_none()
    }

    /// Smoothed duration of a save in ms; 0 before the first.
    pub fn took_ms(&self) -> u64 {
        self.took_8th_ms.unwrap_or(0) / 8
    }
}

/// One step of an exponential average with weight 1/8, kept in eighths.
pub fn smooth(old_8th: Option<u64>, sample: u64) -> u64 {
    old_8th.map_or(sample * 8, |old| old - old / 8 + sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Mono = Mono(5_000);

    #[test]
    fn changes_are_gathered_and_handed_over_once() {
        let mut saves = Saves::default();
        assert_eq!(saves.next_deadline(), NEVER);
        assert!(saves.take(T).is_none());
        saves.touch_master(MasterId(3));
        assert_eq!(saves.soon(T), Ticket(1));
        saves.touch_global();
        // A later wish does not push the save away.
        assert_eq!(saves.soon(T.after(60)), Ticket(1));
        assert_eq!(saves.next_deadline(), T.after(GATHER_MS));
        assert!(saves.take(T.after(GATHER_MS - 1)).is_none());
        let (generation, changes) = saves.take(T.after(GATHER_MS)).unwrap();
        assert_eq!(generation, 1);
        assert_eq!(changes.masters, BTreeSet::from([MasterId(3)]));
        assert!(changes.global);
        saves.ended(T.after(105), true, 5);
        assert!(saves.take(T.after(10_000)).is_none());
    }

    #[test]
    fn an_urgent_change_takes_the_gathered_ones_with_it() {
        let mut saves = Saves::default();
        saves.touch_master(MasterId(1));
        saves.soon(T);
        saves.touch_master(MasterId(2));
        assert_eq!(saves.at_once(T.after(1)), Ticket(1));
        assert_eq!(saves.next_deadline(), T.after(1));
        let (_, changes) = saves.take(T.after(1)).unwrap();
        assert_eq!(changes.masters, BTreeSet::from([MasterId(1), MasterId(2)]));
        assert!(!changes.global);
    }

    #[test]
    fn one_write_is_in_flight_and_later_changes_wait_for_the_next() {
        let mut saves = Saves::default();
        assert_eq!(saves.at_once(T), Ticket(1));
        assert_eq!(saves.take(T).unwrap().0, 1);
        // What comes now is not in the write that is under way.
        saves.touch_master(MasterId(9));
        assert_eq!(saves.at_once(T.after(1)), Ticket(2));
        assert!(saves.take(T.after(2)).is_none());
        assert_eq!(saves.next_deadline(), NEVER);
        saves.ended(T.after(30), true, 30);
        assert_eq!(saves.next_deadline(), T.after(1));
        let (generation, changes) = saves.take(T.after(30)).unwrap();
        assert_eq!(generation, 2);
        assert_eq!(changes.masters, BTreeSet::from([MasterId(9)]));
    }

    #[test]
    fn a_failed_write_is_tried_again_but_what_is_urgent_does_not_wait_for_that() {
        let mut saves = Saves::default();
        saves.at_once(T);
        saves.take(T).unwrap();
        saves.ended(T.after(10), false, 10);
        assert_eq!(saves.next_deadline(), T.after(10 + RETRY_MS));
        assert_eq!(saves.took_ms(), 0);
        assert_eq!(saves.at_once(T.after(20)), Ticket(2));
        assert_eq!(saves.take(T.after(20)).unwrap().0, 2);
        saves.ended(T.after(28), true, 8);
        assert_eq!(saves.next_deadline(), NEVER);
        assert_eq!(saves.took_ms(), 8);
    }

    #[test]
    fn the_duration_is_smoothed() {
        assert_eq!(smooth(None, 10), 80);
        assert_eq!(smooth(Some(80), 10), 80);
        assert_eq!(smooth(Some(80), 90), 160);
        assert_eq!(smooth(Some(80), 0), 70);
    }
}
