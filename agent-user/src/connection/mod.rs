//! Connection: which bytes of which direction are at hand, and who owns the socket.
//!
//! Enters: [`crate::event::Event`]s of one connection. Leaves: for each direction a [`stream::Stream`] that knows its
//! byte positions and gaps; in [`table`] the facts about every live connection. Bounded: held bytes per direction
//! ([`stream::HELD_MAX_BYTES`]) and the number of connections. Deliberately absent: what the bytes mean.

pub mod stream;
