//! How replicas come to their masters' data: the link's states over time.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use super::faults::Saved;
use super::history::{History, Id};
use super::{Farm, Mode, Server};
use crate::net::{HostId, Net, Us};

/// How often replication is looked at.
pub const REPLICATION_TICK_US: Us = 50_000;
/// Refused: again after this.
const RETRY_US: Us = 1_000_000;
/// A replica tells this often how far it is.
const ACK_US: Us = 1_000_000;

/// How long things take at a node.
#[derive(Clone, Copy, Debug)]
pub struct SyncTimes {
    /// From a replica's wish for all data to the beginning of the transfer.
    pub wait_us: Us,
    /// The transfer of this node's data to a replica.
    pub send_us: Us,
    /// Reading its data, from the disk or a master.
    pub load_us: Us,
    /// Nothing over a link for so long: it is given up.
    pub timeout_us: Us,
}

impl Default for SyncTimes {
    fn default() -> Self {
        SyncTimes { wait_us: 0, send_us: 0, load_us: 0, timeout_us: 3_000_000 }
    }
}

/// A replica's side.
#[derive(Clone, Debug)]
pub(super) enum Link {
    /// Not connected; tries again then.
    Waits {
        until: Us,
    },
    /// It wants all data, and gets it.
    Syncs {
        id: u64,
        phase: Phase,
        until: Us,
    },
    Up {
        id: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// The master has not begun.
    Asked,
    /// On its way: the master's history as it was at the beginning.
    Comes(Box<History>),
    Loads(Box<History>),
}

impl Link {
    fn id(&self) -> Option<u64> {
        match self {
            Link::Waits { .. } => None,
            Link::Syncs { id, .. } | Link::Up { id } => Some(*id),
        }
    }

    pub(super) fn receives(&self) -> bool {
        matches!(self, Link::Syncs { phase: Phase::Comes(_) | Phase::Loads(_), .. })
    }
}

/// A master's side: a line of its INFO.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    pub id: u64,
    pub host: HostId,
    /// The name that it announces.
    pub shown: Option<String>,
    pub state: &'static str,
    /// What it told last, and when.
    pub offset: u64,
    pub told_at: Us,
}

impl Server {
    /// It has another master now, or none. `false`: it is so already.
    pub(super) fn follow(&mut self, now: Us, rng: &mut Rng, master: Option<HostId>) -> bool {
        if self.master == master {
            return false;
        }
        if master.is_none() {
            self.promotions += 1;
            self.history.rename(Id::random(rng));
            self.history.selects = true;
            // Its replicas have to learn the new name.
            self.attached.clear();
        }
        // A master goes on from where it is, if its new master can.
        self.has_place |= self.master.is_none();
        self.master = master;
        self.master_text = None;
        self.lose_link(now, now + rng.below(20_000));
        self.down_since = None;
        true
    }

    pub(super) fn lose_link(&mut self, now: Us, next_try: Us) {
        if self.link_up {
            self.down_since = Some(now);
        }
        self.link_up = false;
        self.link = Link::Waits { until: next_try };
        self.unread.clear();
        if self.loading_until.is_some() {
            self.mode = Mode::Normal;
            self.loading_until = None;
        }
    }

    fn link_is_up(&mut self, now: Us, id: u64) {
        self.link = Link::Up { id };
        self.link_up = true;
        self.has_place = true;
        self.heard = now;
        self.down_since = None;
    }

    fn attached(&mut self, id: u64) -> Option<&mut Attached> {
        self.attached.iter_mut().find(|attached| attached.id == id)
    }
}

impl Farm {
    /// Replication moves on at every node.
    pub fn tick(&mut self, now: Us, net: &Net, rng: &mut Rng) {
        let grown = rng.below(self.traffic_bytes + 1);
        for index in 0..self.servers.len() {
            let server = &mut self.servers[index];
            if !server.works() {
                continue;
            }
            server.look_at_clock(now);
            if server.master.is_none() && server.mode == Mode::Normal {
                server.history.grow(grown);
            }
            if !server.attached.is_empty() {
                self.drop_dead_replicas(now, net, index);
            }
            if let Some(master) = self.servers[index].master {
                self.replicate(now, net, rng, index, master);
            }
        }
    }

    /// A replica that is in sync from the beginning.
    pub(super) fn sync_at_once(&mut self, replica: HostId, rng: &mut Rng) {
        let master = self.at(replica).and_then(|server| server.master).expect("a replica");
        let id = self.attach(0, master, replica, "online");
        let source = self.at_mut(master);
        source.history.keep(rng);
        source.history.grow(1_000);
        let history = source.history.clone();
        let server = self.at_mut(replica);
        server.history = history;
        server.link_is_up(0, id);
    }

    fn attach(&mut self, now: Us, master: HostId, host: HostId, state: &'static str) -> u64 {
        self.links += 1;
        let id = self.links;
        let shown = self.at(host).and_then(|server| server.announces.clone());
        let attached = Attached { id, host, shown, state, offset: 0, told_at: now };
        self.at_mut(master).attached.push(attached);
        id
    }

