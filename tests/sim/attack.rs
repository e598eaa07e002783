//! Somebody without any rights sends one request to a sentinel, or publishes one message on a data
//! node, at any moment. Whatever it says: when all is mended, the group settles, and the next
//! master that dies is replaced.
//!
//! What is not tried, as it does what it says: commands that make a sentinel end, forget or pause
//! (the operators of `operate` send some of those), and a forged configuration that names an
//! address outside of the group. Redis Sentinel believes any hello, so that one moves a group for
//! good.
#![forbid(unsafe_code)]

use crate::net::{HostId, Net};
use crate::property::Property;
use crate::redis::HELLO;
use crate::world::{MS, SECOND, World};

/// The kinds of attacks, as they are counted.
pub const ATTACKS: [&str; 6] =
    ["vote", "hello-to-sentinel", "hello-on-node", "set", "debug", "command"];

/// Near the limits of numbers, ours above all.
const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "2",
    "7",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "1000000000000000",
    "1000000000000001",
    "4611686018427387904",
    "4611686018427387905",
    "9223372028264841215",
    "9223372028264841216",
    "9223372028264841217",
    "9223372032559808512",
    "9223372036854775806",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
];

const OPTIONS: [&str; 6] = [
    "down-after-milliseconds",
    "failover-timeout",
    "parallel-syncs",
    "quorum",
    "master-reboot-down-after-period",
    "refused-down-after-milliseconds",
];

/// All periods and their defaults.
const PERIODS: [(&str, u64); 13] = [
    ("info-period", 10_000),
    ("ping-period", 1_000),
    ("ask-period", 1_000),
    ("publish-period", 2_000),
    ("default-down-after", 30_000),
    ("default-failover-timeout", 180_000),
    ("tilt-trigger", 2_000),
    ("tilt-period", 30_000),
    ("slave-reconf-timeout", 10_000),
    ("min-link-reconnect-period", 15_000),
    ("election-timeout", 10_000),
    ("script-max-runtime", 60_000),
    ("script-retry-delay", 30_000),
];

/// Commands that take numbers, names or patterns.
const COMMANDS: [&str; 14] = [
    "CLIENT KILL TYPE normal",
    "CLIENT KILL ID #",
    "CLIENT PAUSE # WRITE",
    "CLIENT NO-EVICT on",
    "CLIENT SETNAME @",
    "CLIENT TRACKING on REDIRECT #",
    "COMMAND INFO @",
    "PSUBSCRIBE none",
    "PUBLISH @ @",
    "SENTINEL INFO-CACHE @",
    "SENTINEL CKQUORUM @",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR @ # # @",
    "SENTINEL CONFIG SET announce-port #",
    "SENTINEL SET @ down-after-milliseconds #",
];

