//! Why something waits, as clients see it: a time, a limit, a pause, or only the line.

use buildfleet::{
    domain::limit::Gate,
    store::{self, At, Shut},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;

/// Why work that is not final is not worked on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Waiting {
    pub on: WaitsOn,
    /// When it is due, with `time`; until when nothing is sent, with `endpoint`.
    pub due_at: Option<Time>,
    /// Only with `limit`.
    pub limit: Option<LimitValue>,
    /// Only with `pause`.
    pub pause: Option<Pause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitsOn {
    /// Tasks that it depends on.
    Dependencies,
    /// A person, who approves its plan or does not.
    Approval,
    /// The time of its next attempt.
    Time,
    /// Deliveries of its build that go before it.
    Turn,
    /// Its endpoint: it is disabled, or nothing is sent to it for a while.
    Endpoint,
    /// Room under a limit.
    Limit,
    /// Somebody who resumes it, its tenant or its queue.
    Pause,
    /// A worker that is free, and those before it in line.
    Line,
}

/// A limit, and under which value it counts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LimitValue {
    #[schema(example = "each-tenant")]
    pub name: String,
    /// A kind, a tenant or a key; empty where nothing is counted apart.
    #[schema(example = "default")]
    pub value: String,
}

/// Something that is paused: nothing of it is begun, what runs goes on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Pause {
    pub what: Pausable,
    /// The id of a build, or the name of a tenant or queue.
    #[schema(example = "tasks")]
    pub name: String,
    /// Who did it, and why if they said so.
    #[schema(example = "default/key-1: the disk is full")]
    pub by: String,
    pub since: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pausable {
    Build,
    Tenant,
    Queue,
}

/// All that is paused.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pauses {
    pub paused: Vec<Pause>,
}

/// Ready work that waits at a limit or a pause.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ParkedAt {
    pub on: WaitsOn,
    pub limit: Option<LimitValue>,
    /// What is paused, or was until a moment ago.
    #[schema(example = "tenant acme")]
    pub pause: Option<String>,
    #[schema(maximum = 10000)]
    pub count: u64,
}

impl Waiting {
    pub const fn on(on: WaitsOn) -> Self {
        Self { on, due_at: None, limit: None, pause: None }
    }
}

impl From<store::Wait> for Waiting {
    fn from(wait: store::Wait) -> Self {
        // A pause comes first: while it lasts, nothing else matters.
        if let Some(pause) = wait.pause.and_then(Pause::of) {
            return Self { pause: Some(pause), ..Self::on(WaitsOn::Pause) };
        }
        match wait.parked_on {
            Some(Gate::Time) => Self { due_at: Some(due(wait.due_at)), ..Self::on(WaitsOn::Time) },
            Some(Gate::Turn) => Self::on(WaitsOn::Turn),
            Some(Gate::Limit { name, value }) => {
                Self { limit: Some(LimitValue { name, value }), ..Self::on(WaitsOn::Limit) }
            }
            // A gate that was opened a moment ago: the next claim lets it out.
            Some(Gate::Tenant(_) | Gate::Build(_) | Gate::Lane(_)) | None => match wait.shut {
                Some(Shut { until }) => {
                    Self { due_at: until.map(due), ..Self::on(WaitsOn::Endpoint) }
                }
                None => Self::on(WaitsOn::Line),
            },
        }
    }
}

fn due(at: At) -> Time {
    at.into()
}

impl Pause {
    /// `None` for what cannot be paused.
    pub fn of(pause: store::Pause) -> Option<Self> {
        let (what, name) = match pause.gate {
            Gate::Build(id) => (Pausable::Build, id.to_string()),
            Gate::Tenant(tenant) => (Pausable::Tenant, tenant),
            Gate::Lane(lane) => (Pausable::Queue, lane.to_string()),
            Gate::Time | Gate::Turn | Gate::Limit { .. } => return None,
        };
        Some(Self { what, name, by: pause.by, since: pause.at.into() })
    }
}

impl From<store::Parked> for ParkedAt {
    fn from(parked: store::Parked) -> Self {
        let (on, limit, pause) = match parked.gate {
            Gate::Limit { name, value } => (WaitsOn::Limit, Some(LimitValue { name, value }), None),
            gate => (WaitsOn::Pause, None, Some(outside(&gate))),
        };
        Self { on, limit, pause, count: parked.count }
    }
}

/// A gate in the words of the API, where a lane is called a queue.
pub fn outside(gate: &Gate) -> String {
    match gate {
        Gate::Lane(lane) => format!("queue {lane}"),
        gate => gate.to_string(),
    }
}
