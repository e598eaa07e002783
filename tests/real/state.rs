//! What a sentinel keeps in its file, and how it is changed at run time.

use crate::support::client::Client;
use crate::support::group::{Group, GroupOptions, MASTER, monitor_lines};
use crate::support::node::Node;
use crate::support::sentinel::{Program, Sentinel, SentinelOptions};
use crate::support::value::Value;
use crate::support::wait::{self, LONG, SHORT};
use crate::support::world::World;
use crate::world;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

/// A sentinel that watches an address where nobody listens.
fn watching_nobody(world: &Rc<World>) -> (Sentinel, u16) {
    let dead = world.port();
    let lines = [
        format!("sentinel monitor {MASTER} 127.0.0.1 {dead} 2"),
        format!("sentinel down-after-milliseconds {MASTER} 60000"),
    ];
    (Sentinel::start(world, &SentinelOptions::with_lines(lines)), dead)
}

#[test]
fn restarted_sentinel_knows_what_it_knew() {
    let world = world!();
    let mut group = Group::new(&world, 2, 3);
    let old = group.nodes[0].port;
    group.sentinels[0].ok(&["SENTINEL", "FAILOVER", MASTER]);
    let new = group.wait_switched_from(old);
    group.wait_all_follow(new);
    group.wait_settled();
    group.wait_discovered();
    let peers = |sentinel: &Sentinel| {
        let mut ids: Vec<String> =
            sentinel.peers(MASTER).iter().map(|peer| peer["runid"].clone()).collect();
        ids.sort();
        ids
    };
    let before = (group.sentinels[1].id(), peers(&group.sentinels[1]));
    // Nobody is left who could tell it anything.
    group.nodes.iter_mut().for_each(|node| node.kill());
    group.sentinels[0].kill();
    group.sentinels[2].kill();
    let sentinel = &mut group.sentinels[1];
    sentinel.restart();
    assert_eq!((sentinel.id(), peers(sentinel)), before);
    assert_eq!(sentinel.master_field(MASTER, "config-epoch"), "1");
    assert_eq!(sentinel.state_lines("current-epoch"), ["1"]);
    let port = sentinel.address_port(MASTER).unwrap().expect("the master is known");
    assert_eq!(port, group.nodes[new].port);
    let mut known: Vec<String> =
        sentinel.replicas(MASTER).iter().map(|replica| replica["name"].clone()).collect();
    let mut wanted: Vec<String> =
        group.nodes.iter().filter(|node| node.port != port).map(|node| node.name()).collect();
    known.sort();
    wanted.sort();
    assert_eq!(known, wanted);
}

#[test]
fn new_id_at_an_old_address_replaces_the_old() {
    let world = world!();
    let mut group = Group::new(&world, 1, 3);
    let recorder = group.sentinels[0].record();
    let sentinel = &mut group.sentinels[2];
    let (old, port) = (sentinel.id(), sentinel.port);
    sentinel.kill();
    let text = sentinel.config_text();
    let kept: Vec<&str> = text.lines().filter(|line| !line.contains(" myid ")).collect();
    fs::write(&sentinel.config, kept.join("\n") + "\n").unwrap();
    sentinel.launch().expect("it starts without an id");
    let new = sentinel.id();
    assert_ne!(old, new);
    recorder.wait("+sentinel-invalid-addr", &format!("sentinel {old} "));
    recorder.wait("+sentinel", &format!("sentinel {new} 127.0.0.1 {port} @ {MASTER}"));
    for sentinel in &group.sentinels[..2] {
        wait::wait("only the new id to have the address", LONG, || {
            let peers = sentinel.peers(MASTER);
            let at_port: Vec<_> =
                peers.iter().filter(|peer| peer["port"] == port.to_string()).collect();
            let new_only = at_port.len() == 1 && at_port[0]["runid"] == new;
            wait::expect(new_only && peers.len() == 2, peers)
        });
    }
}

