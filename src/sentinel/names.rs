//! Names and addresses: the cache of lookups (hostnames are resolved beside the loop).
//!
//! Decisions use the last good answer; a lookup is asked for whenever an answer is wanted and none
//! is on its way. A lookup that never ends is given up after [`LOOKUP_TIMEOUT_MS`].
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Sentinel;
use super::action::{Action, Cx};
use super::instance::{Addr, InstId};
use super::log_limit::LineKind;
use crate::util::ident::LookupId;
use crate::util::time::Mono;

/// A lookup without an answer for this long counts as failed.
pub const LOOKUP_TIMEOUT_MS: u64 = 5_000;
/// A host is looked up at most this often.
pub(super) const LOOKUP_PERIOD_MS: u64 = 1_000;
/// Most names that are remembered; the one that was not wanted for longest makes room.
pub(super) const MAX_NAMES: usize = 4_096;
/// Longest name that is looked up (a DNS name has at most 253 bytes).
pub(super) const MAX_NAME_BYTES: usize = 255;

/// What is known of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostState {
    /// An IP literal, or a name with a good answer.
    Known(IpAddr),
    /// Not an IP while resolve-hostnames is off, or the lookup failed.
    Bad,
    /// A lookup is on its way.
    Pending,
}

#[derive(Clone, Debug, Default)]
struct Name {
    ip: Option<IpAddr>,
    in_flight: Option<LookupId>,
    asked: Option<Mono>,
    answered: bool,
    /// When it was last wanted, as a count of wishes.
    wanted: u64,
}

/// The cache.
#[derive(Clone, Debug, Default)]
pub struct Names {
    known: BTreeMap<Vec<u8>, Name>,
    lookups: BTreeMap<LookupId, Vec<u8>>,
    next: u64,
    wishes: u64,
}

impl Names {
    /// Makes room for one more name; false if a lookup is on its way for every one.
    fn make_room(&mut self) -> bool {
        if self.known.len() < MAX_NAMES {
            return true;
        }
        let idle = self.known.iter().filter(|(_, name)| name.in_flight.is_none());
        let Some(oldest) = idle.min_by_key(|(_, name)| name.wanted) else { return false };
        let key = oldest.0.clone();
        self.known.remove(&key);
        true
    }
}

/// Reads an IP literal.
pub fn parse_ip(host: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(host).ok()?.parse().ok()
}

/// Whether this may be a host's name or address: nothing that would end a word or a line wherever
/// it is written.
pub(super) fn is_host(host: &[u8]) -> bool {
    let fits = |text: &str| !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let len_fits = (1..=MAX_NAME_BYTES).contains(&host.len());
    len_fits && std::str::from_utf8(host).is_ok_and(fits)
}

impl Sentinel {
    /// What is known of `host` now; starts a lookup where one is due.
    pub fn host_state(&mut self, cx: &mut Cx, host: &[u8]) -> HostState {
        if let Some(ip) = parse_ip(host) {
            return HostState::Known(ip);
        }
        if !self.global.resolve_hostnames || !is_host(host) {
            return HostState::Bad;
        }
        let key = host.to_ascii_lowercase();
        if !self.names.known.contains_key(&key) && !self.names.make_room() {
            return HostState::Bad;
        }
        self.look_up(cx, &key);
        self.names.wishes += 1;
        let Some(name) = self.names.known.get_mut(&key) else { return HostState::Bad };
        name.wanted = self.names.wishes;
        match name.ip {
            Some(ip) => HostState::Known(ip),
            None if name.answered || name.in_flight.is_none() => HostState::Bad,
            None => HostState::Pending,
        }
    }

    /// The last good address of `host`; a failure is logged as the operators know it.
    pub(super) fn resolve(&mut self, cx: &mut Cx, host: &[u8]) -> Option<IpAddr> {
        match self.host_state(cx, host) {
            HostState::Known(ip) => Some(ip),
            HostState::Pending => None,
            HostState::Bad => {
                log_unresolved(cx, host);
                None
            }
        }
    }

