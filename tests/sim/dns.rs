//! The names of hosts, and what a name server says of them: late, not at all, or something wrong
//! for a while.
//!
//! A data node with a name may move: its process ends at one address and begins at another, which
//! may have been that of another node. An address is a host of [`Net`]; what moves is the node with
//! its data and its names, so each group has one address more than it has nodes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use sentineld::util::ident::LookupId;
use sentineld::util::rng::Rng;

use crate::hosts::Input;
use crate::net::{HostId, Net, Us};
use crate::queue::Ev;
use crate::wire::show;
use crate::world::{MS, Options, SECOND, World};

/// How many of the hosts, or of the sentinels, do something.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Share {
    #[default]
    Nobody,
    Some,
    Everybody,
}

impl Share {
    fn draw(self, rng: &mut Rng) -> bool {
        match self {
            Share::Nobody => false,
            Share::Some => rng.below(2) == 0,
            Share::Everybody => true,
        }
    }
}

/// What is drawn for a world with names.
#[derive(Clone, Copy, Default, Debug)]
pub struct NameOptions {
    /// There are names at all, and sentinels resolve them.
    pub on: bool,
    /// Sentinels with announce-hostnames.
    pub announce_hostnames: Share,
    /// Sentinels that are told of their masters by name.
    pub monitors: Share,
    /// Data nodes with replica-announce-ip.
    pub nodes: Share,
    /// Sentinels with announce-ip, by name.
    pub sentinels: Share,
    /// Hosts have a second name, and names are written in any case.
    pub aliases: bool,
    /// Some names lead to IPv6 addresses, all the time or now and then.
    pub v6: bool,
    /// Nodes move to other addresses.
    pub moves: bool,
    /// Names lead to the wrong host for a while.
    pub lies: bool,
    /// A name may lead to another node that lives: a lie, or the address was given away at once.
    pub hasty: bool,
    /// How long it takes from one trouble to the next in the mean.
    pub trouble_us: Us,
}

/// Draws the names of a world.
pub fn draw_names(rng: &mut Rng) -> NameOptions {
    use Share::{Everybody, Nobody, Some};
    let mut pick = |choices: [Share; 4]| choices[rng.below(4) as usize];
    let mut names = NameOptions {
        on: true,
        announce_hostnames: pick([Nobody, Everybody, Everybody, Some]),
        monitors: pick([Everybody, Everybody, Some, Nobody]),
        nodes: pick([Everybody, Everybody, Some, Nobody]),
        sentinels: pick([Everybody, Some, Some, Nobody]),
        aliases: rng.below(2) == 0,
        v6: rng.below(4) == 0,
        moves: rng.below(3) == 0,
        lies: rng.below(3) == 0,
        hasty: rng.below(2) == 0,
        trouble_us: [500 * MS, 2 * SECOND, 5 * SECOND][rng.below(3) as usize],
    };
    // Not yet looked into: one process at two addresses, both of which are given away.
    names.hasty &= !names.v6;
    if names.moves {
        // Who knows a node by its address alone never finds it again.
        (names.announce_hostnames, names.monitors, names.nodes) = (Everybody, Everybody, Everybody);
    }
    names
}

/// Which of its two addresses a name leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    V4,
    V6,
    /// One after the other, for so long each.
    Turns(Us),
}

/// Something with names: a sentinel's host, or a data node wherever it is.
#[derive(Clone, Debug)]
struct Named {
    names: Vec<String>,
    /// Where it was from when on; the last one is where it is.
    places: Vec<(Us, HostId)>,
    family: Family,
    /// Lookups of its names fail.
    unknown: bool,
    /// What is said of it instead, to that sentinel or to all, until then.
    wrong: Option<(IpAddr, Option<usize>, Us)>,
}

impl Named {
    fn new(names: Vec<String>, host: HostId, family: Family) -> Named {
        Named { names, places: vec![(0, host)], family, unknown: false, wrong: None }
    }

    fn at(&self) -> HostId {
        self.places.last().map_or(0, |(_, host)| *host)
    }

    /// Where it was at a moment.
    fn was_at(&self, moment: Us) -> HostId {
        let before = self.places.iter().rfind(|(from, _)| *from <= moment);
        before.map_or(self.places[0].1, |(_, host)| *host)
    }