#[test]
fn same_id_at_a_new_address_moves() {
    let world = world!();
    let mut group = Group::new(&world, 1, 3);
    let recorder = group.sentinels[0].record();
    let id = group.sentinels[2].id();
    group.sentinels[2].wait_config_line(&format!("sentinel myid {id}"));
    group.sentinels[2].kill();
    let mut moved = Sentinel::prepare(&world, &SentinelOptions::default());
    let text = group.sentinels[2].config_text();
    let text = text
        .replace(&format!("port {}\n", group.sentinels[2].port), &format!("port {}\n", moved.port));
    fs::write(&moved.config, text).unwrap();
    moved.launch().expect("it starts with the copied file");
    assert_eq!(moved.id(), id);
    let master = format!("master {MASTER} 127.0.0.1 {}", group.nodes[0].port);
    let text = format!("{master} ip 127.0.0.1 port {} for {id}", moved.port);
    assert_eq!(recorder.wait("+sentinel-address-switch", &id), text);
    for sentinel in &group.sentinels[..2] {
        wait::wait("the new address to be known", LONG, || {
            let peers = sentinel.peers(MASTER);
            let found = peers.iter().find(|peer| peer["runid"] == id).ok_or("gone")?;
            wait::expect_eq(found["port"].clone(), moved.port.to_string())?;
            wait::expect_eq(peers.len(), 2)
        });
    }
}

#[test]
fn set_changes_and_saves() {
    let world = world!();
    let (sentinel, port) = watching_nobody(&world);
    let recorder = sentinel.record();
    let notify = world.script("notify", "exit 0").display().to_string();
    let set = |words: &[&str]| {
        let mut command = vec!["SENTINEL", "SET", MASTER];
        command.extend_from_slice(words);
        sentinel.ask(&command)
    };
    assert!(set(&["down-after-milliseconds", "4321", "failover-timeout", "9876"]).is_ok());
    assert!(set(&["parallel-syncs", "3", "quorum", "5"]).is_ok());
    assert!(set(&["auth-pass", "hush", "auth-user", "watcher"]).is_ok());
    assert!(set(&["rename-command", "CONFIG", "GUARDED"]).is_ok());
    let fields = sentinel.master(MASTER);
    assert_eq!(fields["down-after-milliseconds"], "4321");
    assert_eq!(fields["failover-timeout"], "9876");
    assert_eq!(fields["parallel-syncs"], "3");
    assert_eq!(fields["quorum"], "5");
    for line in [
        format!("sentinel monitor {MASTER} 127.0.0.1 {port} 5"),
        format!("sentinel down-after-milliseconds {MASTER} 4321"),
        format!("sentinel failover-timeout {MASTER} 9876"),
        format!("sentinel parallel-syncs {MASTER} 3"),
        format!("sentinel auth-pass {MASTER} hush"),
        format!("sentinel auth-user {MASTER} watcher"),
        format!("sentinel rename-command {MASTER} CONFIG GUARDED"),
    ] {
        sentinel.wait_config_line(&line);
    }
    let said = recorder.wait("+set", "auth-pass");
    assert_eq!(said, format!("master {MASTER} 127.0.0.1 {port} auth-pass ******"));

    assert!(set(&["auth-pass", ""]).is_ok());
    assert_eq!(sentinel.state_lines("auth-pass").len(), 0);
    let error = set(&["quorum", "none"]);
    assert_eq!(error.error(), Some("ERR Invalid argument 'none' for SENTINEL SET 'quorum'"));
    let error = set(&["colour", "blue"]);
    let wanted = "ERR Unknown option or number of arguments for SENTINEL SET 'colour'";
    assert_eq!(error.error(), Some(wanted));
    let error = set(&["notification-script", &notify]).text();
    assert!(error.contains("Reconfiguration of scripts path is denied"), "{error}");
}

#[test]
fn scripts_can_be_set_where_that_is_allowed() {
    let world = world!();
    let lines = [
        "sentinel deny-scripts-reconfig no".to_string(),
        format!("sentinel monitor {MASTER} 127.0.0.1 {} 2", world.port()),
    ];
    let sentinel = Sentinel::start(&world, &SentinelOptions::with_lines(lines));
    let script = world.script("notify", "exit 0").display().to_string();
    sentinel.ok(&["SENTINEL", "SET", MASTER, "notification-script", &script]);
    sentinel.wait_config_line(&format!("sentinel notification-script {MASTER} {script}"));
    let missing = world.path("missing").display().to_string();
    let error = sentinel.ask(&["SENTINEL", "SET", MASTER, "notification-script", &missing]);
    let wanted = "ERR Notification script seems non existing or non executable";
    assert_eq!(error.error(), Some(wanted));
    sentinel.ok(&["SENTINEL", "SET", MASTER, "notification-script", ""]);
    assert_eq!(sentinel.state_lines("notification-script").len(), 0);
}

