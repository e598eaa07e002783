//! Typed ids, handed out by counters and never reused, and the arena that is keyed by them.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// Declares a `u64` id type for [`Arena`] keys and for anything else that is counted.
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u64);

        impl From<u64> for $name {
            fn from(n: u64) -> Self {
                $name(n)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> u64 {
                id.0
            }
        }
    };
}

id_type!(
    /// A TCP or Unix connection, of a client or of a link. The shell maps it to a socket.
    ConnId
);
id_type!(
    /// A DNS lookup in progress.
    LookupId
);
id_type!(
    /// A script job, from its queueing to its end.
    JobId
);
id_type!(
    /// A question to the shell whether a path is an executable file.
    CheckId
);
id_type!(
    /// A question to the shell about a file, or for random bytes.
    AskId
);

pub(crate) use id_type;

/// Hashes ids: numbers that we hand out ourselves, so nobody can choose them to collide.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        // The table takes its buckets from the low bits and its tags from the high ones.
        let spread = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }
}

/// A map by id for what is looked up all the time and never iterated in an order that matters.
pub type IdMap<I, T> = HashMap<I, T, BuildHasherDefault<IdHasher>>;

/// A map from a typed id to its value, iterated in the order of the ids; ids count up and are
/// never reused. Looking up is what happens all the time, iterating is rare: it sorts.
#[derive(Clone, Debug)]
pub struct Arena<I, T> {
    next: u64,
    /// Boxed, as a table keeps room for twice its content at times.
    map: IdMap<u64, Box<T>>,
    marker: PhantomData<I>,
}

impl<I, T> Default for Arena<I, T> {
    fn default() -> Self {
        Arena { next: 1, map: IdMap::default(), marker: PhantomData }
    }
}

impl<I: Copy + From<u64> + Into<u64>, T> Arena<I, T> {
    /// Stores what `make` builds from its new id.
    pub fn insert_with(&mut self, make: impl FnOnce(I) -> T) -> I {
        let id = self.next;
        self.next += 1;
        self.map.insert(id, Box::new(make(I::from(id))));
        I::from(id)
    }

    pub fn get(&self, id: I) -> Option<&T> {
        self.map.get(&id.into()).map(|value| &**value)
    }

    pub fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.map.get_mut(&id.into()).map(|value| &mut **value)
    }

    pub fn remove(&mut self, id: I) -> Option<T> {
        self.map.remove(&id.into()).map(|value| *value)
    }

    pub fn contains(&self, id: I) -> bool {
        self.map.contains_key(&id.into())
    }

    pub fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        let mut all: Vec<_> = self.map.iter().map(|(id, value)| (*id, &**value)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(id, value)| (I::from(id), value))
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    pub fn ids(&self) -> Vec<I> {
        self.iter().map(|(id, _)| id).collect()
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

impl<I: Copy + From<u64> + Into<u64>, T> Index<I> for Arena<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        self.get(id).expect("ids held by live instances are live")
    }
}

impl<I: Copy + From<u64> + Into<u64>, T> IndexMut<I> for Arena<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        self.get_mut(id).expect("ids held by live instances are live")
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, ConnId};

    #[test]
    fn ids_count_up_and_are_never_reused() {
        let mut arena: Arena<ConnId, String> = Arena::default();
        let first = arena.insert_with(|id| format!("conn {}", id.0));
        let second = arena.insert_with(|id| format!("conn {}", id.0));
        assert!(first < second);
        assert_eq!(arena[first], format!("conn {}", first.0));
        assert_eq!(arena.remove(second), Some(format!("conn {}", second.0)));
        assert_eq!(arena.remove(second), None);
        let third = arena.insert_with(|_| String::new());
        assert!(third > second);
        assert_eq!(arena.ids(), [first, third]);
    }

    #[test]
    fn finds_changes_and_lists_in_order() {
        let mut arena: Arena<ConnId, u32> = Arena::default();
        assert!(arena.is_empty());
        let ids: Vec<ConnId> = (0..5).map(|n| arena.insert_with(|_| n)).collect();
        arena[ids[1]] = 10;
        *arena.get_mut(ids[2]).expect("just stored") += 10;
        assert_eq!(arena.len(), 5);
        assert_eq!(arena.values().copied().collect::<Vec<_>>(), [0, 10, 12, 3, 4]);
        assert!(arena.iter().map(|(id, _)| id).eq(ids.iter().copied()));
        assert!(arena.contains(ids[4]) && !arena.contains(ConnId(99)));
        assert_eq!(arena.get(ConnId(99)), None);
    }

    #[test]
    #[should_panic(expected = "ids held by live instances are live")]
    fn a_dead_id_is_a_bug() {
        let arena: Arena<ConnId, u32> = Arena::default();
        let _ = arena[ConnId(1)];
    }
}
