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

    /// Smoothed duration of a save in ms; 0 before the first.
    pub fn took_ms(&self) -> u64 {
        self.took_8th_ms.unwrap_or(0) / 8
    }
}

/// One step of an exponential average with weight 1/8, kept in eighths.
pub fn smooth(old_8th: Option<u64>, sample: u64) -> u64 {
    old_8th.map_or(sample * 8, |old| old - old / 8 + sample)
}
