//! Whose connect begins when: a queue with a share for each, and a rate.
#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::util::ident::ConnId;
use crate::util::time::Mono;

/// Connects that begin in a millisecond, in the mean: each costs some 15 us.
const PER_MS: u64 = 32;
/// And at once, after a pause or a long turn.
pub const BURST: u64 = 256;
/// While both wait, one of so many is one that hung before.
const AGAIN_SHARE: u64 = 4;
/// Cancelled ids that may stay in a lane.
const SLACK: usize = 64;
/// Connects that may wait; links are far fewer, more is a mistake of the core.
const WAITING_MAX: usize = 1 << 17;

/// Connects that wait for their turn. They are paced by rate, never by how many of them hang: each
/// has its descriptor anyway, and whoever waits must not wait for others to answer.
///
/// Those that hung the last time have a lane of their own, with a share of the rate while others
/// wait: thousands in a dead zone are tried again and again, and the healthy pass them by.
#[derive(Debug)]
pub struct Pacer {
    /// Oldest first; ids that were cancelled stay in until they are met.
    lanes: [VecDeque<ConnId>; 2],
    targets: HashMap<ConnId, (IpAddr, u16)>,
    /// Connects that may begin now.
    tokens: u64,
    refilled: Mono,
    /// Counts the connects that were begun while both lanes had some waiting.
    contested: u64,
}

impl Default for Pacer {
    fn default() -> Pacer {
        Pacer {
            lanes: Default::default(),
            targets: HashMap::new(),
            tokens: BURST,
            refilled: Mono(0),
            contested: 0,
        }
    }
}

impl Pacer {
    /// Adds one; false if there is no room.
    pub fn push(&mut self, conn: ConnId, at: (IpAddr, u16), hung_before: bool) -> bool {
        if self.targets.len() >= WAITING_MAX {
            return false;
        }
        let lane = &mut self.lanes[usize::from(hung_before)];
        lane.push_back(conn);
        self.targets.insert(conn, at);
        if lane.len() > 2 * self.targets.len() + SLACK {
            lane.retain(|conn| self.targets.contains_key(conn));
        }
        true
    }

    /// Takes the one whose turn it is, if the rate allows one.
    pub fn next(&mut self, now: Mono) -> Option<(ConnId, IpAddr, u16)> {
        self.refill(now);
        if self.tokens == 0 {
            return None;
        }
        for lane in &mut self.lanes {
            while lane.front().is_some_and(|conn| !self.targets.contains_key(conn)) {
                lane.pop_front();
            }
        }
        let both = self.lanes.iter().all(|lane| !lane.is_empty());
        self.contested += u64::from(both);
        let again_first = both && self.contested.is_multiple_of(AGAIN_SHARE);
        let order = if again_first { [1, 0] } else { [0, 1] };
        let conn = order.into_iter().find_map(|lane| self.lanes[lane].pop_front())?;
        let (ip, port) = self.targets.remove(&conn)?;
        self.tokens -= 1;
        Some((conn, ip, port))
    }

    fn refill(&mut self, now: Mono) {
        let fresh = now.since(self.refilled).saturating_mul(PER_MS);
        self.tokens = self.tokens.saturating_add(fresh).min(BURST);
        self.refilled = self.refilled.max(now);
    }

    /// Forgets one that was closed before its turn came.
    pub fn cancel(&mut self, conn: ConnId) {
        self.targets.remove(&conn);
    }

    /// When one may begin, if any waits.
    pub fn due(&self, now: Mono) -> Option<Mono> {
        let at = if self.tokens > 0 { now } else { self.refilled.after(1) };
        (!self.targets.is_empty()).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip() -> IpAddr {
        "127.0.0.1".parse().unwrap()
    }

    fn push(pacer: &mut Pacer, conns: std::ops::Range<u64>, hung_before: bool) {
        for n in conns {
            assert!(pacer.push(ConnId(n), (ip(), 1), hung_before));
        }
    }

    fn take(pacer: &mut Pacer, now: u64, most: usize) -> Vec<u64> {
        std::iter::from_fn(|| pacer.next(Mono(now))).map(|(conn, ..)| conn.0).take(most).collect()
    }

    #[test]
    fn they_begin_in_order_and_the_cancelled_not_at_all() {
        let mut pacer = Pacer::default();
        push(&mut pacer, 1..4, false);
        pacer.cancel(ConnId(2));
        assert_eq!(take(&mut pacer, 1, 9), [1, 3]);
        assert_eq!(pacer.due(Mono(1)), None);
    }

    #[test]
    fn the_rate_is_kept_however_long_nobody_asked() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.due(Mono(9)), None);
        push(&mut pacer, 0..3 * BURST, false);
        let all = usize::MAX;
        assert_eq!(take(&mut pacer, 1_000, all).len() as u64, BURST);
        assert_eq!(take(&mut pacer, 1_000, all).len(), 0);
        assert_eq!(pacer.due(Mono(1_000)), Some(Mono(1_001)));
        assert_eq!(take(&mut pacer, 1_001, all).len() as u64, PER_MS);
        assert_eq!(take(&mut pacer, 1_003, all).len() as u64, 2 * PER_MS);
        // A clock that stands or goes back gives nothing.
        assert_eq!(take(&mut pacer, 900, all).len(), 0);
        assert_eq!(take(&mut pacer, 60_000, all).len() as u64, BURST);
    }

    #[test]
    fn those_that_hung_have_a_share_and_no_more() {
        let mut pacer = Pacer::default();
        push(&mut pacer, 1_000..2_000, true);
        push(&mut pacer, 0..6, false);
        assert_eq!(take(&mut pacer, 1, 9), [0, 1, 2, 1_000, 3, 4, 5, 1_001, 1_002]);
        // And whoever comes late need not wait for them.
        push(&mut pacer, 6..8, false);
        assert_eq!(take(&mut pacer, 1, 4), [1_003, 6, 7, 1_004]);
    }

    #[test]
    fn what_was_cancelled_takes_no_room() {
        let mut pacer = Pacer::default();
        push(&mut pacer, 0..1, true);
        for n in 1..10_000 {
            push(&mut pacer, n..n + 1, true);
            pacer.cancel(ConnId(n));
        }
        assert!(pacer.lanes[1].len() <= 2 * SLACK, "{}", pacer.lanes[1].len());
        assert_eq!(take(&mut pacer, 1, 9), [0]);
    }
}
