//! The Spanhound agent, as rooms in the order a request walks through them.
//!
//! ```text
//! kernel -> connection -> protocol -> exchange -> span -> link -> batch -> export
//! ```
//!
//! A room imports only rooms before it (`process` answers "who" for all of them; `health` counts what any of them
//! turned away). `run` alone sees all of them; `replay` and `infer` are the same rooms fed from a file.

pub mod allocator;
pub mod batch;
pub mod config;
pub mod connection;
pub mod event;
pub mod exchange;
pub mod export;
pub mod health;
pub mod infer;
pub mod kernel;
pub mod link;
pub mod process;
pub mod protocol;
pub mod replay;
pub mod run;
pub mod span;
