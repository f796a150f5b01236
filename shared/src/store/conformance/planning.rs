//! From a queued build to tasks that run, or to an end without any.

use futures_util::future::join_all;
use serde_json::json;

use super::*;
use crate::domain::{attempt, event::Event, plan};

pub async fn of_many_claimants_one_gets_the_build(store: &dyn Ageing) {
    for _ in 0..5 {
        let build = submitted(store).await;

        let asks: Vec<_> = (0..8).map(|_| ask(3)).collect();
        let claims = join_all(asks.iter().map(|ask| store.claim_builds(ask))).await;

        let won: Vec<_> = claims.into_iter().flat_map(|claims| claims.unwrap()).collect();
        assert_eq!(won.len(), 1);
        assert_eq!((won[0].build, won[0].attempt), (build, 1));
        assert_eq!(kinds(store, build).await, [Kind::BuildStarted]);
    }
}

pub async fn a_build_starts_once(store: &dyn Ageing) {
    let build = submitted(store).await;
    let first = claimed(store, build).await;
    store.give_back(first.fence()).await.unwrap();
    let started_at = store.build(build).await.unwrap().started_at;

    let second = claimed(store, build).await;

    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_eq!(kinds(store, build).await, [Kind::BuildStarted]);
    assert!(started_at.is_some());
    assert_eq!(store.build(build).await.unwrap().started_at, started_at);
}

pub async fn an_adopted_plan_makes_tasks_without_dependencies_ready(store: &dyn Ageing) {
    let scene = executing(store, "fetch -> build -> ship, fetch -> lint, notes").await;

    assert_eq!(
        scene.states().await,
        "fetch ready, build pending, ship pending, lint pending, notes ready"
    );
    let build = scene.build().await;
    assert_eq!((build.state, build.plan), (build::State::Executing, Some(scene.plan)));
    assert_eq!((build.tally.tasks, build.open_tasks), (5, [3, 2, 0]));
    assert_eq!(build.estimated_secs, Some(3));
    assert_eq!(scene.kinds().await, [Kind::BuildStarted, Kind::PlanGenerated]);
}

pub async fn a_plan_is_kept_as_it_was_made(store: &dyn Ageing) {
    let build = submitted(store).await;
    let claim = claimed(store, build).await;
    let mut draft = Draft::of("fetch -> build, fetch -> lint, lint -> build");
    draft.spec = json!({ "zebra": 1, "ant": { "deep": ["\u{0}", "é"] } });
    draft.notes = vec!["There is no Fortran here.".to_owned()];
    draft.tasks[1].input = json!({ "template": "main" });
    draft.tasks[1].priority = 1;
    let planned = draft.into_plan().unwrap();

    store.adopt_plan(&claim, &planned, Adoption::AtOnce { plan: draw::id() }).await.unwrap();

    let plan = store.plan_of(build).await.unwrap();
    assert_eq!(store.plan(plan.id).await.unwrap(), plan);
    assert_eq!((plan.build, plan.state), (build, plan::State::Adopted));
    assert_eq!((&plan.spec, &plan.notes), (&planned.spec, &planned.notes));
    assert_eq!((plan.complexity, plan.estimated_secs), (planned.complexity, 3));
    assert_eq!((plan.framework.as_str(), plan.project_type.as_str()), ("none", "test"));
    assert_eq!((plan.straightened.len(), plan.approve_until), (0, None));
    let tasks = store.tasks(build).await.unwrap();
    assert_eq!(
        tasks.iter().map(|task| task.key.as_str()).collect::<Vec<_>>(),
        ["fetch", "build", "lint"]
    );
    let mut waits = tasks[1].depends_on.clone();
    waits.sort();
    let mut others = vec![tasks[0].id, tasks[2].id];
    others.sort();
    assert_eq!(waits, others);
    let task = store.task(tasks[1].id).await.unwrap();
    assert_eq!(task, tasks[1]);
    assert_eq!((task.plan, task.build, task.priority), (plan.id, build, 1));
    assert_eq!((task.name.as_str(), task.description.as_str()), ("build", "Does build."));
    assert_eq!(task.writes, ["build.txt"]);
}