#[test]
fn masters_can_be_added_and_removed() {
    let world = world!();
    let (sentinel, port) = watching_nobody(&world);
    let recorder = sentinel.record();
    let other = world.port().to_string();
    sentinel.ok(&["SENTINEL", "MONITOR", "second", "127.0.0.1", &other, "3"]);
    recorder.wait("+monitor", &format!("master second 127.0.0.1 {other} quorum 3"));
    sentinel.wait_config_line(&format!("sentinel monitor second 127.0.0.1 {other} 3"));
    let names = sentinel.ask(&["ROLE"]).items()[1].texts();
    assert_eq!((names.len(), names.contains(&"second".to_string())), (2, true));
    let error = sentinel.ask(&["SENTINEL", "MONITOR", "second", "127.0.0.1", &other, "3"]);
    assert_eq!(error.error(), Some("ERR Duplicate master name."));

    sentinel.ok(&["SENTINEL", "REMOVE", MASTER]);
    let text = recorder.wait("-monitor", MASTER);
    assert_eq!(text, format!("master {MASTER} 127.0.0.1 {port}"));
    assert!(!sentinel.config_text().contains(MASTER), "{}", sentinel.config_text());
    assert_eq!(sentinel.address_port(MASTER).unwrap(), None);
    let error = sentinel.ask(&["SENTINEL", "REMOVE", MASTER]);
    assert_eq!(error.error(), Some("ERR No such master with that name"));
}

#[test]
fn removed_and_added_masters_stay_so_over_a_restart() {
    let world = world!();
    let (mut sentinel, _) = watching_nobody(&world);
    let other = world.port();
    let host = other.to_string();
    sentinel.ok(&["SENTINEL", "MONITOR", "second", "127.0.0.1", &host, "1"]);
    sentinel.ok(&["SENTINEL", "REMOVE", MASTER]);
    let id = sentinel.id();
    sentinel.restart();
    assert_eq!(sentinel.id(), id);
    assert_eq!(sentinel.address_port("second").unwrap(), Some(other));
    assert_eq!(sentinel.address_port(MASTER).unwrap(), None);
}

#[test]
fn reset_forgets_and_finds_again() {
    let world = world!();
    let mut group = Group::new(&world, 2, 3);
    let sentinel = &group.sentinels[0];
    let recorder = sentinel.record();
    assert_eq!(sentinel.ask(&["SENTINEL", "RESET", "no*"]), Value::Int(0));
    assert_eq!(sentinel.ask(&["SENTINEL", "RESET", "my*"]), Value::Int(1));
    let master = format!("master {MASTER} 127.0.0.1 {}", group.nodes[0].port);
    assert_eq!(recorder.wait("+reset-master", MASTER), master);
    group.wait_discovered();
    // A replica that is gone for good is forgotten by a reset.
    group.nodes[2].kill();
    let gone = group.nodes[2].port;
    let sentinel = &group.sentinels[0];
    wait::wait("the master to drop the dead replica", LONG, || {
        let info = group.nodes[0].replication().map_err(|error| error.to_string())?;
        wait::expect_eq(info["connected_slaves"].as_str(), "1")
    });
    assert_eq!(sentinel.ask(&["SENTINEL", "RESET", MASTER]), Value::Int(1));
    wait::wait("the other replica to be found again", LONG, || {
        let replicas = sentinel.replicas(MASTER);
        wait::expect(replicas.len() == 1 && replicas[0]["port"] != gone.to_string(), replicas)
    });
}