    fn addresses(&self, now: Us, host: HostId) -> Vec<IpAddr> {
        let (v4, v6) = (Net::ip_of(host), Net::ip6_of(host));
        match self.family {
            Family::V4 => vec![v4],
            Family::V6 => vec![v6, v4],
            Family::Turns(us) if (now / us).is_multiple_of(2) => vec![v4, v6],
            Family::Turns(_) => vec![v6, v4],
        }
    }
}

/// How the name server is.
#[derive(Clone, Copy, Debug)]
struct Weather {
    delay_us: (Us, Us),
    fails_percent: u64,
}

const FAIR: Weather = Weather { delay_us: (0, 20 * MS), fails_percent: 0 };
/// A sentinel may be told for so long where a host was before.
const OLD_NEWS_US: Us = 3 * SECOND;

/// After so long nobody is told an old address any more.
const STALE_US: Us = 20 * SECOND;

/// All names of a world.
#[derive(Debug)]
pub struct Dns {
    pub options: NameOptions,
    pub rng: Rng,
    all: Vec<Named>,
    by_name: BTreeMap<String, usize>,
    first_node: HostId,
    weather: Weather,
    /// How late each sentinel hears where a host is now.
    lag_us: Vec<Us>,
    /// What each sentinel was told last.
    told: Vec<BTreeMap<String, IpAddr>>,
    /// Which sentinels announce hosts, and are told of masters by name.
    announces: Vec<bool>,
    monitors: Vec<bool>,
    /// Which of the named announce a name of theirs.
    shows_name: Vec<bool>,
    /// Troubles occur.
    pub active: bool,
    /// The vacant address of each group, and from when on it may be given to a node.
    spares: Vec<(HostId, Us)>,
}

impl Dns {
    /// The names of a world; `first_node` is the first data node.
    pub fn new(options: &Options, seed: u64) -> Dns {
        let mut rng = Rng::new(seed ^ 0x0d25);
        let names = options.names;
        let first_node = options.sentinels;
        let nodes = options.masters * (options.replicas + 1);
        let mut dns = Dns {
            options: names,
            all: Vec::new(),
            by_name: BTreeMap::new(),
            first_node,
            weather: FAIR,
            lag_us: (0..first_node).map(|_| rng.below(OLD_NEWS_US)).collect(),
            told: vec![BTreeMap::new(); first_node],
            announces: Vec::new(),
            monitors: Vec::new(),
            shows_name: Vec::new(),
            active: false,
            spares: Vec::new(),
            rng,
        };
        if names.on {
            for host in 0..first_node + nodes {
                dns.name_host(host);
            }
            for _ in 0..first_node {
                dns.announces.push(names.announce_hostnames.draw(&mut dns.rng));
                dns.monitors.push(names.monitors.draw(&mut dns.rng));
            }
            if dns.rng.below(3) == 0 {
                // From the beginning.
                dns.weather = Weather { delay_us: (0, 2 * SECOND), fails_percent: 20 };
            }
        }
        dns
    }

    fn name_host(&mut self, host: HostId) {
        let names = match (host.checked_sub(self.first_node), self.options.aliases) {
            (Some(node), false) => vec![format!("db{node}.example")],
            (Some(node), true) => vec![format!("db{node}.example"), format!("redis-{node}")],
            (None, _) => vec![format!("watch{host}.example")],
        };
        let family = match self.rng.below(3) {
            _ if !self.options.v6 => Family::V4,
            0 => Family::V4,
            1 => Family::V6,
            _ => Family::Turns(SECOND + self.rng.below(20 * SECOND)),
        };
        for name in &names {
            self.by_name.insert(name.clone(), host);
        }
        self.all.push(Named::new(names, host, family));
        let share = match host < self.first_node {
            true => self.options.sentinels,
            false => self.options.nodes,
        };
        let shows = share.draw(&mut self.rng);
        self.shows_name.push(shows);
    }

    pub fn on(&self) -> bool {
        self.options.on
    }

