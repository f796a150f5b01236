//! What the store answers with: rows as the programs see them.
//!
//! Wire types are the API's own; these may change without anybody outside noticing.

use std::{collections::BTreeMap, sync::Arc};

use secrecy::SecretString;
use serde_json::Value;

use crate::{
    domain::{
        attempt::{self, Failure},
        brief::{Brief, Complexity},
        build::{self, Stop},
        delivery,
        endpoint::log_of,
        event::{self, Tally},
        exchange::{Asked, Exchange},
        id::{BuildId, DeliveryId, EndpointId, EventId, HolderId, PlanId, TaskId},
        limit::Gate,
        plan, task,
    },
    job::{Job, Lane},
    store::Fence,
};

/// An instant, in milliseconds since 1970, as the store's clock had it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct At(pub i64);

#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    pub id: BuildId,
    pub tenant: String,
    pub brief: Brief,
    pub state: build::State,
    pub plan: Option<PlanId>,
    pub stop: Option<Stop>,
    pub tally: Tally,
    /// Tasks in `pending`, `ready` and `in_progress`, in this order. Zero before there is a plan.
    pub open_tasks: [u32; 3],
    /// The earliest phase that has a task in one of these states.
    pub open_phase: Option<task::Phase>,
    /// The task of another build in whose middle this one began.
    pub forked_from: Option<TaskId>,
    /// Seconds that the plan estimates; `None` before there is a plan.
    pub estimated_secs: Option<u32>,
    pub webhook: Option<BuildWebhook>,
    pub created_at: At,
    pub started_at: Option<At>,
    pub settled_at: Option<At>,
    pub updated_at: At,
    /// The number of the last event; 0 before the first.
    pub last_seq: u64,
}

/// Where a build's events go.
#[derive(Debug, Clone)]
pub struct BuildWebhook {
    pub endpoint: EndpointId,
    pub url: String,
    pub secret: SecretString,
}

impl PartialEq for BuildWebhook {
    /// Secrets are not compared: the same endpoint has the same secret.
    fn eq(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.url == other.url
    }
}

/// Something that is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    pub gate: Gate,
    pub by: String,
    pub at: At,
}

/// A change that somebody made by hand.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Rises with each entry.
    pub id: i64,
    pub at: At,
    pub by: String,
    /// `limit_put`, `limit_removed`, `weight_put`, `paused`, `resumed` ...
    pub action: String,
    /// What was changed: the name of a limit, a gate, an id.
    pub subject: String,
    /// How it is afterwards.
    pub detail: Value,
}

/// A page of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditWanted {
    pub limit: u32,
    /// Only entries below this id.
    pub before: Option<i64>,
}

/// The right to plan a build.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildClaim {
    pub build: BuildId,
    pub attempt: u32,
    pub brief: Brief,
}

impl BuildClaim {
    pub const fn fence(&self) -> Fence {
        Fence { job: Job::Plan(self.build), attempt: self.attempt }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlanView {
    pub id: PlanId,
    pub build: BuildId,
    pub state: plan::State,
    pub spec: Value,
    pub project_type: String,
    pub framework: String,
    pub complexity: Complexity,
    pub notes: Vec<String>,
    pub estimated_secs: u32,
    /// The cycles that the draft had, by task keys; empty unless the plan was straightened.
    pub straightened: Vec<Vec<String>>,
    pub created_at: At,
    /// When a proposed plan is rejected by itself.
    pub approve_until: Option<At>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub id: TaskId,
    pub build: BuildId,
    pub plan: PlanId,
    pub key: String,
    pub name: String,
    pub description: String,
    pub phase: task::Phase,
    pub operation: task::Operation,
    pub role: String,
    pub priority: u8,
    pub estimated_secs: u32,
    pub depends_on: Vec<TaskId>,
    pub writes: Vec<String>,
    pub state: task::State,
    /// How many slots it takes.
    pub cost: u32,
    /// Why it is not claimed although it is ready; `None` if it is not ready, or waits its turn.
    pub parked_on: Option<Gate>,
    /// How many attempts were begun.
    pub attempt: u32,
    pub failures: u32,
    pub crashes: u32,
    /// The newest failure, which a later success leaves in place.
    pub failure: Option<Failure>,
    pub logs: Vec<String>,
    pub started_at: Option<At>,
    pub settled_at: Option<At>,
}

/// A task that another waits for, with what it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prerequisite {
    pub task: TaskId,
    pub key: String,
    pub state: task::State,
    /// Of the paths that it may write those whose newest content is its own, by path.
    pub made: Vec<FileView>,
}

/// How many prerequisites of one task are told of.
pub const PREREQUISITES_MAX: u32 = 1000;
/// How many files of one prerequisite are told of.
pub const MADE_MAX: u32 = 100;

/// The right to make one attempt at a task, with all that the attempt needs.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskClaim {
    pub task: TaskId,
    pub build: BuildId,
    pub attempt: u32,
    pub key: String,
    pub name: String,
    pub phase: task::Phase,
    pub operation: task::Operation,
    pub role: String,
    pub estimated_secs: u32,
    pub writes: Vec<String>,
    pub input: Value,
    /// The plan's spec; shared, since tasks of one plan are often claimed together.
    pub spec: Arc<Value>,
    /// How many slots it takes.
    pub cost: u32,
    /// What it waited for. Empty as the store gives it; the worker reads them for a runner that
    /// wants them.
    pub prerequisites: Vec<Prerequisite>,
    pub tenant: String,
    /// Whether its brief allows results of others, and to others.
    pub cache: bool,
}

