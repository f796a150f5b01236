//! The dispatcher: it tells endpoints what happened.
//!
//! `handle.rs` claims, attempts and settles like every worker. `request.rs` writes and signs what
//! is sent; `send` is the only module that opens a connection.

pub mod request;
pub mod send;
pub mod handle;
pub mod config;

use std::process::ExitCode;

use buildfleet::program::{self, Error};

use self::config::Config;

/// The program `webhook-dispatcher`, as its surroundings set it up.
pub async fn program() -> ExitCode {
    program::run("webhook-dispatcher", Config::read, async |member, config| {
        let served = config.serve(&member).await;
        served
            .map_err(|source| Error::Work { doing: "making an HTTP client", source: source.into() })
    })
    .await
}
