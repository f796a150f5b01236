//! One suite for every store: each test is a promise of `trait Store`.
//!
//! `store_conformance!` makes a test of each against a fresh store without limits. No test sleeps:
//! a store under test is aged instead. What a store promises and no test here holds is not a
//! promise.

#![expect(clippy::unwrap_used, reason = "these are tests, compiled into the library")]

mod promises;
pub mod submitting;
pub mod planning;
pub mod running;
pub mod leases;
pub mod ending;
pub mod retrying;
pub mod losing;
pub mod growing;
pub mod controlling;
pub mod forking;
pub mod records;
pub mod deliveries;
pub mod endpoints;
pub mod faring;
pub mod recovering;
pub mod scheduling;
pub mod closing;
pub mod limiting;
pub mod pausing;
pub mod operating;
pub mod upkeep;
pub mod fleet;

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;

use super::{bell::Rung, *};
use crate::{
    domain::{
        attempt::{Failure, Outcome, Output, OutputFile},
        brief::Brief,
        build,
        event::Kind,
        id::{BuildId, EndpointId, HolderId, PlanId, TaskId},
        plan::Draft,
        retry::{Jitter, Policy},
        task,
    },
    draw,
};

/// A store whose clock can be put forward.
#[async_trait]
pub trait Ageing: Store {
    /// Makes everything in the store older by `by`, as if that much time had passed: every instant
    /// of every row moves into the past (leases, due times, deadlines, beats, buckets).
    async fn age(&self, by: Duration);

    /// Moves work that is ready and due to the very front of its lane, and out of the gate of time.
    /// Answers with whether a claim of the lane gets it next: it is ready, due, and parked nowhere.
    async fn prefer(&self, job: Job) -> bool;
}

const LEASE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const TENANT: &str = "acme";

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn new_build(brief: Brief) -> NewBuild {
    NewBuild { id: draw::id(), tenant: TENANT.to_owned(), brief, idempotency: None, webhook: None }
}

fn endpoint(events: &[Kind]) -> NewEndpoint {
    NewEndpoint {
        id: draw::id::<EndpointId>(),
        url: "http://receiver.test/hook".to_owned(),
        secret: "whsec_c2VjcmV0".to_owned().into(),
        events: events.to_vec(),
    }
}

async fn submitted(store: &dyn Ageing) -> BuildId {
    submitted_as(store, Brief::of("a to-do list")).await
}

async fn submitted_as(store: &dyn Ageing, brief: Brief) -> BuildId {
    store.submit(new_build(brief)).await.unwrap().build().id
}

/// Takes away the limits that a store comes with, which are the matter of few tests.
pub async fn without_limits(store: &dyn Ageing) {
    for limit in store.limits().await.unwrap() {
        store.remove_limit(&limit.name, "test").await.unwrap();
    }
    heard(store).await;
}

/// Of a holder that has this much room, and no more slots than that.
fn ask(room: u32) -> Ask {
    Ask { holder: draw::id(), lease: LEASE, room, slots: room.max(1) }
}

async fn claimed(store: &dyn Ageing, build: BuildId) -> BuildClaim {
    claimed_if_due(store, build).await.expect("the build is due")
}

async fn claimed_if_due(store: &dyn Ageing, build: BuildId) -> Option<BuildClaim> {
    if !store.prefer(Job::Plan(build)).await {
        return None;
    }
    let mut claims = store.claim_builds(&ask(1)).await.unwrap();
    assert_eq!(claims.len(), 1);
    claims.pop().inspect(|claim| assert_eq!(claim.build, build))
}

/// Whether an extension of the lease finds it held.
async fn keeps(store: &dyn Ageing, holder: HolderId, fence: Fence) -> bool {
    let lost = store.extend(holder, &[fence], LEASE).await.unwrap();
    assert!(lost.is_empty() || lost == [fence]);
    lost.is_empty()
}

/// A build whose plan was adopted at once; see `Draft::of` for how plans are written.
async fn executing<'a>(store: &'a dyn Ageing, graph: &str) -> Scene<'a> {
    executing_as(store, Brief::of("a to-do list"), graph).await
}

async fn executing_as<'a>(store: &'a dyn Ageing, brief: Brief, graph: &str) -> Scene<'a> {
    let build = submitted_as(store, brief).await;
    Scene::adopted(store, build, graph).await
}

/// A build whose plan waits for a person, for at most an hour.
async fn proposed<'a>(store: &'a dyn Ageing, graph: &str) -> Scene<'a> {
    let build = submitted(store).await;
    let plan = draw::id();
    Scene::planned(store, build, graph, Adoption::OnApproval { plan, within: HOUR }).await
}

/// A planned build, and short words for what happens to it.
struct Scene<'a> {
    store: &'a dyn Ageing,
    build: BuildId,
    plan: PlanId,
    holder: HolderId,
    tasks: HashMap<String, TaskId>,
    /// Only one claim at a time can have its task at the very front.
    front: tokio::sync::Mutex<()>,
}

