//! The life of one telling: an event on its way to an endpoint, through all its attempts.

use super::{IllegalTransition, retry::Verdict, words};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its turn or its time.
    Pending,
    /// A dispatcher holds it.
    InProgress,
    Delivered,
    /// Every attempt failed; kept, with the reasons, until somebody asks for another go.
    Exhausted,
}

words!(State {
    Pending = "pending",
    InProgress = "in_progress",
    Delivered = "delivered",
    Exhausted = "exhausted",
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Claimed,
    GivenBack,
    AttemptSucceeded,
    AttemptFailed(Verdict),
    /// A person wants it told once more.
    Redelivered,
}

impl Trigger {
    const fn as_str(self) -> &'static str {
        match self {
            Trigger::Claimed => "claimed",
            Trigger::GivenBack => "given back",
            Trigger::AttemptSucceeded => "settled as a success",
            Trigger::AttemptFailed(_) => "settled as a failure",
            Trigger::Redelivered => "redelivered",
        }
    }
}

impl State {
    /// The state that follows, or the two halves of the contradiction.
    pub fn on(self, trigger: Trigger) -> Result<State, IllegalTransition> {
        use State::*;

        Ok(match (self, trigger) {
            (Pending, Trigger::Claimed) => InProgress,
            (InProgress, Trigger::GivenBack) => Pending,
            (InProgress, Trigger::AttemptSucceeded) => Delivered,
            (InProgress, Trigger::AttemptFailed(Verdict::Retry { .. })) => Pending,
            (InProgress, Trigger::AttemptFailed(Verdict::GiveUp)) => Exhausted,
            (Delivered | Exhausted, Trigger::Redelivered) => Pending,
            (state, trigger) => {
                return Err(IllegalTransition {
                    machine: "delivery",
                    state: state.as_str(),
                    trigger: trigger.as_str(),
                });
            }
        })
    }

    /// Whether nothing more happens unless somebody asks for it.
    pub const fn is_final(self) -> bool {
        matches!(self, State::Delivered | State::Exhausted)
    }
}
