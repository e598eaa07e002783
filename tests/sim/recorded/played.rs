//! Steps on the model, in virtual time.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};

use sentineld::util::rng::Rng;

use super::script::Group;
use crate::net::{ConnKey, HostId, Net, Us};
use crate::redis::faults::{ConfigFile, Data, InfoAnswer};
use crate::redis::{Client, Effect, Farm, REDIS_PORT};
use crate::support::value::Value;
use crate::wire;

const MS: Us = 1_000;
/// More nodes than any recording has.
const HOSTS: usize = 16;
/// How many keys `DEBUG POPULATE` makes in the recordings: delays are given per key.
const KEYS: Us = 1_000;

pub struct Played {
    farm: Farm,
    net: Net,
    rng: Rng,
    now: Us,
    nodes: BTreeMap<String, HostId>,
    conns: BTreeMap<String, (HostId, ConnKey)>,
    next_conn: u64,
    relays: VecDeque<(HostId, Vec<u8>)>,
    seen: Vec<(String, Option<Value>)>,
    /// Nodes whose files were removed.
    emptied: Vec<HostId>,
}

impl Played {
    pub fn new() -> Played {
        let mut farm = Farm::empty(0);
        farm.traffic_bytes = 0;
        Played {
            farm,
            net: Net::new(HOSTS, (0, 0)),
            rng: Rng::new(1),
            now: 1_000 * MS,
            nodes: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            relays: VecDeque::new(),
            seen: Vec::new(),
            emptied: Vec::new(),
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += MS;
            self.farm.tick(self.now, &self.net, &mut self.rng);
        }
    }

    fn configure(&mut self, host: HostId, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let server = self.farm.at_mut(host);
        let us = |text: &str| text.parse::<Us>().expect("a number");
        match words[..] {
            ["loading-process-events-interval-bytes", _] => {}
            ["no-file"] => server.set_config_file(ConfigFile::None),
            ["replica-priority", priority] => server.priority = priority.parse().expect("one"),
            ["replica-announced", announced] => server.announced = announced == "yes",
            ["requirepass", password] => server.set_password(Some(password.as_bytes())),
            ["masterauth", password] => server.set_master_password(Some(password.as_bytes())),
            ["replica-serve-stale-data", serves] => server.set_serves_stale_data(serves == "yes"),
            ["repl-timeout", seconds] => server.times.timeout_us = us(seconds) * 1_000 * MS,
            ["repl-diskless-sync-delay", seconds] => {
                server.times.wait_us = us(seconds) * 1_000 * MS
            }
            ["rdb-key-save-delay", per_key] => server.times.send_us = us(per_key) * KEYS,
            ["key-load-delay", per_key] => server.times.load_us = us(per_key) * KEYS,
            _ => panic!("not of this model: {line}"),
        }
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(key, bytes) => self.hear(key, &bytes),
                Effect::Close(key) => self.closed(key),
                Effect::Relay(to, text) => self.relays.push_back((to, text)),
                Effect::Role(_) => {}
            }
        }
    }

    fn name_of(&self, key: ConnKey) -> Option<String> {
        self.conns.iter().find(|(_, (_, known))| *known == key).map(|(name, _)| name.clone())
    }

    fn hear(&mut self, key: ConnKey, bytes: &[u8]) {
        let Some(name) = self.name_of(key) else { return };
        let mut rest = bytes;
        while !rest.is_empty() {
            // Half of a reply before a close is nothing to a client.
            let Ok(value) = Value::read(&mut rest) else { return };
            self.seen.push((name.clone(), Some(value)));
        }
    }

    fn closed(&mut self, key: ConnKey) {
        let Some(name) = self.name_of(key) else { return };
        self.conns.remove(&name);
        self.seen.push((name, None));
    }

    fn relay(&mut self) {
        while let Some((to, text)) = self.relays.pop_front() {
            let mut effects = Vec::new();
            self.farm.relayed(to, &text, &mut effects);
            self.apply(effects);
        }
    }

    fn open(&mut self, host: HostId) -> ConnKey {
        self.next_conn += 1;
        let key = ConnKey(self.next_conn);
        self.farm.at_mut(host).clients.insert(key, Client::default());
        key
    }
}

