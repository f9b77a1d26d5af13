//! Places: where a step is kept. Enters: an event and a destination, both below 65,536. Leaves: the number it was inserted
//! with. Bounded: by what is inserted.

/// Where steps are kept, by event and destination: hashed for every step of every hypothesis.
#[derive(Clone, Default)]
pub(super) struct Places {
    /// Key and place; a place of `u32::MAX` is free. A power of two of them, at most half of them taken.
    slots: Vec<(u32, u32)>,
    taken: usize,
}

impl Places {
    fn key(from: u32, to: u32) -> u32 {
        from << 16 | to
    }

    fn slot(&self, key: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (key.wrapping_mul(0x9e37_79b1) >> 12) as usize & mask;
        while self.slots[at].1 != u32::MAX && self.slots[at].0 != key {
            at = (at + 1) & mask;
        }
        at
    }

    pub(super) fn find(&self, from: u32, to: u32) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let place = self.slots[self.slot(Self::key(from, to))].1;
        (place != u32::MAX).then_some(place as usize)
    }

    pub(super) fn insert(&mut self, from: u32, to: u32, place: usize) {
        if 2 * (self.taken + 1) > self.slots.len() {
            let grown = vec![(0, u32::MAX); (2 * self.slots.len()).max(16)];
            let old = std::mem::replace(&mut self.slots, grown);
            for (key, place) in old.into_iter().filter(|(_, place)| *place != u32::MAX) {
                let at = self.slot(key);
                self.slots[at] = (key, place);
            }
        }
        let key = Self::key(from, to);
        let at = self.slot(key);
        self.slots[at] = (key, place as u32);
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_nothing_else() {
        let mut places = Places::default();
        assert_eq!(places.find(0, 0), None);
        let pairs: Vec<(u32, u32)> = (0..40)
            .flat_map(|from| (0..40).map(move |to| (from, to)))
            .collect();
        for (place, (from, to)) in pairs.iter().enumerate() {
            places.insert(*from, *to, place);
        }
        for (place, (from, to)) in pairs.iter().enumerate() {
            assert_eq!(places.find(*from, *to), Some(place));
        }
        assert_eq!((places.find(40, 0), places.find(0, 40)), (None, None));
    }
}
