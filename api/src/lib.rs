//! The HTTP API: what clients see of the record, and the verbs they have on it.
//!
//! A request comes in through `frame` (its id, the form of its errors), past `auth`, to one file of
//! `routes`, which asks the store and answers in the types of `wire`. Nothing is kept here between
//! two requests: any number of replicas answer alike.

pub mod wire;
pub mod error;
pub mod auth;
pub mod frame;
pub mod body;
pub mod query;
pub mod pressure;
pub mod webhook_target;
pub mod config;
pub mod archive;
pub mod sse;
pub mod openapi;
pub mod routes;
pub mod flowing;
pub mod serve;

use std::{process::ExitCode, sync::Arc, time::Instant};

use buildfleet::{
    health::Health, member::Member, program, queue::Queue, store::Store, vault::Vault,
};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use buildfleet::domain::address::Allowed as Targets;
pub use error::Error;
pub use routes::router;
pub use serve::serve;

/// Everything a request may need; cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

pub struct Parts {
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    pub health: Health,
    pub settings: Settings,
    /// Cancelled when the process stops; streams end then.
    pub stop: CancellationToken,
    pub tails: sse::Tails,
    pub gauge: pressure::Gauge,
    pub room: frame::Room,
    keys: auth::Keys,
    started: Instant,
}

/// What an operator decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Any of them opens everything under `/v1`. Without one, nobody gets in.
    pub keys: Vec<SecretString>,
    /// Where events go if a brief names no webhook of its own.
    pub default_webhook_url: Option<Url>,
    /// Signs for webhooks that come without a secret of their own.
    pub default_webhook_secret: Option<SecretString>,
    /// Which webhook targets may be registered.
    pub webhook_targets: Targets,
    /// Origins whose pages may call the API; `*` for all. Empty: none.
    pub cors_origins: Vec<String>,
    /// Whether a plan waits for a person where the brief is silent.
    pub approval_required: bool,
    /// How much may be waiting before no more is accepted.
    pub bounds: pressure::Bounds,
    /// Seals the secrets of webhooks.
    pub vault: Vault,
    /// `development`, `production` ...; only shown.
    pub environment: String,
    pub version: String,
}

impl Api {
    pub fn new(member: &Member, settings: Settings) -> Self {
        let keys = auth::Keys::new(&settings.keys);
        let tails = sse::Tails::default();
        let gauge = pressure::Gauge::new(settings.bounds);
        Self(Arc::new(Parts {
            store: Arc::clone(&member.store),
            queue: Arc::clone(&member.queue),
            health: Health::of(member),
            settings,
            stop: member.stop.clone(),
            tails,
            gauge,
            room: frame::Room::default(),
            keys,
            started: Instant::now(),
        }))
    }
}

impl std::ops::Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The program `api`, as its surroundings set it up.
pub async fn program() -> ExitCode {
    program::run(
        "buildfleet-api",
        |reader| (config::Config::listen(reader), config::Config::read(reader)),
        async |member, (address, config)| {
            let refused = |source| program::Error::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(refused)?;
            tracing::info!(address = %listener.local_addr().map_err(refused)?, "it listens");
            config.vault.tell();
            let api = Api::new(&member, config.settings(config.keys.clone()));
            serve(listener, router(api), member.stop.clone()).await.map_err(refused)
        },
    )
    .await
}
