//! Hooks that see data move through sockets, one file a tier, and the one that sees sockets go.

mod batch;
pub mod call;
mod call_32;
mod close;
pub mod connect;
mod function;
mod syscall;
mod tracepoint;

pub use batch::Batch;
pub use close::gone;
pub use function::Entered;