    /// Where a text leads to: an address, or a name.
    pub fn host(&self, text: &str) -> Option<HostId> {
        match text.parse() {
            Ok(ip) => Net::host_of(ip),
            Err(_) => Some(self.named(text)?.at()),
        }
    }

    fn named(&self, name: &str) -> Option<&Named> {
        Some(&self.all[*self.by_name.get(&name.to_ascii_lowercase())?])
    }

    /// The node that has an address now, as the number of its first one.
    fn node_at(&self, host: HostId) -> Option<usize> {
        (self.first_node..self.all.len()).find(|node| self.all[*node].at() == host)
    }

    /// One of a host's names, perhaps in another case.
    fn any_name(&mut self, named: usize) -> String {
        let names = &self.all[named].names;
        let name = names[self.rng.below(names.len() as u64) as usize].clone();
        match self.options.aliases && self.rng.below(3) == 0 {
            true => name.to_ascii_uppercase(),
            false => name,
        }
    }

    /// Which words stand for a data node in a sentinel's file or in an operator's command.
    pub fn word_for(&mut self, sentinel: usize, host: HostId) -> String {
        match self.node_at(host) {
            Some(node) if self.on() && self.monitors[sentinel] => self.any_name(node),
            _ => Net::ip_of(host).to_string(),
        }
    }

    /// The address that a sentinel announces; `None`: what its sockets say.
    fn own_word(&mut self, sentinel: usize) -> Option<String> {
        match (self.shows_name[sentinel], self.options.v6) {
            (true, _) => Some(self.any_name(sentinel)),
            // Its sockets say one thing and the other.
            (false, true) => Some(Net::ip_of(sentinel).to_string()),
            (false, false) => None,
        }
    }

    /// The address by which others are to know a sentinel.
    pub fn right_word(&mut self, sentinel: usize) -> String {
        let word = if self.on() { self.own_word(sentinel) } else { None };
        word.unwrap_or_else(|| Net::ip_of(sentinel).to_string())
    }

    /// The first lines of a sentinel's file.
    pub fn settings(&mut self, sentinel: usize) -> String {
        if !self.on() {
            return String::new();
        }
        let mut text = "sentinel resolve-hostnames yes\n".to_owned();
        if self.announces[sentinel] {
            text += "sentinel announce-hostnames yes\n";
        }
        if let Some(word) = self.own_word(sentinel) {
            text += &format!("sentinel announce-ip {word}\n");
        }
        text
    }

    /// What a data node announces to its master, if it announces a name.
    pub fn shown_name(&mut self, host: HostId) -> Option<String> {
        let shows = self.on() && self.shows_name[host];
        shows.then(|| self.any_name(host))
    }

    /// The addresses that a sentinel is told for a name.
    fn answer(&mut self, now: Us, sentinel: usize, name: &str) -> Vec<IpAddr> {
        let failed = self.rng.below(100) < self.weather.fails_percent;
        let Some(named) = self.named(name).filter(|named| !named.unknown && !failed) else {
            return Vec::new();
        };
        if let Some((ip, whom, until)) = named.wrong
            && now < until
            && whom.is_none_or(|whom| whom == sentinel)
        {
            return vec![ip];
        }
        let host = named.was_at(now.saturating_sub(self.lag_us[sentinel]));
        named.addresses(now, host)
    }

    /// What a sentinel was told last of a name, or the truth.
    pub fn believed(&self, sentinel: usize, text: &str) -> Option<HostId> {
        let told = self.told[sentinel].get(&text.to_ascii_lowercase());
        told.and_then(|ip| Net::host_of(*ip)).or_else(|| self.host(text))
    }

    /// Whether a sentinel was told the truth of a name when it looked it up last.
    pub fn is_told(&self, sentinel: usize, text: &str) -> bool {
        self.believed(sentinel, text) == self.host(text)
    }

    /// How an address in a hello is compared with others: a node has many. `None`: it is not
    /// certain which node is meant.
    pub fn same_for_all(&self, text: &str) -> Option<HostId> {
        match text.parse() {
            Ok(_) if self.options.moves || self.options.lies => None,
            Ok(ip) => Net::host_of(ip),
            Err(_) => self.by_name.get(&text.to_ascii_lowercase()).copied(),
        }
    }
}

