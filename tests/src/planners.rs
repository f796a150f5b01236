//! A planner on a script.

use std::{collections::VecDeque, sync::Mutex};

use async_trait::async_trait;
use buildfleet::domain::{attempt::Failure, brief::Brief, plan::Draft};
use worker::plan::planner::{Partials, Planner};

/// What one attempt at planning does.
#[derive(Debug, Clone)]
pub enum Step {
    Draft(Draft),
    Fail(Failure),
    Panic,
    /// Never comes to an end.
    Hang,
}

/// Takes one step of its script at each attempt; after the last one, it drafts the graph that the
/// prompt is: `a -> b, c`.
#[derive(Debug, Default)]
pub struct Scripted {
    steps: Mutex<VecDeque<Step>>,
    asked: Mutex<u32>,
}

impl Scripted {
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: Mutex::new(steps.into_iter().collect()), asked: Mutex::default() }
    }

    /// How many attempts were begun.
    pub fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }
}

#[async_trait]
impl Planner for Scripted {
    async fn draft(&self, brief: &Brief, _partials: Partials) -> Result<Draft, Failure> {
        *self.asked.lock().unwrap() += 1;
        let step = self.steps.lock().unwrap().pop_front();
        match step {
            None => Ok(Draft::of(&brief.prompt)),
            Some(Step::Draft(draft)) => Ok(draft),
            Some(Step::Fail(failure)) => Err(failure),
            Some(Step::Panic) => panic!("the planner lost its head"),
            Some(Step::Hang) => std::future::pending().await,
        }
    }
}
