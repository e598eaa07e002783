//! Every directive and every setting of the program, and what worlds do about it.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

/// What worlds do about a directive.
#[derive(Clone, Copy, Debug)]
pub enum Draw {
    /// In some worlds one of these values stands in the files, whatever follows from it.
    Values(&'static [&'static str]),
    /// It follows from what is drawn elsewhere.
    World(&'static str),
    /// It is not drawn, and why.
    Never(&'static str),
}

use Draw::{Never, Values, World};

const YES_NO: Draw = Values(&["yes", "no"]);
const PATHS: Draw = Values(&["/a/file", "\"/a b/file\""]);

/// Directives of the server.
pub const SERVER: &[(&str, Draw)] = &[
    ("port", Never("the network knows one port of sentinels")),
    ("bind", Values(&["*", "* -::*", "10.0.0.1 -10.0.0.2", "\"\""])),
    ("bind-source-addr", Values(&["10.0.0.1", "\"\""])),
    ("tcp-backlog", Values(&["0", "511"])),
    ("tcp-keepalive", Values(&["0", "300"])),
    ("unixsocket", PATHS),
    ("unixsocketperm", Values(&["700", "0777"])),
    ("unixsocketgroup", Values(&["redis", "\"\""])),
    ("timeout", Values(&["0", "20", "3600"])),
    ("maxclients", Values(&["500", "10000"])),
    ("maxmemory", Values(&["0", "1gb"])),
    ("maxmemory-clients", Values(&["0", "64mb", "10%"])),
    ("protected-mode", Values(&["no"])),
    ("requirepass", World("requirepass, sentinel-pass")),
    ("user", World("sentinel-user")),
    ("aclfile", Never("a world has no other files")),
    ("acllog-max-len", Values(&["0", "128"])),
    ("acl-pubsub-default", Values(&["allchannels", "resetchannels"])),
    ("client-output-buffer-limit", Values(&["normal 0 0 0", "pubsub 32mb 8mb 60 slave 1 1 1"])),
    ("rename-command", Values(&["role \"\"", "command x-command"])),
    ("daemonize", YES_NO),
    ("pidfile", PATHS),
    ("supervised", Values(&["upstart", "systemd", "auto", "no"])),
    ("logfile", PATHS),
    ("loglevel", Values(&["debug", "verbose", "notice", "warning", "nothing"])),
    ("log-format", Values(&["legacy", "logfmt", "json"])),
    ("log-timestamp-format", Values(&["legacy", "iso8601", "milliseconds"])),
    ("syslog-enabled", YES_NO),
    ("syslog-ident", Values(&["sentinel", "\"a b\""])),
    ("syslog-facility", Values(&["user", "local7"])),
    ("hz", Values(&["1", "500"])),
    ("set-proc-title", YES_NO),
    ("proc-title-template", Values(&["{title}", "\"{title} {port}\""])),
    ("tls-port", Values(&["0"])),
    ("tls-replication", Values(&["no"])),
    ("tls-cluster", YES_NO),
    ("tls-cert-file", PATHS),
    ("tls-key-file", PATHS),
    ("tls-key-file-pass", Values(&["\"a b\""])),
    ("tls-client-cert-file", PATHS),
    ("tls-client-key-file", PATHS),
    ("tls-client-key-file-pass", Values(&["secret"])),
    ("tls-dh-params-file", PATHS),
    ("tls-ca-cert-file", PATHS),
    ("tls-ca-cert-dir", PATHS),
    ("tls-auth-clients", Values(&["no", "yes", "optional"])),
    ("tls-protocols", Values(&["\"TLSv1.2 TLSv1.3\""])),
    ("tls-ciphers", Values(&["DEFAULT:!MEDIUM"])),
    ("tls-ciphersuites", Values(&["TLS_CHACHA20_POLY1305_SHA256"])),
    ("tls-prefer-server-ciphers", YES_NO),
    ("tls-session-caching", YES_NO),
    ("tls-session-cache-size", Values(&["5000"])),
    ("tls-session-cache-timeout", Values(&["60"])),
    ("enable-debug-command", Values(&["no", "yes", "local"])),
    ("enable-protected-configs", Values(&["no", "yes", "local"])),
];

/// Kinds of `sentinel` lines.
pub const SENTINEL: &[(&str, Draw)] = &[
    ("known-replica", World("it is found")),
    ("known-sentinel", World("it is found")),
    ("monitor", World("quorum-1, quorum-of-all, many-masters")),
    ("config-epoch", World("old-epochs")),
    ("leader-epoch", World("old-epochs")),
    ("down-after-milliseconds", World("sizes; 1 ms and an hour in `extremes`")),
    ("failover-timeout", World("sizes; 1 ms and 3 minutes in `extremes`")),
    ("parallel-syncs", World("sizes")),
    ("master-reboot-down-after-period", World("reboot-down-after")),
    ("refused-down-after-milliseconds", World("refused-down-after")),
    ("notification-script", World("scripts")),
    ("client-reconfig-script", World("scripts")),
    ("auth-pass", World("node-password")),
    ("auth-user", World("node-user")),
    ("rename-command", World("renamed-commands")),
    ("myid", World("every sentinel has one")),
    ("current-epoch", World("old-epochs")),
    ("announce-ip", World("operators mislead")),
    ("announce-port", World("operators set it")),
    ("resolve-hostnames", YES_NO),
    ("announce-hostnames", YES_NO),
    ("deny-scripts-reconfig", YES_NO),
    ("sentinel-user", World("sentinel-user")),
    ("sentinel-pass", World("sentinel-pass, sentinel-user")),
];

/// Options of SENTINEL SET: values that operators give them, `None` for those that `operate`
/// knows.
pub const SET: &[(&str, Draw)] = &[
    ("down-after-milliseconds", World("set-down-after")),
    ("failover-timeout", World("set-failover-timeout")),
    ("parallel-syncs", World("set-parallel-syncs")),
    ("quorum", World("set-quorum")),
    ("notification-script", Values(&["/notify", "/other"])),
    ("client-reconfig-script", Values(&["/reconfigure", "/other"])),
    ("auth-pass", World("put in order, and wrong in `options`")),
    ("auth-user", World("put in order")),
    ("rename-command", Values(&["DEBUG x-debug", "DEBUG y-debug", "DEBUG DEBUG"])),
    ("master-reboot-down-after-period", World("attacks, put in order")),
    ("primary-reboot-down-after-period", Never("another spelling of the one before")),
    ("refused-down-after-milliseconds", World("attacks, put in order")),
];

/// Settings of SENTINEL CONFIG SET.
pub const CONFIG: &[(&str, Draw)] = &[
    ("resolve-hostnames", YES_NO),
    ("announce-hostnames", YES_NO),
    ("announce-ip", World("announce-as-another")),
    ("announce-port", World("config-set-announce-port")),
    ("sentinel-user", World("sentinel-user")),
    ("sentinel-pass", World("sentinel-pass")),
    ("loglevel", World("config-set-loglevel")),
];

fn values(of: &[(&'static str, Draw)]) -> Vec<(&'static str, &'static [&'static str])> {
    let values = of.iter().filter_map(|(name, draw)| match draw {
        Values(values) => Some((*name, *values)),
        World(_) | Never(_) => None,
    });
    values.collect()
}

fn any<'a>(rng: &mut Rng, values: &'a [&'static str]) -> &'a str {
    values[rng.below(values.len() as u64) as usize]
}

/// Lines of a file: about every third of those that are drawn here.
pub fn server_lines(rng: &mut Rng) -> Vec<String> {
    let mut lines = Vec::new();
    for (prefix, list) in [("", values(SERVER)), ("sentinel ", values(SENTINEL))] {
        for (name, values) in list {
            if rng.below(3) == 0 {
                lines.push(format!("{prefix}{name} {}", any(rng, values)));
            }
        }
    }
    lines
}

/// A change that an operator may ask of a sentinel at any time.
pub fn change(rng: &mut Rng, master: &str) -> String {
    let all = |list: &'static [(&str, Draw)], prefix: String| {
        values(list).into_iter().map(move |(name, values)| (prefix.clone(), name, values))
    };
    let set = all(SET, format!("SENTINEL SET {master}"));
    let changes: Vec<_> = set.chain(all(CONFIG, "SENTINEL CONFIG SET".to_owned())).collect();
    let (prefix, name, values) = &changes[rng.below(changes.len() as u64) as usize];
    format!("{prefix} {name} {}", any(rng, values))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::file_state::FileState;

    /// Whoever adds a directive says here how it is drawn, or why not.
    #[test]
    fn every_directive_is_drawn_or_has_a_reason() {
        let (server, sentinel) = sentineld::config::directive_names();
        let (set, config) = sentineld::server::setting_names();
        for (names, table, what) in [
            (server, SERVER, "directive"),
            (sentinel, SENTINEL, "sentinel line"),
            (set, SET, "option of SENTINEL SET"),
            (config, CONFIG, "setting of SENTINEL CONFIG SET"),
        ] {
            let names: BTreeSet<&str> = names.into_iter().collect();
            let known: BTreeSet<&str> = table.iter().map(|(name, _)| *name).collect();
            let missing: Vec<_> = names.difference(&known).collect();
            assert!(missing.is_empty(), "no {what} in tests/sim/draws/table.rs: {missing:?}");
            let gone: Vec<_> = known.difference(&names).collect();
            assert!(gone.is_empty(), "there is no {what} {gone:?}");
            assert_eq!(known.len(), table.len(), "each {what} stands there once");
            for (name, draw) in table {
                match draw {
                    Values(values) => assert!(!values.is_empty(), "{name}"),
                    World(reason) | Never(reason) => assert!(!reason.is_empty(), "{name}"),
                }
            }
        }
    }

    /// Each value is one that the loader takes.
    #[test]
    fn every_value_is_a_good_one() {
        for (prefix, table) in [("", SERVER), ("sentinel ", SENTINEL)] {
            for (name, values) in values(table) {
                for value in values {
                    let line = format!("{prefix}{name} {value}\n");
                    assert!(FileState::of_file(line.as_bytes()).is_ok(), "{line}");
                }
            }
        }
        let mut rng = Rng::new(1);
        for _ in 0..100 {
            let text = server_lines(&mut rng).join("\n");
            assert!(FileState::of_file(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
