//! What is taken, in which order, and why the rest is refused.
#![forbid(unsafe_code)]

use super::load::{LoadError, load};
use super::settings::{BindAddr, ClientsMemory, LogFormat, LogTimestamp, OutputLimit, Supervised};
use super::test_files::{MemoryFiles, load_text};
use crate::sentinel::action::LogLevel;
use crate::sentinel::epochs::LOADED_EPOCH_MAX;
use crate::sentinel::setup::{HostPort, PeerConfig};

fn refusal(text: &str) -> LoadError {
    match load_text(text) {
        Err(error) => error,
        Ok(_) => panic!("was taken: {text:?}"),
    }
}

/// Lines and the reasons that redis-sentinel 7.0.15 gives for them (but for those that name what
/// only later versions have, and the last four).
const SERVER_REFUSALS: &[(&str, &str)] = &[
    ("port -1", "argument must be between 0 and 65535 inclusive"),
    ("port 65536", "argument must be between 0 and 65535 inclusive"),
    ("port x", "argument couldn't be parsed into an integer"),
    ("port 05", "argument couldn't be parsed into an integer"),
    ("port 5 6", "wrong number of arguments"),
    ("port", "wrong number of arguments"),
    ("port 0 #x", "wrong number of arguments"),
    ("port 5 \"", "Unbalanced quotes in configuration line"),
    ("tcp-backlog 99999999999", "argument must be between 0 and 2147483647 inclusive"),
    ("maxclients 0", "argument must be between 1 and 4294967295 inclusive"),
    ("acllog-max-len -1", "argument must be between 0 and 9223372036854775807 inclusive"),
    ("acllog-max-len 99999999999999999999", "argument couldn't be parsed into an integer"),
    ("maxmemory 5%", "argument must be a memory value"),
    ("maxmemory-clients foo", "argument must be a memory or percent value"),
    ("maxmemory-clients -5", "argument must be a memory or percent value"),
    ("maxmemory-clients 05%", "argument must be a memory or percent value"),
    ("maxmemory-clients 101%", "percentage argument must be less or equal to 100"),
    ("maxmemory-clients 1 2", "wrong number of arguments"),
    ("protected-mode maybe", "argument must be 'yes' or 'no'"),
    ("unixsocketperm 778", "argument couldn't be parsed as an octal number"),
    ("unixsocketperm 1000", "argument must be between 0 and 777 inclusive"),
    (
        "acl-pubsub-default foo",
        "argument(s) must be one of the following: allchannels, resetchannels",
    ),
    ("supervised foo", "argument(s) must be one of the following: upstart, systemd, auto, no"),
    (
        "loglevel foo",
        "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
    ),
    (
        "syslog-facility foo",
        "argument(s) must be one of the following: user, local0, local1, local2, local3, \
             local4, local5, local6, local7",
    ),
    (
        "client-output-buffer-limit foo 0 0 0",
        "Invalid client class specified in buffer limit configuration.",
    ),
    (
        "client-output-buffer-limit normal 0 0",
        "Wrong number of arguments in buffer limit configuration.",
    ),
    (
        "client-output-buffer-limit normal -1 0 0",
        "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
    ),
    ("bind a b c d e f g h i j k l m n o p q", "Too many bind addresses specified."),
    ("proc-title-template \"{foo}\"", "template format is invalid or contains unknown variables"),
    ("proc-title-template \"\"", "template format is invalid or contains unknown variables"),
    ("rename-command", "Bad directive or wrong number of arguments"),
    ("rename-command get foo", "No such command in rename-command"),
    ("rename-command ping info", "Target command name already exists"),
    ("user", "Bad directive or wrong number of arguments"),
    ("include a b", "Bad directive or wrong number of arguments"),
    ("dir /nonexistent", "No such file or directory"),
    ("dir a b", "wrong number of arguments"),
    ("tls-auth-clients x", "argument(s) must be one of the following: no, yes, optional"),
    ("tls-session-caching x", "argument must be 'yes' or 'no'"),
    ("foo bar", "Bad directive or wrong number of arguments"),
    ("x#y", "Bad directive or wrong number of arguments"),
    ("foo.bar", "Module config specified without value"),
    ("slaveof", "wrong number of arguments"),
    ("'sentinel monitor' a 127.0.0.1 1 1", "Bad directive or wrong number of arguments"),
    ("logfile \"a\\nb\"", "control characters are not allowed"),
    ("bind \"1.2.3.4\\x01\"", "control characters are not allowed"),
    ("tls-port 1", "TLS is not supported by this build"),
    ("tls-replication YES", "TLS is not supported by this build"),
];

