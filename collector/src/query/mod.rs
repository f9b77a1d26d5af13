//! Answers questions about what is stored, as docs/API.md says: one function an endpoint, JSON over HTTP in `http`.
//! Enters: parameters. Leaves: answers whose numbers are exact for the range asked: whole minutes come from rollups,
//! the cut minutes at both ends from points. Bounded: the range, every list, the spans of a trace. Absent on purpose:
//! HTML (room `page`).

pub mod agents;
pub mod answer;
pub mod http;
pub mod map;
pub mod parameters;
pub mod scatter;
pub mod sums;
pub mod timeseries;
pub mod trace;
pub mod transactions;
