//! What a client posts to have something built, read into a brief.
//!
//! `NewBuild` says its shape for the OpenAPI document; `Submission::read` reads it field by field.
//! A test holds the two together.

use base64::{Engine, prelude::BASE64_STANDARD};
use buildfleet::domain::{
    brief::{self, Brief, Budget, FEATURE_CHARS_MAX, Fault},
    dependency,
    event::Kind,
    sealing::Sealed,
    signing::{Key, Secret},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use super::{
    Complexity, EventType, OnLoss, OnTaskFailure, Time,
    build::Urls,
    fields::{Fields, not_a_word, nuls},
};
use crate::{Targets, webhook_target};

/// The only planner and writer there is: rules and templates, without a model.
pub const PROVIDER: &str = "rules";
const SECRET_CHARS: std::ops::RangeInclusive<usize> = 16..=256;
const SECRET_PREFIX: &str = "whsec_";
const COST_USD_MAX: f64 = 1_000_000.0;

/// A brief: what is to be built, and how.
#[derive(Debug, Serialize, ToSchema)]
#[schema(
    example = json!({
        "prompt": "Build a REST API for managing a book library with authors, books and loans",
        "framework": "fastapi",
        "priority": 2,
        "webhook": {
                "url": "https://example.com/hooks",
                "events": ["build_completed", "build_failed"],
            },
        "metadata": {"team": "library"}
    })
)]
#[serde(deny_unknown_fields)]
pub struct NewBuild {
    /// What to build, in your own words; not blank.
    #[schema(min_length = 1, max_length = 20000, pattern = r"\S")]
    pub prompt: String,
    /// Such as `api` or `cli`. Chosen from the prompt if absent.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    pub project_type: Option<String>,
    /// Such as `fastapi`, `express` or `python-cli`. Chosen from the prompt if absent; what cannot
    /// be served is built with what comes nearest, and the plan's notes say so.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    pub framework: Option<String>,
    pub complexity: Option<Complexity>,
    #[schema(max_items = 50)]
    pub features: Option<Vec<Feature>>,
    /// A name of yours that several builds may share; listings filter by it.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    pub project_id: Option<String>,
    /// Who plans and writes. Only `rules` is available in this version.
    #[schema(pattern = "^rules$", example = "rules")]
    pub provider: Option<String>,
    /// Whether the plan waits for `POST /v1/plans/{id}/approve`. The operator's choice if absent.
    pub require_approval: Option<bool>,
    /// Whether the rest goes on when a task fails for good. `continue` if absent.
    pub on_task_failure: Option<OnTaskFailure>,
    /// What a lost task means for those who wait for it, where the plan does not say. `skip` if
    /// absent.
    pub on_loss: Option<OnLoss>,
    /// 1 runs first, 5 last; 3 if absent.
    #[schema(minimum = 1, maximum = 5)]
    pub priority: Option<u8>,
    /// The build fails if it is not done this many seconds after it was posted.
    #[schema(minimum = 1, maximum = 604800)]
    pub deadline_secs: Option<u64>,
    /// Work with the same key is limited together, where the operator limits by key.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    pub limit_key: Option<String>,
    pub budget: Option<NewBudget>,
    /// Whether tasks that were done before may be answered with what was made then, and stand for
    /// others. `true` if absent.
    pub cache: Option<bool>,
    pub webhook: Option<NewWebhook>,
    /// Yours; given back as it is. At most 16 KiB as JSON.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
}

/// Something that the software must have.
#[derive(Debug, Serialize)]
pub struct Feature(pub String);

impl PartialSchema for Feature {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(FEATURE_CHARS_MAX))
            .pattern(Some(r"\S"))
            .into()
    }
}

impl ToSchema for Feature {}

/// What models may cost. Without a model nothing is spent, so any budget holds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBudget {
    #[schema(minimum = 0, maximum = 1000000)]
    pub max_cost_usd: Option<f64>,
    #[schema(minimum = 0)]
    pub max_tokens: Option<u64>,
}

