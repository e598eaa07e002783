//! Start, end and the things an operator does to the process.

use crate::support::client::{Client, Endpoint};
use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::ports;
use crate::support::process::{Process, Stray};
use crate::support::sentinel::{Program, Sentinel, SentinelOptions};
use crate::support::wait::{self, LONG, SHORT};
use crate::world;
use nix::sys::signal::Signal;
use std::fs;

#[test]
fn sigterm_and_sigint_end_with_code_0_and_without_files() {
    let world = world!();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let pid_file = world.path("sentinel.pid");
        let line = format!("pidfile {}", pid_file.display());
        let mut sentinel = Sentinel::start(&world, &SentinelOptions::with_lines([line]));
        let pid = fs::read_to_string(&pid_file).unwrap();
        assert_eq!(pid.trim(), sentinel.process().pid().to_string());
        sentinel.process().signal(signal);
        assert_eq!(sentinel.wait_exit(), 0, "{signal}");
        assert!(!pid_file.exists(), "the pid file is left behind");
        let log = sentinel.log_text();
        assert!(log.contains(&format!("Received {} scheduling shutdown...", signal.as_str())));
        assert!(log.contains("User requested shutdown..."), "{log}");
        assert!(log.contains("Sentinel is now ready to exit, bye bye..."), "{log}");
    }
}

#[test]
fn shutdown_command_ends_with_code_0() {
    let world = world!();
    for words in [&["SHUTDOWN"][..], &["SHUTDOWN", "NOSAVE"], &["SHUTDOWN", "NOW", "FORCE"]] {
        let mut sentinel = Sentinel::start(&world, &SentinelOptions::default());
        let reply = sentinel.try_ask(words);
        assert!(reply.is_err(), "{words:?} is answered by {reply:?}");
        assert_eq!(sentinel.wait_exit(), 0, "{words:?}");
    }
    let sentinel = Sentinel::start(&world, &SentinelOptions::default());
    let reply = sentinel.ask(&["SHUTDOWN", "ABORT"]);
    assert_eq!(reply.error(), Some("ERR No shutdown in progress."));
    assert_eq!(sentinel.ask(&["SHUTDOWN", "NOSAVE", "SAVE"]).error(), Some("ERR syntax error"));
}

#[test]
fn daemonized_it_leaves_its_parent_and_can_be_ended() {
    let world = world!();
    let pid_file = world.path("daemon.pid");
    let lines = [
        "daemonize yes".to_string(),
        format!("pidfile {}", pid_file.display()),
        format!("sentinel monitor {MASTER} 127.0.0.1 {} 1", world.port()),
    ];
    let sentinel = Sentinel::prepare(&world, &SentinelOptions::with_lines(lines));
    let parent = Process::spawn(&mut sentinel.command()).expect("it starts");
    assert_eq!(parent.wait("the parent to leave"), 0);
    let pid: i32 = wait::wait("the pid file", SHORT, || {
        let text = fs::read_to_string(&pid_file).map_err(|error| error.to_string())?;
        text.trim().parse().map_err(|_| text)
    });
    let daemon = Stray::adopt(pid);
    assert_ne!(pid, parent.pid());
    wait::wait("the daemon to answer", SHORT, || {
        let reply = sentinel.try_ask(&["PING"]).map_err(|error| error.to_string())?;
        wait::expect_eq(reply.text(), "PONG".into())
    });
    assert_eq!(sentinel.info()["process_id"], pid.to_string());
    assert_eq!(sentinel.id().len(), 40);
    // This kills the whole process group of the parent.
    drop(parent);
    assert!(daemon.is_alive(), "it went with its parent");
    daemon.signal(Signal::SIGTERM);
    wait::wait("the daemon to end", SHORT, || wait::expect(!daemon.is_alive(), "alive"));
    assert!(!pid_file.exists(), "the pid file is left behind");
}

