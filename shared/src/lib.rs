//! What buildfleet is: its rules, its record and its waker.
//!
//! Read downward: the domain decides, the store remembers, the queue wakes. The programs (`api`,
//! `worker`, `webhook-dispatcher`) meet here and nowhere else. ARCHITECTURE.md walks through one
//! build from its brief to its last webhook.

pub mod domain;
pub mod job;

#[cfg(feature = "io")]
pub mod draw;
#[cfg(feature = "io")]
pub mod store;
#[cfg(feature = "io")]
pub mod lease;
#[cfg(feature = "io")]
pub mod queue;
#[cfg(feature = "io")]
pub mod config;
#[cfg(feature = "io")]
pub mod vault;
#[cfg(feature = "io")]
pub mod telemetry;
#[cfg(feature = "io")]
mod outage;
#[cfg(feature = "io")]
pub mod pulse;
#[cfg(feature = "io")]
pub mod shutdown;
#[cfg(feature = "io")]
pub mod member;
#[cfg(feature = "io")]
pub mod health;
#[cfg(feature = "io")]
pub mod program;
