//! A build as clients see it.

use std::time::Duration;

use buildfleet::{
    domain::build::{State, Stop},
    store,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    BuildState, Complexity, OnLoss, OnTaskFailure, TaskPhase, Time,
    waiting::{Pause, Waiting},
};

#[derive(Debug, Serialize, ToSchema)]
pub struct Build {
    #[schema(example = "bld_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub id: String,
    pub state: BuildState,
    #[schema(example = "Build a REST API for managing a book library")]
    pub prompt: String,
    /// As asked; what was chosen stands in the plan.
    pub project_type: Option<String>,
    /// As asked; what was chosen stands in the plan.
    #[schema(example = "fastapi")]
    pub framework: Option<String>,
    /// As asked; what was chosen stands in the plan.
    pub complexity: Option<Complexity>,
    pub features: Vec<String>,
    pub project_id: Option<String>,
    pub require_approval: bool,
    pub on_task_failure: OnTaskFailure,
    /// What a lost task means for those who wait for it, where the plan does not say.
    pub on_loss: OnLoss,
    /// 1 runs first, 5 last.
    pub priority: u8,
    pub deadline_secs: Option<u64>,
    /// Work with the same key is limited together.
    pub limit_key: Option<String>,
    pub budget: Budget,
    /// How much of the work has come to an end, in percent, with one decimal.
    #[schema(minimum = 0, maximum = 100, example = 62.5)]
    pub progress: f64,
    /// It, or its tenant, is paused: nothing of it is begun, what runs goes on.
    pub paused: Option<Pause>,
    /// Why nobody plans it yet; null once somebody has begun. For its tasks, see there.
    pub waiting: Option<Waiting>,
    /// `planning`, then the earliest phase with open tasks; null at the end.
    pub current_phase: Option<Phase>,
    pub tasks: TaskCounts,
    /// Null before there is a plan.
    pub estimate: Option<Estimate>,
    pub usage: Usage,
    /// Why it did not complete.
    pub error: Option<BuildError>,
    /// Null before there is a plan.
    #[schema(example = "pln_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub plan_id: Option<String>,
    /// The task of another build in whose middle this one began.
    #[schema(example = "tsk_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub forked_from: Option<String>,
    /// What is built otherwise than asked, in sentences. Only where one build is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub notes: Option<Vec<String>>,
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    pub webhook: Option<BuildWebhook>,
    pub created_at: Time,
    /// When planning began.
    pub started_at: Option<Time>,
    pub finished_at: Option<Time>,
    pub updated_at: Time,
    pub urls: Urls,
}

/// `planning` or a phase of tasks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Phase {
    Planning(Planning),
    Of(TaskPhase),
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Planning {
    Planning,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Budget {
    pub max_cost_usd: Option<f64>,
    pub max_tokens: Option<u64>,
}

/// How many tasks are in each state.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskCounts {
    pub total: u32,
    pub pending: u32,
    pub ready: u32,
    pub in_progress: u32,
    pub completed: u32,
    pub failed: u32,
    pub skipped: u32,
    pub cancelled: u32,
}

/// Along the longest chain of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Estimate {
    /// By the tasks' own estimates.
    pub total_secs: u32,
    /// Where one build is asked for, and while it executes: along the longest chain of what is
    /// open, by how long such work took of late. Else in proportion to the tasks that are open.
    pub remaining_secs: u32,
    /// When it is done if nothing has to wait for a worker. Only where one build is asked for, and
    /// while it executes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub estimated_completion_at: Option<Time>,
}

impl Estimate {
    /// The same, once it has been measured how long the build will still take, counted from `now`.
    pub fn measured(self, remaining: Duration, now: jiff::Timestamp) -> Self {
        let secs = remaining.as_secs_f64().ceil();
        let millis = i64::try_from(remaining.as_millis()).unwrap_or(i64::MAX);
        let at = store::At(now.as_millisecond().saturating_add(millis));
        Self { remaining_secs: secs as u32, estimated_completion_at: Some(at.into()), ..self }
    }
}

/// What models were asked for. Rules and templates ask none, so all of it is zero.
#[derive(Debug, Serialize, ToSchema)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost_usd: f64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BuildError {
    /// `planning_failed`, `circular_dependencies`, `plan_rejected`, `plan_not_approved`,
    /// `tasks_failed`, `cancelled`, `deadline_passed` or `plan_timeout`.
    #[schema(example = "tasks_failed")]
    pub code: String,
    #[schema(example = "2 of 14 tasks did not complete")]
    pub message: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BuildWebhook {
    pub url: String,
    #[schema(example = "end_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub endpoint_id: String,
}

/// Where to go on, as paths below this API's root.
#[derive(Debug, Serialize, ToSchema)]
pub struct Urls {
    #[serde(rename = "self")]
    #[schema(example = "/v1/builds/bld_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub this: String,
    pub events: String,
    pub files: String,
    pub archive: String,
}

impl Urls {
    pub fn of(build: &store::Build) -> Self {
        let this = format!("/v1/builds/{}", build.id);
        Self {
            events: format!("{this}/events"),
            files: format!("{this}/files"),
            archive: format!("{this}/archive"),
            this,
        }
    }
}

