//! One task: claim, attempt, settle.
//!
//! Whatever a runner makes is checked before it counts: only declared paths, and files that are
//! what their names say. Knows nothing of how the work is done; see `runner`.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    domain::{
        attempt::{Failure, Outcome, Output},
        retry::Policy,
    },
    draw, lease,
    queue::serve::Work,
    store::{Error, Store, TaskClaim},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{cache::Cache, runner::Runner};
use crate::{inspect, panic};

/// How long a runner that was told to end may take to do so: enough to end a program that it
/// started, and little beside what a caller waits who cancels.
const GRACE: Duration = Duration::from_secs(2);

/// What it takes to run tasks.
pub struct TaskWorker {
    pub store: Arc<dyn Store>,
    pub runner: Arc<dyn Runner>,
    pub cache: Cache,
    /// How long a store that does not answer is asked again to keep what came of an attempt.
    pub lease: Duration,
    /// The longest an attempt may take; a task's own estimate may make it shorter.
    pub time_limit: Duration,
    pub retry: Policy,
    pub stop: CancellationToken,
}

/// Why a runner was told to end.
enum Told {
    /// Somebody else has the task now, or nobody wants it any more.
    Lost,
    TimedOut,
    Stopping,
}

impl TaskWorker {
    /// Makes one attempt at one task. An error means nothing was decided, and the task will be
    /// claimed again.
    pub async fn handle(&self, work: Work<TaskClaim>) -> Result<(), Error> {
        let Work { mut claim, lost, seat } = work;
        if self.runner.wants_prerequisites() {
            claim.prerequisites = self.store.prerequisites(claim.task).await?;
        }
        let Some(outcome) = self.attempt(&claim, &lost).await else {
            return Ok(()); // Lost: there is nothing to write.
        };
        seat.leave();

        lease::settle(self.lease, || {
            self.store.settle_task(claim.fence(), outcome.clone(), &self.retry, draw::jitter())
        })
        .await
    }

    async fn attempt(&self, claim: &TaskClaim, lost: &CancellationToken) -> Option<Outcome> {
        let (limit, end) = (self.limit(claim), CancellationToken::new());
        let running = panic::caught("runner_panicked", self.cache.run(&*self.runner, claim, &end));
        let mut running = std::pin::pin!(running);
        let told = tokio::select! {
            biased;
            ran = &mut running => return Some(judge(claim, ran)),
            () = lost.cancelled() => Told::Lost,
            () = sleep(limit) => Told::TimedOut,
            () = self.stop.cancelled() => Told::Stopping,
        };
        end.cancel();
        let ran = timeout(GRACE, running).await;
        match (told, ran) {
            (Told::Lost, _) => None,
            (Told::TimedOut, _) => Some(Outcome::Failed(Failure::timed_out(limit))),
            (Told::Stopping, Ok(Ok(output))) => Some(judge(claim, Ok(output))),
            // Whatever it says: it was we who did not let it finish.
            (Told::Stopping, _) => Some(Outcome::GivenBack),
        }
    }

    /// Half a minute beyond its own estimate, but never beyond what is configured (C11).
    fn limit(&self, claim: &TaskClaim) -> Duration {
        Duration::from_secs(u64::from(claim.estimated_secs) + 30).min(self.time_limit)
    }
}

/// What an attempt came to that ended by itself.
fn judge(claim: &TaskClaim, ran: Result<Output, Failure>) -> Outcome {
    match ran.and_then(|output| inspect::output(&claim.writes, &output).map(|()| output)) {
        Ok(output) => Outcome::Succeeded(output),
        Err(failure) => Outcome::Failed(failure),
    }
}
