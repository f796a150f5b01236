//! Replays as clients see them and ask for them.

use buildfleet::{
    domain::{brief::Fault, id::EndpointId},
    store::{self, At, DeliveryFilter, ReplayWanted, Span},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    ReplayState, Time,
    bulk::{NewDeliveryFilter, read_delivery_filter},
    fields::{Fields, nuls},
};
use crate::query::{INSTANT, Instant};

/// Deliveries on their way once more, and how far that is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replay {
    #[schema(example = "rpl_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub id: String,
    pub state: ReplayState,
    /// As counted when it began.
    pub total: u64,
    /// Sent again so far; what is final by then is in the state of each delivery.
    pub done: u64,
    pub by: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub finished_at: Option<Time>,
}

impl From<store::Replay> for Replay {
    fn from(replay: store::Replay) -> Self {
        Self {
            id: replay.id.to_string(),
            state: replay.state.into(),
            total: replay.total,
            done: replay.done,
            by: replay.by,
            created_at: replay.created_at.into(),
            updated_at: replay.updated_at.into(),
            finished_at: replay.settled_at.map(Time::from),
        }
    }
}

/// The newest hundred, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replays {
    pub replays: Vec<Replay>,
}

/// What came of asking for one.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayAnswer {
    /// How many deliveries it sends, or would.
    pub matched: u64,
    /// Null if this was a dry run.
    pub replay: Option<Replay>,
}

/// What is to be sent again: every delivery that is final and meets the filter, however many.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReplay {
    pub filter: NewDeliveryFilter,
    /// Only count. False if absent.
    pub dry_run: Option<bool>,
}

/// Reads what is to be sent again, and whether it is only counted.
pub fn read_replay(tenant: &str, body: &Value) -> Result<(ReplayWanted, bool), Vec<Fault>> {
    let Some(map) = body.as_object() else {
        let words =
            "the body must be an object such as {\"filter\": {\"states\": [\"exhausted\"]}}";
        return Err(vec![Fault::new("", words)]);
    };
    let mut faults = Vec::new();
    nuls(body, "", &mut faults);
    let mut fields = Fields::new("", map);
    let dry_run = fields.flag("dry_run").unwrap_or(false);
    let filter = match fields.object("filter") {
        Some(filter) if filter.is_empty() => {
            fields.fault("filter", "must say which deliveries are meant");
            None
        }
        Some(filter) => {
            let mut inner = Fields::new("filter.", filter);
            let read = read_delivery_filter(tenant, &mut inner);
            faults.extend(inner.finish());
            Some(read)
        }
        None if fields.has_fault("filter") => None,
        None => {
            fields.fault("filter", "is needed: which deliveries are meant");
            None
        }
    };
    faults.extend(fields.finish());
    match filter {
        Some(filter) if faults.is_empty() => Ok((ReplayWanted { filter, missing: None }, dry_run)),
        _ => Err(faults),
    }
}

/// What an endpoint has missed since then: deliveries that were given up, and events of which it
/// was never told.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecovery {
    pub since: Time,
    /// Not included. Until now if absent.
    pub until: Option<Time>,
    /// Only count. False if absent.
    pub dry_run: Option<bool>,
}

/// Reads what is to be made good, and whether it is only counted.
pub fn read_recovery(
    tenant: &str,
    endpoint: EndpointId,
    body: &Value,
) -> Result<(ReplayWanted, bool), Vec<Fault>> {
    let Some(map) = body.as_object() else {
        let words = "the body must be an object such as {\"since\": \"2026-11-21T12:00:00Z\"}";
        return Err(vec![Fault::new("", words)]);
    };
    let mut fields = Fields::new("", map);
    let dry_run = fields.flag("dry_run").unwrap_or(false);
    let mut instant = |name| fields.parsed::<Instant>(name, INSTANT).map(|Instant(at)| at);
    let (since, until): (Option<At>, Option<At>) = (instant("since"), instant("until"));
    if since.is_none() && !fields.has_fault("since") {
        fields.fault("since", format!("is needed: {INSTANT}"));
    }
    let faults = fields.finish();
    if !faults.is_empty() {
        return Err(faults);
    }
    let filter = DeliveryFilter {
        tenant: tenant.to_owned(),
        states: vec![buildfleet::domain::delivery::State::Exhausted],
        build: None,
        endpoint: Some(endpoint),
        kind: None,
        code: None,
        created: Span { since, until },
        ids: None,
    };
    Ok((ReplayWanted { filter, missing: Some(endpoint) }, dry_run))
}
