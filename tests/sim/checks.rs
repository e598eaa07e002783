//! The checkers that stand beside a group and look from outside: at what a sentinel writes on its
//! connections, at its log, and at its file. They hold at every step, whatever the faults.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use crate::net::Us;
use crate::wire::{self, Value, Words, show};

/// What a sentinel's file says.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct FileView {
    pub current_epoch: u64,
    /// By master name: address, config epoch, leader epoch.
    pub masters: BTreeMap<String, FileMaster>,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct FileMaster {
    pub ip: String,
    pub config_epoch: u64,
    pub leader_epoch: u64,
}

impl FileView {
    pub fn parse(file: &[u8]) -> FileView {
        let mut view = FileView::default();
        let text = show(file);
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |text: &str| text.parse::<u64>().expect("an epoch in the file");
            match words[..] {
                ["sentinel", "monitor", name, ip, ..] => {
                    view.masters.entry(name.to_owned()).or_default().ip = ip.to_owned();
                }
                ["sentinel", "config-epoch", name, epoch] => {
                    let master = view.masters.entry(name.to_owned()).or_default();
                    master.config_epoch = number(epoch);
                }
                ["sentinel", "leader-epoch", name, epoch] => {
                    let master = view.masters.entry(name.to_owned()).or_default();
                    master.leader_epoch = number(epoch);
                }
                ["sentinel", "current-epoch", epoch] => view.current_epoch = number(epoch),
                _ => {}
            }
        }
        view
    }
}

/// A failover as its events tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Attempt {
    epoch: u64,
    forced: bool,
    elected_at: Option<Us>,
    ended: Option<Us>,
}

/// What is known of one sentinel's view of one master.
#[derive(Clone, Default, Debug)]
struct View {
    odown: bool,
    forced_next: bool,
    attempt: Option<Attempt>,
    config_epoch: u64,
    /// The address it told last.
    told: String,
}

/// What is known of one sentinel, in its present life.
#[derive(Clone, Default, Debug)]
struct Watched {
    run_id: String,
    tilt: bool,
    current_epoch: u64,
    /// In its last hello.
    told_epoch: u64,
    /// The newest vote it told of, if there is one master only.
    voted_epoch: u64,
    masters: BTreeMap<String, View>,
}

/// Something a sentinel logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub at: Us,
    pub sentinel: usize,
    pub name: String,
    pub text: String,
}

impl Event {
    /// The master's name, where the text begins with the description of a master.
    pub fn master(&self) -> &str {
        let words: Vec<&str> = self.text.split(' ').collect();
        match (self.name.as_str(), &words[..]) {
            ("+switch-master", [name, ..]) => name,
            (_, ["master", name, ..]) => name,
            (_, [_, _, _, _, "@", name, ..]) => name,
            _ => "",
        }
    }
}

/// Which rules do not hold under the faults of a scenario.
#[derive(Clone, Copy, Default, Debug)]
pub struct Waived {
    /// Sentinels forget each other (RESET, REMOVE): a majority of the known ones is not one of all.
    pub majority_of_all: bool,
    /// A master is removed and added again: epoch 0 may then stand for another address.
    pub config_epochs: bool,
}

pub struct Checks {
    sentinels: Vec<Watched>,
    /// One master only: events without a name are about it.
    only_master: Option<String>,
    quorum: usize,
    down_after_us: Us,
    pub waived: Waived,
    /// (voter, master, epoch) → leader.
    votes: BTreeMap<(String, String, u64), String>,
    leaders: BTreeMap<(String, u64), String>,
    announced: BTreeMap<(String, u64), String>,
    /// Failovers that were not elected.
    forced: BTreeSet<(String, u64)>,
    /// When a valid PING reply for that sentinel last left that host.
    pub proof_of_life: BTreeMap<(usize, usize), Us>,
    pub events: Vec<Event>,
    /// How many checks had something to look at.
    pub looked: u64,
}

impl Checks {
    pub fn new(sentinels: usize, masters: usize, quorum: usize, down_after_us: Us) -> Checks {
        Checks {
            sentinels: vec![Watched::default(); sentinels],
            only_master: (masters == 1).then(|| "m0".to_owned()),
            quorum,
            down_after_us,
            waived: Waived::default(),
            votes: BTreeMap::new(),
            leaders: BTreeMap::new(),
            announced: BTreeMap::new(),
            forced: BTreeSet::new(),
            proof_of_life: BTreeMap::new(),
            events: Vec::new(),
            looked: 0,
        }
    }