impl Group for Played {
    fn node(&mut self, name: &str, of: Option<&str>, lines: &[&str]) {
        let master = of.map(|of| self.nodes[of]);
        let host = self.farm.add(master, &mut self.rng);
        self.farm.at_mut(host).times.timeout_us = 3_600_000 * MS;
        for line in lines {
            self.configure(host, line);
        }
        self.nodes.insert(name.to_owned(), host);
    }

    fn address(&self, node: &str) -> (String, u16) {
        (Net::ip_of(self.nodes[node]).to_string(), REDIS_PORT)
    }

    fn conn(&mut self, name: &str, node: &str) {
        let host = self.nodes[node];
        let key = self.open(host);
        self.conns.insert(name.to_owned(), (host, key));
    }

    fn send(&mut self, conn: &str, requests: &[Vec<String>]) {
        let (host, key) = self.conns[conn];
        let mut bytes = Vec::new();
        for words in requests {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            bytes.extend(wire::request(&words));
        }
        let effects = self.farm.received(self.now, &mut self.rng, host, key, &bytes);
        self.apply(effects);
    }

    fn close(&mut self, conn: &str) {
        let (host, key) = self.conns[conn];
        self.farm.at_mut(host).clients.remove(&key);
        self.closed(key);
    }

    fn fault(&mut self, what: &str, node: &str) {
        let host = self.nodes[node];
        match what {
            "kill" => {
                for key in self.farm.kill(host) {
                    self.closed(key);
                }
            }
            "freeze" => self.farm.at_mut(host).frozen = true,
            "thaw" => {
                self.farm.at_mut(host).frozen = false;
                let keys: Vec<_> =
                    self.farm.at(host).expect("it").clients.keys().copied().collect();
                for key in keys {
                    let effects = self.farm.work(self.now, &mut self.rng, host, key);
                    self.apply(effects);
                }
            }
            "lose" => self.farm.at_mut(host).set_config_file(ConfigFile::Fails),
            "refuse-info" => self.farm.at_mut(host).set_info_answer(InfoAnswer::Refused),
            "empty" => self.emptied.push(host),
            "restart" => {
                let emptied = self.emptied.contains(&host);
                self.emptied.retain(|known| *known != host);
                let data = if emptied { Data::Empty } else { Data::Saved };
                self.farm.restart_with(self.now, host, data, &mut self.rng);
            }
            _ => panic!("no such step: {what}"),
        }
    }

    fn set(&mut self, node: &str, setting: &str, value: &str) {
        let host = self.nodes[node];
        self.configure(host, &format!("{setting} {value}"));
        self.farm.delay_no_longer(self.now, host);
    }

    fn info(&mut self, node: &str) -> String {
        let host = self.nodes[node];
        self.pass(1);
        if !self.farm.at(host).is_some_and(|server| server.running) {
            return String::new();
        }
        let key = self.open(host);
        let bytes = wire::request(&[b"INFO"]);
        let effects = self.farm.received(self.now, &mut self.rng, host, key, &bytes);
        self.farm.at_mut(host).clients.remove(&key);
        let [Effect::Reply(_, bytes)] = &effects[..] else { return String::new() };
        Value::read(&mut &bytes[..]).expect("a whole reply").text()
    }

    fn wait(&mut self, seconds: u64) {
        self.pass(1_000 * seconds);
    }

    fn breathe(&mut self) {
        self.pass(20);
    }

    fn seen(&mut self, _wanted: Option<usize>) -> Vec<(String, Option<Value>)> {
        self.relay();
        self.pass(20);
        self.relay();
        std::mem::take(&mut self.seen)
    }
}
