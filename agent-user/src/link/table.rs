//! Table: values by key, for keys that are asked for several times in a row.
//!
//! Enters: keys and values. Leaves: the values, where they lie. Values stand in slots and are never moved; by hash goes only the
//! slot's number, and not even that where the key is the one asked for last: an event asks up to ten times for the same
//! thread, process or exchange. Bounded: by whoever inserts and makes room first. Deliberately absent: any order.

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use rustc_hash::FxHashMap;

pub(super) struct Table<K, V> {
    places: FxHashMap<K, u32>,
    slots: Vec<Option<(K, V)>>,
    free: Vec<u32>,
    /// Slot that was asked for last.
    last: Cell<u32>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            places: FxHashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            last: Cell::new(0),
        }
    }
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_some()
    }

    #[inline]
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let place = self.place(key)?;
        self.slots[place].as_ref().map(|(_, value)| value)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key)?;
        self.slots[place].as_mut().map(|(_, value)| value)
    }

    /// Answers false, and makes nothing, where the key is known.
    #[inline]
    pub(super) fn insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> bool {
        let (place, new) = self.place_or_new(key);
        if new {
            self.slots[place] = Some((key, make()));
        }
        new
    }

    #[inline]
    pub(super) fn or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let place = self.place(&key).unwrap_or_else(|| self.place_or_new(key).0);
        &mut self.slots[place].get_or_insert_with(|| made(key, make)).1
    }

    #[inline]
    pub(super) fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.or_insert_with(key, V::default)
    }

    /// Answers whether it was there.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        let Some(place) = self.places.remove(key) else {
            return false;
        };
        self.slots[place as usize] = None;
        self.free.push(place);
        true
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if let Some((key, value)) = slot
                && !keep(key, value)
            {
                self.places.remove(key);
                *slot = None;
                self.free.push(place as u32);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().flatten().map(|(key, value)| (key, value))
    }

    /// Drops an eighth at once, those first in the order of `age`, so that the cost per new entry stays constant. Answers how
    /// many went.
    pub(super) fn make_room<A: Copy + Ord>(&mut self, limit: usize, age: impl Fn(&V) -> A) -> u64 {
        let oldest = self.oldest_eighth(limit, age);
        for key in &oldest {
            self.remove(key);
        }
        oldest.len() as u64
    }

    /// An eighth of `limit` of the keys: those first in the order of `age`.
    pub(super) fn oldest_eighth<A: Copy + Ord>(&self, limit: usize, age: impl Fn(&V) -> A) -> Vec<K> {
        let mut ages: Vec<(A, K)> = self.iter().map(|(key, value)| (age(value), *key)).collect();
        let count = (limit / 8).max(1).min(ages.len());
        if count > 0 {
            ages.select_nth_unstable_by_key(count - 1, |(age, _)| *age);
        }
        ages.into_iter().take(count).map(|(_, key)| key).collect()
    }

    #[inline]
    fn place(&self, key: &K) -> Option<usize> {
        let last = self.last.get() as usize;
        match self.slots.get(last) {
            Some(Some((known, _))) if known == key => Some(last),
            _ => self.look_up(key),
        }
    }

    #[inline(never)]
    fn look_up(&self, key: &K) -> Option<usize> {
        let place = *self.places.get(key)?;
        self.last.set(place);
        Some(place as usize)
    }

    /// The key's slot; an empty one, and true, where the key is new.
    #[inline(never)]
    fn place_or_new(&mut self, key: K) -> (usize, bool) {
        let (place, new) = match self.places.entry(key) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(unknown) => {
                let place = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(None);
                    self.slots.len() as u32 - 1
                });
                (*unknown.insert(place), true)
            }
        };
        self.last.set(place);
        (place as usize, new)
    }
}

/// Apart from the code that finds what is there, which is inlined.
#[cold]
fn made<K, V>(key: K, make: impl FnOnce() -> V) -> (K, V) {
    (key, make())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_what_a_map_would(steps in prop::collection::vec((0u8..6, 0u64..20), 0..300)) {
            let (mut table, mut map) = (Table::default(), FxHashMap::default());
            for (number, (kind, key)) in steps.into_iter().enumerate() {
                match kind {
                    0 => {
                        let new = !map.contains_key(&key);
                        map.entry(key).or_insert(number);
                        prop_assert_eq!(table.insert_with(key, || number), new);
                    }
                    1 => prop_assert_eq!(table.remove(&key), map.remove(&key).is_some()),
                    2 => prop_assert_eq!(table.or_default(key), map.entry(key).or_default()),
                    3 => {
                        table.retain(|known, _| known % 5 != key % 5);
                        map.retain(|known, _| known % 5 != key % 5);
                    }
                    _ => prop_assert_eq!(table.get(&key), map.get(&key)),
                }
                prop_assert_eq!(table.len(), map.len());
                prop_assert!(table.slots.len() <= 20, "slots are used again");
            }
            let held: FxHashMap<u64, usize> = table.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(held, map);
        }
    }
}
