//! What both worker programs do around their work: settings, record, queue, sweep, stop.

use std::process::ExitCode;

use anyhow::Context as _;
use buildfleet::{
    config::{Backends, Env, Logging, Reader},
    member::Member,
    queue, shutdown, store, telemetry,
};
use secrecy::ExposeSecret as _;

use crate::sweep::{self, Sweep};

/// Reads the settings, joins the fleet and works until a signal comes. Exit code 2: a setting is
/// not as it must be; 1: the store or the queue could not be opened.
pub async fn run<C>(
    program: &'static str,
    read: impl FnOnce(&mut Reader<'_>) -> C,
    work: impl AsyncFnOnce(Member, C),
) -> ExitCode {
    let env = Env::of_process();
    let mut reader = Reader::new(&env);
    let settings = (Backends::of_fleet(&mut reader), Logging::read(&mut reader), read(&mut reader));
    let (backends, logging, config) = match reader.finish(settings) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("{program}: {faults}");
            return ExitCode::from(2);
        }
    };
    match join(program, &backends, &logging, config, work).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn join<C>(
    program: &'static str,
    backends: &Backends,
    logging: &Logging,
    config: C,
    work: impl AsyncFnOnce(Member, C),
) -> anyhow::Result<()> {
    telemetry::init(logging)?;
    let stop = shutdown::on_signal().context("listening for signals")?;
    let store = store::open(backends.database_url.expose_secret()).await?;
    let redis_url = backends.redis_url.as_ref().map(|url| url.expose_secret());
    let queue = queue::open(redis_url).await?;
    let (member, relay) = Member::new(store.clone(), queue, program, stop.clone());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{program} is at work");

    let worked = async {
        tokio::join!(
            work(member.clone(), config),
            sweep::run(Sweep::FLEET, store, member.nudge.clone(), stop.clone()),
        );
    };
    Member::run(relay, worked).await;
    tracing::info!("{program} has stopped");
    Ok(())
}