/// Where to tell of the build's events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// `http` or `https`, without a user and without a fragment. Addresses of private networks are
    /// refused unless the operator allows them.
    #[schema(
        format = "uri",
        min_length = 1,
        max_length = 2048,
        example = "https://example.com/hooks"
    )]
    pub url: String,
    /// 16 to 256 visible characters; one that begins with `whsec_` goes on with the base64 of 24 to
    /// 64 bytes, and one that begins with `whsk_` is an Ed25519 key. Made for you, and told in the
    /// answer, if absent and the operator has set none.
    #[schema(min_length = 16, max_length = 256, pattern = "^[!-~]{16,256}$")]
    pub secret: Option<String>,
    /// Only these; all if absent or empty.
    pub events: Option<Vec<EventType>>,
}

/// A build was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    #[schema(example = "bld_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub id: String,
    pub state: super::BuildState,
    pub created_at: Time,
    pub urls: Urls,
    /// Only if a secret was made for the webhook: keep it, it is not shown again but to a
    /// repetition of this request under its idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<MadeSecret>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct MadeSecret {
    pub url: String,
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw6C5x1mBvJkM=")]
    pub secret: String,
}

/// What a client asked for, checked.
#[derive(Debug)]
pub struct Submission {
    /// `require_approval` is as asked, or false.
    pub brief: Brief,
    pub require_approval: Option<bool>,
    pub webhook: Option<Webhook>,
}

#[derive(Debug)]
pub struct Webhook {
    pub url: Url,
    pub secret: Option<SecretString>,
    pub events: Vec<Kind>,
}

impl Submission {
    /// Reads a body, or says all that is wrong with it.
    pub fn read(body: &Value, targets: &Targets) -> Result<Self, Vec<Fault>> {
        let Some(map) = body.as_object() else {
            return Err(vec![Fault::new(
                "",
                "the body must be an object such as {\"prompt\": ...}",
            )]);
        };
        let mut faults = Vec::new();
        nuls(body, "", &mut faults);

        let mut fields = Fields::new("", map);
        let mut inner = Vec::new();
        let brief = read_brief(&mut fields, &mut inner);
        let require_approval = fields.flag("require_approval");
        if let Some(provider) = fields.raw("provider")
            && provider.as_str() != Some(PROVIDER)
        {
            let words = format!("must be {PROVIDER:?}: this fleet has no other provider");
            fields.fault("provider", words);
        }
        let webhook = fields.object("webhook").and_then(|webhook| {
            read_webhook(Fields::new("webhook.", webhook), targets, &mut inner)
        });
        faults.extend(fields.finish());
        faults.extend(inner);

        // A field of the wrong type was read as if it were absent; that is no second fault.
        let named: Vec<String> = faults.iter().map(|fault| root(&fault.field).to_owned()).collect();
        faults.extend(
            brief
                .faults()
                .into_iter()
                .filter(|fault| !named.iter().any(|n| n == root(&fault.field))),
        );
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            brief: Brief { require_approval: require_approval.unwrap_or(false), ..brief },
            require_approval,
            webhook,
        })
    }
}

fn root(field: &str) -> &str {
    field.split(['.', '[']).next().unwrap_or(field)
}

