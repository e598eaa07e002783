//! Who lives where: instances by address and by host name.
//!
//! Peers ask about masters by address, thousands of times when thousands of masters fail together;
//! INFO lists replicas by address; an answer of the name server concerns all instances of that
//! name. All of these are found here, and only [`super::addresses`] changes an address.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;

use super::Sentinel;
use super::instance::{Addr, InstId, MasterId, PeerId, ReplicaId};
use super::names::parse_ip;

/// Run ids that begin with the same digits are chosen so: no more of them are looked at.
const SAME_START_MAX: usize = 4;

/// The index. It holds an entry for each part of an address that can be looked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Places {
    masters_by_ip: BTreeSet<(IpAddr, u16, MasterId)>,
    /// No two replicas of a master have the same IP and port.
    replicas_by_ip: BTreeMap<(IpAddr, u16, MasterId), ReplicaId>,
    /// All instances whose host is a name, by that name in lower case.
    named: BTreeSet<(Vec<u8>, u16, InstId)>,
}

const FIRST: InstId = InstId::Master(MasterId(0));
const LAST: InstId = InstId::Peer(PeerId(u64::MAX));

fn name_key(host: &[u8]) -> Option<Vec<u8>> {
    parse_ip(host).is_none().then(|| host.to_ascii_lowercase())
}

impl Places {
    /// The instance, which belongs to `master`, has this address now.
    pub(super) fn add(&mut self, inst: InstId, master: MasterId, addr: &Addr) {
        if let Some(name) = name_key(&addr.host) {
            self.named.insert((name, addr.port, inst));
        }
        match (inst, addr.ip) {
            (InstId::Master(id), Some(ip)) => {
                self.masters_by_ip.insert((ip, addr.port, id));
            }
            (InstId::Replica(id), Some(ip)) => {
                self.replicas_by_ip.insert((ip, addr.port, master), id);
            }
            _ => {}
        }
    }

    /// The instance has this address no more.
    pub(super) fn remove(&mut self, inst: InstId, master: MasterId, addr: &Addr) {
        if let Some(name) = name_key(&addr.host) {
            self.named.remove(&(name, addr.port, inst));
        }
        match (inst, addr.ip) {
            (InstId::Master(id), Some(ip)) => {
                self.masters_by_ip.remove(&(ip, addr.port, id));
            }
            (InstId::Replica(_), Some(ip)) => {
                self.replicas_by_ip.remove(&(ip, addr.port, master));
            }
            _ => {}
        }
    }

    /// The masters at an IP, or of a host by that name.
    pub(super) fn masters_at(
        &self,
        ip: Option<IpAddr>,
        host: &[u8],
        port: u16,
    ) -> impl Iterator<Item = MasterId> {
        let (first, last) = (MasterId(0), MasterId(u64::MAX));
        let by_ip = ip.map(|ip| self.masters_by_ip.range((ip, port, first)..=(ip, port, last)));
        let by_ip = by_ip.into_iter().flatten().map(|(.., id)| *id);
        let by_host = self.named_at(host, port).filter_map(|inst| match inst {
            InstId::Master(id) => Some(id),
            InstId::Replica(_) | InstId::Peer(_) => None,
        });
        by_ip.chain(by_host)
    }

    /// The replica of a master at an IP and port.
    pub(super) fn replica_at(&self, master: MasterId, ip: IpAddr, port: u16) -> Option<ReplicaId> {
        self.replicas_by_ip.get(&(ip, port, master)).copied()
    }

    /// The masters that have a replica at an IP and port.
    fn masters_of_replicas_at(&self, ip: IpAddr, port: u16) -> impl Iterator<Item = MasterId> {
        let (first, last) = (MasterId(0), MasterId(u64::MAX));
        let all = self.replicas_by_ip.range((ip, port, first)..=(ip, port, last));
        all.map(|((.., id), _)| *id)
    }

    /// The instances whose host is that name.
    pub(super) fn named(&self, host: &[u8]) -> impl Iterator<Item = InstId> {
        let name = host.to_ascii_lowercase();
        let all = (name.clone(), 0, FIRST)..=(name, u16::MAX, LAST);
        self.named.range(all).map(|(.., inst)| *inst)
    }

