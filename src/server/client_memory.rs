//! What all clients together may hold, and who is closed when it is too much (`maxmemory-clients`).
//!
//! Every connection of a client is in an order by what it holds, in classes of sizes that differ by
//! a sixteenth at most, so that ordinary requests, whose replies leave at once, change nothing in
//! it. The largest is closed first, and among equals the one that came last.
//!
//! Two kinds are spared as long as they hold no more than their share: other sentinels, half of
//! all, and clients with `CLIENT NO-EVICT on`, a quarter. Who pretends to be one of them takes
//! nothing from the last quarter, and all together never hold more than the limit.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use crate::util::ident::ConnId;

/// Who holds less than this is in the class of the smallest.
const SMALL_BYTES: usize = 4096;
/// Classes for each doubling of the size.
const CLASSES_PER_DOUBLING: usize = 16;

/// How a connection is treated when too much is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    #[default]
    Ordinary,
    /// CLIENT NO-EVICT.
    Spared,
    /// The command connection of another sentinel.
    Peer,
}

/// What one connection is entered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    bytes: usize,
    class: usize,
    standing: Standing,
    entered: bool,
}

impl Entry {
    /// The memory that it counts with, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What one kind of connections holds, and their order.
#[derive(Debug, Default)]
struct Order {
    bytes: usize,
    by_class: BTreeSet<(usize, ConnId)>,
}

impl Order {
    fn largest(&self) -> Option<ConnId> {
        self.by_class.last().map(|(_, conn)| *conn)
    }
}

/// All connections of clients by what they hold.
#[derive(Debug)]
pub struct ClientMemory {
    /// In bytes; `usize::MAX`: no limit.
    limit: usize,
    ordinary: Order,
    spared: Order,
    peers: Order,
}

impl ClientMemory {
    /// Nobody holds anything yet; `limit_bytes` 0: there is no limit.
    pub fn new(limit_bytes: u64) -> ClientMemory {
        let limit = match limit_bytes {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        let [ordinary, spared, peers] = std::array::from_fn(|_| Order::default());
        ClientMemory { limit, ordinary, spared, peers }
    }

    /// What all hold together, in bytes.
    pub fn total(&self) -> usize {
        self.ordinary.bytes + self.spared.bytes + self.peers.bytes
    }

    /// A connection holds this now. In the order it counts `weight` times as much.
    pub fn enter(
        &mut self,
        conn: ConnId,
        entry: &mut Entry,
        bytes: usize,
        weight: usize,
        standing: Standing,
    ) {
        let class = class_of(bytes.saturating_mul(weight));
        if entry.entered && entry.class == class && entry.standing == standing {
            let order = self.order(standing);
            order.bytes = order.bytes + bytes - entry.bytes;
            entry.bytes = bytes;
            return;
        }
        self.leave(conn, entry);
        let order = self.order(standing);
        order.bytes += bytes;
        order.by_class.insert((class, conn));
        *entry = Entry { bytes, class, standing, entered: true };
    }

    /// A connection holds nothing any more.
    pub fn leave(&mut self, conn: ConnId, entry: &mut Entry) {
        if entry.entered {
            let order = self.order(entry.standing);
            order.bytes -= entry.bytes;
            order.by_class.remove(&(entry.class, conn));
            *entry = Entry::default();
        }
    }

    /// Whose connection is to be closed next; `None` while the limit holds.
    pub fn offender(&self) -> Option<ConnId> {
        if self.total() <= self.limit {
            return None;
        }
        let first = if self.peers.bytes > self.limit / 2 {
            &self.peers
        } else if self.spared.bytes > self.limit / 4 {
            &self.spared
        } else {
            &self.ordinary
        };
        first.largest()
    }

    fn order(&mut self, standing: Standing) -> &mut Order {
        match standing {
            Standing::Ordinary => &mut self.ordinary,
            Standing::Spared => &mut self.spared,
            Standing::Peer => &mut self.peers,
        }
    }
}

/// The class of a size; larger sizes are never in a smaller class.
fn class_of(bytes: usize) -> usize {
    if bytes < SMALL_BYTES {
        return 0;
    }
    let doublings = (bytes / SMALL_BYTES).ilog2() as usize;
    let sixteenths = bytes / ((SMALL_BYTES / CLASSES_PER_DOUBLING) << doublings);
    doublings * CLASSES_PER_DOUBLING + sixteenths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;
    use std::collections::BTreeMap;

    const MIB: usize = 1 << 20;

    /// Connections with what they hold in KiB: `p` a peer, `s` one that is spared.
    fn closed_of(limit_kib: u64, held: &str) -> String {
        let mut memory = ClientMemory::new(limit_kib << 10);
        let mut entries = BTreeMap::new();
        for (at, word) in held.split(' ').enumerate() {
            let (standing, kib) = match word.as_bytes()[0] {
                b'p' => (Standing::Peer, &word[1..]),
                b's' => (Standing::Spared, &word[1..]),
                _ => (Standing::Ordinary, word),
            };
            let (conn, mut entry) = (ConnId(at as u64), Entry::default());
            memory.enter(conn, &mut entry, kib.parse::<usize>().unwrap() << 10, 1, standing);
            entries.insert(conn, (word, entry));
        }
        let mut closed = Vec::new();
        while let Some(conn) = memory.offender() {
            let (word, mut entry) = entries.remove(&conn).unwrap();
            memory.leave(conn, &mut entry);
            closed.push(word);
        }
        closed.join(" ")
    }

    #[test]
    fn the_largest_is_closed_first_and_sentinels_last() {
        for (limit, held, closed) in [
            (0, "9999 9999", ""),
            (100, "10 20 30 40", ""),
            (99, "10 20 30 40", "40"),
            (99, "10 40 30 20", "40"),
            (50, "10 20 30 40", "40 30"),
            (10, "10 20 30 40", "40 30 20"),
            (5, "10 20 30 40", "40 30 20 10"),
            (99, "33 33 33 33", "33"),
            (100, "p45 10 20 30", "30"),
            (100, "p45 s20 10 20 30", "30"),
            (100, "s24 80", "80"),
            // Beyond its share nobody is spared.
            (100, "s26 80", "s26"),
            (100, "s26 s10 80", "s26"),
            (100, "p51 60", "p51"),
            (100, "p30 p21 p1 60", "p30"),
            (100, "p50 s25 26", "26"),
            (100, "p51 s26 24", "p51"),
        ] {
            assert_eq!(closed_of(limit, held), closed, "{limit} KiB: {held}");
        }
    }

    #[test]
    fn among_equals_the_last_one_goes() {
        let mut memory = ClientMemory::new(5000);
        for conn in 1..=4 {
            memory.enter(ConnId(conn), &mut Entry::default(), 2000, 1, Standing::Ordinary);
        }
        assert_eq!(memory.offender(), Some(ConnId(4)));
    }

    #[test]
    fn what_weighs_more_counts_the_same_but_goes_before() {
        let mut memory = ClientMemory::new(100 << 10);
        memory.enter(ConnId(1), &mut Entry::default(), 90 << 10, 1, Standing::Ordinary);
        memory.enter(ConnId(2), &mut Entry::default(), 10 << 10, 16, Standing::Ordinary);
        assert_eq!(memory.offender(), None);
        memory.enter(ConnId(3), &mut Entry::default(), 1, 16, Standing::Ordinary);
        assert_eq!(memory.offender(), Some(ConnId(2)));
    }

    #[test]
    fn classes_grow_with_the_size_by_a_sixteenth_at_most() {
        let mut sizes: Vec<usize> = (0..4000).map(|n| n * 3).collect();
        sizes.extend(
            (1..60).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + (1 << bit) / 2]),
        );
        sizes.sort_unstable();
        for pair in sizes.windows(2) {
            assert!(class_of(pair[0]) <= class_of(pair[1]), "{pair:?}");
        }
        for bytes in [SMALL_BYTES, 5000, 70_000, MIB, 3 * MIB + 17] {
            let more = bytes + bytes.div_ceil(CLASSES_PER_DOUBLING);
            assert!(class_of(more) > class_of(bytes), "{bytes}");
        }
        assert_eq!((class_of(0), class_of(SMALL_BYTES - 1)), (0, 0));
        assert!(class_of(usize::MAX) > class_of(usize::MAX / 2));
    }

    #[test]
    fn sums_are_what_the_entries_hold() {
        let mut rng = Rng::new(9);
        let mut memory = ClientMemory::new(1);
        let mut entries: BTreeMap<ConnId, Entry> = BTreeMap::new();
        for _ in 0..5000 {
            let conn = ConnId(rng.below(20));
            let standing = [Standing::Ordinary, Standing::Spared, Standing::Peer];
            let standing = standing[rng.below(3) as usize];
            if rng.below(4) == 0 {
                if let Some(mut entry) = entries.remove(&conn) {
                    memory.leave(conn, &mut entry);
                    assert_eq!(entry, Entry::default());
                }
            } else {
                let entry = entries.entry(conn).or_default();
                memory.enter(conn, entry, rng.below(1 << 18) as usize, 1, standing);
            }
            assert_eq!(memory.total(), entries.values().map(Entry::bytes).sum::<usize>());
            let orders = [&memory.ordinary, &memory.spared, &memory.peers];
            assert_eq!(orders.map(|o| o.by_class.len()).iter().sum::<usize>(), entries.len());
            assert_eq!(memory.offender().is_some(), memory.total() > 1);
        }
    }
}
