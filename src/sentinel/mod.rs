//! The Sentinel protocol, without sockets, files and clocks: one file per section of
//! spec/protocol.md.
//!
//! - [`instance`] (1): masters, replicas, sentinels; [`names`] resolves their hosts, [`doubt`]
//!   looks at them again.
//! - [`periods`] (2), [`timers`] with their wheel, [`tick`]: when things are done.
//! - [`link`] (3) with [`connect`], [`periodic`] (4), [`reply`]: connections, what is sent and what
//!   comes back; [`refusal`] and [`link_health`]: what is refused, and when it is tried again;
//!   [`gather`] reads it in larger pieces, [`places`] finds masters by address; [`thresholds`]:
//!   from which size on commands are bundled and hellos gathered.
//! - [`info`] (5) with [`info_text`], [`hello`] (6), [`down`] (7), [`vote`] (8), [`epochs`].
//! - [`election`], [`failover`], [`conflict`], [`select`], [`orders`] (9), [`topology`] (10),
//!   [`tilt`] (11).
//! - [`event`], [`log_limit`], [`scripts`], [`saves`]: what leaves the core. [`command`]: what
//!   operators ask for.
#![forbid(unsafe_code)]

pub mod action;
pub mod addresses;
pub mod command;
pub mod conflict;
pub mod connect;
pub mod doubt;
pub mod down;
pub mod election;
pub mod epochs;
pub mod event;
pub mod failover;
pub mod gather;
pub mod hello;
pub mod info;
pub mod info_text;
pub mod instance;
pub mod link;
pub mod link_health;
pub mod log_limit;
pub mod names;
pub mod orders;
pub mod pending_names;
pub mod periodic;
pub mod periods;
pub mod places;
pub mod refusal;
pub mod reply;
pub mod saves;
pub mod scripts;
pub mod select;
pub mod sentineld_peers;
pub mod setup;
#[cfg(test)]
mod testing;
pub mod thresholds;
pub mod tick;
pub mod tilt;
pub mod timers;
pub mod topology;
pub mod view;
pub mod vote;
mod wheel;

#[cfg(test)]
mod failover_tests;
#[cfg(test)]
mod hello_tests;
#[cfg(test)]
mod info_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod orders_tests;
#[cfg(test)]
mod scripts_tests;
#[cfg(test)]
mod select_tests;
#[cfg(test)]
mod view_tests;
#[cfg(test)]
mod vote_tests;

use std::collections::{BTreeMap, BTreeSet};

use instance::{Addr, Base, InstId, Master, MasterId, Peer, PeerId, Replica, ReplicaId};
use link::{Channel, Link, LinkId};
use setup::GlobalConfig;

use crate::util::defect::{Defect, defect};
use crate::util::ident::{Arena, ConnId, IdMap};
use crate::util::rng::mix;
use crate::util::text::append;
use crate::util::time::Mono;

/// SENTINEL SIMULATE-FAILURE: where to exit on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Simulate {
    pub crash_after_election: bool,
    pub crash_after_promotion: bool,
}

/// What the core has to know of the server around it; no command changes it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Surroundings {
    /// The port that hellos give, unless announce-port is set.
    pub port: u16,
    /// Our own `requirepass`: the password towards sentinels while sentinel-pass is not set.
    pub requirepass: Option<Vec<u8>>,
}

/// The whole protocol state.
#[derive(Clone, Debug)]
pub struct Sentinel {
    /// Own id, 40 hex.
    pub myid: Vec<u8>,
    pub current_epoch: u64,
    epoch_allowance: epochs::EpochAllowance,
    /// Peers that are sentineld; the server tells who says so.
    pub sentineld_peers: sentineld_peers::SentineldPeers,
    /// Global settings (its `myid` and `current_epoch` are only those of the start).
    pub global: GlobalConfig,
    pub surroundings: Surroundings,
    pub periods: periods::Periods,
    /// Chosen by whoever makes it, before its first master.
    pub thresholds: thresholds::Thresholds,
    pub masters: Arena<MasterId, Master>,
    pub replicas: Arena<ReplicaId, Replica>,
    pub peers: Arena<PeerId, Peer>,
    pub links: Arena<LinkId, Link>,
    pub scripts: scripts::ScriptQueue,
    pub tilt: tilt::Tilt,
    pub simulate: Simulate,
    /// A simulated crash waits for this save; nothing is told or sent any more.
    crash_after: Option<vote::Ticket>,
    pub saves: saves::Saves,
    by_name: BTreeMap<Vec<u8>, MasterId>,
    places: places::Places,
    conns: IdMap<ConnId, (LinkId, Channel)>,
    /// Links to sentinels by run id, for sharing.
    peer_links: BTreeMap<Vec<u8>, LinkId>,
    names: names::Names,
    /// Masters with votes that are being saved.
    pending_votes: BTreeSet<MasterId>,
    timers: timers::Timers,
    ping_budget: periodic::PingBudget,
    /// When there last was an event, or a peer that asked about a master.
    stirred: Mono,
    /// Sets our moments apart from those of other sentinels.
    slot_offset: u64,
    info_models: info_text::Models,
    /// For a text that is put together and sent.
    scratch: Vec<u8>,
}

