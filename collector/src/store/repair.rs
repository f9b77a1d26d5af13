//! What turned out after a span came: its parent, and that its trace id means another trace. Segments never change, so
//! repairs of spans that are in a segment already are kept beside them (`repairs/GENERATION.bin`) and applied when
//! reading; those of spans still in memory are written with the span and forgotten. Bounded: both tables.

use crate::losses::Losses;
use crate::span::{Link, Span, SpanId, TraceId};
use rustc_hash::FxHashMap;

const MAX_REPAIRS: usize = 400_000;

/// A span's parent, found late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repair {
    pub parent_span_id: SpanId,
    pub link: Link,
}

#[derive(Clone, Copy, Debug)]
struct Kept<T> {
    value: T,
    since_unix_ns: u64,
    /// Something in a segment needs it: it must be written and outlive the buffer.
    lasting: bool,
}

/// All repairs that something readable may need.
#[derive(Debug, Default)]
pub struct Repairs {
    parents: FxHashMap<SpanId, Kept<Repair>>,
    aliases: FxHashMap<TraceId, Kept<TraceId>>,
    /// The aliases by what they mean.
    aliased_by: FxHashMap<TraceId, Vec<TraceId>>,
    /// Lasting repairs that are in no file yet.
    unwritten: Unwritten,
    frozen: Frozen,
}

/// Repairs on their way into a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unwritten {
    pub parents: Vec<(SpanId, SpanId)>,
    pub aliases: Vec<(TraceId, TraceId)>,
}

/// How far the buffer has been handed over to segments.
#[derive(Clone, Copy, Debug, Default)]
struct Frozen {
    generation: u64,
    sealed_unix_ns: u64,
}

impl Repairs {
    pub fn of_span(&self, id: SpanId) -> Option<&Repair> {
        self.parents.get(&id).map(|kept| &kept.value)
    }

    /// The trace the id means.
    pub fn trace_of(&self, id: TraceId) -> TraceId {
        let mut root = id;
        while let Some(alias) = self.aliases.get(&root) {
            root = alias.value;
        }
        root
    }

    /// Every id that means the same trace as `id`, itself included.
    pub fn all_ids(&self, id: TraceId) -> Vec<TraceId> {
        let mut ids = vec![self.trace_of(id)];
        let mut next = 0;
        while let Some(known) = ids.get(next) {
            ids.extend(self.aliased_by.get(known).into_iter().flatten());
            next += 1;
        }
        ids
    }

    /// Rewrites the span to what is known now.
    pub fn apply(&self, span: &mut Span) {
        span.trace_id = self.trace_of(span.trace_id);
        if let Some(repair) = self.of_span(span.span_id) {
            span.parent_span_id = repair.parent_span_id;
            span.link = repair.link;
        }
    }

    pub fn add_parent(
        &mut self,
        span: SpanId,
        repair: Repair,
        generation: u64,
        now_unix_ns: u64,
        losses: &Losses,
    ) {
        if self.parents.len() >= MAX_REPAIRS {
            losses.alias_table_full.add(1);
            return;
        }
        let lasting = generation <= self.frozen.generation;
        let kept = Kept {
            value: repair,
            since_unix_ns: now_unix_ns,
            lasting,
        };
        if self
            .parents
            .insert(span, kept)
            .is_none_or(|before| before.value != repair)
            && lasting
        {
            self.unwritten.parents.push((span, repair.parent_span_id));
        }
    }

    /// Says that `from` means the trace of `to`. A span under `from` began at `start_unix_ns` and is in `generation`.
    pub fn add_alias(
        &mut self,
        from: TraceId,
        to: TraceId,
        (start_unix_ns, generation): (u64, u64),
        now_unix_ns: u64,
        losses: &Losses,
    ) {
        let (from, to) = (self.trace_of(from), self.trace_of(to));
        if from == to {
            return;
        }
        if self.aliases.len() >= MAX_REPAIRS {
            losses.alias_table_full.add(1);
            return;
        }
        // Other spans under `from` may be in a segment when it began before the last one was closed; ten seconds for
        // clocks that differ.
        let old = start_unix_ns <= self.frozen.sealed_unix_ns.saturating_add(10_000_000_000);
        let lasting = self.frozen.generation > 0 && (old || generation <= self.frozen.generation);
        self.aliases.insert(
            from,
            Kept {
                value: to,
                since_unix_ns: now_unix_ns,
                lasting,
            },
        );
        self.aliased_by.entry(to).or_default().push(from);
        if lasting {
            self.unwritten.aliases.push((from, to));
        }
    }

    /// Repairs read back from a file.
    pub fn restore(&mut self, file: &Unwritten, now_unix_ns: u64, losses: &Losses) {
        for (span, parent) in &file.parents {
            let repair = Repair {
                parent_span_id: *parent,
                link: Link::TCP,
            };
            self.add_parent(*span, repair, 0, now_unix_ns, losses);
        }
        for (from, to) in &file.aliases {
            self.add_alias(*from, *to, (0, 0), now_unix_ns, losses);
            if let Some(alias) = self.aliases.get_mut(from) {
                alias.lasting = true;
            }
        }
        self.unwritten = Unwritten::default();
    }

