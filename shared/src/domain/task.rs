//! The life of a task.

use super::{IllegalTransition, retry::Verdict, words};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for a dependency, or for the plan to be approved.
    Pending,
    /// Waits for a worker.
    Ready,
    /// A task worker holds it.
    InProgress,
    Completed,
    Failed,
    /// Something it depends on was lost, or a person wanted it left out.
    Skipped,
    Cancelled,
}

words!(State {
    Pending = "pending",
    Ready = "ready",
    InProgress = "in_progress",
    Completed = "completed",
    Failed = "failed",
    Skipped = "skipped",
    Cancelled = "cancelled",
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    DependenciesMet,
    DependencyLost,
    Claimed,
    GivenBack,
    AttemptSucceeded,
    AttemptFailed(Verdict),
    BuildCancelled,
    /// The build failed elsewhere and was asked to stop at the first failure.
    BuildFailed,
    /// A person wants it out of the way, and gone.
    Cancelled,
    /// A person wants it left out.
    Skipped,
    /// A person wants another go.
    Retried,
}

impl Trigger {
    const fn as_str(self) -> &'static str {
        match self {
            Trigger::DependenciesMet => "released",
            Trigger::DependencyLost => "skipped",
            Trigger::Claimed => "claimed",
            Trigger::GivenBack => "given back",
            Trigger::AttemptSucceeded => "settled as a success",
            Trigger::AttemptFailed(_) => "settled as a failure",
            Trigger::BuildCancelled => "cancelled with its build",
            Trigger::BuildFailed => "cancelled by a failure elsewhere",
            Trigger::Cancelled => "cancelled",
            Trigger::Skipped => "left out",
            Trigger::Retried => "retried",
        }
    }
}

impl State {
    /// The state that follows, or the two halves of the contradiction.
    pub fn on(self, trigger: Trigger) -> Result<State, IllegalTransition> {
        use State::*;

        Ok(match (self, trigger) {
            (Pending, Trigger::DependenciesMet) => Ready,
            (Pending, Trigger::DependencyLost) => Skipped,
            (Ready, Trigger::Claimed) => InProgress,
            (InProgress, Trigger::GivenBack) => Ready,
            (InProgress, Trigger::AttemptSucceeded) => Completed,
            (InProgress, Trigger::AttemptFailed(Verdict::Retry { .. })) => Ready,
            (InProgress, Trigger::AttemptFailed(Verdict::GiveUp)) => Failed,
            (Pending | Ready | InProgress, Trigger::BuildCancelled | Trigger::BuildFailed) => {
                Cancelled
            }
            (Pending | Ready | InProgress, Trigger::Cancelled) => Cancelled,
            (Pending | Ready | InProgress, Trigger::Skipped) => Skipped,
            // Whether it may run at once is decided by what it depends on.
            (Failed | Skipped | Cancelled, Trigger::Retried) => Pending,
            (state, trigger) => {
                return Err(IllegalTransition {
                    machine: "task",
                    state: state.as_str(),
                    trigger: trigger.as_str(),
                });
            }
        })
    }

    /// Whether nothing more happens unless somebody asks for it.
    pub const fn is_final(self) -> bool {
        matches!(self, State::Completed | State::Failed | State::Skipped | State::Cancelled)
    }
}

/// Where in the life of a project a task belongs (S0-24).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Analysis,
    Architecture,
    CodeGeneration,
    Testing,
    Deployment,
}

words!(Phase {
    Analysis = "ANALYSIS",
    Architecture = "ARCHITECTURE",
    CodeGeneration = "CODE_GENERATION",
    Testing = "TESTING",
    Deployment = "DEPLOYMENT",
});

/// What a task does to the project (S2-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    CreateFile,
    ModifyFile,
    CreateComponent,
    SetupConfig,
    InstallDeps,
}

words!(Operation {
    CreateFile = "create_file",
    ModifyFile = "modify_file",
    CreateComponent = "create_component",
    SetupConfig = "setup_config",
    InstallDeps = "install_deps",
});
