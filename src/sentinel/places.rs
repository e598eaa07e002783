//! Which masters live at an address: peers ask by address, thousands of times when thousands of
//! masters fail together.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;

use super::Sentinel;
use super::action::Cx;
use super::instance::{Addr, InstId, MasterId};
use super::names::parse_ip;

/// Run ids that begin with the same digits are chosen so: no more of them are looked at.
const SAME_START_MAX: usize = 4;

/// The index. A master without an address that can be looked for stands in neither map.
#[derive(Clone, Debug, Default)]
pub struct Places {
    by_ip: BTreeMap<(IpAddr, u16), Vec<MasterId>>,
    /// Hosts that are names, in lower case.
    by_host: BTreeMap<(Vec<u8>, u16), Vec<MasterId>>,
}

fn host_key(host: &[u8], port: u16) -> Option<(Vec<u8>, u16)> {
    parse_ip(host).is_none().then(|| (host.to_ascii_lowercase(), port))
}

impl Places {
    /// The master has this address now. Adding it twice changes nothing.
    pub(super) fn add(&mut self, addr: &Addr, id: MasterId) {
        let by_ip = addr.ip.map(|ip| self.by_ip.entry((ip, addr.port)).or_default());
        let by_host = host_key(&addr.host, addr.port);
        let by_host = by_host.map(|key| self.by_host.entry(key).or_default());
        for ids in by_ip.into_iter().chain(by_host) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }

    /// The master has this address no more.
    pub(super) fn remove(&mut self, addr: &Addr, id: MasterId) {
        if let Some(ip) = addr.ip {
            take_out(&mut self.by_ip, (ip, addr.port), id);
        }
        if let Some(key) = host_key(&addr.host, addr.port) {
            take_out(&mut self.by_host, key, id);
        }
    }

    /// The masters at an IP, or of a host by that name.
    fn at(&self, ip: Option<IpAddr>, host: &[u8], port: u16) -> impl Iterator<Item = MasterId> {
        let by_ip = ip.and_then(|ip| self.by_ip.get(&(ip, port)));
        let by_host = host_key(host, port).and_then(|key| self.by_host.get(&key));
        by_ip.into_iter().chain(by_host).flatten().copied()
    }
}

fn take_out<K: Ord>(map: &mut BTreeMap<K, Vec<MasterId>>, key: K, id: MasterId) {
    let Some(ids) = map.get_mut(&key) else { return };
    ids.retain(|other| *other != id);
    if ids.is_empty() {
        map.remove(&key);
    }
}

impl Sentinel {
    /// The master at an address: the first by name, if several share it.
    pub(super) fn master_at(&self, ip: Option<IpAddr>, host: &[u8], port: u16) -> Option<MasterId> {
        self.places.at(ip, host, port).min_by_key(|id| &self.masters[*id].base.name)
    }

    /// Whether a sentinel whose run id begins so is known to live at an address.
    pub fn knows_sentinel(&self, id_start: &[u8], ip: IpAddr) -> bool {
        let from = (Bound::Included(id_start), Bound::Unbounded);
        let by_id = self.peer_links.range::<[u8], _>(from);
        let meant = by_id.take_while(|(runid, _)| runid.starts_with(id_start)).take(SAME_START_MAX);
        let holders = meant.filter_map(|(_, link)| self.links[*link].holders.first());
        holders.into_iter().any(|holder| self.base(*holder).addr.ip == Some(ip))
    }

    /// The host of an instance is at `ip` now. What the file says of a place that it left must
    /// not be what the next start believes.
    pub(super) fn set_ip(&mut self, cx: &mut Cx, inst: InstId, ip: IpAddr) {
        let addr = &mut self.base_mut(inst).addr;
        if addr.ip == Some(ip) {
            return;
        }
        let old = addr.clone();
        addr.ip = Some(ip);
        if let InstId::Master(id) = inst {
            self.places.remove(&old, id);
            self.places.add(&self.masters[id].base.addr, id);
        }
        if old.ip.is_some() {
            self.touch(cx, self.master_of(inst));
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
        places.at(ip, host.as_bytes(), port).collect()
    }

    #[test]
    fn masters_are_found_by_ip_and_by_name_until_they_move() {
        let mut places = Places::default();
        let named = addr("DB.example", Some("10.0.0.1"), 6379);
        places.add(&named, MasterId(1));
        places.add(&named, MasterId(1));
        places.add(&addr("other", None, 6379), MasterId(2));
        assert_eq!(found(&places, Some("10.0.0.1"), "10.0.0.1", 6379), [MasterId(1)]);
        assert_eq!(found(&places, None, "db.EXAMPLE", 6379), [MasterId(1)]);
        assert_eq!(found(&places, None, "OTHER", 6379), [MasterId(2)]);
        assert_eq!(found(&places, Some("10.0.0.1"), "10.0.0.1", 6380), []);
        places.remove(&named, MasterId(1));
        assert_eq!(found(&places, Some("10.0.0.1"), "db.example", 6379), []);
        assert!(places.by_ip.is_empty());
    }

    #[test]
    fn the_first_name_wins_and_every_move_is_followed() {
        let mut bench = Bench::new();
        let second = bench.monitor(b"two");
        let first = bench.monitor(b"one");
        let at = bench.sentinel.masters[first].base.addr.clone();
        let find =
            |bench: &Bench, addr: &Addr| bench.sentinel.master_at(addr.ip, &addr.host, addr.port);
        assert_eq!(find(&bench, &at), Some(first));
        let elsewhere = addr("10.9.9.9", Some("10.9.9.9"), 7000);
        bench.call(|sentinel, cx| sentinel.switch_to(cx, first, elsewhere.clone()));
        assert_eq!(find(&bench, &elsewhere), Some(first));
        assert_eq!(
            find(&bench, &at),
            (at == bench.sentinel.masters[second].base.addr).then_some(second)
        );
        let ip = "10.9.9.8".parse().unwrap();
        bench.call(|sentinel, cx| sentinel.set_ip(cx, InstId::Master(first), ip));
        let moved = addr("10.9.9.8", Some("10.9.9.8"), 7000);
        assert_eq!(find(&bench, &moved), Some(first));
        bench.call(|sentinel, cx| sentinel.remove_master(cx, first));
        assert_eq!(find(&bench, &moved), None);
    }
}
