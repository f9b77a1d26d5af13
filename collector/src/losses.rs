//! Everything the collector itself turned away or lost, counted by reason, and apart from it what is worth a figure and is no
//! loss; both shown by `/api/v1/agents`. Counters start at zero with the process. Bounded: the names are the fixed lists below.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! losses {
    (
        losses: $($(#[doc = $doc:literal])+ $name:ident;)*
        counters: $($(#[doc = $other_doc:literal])+ $other:ident;)*
    ) => {
        /// One counter a reason.
        #[derive(Debug, Default)]
        pub struct Losses {
            $($(#[doc = $doc])+ pub $name: Counter,)*
            $($(#[doc = $other_doc])+ pub $other: Counter,)*
        }

        impl Losses {
            /// The losses that are not zero, by reason.
            pub fn by_reason(&self) -> BTreeMap<&'static str, u64> {
                [$((stringify!($name), self.$name.get()),)*].into_iter().filter(|(_, count)| *count > 0).collect()
            }

            /// The figures that are no loss and not zero, by name.
            pub fn counters(&self) -> BTreeMap<&'static str, u64> {
                [$((stringify!($other), self.$other.get()),)*].into_iter().filter(|(_, count)| *count > 0).collect()
            }
        }
    };
}

/// A monotonic counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

losses! {
    losses:
    /// Spans whose trace id was not 16 bytes or all zero.
    malformed_trace_id;
    /// Spans without a span id.
    malformed_span_id;
    /// Spans naming a string their batch does not have.
    bad_string_index;
    /// Spans naming an instance their batch does not have.
    bad_instance_index;
    /// Spans of an unknown kind, link method, confidence or status.
    bad_enum_value;
    /// Spans older than what the store retains.
    too_old;
    /// Spans that start more than an hour ahead of the collector's clock.
    in_future;
    /// Attributes beyond the bound per span, left out; the span is kept.
    attributes_trimmed;
    /// Strings cut to the bound, kept in part.
    strings_truncated;
    /// Batches refused because they exceed the bounds on spans, strings or instances.
    batches_too_large;
    /// Batches refused because the disk took no more; the sender keeps and retries them.
    batches_refused_disk;
    /// Batches refused because too much waited in memory; the sender keeps and retries them.
    batches_refused_memory;
    /// Sequence numbers forgotten because an agent's batches came with too many holes.
    seen_ranges_forgotten;
    /// Bytes of the write-ahead log skipped at start because they were torn or damaged.
    wal_damaged_bytes;
    /// Records of the write-ahead log whose content could not be decoded.
    wal_undecodable_records;
    /// Times the manifest was damaged and rebuilt from the segments.
    manifests_rebuilt;
    /// Segments put aside because their files were damaged.
    segments_damaged;
    /// Spans in those segments.
    spans_in_damaged_segments;
    /// Segments that could not be read by a query and were left out of its answer.
    segment_read_errors;
    /// Attempts to write a segment that failed and are repeated.
    segment_write_errors;
    /// Entries of the join tables that went for want of room before the span was settled: two ends of one request may stay
    /// apart. The collector is given more spans than it can join.
    join_table_evictions;
    /// Trace aliases not kept because the table was full.
    alias_table_full;
    /// Learned addresses forgotten because the table was full.
    directory_evictions;
    /// Agents not listed because the table was full.
    agent_table_full;
    /// Instances left out of a node's list because it was full.
    instances_trimmed;
    counters:
    /// Batches that had been stored already and were acknowledged again.
    batches_repeated;
    /// Merges of small segments that failed; the segments stay as they are.
    segment_merge_errors;
    /// Entries of the join tables that went for want of room after the span was settled, in which time the other end comes if
    /// anybody watches it.
    join_entries_let_go;
}
