//! Which epochs are accepted from others, so that there is always room for later ones.
//!
//! Epochs only grow, and they end at 2^63 - 1: vote requests and their answers carry signed 64-bit
//! numbers. Anybody who can reach a sentinel, or publish on a data node, can name an epoch. One
//! that leaves no room above it would end all elections, so each epoch is judged before it is
//! accepted:
//!
//! | epoch                | named by anybody     | of our next failover | in the file |
//! |----------------------|----------------------|----------------------|-------------|
//! | up to [`FREE_EPOCH`] | accepted             | used                 | accepted    |
//! | up to [`LAST_EPOCH`] | accepted, small step | used                 | see below   |
//! | above                | not accepted         | no failover starts   | lowered     |
//!
//! What the file says above [`LOADED_EPOCH_MAX`] is lowered to it.
//!
//! An epoch that is not accepted gets no vote and brings no configuration; the rest of its message
//! counts. Steps are needed because a group that was pushed to `FREE_EPOCH` elects its leaders
//! above it, and its sentinels must follow each other there. A step is small if it takes at most
//! half of what is left of an allowance: [`ALLOWANCE`] epochs, of which [`REFILL_PER_S`] come back
//! every second. So one message never uses up the room of the next ones, a sentinel that was away
//! finds its way back at once, and a flood needs more than a year from `FREE_EPOCH` to
//! `LAST_EPOCH`.
//!
//! `current_epoch` is never below the epoch of a configuration or a vote that was accepted.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::Cx;
use super::event::{Event, Subject};
use super::instance::MasterId;
use super::log_limit::LineKind;
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

/// Accepted from anybody up to here. The room above it is for our own failovers.
pub const FREE_EPOCH: u64 = (1 << 63) - (1 << 33);

/// The last epoch that can be asked for in a vote request.
pub const LAST_EPOCH: u64 = (1 << 63) - 1;

/// What a file may say at most: near enough for all others to follow at once, and above any epoch
/// that ordinary failovers reach.
pub const LOADED_EPOCH_MAX: u64 = FREE_EPOCH + ALLOWANCE / 2;

/// So many epochs above [`FREE_EPOCH`] may be accepted within a moment.
const ALLOWANCE: u64 = 1 << 24;

/// So many of them come back every second.
const REFILL_PER_S: u64 = 1 << 8;

/// What is left of the allowance, as the moment at which it is whole again.
#[derive(Clone, Copy, Debug, Default)]
pub struct EpochAllowance {
    whole_at: Mono,
}

impl EpochAllowance {
    /// The largest epoch that is accepted from others while the current one is `current`.
    pub fn limit(&self, now: Mono, current: u64) -> u64 {
        let used = (self.whole_at.since(now).saturating_mul(REFILL_PER_S)).div_ceil(1_000);
        let step = match defect(Defect::AcceptNoSteps) {
            true => 0,
            false => ALLOWANCE.saturating_sub(used) / 2,
        };
        current.max(FREE_EPOCH).saturating_add(step).min(LAST_EPOCH)
    }

    /// The current epoch rises, for whatever reason.
    fn take(&mut self, now: Mono, current: u64, to: u64) {
        let step = to.saturating_sub(current.max(FREE_EPOCH));
        if step > 0 {
            let refill_ms = step.saturating_mul(1_000).div_ceil(REFILL_PER_S);
            self.whole_at = self.whole_at.max(now).after(refill_ms);
        }
    }
}

impl Sentinel {
    /// Whether an epoch that somebody else names may be accepted.
    pub(super) fn accepts_epoch(&self, now: Mono, epoch: u64) -> bool {
        epoch <= self.epoch_allowance.limit(now, self.current_epoch)
            || defect(Defect::AcceptAnyEpoch)
    }

    /// Wherever an epoch is met: the largest one wins, if it can be accepted.
    pub(super) fn adopt_epoch(&mut self, cx: &mut Cx, master: MasterId, epoch: u64) {
        let back = epoch < self.current_epoch && defect(Defect::EpochGoesBack);
        if epoch <= self.current_epoch && !back {
            return;
        }
        match self.accepts_epoch(cx.now, epoch) {
            true => self.raise_epoch(cx, master, epoch),
            false => self.log_refused_epoch(cx, epoch),
        }
    }

