//! The store as one process sees it: every verb goes through the process's line.

use std::{collections::HashMap, future::Future, time::Duration};

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
        Adoption, Ask, AttemptView, AuditEntry, AuditWanted, Bell, Build, BuildClaim, BuildFilter,
        BuildsFound, BuildsWanted, DeliveriesFound, DeliveriesWanted, Delivery, DeliveryAttempt,
        DeliveryClaim, DeliveryFilter, Error, EventView, Failed, FailedWanted, Fence, FileContent,
        FileView, LaneView, NewBuild, Operating, Page, Parked, Pause, PlanView, Prerequisite,
        SendResult, Store, Submitted, Task, TaskClaim, Wait, Worker, WorkerBeat, audit::Change,
    },
};
use serde_json::Value;

use super::{
    line::{Fate, Line, To, pause},
    store::Model,
};

pub struct FaultyStore {
    model: Model,
    line: Line,
}

impl FaultyStore {
    pub fn new(model: Model, line: Line) -> Self {
        Self { model, line }
    }

    async fn call<T, F>(&self, ask: impl FnOnce(Model) -> F + Send) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.line.pass().await;
        let answer = match self.line.fate(To::Store) {
            Fate::Fine { there, back } => {
                pause(there).await;
                let answer = ask(self.model.clone()).await;
                pause(back).await;
                answer
            }
            Fate::Refused { after } => {
                pause(after).await;
                Err(silent())
            }
            Fate::Unheard { there, back } => {
                pause(there).await;
                // Whoever does not hear of a commit rings for nothing.
                let answer = ask(self.model.connect()).await;
                pause(back).await;
                answer.and_then(|_| Err(silent()))
            }
            Fate::Late { after } => {
                let done = ask(self.model.connect());
                self.line.world().in_server(async move {
                    pause(after).await;
                    done.await.ok();
                });
                Err(silent())
            }
        };
        self.line.pass().await;
        answer
    }

    /// Chance belongs to the seed: the engine's own is left aside.
    fn jitter(&self) -> Jitter {
        Jitter::new(self.line.draw(super::chance::Chance::lot))
    }
}

fn silent() -> Error {
    Error::unavailable("the connection was cut")
}

#[async_trait]
impl Store for FaultyStore {
    fn bell(&self) -> &Bell {
        self.model.bell()
    }

    async fn submit(&self, new: NewBuild) -> Result<Submitted, Error> {
        self.call(|model| async move { model.submit(new).await }).await
    }

    async fn cancel_build(&self, id: BuildId) -> Result<Build, Error> {
        self.call(|model| async move { model.cancel_build(id).await }).await
    }

    async fn retry_build(&self, id: BuildId) -> Result<Build, Error> {
        self.call(|model| async move { model.retry_build(id).await }).await
    }

    async fn approve_plan(&self, id: PlanId) -> Result<Build, Error> {
        self.call(|model| async move { model.approve_plan(id).await }).await
    }

    async fn reject_plan(&self, id: PlanId, code: &str, reason: &str) -> Result<Build, Error> {
        let code = code.to_owned();
        let reason = reason.to_owned();
        self.call(|model| async move { model.reject_plan(id, &code, &reason).await }).await
    }

    async fn claim_builds(&self, ask: &Ask) -> Result<Vec<BuildClaim>, Error> {
        let ask = *ask;
        self.line.holds_as(ask.holder);
        self.call(|model| async move { model.claim_builds(&ask).await }).await
    }

    async fn note_planning(&self, claim: &BuildClaim, event: Event) -> Result<(), Error> {
        let claim = claim.clone();
        self.call(|model| async move { model.note_planning(&claim, event).await }).await
    }

    async fn adopt_plan(
        &self,
        claim: &BuildClaim,
        plan: &Plan,
        adoption: Adoption,
    ) -> Result<(), Error> {
        let claim = claim.clone();
        let plan = plan.clone();
        self.call(|model| async move { model.adopt_plan(&claim, &plan, adoption).await }).await
    }

    async fn settle_planning(
        &self,
        claim: &BuildClaim,
        failure: &Failure,
        policy: &Policy,
        _: Jitter,
    ) -> Result<(), Error> {
        let claim = claim.clone();
        let failure = failure.clone();
        let policy = *policy;
        let jitter = self.jitter();
        self.call(
            |model| async move { model.settle_planning(&claim, &failure, &policy, jitter).await },
        )
        .await
    }

    async fn claim_tasks(&self, ask: &Ask) -> Result<Vec<TaskClaim>, Error> {
        let ask = *ask;
        self.line.holds_as(ask.holder);
        self.call(|model| async move { model.claim_tasks(&ask).await }).await
    }

