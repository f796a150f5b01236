//! The workers' settings.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    config::Reader,
    domain::{id::HolderId, retry::Policy},
    job::Lane,
    member::Member,
};

use crate::{
    plan::{
        handle::{Approval, PlanWorker},
        planner::Planner,
    },
    task::{handle::TaskWorker, runner::Runner},
};

/// How builds are planned.
#[derive(Debug, Clone)]
pub struct PlanConfig {
    /// Builds planned at once, in this process.
    pub slots: usize,
    pub lease: Duration,
    pub time_limit: Duration,
    pub approval: Approval,
    pub straighten: bool,
}

impl PlanConfig {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            slots: reader.number("BUILDFLEET_PLAN_SLOTS", 1, 1000) as usize,
            lease: lease(reader),
            time_limit: reader.secs("BUILDFLEET_PLAN_TIMEOUT_SECS", 1, 3600),
            approval: Approval {
                always: reader.flag("REQUIRE_PLAN_APPROVAL"),
                within: reader.secs("BUILDFLEET_APPROVAL_SECS", 1, 7 * 24 * 3600),
            },
            straighten: reader.flag("ALLOW_LINEAR_FALLBACK"),
        }
    }

    /// Plans builds until the member is stopped.
    pub async fn serve(self, member: &Member, planner: Arc<dyn Planner>) {
        let holder = Member::holder();
        let slots = self.slots;
        let worker = Arc::new(self.worker(member, planner, holder));
        member
            .serve(Lane::Plans, holder, slots, move |job| {
                let worker = Arc::clone(&worker);
                async move { worker.handle(job).await }
            })
            .await;
    }

    fn worker(self, member: &Member, planner: Arc<dyn Planner>, holder: HolderId) -> PlanWorker {
        PlanWorker {
            store: Arc::clone(&member.store),
            planner,
            holder,
            lease: self.lease,
            time_limit: self.time_limit,
            retry: Policy::WORK,
            approval: self.approval,
            straighten: self.straighten,
            nudge: member.nudge.clone(),
            stop: member.stop.clone(),
        }
    }
}

/// How tasks are run.
#[derive(Debug, Clone)]
pub struct TaskConfig {
    /// Tasks run at once, in this process.
    pub slots: usize,
    pub lease: Duration,
    pub time_limit: Duration,
}

impl TaskConfig {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            slots: reader.number("BUILDFLEET_TASK_SLOTS", 1, 1000) as usize,
            lease: lease(reader),
            time_limit: reader.secs("BUILDFLEET_TASK_TIMEOUT_SECS", 1, 24 * 3600),
        }
    }

    /// Runs tasks until the member is stopped.
    pub async fn serve(self, member: &Member, runner: Arc<dyn Runner>) {
        let holder = Member::holder();
        let worker = Arc::new(TaskWorker {
            store: Arc::clone(&member.store),
            runner,
            holder,
            lease: self.lease,
            time_limit: self.time_limit,
            retry: Policy::WORK,
            nudge: member.nudge.clone(),
            stop: member.stop.clone(),
        });
        member
            .serve(Lane::Tasks, holder, self.slots, move |job| {
                let worker = Arc::clone(&worker);
                async move { worker.handle(job).await }
            })
            .await;
    }
}

/// Shorter finds the dead sooner, but a store that is slow for as long loses the living.
fn lease(reader: &mut Reader<'_>) -> Duration {
    reader.secs("BUILDFLEET_LEASE_SECS", 2, 3600)
}
