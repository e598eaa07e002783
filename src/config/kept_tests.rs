//! No setting is lost with the file, or with a line of it.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::directives;
use super::load::{Loaded, load};
use super::rewrite::{StateLines, render_global, render_master, render_server, rewrite};
use super::settings::Settings;
use super::test_files::MemoryFiles;

/// For each directive a line with another value than the default.
const SAMPLES: &[&str] = &[
    "port 26380",
    "bind 127.0.0.1 -::1",
    "bind-source-addr 10.0.0.1",
    "tcp-backlog 7",
    "tcp-keepalive 0",
    "unixsocket \"/run/a b.sock\"",
    "unixsocketperm 0700",
    "unixsocketgroup redis",
    "timeout 77",
    "maxclients 500",
    "maxmemory 5mb",
    "maxmemory-clients 32mb",
    "protected-mode yes",
    "requirepass \"a \\\"b\\\"\\n\\x00\\xff\"",
    "user bob on >x ~* &* +@all",
    "aclfile users.acl",
    "acllog-max-len 0",
    "acl-pubsub-default allchannels",
    "client-output-buffer-limit normal 1mb 2kb 3 replica 1 2 3",
    "rename-command info \"\"",
    "daemonize yes",
    "pidfile /run/s.pid",
    "supervised auto",
    "logfile x.log",
    "loglevel nothing",
    "log-format json",
    "log-timestamp-format iso8601",
    "syslog-enabled yes",
    "syslog-ident me",
    "syslog-facility local7",
    "hz 20",
    "set-proc-title no",
    "proc-title-template \"{title} x\"",
    "tls-port 0",
    "tls-replication no",
    "tls-cluster yes",
    "tls-cert-file /x.crt",
    "tls-key-file /x.key",
    "tls-key-file-pass \"a b\\n\"",
    "tls-client-cert-file /y.crt",
    "tls-client-key-file /y.key",
    "tls-client-key-file-pass x",
    "tls-dh-params-file /dh",
    "tls-ca-cert-file /ca",
    "tls-ca-cert-dir /cas",
    "tls-auth-clients optional",
    "tls-protocols TLSv1.3",
    "tls-ciphers A:B",
    "tls-ciphersuites C",
    "tls-prefer-server-ciphers yes",
    "tls-session-caching no",
    "tls-session-cache-size 5",
    "tls-session-cache-timeout 6",
    "enable-debug-command local",
    "enable-protected-configs yes",
    "dir /dir",
    // Without meaning here, but the file may be read by others one day.
    "masteruser me",
    "masterauth secret",
    "appendonly yes",
    "save 60 100",
];

fn state_of(loaded: &Loaded) -> StateLines {
    StateLines {
        server: render_server(&loaded.settings),
        global: render_global(&loaded.sentinel.global),
        masters: loaded.sentinel.masters.iter().map(|m| Arc::new(render_master(m))).collect(),
        included: loaded.included.clone(),
        kept: loaded.kept.clone(),
    }
}

/// What is read from a main file, a file `/inc` beside it and options.
fn read(text: &str, inc: &str, options: &[&str]) -> Loaded {
    let mut files = MemoryFiles::default().with("/inc", inc);
    let options: Vec<Vec<u8>> = options.iter().map(|line| line.as_bytes().to_vec()).collect();
    load(text.as_bytes(), None, &options, &mut files)
        .unwrap_or_else(|error| panic!("{error:?} in\n{text}"))
}

/// The file after a save that finds it as `now`.
fn saved(loaded: &Loaded, now: &str) -> String {
    let state = state_of(loaded);
    let text = rewrite(now.as_bytes(), &state);
    let again = rewrite(&text, &state);
    assert_eq!(text.escape_ascii().to_string(), again.escape_ascii().to_string(), "twice");
    String::from_utf8(text).unwrap()
}

/// Without the signature and the lines that every save writes.
fn server_lines(text: &str) -> Vec<&str> {
    let own = |line: &&str| !line.starts_with("sentinel current-epoch") && !line.starts_with("# G");
    text.lines().filter(own).collect()
}

/// Settings, state, working directory, and which lines were without meaning.
fn meaning(loaded: &Loaded) -> (Settings, String, Vec<Vec<u8>>) {
    let lost = saved(loaded, "");
    let dir = lost.lines().find(|line| line.starts_with("dir ")).unwrap_or_default().to_string();
    (loaded.settings.clone(), dir, loaded.ignored.clone())
}

#[test]
fn every_directive_has_a_sample_that_is_no_default() {
    let samples = |name: &str| SAMPLES.iter().filter(|l| l.split(' ').next() == Some(name)).count();
    for name in directives::names() {
        assert_eq!(samples(name), 1, "samples of {name}");
    }
    for line in SAMPLES {
        let (settings, dir, ignored) = meaning(&read(line, "", &[]));
        let says_something =
            settings != Settings::default() || !dir.is_empty() || !ignored.is_empty();
        assert!(says_something, "{line}");
    }
}