    /// Replicas that closed are gone at once, those that are cut off after a while.
    fn drop_dead_replicas(&mut self, now: Us, net: &Net, index: usize) {
        let server = &self.servers[index];
        let (host, timeout_us) = (server.host, server.times.timeout_us);
        let stays = |attached: &Attached| match net.reach(host, attached.host) {
            true => self.at(attached.host).and_then(|s| s.link.id()) == Some(attached.id),
            false => attached.state != "online" || now <= attached.told_at + timeout_us,
        };
        if !server.attached.iter().all(stays) {
            let kept = server.attached.iter().filter(|a| stays(a)).cloned().collect();
            self.servers[index].attached = kept;
        }
    }

    fn replicate(&mut self, now: Us, net: &Net, rng: &mut Rng, index: usize, master: HostId) {
        let server = &self.servers[index];
        let host = server.host;
        let reached = net.reach(host, master);
        if let Link::Waits { until } = server.link {
            if now >= until {
                self.connect(now, rng, host, master, reached);
            }
            return;
        }
        let id = server.link.id().expect("it has a link");
        let source = self.at_mut(master);
        let source_works = source.works();
        let lost = !source.running || source.attached(id).is_none();
        let server = &mut self.servers[index];
        if reached && lost {
            // At once; after that as often as the clock of the process allows.
            server.lose_link(now, now);
        } else if reached && source_works {
            server.heard = now;
            self.progress(now, host, master, id);
        } else if now > server.heard + server.times.timeout_us {
            server.lose_link(now, now + rng.below(RETRY_US));
        }
    }

    /// An attempt to find the master, and what it says.
    fn connect(&mut self, now: Us, rng: &mut Rng, host: HostId, master: HostId, reached: bool) {
        let server = self.at(host).expect("a data node");
        let later = Link::Waits { until: now + RETRY_US };
        let Some(source) = self.at(master).filter(|source| source.running && reached) else {
            self.at_mut(host).link = later;
            return;
        };
        if source.frozen {
            // The connection is made; the answer comes when the process goes on.
            return;
        }
        let refused = source.mode != Mode::Normal
            || source.password.as_ref().is_some_and(|p| server.master_password.as_ref() != Some(p))
            || (source.master.is_some() && !source.link_up);
        if refused {
            self.at_mut(host).link = later;
            return;
        }
        let (mine, offset) = (server.history.replid, server.history.offset);
        if server.has_place && source.history.continues(mine, offset) {
            let id = self.attach(now, master, host, "online");
            let theirs = source_of(self, master).replid;
            let server = self.at_mut(host);
            if theirs != mine {
                server.history.rename(theirs);
                server.attached.clear();
            }
            server.link_is_up(now, id);
            return;
        }
        let id = self.attach(now, master, host, "wait_bgsave");
        let source = self.at_mut(master);
        source.history.keep(rng);
        let until = now + source.times.wait_us;
        let server = self.at_mut(host);
        server.link = Link::Syncs { id, phase: Phase::Asked, until };
        server.heard = now;
    }

    /// Both ends are there and can talk.
    fn progress(&mut self, now: Us, host: HostId, master: HostId, id: u64) {
        let source = self.at_mut(master);
        let (offset, send_us) = (source.history.offset, source.times.send_us);
        let server = self.at_mut(host);
        let Link::Syncs { phase, until, .. } = &mut server.link else {
            server.history.grow(offset.saturating_sub(server.history.offset));
            return self.tell_offset(now, host, master, id);
        };
        if now < *until {
            return;
        }
        match std::mem::replace(phase, Phase::Asked) {
            Phase::Asked => {
                let source = self.at_mut(master);
                source.history.selects = true;
                let history = Box::new(source.history.clone());
                let (phase, until) = (Phase::Comes(history), now + send_us);
                self.at_mut(host).link = Link::Syncs { id, phase, until };
            }
            Phase::Comes(history) => {
                // Its own replicas have to begin anew, too.
                server.attached.clear();
                server.has_place = false;
                server.saved = Some(Saved(Some((*history).clone())));
                let until = now + server.times.load_us;
                server.link = Link::Syncs { id, phase: Phase::Loads(history), until };
                server.load_until(now, until);
                let attached = self.at_mut(master).attached(id).expect("it was looked at");
                *attached = Attached { state: "online", told_at: now, ..attached.clone() };
            }
            Phase::Loads(history) => {
                server.look_at_clock(now);
                server.history = History {
                    replid2: Id::ZERO,
                    second_offset: None,
                    first_kept: Some(history.offset + 1),
                    ..*history
                };
                server.link_is_up(now, id);
                self.tell_offset(now, host, master, id);
            }
        }
    }

    fn tell_offset(&mut self, now: Us, host: HostId, master: HostId, id: u64) {
        let offset = self.at(host).expect("a data node").history.offset;
        let attached = self.at_mut(master).attached(id).expect("it was looked at");
        if now >= attached.told_at + ACK_US {
            attached.offset = offset;
            attached.told_at = now;
        }
    }
}

fn source_of(farm: &Farm, host: HostId) -> &History {
    &farm.at(host).expect("a data node").history
}
