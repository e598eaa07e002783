//! The faults that befall a world at random, and their mending.
#![forbid(unsafe_code)]

use crate::hosts::DiskMode;
use crate::net::{ConnKey, HostId};
use crate::redis::Mode;
use crate::redis::faults::Data;
use crate::world::{MS, SECOND, World};

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// The process of a master ends, its connections close.
    KillMaster,
    /// It stands still.
    FreezeMaster,
    /// It and perhaps some sentinels are on the other side of a partition.
    CutOffMaster,
    KillReplica,
    FreezeReplica,
    /// A data node is killed and started again at once.
    RestartNode,
    /// It answers most commands with BUSY until SCRIPT KILL.
    BusyNode,
    LoadingNode,
    /// The master dies while replicas load their data.
    LoadDuringFailover,
    /// A node lets sentinels use some commands no longer, or has other names for them.
    DenyCommands,
    /// A node wants another password.
    ChangePassword,
    /// Somebody gave a replica another priority, perhaps 0.
    ChangePriority,
    /// Somebody let a replica follow another node of its group.
    StrayReplica,
    CrashSentinel,
    /// With its host: nobody is told that its connections are gone.
    LoseHost,
    /// Between two actions of one turn.
    CrashBetweenActions,
    /// Too short for tilt, or long enough.
    PauseSentinel,
    PauseForTilt,
    /// Random hosts on two sides.
    Partition,
    /// Random pairs, in one direction.
    OneWay,
    SlowLink,
    /// Connections die, with what was on its way in them.
    LoseConnections,
    /// A host refuses new connections.
    Refuse,
    /// New connections come to nothing, and nobody is told.
    BlackHole,
    /// First segments of connections are lost, and sent again after a while.
    LoseSyns,
    SlowDisk,
    /// Saves take longer than any vote waits.
    StalledDisk,
    FailingDisk,
    FullDisk,
    /// An operator pauses the clients of a data node.
    PauseClients,
}

/// Those that were added later: drawn apart, so that seeds mean what they meant.
pub const LATER_FAULTS: [Fault; 1] = [Fault::PauseClients];

/// All others.
pub const FAULTS: [Fault; 29] = [
    Fault::KillMaster,
    Fault::FreezeMaster,
    Fault::CutOffMaster,
    Fault::KillReplica,
    Fault::FreezeReplica,
    Fault::RestartNode,
    Fault::BusyNode,
    Fault::LoadingNode,
    Fault::LoadDuringFailover,
    Fault::DenyCommands,
    Fault::ChangePassword,
    Fault::ChangePriority,
    Fault::StrayReplica,
    Fault::CrashSentinel,
    Fault::LoseHost,
    Fault::CrashBetweenActions,
    Fault::PauseSentinel,
    Fault::PauseForTilt,
    Fault::Partition,
    Fault::OneWay,
    Fault::SlowLink,
    Fault::LoseConnections,
    Fault::Refuse,
    Fault::BlackHole,
    Fault::SlowDisk,
    Fault::StalledDisk,
    Fault::FailingDisk,
    Fault::FullDisk,
    Fault::LoseSyns,
];

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::KillMaster => "kill-master",
            Fault::FreezeMaster => "freeze-master",
            Fault::CutOffMaster => "cut-off-master",
            Fault::KillReplica => "kill-replica",
            Fault::FreezeReplica => "freeze-replica",
            Fault::RestartNode => "restart-node",
            Fault::BusyNode => "busy-node",
            Fault::LoadingNode => "loading-node",
            Fault::LoadDuringFailover => "load-during-failover",
            Fault::DenyCommands => "deny-commands",
            Fault::ChangePassword => "change-password",
            Fault::ChangePriority => "change-priority",
            Fault::StrayReplica => "stray-replica",
            Fault::CrashSentinel => "crash-sentinel",
            Fault::LoseHost => "lose-host",
            Fault::CrashBetweenActions => "crash-between-actions",
            Fault::PauseSentinel => "pause-sentinel",
            Fault::PauseForTilt => "pause-for-tilt",
            Fault::Partition => "partition",
            Fault::OneWay => "one-way",
            Fault::SlowLink => "slow-link",
            Fault::LoseConnections => "lose-connections",
            Fault::Refuse => "refuse",
            Fault::BlackHole => "black-hole",
            Fault::LoseSyns => "lose-syns",
            Fault::SlowDisk => "slow-disk",
            Fault::StalledDisk => "stalled-disk",
            Fault::FailingDisk => "failing-disk",
            Fault::FullDisk => "full-disk",
            Fault::PauseClients => "pause-clients",
        }
    }

    /// Whether a master of the group is gone with it, for as long as nothing is mended.
    pub fn takes_master(self) -> bool {
        matches!(self, Fault::KillMaster | Fault::FreezeMaster | Fault::CutOffMaster)
    }
}

impl World {
    pub fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn any_sentinel(&mut self) -> usize {
        self.rng.below(self.sentinels.len() as u64) as usize
    }

