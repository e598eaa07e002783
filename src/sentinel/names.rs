//! Names and addresses: the cache of lookups (hostnames are resolved beside the loop).
//!
//! Decisions use the last good answer; a lookup is asked for whenever an answer is wanted and none
//! is on its way. A lookup that never ends is given up after [`LOOKUP_TIMEOUT_MS`]. What cannot go
//! on without the answer waits for it, see [`super::pending_names`].
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Sentinel;
use super::action::{Action, Cx};
use super::instance::{Addr, InstId, MasterId};
use super::log_limit::LineKind;
use super::pending_names::Waiters;
use crate::util::ident::LookupId;
use crate::util::time::Mono;

/// A lookup without an answer for this long counts as failed, and another one is begun.
pub const LOOKUP_TIMEOUT_MS: u64 = 5_000;
/// A host is looked up at most this often.
pub(super) const LOOKUP_PERIOD_MS: u64 = 1_000;
/// Most names that are remembered; the one that was not wanted for longest makes room.
pub(super) const MAX_NAMES: usize = 4_096;
/// Longest name that is looked up (a DNS name has at most 253 bytes).
pub(super) const MAX_NAME_BYTES: usize = 255;
/// Most addresses that are remembered of one answer.
const MAX_ADDRESSES: usize = 8;
/// A name that has led to the address of another instance for so long means that instance.
pub(super) const REFUSED_FOR_LONG_MS: u64 = 30_000;
/// Most lookups on their way for names that others told us: so many for each master, and as many
/// for those who ask about masters. A node that lists names without end delays only itself.
pub(super) const MAX_FOREIGN_LOOKUPS: usize = 64;

/// Who wants a name to be looked up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// An instance that we watch, or an operator: no limit.
    Own,
    /// INFO of a data node of this master, or a hello about it.
    Told(MasterId),
    /// Somebody who asks about a master.
    Stranger,
}

/// What is known of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostState {
    /// An IP literal, or a name with a good answer.
    Known(IpAddr),
    /// Not an IP while resolve-hostnames is off, or the lookup failed.
    Bad,
    /// A lookup is on its way.
    Pending,
    /// Too many lookups are on their way; none was begun for this name.
    Busy,
}

#[derive(Clone, Debug, Default)]
struct Name {
    ip: Option<IpAddr>,
    in_flight: Option<(LookupId, Origin)>,
    /// When it was last asked for, or answered.
    asked: Option<Mono>,
    /// When it was last wanted, as a count of wishes.
    wanted: u64,
    /// All addresses of the last good answer, the first ones of many.
    all: Vec<IpAddr>,
    refused: Option<Refused>,
}

/// The address that instances of a name were last refused.
#[derive(Clone, Copy, Debug)]
struct Refused {
    ip: IpAddr,
    since: Mono,
    /// When the name server last said so.
    last: Mono,
}

/// The cache.
#[derive(Clone, Debug, Default)]
pub struct Names {
    known: BTreeMap<Vec<u8>, Name>,
    /// The names by their last wish: the first one makes room.
    by_wish: BTreeMap<u64, Vec<u8>>,
    lookups: BTreeMap<LookupId, Vec<u8>>,
    /// How many lookups are on their way for each origin.
    in_flight: BTreeMap<Origin, usize>,
    next: u64,
    wishes: u64,
    pub(super) waiters: Waiters,
}

impl Names {
    /// Makes room for one more name; false if a lookup is on its way for the oldest ones.
    fn make_room(&mut self) -> bool {
        if self.known.len() < MAX_NAMES {
            return true;
        }
        let idle = |key: &&Vec<u8>| self.known.get(*key).is_some_and(|n| n.in_flight.is_none());
        // Those that are on their way are the ones that were wanted last, nearly always.
        let oldest = self.by_wish.values().take(MAX_FOREIGN_LOOKUPS).find(idle);
        let Some(key) = oldest.cloned() else { return false };
        if let Some(name) = self.known.remove(&key) {
            self.by_wish.remove(&name.wanted);
        }
        true
    }

    /// Notes that a name is wanted now.
    fn want(&mut self, key: &[u8]) -> &mut Name {
        self.wishes += 1;
        let name = self.known.entry(key.to_vec()).or_default();
        self.by_wish.remove(&name.wanted);
        name.wanted = self.wishes;
        self.by_wish.insert(self.wishes, key.to_vec());
        name
    }

