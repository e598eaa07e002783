//! Notification and client-reconfig scripts.

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::value::Value;
use crate::support::wait::{self, LONG, SHORT};
use crate::support::world::World;
use crate::world;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

/// A sentinel whose master never answers, so that one +sdown starts the notification script.
fn notifying(world: &Rc<World>, script: &Path, down_after_ms: u64) -> Sentinel {
    let lines = [
        format!("sentinel monitor {MASTER} 127.0.0.1 {} 2", world.port()),
        format!("sentinel down-after-milliseconds {MASTER} {down_after_ms}"),
        format!("sentinel notification-script {MASTER} {}", script.display()),
    ];
    Sentinel::start(world, &SentinelOptions::with_lines(lines))
}

fn lines_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

#[test]
fn notification_script_gets_event_and_text() {
    let world = world!();
    let out = world.path("notified");
    let body = format!("echo \"$#|$1|$2\" >> {}", out.display());
    let script = world.script("notify", &body);
    let sentinel = notifying(&world, &script, 300);
    let port = sentinel.master_field(MASTER, "port");
    let wanted = [
        format!("2|+monitor|master {MASTER} 127.0.0.1 {port} quorum 2"),
        format!("2|+sdown|master {MASTER} 127.0.0.1 {port}"),
    ];
    wait::wait("both events to be told to the script", SHORT, || {
        let seen = lines_of(&out);
        wait::expect(wanted.iter().all(|line| seen.contains(line)), seen)
    });
    sentinel.ok(&["SENTINEL", "SET", MASTER, "quorum", "1"]);
    wait::wait("+set to be told", SHORT, || {
        let seen = lines_of(&out);
        let line = format!("2|+set|master {MASTER} 127.0.0.1 {port} quorum 1");
        wait::expect(seen.contains(&line), seen)
    });
}

#[test]
fn reconfig_scripts_of_leader_and_observers_get_both_addresses() {
    let world = world!();
    let out = world.path("reconfigured");
    let script = world.script("reconfig", &format!("echo \"$@\" >> {}", out.display()));
    let mut options = GroupOptions { quorum: 1, ..Default::default() };
    options.sentinel.lines =
        vec![format!("sentinel client-reconfig-script {MASTER} {}", script.display())];
    let group = Group::start(&world, options);
    let old = group.nodes[0].port;
    group.sentinels[0].ok(&["SENTINEL", "FAILOVER", MASTER]);
    let new = group.nodes[group.wait_switched_from(old)].port;
    let addresses = format!("127.0.0.1 {old} 127.0.0.1 {new}");
    wait::wait("three scripts to have run", LONG, || {
        let mut seen = lines_of(&out);
        seen.sort();
        wait::expect_eq(
            seen,
            vec![
                format!("{MASTER} leader start {addresses}"),
                format!("{MASTER} observer start {addresses}"),
                format!("{MASTER} observer start {addresses}"),
            ],
        )
    });
}

/// The numbers of the descriptors that the script wrote into a file of its own.
fn descriptors(out: &Path) -> Vec<String> {
    let mut numbers = lines_of(out);
    numbers.sort();
    numbers
}

/// A script sees the descriptors it sees when nobody hands it any but the first three.
#[test]
fn scripts_inherit_no_descriptors() {
    let world = world!();
    let out = world.path("descriptors");
    let body = format!(
        "[ \"$1\" = +sdown ] || exit 0\nls /proc/$$/fd > {0}.part\nmv {0}.part {0}",
        out.display()
    );
    let script = world.script("look", &body);
    let status = Command::new(&script).arg("+sdown").stdin(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()));
    let plain = descriptors(&out);
    assert!(plain.len() >= 3, "{plain:?}");
    fs::remove_file(&out).unwrap();
    let sentinel = notifying(&world, &script, 300);
    // Open connections that must not be seen from inside.
    let _clients: Vec<_> = (0..5).map(|_| sentinel.connect().unwrap()).collect();
    wait::wait("the script to write", SHORT, || wait::expect(out.exists(), "nothing"));
    let seen = descriptors(&out);
    assert!(seen.len() >= 3 && seen.iter().all(|number| plain.contains(number)), "{seen:?}");
}