impl World {
    fn draw<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.rng.below(choices.len() as u64) as usize]
    }

    /// An epoch or another number: near a limit, or near what the group is at.
    fn any_number(&mut self) -> String {
        let near = self.checks.newest_epoch() + self.rng.below(4);
        match self.rng.below(4) {
            0 => near.to_string(),
            _ => self.draw(&NUMBERS).to_owned(),
        }
    }

    /// The id of a sentinel of the group, that of nobody, or none at all; perhaps spelled
    /// otherwise.
    fn any_id(&mut self, target: usize) -> String {
        let known = self.rng.below(self.sentinels.len() as u64) as usize;
        let id = match self.rng.below(5) {
            0 => self.checks.run_id(target).to_owned(),
            1 => self.checks.run_id(known).to_owned(),
            2 => self.checks.run_id(known).to_uppercase(),
            3 => "f".repeat(40),
            _ => self.draw(&["*", "", "f", "-", "\u{1}"]).to_owned(),
        };
        if id.is_empty() && self.rng.below(2) == 0 { "f".repeat(41) } else { id }
    }

    fn node_of_group(&mut self, group: usize) -> HostId {
        self.first_master(group) + self.rng.below(self.options.replicas as u64 + 1) as usize
    }

    /// An address as it stands in a message: of a node of the group, of somebody else, of nobody.
    fn any_address(&mut self, group: usize) -> (String, String) {
        let node = self.node_of_group(group);
        let host = match self.rng.below(6) {
            0 => self.rng.below(self.operator() as u64 + 1) as usize,
            _ => node,
        };
        let ip = match self.rng.below(8) {
            0 => self.draw(&["", "localhost", "::", "300.1.1.1", "0.0.0.0"]).to_owned(),
            _ => Net::ip_of(host).to_string(),
        };
        let port = match self.rng.below(8) {
            0 => self.any_number(),
            _ => "6379".to_owned(),
        };
        (ip, port)
    }

    /// The address of a master that a forged hello may name: within the group, or none at all.
    fn any_master_address(&mut self, group: usize) -> (String, String) {
        let ip = Net::ip_of(self.node_of_group(group)).to_string();
        match self.rng.below(6) {
            0 => (self.draw(&["", "localhost", "300.1.1.1"]).to_owned(), "6379".to_owned()),
            1 => (ip, self.draw(&["0", "65536", "-1", "x"]).to_owned()),
            _ => (ip, "6379".to_owned()),
        }
    }

    /// A hello with one thing or another in it that is not true.
    fn forged_hello(&mut self, target: usize, group: usize) -> String {
        let sender = match self.rng.below(4) {
            0 => self.draw(&["", "localhost", "300.1.1.1"]).to_owned(),
            1 => Net::ip_of(target).to_string(),
            _ => {
                let host = self.rng.below(self.operator() as u64 + 1) as usize;
                Net::ip_of(host).to_string()
            }
        };
        let id = self.any_id(target);
        let name = match self.rng.below(8) {
            0 => self.draw(&["", "m", "m00", "M0"]).to_owned(),
            _ => World::master_name(group),
        };
        let (current, config) = (self.any_number(), self.any_number());
        let (ip, port) = self.any_master_address(group);
        if let Ok(config) = config.parse() {
            self.checks.forged(group, config);
        }
        // It joins the group, or makes one of it look like another.
        self.checks.waived.majority_of_all = true;
        self.forged_peers = true;
        format!("{sender},26379,{id},{current},{name},{ip},{port},{config}")
    }

    /// Fills the places of a command: `#` is a number, `@` a word.
    fn fill(&mut self, command: &str, target: usize, group: usize) -> String {
        let mut text = String::new();
        for part in command.chars() {
            match part {
                '#' => text += &self.any_number(),
                '@' => {
                    let word = match self.rng.below(4) {
                        0 => World::master_name(group),
                        1 => Net::ip_of(self.node_of_group(group)).to_string(),
                        2 => self.any_id(target),
                        _ => self.any_number(),
                    };
                    text += if word.is_empty() { "-" } else { &word };
                }
                part => text.push(part),
            }
        }
        text
    }

    /// One attack, of any kind.
    pub fn attack(&mut self) {
        let kind = self.draw(&ATTACKS);
        let target = self.rng.below(self.sentinels.len() as u64) as usize;
        let group = self.rng.below(self.options.masters as u64) as usize;
        *self.stats.attacks.entry(kind).or_default() += 1;
        let line = match kind {
            "vote" => {
                let (ip, port) = self.any_address(group);
                let (epoch, id) = (self.any_number(), self.any_id(target));
                format!("SENTINEL IS-MASTER-DOWN-BY-ADDR {ip} {port} {epoch} {id}")
            }
            "hello-on-node" => {
                let text = self.forged_hello(target, group);
                let node = self.node_of_group(group);
                return self.publish_on(node, &text);
            }
            "hello-to-sentinel" => {
                let text = self.forged_hello(target, group);
                format!("PUBLISH {} {text}", String::from_utf8_lossy(HELLO))
            }
            "set" => {
                let (option, value) = (self.draw(&OPTIONS), self.any_number());
                format!("SENTINEL SET {} {option} {value}", World::master_name(group))
            }
            "debug" => {
                let ((name, _), value) = (self.draw(&PERIODS), self.any_number());
                format!("SENTINEL DEBUG {name} {value}")
            }
            _ => {
                let command = self.draw(&COMMANDS);
                self.fill(command, target, group)
            }
        };
        if self.sentinels[target].runs() {
            self.tell_all(target, kind, &[line]);
        }
    }

    fn publish_on(&mut self, node: HostId, text: &str) {
        if !self.farm.at(node).is_some_and(|server| server.alive()) {
            return;
        }
        self.trace(|| format!("somebody publishes on {node}: {text}"));
        let mut effects = Vec::new();
        self.farm.publish(node, HELLO, text.as_bytes(), &mut effects);
        self.apply(node, effects);
    }

    /// Settings that were changed are what they were.
    pub fn undo_attack(&mut self) {
        let options = self.options.clone();
        let periods: String =
            PERIODS.iter().map(|(name, default)| format!(" {name} {default}")).collect();
        for at in 0..self.sentinels.len() {
            let mut lines = vec![
                format!("SENTINEL DEBUG{periods}"),
                "CLIENT UNPAUSE".to_owned(),
                "SENTINEL CONFIG SET announce-port 0".to_owned(),
            ];
            lines.extend((0..options.masters).map(|group| {
                format!(
                    "SENTINEL SET {} down-after-milliseconds {} failover-timeout {} \
                     parallel-syncs {} quorum {} master-reboot-down-after-period 0 \
                     refused-down-after-milliseconds 0",
                    World::master_name(group),
                    options.down_after_ms,
                    options.failover_timeout_ms,
                    options.parallel_syncs,
                    options.quorum,
                )
            }));
            self.tell_all(at, "put-in-order", &lines);
        }
        self.run_for(SECOND);
    }

    /// The group has got over it: every master is replaced when it dies.
    pub fn check_it_still_fails_over(&mut self) {
        for group in 0..self.options.masters {
            let last = self.sentinels.len() - 1;
            let Some(master) = self.held_master(last, group) else { continue };
            self.kill_server(master);
            let (property, what) = (Property::MasterIsReplaced, "an attacked group fails over");
            let limit = self.options.down_after_ms * MS + 60 * SECOND;
            self.await_property(property, what, limit, |world| world.all_moved(group, master));
            let away = self.rng.below(2_000) * MS;
            self.run_for(away);
            self.restart_server(master);
        }
    }
}
