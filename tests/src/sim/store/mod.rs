//! A store in memory, as plain as can be: a model of what `trait Store` promises.
//!
//! Maps behind one lock, each verb one step on a clock that a test may hold. It asks the same
//! domain as the real stores and passes the same conformance suite; there is no database in it that
//! could help it to be right. `Plant` makes it wrong on purpose.

mod builds;
mod changing;
mod controls;
mod deliveries;
mod ending;
pub mod feed;
mod fleet;
mod forking;
mod lanes;
mod leases;
mod operating;
mod plans;
mod record;
mod settling;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use buildfleet::{
    domain::{
        attempt::{Failure, Outcome},
        event::Event,
        id::{BuildId, DeliveryId, HolderId, PlanId, TaskId},
        limit::{Gate, Limit},
        plan::{DraftTask, Plan},
        retry::{Jitter, Policy},
        settle::ByHand,
    },
    job::{Job, Lane},
    store::{
        Adoption, Ask, AttemptView, AuditEntry, AuditWanted, Bell, Build, BuildClaim, BuildsWanted,
        DeliveriesWanted, Delivery, DeliveryAttempt, DeliveryClaim, Error, EventView, Fence,
        FileContent, FileView, LaneView, NewBuild, Page, Pause, PlanView, Prerequisite, SendResult,
        Store, Submitted, Task, TaskClaim, Worker, WorkerBeat, conformance::Ageing,
    },
};
use serde_json::Value;
use tokio::time::Instant;

use feed::{Plant, Watch};
use record::Record;

/// When the model's time begins: milliseconds since 1970.
const BEGINNING: i64 = 1_763_683_200_000;

/// A connection to the record: it has a bell of its own, as each process has.
#[derive(Clone)]
pub struct Model {
    shared: Arc<Shared>,
    bell: Bell,
}

struct Shared {
    record: Mutex<Record>,
    opened: Instant,
    /// How far the clock was put forward by hand.
    put_forward: Mutex<Duration>,
}

impl Model {
    pub fn new(plant: Option<Plant>) -> Self {
        let record = Mutex::new(Record::new(plant));
        let put_forward = Mutex::default();
        let shared = Arc::new(Shared { record, opened: Instant::now(), put_forward });
        Self { shared, bell: Bell::default() }
    }

    /// Another process's connection to the same record.
    #[must_use]
    pub fn connect(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), bell: Bell::default() }
    }

    /// From now on, `watch` hears of every commit.
    pub fn watched_by(&self, watch: Box<dyn Watch>) {
        let mut record = self.record();
        record.now = self.now();
        record.watch = Some(watch);
        record.tell_limits();
        record.end_commit("watched_by", None, false);
    }

    /// Puts the clock of the record forward.
    pub fn put_forward(&self, by: Duration) {
        *self.shared.put_forward.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Milliseconds since 1970, by the clock of the record.
    pub fn now(&self) -> i64 {
        let put_forward = *self.shared.put_forward.lock().unwrap_or_else(PoisonError::into_inner);
        record::later(BEGINNING, self.shared.opened.elapsed() + put_forward)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // A verb that panicked has shown a bug of the model, and the run ends with it.
        self.shared.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        let mut record = self.record();
        record.now = self.now();
        look(&record)
    }

    fn commit<T>(
        &self,
        verb: &'static str,
        fence: Option<Fence>,
        change: impl FnOnce(&mut Record) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (done, claimable, recalled) = {
            let mut record = self.record();
            record.now = self.now();
            let done = change(&mut record);
            record.close_up();
            record.end_commit(verb, fence, done.is_err());
            let claimable = std::mem::take(&mut record.claimable);
            (done, claimable, std::mem::take(&mut record.recalled))
        };
        if done.is_ok() {
            if !claimable.is_empty() {
                self.bell.ring(claimable);
            }
            recalled.into_iter().for_each(|build| self.bell.recall(build));
            self.bell.ring([]);
        }
        done
    }

    fn change(&self, verb: &'static str, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        self.commit(verb, None, |record| {
            change(record);
            Ok(())
        })
    }
}

#[async_trait]
impl Ageing for Model {
    async fn age(&self, by: Duration) {
        self.put_forward(by);
    }

    async fn prefer(&self, job: Job) -> bool {
        let mut record = self.record();
        record.now = self.now();
        record.move_to_front(job)
    }
}

#[async_trait]
impl Store for Model {
    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn submit(&self, new: NewBuild) -> Result<Submitted, Error> {
        self.commit("submit", None, |record| record.submit(new))
    }

    async fn build(&self, id: BuildId) -> Result<Build, Error> {
        self.look(|record| record.view_build(id))
    }

    async fn builds(&self, wanted: &BuildsWanted) -> Result<Page<Build>, Error> {
        self.look(|record| record.list_builds(wanted))
    }