    fn any_running_sentinel(&mut self) -> Option<usize> {
        let at = self.any_sentinel();
        let mut turn = (at..self.sentinels.len()).chain(0..at);
        turn.find(|at| self.sentinels[*at].runs())
    }

    fn any_group(&mut self) -> usize {
        self.rng.below(self.options.masters as u64) as usize
    }

    /// A living data node of a group, a master or a replica.
    fn any_node(&mut self, group: usize, master: bool) -> Option<HostId> {
        let is = |server: &&crate::redis::Server| {
            server.group == group && server.alive() && server.master.is_none() == master
        };
        let hosts: Vec<HostId> = self.farm.servers.iter().filter(is).map(|s| s.host).collect();
        let at = self.rng.below(hosts.len() as u64) as usize;
        hosts.get(at).copied()
    }

    /// The living data node that some sentinel takes for the master.
    fn watched_master(&mut self, group: usize) -> Option<HostId> {
        let at = self.any_running_sentinel()?;
        let host = self.held_master(at, group)?;
        self.farm.at(host)?.alive().then_some(host)
    }

    /// Whether a data node is the master for all sentinels, with a replica that can take over.
    fn can_replace(&self, group: usize, master: HostId) -> bool {
        let mut running = self.sentinels.iter().filter(|host| host.runs());
        let known = running.all(|host| self.held_master(host.host, group) == Some(master));
        let alive = self.farm.at(master).is_some_and(|server| server.alive());
        known
            && alive
            && self.farm.servers.iter().any(|server| {
                let follows = server.master == Some(master) && server.link_up;
                follows && server.alive() && server.priority > 0
            })
    }

    fn any_pair(&mut self) -> (HostId, HostId) {
        let hosts = self.operator() as u64;
        let one = self.rng.below(hosts);
        let other = (one + 1 + self.rng.below(hosts - 1)) % hosts;
        (one as HostId, other as HostId)
    }

    /// Lets a fault happen, if there is anything that it can happen to; gives the group it hits
    /// where it takes a master.
    pub fn strike(&mut self, fault: Fault) -> Option<usize> {
        let group = self.any_group();
        let struck = match fault {
            Fault::KillMaster
            | Fault::FreezeMaster
            | Fault::CutOffMaster
            | Fault::KillReplica
            | Fault::FreezeReplica
            | Fault::RestartNode
            | Fault::BusyNode
            | Fault::LoadingNode
            | Fault::LoadDuringFailover
            | Fault::DenyCommands
            | Fault::ChangePassword
            | Fault::ChangePriority
            | Fault::PauseClients
            | Fault::StrayReplica => self.strike_node(fault, group),
            Fault::CrashSentinel
            | Fault::LoseHost
            | Fault::CrashBetweenActions
            | Fault::PauseSentinel
            | Fault::PauseForTilt => self.strike_sentinel(fault),
            Fault::SlowDisk | Fault::StalledDisk | Fault::FailingDisk | Fault::FullDisk => {
                self.strike_disk(fault)
            }
            _ => self.strike_network(fault),
        };
        struck?;
        *self.stats.faults.entry(fault.name()).or_default() += 1;
        fault.takes_master().then_some(group)
    }

    fn strike_node(&mut self, fault: Fault, group: usize) -> Option<()> {
        let of_master = fault.takes_master()
            || (matches!(
                fault,
                Fault::RestartNode
                    | Fault::BusyNode
                    | Fault::DenyCommands
                    | Fault::ChangePassword
                    | Fault::PauseClients
            ) && self.chance(50));
        let host = match of_master {
            true => self.watched_master(group).or_else(|| self.any_node(group, true))?,
            false => self.any_node(group, false)?,
        };
        let counts = fault.takes_master() && self.can_replace(group, host);
        self.checks.counter.struck(group, counts.then_some(host), self.now);
        match fault {
            Fault::KillMaster | Fault::KillReplica => self.kill_server(host),
            Fault::FreezeMaster | Fault::FreezeReplica => self.freeze_server(host),
            Fault::CutOffMaster => {
                let minority = self.rng.below(self.sentinels.len() as u64 / 2 + 1) as usize;
                let mut cut: Vec<HostId> = (0..minority).collect();
                cut.push(host);
                self.cut_off(&cut);
            }
            Fault::RestartNode => {
                self.kill_server(host);
                let all = [Data::AtEnd, Data::AtEnd, Data::Saved, Data::Empty];
                let data = all[self.rng.below(4) as usize];
                self.restart_server_with(host, data);
            }
            Fault::BusyNode => self.set_mode(host, Mode::Busy),
            Fault::LoadingNode => self.set_mode(host, Mode::Loading),
            Fault::LoadDuringFailover => {
                let master = self.watched_master(group);
                self.load_during_failover(host, master, group);
            }
            Fault::DenyCommands => self.deny_some(host),
            Fault::ChangePassword => self.change_password(host),
            Fault::PauseClients => self.pause_clients(host),
            Fault::ChangePriority => {
                let priority = [0, 1, 50, 100][self.rng.below(4) as usize];
                self.trace(|| format!("node {host}: priority {priority}"));
                self.farm.at_mut(host).priority = priority;
            }
            _ => {
                let other = self.any_node(group, false).filter(|other| *other != host)?;
                self.trace(|| format!("somebody lets node {host} follow {other}"));
                self.farm.set_master(self.now, &mut self.rng, host, Some(other));
            }
        }
        Some(())
    }

