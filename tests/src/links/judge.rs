//! What the stored spans say about one cell of the matrix.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Subject;
use crate::spans::Span;

/// Verdict on the calls of one cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub concurrency: u32,
    pub keep: bool,
    /// Calls the service made.
    pub calls: u64,
    /// Requests and calls that were made and are no span.
    pub unseen: u64,
    pub correct: u64,
    pub wrong: u64,
    pub none: u64,
    /// Called `exact`, right or wrong; and wrong.
    pub exact: u64,
    pub exact_wrong: u64,
    /// How the parents were found: method and how many.
    pub methods: BTreeMap<String, u64>,
    /// What the first few mistakes were.
    pub examples: Vec<String>,
}

pub(super) fn judge(
    subject: &Subject,
    spans: &BTreeMap<String, Span>,
    concurrency: u32,
    keep: bool,
    numbers: Range<u64>,
) -> Cell {
    let mut cell = Cell {
        concurrency,
        keep,
        ..Cell::default()
    };
    let requests = numbers.end - numbers.start;
    let expected_calls: u64 = numbers.clone().map(|number| subject.calls(number)).sum();
    let expected_requests = requests * subject.hops;
    let of_cell = |span: &&Span| span.number.is_some_and(|number| numbers.contains(&number));
    let (mut calls, mut served) = (0, 0);
    for span in spans.values().filter(of_cell) {
        if span.kind != "client" {
            served += 1;
            continue;
        }
        calls += 1;
        let parent = span.parent.as_ref().and_then(|parent| spans.get(parent));
        let Some(parent) = parent else {
            cell.none += 1;
            cell.note(format!("no parent: {span:?}"));
            continue;
        };
        *cell.methods.entry(span.method.clone()).or_default() += 1;
        cell.exact += u64::from(span.confidence == "exact");
        if parent.number == span.number && parent.kind == "server" && parent.service == span.service {
            cell.correct += 1;
        } else {
            cell.wrong += 1;
            cell.exact_wrong += u64::from(span.confidence == "exact");
            cell.note(format!("wrong parent: {span:?}\n  is not a child of {parent:?}"));
        }
    }
    cell.calls = calls;
    cell.unseen = expected_calls.saturating_sub(calls) + expected_requests.saturating_sub(served);
    cell
}

impl Cell {
    fn note(&mut self, example: String) {
        if self.examples.len() < 5 {
            self.examples.push(example);
        }
    }
}

/// Calls that belong to no request, and those of them that got a parent all the same.
pub(super) fn background(spans: &BTreeMap<String, Span>) -> (u64, u64) {
    let ticks = spans
        .values()
        .filter(|span| span.kind == "client" && span.target.starts_with("/tick"));
    ticks.fold((0, 0), |(all, linked), span| {
        (all + 1, linked + u64::from(span.parent.is_some()))
    })
}
