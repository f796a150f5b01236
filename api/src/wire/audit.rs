//! What was changed by hand, as clients see it.

use buildfleet::{domain::limit::Gate, store};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Time, waiting::outside};

/// A change that somebody made by hand.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Rises with each entry.
    pub id: i64,
    pub at: Time,
    /// Which key, and why if they said so.
    #[schema(example = "default/key-1: the disk is full")]
    pub by: String,
    /// `limit_put`, `limit_removed`, `weight_put`, `paused`, `resumed`, or `bulk_` and what was
    /// done to all that a filter meets: once before it begins, and once more with `_done` after it.
    #[schema(example = "limit_put")]
    pub action: String,
    /// The name of a limit or tenant, what was paused, or what a filter was about.
    #[schema(example = "each-tenant")]
    pub subject: String,
    /// How it is afterwards; null if it is gone.
    #[schema(value_type = Option<Object>)]
    pub detail: Value,
}

impl From<store::AuditEntry> for AuditEntry {
    fn from(entry: store::AuditEntry) -> Self {
        let mut detail = entry.detail;
        // Within, a queue is a lane.
        if let Some(map) = detail.as_object_mut()
            && let Some(lane) = map.remove("lane")
        {
            map.insert("queue".to_owned(), lane);
        }
        let subject = match (entry.action.as_str(), entry.subject.parse::<Gate>()) {
            ("paused" | "resumed", Ok(gate)) => outside(&gate),
            _ => entry.subject,
        };
        Self {
            id: entry.id,
            at: entry.at.into(),
            by: entry.by,
            action: entry.action,
            subject,
            detail,
        }
    }
}

/// A page of the audit, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Audit {
    pub entries: Vec<AuditEntry>,
    /// Give it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
}
