//! A table that forgets: two maps, the current one taking what is new; when it is full or its time is up it becomes the
//! previous one and the former previous one goes. Bounded: twice the capacity. Entries live at least as long as it
//! takes to fill one map, unless the time is up. What a full table forgets is counted; where entries wait for something,
//! apart by whether they had waited as long as they should.

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
    /// When the last entry came to the previous map, at the latest.
    filled_ns: u64,
}

/// How long an entry should be kept, and where is counted what is not.
pub struct Wait<'a> {
    pub now_ns: u64,
    pub wait_ns: u64,
    /// Forgotten before.
    pub early: &'a Counter,
    /// Forgotten after.
    pub later: &'a Counter,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    pub fn new(capacity: usize) -> Self {
        Self {
            current: FxHashMap::default(),
            previous: FxHashMap::default(),
            capacity,
            turned_ns: 0,
            filled_ns: 0,
        }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.current.get(key).or_else(|| self.previous.get(key))
    }

    /// Inserts; what a full table forgets for it is counted.
    pub fn insert(&mut self, key: K, value: V, evicted: &Counter) {
        evicted.add(self.insert_and_forget(key, value));
    }

    /// Inserts what should be kept for some time at least.
    pub fn insert_waiting(&mut self, key: K, value: V, wait: &Wait<'_>) {
        let forgotten = self.insert_and_forget(key, value);
        if forgotten > 0 {
            let waited_ns = wait.now_ns.saturating_sub(self.filled_ns);
            let counter = if waited_ns < wait.wait_ns {
                wait.early
            } else {
                wait.later
            };
            counter.add(forgotten);
        }
        if self.current.len() == 1 {
            self.filled_ns = wait.now_ns;
        }
    }

    /// How many entries went for want of room.
    fn insert_and_forget(&mut self, key: K, value: V) -> u64 {
        self.previous.remove(&key);
        let mut forgotten = 0;
        if self.current.len() >= self.capacity && !self.current.contains_key(&key) {
            forgotten = self.previous.len() as u64;
            self.previous = std::mem::take(&mut self.current);
        }
        self.current.insert(key, value);
        forgotten
    }

    /// Forgets what is older than one to two windows.
    pub fn turn(&mut self, now_ns: u64, window_ns: u64) {
        if now_ns.saturating_sub(self.turned_ns) >= window_ns {
            self.turned_ns = now_ns;
            self.filled_ns = now_ns;
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
    fn who_had_waited_long_enough_is_counted_apart() {
        let (mut table, early, later) = (Recent::new(10), Counter::default(), Counter::default());
        let mut fill = |from: u64, now_ns| {
            for key in from..from + 10 {
                let wait = Wait {
                    now_ns,
                    wait_ns: 50,
                    early: &early,
                    later: &later,
                };
                table.insert_waiting(key, (), &wait);
            }
            (early.get(), later.get())
        };
        assert_eq!((fill(0, 100), fill(10, 120)), ((0, 0), (0, 0)));
        // The first ten go: their map was full by 120 at the latest.
        assert_eq!(fill(20, 169), (10, 0));
        assert_eq!(fill(30, 219), (10, 10));
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