#[test]
fn one_client_too_many_is_told_so() {
    let world = world!();
    let options = SentinelOptions::with_lines(["maxclients 4"]);
    let sentinel = Sentinel::start(&world, &options);
    let mut clients = Vec::new();
    wait::wait("four clients to be in", SHORT, || {
        let mut client = sentinel.connect().map_err(|error| error.to_string())?;
        let reply = client.ask(&["PING"]).map_err(|error| error.to_string())?;
        wait::expect(reply.text() == "PONG", reply)?;
        clients.push(client);
        wait::expect(clients.len() == 4, clients.len())
    });
    let mut refused = sentinel.connect().unwrap();
    let text = refused.read_to_end().unwrap();
    assert_eq!(String::from_utf8_lossy(&text), "-ERR max number of clients reached\r\n");
    assert_eq!(clients[0].ask(&["PING"]).unwrap().text(), "PONG");
    drop(clients);
    wait::wait("a free place", SHORT, || {
        let reply = sentinel.try_ask(&["PING"]).map_err(|error| error.to_string())?;
        wait::expect_eq(reply.text(), "PONG".into())
    });
    assert!(sentinel.info()["rejected_connections"] != "0");
}

/// An address of this machine that is not the loopback one.
fn outer_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only asks for the route.
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}

#[test]
fn protected_mode_refuses_strangers_with_an_explanation() {
    let world = world!();
    let Some(address) = outer_address() else {
        world.not_run("an address beside the loopback one");
        return;
    };
    let mut options = SentinelOptions::with_lines(["protected-mode yes"]);
    options.bind = "*".into();
    let sentinel = Sentinel::start(&world, &options);
    let mut stranger = Client::connect(&Endpoint::Tcp(address.clone(), sentinel.port)).unwrap();
    let text = String::from_utf8(stranger.read_to_end().unwrap()).unwrap();
    assert!(text.starts_with("-DENIED ") && text.ends_with("\r\n"), "{text}");
    assert_eq!(text.matches("\r\n").count(), 1, "{text}");
    for part in ["protected mode", "1)", "2)", "3)", "4)"] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert_eq!(sentinel.ask(&["PING"]).text(), "PONG");
    // With a password set it is open to all again.
    sentinel.ok(&["ACL", "SETUSER", "default", ">gate"]);
    let mut stranger = Client::connect(&Endpoint::Tcp(address, sentinel.port)).unwrap();
    assert!(stranger.ask(&["AUTH", "gate"]).unwrap().is_ok());
}

#[test]
fn a_log_file_that_was_moved_away_is_made_again() {
    let world = world!();
    let lines = [format!("sentinel monitor {MASTER} 127.0.0.1 {} 1", world.port())];
    let sentinel = Sentinel::start(&world, &SentinelOptions::with_lines(lines));
    let moved = sentinel.log.with_extension("old");
    fs::rename(&sentinel.log, &moved).unwrap();
    sentinel.ok(&["SENTINEL", "SET", MASTER, "quorum", "2"]);
    wait::wait("the event in a new log file", SHORT, || {
        let text = sentinel.log_text();
        wait::expect(text.contains("+set master"), text)
    });
    assert!(!fs::read_to_string(&moved).unwrap().contains("+set master"));
}

#[test]
fn simulated_crashes_end_with_code_99() {
    let world = world!();
    for (word, last, next) in [
        ("crash-after-election", "+elected-leader", "+selected-slave"),
        ("crash-after-promotion", "+promoted-slave", "+switch-master"),
    ] {
        let options = GroupOptions { sentinels: 1, quorum: 1, ..Default::default() };
        let mut group = Group::start(&world, options);
        let sentinel = &mut group.sentinels[0];
        sentinel.ok(&["SENTINEL", "SIMULATE-FAILURE", word]);
        let flags = sentinel.info()["sentinel_simulate_failure_flags"].clone();
        assert_eq!(flags, if word == "crash-after-election" { "1" } else { "2" });
        // It may be gone before it answers.
        let _ = sentinel.try_ask(&["SENTINEL", "FAILOVER", MASTER]);
        assert_eq!(sentinel.wait_exit(), 99, "{word}");
        let log = sentinel.log_text();
        assert!(log.contains("Sentinel CRASH because of SENTINEL simulate-failure"), "{log}");
        assert!(log.contains(last), "{log}");
        assert!(!log.contains(next), "{log}");
        // The promotion was saved before the crash.
        sentinel.launch().expect("it starts again");
        let promoted = sentinel.address_port(MASTER).unwrap() == Some(group.nodes[1].port);
        assert_eq!(promoted, word == "crash-after-promotion");
    }
}

