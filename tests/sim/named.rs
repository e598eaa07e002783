//! How the checkers see a world with names: they know hosts by their first addresses, so whatever
//! else a sentinel says of a host is put into that; and when everybody is found there.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use sentineld::sentinel::Sentinel;
use sentineld::sentinel::instance::Addr;
use sentineld::util::ident::LookupId;

use crate::brain::Brain;
use crate::checks::{Info, SOME_ADDRESS, group_of};
use crate::net::{HostId, Net};
use crate::property::{Property, ensure};
use crate::wire::{Words, show};
use crate::world::{SECOND, World};

impl World {
    fn sentinel(&self, sentinel: usize) -> Option<&Sentinel> {
        match self.sentinels[sentinel].node.as_ref()? {
            Brain::Ours(node) => Some(node.sentinel()),
            Brain::C(_) => None,
        }
    }

    /// The host that a sentinel means with a text: what it holds itself goes before what it was
    /// told last.
    fn meant(&self, sentinel: usize, text: &str, of_replica: bool) -> Option<HostId> {
        if let Ok(ip) = text.parse() {
            return Net::host_of(ip);
        }
        let held = self.sentinel(sentinel).and_then(|core| {
            let masters = core.masters.values().map(|master| &master.base.addr);
            let replicas = core.replicas.values().map(|replica| &replica.base.addr);
            let peers = core.peers.values().map(|peer| &peer.base.addr);
            let is =
                |addr: &&Addr| addr.host.eq_ignore_ascii_case(text.as_bytes()) && addr.ip.is_some();
            // A name may have led to both, one after the other.
            let found = match of_replica {
                true => replicas.chain(masters).chain(peers).find(is),
                false => masters.chain(replicas).chain(peers).find(is),
            };
            found.and_then(|addr| addr.ip)
        });
        held.and_then(Net::host_of).or_else(|| self.dns.believed(sentinel, text))
    }

    /// A line of a sentinel's log as the checkers read it; they know whom it is about.
    pub fn read_plainly(&mut self, sentinel: usize, line: &str) -> String {
        if line.ends_with(": entry dropped") {
            self.checks.entry_dropped(sentinel);
        }
        let plain = self.plain_line(sentinel, line).into_owned();
        self.checks.ambiguous = self.is_ambiguous(sentinel, &plain);
        plain
    }

    fn plain_line<'a>(&self, sentinel: usize, line: &'a str) -> Cow<'a, str> {
        if !self.dns.on() || !line.starts_with(['+', '-']) {
            return Cow::Borrowed(line);
        }
        let mut of_replica = line.split(' ').nth(1) == Some("slave");
        let mut plain = |word: &str| {
            of_replica &= word != "@";
            let host = self.meant(sentinel, word, of_replica).filter(|_| self.is_other_word(word));
            host.map(|host| Net::ip_of(host).to_string())
        };
        let words = line.split(' ').map(|word| plain(word).unwrap_or_else(|| word.to_owned()));
        Cow::Owned(words.collect::<Vec<_>>().join(" "))
    }

    /// Whether the instance that a line is about is one of several by which a sentinel knows a
    /// node.
    fn is_ambiguous(&self, sentinel: usize, line: &str) -> bool {
        if !self.dns.on() {
            return false;
        }
        let names = &self.dns.options;
        let selected = line.starts_with("+selected-slave ");
        if selected && (names.moves || names.lies || names.v6) {
            return true;
        }
        let host = line.split(' ').nth(3).and_then(|text| self.dns.host(text));
        let (Some(core), true) = (self.sentinel(sentinel), selected || line.starts_with("+sdown "))
        else {
            return false;
        };
        let masters = core.masters.values().map(|master| &master.base.addr);
        let replicas = core.replicas.values().map(|replica| &replica.base.addr);
        let leads_there = |addr: &&Addr| {
            let name = show(&addr.host);
            addr.ip.and_then(Net::host_of) == host || self.meant(sentinel, &name, true) == host
        };
        masters.chain(replicas).filter(leads_there).count() > 1
    }

    /// Whether a word is a host's name, or its second address.
    fn is_other_word(&self, word: &str) -> bool {
        let v6 = word.parse().is_ok_and(|ip: IpAddr| ip.is_ipv6());
        v6 || (word.parse::<IpAddr>().is_err() && self.dns.host(word).is_some())
    }
}

/// The master that a sentinel asks about.
pub fn asked_about(brain: Option<&Brain>, text: &str) -> Option<usize> {
    let Some(Brain::Ours(node)) = brain else { return None };
    let core = node.sentinel();
    let is = |addr: &Addr| core.announced(addr).eq_ignore_ascii_case(text.as_bytes());
    let master = core.masters.values().find(|master| is(&master.base.addr))?;
    group_of(&show(&master.base.name))
}

