//! Endpoints of a tenant as clients see them and ask for them.

use std::{collections::BTreeMap, time::Duration};

use buildfleet::{
    domain::{
        brief::Fault,
        endpoint::{self, Filter, GRACE, GRACE_MAX, Profile, Settings},
        limit,
    },
    store,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    EndpointState, Time,
    fields::{Fields, nuls},
    limit::{Rate, read_rate},
    submission::{draw_secret, secret_fault},
};
use crate::{Targets, webhook_target};

/// What an endpoint is sent unless it says otherwise: ten a second.
const RATE: limit::Rate = limit::Rate { count: 10, per: Duration::from_secs(1) };
const UNLIMITED: &str = "unlimited";

/// Whoever is told what happens in all builds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Endpoint {
    #[schema(example = "end_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub id: String,
    /// Null for one that hears of all builds.
    pub build_id: Option<String>,
    pub url: String,
    /// Kinds of event, and patterns such as `task_*`. Empty: everything about builds.
    pub events: Vec<String>,
    /// The names of its own headers; values are not shown.
    pub headers: Vec<String>,
    /// Null: as many as it takes.
    pub rate: Option<Rate>,
    /// Requests on their way at once, over the whole fleet. Null: as many as it takes.
    pub concurrency: Option<u32>,
    pub retry: Retry,
    /// Whether events of one build come one after the other.
    pub ordered: bool,
    pub description: String,
    pub state: EndpointState,
    /// Why it is disabled.
    pub reason: Option<String>,
    pub secrets: Vec<LiveSecret>,
    pub health: Health,
    pub created_at: Time,
    pub updated_at: Time,
}

/// A secret that signs. Newest first; the secret itself is not shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveSecret {
    /// Null for the newest.
    pub until: Option<Time>,
}

/// How it fares.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Requests are lost on it: nothing is sent but one now and then, and no attempt is spent.
    pub is_open: bool,
    /// Nothing is sent before then.
    pub held_until: Option<Time>,
    /// Since when nothing has arrived; null if the newest has.
    pub failing_since: Option<Time>,
    pub failures_in_a_row: u32,
    /// Requests that may be on their way at once; grows while answers come soon.
    pub window: u32,
    /// Requests a second, once it has said that there are too many.
    pub pace: Option<f64>,
}

/// `required`: five attempts, after 1, 2, 4 and 8 seconds. `standard`: eleven within three days. Or
/// the wait before each retry, in seconds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Retry {
    Profile(String),
    Waits(Vec<f64>),
}

impl From<store::Endpoint> for Endpoint {
    fn from(endpoint: store::Endpoint) -> Self {
        let health = endpoint.health;
        Self {
            id: endpoint.id.to_string(),
            build_id: endpoint.build.map(|id| id.to_string()),
            url: endpoint.settings.url,
            events: endpoint.settings.events.0,
            headers: endpoint.settings.headers.into_keys().collect(),
            rate: endpoint
                .settings
                .rate
                .map(|rate| Rate { count: rate.count, per_secs: rate.per.as_secs_f64() }),
            concurrency: endpoint.settings.concurrency,
            retry: match endpoint.settings.retry {
                Profile::Required => Retry::Profile("required".to_owned()),
                Profile::Standard => Retry::Profile("standard".to_owned()),
                Profile::Own(waits) => {
                    Retry::Waits(waits.iter().map(Duration::as_secs_f64).collect())
                }
            },
            ordered: endpoint.settings.ordered,
            description: endpoint.settings.description,
            state: endpoint.state.into(),
            reason: endpoint.reason,
            secrets: endpoint
                .secrets
                .into_iter()
                .map(|kept| LiveSecret { until: kept.until.map(Time::from) })
                .collect(),
            health: Health {
                is_open: health.is_open(),
                held_until: endpoint.held_until.map(Time::from),
                failing_since: endpoint.failing_since.map(Time::from),
                failures_in_a_row: health.streak,
                window: health.window as u32,
                pace: health.pace,
            },
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
        }
    }
}

/// An endpoint and its newest secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointWithSecret {
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Keep it; it is not shown again.
    pub secret: String,
}

impl EndpointWithSecret {
    pub fn of(endpoint: store::Endpoint, secret: &SecretString) -> Self {
        Self { endpoint: endpoint.into(), secret: secret.expose_secret().to_owned() }
    }
}

/// A page of endpoints, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Endpoints {
    pub endpoints: Vec<Endpoint>,
    /// Give it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
}

/// An endpoint as it is asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    #[schema(max_length = 2000, example = "https://example.com/hooks")]
    pub url: String,
    /// One is made if absent. Not for a change; see `rotate`.
    pub secret: Option<String>,
    /// Kinds of event, and patterns such as `task_*`. Everything about builds if absent.
    #[schema(max_items = 50)]
    pub events: Option<Vec<String>>,
    /// Sent with every request. A change without them leaves them as they are, and a value of null
    /// leaves that one.
    pub headers: Option<BTreeMap<String, Option<String>>>,
    /// Ten a second if absent; or `unlimited`.
    #[schema(value_type = Option<Object>)]
    pub rate: Option<Value>,
    /// As many as it takes if absent.
    #[schema(minimum = 1, maximum = 10000)]
    pub concurrency: Option<u32>,
    /// `required` if absent.
    pub retry: Option<Retry>,
    /// True if absent.
    pub ordered: Option<bool>,
    #[schema(max_length = 500)]
    pub description: Option<String>,
}

