//! The record of a fleet, on Postgres 15 or newer.
//!
//! Locks are taken in one order: builds by id (`lock.rs`), then flows, then the row of a lane and
//! its buckets, so that commits which touch one build follow each other and none waits in a circle.
//! A claim holds its lane first, and so waits for no build. Instants are stamped by the database.
//! Each file is one noun; this one lists the verbs.

mod connecting;
mod lock;
mod rows;
mod builds;
mod submitting;
mod planning;
mod adopting;
mod plans;
mod tasks;
mod inserting;
mod settling;
mod releasing;
mod losing;
mod ending;
mod retrying;
mod growing;
mod reviving;
mod forking;
mod estimating;
mod leases;
mod events;
mod files;
mod deliveries;
mod choosing;
mod answering;
mod fares;
mod endpoints;
mod probes;
mod replays;
mod queueing;
mod closing;
mod claiming;
mod limits;
mod desk;
mod fleet;
mod operating;
mod results;
mod forgetting;
mod listening;
mod upkeep;
#[cfg(feature = "conformance")]
mod ageing;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::PgPool;
use tokio::sync::Mutex;

use self::{
    adopting::Adopted, answering::Answered, choosing::Looked, claiming::Claimed, desk::Desk,
    probes::Probe, queueing::Flows, settling::Ended,
};
use super::*;

/// A pool of connections to one database.
#[derive(Debug, Clone)]
pub struct Postgres {
    db: Db,
    submissions: Desk<NewBuild>,
    plans: Desk<Adopted>,
    settlements: Desk<Ended>,
    answers: Desk<Answered>,
    probes: Desk<Probe>,
    looked: Looked,
}

/// What verbs need; cheap to clone.
#[derive(Debug, Clone)]
struct Db {
    pool: PgPool,
    flows: Flows,
    bell: Bell,
    /// Held by whoever closes up flows.
    walking: Arc<Mutex<()>>,
}

impl Postgres {
    /// Connects and brings the schema up to date; several programs may do so at once.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let (pool, flows) = connecting::open(url).await?;
        let db = Db { pool, flows, bell: Bell::default(), walking: Arc::default() };
        Ok(Self {
            submissions: Desk::open(db.clone()),
            plans: Desk::open(db.clone()),
            settlements: Desk::open(db.clone()),
            answers: Desk::open(db.clone()),
            probes: Desk::open(db.clone()),
            looked: Looked::default(),
            db,
        })
    }

    /// Claims and rings for what came of it. Waits for whoever is in the way of everything.
    async fn claim<T, F>(&self, lane: Lane, claim: impl Fn() -> F) -> Result<Vec<T>, Error>
    where
        F: Future<Output = Result<Claimed<T>, Error>>,
    {
        let mut claimed = again(&claim).await?;
        // Whoever is always a little later than somebody else hears of the next chance by the bell.
        for _ in 0..20 {
            let (true, Some(build)) = (claimed.claims.is_empty(), claimed.passed_over) else {
                break;
            };
            claiming::wait_for(&self.db.pool, build).await?;
            claimed = again(&claim).await?;
        }
        self.db.bell.ring(claimed.entered);
        if let Some(wait) = claimed.again_in {
            self.db.bell.put_off(lane, tokio::time::Instant::now() + wait);
        }
        Ok(claimed.claims)
    }

    /// A gate may have opened, in any lane.
    fn look_again(&self) {
        self.db.bell.ring(claiming::wake_ups(Lane::ALL));
    }

    fn rings<T>(&self, (answer, claimable): (T, Vec<Job>)) -> T {
        self.db.bell.ring(claimable);
        answer
    }
}

/// Runs a commit again if it met another one in a way that only Postgres could see.
async fn again<T, F: Future<Output = Result<T, Error>>>(
    commit: impl Fn() -> F,
) -> Result<T, Error> {
    // Meeting anybody five times in a row is no accident.
    for _ in 0..4 {
        match commit().await {
            Err(Error::Unavailable { source }) if is_passing(source.as_ref()) => {}
            settled => return settled,
        }
    }
    commit().await
}

fn is_passing(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    // Serialization failure, deadlock detected.
    matches!(code(source).as_deref(), Some("40001" | "40P01"))
}

/// Whether a lock was not to be had in the time that was given.
fn is_locked(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    code(source).as_deref() == Some("55P03")
}

fn code<'a>(
    source: &'a (dyn std::error::Error + Send + Sync + 'static),
) -> Option<std::borrow::Cow<'a, str>> {
    source.downcast_ref::<sqlx::Error>()?.as_database_error()?.code()
}

/// Seconds for `make_interval`, within what Postgres can add to an instant.
fn secs(duration: Duration) -> f64 {
    // A thousand years.
    duration.as_secs_f64().min(31_557_600_000.0)
}

#[async_trait]
impl Store for Postgres {
    async fn ping(&self) -> Result<(), Error> {
        sqlx::query("select 1").execute(&self.db.pool).await?;
        Ok(())
    }