#[test]
fn server_lines_that_are_refused() {
    for (line, reason) in SERVER_REFUSALS {
        let error = refusal(&format!("# first\r\n\n{line}\r\nport 0\n"));
        assert_eq!(error.reason, *reason, "{line}");
        assert_eq!((error.line_number, error.line.as_slice()), (3, line.as_bytes()));
    }
}

const SENTINEL: &str = "Unrecognized sentinel configuration statement.";
const MASTER: &str = "No such master with specified name.";
const TIME: &str = "negative or zero time parameter.";
const QUORUM: &str = "Quorum must be 1 or greater.";
const HOST: &str = "Can't resolve instance hostname.";
const PORT: &str = "Invalid port number.";
const BAD_ID: &str = "Malformed Sentinel id in myid option.";

const SENTINEL_REFUSALS: &[(&str, &str)] = &[
    ("foo", SENTINEL),
    ("monitor b 127.0.0.1 6379", SENTINEL),
    ("down-after-milliseconds m 1 2", SENTINEL),
    ("monitor b 127.0.0.1 1 1 # why", SENTINEL),
    ("monitor b 127.0.0.1 6379 0", QUORUM),
    ("monitor b 127.0.0.1 6379 -1", QUORUM),
    ("monitor b 127.0.0.1 6379 x", QUORUM),
    ("monitor b 127.0.0.1 6379 1x", QUORUM),
    ("monitor b 127.0.0.1 6379 2147483648", QUORUM),
    ("monitor b 127.0.0.1 65536 1", PORT),
    ("monitor b 127.0.0.1 -1 1", PORT),
    ("monitor b foo 1 1", HOST),
    ("monitor b [::1] 1 1", HOST),
    ("monitor b \"\" 1 1", HOST),
    ("monitor m 127.0.0.1 1 1", "Duplicate master name."),
    ("down-after-milliseconds b 0", MASTER),
    ("down-after-milliseconds m 0", TIME),
    ("down-after-milliseconds m -1", TIME),
    ("failover-timeout m 99999999999999999999999", TIME),
    ("down-after-milliseconds m 2147483648", TIME),
    ("parallel-syncs m x", "argument couldn't be parsed into an integer"),
    ("master-reboot-down-after-period m -1", "negative time parameter."),
    ("notification-script b /x", MASTER),
    ("notification-script m /x", "Notification script seems non existing or non executable."),
    (
        "client-reconfig-script m \"\"",
        "Client reconfiguration script seems non existing or non executable.",
    ),
    (
        "rename-command m CONFIG a\nsentinel rename-command m config b",
        "Same command renamed multiple times with rename-command.",
    ),
    ("config-epoch m x", "argument couldn't be parsed into an integer"),
    ("leader-epoch b 1", MASTER),
    ("current-epoch 1 2", SENTINEL),
    ("myid abc", BAD_ID),
    (
        "known-replica m 1.1.1.1 2\nsentinel known-replica m 1.1.1.1 02",
        "Duplicate hostname and port for replica.",
    ),
    (
        "known-slave m ::1 2\nsentinel known-slave m 0:0::1 2",
        "Duplicate hostname and port for replica.",
    ),
    ("known-replica m 127.0.0.1 65536", PORT),
    ("known-replica m foo 1", HOST),
    ("known-sentinel m 127.0.0.1 99999 aaaa", PORT),
    ("announce-port 65536", PORT),
    ("deny-scripts-reconfig x", "Please specify yes or no for the deny-scripts-reconfig options."),
    ("resolve-hostnames x", "Please specify yes or no for the resolve-hostnames option."),
    ("announce-hostnames x", "Please specify yes or no for the announce-hostnames option."),
    ("auth-user m \"a\\tb\"", "control characters are not allowed"),
    ("myid 01234567890123456789012345678901234567,9", BAD_ID),
];

