//! `sentinelTimer`: what is done when time passes. Reads as a table of contents.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::Cx;
use super::connect::Stage;
use super::instance::InstId;
use super::link::{Channel, Conn};
use super::timers::{NEVER, Timer};
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

/// The tick runs 10 to 19 times a second; the rate is drawn anew each time, so that sentinels
/// started together fall out of step.
const TICK_HZ_MIN: u64 = 10;
const TICK_HZ_SPAN: u64 = 10;

impl Sentinel {
    /// Starts the timers; the first tick is due at once.
    pub fn start_timers(&mut self, cx: &mut Cx) {
        self.tilt.last_tick = Some(cx.now);
        self.timers.push(cx.now, Timer::Tick);
    }

    /// Does at most `budget` pieces of due work; true if more is due. Whether a tick was among
    /// them is told in `ticked`.
    pub fn run_due(&mut self, cx: &mut Cx, budget: usize, ticked: &mut bool) -> bool {
        for _ in 0..budget {
            let Some((at, timer)) = self.timers.pop_due(cx.now) else { return false };
            match timer {
                Timer::Tick => {
                    self.tick(cx);
                    *ticked = true;
                }
                Timer::Instance(inst) => self.fire(cx, inst, at),
            }
        }
        self.timers.next() <= cx.now
    }

    /// When [`Sentinel::run_due`] or a save has work.
    pub fn next_deadline(&self) -> Mono {
        self.timers.next().min(self.saves.next_deadline())
    }

    fn tick(&mut self, cx: &mut Cx) {
        self.tilt.last_tick = Some(cx.now);
        self.leave_tilt(cx);
        self.weigh_pings();
        self.run_scripts(cx);
        let hz = TICK_HZ_MIN + cx.rng.below(TICK_HZ_SPAN);
        self.timers.push(cx.now.after(1_000 / hz), Timer::Tick);
    }

    fn fire(&mut self, cx: &mut Cx, inst: InstId, at: Mono) {
        if !self.alive(inst) || self.base(inst).armed != Some(at) {
            return;
        }
        let base = self.base_mut(inst);
        base.armed = None;
        base.fired = Some(cx.now);
        self.handle_instance(cx, inst);
        if !self.alive(inst) {
            return;
        }
        // Last, so that what was there is read before the silence of this subscription counts.
        self.end_gathering(cx, inst);
        if !defect(Defect::LoseDeadline) || !self.base(inst).sdown.is {
            self.arm(cx.now, inst);
        }
    }

    /// Makes sure that the entry of an instance in the timer queue is not later than its deadline.
    pub(super) fn arm(&mut self, now: Mono, inst: InstId) {
        if self.alive(inst) {
            let due = self.due(now, inst);
            self.arm_at(inst, due);
        }
    }

    pub(super) fn arm_at(&mut self, inst: InstId, due: Mono) {
        let base = self.base_mut(inst);
        // A deadline that stays in the past must not make the turn endless.
        let due = base.fired.map_or(due, |fired| due.max(fired.after(1)));
        if base.armed.is_none_or(|armed| due < armed) {
            base.armed = Some(due);
            self.timers.push(due, Timer::Instance(inst));
        }
    }

    /// Everything that is due for one instance, in the order of spec/protocol.md section 2.
    fn handle_instance(&mut self, cx: &mut Cx, inst: InstId) {
        self.give_up_hanging(cx, inst);
        self.reconnect(cx, inst);
        // Its name may have turned out to be that of another one.
        if !self.alive(inst) {
            return;
        }
        self.retry_auth(cx, inst);
        self.verify_place(cx, inst);
        self.send_periodic(cx, inst);
        self.tell_silence(cx, inst);
        if self.tilt.since.is_some() && !defect(Defect::JudgeInTilt) {
            return;
        }
        self.tear_down_idle(cx, inst);
        self.check_sdown(cx, inst);
        match inst {
            InstId::Master(master) => {
                self.check_odown(cx, master);
                self.master_progress(cx, master);
            }
            InstId::Peer(peer) => self.keep_asking(cx, peer),
            InstId::Replica(replica) => {
                if self.is_promoted(replica) {
                    let master = self.master_of(inst);
                    self.master_progress(cx, master);
                }
            }
        }
    }

    /// The earliest deadline of an instance.
    fn due(&self, now: Mono, inst: InstId) -> Mono {
        let due = self.reconnect_due(inst).min(self.hang_due(inst)).min(self.auth_due(inst));
        let due = due.min(self.periodic_due(inst));
        let due = due.min(self.silence_due(inst)).min(self.gathering_ends(inst));
        if self.tilt.since.is_some() && !defect(Defect::JudgeInTilt) {
            return due;
        }
        let due = due.min(self.sdown_due(inst)).min(self.tear_down_due(inst));
        match inst {
            InstId::Master(master) => due.min(self.failover_due(now, master)),
            InstId::Peer(peer) => due.min(self.ask_due(peer)),
            InstId::Replica(_) => due,
        }
    }

    /// When the holders of a shared link have to know that it is silent; one of them keeps watch.
    fn silence_due(&self, inst: InstId) -> Mono {
        let link = &self.links[self.base(inst).link];
        let shared = link.holders.len() > 1 && link.holders.first() == Some(&inst);
        match link.outstanding_since {
            Some(since) if shared && link.silence_told != Some(since) => {
                since.after(link.down_after_ms / 2)
            }
            _ => NEVER,
        }
    }

    fn tell_silence(&mut self, cx: &Cx, inst: InstId) {
        if self.silence_due(inst) > cx.now {
            return;
        }
        let id = self.base(inst).link;
        let link = &mut self.links[id];
        link.silence_told = link.outstanding_since;
        for holder in link.holders.clone() {
            self.arm(cx.now, holder);
        }
    }

    /// When a connection that brings nothing will be closed, to be made anew.
    fn tear_down_due(&self, inst: InstId) -> Mono {
        self.cmd_tear_down_due(inst).min(self.pubsub_tear_down_due(inst))
    }

    fn cmd_tear_down_due(&self, inst: InstId) -> Mono {
        let base = self.base(inst);
        let link = &self.links[base.link];
        let conn = link.cmd.as_ref().filter(|conn| conn.stage == Stage::Established);
        let (Some(conn), Some(outstanding)) = (conn, link.outstanding_since) else {
            return NEVER;
        };
        let half_ms = base.down_after_ms / 2;
        let silent = outstanding.after(half_ms + 1).max(link.last_reply.after(half_ms + 1));
        conn.since.after(self.periods.min_link_reconnect_ms + 1).max(silent)
    }

    fn pubsub_tear_down_due(&self, inst: InstId) -> Mono {
        let link = &self.links[self.base(inst).link];
        let all_read = |conn: &&Conn| !conn.gathers || defect(Defect::JudgeGathered);
        let stands = |conn: &&Conn| conn.stage == Stage::Established;
        let Some(conn) = link.pubsub.as_ref().filter(stands).filter(all_read) else { return NEVER };
        let silent = conn.last_received.after(3 * self.periods.publish_ms + 1);
        conn.since.after(self.periods.min_link_reconnect_ms + 1).max(silent)
    }

    fn tear_down_idle(&mut self, cx: &mut Cx, inst: InstId) {
        let link = self.base(inst).link;
        if self.cmd_tear_down_due(inst) <= cx.now {
            self.drop_connection(cx, link, Channel::Cmd, "no answer to PING");
        }
        if self.pubsub_tear_down_due(inst) <= cx.now {
            self.drop_connection(cx, link, Channel::Pubsub, "silent subscription");
        }
    }
}