    async fn settle_task(
        &self,
        fence: Fence,
        outcome: Outcome,
        policy: &Policy,
        _: Jitter,
    ) -> Result<(), Error> {
        let policy = *policy;
        let jitter = self.jitter();
        self.call(|model| async move { model.settle_task(fence, outcome, &policy, jitter).await })
            .await
    }

    async fn add_tasks(&self, build: BuildId, tasks: &[DraftTask]) -> Result<Vec<Task>, Error> {
        let tasks = tasks.to_vec();
        self.call(|model| async move { model.add_tasks(build, &tasks).await }).await
    }

    async fn end_task(&self, id: TaskId, how: ByHand, reason: &str) -> Result<Task, Error> {
        let reason = reason.to_owned();
        self.call(|model| async move { model.end_task(id, how, &reason).await }).await
    }

    async fn retry_task(&self, id: TaskId) -> Result<Task, Error> {
        self.call(|model| async move { model.retry_task(id).await }).await
    }

    async fn fork(&self, task: TaskId, input: Option<&Value>) -> Result<Build, Error> {
        let input = input.cloned();
        self.call(|model| async move { model.fork(task, input.as_ref()).await }).await
    }

    async fn extend(
        &self,
        holder: HolderId,
        held: &[Fence],
        lease: Duration,
    ) -> Result<Vec<Fence>, Error> {
        let held = held.to_vec();
        self.call(|model| async move { model.extend(holder, &held, lease).await }).await
    }

    async fn give_back(&self, fence: Fence) -> Result<(), Error> {
        self.call(|model| async move { model.give_back(fence).await }).await
    }

    async fn lapsed(&self, limit: u32) -> Result<Vec<Fence>, Error> {
        self.call(|model| async move { model.lapsed(limit).await }).await
    }

    async fn settle_lost(&self, fence: Fence, policy: &Policy, _: Jitter) -> Result<(), Error> {
        let policy = *policy;
        let jitter = self.jitter();
        self.call(|model| async move { model.settle_lost(fence, &policy, jitter).await }).await
    }

    async fn end_overdue(&self, limit: u32) -> Result<u32, Error> {
        self.call(|model| async move { model.end_overdue(limit).await }).await
    }

    async fn claim_deliveries(&self, ask: &Ask) -> Result<Vec<DeliveryClaim>, Error> {
        let ask = *ask;
        self.line.holds_as(ask.holder);
        self.call(|model| async move { model.claim_deliveries(&ask).await }).await
    }

    async fn settle_delivery(
        &self,
        fence: Fence,
        result: &SendResult,
        policy: &Policy,
        _: Jitter,
    ) -> Result<(), Error> {
        let result = result.clone();
        let policy = *policy;
        let jitter = self.jitter();
        self.call(
            |model| async move { model.settle_delivery(fence, &result, &policy, jitter).await },
        )
        .await
    }

    async fn redeliver(&self, id: DeliveryId) -> Result<Delivery, Error> {
        self.call(|model| async move { model.redeliver(id).await }).await
    }

    async fn next_due(&self, lane: Lane) -> Result<Option<Duration>, Error> {
        self.call(|model| async move { model.next_due(lane).await }).await
    }

    async fn put_limit(&self, limit: &Limit, by: &str) -> Result<(), Error> {
        let limit = limit.clone();
        let by = by.to_owned();
        self.call(|model| async move { model.put_limit(&limit, &by).await }).await
    }

    async fn remove_limit(&self, name: &str, by: &str) -> Result<(), Error> {
        let name = name.to_owned();
        let by = by.to_owned();
        self.call(|model| async move { model.remove_limit(&name, &by).await }).await
    }

    async fn put_weight(&self, tenant: &str, weight: f64, by: &str) -> Result<(), Error> {
        let tenant = tenant.to_owned();
        let by = by.to_owned();
        self.call(|model| async move { model.put_weight(&tenant, weight, &by).await }).await
    }

    async fn pause(&self, gate: &Gate, by: &str) -> Result<(), Error> {
        let gate = gate.clone();
        let by = by.to_owned();
        self.call(|model| async move { model.pause(&gate, &by).await }).await
    }

    async fn resume(&self, gate: &Gate, by: &str) -> Result<(), Error> {
        let gate = gate.clone();
        let by = by.to_owned();
        self.call(|model| async move { model.resume(&gate, &by).await }).await
    }

    async fn beat(&self, worker: &WorkerBeat) -> Result<(), Error> {
        let worker = worker.clone();
        self.call(|model| async move { model.beat(&worker).await }).await
    }

