//! Lines that begin with `sentinel`: what they set, and why they are refused (spec/config.md).
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::lines::{Form, Part};
use super::load::Files;
use super::values::{self, NOT_INTEGER, Reason};
use crate::sentinel::epochs::LOADED_EPOCH_MAX;
use crate::sentinel::setup::{
    GlobalConfig, HostPort, MasterConfig, MasterOptions, PeerConfig, SentinelConfig,
};
use crate::util::defect::{Defect, defect};

const UNRECOGNIZED: &str = "Unrecognized sentinel configuration statement.";
const NO_MASTER: &str = "No such master with specified name.";
const BAD_PORT: &str = "Invalid port number.";
const BAD_HOST: &str = "Can't resolve instance hostname.";
const BAD_TIME: &str = "negative or zero time parameter.";
const BAD_REBOOT: &str = "negative time parameter.";
const BAD_QUORUM: &str = "Quorum must be 1 or greater.";
const BAD_ID: &str = "Malformed Sentinel id in myid option.";

/// The group in which a line is applied: 0 what is global, 1 `monitor`, 2 the rest, which speaks
/// of masters and needs both.
pub(super) fn phase(words: &[Vec<u8>]) -> usize {
    match Form::of(words) {
        Some(form) if form.is_global() => 0,
        Some(form) if form.name == "monitor" => 1,
        _ => 2,
    }
}

/// Applies lines in the order of their phases.
#[derive(Default)]
pub(super) struct Applier {
    pub config: SentinelConfig,
    /// What was taken otherwise than it stands there.
    pub warnings: Vec<String>,
    by_name: BTreeMap<Vec<u8>, usize>,
    /// The spellings in which a replica was listed: an old program leaves `known-slave` lines
    /// beside the `known-replica` lines that it adds.
    replicas: BTreeMap<(usize, Vec<u8>, u16), BTreeSet<Vec<u8>>>,
    renamed: BTreeSet<(usize, Vec<u8>)>,
}

impl Applier {
    pub(super) fn apply(&mut self, words: &[Vec<u8>], files: &mut dyn Files) -> Result<(), Reason> {
        if words.len() == 1 || is_old_known_sentinel(words) {
            return Ok(());
        }
        let form = Form::of(words).ok_or(UNRECOGNIZED)?;
        let args = &words[2..];
        for (part, arg) in form.parts.iter().zip(args) {
            if *part != Part::Secret {
                values::plain(arg)?;
            }
        }
        if form.name == "current-epoch" {
            let epoch = self.epoch(form.name, &args[0])?;
            let current = &mut self.config.global.current_epoch;
            *current = epoch.max(*current);
            return Ok(());
        }
        if form.is_global() {
            return set_global(&mut self.config.global, form.name, &args[0]);
        }
        if form.name == "monitor" {
            return self.add_master(args);
        }
        let index = *self.by_name.get(&args[0]).ok_or(NO_MASTER)?;
        match form.name {
            "known-replica" => self.add_replica(index, &words[1], args),
            "known-sentinel" => self.add_peer(index, args),
            "rename-command" => self.add_renamed(index, args),
            "config-epoch" => {
                let epoch = self.epoch(form.name, &args[1])?;
                let current = &mut self.config.global.current_epoch;
                *current = epoch.max(*current);
                self.config.masters[index].config_epoch = epoch;
                Ok(())
            }
            "leader-epoch" => {
                self.config.masters[index].leader_epoch = self.epoch(form.name, &args[1])?;
                Ok(())
            }
            name => set_option(&mut self.config.masters[index].options, name, &args[1], files),
        }
    }

    /// An epoch that is too large would leave none for later failovers.
    fn epoch(&mut self, name: &str, text: &[u8]) -> Result<u64, Reason> {
        let epoch = values::lenient_u64_saturating(text).ok_or(NOT_INTEGER)?;
        if epoch <= LOADED_EPOCH_MAX {
            return Ok(epoch);
        }
        let (text, lowered) = (String::from_utf8_lossy(text), LOADED_EPOCH_MAX);
        self.warnings
            .push(format!("{name} {text} leaves no room for failovers: lowered to {lowered}"));
        Ok(lowered)
    }

