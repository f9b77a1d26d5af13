//! Prepared statements and portals of one session.
//!
//! Enters: what Parse, Bind and Close say. Leaves: the statement a portal runs. Bounded: as [`Prepared`] is, and
//! [`PORTALS_MAX`].

use std::sync::Arc;

use compact_str::CompactString;
use rustc_hash::FxHashMap;

use crate::protocol::statement::{Prepared, Statement};

const PORTALS_MAX: usize = 32;

/// What a portal will run.
#[derive(Clone, Default)]
pub(super) struct Portal {
    pub(super) statement: Option<Arc<Statement>>,
    /// It was executed before: the next Execute fetches more of the same.
    pub(super) executed: bool,
}

/// The statements and portals of a session; the empty name is the unnamed one's.
#[derive(Default)]
pub(super) struct Session {
    statements: Prepared<CompactString>,
    unnamed_portal: Portal,
    portals: FxHashMap<CompactString, Portal>,
}

impl Session {
    pub(super) fn parse(&mut self, name: CompactString, statement: Arc<Statement>) {
        self.statements.insert(name, statement);
    }

    pub(super) fn statement(&mut self, name: &CompactString) -> Option<Arc<Statement>> {
        self.statements.get(name)
    }

    pub(super) fn bind(&mut self, portal: CompactString, statement: &CompactString) {
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
        self.portals.insert(portal, bound);
    }

    /// What an Execute of `portal` runs.
    pub(super) fn execute(&mut self, portal: &CompactString) -> Portal {
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

    pub(super) fn close_statement(&mut self, name: &CompactString) {
        self.statements.remove(name);
    }

    pub(super) fn close_portal(&mut self, name: &CompactString) {
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

    #[test]
    fn a_second_execute_of_a_portal_is_told() {
        let mut session = Session::default();
        session.parse("".into(), Arc::default());
        session.bind("c".into(), &"".into());
        assert!(!session.execute(&"c".into()).executed);
        assert!(session.execute(&"c".into()).executed);
        session.close_portal(&"c".into());
        assert!(session.execute(&"c".into()).statement.is_none());
        session.bind("".into(), &"unseen".into());
        assert!(session.execute(&"".into()).statement.is_none());
    }
}