pub async fn a_straightened_plan_is_told_with_a_warning(store: &dyn Ageing) {
    let build = submitted(store).await;
    let claim = claimed(store, build).await;
    let plan = Draft::of("egg -> hen -> egg").into_straightened_plan().unwrap();
    let adoption = Adoption::AtOnce { plan: draw::id() };

    store.adopt_plan(&claim, &plan, adoption).await.unwrap();

    let kept = store.plan_of(build).await.unwrap();
    assert_eq!(kept.straightened, plan.straightened);
    assert_eq!(
        kinds(store, build).await,
        [Kind::BuildStarted, Kind::PlanWarning, Kind::PlanGenerated]
    );
}

pub async fn a_proposed_plan_leaves_all_tasks_pending(store: &dyn Ageing) {
    let scene = proposed(store, "fetch -> build").await;

    assert_eq!(scene.states().await, "fetch pending, build pending");
    assert_eq!(scene.build_state().await, build::State::PendingApproval);
    let plan = store.plan(scene.plan).await.unwrap();
    assert_eq!(plan.state, plan::State::Proposed);
    let waits_ms = plan.approve_until.unwrap().0 - plan.created_at.0;
    assert!((3_599_000..=3_601_000).contains(&waits_ms), "{waits_ms}");
    assert!(scene.claim_if_ready("fetch").await.is_none());
    let told = store.events(scene.build, 1, 10).await.unwrap();
    assert_eq!(told[0].data["needsApproval"], true);
}

pub async fn an_approved_plan_executes(store: &dyn Ageing) {
    let scene = proposed(store, "fetch -> build").await;
    heard(store).await;

    let build = store.approve_plan(scene.plan).await.unwrap();

    assert_eq!(build, scene.build().await);
    assert_eq!(build.state, build::State::Executing);
    assert_eq!(store.plan(scene.plan).await.unwrap().state, plan::State::Adopted);
    assert_eq!(scene.states().await, "fetch ready, build pending");
    assert_eq!(heard(store).await, [Job::Task(scene.task("fetch"))]);
    assert_eq!(scene.kinds().await, [Kind::BuildStarted, Kind::PlanGenerated, Kind::PlanApproved]);
    scene.succeed("fetch").await;
    scene.succeed("build").await;
    assert_eq!(scene.build_state().await, build::State::Completed);
}

pub async fn a_rejected_plan_fails_its_build(store: &dyn Ageing) {
    let scene = proposed(store, "fetch -> build").await;

    let build = store.reject_plan(scene.plan, "plan_rejected", "too dear").await.unwrap();

    assert_eq!(build.state, build::State::Failed);
    assert_eq!(build.stop, Some(build::Stop::new("plan_rejected", "too dear")));
    assert_eq!(store.plan(scene.plan).await.unwrap().state, plan::State::Rejected);
    assert_eq!(scene.states().await, "fetch cancelled, build cancelled");
    assert_eq!(build.tally.cancelled, 2);
    assert_eq!(
        scene.kinds().await,
        [Kind::BuildStarted, Kind::PlanGenerated, Kind::PlanRejected, Kind::BuildFailed]
    );
}

pub async fn a_plan_is_decided_once(store: &dyn Ageing) {
    let approved = proposed(store, "fetch").await;
    store.approve_plan(approved.plan).await.unwrap();
    let rejected = proposed(store, "fetch").await;
    store.reject_plan(rejected.plan, "plan_rejected", "no").await.unwrap();

    assert_eq!(code_of(store.approve_plan(approved.plan).await), "plan_not_proposed");
    assert_eq!(
        code_of(store.reject_plan(approved.plan, "plan_rejected", "no").await),
        "plan_not_proposed"
    );
    assert_eq!(code_of(store.approve_plan(rejected.plan).await), "plan_not_proposed");
    assert_eq!(approved.build_state().await, build::State::Executing);
}

async fn fail_planning(store: &dyn Ageing, build: BuildId, failure: &Failure) {
    let claim = claimed(store, build).await;
    store.settle_planning(&claim, failure, &Policy::WORK, Jitter::NONE).await.unwrap();
}

