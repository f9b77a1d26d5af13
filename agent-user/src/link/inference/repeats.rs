//! Which calls a request has made already, and what that says of the next one.
//!
//! Enters: requests whose calls are known, with what their steps alone would have led one to expect. Leaves: how much more or
//! less often than expected a call of some name is made once more. Steps know only the last event and how many calls were made: of
//! calls that are made at once, in any order, they do not know which are still to come. Where steps tell all there is to
//! know, what is seen is what was expected, and nothing is said here. Bounded: [`NAMES`] names of calls, counts up to
//! [`MOST`]; of further names nothing is said.

use std::array::from_fn;

use rustc_hash::FxHashMap;

/// Names whose calls are counted, of one name of requests.
const NAMES: usize = 32;
/// Calls of one name that are told apart by their number; two bits each.
const MOST: u64 = 3;
/// Calls' worth of belief in what steps say.
const PRIOR: f32 = 1.0;
/// Less than this (a logarithm) is not worth telling hypotheses apart for.
const LEAST: f32 = 0.1;

/// How many calls of each name were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made(u64);

impl Made {
    fn count(self, slot: usize) -> usize {
        (self.0 >> (2 * slot) & MOST) as usize
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }
}

/// How many calls there were of a name, by how many had been made before.
#[derive(Clone, Copy, Default)]
struct Count {
    seen: [f32; MOST as usize + 1],
    expected: [f32; MOST as usize + 1],
    log: [f32; MOST as usize + 1],
    /// Steps tell all there is to know.
    silent: bool,
}

#[derive(Clone, Default)]
pub(super) struct Repeats {
    /// Place of each name in `counts`.
    slots: FxHashMap<u32, usize>,
    counts: Vec<Count>,
}

impl Repeats {
    /// Calls of this name will be counted.
    pub(super) fn know(&mut self, name: u32) {
        if self.counts.len() < NAMES && !self.slots.contains_key(&name) {
            self.slots.insert(name, self.counts.len());
            self.counts.push(Count::default());
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = u32> {
        self.slots.keys().copied()
    }

    /// After one more call.
    pub(super) fn and(&self, made: Made, name: u32) -> Made {
        match self.slots.get(&name) {
            Some(slot) if !self.counts[*slot].silent && made.count(*slot) < MOST as usize => {
                Made(made.0 + (1 << (2 * slot)))
            }
            _ => made,
        }
    }

    /// How much more probable than its step alone a call of this name is, as a logarithm.
    pub(super) fn log(&self, made: Made, name: u32) -> f32 {
        let slot = self.slots.get(&name);
        slot.map_or(0.0, |slot| self.counts[*slot].log[made.count(*slot)])
    }

    /// Steps lead one to expect a call of this name now, with this probability.
    pub(super) fn expect(&mut self, made: Made, name: u32, probability: f32) {
        if let Some(slot) = self.slots.get(&name) {
            self.counts[*slot].expected[made.count(*slot)] += probability;
        }
    }

    pub(super) fn see(&mut self, made: Made, name: u32) {
        if let Some(slot) = self.slots.get(&name) {
            self.counts[*slot].seen[made.count(*slot)] += 1.0;
        }
    }

    pub(super) fn refresh(&mut self) {
        for count in &mut self.counts {
            let (seen, expected) = (count.seen, count.expected);
            count.log = from_fn(|at| ((seen[at] + PRIOR) / (expected[at] + PRIOR)).ln());
            count.silent = count.log.iter().all(|log| log.abs() < LEAST);
            if count.silent {
                count.log = Default::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_always_made_once_is_not_expected_again() {
        let mut repeats = Repeats::default();
        repeats.know(7);
        for _ in 0..100 {
            let none = Made::default();
            repeats.expect(none, 7, 0.5);
            repeats.see(none, 7);
            let one = repeats.and(none, 7);
            repeats.expect(one, 7, 0.5);
        }
        repeats.refresh();
        let once = repeats.and(Made::default(), 7);
        assert!(repeats.log(Made::default(), 7) > 0.5 && repeats.log(once, 7) < -3.0);
        assert_eq!(repeats.log(once, 8), 0.0, "of others nothing is known");
    }

    #[test]
    fn what_steps_expect_is_left_to_them() {
        let mut repeats = Repeats::default();
        repeats.know(1);
        for number in 0..100 {
            repeats.expect(Made::default(), 1, 0.25);
            if number % 4 == 0 {
                repeats.see(Made::default(), 1);
            }
        }
        repeats.refresh();
        assert!(repeats.log(Made::default(), 1) == 0.0);
        assert_eq!(repeats.and(Made::default(), 1), Made::default());
    }

    #[test]
    fn counts_end_where_their_bits_do_and_touch_no_other() {
        let mut repeats = Repeats::default();
        (0..40).for_each(|name| repeats.know(name));
        let mut made = Made::default();
        (0..10).for_each(|_| made = repeats.and(made, 31));
        assert_eq!((made.count(31), made.count(30), made.count(0)), (3, 0, 0));
        assert_eq!(repeats.and(made, 35), made, "beyond the bound nothing is counted");
    }
}