#[test]
fn scripts_start_with_default_signals() {
    let world = world!(only_ours: "its scripts inherit ignored signals");
    let out = world.path("signals");
    let body = format!("[ \"$1\" = +sdown ] && grep ^Sig /proc/self/status > {}", out.display());
    let script = world.script("look", &body);
    let _sentinel = notifying(&world, &script, 300);
    wait::wait("the script to write", SHORT, || {
        let seen = lines_of(&out);
        wait::expect(seen.len() >= 5, seen)
    });
    for line in lines_of(&out) {
        let (name, value) = line.split_once(":\t").unwrap();
        if name == "SigBlk" || name == "SigIgn" {
            assert_eq!(value, "0".repeat(16), "{name} of a script");
        }
    }
}

#[test]
fn scripts_that_end_with_1_are_retried() {
    let world = world!();
    let out = world.path("tries");
    // The first two runs for +sdown fail.
    let body = format!(
        "[ \"$1\" = +sdown ] || exit 0\necho try >> {0}\n[ $(wc -l < {0}) -ge 3 ] || exit 1",
        out.display()
    );
    let script = world.script("flaky", &body);
    let sentinel = notifying(&world, &script, 2500);
    sentinel.ok(&["SENTINEL", "DEBUG", "script-retry-delay", "300"]);
    let recorder = sentinel.record();
    wait::wait("a retry to be scheduled", SHORT, || {
        let jobs = sentinel.ask(&["SENTINEL", "PENDING-SCRIPTS"]);
        let job = jobs.items().first().ok_or("none")?.table();
        wait::expect(job["flags"] == "scheduled" && job["retry-num"] == "1", job)
    });
    wait::wait("the third try", SHORT, || wait::expect_eq(lines_of(&out).len(), 3));
    wait::wait("an empty queue", SHORT, || {
        let jobs = sentinel.ask(&["SENTINEL", "PENDING-SCRIPTS"]);
        wait::expect(jobs.items().is_empty(), jobs)
    });
    assert_eq!(lines_of(&out).len(), 3);
    recorder.assert_none("-script-error");
}

#[test]
fn scripts_that_end_with_2_are_not_retried() {
    let world = world!();
    let out = world.path("tries");
    let body = format!("[ \"$1\" = +sdown ] || exit 0\necho try >> {}\nexit 2", out.display());
    let script = world.script("broken", &body);
    let sentinel = notifying(&world, &script, 2000);
    sentinel.ok(&["SENTINEL", "DEBUG", "script-retry-delay", "100"]);
    let recorder = sentinel.record();
    let text = recorder.wait("-script-error", &script.display().to_string());
    assert_eq!(text, format!("{} 0 2", script.display()));
    assert_eq!(lines_of(&out).len(), 1);
    assert!(sentinel.ask(&["SENTINEL", "PENDING-SCRIPTS"]).items().is_empty());
}

#[test]
fn scripts_that_hang_are_killed() {
    let world = world!();
    let script = world.script("hang", "[ \"$1\" = +sdown ] || exit 0\nexec sleep 100");
    let sentinel = notifying(&world, &script, 2000);
    sentinel.ok(&["SENTINEL", "DEBUG", "script-max-runtime", "800"]);
    let recorder = sentinel.record();
    wait::wait("the script to run", SHORT, || {
        let jobs = sentinel.ask(&["SENTINEL", "PENDING-SCRIPTS"]);
        let job = jobs.items().first().ok_or("none")?.table();
        wait::expect(job["flags"] == "running" && job["pid"] != "0", &job)?;
        let words: Vec<&Value> = jobs.items()[0].items().iter().collect();
        wait::expect(words.iter().any(|value| value.texts().contains(&"+sdown".into())), job)
    });
    let text = recorder.wait("-script-timeout", "hang");
    let pid = text.rsplit(' ').next().unwrap();
    wait::wait("the process to be gone", SHORT, || {
        wait::expect(!Path::new(&format!("/proc/{pid}")).exists(), pid)
    });
    wait::wait("a retry after the kill", SHORT, || {
        let jobs = sentinel.ask(&["SENTINEL", "PENDING-SCRIPTS"]);
        let job = jobs.items().first().ok_or("none")?.table();
        wait::expect(job["flags"] == "scheduled", job)
    });
}
