//! What every measurement is given: the two programs, the settings, a line of progress, and the
//! means to start processes that never outlive this one.
#![forbid(unsafe_code)]

use std::cell::{RefCell, RefMut};
use std::hash::{BuildHasher, RandomState};
use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::guard::Guard;

/// Below the range from which outgoing connections take their ports.
const PORTS: std::ops::Range<u64> = 20_000..32_000;

/// A sentinel to be measured.
pub struct Program {
    /// Its file name.
    pub name: String,
    pub path: PathBuf,
    /// The first words of `--version`.
    pub version: String,
}

/// Which of the two is being measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Ours,
    Theirs,
}

impl Side {
    /// Both, in the order in which each run measures them.
    pub const BOTH: [Side; 2] = [Side::Ours, Side::Theirs];
}

/// The settings and the two programs.
pub struct Bench {
    pub ours: Program,
    pub theirs: Program,
    pub server: PathBuf,
    pub server_version: String,
    /// The pretend data nodes.
    pub farm: PathBuf,
    /// All settings and many runs instead of the short form.
    pub full: bool,
    /// How many runs each, if given.
    pub runs: Option<usize>,
    /// How many masters the farm has, if given.
    pub masters: Option<usize>,
    /// Leaves theirs out where many masters are measured, which takes it minutes.
    pub ours_only: bool,
    guard: RefCell<Guard>,
    next_port: AtomicU64,
    next_name: AtomicU64,
}

impl Bench {
    /// Finds the programs; environment: `SENTINEL_PROGRAM` is ours (default: the `sentineld` built
    /// beside this program), `OTHER_SENTINEL` theirs (default: `redis-sentinel`), `REDIS_SERVER`
    /// the data node (default: `redis-server`).
    pub fn new() -> Result<Bench, String> {
        let from = |name: &str, other: &str| {
            std::env::var_os(name).map_or_else(|| PathBuf::from(other), PathBuf::from)
        };
        let ours = match std::env::var_os("SENTINEL_PROGRAM") {
            Some(path) => PathBuf::from(path),
            None => built("../sentineld")?,
        };
        let server = on_path(&from("REDIS_SERVER", "redis-server"))?;
        Ok(Bench {
            ours: program(&ours)?,
            theirs: program(&from("OTHER_SENTINEL", "redis-sentinel"))?,
            server_version: version(&server)?,
            server,
            farm: built("farm")?,
            full: false,
            runs: None,
            masters: None,
            ours_only: false,
            guard: RefCell::new(Guard::start()?),
            next_port: AtomicU64::new(random_below(PORTS.end - PORTS.start)),
            next_name: AtomicU64::new(0),
        })
    }

    pub fn program(&self, side: Side) -> &Program {
        if side == Side::Ours { &self.ours } else { &self.theirs }
    }

    /// The names of both, ours first.
    pub fn names(&self) -> [&str; 2] {
        [&self.ours.name, &self.theirs.name]
    }

    /// Starts and ends processes.
    pub fn guard(&self) -> RefMut<'_, Guard> {
        self.guard.borrow_mut()
    }

    /// Where files of the measurements are; removed at the end.
    pub fn dir(&self) -> PathBuf {
        self.guard.borrow().dir.clone()
    }

    /// A fresh directory below [`Bench::dir`]; gives its name there.
    pub fn make_dir(&self) -> Result<String, String> {
        let name = format!("g{}", self.next_name.fetch_add(1, Ordering::Relaxed));
        let path = self.dir().join(&name);
        std::fs::create_dir(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(name)
    }

    /// A port that was free a moment ago and was not given out lately.
    pub fn free_port(&self) -> Result<u16, String> {
        for _ in PORTS {
            let step = self.next_port.fetch_add(1, Ordering::Relaxed);
            let port = (PORTS.start + step % (PORTS.end - PORTS.start)) as u16;
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
        Err("no free port".to_string())
    }
}

/// A random number below `limit`.
pub fn random_below(limit: u64) -> u64 {
    RandomState::new().hash_one(0) % limit
}

/// A random time below `limit`.
pub fn random_time(limit: Duration) -> Duration {
    Duration::from_micros(random_below(limit.as_micros() as u64))
}

/// Shows how far it is: on a terminal as one line that changes, else as lines.
pub fn progress(text: &str) {
    let mut err = std::io::stderr();
    let _ = if err.is_terminal() {
        write!(err, "\r\x1b[K{text}").and_then(|()| err.flush())
    } else {
        writeln!(err, "{text}")
    };
}

/// Says now and then how a long wait goes on.
pub struct Ticker {
    last: Instant,
}

impl Ticker {
    /// Begins now.
    pub fn new() -> Ticker {
        Ticker { last: Instant::now() }
    }

    /// Whether it is time for the next [`progress`]: lines that stay are fewer.
    pub fn due(&mut self) -> bool {
        let period = Duration::from_secs(if std::io::stderr().is_terminal() { 1 } else { 10 });
        let due = self.last.elapsed() >= period;
        if due {
            self.last = Instant::now();
        }
        due
    }
}

/// Tells of something that failed, on a line of its own.
pub fn complain(text: &str) {
    end_progress();
    eprintln!("bench: {text}");
}

/// Removes the line of [`progress`] from a terminal.
pub fn end_progress() {
    if std::io::stderr().is_terminal() {
        progress("");
    }
}

/// A program that was built together with this one, beside it.
fn built(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let built = own.parent().and_then(|dir| dir.join(name).canonicalize().ok());
    built.ok_or(format!("{name} is not built yet beside {}: run make bench", own.display()))
}

fn program(path: &Path) -> Result<Program, String> {
    let path = on_path(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Program { name, version: version(&path)?, path })
}

/// The file that a name without a directory stands for.
fn on_path(name: &Path) -> Result<PathBuf, String> {
    if name.components().count() > 1 {
        let path = std::path::absolute(name).map_err(|e| e.to_string())?;
        return path.is_file().then_some(path).ok_or(format!("{} is missing", name.display()));
    }
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&dirs).map(|dir| dir.join(name));
    candidates.find(|p| p.is_file()).ok_or(format!("{} is not installed", name.display()))
}

fn version(program: &Path) -> Result<String, String> {
    let out = Command::new(program).arg("--version").output();
    let out = out.map_err(|e| format!("cannot run {}: {e}", program.display()))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    Ok(words.join(" "))
}
