//! What crosses the wire between agent and collector: the messages and the gRPC service of
//! `proto/spanhound/v1/wire.proto`, generated into [`v1`] by `cargo xtask proto` and committed.
//!
//! Feature `client` compiles the sending half, `server` the receiving half; the messages are always there.

/// Version 1 of the wire.
pub mod v1;
