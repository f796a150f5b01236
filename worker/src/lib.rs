//! The workers: they turn briefs into plans and run the tasks of plans.

/// From a brief to a plan.
pub mod plan {
    pub mod planner;
}
pub mod generate;