/// A request of a sentinel as the checkers read it.
pub fn plain_request<'a>(
    dns: &crate::dns::Dns,
    sentinel: usize,
    words: &'a Words,
) -> Cow<'a, Words> {
    if !dns.on() {
        return Cow::Borrowed(words);
    }
    let mut plain = words.clone();
    match (words[0].as_slice(), words.len()) {
        // The node looks the name up, and is told the truth. Who was told something else could
        // not know.
        (b"SLAVEOF", 3) if words[1] != b"NO" => {
            let host = dns.host(&show(&words[1]));
            if let Some(host) = host.filter(|_| dns.is_told(sentinel, &show(&words[1]))) {
                plain[1] = Net::ip_of(host).to_string().into_bytes();
            }
        }
        (b"PUBLISH", 3) => {
            let text = show(&words[2]);
            let mut fields: Vec<String> = text.split(',').map(str::to_owned).collect();
            if let Some(ip) = fields.get_mut(5) {
                let host = dns.same_for_all(ip);
                *ip = host.map_or(SOME_ADDRESS.to_owned(), |host| Net::ip_of(host).to_string());
            }
            plain[2] = fields.join(",").into_bytes();
        }
        _ => {}
    }
    Cow::Owned(plain)
}

impl World {
    /// What a running sentinel has not found of a world with names, or has twice.
    pub fn unfound(&self) -> Option<String> {
        let running = self.sentinels.iter().filter(|host| host.runs()).map(|host| host.host);
        let mut both = running.flat_map(|at| (0..self.options.masters).map(move |g| (at, g)));
        both.find_map(|(at, group)| {
            let what = self.unfound_by(at, group)?;
            Some(format!("{at} of m{group}: {what}"))
        })
    }

    fn unfound_by(&self, at: usize, group: usize) -> Option<String> {
        let core = self.sentinel(at)?;
        let Some(id) = core.master_named(World::master_name(group).as_bytes()) else {
            return Some("it is not watched".to_owned());
        };
        let master = &core.masters[id];
        let (peers, others) = (master.peers.len(), self.options.sentinels - 1);
        if peers != others && !(self.forged_peers && peers > others) {
            return Some(format!("{peers} sentinels"));
        }
        let mut entries: BTreeMap<Option<HostId>, Vec<&Addr>> = BTreeMap::new();
        for replica in core.replicas_of(id) {
            let addr = &replica.base.addr;
            entries.entry(addr.ip.and_then(Net::host_of)).or_default().push(addr);
        }
        let held = master.base.addr.ip.and_then(Net::host_of);
        if held.is_none() {
            return Some("its address is not known".to_owned());
        }
        let of_group = |host: HostId| self.farm.at(host).is_some_and(|s| s.group == group);
        for server in self.farm.servers.iter().filter(|server| server.group == group) {
            let count = entries.get(&Some(server.host)).map_or(0, Vec::len);
            let wanted = usize::from(Some(server.host) != held && !server.vacant);
            // By its two addresses it is two for whoever is told of both.
            let most = wanted + usize::from(self.dns.options.v6);
            // A vacant address may be remembered where it stands in the place of a name.
            let kept = server.vacant && !self.dns.options.lies;
            if count < wanted || (count > most && (!server.vacant || kept)) {
                return Some(format!("node {} {count} times: {entries:?}", server.host));
            }
        }
        let strange = |(host, _): &(&Option<HostId>, &Vec<&Addr>)| !host.is_some_and(of_group);
        let stranger = entries.iter().find(strange).filter(|_| !self.dns.options.lies);
        stranger.map(|(_, addrs)| format!("strangers {addrs:?}"))
    }

    /// The name server was mended: everybody is found again, and once.
    pub fn check_names(&mut self) {
        if !self.dns.on() {
            return;
        }
        let found = self.run_until(60 * SECOND, |world| world.unfound().is_none());
        let what = self.unfound().unwrap_or_default();
        ensure!(found, Property::EverybodyIsFound, "{what}");
    }

    /// A sentinel has its answer.
    pub fn resolved(&mut self, at: usize, lookup: LookupId, name: &str, ips: Vec<IpAddr>) {
        self.node(at).resolved(lookup, ips.clone());
        self.drain(at);
        self.check_taken_up(at, name, &ips);
    }

    /// A lookup has ended: what the masters list by that name is there now.
    fn check_taken_up(&self, sentinel: usize, name: &str, ips: &[IpAddr]) {
        // Who was made to forget has forgotten that, too.
        let (Some(core), false) = (self.sentinel(sentinel), self.checks.waived.config_epochs)
        else {
            return;
        };
        if ips.is_empty() {
            return;
        }
        for master in core.masters.values() {
            let held = master.base.addr.ip.and_then(Net::host_of);
            let info = held.and_then(|host| self.checks.infos.get(&(sentinel, host)));
            let lists = |info: &Info| {
                !info.is_replica && info.listed.iter().any(|l| l.eq_ignore_ascii_case(name))
            };
            if !info.is_some_and(lists) || master.data.info_refresh.is_none() {
                continue;
            }
            let is = |addr: &Addr| {
                let named = addr.host.eq_ignore_ascii_case(name.as_bytes());
                named || addr.ip.is_some_and(|ip| ips.contains(&ip))
            };
            let mut replicas = core.replicas_of(master.id);
            let there = is(&master.base.addr) || replicas.any(|r| is(&r.base.addr));
            let property = Property::NamesAreTakenUp;
            ensure!(there, property, "{sentinel}: {name} has an address, and is not there");
        }
    }

    /// What a sentinel finds its instances by says what they are.
    pub fn check_indexes(&self, sentinel: usize) {
        if let Some(core) = self.sentinel(sentinel) {
            let result = core.check_indexes();
            ensure!(result.is_ok(), Property::IndexesAgree, "{sentinel}: {result:?}");
        }
    }
}
