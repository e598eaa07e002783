//! Clocks that jump. The clocks of a process are its own by a preloaded library.

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::sentinel::Sentinel;
use crate::support::wait::{self, SHORT, expect};
use crate::support::world::World;
use crate::world;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

const HOUR_S: i64 = 3600;
const YEAR_S: i64 = 365 * 24 * HOUR_S;

/// The clocks of all processes that were started with them.
struct Clocks {
    file: File,
    environment: Vec<(String, String)>,
}

impl Clocks {
    /// `None` if there is no C compiler.
    fn new(world: &Rc<World>) -> Option<Clocks> {
        if !world.need("cc") {
            return None;
        }
        let library = world.path("clock_steps.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock_steps.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([library.as_os_str(), source.as_ref(), "-ldl".as_ref()])
            .status();
        assert!(built.is_ok_and(|status| status.success()), "{source} does not compile");
        let path: PathBuf = world.path("steps");
        fs::write(&path, [0; 16]).expect("the file of the steps");
        let file = fs::OpenOptions::new().write(true).open(&path).expect("the file of the steps");
        let text = |path: &PathBuf| path.display().to_string();
        let environment =
            vec![("LD_PRELOAD".into(), text(&library)), ("CLOCK_STEPS".into(), text(&path))];
        Some(Clocks { file, environment })
    }

    /// From now on the wall clock is ahead by so much.
    fn set_wall(&self, ahead_s: i64) {
        self.file.write_all_at(&ahead_s.to_ne_bytes(), 0).expect("the steps are written");
    }

    /// From now on the clock since boot is ahead by so much.
    fn set_boot(&self, ahead_s: i64) {
        self.file.write_all_at(&ahead_s.to_ne_bytes(), 8).expect("the steps are written");
    }

    fn group(&self, world: &Rc<World>) -> Group {
        let mut options = GroupOptions { down_after_ms: 1000, ..GroupOptions::default() };
        options.sentinel.environment = self.environment.clone();
        Group::start(world, options)
    }
}

/// Waits until the master has answered a PING that was sent after this call.
fn wait_fresh_pong(sentinel: &Sentinel) {
    let start = Instant::now();
    wait::wait("a fresh answer of the master", SHORT, || {
        let age = sentinel.master_field(MASTER, "last-ok-ping-reply");
        let age_ms: u128 = age.parse().map_err(|_| "no number")?;
        expect(age_ms < start.elapsed().as_millis(), age)
    });
}

/// Neither tilt nor anything else follows from a step of the wall clock.
#[test]
fn a_step_of_the_wall_clock_means_nothing() {
    let world = world!(only_ours: "it measures with the wall clock and goes into tilt");
    let Some(clocks) = Clocks::new(&world) else { return };
    let mut group = clocks.group(&world);
    for ahead_s in [HOUR_S, -HOUR_S, 20 * YEAR_S, -20 * YEAR_S, 3, 0] {
        clocks.set_wall(ahead_s);
        for sentinel in &group.sentinels {
            wait_fresh_pong(sentinel);
            // Longer than down-after and than what a late tick may take.
            wait::holds("no tilt", Duration::from_millis(400), || {
                expect(!sentinel.log_text().contains("+tilt"), "tilt")
            });
        }
    }
    clocks.set_wall(20 * YEAR_S);
    let old = group.nodes[0].port;
    let start = Instant::now();
    group.nodes[0].kill();
    group.wait_switched_from(old);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(6), "the failover took {took:?}");
    for sentinel in &group.sentinels {
        let log = sentinel.log_text();
        assert_eq!(log.matches("+tilt").count(), 0, "{log}");
        assert_eq!(log.matches("+sdown master ").count(), 1, "{log}");
        // The step was really seen.
        let line = log.lines().find(|line| line.contains("+switch-master")).expect("a switch");
        let year = line.split(' ').nth(3).and_then(|year| year.parse().ok()).unwrap_or(0);
        assert!(year >= 2044, "{line}");
    }
}

/// The clock since boot goes on while the machine is suspended: waking up means tilt, and that
/// nobody is held down for what could not be heard.
#[test]
fn a_leap_of_the_boot_clock_means_tilt() {
    let world = world!(only_ours: "it looks at the wall clock");
    let Some(clocks) = Clocks::new(&world) else { return };
    let group = clocks.group(&world);
    for sentinel in &group.sentinels {
        sentinel.ok(&["SENTINEL", "DEBUG", "tilt-period", "1000"]);
    }
    let recorders: Vec<_> = group.sentinels.iter().map(Sentinel::record).collect();
    clocks.set_boot(HOUR_S);
    for (sentinel, recorder) in group.sentinels.iter().zip(&recorders) {
        recorder.wait("+tilt", "");
        recorder.wait("-tilt", "");
        wait_fresh_pong(sentinel);
        recorder.assert_none("+sdown");
    }
    assert_eq!(group.agreed_port(), Ok(group.nodes[0].port));
}
