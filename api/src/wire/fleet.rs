//! The fleet as operators see it: its workers, its queues, its health.

use buildfleet::{member::LOST_AFTER, store};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    QueueName, Time,
    limit::Limit,
    waiting::{ParkedAt, Pause},
};

/// Whether a worker can be counted on.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    Alive,
    /// It has said nothing for a minute: it was killed, or cannot reach the store. What it held is
    /// taken over long before. It is forgotten after an hour.
    Lost,
}

/// A process that takes work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Worker {
    /// Drawn anew each time the process starts.
    #[schema(example = "hld_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub id: String,
    #[schema(example = "task-worker")]
    pub program: String,
    pub host: String,
    pub version: String,
    pub queue: QueueName,
    pub state: WorkerState,
    /// How much it works on at once, at most.
    pub slots: u32,
    /// How many of them are at work.
    pub busy: u32,
    pub started_at: Time,
    pub last_seen_at: Time,
    /// How long it has said nothing.
    pub silent_ms: u64,
}

impl From<store::Worker> for Worker {
    fn from(worker: store::Worker) -> Self {
        Self {
            id: worker.holder.to_string(),
            program: worker.program,
            host: worker.host,
            version: worker.version,
            queue: worker.lane.into(),
            state: if u128::from(worker.silent_ms) <= LOST_AFTER.as_millis() {
                WorkerState::Alive
            } else {
                WorkerState::Lost
            },
            slots: worker.slots,
            busy: worker.busy,
            started_at: worker.started_at.into(),
            last_seen_at: worker.beat_at.into(),
            silent_ms: worker.silent_ms,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Workers {
    pub workers: Vec<Worker>,
}

/// A queue, by the record; what the waker holds is a shadow of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Queue {
    pub name: QueueName,
    /// Work that could run now.
    pub depth: u64,
    /// Work that waits for its time, such as a retry.
    pub delayed: u64,
    pub running: u64,
    /// How long the oldest work that could run has waited.
    pub oldest_age_ms: u64,
    /// Work that came to an end, by the second, over the last minute.
    pub rate_per_sec: f64,
    /// How long the depth takes at this rate; null if nothing came to an end in the last minute.
    pub backlog_secs: Option<f64>,
    /// How many jobs the waker holds; null if it did not answer.
    pub queued_jobs: Option<u64>,
    /// Nothing is taken from it, what runs goes on.
    pub paused: Option<Pause>,
    /// What waits at limits and pauses. A hundred gates are told of, and ten thousand pieces of
    /// work at each.
    pub parked: Vec<ParkedAt>,
    /// The limits that its work meets.
    pub limits: Vec<Limit>,
}

impl Queue {
    pub fn of(lane: store::LaneView, queued_jobs: Option<u64>) -> Self {
        let rate_per_sec = lane.settled_last_minute as f64 / 60.0;
        Self {
            name: lane.lane.into(),
            depth: lane.waiting,
            delayed: lane.delayed,
            running: lane.running,
            oldest_age_ms: lane.oldest_ms,
            rate_per_sec,
            backlog_secs: (0.0 < rate_per_sec).then(|| lane.waiting as f64 / rate_per_sec),
            queued_jobs,
            paused: None,
            parked: Vec::new(),
            limits: Vec::new(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Queues {
    pub queues: Vec<Queue>,
}

/// The process lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    pub status: &'static str,
    #[schema(example = "0.1.0")]
    pub version: String,
    #[schema(example = "production")]
    pub environment: String,
    pub uptime_secs: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Alive {
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// All that the API leans on answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    #[schema(example = "ok")]
    pub status: &'static str,
    #[schema(example = "ok")]
    pub store: &'static str,
    #[schema(example = "ok")]
    pub queue: &'static str,
}
