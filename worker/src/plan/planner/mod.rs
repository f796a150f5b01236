//! Who drafts plans: the trait, in the plan worker's words.

pub mod by_rules;
pub mod rules;

use async_trait::async_trait;
use buildfleet::domain::{attempt::Failure, brief::Brief, plan::Draft, task::Operation};
use tokio::sync::mpsc;

/// Turns a brief into a draft.
#[async_trait]
pub trait Planner: Send + Sync + 'static {
    /// Drafts a plan. Tells `partials` of tasks as they are drafted, so that clients see the plan
    /// grow.
    async fn draft(&self, brief: &Brief, partials: Partials) -> Result<Draft, Failure>;
}

/// A task as clients hear of it before the plan is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drafted {
    pub name: String,
    pub operation: Operation,
    pub description: String,
}

/// Where a planner tells of the tasks it has drafted since it last told.
#[derive(Debug, Clone)]
pub struct Partials(mpsc::Sender<Vec<Drafted>>);

impl Partials {
    pub fn new(sender: mpsc::Sender<Vec<Drafted>>) -> Self {
        Self(sender)
    }

    /// Tells of more tasks. Whoever listens may be gone; then the draft is not wanted either, and
    /// the planner will be dropped.
    pub async fn tell(&self, latest: Vec<Drafted>) {
        let _nobody_listens = self.0.send(latest).await;
    }
}