fn read_brief(fields: &mut Fields<'_>, inner: &mut Vec<Fault>) -> Brief {
    let words = |words: &[&'static str]| words.to_vec();
    let complexities: Vec<_> = brief::Complexity::ALL.iter().map(|word| word.as_str()).collect();
    let courses: Vec<_> = brief::OnTaskFailure::ALL.iter().map(|word| word.as_str()).collect();
    let losses: Vec<_> = dependency::OnLoss::ALL.iter().map(|word| word.as_str()).collect();
    let priority = fields.whole("priority", "a whole number between 1 (first) and 5 (last)");
    Brief {
        prompt: fields.text("prompt").unwrap_or_default(),
        project_type: fields.text("project_type"),
        framework: fields.text("framework"),
        complexity: fields.word("complexity", &words(&complexities)),
        features: fields.texts("features").unwrap_or_default(),
        project_id: fields.text("project_id"),
        require_approval: false,
        on_task_failure: fields.word("on_task_failure", &words(&courses)).unwrap_or_default(),
        on_loss: fields.word("on_loss", &words(&losses)).unwrap_or_default(),
        priority: priority.map_or(3, |number| u8::try_from(number).unwrap_or(u8::MAX)),
        deadline_secs: fields.whole("deadline_secs", "a whole number of seconds"),
        limit_key: fields.text("limit_key"),
        budget: fields
            .object("budget")
            .map(|budget| read_budget(Fields::new("budget.", budget), inner))
            .unwrap_or_default(),
        cache: fields.flag("cache").unwrap_or(true),
        metadata: fields.object("metadata").cloned().unwrap_or_default(),
    }
}

fn read_budget(mut fields: Fields<'_>, faults: &mut Vec<Fault>) -> Budget {
    let cost_usd = fields.number("max_cost_usd", "a number of US dollars of at least 0");
    if cost_usd.is_some_and(|cost| COST_USD_MAX < cost) {
        fields.fault("max_cost_usd", format!("must be at most {COST_USD_MAX}"));
    }
    let tokens_max = fields.whole("max_tokens", "a whole number of at least 0");
    faults.extend(fields.finish());
    Budget { microusd_max: cost_usd.map(|cost| (cost * 1e6).round() as u64), tokens_max }
}

fn read_webhook(
    mut fields: Fields<'_>,
    targets: &Targets,
    faults: &mut Vec<Fault>,
) -> Option<Webhook> {
    let there = fields.raw("url").is_some();
    let url = match fields.text("url") {
        Some(text) => match webhook_target::read(&text, targets) {
            Ok(url) => Some(url),
            Err(why) => {
                fields.fault("url", why);
                None
            }
        },
        None if there => None,
        None => {
            fields.fault("url", "is needed: where to tell of the events");
            None
        }
    };
    let secret = fields.secret("secret");
    if let Some(why) = secret.as_ref().and_then(|secret| secret_fault(secret.expose_secret())) {
        fields.fault("secret", why);
    }
    let mut events = Vec::new();
    let words: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    for (index, value) in fields.list("events").into_iter().flatten().enumerate() {
        match value.as_str().and_then(|word| word.parse().ok()) {
            Some(kind) if events.contains(&kind) => {}
            Some(kind) => events.push(kind),
            None => fields.fault(&format!("events[{index}]"), not_a_word(value, &words)),
        }
    }
    faults.extend(fields.finish());
    Some(Webhook { url: url?, secret, events })
}

/// What a secret must be, if it is not so.
pub fn secret_fault(secret: &str) -> Option<String> {
    let (least, most) = (SECRET_CHARS.start(), SECRET_CHARS.end());
    if !SECRET_CHARS.contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Some(format!("must have {least} to {most} visible ASCII characters"));
    }
    if Sealed::read(secret).is_ok() {
        return Some("must be the secret itself, not a sealed one".to_owned());
    }
    let key = Secret::new(secret);
    if secret.starts_with(SECRET_PREFIX) && !Key::is_of_standard_length(&key) {
        return Some(format!("must be {SECRET_PREFIX} and the base64 of 24 to 64 bytes"));
    }
    // Nothing could ever be signed with it.
    Key::read(&key).err().map(|bad| format!("must be a key that signs: {bad}"))
}

/// Draws a secret as Standard Webhooks writes them.
pub fn draw_secret() -> SecretString {
    let bytes: [u8; 32] = rand::random();
    SecretString::from(format!("{SECRET_PREFIX}{}", BASE64_STANDARD.encode(bytes)))
}

