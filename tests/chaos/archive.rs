//! Copies of config files, taken at random moments, each tried out.

use crate::checks::Copy;
use crate::cluster::Cluster;
use crate::net::{Door, cell};
use crate::support::process::Process;
use crate::support::sentinel::Program;
use crate::support::wait::SHORT;
use sentineld::util::rng::Rng;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest pause between two looks.
const PAUSE_MS: u64 = 40;

#[derive(Default)]
struct Shared {
    copies: Mutex<Vec<Copy>>,
    problems: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// Looks at the config files of a cluster until it is dropped.
pub struct Archive {
    sources: Vec<Source>,
    dir: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Where `redis-sentinel` can be tried without meeting anybody, if it is here.
    cell: Option<Door>,
    tried_by_redis: usize,
}

#[derive(Clone)]
struct Source {
    path: PathBuf,
    ours: bool,
}

impl Archive {
    /// Starts looking.
    pub fn start(cluster: &Cluster, seed: u64) -> Archive {
        let sources: Vec<Source> = cluster
            .sentinels
            .iter()
            .map(|s| Source { path: s.config.clone(), ours: s.program == Program::UnderTest })
            .collect();
        let dir = cluster.world.new_dir("copies");
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let (shared, sources, dir) = (shared.clone(), sources.clone(), dir.clone());
            let mut rng = Rng::new(seed);
            move || {
                while !shared.ended.load(Ordering::Relaxed) {
                    let which = rng.below(sources.len() as u64) as usize;
                    look(&shared, &sources, which, &dir);
                    std::thread::sleep(Duration::from_millis(rng.below(PAUSE_MS)));
                }
            }
        });
        let cell = if Program::Redis.path().is_file() { cell().ok() } else { None };
        Archive { sources, dir, shared, thread: Some(thread), cell, tried_by_redis: 0 }
    }

    /// Looks at the file of one sentinel now, as its process was just killed: as `redis-sentinel`
    /// would read it too, if that is here.
    pub fn look_after_death(&mut self, sentinel: usize) -> String {
        look(&self.shared, &self.sources, sentinel, &self.dir);
        let text = fs::read_to_string(&self.sources[sentinel].path).unwrap_or_default();
        if let Some(cell) = &self.cell {
            self.tried_by_redis += 1;
            if let Err(problem) = loaded_by_redis(&text, &self.dir, cell) {
                self.problems().push(format!("sentinel {sentinel}: {problem}\n{text}"));
            }
        }
        text
    }

    fn problems(&self) -> MutexGuard<'_, Vec<String>> {
        self.shared.problems.lock().expect("nobody panics with the problems")
    }

    /// Ends looking; gives the copies, how many of them `redis-sentinel` tried, and what was wrong.
    pub fn close(mut self) -> (Vec<Copy>, usize, Vec<String>) {
        self.stop();
        let copies = std::mem::take(&mut *self.shared.copies.lock().expect("the thread ended"));
        let problems = std::mem::take(&mut *self.problems());
        (copies, self.tried_by_redis, problems)
    }

    fn stop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the archive panicked");
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Keeps the file of a sentinel if it is not as it was last time, and lets our program check it.
fn look(shared: &Shared, sources: &[Source], which: usize, dir: &Path) {
    // Held all the time, so that copies are in order.
    let mut copies = shared.copies.lock().expect("nobody panics with the copies");
    let Source { path, ours } = &sources[which];
    let problem = match fs::read_to_string(path) {
        Err(error) => Err(format!("{error}")),
        Ok(text)
            if copies.iter().rfind(|c| c.sentinel == which).is_some_and(|c| c.text == text) =>
        {
            return;
        }
        Ok(text) => {
            let checked = checked_by_ours(&text, dir).map_err(|told| format!("{told}\n{text}"));
            copies.push(Copy { sentinel: which, ours: *ours, text });
            checked
        }
    };
    if let Err(problem) = problem {
        let mut problems = shared.problems.lock().expect("nobody panics with the problems");
        problems.push(format!("the file of sentinel {which}: {problem}"));
    }
}

fn checked_by_ours(text: &str, dir: &Path) -> Result<(), String> {
    let copy = dir.join("checked.conf");
    fs::write(&copy, text).map_err(|error| error.to_string())?;
    let output = Command::new(env!("CARGO_BIN_EXE_sentineld"))
        .arg("--check-config")
        .arg(&copy)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Starts `redis-sentinel` on a copy, where it reaches nobody, until it monitors.
fn loaded_by_redis(text: &str, dir: &Path, cell: &Door) -> Result<(), String> {
    let (copy, output) = (dir.join("redis.conf"), dir.join("redis.out"));
    let told = |error: std::io::Error| error.to_string();
    fs::write(&copy, text).map_err(told)?;
    let file = File::create(&output).map_err(told)?;
    let mut command = Command::new(Program::Redis.path());
    command.arg(&copy).args(["--bind", "127.0.0.1", "--logfile", "", "--daemonize", "no"]);
    command.stderr(file.try_clone().map_err(told)?).stdout(file);
    let process = cell.within(|| Process::spawn(&mut command)).map_err(told)?;
    let start = Instant::now();
    loop {
        let seen = fs::read_to_string(&output).map_err(told)?;
        if seen.contains(" +monitor master ") {
            return Ok(());
        }
        if process.exit_code().is_some() || start.elapsed() > SHORT {
            return Err(format!("redis-sentinel does not load this: {seen}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
