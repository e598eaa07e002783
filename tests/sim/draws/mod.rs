//! The options of a world beyond its sizes and times: what is drawn of every directive, and how
//! data nodes, sentinels and operators are made to fit. `table` says for each directive of the
//! program how it is drawn or why it is not; a test fails for one that it does not know.
#![forbid(unsafe_code)]

pub mod table;

use sentineld::util::rng::Rng;

use crate::checks::Checks;
use crate::hosts::SentinelHost;
use crate::net::{ConnKey, HostId};
use crate::redis::Farm;
use crate::wire::{self, Words};
use crate::world::{MS, Options, World};

/// What sweeps have to meet with every event of [`EVENTS_MET`].
pub const DRAWN: [&str; 19] = [
    "one-sentinel",
    "two-sentinels",
    "quorum-1",
    "quorum-of-all",
    "many-masters",
    "scripts",
    "hanging-scripts",
    "node-password",
    "node-user",
    "requirepass",
    "sentinel-pass",
    "sentinel-user",
    "renamed-commands",
    "priorities",
    "unannounced-replica",
    "refused-down-after",
    "reboot-down-after",
    "old-epochs",
    "server-lines",
];

/// The events that each drawn option has to meet, in worlds enough.
pub const EVENTS_MET: [&str; 16] = [
    "+sdown",
    "-sdown",
    "+odown",
    "-odown",
    "+try-failover",
    "+vote-for-leader",
    "+elected-leader",
    "+selected-slave",
    "+promoted-slave",
    "+slave-reconf-done",
    "+failover-end",
    "+switch-master",
    "+config-update-from",
    "-failover-abort-no-good-slave",
    "+tilt",
    "+reboot",
];

/// Cells that nothing can fill: the option, the event.
pub const NEVER_MET: [(&str, &str); 1] = [("one-sentinel", "+config-update-from")];

/// Commands that only data nodes are sent, and how renamed ones are called.
const RENAMES: [(&str, &str); 6] = [
    ("slaveof", "x-slaveof"),
    ("config", "x-config"),
    ("info", "x-info"),
    ("multi", "x-multi"),
    ("exec", "x-exec"),
    ("subscribe", "x-subscribe"),
];

/// What was drawn.
#[derive(Clone, Default, Debug)]
pub struct Drawn {
    /// Of [`DRAWN`].
    pub names: Vec<&'static str>,
    /// Of the data nodes, and whether it goes with the user's name.
    node_password: Option<&'static str>,
    node_user: bool,
    /// How an operator logs in to a sentinel.
    login: Option<(&'static str, &'static str)>,
    pub renamed: Vec<(&'static str, &'static str)>,
    priorities: Vec<u32>,
    unannounced: bool,
    refused_down_after_ms: Option<u64>,
    reboot_down_after_ms: Option<u64>,
    pub scripts_hang: bool,
    /// So long the machines of sentinels ran before.
    pub uptime_ms: u64,
}

fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

/// Draws what goes beyond sizes and times, and adds the lines for it to the options. Sizes that
/// were laid down stay.
pub fn draw(rng: &mut Rng, options: &mut Options, free: bool) {
    let mut drawn = Drawn::default();
    if free && rng.below(12) == 0 {
        options.sentinels = pick(rng, &[1, 2]);
        options.quorum = 1 + rng.below(options.sentinels as u64) as usize;
    }
    if options.scripts && rng.below(2) == 0 {
        drawn.scripts_hang = true;
    }
    let mut lines = Vec::new();
    draw_passwords(rng, &mut drawn, options.masters, &mut lines);
    draw_masters(rng, &mut drawn, options, &mut lines);
    draw_nodes(rng, &mut drawn, options);
    if rng.below(4) == 0 {
        let days = 1 + rng.below(1_000);
        drawn.uptime_ms = days * 86_400_000;
    }
    if rng.below(4) == 0 {
        drawn.names.push("server-lines");
        lines.extend(table::server_lines(rng));
    }
    options.extra += &lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    options.drawn = drawn;
    let names = names_of(options);
    options.drawn.names.extend(names);
}