    async fn sign_off(&self, holder: HolderId) -> Result<(), Error> {
        self.call(|model| async move { model.sign_off(holder).await }).await
    }

    // What nobody but a client asks for is answered at once.

    async fn ping(&self) -> Result<(), Error> {
        self.model.ping().await
    }

    async fn build(&self, id: BuildId) -> Result<Build, Error> {
        self.model.build(id).await
    }

    async fn builds(&self, wanted: &BuildsWanted) -> Result<Page<Build>, Error> {
        self.model.builds(wanted).await
    }

    async fn plan_of(&self, build: BuildId) -> Result<PlanView, Error> {
        self.model.plan_of(build).await
    }

    async fn plan(&self, id: PlanId) -> Result<PlanView, Error> {
        self.model.plan(id).await
    }

    async fn tasks(&self, build: BuildId) -> Result<Vec<Task>, Error> {
        self.model.tasks(build).await
    }

    async fn task(&self, id: TaskId) -> Result<Task, Error> {
        self.model.task(id).await
    }

    async fn task_attempts(&self, id: TaskId) -> Result<Vec<AttemptView>, Error> {
        self.model.task_attempts(id).await
    }

    async fn remaining(&self, build: BuildId) -> Result<Option<Duration>, Error> {
        self.model.remaining(build).await
    }

    async fn prerequisites(&self, task: TaskId) -> Result<Vec<Prerequisite>, Error> {
        self.model.prerequisites(task).await
    }

    async fn lapse_all(&self) -> Result<u64, Error> {
        self.model.lapse_all().await
    }

    async fn events(
        &self,
        build: BuildId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<EventView>, Error> {
        self.model.events(build, after, limit).await
    }

    async fn files(&self, build: BuildId) -> Result<Vec<FileView>, Error> {
        self.model.files(build).await
    }

    async fn file(&self, build: BuildId, path: &str) -> Result<FileContent, Error> {
        self.model.file(build, path).await
    }

    async fn file_contents(&self, build: BuildId) -> Result<Vec<FileContent>, Error> {
        self.model.file_contents(build).await
    }

    async fn deliveries(&self, wanted: &DeliveriesWanted) -> Result<Page<Delivery>, Error> {
        self.model.deliveries(wanted).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Delivery, Error> {
        self.model.delivery(id).await
    }

    async fn delivery_attempts(&self, id: DeliveryId) -> Result<Vec<DeliveryAttempt>, Error> {
        self.model.delivery_attempts(id).await
    }

    async fn limits(&self) -> Result<Vec<Limit>, Error> {
        self.model.limits().await
    }

    async fn weights(&self) -> Result<Vec<(String, f64)>, Error> {
        self.model.weights().await
    }

    async fn paused(&self) -> Result<Vec<Pause>, Error> {
        self.model.paused().await
    }

    async fn audit(&self, wanted: &AuditWanted) -> Result<Page<AuditEntry>, Error> {
        self.model.audit(wanted).await
    }

    async fn workers(&self) -> Result<Vec<Worker>, Error> {
        self.model.workers().await
    }

    async fn lanes(&self) -> Result<Vec<LaneView>, Error> {
        self.model.lanes().await
    }
}

#[async_trait]
impl Operating for FaultyStore {
    async fn waits(&self, jobs: &[Job]) -> Result<HashMap<Job, Wait>, Error> {
        self.model.waits(jobs).await
    }

    async fn paused_at(&self, gates: &[Gate]) -> Result<Vec<Pause>, Error> {
        self.model.paused_at(gates).await
    }

    async fn parked(&self) -> Result<Vec<Parked>, Error> {
        self.model.parked().await
    }

    async fn find_builds(&self, wanted: &BuildsFound) -> Result<Page<BuildId>, Error> {
        self.model.find_builds(wanted).await
    }

    async fn count_builds(&self, filter: &BuildFilter) -> Result<u64, Error> {
        self.model.count_builds(filter).await
    }

    async fn find_deliveries(&self, wanted: &DeliveriesFound) -> Result<Page<DeliveryId>, Error> {
        self.model.find_deliveries(wanted).await
    }

    async fn count_deliveries(&self, filter: &DeliveryFilter) -> Result<u64, Error> {
        self.model.count_deliveries(filter).await
    }

    async fn failed(&self, wanted: &FailedWanted) -> Result<Page<Failed>, Error> {
        self.model.failed(wanted).await
    }

    async fn planning_attempts(&self, build: BuildId) -> Result<Vec<AttemptView>, Error> {
        self.model.planning_attempts(build).await
    }

    async fn note(&self, change: &Change<'_>, by: &str) -> Result<(), Error> {
        self.model.note(change, by).await
    }
}
