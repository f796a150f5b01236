//! The life of a build.

use super::{IllegalTransition, retry::Verdict, words};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Nobody plans it yet.
    Queued,
    /// A plan worker holds it.
    Planning,
    /// A plan waits for a person; no worker holds anything.
    PendingApproval,
    /// Its tasks run.
    Executing,
    Completed,
    Failed,
    Cancelled,
}

words!(State {
    Queued = "queued",
    Planning = "planning",
    PendingApproval = "pending_approval",
    Executing = "executing",
    Completed = "completed",
    Failed = "failed",
    Cancelled = "cancelled",
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Claimed,
    /// The planner's holder stopped in good order.
    GivenBack,
    PlanningFailed(Verdict),
    /// A plan was adopted and its first tasks are ready.
    PlanAdopted,
    /// A plan was made that a person must agree to.
    PlanProposed,
    PlanApproved,
    /// A person said no, or nobody said yes in time.
    PlanRejected,
    /// Its plan grew while it ran.
    TasksAdded,
    /// The last task settled, and all of them had completed or were skipped on purpose.
    AllTasksCompleted,
    /// The last task settled, and at least one was lost.
    SomeTasksLost,
    Cancelled,
    DeadlinePassed,
    /// A person wants another go: at planning if there is no plan, else at the tasks that were
    /// lost.
    Retried {
        planned: bool,
    },
}

impl Trigger {
    const fn as_str(self) -> &'static str {
        match self {
            Trigger::Claimed => "claimed",
            Trigger::GivenBack => "given back",
            Trigger::PlanningFailed(_) => "failed in planning",
            Trigger::PlanAdopted => "given a plan",
            Trigger::PlanProposed => "offered a plan",
            Trigger::PlanApproved => "approved",
            Trigger::PlanRejected => "rejected",
            Trigger::TasksAdded => "given more tasks",
            Trigger::AllTasksCompleted => "completed",
            Trigger::SomeTasksLost => "failed by its tasks",
            Trigger::Cancelled => "cancelled",
            Trigger::DeadlinePassed => "overtaken by its deadline",
            Trigger::Retried { .. } => "retried",
        }
    }
}

impl State {
    /// The state that follows, or the two halves of the contradiction.
    pub fn on(self, trigger: Trigger) -> Result<State, IllegalTransition> {
        use State::*;

        Ok(match (self, trigger) {
            (Queued, Trigger::Claimed) => Planning,
            (Planning, Trigger::GivenBack) => Queued,
            (Planning, Trigger::PlanningFailed(Verdict::Retry { .. })) => Queued,
            (Planning, Trigger::PlanningFailed(Verdict::GiveUp)) => Failed,
            (Planning, Trigger::PlanAdopted) => Executing,
            (Planning, Trigger::PlanProposed) => PendingApproval,
            (PendingApproval, Trigger::PlanApproved) => Executing,
            (PendingApproval, Trigger::PlanRejected) => Failed,
            (Executing, Trigger::TasksAdded) => Executing,
            (Executing, Trigger::AllTasksCompleted) => Completed,
            (Executing, Trigger::SomeTasksLost) => Failed,
            (Queued | Planning | PendingApproval | Executing, Trigger::Cancelled) => Cancelled,
            (Queued | Planning | PendingApproval | Executing, Trigger::DeadlinePassed) => Failed,
            (Failed | Cancelled, Trigger::Retried { planned: false }) => Queued,
            (Failed | Cancelled, Trigger::Retried { planned: true }) => Executing,
            (state, trigger) => {
                return Err(IllegalTransition {
                    machine: "build",
                    state: state.as_str(),
                    trigger: trigger.as_str(),
                });
            }
        })
    }

    /// Whether nothing more happens unless somebody asks for it.
    pub const fn is_final(self) -> bool {
        matches!(self, State::Completed | State::Failed | State::Cancelled)
    }
}

/// Why a build did not complete: data for programs, words for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stop {
    /// `planning_failed`, `circular_dependencies`, `plan_rejected`, `plan_not_approved`,
    /// `tasks_failed`, `cancelled`, `deadline_passed` or `plan_timeout`.
    pub code: String,
    pub message: String,
}

impl Stop {
    /// A build ran out of time: the one its brief gave, or the one its plan has.
    pub fn overdue(by_brief: bool) -> Self {
        if by_brief {
            Self::new("deadline_passed", "the build did not end before its deadline")
        } else {
            Self::new("plan_timeout", "the tasks of the plan took longer than they may together")
        }
    }

    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}