#[test]
fn line_ends_in_values_never_reach_the_file() {
    let world = world!(only_ours: "it lets some of these through");
    let (mut sentinel, _) = watching_nobody(&world);
    let inject = "x\nsentinel monitor evil 127.0.0.1 1 1";
    let port = world.port().to_string();
    let attempts: [&[&str]; 7] = [
        &["SENTINEL", "SET", MASTER, "auth-user", inject],
        &["SENTINEL", "SET", MASTER, "rename-command", "CONFIG", inject],
        &["SENTINEL", "SET", MASTER, "rename-command", inject, "CONFIG"],
        &["SENTINEL", "MONITOR", inject, "127.0.0.1", &port, "1"],
        &["SENTINEL", "MONITOR", "good", inject, &port, "1"],
        &["SENTINEL", "CONFIG", "SET", "sentinel-user", inject],
        &["SENTINEL", "CONFIG", "SET", "announce-ip", inject],
    ];
    // The new id is written while the first requests are served already.
    sentinel.ok(&["SENTINEL", "FLUSHCONFIG"]);
    let before = sentinel.config_text();
    for words in attempts {
        let reply = sentinel.ask(words);
        assert!(reply.error().is_some(), "{words:?} is answered by {reply:?}");
        assert_eq!(sentinel.config_text(), before, "{words:?} changed the file");
    }
    sentinel.restart();
    assert_eq!(sentinel.address_port("evil").unwrap(), None);
}

/// Passwords may hold anything: what was set works and comes back after a restart.
#[test]
fn passwords_with_line_ends_are_kept_quoted() {
    let world = world!(only_ours: "it writes passwords unquoted");
    let (mut sentinel, _) = watching_nobody(&world);
    let inject = "x\nsentinel monitor evil 127.0.0.1 1 1";
    sentinel.ok(&["SENTINEL", "SET", MASTER, "auth-pass", inject]);
    sentinel.ok(&["SENTINEL", "CONFIG", "SET", "sentinel-pass", inject]);
    for _ in 0..2 {
        let text = sentinel.config_text();
        assert!(!text.lines().any(|line| line.starts_with("sentinel monitor evil")), "{text}");
        let reply = sentinel.ask(&["SENTINEL", "CONFIG", "GET", "sentinel-pass"]);
        assert_eq!(reply.table()["sentinel-pass"], inject);
        sentinel.restart();
    }
}

#[test]
fn what_the_user_wrote_stays_in_the_file() {
    let world = world!();
    let options = GroupOptions { quorum: 2, ..Default::default() };
    let mut lines = vec!["# Watched by the day shift.".to_string(), String::new()];
    lines.extend(monitor_lines(&options, "127.0.0.1", world.port()));
    lines.push("# The end of the day shift.".into());
    let sentinel = Sentinel::start(&world, &SentinelOptions::with_lines(lines));
    sentinel.ok(&["SENTINEL", "SET", MASTER, "failover-timeout", "7000"]);
    sentinel.ok(&["SENTINEL", "FLUSHCONFIG"]);
    let text = sentinel.config_text();
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} gone:\n{text}"));
    let order = [
        place("# Watched by the day shift."),
        place(&format!("sentinel monitor {MASTER} ")),
        place(&format!("sentinel failover-timeout {MASTER} 7000")),
        place("# The end of the day shift."),
        place("sentinel myid"),
    ];
    assert!(order.is_sorted(), "{text}");
    assert_eq!(text.matches("# Generated by CONFIG REWRITE").count(), 1, "{text}");
}

#[test]
fn two_masters_share_the_link_to_a_peer() {
    let world = world!();
    let options = GroupOptions { replicas: 0, sentinels: 2, ..Default::default() };
    let group = Group::start(&world, options);
    let second = Node::start(&world, &Default::default());
    for sentinel in &group.sentinels {
        let port = second.port.to_string();
        sentinel.ok(&["SENTINEL", "MONITOR", "second", "127.0.0.1", &port, "2"]);
    }
    wait::wait("the peer to be known under both", LONG, || {
        let peers = group.sentinels[0].peers("second");
        wait::expect(peers.len() == 1 && peers[0]["link-refcount"] == "2", peers)
    });
    let info = group.sentinels[0].info();
    assert_eq!(info["sentinel_masters"], "2");
    let line =
        format!("name=second,status=ok,address=127.0.0.1:{},slaves=0,sentinels=2", second.port);
    wait::wait("INFO to list it", SHORT, || {
        let info = group.sentinels[0].info();
        wait::expect(info.values().any(|value| *value == line), info)
    });
}