#[test]
fn sentinel_lines_that_are_refused() {
    for (line, reason) in SENTINEL_REFUSALS {
        let text = format!("sentinel monitor m 127.0.0.1 1 1\nsentinel {line}\nport 0");
        let error = refusal(&text);
        assert_eq!(error.reason, *reason, "{line}");
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(error.line, lines[error.line_number - 1].as_bytes());
        assert_eq!(error.line_number, lines.len() - 1, "{line}");
    }
}

#[test]
fn sentinel_lines_are_judged_after_all_others() {
    assert_eq!(refusal("sentinel foo\nport x\n").line_number, 2);
    let error = refusal("sentinel down-after-milliseconds a 0\nsentinel announce-port x\n");
    assert_eq!((error.line_number, error.reason.as_str()), (2, "Invalid port number."));
}

#[test]
fn sentinel_lines_may_come_in_any_order() {
    let loaded = load_text(
        "\tsentinel known-replica m replica.local 6380\n\
         SENTINEL Known-Sentinel m ::1 26380 1111111111111111111111111111111111111111\n\
         sentinel known-sentinel m 127.0.0.1 26381\n\
         sentinel known-sentinel gone 127.0.0.1 26381\n\
         sentinel config-epoch m 7\n\
         sentinel leader-epoch m 9\n\
         sentinel current-epoch 3\n\
         sentinel\n\
         sentinel auth-pass m \"a b\\n\"\n\
         sentinel auth-user m \"\"\n\
         sentinel parallel-syncs m 0\n\
         sentinel primary-reboot-down-after-period m 5\n\
         sentinel notification-script m /x.sh\n\
         sentinel rename-command m CONFIG Guess\n\
         sentinel monitor m db.local 06379 2\n\
         sentinel monitor n 10.0.0.1 6379 1\n\
         SENTINEL RESOLVE-HOSTNAMES YES\n\
         sentinel known-slave m REPLICA.local 6380\n\
         sentinel announce-ip \"\"",
    )
    .unwrap();
    let sentinel = loaded.sentinel;
    assert_eq!(sentinel.global.current_epoch, 7);
    assert!(sentinel.global.resolve_hostnames);
    assert_eq!(sentinel.global.announce_ip, None);
    let names: Vec<_> = sentinel.masters.iter().map(|m| m.name.as_slice()).collect();
    assert_eq!(names, [b"m", b"n"]);
    let m = &sentinel.masters[0];
    assert_eq!(m.at, HostPort { host: b"db.local".to_vec(), port: 6379 });
    assert_eq!((m.config_epoch, m.leader_epoch, m.options.quorum), (7, 9, 2));
    assert_eq!(m.replicas, [HostPort { host: b"replica.local".to_vec(), port: 6380 }]);
    assert_eq!(m.peers.len(), 1);
    assert_eq!(m.options.auth_pass.as_deref(), Some(&b"a b\n"[..]));
    assert_eq!(m.options.auth_user, None);
    assert_eq!((m.options.parallel_syncs, m.options.master_reboot_down_after_ms), (0, 5));
    assert_eq!(m.options.notification_script.as_deref(), Some(&b"/x.sh"[..]));
    assert_eq!(m.options.renamed.lookup(b"config"), b"Guess");
}

