//! When a group is as it should be, and the ways of the scenarios to get there.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use sentineld::util::rng::Rng;

use crate::net::{HostId, Net, Us};
use crate::plan::draw_large;
use crate::property::{Property, ensure, violation};
use crate::wire::{Value, show};
use crate::world::{MS, Options, SECOND, World};

/// The seeds of a scenario: `count` of them, or the one that is to be replayed.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIM_SEED is a number")],
        Err(_) => {
            let times = std::env::var("SIM_TIMES").ok().and_then(|times| times.parse().ok());
            (1..=count * times.unwrap_or(1)).collect()
        }
    }
}

/// Options that differ from seed to seed in what every scenario should bear.
pub fn random_options(rng: &mut Rng) -> Options {
    let down_after_ms = [500, 1_000, 2_000][rng.below(3) as usize];
    let latency_us = [(0, MS), (200, 5 * MS), (0, 40 * MS)][rng.below(3) as usize];
    let save_us = [(0, 2 * MS), (2 * MS, 30 * MS)][rng.below(2) as usize];
    let parallel_syncs = 1 + rng.below(2) as u32;
    let failover_timeout_ms = 3_000 + rng.below(5_000);
    let sentinels = [3, 3, 5][rng.below(3) as usize];
    let mut options = Options {
        sentinels,
        quorum: 2 + rng.below(sentinels as u64 / 2) as usize,
        replicas: 1 + rng.below(3) as usize,
        down_after_ms,
        latency_us,
        save_us,
        parallel_syncs,
        failover_timeout_ms,
        ..Options::default()
    };
    draw_large(rng, &mut options);
    options
}

impl World {
    /// The names of the monitored masters.
    pub fn master_name(group: usize) -> String {
        format!("m{group}")
    }

    /// Everybody knows everybody.
    pub fn discovered(&self) -> bool {
        if self.dns.on() {
            return self.unfound().is_none();
        }
        self.sentinels.iter().filter(|host| host.runs()).all(|host| {
            let node = host.node.as_ref().expect("it runs");
            (0..self.options.masters).all(|group| {
                node.held(&World::master_name(group)).is_some_and(|held| {
                    let others = self.options.sentinels - 1;
                    (held.peers == others || (self.forged_peers && held.peers > others))
                        && held.replicas == self.options.replicas
                })
            })
        })
    }

    /// From the start to a group that has found itself.
    pub fn discover(&mut self) {
        let (property, what) = (Property::EverybodyIsFound, "everything is discovered");
        // Lookups fail from the beginning in some worlds, and names are looked up again and again.
        let limit = if self.dns.on() { 60 * SECOND } else { 20 * SECOND };
        self.await_property(property, what, limit, World::discovered);
        let pause = 3 * SECOND + self.rng.below(2_000) * MS;
        self.run_for(pause);
    }

    /// The address that a sentinel's file gives for a master.
    pub fn filed_master(&self, sentinel: usize, group: usize) -> Option<HostId> {
        let master = self.sentinels[sentinel].view.master(group)?;
        self.dns.host(&master.ip)
    }

    /// The address that a sentinel gives for a master now.
    pub fn held_master(&self, sentinel: usize, group: usize) -> Option<HostId> {
        let node = self.sentinels[sentinel].node.as_ref()?;
        Net::host_of(node.held(&World::master_name(group))?.ip?)
    }

    /// Whether all running sentinels give the same, new address.
    pub fn all_moved(&self, group: usize, from: HostId) -> bool {
        let mut running = self.sentinels.iter().filter(|host| host.runs());
        running.all(|host| self.held_master(host.host, group).is_some_and(|at| at != from))
    }

    /// What is not yet as it should be.
    pub fn unsettled(&self) -> Option<String> {
        (0..self.options.masters).find_map(|group| self.unsettled_group(group))
    }

    fn unsettled_group(&self, group: usize) -> Option<String> {
        let running: Vec<usize> =
            self.sentinels.iter().filter(|host| host.runs()).map(|host| host.host).collect();
        let held: BTreeSet<_> = running.iter().map(|at| self.held_master(*at, group)).collect();
        let masters = self.farm.masters_of(group);
        let (Some(Some(master)), 1) = (held.first(), held.len()) else {
            return Some(format!("m{group}: sentinels hold {held:?}, masters are {masters:?}"));
        };
        if masters != [*master] {
            return Some(format!("m{group}: all hold {master}, masters are {masters:?}"));
        }
        let strays: Vec<_> = self
            .farm
            .servers
            .iter()
            .filter(|server| server.group == group && server.alive() && server.host != *master)
            .filter(|server| server.master != Some(*master) || !server.link_up)
            .map(|server| (server.host, server.master, server.link_up))
            .collect();
        if !strays.is_empty() {
            return Some(format!("m{group}: {strays:?} do not follow {master}"));
        }
        for at in running {
            if self.filed_master(at, group) != Some(*master) {
                return Some(format!("m{group}: the file of {at} is old"));
            }
            let node = self.sentinels[at].node.as_ref().expect("it runs");
            let Some(held) = node.held(&World::master_name(group)) else {
                return Some(format!("m{group}: {at} does not watch it"));
            };
            if held.in_failover {
                return Some(format!("m{group}: a failover of {at} is in progress"));
            }
            if held.down {
                return Some(format!("m{group}: {at} holds it down"));
            }
        }
        None
    }

    /// Liveness: the group comes to rest, and stays so.
    pub fn settle(&mut self, limit_us: Us) {
        let (began, end) = (self.now, self.now + limit_us);
        let mut came_to_rest = None;
        loop {
            self.await_settled(limit_us, end);
            came_to_rest.get_or_insert(self.now - began);
            let failovers = self.checks.count("+try-failover");
            let tail = SECOND + self.rng.below(2 * SECOND);
            self.run_for(tail);
            self.check_periodic(began);
            let unsettled = self.unsettled();
            let quiet = self.checks.count("+try-failover") == failovers;
            if unsettled.is_none() && quiet {
                break;
            }
            // A C-like sentinel that stood still, or that has just started, may take a master that
            // is well for down.
            // A reboot is told by the next INFO, and may be a reason to replace a master as well.
            let odd = self.options.c_peers > 0 || self.options.drawn.replaces_who_reboots();
            if odd && self.now < end {
                continue;
            }
            if let Some(reason) = unsettled {
                violation!(Property::GroupStaysSettled, "settled, and then: {reason}");
            }
            violation!(Property::GroupStaysSettled, "a failover though all is well");
        }
        self.checks.counter.figures.settled_us.extend(came_to_rest);
        self.ask_everybody();
        self.check_all_files();
    }

    fn await_settled(&mut self, limit_us: Us, end: Us) {
        let left = end.saturating_sub(self.now);
        if !self.run_until(left, |world| world.unsettled().is_none()) {
            let reason = self.unsettled().unwrap_or_default();
            violation!(Property::GroupSettles, "not within {} ms: {reason}", limit_us / MS);
        }
    }

    /// What the sentinels tell clients is what they hold.
    fn ask_everybody(&mut self) {
        for at in 0..self.sentinels.len() {
            if !self.sentinels[at].runs() {
                continue;
            }
            let held = self.held_master(at, 0).expect("settled");
            let words: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"m0"];
            let reply = self.command(at, &words);
            let told = match &reply {
                Value::Array(items) => items.first().and_then(Value::text),
                _ => None,
            };
            let told = told.and_then(|text| self.dns.host(&show(text)));
            let property = Property::ClientsAreToldTheMaster;
            ensure!(told == Some(held), property, "{at} tells {reply:?}, not {held}");
        }
    }
}
