//! Rendering: Sentinel state and settings to config lines (spec/config.md, Rewriting).
#![forbid(unsafe_code)]

use super::packed::{MasterLines, Packer};
use super::rewrite::{StateLine, When};
use super::settings::Settings;
use super::values::MAX_INT;
use crate::sentinel::action::LogLevel;
use crate::sentinel::setup::{
    DEFAULT_DOWN_AFTER_MS, DEFAULT_FAILOVER_TIMEOUT_MS, DEFAULT_PARALLEL_SYNCS, GlobalConfig,
    MasterConfig, MasterOptions,
};

/// What is said of the default user when nothing is said.
const OPEN_DEFAULT_USER: [&[u8]; 7] =
    [b"user", b"default", b"on", b"nopass", b"~*", b"&*", b"+@all"];

/// Lines of one owner, as they are gathered.
trait Lines {
    fn add(&mut self, when: When, words: &[&[u8]]);

    /// A number that every implementation reads: larger ones turn negative elsewhere.
    fn add_number(&mut self, when: When, words: &[&[u8]], n: u64) {
        let digits = n.min(MAX_INT).to_string();
        self.add(when, &[words, &[digits.as_bytes()]].concat());
    }

    fn add_epoch(&mut self, words: &[&[u8]], epoch: u64) {
        self.add(When::Always, &[words, &[epoch.to_string().as_bytes()]].concat());
    }

    fn add_flag(&mut self, name: &str, value: bool, default: bool) {
        let word: &[u8] = if value { b"yes" } else { b"no" };
        self.add(unless(value == default), &[b"sentinel", name.as_bytes(), word]);
    }

    /// A text that is unset when empty.
    fn add_text(&mut self, words: &[&[u8]], text: Option<&Vec<u8>>) {
        let when = if text.is_some() { When::Always } else { When::OnlyIfEqual };
        self.add(when, &[words, &[text.map_or(&b""[..], Vec::as_slice)]].concat());
    }
}

impl Lines for Vec<StateLine> {
    fn add(&mut self, when: When, words: &[&[u8]]) {
        let words = words.iter().map(|word| word.to_vec()).collect();
        self.push(StateLine { words, when });
    }
}

impl Lines for Packer {
    fn add(&mut self, when: When, words: &[&[u8]]) {
        Packer::add(self, when, words);
    }
}

/// A default is written only where a line for it stands.
fn unless(default: bool) -> When {
    if default { When::IfThere } else { When::Always }
}

/// The lines of one master; settings equal to the built-in defaults are left to
/// [`rewrite`](super::rewrite::rewrite), which writes them only where they stand already.
pub fn render_master(master: &MasterConfig) -> MasterLines {
    let mut out = Packer::default();
    let name = master.name.as_slice();
    let port = master.at.port.to_string();
    let words: [&[u8]; 5] = [b"sentinel", b"monitor", name, &master.at.host, port.as_bytes()];
    out.add_number(When::Always, &words, u64::from(master.options.quorum.max(1)));
    render_options(&mut out, name, &master.options);
    out.add_epoch(&[b"sentinel", b"config-epoch", name], master.config_epoch);
    out.add_epoch(&[b"sentinel", b"leader-epoch", name], master.leader_epoch);
    for at in &master.replicas {
        let port = at.port.to_string();
        out.add(When::Always, &[b"sentinel", b"known-replica", name, &at.host, port.as_bytes()]);
    }
    for peer in master.peers.iter().filter(|peer| !peer.runid.is_empty()) {
        let port = peer.at.port.to_string();
        let words: [&[u8]; 6] =
            [b"sentinel", b"known-sentinel", name, &peer.at.host, port.as_bytes(), &peer.runid];
        out.add(When::Always, &words);
    }
    for renamed in master.options.renamed.0.values() {
        let words: [&[u8]; 5] =
            [b"sentinel", b"rename-command", name, &renamed.command, &renamed.new_name];
        out.add(When::Always, &words);
    }
    out.finish()
}

fn render_options(out: &mut Packer, name: &[u8], options: &MasterOptions) {
    let mut number = |option: &str, n: u64, default: u64| {
        let words: [&[u8]; 3] = [b"sentinel", option.as_bytes(), name];
        out.add_number(unless(n == default), &words, n);
    };
    number("down-after-milliseconds", options.down_after_ms, DEFAULT_DOWN_AFTER_MS);
    number("failover-timeout", options.failover_timeout_ms, DEFAULT_FAILOVER_TIMEOUT_MS);
    let default_syncs = u64::from(DEFAULT_PARALLEL_SYNCS);
    number("parallel-syncs", u64::from(options.parallel_syncs), default_syncs);
    number("master-reboot-down-after-period", options.master_reboot_down_after_ms, 0);
    number("refused-down-after-milliseconds", options.refused_down_after_ms, 0);
    // An empty script path is an error at the next start: one that is unset has no line.
    for (option, path) in [
        ("notification-script", &options.notification_script),
        ("client-reconfig-script", &options.client_reconfig_script),
    ] {
        if let Some(path) = path {
            out.add(When::Always, &[b"sentinel", option.as_bytes(), name, path]);
        }
    }
    out.add_text(&[b"sentinel", b"auth-pass", name], options.auth_pass.as_ref());
    out.add_text(&[b"sentinel", b"auth-user", name], options.auth_user.as_ref());
}

/// The lines that are tied to no master.
pub fn render_global(global: &GlobalConfig) -> Vec<StateLine> {
    let mut out = Vec::new();
    if let Some(id) = &global.myid {
        out.add(When::Always, &[b"sentinel", b"myid", id]);
    }
    out.add_flag("deny-scripts-reconfig", global.deny_scripts_reconfig, true);
    out.add_flag("resolve-hostnames", global.resolve_hostnames, false);
    out.add_flag("announce-hostnames", global.announce_hostnames, false);
    out.add_epoch(&[b"sentinel", b"current-epoch"], global.current_epoch);
    out.add_text(&[b"sentinel", b"announce-ip"], global.announce_ip.as_ref());
    let port = global.announce_port;
    out.add_number(unless(port == 0), &[b"sentinel", b"announce-port"], u64::from(port));
    out.add_text(&[b"sentinel", b"sentinel-user"], global.sentinel_user.as_ref());
    out.add_text(&[b"sentinel", b"sentinel-pass"], global.sentinel_pass.as_ref());
    out
}

/// The server settings that saving keeps up to date: what commands can change.
pub fn render_server(settings: &Settings) -> Vec<StateLine> {
    let mut out = Vec::new();
    let level: &[u8] = match settings.loglevel {
        Some(LogLevel::Debug) => b"debug",
        Some(LogLevel::Verbose) => b"verbose",
        Some(LogLevel::Notice) => b"notice",
        Some(LogLevel::Warning) => b"warning",
        None => b"nothing",
    };
    out.add(unless(settings.loglevel == Some(LogLevel::Notice)), &[b"loglevel", level]);
    out.add_text(&[b"requirepass"], settings.requirepass.as_ref());
    // Users of an aclfile stand there; in both places they would be refused at the next start.
    let users = if settings.aclfile.is_none() { settings.users.as_slice() } else { &[] };
    for user in users {
        let words: Vec<&[u8]> =
            std::iter::once(&b"user"[..]).chain(user.iter().map(Vec::as_slice)).collect();
        let is_default = words == OPEN_DEFAULT_USER && settings.requirepass.is_none();
        out.add(unless(is_default), &words);
    }
    out
}
