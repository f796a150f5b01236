//! What is written down of a change made by hand, the same in every store.

use serde_json::{Value, json};

use crate::domain::limit::{Gate, Limit};

/// A change that somebody made.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    LimitPut(&'a Limit),
    LimitRemoved(&'a str),
    WeightPut {
        tenant: &'a str,
        weight: f64,
    },
    Paused(&'a Gate),
    Resumed(&'a Gate),
    /// Something is done to all that a filter meets: what, to which sort of thing, and how far.
    Bulk {
        action: &'static str,
        subject: &'static str,
        detail: &'a Value,
    },
}

impl Change<'_> {
    pub const fn action(&self) -> &'static str {
        match self {
            Change::LimitPut(_) => "limit_put",
            Change::LimitRemoved(_) => "limit_removed",
            Change::WeightPut { .. } => "weight_put",
            Change::Paused(_) => "paused",
            Change::Resumed(_) => "resumed",
            Change::Bulk { action, .. } => action,
        }
    }

    /// The name of a limit or a tenant, or the text of a gate.
    pub fn subject(&self) -> String {
        match self {
            Change::LimitPut(limit) => limit.name.clone(),
            Change::LimitRemoved(name) => (*name).to_owned(),
            Change::WeightPut { tenant, .. } => (*tenant).to_owned(),
            Change::Paused(gate) | Change::Resumed(gate) => gate.to_string(),
            Change::Bulk { subject, .. } => (*subject).to_owned(),
        }
    }

    /// How it is afterwards; null if it is gone.
    pub fn detail(&self) -> Value {
        match self {
            Change::LimitPut(limit) => json!({
                "lane": limit.lane,
                "by": limit.by,
                "value": limit.value,
                "concurrency": limit.concurrency,
                "rate": limit.rate.map(|rate| {
                    json!({ "count": rate.count, "per_secs": rate.per.as_secs_f64() })
                }),
            }),
            Change::WeightPut { weight, .. } => json!({ "weight": weight }),
            Change::Bulk { detail, .. } => (*detail).clone(),
            Change::LimitRemoved(_) | Change::Paused(_) | Change::Resumed(_) => Value::Null,
        }
    }
}
