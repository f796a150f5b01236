//! The life of a program of the fleet around its own work: settings, log, signals, record, queue,
//! health, and how it ends.

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc};

use secrecy::ExposeSecret as _;

use crate::{
    config::{Backends, Env, Logging, Reader},
    health::{self, Health},
    member::Member,
    outage::{Outage, causes},
    queue, shutdown,
    store::{self, Store},
    telemetry,
};

/// Why a program could not do its work. Printed once, with what caused it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Log(#[from] telemetry::BadFilter),
    #[error("listening for signals")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error(transparent)]
    Queue(#[from] queue::Error),
    #[error("listening on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("{doing}")]
    Work {
        /// What could not be done: "making an HTTP client".
        doing: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What every program is told beside what it is for.
struct Settings {
    backends: Backends,
    logging: Logging,
    health: Option<SocketAddr>,
}

/// Reads the settings, joins the fleet and works until a signal comes. Exit code 2: a setting is
/// not as it must be, and all that are not are named; 1: something could not be opened; 130: it
/// was told to end at once.
pub async fn run<C>(
    name: &'static str,
    read: impl FnOnce(&mut Reader<'_>) -> C,
    work: impl AsyncFnOnce(Member, C) -> Result<(), Error>,
) -> ExitCode {
    let env = Env::of_process();
    let mut reader = Reader::new(&env);
    let settings = Settings {
        backends: Backends::of_fleet(&mut reader),
        logging: Logging::read(&mut reader),
        health: reader.address_if_any("BUILDFLEET_HEALTH_LISTEN"),
    };
    let config = read(&mut reader);
    let (settings, config) = match reader.finish((settings, config)) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("{name}: {faults}");
            return ExitCode::from(2);
        }
    };
    match join(name, &settings, config, work).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{name}: {}", causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// The record, however long its server takes to be there: a fleet is mostly started all at once,
/// and comes up with its servers. Redis is waited for by those who ask it.
async fn opened(database_url: &str) -> Result<Arc<dyn Store>, store::OpenError> {
    let mut outage = Outage::impatient("opening the database");
    loop {
        match store::open(database_url).await {
            Err(error) if error.is_absence() => tokio::time::sleep(outage.goes_on(&error)).await,
            opened => {
                outage.is_over();
                return opened;
            }
        }
    }
}

async fn join<C>(
    name: &'static str,
    settings: &Settings,
    config: C,
    work: impl AsyncFnOnce(Member, C) -> Result<(), Error>,
) -> Result<ExitCode, Error> {
    telemetry::init(&settings.logging)?;
    let stop = shutdown::on_signal().map_err(Error::Signals)?;
    let opened = async {
        let store = opened(settings.backends.database_url.expose_secret()).await?;
        let redis_url = settings.backends.redis_url.as_ref().map(|url| url.expose_secret());
        let queue = queue::open(redis_url).await?;
        let listener = match settings.health {
            Some(address) => Some(
                health::listen(address)
                    .await
                    .map_err(|source| Error::Listen { address, source })?,
            ),
            None => None,
        };
        Ok::<_, Error>((store, queue, listener))
    };
    let (store, queue, listener) = tokio::select! {
        opened = opened => opened?,
        () = stop.gently.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let (member, waker) = Member::new(store, queue, name, stop.gently.clone());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{name} is at work");

    let health = async {
        if let Some(listener) = listener {
            Health::of(&member).serve(listener).await;
        }
        std::future::pending::<()>().await;
    };
    let held = {
        let mut working = std::pin::pin!(Member::run(waker, work(member.clone(), config)));
        tokio::select! {
            worked = &mut working => {
                worked?;
                tracing::info!("{name} has stopped");
                return Ok(ExitCode::SUCCESS);
            }
            () = health => return Ok(ExitCode::FAILURE),
            // Looked at before the work is dropped, and with it what says that it is held.
            () = stop.at_once.cancelled() => member.holdings(),
        }
    };
    held.give_back().await;
    // What still computes on other threads is not waited for.
    std::process::exit(shutdown::AT_ONCE.into())
}
