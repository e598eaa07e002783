//! What runs of worlds have reached and how often, and what they all have to reach.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::checks::Figures;
use crate::draws::{DRAWN, EVENTS_MET, NEVER_MET};
use crate::net::Us;

/// Every event of the program that worlds can bring about.
pub const EVENTS: [&str; 48] = [
    "+config-update-from",
    "+convert-to-slave",
    "+elected-leader",
    "+failover-end",
    "+failover-end-for-timeout",
    "+failover-state-reconf-slaves",
    "+failover-state-select-slave",
    "+failover-state-send-slaveof-noone",
    "+failover-state-wait-promotion",
    "+fix-slave-config",
    "+monitor",
    "+new-epoch",
    "+odown",
    "+promoted-slave",
    "+reboot",
    "+reset-master",
    "+role-change",
    "+script-child",
    "+sdown",
    "+selected-slave",
    "+sentinel",
    "+sentinel-address-switch",
    "+sentinel-address-update",
    "+sentinel-invalid-addr",
    "+set",
    "+slave",
    "+slave-reconf-done",
    "+slave-reconf-inprog",
    "+slave-reconf-sent",
    "+slave-reconf-sent-be",
    "+switch-master",
    "+tilt",
    "+try-failover",
    "+vote-for-leader",
    "-cmd-link-reconnection",
    "-failover-abort-no-good-slave",
    "-failover-abort-not-elected",
    "-failover-abort-slave-timeout",
    "-monitor",
    "-odown",
    "-pubsub-link-reconnection",
    "-role-change",
    "-script-child",
    "-script-error",
    "-script-timeout",
    "-sdown",
    "-slave-reconf-sent-timeout",
    "-tilt",
];

/// What was counted in one world or in many.
#[derive(Clone, Default, Debug)]
pub struct Stats {
    pub worlds: u64,
    pub virtual_us: Us,
    /// Of all lines of the trace, if they were hashed.
    pub hash: u64,
    /// Of all that passed the borders of sentinels, if it was hashed: the sum over worlds.
    pub ledger: u64,
    /// CPU time after discovery, in ns.
    pub cpu_ns: u64,
    /// Failovers that ended with a promotion: elected ones, forced ones.
    pub completed: [u64; 2],
    /// More than masters that die or stand still befalls this world.
    pub troubled: bool,
    /// Of worlds that are not troubled, and of those that are.
    pub figures: [Figures; 2],
    /// How many checks had something to look at.
    pub looked: u64,
    pub events: BTreeMap<String, u64>,
    /// How often a world with a drawn option met an event.
    pub met: BTreeMap<(&'static str, &'static str), u64>,
    pub faults: BTreeMap<&'static str, u64>,
    pub commands: BTreeMap<&'static str, u64>,
    pub attacks: BTreeMap<&'static str, u64>,
    /// What befell names.
    pub names: BTreeMap<&'static str, u64>,
    /// What only large instances do.
    pub large: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Counts the events that a world with these options met.
    pub fn meet(&mut self, drawn: &[&'static str]) {
        for option in drawn {
            for event in EVENTS_MET {
                if self.events.contains_key(event) {
                    *self.met.entry((*option, event)).or_default() += 1;
                }
            }
        }
    }

    /// The cells of option and event that nothing has filled.
    pub fn unmet(&self) -> Vec<String> {
        let cells = DRAWN.iter().flat_map(|option| EVENTS_MET.map(|event| (*option, event)));
        let unmet = cells.filter(|cell| !self.met.contains_key(cell) && !NEVER_MET.contains(cell));
        unmet.map(|(option, event)| format!("{option} with {event}")).collect()
    }

    pub fn add(&mut self, other: &Stats) {
        self.worlds += other.worlds;
        self.virtual_us += other.virtual_us;
        self.cpu_ns += other.cpu_ns;
        for (all, more) in self.completed.iter_mut().zip(other.completed) {
            *all += more;
        }
        for (all, more) in self.figures.iter_mut().zip(&other.figures) {
            all.add(more);
        }
        self.ledger = self.ledger.wrapping_add(other.ledger);
        self.looked += other.looked;
        for (name, count) in &other.events {
            *self.events.entry(name.clone()).or_default() += count;
        }
        for (cell, count) in &other.met {
            *self.met.entry(*cell).or_default() += count;
        }
        for (name, count) in &other.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in &other.commands {
            *self.commands.entry(name).or_default() += count;
        }
        for (name, count) in &other.attacks {
            *self.attacks.entry(name).or_default() += count;
        }
        for (name, count) in &other.names {
            *self.names.entry(name).or_default() += count;
        }
        for (name, count) in &other.large {
            *self.large.entry(name).or_default() += count;
        }
    }
}
