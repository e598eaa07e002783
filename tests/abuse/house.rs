//! The surroundings of each test: a sentinel, the master it watches, and a witness.

use crate::gauge::Gauge;
use crate::raw::Raw;
use crate::support::fake::FakeMaster;
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::wait::{self, SHORT};
use crate::support::world::World;
use crate::witness::Witness;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Name of the master that must never be held down.
pub const MASTER: &str = "mymaster";

/// The master is down after so long without an answer: much longer than any turn may take.
const DOWN_AFTER_MS: u64 = 1000;
/// Memory that may stay in use after everything was closed, in KiB.
const LEFT_OVER_KIB: u64 = 4 << 10;
/// CPU ticks of a second of quiet.
const QUIET_TICKS: u64 = 10;

/// One at a time, so that none measures the load of another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits until no other test runs.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A sentinel under attack.
pub struct House {
    pub sentinel: Sentinel,
    pub gauge: Gauge,
    witness: Option<Witness>,
    descriptors: usize,
    rss_kib: u64,
    start: Instant,
    _master: FakeMaster,
    _alone: MutexGuard<'static, ()>,
}

impl House {
    /// Starts everything; `lines` are added to the sentinel's file.
    pub fn new(world: &Rc<World>, lines: &[&str]) -> House {
        House::with(world, SentinelOptions::with_lines(lines.iter().copied()), |sentinel| {
            sentinel.launch()
        })
    }

    /// As [`House::new`], with the way in which the sentinel is launched.
    pub fn with(
        world: &Rc<World>,
        mut options: SentinelOptions,
        launch: impl FnOnce(&mut Sentinel) -> Result<(), String>,
    ) -> House {
        let start = Instant::now();
        let alone = alone();
        let port = world.port();
        let master = FakeMaster::start(port);
        let own = [
            format!("sentinel monitor {MASTER} 127.0.0.1 {port} 1"),
            format!("sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}"),
        ];
        options.lines.splice(0..0, own);
        let mut sentinel = Sentinel::prepare(world, &options);
        launch(&mut sentinel).expect("the sentinel starts");
        wait::wait("the master to be connected", SHORT, || {
            let flags = sentinel.master_field(MASTER, "flags");
            wait::expect(flags == "master", flags)?;
            wait::expect(master.pings().len() > 1, "no PINGs")
        });
        let witness = Witness::start(sentinel.connect().expect("it accepts"), MASTER);
        let gauge = Gauge(sentinel.process().pid());
        House {
            witness: Some(witness),
            descriptors: gauge.descriptors(),
            rss_kib: gauge.rss_kib(),
            gauge,
            sentinel,
            start,
            _master: master,
            _alone: alone,
        }
    }

    /// A raw connection.
    pub fn raw(&self) -> Raw {
        Raw::connect(self.sentinel.port)
    }

    /// How much memory has grown since the start, in KiB.
    pub fn grown_kib(&self) -> u64 {
        self.gauge.rss_kib().saturating_sub(self.rss_kib)
    }

    /// Wants that memory has not grown by more than this.
    #[track_caller]
    pub fn assert_grown_at_most(&self, mib: u64) {
        let grown = self.grown_kib();
        assert!(grown <= mib << 10, "{grown} KiB more than at the start, over {mib} MiB");
    }

    /// `connected_clients` of INFO, without the connection that asks and without the witness.
    pub fn other_clients(&self) -> usize {
        let shown = self.sentinel.info()["connected_clients"].parse::<usize>().expect("a number");
        shown - 1 - usize::from(self.witness.is_some())
    }

    /// After the attack: everything is as it was, and everybody was served meanwhile.
    #[track_caller]
    pub fn finish(mut self) {
        let seen = self.witness.take().expect("one finish").finish();
        let (answers, worst) = (seen.times.len(), seen.times.iter().max());
        let grown = self.grown_kib();
        println!(
            "{answers} answers, at worst {worst:?}, {grown} KiB more at the end of the attack"
        );
        wait::wait("all clients to be gone", SHORT, || {
            let others = self.other_clients();
            wait::expect(others == 0, others)
        });
        wait::wait("descriptors to be closed", SHORT, || {
            let now = self.gauge.descriptors();
            wait::expect(now <= self.descriptors, (now, self.descriptors))
        });
        wait::wait("memory to be given back", SHORT, || {
            let grown = self.grown_kib();
            wait::expect(grown <= LEFT_OVER_KIB, format!("{grown} KiB more"))
        });
        self.assert_quiet();
        let log = self.sentinel.log_text();
        let down = |line: &&str| line.contains("+sdown") && line.contains(MASTER);
        assert_eq!(log.lines().find(down), None, "the master was held down");
        assert!(!log.contains("+tilt"), "tilt");
        println!("{:?} in all", self.start.elapsed());
    }

    /// Wants a time in which hardly any CPU is used.
    #[track_caller]
    fn assert_quiet(&self) {
        wait::wait("quiet", SHORT, || {
            let (start, before) = (Instant::now(), self.gauge.ticks());
            std::thread::sleep(Duration::from_millis(500));
            let ticks = (self.gauge.ticks() - before) as f64 / start.elapsed().as_secs_f64();
            wait::expect(ticks <= QUIET_TICKS as f64, format!("{ticks} ticks in a second"))
        });
    }
}
