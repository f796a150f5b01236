//! The facts we tell others, with their wire names and the data that goes with them.
//!
//! An event is written once, by the statement that makes it true, and never changed. Its data is
//! what S2-40 to S2-47 give, in camel case; every view of the log (SSE, JSON, webhooks) shows the
//! same.

use serde_json::{Value, json};

use super::{
    attempt::Failure,
    build::Stop,
    endpoint::health::Notice,
    id::{BuildId, DeliveryId, EndpointId, PlanId, TaskId},
    plan::OrderedWrites,
    words,
};

/// What kind of fact it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    BuildStarted,
    PlanPartial,
    PlanWarning,
    PlanBlocked,
    PlanGenerated,
    PlanApproved,
    PlanRejected,
    PlanRetrying,
    TasksAdded,
    TaskStarted,
    TaskRetrying,
    TaskCompleted,
    TaskFailed,
    TaskTimeout,
    TaskSkipped,
    TaskCancelled,
    TaskRetried,
    BuildCompleted,
    BuildFailed,
    BuildCancelled,
    BuildRetried,
    BuildForked,
    /// About an endpoint, not about a build.
    EndpointTest,
    EndpointFailing,
    EndpointDisabled,
    EndpointRecovered,
    DeliveryExhausted,
}

words!(Kind {
    BuildStarted = "build_started",
    PlanPartial = "plan_partial",
    PlanWarning = "plan_warning",
    PlanBlocked = "plan_blocked",
    PlanGenerated = "plan_generated",
    PlanApproved = "plan_approved",
    PlanRejected = "plan_rejected",
    PlanRetrying = "plan_retrying",
    TasksAdded = "tasks_added",
    TaskStarted = "task_started",
    TaskRetrying = "task_retrying",
    TaskCompleted = "task_completed",
    TaskFailed = "task_failed",
    TaskTimeout = "task_timeout",
    TaskSkipped = "task_skipped",
    TaskCancelled = "task_cancelled",
    TaskRetried = "task_retried",
    BuildCompleted = "build_completed",
    BuildFailed = "build_failed",
    BuildCancelled = "build_cancelled",
    BuildRetried = "build_retried",
    BuildForked = "build_forked",
    EndpointTest = "endpoint_test",
    EndpointFailing = "endpoint_failing",
    EndpointDisabled = "endpoint_disabled",
    EndpointRecovered = "endpoint_recovered",
    DeliveryExhausted = "delivery_exhausted",
});

impl Kind {
    /// Whether the build has come to an end with it; a retry may open it again.
    pub const fn ends_build(self) -> bool {
        matches!(self, Kind::BuildCompleted | Kind::BuildFailed | Kind::BuildCancelled)
    }

    /// Whether it is told about an endpoint, to whoever runs it, and is in no build's log.
    pub const fn is_about_endpoints(self) -> bool {
        matches!(
            self,
            Kind::EndpointTest
                | Kind::EndpointFailing
                | Kind::EndpointDisabled
                | Kind::EndpointRecovered
                | Kind::DeliveryExhausted
        )
    }
}

/// A fact about a build, before it has a place in its log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub kind: Kind,
    /// An object in camel case.
    pub data: Value,
}

/// A task as events name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRef {
    pub id: TaskId,
    pub name: String,
}

/// How a build stands when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub tasks: u32,
    pub completed: u32,
    pub failed: u32,
    pub skipped: u32,
    pub cancelled: u32,
    pub files: u32,
}

impl Event {
    fn of(kind: Kind, data: Value) -> Self {
        Self { kind, data }
    }

    pub fn build_started(prompt: &str, framework: Option<&str>) -> Self {
        Self::of(Kind::BuildStarted, json!({ "prompt": prompt, "framework": framework }))
    }

    /// Tells an endpoint that it is heard of.
    pub fn endpoint_test(endpoint: EndpointId) -> Self {
        Self::of(
            Kind::EndpointTest,
            json!({ "endpointId": endpoint, "message": "This is a test; nothing has happened." }),
        )
    }