/// Those that follow from sizes.
fn names_of(options: &Options) -> Vec<&'static str> {
    let all = [
        ("one-sentinel", options.sentinels == 1),
        ("two-sentinels", options.sentinels == 2),
        ("quorum-1", options.quorum == 1),
        ("quorum-of-all", options.quorum == options.sentinels),
        ("many-masters", options.masters > 1),
        ("scripts", options.scripts),
        ("hanging-scripts", options.drawn.scripts_hang),
    ];
    all.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect()
}

fn draw_passwords(rng: &mut Rng, drawn: &mut Drawn, masters: usize, lines: &mut Vec<String>) {
    if rng.below(8) == 0 {
        drawn.names.push("node-password");
        drawn.node_password = Some(pick(rng, &["secret", "a'b#c"]));
        drawn.node_user = rng.below(2) == 0;
        if drawn.node_user {
            drawn.names.push("node-user");
        }
        for master in 0..masters {
            for (option, value) in drawn.credentials() {
                lines.push(format!("sentinel {option} m{master} \"{value}\""));
            }
        }
    }
    let (login, name, more) = match rng.below(16) {
        0 => (("default", "own"), "requirepass", ["requirepass own", ""]),
        1 => {
            let more = ["requirepass own", "sentinel sentinel-pass own"];
            (("default", "own"), "sentinel-pass", more)
        }
        2 => {
            let more = ["sentinel sentinel-pass theirs", "sentinel sentinel-user peer"];
            (("operator", "op"), "sentinel-user", more)
        }
        _ => return,
    };
    drawn.names.push(name);
    drawn.login = Some(login);
    lines.extend(more.into_iter().filter(|line| !line.is_empty()).map(str::to_owned));
    if name == "sentinel-user" {
        lines.push("user default on nopass ~* &* -@all +ping".to_owned());
        lines.push("user peer on >theirs ~* &* +@all".to_owned());
        lines.push("user operator on >op ~* &* +@all".to_owned());
    }
}

fn draw_masters(rng: &mut Rng, drawn: &mut Drawn, options: &Options, lines: &mut Vec<String>) {
    let each = |line: &dyn Fn(usize) -> String| (0..options.masters).map(line).collect::<Vec<_>>();
    if rng.below(8) == 0 {
        drawn.names.push("renamed-commands");
        drawn.renamed = RENAMES.into_iter().filter(|_| rng.below(2) == 0).collect();
        for (usual, new) in &drawn.renamed {
            lines.extend(each(&|m| format!("sentinel rename-command m{m} {usual} {new}")));
        }
    }
    if rng.below(8) == 0 {
        drawn.names.push("refused-down-after");
        let ms = pick(rng, &[1, 20, 50, options.down_after_ms]);
        drawn.refused_down_after_ms = Some(ms);
        lines.extend(each(&|m| format!("sentinel refused-down-after-milliseconds m{m} {ms}")));
    }
    if rng.below(8) == 0 {
        drawn.names.push("reboot-down-after");
        let ms = pick(rng, &[1, 100, 1_000, 5_000]);
        drawn.reboot_down_after_ms = Some(ms);
        lines.extend(each(&|m| format!("sentinel master-reboot-down-after-period m{m} {ms}")));
    }
    if rng.below(8) == 0 {
        drawn.names.push("old-epochs");
        let epoch = pick(rng, &[9_u64, 1 << 31, (1 << 53) + 1, 1 << 61]);
        lines.push(format!("sentinel current-epoch {epoch}"));
        lines.extend(each(&|m| format!("sentinel config-epoch m{m} {epoch}")));
        lines.extend(each(&|m| format!("sentinel leader-epoch m{m} {}", epoch - 1)));
    }
}

fn draw_nodes(rng: &mut Rng, drawn: &mut Drawn, options: &Options) {
    if rng.below(8) == 0 {
        drawn.names.push("priorities");
        let nodes = options.masters * (options.replicas + 1);
        drawn.priorities = (0..nodes).map(|_| pick(rng, &[1, 10, 100, 100, 1_000])).collect();
    }
    if rng.below(8) == 0 {
        drawn.names.push("unannounced-replica");
        drawn.unannounced = true;
    }
}

impl Drawn {
    /// Whether all data nodes have had a password from the beginning.
    pub fn needs_password(&self) -> bool {
        self.node_password.is_some()
    }

