//! Work that was given up, as clients see it.

use buildfleet::{domain::attempt::QUARANTINED, job::Job, store};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Failure, Time};

/// Work that was given up, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedWork {
    pub kind: WorkKind,
    /// Of the build, task or delivery.
    #[schema(example = "tsk_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub id: String,
    pub build_id: String,
    pub tenant: String,
    /// Of a task, its name; of a delivery, the type of its event; of a build, how its prompt
    /// begins.
    pub name: String,
    /// Stable, for programs.
    #[schema(example = "quarantined")]
    pub code: String,
    /// For people.
    pub reason: String,
    /// It lost its workers, time after time: it may be what killed them.
    pub quarantined: bool,
    /// How many attempts were begun; of a build, at its planning.
    pub attempts: u32,
    /// How many attempts failed.
    pub failures: u32,
    /// How many attempts were lost with their worker.
    pub crashes: u32,
    /// What the first attempt came to that failed. Null for a build whose planning succeeded.
    pub first_error: Option<Failure>,
    pub last_error: Option<Failure>,
    pub failed_at: Time,
    /// Where its attempts are, as a path below this API's root.
    #[schema(example = "/v1/tasks/tsk_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub attempts_url: String,
}

/// A page of what was given up, last given up first.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedPage {
    pub failed: Vec<FailedWork>,
    /// Give it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
}

/// What kind of work it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    Build,
    Task,
    Delivery,
}

impl From<store::Failed> for FailedWork {
    fn from(failed: store::Failed) -> Self {
        let id = failed.place.job.to_string();
        let (kind, attempts_url) = match failed.place.job {
            Job::Plan(_) => (WorkKind::Build, format!("/v1/builds/{id}/attempts")),
            Job::Task(_) => (WorkKind::Task, format!("/v1/tasks/{id}")),
            Job::Delivery(_) => (WorkKind::Delivery, format!("/v1/deliveries/{id}")),
        };
        Self {
            kind,
            id,
            build_id: failed.build.to_string(),
            tenant: failed.tenant,
            name: failed.name,
            quarantined: failed.code == QUARANTINED,
            code: failed.code,
            reason: failed.reason,
            attempts: failed.attempt,
            failures: failed.failures,
            crashes: failed.crashes,
            first_error: failed.first.map(Failure::from),
            last_error: failed.last.map(Failure::from),
            failed_at: failed.at.into(),
            attempts_url,
        }
    }
}
