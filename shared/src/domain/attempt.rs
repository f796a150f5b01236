//! One try at leased work, and what it came to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{IllegalTransition, plan::DraftTask, retry::Verdict, words};

/// The life of an attempt: it runs, then it has come to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Running,
    Succeeded,
    Failed,
    /// Its holder fell silent and the lease lapsed.
    Lost,
    /// Its holder stopped in good order and had not begun, or not finished.
    GivenBack,
    /// What it worked on was cancelled.
    Cancelled,
}

words!(State {
    Running = "running",
    Succeeded = "succeeded",
    Failed = "failed",
    Lost = "lost",
    GivenBack = "given_back",
    Cancelled = "cancelled",
});

/// What ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Success,
    Failure,
    LeaseLapsed,
    GivenBack,
    Cancelled,
}

impl Trigger {
    const fn as_str(self) -> &'static str {
        match self {
            Trigger::Success => "settled as a success",
            Trigger::Failure => "settled as a failure",
            Trigger::LeaseLapsed => "lost",
            Trigger::GivenBack => "given back",
            Trigger::Cancelled => "cancelled",
        }
    }
}

impl State {
    /// The state that follows. An attempt ends once.
    pub fn on(self, trigger: Trigger) -> Result<State, IllegalTransition> {
        Ok(match (self, trigger) {
            (State::Running, Trigger::Success) => State::Succeeded,
            (State::Running, Trigger::Failure) => State::Failed,
            (State::Running, Trigger::LeaseLapsed) => State::Lost,
            (State::Running, Trigger::GivenBack) => State::GivenBack,
            (State::Running, Trigger::Cancelled) => State::Cancelled,
            (state, trigger) => {
                return Err(IllegalTransition {
                    machine: "attempt",
                    state: state.as_str(),
                    trigger: trigger.as_str(),
                });
            }
        })
    }

    pub const fn is_final(self) -> bool {
        !matches!(self, State::Running)
    }
}

/// What kind of failure it was: the only thing the retry law asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// It may go better next time.
    Transient,
    /// It will go the same way every time.
    Permanent,
    /// The holder died or was cut off; nobody knows why. Counted apart from failures.
    Lost,
}

words!(FailureKind { Transient = "transient", Permanent = "permanent", Lost = "lost" });

/// An outcome that is not success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// Stable, in snake case, for programs: `timed_out`, `undeclared_write`.
    pub code: String,
    /// For people: a clause without a full stop.
    pub reason: String,
}

/// The code of a failure by time limit; such a failure is told as `task_timeout`.
pub const TIMED_OUT: &str = "timed_out";
/// The code of a failure by a lapsed lease.
pub const WORKER_LOST: &str = "worker_lost";
/// The code of what was given up since it lost its holders, time after time.
pub const QUARANTINED: &str = "quarantined";

impl Failure {
    pub fn transient(code: &str, reason: impl Into<String>) -> Self {
        Self { kind: FailureKind::Transient, code: code.to_owned(), reason: reason.into() }
    }

    pub fn permanent(code: &str, reason: impl Into<String>) -> Self {
        Self { kind: FailureKind::Permanent, code: code.to_owned(), reason: reason.into() }
    }

    /// The lease lapsed: its holder died, froze or lost the store.
    pub fn lost() -> Self {
        Self {
            kind: FailureKind::Lost,
            code: WORKER_LOST.to_owned(),
            reason: "the worker fell silent and its lease lapsed".to_owned(),
        }
    }

    /// What is kept of it once it was judged. Work that is given up since it lost its holders is
    /// quarantined: it may well be what killed them. `crashes` counts this one.
    #[must_use]
    pub fn judged(self, verdict: Verdict, crashes: u32) -> Self {
        if self.kind != FailureKind::Lost || verdict != Verdict::GiveUp {
            return self;
        }
        let workers = if crashes == 1 { "worker" } else { "workers" };
        let reason =
            format!("quarantined: it lost {crashes} {workers}, and is not tried again by itself");
        Self { kind: FailureKind::Lost, code: QUARANTINED.to_owned(), reason }
    }

    /// The attempt ran past its time limit.
    pub fn timed_out(limit: std::time::Duration) -> Self {
        // The wording is that of the requirements (S0-46).
        Self::transient(TIMED_OUT, format!("Task timed out after {} seconds", limit.as_secs_f64()))
    }
}

/// What an attempt at a task came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Succeeded(Output),
    Failed(Failure),
    /// The holder stops in good order; the attempt counts for nothing.
    GivenBack,
}

/// What a successful attempt at a task made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Complete files; their paths are among those that the task declared.
    pub files: Vec<OutputFile>,
    /// Lines for people.
    pub logs: Vec<String>,
    /// What is to be done besides, as it turned out: added to the plan when this is settled.
    #[serde(default)]
    pub tasks: Vec<DraftTask>,
    #[serde(default)]
    pub origin: Origin,
}

/// Where an output comes from, and what becomes of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The attempt made it, and nobody else shall have it.
    #[default]
    Made,
    /// The attempt made it, and it stands for the same work done again.
    MadeAs(ResultKey),
    /// The same work was done before; this is what it made then.
    Cached,
}

/// Names a piece of work by all that its result depends on: a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResultKey(pub [u8; 32]);

impl fmt::Display for ResultKey {
    /// In hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A complete file of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Relative to the project, with forward slashes; see `plan::check_path`.
    pub path: String,
    pub content: String,
}