    /// What the owner of an endpoint is told about it.
    pub fn of_endpoint(endpoint: EndpointId, url: &str, notice: &Notice) -> Self {
        let about = |kind, name: &str, value: Value| {
            Self::of(kind, json!({ "endpointId": endpoint, "url": url, name: value }))
        };
        match notice {
            Notice::Failing { percent } => about(Kind::EndpointFailing, "percent", json!(percent)),
            Notice::Disabled { reason } => about(Kind::EndpointDisabled, "reason", json!(reason)),
            Notice::Recovered => {
                Self::of(Kind::EndpointRecovered, json!({ "endpointId": endpoint, "url": url }))
            }
        }
    }

    pub fn delivery_exhausted(
        delivery: DeliveryId,
        endpoint: EndpointId,
        build: BuildId,
        kind: Kind,
        failure: &Failure,
    ) -> Self {
        Self::of(
            Kind::DeliveryExhausted,
            json!({
                "deliveryId": delivery,
                "endpointId": endpoint,
                "buildId": build,
                "event": kind,
                "error": failure.reason,
            }),
        )
    }

    /// `latest` are name, operation and description of the tasks drafted since the last one.
    pub fn plan_partial(plan: PlanId, so_far: usize, latest: &[(&str, &str, &str)]) -> Self {
        Self::of(
            Kind::PlanPartial,
            json!({ "planId": plan, "totalTasksSoFar": so_far, "latestTasks": listed(latest) }),
        )
    }

    pub fn plan_generated(
        plan: PlanId,
        estimated_secs: u32,
        tasks: &[(&str, &str, &str)],
        notes: &[String],
        needs_approval: bool,
    ) -> Self {
        Self::of(
            Kind::PlanGenerated,
            json!({
                "planId": plan,
                "taskCount": tasks.len(),
                "estimatedDuration": estimated_secs,
                "tasks": listed(tasks),
                "notes": notes,
                "needsApproval": needs_approval,
            }),
        )
    }

    pub fn plan_warning(plan: PlanId, cycles: &[Vec<String>]) -> Self {
        Self::of(
            Kind::PlanWarning,
            json!({
                "planId": plan,
                "warning": "sequential_execution",
                "message": "Some tasks waited for each other in a circle, \
                            so all tasks run one after the other.",
                "cycles": cycles,
            }),
        )
    }

    /// Who waits for whom only because both write one path; the first hundred of them.
    pub fn plan_ordered(plan: PlanId, ordered: &[OrderedWrites]) -> Self {
        let writes: Value = ordered
            .iter()
            .take(100)
            .map(|one| json!({ "path": one.path, "first": one.first, "then": one.then }))
            .collect();
        Self::of(
            Kind::PlanWarning,
            json!({
                "planId": plan,
                "warning": "ordered_writes",
                "message": "Some tasks write the same path, so they run one after the other.",
                "count": ordered.len(),
                "writes": writes,
            }),
        )
    }

    pub fn plan_blocked(plan: PlanId, cycles: &[Vec<String>]) -> Self {
        Self::of(
            Kind::PlanBlocked,
            json!({
                "planId": plan,
                "reason": "circular_dependencies",
                "cycles": cycles,
                "editUrl": format!("/api/plans/{plan}/edit"),
            }),
        )
    }

    pub fn plan_approved(plan: PlanId) -> Self {
        Self::of(Kind::PlanApproved, json!({ "planId": plan }))
    }

    pub fn plan_rejected(plan: PlanId, reason: &str) -> Self {
        Self::of(Kind::PlanRejected, json!({ "planId": plan, "reason": reason }))
    }

    pub fn plan_retrying(attempt: u32, failure: &Failure, after_ms: u64) -> Self {
        Self::of(
            Kind::PlanRetrying,
            json!({ "attempt": attempt, "error": failure.reason, "retryInMs": after_ms }),
        )
    }

    pub fn task_started(task: &TaskRef, description: &str, attempt: u32) -> Self {
        Self::of(
            Kind::TaskStarted,
            json!({
                "taskId": task.id,
                "taskName": task.name,
                "description": description,
                "attempt": attempt,
            }),
        )
    }

    pub fn task_retrying(task: &TaskRef, attempt: u32, failure: &Failure, after_ms: u64) -> Self {
        Self::of(
            Kind::TaskRetrying,
            json!({
                "taskId": task.id,
                "taskName": task.name,
                "attempt": attempt,
                "error": failure.reason,
                "retryInMs": after_ms,
            }),
        )
    }

