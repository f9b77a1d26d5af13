//! Real services on a stage of their own, for the end-to-end tests, the demo and the benches.
//!
//! ```text
//! tree, need -> stage -> service -> load -> shop, watch -> spans -> links
//! ```
//!
//! Nothing here knows what a span is: the services are started as their makers ship them, and none contains tracing code.

pub mod hosts;
pub mod links;
pub mod load;
pub mod need;
pub mod service;
pub mod shop;
pub mod spans;
pub mod stage;
pub mod tree;
pub mod watch;
