//! A person takes a task out of a build that runs.

use super::{Progress, Settlement};
use crate::domain::{
    IllegalTransition,
    attempt::{self, Failure},
    event::Event,
    task,
};

/// What a person wants of a task that is not final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    /// It is gone, and its build has lost it.
    Cancel,
    /// It is left out, on purpose: a build that lost nothing else completes.
    Skip,
}

impl ByHand {
    /// The code of the failure that a task keeps which was taken out like this.
    pub const fn code(self) -> &'static str {
        match self {
            ByHand::Cancel => "cancelled_by_hand",
            ByHand::Skip => "skipped_by_hand",
        }
    }
}

impl Progress {
    /// Decides everything that follows when a person takes the task at hand out, which is in
    /// `state`. Whoever waits for it goes by their dependencies. If an attempt at it runs, it ends
    /// as the settlement says.
    pub fn end_by_hand(
        self,
        state: task::State,
        how: ByHand,
        reason: &str,
    ) -> Result<Settlement, IllegalTransition> {
        let (trigger, event) = match how {
            ByHand::Cancel => (task::Trigger::Cancelled, Event::task_cancelled(&self.task)),
            ByHand::Skip => (task::Trigger::Skipped, Event::task_skipped(&self.task, None)),
        };
        let attempt = attempt::State::Running.on(attempt::Trigger::Cancelled)?;
        let mut settlement = Settlement {
            failure: Some(Failure::permanent(how.code(), reason)),
            ..self.unchanged(attempt, state.on(trigger)?)
        };
        settlement.events.push(event);
        match how {
            ByHand::Cancel => settlement.tally.cancelled += 1,
            ByHand::Skip => settlement.tally.skipped += 1,
        }
        self.lose_the_rest(settlement, false)
    }
}
