//! The timer queue: one entry per instance (its earliest deadline), lazily re-armed.
//!
//! An entry that was overtaken by an earlier one stays in the queue and is skipped when it comes
//! up; an entry whose deadline has moved away is re-armed when it fires. So the cost of a turn
//! follows what is due, not what is watched.
//!
//! With thousands of instances hardly any deadline is further away than a PING period, and many
//! fall into the same millisecond: those of the next second lie in a wheel with a list for each
//! millisecond, all others in a heap.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::instance::InstId;
use super::wheel::Wheel;
use crate::util::time::Mono;

/// "No deadline": far enough for anything, near enough to add to.
pub const NEVER: Mono = Mono(u64::MAX / 2);

/// What a timer entry stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// The cron tick of `sentinelTimer`.
    Tick,
    /// The earliest deadline of an instance.
    Instance(InstId),
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    wheel: Wheel,
    /// What is too far away for the wheel, or was due before what was last taken from it.
    heap: BinaryHeap<Reverse<(Mono, InstId)>>,
    /// What is due at `batch_at`, the earliest at the end.
    batch: Vec<InstId>,
    batch_at: Mono,
    tick: Option<Mono>,
}

impl Timers {
    /// Adds an entry; there is one tick at most.
    pub fn push(&mut self, at: Mono, timer: Timer) {
        let inst = match timer {
            Timer::Tick => {
                self.tick = Some(at);
                return;
            }
            Timer::Instance(inst) => inst,
        };
        if at == self.batch_at && !self.batch.is_empty() {
            let place = self.batch.partition_point(|other| *other > inst);
            self.batch.insert(place, inst);
        } else if !self.wheel.push(at, inst) {
            self.heap.push(Reverse((at, inst)));
        }
    }

    /// Takes the tick if it is due, else the earliest entry that is.
    pub fn pop_due(&mut self, now: Mono) -> Option<(Mono, Timer)> {
        if let Some(at) = self.tick.take_if(|at| *at <= now) {
            return Some((at, Timer::Tick));
        }
        if self.batch.is_empty()
            && let Some(at) = self.wheel.take_due(now, &mut self.batch)
        {
            self.batch_at = at;
            self.batch.sort_unstable_by(|a, b| b.cmp(a));
        }
        let first = self.batch.last().map(|inst| (self.batch_at, *inst));
        let sooner = |top: &PeekMut<'_, Reverse<(Mono, InstId)>>| {
            top.0.0 <= now && first.is_none_or(|first| top.0 < first)
        };
        let (at, inst) = match self.heap.peek_mut().filter(sooner) {
            Some(top) => PeekMut::pop(top).0,
            None => (self.batch_at, self.batch.pop()?),
        };
        Some((at, Timer::Instance(inst)))
    }

    /// When the earliest entry is due.
    pub fn next(&self) -> Mono {
        let mut first = self.heap.peek().map_or(NEVER, |Reverse((at, _))| *at);
        first = match self.batch.is_empty() {
            true => self.wheel.next().map_or(first, |at| at.min(first)),
            false => self.batch_at.min(first),
        };
        self.tick.map_or(first, |tick| tick.min(first))
    }

    /// How many entries there are, overtaken ones included.
    pub fn len(&self) -> usize {
        let instances = self.heap.len() + self.batch.len() + self.wheel.len();
        instances + usize::from(self.tick.is_some())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::instance::{MasterId, PeerId, ReplicaId};
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn entries_come_in_order_of_time_then_masters_replicas_sentinels() {
        let master = Timer::Instance(InstId::Master(MasterId(7)));
        let replica = Timer::Instance(InstId::Replica(ReplicaId(1)));
        let peer = Timer::Instance(InstId::Peer(PeerId(1)));
        let mut timers = Timers::default();
        for (at, timer) in [(20, peer), (10, replica), (20, master), (20, Timer::Tick)] {
            timers.push(Mono(at), timer);
        }
        assert_eq!(timers.next(), Mono(10));
        assert_eq!(timers.pop_due(Mono(9)), None);
        assert_eq!(timers.pop_due(Mono(10)), Some((Mono(10), replica)));
        assert_eq!(timers.pop_due(Mono(19)), None);
        let rest: Vec<Timer> =
            std::iter::from_fn(|| timers.pop_due(Mono(99))).map(|(_, timer)| timer).collect();
        assert_eq!(rest, [Timer::Tick, master, peer]);
        assert!(timers.is_empty());
        assert_eq!(timers.next(), NEVER);
    }

    #[test]
    fn a_backlog_does_not_hold_the_tick_back() {
        let mut timers = Timers::default();
        timers.push(Mono(5), Timer::Instance(InstId::Peer(PeerId(1))));
        timers.push(Mono(90), Timer::Tick);
        assert_eq!(timers.next(), Mono(5));
        assert_eq!(timers.pop_due(Mono(100)), Some((Mono(90), Timer::Tick)));
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn a_wheel_and_a_heap_are_like_a_heap() {
        let mut rng = Rng::new(3);
        let mut heap = BinaryHeap::new();
        let (mut timers, mut now, mut taken) = (Timers::default(), 0, 0);
        for _ in 0..20_000 {
            for _ in 0..rng.below(4) {
                let far = [3, 30, 1_000, 1_003, 50_000][rng.below(5) as usize];
                let at = Mono((now + rng.below(far)).saturating_sub(rng.below(20)));
                let n = rng.below(5);
                let inst = [InstId::Peer(PeerId(n)), InstId::Master(MasterId(n))];
                let inst = inst[rng.below(2) as usize];
                timers.push(at, Timer::Instance(inst));
                heap.push(Reverse((at, inst)));
            }
            assert_eq!(timers.len(), heap.len());
            let due = heap.peek().map_or(NEVER, |Reverse((at, _))| *at);
            assert_eq!(timers.next(), due);
            let due = (due <= Mono(now)).then(|| heap.pop()).flatten();
            let due = due.map(|Reverse((at, inst))| (at, Timer::Instance(inst)));
            assert_eq!(timers.pop_due(Mono(now)), due);
            taken += usize::from(due.is_some());
            if due.is_none() || rng.below(4) == 0 {
                let steps = [1, 20, 700, 5_000][rng.below(4) as usize];
                now += rng.below(steps + 1);
            }
        }
        assert!(taken > 5_000, "{taken}");
    }

    #[test]
    fn never_can_be_added_to() {
        assert!(NEVER.after(u64::MAX / 4) > NEVER);
        assert!(Timers::default().next() == NEVER);
    }
}