    /// The buffer up to this generation is being written: repairs of it must last from now on.
    pub fn freeze(&mut self, generation: u64, sealed_unix_ns: u64) {
        self.frozen = Frozen {
            generation,
            sealed_unix_ns,
        };
    }

    /// What has to be written beside the next segment.
    pub fn take_unwritten(&mut self) -> Unwritten {
        std::mem::take(&mut self.unwritten)
    }

    /// Forgets repairs nothing needs any more: passing ones from before `passing_before_unix_ns`, lasting ones from
    /// before `lasting_before_unix_ns`. What meant a forgotten id means from then on what that one meant.
    pub fn forget(&mut self, passing_before_unix_ns: u64, lasting_before_unix_ns: u64) {
        let needed = |lasting: bool, since: u64| {
            since
                >= if lasting {
                    lasting_before_unix_ns
                } else {
                    passing_before_unix_ns
                }
        };
        self.parents
            .retain(|_, kept| needed(kept.lasting, kept.since_unix_ns));
        let unneeded = self
            .aliases
            .iter()
            .filter(|(_, kept)| !needed(kept.lasting, kept.since_unix_ns));
        let unneeded: Vec<TraceId> = unneeded.map(|(from, _)| *from).collect();
        for from in unneeded {
            self.forget_alias(from);
        }
    }

    fn forget_alias(&mut self, from: TraceId) {
        let Some(Kept { value: to, .. }) = self.aliases.remove(&from) else {
            return;
        };
        let meant = self.aliased_by.remove(&from).unwrap_or_default();
        for id in &meant {
            if let Some(alias) = self.aliases.get_mut(id) {
                alias.value = to;
                if alias.lasting {
                    self.unwritten.aliases.push((*id, to));
                }
            }
        }
        let ids = self.aliased_by.entry(to).or_default();
        ids.retain(|id| *id != from);
        ids.extend(meant);
        if ids.is_empty() {
            self.aliased_by.remove(&to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_aliases_meet_in_one_trace_whatever_the_order() {
        for order in [[(3, 2), (2, 1)], [(2, 1), (3, 2)]] {
            let mut repairs = Repairs::default();
            for (from, to) in order {
                repairs.add_alias(from, to, (0, 0), 0, &Losses::default());
            }
            repairs.add_alias(1, 3, (0, 0), 0, &Losses::default());
            for id in 1..=3 {
                assert_eq!(repairs.trace_of(id), 1);
                let mut ids = repairs.all_ids(id);
                ids.sort_unstable();
                assert_eq!(ids, [1, 2, 3]);
            }
        }
    }

    #[test]
    fn only_repairs_of_written_spans_last() {
        let (mut repairs, losses) = (Repairs::default(), Losses::default());
        let repair = Repair {
            parent_span_id: 9,
            link: Link::TCP,
        };
        repairs.freeze(1, 20_000_000_000);
        repairs.add_parent(1, repair, 1, 50, &losses);
        repairs.add_parent(2, repair, 2, 50, &losses);
        repairs.add_alias(11, 10, (5, 2), 50, &losses);
        repairs.add_alias(12, 10, (40_000_000_000, 2), 50, &losses);
        let written = repairs.take_unwritten();
        assert_eq!(
            written,
            Unwritten {
                parents: vec![(1, 9)],
                aliases: vec![(11, 10)]
            }
        );
        repairs.forget(100, 0);
        assert!(repairs.of_span(1).is_some() && repairs.of_span(2).is_none());
        assert_eq!((repairs.all_ids(10), repairs.trace_of(12)), (vec![10, 11], 12));

        let mut restored = Repairs::default();
        restored.restore(&written, 60, &losses);
        restored.forget(100, 0);
        assert_eq!((restored.trace_of(11), restored.of_span(1)), (10, Some(&repair)));
        assert_eq!(restored.take_unwritten(), Unwritten::default());
        restored.forget(100, 100);
        assert_eq!(restored.trace_of(11), 11);
    }

    #[test]
    fn what_meant_a_forgotten_id_means_what_that_one_meant() {
        let (mut repairs, losses) = (Repairs::default(), Losses::default());
        repairs.freeze(1, 0);
        // 3 is in a segment, 2 and 1 are not yet.
        repairs.add_alias(3, 2, (0, 1), 50, &losses);
        repairs.add_alias(2, 1, (40_000_000_000, 2), 50, &losses);
        repairs.add_alias(1, 9, (40_000_000_000, 2), 50, &losses);
        repairs.forget(100, 0);
        assert_eq!((repairs.trace_of(3), repairs.all_ids(9)), (9, vec![9, 3]));
        let mut restored = Repairs::default();
        restored.restore(&repairs.take_unwritten(), 60, &losses);
        assert_eq!(restored.trace_of(3), 9);
        restored.forget(100, 0);
        assert_eq!((restored.trace_of(3), restored.all_ids(9)), (9, vec![9, 3]));
    }
}