    async fn cancel_build(&self, id: BuildId) -> Result<Build, Error> {
        self.commit("cancel_build", None, |record| record.cancel_build(id))
    }

    async fn retry_build(&self, id: BuildId) -> Result<Build, Error> {
        self.commit("retry_build", None, |record| record.retry_build(id))
    }

    async fn approve_plan(&self, id: PlanId) -> Result<Build, Error> {
        self.commit("approve_plan", None, |record| record.approve_plan(id))
    }

    async fn reject_plan(&self, id: PlanId, code: &str, reason: &str) -> Result<Build, Error> {
        self.commit("reject_plan", None, |record| record.reject_plan(id, code, reason))
    }

    async fn claim_builds(&self, ask: &Ask) -> Result<Vec<BuildClaim>, Error> {
        self.commit("claim_builds", None, |record| record.claim_builds(ask))
    }

    async fn note_planning(&self, claim: &BuildClaim, event: Event) -> Result<(), Error> {
        let fence = Some(claim.fence());
        self.commit("note_planning", fence, |record| record.note_planning(claim, event))
    }

    async fn adopt_plan(
        &self,
        claim: &BuildClaim,
        plan: &Plan,
        adoption: Adoption,
    ) -> Result<(), Error> {
        let fence = Some(claim.fence());
        self.commit("adopt_plan", fence, |record| record.adopt_plan(claim, plan, adoption))
    }

    async fn settle_planning(
        &self,
        claim: &BuildClaim,
        failure: &Failure,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        self.commit("settle_planning", Some(claim.fence()), |record| {
            record.settle_planning(claim.build, claim.attempt, failure, policy, jitter)
        })
    }

    async fn plan_of(&self, build: BuildId) -> Result<PlanView, Error> {
        self.look(|record| record.plan_of(build))
    }

    async fn plan(&self, id: PlanId) -> Result<PlanView, Error> {
        self.look(|record| Ok(record.plan_row(id)?.view.clone()))
    }

    async fn tasks(&self, build: BuildId) -> Result<Vec<Task>, Error> {
        self.look(|record| {
            let rows = record.tasks_of(build)?;
            Ok(rows.into_iter().map(|row| record.view_task(row)).collect())
        })
    }

    async fn task(&self, id: TaskId) -> Result<Task, Error> {
        self.look(|record| {
            let row = record.tasks.get(&id).ok_or_else(|| Error::not_found(id))?;
            Ok(record.view_task(row))
        })
    }

    async fn task_attempts(&self, id: TaskId) -> Result<Vec<AttemptView>, Error> {
        self.look(|record| record.attempts_of(id))
    }

    async fn claim_tasks(&self, ask: &Ask) -> Result<Vec<TaskClaim>, Error> {
        self.commit("claim_tasks", None, |record| record.claim_tasks(ask))
    }

    async fn settle_task(
        &self,
        fence: Fence,
        outcome: Outcome,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        self.commit("settle_task", Some(fence), |record| {
            record.settle_task(fence, outcome, policy, jitter)
        })
    }

    async fn add_tasks(&self, build: BuildId, tasks: &[DraftTask]) -> Result<Vec<Task>, Error> {
        self.commit("add_tasks", None, |record| record.add_tasks(build, tasks))
    }

    async fn end_task(&self, id: TaskId, how: ByHand, reason: &str) -> Result<Task, Error> {
        self.commit("end_task", None, |record| record.end_task(id, how, reason))
    }

    async fn retry_task(&self, id: TaskId) -> Result<Task, Error> {
        self.commit("retry_task", None, |record| record.retry_task(id))
    }

    async fn fork(&self, task: TaskId, input: Option<&Value>) -> Result<Build, Error> {
        self.commit("fork", None, |record| record.fork(task, input))
    }

    async fn remaining(&self, build: BuildId) -> Result<Option<Duration>, Error> {
        self.look(|record| record.remaining(build))
    }

    async fn prerequisites(&self, task: TaskId) -> Result<Vec<Prerequisite>, Error> {
        self.look(|record| record.prerequisites(task))
    }

    async fn extend(
        &self,
        holder: HolderId,
        held: &[Fence],
        lease: Duration,
    ) -> Result<Vec<Fence>, Error> {
        self.commit("extend", None, |record| Ok(record.extend(holder, held, lease)))
    }

    async fn give_back(&self, fence: Fence) -> Result<(), Error> {
        self.commit("give_back", Some(fence), |record| record.give_back(fence))
    }

    async fn lapsed(&self, limit: u32) -> Result<Vec<Fence>, Error> {
        Ok(self.look(|record| record.lapsed(limit)))
    }

    async fn lapse_all(&self) -> Result<u64, Error> {
        self.commit("lapse_all", None, |record| Ok(record.lapse_all()))
    }

