//! What the collector's tests share.

pub(crate) mod batch;
pub(crate) mod shop;
