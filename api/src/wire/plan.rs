//! A plan and its tasks as clients see them.

use buildfleet::store;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    AttemptState, Complexity, Failure, PlanState, TaskOperation, TaskPhase, TaskState, Time,
    waiting::Waiting,
};

#[derive(Debug, Serialize, ToSchema)]
pub struct Plan {
    #[schema(example = "pln_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub id: String,
    pub build_id: String,
    pub state: PlanState,
    /// As chosen.
    #[schema(example = "api")]
    pub project_type: String,
    /// As chosen.
    #[schema(example = "fastapi")]
    pub framework: String,
    pub complexity: Complexity,
    /// What is built otherwise than asked, in sentences.
    pub notes: Vec<String>,
    /// Along the longest chain of tasks.
    pub estimated_secs: u32,
    /// Circles of tasks, by their keys, that the draft had; all tasks then run one after the other.
    pub cycles: Vec<Vec<String>>,
    /// What the tasks build from: what the software is about, in the planner's own form.
    #[schema(value_type = Object)]
    pub spec: Value,
    pub created_at: Time,
    /// When a proposed plan is rejected by itself; null for others.
    pub approve_until: Option<Time>,
}

impl From<store::PlanView> for Plan {
    fn from(plan: store::PlanView) -> Self {
        Self {
            id: plan.id.to_string(),
            build_id: plan.build.to_string(),
            state: plan.state.into(),
            project_type: plan.project_type,
            framework: plan.framework,
            complexity: plan.complexity.into(),
            notes: plan.notes,
            estimated_secs: plan.estimated_secs,
            cycles: plan.straightened,
            spec: plan.spec,
            created_at: plan.created_at.into(),
            approve_until: plan.approve_until.map(Time::from),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Task {
    #[schema(example = "tsk_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub id: String,
    pub build_id: String,
    pub plan_id: String,
    /// Names the task within its plan.
    #[schema(example = "model:books")]
    pub key: String,
    pub name: String,
    pub description: String,
    pub phase: TaskPhase,
    pub operation: TaskOperation,
    /// The role that does it.
    #[schema(example = "code-001")]
    pub role: String,
    /// 1 runs first.
    pub priority: u8,
    pub estimated_secs: u32,
    /// How many slots of a worker it takes.
    #[schema(minimum = 1, maximum = 64)]
    pub cost: u32,
    /// Ids of the tasks it waits for.
    pub depends_on: Vec<String>,
    /// The only paths that it may write.
    pub writes: Vec<String>,
    pub state: TaskState,
    /// Why nobody works on it yet; null once somebody has begun.
    pub waiting: Option<Waiting>,
    /// How many attempts were begun.
    pub attempt: u32,
    /// How many attempts failed.
    pub failures: u32,
    /// How many attempts were lost with their worker.
    pub crashes: u32,
    /// The newest failure, which a later success leaves in place.
    pub error: Option<Failure>,
    /// Lines for people.
    pub logs: Vec<String>,
    pub started_at: Option<Time>,
    pub finished_at: Option<Time>,
}

impl From<store::Task> for Task {
    fn from(task: store::Task) -> Self {
        Self {
            id: task.id.to_string(),
            build_id: task.build.to_string(),
            plan_id: task.plan.to_string(),
            key: task.key,
            name: task.name,
            description: task.description,
            phase: task.phase.into(),
            operation: task.operation.into(),
            role: task.role,
            priority: task.priority,
            estimated_secs: task.estimated_secs,
            cost: task.cost,
            depends_on: task.depends_on.iter().map(ToString::to_string).collect(),
            writes: task.writes,
            state: task.state.into(),
            waiting: None,
            attempt: task.attempt,
            failures: task.failures,
            crashes: task.crashes,
            error: task.failure.map(Failure::from),
            logs: task.logs,
            started_at: task.started_at.map(Time::from),
            finished_at: task.settled_at.map(Time::from),
        }
    }
}

/// All tasks of a build's newest plan, in the order of the plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tasks {
    pub tasks: Vec<Task>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TaskWithAttempts {
    #[serde(flatten)]
    pub task: Task,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
}

/// All tries at the planning of a build, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempts {
    pub attempts: Vec<Attempt>,
}

/// One try at a task, or at the planning of a build.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    pub state: AttemptState,
    /// The process that made it.
    #[schema(example = "hld_01KAJM5Q3V9K2M4N6P7R8S9T0A")]
    pub worker_id: String,
    pub error: Option<Failure>,
    pub started_at: Time,
    pub finished_at: Option<Time>,
}

impl From<store::AttemptView> for Attempt {
    fn from(attempt: store::AttemptView) -> Self {
        Self {
            number: attempt.number,
            state: attempt.state.into(),
            worker_id: attempt.holder.to_string(),
            error: attempt.failure.map(Failure::from),
            started_at: attempt.started_at.into(),
            finished_at: attempt.settled_at.map(Time::from),
        }
    }
}

/// Why a plan is rejected; told to whoever hears of the build.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    #[schema(max_length = 2000, example = "the loans are missing")]
    pub reason: Option<String>,
}