    fn add_master(&mut self, args: &[Vec<u8>]) -> Result<(), Reason> {
        let name = &args[0];
        let quorum = values::lenient_int(&args[3]).filter(|n| *n >= 1).ok_or(BAD_QUORUM)?;
        let at = self.host_port(&args[1], &args[2])?;
        if self.by_name.contains_key(name) {
            return Err("Duplicate master name.".into());
        }
        self.by_name.insert(name.clone(), self.config.masters.len());
        self.config.masters.push(MasterConfig {
            name: name.clone(),
            at,
            options: MasterOptions::new(quorum as u32),
            config_epoch: 0,
            leader_epoch: 0,
            replicas: Vec::new(),
            peers: Vec::new(),
        });
        Ok(())
    }

    fn add_replica(
        &mut self,
        index: usize,
        spelling: &[u8],
        args: &[Vec<u8>],
    ) -> Result<(), Reason> {
        let at = self.host_port(&args[1], &args[2])?;
        let spellings = self.replicas.entry((index, same_host(&at.host), at.port)).or_default();
        let first = spellings.is_empty();
        if !spellings.insert(spelling.to_ascii_lowercase()) {
            return Err("Duplicate hostname and port for replica.".into());
        }
        if first {
            self.config.masters[index].replicas.push(at);
        }
        Ok(())
    }

    fn add_peer(&mut self, index: usize, args: &[Vec<u8>]) -> Result<(), Reason> {
        let at = self.host_port(&args[1], &args[2])?;
        self.config.masters[index].peers.push(PeerConfig { at, runid: args[3].clone() });
        Ok(())
    }

    /// All lines were applied. Each voter is to be counted once: this sentinel is not one of its
    /// own peers, an id has one address, and an address one id. The later line wins; what was
    /// wrong about it the next hello puts right.
    pub(super) fn finish(&mut self) {
        let own = self.config.global.myid.as_deref().filter(|_| !defect(Defect::KnowOneself));
        for master in &mut self.config.masters {
            let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
            let mut kept = Vec::new();
            for peer in std::mem::take(&mut master.peers).into_iter().rev() {
                let place = (same_host(&peer.at.host), peer.at.port);
                let is_own = own.is_some_and(|own| peer.runid.eq_ignore_ascii_case(own));
                let why = if is_own {
                    "this sentinel's own id"
                } else if ids.contains(&peer.runid) {
                    "a later line has the same id"
                } else if peer.at.port != 0 && places.contains(&place) {
                    "a later line has the same address"
                } else {
                    ids.insert(peer.runid.clone());
                    places.insert(place);
                    kept.push(peer);
                    continue;
                };
                self.warnings.push(left_out(&master.name, &peer, why));
            }
            kept.reverse();
            master.peers = kept;
        }
    }

    fn add_renamed(&mut self, index: usize, args: &[Vec<u8>]) -> Result<(), Reason> {
        if !self.renamed.insert((index, args[1].to_ascii_lowercase())) {
            return Err("Same command renamed multiple times with rename-command.".into());
        }
        self.config.masters[index].options.renamed.set(&args[1], &args[2]);
        Ok(())
    }

    /// Names are looked up later, so that loading never waits; without `resolve-hostnames` only
    /// literals will do.
    fn host_port(&self, host: &[u8], port: &[u8]) -> Result<HostPort, Reason> {
        let by_name = self.config.global.resolve_hostnames && !host.is_empty();
        if !by_name && values::ip_literal(host).is_none() {
            return Err(BAD_HOST.into());
        }
        Ok(HostPort { host: host.to_vec(), port: port_number(port)? })
    }
}

