//! One readable line per event, for those who replay a seed; and a hash of all lines, which tells
//! whether two runs were the same.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::net::Us;

/// So many lines are shown of a seed that failed in a sweep; a replay shows all.
const TAIL_LINES: usize = 60;

/// What becomes of the lines.
#[derive(Clone, Default, Debug)]
pub struct Tracer {
    /// They go to standard error.
    pub printing: bool,
    /// The last ones are kept, to be shown if it fails.
    pub tail: Option<VecDeque<String>>,
    /// They are hashed.
    pub hashing: bool,
    /// FNV-1a of all lines.
    pub hash: u64,
}

impl Tracer {
    pub fn is_on(&self) -> bool {
        self.printing || self.hashing || self.tail.is_some()
    }

    pub fn line(&mut self, now: Us, text: &str) {
        let shown = || format!("{:>10}.{:03} ms  {text}", now / 1_000, now % 1_000);
        if self.printing {
            eprintln!("{}", shown());
        }
        if let Some(tail) = &mut self.tail {
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(shown());
        }
        // What tells the time of the wall clock: one line of the log, and the answer to INFO.
        let tells_time = text.contains("Next failover delay") || text.contains("server_time_usec:");
        if !self.hashing || tells_time {
            return;
        }
        if self.hash == 0 {
            self.hash = 0xcbf2_9ce4_8422_2325;
        }
        for byte in now.to_le_bytes().iter().chain(text.as_bytes()) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
