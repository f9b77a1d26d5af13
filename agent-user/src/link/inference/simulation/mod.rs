//! Made-up applications whose truth is known: spans as a host would see them, each call with the request that made it.
//!
//! Enters: a seed. Leaves: spans of one process. Bounded: requests asked for. Deliberately absent: whatever judges the
//! spans; nothing here knows of inference.
//!
//! Road: `styles` (what applications there are) -> `program` (what one does) -> `run` (it does so, event by event, with
//! queues where there are queues) -> `distort` (what clocks and losses make of it). `time` holds the distributions.

mod distort;
pub(crate) mod program;
mod run;
mod styles;
mod time;

pub(crate) use styles::{STYLE_COUNT, Wanted, application};

/// A request or a call as a host saw it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) server: bool,
    pub(crate) name: String,
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
    /// Index of the request that made this call; `None` for requests, and calls that nobody's request made.
    pub(crate) parent: Option<usize>,
}
