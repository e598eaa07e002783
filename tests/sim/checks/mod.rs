//! The checkers that stand beside a group and look from outside: at what a sentinel writes on its
//! connections and reads from them, at its log, and at its file. They hold at every step, whatever
//! the faults. One file per idea; this one keeps what is known and passes on what comes.
#![forbid(unsafe_code)]

mod addresses;
mod down;
mod failovers;
mod figures;
mod file;
mod info;
mod promotion;
mod votes;

use std::collections::{BTreeMap, BTreeSet};

pub use figures::{Counter, Figures};
pub use file::FileView;
pub use info::Info;

use crate::net::{HostId, Net, Us};
use crate::outcome;
use crate::property::{Property, ensure, violation};
use crate::wire::{Value, Words, show};

/// A failover as its events tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Attempt {
    epoch: u64,
    forced: bool,
    began_at: Us,
    /// The epoch of the attempt before it, if that ended at the same moment.
    after: Option<u64>,
    elected_at: Option<Us>,
    ended: Option<Us>,
    /// The host that was chosen, or that SLAVEOF NO ONE was sent to.
    chosen: Option<usize>,
}

/// What is known of one sentinel's view of one master.
#[derive(Clone, Default, Debug)]
struct View {
    /// The address that its events tell.
    at: Option<HostId>,
    sdown: bool,
    /// When it was last sdown.
    sdown_until: Option<Us>,
    odown: bool,
    forced_next: bool,
    attempt: Option<Attempt>,
    config_epoch: u64,
    /// The address it told last.
    told: String,
    quorum: Option<usize>,
    /// Hosts of data nodes that it holds down.
    down: BTreeSet<usize>,
    /// When the last answer 1 of a peer came, and when it was taken back.
    agreed: BTreeMap<usize, (Us, Option<Us>)>,
    /// Hosts that were told to follow the promoted one and do not yet.
    syncing: BTreeSet<usize>,
}

impl View {
    /// Whatever it was, the master is not sdown any more.
    fn end_sdown(&mut self, now: Us) {
        if self.sdown {
            self.sdown_until = Some(now);
        }
    }
}

/// What is known of one sentinel, in its present life.
#[derive(Clone, Default, Debug)]
struct Watched {
    run_id: String,
    tilt: bool,
    /// Since when its process stands still.
    paused_at: Option<Us>,
    current_epoch: u64,
    /// In its last hello.
    told_epoch: u64,
    /// When it first told that.
    told_at: Us,
    /// The newest vote it told of, if there is one master only.
    voted_epoch: u64,
    masters: Vec<View>,
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
    /// The master's name, where the text begins with the description of an instance.
    pub fn master(&self) -> &str {
        let mut words = self.text.split(' ');
        let mut nth = |n| words.nth(n).unwrap_or("");
        if self.name == "+switch-master" {
            return nth(0);
        }
        match nth(0) {
            "master" => nth(0),
            "slave" | "sentinel" if nth(3) == "@" => nth(0),
            _ => "",
        }
    }

    fn group(&self) -> Option<usize> {
        group_of(self.master())
    }

    /// The host of the instance that it is about.
    fn host(&self) -> Option<HostId> {
        Net::host_of(self.text.split(' ').nth(2)?.parse().ok()?)
    }
}

/// The number of a master from its name.
pub fn group_of(name: &str) -> Option<usize> {
    name.strip_prefix('m')?.parse().ok()
}

/// Stands in a hello for an address of which it is not certain whose it is.
pub const SOME_ADDRESS: &str = "somewhere";

/// Which rules do not hold under the faults of a scenario.
#[derive(Clone, Copy, Default, Debug)]
pub struct Waived {
    /// Sentinels forget each other (RESET, REMOVE) or have not met yet: a majority of those that
    /// are known is not one of all.
    pub majority_of_all: bool,
    /// Sentinels announce addresses that lead to others: one may be counted twice.
    pub strangers: bool,
    /// A master is removed and added again: epoch 0 may then stand for another address.
    pub config_epochs: bool,
}

pub struct Checks {
    sentinels: Vec<Watched>,
    /// One master only: events without a name are about it.
    only_master: bool,
    quorum: usize,
    /// The shortest down-after that any sentinel was ever given.
    pub down_after_us: Us,
    /// The longest one.
    pub longest_down_after_us: Us,
    /// The most that any sentinel was ever given.
    pub parallel_syncs: usize,
    pub waived: Waived,
    /// Run ids and other candidates by number.
    ids: BTreeMap<String, u32>,
    /// (master, epoch, voter) → leader.
    votes: BTreeMap<(usize, u64, u32), u32>,
    leaders: BTreeMap<(usize, u64), u32>,
    announced: BTreeMap<(usize, u64), String>,
    /// Failovers that were not elected.
    forced: BTreeSet<(usize, u64)>,
    /// Config epochs in which two addresses of a master were told, where that may be. The group
    /// settles that by itself, with an election.
    pub conflicts: BTreeSet<(usize, u64)>,
    /// When each sentinel last read a valid answer to PING from each host (`MAX`: never).
    proof_of_life: Vec<Vec<Us>>,
    /// The last INFO that a sentinel read from a host.
    pub infos: BTreeMap<(usize, usize), Info>,
    /// All events, if they are kept.
    pub events: Vec<Event>,
    pub keeps_events: bool,
    /// How often each event came.
    pub counts: BTreeMap<String, u64>,
    /// Failovers that ended with a promotion: elected ones, forced ones.
    pub completed: [u64; 2],
    pub counter: Counter,
    /// The event that is told is about one of several entries that lead to the same node.
    pub ambiguous: bool,
    /// From this one on the sentinels are like redis-sentinel: what they break is counted, not
    /// held against anybody.
    pub first_c_like: usize,
    pub reported: BTreeMap<Property, u64>,
    /// How many checks had something to look at.
    pub looked: u64,
}

