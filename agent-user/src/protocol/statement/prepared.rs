//! Prepared statements of one session, by whatever its protocol names them.
//!
//! Enters: names with their statements. Leaves: the statement of a name. Bounded: [`STATEMENTS_MAX`] and
//! [`TEXTS_MAX_BYTES`], the least recently used goes first; one forgotten or never seen is unknown, never another one's.

use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Statement;

const STATEMENTS_MAX: usize = 512;
const TEXTS_MAX_BYTES: usize = 256 * 1024;

struct Entry {
    statement: Arc<Statement>,
    used: u64,
}

/// See the module's documentation.
pub struct Prepared<Name> {
    entries: FxHashMap<Name, Entry>,
    text_bytes: usize,
    uses: u64,
}

impl<Name> Default for Prepared<Name> {
    fn default() -> Self {
        Self {
            entries: FxHashMap::default(),
            text_bytes: 0,
            uses: 0,
        }
    }
}

impl<Name: Eq + Hash + Clone> Prepared<Name> {
    /// Notes that `name` stands for `statement` from now on.
    pub fn insert(&mut self, name: Name, statement: Arc<Statement>) {
        self.remove(&name);
        self.uses += 1;
        self.text_bytes += statement.text.len();
        self.entries.insert(
            name,
            Entry {
                statement,
                used: self.uses,
            },
        );
        while self.entries.len() > STATEMENTS_MAX || self.text_bytes > TEXTS_MAX_BYTES {
            let oldest = self
                .entries
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { return };
            self.remove(&oldest);
        }
    }

    /// What `name` stands for.
    pub fn get(&mut self, name: &Name) -> Option<Arc<Statement>> {
        self.uses += 1;
        let entry = self.entries.get_mut(name)?;
        entry.used = self.uses;
        Some(entry.statement.clone())
    }

    /// The session closed `name`.
    pub fn remove(&mut self, name: &Name) {
        if let Some(entry) = self.entries.remove(name) {
            self.text_bytes -= entry.statement.text.len();
        }
    }

    /// Bytes are missing: what they prepared or closed is not known.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(text: &str) -> Arc<Statement> {
        Arc::new(Statement {
            text: text.into(),
            ..Statement::default()
        })
    }

    #[test]
    fn a_forgotten_statement_is_unknown() {
        let mut prepared = Prepared::default();
        for number in 0..=STATEMENTS_MAX {
            prepared.insert(number, statement("SELECT ?"));
            prepared.get(&1);
        }
        assert!(prepared.get(&0).is_none());
        assert!(prepared.get(&1).is_some());
        assert!(prepared.entries.len() <= STATEMENTS_MAX);
    }

    #[test]
    fn long_texts_are_bounded_too() {
        let mut prepared = Prepared::default();
        for number in 0..STATEMENTS_MAX {
            prepared.insert(number, statement(&"x".repeat(2_000)));
        }
        assert!(prepared.text_bytes <= TEXTS_MAX_BYTES);
        for number in 0..STATEMENTS_MAX {
            prepared.remove(&number);
        }
        assert_eq!(prepared.text_bytes, 0);
    }
}
