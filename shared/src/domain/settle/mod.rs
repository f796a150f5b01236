//! What follows from an outcome: the one place where a build moves on.
//!
//! The store reads a `Progress` under the build's lock, asks here, and writes the `Settlement`
//! down, all in one commit. Knows no instants, only how long to wait. What the loss of a task means
//! for others: `losing.rs`; what people ask for: `by_hand.rs` and `reviving.rs`.

mod by_hand;
mod losing;
pub mod reviving;

use std::time::Duration;

pub use self::by_hand::ByHand;
pub use self::losing::halts;
use super::{
    IllegalTransition,
    attempt::{self, Failure, FailureKind, Origin, Outcome, Output},
    brief::OnTaskFailure,
    build::{self, Stop},
    dependency::OnLoss,
    event::{Event, Tally, TaskRef},
    id::TaskId,
    plan::growing::Added,
    retry::{Jitter, Policy, Verdict},
    task,
};

/// What must be known of a build to settle one of its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub build: build::State,
    pub on_task_failure: OnTaskFailure,
    /// Before this settlement.
    pub tally: Tally,
    /// The task at hand, which is in progress.
    pub task: TaskRef,
    /// The number of the attempt at hand.
    pub attempt: u32,
    /// Failures and crashes before this attempt.
    pub failures: u32,
    pub crashes: u32,
    /// Who waits for the task at hand. If the outcome may be a loss, also who waits for whatever
    /// may be lost with it, and if the build halts then (see `halts`), also who cleans up and waits
    /// for any open task. An edge that is given twice counts once.
    pub dependents: Vec<Dependent>,
    /// Every other task that is not final. Only needed if the build halts.
    pub others: Vec<Open>,
    /// What the output adds, checked by `plan::growing`.
    pub added: Option<Added>,
}

/// A dependency, seen from what is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    pub on: TaskId,
    /// The task that waits.
    pub task: TaskRef,
    pub state: task::State,
    /// How many tasks hold it back, the one at hand included.
    pub waiting_on: u32,
    pub on_loss: OnLoss,
}

/// A task that is not final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    pub task: TaskRef,
    pub state: task::State,
    /// Whether one of its dependencies says `always_run`.
    pub cleans_up: bool,
}

/// What settling writes, all of it in one commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    pub attempt: attempt::State,
    pub task: task::State,
    /// When the task may be claimed again, counted from the commit; `None` if it is final.
    pub due_in: Option<Duration>,
    pub failure: Option<Failure>,
    /// What this attempt adds to the task's counts.
    pub failures: u32,
    pub crashes: u32,
    /// To be kept if the task completed.
    pub output: Option<Output>,
    /// Pending tasks that are held back by one task fewer for each time they are named here.
    pub advanced: Vec<TaskId>,
    /// Those among `advanced` that are held back by none any more: `pending -> ready`.
    pub released: Vec<TaskId>,
    pub skipped: Vec<TaskId>,
    pub cancelled: Vec<TaskId>,
    /// To be added to the plan, after what it has.
    pub added: Option<Added>,
    /// The build's state afterwards, and why it stopped if it did not complete.
    pub build: build::State,
    pub stop: Option<Stop>,
    /// After this settlement; `files` grows by the number of paths that had not been written
    /// before, which only the store knows, so it is as it was.
    pub tally: Tally,
    pub events: Vec<Event>,
}

