//! One verb for all that a filter meets, as clients ask for it and are answered.

use std::str::FromStr;

use buildfleet::{
    domain::{brief::Fault, build, delivery, event::Kind, id::Malformed},
    store::{BuildFilter, DeliveryFilter, Span},
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    BuildState, DeliveryState, EventType, Time,
    fields::{Fields, nuls},
};
use crate::query::{INSTANT, Instant, cursor_of};

pub const LIMIT_DEFAULT: u32 = 1_000;
pub const LIMIT_MAX: u32 = 10_000;
const LIMIT: &str = "a whole number between 1 and 10000";

/// What is done to builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildAction {
    Cancel,
    Retry,
    Pause,
    Resume,
}

/// What is done to deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryAction {
    Redeliver,
}

/// No action is called that.
pub struct NoAction;

impl FromStr for BuildAction {
    type Err = NoAction;

    fn from_str(word: &str) -> Result<Self, NoAction> {
        Ok(match word {
            "cancel" => BuildAction::Cancel,
            "retry" => BuildAction::Retry,
            "pause" => BuildAction::Pause,
            "resume" => BuildAction::Resume,
            _ => return Err(NoAction),
        })
    }
}

impl FromStr for DeliveryAction {
    type Err = NoAction;

    fn from_str(word: &str) -> Result<Self, NoAction> {
        if word == "redeliver" { Ok(DeliveryAction::Redeliver) } else { Err(NoAction) }
    }
}

impl BuildAction {
    /// The states in which it can be done, which are meant if a filter names none.
    fn states(self) -> Vec<build::State> {
        let all = build::State::ALL.iter().copied();
        match self {
            BuildAction::Retry => vec![build::State::Failed, build::State::Cancelled],
            BuildAction::Cancel | BuildAction::Pause | BuildAction::Resume => {
                all.filter(|state| !state.is_final()).collect()
            }
        }
    }

    /// What the audit calls it, before and after.
    pub const fn words(self) -> [&'static str; 2] {
        match self {
            BuildAction::Cancel => ["bulk_cancel", "bulk_cancel_done"],
            BuildAction::Retry => ["bulk_retry", "bulk_retry_done"],
            BuildAction::Pause => ["bulk_pause", "bulk_pause_done"],
            BuildAction::Resume => ["bulk_resume", "bulk_resume_done"],
        }
    }
}

/// Something to do to all builds that a filter meets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBuildsBulk {
    pub action: BuildAction,
    pub filter: NewBuildFilter,
    /// Only say how many there are, and which are first. False if absent.
    pub dry_run: Option<bool>,
    /// How many at most; 1000 if absent.
    #[schema(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the answer before.
    #[schema(pattern = "^[A-Za-z0-9_-]{40}$")]
    pub cursor: Option<String>,
}

/// Builds for which every part holds that is given; at least one must be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBuildFilter {
    /// In any of these. Those in which the action can be done if absent.
    pub states: Option<Vec<BuildState>>,
    pub project_id: Option<String>,
    /// The `error.code` of the build.
    pub stop_code: Option<String>,
    pub created_since: Option<Time>,
    /// Not included.
    pub created_until: Option<Time>,
    #[schema(minimum = 1, maximum = 5)]
    pub priority: Option<u8>,
    #[schema(max_items = 500)]
    pub ids: Option<Vec<String>>,
}

/// Something to do to all deliveries that a filter meets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeliveriesBulk {
    pub action: DeliveryAction,
    pub filter: NewDeliveryFilter,
    /// Only say how many there are, and which are first. False if absent.
    pub dry_run: Option<bool>,
    /// How many at most; 1000 if absent.
    #[schema(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the answer before.
    #[schema(pattern = "^[A-Za-z0-9_-]{40}$")]
    pub cursor: Option<String>,
}

/// Deliveries for which every part holds that is given; at least one must be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeliveryFilter {
    /// In any of these. `exhausted` if absent.
    pub states: Option<Vec<DeliveryState>>,
    pub build_id: Option<String>,
    pub endpoint_id: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<EventType>,
    /// The `error.code` of the delivery.
    pub code: Option<String>,
    pub created_since: Option<Time>,
    /// Not included.
    pub created_until: Option<Time>,
    #[schema(max_items = 500)]
    pub ids: Option<Vec<String>>,
}

/// What was done, or would be.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkAnswer {
    pub dry_run: bool,
    /// How many the filter meets, before anything was done.
    pub matching: u64,
    /// Only of a dry run: those that would be first, at most 20.
    pub ids: Vec<String>,
    pub done: u32,
    pub refused: u32,
    /// Why some were refused, at most 20 of them.
    pub refusals: Vec<BulkRefusal>,
    /// There is more: post the same with it as `cursor` to go on. Null at the end, and of a dry
    /// run.
    pub next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BulkRefusal {
    pub id: String,
    #[schema(example = "build_is_final")]
    pub code: String,
    pub message: String,
}

/// What was asked for, checked.
#[derive(Debug)]
pub struct Bulk<A, F, I> {
    pub action: A,
    pub filter: F,
    /// The filter as it came, for the audit.
    pub words: Value,
    pub dry_run: bool,
    pub limit: u32,
    pub after: Option<I>,
}

