//! Stops one thread of a process at the entry of each of its system calls.

use crate::support::process::Process;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// Longer than a thread under test takes from one stop to the next.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What the thread is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// To enter the system call of this number.
    Call(i64),
    /// To wait for its next job.
    Idle,
    /// Nothing any more.
    Gone,
}

/// A traced thread. Dropping it lets the thread run freely again. The process does not outlive
/// the test's thread.
pub struct Tracer {
    tid: Pid,
    at_entry: bool,
    gone: bool,
}

impl Tracer {
    /// Takes hold of the disk thread, which exists since the first save. `Err` with the reason if
    /// tracing is not permitted here.
    pub fn of_disk_thread(process: &Process) -> Result<Tracer, String> {
        let dir = format!("/proc/{}/task", process.pid());
        let tasks = fs::read_dir(&dir).expect("the process runs");
        let disk = tasks.flatten().find(|task| {
            let name = fs::read_to_string(task.path().join("comm"));
            name.is_ok_and(|name| name.trim() == "disk")
        });
        let tid = disk.expect("the disk thread runs").file_name();
        let tid = tid.to_string_lossy().parse().expect("a number");
        let tracer = Tracer::seize(tid, Options::empty())?;
        ptrace::interrupt(tracer.tid).expect("a traced thread can be stopped");
        tracer.wait();
        Ok(tracer)
    }

    /// Takes hold of the disk thread the moment it begins to live: `cause` is what makes the
    /// process start it.
    pub fn of_coming_thread(process: &Process, cause: impl FnOnce()) -> Result<Tracer, String> {
        let main = Tracer::seize(process.pid(), Options::PTRACE_O_TRACECLONE)?;
        cause();
        let clone = main.wait();
        assert!(matches!(clone, Some(WaitStatus::PtraceEvent(..))), "no new thread but {clone:?}");
        let tid = ptrace::getevent(main.tid).expect("the event names the thread");
        let tid = Pid::from_raw(tid as i32);
        let tracer = Tracer { tid, at_entry: false, gone: false };
        tracer.wait();
        Ok(tracer)
    }

    fn seize(tid: i32, options: Options) -> Result<Tracer, String> {
        let tid = Pid::from_raw(tid);
        let options = options | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
        match ptrace::seize(tid, options) {
            Ok(()) => Ok(Tracer { tid, at_entry: false, gone: false }),
            Err(error @ (Errno::EPERM | Errno::ENOSYS)) => Err(format!("ptrace ({error})")),
            Err(error) => panic!("ptrace: {error}"),
        }
    }

    /// Lets the thread run until it enters its next system call.
    pub fn next(&mut self) -> Stop {
        while !self.gone {
            match ptrace::syscall(self.tid, None) {
                Ok(()) => {}
                Err(Errno::ESRCH) => self.gone = true,
                Err(error) => panic!("ptrace: {error}"),
            }
            match self.wait() {
                Some(WaitStatus::PtraceSyscall(_)) => {
                    self.at_entry = !self.at_entry;
                    if self.at_entry {
                        return self.call();
                    }
                }
                Some(WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(..)) => {}
                _ => self.gone = true,
            }
        }
        Stop::Gone
    }

    /// The system call that the thread stands before.
    fn call(&self) -> Stop {
        let text = fs::read_to_string(format!("/proc/{}/syscall", self.tid)).unwrap_or_default();
        match text.split(' ').next().and_then(|number| number.parse().ok()) {
            Some(libc::SYS_futex | libc::SYS_restart_syscall) => Stop::Idle,
            Some(number) => Stop::Call(number),
            None => Stop::Gone,
        }
    }

    /// Lets it run up to the next entry of this call.
    #[track_caller]
    pub fn run_to(&mut self, number: i64) {
        loop {
            match self.next() {
                Stop::Call(call) if call == number => return,
                Stop::Gone => panic!("it ended before system call {number}"),
                _ => {}
            }
        }
    }

    /// Lets a job begin and end; the calls that it took.
    pub fn run_job(&mut self) -> Vec<i64> {
        let mut calls = Vec::new();
        loop {
            match self.next() {
                Stop::Call(number) => calls.push(number),
                Stop::Idle if calls.is_empty() => {}
                Stop::Idle | Stop::Gone => return calls,
            }
        }
    }

    /// The next change of the thread; `None` if it is gone.
    fn wait(&self) -> Option<WaitStatus> {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        let start = Instant::now();
        loop {
            match waitpid(self.tid, Some(flags)) {
                Ok(WaitStatus::StillAlive) => {}
                Ok(status) => return Some(status),
                Err(Errno::ECHILD) => return None,
                Err(error) => panic!("waitpid: {error}"),
            }
            assert!(start.elapsed() < STOP_LIMIT, "the thread neither stops nor ends");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Tracer {
    /// A thread that is gone must be waited for, or its process never ends.
    fn drop(&mut self) {
        if self.gone || ptrace::detach(self.tid, None::<Signal>).is_ok() {
            return;
        }
        let _ = ptrace::interrupt(self.tid);
        while let Some(WaitStatus::PtraceEvent(..) | WaitStatus::PtraceSyscall(_)) = self.wait() {
            if ptrace::detach(self.tid, None::<Signal>).is_ok() {
                return;
            }
        }
    }
}

/// Ends a process at once, wherever its threads stand.
pub fn kill_now(process: &Process, mut tracer: Tracer) {
    kill(Pid::from_raw(process.pid()), Signal::SIGKILL).expect("it runs");
    while !tracer.gone {
        tracer.next();
    }
    process.wait("the process to be killed");
}