pub async fn a_failed_planning_comes_again_after_its_delay(store: &dyn Ageing) {
    let build = submitted(store).await;
    heard(store).await;

    fail_planning(store, build, &flaky()).await;

    assert_eq!(store.build(build).await.unwrap().state, build::State::Queued);
    assert_eq!(store.claim_builds(&ask(9)).await.unwrap(), []);
    let wait = store.next_due(Lane::Plans).await.unwrap().unwrap();
    assert!(secs(1) < wait && wait <= secs(2), "{wait:?}");
    store.age(secs(2)).await;
    assert_eq!(store.next_due(Lane::Plans).await.unwrap(), Some(Duration::ZERO));
    fail_planning(store, build, &flaky()).await;
    store.age(secs(4)).await;
    fail_planning(store, build, &flaky()).await;
    let build = store.build(build).await.unwrap();
    assert_eq!(build.state, build::State::Failed);
    assert_eq!(build.stop.unwrap().code, "flaky");
    assert_eq!(
        kinds(store, build.id).await,
        [Kind::BuildStarted, Kind::PlanRetrying, Kind::PlanRetrying, Kind::BuildFailed]
    );
}

pub async fn a_planning_that_cannot_succeed_fails_the_build(store: &dyn Ageing) {
    let build = submitted(store).await;

    fail_planning(store, build, &broken()).await;

    let build = store.build(build).await.unwrap();
    assert_eq!(build.state, build::State::Failed);
    assert_eq!(build.stop, Some(build::Stop::new("broken", "it cannot work")));
    assert!(build.settled_at.is_some());
}

pub async fn a_planning_given_back_counts_for_nothing(store: &dyn Ageing) {
    let build = submitted(store).await;
    heard(store).await;
    for _ in 0..5 {
        let claim = claimed(store, build).await;

        store.give_back(claim.fence()).await.unwrap();

        assert_eq!(heard(store).await, [Job::Plan(build)]);
    }
    fail_planning(store, build, &flaky()).await;
    assert_eq!(store.build(build).await.unwrap().state, build::State::Queued);
}

pub async fn whoever_lost_a_planning_writes_nothing(store: &dyn Ageing) {
    let build = submitted(store).await;
    let lost = claimed(store, build).await;
    store.give_back(lost.fence()).await.unwrap();
    let held = claimed(store, build).await;
    let plan = Draft::of("fetch").into_plan().unwrap();
    let adoption = Adoption::AtOnce { plan: draw::id() };

    assert_fenced(store.adopt_plan(&lost, &plan, adoption).await);
    assert_fenced(store.settle_planning(&lost, &broken(), &Policy::WORK, Jitter::NONE).await);
    assert_fenced(store.note_planning(&lost, Event::plan_partial(adoption.plan(), 1, &[])).await);
    assert_fenced(store.give_back(lost.fence()).await);
    assert!(!keeps(store, draw::id(), lost.fence()).await);
    assert_eq!(kinds(store, build).await, [Kind::BuildStarted]);
    store.adopt_plan(&held, &plan, adoption).await.unwrap();
    assert_fenced(store.adopt_plan(&held, &plan, Adoption::AtOnce { plan: draw::id() }).await);
    assert_eq!(store.tasks(build).await.unwrap().len(), 1);
}

pub async fn a_planner_adds_to_the_log(store: &dyn Ageing) {
    let build = submitted(store).await;
    let claim = claimed(store, build).await;
    let event = Event::plan_partial(draw::id(), 1, &[("fetch", "create_file", "Fetches.")]);

    store.note_planning(&claim, event.clone()).await.unwrap();

    let told = store.events(build, 1, 10).await.unwrap();
    assert_eq!((told[0].kind, &told[0].data), (Kind::PlanPartial, &event.data));
}

pub async fn a_plan_of_two_thousand_tasks_is_adopted_and_run(store: &dyn Ageing) {
    let leaves: Vec<_> = (0..1998).map(|leaf| format!("root -> leaf{leaf} -> end")).collect();
    let scene = executing(store, &leaves.join(", ")).await;

    scene.succeed("root").await;

    let build = scene.build().await;
    assert_eq!((build.tally.tasks, build.tally.completed), (2000, 1));
    assert_eq!(build.open_tasks, [1, 1998, 0]);
    let tasks = store.lanes().await.unwrap()[1];
    assert_eq!((tasks.lane, tasks.waiting), (Lane::Tasks, 1998));
    scene.break_down("leaf7").await;
    assert_eq!(scene.state("end").await, task::State::Skipped);
    let attempts = store.task_attempts(scene.task("leaf7")).await.unwrap();
    assert_eq!(attempts[0].state, attempt::State::Failed);
}
