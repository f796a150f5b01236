//! Who does the work of a task: the trait, in the task worker's words.

pub mod template;

use async_trait::async_trait;
use buildfleet::{
    domain::attempt::{Failure, Output},
    store::TaskClaim,
};

/// Does one kind of task.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Makes one attempt. It may be dropped at any await: nothing counts until it has returned.
    async fn run(&self, claim: &TaskClaim) -> Result<Output, Failure>;
}
