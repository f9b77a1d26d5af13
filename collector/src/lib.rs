//! The Spanhound collector. Batches of spans come in, are made durable and joined, and answer whoever looks at the page:
//!
//! ingest -> store -> query -> page
//!
//! A room imports only rooms before it, and `config`, `losses` and `span`, the words all share; `run` alone sees all.

pub mod config;
pub mod ingest;
pub mod losses;
pub mod page;
pub mod query;
pub mod run;
pub mod span;
pub mod store;
