//! What the programs ask the store for, and what they give it to keep.

use std::time::Duration;

use crate::{
    domain::{
        brief::Brief,
        build, delivery, event,
        id::{BuildId, DeliveryId, EndpointId, HolderId, PlanId},
    },
    job::Lane,
    store::Build,
};

/// What a holder asks for when it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub holder: HolderId,
    pub lease: Duration,
    /// Its free slots: the costs of what it gets add up to no more. Zero gets nothing.
    pub room: u32,
    /// All its slots: what costs more takes all of them.
    pub slots: u32,
}

/// How a plan takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    AtOnce {
        plan: PlanId,
    },
    /// Once a person has agreed, who has `within` to do so.
    OnApproval {
        plan: PlanId,
        within: Duration,
    },
}

impl Adoption {
    pub const fn plan(self) -> PlanId {
        match self {
            Adoption::AtOnce { plan } | Adoption::OnApproval { plan, .. } => plan,
        }
    }
}

/// A brief to be kept.
#[derive(Debug, Clone)]
pub struct NewBuild {
    pub id: BuildId,
    pub tenant: String,
    pub brief: Brief,
    pub idempotency: Option<Idempotency>,
    pub webhook: Option<NewEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub key: String,
    /// SHA-256 of what was asked, in hex.
    pub request_hash: String,
}

/// An endpoint that hears of one build.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    pub id: EndpointId,
    pub url: String,
    pub secret: secrecy::SecretString,
    /// The kinds of event it wants; empty for all.
    pub events: Vec<event::Kind>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    New(Build),
    Again(Build),
}

impl Submitted {
    pub fn build(&self) -> &Build {
        match self {
            Submitted::New(build) | Submitted::Again(build) => build,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildsWanted {
    pub tenant: String,
    pub state: Option<build::State>,
    pub project_id: Option<String>,
    pub limit: u32,
    /// Only builds before this one in the listing.
    pub after: Option<BuildId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveriesWanted {
    pub tenant: String,
    pub build: Option<BuildId>,
    pub state: Option<delivery::State>,
    pub limit: u32,
    pub after: Option<DeliveryId>,
}

/// A piece of a listing; there is more if `next` is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub next: bool,
}

/// What a holder says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerBeat {
    pub holder: HolderId,
    /// `plan-worker`, `task-worker`, `webhook-dispatcher` or `buildfleet dev`.
    pub program: String,
    pub host: String,
    pub version: String,
    pub lane: Lane,
    pub slots: u32,
    pub busy: u32,
}