    /// What sentinels need for data nodes: options and their values.
    fn credentials(&self) -> Vec<(&'static str, &'static str)> {
        let user = self.node_user.then_some(("auth-user", "default"));
        let password = self.node_password.map(|password| ("auth-pass", password));
        user.into_iter().chain(password).collect()
    }

    /// The words of SENTINEL SET that make a master what the file said of it.
    pub fn set_words(&self) -> String {
        let mut text = String::new();
        for (option, value) in self.credentials() {
            text += &format!(" {option} {value}");
        }
        for (usual, new) in &self.renamed {
            text += &format!(" rename-command {usual} {new}");
        }
        for (option, ms) in [
            ("refused-down-after-milliseconds", self.refused_down_after_ms),
            ("master-reboot-down-after-period", self.reboot_down_after_ms),
        ] {
            text += &ms.map_or_else(String::new, |ms| format!(" {option} {ms}"));
        }
        text
    }

    /// Whether a master that is well may be replaced for having been started anew.
    pub fn replaces_who_reboots(&self) -> bool {
        self.reboot_down_after_ms.is_some()
    }

    /// The usual name of a command that data nodes know under another one.
    pub fn usual_name<'a>(&self, word: &'a [u8]) -> &'a [u8] {
        usual_name(&self.renamed, word)
    }
}

/// The same for a list of usual and new names; the usual name of a renamed command is none.
pub fn usual_name<'a>(renamed: &[(&'static str, &'static str)], word: &'a [u8]) -> &'a [u8] {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match renamed.iter().find(|(usual, new)| is(usual) || is(new)) {
        Some((usual, new)) if is(new) => usual.as_bytes(),
        Some(_) => b"unknown",
        None => word,
    }
}

/// Data nodes, sentinels and checkers become what was drawn; before anybody starts.
pub fn prepare(
    options: &Options,
    farm: &mut Farm,
    sentinels: &mut [SentinelHost],
    checks: &mut Checks,
) {
    let drawn = &options.drawn;
    for (at, server) in farm.servers.iter_mut().enumerate() {
        let password = drawn.node_password.map(str::as_bytes);
        server.set_password(password);
        server.set_master_password(password);
        server.renamed.clone_from(&drawn.renamed);
        if let Some(priority) = drawn.priorities.get(at) {
            server.priority = *priority;
        }
        let last_of_group = (at + 1) % (options.replicas + 1) == 0;
        server.announced = !(drawn.unannounced && last_of_group && options.replicas > 0);
    }
    for host in sentinels {
        host.boot_ms += drawn.uptime_ms;
    }
    for ms in [drawn.refused_down_after_ms, drawn.reboot_down_after_ms].into_iter().flatten() {
        checks.down_after_us = checks.down_after_us.min(ms * MS);
    }
}

impl World {
    /// The request with which an operator begins a connection to a sentinel, if it must log in.
    pub fn login(&mut self, key: ConnKey) -> Vec<u8> {
        let Some((user, password)) = self.options.drawn.login else { return Vec::new() };
        let asked: Words = [&b"AUTH"[..], user.as_bytes(), password.as_bytes()]
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect();
        let parts: Vec<&[u8]> = asked.iter().map(Vec::as_slice).collect();
        let bytes = wire::request(&parts);
        self.net.conns.get_mut(&key).expect("just made").asked.push_back(asked);
        bytes
    }

    /// Whether [`World::login`] asks for anything.
    pub fn must_log_in(&self) -> bool {
        self.options.drawn.login.is_some()
    }

    /// Clients of a data node are paused, as by CLIENT PAUSE: nothing that they ask is answered,
    /// and replication goes on.
    pub fn pause_clients(&mut self, host: HostId) {
        self.trace(|| format!("clients of node {host} are paused"));
        self.farm.at_mut(host).clients_paused = true;
    }

    /// CLIENT UNPAUSE: what they asked meanwhile is answered.
    pub fn unpause_clients(&mut self, host: HostId) {
        self.trace(|| format!("clients of node {host} go on"));
        self.farm.at_mut(host).clients_paused = false;
        let clients: Vec<ConnKey> = self.farm.at_mut(host).clients.keys().copied().collect();
        for key in clients {
            let effects = self.farm.work(self.now, &mut self.rng, host, key);
            self.apply(host, effects);
        }
    }
}
