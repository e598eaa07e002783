//! Operators who send commands to sentinels at random, and do not wait for the answers.
#![forbid(unsafe_code)]

use crate::draws::table;
use crate::net::{ConnKey, Net, Us};
use crate::plan::Operators;
use crate::property::{Property, violation};
use crate::wire::{self, Stream, Words};
use crate::world::{Ev, MS, World};

/// The kinds of commands, as they are counted.
pub const COMMANDS: [&str; 15] = [
    "ask",
    "set-down-after",
    "set-failover-timeout",
    "set-parallel-syncs",
    "set-quorum",
    "flushconfig",
    "config-set-loglevel",
    "config-set-announce-port",
    "debug",
    "change",
    "failover",
    "simulate-failure",
    "reset",
    "remove-and-monitor",
    "announce-as-another",
];

/// What was asked and is not answered yet.
#[derive(Clone, Debug)]
pub struct Told {
    pub key: ConnKey,
    sentinel: usize,
    at: Us,
    kind: &'static str,
    left: usize,
}

fn words(text: &str) -> Words {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

impl World {
    /// An operator comes by, and will again.
    pub fn operate(&mut self) {
        self.collect_answers();
        let kinds: &[&'static str] = match self.operators {
            Operators::None => return,
            Operators::Gentle => &COMMANDS[..10],
            Operators::Forcing => &COMMANDS[..12],
            Operators::Forgetful => &COMMANDS[..14],
            Operators::Misleading => &COMMANDS,
        };
        let kind = kinds[self.rng.below(kinds.len() as u64) as usize];
        let sentinels = self.sentinels.len() as u64;
        // One sentinel is never made to forget: the others learn from it again.
        let forgets = matches!(kind, "reset" | "remove-and-monitor" | "announce-as-another");
        let at = self.rng.below(sentinels - u64::from(forgets)) as usize;
        if self.sentinels[at].runs()
            && let Some(lines) = self.lines_of(kind, at)
        {
            self.tell_all(at, kind, &lines);
        }
        let pause = self.rng.below(2 * self.operate_us);
        self.schedule(self.now + pause, Ev::Operate);
    }

    /// The requests that make up a command of a kind.
    fn lines_of(&mut self, kind: &'static str, at: usize) -> Option<Vec<String>> {
        let group = self.rng.below(self.options.masters as u64) as usize;
        let name = format!("m{group}");
        let set = |option: &str, value: u64| vec![format!("SENTINEL SET {name} {option} {value}")];
        let drawn = self.rng.next_u64();
        let pick = |values: &[u64]| values[(drawn % values.len() as u64) as usize];
        Some(match kind {
            "ask" => vec![question(drawn, &name)],
            "set-down-after" => set("down-after-milliseconds", pick(&[100, 200, 500, 1_000])),
            "set-failover-timeout" => set("failover-timeout", pick(&[500, 1_000, 5_000])),
            "set-parallel-syncs" => set("parallel-syncs", pick(&[1, 2, 5])),
            "set-quorum" => set("quorum", 1 + drawn % (self.sentinels.len() as u64 / 2 + 1)),
            "flushconfig" => vec!["SENTINEL FLUSHCONFIG".to_owned()],
            "config-set-loglevel" => {
                let level = ["debug", "verbose", "notice", "warning"][(drawn % 4) as usize];
                vec![format!("SENTINEL CONFIG SET loglevel {level}")]
            }
            "config-set-announce-port" => {
                vec![format!("SENTINEL CONFIG SET announce-port {}", 26_379 + drawn % 3)]
            }
            "debug" => vec![quick_periods()],
            "change" => {
                // Where hosts have names, the settings of names are those of the world.
                let is_free = |words: &String| !self.dns.on() || !words.contains("hostnames");
                let words = table::change(&mut self.rng, &name);
                Some(words).filter(is_free).into_iter().collect()
            }
            "failover" => vec![format!("SENTINEL FAILOVER {name}")],
            "simulate-failure" => {
                self.sentinels[at].may_exit = true;
                let when = pick(&[0, 1]);
                let when = ["crash-after-election", "crash-after-promotion"][when as usize];
                vec![format!("SENTINEL SIMULATE-FAILURE {when}")]
            }
            "reset" => vec![format!(
                "SENTINEL RESET {}",
                if drawn.is_multiple_of(2) { "*" } else { &name }
            )],
            "remove-and-monitor" => self.monitor_again(at, group)?,
            _ => {
                let other = (at + 1) % self.sentinels.len();
                let own = Net::ip_of(at);
                let wrong = Net::ip_of(other);
                let ip = if drawn.is_multiple_of(2) { own } else { wrong };
                self.masked.insert(at);
                vec![format!("SENTINEL CONFIG SET announce-ip {ip}")]
            }
        })
    }

    /// Takes the address from the sentinel that never forgets.
    fn monitor_again(&mut self, at: usize, group: usize) -> Option<Vec<String>> {
        let master = self.held_master(self.sentinels.len() - 1, group)?;
        let ip = self.dns.word_for(at, master);
        let options = &self.options;
        Some(vec![
            format!("SENTINEL REMOVE m{group}"),
            format!("SENTINEL MONITOR m{group} {ip} 6379 {}", options.quorum),
            format!(
                "SENTINEL SET m{group} down-after-milliseconds {} failover-timeout {}{}",
                options.down_after_ms,
                options.failover_timeout_ms,
                options.drawn.set_words(),
            ),
        ])
    }

    pub fn tell_all(&mut self, sentinel: usize, kind: &'static str, lines: &[String]) {
        *self.stats.commands.entry(kind).or_default() += 1;
        let key = self.connect([self.operator(), sentinel], None);
        let mut bytes = self.login(key);
        for line in lines {
            self.trace(|| format!("operator to {sentinel}: {line}"));
            let asked = words(line);
            let parts: Vec<&[u8]> = asked.iter().map(Vec::as_slice).collect();
            bytes.extend(wire::request(&parts));
            self.net.conns.get_mut(&key).expect("just made").asked.push_back(asked);
        }
        self.send(key, 0, crate::net::Segment::Bytes(bytes));
        let left = lines.len() + usize::from(self.must_log_in());
        self.told.push(Told { key, sentinel, at: self.now, kind, left });
    }

    /// Every sentinel is told of shorter periods.
    pub fn quicken(&mut self) {
        for at in 0..self.sentinels.len() {
            self.tell_all(at, "debug", &[quick_periods()]);
        }
    }

    /// What operators left half done is done: all masters are watched, with the settings of the
    /// world, and nobody fails on purpose any more.
    pub fn put_in_order(&mut self) {
        // Once more: what an operator sent before may have come after what put it in order.
        self.own_addresses();
        self.masked.clear();
        for at in 0..self.sentinels.len() {
            if self.sentinels[at].may_exit {
                self.tell_all(at, "put-in-order", &["SENTINEL SIMULATE-FAILURE help".to_owned()]);
            }
            for group in 0..self.options.masters {
                let lines = self.monitor_again(at, group).unwrap_or_default();
                let watched = self.held_master(at, group).is_some();
                // From its settings on, if it is watched.
                let from = if watched { lines.len().min(2) } else { lines.len().min(1) };
                if from < lines.len() {
                    self.tell_all(at, "put-in-order", &lines[from..]);
                }
            }
        }
    }

    /// Sentinels that announced the address of another announce their own again.
    pub fn own_addresses(&mut self) {
        for at in self.masked.clone() {
            let ip = self.dns.right_word(at);
            let line = format!("SENTINEL CONFIG SET announce-ip {ip}");
            self.tell_all(at, "put-in-order", &[line]);
        }
    }

    /// Takes in the answers that have come, and ends those connections.
    pub fn collect_answers(&mut self) {
        for mut told in std::mem::take(&mut self.told) {
            let key = told.key;
            let there = self.net.conns.get(&key).is_some_and(|conn| {
                conn.ends[1].open || conn.pipes.iter().any(|pipe| !pipe.queue.is_empty())
            });
            let mut answers = Vec::new();
            while let Some(answer) = self.inbox.get_mut(&key).and_then(Stream::next_value) {
                answers.push(answer);
            }
            for answer in answers {
                told.left -= 1;
                self.trace(|| format!("answer to {}: {answer:?}", told.kind));
            }
            if told.left > 0 && there {
                self.told.push(told);
            } else {
                self.inbox.remove(&key);
                self.close(key, 0);
            }
        }
    }

    /// Whoever asked a sentinel that runs, over a network that is well, has its answer.
    pub fn check_answers(&mut self, since: Us) {
        self.collect_answers();
        let late = |told: &&Told| told.at < since && self.now > since + 15_000 * MS;
        if let Some(Told { sentinel, at, kind, .. }) = self.told.iter().find(late) {
            let at_ms = at / MS;
            let text = format!("{sentinel} was told {kind} at {at_ms} ms and does not answer");
            violation!(Property::ClientsAreAnswered, "{text}");
        }
    }
}

fn question(drawn: u64, name: &str) -> String {
    let questions = [
        "SENTINEL MASTERS".to_owned(),
        "PING".to_owned(),
        "INFO".to_owned(),
        "SENTINEL PENDING-SCRIPTS".to_owned(),
        format!("SENTINEL MASTER {name}"),
        format!("SENTINEL REPLICAS {name}"),
        format!("SENTINEL SENTINELS {name}"),
        format!("SENTINEL CKQUORUM {name}"),
        format!("SENTINEL GET-MASTER-ADDR-BY-NAME {name}"),
        format!("SENTINEL INFO-CACHE {name}"),
    ];
    questions[(drawn % questions.len() as u64) as usize].clone()
}

/// Everything that is periodic goes quicker, but for what the checkers rely on.
fn quick_periods() -> String {
    "SENTINEL DEBUG info-period 2000 publish-period 500 tilt-period 5000 \
     slave-reconf-timeout 1500 min-link-reconnect-period 3000 election-timeout 3000 \
     script-max-runtime 2000 script-retry-delay 500"
        .to_owned()
}
