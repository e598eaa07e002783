//! The children of a sentinel: its scripts, which end well, badly, or not at all.
#![forbid(unsafe_code)]

use sentineld::util::ident::JobId;

use crate::hosts::Input;
use crate::net::Us;
use crate::property::{Property, ensure};
use crate::world::{Ev, MS, SECOND, World};

/// More never run at the same time.
const MAX_CHILDREN: usize = 16;
/// As `operate` sets it, and as it is by default.
const SHORTEST_RUN_US: Us = 2 * SECOND;

/// How a script ends, by its pid: exit code and signal, or not by itself.
fn end_of(pid: i32) -> Option<(i32, i32)> {
    match pid % 24 {
        1 => Some((1, 0)),
        2 => Some((2, 0)),
        3 => Some((0, 11)),
        4 => None,
        _ => Some((0, 0)),
    }
}

impl World {
    pub fn spawn(&mut self, sentinel: usize, job: JobId) {
        let host = &mut self.sentinels[sentinel];
        host.next_pid += 1;
        let (pid, life) = (host.next_pid, host.life);
        if self.options.scripts && pid % 24 == 5 {
            let reason = "Resource temporarily unavailable".to_owned();
            return self.node(sentinel).spawned(job, Err(reason));
        }
        host.children.insert(pid, (self.now, false));
        let running = host.children.len();
        let property = Property::ScriptsAreLimited;
        ensure!(running <= MAX_CHILDREN, property, "{running} scripts of {sentinel} run");
        self.node(sentinel).spawned(job, Ok(pid));
        if end_of(pid).is_some() && !self.options.drawn.scripts_hang {
            let at = self.now + self.rng.below(20 * MS);
            self.schedule(at, Ev::ChildEnds { sentinel: sentinel as u32, life: life as u32, pid });
        }
    }

    pub fn kill_child(&mut self, sentinel: usize, pid: i32) {
        let Some((since, killed)) = self.sentinels[sentinel].children.get_mut(&pid) else { return };
        let ran = self.now - *since;
        let property = Property::ScriptsAreLimited;
        ensure!(ran >= SHORTEST_RUN_US, property, "{sentinel} kills {pid} after {ran} us");
        if !std::mem::replace(killed, true) {
            self.input(sentinel, Input::ChildEnds(pid));
        }
    }

    pub fn child_ends(&mut self, sentinel: usize, pid: i32) {
        let child = self.sentinels[sentinel].children.remove(&pid);
        let (code, signal) = match child {
            Some((_, true)) => (0, 9),
            _ => end_of(pid).unwrap_or((0, 0)),
        };
        self.node(sentinel).child_exited(pid, code, signal);
    }
}
