//! The disk worker: a thread that saves the state, reads and writes other files for the core, and
//! comes back through the waker.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use mio::Waker;

use super::files;
use super::save::{Saver, TempName};
use super::system::reason;
use crate::config::again::Rewriter;
use crate::node::SaveJob;
use crate::util::ident::AskId;
use crate::util::time::Mono;

/// The core has one save in flight and few questions about files; more would be a mistake of its.
const JOBS_WAITING_MAX: usize = 128;
/// A file that is read for the core is no larger.
const READ_BYTES_MAX: u64 = 64 << 20;
/// How often the worker looks whether little space is left.
const SPACE_EVERY_MS: u64 = 15_000;
/// Address space; only the pages that are touched cost memory.
const STACK_BYTES: usize = 256 << 10;

/// What the core is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    Saved {
        generation: u64,
        result: Result<(), String>,
        took_ms: u64,
    },
    /// A question has its answer.
    Answered {
        ask: AskId,
        result: Result<Vec<u8>, String>,
    },
}

/// What the worker is to do.
#[derive(Debug)]
pub enum Job {
    Save(SaveJob),
    Read {
        ask: AskId,
        path: Vec<u8>,
    },
    Write {
        ask: AskId,
        path: Vec<u8>,
        text: Vec<u8>,
    },
    /// Nobody waits for it.
    LookAtSpace,
}

impl Job {
    fn failed(&self, reason: String) -> Option<Done> {
        match self {
            Job::Save(job) => {
                let generation = job.generation;
                Some(Done::Saved { generation, result: Err(reason), took_ms: 0 })
            }
            Job::Read { ask, .. } | Job::Write { ask, .. } => {
                Some(Done::Answered { ask: *ask, result: Err(reason) })
            }
            Job::LookAtSpace => None,
        }
    }
}

/// The loop's side of the worker. The thread starts with the first job.
#[derive(Debug)]
pub struct Disk {
    saver: Option<Saver>,
    temp: TempName,
    jobs: Option<SyncSender<Job>>,
    done_tx: Sender<Done>,
    done: Receiver<Done>,
    waker: Arc<Waker>,
    in_flight: usize,
    /// When to look at the space that is left.
    space_due: Option<Mono>,
}

impl Disk {
    /// A worker for the configuration file at `path`, which is absolute.
    pub fn new(path: PathBuf, waker: Arc<Waker>) -> Disk {
        let mut saver = Saver::new(path);
        saver.look_at_space();
        let (done_tx, done) = channel();
        let temp = saver.temp_name();
        Disk {
            saver: Some(saver),
            temp,
            jobs: None,
            done_tx,
            done,
            waker,
            in_flight: 0,
            space_due: None,
        }
    }

    /// Hands a job over; whatever happens, one [`Done`] comes back.
    pub fn submit(&mut self, job: Job) {
        self.in_flight += usize::from(!matches!(job, Job::LookAtSpace));
        if let Err(Some(failed)) = self.try_submit(job) {
            // The receiver lives in `self`, and without a wake the next turn finds it anyway.
            let _ = self.done_tx.send(*failed);
            let _ = self.waker.wake();
        }
    }

    /// Has the worker look from time to time whether little space is left.
    pub fn look_at_space(&mut self, now: Mono) {
        let due = self.space_due.get_or_insert(now.after(SPACE_EVERY_MS));
        if *due <= now && self.in_flight == 0 {
            *due = now.after(SPACE_EVERY_MS);
            self.submit(Job::LookAtSpace);
        }
    }

