//! The dispatcher: it tells endpoints what happened.
//!
//! `handle.rs` claims, attempts and settles like every worker. `sign.rs` is pure;
//! `send.rs` is the only file that opens a connection.

pub mod sign;
pub mod request;
pub mod send;
pub mod handle;
pub mod config;