#[test]
fn each_voter_is_known_once() {
    let own = "5555555555aaaaaaaaaa5555555555bbbbbbbbbb";
    let upper = own.to_uppercase();
    let [a, b] = ["a", "b"].map(|letter| letter.repeat(40));
    // Lines, which of them stay, and why the others do not.
    let table: &[(&[&str], &[usize], &[&str])] = &[
        (&["::1 1 OWN"], &[], &["m ::1 1 OWN is left out: this sentinel's own id"]),
        (&["::1 1 UPPER", "::1 2 A"], &[1], &["own id"]),
        (&["::1 1 A", "::1 2 B"], &[0, 1], &[]),
        (&["::1 1 A", "::1 2 A"], &[1], &["m ::1 1 A is left out: a later line has the same id"]),
        (&["::1 1 A", "::1 1 A"], &[1], &["same id"]),
        (
            &["::1 1 A", "0:0::1 1 B"],
            &[1],
            &["::1 1 A is left out: a later line has the same address"],
        ),
        (&["h.local 1 A", "H.LOCAL 1 B"], &[1], &["same address"]),
        (
            &["::1 1 A", "::1 1 B", "::1 2 B"],
            &[0, 2],
            &["::1 1 B is left out: a later line has the same id"],
        ),
        (&["::1 1 A", "::1 1 OWN"], &[0], &["own id"]),
        // Without a port nobody is connected.
        (&["::1 0 A", "::1 0 B"], &[0, 1], &[]),
    ];
    for (lines, stay, warned) in table {
        let named = |text: &str| {
            let text = text.replace("OWN", own).replace("UPPER", &upper);
            text.replace(" A", &format!(" {a}")).replace(" B", &format!(" {b}"))
        };
        let mut text = "sentinel resolve-hostnames yes\n".to_owned();
        for master in ["m", "n"] {
            text += &format!("sentinel monitor {master} 127.0.0.1 1 1\n");
        }
        text += &format!("sentinel known-sentinel n ::1 9 {a}\n");
        for line in *lines {
            text += &format!("sentinel known-sentinel m {}\n", named(line));
        }
        text += &format!("sentinel myid {own}\n");
        let loaded = load_text(&text).unwrap();
        let peer = |peer: &PeerConfig| {
            let [host, id] = [&peer.at.host, &peer.runid].map(|text| String::from_utf8_lossy(text));
            format!("{host} {} {id}", peer.at.port)
        };
        let peers: Vec<String> = loaded.sentinel.masters[0].peers.iter().map(peer).collect();
        let expected: Vec<String> = stay.iter().map(|index| named(lines[*index])).collect();
        assert_eq!(peers, expected, "{lines:?}");
        assert_eq!(loaded.sentinel.masters[1].peers.len(), 1, "{lines:?}");
        assert_eq!(loaded.warnings.len(), warned.len(), "{lines:?}: {:?}", loaded.warnings);
        for (text, part) in loaded.warnings.iter().zip(*warned) {
            assert!(text.contains(&named(part)), "{text} for {lines:?}");
        }
    }
}

#[test]
fn epochs_that_leave_no_room_are_lowered() {
    let most = LOADED_EPOCH_MAX;
    for (text, epoch) in [
        ("4611686018427387904", 1 << 62),
        (&*most.to_string(), most),
        (&*(most + 1).to_string(), most),
        ("9223372036854775807", most),
        ("18446744073709551615", most),
        ("99999999999999999999", most),
    ] {
        let text = format!(
            "sentinel monitor m 127.0.0.1 1 1\nsentinel current-epoch {text}\n\
             sentinel config-epoch m {text}\nsentinel leader-epoch m {text}\n"
        );
        let loaded = load_text(&text).unwrap();
        let master = &loaded.sentinel.masters[0];
        assert_eq!(loaded.sentinel.global.current_epoch, epoch, "{text}");
        assert_eq!((master.config_epoch, master.leader_epoch), (epoch, epoch), "{text}");
        let warned = if text.contains(&epoch.to_string()) { 0 } else { 3 };
        assert_eq!(loaded.warnings.len(), warned, "{:?}", loaded.warnings);
    }
    let loaded = load_text("sentinel current-epoch 18446744073709551615").unwrap();
    let expected = format!(
        "current-epoch 18446744073709551615 leaves no room for failovers: lowered to {most}"
    );
    assert_eq!(loaded.warnings, [expected]);
}