impl Progress {
    /// Decides everything that follows from an outcome of the attempt at hand.
    pub fn settle(
        self,
        outcome: Outcome,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<Settlement, IllegalTransition> {
        match outcome {
            Outcome::Succeeded(output) => self.succeed(output),
            Outcome::Failed(failure) => self.fail(failure, policy, jitter),
            Outcome::GivenBack => {
                let task = task::State::InProgress.on(task::Trigger::GivenBack)?;
                let attempt = attempt::State::Running.on(attempt::Trigger::GivenBack)?;
                Ok(Settlement { due_in: Some(Duration::ZERO), ..self.unchanged(attempt, task) })
            }
        }
    }

    fn unchanged(&self, attempt: attempt::State, task: task::State) -> Settlement {
        Settlement {
            attempt,
            task,
            due_in: None,
            failure: None,
            failures: 0,
            crashes: 0,
            output: None,
            advanced: Vec::new(),
            released: Vec::new(),
            skipped: Vec::new(),
            cancelled: Vec::new(),
            added: None,
            build: self.build,
            stop: None,
            tally: self.tally,
            events: Vec::new(),
        }
    }

    fn succeed(self, output: Output) -> Result<Settlement, IllegalTransition> {
        let task = task::State::InProgress.on(task::Trigger::AttemptSucceeded)?;
        let mut settlement =
            self.unchanged(attempt::State::Running.on(attempt::Trigger::Success)?, task);
        let paths: Vec<&str> = output.files.iter().map(|file| file.path.as_str()).collect();
        let cached = output.origin == Origin::Cached;
        settlement.events.push(Event::task_completed(&self.task, &paths, cached));
        settlement.output = Some(output);
        settlement.tally.completed += 1;
        for dependent in self.dependents.iter().filter(|dependent| dependent.on == self.task.id) {
            // Who ran already or is lost is held back by nobody.
            if dependent.state != task::State::Pending || dependent.waiting_on == 0 {
                continue;
            }
            settlement.advanced.push(dependent.task.id);
            if dependent.waiting_on == 1 {
                dependent.state.on(task::Trigger::DependenciesMet)?;
                settlement.released.push(dependent.task.id);
            }
        }
        if let Some(added) = &self.added {
            let growth = added.growth(self.build, settlement.tally, Some(&self.task))?;
            settlement.tally = growth.tally;
            settlement.events.extend(growth.events);
            settlement.added = self.added.clone();
        }
        self.end_if_settled(settlement)
    }

    fn fail(
        self,
        failure: Failure,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<Settlement, IllegalTransition> {
        let lost = failure.kind == FailureKind::Lost;
        let (failures, crashes) = if lost { (0, 1) } else { (1, 0) };
        let verdict =
            policy.judge(failure.kind, self.failures + failures, self.crashes + crashes, jitter);
        let failure = failure.judged(verdict, self.crashes + crashes);
        let ended = if lost { attempt::Trigger::LeaseLapsed } else { attempt::Trigger::Failure };
        let task = task::State::InProgress.on(task::Trigger::AttemptFailed(verdict))?;
        let mut settlement = Settlement {
            failures,
            crashes,
            failure: Some(failure.clone()),
            ..self.unchanged(attempt::State::Running.on(ended)?, task)
        };
        match verdict {
            Verdict::Retry { after } => {
                settlement.due_in = Some(after);
                let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                settlement.events.push(Event::task_retrying(
                    &self.task,
                    self.attempt,
                    &failure,
                    after_ms,
                ));
                Ok(settlement)
            }
            Verdict::GiveUp => {
                settlement.events.push(Event::task_failed(&self.task, &failure));
                settlement.tally.failed += 1;
                let halts = self.on_task_failure == OnTaskFailure::FailFast;
                self.lose_the_rest(settlement, halts)
            }
        }
    }

    fn end_if_settled(self, mut settlement: Settlement) -> Result<Settlement, IllegalTransition> {
        let tally = settlement.tally;
        if tally.settled() < tally.tasks {
            return Ok(settlement);
        }
        // If nothing failed and nothing was cancelled, whatever was skipped was skipped on purpose.
        if tally.failed + tally.cancelled == 0 {
            settlement.build = self.build.on(build::Trigger::AllTasksCompleted)?;
            settlement.events.push(Event::build_completed(tally));
        } else {
            settlement.build = self.build.on(build::Trigger::SomeTasksLost)?;
            let stop = Stop::new("tasks_failed", tally.in_words());
            settlement.events.push(Event::build_failed(&stop, tally));
            settlement.stop = Some(stop);
        }
        Ok(settlement)
    }
}

impl Tally {
    /// How many tasks are final.
    pub const fn settled(self) -> u32 {
        self.completed + self.failed + self.skipped + self.cancelled
    }

    /// `2 of 9 tasks failed, 3 were skipped`.
    fn in_words(self) -> String {
        let mut words = format!("{} of {} tasks failed", self.failed, self.tasks);
        if 0 < self.skipped {
            words += &format!(", {} were skipped", self.skipped);
        }
        if 0 < self.cancelled {
            words += &format!(", {} were cancelled", self.cancelled);
        }
        words
    }
}

/// What follows when planning fails.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanningSettlement {
    pub attempt: attempt::State,
    pub build: build::State,
    /// When the build may be planned again, counted from the commit.
    pub due_in: Option<Duration>,
    pub failures: u32,
    pub crashes: u32,
    pub stop: Option<Stop>,
    pub events: Vec<Event>,
}

/// Decides what follows from a failure to plan. `failures` and `crashes` are from before.
pub fn settle_planning(
    failure: &Failure,
    attempt: u32,
    failures: u32,
    crashes: u32,
    policy: &Policy,
    jitter: Jitter,
) -> Result<PlanningSettlement, IllegalTransition> {
    let lost = failure.kind == FailureKind::Lost;
    let (new_failures, new_crashes) = if lost { (0, 1) } else { (1, 0) };
    let verdict =
        policy.judge(failure.kind, failures + new_failures, crashes + new_crashes, jitter);
    let ended = if lost { attempt::Trigger::LeaseLapsed } else { attempt::Trigger::Failure };
    let mut settlement = PlanningSettlement {
        attempt: attempt::State::Running.on(ended)?,
        build: build::State::Planning.on(build::Trigger::PlanningFailed(verdict))?,
        due_in: None,
        failures: new_failures,
        crashes: new_crashes,
        stop: None,
        events: Vec::new(),
    };
    match verdict {
        Verdict::Retry { after } => {
            let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            settlement.due_in = Some(after);
            settlement.events.push(Event::plan_retrying(attempt, failure, after_ms));
        }
        Verdict::GiveUp => {
            let failure = failure.clone().judged(verdict, crashes + new_crashes);
            let stop = Stop::new(&failure.code, failure.reason);
            settlement.events.push(Event::build_failed(&stop, Tally::default()));
            settlement.stop = Some(stop);
        }
    }
    Ok(settlement)
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