impl Checks {
    pub fn new(sentinels: usize, masters: usize, quorum: usize, down_after_us: Us) -> Checks {
        Checks {
            sentinels: vec![Watched::default(); sentinels],
            only_master: masters == 1,
            quorum,
            down_after_us,
            longest_down_after_us: down_after_us,
            parallel_syncs: usize::MAX,
            waived: Waived::default(),
            ids: BTreeMap::new(),
            votes: BTreeMap::new(),
            leaders: BTreeMap::new(),
            announced: BTreeMap::new(),
            forced: BTreeSet::new(),
            conflicts: BTreeSet::new(),
            proof_of_life: vec![Vec::new(); sentinels],
            infos: BTreeMap::new(),
            events: Vec::new(),
            keeps_events: true,
            counts: BTreeMap::new(),
            completed: [0; 2],
            counter: Counter::new(down_after_us),
            ambiguous: false,
            first_c_like: sentinels,
            reported: BTreeMap::new(),
            looked: 0,
        }
    }

    /// A sentinel has dropped an entry that was another one's: what it held down is not certain.
    pub fn entry_dropped(&mut self, sentinel: usize) {
        for view in &mut self.sentinels[sentinel].masters {
            view.down.clear();
            view.syncing.clear();
        }
        for ((of, _), info) in &mut self.infos {
            if *of == sentinel {
                info.listed.clear();
            }
        }
    }

    /// The newest epoch that any sentinel is at.
    pub fn newest_epoch(&self) -> u64 {
        self.sentinels.iter().map(|watched| watched.current_epoch).max().unwrap_or(0)
    }

    pub fn run_id(&self, sentinel: usize) -> &str {
        &self.sentinels[sentinel].run_id
    }

    /// Somebody tells of a configuration of that epoch which no leader has made.
    pub fn forged(&mut self, group: usize, config_epoch: u64) {
        self.forced.insert((group, config_epoch));
        self.conflicts.insert((group, config_epoch));
    }

    /// Holds a sentinel to the properties that `look` ensures, or counts that it broke one.
    pub fn judge(&mut self, sentinel: usize, look: impl FnOnce(&mut Checks)) {
        if sentinel < self.first_c_like {
            look(self);
        } else if let Some(violation) = outcome::attempt(|| look(self)) {
            *self.reported.entry(violation.property).or_default() += 1;
        }
    }

    /// A sentinel starts (again); `file` is what it reads.
    pub fn started(&mut self, sentinel: usize, run_id: &str, file: &FileView) {
        let watched = &mut self.sentinels[sentinel];
        *watched = Watched { run_id: run_id.to_owned(), ..Watched::default() };
        watched.current_epoch = file.current_epoch;
        for master in &file.masters {
            let config_epoch = master.config_epoch;
            watched.masters.push(View { config_epoch, ..View::default() });
        }
        self.proof_of_life[sentinel].clear();
        self.infos.retain(|(of, _), _| *of != sentinel);
    }

    /// A sentinel has read a valid answer to PING from a host.
    pub fn lives(&mut self, sentinel: usize, host: HostId, now: Us) {
        let hosts = &mut self.proof_of_life[sentinel];
        if hosts.len() <= host {
            hosts.resize(host + 1, Us::MAX);
        }
        hosts[host] = now;
    }

