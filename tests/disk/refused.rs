//! Directories that refuse files, and files that refuse to be replaced.

use crate::mounts::Mounts;
use crate::support::group::MASTER;
use crate::support::wait::{self, SHORT};
use crate::voter::{Voter, id};
use crate::world;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The start says that the file will be written in place.
#[track_caller]
fn assert_warned(voter: &Voter, reason: &str) {
    let wanted = format!("cannot be replaced by a new one ({reason}): it is written in place");
    let log = voter.sentinel.log_text() + &voter.sentinel.output_text();
    assert!(log.contains(&wanted), "{wanted:?} is missing in\n{log}");
}

/// Votes are saved in place and survive a kill, again and again.
#[track_caller]
fn assert_saves_in_place(voter: &mut Voter, dir: &Path) {
    let inode = fs::metadata(&voter.sentinel.config).unwrap().ino();
    for epoch in 1..=3 {
        assert_eq!(voter.ask_until_voted(epoch, &id('a')), (id('a'), epoch));
        voter.sentinel.restart();
        assert_eq!(voter.ask(epoch, &id('b')), ("*".into(), epoch), "a second vote");
    }
    assert_eq!(fs::metadata(&voter.sentinel.config).unwrap().ino(), inode);
    let names: Vec<_> = fs::read_dir(dir).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["sentinel.conf"], "something was left");
    assert_eq!(voter.failures(""), 0);
    voter.assert_calm();
}

/// As a container runtime mounts one file into a container: rename answers EBUSY.
#[test]
fn file_mounted_by_itself() {
    let world = world!(only_ours: "it cannot write in place");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = mounts.config_on_itself(&world);
    let mut voter = Voter::start(&world, Some(dir.clone()));
    assert_warned(&voter, "Device or resource busy");
    assert_saves_in_place(&mut voter, &dir);
}

#[test]
fn writable_file_in_a_read_only_directory() {
    let world = world!(only_ours: "it cannot write in place");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = mounts.read_only_around_config(&world);
    let mut voter = Voter::start(&world, Some(dir.clone()));
    // It is a mount of its own too, or it would be as read-only as its directory.
    assert_warned(&voter, "Device or resource busy");
    assert_saves_in_place(&mut voter, &dir);
}

/// The whole file system becomes read-only while it runs: nothing is saved, so no vote is given,
/// and when it is writable again so are votes.
#[test]
fn file_system_turns_read_only() {
    let world = world!(only_ours: "it gives votes that it cannot save");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = world.new_dir("turning");
    mounts.on_itself(&dir);
    let mut voter = Voter::start(&world, Some(dir.clone()));
    mounts.set_read_only(&dir, true);
    assert_eq!(voter.ask(1, &id('a')).0, "*", "a vote that is not saved");
    let set = voter.sentinel.ask(&["SENTINEL", "SET", MASTER, "quorum", "2"]);
    assert_eq!(set.error(), Some("ERR Failed to save config file. Check server logs."));
    assert_eq!(voter.sentinel.config_text(), voter.old_text);
    assert!(voter.failures("Read-only file system") >= 2);
    mounts.set_read_only(&dir, false);
    wait::wait("it to save by itself", SHORT, || {
        let text = voter.sentinel.config_text();
        wait::expect(text.contains("sentinel current-epoch 1"), text)
    });
    assert_eq!(voter.ask_until_voted(2, &id('c')), (id('c'), 2));
    voter.assert_calm();
    voter.sentinel.restart();
    assert_eq!(voter.ask(2, &id('d')), ("*".into(), 2), "a second vote");
}