    /// Those of them with that port.
    fn named_at(&self, host: &[u8], port: u16) -> impl Iterator<Item = InstId> {
        let name = host.to_ascii_lowercase();
        let all = (name.clone(), port, FIRST)..=(name, port, LAST);
        self.named.range(all).map(|(.., inst)| *inst)
    }

    /// The replicas of any master with that name and port.
    pub(super) fn replicas_named(&self, host: &[u8], port: u16) -> impl Iterator<Item = ReplicaId> {
        self.named_at(host, port).filter_map(|inst| match inst {
            InstId::Replica(id) => Some(id),
            InstId::Master(_) | InstId::Peer(_) => None,
        })
    }
}

impl Sentinel {
    /// The masters at an address, by name: the same one may be watched under several.
    pub(super) fn masters_at(&self, ip: Option<IpAddr>, host: &[u8], port: u16) -> Vec<MasterId> {
        let found: BTreeSet<MasterId> = self.places.masters_at(ip, host, port).collect();
        let mut found: Vec<MasterId> = found.into_iter().collect();
        found.sort_by_key(|id| &self.masters[*id].base.name);
        found
    }

    /// The masters among whose nodes, as far as we know, is one at this IP, besides those `at` it.
    pub(super) fn masters_around(&self, ip: IpAddr, port: u16, at: &[MasterId]) -> Vec<MasterId> {
        let around = self.places.masters_of_replicas_at(ip, port);
        around.filter(|id| !at.contains(id)).collect()
    }

    /// The replica of a master at an address, as [`Addr::same`] compares them. A host name counts
    /// only where an IP is missing: two instances may have had the same name, one after the other.
    pub(super) fn replica_at(&self, master: MasterId, addr: &Addr) -> Option<ReplicaId> {
        let by_ip = addr.ip.and_then(|ip| self.places.replica_at(master, ip, addr.port));
        by_ip.or_else(|| {
            let mut named = self.places.replicas_named(&addr.host, addr.port);
            named.find(|id| {
                let replica = &self.replicas[*id];
                replica.master == master && (addr.ip.is_none() || replica.base.addr.ip.is_none())
            })
        })
    }

    /// Whether a sentinel whose run id begins so is known to live at an address.
    pub fn knows_sentinel(&self, id_start: &[u8], ip: IpAddr) -> bool {
        let from = (Bound::Included(id_start), Bound::Unbounded);
        let by_id = self.peer_links.range::<[u8], _>(from);
        let meant = by_id.take_while(|(runid, _)| runid.starts_with(id_start)).take(SAME_START_MAX);
        let holders = meant.filter_map(|(_, link)| self.links[*link].holders.first());
        holders.into_iter().any(|holder| self.base(*holder).addr.ip == Some(ip))
    }

