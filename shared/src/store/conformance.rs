//! One suite for every store: each test is a promise of `trait Store`.
//!
//! `store_conformance!` makes a test of each against a fresh store. No test sleeps: a store under test
//! is aged instead. What a store promises and no test here holds is not a promise.

#![expect(clippy::unwrap_used, reason = "these are tests, compiled into the library")]

pub mod submitting;
pub mod planning;
pub mod running;
pub mod leases;
pub mod ending;
pub mod retrying;
pub mod records;
pub mod deliveries;
pub mod outbox;
pub mod fleet;

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;

use super::*;
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
    /// of every row moves into the past (leases, due times, deadlines, beats, the outbox).
    async fn age(&self, by: Duration);
}

/// Makes a `#[tokio::test]` of every promise. `$fresh` names an `async fn` in scope that opens an
/// empty store of its own for each test, and answers with it and with what has to live as long.
#[macro_export]
macro_rules! store_conformance {
    ($fresh:ident) => {
        $crate::store_conformance! { @each $fresh;
            submitting:
                a_submitted_build_is_queued_as_it_was_asked_for,
                a_submit_without_a_key_is_always_new,
                the_same_key_and_request_is_the_same_build,
                the_same_key_with_another_request_is_a_conflict,
                the_same_key_of_another_tenant_is_another_build,
                submits_with_one_key_at_once_keep_one_build,
                what_is_unknown_does_not_exist,
                builds_are_listed_newest_first_and_in_pages,
                builds_are_listed_by_tenant_state_and_project,
                text_of_every_kind_is_kept_as_it_is;
            planning:
                of_many_claimants_one_gets_the_build,
                a_build_starts_once,
                an_adopted_plan_makes_tasks_without_dependencies_ready,
                a_plan_is_kept_as_it_was_made,
                a_straightened_plan_is_told_with_a_warning,
                a_proposed_plan_leaves_all_tasks_pending,
                an_approved_plan_executes,
                a_rejected_plan_fails_its_build,
                a_plan_is_decided_once,
                a_failed_planning_comes_again_after_its_delay,
                a_planning_that_cannot_succeed_fails_the_build,
                a_planning_given_back_counts_for_nothing,
                whoever_lost_a_planning_writes_nothing,
                a_planner_adds_to_the_log,
                a_plan_of_two_thousand_tasks_is_adopted_and_run;
            running:
                of_many_claimants_one_gets_the_task,
                a_task_that_waits_is_not_claimed,
                a_claim_carries_what_the_attempt_needs,
                a_task_waits_for_all_its_dependencies,
                dependents_are_released_once_by_settles_at_once,
                an_attempt_is_settled_once,
                a_late_settle_is_fenced_and_changes_nothing,
                a_fence_of_another_kind_is_fenced,
                a_transient_failure_comes_again_after_its_delay,
                a_task_that_fails_three_times_is_given_up,
                a_failed_task_skips_only_what_depends_on_it,
                a_build_that_fails_fast_cancels_the_rest,
                a_time_limit_is_told_as_a_timeout,
                a_task_given_back_counts_for_nothing,
                attempts_are_listed_oldest_first;
            leases:
                a_lease_that_holds_is_not_lapsed,
                a_lapsed_task_comes_again_with_the_next_attempt,
                a_lease_extended_in_time_is_not_lost,
                only_its_holder_extends_a_lease,
                a_task_that_loses_three_workers_is_given_up,
                a_lost_lease_is_settled_once_by_sweepers_at_once,
                a_lapsed_planning_comes_again,
                a_build_that_loses_three_planners_fails,
                lapsed_work_is_listed_longest_lapsed_first,
                all_leases_lapse_at_once;
            ending:
                a_queued_build_is_cancelled,
                a_build_in_planning_is_cancelled_under_its_holder,
                a_proposed_plan_is_rejected_with_its_build,
                an_executing_build_is_cancelled_under_its_holders,
                a_final_build_is_not_cancelled,
                a_plan_not_approved_in_time_fails_its_build,
                a_build_past_its_deadline_fails,
                a_build_ends_once_however_many_end_it;
            retrying:
                a_retried_build_runs_only_what_was_lost,
                a_retried_task_starts_with_counts_at_zero,
                a_retried_task_waits_for_what_has_not_completed,
                a_cancelled_build_is_retried,
                a_build_without_a_plan_is_planned_anew,
                a_rejected_plan_stays_in_the_record,
                a_retried_build_has_its_deadline_before_it,
                a_build_that_is_not_lost_is_not_retried;
            records:
                the_log_of_a_whole_build_is_exact,
                the_log_has_no_gaps_under_settles_at_once,
                the_log_is_read_on_from_a_number,
                the_newest_file_of_a_path_wins,
                files_are_listed_by_path,
                a_failed_attempt_leaves_no_files,
                a_build_counts_its_open_tasks;
            deliveries:
                every_event_is_told_to_the_endpoint_of_its_build,
                an_endpoint_hears_only_the_kinds_it_wants,
                deliveries_go_one_after_the_other,
                of_many_claimants_one_gets_the_delivery,
                a_failed_delivery_comes_again_after_its_delay,
                an_exhausted_delivery_lets_the_next_one_go,
                a_lost_delivery_comes_again,
                a_delivery_given_back_counts_for_nothing,
                a_late_settle_of_a_delivery_is_fenced,
                a_final_delivery_is_sent_once_more,
                an_open_delivery_is_not_sent_once_more,
                deliveries_are_listed_in_pages;
            outbox:
                whatever_becomes_ready_is_in_the_outbox,
                rows_stay_until_they_are_cleared,
                what_is_due_comes_by_priority_and_then_by_age,
                a_retry_is_due_when_its_delay_is_over,
                what_the_queue_lost_is_found_again,
                a_delivery_whose_turn_it_is_not_is_not_forgotten;
            fleet:
                a_worker_that_beats_is_listed,
                a_worker_that_signs_off_is_not_listed,
                a_worker_silent_for_an_hour_is_forgotten,
                lanes_count_what_waits_and_runs,
                a_store_answers;
        }
    };
    (@each $fresh:ident; $($module:ident: $($promise:ident),+;)+) => {$(
        mod $module {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let (store, _kept) = super::$fresh().await;
                $crate::store::conformance::$module::$promise(&store).await;
            }
        )+}
    )+};
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

