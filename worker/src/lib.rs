//! The workers: they turn briefs into plans and run the tasks of plans.

pub mod plan;
pub mod generate;