    /// A sentinel starts (again); `file` is what it reads.
    pub fn started(&mut self, sentinel: usize, run_id: &str, file: &FileView) {
        let watched = &mut self.sentinels[sentinel];
        *watched = Watched { run_id: run_id.to_owned(), ..Watched::default() };
        watched.current_epoch = file.current_epoch;
        for (name, master) in &file.masters {
            let view = View { config_epoch: master.config_epoch, ..View::default() };
            watched.masters.insert(name.clone(), view);
        }
    }

    /// A save has ended well.
    pub fn saved(&self, sentinel: usize, old: &FileView, new: &FileView) {
        assert!(new.current_epoch >= old.current_epoch, "current-epoch in file of {sentinel}");
        for (name, old) in &old.masters {
            let Some(new) = new.masters.get(name) else { continue };
            let back = new.leader_epoch < old.leader_epoch
                || (new.config_epoch < old.config_epoch && !self.waived.config_epochs);
            assert!(!back, "the file of {sentinel} went back: {old:?} to {new:?}");
        }
    }

    fn view(&mut self, sentinel: usize, master: &str) -> &mut View {
        self.sentinels[sentinel].masters.entry(master.to_owned()).or_default()
    }

    fn record_vote(
        &mut self,
        voter: usize,
        master: &str,
        epoch: u64,
        leader: &str,
        file: &FileView,
    ) {
        self.looked += 1;
        let run_id = self.sentinels[voter].run_id.clone();
        let key = (run_id, master.to_owned(), epoch);
        let told = self.votes.entry(key).or_insert_with(|| leader.to_owned());
        assert_eq!(told, leader, "sentinel {voter} votes twice for {master} in epoch {epoch}");
        let saved = file.masters.get(master).map_or(0, |master| master.leader_epoch);
        assert!(saved >= epoch, "sentinel {voter} tells vote {epoch}, its file has {saved}");
        let current = file.current_epoch;
        assert!(current >= epoch, "sentinel {voter} votes in {epoch}, its file is at {current}");
    }

    /// A line of a sentinel's log, with the file as it is at that moment.
    pub fn logged(&mut self, now: Us, sentinel: usize, line: &str, file: &FileView) {
        let asked = "Executing user requested FAILOVER of '";
        if let Some(name) = line.strip_prefix(asked) {
            self.view(sentinel, name.trim_end_matches('\'')).forced_next = true;
        }
        let (name, text) = line.split_once(' ').unwrap_or((line, ""));
        if !name.starts_with(['+', '-']) {
            return;
        }
        let (name, text) = (name.to_owned(), text.to_owned());
        let event = Event { at: now, sentinel, name, text };
        self.event(&event, file);
        self.events.push(event);
    }

    fn event(&mut self, event: &Event, file: &FileView) {
        let (sentinel, name, now) = (event.sentinel, event.master(), event.at);
        let about_master = event.text.starts_with("master ");
        match event.name.as_str() {
            "+tilt" => self.sentinels[sentinel].tilt = true,
            "-tilt" => self.sentinels[sentinel].tilt = false,
            "+new-epoch" => {
                let epoch = event.text.parse().expect("an epoch");
                let watched = &mut self.sentinels[sentinel];
                assert!(epoch > watched.current_epoch, "sentinel {sentinel}: epoch went back");
                watched.current_epoch = epoch;
            }
            "+odown" | "-odown" => {
                assert!(!self.sentinels[sentinel].tilt, "{event:?} in tilt");
                self.view(sentinel, name).odown = event.name == "+odown";
            }
            "+sdown" => {
                assert!(!self.sentinels[sentinel].tilt, "{event:?} in tilt");
                self.check_sdown(event);
            }
            "+switch-master" => self.view(sentinel, name).odown = false,
            "+reset-master" if about_master => {
                let view = self.view(sentinel, name);
                view.odown = false;
                view.attempt = None;
            }
            "+monitor" | "-monitor" => {
                self.sentinels[sentinel].masters.remove(name);
            }
            "+try-failover" => self.check_try(event),
            "+vote-for-leader" => self.check_own_events_vote(event, file),
            "+elected-leader" => self.check_elected(event, file),
            "-failover-abort-not-elected"
            | "-failover-abort-no-good-slave"
            | "-failover-abort-slave-timeout"
            | "+promoted-slave" => {
                if let Some(attempt) = &mut self.view(sentinel, name).attempt {
                    attempt.ended = Some(now);
                }
            }
            _ => {}
        }
    }