/// What befalls names, as it is counted.
pub const NAME_TROUBLES: [&str; 8] = [
    "slow-names",
    "hanging-names",
    "failing-names",
    "unknown-name",
    "wrong-name",
    "blind-restart",
    "moved-node",
    "two-moved-nodes",
];

impl World {
    /// The spare addresses, and what nodes announce: before the network is made.
    pub fn name_nodes(&mut self) {
        for host in self.farm.first..self.farm.first + self.farm.servers.len() {
            if self.dns.options.moves && host >= self.dns.all.len() {
                break;
            }
            let name = self.dns.shown_name(host);
            self.farm.at_mut(host).announces = name;
            let master = self.farm.at(host).and_then(|server| server.master);
            if let Some(master) =
                master.filter(|master| self.dns.shows_name.get(*master) == Some(&true))
            {
                let name = self.dns.any_name(master);
                self.farm.at_mut(host).follow_by(name);
            }
        }
        self.farm.announce_all();
        self.tell_nodes();
    }

    /// Data nodes always know what a name means.
    fn tell_nodes(&mut self) {
        self.farm.zone.clear();
        for (name, named) in &self.dns.by_name {
            self.farm.zone.insert(name.clone(), self.dns.all[*named].at());
        }
    }

    /// A sentinel looks a name up.
    pub fn look_up(&mut self, sentinel: usize, lookup: LookupId, host: &[u8]) {
        let name = show(host);
        let ips = self.dns.answer(self.now, sentinel, &name);
        let (from, to) = self.dns.weather.delay_us;
        let at = self.now + from + self.dns.rng.below(to - from + 1);
        let life = self.sentinels[sentinel].life;
        self.trace(|| format!("[{sentinel}] looks up {name}: {ips:?} at {at}"));
        self.schedule(at, Ev::Resolved(Box::new((sentinel, life, lookup, name, ips))));
    }

    /// The answer is there.
    pub fn looked_up(
        &mut self,
        (sentinel, life, lookup, name, ips): (usize, u64, LookupId, String, Vec<IpAddr>),
    ) {
        if self.sentinels[sentinel].life != life {
            return;
        }
        if let Some(ip) = ips.first() {
            self.dns.told[sentinel].insert(name.clone(), *ip);
        }
        self.note(sentinel, "answer", format!("{name} {ips:?}").as_bytes());
        self.input(sentinel, Input::Resolved(lookup, name, ips));
    }

    /// From now on names have their troubles.
    pub fn begin_name_troubles(&mut self) {
        if self.dns.on() && !std::mem::replace(&mut self.dns.active, true) {
            let pause = self.dns.rng.below(2 * self.dns.options.trouble_us);
            self.schedule(self.now + pause, Ev::NameTrouble);
        }
    }

    /// Something happens to a name, and again after a while.
    pub fn name_trouble(&mut self) {
        if !self.dns.active {
            return;
        }
        if self.dns.rng.below(2) == 0 {
            self.strike_names();
        } else {
            self.mend_some_names();
        }
        let pause = self.dns.rng.below(2 * self.dns.options.trouble_us);
        self.schedule(self.now + pause, Ev::NameTrouble);
    }

    fn strike_names(&mut self) {
        let kinds = match (self.dns.options.moves, self.dns.options.lies) {
            (true, _) => NAME_TROUBLES.len(),
            (false, true) => 6,
            (false, false) => 5,
        };
        let mut kind = NAME_TROUBLES[self.dns.rng.below(kinds as u64) as usize];
        if kind == "wrong-name" && !self.dns.options.lies {
            kind = "blind-restart";
        }
        let struck = match kind {
            "slow-names" => {
                self.dns.weather.delay_us = (0, 3 * SECOND);
                true
            }
            "hanging-names" => {
                self.dns.weather.delay_us = (3 * SECOND, 12 * SECOND);
                true
            }
            "failing-names" => {
                self.dns.weather.fails_percent = [30, 100][self.dns.rng.below(2) as usize];
                true
            }
            "unknown-name" => {
                let named = self.dns.rng.below(self.dns.all.len() as u64) as usize;
                self.dns.all[named].unknown = true;
                true
            }
            "wrong-name" => self.tell_lies(),
            "blind-restart" => self.restart_blindly(),
            "moved-node" => self.move_any_node(),
            _ => self.move_any_node() && self.move_any_node(),
        };
        if struck {
            self.trace(|| format!("names: {kind}"));
            *self.stats.names.entry(kind).or_default() += 1;
        }
    }

