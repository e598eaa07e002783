//! The timer queue: one entry per instance (its earliest deadline), lazily re-armed.
//!
//! An entry that was overtaken by an earlier one stays in the heap and is skipped when it comes up;
//! an entry whose deadline has moved away is re-armed when it fires. So the cost of a turn follows
//! what is due, not what is watched.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::instance::InstId;
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
    heap: BinaryHeap<Reverse<(Mono, InstId)>>,
    tick: Option<Mono>,
}

impl Timers {
    /// Adds an entry; there is one tick at most.
    pub fn push(&mut self, at: Mono, timer: Timer) {
        match timer {
            Timer::Tick => self.tick = Some(at),
            Timer::Instance(inst) => self.heap.push(Reverse((at, inst))),
        }
    }

    /// Takes the tick if it is due, else the earliest entry that is.
    pub fn pop_due(&mut self, now: Mono) -> Option<(Mono, Timer)> {
        if let Some(at) = self.tick.take_if(|at| *at <= now) {
            return Some((at, Timer::Tick));
        }
        let top = self.heap.peek_mut().filter(|top| top.0.0 <= now)?;
        let Reverse((at, inst)) = PeekMut::pop(top);
        Some((at, Timer::Instance(inst)))
    }

    /// When the earliest entry is due.
    pub fn next(&self) -> Mono {
        let first = self.heap.peek().map_or(NEVER, |Reverse((at, _))| *at);
        self.tick.map_or(first, |tick| tick.min(first))
    }

    /// How many entries the heap holds, overtaken ones included.
    pub fn len(&self) -> usize {
        self.heap.len() + usize::from(self.tick.is_some())
    }

    /// Whether the heap holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::instance::{MasterId, PeerId, ReplicaId};
    use super::*;

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
    fn never_can_be_added_to() {
        assert!(NEVER.after(u64::MAX / 4) > NEVER);
        assert!(Timers::default().next() == NEVER);
    }
}