impl<A: FromStr, F, I: FromStr> Bulk<A, F, I> {
    fn read(
        body: &Value,
        actions: &[&str],
        filter: impl FnOnce(Fields<'_>, Option<&A>, &mut Vec<Fault>) -> F,
    ) -> Result<Self, Vec<Fault>> {
        let Some(map) = body.as_object() else {
            let words = "the body must be an object such as {\"action\": ..., \"filter\": ...}";
            return Err(vec![Fault::new("", words)]);
        };
        let mut faults = Vec::new();
        nuls(body, "", &mut faults);
        let mut fields = Fields::new("", map);
        let action: Option<A> = fields.word("action", actions);
        if action.is_none() && !fields.has_fault("action") {
            fields.fault("action", format!("must be given: one of {}", actions.join(", ")));
        }
        let given = fields.object("filter");
        let is_empty = given.is_none_or(|map| map.values().all(Value::is_null));
        if is_empty && !fields.has_fault("filter") {
            // Everything is a lot to mean by saying nothing.
            fields.fault("filter", "must say which are meant, by at least one of its fields");
        }
        let empty = Map::new();
        let filter =
            filter(Fields::new("filter.", given.unwrap_or(&empty)), action.as_ref(), &mut faults);
        let dry_run = fields.flag("dry_run").unwrap_or(false);
        let limit = fields.whole("limit", LIMIT);
        if limit.is_some_and(|limit| !(1..=u64::from(LIMIT_MAX)).contains(&limit)) {
            fields.fault("limit", format!("must be {LIMIT}"));
        }
        let cursor = fields.text("cursor");
        let after = cursor.as_deref().and_then(cursor_of);
        if cursor.is_some() && after.is_none() {
            fields.fault("cursor", "must be a next_cursor of this call");
        }
        faults.extend(fields.finish());
        match action {
            Some(action) if faults.is_empty() => Ok(Self {
                action,
                filter,
                words: given.map_or(Value::Null, |map| Value::Object(map.clone())),
                dry_run,
                limit: limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(LIMIT_DEFAULT),
                after,
            }),
            _ => Err(faults),
        }
    }
}

pub type BuildsBulk = Bulk<BuildAction, BuildFilter, buildfleet::domain::id::BuildId>;
pub type DeliveriesBulk = Bulk<DeliveryAction, DeliveryFilter, buildfleet::domain::id::DeliveryId>;

impl BuildsBulk {
    /// Reads a body, or says all that is wrong with it.
    pub fn of(tenant: &str, body: &Value) -> Result<Self, Vec<Fault>> {
        let actions = ["cancel", "retry", "pause", "resume"];
        Self::read(body, &actions, |mut fields, action, faults| {
            let words: Vec<_> = build::State::ALL.iter().map(|state| state.as_str()).collect();
            let filter = BuildFilter {
                tenant: tenant.to_owned(),
                states: fields.words("states", &words).unwrap_or_else(|| {
                    action.map(|action: &BuildAction| action.states()).unwrap_or_default()
                }),
                project_id: fields.text("project_id"),
                stop_code: fields.text("stop_code"),
                priority: priority(&mut fields),
                created: span(&mut fields),
                ids: ids(&mut fields),
            };
            faults.extend(fields.finish());
            filter
        })
    }
}

impl DeliveriesBulk {
    /// Reads a body, or says all that is wrong with it.
    pub fn of(tenant: &str, body: &Value) -> Result<Self, Vec<Fault>> {
        Self::read(body, &["redeliver"], |mut fields, _, faults| {
            let filter = read_delivery_filter(tenant, &mut fields);
            faults.extend(fields.finish());
            filter
        })
    }
}

/// Reads which deliveries are meant.
pub fn read_delivery_filter(tenant: &str, fields: &mut Fields<'_>) -> DeliveryFilter {
    let states: Vec<_> = delivery::State::ALL.iter().map(|state| state.as_str()).collect();
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    DeliveryFilter {
        tenant: tenant.to_owned(),
        states: fields.words("states", &states).unwrap_or_else(|| vec![delivery::State::Exhausted]),
        build: fields.parsed("build_id", "the id of a build"),
        endpoint: fields.parsed("endpoint_id", "the id of an endpoint"),
        kind: fields.word("type", &kinds),
        code: fields.text("code"),
        created: span(fields),
        ids: ids(fields),
    }
}

fn priority(fields: &mut Fields<'_>) -> Option<u8> {
    const WANTED: &str = "a whole number between 1 and 5";
    let priority = fields.whole("priority", WANTED)?;
    if !(1..=5).contains(&priority) {
        fields.fault("priority", format!("must be {WANTED}"));
    }
    u8::try_from(priority).ok()
}

fn span(fields: &mut Fields<'_>) -> Span {
    let mut instant = |name| fields.parsed::<Instant>(name, INSTANT).map(|Instant(at)| at);
    Span { since: instant("created_since"), until: instant("created_until") }
}

fn ids<I: FromStr<Err = Malformed>>(fields: &mut Fields<'_>) -> Option<Vec<I>> {
    let mut ids = Vec::new();
    for (index, text) in fields.texts("ids")?.iter().enumerate() {
        match text.parse::<I>() {
            Ok(id) => ids.push(id),
            Err(wanted) => fields.fault(&format!("ids[{index}]"), wanted.to_string()),
        }
    }
    Some(ids)
}