/// Reads an endpoint, or says all that is wrong with it. `before`: the headers that it has, if it
/// is being changed; then it has its secret already.
pub fn read_endpoint(
    body: &Value,
    targets: &Targets,
    before: Option<&BTreeMap<String, String>>,
) -> Result<(Settings, Option<SecretString>), Vec<Fault>> {
    let Some(map) = body.as_object() else {
        let words = "the body must be an object such as {\"url\": \"https://example.com/hooks\"}";
        return Err(vec![Fault::new("", words)]);
    };
    let mut faults = Vec::new();
    nuls(body, "", &mut faults);
    let mut fields = Fields::new("", map);
    let mut inner = Vec::new();
    let is_there = fields.raw("url").is_some();
    let url = fields.text("url").unwrap_or_default();
    if !is_there {
        fields.fault("url", "is needed: where to tell of the events");
    } else if let (false, Err(why)) = (url.is_empty(), webhook_target::read(&url, targets)) {
        fields.fault("url", why);
    }
    let secret = if before.is_none() { read_secret(&mut fields) } else { None };
    let settings = Settings {
        events: Filter(fields.texts("events").unwrap_or_default()),
        headers: read_headers(&mut fields, before, &mut inner),
        rate: match fields.raw("rate") {
            None => Some(RATE),
            Some(Value::String(word)) if word == UNLIMITED => None,
            Some(Value::Object(rate)) => Some(read_rate(Fields::new("rate.", rate), &mut inner)),
            Some(_) => {
                let wanted =
                    "must be unlimited, or an object such as {\"count\": 10, \"per_secs\": 1}";
                fields.fault("rate", wanted);
                Some(RATE)
            }
        },
        concurrency: fields
            .whole("concurrency", "a whole number between 1 and 10000")
            .map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        retry: match fields.raw("retry").map(|retry| serde_json::from_value(retry.clone())) {
            None => Profile::Required,
            Some(Ok(profile)) => profile,
            Some(Err(error)) => {
                fields.fault("retry", error.to_string());
                Profile::Required
            }
        },
        ordered: fields.flag("ordered").unwrap_or(true),
        description: fields.text("description").unwrap_or_default(),
        ..Settings::of(url)
    };
    faults.extend(fields.finish());
    faults.extend(inner);
    // What is not of its type was read as if it were absent; that is no second fault.
    for fault in settings.faults() {
        if !faults.iter().any(|named| named.field == fault.field) {
            faults.push(fault);
        }
    }
    if faults.is_empty() { Ok((settings, secret)) } else { Err(faults) }
}

fn read_secret(fields: &mut Fields<'_>) -> Option<SecretString> {
    let secret = fields.secret("secret");
    if let Some(why) = secret.as_ref().and_then(|secret| secret_fault(secret.expose_secret())) {
        fields.fault("secret", why);
    }
    secret
}

fn read_headers(
    fields: &mut Fields<'_>,
    before: Option<&BTreeMap<String, String>>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, String> {
    let Some(given) = fields.object("headers") else { return before.cloned().unwrap_or_default() };
    let mut headers = BTreeMap::new();
    for (name, value) in given {
        let kept = before.and_then(|before| before.get(name));
        match (value, kept) {
            (Value::String(value), _) => headers.insert(name.to_ascii_lowercase(), value.clone()),
            (Value::Null, Some(kept)) => headers.insert(name.clone(), kept.clone()),
            _ => {
                faults.push(Fault::new(format!("headers.{name}"), "must be a string"));
                None
            }
        };
    }
    headers
}

/// A new secret for an endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// One is made if absent.
    pub secret: Option<String>,
    /// How long the one before goes on signing beside it: a day if absent.
    #[schema(minimum = 0, maximum = 604800)]
    pub grace_secs: Option<u64>,
}

/// Reads a rotation, or says all that is wrong with it.
pub fn read_rotation(body: Option<&Value>) -> Result<(SecretString, Duration), Vec<Fault>> {
    let empty = Value::Object(serde_json::Map::new());
    let Some(map) = body.unwrap_or(&empty).as_object() else {
        return Err(vec![Fault::new("", "the body must be an object, or nothing")]);
    };
    let mut fields = Fields::new("", map);
    let secret = read_secret(&mut fields);
    let grace = fields.whole("grace_secs", "a whole number between 0 and 604800");
    let grace = grace.map_or(GRACE, Duration::from_secs);
    if GRACE_MAX < grace {
        fields.fault("grace_secs", "must be between 0 and 604800");
    }
    let faults = fields.finish();
    if faults.is_empty() { Ok((secret.unwrap_or_else(draw_secret), grace)) } else { Err(faults) }
}

/// Why an endpoint is disabled.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Disabling {
    #[schema(max_length = 500)]
    pub reason: Option<String>,
}

/// Reads why, or says what is wrong with it.
pub fn read_disabling(body: Option<&Value>) -> Result<String, Vec<Fault>> {
    let empty = Value::Object(serde_json::Map::new());
    let Some(map) = body.unwrap_or(&empty).as_object() else {
        return Err(vec![Fault::new("", "the body must be an object, or nothing")]);
    };
    let mut faults = Vec::new();
    nuls(body.unwrap_or(&empty), "", &mut faults);
    let mut fields = Fields::new("", map);
    let reason = fields.text("reason").unwrap_or_else(|| "disabled by hand".to_owned());
    if endpoint::DESCRIPTION_CHARS_MAX < reason.chars().count() {
        fields.fault("reason", "must have at most 500 characters");
    }
    faults.extend(fields.finish());
    if faults.is_empty() { Ok(reason) } else { Err(faults) }
}