fn left_out(master: &[u8], peer: &PeerConfig, why: &str) -> String {
    let [master, host, id] = [master, &peer.at.host, &peer.runid].map(String::from_utf8_lossy);
    format!("known-sentinel {master} {host} {} {id} is left out: {why}", peer.at.port)
}

/// Written before sentinels had ids; it says nothing that could be used.
fn is_old_known_sentinel(words: &[Vec<u8>]) -> bool {
    words.len() == 5 && words[1].eq_ignore_ascii_case(b"known-sentinel")
}

/// One spelling for each literal, names without case.
fn same_host(host: &[u8]) -> Vec<u8> {
    values::ip_literal(host)
        .map_or_else(|| host.to_ascii_lowercase(), |ip| ip.to_string().into_bytes())
}

fn port_number(text: &[u8]) -> Result<u16, Reason> {
    values::lenient_u64(text).and_then(|n| u16::try_from(n).ok()).ok_or_else(|| BAD_PORT.into())
}

fn some_text(text: &[u8]) -> Option<Vec<u8>> {
    (!text.is_empty()).then(|| text.to_vec())
}

fn set_global(global: &mut GlobalConfig, name: &str, arg: &[u8]) -> Result<(), Reason> {
    let plural = if name == "deny-scripts-reconfig" { "s" } else { "" };
    let flag = || {
        values::yes_no(arg)
            .ok_or_else(|| format!("Please specify yes or no for the {name} option{plural}."))
    };
    match name {
        "myid" => {
            // It stands between commas in what sentinels tell each other.
            if arg.len() != 40 || arg.iter().any(|c| *c == b',' || *c == b' ') {
                return Err(BAD_ID.into());
            }
            global.myid = Some(arg.to_vec());
        }
        "announce-ip" => global.announce_ip = some_text(arg),
        "announce-port" => global.announce_port = port_number(arg)?,
        "resolve-hostnames" => global.resolve_hostnames = flag()?,
        "announce-hostnames" => global.announce_hostnames = flag()?,
        "deny-scripts-reconfig" => global.deny_scripts_reconfig = flag()?,
        "sentinel-user" => global.sentinel_user = some_text(arg),
        "sentinel-pass" => global.sentinel_pass = some_text(arg),
        _ => return Err(UNRECOGNIZED.into()),
    }
    Ok(())
}

fn set_option(
    options: &mut MasterOptions,
    name: &str,
    arg: &[u8],
    files: &mut dyn Files,
) -> Result<(), Reason> {
    let time = || values::lenient_int(arg).filter(|n| *n > 0).ok_or(BAD_TIME);
    match name {
        "down-after-milliseconds" => options.down_after_ms = time()?,
        "failover-timeout" => options.failover_timeout_ms = time()?,
        "parallel-syncs" => {
            options.parallel_syncs = values::lenient_int(arg).ok_or(NOT_INTEGER)? as u32;
        }
        "master-reboot-down-after-period" => {
            options.master_reboot_down_after_ms = values::lenient_int(arg).ok_or(BAD_REBOOT)?;
        }
        "refused-down-after-milliseconds" => {
            options.refused_down_after_ms = values::lenient_int(arg).ok_or(BAD_REBOOT)?;
        }
        "notification-script" => {
            let what = "Notification script";
            options.notification_script = Some(script(arg, what, files)?);
        }
        "client-reconfig-script" => {
            let what = "Client reconfiguration script";
            options.client_reconfig_script = Some(script(arg, what, files)?);
        }
        "auth-pass" => options.auth_pass = some_text(arg),
        "auth-user" => options.auth_user = some_text(arg),
        _ => return Err(UNRECOGNIZED.into()),
    }
    Ok(())
}

fn script(path: &[u8], what: &str, files: &mut dyn Files) -> Result<Vec<u8>, Reason> {
    if files.is_executable(path) {
        Ok(path.to_vec())
    } else {
        Err(format!("{what} seems non existing or non executable."))
    }
}