    /// A lookup has ended or is given up.
    fn ended(&mut self, lookup: LookupId, origin: Origin) {
        self.lookups.remove(&lookup);
        if let Some(count) = self.in_flight.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(&origin);
            }
        }
    }

    fn is_busy(&self, origin: Origin) -> bool {
        let count = self.in_flight.get(&origin).copied().unwrap_or(0);
        origin != Origin::Own && count >= MAX_FOREIGN_LOOKUPS
    }

    /// The last good answer for a host.
    pub(super) fn cached(&self, host: &[u8]) -> Option<IpAddr> {
        self.known.get(&host.to_ascii_lowercase())?.ip
    }

    /// Whether a lookup of a host is on its way.
    pub(super) fn is_looked_up(&self, host: &[u8]) -> bool {
        let name = self.known.get(&host.to_ascii_lowercase());
        name.is_some_and(|name| name.in_flight.is_some())
    }

    /// Whether it is news that instances of this host may not have `ip`.
    pub(super) fn is_new_refusal(&mut self, now: Mono, host: &[u8], ip: IpAddr) -> bool {
        let Some(name) = self.known.get_mut(&host.to_ascii_lowercase()) else { return false };
        let is_new = name.refused.is_none_or(|refused| refused.ip != ip);
        if is_new {
            name.refused = Some(Refused { ip, since: now, last: now });
        }
        is_new
    }

    /// Whether that address, and no other, has been what a host's name leads to for so long that
    /// the name server is right.
    pub(super) fn is_refused_for_long(&self, host: &[u8], ip: IpAddr) -> bool {
        let refused = self.known.get(&host.to_ascii_lowercase()).and_then(|name| name.refused);
        let long = |refused: Refused| refused.last.since(refused.since) >= REFUSED_FOR_LONG_MS;
        refused.is_some_and(|refused| refused.ip == ip && long(refused))
    }

    /// Whether one name, that of either host, has the addresses of both: IPv4 and IPv6, say.
    pub(super) fn lead_to_both(&self, one: &Addr, other: &Addr) -> bool {
        let (Some(one_ip), Some(other_ip)) = (one.ip, other.ip) else { return false };
        let known = |addr: &Addr| self.known.get(&addr.host.to_ascii_lowercase());
        let both = |name: &Name| name.all.contains(&one_ip) && name.all.contains(&other_ip);
        one.port == other.port && [one, other].into_iter().filter_map(known).any(both)
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
    pub fn host_state(&mut self, cx: &mut Cx, host: &[u8], origin: Origin) -> HostState {
        if let Some(ip) = parse_ip(host) {
            return HostState::Known(ip);
        }
        if !self.global.resolve_hostnames || !is_host(host) {
            return HostState::Bad;
        }
        let key = host.to_ascii_lowercase();
        let known = self.names.known.contains_key(&key);
        if !known && (self.names.is_busy(origin) || !self.names.make_room()) {
            return HostState::Busy;
        }
        self.names.want(&key);
        self.look_up(cx, &key, origin);
        let Some(name) = self.names.known.get(&key) else { return HostState::Bad };
        match name.ip {
            Some(ip) => HostState::Known(ip),
            None if name.in_flight.is_some() => HostState::Pending,
            None if name.asked.is_none() => HostState::Busy,
            None => HostState::Bad,
        }
    }

    /// The last good address of `host`; a failure is logged as the operators know it.
    pub(super) fn resolve(
        &mut self,
        cx: &mut Cx,
        host: &[u8],
        origin: Origin,
    ) -> Result<IpAddr, HostState> {
        match self.host_state(cx, host, origin) {
            HostState::Known(ip) => Ok(ip),
            HostState::Bad => {
                log_unresolved(cx, host);
                Err(HostState::Bad)
            }
            state @ (HostState::Pending | HostState::Busy) => Err(state),
        }
    }

    fn look_up(&mut self, cx: &mut Cx, key: &[u8], origin: Origin) {
        let busy = self.names.is_busy(origin);
        let Some(name) = self.names.known.get_mut(key) else { return };
        // One for somebody else may have to wait for long.
        let overtakes = origin == Origin::Own
            && name.ip.is_none()
            && name.in_flight.is_some_and(|(_, asked_for)| asked_for != Origin::Own);
        if let Some(asked) = name.asked.filter(|_| !overtakes) {
            let wait = match name.in_flight {
                Some(_) => LOOKUP_TIMEOUT_MS,
                None => LOOKUP_PERIOD_MS,
            };
            if cx.now.since(asked) < wait {
                return;
            }
        }
        let given_up = name.in_flight.take();
        if !busy {
            self.names.next += 1;
            let lookup = LookupId(self.names.next);
            name.in_flight = Some((lookup, origin));
            name.asked = Some(cx.now);
            self.names.lookups.insert(lookup, key.to_vec());
            *self.names.in_flight.entry(origin).or_default() += 1;
            let own = origin == Origin::Own;
            cx.act(Action::Resolve { lookup, host: key.to_vec(), own });
        }
        if let Some((lookup, origin)) = given_up {
            self.names.ended(lookup, origin);
            if !overtakes {
                log_unresolved(cx, key);
            }
        }
    }

    /// A lookup has ended (no address: it failed, the last good answer stays). Gives the host.
    pub fn resolved(&mut self, cx: &mut Cx, lookup: LookupId, ips: &[IpAddr]) -> Option<Vec<u8>> {
        let key = self.names.lookups.get(&lookup)?.clone();
        let name = self.names.known.get_mut(&key)?;
        let (_, origin) = name.in_flight.take()?;
        // What goes on with this answer must not ask for the next one.
        name.asked = Some(cx.now);
        if let Some(ip) = ips.first() {
            name.ip = Some(*ip);
            name.all = ips[..ips.len().min(MAX_ADDRESSES)].to_vec();
            let same = |refused: &Refused| refused.ip == *ip;
            name.refused = name.refused.filter(same).map(|old| Refused { last: cx.now, ..old });
        }
        self.names.ended(lookup, origin);
        match ips.first() {
            Some(ip) => self.adopt_ip(cx, &key, *ip),
            None => log_unresolved(cx, &key),
        }
        self.name_answered(cx, &key);
        Some(key)
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
        let ip = self.resolve(cx, host, Origin::Own).ok();
        if ip.is_none() && !self.global.resolve_hostnames {
            return None;
        }
        Some(Addr { host: host.to_vec(), ip, port })
    }

    /// Whether the last good answer for a host was this address.
    pub(super) fn leads_to(&self, host: &[u8], ip: IpAddr) -> bool {
        self.names.cached(host) == Some(ip)
    }
}

/// In the words of the field. The name may be anybody's, and of any length.
fn log_unresolved(cx: &mut Cx, host: &[u8]) {
    let text = || [b"Failed to resolve hostname '", host, b"'"].concat();
    cx.log_limited(LineKind::UnresolvedHost, text);
}
