//! Lets a plan of faults come over a cluster.

use crate::archive::Archive;
use crate::checks;
use crate::cluster::{CLIENTS, Cluster, Health};
use crate::faults::{Fault, Plan, Which, Whose};
use crate::net::HostId;
use crate::support::sentinel::Program;
use crate::switch::{Condition, ConditionId, Effect};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

/// Between two looks at what is due.
const STEP: Duration = Duration::from_millis(5);
/// The same while a leader is waited for, whose states are short.
const QUICK_STEP: Duration = Duration::from_micros(300);

type Hosts = BTreeSet<HostId>;

/// What is to be done at a time.
enum Step {
    Begin(Fault),
    Lift(Vec<ConditionId>),
    /// Breaks a link (or mends it) and comes again.
    Flap {
        host: HostId,
        off_ms: u64,
        on_ms: u64,
        left: u64,
    },
    StartSentinel(usize),
    StartNode(usize),
    ThawSentinel(usize),
    ThawNode(usize),
}

/// Waits for the first sentinel that logs an event from now on.
struct Trap {
    event: &'static str,
    ms: u64,
    /// What was read of each log.
    read: Vec<u64>,
}

/// A plan being carried out.
pub struct Storm<'a> {
    cluster: &'a mut Cluster,
    archive: &'a mut Archive,
    start: Instant,
    steps: BTreeMap<(Instant, u64), Step>,
    serial: u64,
    traps: Vec<Trap>,
    /// How many faults of each kind began.
    pub counts: BTreeMap<&'static str, usize>,
    /// What was wrong with those that were killed.
    pub problems: Vec<String>,
    /// What happened when, for people.
    pub diary: Vec<String>,
}