    /// A data node's name leads to another node of the group, or to nobody.
    fn tell_lies(&mut self) -> bool {
        let dns = &mut self.dns;
        let nodes = dns.all.len() - dns.first_node;
        let named = dns.first_node + dns.rng.below(nodes as u64) as usize;
        let size = self.options.replicas + 1;
        let group = (named - dns.first_node) / size;
        let other = dns.first_node + group * size + dns.rng.below(size as u64) as usize;
        let nobody = self.farm.first + self.farm.servers.len();
        let host = match dns.rng.below(3) {
            _ if !dns.options.hasty => nobody,
            0 => nobody,
            _ => dns.all[other].at(),
        };
        let sentinels = dns.first_node as u64;
        let whom = (dns.rng.below(2) == 0).then(|| dns.rng.below(sentinels) as usize);
        // For how long one that leads to another node of the group is believed.
        let until = if host == nobody { Us::MAX } else { self.now + 10 * SECOND };
        dns.all[named].wrong = Some((Net::ip_of(host), whom, until));
        true
    }

    /// A sentinel starts again while names are unknown to it.
    fn restart_blindly(&mut self) -> bool {
        let at = self.dns.rng.below(self.sentinels.len() as u64) as usize;
        if !self.sentinels[at].runs() {
            return false;
        }
        self.dns.weather = match self.dns.rng.below(3) {
            0 => Weather { delay_us: (0, 20 * MS), fails_percent: 100 },
            1 => Weather { delay_us: (0, 2 * SECOND), fails_percent: 50 },
            _ => Weather { delay_us: (20 * MS, 200 * MS), fails_percent: 0 },
        };
        self.crash(at, false);
        self.restart_sentinel(at);
        true
    }

    /// A node goes to the vacant address of its group.
    fn move_any_node(&mut self) -> bool {
        let group = self.dns.rng.below(self.options.masters as u64) as usize;
        let size = self.options.replicas + 1;
        let offset = self.dns.rng.below(size as u64) as usize;
        let node = self.dns.first_node + group * size + offset;
        let (from, (to, free_at)) = (self.dns.all[node].at(), self.dns.spares[group]);
        if self.now < free_at {
            return false;
        }
        self.trace(|| format!("node {node} moves from {from} to {to}"));
        self.checks.counter.struck(group, None, self.now);
        if self.farm.at(from).is_some_and(|server| server.running) {
            self.kill_server(from);
        }
        self.farm.exchange(from, to);
        let rests = if self.dns.options.hasty { 0 } else { STALE_US };
        self.dns.spares[group] = (from, self.now + rests);
        self.dns.all[node].places.push((self.now, to));
        self.tell_nodes();
        self.farm.follow_names(self.now);
        self.restart_server(to);
        true
    }

    /// Each thing that is wrong with names is mended, or not.
    fn mend_some_names(&mut self) {
        if self.dns.rng.below(2) == 0 {
            self.dns.weather = FAIR;
        }
        for named in 0..self.dns.all.len() {
            if self.dns.rng.below(2) == 0 {
                (self.dns.all[named].unknown, self.dns.all[named].wrong) = (false, None);
            }
        }
    }

    /// The name server is well again, and says what is true.
    pub fn mend_names(&mut self) {
        self.dns.active = false;
        self.dns.weather = FAIR;
        for named in &mut self.dns.all {
            (named.unknown, named.wrong) = (false, None);
            if let Family::Turns(_) = named.family {
                named.family = Family::V4;
            }
        }
        self.dns.lag_us.fill(0);
    }

    /// The vacant addresses of groups whose nodes move.
    pub fn add_spares(dns: &mut Dns, farm: &mut crate::redis::Farm, masters: usize, rng: &mut Rng) {
        if dns.options.moves {
            for group in 0..masters {
                dns.spares.push((farm.add_vacant(group, rng), 0));
            }
        }
    }
}
