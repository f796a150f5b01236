//! The HTTP API of a fleet. Any number of replicas.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Context as _;
use api::{Api, config::Config};
use buildfleet::{
    config::{Backends, Env, Logging, Reader},
    member::Member,
    queue, shutdown, store, telemetry,
};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let env = Env::of_process();
    let mut reader = Reader::new(&env);
    let settings = (
        Backends::of_fleet(&mut reader),
        Logging::read(&mut reader),
        Config::listen(&mut reader),
        Config::read(&mut reader),
    );
    let (backends, logging, listen, config) = match reader.finish(settings) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("buildfleet-api: {faults}");
            return ExitCode::from(2);
        }
    };
    match run(&backends, &logging, listen, &config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("buildfleet-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(
    backends: &Backends,
    logging: &Logging,
    listen: SocketAddr,
    config: &Config,
) -> anyhow::Result<()> {
    telemetry::init(logging)?;
    let stop = shutdown::on_signal().context("listening for signals")?;
    let store = store::open(backends.database_url.expose_secret()).await?;
    let redis_url = backends.redis_url.as_ref().map(|url| url.expose_secret());
    let queue = queue::open(redis_url).await?;
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    let (member, relay) = Member::new(store, queue, "buildfleet-api", stop.clone());
    let api = Api::new(
        member.store,
        member.queue,
        member.nudge,
        config.settings(config.keys.clone()),
        stop.clone(),
    );
    tracing::info!(address = %listener.local_addr()?, "buildfleet-api is at work");

    Member::run(relay, api::serve(listener, api::router(api), stop)).await?;
    tracing::info!("buildfleet-api has stopped");
    Ok(())
}
