//! One suite for every store: each test is a promise of `trait Store`.
//!
//! `store_conformance!` makes a test of each against a fresh store without limits. No test sleeps:
//! a store under test is aged instead. What a store promises and no test here holds is not a
//! promise.

#![expect(clippy::unwrap_used, reason = "these are tests, compiled into the library")]

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
pub mod scheduling;
pub mod limiting;
pub mod operating;
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
                extending_answers_with_what_was_lost,
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
            losing:
                each_dependency_says_what_a_loss_means,
                what_cleans_up_runs_even_when_the_build_stops,
                one_dependency_may_stop_the_whole_build,
                a_brief_says_what_a_loss_means_where_its_plan_does_not,
                a_task_that_bears_two_losses_at_once_runs,
                settles_at_once_lose_and_release_each_task_once,
                writers_of_one_path_run_one_after_the_other;
            growing:
                tasks_are_added_to_a_build_that_runs,
                what_is_added_may_wait_for_what_is_there,
                what_is_added_too_late_is_skipped,
                an_addition_that_is_no_plan_is_refused,
                only_a_build_that_executes_takes_more_tasks,
                a_build_that_stops_takes_no_more_tasks,
                an_added_writer_waits_for_the_last_one,
                a_task_adds_tasks_as_it_succeeds,
                a_task_that_adds_what_is_refused_fails,
                additions_and_settles_at_once_lose_nothing,
                a_plan_has_a_timeout_once_it_takes_effect,
                a_deadline_of_the_brief_goes_before_the_timeout;
            controlling:
                a_running_task_is_cancelled_under_its_holder,
                a_waiting_task_is_cancelled_with_who_needs_it,
                a_build_completes_without_what_was_left_out,
                a_task_that_is_final_is_not_taken_out,
                a_task_is_retried_with_what_was_lost_because_of_it,
                a_retried_task_opens_its_build,
                who_bore_a_loss_waits_again_when_it_is_retried,
                only_what_is_lost_by_itself_is_retried,
                what_a_task_waited_for_is_told_with_what_it_made,
                a_build_says_how_long_it_will_take;
            forking:
                a_fork_takes_over_what_does_not_lie_downstream,
                a_fork_of_a_build_that_runs_goes_its_own_way,
                a_fork_has_another_input,
                a_fork_runs_again_what_was_written_over,
                a_fork_is_told_where_its_origin_was,
                a_fork_can_be_added_to_and_forked,
                only_a_plan_that_took_effect_is_forked;
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
            scheduling:
                every_busy_tenant_gets_its_turn,
                tasks_of_a_plan_go_by_their_priority,
                a_first_priority_goes_before_what_waits,
                a_last_priority_comes_in_time,
                one_task_is_claimed_soon_behind_two_thousand,
                tenants_share_by_their_weights,
                work_that_comes_again_keeps_its_rank,
                planning_given_back_is_next_again,
                what_is_due_late_is_claimed_when_it_is_due,
                a_claim_takes_no_more_than_there_is_room_for,
                claimants_at_once_empty_a_lane,
                the_bell_rings_for_what_became_claimable,
                a_failed_verb_rings_no_bell,
                the_bell_rings_at_every_commit,
                the_bell_recalls_what_was_ended_under_its_holders;
            limiting:
                a_limit_of_a_lane_holds_and_frees,
                a_limit_of_each_tenant_leaves_room_for_others,
                a_limit_of_one_tenant_is_of_no_other,
                a_limit_of_each_kind_counts_operations,
                a_limit_of_each_key_counts_builds_together,
                limits_of_all_kinds_hold_together,
                a_limit_may_count_all_lanes_together,
                costs_count_under_a_limit,
                work_over_a_limit_is_parked_and_comes_when_there_is_room,
                what_another_limit_stops_does_not_stop_the_rest,
                a_settle_rings_where_work_is_parked,
                a_rate_lets_a_burst_begin_and_then_one_at_a_time,
                a_rate_of_each_tenant_delays_no_other,
                plans_and_deliveries_have_limits_too,
                a_limit_that_is_changed_holds_from_the_next_claim,
                a_rate_that_is_taken_away_delays_nothing_more,
                limits_are_listed_as_they_are,
                what_is_paused_is_not_claimed_and_what_runs_goes_on,
                a_paused_lane_is_not_claimed_from,
                a_cancelled_build_leaves_its_pause,
                only_what_can_be_paused_is_paused,
                the_audit_lists_what_was_changed_by_hand;
            operating:
                ready_work_says_where_it_waits,
                paused_work_says_who_paused_it,
                what_is_parked_is_counted_by_gate,
                builds_are_found_by_every_part_of_a_filter,
                what_a_filter_meets_is_counted_and_paged,
                failed_work_is_listed_with_its_reasons,
                failed_work_is_listed_newest_first_and_in_pages,
                quarantined_work_is_found_by_its_code,
                deliveries_are_found_by_every_part_of_a_filter,
                attempts_at_planning_are_listed_oldest_first,
                what_is_done_in_bulk_is_in_the_audit;
            fleet:
                a_worker_that_beats_is_listed,
                a_worker_that_signs_off_is_not_listed,
                a_worker_silent_for_an_hour_is_forgotten,
                lanes_count_what_waits_and_runs,
                a_store_answers;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_store_comes_with_the_limits_of_the_requirements() {
            let (store, _kept) = $fresh().await;
            $crate::store::conformance::limiting::a_store_comes_with_the_limits_of_the_requirements(
                &store,
            )
            .await;
        }
    };
    (@each $fresh:ident; $($module:ident: $($promise:ident),+;)+) => {$(
        mod $module {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let (store, _kept) = super::$fresh().await;
                $crate::store::conformance::without_limits(&store).await;
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
