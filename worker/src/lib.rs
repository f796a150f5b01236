//! The workers: they turn briefs into plans and run the tasks of plans.
//!
//! `plan/handle.rs` and `task/handle.rs` have the same shape: claim, attempt, settle. Who has read
//! one has read both. What a task makes is decided in `generate`.

pub mod plan;
pub mod task;
pub mod generate;
pub mod inspect;
pub mod panic;
pub mod sweep;
pub mod upkeep;
pub mod resealing;
pub mod config;