/// A line of the file, of an included file, of the command line.
#[test]
fn no_setting_is_lost_with_the_file() {
    for line in SAMPLES {
        let wanted = meaning(&read(line, "", &[]));
        let lost = saved(&read(line, "", &[]), "");
        let lines = if line.starts_with("client-output") { 2 } else { 1 };
        assert_eq!(server_lines(&lost).len(), lines, "{lost}");
        assert_eq!(meaning(&read(&lost, "", &[])), wanted, "{line}: {lost}");
        assert_eq!(meaning(&read(&saved(&read("include /inc", line, &[]), ""), "", &[])), wanted);
        if wanted.2.is_empty() {
            assert_eq!(meaning(&read(&saved(&read("", "", &[line]), ""), "", &[])), wanted);
        }
        // What stands there says it already, in its own spelling.
        let users = line.starts_with("user ");
        for (text, inc) in [(format!("# mine\n{line}\n"), ""), ("include /inc\n".into(), *line)] {
            let same = saved(&read(&text, inc, &[]), &text);
            assert!(users || same.starts_with(&text), "{same}");
            assert_eq!(server_lines(&same), server_lines(&text), "{line}");
        }
    }
}

#[test]
fn all_of_them_together() {
    let text = SAMPLES.join("\n");
    let all = read(&text, "", &[]);
    for now in ["", "# nothing left\n", "port 1\n", "garbage \"\n"] {
        let lost = saved(&all, now);
        assert!(lost.starts_with(now), "{lost}");
        let again =
            read(&lost.replace("garbage \"", "").replace("port 1\n", "port 26380\n"), "", &[]);
        assert_eq!(again.settings, Settings { users: Vec::new(), ..all.settings.clone() });
        // The users of an aclfile stand there.
        let mut without = all.clone();
        without.settings.aclfile = None;
        let lost = saved(&without, now);
        assert_eq!(lost.matches("\nuser bob on >x ~* &* +@all\n").count(), 1, "{lost}");
    }
}

#[test]
fn defaults_get_no_line() {
    let text = "port 26379\nbind * -::*\ntimeout 0\nmaxclients 10000\nlogfile \"\"\n\
         loglevel notice\npidfile \"\"\n\
         client-output-buffer-limit normal 0 0 0 pubsub 32mb 8mb 60\n\
         protected-mode no\nsyslog-facility LOCAL0\nrename-command ping PING\n";
    let loaded = read(text, "", &[]);
    assert_eq!(server_lines(&saved(&loaded, text)), server_lines(text));
    assert_eq!(server_lines(&saved(&loaded, "")), [""; 0]);
    // One of several, or one that overrides another.
    let loaded = read(
        "timeout 5\ntimeout 0\nclient-output-buffer-limit pubsub 1 2 3 slave 256mb 64mb 60",
        "",
        &[],
    );
    assert_eq!(server_lines(&saved(&loaded, "")), ["client-output-buffer-limit pubsub 1 2 3"]);
}

/// As redis-sentinel 7.0.15 leaves the file when the same lines and options are given.
#[test]
fn options_are_saved() {
    for (text, options, wanted) in [
        ("", &["port \"5\"", "bind \"127.0.0.1\" \"::1\""][..], "bind 127.0.0.1 ::1\nport 5\n"),
        ("port 1\n# mine\n", &["port \"5\""], "port 5\n# mine\n"),
        ("timeout 5\n", &["timeout \"0\""], "timeout 0\n"),
        ("Timeout  5\ntimeout 6\n", &["timeout \"6\""], "Timeout  5\ntimeout 6\n"),
        ("logfile x\n", &["logfile \"\""], "logfile \"\"\n"),
        ("dir /tmp\n", &["dir \"/dir\""], "dir /dir\n"),
        ("include /inc\n", &["hz \"7\""], "include /inc\nhz 7\n"),
        ("loglevel debug\n", &["loglevel \"warning\""], "loglevel warning\n"),
        (
            "client-output-buffer-limit pubsub 1 2 3\n",
            &["client-output-buffer-limit \"pubsub\" \"4\" \"5\" \"6\""],
            "client-output-buffer-limit pubsub 4 5 6\n",
        ),
        (
            "client-output-buffer-limit pubsub 1 2 3 normal 7 8 9\n",
            &["client-output-buffer-limit \"pubsub\" \"4\" \"5\" \"6\""],
            "client-output-buffer-limit pubsub 1 2 3 normal 7 8 9\n\
             client-output-buffer-limit pubsub 4 5 6\n",
        ),
        ("", &["timeout \"0\"", "appendonly \"no\"", "save"], ""),
        ("rename-command ping a\n", &["rename-command \"a\" \"b\""], "rename-command ping a\n"),
    ] {
        let loaded = read(text, "hz 5", options);
        let new = saved(&loaded, text);
        let mut lines = server_lines(&new);
        assert_eq!(lines, server_lines(wanted), "{text}{options:?}");
        // From then on it needs no options, but for a name that the file gives.
        lines.retain(|line| !line.starts_with("rename"));
        if !text.starts_with("rename") {
            assert_eq!(read(&lines.join("\n"), "hz 5", &[]).settings, loaded.settings);
        }
    }
}