    async fn submit(&self, new: NewBuild) -> Result<Submitted, Error> {
        let submitted = self.submissions.write(new).await?;
        if let Submitted::New(build) = &submitted {
            self.db.bell.ring([Job::Plan(build.id)]);
        }
        Ok(submitted)
    }

    async fn build(&self, id: BuildId) -> Result<Build, Error> {
        builds::view(&mut *self.db.pool.acquire().await?, id).await
    }

    async fn builds(&self, wanted: &BuildsWanted) -> Result<Page<Build>, Error> {
        builds::list(&self.db.pool, wanted).await
    }

    async fn cancel_build(&self, id: BuildId) -> Result<Build, Error> {
        again(|| ending::cancel(&self.db, id)).await
    }

    async fn retry_build(&self, id: BuildId) -> Result<Build, Error> {
        again(|| retrying::retry(&self.db, id)).await.map(|done| self.rings(done))
    }

    async fn approve_plan(&self, id: PlanId) -> Result<Build, Error> {
        again(|| plans::approve(&self.db, id)).await.map(|done| self.rings(done))
    }

    async fn reject_plan(&self, id: PlanId, code: &str, reason: &str) -> Result<Build, Error> {
        again(|| ending::reject(&self.db, id, code, reason)).await
    }

    async fn claim_builds(&self, ask: &Ask) -> Result<Vec<BuildClaim>, Error> {
        again(|| queueing::rank_handed_in(&self.db)).await?;
        self.claim(Lane::Plans, || planning::claim(&self.db, ask)).await
    }

    async fn note_planning(&self, claim: &BuildClaim, event: Event) -> Result<(), Error> {
        let entered = again(|| planning::note(&self.db, claim, &event)).await?;
        self.db.bell.ring(entered);
        Ok(())
    }

    async fn adopt_plan(
        &self,
        claim: &BuildClaim,
        plan: &Plan,
        adoption: Adoption,
    ) -> Result<(), Error> {
        let adopted = Adopted {
            build: claim.build,
            attempt: claim.attempt,
            on_loss: claim.brief.on_loss,
            plan: plan.clone(),
            adoption,
        };
        if adopting::GATHERED_MOST < plan.tasks.len() {
            again(|| adopting::adopt(&self.db, &adopted)).await
        } else {
            self.plans.write(adopted).await
        }
    }

    async fn settle_planning(
        &self,
        claim: &BuildClaim,
        failure: &Failure,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let held = leases::Held::by_claim(claim.attempt);
        let law = (policy, jitter);
        let entered = again(|| planning::settle(&self.db, claim.build, held, failure, law)).await?;
        self.db.bell.ring(entered);
        Ok(())
    }

    async fn plan_of(&self, build: BuildId) -> Result<PlanView, Error> {
        plans::newest(&self.db.pool, build).await
    }

    async fn plan(&self, id: PlanId) -> Result<PlanView, Error> {
        plans::view(&self.db.pool, id).await
    }

    async fn tasks(&self, build: BuildId) -> Result<Vec<Task>, Error> {
        tasks::list(&self.db.pool, build).await
    }

    async fn task(&self, id: TaskId) -> Result<Task, Error> {
        tasks::view(&mut *self.db.pool.acquire().await?, id).await
    }

    async fn task_attempts(&self, id: TaskId) -> Result<Vec<AttemptView>, Error> {
        tasks::attempts(&self.db.pool, id).await
    }

    async fn claim_tasks(&self, ask: &Ask) -> Result<Vec<TaskClaim>, Error> {
        self.claim(Lane::Tasks, || tasks::claim(&self.db, ask)).await
    }

    async fn settle_task(
        &self,
        fence: Fence,
        outcome: Outcome,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let Job::Task(task) = fence.job else { return Err(Error::Fenced) };
        let held = leases::Held::by_claim(fence.attempt);
        self.settlements.write(Ended { task, held, outcome, policy: *policy, jitter }).await
    }

    async fn add_tasks(&self, build: BuildId, tasks: &[DraftTask]) -> Result<Vec<Task>, Error> {
        again(|| growing::add(&self.db, build, tasks)).await.map(|done| self.rings(done))
    }

    async fn end_task(&self, id: TaskId, how: ByHand, reason: &str) -> Result<Task, Error> {
        again(|| losing::end_by_hand(&self.db, id, how, reason)).await
    }

    async fn retry_task(&self, id: TaskId) -> Result<Task, Error> {
        again(|| reviving::retry(&self.db, id)).await.map(|done| self.rings(done))
    }

    async fn fork(&self, task: TaskId, input: Option<&Value>) -> Result<Build, Error> {
        again(|| forking::fork(&self.db, task, input)).await.map(|done| self.rings(done))
    }

    async fn remaining(&self, build: BuildId) -> Result<Option<Duration>, Error> {
        estimating::remaining(&self.db.pool, build).await
    }

    async fn prerequisites(&self, task: TaskId) -> Result<Vec<Prerequisite>, Error> {
        files::prerequisites(&self.db.pool, task).await
    }

    async fn extend(
        &self,
        holder: HolderId,
        held: &[Fence],
        lease: Duration,
    ) -> Result<Vec<Fence>, Error> {
        leases::extend(&self.db.pool, holder, held, lease).await
    }

