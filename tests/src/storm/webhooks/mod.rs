//! What the dispatchers of a fleet of real processes keep of their promises, each measured at the
//! receivers.

mod inbox;
pub mod kills;
pub mod neighbour;
pub mod order;
pub mod pace;
pub mod precision;
pub mod recovery;
pub mod rotation;

use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use inbox::Inbox;
use serde_json::{Value, json};

use super::ground::{Ground, KEY};
use crate::{patience, programs::Program};

pub const API: &str = "buildfleet-api";
pub const DISPATCHER: &str = "webhook-dispatcher";
/// Calls to the API at once.
const CALLERS: usize = 32;

/// A fleet without dispatchers, and receivers.
pub struct Yard {
    pub ground: Ground,
    pub inbox: Inbox,
    pub api: Program,
    http: reqwest::Client,
    url: String,
}

/// An endpoint as it was made.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub id: String,
    pub secret: String,
}

impl Yard {
    /// Starts servers, API and receivers. Deliveries have no limit but those of their endpoints.
    pub async fn open(ground: Ground) -> anyhow::Result<Self> {
        ground.store.remove_limit("deliveries", "storm").await?;
        rustls::crypto::ring::default_provider().install_default().ok();
        let api = ground.start(API);
        let yard = Self {
            inbox: Inbox::open().await?,
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?,
            url: ground.url(),
            ground,
            api,
        };
        patience::until("the API answers", Duration::from_secs(30), async || {
            yard.get("/v1/endpoints").await.is_ok()
        })
        .await;
        Ok(yard)
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(KEY);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(KEY).json(&body);
        let answer = request.send().await?;
        let (status, said) = (answer.status(), answer.json::<Value>().await?);
        anyhow::ensure!(status.is_success(), "{path}: {status} {said}");
        Ok(said)
    }

    /// An endpoint at a path of the inbox, without a rate and without order unless `more` says so.
    pub async fn endpoint(&self, path: &str, more: Value) -> anyhow::Result<Endpoint> {
        let mut body = json!({
            "url": self.inbox.url(path), "rate": "unlimited", "ordered": false, "events": ["task_*"],
        });
        for (name, value) in more.as_object().context("settings by name")? {
            body[name] = value.clone();
        }
        let made = self.post("/v1/endpoints", body).await?;
        let text = |name: &str| made[name].as_str().map(str::to_owned).context(name.to_owned());
        Ok(Endpoint { id: text("id")?, secret: text("secret")? })
    }

    pub async fn send(&self, endpoint: &str) -> anyhow::Result<String> {
        send(&self.http, &self.url, endpoint).await
    }

    /// Sends many, as fast as they are taken in.
    pub async fn send_many(&self, endpoint: &str, count: usize) -> anyhow::Result<()> {
        stream::iter(0..count)
            .map(|_| self.send(endpoint))
            .buffer_unordered(CALLERS)
            .try_for_each(async |_| Ok(()))
            .await
    }

    /// Waits until nothing is left to deliver.
    pub async fn drained(&self, within: Duration) {
        patience::until("all is delivered or given up", within, async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.ground.count(OPEN).await == 0
        })
        .await;
    }
}

/// Sends one message to an endpoint; answers with the id of its event once it was taken in.
async fn send(http: &reqwest::Client, url: &str, endpoint: &str) -> anyhow::Result<String> {
    let request = http.post(format!("{url}/v1/endpoints/{endpoint}/test")).bearer_auth(KEY);
    let said: Value = request.send().await?.error_for_status()?.json().await?;
    Ok(said["event_id"].as_str().context("an event has an id")?.to_owned())
}

const OPEN: &str = "select count(*) from deliveries where settled_at is null";
