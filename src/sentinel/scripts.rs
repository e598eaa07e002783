//! The script queue (spec/events.md, Scripts): who runs when, retries, and the time limit. The
//! shell only forks, kills and reaps.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::Sentinel;
use super::action::{Action, Cx, LogLevel};
use super::event::{Event, Subject};
use super::log_limit::LineKind;
use crate::util::ident::JobId;
use crate::util::time::Mono;

/// Most jobs in the queue; the oldest waiting one is dropped for a new one.
pub const MAX_JOBS: usize = 256;
/// Most jobs that run at the same time.
pub const MAX_RUNNING: usize = 16;
/// Most starts of one job.
pub const MAX_STARTS: u32 = 10;

/// A script with its arguments, waiting or running.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: JobId,
    pub argv: Vec<Vec<u8>>,
    pub pid: Option<i32>,
    /// Set while it runs (or is being forked).
    pub started: Option<Mono>,
    /// When it is due.
    pub start_at: Mono,
    /// Starts so far.
    pub retry_num: u32,
}

/// The queue, oldest first.
#[derive(Clone, Debug, Default)]
pub struct ScriptQueue {
    jobs: VecDeque<Job>,
    next: u64,
}

impl ScriptQueue {
    /// All jobs, oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.jobs.iter().filter(|job| job.started.is_some()).count()
    }

    /// How many jobs wait or run.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether no job waits or runs.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn remove(&mut self, id: JobId) {
        self.jobs.retain(|job| job.id != id);
    }
}

impl Sentinel {
    /// Queues a script; started from the tick.
    pub(super) fn queue_script(&mut self, cx: &mut Cx, argv: Vec<Vec<u8>>) {
        let queue = &mut self.scripts;
        queue.next += 1;
        let id = JobId(queue.next);
        let start_at = cx.now;
        queue.jobs.push_back(Job { id, argv, pid: None, started: None, start_at, retry_num: 0 });
        if queue.jobs.len() > MAX_JOBS
            && let Some(oldest) = queue.jobs.iter().position(|job| job.started.is_none())
        {
            queue.jobs.remove(oldest);
        }
    }

    /// From the tick: starts what is due, kills what runs too long.
    pub(super) fn run_scripts(&mut self, cx: &mut Cx) {
        if self.scripts.jobs.is_empty() {
            return;
        }
        let mut running = self.scripts.running();
        for job in &mut self.scripts.jobs {
            if running >= MAX_RUNNING {
                break;
            }
            if job.started.is_none() && job.start_at <= cx.now {
                running += 1;
                job.started = Some(cx.now);
                job.retry_num += 1;
                cx.act(Action::Spawn { job: job.id, argv: job.argv.clone() });
            }
        }
        self.kill_slow_scripts(cx);
    }

    fn kill_slow_scripts(&mut self, cx: &mut Cx) {
        let limit_ms = self.periods.script_max_runtime_ms;
        let late = |job: &&Job| job.started.is_some_and(|at| cx.now.since(at) > limit_ms);
        let slow: Vec<(Vec<u8>, i32)> = (self.scripts.jobs.iter().filter(late))
            .filter_map(|job| job.pid.map(|pid| (job.argv[0].clone(), pid)))
            .collect();
        for (path, pid) in slow {
            let text = [path.as_slice(), format!(" {pid}").as_bytes()].concat();
            self.event(cx, Event::warning("-script-timeout"), Subject::None, &text);
            cx.act(Action::Kill { pid });
        }
    }

    /// The shell has forked a job, or could not.
    pub fn script_spawned(&mut self, cx: &mut Cx, id: JobId, pid: Result<i32, String>) {
        let Some(job) = self.scripts.jobs.iter_mut().find(|job| job.id == id) else { return };
        match pid {
            Ok(pid) => {
                job.pid = Some(pid);
                let text = pid.to_string();
                self.event(cx, Event::debug("+script-child"), Subject::None, text.as_bytes());
            }
            Err(reason) => {
                let text = [job.argv[0].as_slice(), b" 99 0"].concat();
                job.started = None;
                if job.retry_num >= MAX_STARTS {
                    self.scripts.remove(id);
                } else {
                    job.start_at = cx.now.after(self.periods.script_retry_delay_ms);
                }
                let why = || format!("Can't fork for a script: {reason}");
                cx.log_limited(LineKind::ScriptNotStarted, why);
                self.event(cx, Event::warning("-script-error"), Subject::None, &text);
            }
        }
    }

    /// A child of ours has ended; exit code 1 and death by a signal are retried.
    pub fn child_exited(&mut self, cx: &mut Cx, pid: i32, exit_code: i32, signal: i32) {
        let text = format!("{pid} {exit_code} {signal}");
        self.event(cx, Event::debug("-script-child"), Subject::None, text.as_bytes());
        let job = self.scripts.jobs.iter_mut().find(|job| job.pid == Some(pid));
        let Some(job) = job else {
            let text = format!("A child with unknown pid {pid} has ended");
            cx.log(LogLevel::Warning, text);
            return;
        };
        let id = job.id;
        if (signal != 0 || exit_code == 1) && job.retry_num < MAX_STARTS {
            let doubled = 1u64 << (job.retry_num - 1);
            let delay_ms = self.periods.script_retry_delay_ms.saturating_mul(doubled);
            job.start_at = cx.now.after(delay_ms);
            job.pid = None;
            job.started = None;
            return;
        }
        if signal != 0 || exit_code != 0 {
            let end = format!(" {signal} {exit_code}");
            let text = [job.argv[0].as_slice(), end.as_bytes()].concat();
            self.event(cx, Event::warning("-script-error"), Subject::None, &text);
        }
        self.scripts.remove(id);
    }

    /// Runs the client-reconfig script of `master`, if it has one.
    pub(super) fn queue_reconfig_script(
        &mut self,
        cx: &mut Cx,
        master: super::instance::MasterId,
        role: &[u8],
        from: (Vec<u8>, u16),
        to: (Vec<u8>, u16),
    ) {
        let Some(script) = self.masters[master].options.client_reconfig_script.clone() else {
            return;
        };
        let name = self.masters[master].base.name.clone();
        let number = |port: u16| port.to_string().into_bytes();
        let (from_port, to_port) = (number(from.1), number(to.1));
        let role = role.to_vec();
        let argv = vec![script, name, role, b"start".to_vec(), from.0, from_port, to.0, to_port];
        self.queue_script(cx, argv);
    }
}
