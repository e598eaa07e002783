//! A disk without space, and a process without descriptors.

use crate::mounts::Mounts;
use crate::support::group::MASTER;
use crate::support::value::Value;
use crate::support::wait::{self, SHORT};
use crate::support::world::{World, find_program};
use crate::voter::{Voter, id};
use crate::world;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const NO_SPACE: &str = "No space left on device";
/// Ends the name of the space set aside.
const RESERVE: &str = ".sentineld-reserve";
const FAILED: &str = "ERR Failed to save config file. Check server logs.";

/// Takes all the space of a file system; the file that holds it.
pub fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let mut file = fs::File::create(&path).expect("a file");
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    path
}

/// While nothing can be saved: the file is the old one, no vote is given, and everybody is
/// answered.
#[track_caller]
fn assert_refuses(voter: &Voter, epoch: i64, reason: &str) {
    let failures = voter.failures(reason);
    assert_eq!(voter.ask(epoch, &id('a')).0, "*", "a vote that is not saved");
    assert_eq!(voter.sentinel.config_text(), voter.old_text);
    let set = voter.sentinel.ask(&["SENTINEL", "SET", MASTER, "quorum", "2"]);
    assert_eq!(set.error(), Some(FAILED));
    assert_eq!(voter.sentinel.ask(&["PING"]), Value::Simple("PONG".into()));
    assert_eq!(voter.sentinel.config_text(), voter.old_text);
    // What nobody waits for is tried again by itself.
    wait::wait("two more warnings", SHORT, || {
        let now = voter.failures(reason);
        wait::expect(now >= failures + 2, now)
    });
    assert_eq!(voter.failures(""), voter.failures(reason), "failures for other reasons");
}

/// Votes and saves are there again, and what was changed meanwhile is in the file.
#[track_caller]
fn assert_recovered(voter: &mut Voter, epoch: i64) {
    voter.sentinel.ok(&["SENTINEL", "FLUSHCONFIG"]);
    assert_eq!(voter.ask_until_voted(epoch, &id('c')), (id('c'), epoch));
    voter.wait_master_up();
    voter.assert_calm();
    voter.sentinel.restart();
    assert_eq!(voter.ask(epoch, &id('d')), ("*".into(), epoch), "a second vote");
}

/// Names in a directory but that of the config file.
fn others(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).expect("readable").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "sentinel.conf").collect()
}

/// A vote is given and saved, and holds when the process is killed.
#[track_caller]
fn assert_votes(voter: &mut Voter, epoch: i64) {
    assert_eq!(voter.ask_until_voted(epoch, &id('a')), (id('a'), epoch));
    let line = format!("sentinel leader-epoch {MASTER} {epoch}");
    assert!(voter.sentinel.config_text().contains(&line), "{}", voter.sentinel.config_text());
    voter.sentinel.kill();
    voter.sentinel.launch().expect("it starts");
    assert_eq!(voter.ask(epoch, &id('b')), ("*".into(), epoch), "a second vote");
}

/// Saves go on in the space set aside, and whoever fills the disk cannot take it away.
#[track_caller]
fn assert_saves_go_on(voter: &mut Voter, dir: &Path) {
    let reserve = format!("sentinel.conf{RESERVE}");
    for (round, quorum) in (1..=8).zip(["3", "2"].iter().cycle()) {
        voter.sentinel.ok(&["SENTINEL", "SET", MASTER, "quorum", quorum]);
        let at = format!("{MASTER} 127.0.0.1 {} {quorum}", voter.master_port);
        assert!(voter.sentinel.config_text().contains(&at), "{}", voter.sentinel.config_text());
        assert!(others(dir).contains(&reserve), "{:?}", others(dir));
        let mut filler = fs::OpenOptions::new().append(true).open(dir.join("filler")).unwrap();
        assert!(filler.write_all(b"x").is_err(), "the disk is full in round {round}");
    }
    for epoch in 1..4 {
        assert_votes(voter, epoch);
    }
    assert_eq!(voter.failures(""), 0);
    let log = voter.sentinel.log_text();
    assert!(log.contains("The disk is full: the config file"), "{log}");
}

/// More is to be saved than there is space for.
fn outgrow(voter: &mut Voter) {
    for number in 0.. {
        let name = format!("{number}{}", "x".repeat(200));
        let port = voter.master_port.clone();
        let words = ["SENTINEL", "MONITOR", &name, "127.0.0.1", &port, "2"];
        let answer = voter.sentinel.ask(&words);
        if let Some(error) = answer.error() {
            assert_eq!(error, FAILED);
            break;
        }
        assert!(voter.sentinel.config_text().contains(&name));
    }
    voter.old_text = voter.sentinel.config_text();
}

#[test]
fn disk_without_space() {
    let world = world!(only_ours: "it gives votes that it cannot save");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = world.new_dir("small");
    mounts.memory(&dir, "size=64k");
    let mut voter = Voter::start(&world, Some(dir.clone()));
    let filler = fill(&dir);
    assert_saves_go_on(&mut voter, &dir);
    outgrow(&mut voter);
    assert_refuses(&voter, 5, NO_SPACE);
    fs::remove_file(filler).unwrap();
    assert_recovered(&mut voter, 6);
    assert_eq!(others(&dir), [format!("sentinel.conf{RESERVE}")], "little space is left");
}