    fn id(&mut self, text: &str) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.ids.len() as u32;
        self.ids.insert(text.to_owned(), id);
        id
    }

    fn view(&mut self, sentinel: usize, group: usize) -> &mut View {
        let masters = &mut self.sentinels[sentinel].masters;
        if masters.len() <= group {
            masters.resize_with(group + 1, View::default);
        }
        &mut masters[group]
    }

    /// A line of a sentinel's log, with the file as it is at that moment.
    pub fn logged(&mut self, now: Us, sentinel: usize, line: &str, file: &FileView) {
        let asked = "Executing user requested FAILOVER of '";
        if let Some(group) =
            line.strip_prefix(asked).and_then(|n| group_of(n.trim_end_matches('\'')))
        {
            self.view(sentinel, group).forced_next = true;
        }
        let (name, text) = line.split_once(' ').unwrap_or((line, ""));
        if !name.starts_with(['+', '-']) {
            return;
        }
        match self.counts.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(name.to_owned(), 1)),
        }
        if name.ends_with("-link-reconnection") && !self.keeps_events {
            return;
        }
        let event = Event { at: now, sentinel, name: name.to_owned(), text: text.to_owned() };
        self.event(&event, file);
        if self.keeps_events {
            self.events.push(event);
        }
    }

    fn event(&mut self, event: &Event, file: &FileView) {
        let sentinel = event.sentinel;
        let Some(group) = event.group() else { return self.event_of_all(event, file) };
        let about_master = event.text.starts_with("master ");
        match event.name.as_str() {
            "+sdown" | "-sdown" => self.check_sdown(event, group),
            "+odown" | "-odown" => self.check_odown(event, group),
            "+switch-master" => self.note_switch(event, group),
            "+reset-master" if about_master => {
                let view = self.view(sentinel, group);
                view.end_sdown(event.at);
                (view.sdown, view.odown, view.attempt) = (false, false, None);
                view.agreed.clear();
                view.down.clear();
                view.syncing.clear();
            }
            "+monitor" | "-monitor" => {
                let quorum = event.text.rsplit(' ').next().and_then(|quorum| quorum.parse().ok());
                let view = self.view(sentinel, group);
                view.end_sdown(event.at);
                let sdown_until = view.sdown_until;
                *view = View { at: event.host(), quorum, sdown_until, ..View::default() };
            }
            "+set" => self.note_set(event, group),
            "+slave-reconf-sent" | "+slave-reconf-done" | "-slave-reconf-sent-timeout" => {
                self.note_sync(event, group);
            }
            "+failover-end" => self.view(sentinel, group).syncing.clear(),
            "+try-failover" => self.check_try(event, group),
            "+elected-leader" => self.check_elected(event, group, file),
            "+selected-slave" => self.check_selected(event, group),
            "-failover-abort-not-elected"
            | "-failover-abort-no-good-slave"
            | "-failover-abort-slave-timeout"
            | "+promoted-slave" => self.note_end(event, group),
            "+failover-state-reconf-slaves" => self.note_kept(event, group),
            _ => {}
        }
    }

    /// Events that name no master.
    fn event_of_all(&mut self, event: &Event, file: &FileView) {
        let sentinel = event.sentinel;
        match event.name.as_str() {
            "+tilt" => self.sentinels[sentinel].tilt = true,
            "-tilt" => self.sentinels[sentinel].tilt = false,
            "+new-epoch" => self.check_new_epoch(event),
            "+vote-for-leader" => self.check_own_events_vote(event, file),
            _ => {}
        }
    }

    fn note_set(&mut self, event: &Event, group: usize) {
        let mut words = event.text.split(' ').skip(4);
        let (option, value) =
            (words.next(), words.next().and_then(|text| text.parse::<u64>().ok()));
        match (option, value) {
            (Some("quorum"), Some(quorum)) => {
                self.view(event.sentinel, group).quorum = Some(quorum as usize);
                self.quorum = self.quorum.min(quorum as usize);
            }
            (Some("down-after-milliseconds" | "refused-down-after-milliseconds"), Some(ms)) => {
                self.down_after_us = self.down_after_us.min(ms * 1_000);
                self.longest_down_after_us = self.longest_down_after_us.max(ms * 1_000);
            }
            (Some("parallel-syncs"), Some(most)) => {
                self.parallel_syncs = self.parallel_syncs.max(most as usize);
            }
            _ => {}
        }
    }

    /// A sentinel wrote a request; `group` tells which master a data node's address belongs to.
    pub fn requested(
        &mut self,
        now: Us,
        sentinel: usize,
        words: &Words,
        group: &dyn Fn(&str) -> Option<usize>,
        to: (usize, Option<usize>),
    ) {
        match (words[0].as_slice(), words.len()) {
            (b"SENTINEL", 6) => self.check_ask(now, sentinel, words, group),
            (b"PUBLISH", 3) => self.check_hello(now, sentinel, &show(&words[2])),
            (b"SLAVEOF", 3) => self.check_slaveof(now, sentinel, words, group, to),
            _ => {}
        }
    }

    /// A sentinel wrote the answer to a request.
    pub fn answered(
        &mut self,
        now: Us,
        sentinel: usize,
        words: &Words,
        reply: &Value,
        group: &dyn Fn(&str) -> Option<usize>,
        file: &FileView,
    ) {
        if words.len() == 6 && words[1].eq_ignore_ascii_case(b"IS-MASTER-DOWN-BY-ADDR") {
            self.check_answer(now, sentinel, words, reply, group, file);
        }
    }

    /// Events of that name, of all sentinels.
    pub fn count(&self, name: &str) -> usize {
        self.counts.get(name).copied().unwrap_or(0) as usize
    }

    fn check_new_epoch(&mut self, event: &Event) {
        let sentinel = event.sentinel;
        let Ok(epoch) = event.text.parse() else {
            violation!(Property::OutputIsWellFormed, "{event:?}")
        };
        let watched = &mut self.sentinels[sentinel];
        let newer = epoch > watched.current_epoch;
        ensure!(newer, Property::EpochsNeverGoBack, "{event:?} after {}", watched.current_epoch);
        watched.current_epoch = epoch;
    }
}
