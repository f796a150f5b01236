//! Deliveries as clients see them.

use buildfleet::store;
use serde::Serialize;
use utoipa::ToSchema;

use super::{AttemptState, DeliveryState, EventType, Failure, Time, waiting::Waiting};

/// The telling of one event to one endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery {
    #[schema(example = "dlv_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub id: String,
    pub build_id: String,
    pub endpoint_id: String,
    pub url: String,
    /// Also the header `webhook-id`.
    pub event_id: String,
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The event's place in the build's log.
    pub seq: u64,
    pub state: DeliveryState,
    /// Why it is not being sent; null once it is.
    pub waiting: Option<Waiting>,
    /// How many attempts were begun.
    pub attempt: u32,
    /// The newest failure.
    pub error: Option<Failure>,
    pub created_at: Time,
    /// When the next attempt may begin; null at the end.
    pub next_attempt_at: Option<Time>,
    pub finished_at: Option<Time>,
}

impl From<store::Delivery> for Delivery {
    fn from(delivery: store::Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            build_id: delivery.build.to_string(),
            endpoint_id: delivery.endpoint.to_string(),
            url: delivery.url,
            event_id: delivery.event.to_string(),
            kind: delivery.kind.into(),
            seq: delivery.seq,
            state: delivery.state.into(),
            waiting: None,
            attempt: delivery.attempt,
            error: delivery.failure.map(Failure::from),
            created_at: delivery.created_at.into(),
            next_attempt_at: delivery.due_at.map(Time::from),
            finished_at: delivery.settled_at.map(Time::from),
        }
    }
}

/// A page of deliveries, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deliveries {
    pub deliveries: Vec<Delivery>,
    /// Give it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryWithAttempts {
    #[serde(flatten)]
    pub delivery: Delivery,
    /// Oldest first.
    pub attempts: Vec<DeliveryAttempt>,
}

/// One request to the endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryAttempt {
    /// From 1.
    pub number: u32,
    pub state: AttemptState,
    /// The endpoint's HTTP status, if it answered.
    pub status: Option<u16>,
    pub error: Option<Failure>,
    pub took_ms: Option<u64>,
    /// The beginning of the endpoint's answer.
    pub excerpt: Option<String>,
    /// What else was seen: address, timings, headers with secrets masked, the digest of the body.
    #[schema(value_type = Option<Object>)]
    pub exchange: Option<serde_json::Value>,
    pub started_at: Time,
    pub finished_at: Option<Time>,
}

impl From<store::DeliveryAttempt> for DeliveryAttempt {
    fn from(attempt: store::DeliveryAttempt) -> Self {
        Self {
            number: attempt.number,
            state: attempt.state.into(),
            status: attempt.status,
            error: attempt.failure.map(Failure::from),
            took_ms: attempt.took_ms,
            excerpt: attempt.excerpt,
            exchange: attempt.exchange.and_then(|seen| serde_json::to_value(seen).ok()),
            started_at: attempt.started_at.into(),
            finished_at: attempt.settled_at.map(Time::from),
        }
    }
}