    /// `cached`: the work was done before, and not again.
    pub fn task_completed(task: &TaskRef, files: &[&str], cached: bool) -> Self {
        let mut data = json!({ "taskId": task.id, "taskName": task.name, "filesCreated": files });
        if cached {
            data["cached"] = true.into();
        }
        Self::of(Kind::TaskCompleted, data)
    }

    /// `task_timeout` where the failure was a time limit, `task_failed` otherwise.
    pub fn task_failed(task: &TaskRef, failure: &Failure) -> Self {
        if failure.code == super::attempt::TIMED_OUT {
            return Self::of(
                Kind::TaskTimeout,
                json!({
                    "taskId": task.id,
                    "taskName": task.name,
                    "suggestion": "Retry or skip this task",
                }),
            );
        }
        Self::of(
            Kind::TaskFailed,
            json!({ "taskId": task.id, "taskName": task.name, "error": failure.reason }),
        )
    }

    /// `because` is the task whose loss it shares; `None` if a person wanted it left out, or if it
    /// was added too late.
    pub fn task_skipped(task: &TaskRef, because: Option<&TaskRef>) -> Self {
        let because = because.map(|task| task.id);
        Self::of(
            Kind::TaskSkipped,
            json!({ "taskId": task.id, "taskName": task.name, "because": because }),
        )
    }

    pub fn task_cancelled(task: &TaskRef) -> Self {
        Self::of(Kind::TaskCancelled, json!({ "taskId": task.id, "taskName": task.name }))
    }

    /// `tasks` is how many tasks run again with it.
    pub fn task_retried(task: &TaskRef, tasks: usize) -> Self {
        Self::of(
            Kind::TaskRetried,
            json!({ "taskId": task.id, "taskName": task.name, "taskCount": tasks }),
        )
    }

    /// `added` are name, operation and description of each; `tasks` is how many the build has with
    /// them; `by` the task that asked for them, if one did.
    pub fn tasks_added(added: &[(&str, &str, &str)], tasks: u32, by: Option<&TaskRef>) -> Self {
        let by = by.map(|task| task.id);
        Self::of(
            Kind::TasksAdded,
            json!({ "addedTasks": listed(added), "taskCount": tasks, "addedBy": by }),
        )
    }

    pub fn build_completed(tally: Tally) -> Self {
        Self::of(Kind::BuildCompleted, tallied(tally))
    }

    pub fn build_failed(stop: &Stop, tally: Tally) -> Self {
        let mut data = tallied(tally);
        data["error"] = json!({ "code": stop.code, "message": stop.message });
        Self::of(Kind::BuildFailed, data)
    }

    pub fn build_cancelled(tally: Tally) -> Self {
        Self::of(Kind::BuildCancelled, tallied(tally))
    }

    /// The first event of a build that begins in the middle of another, at one of its tasks;
    /// `taken_over` of its `tasks` need not run again.
    pub fn build_forked(origin: BuildId, at: &TaskRef, tasks: u32, taken_over: u32) -> Self {
        Self::of(
            Kind::BuildForked,
            json!({
                "fromBuildId": origin,
                "fromTaskId": at.id,
                "taskName": at.name,
                "taskCount": tasks,
                "takenOver": taken_over,
            }),
        )
    }

    /// `tasks` is how many tasks run again; none if the build is planned again.
    pub fn build_retried(tasks: u32) -> Self {
        Self::of(Kind::BuildRetried, json!({ "taskCount": tasks }))
    }
}

fn listed(tasks: &[(&str, &str, &str)]) -> Value {
    tasks
        .iter()
        .map(|(name, operation, description)| {
            json!({ "name": name, "type": operation, "description": description })
        })
        .collect()
}

fn tallied(tally: Tally) -> Value {
    json!({
        "taskCount": tally.tasks,
        "completedTasks": tally.completed,
        "failedTasks": tally.failed,
        "skippedTasks": tally.skipped,
        "cancelledTasks": tally.cancelled,
        "filesCreated": tally.files,
    })
}
