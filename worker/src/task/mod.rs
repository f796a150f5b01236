//! From a ready task to its files.

pub mod handle;
pub mod cache;
pub mod runner;