impl Sentinel {
    /// A sentinel that monitors nothing yet. `myid`: 40 hex, given or new.
    pub fn new(global: GlobalConfig, myid: Vec<u8>, surroundings: Surroundings) -> Sentinel {
        let slot_offset = myid.iter().fold(0, |sum, byte| mix(sum ^ u64::from(*byte)));
        Sentinel {
            myid,
            current_epoch: if defect(Defect::ForgetEpochAtLoad) { 0 } else { global.current_epoch },
            epoch_allowance: epochs::EpochAllowance::default(),
            sentineld_peers: sentineld_peers::SentineldPeers::default(),
            global,
            surroundings,
            periods: periods::Periods::default(),
            thresholds: thresholds::Thresholds::default(),
            masters: Arena::default(),
            replicas: Arena::default(),
            peers: Arena::default(),
            links: Arena::default(),
            scripts: scripts::ScriptQueue::default(),
            tilt: tilt::Tilt::default(),
            simulate: Simulate::default(),
            crash_after: None,
            saves: saves::Saves::default(),
            by_name: BTreeMap::new(),
            places: places::Places::default(),
            conns: IdMap::default(),
            peer_links: BTreeMap::new(),
            names: names::Names::default(),
            pending_votes: BTreeSet::new(),
            timers: timers::Timers::default(),
            ping_budget: periodic::PingBudget::default(),
            stirred: Mono(0),
            slot_offset,
            info_models: info_text::Models::default(),
            scratch: Vec::new(),
        }
    }

    /// The master with exactly this name.
    pub fn master_named(&self, name: &[u8]) -> Option<MasterId> {
        self.by_name.get(name).copied()
    }

    /// All masters, by name.
    pub fn masters_in_order(&self) -> impl Iterator<Item = &Master> {
        self.by_name.values().map(|id| &self.masters[*id])
    }

    /// The replicas of a master, by address.
    pub fn replicas_of(&self, master: MasterId) -> impl Iterator<Item = &Replica> {
        self.masters[master].replicas.values().map(|id| &self.replicas[*id])
    }

    /// The other sentinels of a master, by run id.
    pub fn peers_of(&self, master: MasterId) -> impl Iterator<Item = &Peer> {
        self.masters[master].peers.values().map(|id| &self.peers[*id])
    }

    /// Whether the instance is still there.
    pub fn alive(&self, inst: InstId) -> bool {
        match inst {
            InstId::Master(id) => self.masters.contains(id),
            InstId::Replica(id) => self.replicas.contains(id),
            InstId::Peer(id) => self.peers.contains(id),
        }
    }

    /// What every instance has.
    pub fn base(&self, inst: InstId) -> &Base {
        match inst {
            InstId::Master(id) => &self.masters[id].base,
            InstId::Replica(id) => &self.replicas[id].base,
            InstId::Peer(id) => &self.peers[id].base,
        }
    }

    pub(super) fn base_mut(&mut self, inst: InstId) -> &mut Base {
        match inst {
            InstId::Master(id) => &mut self.masters[id].base,
            InstId::Replica(id) => &mut self.replicas[id].base,
            InstId::Peer(id) => &mut self.peers[id].base,
        }
    }

    /// What a data node reports; `None` for sentinels.
    pub fn data(&self, inst: InstId) -> Option<&instance::DataState> {
        match inst {
            InstId::Master(id) => Some(&self.masters[id].data),
            InstId::Replica(id) => Some(&self.replicas[id].data),
            InstId::Peer(_) => None,
        }
    }

    pub(super) fn data_mut(&mut self, inst: InstId) -> Option<&mut instance::DataState> {
        match inst {
            InstId::Master(id) => Some(&mut self.masters[id].data),
            InstId::Replica(id) => Some(&mut self.replicas[id].data),
            InstId::Peer(_) => None,
        }
    }

    /// The master an instance belongs to (a master: itself).
    pub fn master_of(&self, inst: InstId) -> MasterId {
        match inst {
            InstId::Master(id) => id,
            InstId::Replica(id) => self.replicas[id].master,
            InstId::Peer(id) => self.peers[id].master,
        }
    }

    /// How an address is told to others: the IP, or the host with announce-hostnames.
    pub fn announced(&self, addr: &Addr) -> Vec<u8> {
        let mut text = Vec::new();
        self.append_announced(&mut text, addr);
        text
    }

    fn append_announced(&self, text: &mut Vec<u8>, addr: &Addr) {
        match addr.ip {
            Some(ip) if !self.global.announce_hostnames => append(text, ip),
            _ => text.extend_from_slice(&addr.host),
        }
    }
}
