//! A whole fleet in one process: API, plan worker, task worker and dispatcher on one folder.
//!
//! It may be killed at any instant. What was committed is in the folder; what was in progress
//! lapses at the next start, since nobody but this process can have held it.

use std::{
    fs::{self, File, TryLockError},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use buildfleet::{
    config::{Env, Faults, Logging, Reader},
    member::Member,
    queue::{self, waker::Waker},
    shutdown, store, telemetry,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;
use worker::{
    config::{PlanConfig, TaskConfig},
    plan::planner::by_rules::Rules,
    resealing,
    sweep::{self, Sweep},
    task::runner::template::Template,
    upkeep,
};

use crate::{
    address::{Note, write_private},
    exit::Error,
};

const PROGRAM: &str = "buildfleet dev";

/// What a fleet in one process needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub api_key: Option<SecretString>,
    api: api::config::Config,
    plans: PlanConfig,
    tasks: TaskConfig,
    upkeep: upkeep::Config,
    webhooks: webhook_dispatcher::config::Config,
    logging: Logging,
    database_url: Option<String>,
}

impl Config {
    /// Reads what the arguments do not say from the environment. Webhooks may go to this machine
    /// itself: where one develops, that is where the receiver runs.
    pub fn read(
        env: &Env,
        data: PathBuf,
        listen: SocketAddr,
        api_key: Option<String>,
    ) -> Result<Self, Faults> {
        let mut reader = Reader::new(env);
        if env.raw("REDIS_URL").is_some() {
            reader.fault(
                "REDIS_URL",
                "must be unset for `buildfleet dev`, which needs no Redis; a fleet on Redis is made of \
                 buildfleet-api, plan-worker, task-worker and webhook-dispatcher",
            );
        }
        let database_url = reader.text("DATABASE_URL");
        if let Some(url) = &database_url
            && !url.starts_with("sqlite:")
        {
            reader.fault(
                "DATABASE_URL",
                "must be unset or begin with sqlite: for `buildfleet dev`; a fleet on Postgres is made \
                 of buildfleet-api, plan-worker, task-worker and webhook-dispatcher",
            );
        }
        let mut webhooks = webhook_dispatcher::config::Config::read(&mut reader);
        webhooks.allowed = webhooks.allowed.with_loopback();
        let config = Self {
            data,
            listen,
            api_key: api_key.map(SecretString::from),
            api: api::config::Config::read_embedded(&mut reader),
            plans: PlanConfig::read(&mut reader),
            tasks: TaskConfig::read(&mut reader),
            upkeep: upkeep::Config::read(&mut reader),
            webhooks,
            logging: Logging::read(&mut reader),
            database_url,
        };
        reader.finish(config)
    }

    /// The same, telling less: for when something else is shown.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        if self.logging.filter == "info" {
            self.logging.filter = "warn".to_owned();
        }
        self
    }
}

/// A fleet that is about to run in this process.
pub struct Dev {
    pub url: Url,
    pub api_key: SecretString,
    /// How much was in progress when the process before this one ended.
    pub lapsed: u64,
    config: Config,
    listener: TcpListener,
    member: Member,
    waker: Waker,
    // Held as long as the fleet runs: the folder is this process's alone.
    _lock: File,
}