impl<'a> Scene<'a> {
    async fn adopted(store: &'a dyn Ageing, build: BuildId, graph: &str) -> Scene<'a> {
        Self::planned(store, build, graph, Adoption::AtOnce { plan: draw::id() }).await
    }

    async fn planned(
        store: &'a dyn Ageing,
        build: BuildId,
        graph: &str,
        adoption: Adoption,
    ) -> Scene<'a> {
        let claim = claimed(store, build).await;
        let plan = Draft::of(graph).into_plan().unwrap();
        store.adopt_plan(&claim, &plan, adoption).await.unwrap();
        Self::of(store, store.build(build).await.unwrap()).await
    }

    /// Of a build whose plan is made from a draft and adopted at once.
    async fn drafted(store: &'a dyn Ageing, brief: Brief, draft: Draft) -> Scene<'a> {
        let build = submitted_as(store, brief).await;
        let claim = claimed(store, build).await;
        let plan = draft.into_plan().unwrap();
        store.adopt_plan(&claim, &plan, Adoption::AtOnce { plan: draw::id() }).await.unwrap();
        Self::of(store, store.build(build).await.unwrap()).await
    }

    /// The same, with the tasks that it has by now.
    async fn again(&self) -> Scene<'a> {
        Self::of(self.store, self.build().await).await
    }

    /// Of a build that has a plan.
    async fn of(store: &'a dyn Ageing, build: Build) -> Scene<'a> {
        let tasks = store.tasks(build.id).await.unwrap();
        Scene {
            store,
            build: build.id,
            plan: build.plan.unwrap(),
            holder: draw::id(),
            tasks: tasks.into_iter().map(|task| (task.key, task.id)).collect(),
            front: tokio::sync::Mutex::default(),
        }
    }

    fn task(&self, key: &str) -> TaskId {
        self.tasks[key]
    }

    async fn claim(&self, key: &str) -> TaskClaim {
        self.claim_if_ready(key).await.expect("the task is ready and due")
    }

    async fn claim_if_ready(&self, key: &str) -> Option<TaskClaim> {
        let _alone = self.front.lock().await;
        if !self.store.prefer(Job::Task(self.task(key))).await {
            return None;
        }
        let ask = Ask { holder: self.holder, ..ask(1) };
        let mut claims = self.store.claim_tasks(&ask).await.unwrap();
        assert_eq!(claims.len(), 1);
        claims.pop().inspect(|claim| assert_eq!(claim.task, self.task(key)))
    }

    async fn settle(&self, claim: &TaskClaim, outcome: Outcome) -> Result<(), Error> {
        self.store.settle_task(claim.fence(), outcome, &Policy::WORK, Jitter::NONE).await
    }

    async fn succeed(&self, key: &str) {
        let claim = self.claim(key).await;
        self.settle(&claim, wrote(&format!("{key}.txt"), key)).await.unwrap();
    }

    async fn fail(&self, key: &str, failure: Failure) {
        let claim = self.claim(key).await;
        self.settle(&claim, Outcome::Failed(failure)).await.unwrap();
    }

    async fn break_down(&self, key: &str) {
        self.fail(key, broken()).await;
    }

    async fn state(&self, key: &str) -> task::State {
        self.store.task(self.task(key)).await.unwrap().state
    }

    /// `left completed, right ready`, in the order of the plan.
    async fn states(&self) -> String {
        let tasks = self.store.tasks(self.build).await.unwrap();
        let states: Vec<_> =
            tasks.into_iter().map(|task| format!("{} {}", task.key, task.state)).collect();
        states.join(", ")
    }

    async fn build(&self) -> Build {
        self.store.build(self.build).await.unwrap()
    }

    async fn build_state(&self) -> build::State {
        self.build().await.state
    }

    async fn kinds(&self) -> Vec<Kind> {
        kinds(self.store, self.build).await
    }
}

/// The whole log of a build, by kind; asserts that it has no gap.
async fn kinds(store: &dyn Ageing, build: BuildId) -> Vec<Kind> {
    let events = store.events(build, 0, 100_000).await.unwrap();
    let numbers: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "the log has a gap");
    events.into_iter().map(|event| event.kind).collect()
}

/// What the bell rang for since it was listened to.
async fn rung(store: &dyn Ageing) -> Rung {
    // What was committed has rung already.
    tokio::time::timeout(Duration::ZERO, store.bell().rung()).await.unwrap_or_default()
}

/// What became claimable since the bell was listened to.
async fn heard(store: &dyn Ageing) -> Vec<Job> {
    rung(store).await.claimable
}

fn wrote(path: &str, content: &str) -> Outcome {
    let file = OutputFile { path: path.to_owned(), content: content.to_owned() };
    let logs = vec![format!("wrote {path}")];
    Outcome::Succeeded(Output { files: vec![file], logs, ..Output::default() })
}

fn broken() -> Failure {
    Failure::permanent("broken", "it cannot work")
}

fn flaky() -> Failure {
    Failure::transient("flaky", "it did not work")
}

fn code_of<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    match result {
        Err(Error::Conflict { code, .. }) => code,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

fn assert_fenced<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Fenced)), "expected to be fenced, got {result:?}");
}

fn assert_not_found<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::NotFound { .. })), "expected nothing, got {result:?}");
}
