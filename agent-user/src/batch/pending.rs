//! Spans that wait for their link.
//!
//! Enters: spans by exchange id; decisions. Leaves: linked spans. Bounded: [`Pending::new`]'s limit; a span beyond it is
//! turned away and counted. Deliberately absent: any timing; the link room decides in bounded time.

use rustc_hash::FxHashMap;

use super::Linked;
use crate::link::{Decision, ExchangeId};
use crate::span::Span;

#[derive(Debug)]
pub struct Pending {
    waiting: FxHashMap<ExchangeId, Span>,
    limit: usize,
    turned_away: u64,
}

impl Pending {
    pub fn new(limit: usize) -> Self {
        Self {
            waiting: FxHashMap::default(),
            limit,
            turned_away: 0,
        }
    }

    pub fn add(&mut self, id: ExchangeId, span: Span) {
        if self.waiting.len() >= self.limit {
            self.turned_away += 1;
            return;
        }
        self.waiting.insert(id, span);
    }

    /// The span a decision is about; `None` where it was turned away.
    pub fn link(&mut self, link: Decision) -> Option<Linked> {
        let span = self.waiting.remove(&link.id)?;
        Some(Linked { span, link })
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Spans turned away since start.
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }
}