impl Dev {
    /// Takes the folder, opens the record and the port, and leaves a note for the client commands.
    pub async fn open(config: Config, stop: CancellationToken) -> Result<Self, Error> {
        let lock = lock(&config.data).await?;
        telemetry::init(&config.logging).map_err(|error| Error::Usage(error.to_string()))?;
        // A process that was killed leaves its note; nobody shall knock where it was.
        Note::remove(&config.data);
        let api_key = match &config.api_key {
            Some(key) => key.clone(),
            None => own_key(&config.data)?,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(|error| {
            Error::NotDone(format!(
                "listening on {}: {error}\n  --listen or BUILDFLEET_LISTEN names another address; port \
                 0 takes a free one",
                config.listen
            ))
        })?;
        let address =
            listener.local_addr().map_err(|error| Error::here("asking for the port", error))?;
        let url = Url::parse(&format!("http://{address}"))
            .map_err(|error| Error::here("naming the address", error))?;
        let database_url = match &config.database_url {
            Some(url) => url.clone(),
            None => format!("sqlite:{}", config.data.join("buildfleet.db").display()),
        };
        let store = store::open(&database_url)
            .await
            .map_err(|error| Error::here(&database_url, chain(&error)))?;
        let lapsed =
            store.lapse_all().await.map_err(|error| Error::here(&database_url, chain(&error)))?;
        let queue =
            queue::open(None).await.map_err(|error| Error::here("opening the queue", error))?;
        let note = Note {
            url: url.clone(),
            api_key: api_key.expose_secret().to_owned(),
            pid: std::process::id(),
        };
        note.write(&config.data)
            .map_err(|error| Error::here(config.data.join("dev.json").display(), error))?;
        let (member, waker) = Member::new(store, queue, PROGRAM, stop);
        Ok(Self { url, api_key, lapsed, config, listener, member, waker, _lock: lock })
    }

    /// Runs until stopped, then lets what runs come to an end for a while. Told to end at once, it
    /// gives back what it holds and ends the process.
    pub async fn run(self, at_once: CancellationToken) -> Result<(), Error> {
        let member = self.member.clone();
        let api = api::Api::new(&member, self.config.api.settings(vec![self.api_key.clone()]));
        let router = api::router(api);
        let served = api::serve(self.listener, router, member.stop.clone());
        let looked_after = async {
            tokio::join!(
                sweep::run(Sweep::ALONE, &member),
                upkeep::run(self.config.upkeep, &member),
                resealing::run(&self.config.api.vault, &member)
            );
        };
        let work = async {
            tokio::join!(
                served,
                self.config.plans.serve(&member, Arc::new(Rules)),
                self.config.tasks.serve(&member, Arc::new(Template)),
                self.config.webhooks.serve(&member),
                looked_after,
            )
        };
        let stopping = async {
            member.stop.cancelled().await;
            // A webhook on its way may take long; its lease brings it back after the next start.
            tokio::time::sleep(Duration::from_secs(10)).await;
        };
        let held = {
            let mut working = Box::pin(Member::run(self.waker, work));
            tokio::select! {
                ended = &mut working => Err(Some(ended)),
                () = stopping => Err(None),
                // Looked at before the work is dropped, and with it what says that it is held.
                () = at_once.cancelled() => Ok(member.holdings()),
            }
        };
        Note::remove(&self.config.data);
        let ended = match held {
            Ok(held) => {
                held.give_back().await;
                std::process::exit(shutdown::AT_ONCE.into());
            }
            Err(ended) => ended,
        };
        match ended {
            Some((Err(error), ..)) => Err(Error::here("serving the API", error)),
            Some((_, (), (), Err(error), ())) => Err(Error::here("sending webhooks", error)),
            _ => Ok(()),
        }
    }
}

/// Makes the folder, and makes sure that no other process uses it.
async fn lock(data: &Path) -> Result<File, Error> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

    let here = |error: std::io::Error| Error::here(data.display(), error);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(here)?;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(data.join("lock"))
        .map_err(here)?;
    // Whoever only looks whether a fleet runs holds it too, for an instant.
    for _ in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(TryLockError::Error(error)) => return Err(here(error)),
        }
    }
    Err(Error::NotDone(format!(
        "another buildfleet uses the folder {}\n  --data or BUILDFLEET_DATA names another one",
        data.display()
    )))
}

/// Whether a fleet runs on this folder now.
pub fn is_running(data: &Path) -> bool {
    File::options()
        .write(true)
        .open(data.join("lock"))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The API key of this folder, made at its first use.
fn own_key(data: &Path) -> Result<SecretString, Error> {
    let path = data.join("api-key");
    let here = |error: std::io::Error| Error::here(path.display(), error);
    match fs::read_to_string(&path) {
        Ok(key) if !key.trim().is_empty() => return Ok(key.trim().into()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(here(error)),
        _ => {}
    }
    let key = format!("bfk_{}", hex::encode(rand::random::<[u8; 20]>()));
    write_private(&path, key.as_bytes()).map_err(here)?;
    Ok(key.into())
}

/// An error and its sources, with colons between them.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
