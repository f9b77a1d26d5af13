//! Which batches are stored already, so that a repeated one is stored once. Per agent run the sequence numbers seen, as
//! ranges. Bounded: [`MAX_RUNS`] runs (the least recently seen goes first) and [`MAX_RANGES`] ranges a run (the two
//! lowest are merged, so that an old hole counts as seen).

use crate::losses::Losses;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

const MAX_RUNS: usize = 10_000;
const MAX_RANGES: usize = 1_024;

/// The batches seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    runs: HashMap<u64, Run>,
    clock: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// First to last sequence number of each range, both included; ranges neither touch nor overlap.
    ranges: BTreeMap<u64, u64>,
    last_used: u64,
}

impl Seen {
    pub fn contains(&self, run_id: u64, sequence: u64) -> bool {
        self.runs.get(&run_id).is_some_and(|run| {
            run.ranges
                .range(..=sequence)
                .next_back()
                .is_some_and(|(_, last)| *last >= sequence)
        })
    }

    pub fn insert(&mut self, run_id: u64, sequence: u64, losses: &Losses) {
        if self.runs.len() >= MAX_RUNS && !self.runs.contains_key(&run_id) {
            let oldest = self
                .runs
                .iter()
                .min_by_key(|(_, run)| run.last_used)
                .map(|(id, _)| *id);
            oldest.and_then(|id| self.runs.remove(&id));
        }
        self.clock += 1;
        let run = self.runs.entry(run_id).or_default();
        run.last_used = self.clock;
        run.insert(sequence);
        if run.ranges.len() > MAX_RANGES {
            run.merge_lowest();
            losses.seen_ranges_forgotten.add(1);
        }
    }
}

impl Run {
    fn insert(&mut self, sequence: u64) {
        let (mut first, mut last) = (sequence, sequence);
        if let Some((before, end)) = self.ranges.range(..=sequence).next_back().map(|(a, b)| (*a, *b)) {
            if end >= sequence {
                return;
            }
            if end + 1 == sequence {
                first = before;
            }
        }
        if let Some(end) = sequence.checked_add(1).and_then(|next| self.ranges.remove(&next)) {
            last = end;
        }
        self.ranges.insert(first, last);
    }

    fn merge_lowest(&mut self) {
        if let (Some((first, _)), Some((_, last))) = (self.ranges.pop_first(), self.ranges.pop_first()) {
            self.ranges.insert(first, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn equals_a_set(sequences in prop::collection::vec(0u64..60, 0..80)) {
            let (mut seen, mut set) = (Seen::default(), HashSet::new());
            for sequence in sequences {
                seen.insert(7, sequence, &Losses::default());
                set.insert(sequence);
                for probe in 0..62 {
                    prop_assert_eq!(seen.contains(7, probe), set.contains(&probe));
                }
                prop_assert!(!seen.contains(8, sequence));
            }
        }
    }

    #[test]
    fn holes_and_runs_are_bounded() {
        let losses = Losses::default();
        let mut seen = Seen::default();
        for sequence in 0..2_000 {
            seen.insert(1, sequence * 2, &losses);
        }
        assert_eq!(seen.runs[&1].ranges.len(), MAX_RANGES);
        assert!(losses.seen_ranges_forgotten.get() > 0);
        assert!(seen.contains(1, 3_998) && !seen.contains(1, 3_997));
        for run in 2..=MAX_RUNS as u64 + 1 {
            seen.insert(run, u64::MAX, &losses);
        }
        assert_eq!(seen.runs.len(), MAX_RUNS);
        assert!(!seen.contains(1, 0) && seen.contains(2, u64::MAX));
    }
}
