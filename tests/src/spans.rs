//! Spans: everything the collector stored, and how right its links are.
//!
//! Enters: the collector's JSON API. Leaves: spans by id, and a verdict on each parent. The truth is a number that the
//! services put into paths, statements and keys, and that nothing in the product looks at.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::watch::Watch;

#[derive(Clone, Debug)]
pub struct Span {
    pub id: String,
    pub trace: String,
    pub parent: Option<String>,
    pub kind: String,
    pub service: String,
    pub protocol: String,
    pub operation: String,
    pub target: String,
    pub peer: String,
    pub method: String,
    pub confidence: String,
    pub probability: f64,
    /// Which request it belongs to, where it tells.
    pub number: Option<u64>,
}

/// How the parents of some spans came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub correct: u64,
    pub wrong: u64,
    pub missing: u64,
    /// Called `exact`, and wrong.
    pub exact_wrong: u64,
    /// What the first few mistakes were.
    pub examples: Vec<String>,
}

impl Verdict {
    pub fn total(&self) -> u64 {
        self.correct + self.wrong + self.missing
    }

    fn note(&mut self, example: String) {
        if self.examples.len() < 5 {
            self.examples.push(example);
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = |count: u64| 100.0 * count as f64 / self.total().max(1) as f64;
        write!(
            formatter,
            "{} spans: correct {:.2}%, wrong {:.2}%, missing {:.2}%, exact and wrong {}",
            self.total(),
            share(self.correct),
            share(self.wrong),
            share(self.missing),
            self.exact_wrong
        )
    }
}

/// Every span of every trace that any node of the map shows in that time.
pub fn stored(watch: &Watch, from_ms: u64, to_ms: u64) -> Result<BTreeMap<String, Span>> {
    let range = format!("from_ms={from_ms}&to_ms={to_ms}");
    let map = watch.get(&format!("map?{range}"))?;
    let mut traces = BTreeSet::new();
    for node in map["nodes"].as_array().context("the map has no nodes")? {
        let id = encode(node["id"].as_str().unwrap_or_default());
        let scatter = watch.get(&format!("scatter?node={id}&{range}&limit=20000"))?;
        ensure!(
            scatter["sampled"] == Value::Bool(false),
            "node {id} has more spans than the scatter shows"
        );
        for point in scatter["points"].as_array().into_iter().flatten() {
            traces.extend(point[3].as_str().map(str::to_owned));
        }
    }
    let mut spans = BTreeMap::new();
    for trace in traces {
        let answer = watch.get(&format!("traces/{trace}"))?;
        for span in answer["spans"].as_array().into_iter().flatten() {
            let span = read(&trace, span);
            spans.insert(span.id.clone(), span);
        }
    }
    Ok(spans)
}

fn read(trace: &str, span: &Value) -> Span {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let target = text(&span["target"]);
    Span {
        id: text(&span["span_id"]),
        trace: trace.to_owned(),
        parent: span["parent_span_id"].as_str().map(str::to_owned),
        kind: text(&span["kind"]),
        service: text(&span["service"]),
        protocol: text(&span["protocol"]),
        operation: text(&span["operation"]),
        peer: text(&span["peer"]),
        method: text(&span["link"]["method"]),
        confidence: text(&span["link"]["confidence"]),
        probability: span["link"]["probability"].as_f64().unwrap_or(0.0),
        number: number(&target),
        target,
    }
}

fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| {
            if plain(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// The number in `/item/17`, `... AS n17 ...` or `item:17`.
fn number(target: &str) -> Option<u64> {
    ["/item/", "AS n", "as n", "item:"].iter().find_map(|before| {
        let rest = &target[target.find(before)? + before.len()..];
        rest[..rest
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(rest.len())]
            .parse()
            .ok()
    })
}

/// Judges the parents of those spans: the right one belongs to the same request and is what `expected` says of it.
pub fn judge<'a>(
    spans: &BTreeMap<String, Span>,
    judged: impl Iterator<Item = &'a Span>,
    expected: impl Fn(&Span) -> bool,
) -> Verdict {
    let mut verdict = Verdict::default();
    for span in judged {
        let Some(parent) = span.parent.as_ref().and_then(|parent| spans.get(parent)) else {
            verdict.missing += 1;
            verdict.note(format!("no parent: {span:?}"));
            continue;
        };
        if parent.number == span.number && expected(parent) {
            verdict.correct += 1;
        } else {
            verdict.wrong += 1;
            verdict.exact_wrong += u64::from(span.confidence == "exact");
            verdict.note(format!("wrong parent: {span:?}\n  is not a child of {parent:?}"));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_request_is_found_in_paths_statements_and_keys() {
        assert_eq!(number("/item/17?x=1"), Some(17));
        assert_eq!(
            number("SELECT n17.name FROM items AS n17 WHERE n17.id = ?"),
            Some(17)
        );
        assert_eq!(number("item:17:views"), Some(17));
        assert_eq!(number("/other"), None);
    }
}
