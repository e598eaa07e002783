//! The disk worker: a thread that saves the state and comes back through the waker.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use mio::Waker;

use super::save::{Saver, TempName};
use crate::config::rewrite::rewrite;
use crate::node::SaveJob;

/// The core has one save in flight; a few more would be a mistake of its, but not lost.
const JOBS_WAITING_MAX: usize = 4;
/// Address space; only the pages that are touched cost memory.
const STACK_BYTES: usize = 256 << 10;

/// What the core is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    pub generation: u64,
    pub result: Result<(), String>,
    pub took_ms: u64,
}

/// The loop's side of the worker. The thread starts with the first job.
#[derive(Debug)]
pub struct Disk {
    saver: Option<Saver>,
    temp: TempName,
    jobs: Option<SyncSender<SaveJob>>,
    done_tx: Sender<Saved>,
    done: Receiver<Saved>,
    waker: Arc<Waker>,
    in_flight: usize,
}

impl Disk {
    /// A worker for the configuration file at `path`, which is absolute.
    pub fn new(path: PathBuf, waker: Arc<Waker>) -> Disk {
        let saver = Saver::new(path);
        let (done_tx, done) = channel();
        let temp = saver.temp_name();
        Disk { saver: Some(saver), temp, jobs: None, done_tx, done, waker, in_flight: 0 }
    }

    /// Hands a job over; whatever happens, one [`Saved`] comes back.
    pub fn submit(&mut self, job: SaveJob) {
        self.in_flight += 1;
        let generation = job.generation;
        if let Err(reason) = self.try_submit(job) {
            let saved = Saved { generation, result: Err(reason), took_ms: 0 };
            // The receiver lives in `self`, and without a wake the next turn finds it anyway.
            let _ = self.done_tx.send(saved);
            let _ = self.waker.wake();
        }
    }

    fn try_submit(&mut self, job: SaveJob) -> Result<(), String> {
        if let Some(saver) = self.saver.take() {
            let (jobs, inbox) = sync_channel(JOBS_WAITING_MAX);
            let (done, waker) = (self.done_tx.clone(), Arc::clone(&self.waker));
            let thread = Builder::new().name("disk".to_string()).stack_size(STACK_BYTES);
            match thread.spawn(move || work(saver, inbox, done, waker)) {
                Ok(_) => self.jobs = Some(jobs),
                Err(e) => return Err(format!("cannot start the disk thread: {e}")),
            }
        }
        match self.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err("too many saves at once".to_string()),
            Some(Err(TrySendError::Disconnected(_))) | None => {
                Err("the disk thread is gone".to_string())
            }
        }
    }

    /// The next result, if there is one.
    pub fn poll(&mut self) -> Option<Saved> {
        let saved = self.done.try_recv().ok()?;
        self.in_flight -= 1;
        Some(saved)
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

fn work(mut saver: Saver, jobs: Receiver<SaveJob>, done: Sender<Saved>, waker: Arc<Waker>) {
    while let Ok(job) = jobs.recv() {
        let start = Instant::now();
        let result = saver.save(|old| rewrite(old, &job.state));
        let took_ms = start.elapsed().as_millis() as u64;
        let generation = job.generation;
        drop(job);
        if done.send(Saved { generation, result, took_ms }).is_err() {
            return;
        }
        // Only a closed poll cannot be woken, and then nobody waits.
        let _ = waker.wake();
    }
}