/// SHA-256 of what was asked, in hex; the order of keys and blanks between them do not matter.
pub fn request_hash(body: &Value) -> String {
    hex::encode(Sha256::digest(sorted(body).to_string()))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_unstable_by_key(|(key, _)| *key);
            pairs.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(body: Value) -> Vec<(String, String)> {
        Submission::read(&body, &Targets::default())
            .unwrap_err()
            .into_iter()
            .map(|fault| (fault.field, fault.message))
            .collect()
    }

    fn fields(body: Value) -> Vec<String> {
        faults(body).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let fields = fields(json!({
            "promt": "a shop",
            "complexity": "huge",
            "features": ["search", 7],
            "provider": "anthropic",
            "require_approval": "yes",
            "priority": "high",
            "deadline_secs": 0,
            "limit_key": " ",
            "budget": {"max_cost_usd": -1, "max_tokens": 1.5, "max_euro": 1},
            "webhook": {"url": "ftp://example.com", "secret": "short", "events": ["build_done"]},
            "metadata": {"a": "\u{0}"},
        }));

        for wanted in [
            "promt",
            "prompt",
            "complexity",
            "features[1]",
            "provider",
            "require_approval",
            "priority",
            "deadline_secs",
            "limit_key",
            "budget.max_cost_usd",
            "budget.max_tokens",
            "budget.max_euro",
            "webhook.url",
            "webhook.secret",
            "webhook.events[0]",
            "metadata.a",
        ] {
            assert_eq!(fields.iter().filter(|f| *f == wanted).count(), 1, "{wanted} in {fields:?}");
        }
        assert_eq!(fields.len(), 16, "{fields:?}");
    }

    #[test]
    fn a_wrong_type_is_one_fault_that_says_what_would_be_right() {
        assert_eq!(
            faults(json!({"prompt": 7})),
            [("prompt".to_owned(), "must be a string, not 7".to_owned())]
        );
        assert_eq!(
            faults(
                json!({"prompt": "x", "webhook": {"url": "https://a.example", "events": ["task_complete"]}})
            ),
            [(
                "webhook.events[0]".to_owned(),
                format!(
                    "must be one of {}, not \"task_complete\" (did you mean task_completed?)",
                    Kind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
                )
            )]
        );
    }

    #[test]
    fn the_document_and_the_reader_know_the_same_fields() {
        let schema = serde_json::to_value(NewBuild::schema()).unwrap();
        let mut told: Vec<String> =
            schema["properties"].as_object().unwrap().keys().cloned().collect();
        told.sort_unstable();
        let (_, message) =
            faults(json!({"prompt": "x", "xxxxxxxxxxxxxxxx": 1})).into_iter().next().unwrap();
        let mut known: Vec<String> = message
            .strip_prefix("is not a field here; there are ")
            .unwrap()
            .split(", ")
            .map(str::to_owned)
            .collect();
        known.sort_unstable();

        assert_eq!(told, known);
    }

    #[test]
    fn secrets_are_taken_in_both_forms_and_no_other() {
        assert_eq!(secret_fault("sixteen-letters!"), None);
        assert_eq!(secret_fault(draw_secret().expose_secret()), None);
        assert!(secret_fault("fifteen-letters").is_some());
        assert!(secret_fault("with a blank in it").is_some());
        assert!(secret_fault("whsec_notbase64!!!!!").is_some());
        assert!(secret_fault(&format!("whsec_{}", BASE64_STANDARD.encode([7; 23]))).is_some());
        assert_eq!(secret_fault(Key::pair(&[7; 32]).expose()), None);
        assert!(secret_fault("whsk_not-an-ed25519-key").is_some());
        assert!(secret_fault(&format!("whpk_{}", BASE64_STANDARD.encode([7; 32]))).is_some());
    }

    #[test]
    fn the_order_of_keys_does_not_matter_to_the_hash() {
        let one = json!({"a": 1, "b": {"c": 2, "d": [1, 2]}});
        let other: Value = serde_json::from_str(r#"{ "b": {"d": [1,2], "c":2}, "a":1 }"#).unwrap();

        assert_eq!(request_hash(&one), request_hash(&other));
        assert_ne!(request_hash(&one), request_hash(&json!({"a": 1, "b": {"c": 2, "d": [2, 1]}})));
    }
}
