//! Planning one build: claim, attempt, settle.
//!
//! What the planner drafts is checked by the domain and adopted in one commit. Knows nothing of how
//! a draft comes about; see `planner`.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    domain::{
        attempt::Failure,
        brief::Brief,
        event::Event,
        id::PlanId,
        plan::{Draft, Plan, Refusal},
        retry::Policy,
    },
    draw, lease,
    queue::serve::Work,
    store::{Adoption, BuildClaim, Error, Store},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::planner::{Drafted, Partials, Planner};
use crate::panic;

/// What it takes to plan builds.
pub struct PlanWorker {
    pub store: Arc<dyn Store>,
    pub planner: Arc<dyn Planner>,
    /// How long a store that does not answer is asked again to keep what came of an attempt.
    pub lease: Duration,
    /// How long one attempt may take.
    pub time_limit: Duration,
    pub retry: Policy,
    pub approval: Approval,
    /// Whether tasks that wait for each other in a circle are run in a line instead of refused.
    pub straighten: bool,
    /// How long the tasks of a plan may take together, where the brief gives no deadline.
    pub build_time_limit: Option<Duration>,
    pub stop: CancellationToken,
}

/// Whether a person must agree to a plan before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approval {
    /// For every build; otherwise only for those that ask for it.
    pub always: bool,
    pub within: Duration,
}

/// What an attempt at planning came to.
enum Outcome {
    Planned(Box<Plan>),
    Failed(Failure),
    GivenBack,
    /// Somebody else decides now; there is nothing to write.
    Lost,
}

impl PlanWorker {
    /// Makes one attempt at planning one build. An error means nothing was decided, and the build
    /// will be claimed again.
    pub async fn handle(&self, work: Work<BuildClaim>) -> Result<(), Error> {
        let Work { claim, lost, seat } = work;
        let plan = draw::id::<PlanId>();
        let outcome = self.attempt(&claim, plan, &lost).await;
        seat.leave();

        lease::settle(self.lease, || self.settle(&claim, plan, &outcome)).await
    }

    async fn attempt(&self, claim: &BuildClaim, plan: PlanId, lost: &CancellationToken) -> Outcome {
        let (partials, heard) = mpsc::channel(16);
        let told = async {
            let drafted = self.draft(&claim.brief, Partials::new(partials));
            let telling = self.tell(claim, plan, heard);
            let (drafted, told) = tokio::join!(drafted, telling);
            told.map(|()| drafted)
        };
        let drafted = tokio::select! {
            biased;
            drafted = told => drafted,
            () = lost.cancelled() => return Outcome::Lost,
            () = tokio::time::sleep(self.time_limit) => {
                return Outcome::Failed(Failure::transient(
                    "planning_timed_out",
                    format!("planning timed out after {} seconds", self.time_limit.as_secs()),
                ));
            }
            () = self.stop.cancelled() => return Outcome::GivenBack,
        };
        match drafted {
            Ok(Ok(draft)) => self.check(claim, plan, draft).await,
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(Error::Fenced) => Outcome::Lost,
            Err(error) => {
                Outcome::Failed(Failure::transient("store_unavailable", error.to_string()))
            }
        }
    }

    async fn draft(&self, brief: &Brief, partials: Partials) -> Result<Draft, Failure> {
        // The channel closes with the planner's end of it, and that ends the telling.
        panic::caught("planner_panicked", self.planner.draft(brief, partials)).await
    }

    /// Puts what was drafted so far into the log, while the rest is being drafted.
    async fn tell(
        &self,
        claim: &BuildClaim,
        plan: PlanId,
        mut heard: mpsc::Receiver<Vec<Drafted>>,
    ) -> Result<(), Error> {
        let mut so_far = 0;
        while let Some(latest) = heard.recv().await {
            so_far += latest.len();
            let latest: Vec<_> = latest
                .iter()
                .map(|task| (&*task.name, task.operation.as_str(), &*task.description))
                .collect();
            self.store.note_planning(claim, Event::plan_partial(plan, so_far, &latest)).await?;
        }
        Ok(())
    }

    async fn check(&self, claim: &BuildClaim, plan: PlanId, draft: Draft) -> Outcome {
        let checked =
            if self.straighten { draft.into_straightened_plan() } else { draft.into_plan() };
        let refusal = match checked {
            Ok(checked) => {
                let timeout = self.build_time_limit;
                return Outcome::Planned(Box::new(Plan { timeout, ..checked }));
            }
            Err(refusal) => refusal,
        };
        let Refusal::Cycle { cycles } = &refusal else {
            // Another draft may be better, so a refusal is worth another attempt.
            return Outcome::Failed(Failure::transient("bad_plan", refusal.to_string()));
        };
        match self.store.note_planning(claim, Event::plan_blocked(plan, cycles)).await {
            Err(Error::Fenced) => Outcome::Lost,
            Err(error) => {
                Outcome::Failed(Failure::transient("store_unavailable", error.to_string()))
            }
            Ok(()) => {
                Outcome::Failed(Failure::permanent("circular_dependencies", refusal.to_string()))
            }
        }
    }

    async fn settle(
        &self,
        claim: &BuildClaim,
        plan: PlanId,
        outcome: &Outcome,
    ) -> Result<(), Error> {
        match outcome {
            Outcome::Planned(checked) => {
                let adoption = if self.approval.always || claim.brief.require_approval {
                    Adoption::OnApproval { plan, within: self.approval.within }
                } else {
                    Adoption::AtOnce { plan }
                };
                self.store.adopt_plan(claim, checked, adoption).await
            }
            Outcome::Failed(failure) => {
                self.store.settle_planning(claim, failure, &self.retry, draw::jitter()).await
            }
            Outcome::GivenBack => self.store.give_back(claim.fence()).await,
            Outcome::Lost => Ok(()),
        }
    }
}
