//! Runtime: what a language's runtime knows and the kernel does not.

pub mod go;
pub mod java;
pub mod python;