impl TaskClaim {
    pub const fn fence(&self) -> Fence {
        Fence { job: Job::Task(self.task), attempt: self.attempt }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct AttemptView {
    pub number: u32,
    pub holder: HolderId,
    pub state: attempt::State,
    pub failure: Option<Failure>,
    pub started_at: At,
    pub settled_at: Option<At>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct EventView {
    pub id: EventId,
    pub build: BuildId,
    pub seq: u64,
    pub kind: event::Kind,
    pub at: At,
    pub data: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileView {
    pub path: String,
    pub size_bytes: u64,
    /// In hex.
    pub sha256: String,
    /// The task that wrote it last.
    pub task: TaskId,
    pub at: At,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    pub file: FileView,
    pub content: Vec<u8>,
}

/// The right to make one attempt at a delivery, with all that the attempt needs.
#[derive(Debug, Clone)]
pub struct DeliveryClaim {
    pub delivery: DeliveryId,
    pub attempt: u32,
    pub endpoint: EndpointId,
    pub tenant: String,
    pub url: String,
    /// As its keeper gave it, and so the old ones.
    pub secret: SecretString,
    /// They sign as well, newest first.
    pub old_secrets: Vec<SecretString>,
    /// Of the endpoint's own; names in lower case.
    pub headers: BTreeMap<String, String>,
    pub event: EventView,
    /// When the attempt was begun, by the store's clock: what its signature says.
    pub claimed_at: At,
}

impl DeliveryClaim {
    pub const fn fence(&self) -> Fence {
        Fence { job: Job::Delivery(self.delivery), attempt: self.attempt }
    }

    /// The build that the event is about; `None` if it is about the endpoint.
    pub fn build(&self) -> Option<BuildId> {
        Some(self.event.build).filter(|build| *build != log_of(self.endpoint))
    }
}

/// What came of one attempt at a delivery.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SendResult {
    /// `None` if it was delivered.
    pub failure: Option<Failure>,
    /// The receiver's HTTP status, if it answered.
    pub status: Option<u16>,
    /// From the first byte out to the last byte in.
    pub took_ms: u64,
    /// The beginning of the receiver's answer, as text.
    pub excerpt: Option<String>,
    /// What was seen of it besides.
    pub exchange: Option<Exchange>,
    pub asked: Asked,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub build: BuildId,
    pub endpoint: EndpointId,
    pub url: String,
    pub event: EventId,
    pub kind: event::Kind,
    pub seq: u64,
    pub state: delivery::State,
    /// How many attempts were begun.
    pub attempt: u32,
    pub failure: Option<Failure>,
    pub created_at: At,
    /// When the next attempt may begin; `None` if it is final.
    pub due_at: Option<At>,
    pub settled_at: Option<At>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryAttempt {
    pub number: u32,
    pub state: attempt::State,
    pub status: Option<u16>,
    pub failure: Option<Failure>,
    pub took_ms: Option<u64>,
    pub excerpt: Option<String>,
    pub exchange: Option<Exchange>,
    pub started_at: At,
    pub settled_at: Option<At>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    pub holder: HolderId,
    pub program: String,
    pub host: String,
    pub version: String,
    pub lane: Lane,
    pub slots: u32,
    pub busy: u32,
    pub started_at: At,
    pub beat_at: At,
    /// By the store's clock.
    pub silent_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneView {
    pub lane: Lane,
    /// Work that could run now.
    pub waiting: u64,
    /// Work that waits for its time, such as a retry.
    pub delayed: u64,
    pub running: u64,
    /// How long the oldest waiting work has waited.
    pub oldest_ms: u64,
    /// Work that ended in the last 60 seconds.
    pub settled_last_minute: u64,
}