#[test]
fn bad_starts_end_with_code_1_and_say_why() {
    let world = world!();
    let cases = [
        ("sentinel monitor one 127.0.0.1 1 0", "Quorum must be 1 or greater."),
        ("sentinel monitor one no.such.host 1 1", "Can't resolve instance hostname."),
        ("sentinel down-after-milliseconds ghost 1", "No such master with specified name."),
        ("sentinel colour blue", "Unrecognized sentinel configuration statement."),
        ("colour blue", "Bad directive or wrong number of arguments"),
        ("sentinel myid short", "Malformed Sentinel id in myid option."),
    ];
    for (line, reason) in cases {
        let sentinel = Sentinel::prepare(&world, &SentinelOptions::with_lines([line]));
        let process = Process::spawn(&mut sentinel.command()).expect("it starts");
        assert_eq!(process.wait("it to refuse"), 1, "{line}");
        let text = sentinel.output_text() + &sentinel.log_text();
        assert!(text.contains(reason), "{line}: {text}");
        assert!(text.contains("*** FATAL CONFIG FILE ERROR"), "{line}: {text}");
        assert!(text.contains(&format!(">>> '{line}'")), "{line}: {text}");
    }
    let mut command = std::process::Command::new(Program::UnderTest.path());
    let missing = world.path("missing.conf");
    let output = command.arg(&missing).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let wanted = format!("Fatal error, can't open config file '{}'", missing.display());
    assert!(text.contains(&wanted), "{text}");
}

#[test]
fn a_taken_port_is_refused() {
    let world = world!();
    let first = Sentinel::start(&world, &SentinelOptions::default());
    let second = Sentinel::prepare(&world, &SentinelOptions::default());
    let text = second.config_text();
    let text = text.replace(&format!("port {}", second.port), &format!("port {}", first.port));
    fs::write(&second.config, text).unwrap();
    let process = Process::spawn(&mut second.command()).expect("it starts");
    assert_eq!(process.wait("it to refuse"), 1);
    let log = second.log_text();
    assert!(log.contains(&format!("Failed listening on port {} (", first.port)), "{log}");
    assert_eq!(first.ask(&["PING"]).text(), "PONG");
}

/// Without the file it stands on, a sentinel goes on and says so.
#[test]
fn a_file_that_cannot_be_written_stops_nothing() {
    let world = world!();
    let group = Group::new(&world, 1, 1);
    let sentinel = &group.sentinels[0];
    let dir = sentinel.config.parent().unwrap().to_path_buf();
    let away = dir.with_extension("away");
    fs::rename(&dir, &away).unwrap();
    let reply = sentinel.ask(&["SENTINEL", "FLUSHCONFIG"]);
    let wanted = "ERR Failed to save config file. Check server logs.";
    assert_eq!(reply.error(), Some(wanted));
    assert_eq!(sentinel.address_port(MASTER).unwrap(), Some(group.nodes[0].port));
    fs::rename(&away, &dir).unwrap();
    wait::wait("saving to work again", LONG, || {
        let reply = sentinel.ask(&["SENTINEL", "FLUSHCONFIG"]);
        wait::expect(reply.is_ok(), reply)
    });
}

#[test]
fn a_port_is_free_while_nobody_listens_there() {
    let world = world!();
    let port = world.port();
    assert!(ports::is_free(port));
    for address in ["127.0.0.1", "0.0.0.0", "::1"] {
        // There may be no second family here.
        let Ok(listener) = std::net::TcpListener::bind((address, port)) else { continue };
        assert!(!ports::is_free(port), "{address}");
        drop(listener);
        wait::wait("it to be free again", SHORT, || wait::expect(ports::is_free(port), address));
    }
}