    async fn settle_lost(
        &self,
        fence: Fence,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        self.commit("settle_lost", Some(fence), |record| record.settle_lost(fence, policy, jitter))
    }

    async fn end_overdue(&self, limit: u32) -> Result<u32, Error> {
        self.commit("end_overdue", None, |record| record.end_overdue(limit))
    }

    async fn events(
        &self,
        build: BuildId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<EventView>, Error> {
        self.look(|record| {
            let events = record.build_row(build)?.events.iter();
            Ok(events.filter(|event| after < event.seq).take(limit as usize).cloned().collect())
        })
    }

    async fn files(&self, build: BuildId) -> Result<Vec<FileView>, Error> {
        self.look(|record| {
            let files = record.build_row(build)?.files.values();
            Ok(files.map(|file| file.file.clone()).collect())
        })
    }

    async fn file(&self, build: BuildId, path: &str) -> Result<FileContent, Error> {
        self.look(|record| {
            let file = record.build_row(build)?.files.get(path);
            file.cloned().ok_or_else(|| Error::not_found(format_args!("{path} of {build}")))
        })
    }

    async fn file_contents(&self, build: BuildId) -> Result<Vec<FileContent>, Error> {
        self.look(|record| Ok(record.build_row(build)?.files.values().cloned().collect()))
    }

    async fn claim_deliveries(&self, ask: &Ask) -> Result<Vec<DeliveryClaim>, Error> {
        self.commit("claim_deliveries", None, |record| record.claim_deliveries(ask))
    }

    async fn settle_delivery(
        &self,
        fence: Fence,
        result: &SendResult,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let Job::Delivery(id) = fence.job else { return Err(Error::Fenced) };
        self.commit("settle_delivery", Some(fence), |record| {
            record.settle_delivery(id, fence.attempt, result, policy, jitter)
        })
    }

    async fn deliveries(&self, wanted: &DeliveriesWanted) -> Result<Page<Delivery>, Error> {
        self.look(|record| record.list_deliveries(wanted))
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Delivery, Error> {
        self.look(|record| record.view_delivery(id))
    }

    async fn delivery_attempts(&self, id: DeliveryId) -> Result<Vec<DeliveryAttempt>, Error> {
        self.look(|record| record.delivery_attempts(id))
    }

    async fn redeliver(&self, id: DeliveryId) -> Result<Delivery, Error> {
        self.commit("redeliver", None, |record| record.redeliver(id))
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }

    async fn next_due(&self, lane: Lane) -> Result<Option<Duration>, Error> {
        Ok(self.look(|record| record.next_due(lane)))
    }

    async fn limits(&self) -> Result<Vec<Limit>, Error> {
        Ok(self.look(|record| record.limits.values().cloned().collect()))
    }

    async fn put_limit(&self, limit: &Limit, by: &str) -> Result<(), Error> {
        self.change("put_limit", |record| record.put_limit(limit, by))
    }

    async fn remove_limit(&self, name: &str, by: &str) -> Result<(), Error> {
        self.commit("remove_limit", None, |record| record.remove_limit(name, by))
    }

    async fn weights(&self) -> Result<Vec<(String, f64)>, Error> {
        Ok(self.look(|record| {
            record.weights.iter().map(|(tenant, weight)| (tenant.clone(), *weight)).collect()
        }))
    }

    async fn put_weight(&self, tenant: &str, weight: f64, by: &str) -> Result<(), Error> {
        self.change("put_weight", |record| record.put_weight(tenant, weight, by))
    }

    async fn pause(&self, gate: &Gate, by: &str) -> Result<(), Error> {
        self.commit("pause", None, |record| record.pause(gate, by))
    }

    async fn resume(&self, gate: &Gate, by: &str) -> Result<(), Error> {
        self.change("resume", |record| record.resume(gate, by))
    }

    async fn paused(&self) -> Result<Vec<Pause>, Error> {
        Ok(self.look(|record| record.pauses.values().cloned().collect()))
    }

    async fn audit(&self, wanted: &AuditWanted) -> Result<Page<AuditEntry>, Error> {
        Ok(self.look(|record| record.audit(wanted)))
    }

    async fn beat(&self, worker: &WorkerBeat) -> Result<(), Error> {
        self.change("beat", |record| record.beat(worker))
    }

    async fn sign_off(&self, holder: HolderId) -> Result<(), Error> {
        self.change("sign_off", |record| drop(record.workers.remove(&holder)))
    }

    async fn workers(&self) -> Result<Vec<Worker>, Error> {
        Ok(self.look(Record::list_workers))
    }

    async fn lanes(&self) -> Result<Vec<LaneView>, Error> {
        Ok(self.look(|record| Lane::ALL.iter().map(|lane| record.view_lane(*lane)).collect()))
    }
}