    /// Never earlier than the last proof of life plus down-after.
    fn check_sdown(&mut self, event: &Event) {
        let words: Vec<&str> = event.text.split(' ').collect();
        let Ok(ip) = words[2].parse() else { return };
        let Some(host) = crate::net::Net::host_of(ip) else { return };
        let Some(last) = self.proof_of_life.get(&(event.sentinel, host)) else { return };
        self.looked += 1;
        let silent = event.at - last;
        let early = silent + 1_000 < self.down_after_us;
        assert!(!early, "{event:?} only {silent} us after a proof of life");
    }

    fn check_try(&mut self, event: &Event) {
        let sentinel = event.sentinel;
        let watched = &self.sentinels[sentinel];
        let epoch = watched.current_epoch;
        let tilt = watched.tilt;
        let name = event.master().to_owned();
        let view = self.view(sentinel, &name);
        let forced = std::mem::take(&mut view.forced_next);
        assert!(forced || !tilt, "{event:?} in tilt");
        assert!(forced || view.odown, "{event:?} without odown");
        view.attempt = Some(Attempt { epoch, forced, elected_at: None, ended: None });
        if forced {
            self.forced.insert((name, epoch));
        }
        self.looked += 1;
    }

    fn check_own_events_vote(&mut self, event: &Event, file: &FileView) {
        let Some(master) = self.only_master.clone() else { return };
        let (leader, epoch) = event.text.split_once(' ').expect("a leader and an epoch");
        let epoch: u64 = epoch.parse().expect("an epoch");
        self.record_vote(event.sentinel, &master, epoch, leader, file);
        let watched = &mut self.sentinels[event.sentinel];
        assert!(epoch > watched.voted_epoch, "{event:?} after a vote in {}", watched.voted_epoch);
        watched.voted_epoch = epoch;
    }

    fn check_elected(&mut self, event: &Event, file: &FileView) {
        let sentinel = event.sentinel;
        let me = self.sentinels[sentinel].run_id.clone();
        assert!(!self.sentinels[sentinel].tilt, "{event:?} in tilt");
        let name = event.master().to_owned();
        let attempt = self.view(sentinel, &name).attempt.as_mut();
        let attempt =
            attempt.filter(|attempt| attempt.ended.is_none() && attempt.elected_at.is_none());
        let Some(attempt) = attempt else { panic!("{event:?} without +try-failover") };
        attempt.elected_at = Some(event.at);
        let Attempt { epoch, forced, .. } = *attempt;
        if forced {
            return;
        }
        self.looked += 1;
        let saved = file.masters[&name].leader_epoch;
        assert!(saved >= epoch, "{event:?}: its own vote is not on its disk");
        let own = self.votes.get(&(me.clone(), name.clone(), epoch));
        let known = self.only_master.is_some();
        assert!(!known || own == Some(&me), "{event:?}: its own vote went to {own:?}");
        let leader = self.leaders.entry((name.clone(), epoch)).or_insert_with(|| me.clone());
        assert_eq!(*leader, me, "two leaders of {name} in epoch {epoch}");
        let mine = |((voter, master, of), leader): (&(String, String, u64), &String)| {
            *voter != me && *master == name && *of == epoch && *leader == me
        };
        let votes = self.votes.iter().filter(|(key, leader)| mine((key, leader))).count() + 1;
        let majority = match self.waived.majority_of_all {
            true => 0,
            false => self.sentinels.len() / 2 + 1,
        };
        let needed = majority.max(self.quorum);
        assert!(votes >= needed, "{event:?} in epoch {epoch} with {votes} votes of {needed}");
    }

    /// A sentinel wrote a request; `group` tells which master a data node's address belongs to.
    pub fn requested(
        &mut self,
        now: Us,
        sentinel: usize,
        words: &Words,
        group: &dyn Fn(&str) -> Option<String>,
        to: Option<String>,
    ) {
        let verb = words[0].to_ascii_uppercase();
        match (verb.as_slice(), words.len()) {
            (b"SENTINEL", 6) => self.check_ask(now, sentinel, words, group),
            (b"PUBLISH", 3) => self.check_hello(sentinel, &show(&words[2])),
            (b"SLAVEOF", 3) => {
                self.looked += 1;
                let what = wire::show_words(words);
                assert!(!self.sentinels[sentinel].tilt, "{sentinel} sends {what} in tilt");
                let Some(master) = to else { panic!("{what} to no data node") };
                if words[1] == b"NO" {
                    self.check_promotion(sentinel, &master);
                }
            }
            _ => {}
        }
    }

