//! Tilt: the process was stopped, so what it believes is old (spec/protocol.md section 11).
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::{Cx, LogLevel};
use super::event::{Event, Subject};
use crate::util::time::Mono;

/// Whether and since when the sentinel does not act.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tilt {
    pub since: Option<Mono>,
    /// How often tilt was entered.
    pub total: u64,
    /// When the tick last ran; `None` before the start.
    pub last_tick: Option<Mono>,
}

impl Sentinel {
    /// First thing in a turn: a tick that comes far too late means tilt.
    pub fn check_tilt(&mut self, cx: &mut Cx) {
        let delta_ms = self.tilt.last_tick.map_or(0, |last| cx.now.since(last));
        if delta_ms <= self.periods.tilt_trigger_ms {
            return;
        }
        self.tilt.last_tick = Some(cx.now);
        self.tilt.since = Some(cx.now);
        self.tilt.total += 1;
        let trigger_ms = self.periods.tilt_trigger_ms;
        let text = format!("The timer was late by {delta_ms} ms (trigger: {trigger_ms} ms)");
        cx.log(LogLevel::Warning, text);
        self.event(cx, Event::warning("+tilt"), Subject::None, b"#tilt mode entered");
    }

    /// Ends tilt after a quiet tilt-period; acting resumes at once.
    pub(super) fn leave_tilt(&mut self, cx: &mut Cx) {
        let Some(since) = self.tilt.since else { return };
        if cx.now.since(since) < self.periods.tilt_period_ms {
            return;
        }
        self.tilt.since = None;
        self.event(cx, Event::warning("-tilt"), Subject::None, b"#tilt mode exited");
        for inst in self.all_instances() {
            self.arm(cx.now, inst);
        }
    }
}
