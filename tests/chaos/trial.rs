//! One cluster from its start to the judgement over it.

use crate::archive::Archive;
use crate::checks::{self, Findings, Journal};
use crate::cluster::{Cluster, Layout};
use crate::faults::Plan;
use crate::net::Net;
use crate::storm::Storm;
use crate::support::sentinel::Program;
use crate::support::world::World;
use crate::switch::Counts;
use crate::writer::{Losses, Writer};
use sentineld::util::rng::mix;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What a trial amounts to.
#[derive(Debug, Default)]
pub struct Tally {
    pub faults: BTreeMap<&'static str, usize>,
    /// How long the group took to come to rest, for each healing.
    pub rests: Vec<Duration>,
    pub findings: Findings,
    pub files: usize,
    pub files_by_redis: usize,
    pub writes: Losses,
    pub frames: Counts,
}

/// A cluster under faults, with its witnesses.
pub struct Trial {
    pub cluster: Cluster,
    pub writers: Vec<Writer>,
    archive: Archive,
    tally: Tally,
    problems: Vec<String>,
    diary: Vec<String>,
}

impl Trial {
    /// Starts a cluster, a writer at each client, and the copying of config files.
    pub fn start(world: &Rc<World>, net: Net, layout: Layout, seed: u64) -> Trial {
        let cluster = Cluster::start(world, net, layout);
        let writers = (0..crate::cluster::CLIENTS).map(|c| Writer::start(&cluster, c)).collect();
        let archive = Archive::start(&cluster, mix(seed));
        let (tally, problems) = Default::default();
        Trial { cluster, writers, archive, tally, problems, diary: Vec::new() }
    }

    /// Lets faults come over the cluster; what holds at the end goes on holding.
    pub fn storm(&mut self, plan: &Plan) {
        let mut storm = Storm::new(&mut self.cluster, &mut self.archive);
        storm.run(plan);
        for (kind, count) in &storm.counts {
            *self.tally.faults.entry(kind).or_default() += count;
        }
        self.problems.append(&mut storm.problems);
        self.diary.append(&mut storm.diary);
    }

    /// Ends all faults and wants the group to come to rest in time, and both writers to write.
    /// Gives the master.
    pub fn settle(&mut self) -> Result<usize, String> {
        let healed = Instant::now();
        self.cluster.heal();
        let (master, took) = self.cluster.come_to_rest(healed)?;
        self.tally.rests.push(took);
        let port = self.cluster.nodes[master].port;
        for writer in &self.writers {
            writer.wait_written(port, Instant::now() + Duration::from_secs(5))?;
        }
        Ok(master)
    }

    /// Ends the trial and judges logs, files and writes. `master` is the one it came to rest with.
    /// `Err`: everything that was wrong.
    pub fn finish(mut self, master: usize) -> Result<Tally, String> {
        for writer in &self.writers {
            let losses = writer.losses(&self.cluster, master)?;
            self.tally.writes.acknowledged += losses.acknowledged;
            self.tally.writes.lost += losses.lost;
        }
        self.tally.frames = self.cluster.net.counts();
        drop(self.writers);
        let (copies, by_redis, mut broken) = self.archive.close();
        self.problems.append(&mut broken);
        self.tally.files = copies.len();
        self.tally.files_by_redis = by_redis;
        let majority = self.cluster.layout.majority();
        let mut findings = judge_logs(&self.cluster, majority);
        let mut of_files = checks::judge_files(&copies);
        findings.problems.append(&mut of_files.problems);
        findings.oddities.append(&mut of_files.oddities);
        self.problems.append(&mut findings.problems);
        self.tally.findings = findings;
        match self.problems.is_empty() {
            true => Ok(self.tally),
            false => Err(self.problems.join("\n")),
        }
    }

    /// How long the group took to come to rest after the last healing.
    pub fn last_rest(&self) -> Option<Duration> {
        self.tally.rests.last().copied()
    }

    /// How often each sentinel logged this event so far.
    pub fn count(&self, event: &str) -> Vec<usize> {
        let word = format!(" {event} ");
        let logs = self.cluster.sentinels.iter().map(|sentinel| sentinel.log_text());
        logs.map(|log| log.matches(&word).count()).collect()
    }

    /// What was done to the group, and when.
    pub fn diary(&self) -> String {
        self.diary.join("\n")
    }

    /// Copies all logs and files, and the diary, to a directory.
    pub fn keep(&self, dir: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        for (index, sentinel) in self.cluster.sentinels.iter().enumerate() {
            std::fs::copy(&sentinel.log, dir.join(format!("sentinel-{index}.log")))?;
            std::fs::copy(&sentinel.config, dir.join(format!("sentinel-{index}.conf")))?;
        }
        for (index, node) in self.cluster.nodes.iter().enumerate() {
            std::fs::write(dir.join(format!("node-{index}.log")), node.log_text())?;
        }
        std::fs::write(dir.join("diary.txt"), self.diary())
    }
}

fn judge_logs(cluster: &Cluster, majority: usize) -> Findings {
    let logs: Vec<String> = cluster.sentinels.iter().map(|s| s.log_text()).collect();
    let journals: Vec<Journal> = cluster
        .sentinels
        .iter()
        .enumerate()
        .map(|(sentinel, process)| Journal {
            sentinel,
            ours: process.program == Program::UnderTest,
            id: &cluster.ids[sentinel],
            log: &logs[sentinel],
        })
        .collect();
    checks::judge_logs(&journals, majority)
}