    /// Tells what is wrong with the indexes, each of which must say what the instances say.
    pub fn check_indexes(&self) -> Result<(), String> {
        let mut places = Places::default();
        for inst in self.all_instances() {
            places.add(inst, self.master_of(inst), &self.base(inst).addr);
        }
        if places != self.places {
            return Err(format!("by address: {:?} instead of {places:?}", self.places));
        }
        for (id, master) in self.masters.iter() {
            if self.by_name.get(&master.base.name) != Some(&id) {
                return Err(format!("master {:?} is not found by its name", master.base.name));
            }
            for (name, replica) in &master.replicas {
                let Some(replica) = self.replicas.get(*replica) else {
                    return Err(format!("replica {name:?} is gone"));
                };
                let base = &replica.base;
                let wanted = base.addr.key(&self.announced(&base.addr));
                if *name != base.name || *name != wanted || replica.master != id {
                    return Err(format!("replica {name:?} {base:?} should be {wanted:?}"));
                }
            }
            for (runid, peer) in &master.peers {
                let peer = self.peers.get(*peer);
                let link = peer.map(|peer| peer.base.link);
                if peer.is_none_or(|peer| peer.base.runid != *runid || peer.master != id)
                    || self.peer_links.get(runid).copied() != link
                {
                    return Err(format!("sentinel {runid:?} of {:?}", master.base.name));
                }
            }
        }
        let of_masters: usize = self.masters.values().map(|m| m.replicas.len()).sum();
        let peers: usize = self.masters.values().map(|m| m.peers.len()).sum();
        let counts = [
            (self.by_name.len(), self.masters.len()),
            (of_masters, self.replicas.len()),
            (peers, self.peers.len()),
        ];
        match counts.iter().all(|(indexed, there)| indexed == there) {
            true => Ok(()),
            false => Err(format!("masters, replicas, sentinels: {counts:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    fn addr(host: &str, ip: Option<&str>, port: u16) -> Addr {
        let ip = ip.map(|ip| ip.parse().unwrap());
        Addr { host: host.as_bytes().to_vec(), ip, port }
    }

    fn found(places: &Places, ip: Option<&str>, host: &str, port: u16) -> Vec<MasterId> {
        let ip = ip.map(|ip| ip.parse().unwrap());
        places.masters_at(ip, host.as_bytes(), port).collect()
    }

    #[test]
    fn masters_are_found_by_ip_and_by_name_until_they_move() {
        let mut places = Places::default();
        let add = |places: &mut Places, addr: &Addr, id| {
            places.add(InstId::Master(MasterId(id)), MasterId(id), addr);
        };
        let named = addr("DB.example", Some("10.0.0.1"), 6379);
        add(&mut places, &named, 1);
        add(&mut places, &named, 1);
        add(&mut places, &addr("other", None, 6379), 2);
        assert_eq!(found(&places, Some("10.0.0.1"), "10.0.0.1", 6379), [MasterId(1)]);
        assert_eq!(found(&places, None, "db.EXAMPLE", 6379), [MasterId(1)]);
        assert_eq!(found(&places, None, "OTHER", 6379), [MasterId(2)]);
        assert_eq!(found(&places, Some("10.0.0.1"), "10.0.0.1", 6380), []);
        assert_eq!(places.named(b"Db.Example").collect::<Vec<_>>(), [InstId::Master(MasterId(1))]);
        places.remove(InstId::Master(MasterId(1)), MasterId(1), &named);
        assert_eq!(found(&places, Some("10.0.0.1"), "db.example", 6379), []);
        places.remove(InstId::Master(MasterId(2)), MasterId(2), &addr("other", None, 6379));
        assert_eq!(places, Places::default());
    }

    #[test]
    fn the_first_name_wins_and_every_move_is_followed() {
        let mut bench = Bench::new();
        let second = bench.monitor(b"two");
        let first = bench.monitor(b"one");
        let at = bench.sentinel.masters[first].base.addr.clone();
        let find =
            |bench: &Bench, addr: &Addr| bench.sentinel.masters_at(addr.ip, &addr.host, addr.port);
        assert_eq!(find(&bench, &at).first(), Some(&first));
        let elsewhere = addr("10.9.9.9", Some("10.9.9.9"), 7000);
        bench.call(|sentinel, cx| sentinel.switch_to(cx, first, elsewhere.clone()));
        assert_eq!(find(&bench, &elsewhere), [first]);
        let shared = at == bench.sentinel.masters[second].base.addr;
        assert_eq!(find(&bench, &at), shared.then_some(second).as_slice());
        assert_eq!(bench.sentinel.masters_around(at.ip.unwrap(), at.port, &[second]), [first]);
        let ip = "10.9.9.8".parse().unwrap();
        bench.call(|sentinel, cx| sentinel.set_ip(cx, InstId::Master(first), ip));
        let moved = addr("10.9.9.8", Some("10.9.9.8"), 7000);
        assert_eq!(find(&bench, &moved), [first]);
        assert_eq!(bench.sentinel.check_indexes(), Ok(()));
        bench.call(|sentinel, cx| sentinel.remove_master(cx, first));
        assert_eq!(find(&bench, &moved), []);
        assert_eq!(bench.sentinel.check_indexes(), Ok(()));
    }
}