#[test]
fn directives_set_what_they_name() {
    let loaded = load_text(
        "PORT 0\nbind 127.0.0.1 -::1 *\ntcp-keepalive 0\nunixsocketperm 0700\ntimeout 7\n\
         maxclients 4294967295\nprotected-mode YES\nrequirepass \"a\\x00b\"\n\
         acl-pubsub-default allchannels\nacllog-max-len 5\nuser bob on >x ~*\n\
         client-output-buffer-limit normal 1kb 1k 1 SLAVE 1 2 3\nsupervised systemd\n\
         client-output-buffer-limit\nloglevel nothing\nlog-format json\n\
         log-timestamp-format iso8601\nsyslog-facility LOCAL3\nhz 100\npidfile \"\"\n\
         unixsocketgroup redis\ntls-port 0\ntls-replication no\ntls-cert-file /x\n\
         proc-title-template \"{title} } x\"\nenable-debug-command local\n",
    )
    .unwrap();
    let s = loaded.settings;
    let addr = |host: &str, optional| BindAddr { host: host.into(), optional };
    assert_eq!(s.bind, [addr("127.0.0.1", false), addr("::1", true), addr("*", false)]);
    assert_eq!((s.port, s.tcp_keepalive_s, s.unixsocketperm), (0, 0, Some(0o700)));
    assert_eq!((s.timeout_s, s.maxclients, s.protected_mode), (7, u32::MAX, true));
    assert_eq!(s.requirepass.as_deref(), Some(&b"a\0b"[..]));
    assert!(s.acl_pubsub_allchannels);
    assert_eq!(s.users, [["bob", "on", ">x", "~*"].map(|word| word.as_bytes().to_vec())]);
    assert_eq!(s.output_normal, OutputLimit { hard_bytes: 1024, soft_bytes: 1000, soft_s: 1 });
    assert_eq!(s.output_replica, OutputLimit { hard_bytes: 1, soft_bytes: 2, soft_s: 3 });
    assert_eq!(s.output_pubsub.soft_s, 60);
    assert_eq!((s.supervised, s.loglevel), (Supervised::Systemd, None));
    assert_eq!((s.log_format, s.log_timestamp), (LogFormat::Json, LogTimestamp::Iso8601));
    assert_eq!((s.syslog_facility.as_slice(), s.hz), (&b"local3"[..], 100));
    assert_eq!((s.pidfile, s.unixsocketgroup.as_deref()), (None, Some(&b"redis"[..])));
    assert_eq!(s.recorded.get(&b"tls-cert-file"[..]).map(Vec::as_slice), Some(&b"/x"[..]));
    assert_eq!(s.proc_title_template, b"{title} } x");
    assert!(load_text("bind \"\"").unwrap().settings.bind.is_empty());
    assert!(load_text("bind").unwrap().settings.bind.is_empty());
    for (value, wanted) in [
        ("0", ClientsMemory::Bytes(0)),
        ("1gB", ClientsMemory::Bytes(1 << 30)),
        ("100%", ClientsMemory::Percent(100)),
    ] {
        let text = format!("maxmemory 5kb\nmaxmemory-clients {value}");
        let settings = load_text(&text).unwrap().settings;
        assert_eq!((settings.clients_memory, settings.maxmemory_bytes), (wanted, 5 << 10));
    }
    assert_eq!(load_text("loglevel Debug").unwrap().settings.loglevel, Some(LogLevel::Debug));
}

#[test]
fn renamed_commands_build_on_each_other() {
    let renamed = |text: &str| load_text(text).map(|loaded| loaded.settings.renamed_commands);
    let pair = |old: &str, new: &str| (old.as_bytes().to_vec(), new.as_bytes().to_vec());
    let twice = "rename-command PING xping\nrename-command Xping yping";
    assert_eq!(renamed(twice), Ok(vec![pair("ping", "yping")]));
    assert_eq!(renamed("rename-command PING PING"), Ok(vec![]));
    assert_eq!(renamed("rename-command ping \"\""), Ok(vec![pair("ping", "")]));
    for gone in ["rename-command ping a\nrename-command ping b", "rename-command quit x"] {
        assert_eq!(renamed(gone).unwrap_err().reason, "No such command in rename-command");
    }
}

