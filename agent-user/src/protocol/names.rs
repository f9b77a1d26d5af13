//! Names that one connection tells and others refer to by id (Kafka's topics).
//!
//! Enters: ids that are unique everywhere, and names. Leaves: names. Bounded: [`NAMES_MAX`]; all are forgotten where one more
//! comes. Deliberately absent: ids that mean something on their own connection only.

use std::sync::{Arc, Mutex, PoisonError};

use compact_str::CompactString;
use rustc_hash::FxHashMap;

const NAMES_MAX: usize = 16 * 1024;

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct SharedNames(Arc<Mutex<FxHashMap<u128, CompactString>>>);

impl SharedNames {
    pub(super) fn get(&self, id: u128) -> Option<CompactString> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(&id).cloned()
    }

    pub(super) fn learn(&self, told: impl IntoIterator<Item = (u128, CompactString)>) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, name) in told {
            if names.len() >= NAMES_MAX {
                names.clear();
            }
            names.insert(id, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_learns_others_know_within_bounds() {
        let (one, other) = (SharedNames::default(), SharedNames::default());
        let clone = one.clone();
        one.learn([(7, "orders".into())]);
        assert_eq!(clone.get(7).as_deref(), Some("orders"));
        assert_eq!(other.get(7), None);
        one.learn((0..20_000).map(|id| (id, "t".into())));
        assert!(one.0.lock().unwrap().len() <= NAMES_MAX);
    }
}
