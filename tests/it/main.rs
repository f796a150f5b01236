//! The fleet under test, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that meets what it did not expect has failed")]

mod store;
mod closing;
mod sql;
mod queue;
mod killed;
mod lifecycle;
mod dependencies;
mod changes;
mod retries;
mod approval;
mod cancel;
mod caching;
mod health;
mod operating;
mod chaos;
mod simulation;
mod webhooks;
mod receivers;
mod standardwebhooks;
mod tidy;
