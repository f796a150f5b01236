//! From a brief to an adopted plan.

pub mod handle;
pub mod planner;
pub mod roles;
