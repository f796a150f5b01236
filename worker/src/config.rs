//! The workers' settings.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    config::Reader,
    domain::retry::Policy,
    member::Member,
    queue::serve::Work,
    store::{BuildClaim, TaskClaim},
};

use crate::{
    plan::{
        handle::{Approval, PlanWorker},
        planner::Planner,
    },
    task::{
        cache::{self, Cache},
        handle::TaskWorker,
        runner::Runner,
    },
};

/// How builds are planned.
#[derive(Debug, Clone)]
pub struct PlanConfig {
    /// Builds planned at once, in this process.
    pub slots: u32,
    pub lease: Duration,
    pub time_limit: Duration,
    pub approval: Approval,
    pub straighten: bool,
    /// How long the tasks of a plan may take together, where the brief gives no deadline.
    pub build_time_limit: Option<Duration>,
}

impl PlanConfig {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            slots: reader.number("BUILDFLEET_PLAN_SLOTS", 1, 1000),
            lease: reader.lease(),
            time_limit: reader.secs("BUILDFLEET_PLAN_TIMEOUT_SECS", 1, 3600),
            approval: Approval {
                always: reader.flag("REQUIRE_PLAN_APPROVAL"),
                within: reader.secs("BUILDFLEET_APPROVAL_SECS", 1, 7 * 24 * 3600),
            },
            straighten: reader.flag("ALLOW_LINEAR_FALLBACK"),
            build_time_limit: Some(reader.secs("BUILDFLEET_BUILD_TIMEOUT_SECS", 0, 7 * 24 * 3600))
                .filter(|limit| !limit.is_zero()),
        }
    }

    /// Plans builds until the member is stopped.
    pub async fn serve(self, member: &Member, planner: Arc<dyn Planner>) {
        let worker = Arc::new(PlanWorker {
            store: Arc::clone(&member.store),
            planner,
            lease: self.lease,
            time_limit: self.time_limit,
            retry: Policy::WORK,
            approval: self.approval,
            straighten: self.straighten,
            build_time_limit: self.build_time_limit,
            stop: member.stop.clone(),
        });
        let serving = member.serve(self.lease, self.slots, move |work: Work<BuildClaim>| {
            let worker = Arc::clone(&worker);
            async move { worker.handle(work).await }
        });
        tokio::select! {
            () = serving => {}
            // Briefs that others hand in through the database are planned at once, too.
            () = member.store.listen() => {}
        }
    }
}

/// How tasks are run.
#[derive(Debug, Clone)]
pub struct TaskConfig {
    /// Tasks run at once, in this process. Some may take more than one slot.
    pub slots: u32,
    pub lease: Duration,
    pub time_limit: Duration,
    pub cache: cache::Config,
}

impl TaskConfig {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            slots: reader.number("BUILDFLEET_TASK_SLOTS", 1, 1000),
            lease: reader.lease(),
            time_limit: reader.secs("BUILDFLEET_TASK_TIMEOUT_SECS", 1, 24 * 3600),
            cache: cache::Config {
                within: reader.secs("BUILDFLEET_CACHE_SECS", 0, 30 * 24 * 3600),
                across_tenants: reader.flag("BUILDFLEET_CACHE_ACROSS_TENANTS"),
            },
        }
    }

    /// Runs tasks until the member is stopped.
    pub async fn serve(self, member: &Member, runner: Arc<dyn Runner>) {
        let worker = Arc::new(TaskWorker {
            store: Arc::clone(&member.store),
            runner,
            cache: Cache::new(Arc::clone(&member.store), self.cache),
            lease: self.lease,
            time_limit: self.time_limit,
            retry: Policy::WORK,
            stop: member.stop.clone(),
        });
        member
            .serve(self.lease, self.slots, move |work: Work<TaskClaim>| {
                let worker = Arc::clone(&worker);
                async move { worker.handle(work).await }
            })
            .await;
    }
}