#[test]
fn disk_without_a_free_inode() {
    let world = world!(only_ours: "it gives votes that it cannot save");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = world.new_dir("small");
    // The root, the config file, the reserve, and one to take away.
    mounts.memory(&dir, "size=1m,nr_inodes=4");
    let mut voter = Voter::start(&world, Some(dir.clone()));
    fs::write(dir.join("filler"), "").unwrap();
    assert!(fs::write(dir.join("one-more"), "").is_err());
    for epoch in 1..4 {
        assert_votes(&mut voter, epoch);
    }
    assert_eq!(voter.failures(""), 0);
    fs::remove_file(dir.join("filler")).unwrap();
    assert_recovered(&mut voter, 5);
    assert_eq!(others(&dir), [format!("sentinel.conf{RESERVE}")], "little space is left");
}

/// The process started when there was no space already, and nothing was set aside.
#[test]
fn disk_without_space_from_the_start() {
    let world = world!(only_ours: "it gives votes that it cannot save");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = world.new_dir("small");
    mounts.memory(&dir, "size=64k");
    let mut voter = Voter::start(&world, Some(dir.clone()));
    voter.sentinel.kill();
    fs::remove_file(dir.join(format!("sentinel.conf{RESERVE}"))).unwrap();
    let filler = fill(&dir);
    voter.sentinel.launch().expect("it starts");
    assert_refuses(&voter, 1, NO_SPACE);
    assert_eq!(others(&dir), ["filler"], "left by saves that failed");
    fs::remove_file(filler).unwrap();
    assert_recovered(&mut voter, 2);
    assert_eq!(others(&dir), [format!("sentinel.conf{RESERVE}")], "little space is left");
}

/// A file that is mounted by itself on a full disk: written in place, the longer text does not fit
/// into its last page, and the old one is put back.
#[test]
fn disk_without_space_in_place() {
    let world = world!(only_ours: "it cannot write in place");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = world.new_dir("small");
    mounts.memory(&dir, "size=64k");
    let config = dir.join("sentinel.conf");
    fs::write(&config, "").unwrap();
    mounts.on_itself(&config);
    // Just below the end of a page; an epoch of many digits makes the text go over it.
    const EPOCH: i64 = 1_000_000_000_000_000;
    let first = Voter::start(&world, Some(dir.clone()));
    let page = 4096;
    let missing = page - 10 - first.old_text.len();
    drop(first);
    let comment = format!("#{}", "x".repeat(missing));
    let mut voter = Voter::with_lines(&world, Some(dir.clone()), &[comment]);
    let length = voter.old_text.len();
    assert!((page - 20..page).contains(&length), "{length} bytes");
    let inode = fs::metadata(&config).unwrap().ino();
    let filler = fill(&dir);
    assert_refuses(&voter, EPOCH, NO_SPACE);
    fs::remove_file(filler).unwrap();
    assert_recovered(&mut voter, EPOCH + 1);
    assert_eq!(fs::metadata(&config).unwrap().ino(), inode, "written in place");
    assert_eq!(others(&dir).len(), 0);
}

fn limit_descriptors(world: &World, voter: &Voter, count: usize) -> bool {
    if find_program("prlimit").is_none() {
        world.not_run("prlimit");
        return false;
    }
    let pid = voter.sentinel.process().pid().to_string();
    let value = format!("--nofile={count}:20000");
    let done = Command::new("prlimit").args(["--pid", &pid, &value]).status().unwrap();
    assert!(done.success(), "prlimit {value}");
    true
}

#[test]
fn process_without_a_descriptor() {
    let world = world!(only_ours: "it gives votes that it cannot save");
    let mut voter = Voter::start(&world, None);
    let pid = voter.sentinel.process().pid();
    let used = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    // Connections that are open already are served; they hold what is left.
    let mut vote = voter.sentinel.connect().unwrap();
    let mut other = voter.sentinel.connect().unwrap();
    for client in [&mut vote, &mut other] {
        client.ask(&["PING"]).unwrap();
    }
    if !limit_descriptors(&world, &voter, used + 2) {
        return;
    }
    let waiting: Vec<_> = (0..5).map(|_| voter.sentinel.connect().unwrap()).collect();
    voter.send_ask(&mut vote, 1, &id('a'));
    assert_eq!(crate::voter::told(&vote.read().unwrap()).0, "*");
    assert_eq!(other.ask(&["PING"]).unwrap(), Value::Simple("PONG".into()));
    let set = other.ask(&["SENTINEL", "SET", MASTER, "quorum", "2"]).unwrap();
    assert_eq!(set.error(), Some(FAILED));
    assert_eq!(voter.sentinel.config_text(), voter.old_text);
    assert!(voter.failures("Too many open files") >= 1);
    limit_descriptors(&world, &voter, 1000);
    drop(waiting);
    assert_recovered(&mut voter, 2);
}
