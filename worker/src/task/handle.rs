//! One task: claim, attempt, settle.
//!
//! Whatever a runner makes is checked before it counts: only declared paths, and files that are
//! what their names say. Knows nothing of how the work is done; see `runner`.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    domain::{
        attempt::{Failure, Outcome},
        id::HolderId,
        retry::Policy,
    },
    draw,
    job::Job,
    queue::relay::Nudge,
    store::{Error, Store, TaskClaim},
};
use tokio_util::sync::CancellationToken;

use super::runner::Runner;
use crate::{inspect, lease, panic};

/// What it takes to run tasks.
pub struct TaskWorker {
    pub store: Arc<dyn Store>,
    pub runner: Arc<dyn Runner>,
    pub holder: HolderId,
    pub lease: Duration,
    /// The longest an attempt may take; a task's own estimate may make it shorter.
    pub time_limit: Duration,
    pub retry: Policy,
    pub nudge: Nudge,
    pub stop: CancellationToken,
}

impl TaskWorker {
    /// Makes one attempt at one task. An error means nothing was decided, and the job will come
    /// again.
    pub async fn handle(&self, job: Job) -> Result<(), Error> {
        let Job::Task(task) = job else { return Ok(()) };
        let Some(claim) = self.store.claim_task(task, self.holder, self.lease).await? else {
            return Ok(()); // Settled already, not due yet, or someone else has it.
        };
        // The event of its start may have made a delivery.
        self.nudge.nudge();

        let Some(outcome) = self.attempt(&claim).await else {
            return Ok(()); // Lost: somebody else decides now.
        };

        let settled = lease::settle(self.lease, || {
            self.store.settle_task(claim.fence(), outcome.clone(), &self.retry, draw::jitter())
        })
        .await;
        self.nudge.nudge();
        settled
    }

    async fn attempt(&self, claim: &TaskClaim) -> Option<Outcome> {
        let limit = self.limit(claim);
        let ran = tokio::select! {
            ran = panic::caught("runner_panicked", self.runner.run(claim)) => ran,
            lease::Lost = lease::keep(&*self.store, claim.fence(), self.holder, self.lease) => {
                return None;
            }
            () = tokio::time::sleep(limit) => Err(Failure::timed_out(limit)),
            () = self.stop.cancelled() => return Some(Outcome::GivenBack),
        };
        let checked =
            ran.and_then(|output| inspect::output(&claim.writes, &output).map(|()| output));
        Some(match checked {
            Ok(output) => Outcome::Succeeded(output),
            Err(failure) => Outcome::Failed(failure),
        })
    }

    /// Half a minute beyond its own estimate, but never beyond what is configured (C11).
    fn limit(&self, claim: &TaskClaim) -> Duration {
        Duration::from_secs(u64::from(claim.estimated_secs) + 30).min(self.time_limit)
    }
}
