//! The dispatcher: it tells endpoints what happened.
//!
//! `handle.rs` claims, attempts and settles like every worker. `request.rs` writes and signs what
//! is sent; `send` is the only module that opens a connection.

pub mod request;
pub mod send;
pub mod handle;
pub mod config;
