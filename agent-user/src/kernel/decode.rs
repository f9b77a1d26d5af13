//! Decode: ring buffer records become events.
