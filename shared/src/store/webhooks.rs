//! What a store does for endpoints beside delivering to them: it keeps them and their secrets,
//! tests them, and sends again what they have missed.
//!
//! Both real stores keep these promises. What is answered by default is for a store without
//! endpoints of tenants.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{At, Delivery, DeliveryFilter, Error, Page};
use crate::domain::{
    endpoint::{Health, Settings, State},
    id::{BuildId, EndpointId, ReplayId},
    words,
};

/// An endpoint as it is kept.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub id: EndpointId,
    pub tenant: String,
    /// The build whose target it is.
    pub build: Option<BuildId>,
    pub settings: Settings,
    pub state: State,
    /// Why it is disabled.
    pub reason: Option<String>,
    /// Newest first; the first has no end.
    pub secrets: Vec<KeptSecret>,
    pub health: Health,
    /// Nothing is sent before then; `None` once that has come.
    pub held_until: Option<At>,
    /// Since when nothing has arrived.
    pub failing_since: Option<At>,
    pub created_at: At,
    pub updated_at: At,
}

/// A secret that signs, as its keeper gave it.
#[derive(Debug, Clone)]
pub struct KeptSecret {
    pub secret: SecretString,
    /// Until when; `None` for the newest.
    pub until: Option<At>,
}

/// The secrets of one endpoint, as their keeper gave them.
#[derive(Debug, Clone)]
pub struct KeptSecrets {
    pub endpoint: EndpointId,
    pub tenant: String,
    pub secrets: Vec<SecretString>,
}

/// An endpoint of a tenant that is to be kept.
#[derive(Debug, Clone)]
pub struct NewTenantEndpoint {
    pub id: EndpointId,
    pub tenant: String,
    pub settings: Settings,
    pub secret: SecretString,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointsWanted {
    pub tenant: String,
    pub state: Option<State>,
    pub limit: u32,
    /// Only endpoints before this one in the listing.
    pub after: Option<EndpointId>,
}

/// What is to be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayWanted {
    /// Deliveries that are final and meet it.
    pub filter: DeliveryFilter,
    /// Also what this endpoint of the tenant never heard of although it wants it, because it was
    /// not there or disabled: events since the filter's `created.since`, which must be given then.
    pub missing: Option<EndpointId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplayState {
    Running,
    Paused,
    Done,
    Cancelled,
}

words!(ReplayState {
    Running = "running",
    Paused = "paused",
    Done = "done",
    Cancelled = "cancelled",
});

/// Deliveries on their way once more, and how far that is.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    pub id: ReplayId,
    pub tenant: String,
    pub state: ReplayState,
    /// As counted when it began.
    pub total: u64,
    pub done: u64,
    pub by: String,
    pub created_at: At,
    pub updated_at: At,
    pub settled_at: Option<At>,
}

#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Keeps an endpoint of a tenant; it hears of whatever happens from now on.
    async fn add_endpoint(&self, _new: NewTenantEndpoint) -> Result<Endpoint, Error> {
        Err(none())
    }

    /// One of a tenant or of a build. One that was removed is `NotFound`, here and below.
    async fn endpoint(&self, id: EndpointId) -> Result<Endpoint, Error> {
        Err(Error::not_found(id))
    }

    /// Those of a tenant, without those of its builds; newest first.
    async fn endpoints(&self, _wanted: &EndpointsWanted) -> Result<Page<Endpoint>, Error> {
        Ok(Page { rows: Vec::new(), next: false })
    }

    /// Gives it other settings. Deliveries that were made keep their place: `events` and `ordered`
    /// are for those to come. A new address is a new beginning: its health is forgotten.
    async fn change_endpoint(
        &self,
        id: EndpointId,
        _settings: &Settings,
    ) -> Result<Endpoint, Error> {
        Err(Error::not_found(id))
    }

    /// Takes it away. Its open deliveries are given up with the code `endpoint_removed`; what was
    /// delivered stays in the record. That of a build: `Conflict` with code `endpoint_of_build`.
    async fn remove_endpoint(&self, id: EndpointId) -> Result<(), Error> {
        Err(Error::not_found(id))
    }

    /// Puts a new secret first; the one before goes on signing for `grace`, and at most
    /// `endpoint::OLD_SECRETS_MAX` old ones do.
    async fn rotate_secret(
        &self,
        id: EndpointId,
        _secret: SecretString,
        _grace: Duration,
    ) -> Result<Endpoint, Error> {
        Err(Error::not_found(id))
    }

    /// Lets it be told again, with its health forgotten. Again is harmless.
    async fn enable_endpoint(&self, id: EndpointId) -> Result<Endpoint, Error> {
        Err(Error::not_found(id))
    }

    /// Keeps everything from it until it is enabled: its deliveries wait, and no new ones are made.
    async fn disable_endpoint(&self, id: EndpointId, _reason: &str) -> Result<Endpoint, Error> {
        Err(Error::not_found(id))
    }

    /// Sends it an `endpoint_test`, whatever it wants to hear. One that is disabled: `Conflict`
    /// with code `endpoint_disabled`; one of another tenant: `NotFound`.
    async fn test_endpoint(&self, _tenant: &str, id: EndpointId) -> Result<Delivery, Error> {
        Err(Error::not_found(id))
    }

    /// All secrets that are kept, endpoint by endpoint in the order of their ids, those of removed
    /// ones too: for whoever keeps them under another key.
    async fn kept_secrets(
        &self,
        _after: Option<EndpointId>,
        _limit: u32,
    ) -> Result<Vec<KeptSecrets>, Error> {
        Ok(Vec::new())
    }

    /// Keeps a secret in another form, if it is still there; answers with whether it was.
    async fn swap_secret(
        &self,
        _id: EndpointId,
        _old: &SecretString,
        _new: &SecretString,
    ) -> Result<bool, Error> {
        Ok(false)
    }

    /// How many deliveries a replay would send.
    async fn count_replay(&self, _wanted: &ReplayWanted) -> Result<u64, Error> {
        Ok(0)
    }

    /// Begins to send again, all that is meant, in the order in which it was made. `by` is for the
    /// audit.
    async fn begin_replay(
        &self,
        _id: ReplayId,
        _wanted: &ReplayWanted,
        _by: &str,
    ) -> Result<Replay, Error> {
        Err(none())
    }

    async fn replay(&self, id: ReplayId) -> Result<Replay, Error> {
        Err(Error::not_found(id))
    }

    /// Newest first; the newest hundred.
    async fn replays(&self, _tenant: &str) -> Result<Vec<Replay>, Error> {
        Ok(Vec::new())
    }

    /// Pauses one that runs, lets one go on that is paused, or cancels it. What it has sent already
    /// is on its way. One that has ended: `Conflict` with code `replay_ended`.
    async fn steer_replay(&self, id: ReplayId, _to: ReplayState) -> Result<Replay, Error> {
        Err(Error::not_found(id))
    }

    /// Goes on with the replays that run, each by at most `limit` deliveries, in one commit each.
    /// Answers with how many deliveries that were. Whoever calls it does so again and again.
    async fn go_on_replaying(&self, _limit: u32) -> Result<u64, Error> {
        Ok(0)
    }
}

fn none() -> Error {
    Error::conflict("no_endpoints", "this store has no endpoints of tenants")
}
