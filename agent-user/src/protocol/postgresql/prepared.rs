//! Prepared statements and portals of one session.
//!
//! Enters: what Parse, Bind and Close say. Leaves: the statement a portal runs. Bounded: [`STATEMENTS_MAX`] and
//! [`TEXT_MAX_BYTES`], the least recently used goes first; one forgotten or never seen is unknown, never another one's.

use std::sync::Arc;

use compact_str::CompactString;
use rustc_hash::FxHashMap;

use crate::protocol::statement::Statement;

const STATEMENTS_MAX: usize = 512;
const TEXT_MAX_BYTES: usize = 256 * 1024;
const PORTALS_MAX: usize = 32;

/// What a portal will run.
#[derive(Clone, Default)]
pub(super) struct Portal {
    pub(super) statement: Option<Arc<Statement>>,
    /// It was executed before: the next Execute fetches more of the same.
    pub(super) executed: bool,
}

struct Named {
    statement: Arc<Statement>,
    used: u64,
}

#[derive(Default)]
pub(super) struct Prepared {
    unnamed: Option<Arc<Statement>>,
    named: FxHashMap<CompactString, Named>,
    named_text_bytes: usize,
    uses: u64,
    unnamed_portal: Portal,
    portals: FxHashMap<CompactString, Portal>,
}

impl Prepared {
    pub(super) fn parse(&mut self, name: &str, statement: Arc<Statement>) {
        if name.is_empty() {
            self.unnamed = Some(statement);
            return;
        }
        self.close_statement(name);
        self.uses += 1;
        self.named_text_bytes += statement.text.len();
        self.named.insert(
            name.into(),
            Named {
                statement,
                used: self.uses,
            },
        );
        while self.named.len() > STATEMENTS_MAX || self.named_text_bytes > TEXT_MAX_BYTES {
            let Some(oldest) = self
                .named
                .iter()
                .min_by_key(|(_, named)| named.used)
                .map(|(name, _)| name.clone())
            else {
                return;
            };
            self.close_statement(&oldest);
        }
    }

    pub(super) fn statement(&mut self, name: &str) -> Option<Arc<Statement>> {
        if name.is_empty() {
            return self.unnamed.clone();
        }
        self.uses += 1;
        let named = self.named.get_mut(name)?;
        named.used = self.uses;
        Some(named.statement.clone())
    }

    pub(super) fn bind(&mut self, portal: &str, statement: &str) {
        let bound = Portal {
            statement: self.statement(statement),
            executed: false,
        };
        if portal.is_empty() {
            self.unnamed_portal = bound;
            return;
        }
        if self.portals.len() >= PORTALS_MAX {
            // Portals end with their transaction, which is not followed; forgetting all is rare and harmless.
            self.portals.clear();
        }
        self.portals.insert(portal.into(), bound);
    }

    /// What an Execute of `portal` runs.
    pub(super) fn execute(&mut self, portal: &str) -> Portal {
        let known = if portal.is_empty() {
            Some(&mut self.unnamed_portal)
        } else {
            self.portals.get_mut(portal)
        };
        known.map_or_else(Portal::default, |portal| {
            let now = portal.clone();
            portal.executed = true;
            now
        })
    }

    pub(super) fn close_statement(&mut self, name: &str) {
        if name.is_empty() {
            self.unnamed = None;
        } else if let Some(closed) = self.named.remove(name) {
            self.named_text_bytes -= closed.statement.text.len();
        }
    }

    pub(super) fn close_portal(&mut self, name: &str) {
        if name.is_empty() {
            self.unnamed_portal = Portal::default();
        } else {
            self.portals.remove(name);
        }
    }

    /// Bytes of the client are missing: what they prepared or closed is not known.
    pub(super) fn forget(&mut self) {
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
            prepared.parse(&format!("s{number}"), statement("SELECT ?"));
            prepared.statement("s1");
        }
        assert!(prepared.statement("s0").is_none());
        assert!(prepared.statement("s1").is_some());
        prepared.bind("", "s0");
        assert!(prepared.execute("").statement.is_none());
        assert!(prepared.named.len() <= STATEMENTS_MAX);
    }

    #[test]
    fn long_texts_are_bounded_too() {
        let mut prepared = Prepared::default();
        for number in 0..STATEMENTS_MAX {
            prepared.parse(&format!("s{number}"), statement(&"x".repeat(2_000)));
        }
        assert!(prepared.named_text_bytes <= TEXT_MAX_BYTES);
        for number in 0..STATEMENTS_MAX {
            prepared.close_statement(&format!("s{number}"));
        }
        assert_eq!(prepared.named_text_bytes, 0);
    }

    #[test]
    fn a_second_execute_of_a_portal_is_told() {
        let mut prepared = Prepared::default();
        prepared.parse("", statement("SELECT a"));
        prepared.bind("c", "");
        assert!(!prepared.execute("c").executed);
        assert!(prepared.execute("c").executed);
        prepared.close_portal("c");
        assert!(prepared.execute("c").statement.is_none());
    }
}