    async fn give_back(&self, fence: Fence) -> Result<(), Error> {
        again(|| leases::give_back(&self.db, fence)).await
    }

    async fn lapsed(&self, limit: u32) -> Result<Vec<Fence>, Error> {
        leases::lapsed(&self.db.pool, limit).await
    }

    async fn lapse_all(&self) -> Result<u64, Error> {
        again(|| leases::lapse_all(&self.db.pool)).await
    }

    async fn settle_lost(
        &self,
        fence: Fence,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        again(|| leases::settle_lost(&self.db, fence, (policy, jitter))).await
    }

    async fn end_overdue(&self, limit: u32) -> Result<u32, Error> {
        ending::end_overdue(&self.db, limit).await
    }

    async fn events(
        &self,
        build: BuildId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<EventView>, Error> {
        events::list(&self.db.pool, build, after, limit).await
    }

    async fn files(&self, build: BuildId) -> Result<Vec<FileView>, Error> {
        files::list(&self.db.pool, build).await
    }

    async fn file(&self, build: BuildId, path: &str) -> Result<FileContent, Error> {
        files::content(&self.db.pool, build, path).await
    }

    async fn file_contents(&self, build: BuildId) -> Result<Vec<FileContent>, Error> {
        files::contents(&self.db.pool, build).await
    }

    async fn claim_deliveries(&self, ask: &Ask) -> Result<Vec<DeliveryClaim>, Error> {
        self.claim(Lane::Deliveries, || choosing::claim(&self.db.pool, &self.looked, ask)).await
    }

    async fn settle_delivery(
        &self,
        fence: Fence,
        result: &SendResult,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let Job::Delivery(id) = fence.job else { return Err(Error::Fenced) };
        let held = leases::Held::by_claim(fence.attempt);
        let end = answering::End::Sent(Box::new(result.clone()));
        self.answers.write(Answered { id, held, end, policy: *policy, jitter }).await
    }

    async fn deliveries(&self, wanted: &DeliveriesWanted) -> Result<Page<Delivery>, Error> {
        deliveries::list(&self.db.pool, wanted).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Delivery, Error> {
        deliveries::view(&mut *self.db.pool.acquire().await?, id).await
    }

    async fn delivery_attempts(&self, id: DeliveryId) -> Result<Vec<DeliveryAttempt>, Error> {
        deliveries::attempts(&self.db.pool, id).await
    }

    async fn redeliver(&self, id: DeliveryId) -> Result<Delivery, Error> {
        again(|| deliveries::redeliver(&self.db, id)).await.map(|done| self.rings(done))
    }

    fn bell(&self) -> &Bell {
        &self.db.bell
    }

    async fn next_due(&self, lane: Lane) -> Result<Option<Duration>, Error> {
        let due = queueing::next_due(&self.db.pool, lane).await?;
        if lane != Lane::Deliveries || due == Some(Duration::ZERO) {
            return Ok(due);
        }
        let room = choosing::next_room(&self.db.pool).await?;
        Ok(due.into_iter().chain(room).min())
    }

    async fn limits(&self) -> Result<Vec<Limit>, Error> {
        limits::list(&self.db.pool).await
    }

    async fn put_limit(&self, limit: &Limit, by: &str) -> Result<(), Error> {
        again(|| limits::put(&self.db.pool, limit, by)).await?;
        self.look_again();
        Ok(())
    }

    async fn remove_limit(&self, name: &str, by: &str) -> Result<(), Error> {
        again(|| limits::remove(&self.db.pool, name, by)).await?;
        self.look_again();
        Ok(())
    }

    async fn weights(&self) -> Result<Vec<(String, f64)>, Error> {
        limits::weights(&self.db.pool).await
    }

    async fn put_weight(&self, tenant: &str, weight: f64, by: &str) -> Result<(), Error> {
        again(|| limits::put_weight(&self.db.pool, tenant, weight, by)).await
    }

    async fn pause(&self, gate: &Gate, by: &str) -> Result<(), Error> {
        again(|| limits::pause(&self.db.pool, gate, by)).await
    }

    async fn resume(&self, gate: &Gate, by: &str) -> Result<(), Error> {
        again(|| limits::resume(&self.db.pool, gate, by)).await?;
        self.look_again();
        Ok(())
    }

    async fn paused(&self) -> Result<Vec<Pause>, Error> {
        limits::paused(&self.db.pool).await
    }

    async fn audit(&self, wanted: &AuditWanted) -> Result<Page<AuditEntry>, Error> {
        limits::audit(&self.db.pool, wanted).await
    }

    async fn beat(&self, worker: &WorkerBeat) -> Result<(), Error> {
        again(|| fleet::beat(&self.db.pool, worker)).await
    }

    async fn sign_off(&self, holder: HolderId) -> Result<(), Error> {
        fleet::sign_off(&self.db.pool, holder).await
    }

    async fn workers(&self) -> Result<Vec<Worker>, Error> {
        fleet::workers(&self.db.pool).await
    }

    async fn lanes(&self) -> Result<Vec<LaneView>, Error> {
        fleet::lanes(&self.db.pool).await
    }
}