    fn look_up(&mut self, cx: &mut Cx, key: &[u8]) {
        let name = self.names.known.entry(key.to_vec()).or_default();
        if let Some(asked) = name.asked {
            let wait = match name.in_flight {
                Some(_) => LOOKUP_TIMEOUT_MS,
                None => LOOKUP_PERIOD_MS,
            };
            if cx.now.since(asked) < wait {
                return;
            }
        }
        self.names.next += 1;
        let lookup = LookupId(self.names.next);
        if let Some(old) = name.in_flight.replace(lookup) {
            self.names.lookups.remove(&old);
            name.answered = true;
        }
        name.asked = Some(cx.now);
        self.names.lookups.insert(lookup, key.to_vec());
        cx.act(Action::Resolve { lookup, host: key.to_vec() });
    }

    /// A lookup has ended (no address: it failed, the last good answer stays). Gives the host.
    pub fn resolved(&mut self, cx: &mut Cx, lookup: LookupId, ips: &[IpAddr]) -> Option<Vec<u8>> {
        let key = self.names.lookups.remove(&lookup)?;
        let name = self.names.known.get_mut(&key)?;
        name.in_flight = None;
        name.answered = true;
        if let Some(ip) = ips.first() {
            name.ip = Some(*ip);
            self.adopt_ip(cx, &key, *ip);
        } else {
            log_unresolved(cx, &key);
        }
        Some(key)
    }

    /// Instances of that name without a living command connection move to the new address.
    fn adopt_ip(&mut self, cx: &mut Cx, host: &[u8], ip: IpAddr) {
        for inst in self.all_instances() {
            let base = self.base(inst);
            let same = base.addr.host.eq_ignore_ascii_case(host);
            if !same || base.addr.ip == Some(ip) || self.cmd_alive(base.link) {
                continue;
            }
            let link = base.link;
            self.set_ip(cx, inst, ip);
            self.links[link].last_reconnect = [None; 2];
            self.drop_connections(cx, link, "address-change");
            self.arm(cx.now, inst);
        }
    }

    /// Whether the command connection has ever brought an answer.
    fn cmd_alive(&self, link: super::link::LinkId) -> bool {
        self.links[link].cmd.as_ref().is_some_and(|conn| conn.last_received > conn.since)
    }

    /// Every instance, masters first.
    pub(super) fn all_instances(&self) -> Vec<InstId> {
        let masters = self.masters.iter().map(|(id, _)| InstId::Master(id));
        let replicas = self.replicas.iter().map(|(id, _)| InstId::Replica(id));
        let peers = self.peers.iter().map(|(id, _)| InstId::Peer(id));
        masters.chain(replicas).chain(peers).collect()
    }

    /// Builds an address; `None` if the host is no IP and names are not resolved.
    /// A name without an answer yet gives an address without IP.
    pub(super) fn make_addr(&mut self, cx: &mut Cx, host: &[u8], port: u16) -> Option<Addr> {
        let ip = self.resolve(cx, host);
        if ip.is_none() && !self.global.resolve_hostnames {
            return None;
        }
        Some(Addr { host: host.to_vec(), ip, port })
    }
}

/// In the words of the field. The name may be anybody's, and of any length.
fn log_unresolved(cx: &mut Cx, host: &[u8]) {
    let text = || [b"Failed to resolve hostname '", host, b"'"].concat();
    cx.log_limited(LineKind::UnresolvedHost, text);
}

impl Addr {
    /// Whether both name the same place: equal ports, and equal IPs or equal hosts without case.
    pub fn same(&self, other: &Addr) -> bool {
        self.same_as(&other.host, other.ip, other.port)
    }

    /// [`Addr::same`] for an address in parts.
    pub fn same_as(&self, host: &[u8], ip: Option<IpAddr>, port: u16) -> bool {
        let same_ip = self.ip.is_some() && self.ip == ip;
        self.port == port && (same_ip || self.host.eq_ignore_ascii_case(host))
    }

    /// Whether this is the address that was reported as `host` and `port`.
    pub fn is_at(&self, host: &[u8], port: u16) -> bool {
        let same_ip = self.ip.is_some() && parse_ip(host) == self.ip;
        self.port == port && (same_ip || self.host.eq_ignore_ascii_case(host))
    }
}
