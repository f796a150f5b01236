//! The API's settings.

use std::net::SocketAddr;

use buildfleet::{config::Reader, vault::Vault};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::{Settings, Targets, pressure::Bounds};

/// A key that is shorter can be guessed.
const KEY_CHARS_MIN: usize = 16;

/// What the API needs to know beside the backends.
#[derive(Debug, Clone)]
pub struct Config {
    pub keys: Vec<SecretString>,
    webhook_url: Option<Url>,
    webhook_secret: Option<SecretString>,
    webhook_targets: Targets,
    cors_origins: Vec<String>,
    approval_required: bool,
    bounds: Bounds,
    pub vault: Vault,
    environment: String,
}

impl Config {
    /// For an API of a fleet, which has at least one key.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let keys = reader.list("BUILDFLEET_API_KEY");
        if keys.is_empty() {
            reader.fault(
                "BUILDFLEET_API_KEY",
                "must hold the key that clients will send; `openssl rand -hex 24` makes a good one",
            );
        }
        Self::with_keys(reader, keys)
    }

    /// For `buildfleet dev`, which makes a key of its own if there is none.
    pub fn read_embedded(reader: &mut Reader<'_>) -> Self {
        let keys = reader.list("BUILDFLEET_API_KEY");
        let config = Self::with_keys(reader, keys);
        Self { webhook_targets: config.webhook_targets.clone().with_loopback(), ..config }
    }

    fn with_keys(reader: &mut Reader<'_>, keys: Vec<String>) -> Self {
        if keys.iter().any(|key| key.chars().count() < KEY_CHARS_MIN) {
            reader.fault(
                "BUILDFLEET_API_KEY",
                format_args!("must have at least {KEY_CHARS_MIN} characters"),
            );
        }
        let environment = reader.text("ENVIRONMENT").unwrap_or_default();
        let cors_origins = reader.list("CORS_ORIGINS");
        if environment == "production" && cors_origins.iter().any(|origin| origin == "*") {
            reader.fault("CORS_ORIGINS", "must list the allowed origins in production, not *");
        }
        let webhook_targets = reader.webhook_targets();
        let webhook_url = reader.url("WEBHOOK_URL", &["http", "https"]);
        let webhook_secret = reader.secret("WEBHOOK_SECRET");
        if let Some(secret) = &webhook_secret
            && let Some(wanted) = crate::wire::submission::secret_fault(secret.expose_secret())
        {
            reader.fault("WEBHOOK_SECRET", wanted);
        }
        if webhook_url.is_some() && webhook_secret.is_none() {
            reader.fault(
                "WEBHOOK_SECRET",
                "must be given with WEBHOOK_URL: it signs what is sent there",
            );
        }
        Self {
            keys: keys.into_iter().map(SecretString::from).collect(),
            webhook_url,
            webhook_secret,
            webhook_targets,
            cors_origins,
            approval_required: reader.flag("REQUIRE_PLAN_APPROVAL"),
            bounds: Bounds::read(reader),
            vault: Vault::read(reader),
            environment,
        }
    }

    /// Where a fleet's API listens.
    pub fn listen(reader: &mut Reader<'_>) -> SocketAddr {
        reader.address("BUILDFLEET_LISTEN")
    }

    /// The settings of the router, with keys of the caller's choice.
    pub fn settings(&self, keys: Vec<SecretString>) -> Settings {
        Settings {
            keys,
            default_webhook_url: self.webhook_url.clone(),
            default_webhook_secret: self.webhook_secret.clone(),
            webhook_targets: self.webhook_targets.clone(),
            cors_origins: self.cors_origins.clone(),
            approval_required: self.approval_required,
            bounds: self.bounds,
            vault: self.vault.clone(),
            environment: self.environment.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
