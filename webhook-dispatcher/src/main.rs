//! Delivers webhooks. Any number of replicas.

use std::process::ExitCode;

use buildfleet::program::{self, Error};
use webhook_dispatcher::config::Config;

#[tokio::main]
async fn main() -> ExitCode {
    program::run("webhook-dispatcher", Config::read, async |member, config| {
        let served = config.serve(&member).await;
        served
            .map_err(|source| Error::Work { doing: "making an HTTP client", source: source.into() })
    })
    .await
}
