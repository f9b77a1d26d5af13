//! The rollups of a segment as a file: CRC-32 of what follows (u32, little endian), then one protobuf message defined
//! here. Strings are kept once.

use super::SegmentError;
use crate::span::Text;
use crate::store::histogram::Histogram;
use crate::store::rollup::{Minute, Presence, Rollups, Subject};
use crate::store::summary::Summary;
use prost::Message;
use rustc_hash::FxHashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

#[derive(Clone, PartialEq, Message)]
struct RollupFile {
    #[prost(string, repeated, tag = "1")]
    strings: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    summaries: Vec<StoredSummary>,
    #[prost(message, repeated, tag = "3")]
    presences: Vec<StoredPresence>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredSummary {
    #[prost(uint64, tag = "1")]
    minute: u64,
    /// 0 for a node, else one more than the string's index.
    #[prost(uint32, tag = "2")]
    source: u32,
    #[prost(uint32, tag = "3")]
    target: u32,
    #[prost(uint64, repeated, tag = "4")]
    classes: Vec<u64>,
    /// Saturates after 584 years of summed durations.
    #[prost(uint64, tag = "5")]
    sum_ns: u64,
    #[prost(uint64, tag = "6")]
    max_ns: u64,
    #[prost(uint64, tag = "7")]
    exact_links: u64,
    #[prost(uint64, tag = "8")]
    inferred_links: u64,
    #[prost(uint32, repeated, tag = "9")]
    buckets: Vec<u32>,
    #[prost(uint64, repeated, tag = "10")]
    counts: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredPresence {
    #[prost(uint64, tag = "1")]
    minute: u64,
    #[prost(uint32, tag = "2")]
    node: u32,
    #[prost(uint32, tag = "3")]
    family: u32,
    #[prost(uint32, tag = "4")]
    runtime: u32,
    #[prost(uint32, repeated, tag = "5")]
    instances: Vec<u32>,
}

/// Writes the file and makes it durable; returns its length.
///
/// # Errors
/// The disk's.
pub fn write(path: &Path, rollups: &Rollups) -> Result<u64, SegmentError> {
    let content = encode(rollups).encode_to_vec();
    let io = |cause| SegmentError::Io {
        path: path.to_owned(),
        cause,
    };
    let mut file = File::create(path).map_err(io)?;
    file.write_all(&crc32fast::hash(&content).to_le_bytes())
        .and_then(|()| file.write_all(&content))
        .and_then(|()| file.sync_all())
        .map_err(io)?;
    Ok(content.len() as u64 + 4)
}

/// # Errors
/// When the file cannot be read or its checksum or content is wrong.
pub fn read(path: &Path) -> Result<Rollups, SegmentError> {
    let damaged = |problem| SegmentError::Damaged {
        path: path.to_owned(),
        problem,
    };
    let mut content = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut content))
        .map_err(|cause| SegmentError::Io {
            path: path.to_owned(),
            cause,
        })?;
    let (checksum, content) = content.split_first_chunk().ok_or_else(|| damaged("too short"))?;
    if u32::from_le_bytes(*checksum) != crc32fast::hash(content) {
        return Err(damaged("checksum"));
    }
    let stored = RollupFile::decode(content).map_err(|_| damaged("not a rollup"))?;
    decode(&stored).ok_or_else(|| damaged("names a string it does not have"))
}

fn encode(rollups: &Rollups) -> RollupFile {
    let mut strings = Strings::default();
    let summaries = rollups
        .summaries
        .iter()
        .map(|((minute, subject), summary)| {
            let (source, target) = match subject {
                Subject::Node(node) => (0, strings.index(node)),
                Subject::Edge { source, target } => (strings.index(source) + 1, strings.index(target)),
            };
            StoredSummary {
                minute: *minute,
                source,
                target,
                classes: summary.classes.to_vec(),
                sum_ns: u64::try_from(summary.sum_ns).unwrap_or(u64::MAX),
                max_ns: summary.max_ns,
                exact_links: summary.exact_links,
                inferred_links: summary.inferred_links,
                buckets: summary
                    .histogram
                    .buckets()
                    .map(|(bucket, _)| u32::from(bucket))
                    .collect(),
                counts: summary.histogram.buckets().map(|(_, count)| count).collect(),
            }
        })
        .collect();
    let presences = rollups
        .presences
        .iter()
        .map(|((minute, node), presence)| StoredPresence {
            minute: *minute,
            node: strings.index(node),
            family: strings.index(&presence.family),
            runtime: strings.index(&presence.runtime),
            instances: presence
                .instances
                .iter()
                .map(|instance| strings.index(instance))
                .collect(),
        })
        .collect();
    RollupFile {
        strings: strings.list,
        summaries,
        presences,
    }
}

/// `None` when an index is beyond the strings.
fn decode(stored: &RollupFile) -> Option<Rollups> {
    let strings: Vec<Text> = stored
        .strings
        .iter()
        .map(|string| Text::from(string.as_str()))
        .collect();
    let text = |index: u32| strings.get(index as usize).cloned();
    let mut rollups = Rollups::default();
    for summary in &stored.summaries {
        let target = text(summary.target)?;
        let subject = match summary.source.checked_sub(1) {
            None => Subject::Node(target),
            Some(source) => Subject::Edge {
                source: text(source)?,
                target,
            },
        };
        let key: (Minute, Subject) = (summary.minute, subject);
        rollups.summaries.insert(key, decode_summary(summary));
    }
    for presence in &stored.presences {
        let instances = presence
            .instances
            .iter()
            .map(|index| text(*index))
            .collect::<Option<_>>()?;
        let decoded = Presence {
            instances,
            family: text(presence.family)?,
            runtime: text(presence.runtime)?,
        };
        rollups
            .presences
            .insert((presence.minute, text(presence.node)?), decoded);
    }
    Some(rollups)
}

fn decode_summary(stored: &StoredSummary) -> Summary {
    let mut histogram = Histogram::default();
    for (bucket, count) in stored.buckets.iter().zip(&stored.counts) {
        histogram.add(u16::try_from(*bucket).unwrap_or(u16::MAX), *count);
    }
    let mut classes = [0; 5];
    for (class, count) in classes.iter_mut().zip(&stored.classes) {
        *class = *count;
    }
    Summary {
        classes,
        sum_ns: u128::from(stored.sum_ns),
        max_ns: stored.max_ns,
        exact_links: stored.exact_links,
        inferred_links: stored.inferred_links,
        histogram,
    }
}

#[derive(Default)]
struct Strings {
    list: Vec<String>,
    known: FxHashMap<Text, u32>,
}

impl Strings {
    fn index(&mut self, text: &Text) -> u32 {
        if let Some(index) = self.known.get(text) {
            return *index;
        }
        let index = self.list.len() as u32;
        self.list.push(text.to_string());
        self.known.insert(text.clone(), index);
        index
    }
}