    fn strike_sentinel(&mut self, fault: Fault) -> Option<()> {
        let at = self.any_running_sentinel()?;
        match fault {
            Fault::CrashSentinel => self.crash(at, false),
            Fault::LoseHost => self.crash(at, true),
            Fault::CrashBetweenActions => {
                let left = 1 + self.rng.below(60);
                self.sentinels[at].actions_left = Some(left);
            }
            Fault::PauseSentinel => self.pause_for(at, 1_900),
            _ => self.pause_for(at, 4_000),
        }
        Some(())
    }

    fn pause_for(&mut self, at: usize, longest_ms: u64) {
        self.pause(at);
        let us = self.rng.below(longest_ms * MS);
        self.schedule(self.now + us, crate::world::Ev::Resume(at));
    }

    fn strike_disk(&mut self, fault: Fault) -> Option<()> {
        let at = self.any_sentinel();
        let mode = match fault {
            Fault::SlowDisk => DiskMode::Slow(20 * MS + self.rng.below(300 * MS)),
            Fault::StalledDisk => DiskMode::Slow(SECOND + self.rng.below(3 * SECOND)),
            Fault::FailingDisk => DiskMode::Failing(10 + self.rng.below(60)),
            _ => DiskMode::Full,
        };
        self.trace(|| format!("disk of {at}: {mode:?}"));
        self.sentinels[at].disk_mode = mode;
        Some(())
    }

    fn strike_network(&mut self, fault: Fault) -> Option<()> {
        let (one, other) = self.any_pair();
        match fault {
            Fault::Partition => {
                let hosts = self.operator();
                let cut: Vec<HostId> = (0..hosts).filter(|_| self.chance(35)).collect();
                self.cut_off(&cut);
            }
            Fault::OneWay => {
                self.trace(|| format!("nothing arrives from {one} at {other}"));
                self.net.block(one, other, true);
            }
            Fault::SlowLink => {
                let extra_us = 10 * MS + self.rng.below(500 * MS);
                self.trace(|| format!("between {one} and {other}: {extra_us} us more"));
                self.net.slow_down(one, other, extra_us);
            }
            Fault::LoseConnections => {
                let keys: Vec<ConnKey> = self.net.conns.iter().map(|(key, _)| key).collect();
                let lost: Vec<ConnKey> = keys.into_iter().filter(|_| self.chance(20)).collect();
                self.trace(|| format!("{} connections are lost", lost.len()));
                for key in lost {
                    self.reset(key);
                }
            }
            Fault::Refuse => {
                self.trace(|| format!("{one} refuses connections"));
                self.net.refuse(one, true);
            }
            Fault::LoseSyns => {
                let percent = 20 + self.rng.below(70);
                self.trace(|| format!("{percent} of 100 first segments to {other} are lost"));
                for from in 0..=self.operator() {
                    self.net.lose_syns(from, other, percent);
                }
            }
            _ => {
                self.trace(|| format!("connections from {one} to {other} hang"));
                self.net.swallow(one, other);
            }
        }
        Some(())
    }

    /// Each thing that is broken is mended with that chance.
    pub fn mend_some(&mut self, percent: u64) {
        for host in self.options.sentinels..self.operator() {
            let server = self.farm.at(host).expect("a data node");
            let (running, frozen) = (server.running, server.frozen);
            let strange = server.mode != Mode::Normal;
            let paused = server.clients_paused;
            if server.vacant {
                continue;
            }
            if !running && self.chance(percent) {
                self.restart_server(host);
            } else if frozen && self.chance(percent) {
                self.thaw_server(host);
            }
            // It may be both: frozen while it loads.
            if running && strange && self.chance(percent) {
                self.set_mode(host, Mode::Normal);
            }
            self.mend_refusals(host, percent);
            if running && paused && self.chance(percent) {
                self.unpause_clients(host);
            }
        }
        for at in 0..self.sentinels.len() {
            if self.sentinels[at].node.is_none() && self.chance(percent) {
                self.restart_sentinel(at);
            } else if self.sentinels[at].paused && self.chance(percent) {
                self.resume(at);
            }
            if self.sentinels[at].disk_mode != DiskMode::Plain && self.chance(percent) {
                self.sentinels[at].disk_mode = DiskMode::Plain;
            }
        }
        if self.net.is_ill() && self.chance(percent) {
            self.heal();
        }
    }

    /// Everything is well again.
    pub fn mend_all(&mut self) {
        self.trace(|| "everything is mended".to_owned());
        for at in 0..self.sentinels.len() {
            self.sentinels[at].actions_left = None;
        }
        self.mend_names();
        self.mend_some(100);
        self.own_addresses();
        for host in self.options.sentinels..self.operator() {
            let server = self.farm.at_mut(host);
            if server.priority == 0 {
                server.priority = 100;
            }
        }
    }
}