    fn try_submit(&mut self, job: Job) -> Result<(), Option<Box<Done>>> {
        let failed = |job: &Job, reason: &str| Err(job.failed(reason.to_string()).map(Box::new));
        if let Some(saver) = self.saver.take() {
            let (jobs, inbox) = sync_channel(JOBS_WAITING_MAX);
            let (done, waker) = (self.done_tx.clone(), Arc::clone(&self.waker));
            let thread = Builder::new().name("disk".to_string()).stack_size(STACK_BYTES);
            match thread.spawn(move || work(saver, inbox, done, waker)) {
                Ok(_) => self.jobs = Some(jobs),
                Err(e) => return failed(&job, &format!("cannot start the disk thread: {e}")),
            }
        }
        let Some(jobs) = &self.jobs else { return failed(&job, "the disk thread is gone") };
        match jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job)) => failed(&job, "too many saves at once"),
            Err(TrySendError::Disconnected(job)) => failed(&job, "the disk thread is gone"),
        }
    }

    /// The next result, if there is one.
    pub fn poll(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        self.in_flight -= 1;
        Some(done)
    }

    /// Before the process ends: gives the save that is under way `limit` to end, so that no
    /// temporary file stays behind; one that takes longer loses its temporary file.
    pub fn finish(&mut self, limit: Duration) {
        let start = Instant::now();
        while self.in_flight > 0 {
            let left = limit.saturating_sub(start.elapsed());
            if self.done.recv_timeout(left).is_err() {
                break;
            }
            self.in_flight -= 1;
        }
        if let Some(temp) = self.temp.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = fs::remove_file(temp);
        }
    }
}

fn work(mut saver: Saver, jobs: Receiver<Job>, done: Sender<Done>, waker: Arc<Waker>) {
    let mut rewriter = Rewriter::default();
    while let Ok(job) = jobs.recv() {
        let result = match job {
            Job::Save(job) => {
                let start = Instant::now();
                let result = saver.save(|old| rewriter.rewrite(old, &job.state));
                let took_ms = start.elapsed().as_millis() as u64;
                Done::Saved { generation: job.generation, result, took_ms }
            }
            Job::Read { ask, path } => Done::Answered { ask, result: read(&path) },
            Job::Write { ask, path, text } => {
                let mut other = saver.for_other(files::path(&path).to_path_buf());
                Done::Answered { ask, result: other.save(|_| text).map(|()| Vec::new()) }
            }
            Job::LookAtSpace => {
                saver.look_at_space();
                continue;
            }
        };
        if done.send(result).is_err() {
            return;
        }
        // Only a closed poll cannot be woken, and then nobody waits.
        let _ = waker.wake();
    }
}

/// The text of a file. Errors: the system's text.
pub fn read(path: &[u8]) -> Result<Vec<u8>, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let file = fs::File::open(files::path(path))?;
        let mut text = Vec::new();
        file.take(READ_BYTES_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > READ_BYTES_MAX {
            return Err(std::io::Error::from_raw_os_error(libc::EFBIG));
        }
        Ok(text)
    };
    read().map_err(|e| reason(&e))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use mio::{Poll, Token};

    use super::*;
    use crate::shell::testing::{TempDir, wait_until};

    #[test]
    fn questions_about_files_are_answered() {
        let dir = TempDir::new("disk");
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let mut disk = Disk::new(dir.path().join("sentinel.conf"), waker);
        let path = |name: &str| dir.path().join(name).as_os_str().as_bytes().to_vec();
        disk.submit(Job::Write { ask: AskId(1), path: path("a"), text: b"text".to_vec() });
        disk.submit(Job::Read { ask: AskId(2), path: path("a") });
        disk.submit(Job::Read { ask: AskId(3), path: path("b") });
        disk.submit(Job::Write { ask: AskId(4), path: path("no/a"), text: Vec::new() });
        let mut answers = Vec::new();
        wait_until("all is answered", || {
            while let Some(done) = disk.poll() {
                let Done::Answered { ask, result } = done else { panic!("{done:?}") };
                answers.push((ask.0, result));
            }
            answers.len() == 4
        });
        let missing = || Err("No such file or directory".to_string());
        let wanted =
            [(1, Ok(Vec::new())), (2, Ok(b"text".to_vec())), (3, missing()), (4, missing())];
        assert_eq!(answers, wanted);
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [dir.path().join("a")], "no temporary file stays");
    }
}
