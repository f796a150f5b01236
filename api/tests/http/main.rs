//! The API over a real store in a file, called in process: what a client may rely on.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod scene;
mod submitting;
mod tasks;
mod frame;
mod builds;
mod streaming;
mod files;
mod deliveries;
mod endpoints;
mod fleet;
mod scheduling;
mod failed;
mod bulk;
mod document;
