//! Who does the work of a task: the trait, in the task worker's words.

pub mod template;

use async_trait::async_trait;
use buildfleet::{
    domain::attempt::{Failure, Output},
    store::TaskClaim,
};
use tokio_util::sync::CancellationToken;

/// What the results of a runner depend on beside the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub runner: &'static str,
    /// Another one whenever the same task might come out otherwise.
    pub version: &'static str,
    /// The model that is asked, if one is.
    pub model: Option<Model>,
    pub reads: Reads,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub provider: String,
    pub name: String,
    pub tier: String,
}

/// What a runner looks at of its build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The task and the spec of its plan.
    Task,
    /// Also what the tasks made that this one waits for.
    Dependencies,
}

/// Does one kind of task.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Makes one attempt. It is told by `end` when it shall come to its end, whatever it has by
    /// then, and is dropped a little later, or, if the process is killed, at any await: nothing
    /// counts until it has returned.
    async fn run(&self, claim: &TaskClaim, end: &CancellationToken) -> Result<Output, Failure>;

    /// What makes its result at this task what it is; `None` if it never stands for the same task
    /// elsewhere.
    fn identity(&self, _claim: &TaskClaim) -> Option<Identity> {
        None
    }

    /// Whether it wants to know what the task waited for, and what that made: then the claim has
    /// `prerequisites`, at the price of reading them for each attempt.
    fn wants_prerequisites(&self) -> bool {
        false
    }
}
