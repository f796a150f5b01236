//! The HTTP API of a fleet. Any number of replicas.

use std::process::ExitCode;

use api::{Api, config::Config};
use buildfleet::program::{self, Error};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    program::run(
        "buildfleet-api",
        |reader| (Config::listen(reader), Config::read(reader)),
        async |member, (address, config)| {
            let refused = |source| Error::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(refused)?;
            tracing::info!(address = %listener.local_addr().map_err(refused)?, "it listens");
            config.vault.tell();
            let api = Api::new(&member, config.settings(config.keys.clone()));
            api::serve(listener, api::router(api), member.stop.clone()).await.map_err(refused)
        },
    )
    .await
}
