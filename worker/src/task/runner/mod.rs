//! Who does the work of a task: the trait, in the task worker's words.

pub mod template;

use async_trait::async_trait;
use buildfleet::{
    domain::attempt::{Failure, Output},
    store::TaskClaim,
};
use tokio_util::sync::CancellationToken;

/// Does one kind of task.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Makes one attempt. It is told by `end` when it shall come to its end, whatever it has by
    /// then, and is dropped a little later, or, if the process is killed, at any await: nothing
    /// counts until it has returned.
    async fn run(&self, claim: &TaskClaim, end: &CancellationToken) -> Result<Output, Failure>;

    /// Whether it wants to know what the task waited for, and what that made: then the claim has
    /// `prerequisites`, at the price of reading them for each attempt.
    fn wants_prerequisites(&self) -> bool {
        false
    }
}
