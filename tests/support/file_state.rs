//! What a configuration file says, compared with what the node that wrote it would save now.
//!
//! The file is read by the product's own loader, so nothing that a restart would need can be
//! missing from it without being noticed.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "the simulator and the transcripts use different parts")]

use std::fmt::Debug;

use sentineld::config::load::{Loaded, load};
use sentineld::config::settings::Settings;
use sentineld::node::Node;
use sentineld::sentinel::setup::{HostPort, MasterConfig, MasterOptions, SentinelConfig};
use sentineld::server::acl::users::Users;

use crate::no_files::NoFiles;

/// Larger numbers are written as this one: other programs would read them as negative.
const WRITTEN_MAX: u64 = i32::MAX as u64;

/// Everything that a file or a node says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileState {
    settings: Settings,
    sentinel: SentinelConfig,
}

impl FileState {
    /// What a restart would read; the error says which line the loader refuses.
    pub fn of_file(text: &[u8]) -> Result<FileState, String> {
        let loaded = load(text, None, &[], &mut NoFiles).map_err(|error| format!("{error:?}"))?;
        Ok(FileState::of_loaded(&loaded))
    }

    /// What was read at the start.
    pub fn of_loaded(loaded: &Loaded) -> FileState {
        FileState { settings: loaded.settings.clone(), sentinel: loaded.sentinel.clone() }
    }

    /// What a save of this moment would say.
    pub fn of_node(node: &Node) -> FileState {
        FileState { settings: node.settings().clone(), sentinel: node.export() }
    }

    /// Whether it is just what [`FileState::of_node`] would give, which costs more.
    pub fn is_of(&self, node: &Node) -> bool {
        self.settings == *node.settings() && self.sentinel == node.export()
    }

    /// The same in one order, as lists have none in a file, and with one spelling for everything.
    fn normal(&self) -> FileState {
        let FileState { mut settings, mut sentinel } = self.clone();
        // A start makes users of the lines, and of the password.
        settings.users = Users::new(&settings).lines();
        for user in &mut settings.users {
            // Has no effect, and only some spellings of the same user hold it.
            user.retain(|word| word != b"sanitize-payload");
        }
        sentinel.masters.sort_by(|one, other| one.name.cmp(&other.name));
        sentinel.masters.iter_mut().for_each(put_in_order);
        FileState { settings, sentinel }
    }

    /// What differs between a file (`self`) and a node, a line for each field; none: it agrees.
    ///
    /// A host that the file gives by name may have been resolved meanwhile: the next start finds it
    /// by that name.
    pub fn differences(&self, node: &FileState) -> Vec<String> {
        if self == node {
            return Vec::new();
        }
        let (file, node) = (self.normal(), node.normal());
        let mut all = Vec::new();
        compare_debug(&mut all, "settings", &file.settings, &node.settings);
        compare_debug(&mut all, "global", &file.sentinel.global, &node.sentinel.global);
        let (ours, theirs) = (&file.sentinel.masters, &node.sentinel.masters);
        let names = |masters: &[MasterConfig]| -> Vec<String> {
            masters.iter().map(|master| shown(&master.name)).collect()
        };
        if names(ours) != names(theirs) {
            all.push(format!("masters: file {:?}, state {:?}", names(ours), names(theirs)));
            return all;
        }
        for (file, state) in ours.iter().zip(theirs) {
            compare_master(&mut all, file, state);
        }
        all
    }
}

fn put_in_order(master: &mut MasterConfig) {
    master.replicas.sort();
    master.peers.retain(|peer| !peer.runid.is_empty());
    master.peers.sort_by(|one, other| one.runid.cmp(&other.runid));
    let MasterOptions {
        down_after_ms,
        failover_timeout_ms,
        master_reboot_down_after_ms,
        refused_down_after_ms,
        quorum,
        parallel_syncs,
        ..
    } = &mut master.options;
    for ms in
        [down_after_ms, failover_timeout_ms, master_reboot_down_after_ms, refused_down_after_ms]
    {
        *ms = (*ms).min(WRITTEN_MAX);
    }
    *quorum = (*quorum).clamp(1, WRITTEN_MAX as u32);
    *parallel_syncs = (*parallel_syncs).min(WRITTEN_MAX as u32);
}

fn compare_master(all: &mut Vec<String>, file: &MasterConfig, state: &MasterConfig) {
    let name = shown(&file.name);
    let mut compare = |what: &str, agrees: bool, one: &dyn Debug, other: &dyn Debug| {
        if !agrees {
            all.push(format!("{name} {what}: file {one:?}, state {other:?}"));
        }
    };
    let agrees = same_place(&file.at, &state.at);
    compare("address", agrees, &place(&file.at), &place(&state.at));
    let (one, other) = (file.config_epoch, state.config_epoch);
    compare("config-epoch", one == other, &one, &other);
    let (one, other) = (file.leader_epoch, state.leader_epoch);
    compare("leader-epoch", one == other, &one, &other);
    let agrees = same_places(&file.replicas, &state.replicas);
    let places = |list: &[HostPort]| -> Vec<String> { list.iter().map(place).collect() };
    compare("replicas", agrees, &places(&file.replicas), &places(&state.replicas));
    let peers = |master: &MasterConfig| -> Vec<String> {
        let peers = master.peers.iter();
        peers.map(|peer| format!("{} {}", shown(&peer.runid), place(&peer.at))).collect()
    };
    let agrees = file.peers.len() == state.peers.len()
        && file
            .peers
            .iter()
            .zip(&state.peers)
            .all(|(one, other)| one.runid == other.runid && same_place(&one.at, &other.at));
    compare("sentinels", agrees, &peers(file), &peers(state));
    compare_debug(all, &format!("{name} options"), &file.options, &state.options);
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn place(at: &HostPort) -> String {
    format!("{}:{}", shown(&at.host), at.port)
}

fn is_name(host: &[u8]) -> bool {
    std::str::from_utf8(host).map_or(true, |text| text.parse::<std::net::IpAddr>().is_err())
}

fn same_place(file: &HostPort, state: &HostPort) -> bool {
    file == state || (is_name(&file.host) && !is_name(&state.host) && file.port == state.port)
}

/// Names of the file stand for whatever is left over.
fn same_places(file: &[HostPort], state: &[HostPort]) -> bool {
    let literal = |at: &&HostPort| !is_name(&at.host);
    file.len() == state.len()
        && file.iter().filter(literal).all(|at| state.contains(at))
        && state.iter().filter(|at| is_name(&at.host)).all(|at| file.contains(at))
}

/// Names the fields of two records that differ, by their `{:#?}`.
fn compare_debug<T: Debug + PartialEq>(all: &mut Vec<String>, what: &str, file: &T, state: &T) {
    if file == state {
        return;
    }
    let (file, state) = (format!("{file:#?}"), format!("{state:#?}"));
    let only = |one: &str, other: &str| -> String {
        let other: Vec<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.map(str::trim).collect::<Vec<_>>().join(" ")
    };
    all.push(format!("{what}: file {}, state {}", only(&file, &state), only(&state, &file)));
}
