//! The collector as a whole: the store under a clock of the test's own, and the real process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "../support/batch.rs"]
mod batch;
mod joining;
mod model;
mod process;
mod rig;
#[path = "../support/shop.rs"]
mod shop;
mod surviving;