#[test]
fn lines_of_a_data_node_are_named_once() {
    let loaded = load_text("save \"\"\nAppendOnly yes\nfoo.bar 1 2\nappendonly no\n").unwrap();
    let names: Vec<_> = loaded.ignored.iter().map(|name| String::from_utf8_lossy(name)).collect();
    assert_eq!(names, ["save", "appendonly", "foo.bar"]);
}

#[test]
fn users_are_kept_as_words() {
    let twice = refusal("user bob on\nuser bob off");
    assert_eq!(
        twice.reason,
        "Error in user declaration 'bob': \
         Duplicate user found. A user can only be defined once in config files"
    );
    assert!(refusal("user \"b b\" on").reason.contains("Usernames can't contain spaces"));
}

#[test]
fn standard_input_and_options_count_on() {
    let mut files = MemoryFiles::default();
    let at = |text: &str, stdin: Option<&str>, options: &[&str]| {
        let options: Vec<Vec<u8>> = options.iter().map(|o| o.as_bytes().to_vec()).collect();
        let stdin = stdin.map(str::as_bytes);
        load(text.as_bytes(), stdin, &options, &mut MemoryFiles::default())
            .map_err(|error| error.line_number)
    };
    assert_eq!(at("port 0\ntimeout 1\n", None, &["timeout \"x\""]).unwrap_err(), 4);
    assert_eq!(at("port 0", None, &["timeout \"x\""]).unwrap_err(), 2);
    assert_eq!(at("port 0\ntimeout 1\n", Some("\n\ntimeout x\n"), &[]).unwrap_err(), 5);
    let both = at("timeout 1", Some("timeout 2"), &["timeout 3", "sentinel"]).unwrap();
    assert_eq!(both.settings.timeout_s, 3);
    assert_eq!(at("timeout 1", Some("timeout 2"), &[]).unwrap().settings.timeout_s, 2);
    assert_eq!(load(b"", None, &[], &mut files).unwrap().settings.port, 26379);
}

#[test]
fn files_are_included_in_place() {
    let mut files = MemoryFiles::default()
        .with("/a1.conf", "\n\ntimeout 3\nsentinel down-after-milliseconds m 5\ninclude /b")
        .with("/a2.conf", "timeout 4")
        .with("/b", "hz 50\n")
        .with("/loop", "include /loop")
        .with("/bad", "\nport x")
        .with("/bad2", "\n\nsentinel failover-timeout m 0");
    let mut load = |text: &str| load(text.as_bytes(), None, &[], &mut files);
    let loaded =
        load("timeout 1\ninclude \"/a[12].conf\"\ninclude /none*\nsentinel monitor m ::1 1 1");
    let loaded = loaded.unwrap();
    assert_eq!((loaded.settings.timeout_s, loaded.settings.hz), (4, 50));
    assert_eq!(loaded.sentinel.masters[0].options.down_after_ms, 5);
    assert_eq!(
        load("include /a1.conf\ntimeout 2").unwrap_err().reason,
        "No such master with specified name."
    );
    let missing = load("include /none").unwrap_err();
    assert_eq!(missing.line_number, 0);
    assert_eq!(
        missing.reason,
        "Fatal error, can't open config file '/none': No such file or directory"
    );
    assert_eq!(load("include /loop").unwrap_err().line, b"include /loop");
    assert_eq!(load("hz 1\nhz 2\ninclude /bad").unwrap_err().line_number, 2);
    let late = load("sentinel monitor m ::1 1 1\ninclude /bad2").unwrap_err();
    assert_eq!(
        (late.line_number, late.line.as_slice()),
        (3, &b"sentinel failover-timeout m 0"[..])
    );
}

#[test]
fn the_log_file_must_open_and_the_directory_exist() {
    let error = refusal("logfile /missing/x\nsentinel foo");
    assert_eq!((error.line_number, error.line.as_slice()), (0, &b""[..]));
    assert_eq!(error.reason, "Can't open the log file: No such file or directory");
    let mut files = MemoryFiles::default();
    load(b"logfile x.log\ndir /dir", None, &[], &mut files).unwrap();
    assert_eq!(files.cwd, b"/dir");
    assert!(files.appended.contains(&b"x.log"[..]));
}