/// A page of builds, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Builds {
    pub builds: Vec<Build>,
    /// Give it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
}

impl From<store::Build> for Build {
    fn from(build: store::Build) -> Self {
        let tasks = TaskCounts::of(&build);
        Self {
            progress: progress(build.state, &tasks),
            current_phase: phase(&build),
            estimate: build.estimated_secs.map(|total_secs| Estimate {
                total_secs,
                remaining_secs: remaining(build.state, total_secs, &tasks),
                estimated_completion_at: None,
            }),
            tasks,
            usage: Usage { input_tokens: 0, output_tokens: 0, cost_usd: 0.0 },
            error: build.stop.clone().map(|Stop { code, message }| BuildError { code, message }),
            plan_id: build.plan.map(|plan| plan.to_string()),
            forked_from: build.forked_from.map(|task| task.to_string()),
            notes: None,
            paused: None,
            waiting: None,
            webhook: build.webhook.as_ref().map(|webhook| BuildWebhook {
                url: webhook.url.clone(),
                endpoint_id: webhook.endpoint.to_string(),
            }),
            urls: Urls::of(&build),
            id: build.id.to_string(),
            state: build.state.into(),
            created_at: build.created_at.into(),
            started_at: build.started_at.map(Time::from),
            finished_at: build.settled_at.map(Time::from),
            updated_at: build.updated_at.into(),
            budget: Budget {
                max_cost_usd: build.brief.budget.microusd_max.map(|micro| micro as f64 / 1e6),
                max_tokens: build.brief.budget.tokens_max,
            },
            prompt: build.brief.prompt,
            project_type: build.brief.project_type,
            framework: build.brief.framework,
            complexity: build.brief.complexity.map(Complexity::from),
            features: build.brief.features,
            project_id: build.brief.project_id,
            require_approval: build.brief.require_approval,
            on_task_failure: build.brief.on_task_failure.into(),
            on_loss: build.brief.on_loss.into(),
            priority: build.brief.priority,
            deadline_secs: build.brief.deadline_secs,
            limit_key: build.brief.limit_key,
            metadata: build.brief.metadata,
        }
    }
}

impl TaskCounts {
    fn of(build: &store::Build) -> Self {
        let [pending, ready, in_progress] = build.open_tasks;
        let tally = build.tally;
        Self {
            total: tally.tasks,
            pending,
            ready,
            in_progress,
            completed: tally.completed,
            failed: tally.failed,
            skipped: tally.skipped,
            cancelled: tally.cancelled,
        }
    }

    fn open(&self) -> u32 {
        self.pending + self.ready + self.in_progress
    }
}

fn phase(build: &store::Build) -> Option<Phase> {
    match build.state {
        State::Queued | State::Planning | State::PendingApproval => {
            Some(Phase::Planning(Planning::Planning))
        }
        State::Executing => build.open_phase.map(|phase| Phase::Of(phase.into())),
        State::Completed | State::Failed | State::Cancelled => None,
    }
}

/// While it runs, what has come to an end counts; in the end, what has completed does.
fn progress(state: State, tasks: &TaskCounts) -> f64 {
    if state == State::Completed {
        return 100.0;
    }
    if tasks.total == 0 {
        return 0.0;
    }
    let done =
        if state.is_final() { tasks.completed } else { tasks.total.saturating_sub(tasks.open()) };
    // Rounded down, so that 100 is not said before the end.
    (f64::from(done) / f64::from(tasks.total) * 1000.0).floor() / 10.0
}

fn remaining(state: State, total_secs: u32, tasks: &TaskCounts) -> u32 {
    if state.is_final() || tasks.total == 0 {
        return 0;
    }
    let secs = u64::from(total_secs) * u64::from(tasks.open());
    u32::try_from(secs.div_ceil(tasks.total.into())).unwrap_or(total_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ready: u32, completed: u32, failed: u32) -> TaskCounts {
        TaskCounts {
            total: ready + completed + failed,
            pending: 0,
            ready,
            in_progress: 0,
            completed,
            failed,
            skipped: 0,
            cancelled: 0,
        }
    }

    #[test]
    fn progress_is_a_hundred_only_when_the_build_has_completed() {
        assert_eq!(progress(State::Queued, &counts(0, 0, 0)), 0.0);
        assert_eq!(progress(State::Executing, &counts(2, 1, 0)), 33.3);
        assert_eq!(progress(State::Executing, &counts(1, 9_999, 0)), 99.9);
        assert_eq!(progress(State::Failed, &counts(0, 3, 1)), 75.0);
        assert_eq!(progress(State::Completed, &counts(0, 3, 0)), 100.0);
    }

    #[test]
    fn what_remains_shrinks_with_the_open_tasks() {
        assert_eq!(remaining(State::Executing, 100, &counts(3, 0, 0)), 100);
        assert_eq!(remaining(State::Executing, 100, &counts(1, 2, 0)), 34);
        assert_eq!(remaining(State::Failed, 100, &counts(0, 2, 1)), 0);
    }
}
