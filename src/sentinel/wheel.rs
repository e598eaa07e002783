//! Instances by the millisecond in which something is due for them, for the next second.
//!
//! Adding and taking cost the same however many there are, and no memory but for the most that
//! there ever were.
#![forbid(unsafe_code)]

use super::instance::InstId;
use crate::util::time::Mono;

/// As many as a second has milliseconds: what is done once a second meets the same list again.
const LISTS: usize = 1_000;
const WORDS: usize = LISTS.div_ceil(64);
/// The end of a list.
const END: u32 = u32::MAX;

/// The lists.
#[derive(Clone, Debug)]
pub struct Wheel {
    /// Everything here is due then or less than a second later.
    from: Mono,
    /// The first entry of each list; the list of a moment is that of its milliseconds.
    heads: Box<[u32]>,
    /// Which lists have entries, a bit for each.
    used: [u64; WORDS],
    entries: Vec<Entry>,
    /// The first of the entries that are in no list.
    free: u32,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    inst: InstId,
    next: u32,
}

impl Default for Wheel {
    fn default() -> Wheel {
        let heads = vec![END; LISTS].into_boxed_slice();
        Wheel { from: Mono(0), heads, used: [0; WORDS], entries: Vec::new(), free: END, len: 0 }
    }
}

impl Wheel {
    /// Adds an entry; false if it lies before what was taken, or too far away.
    pub fn push(&mut self, at: Mono, inst: InstId) -> bool {
        if at < self.from || at.since(self.from) >= LISTS as u64 {
            return false;
        }
        let list = list_of(at);
        let entry = Entry { inst, next: self.heads[list] };
        let place = self.free;
        if let Some(old) = self.entries.get_mut(place as usize) {
            self.free = old.next;
            *old = entry;
            self.heads[list] = place;
        } else if self.entries.len() < END as usize {
            self.heads[list] = self.entries.len() as u32;
            self.entries.push(entry);
        } else {
            return false;
        }
        self.used[list / 64] |= 1 << (list % 64);
        self.len += 1;
        true
    }

    /// Moves all that is due in the earliest millisecond into `batch`, if that is not after `now`,
    /// and gives that moment.
    pub fn take_due(&mut self, now: Mono, batch: &mut Vec<InstId>) -> Option<Mono> {
        let Some(at) = self.next().filter(|at| *at <= now) else {
            // Nothing lies before `now`: the second begins there.
            self.from = self.from.max(now);
            return None;
        };
        let list = list_of(at);
        let mut place = std::mem::replace(&mut self.heads[list], END);
        self.used[list / 64] &= !(1 << (list % 64));
        while let Some(entry) = self.entries.get_mut(place as usize) {
            batch.push(entry.inst);
            let next = std::mem::replace(&mut entry.next, self.free);
            self.free = place;
            place = next;
            self.len -= 1;
        }
        self.from = at.after(1);
        Some(at)
    }

    /// When the earliest entry is due.
    pub fn next(&self) -> Option<Mono> {
        if self.len == 0 {
            return None;
        }
        let start = list_of(self.from);
        let list = self.first_used(start..LISTS).or_else(|| self.first_used(0..start))?;
        Some(self.from.after(((list + LISTS - start) % LISTS) as u64))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    fn first_used(&self, lists: std::ops::Range<usize>) -> Option<usize> {
        let mut list = lists.start;
        while list < lists.end {
            let rest = self.used[list / 64] >> (list % 64);
            if rest != 0 {
                let found = list + rest.trailing_zeros() as usize;
                return (found < lists.end).then_some(found);
            }
            list = (list / 64 + 1) * 64;
        }
        None
    }
}

fn list_of(at: Mono) -> usize {
    (at.0 % LISTS as u64) as usize
}