    fn check_promotion(&mut self, sentinel: usize, master: &str) {
        let (voted, only) = (self.sentinels[sentinel].voted_epoch, self.only_master.is_some());
        let view = self.view(sentinel, master);
        let elected = view.attempt.filter(|a| a.elected_at.is_some() && a.ended.is_none());
        let Some(attempt) = elected else {
            panic!("sentinel {sentinel} promotes a replica of {master}: {view:?}")
        };
        let newer = only && voted > attempt.epoch;
        assert!(!newer, "sentinel {sentinel} promotes for {attempt:?} after a vote in {voted}");
    }

    fn check_ask(
        &mut self,
        now: Us,
        sentinel: usize,
        words: &Words,
        group: &dyn Fn(&str) -> Option<String>,
    ) {
        if words[5] == b"*" {
            return;
        }
        self.looked += 1;
        let what = wire::show_words(words);
        let watched = &self.sentinels[sentinel];
        assert_eq!(show(&words[5]), watched.run_id, "{sentinel} asks a vote for another: {what}");
        assert!(!watched.tilt, "{sentinel} asks for a vote in tilt: {what}");
        let epoch: u64 = show(&words[4]).parse().expect("an epoch");
        let master = group(&show(&words[2])).expect("a data node's address");
        let attempt = self.view(sentinel, &master).attempt;
        let own = attempt.is_some_and(|attempt| {
            // What was asked before the end may have been written in the same turn.
            let open = |end: Option<Us>| end.is_none_or(|at| at == now);
            attempt.epoch == epoch && open(attempt.elected_at) && open(attempt.ended)
        });
        assert!(own, "{sentinel} asks for a vote that is not its failover's: {what}, {attempt:?}");
    }

    fn check_hello(&mut self, sentinel: usize, text: &str) {
        self.looked += 1;
        let fields: Vec<&str> = text.split(',').collect();
        assert_eq!(fields.len(), 8, "hello {text}");
        let number = |text: &str| text.parse::<u64>().expect("a number in a hello");
        let (current, config) = (number(fields[3]), number(fields[7]));
        let (name, ip) = (fields[4], fields[5]);
        let watched = &self.sentinels[sentinel];
        assert_eq!(fields[2], watched.run_id, "hello {text}");
        // A newer epoch may have been met after it was written, in the same turn.
        assert!(current <= watched.current_epoch, "hello {text}");
        assert!(current >= watched.told_epoch, "hello {text}");
        self.sentinels[sentinel].told_epoch = current;
        let view = self.view(sentinel, name);
        assert!(config >= view.config_epoch, "{sentinel} goes back to {config} from {view:?}");
        let moved = !view.told.is_empty() && view.told != ip;
        assert!(!moved || config > view.config_epoch, "{sentinel} moves to {ip} from {view:?}");
        view.config_epoch = config;
        view.told = ip.to_owned();
        let key = (name.to_owned(), config);
        if self.forced.contains(&key) || (self.waived.config_epochs && config == 0) {
            return;
        }
        let first = self.announced.entry(key).or_insert_with(|| ip.to_owned());
        assert_eq!(first, ip, "two addresses of {name} in config epoch {config}");
    }

    /// A sentinel wrote the answer to a request.
    pub fn answered(
        &mut self,
        sentinel: usize,
        words: &Words,
        reply: &Value,
        group: &dyn Fn(&str) -> Option<String>,
        file: &FileView,
    ) {
        if words.len() != 6 || !words[1].eq_ignore_ascii_case(b"IS-MASTER-DOWN-BY-ADDR") {
            return;
        }
        let Value::Array(items) = reply else { panic!("{reply:?} to {}", wire::show_words(words)) };
        let [Value::Int(down), Value::Bulk(leader), Value::Int(epoch)] = &items[..] else {
            panic!("{reply:?} to {}", wire::show_words(words))
        };
        let tilt = self.sentinels[sentinel].tilt;
        assert!(*down == 0 || !tilt, "{sentinel} says that a master is down in tilt");
        if leader == b"*" {
            return;
        }
        let master = group(&show(&words[2])).expect("a data node's address");
        self.record_vote(sentinel, &master, *epoch as u64, &show(leader), file);
    }

    /// Events of that name, of all sentinels.
    pub fn count(&self, name: &str) -> usize {
        self.events.iter().filter(|event| event.name == name).count()
    }
}
