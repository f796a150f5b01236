//! The fleet under test: the fleet itself, the servers it stands on, and all that it meets outside.

#![expect(clippy::unwrap_used, reason = "what is wrong in here is a failed test")]

pub mod servers;
pub mod fleet;
pub mod planners;
pub mod runners;
pub mod receiver;
pub mod seed;
pub mod sim;
pub mod patience;
pub mod programs;
pub mod client;
pub mod signatures;
pub mod storm;
