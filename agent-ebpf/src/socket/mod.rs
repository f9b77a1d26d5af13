//! Hooks that see data move through sockets, one file a tier, and the one that sees sockets go.

mod call;
mod close;
mod syscall;
mod tracepoint;

pub use close::gone;
