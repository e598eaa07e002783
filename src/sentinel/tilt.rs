//! Tilt: the process was stopped, so what it believes is old (spec/protocol.md section 11).
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::{Cx, LogLevel};
use super::event::{Event, Subject};
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

/// A tick that comes so late tells of a stop, too short for tilt; ticks are 100 ms apart at most.
const STOP_MS: u64 = 300;
/// After a stop nobody is judged down for so long: a PING of the turn that was interrupted may have
/// left only now, however old its stamp is.
const STOP_GRACE_MS: u64 = 100;

/// Whether and since when the sentinel does not act.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tilt {
    pub since: Option<Mono>,
    /// How often tilt was entered.
    pub total: u64,
    /// When the tick last ran; `None` before the start.
    pub last_tick: Option<Mono>,
    /// Nobody is judged down before this.
    pub judge_from: Mono,
}

impl Sentinel {
    /// First thing in a turn: a tick that comes far too late means tilt.
    pub fn check_tilt(&mut self, cx: &mut Cx) {
        let delta_ms = self.tilt.last_tick.map_or(0, |last| cx.now.since(last));
        if delta_ms > STOP_MS {
            self.tilt.judge_from = cx.now.after(STOP_GRACE_MS);
        }
        if delta_ms <= self.periods.tilt_trigger_ms || defect(Defect::OverlookTilt) {
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

#[cfg(test)]
mod tests {
    use super::super::command::MasterSet;
    use super::super::testing::Bench;
    use super::*;

    fn turn(bench: &mut Bench) -> Vec<String> {
        bench.call(|sentinel, cx| {
            sentinel.check_tilt(cx);
            while sentinel.run_due(cx, 64, &mut false) {}
        });
        bench.establish();
        bench.log()
    }

    #[test]
    fn after_a_stop_too_short_for_tilt_nobody_is_judged_for_a_moment() {
        let mut bench = Bench::new();
        let master = bench.monitor(b"one");
        bench.call(|sentinel, cx| {
            sentinel.set_option(cx, master, MasterSet::DownAfterMs(1_000));
            sentinel.start_timers(cx);
        });
        let down = |log: Vec<String>| log.iter().any(|line| line.starts_with("+sdown"));
        assert!(!down(turn(&mut bench)));
        // The PING of that turn is stamped, but the process stops before it leaves.
        bench.pass(1_500);
        assert!(!down(turn(&mut bench)), "judged before the PING had a chance");
        bench.pass(STOP_GRACE_MS);
        assert!(down(turn(&mut bench)), "never judged");
    }
}
