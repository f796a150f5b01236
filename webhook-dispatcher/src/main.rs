//! Delivers webhooks. Any number of replicas.

use std::process::ExitCode;

use anyhow::Context as _;
use buildfleet::{
    config::{Backends, Env, Logging, Reader},
    member::Member,
    queue, shutdown, store, telemetry,
};
use secrecy::ExposeSecret as _;
use webhook_dispatcher::config::Config;

#[tokio::main]
async fn main() -> ExitCode {
    let env = Env::of_process();
    let mut reader = Reader::new(&env);
    let settings =
        (Backends::of_fleet(&mut reader), Logging::read(&mut reader), Config::read(&mut reader));
    let (backends, logging, config) = match reader.finish(settings) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("webhook-dispatcher: {faults}");
            return ExitCode::from(2);
        }
    };
    match run(&backends, &logging, config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("webhook-dispatcher: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(backends: &Backends, logging: &Logging, config: Config) -> anyhow::Result<()> {
    telemetry::init(logging)?;
    let stop = shutdown::on_signal().context("listening for signals")?;
    let store = store::open(backends.database_url.expose_secret()).await?;
    let redis_url = backends.redis_url.as_ref().map(|url| url.expose_secret());
    let queue = queue::open(redis_url).await?;
    let (member, relay) = Member::new(store, queue, "webhook-dispatcher", stop);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "webhook-dispatcher is at work");

    Member::run(relay, config.serve(&member)).await?;
    tracing::info!("webhook-dispatcher has stopped");
    Ok(())
}
