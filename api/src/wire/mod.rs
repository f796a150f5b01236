//! What goes over HTTP. Converted to and from the domain here, and named apart from it: a field
//! that is renamed inside keeps its name outside.

pub mod fields;
pub mod submission;
pub mod build;
pub mod plan;
pub mod changes;
pub mod event;
pub mod file;
pub mod delivery;
pub mod endpoint;
pub mod fleet;
pub mod limit;
pub mod waiting;
pub mod audit;
pub mod failed;
pub mod bulk;
pub mod replay;

use std::borrow::Cow;

use buildfleet::{
    domain::{
        attempt, brief, build as build_rules, delivery as delivery_rules, event as event_rules,
    },
    domain::{limit as limit_rules, plan as plan_rules, task as task_rules},
    job,
    store::At,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

/// An instant: RFC 3339 with milliseconds, in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-21T12:00:00.000Z")]
pub struct Time(String);

impl From<At> for Time {
    fn from(At(ms): At) -> Self {
        // The store's clock stays within the years that a timestamp can tell.
        Time(format!("{:.3}", Timestamp::from_millisecond(ms).unwrap_or_default()))
    }
}

/// A word of the domain on the wire, and in the OpenAPI document with all its kin.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident from $domain:ty;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Serialize)]
        pub struct $name(&'static str);

        impl From<$domain> for $name {
            fn from(word: $domain) -> Self {
                Self(word.as_str())
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = <$domain>::ALL.iter().map(|word| word.as_str());
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )+};
}

words! {
    BuildState from build_rules::State;
    EndpointState from buildfleet::domain::endpoint::State;
    ReplayState from buildfleet::store::ReplayState;
    PlanState from plan_rules::State;
    TaskState from task_rules::State;
    TaskPhase from task_rules::Phase;
    TaskOperation from task_rules::Operation;
    AttemptState from attempt::State;
    FailureKind from attempt::FailureKind;
    DeliveryState from delivery_rules::State;
    EventType from event_rules::Kind;
    Complexity from brief::Complexity;
    OnTaskFailure from brief::OnTaskFailure;
    /// What the loss of a task means for one that waits for it.
    OnLoss from buildfleet::domain::dependency::OnLoss;
    QueueName from job::Lane;
    CountedBy from limit_rules::By;
}

/// Why an attempt came to nothing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Failure {
    pub kind: FailureKind,
    /// Stable, for programs.
    #[schema(example = "timed_out")]
    pub code: String,
    /// For people.
    #[schema(example = "Task timed out after 60 seconds")]
    pub reason: String,
}

impl From<attempt::Failure> for Failure {
    fn from(failure: attempt::Failure) -> Self {
        Self { kind: failure.kind.into(), code: failure.code, reason: failure.reason }
    }
}

/// The body of every error.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorWords,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ErrorWords {
    /// Stable, in snake case, for programs.
    #[schema(example = "not_found")]
    pub code: String,
    /// For people.
    #[schema(example = "bld_01KAJM5Q3V9K2M4N6P7R8S9T0A does not exist")]
    pub message: String,
    /// More for programs: the fields of a body that are not as they should be, the place where JSON
    /// breaks off; or null.
    #[schema(value_type = Option<Object>)]
    pub detail: Option<Value>,
    /// Also in the header `X-Request-Id`; finds the request in the logs.
    #[schema(example = "req_5f1d0c2b9a8e7d6c5b4a3928")]
    pub request_id: String,
}
