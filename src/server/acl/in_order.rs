//! A set that remembers the order in which its items came: rules are shown in the order given, and
//! one request may bring thousands of them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

/// Items, each once, with what belongs to them.
#[derive(Clone, Debug)]
pub struct InOrder<V> {
    items: BTreeMap<Vec<u8>, (u64, V)>,
    next: u64,
}

impl<V> Default for InOrder<V> {
    fn default() -> InOrder<V> {
        InOrder { items: BTreeMap::new(), next: 0 }
    }
}

impl<V> InOrder<V> {
    pub fn count(&self) -> usize {
        self.items.len()
    }

    pub fn contains(&self, item: &[u8]) -> bool {
        self.items.contains_key(item)
    }

    pub fn get_mut(&mut self, item: &[u8]) -> Option<&mut V> {
        self.items.get_mut(item).map(|(_, value)| value)
    }

    /// Adds an item behind the others. One that is there already keeps its place and its value.
    pub fn add(&mut self, item: Vec<u8>, value: V) {
        let next = self.next;
        self.items.entry(item).or_insert((next, value));
        self.next += 1;
    }

    /// Removes an item; false if it is not there.
    pub fn remove(&mut self, item: &[u8]) -> bool {
        self.items.remove(item).is_some()
    }

    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// All items, as they are sorted.
    pub fn items(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.items.keys()
    }

    /// All items with their values, as they came.
    pub fn in_order(&self) -> Vec<(&Vec<u8>, &V)> {
        let items = self.items.iter();
        let mut all: Vec<_> = items.map(|(item, (at, value))| (*at, item, value)).collect();
        all.sort_unstable_by_key(|(at, ..)| *at);
        all.into_iter().map(|(_, item, value)| (item, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stay_where_they_came_first() {
        let mut set = InOrder::default();
        for (n, item) in ["c", "a", "b", "a", "c"].into_iter().enumerate() {
            set.add(item.into(), n);
        }
        let shown = |set: &InOrder<usize>| {
            let all = set.in_order();
            all.iter().map(|(item, n)| format!("{}{n}", String::from_utf8_lossy(item))).collect()
        };
        let all: Vec<String> = shown(&set);
        assert_eq!(all, ["c0", "a1", "b2"]);
        assert!(set.remove(b"c") && !set.remove(b"c") && !set.contains(b"c"));
        set.add(b"c".to_vec(), 9);
        let all: Vec<String> = shown(&set);
        assert_eq!(all, ["a1", "b2", "c9"]);
        *set.get_mut(b"a").unwrap() = 7;
        assert_eq!((set.count(), set.items().next()), (3, Some(&b"a".to_vec())));
        set.clear();
        assert!(set.in_order().is_empty());
    }
}
