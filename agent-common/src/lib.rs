//! Plain types that cross the border between the kernel programs and the agent: event records, load-time configuration,
//! limits. Everything here is `repr(C)`, has no padding, and states its size in an assertion.
#![no_std]