    /// The current epoch rises to an accepted one, or to that of a failover of our own.
    pub(super) fn raise_epoch(&mut self, cx: &mut Cx, master: MasterId, epoch: u64) {
        self.epoch_allowance.take(cx.now, self.current_epoch, epoch);
        self.current_epoch = epoch;
        self.saves.touch_global();
        self.saves.soon(cx.now);
        let text = epoch.to_string();
        self.event(cx, Event::warning("+new-epoch"), Subject::Quiet(master), text.as_bytes());
    }

    pub(super) fn log_refused_epoch(&mut self, cx: &mut Cx, epoch: u64) {
        cx.log_limited(LineKind::EpochRefused, || {
            format!("Epoch {epoch} is not accepted: it would leave too few for later failovers")
        });
    }

    /// The epoch of the next failover of a master; `None`: there is none left.
    pub(super) fn next_epoch(&self, now: Mono, id: MasterId) -> Option<u64> {
        let told = self.peers_of(id).map(|peer| peer.leader_epoch);
        let told = told.filter(|epoch| self.accepts_epoch(now, *epoch)).max().unwrap_or(0);
        let own = self.masters[id].vote.last_epoch();
        let highest = self.current_epoch.max(told).max(own).max(self.masters[id].config_epoch);
        let reused = highest > 0 && defect(Defect::ReuseEpoch);
        highest.checked_add(u64::from(!reused)).filter(|epoch| *epoch <= LAST_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Mono = Mono(1_000_000_000);

    #[test]
    fn epochs_up_to_the_free_one_are_accepted_whatever_the_step() {
        let allowance = EpochAllowance::default();
        for current in [0, 1, 1 << 62, FREE_EPOCH - 1, FREE_EPOCH] {
            let limit = allowance.limit(T, current);
            assert_eq!(limit, FREE_EPOCH + ALLOWANCE / 2, "{current}");
        }
        // 2^32 and more above what anybody can bring about with one message.
        const { assert!(LAST_EPOCH - FREE_EPOCH - ALLOWANCE / 2 >= 1 << 32) }
    }

    #[test]
    fn above_it_steps_use_up_an_allowance_that_comes_back() {
        let mut allowance = EpochAllowance::default();
        let mut current = FREE_EPOCH;
        // The largest step, again and again, in one moment.
        for _ in 0..64 {
            let to = allowance.limit(T, current);
            allowance.take(T, current, to);
            current = to;
        }
        assert!(current > FREE_EPOCH + ALLOWANCE - 8 && current < FREE_EPOCH + ALLOWANCE);
        assert_eq!(allowance.limit(T, current), current, "nothing is left");
        assert_eq!(allowance.limit(T.after(1_000), current), current + REFILL_PER_S / 2);
        let whole = 1_000 * ALLOWANCE / REFILL_PER_S;
        assert_eq!(allowance.limit(T.after(whole), current), current + ALLOWANCE / 2);
    }

    #[test]
    fn a_flood_needs_more_than_a_year_to_the_last_epoch() {
        let mut allowance = EpochAllowance::default();
        let (mut now, mut current, hour_ms) = (T, FREE_EPOCH, 3_600_000);
        for _ in 0..365 * 24 {
            for _ in 0..32 {
                let to = allowance.limit(now, current);
                allowance.take(now, current, to);
                current = to;
            }
            now = now.after(hour_ms);
        }
        assert!(current < LAST_EPOCH - (1 << 28), "{}", LAST_EPOCH - current);
    }

    #[test]
    fn steps_of_one_are_never_held_up_for_long() {
        let mut allowance = EpochAllowance::default();
        let first = allowance.limit(T, 0);
        allowance.take(T, 0, first);
        // A thousand masters fail at the same moment.
        for current in first..FREE_EPOCH + ALLOWANCE / 2 + 1_000 {
            assert!(allowance.limit(T, current) > current);
            allowance.take(T, current, current + 1);
        }
    }

    #[test]
    fn the_last_epoch_is_the_end() {
        let allowance = EpochAllowance::default();
        for current in [LAST_EPOCH - 1, LAST_EPOCH, u64::MAX] {
            assert_eq!(allowance.limit(T, current), LAST_EPOCH, "{current}");
        }
        let mut allowance = EpochAllowance::default();
        allowance.take(T, 0, u64::MAX);
        assert_eq!(allowance.limit(T, LAST_EPOCH - 1), LAST_EPOCH - 1);
    }
}