async fn claimed(store: &dyn Ageing, build: BuildId) -> BuildClaim {
    store.claim_build(build, draw::id(), LEASE).await.unwrap().expect("the build is due")
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

    /// Of a build that has a plan.
    async fn of(store: &'a dyn Ageing, build: Build) -> Scene<'a> {
        let tasks = store.tasks(build.id).await.unwrap();
        Scene {
            store,
            build: build.id,
            plan: build.plan.unwrap(),
            holder: draw::id(),
            tasks: tasks.into_iter().map(|task| (task.key, task.id)).collect(),
        }
    }

    fn task(&self, key: &str) -> TaskId {
        self.tasks[key]
    }

    async fn claim(&self, key: &str) -> TaskClaim {
        self.claim_if_ready(key).await.expect("the task is ready and due")
    }

    async fn claim_if_ready(&self, key: &str) -> Option<TaskClaim> {
        self.store.claim_task(self.task(key), self.holder, LEASE).await.unwrap()
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

/// All that is due in the outbox, cleared on the way.
async fn drained(store: &dyn Ageing) -> Vec<Job> {
    let rows = store.outbox_due(10_000).await.unwrap();
    store.clear_outbox(&rows.iter().map(|row| row.id).collect::<Vec<_>>()).await.unwrap();
    rows.into_iter().map(|row| row.job).collect()
}

fn wrote(path: &str, content: &str) -> Outcome {
    let file = OutputFile { path: path.to_owned(), content: content.to_owned() };
    Outcome::Succeeded(Output { files: vec![file], logs: vec![format!("wrote {path}")] })
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