#[test]
fn debug_shows_and_changes_periods() {
    let world = world!();
    let (sentinel, _) = watching_nobody(&world);
    let reply = sentinel.ask(&["SENTINEL", "DEBUG"]);
    let names: Vec<String> = reply.items().iter().step_by(2).map(Value::text).collect();
    assert_eq!(names.len(), 13, "{names:?}");
    assert_eq!(names.first().map(String::as_str), Some("INFO-PERIOD"));
    assert_eq!(reply.table()["INFO-PERIOD"], "1000");
    assert_eq!(reply.table()["TILT-TRIGGER"], "2000");
    sentinel.ok(&["SENTINEL", "DEBUG", "tilt-trigger", "3000", "ping-period", "700"]);
    let table = sentinel.ask(&["SENTINEL", "DEBUG"]).table();
    assert_eq!((table["TILT-TRIGGER"].as_str(), table["PING-PERIOD"].as_str()), ("3000", "700"));
    let error = sentinel.ask(&["SENTINEL", "DEBUG", "ping-period", "0"]);
    assert_eq!(error.error(), Some("ERR Invalid argument '0' for SENTINEL DEBUG 'ping-period'"));
    let error = sentinel.ask(&["SENTINEL", "DEBUG", "colour", "1"]);
    let wanted = "ERR Unknown option or number of arguments for SENTINEL DEBUG 'colour'";
    assert_eq!(error.error(), Some(wanted));
}

/// What the next start needs is written again, by redis-sentinel as by us.
#[test]
fn a_lost_file_is_whole_again_after_a_save() {
    let world = world!();
    for program in [Program::Redis, Program::UnderTest] {
        let dir = world.new_dir("lost");
        let users = dir.join("users.acl");
        fs::write(&users, "user default on >geheim ~* &* +@all\n").expect("an aclfile");
        fs::write(dir.join("more.conf"), "maxclients 321\n").expect("an included file");
        let mut options = SentinelOptions::with_lines([
            format!("aclfile {}", users.display()),
            format!("include {}", dir.join("more.conf").display()),
            "timeout 1234".to_string(),
            "acllog-max-len 5".to_string(),
            "client-output-buffer-limit pubsub 1mb 2mb 60".to_string(),
            format!("sentinel monitor {MASTER} 127.0.0.1 {} 2", world.port()),
            format!("sentinel auth-pass {MASTER} secret"),
        ]);
        options.program = program;
        options.login = Some(("default".into(), "geheim".into()));
        options.fast = false;
        let more = "exec \"$@\" --tcp-keepalive 7 --unixsocketperm 700";
        options.wrapper = ["sh", "-c", more, "sh"].map(String::from).to_vec();
        let mut sentinel = Sentinel::start(&world, &options);
        fs::set_permissions(&sentinel.config, fs::Permissions::from_mode(0o640)).expect("a mode");
        sentinel.ok(&["SENTINEL", "FLUSHCONFIG"]);
        let (id, port, log) = (sentinel.id(), sentinel.port, sentinel.log.clone());
        for lose in [|file: &Path| fs::remove_file(file), |file: &Path| fs::write(file, "")] {
            lose(&sentinel.config).expect("the file is lost");
            sentinel.ok(&["SENTINEL", "FLUSHCONFIG"]);
            let text = sentinel.config_text().replace('"', "");
            for line in [
                format!("port {port}"),
                "bind 127.0.0.1".to_string(),
                format!("dir {}", sentinel.config.parent().expect("a directory").display()),
                format!("logfile {}", log.display()),
                format!("aclfile {}", users.display()),
                "timeout 1234".to_string(),
                "maxclients 321".to_string(),
                "acllog-max-len 5".to_string(),
                "tcp-keepalive 7".to_string(),
                "unixsocketperm 700".to_string(),
                format!("sentinel auth-pass {MASTER} secret"),
            ] {
                let count = text.lines().filter(|known| **known == line).count();
                assert_eq!(count, 1, "{program:?}: {line} in\n{text}");
            }
        }
        // Without its options and with nothing but this file it is who it was, where it was.
        sentinel.wrap_in(&[]);
        sentinel.restart();
        assert_eq!((sentinel.id(), sentinel.port), (id, port), "{program:?}");
        let mut stranger = Client::connect(&sentinel.endpoint()).expect("it listens");
        let stranger = stranger.ask(&["PING"]).expect("a reply");
        assert!(stranger.error().is_some_and(|text| text.starts_with("NOAUTH")), "{stranger:?}");
        if !program.is_redis() {
            let mode = fs::metadata(&sentinel.config).expect("the file").permissions().mode();
            assert_eq!(mode & 0o777, 0o640, "passwords stay where they were readable");
        }
    }
}
