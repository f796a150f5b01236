//! Events as every view of the log shows them: in camel case, like the webhooks (S2-38).

use buildfleet::store::{self, At};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::EventType;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "evt_01KAJM5Q3V9K2M4N6P7R8S9T0A",
    "seq": 4,
    "type": "task_completed",
    "buildId": "bld_01KAJM5Q3V9K2M4N6P7R8S9T0A",
    "timestamp": 1795262400000_i64,
    "data": {
        "taskId": "tsk_01KAJM5Q3V9K2M4N6P7R8S9T0A",
        "taskName": "Write the model of a book",
        "filesCreated": ["app/models/book.py"]
    }
}))]
pub struct Event {
    pub id: String,
    /// Its place in the build's log: from 1, without gaps.
    #[schema(minimum = 1)]
    pub seq: u64,
    #[serde(rename = "type")]
    pub kind: EventType,
    pub build_id: String,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    #[schema(value_type = Object)]
    pub data: Value,
}

impl From<store::EventView> for Event {
    fn from(event: store::EventView) -> Self {
        let At(timestamp) = event.at;
        Self {
            id: event.id.to_string(),
            seq: event.seq,
            kind: event.kind.into(),
            build_id: event.build.to_string(),
            timestamp,
            data: event.data,
        }
    }
}

/// A piece of a build's log, ascending.
#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    pub events: Vec<Event>,
    /// Give it as `after` to go on.
    pub next_after: u64,
    /// Whether the build is at its end and nothing comes after `next_after` unless it is retried.
    pub ended: bool,
}
