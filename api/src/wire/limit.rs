//! Limits and weights as clients see them and ask for them.

use std::time::Duration;

use buildfleet::domain::{
    brief::Fault,
    lane::Lane,
    limit::{self, By},
    rank::{WEIGHT_MAX, WEIGHT_MIN},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    CountedBy, QueueName,
    fields::{Fields, nuls},
};

const VALUE_CHARS_MAX: usize = 200;
pub const TENANT_CHARS_MAX: usize = 100;

/// A rule about how much of something may run at once over the whole fleet, or how often it may
/// begin.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Limit {
    #[schema(example = "each-tenant")]
    pub name: String,
    /// Null: all queues together.
    pub queue: Option<QueueName>,
    /// What is counted apart: nothing, each kind of work, each tenant, or each `limit_key`.
    pub by: CountedBy,
    /// The one kind, tenant or key it is about; null: each has a limit of its own.
    pub value: Option<String>,
    /// The most that may run at once, by cost.
    pub concurrency: Option<u32>,
    pub rate: Option<Rate>,
}

/// So many may begin at once, and then one each time another has been refilled.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Rate {
    #[schema(minimum = 1, maximum = 1000000)]
    pub count: u32,
    #[schema(minimum = 0.001, maximum = 86400)]
    pub per_secs: f64,
}

impl From<limit::Limit> for Limit {
    fn from(limit: limit::Limit) -> Self {
        Self {
            name: limit.name,
            queue: limit.lane.map(QueueName::from),
            by: limit.by.into(),
            value: limit.value,
            concurrency: limit.concurrency,
            rate: limit
                .rate
                .map(|rate| Rate { count: rate.count, per_secs: rate.per.as_secs_f64() }),
        }
    }
}

/// All limits, by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Limits {
    pub limits: Vec<Limit>,
}

/// A limit as it is asked for: its concurrency, its rate, or both.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLimit {
    /// All queues together if absent.
    pub queue: Option<QueueName>,
    /// What is counted apart; `all` if absent.
    pub by: Option<CountedBy>,
    /// The one kind, tenant or key it is about. Each has a limit of its own if absent; not with
    /// `all`.
    #[schema(max_length = 200)]
    pub value: Option<String>,
    /// The most that may run at once, by cost. 0 lets nothing begin.
    #[schema(minimum = 0, maximum = 1000000)]
    pub concurrency: Option<u32>,
    #[schema(value_type = Option<Rate>)]
    pub rate: Option<Rate>,
}

/// Reads a limit, or says all that is wrong with it.
pub fn read_limit(name: String, body: &Value) -> Result<limit::Limit, Vec<Fault>> {
    let Some(map) = body.as_object() else {
        let words = "the body must be an object such as {\"concurrency\": 5}";
        return Err(vec![Fault::new("", words)]);
    };
    let mut faults = Vec::new();
    nuls(body, "", &mut faults);
    let mut fields = Fields::new("", map);
    let lanes: Vec<_> = Lane::ALL.iter().map(|lane| lane.as_str()).collect();
    let counted: Vec<_> = By::ALL.iter().map(|by| by.as_str()).collect();
    let mut inner = Vec::new();
    let limit = limit::Limit {
        name,
        lane: fields.word("queue", &lanes),
        by: fields.word("by", &counted).unwrap_or(By::All),
        value: fields.text("value"),
        concurrency: fields
            .whole("concurrency", "a whole number between 0 and 1000000")
            .map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        rate: fields.object("rate").map(|rate| read_rate(Fields::new("rate.", rate), &mut inner)),
    };
    if limit.value.as_ref().is_some_and(|value| VALUE_CHARS_MAX < value.chars().count()) {
        fields.fault("value", format!("must have at most {VALUE_CHARS_MAX} characters"));
    }
    faults.extend(fields.finish());
    faults.extend(inner);
    // What is not of its type was read as if it were absent; that is no second fault.
    let named = |own: &Fault, all: &[Fault]| all.iter().any(|fault| fault.field == own.field);
    for fault in limit.faults() {
        let is_unread = fault.field == "concurrency" && faults.iter().any(|f| f.field == "rate");
        if !named(&fault, &faults) && !is_unread {
            faults.push(fault);
        }
    }
    if faults.is_empty() { Ok(limit) } else { Err(faults) }
}

/// Reads a rate; what is wrong with it is added to the faults.
pub fn read_rate(mut fields: Fields<'_>, faults: &mut Vec<Fault>) -> limit::Rate {
    const COUNT: &str = "a whole number between 1 and 1000000";
    const SECS: &str = "a number between 0.001 and 86400";
    let count = fields.whole("count", COUNT);
    let secs = fields.number("per_secs", SECS);
    for (name, is_there, wanted) in
        [("count", count.is_some(), COUNT), ("per_secs", secs.is_some(), SECS)]
    {
        if !is_there && !fields.has_fault(name) {
            fields.fault(name, format!("must be given: {wanted}"));
        }
    }
    faults.extend(fields.finish());
    limit::Rate {
        count: count.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX)),
        per: secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()).unwrap_or(Duration::MAX),
    }
}

/// A tenant's share of every queue, beside the 1 of all others.
#[derive(Debug, Serialize, ToSchema)]
pub struct Weight {
    #[schema(example = "default")]
    pub tenant: String,
    #[schema(minimum = 0.01, maximum = 1000)]
    pub weight: f64,
}

/// Tenants whose weight is not 1.
#[derive(Debug, Serialize, ToSchema)]
pub struct Weights {
    pub weights: Vec<Weight>,
}

/// The share of a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWeight {
    /// 1 is what everybody has who was given nothing else.
    #[schema(minimum = 0.01, maximum = 1000)]
    pub weight: f64,
}

/// Reads a weight, or says all that is wrong with it.
pub fn read_weight(tenant: &str, body: &Value) -> Result<f64, Vec<Fault>> {
    let mut faults = tenant_faults(tenant);
    let Some(map) = body.as_object() else {
        faults.push(Fault::new("", "the body must be an object such as {\"weight\": 2}"));
        return Err(faults);
    };
    let wanted = format!("a number between {WEIGHT_MIN} and {WEIGHT_MAX}");
    let mut fields = Fields::new("", map);
    let weight = fields.number("weight", &wanted);
    match weight {
        Some(weight) if !(WEIGHT_MIN..=WEIGHT_MAX).contains(&weight) => {
            fields.fault("weight", format!("must be {wanted}"));
        }
        None if !fields.has_fault("weight") => {
            fields.fault("weight", format!("must be given: {wanted}"));
        }
        _ => {}
    }
    faults.extend(fields.finish());
    match weight {
        Some(weight) if faults.is_empty() => Ok(weight),
        _ => Err(faults),
    }
}

/// What is wrong with a name that a tenant is called by in an address.
pub fn tenant_faults(tenant: &str) -> Vec<Fault> {
    let chars = tenant.chars().count();
    if (1..=TENANT_CHARS_MAX).contains(&chars) && !tenant.chars().any(char::is_control) {
        return Vec::new();
    }
    let words = format!("must have 1 to {TENANT_CHARS_MAX} characters, none of them a control");
    vec![Fault::new("tenant", words)]
}
