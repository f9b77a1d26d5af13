//! A table that forgets: two maps, the current one taking what is new; when it is full or its time is up it becomes the
//! previous one and the former previous one goes. Bounded: twice the capacity. Entries live at least as long as it
//! takes to fill one map, unless the time is up.

use crate::losses::Counter;
use rustc_hash::FxHashMap;
use std::hash::Hash;

/// A bounded table of what came lately.
#[derive(Debug)]
pub struct Recent<K, V> {
    current: FxHashMap<K, V>,
    previous: FxHashMap<K, V>,
    capacity: usize,
    turned_ns: u64,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    pub fn new(capacity: usize) -> Self {
        Self {
            current: FxHashMap::default(),
            previous: FxHashMap::default(),
            capacity,
            turned_ns: 0,
        }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.current.get(key).or_else(|| self.previous.get(key))
    }

    /// Inserts; what a full table forgets for it is counted.
    pub fn insert(&mut self, key: K, value: V, evicted: &Counter) {
        self.previous.remove(&key);
        if self.current.len() >= self.capacity && !self.current.contains_key(&key) {
            evicted.add(self.previous.len() as u64);
            self.previous = std::mem::take(&mut self.current);
        }
        self.current.insert(key, value);
    }

    /// Forgets what is older than one to two windows.
    pub fn turn(&mut self, now_ns: u64, window_ns: u64) {
        if now_ns.saturating_sub(self.turned_ns) >= window_ns {
            self.turned_ns = now_ns;
            self.previous = std::mem::take(&mut self.current);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_counts_what_it_forgets() {
        let (mut table, evicted) = (Recent::new(10), Counter::default());
        for key in 0..25 {
            table.insert(key, key, &evicted);
        }
        assert_eq!(evicted.get(), 10);
        assert_eq!(
            (table.get(&9), table.get(&10), table.get(&24)),
            (None, Some(&10), Some(&24))
        );
    }

    #[test]
    fn time_turns_it() {
        let (mut table, evicted) = (Recent::new(10), Counter::default());
        table.turn(100, 50);
        table.insert(1, 1, &evicted);
        table.turn(149, 50);
        table.turn(150, 50);
        assert_eq!(table.get(&1), Some(&1));
        table.turn(200, 50);
        assert_eq!((table.get(&1), evicted.get()), (None, 0));
    }
}