impl<'a> Storm<'a> {
    /// A storm that has not begun.
    pub fn new(cluster: &'a mut Cluster, archive: &'a mut Archive) -> Storm<'a> {
        Storm {
            cluster,
            archive,
            start: Instant::now(),
            steps: BTreeMap::new(),
            serial: 0,
            traps: Vec::new(),
            counts: BTreeMap::new(),
            problems: Vec::new(),
            diary: Vec::new(),
        }
    }

    /// Carries out a plan until its span is over; what holds then goes on holding.
    pub fn run(&mut self, plan: &Plan) {
        for (at_ms, fault) in &plan.faults {
            self.plan_at(self.start + Duration::from_millis(*at_ms), Step::Begin(*fault));
        }
        let end = self.start + Duration::from_millis(plan.span_ms);
        let patience = Duration::from_millis(plan.patience_ms);
        loop {
            while let Some(step) = self.due() {
                self.act(step);
            }
            self.look_into_traps();
            let now = Instant::now();
            if now >= end && (self.traps.is_empty() || now >= end + patience) {
                return;
            }
            std::thread::sleep(if self.traps.is_empty() { STEP } else { QUICK_STEP });
        }
    }

    fn plan(&mut self, in_ms: u64, step: Step) {
        self.plan_at(Instant::now() + Duration::from_millis(in_ms), step);
    }

    fn plan_at(&mut self, at: Instant, step: Step) {
        self.serial += 1;
        self.steps.insert((at, self.serial), step);
    }

    fn due(&mut self) -> Option<Step> {
        let next = self.steps.first_entry()?;
        (next.key().0 <= Instant::now()).then(|| next.remove())
    }

    fn write_down(&mut self, what: String) {
        let at_ms = self.start.elapsed().as_millis();
        self.diary.push(format!("{} {at_ms:6} ms {what}", clock()));
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Begin(fault) => self.begin(fault),
            Step::Lift(ids) => {
                self.write_down(format!("lifted {ids:?}"));
                ids.into_iter().for_each(|id| self.cluster.net.lift(id));
            }
            Step::Flap { host, off_ms, on_ms, left } => self.flap(host, off_ms, on_ms, left),
            Step::StartSentinel(index) => {
                self.cluster.start_sentinel(index);
                self.write_down(format!("sentinel {index} is back"));
            }
            Step::StartNode(node) => {
                self.cluster.start_node(node);
                self.write_down(format!("node {node} is back"));
            }
            Step::ThawSentinel(index) => {
                self.write_down(format!("sentinel {index} goes on"));
                self.cluster.thaw_sentinel(index);
            }
            Step::ThawNode(node) => {
                self.write_down(format!("node {node} goes on"));
                self.cluster.thaw_node(node);
            }
        }
    }

    fn begin(&mut self, fault: Fault) {
        *self.counts.entry(fault.kind()).or_default() += 1;
        self.write_down(format!("{fault:?}"));
        let all = self.cluster.layout.hosts();
        match fault {
            Fault::Minority { first, ms } => {
                let few = self.minority(first);
                self.part(&few, ms);
            }
            Fault::Split { mask, ms } => {
                let side: Hosts = all.iter().copied().filter(|h| mask >> h & 1 == 1).collect();
                self.part(&side, ms);
            }
            Fault::OneWay { of, outward, ms } => {
                let one = self.hosts(of);
                let others = &all - &one;
                let (from, to) = if outward { (one, others) } else { (others, one) };
                self.impose(vec![Condition { from, to, effect: Effect::Cut }], ms);
            }
            Fault::Flap { of, off_ms, on_ms, times } => {
                for host in self.hosts(of) {
                    self.flap(host, off_ms, on_ms, times);
                }
            }
            Fault::Slow { of, least_ms, most_ms, ms } => {
                self.spoil(of, Effect::Delay { least_ms, most_ms }, ms);
            }
            Fault::Lossy { of, percent, ms } => self.spoil(of, Effect::Loss { percent }, ms),
            Fault::KillSentinel { index, ms } => self.kill_sentinel(index, ms),
            Fault::KillNode { which, ms } => {
                let node = self.node(which);
                self.kill_node(node, ms);
            }
            Fault::KillLeader { at, ms } => {
                let read = self.cluster.sentinels.iter().map(|s| length(&s.log)).collect();
                self.traps.push(Trap { event: at, ms, read });
                let node = self.cluster.presumed_master();
                self.kill_node(node, ms);
            }
            Fault::StopSentinel { index, ms } => {
                self.cluster.freeze_sentinel(index);
                self.plan(ms, Step::ThawSentinel(index));
            }
            Fault::StopNode { which, ms } => {
                let node = self.node(which);
                self.cluster.freeze_node(node);
                self.plan(ms, Step::ThawNode(node));
            }
        }
    }

    fn node(&self, which: Which) -> usize {
        match which {
            Which::Master => self.cluster.presumed_master(),
            Which::Node(node) => node,
        }
    }

    fn hosts(&self, whose: Whose) -> Hosts {
        match whose {
            Whose::Master => [self.cluster.layout.node_host(self.cluster.presumed_master())].into(),
            Whose::Host(host) => [host].into(),
            Whose::Everybody => self.cluster.layout.hosts(),
        }
    }

    /// The master's host, one client, and sentinels as long as they are no majority.
    fn minority(&self, first: usize) -> Hosts {
        let layout = &self.cluster.layout;
        let mut few: Hosts = self.hosts(Whose::Master);
        few.insert(layout.client_host(first % CLIENTS));
        let hosts: Vec<HostId> = (0..layout.sentinels)
            .map(|s| layout.sentinel_host((first + s) % layout.sentinels))
            .collect();
        for host in &hosts {
            let inside = hosts.iter().filter(|host| few.contains(host)).count();
            if inside + 1 < layout.majority() {
                few.insert(*host);
            }
        }
        few
    }

    /// Cuts some hosts off from the others, both ways.
    fn part(&mut self, side: &Hosts, ms: u64) {
        let others = &self.cluster.layout.hosts() - side;
        self.write_down(format!("{side:?} against {others:?}"));
        let cut = |from: &Hosts, to: &Hosts| Condition {
            from: from.clone(),
            to: to.clone(),
            effect: Effect::Cut,
        };
        self.impose(vec![cut(side, &others), cut(&others, side)], ms);
    }

    /// An effect on everything that goes to or from the hosts meant.
    fn spoil(&mut self, of: Whose, effect: Effect, ms: u64) {
        let hosts = self.hosts(of);
        let all = self.cluster.layout.hosts();
        let others = &all - &hosts;
        let mut conditions = vec![Condition { from: hosts.clone(), to: all, effect }];
        if !others.is_empty() {
            conditions.push(Condition { from: others, to: hosts, effect });
        }
        self.impose(conditions, ms);
    }

    fn impose(&mut self, conditions: Vec<Condition>, ms: u64) {
        let ids = conditions.into_iter().map(|c| self.cluster.net.impose(c)).collect();
        self.plan(ms, Step::Lift(ids));
    }

    fn flap(&mut self, host: HostId, off_ms: u64, on_ms: u64, left: u64) {
        if left == 0 {
            return;
        }
        self.part(&[host].into(), off_ms);
        self.plan(off_ms + on_ms, Step::Flap { host, off_ms, on_ms, left: left - 1 });
    }

    fn kill_node(&mut self, node: usize, ms: u64) {
        if self.cluster.node_health[node] != Health::Dead {
            self.cluster.kill_node(node);
            self.plan(ms, Step::StartNode(node));
        }
    }

    fn kill_sentinel(&mut self, index: usize, ms: u64) {
        if self.cluster.sentinel_health[index] == Health::Dead {
            return;
        }
        self.cluster.kill_sentinel(index);
        let file = self.archive.look_after_death(index);
        let sentinel = &self.cluster.sentinels[index];
        if sentinel.program == Program::UnderTest
            && let Err(problem) = checks::judge_death(index, &sentinel.log_text(), &file)
        {
            self.problems.push(problem);
        }
        self.plan(ms, Step::StartSentinel(index));
    }

    fn look_into_traps(&mut self) {
        for mut trap in std::mem::take(&mut self.traps) {
            let sentinels = self.cluster.sentinels.iter().map(|sentinel| &sentinel.log);
            let caught = sentinels.zip(&mut trap.read).position(|(log, read)| {
                let news = read_from(log, *read);
                *read += news.len() as u64;
                String::from_utf8_lossy(&news).contains(trap.event)
            });
            match caught {
                Some(index) => {
                    self.write_down(format!("sentinel {index} is killed at {}", trap.event));
                    self.kill_sentinel(index, trap.ms);
                }
                None => self.traps.push(trap),
            }
        }
    }
}

/// The time of day, as in the logs but in UTC.
fn clock() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = now.map_or(0, |now| now.as_millis() % 86_400_000);
    let (second, ms) = (ms / 1000, ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", second / 3600, second / 60 % 60, second % 60)
}

fn length(log: &std::path::Path) -> u64 {
    std::fs::metadata(log).map_or(0, |data| data.len())
}

fn read_from(log: &std::path::Path, at: u64) -> Vec<u8> {
    let mut news = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(at))?;
        file.read_to_end(&mut news)
    });
    read.map_or_else(|_| Vec::new(), |_| news)
}