#[test]
fn lines_that_an_operator_edits_stay() {
    let loaded = read("port 5\ntimeout 6\ninclude /inc\n", "hz 7\nmaxclients 8", &[]);
    for (now, wanted) in [
        ("port 50\n# timeout\ninclude /inc\n", "port 50\n# timeout\ninclude /inc\ntimeout 6\n"),
        ("port x\ntimeout\n", "port x\ntimeout\nhz 7\nmaxclients 8\n"),
        (
            "timeout 6\nport 5\nhz 70\nINCLUDE '/inc'\n",
            "timeout 6\nport 5\nhz 70\nINCLUDE '/inc'\n",
        ),
        (
            "port 5\ntimeout 6\ninclude /other\n",
            "port 5\ntimeout 6\ninclude /other\nhz 7\nmaxclients 8\n",
        ),
    ] {
        assert_eq!(server_lines(&saved(&loaded, now)), server_lines(wanted), "{now}");
    }
}

#[test]
fn renamings_find_their_commands() {
    for text in [
        "rename-command ping a\nrename-command a b\nrename-command info c\n\
         rename-command auth \"\"",
        // One takes the name of another, and three go round.
        "rename-command ping x\nrename-command info ping",
        "rename-command ping t\nrename-command info ping\nrename-command role info\n\
         rename-command t role\nrename-command hello ping_",
    ] {
        let loaded = read(text, "", &[]);
        let sorted = |loaded: &Loaded| {
            let mut renamed = loaded.settings.renamed_commands.clone();
            renamed.sort();
            renamed
        };
        let lost = saved(&loaded, "");
        assert_eq!(sorted(&read(&lost, "", &[])), sorted(&loaded), "{lost}");
        // One line of them is left.
        let part = text.lines().next().unwrap().to_string() + "\n";
        let again = read(&saved(&loaded, &part), "", &[]);
        let ping = |loaded: &Loaded| sorted(loaded).iter().any(|(old, _)| old == b"ping");
        assert_eq!(sorted(&again).len(), sorted(&loaded).len(), "{}", saved(&loaded, &part));
        assert_eq!(ping(&again), ping(&loaded));
    }
}

/// It needs no line but where the password would hold without it.
#[test]
fn an_open_default_user_stays_open() {
    for (text, lines) in [
        ("user default on nopass ~* &* +@all\n", 0),
        ("requirepass x\nuser default on nopass ~* &* +@all\n", 2),
    ] {
        let lost = saved(&read(text, "", &[]), "");
        assert_eq!(server_lines(&lost).len(), lines, "{lost}");
    }
}

/// The state that an included file holds is lost with the line that includes it.
#[test]
fn masters_of_an_included_file_are_not_lost() {
    let inc = "sentinel monitor m 1.1.1.1 1 2\nsentinel auth-pass m one\nsentinel auth-pass m two\n\
               requirepass x\nloglevel debug\nuser bob on\nsentinel known-replica m 1.1.1.2 1\n";
    let text = "include /inc\nsentinel current-epoch 0\n";
    let loaded = read(text, inc, &[]);
    let same = saved(&loaded, text);
    assert!(same.starts_with(text) && !same.contains("\nsentinel monitor"), "{same}");
    for now in ["", "port 7\n", "# sentineld: included line \"user bob on\" is gone\n"] {
        let lost = saved(&loaded, now);
        let again = read(&lost, "", &[]);
        assert_eq!(again.sentinel, loaded.sentinel, "{lost}");
        assert_eq!(again.settings.users, loaded.settings.users, "{lost}");
        assert_eq!(again.settings.requirepass, loaded.settings.requirepass, "{lost}");
        assert_eq!(again.settings.loglevel, loaded.settings.loglevel, "{lost}");
        // It is there again: nothing stands twice.
        assert_eq!(saved(&loaded, text), same);
    }
    // Nor when it is the command line that includes it; that does not go away.
    let loaded = read("", inc, &["include /inc"]);
    assert!(!saved(&loaded, "").contains("sentinel monitor"));
}
