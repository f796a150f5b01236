//! Another go at a build that was lost.

use super::*;
use crate::domain::plan;

pub async fn a_retried_build_runs_only_what_was_lost(store: &dyn Ageing) {
    let scene = executing(store, "done, bad -> after, free").await;
    scene.succeed("done").await;
    scene.break_down("bad").await;
    scene.succeed("free").await;
    heard(store).await;

    let build = store.retry_build(scene.build).await.unwrap();

    assert_eq!(build, scene.build().await);
    assert_eq!((build.state, build.stop, build.settled_at), (build::State::Executing, None, None));
    assert_eq!(scene.states().await, "done completed, bad ready, after pending, free completed");
    let tally = build.tally;
    assert_eq!((tally.completed, tally.failed, tally.skipped), (2, 0, 0));
    assert_eq!(heard(store).await, [Job::Task(scene.task("bad"))]);
    assert_eq!(scene.kinds().await.last(), Some(&Kind::BuildRetried));
    let told = store.events(scene.build, build.last_seq - 1, 1).await.unwrap();
    assert_eq!(told[0].data["taskCount"], 2);
    scene.succeed("bad").await;
    scene.succeed("after").await;
    assert_eq!(scene.build_state().await, build::State::Completed);
    assert_eq!(store.task(scene.task("done")).await.unwrap().attempt, 1);
    assert_eq!(store.task(scene.task("bad")).await.unwrap().attempt, 2);
}

pub async fn a_retried_task_starts_with_counts_at_zero(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    for _ in 0..3 {
        scene.fail("fetch", flaky()).await;
        store.age(secs(60)).await;
    }

    store.retry_build(scene.build).await.unwrap();

    let task = store.task(scene.task("fetch")).await.unwrap();
    assert_eq!((task.attempt, task.failures, task.crashes), (3, 0, 0));
    scene.fail("fetch", flaky()).await;
    assert_eq!(scene.state("fetch").await, task::State::Ready);
}

pub async fn a_retried_task_waits_for_what_has_not_completed(store: &dyn Ageing) {
    let scene = executing(store, "good -> join, bad -> join, worse -> join").await;
    scene.succeed("good").await;
    scene.break_down("bad").await;
    scene.break_down("worse").await;

    store.retry_build(scene.build).await.unwrap();

    scene.succeed("bad").await;
    assert_eq!(scene.state("join").await, task::State::Pending);
    scene.succeed("worse").await;
    assert_eq!(scene.state("join").await, task::State::Ready);
}

pub async fn a_cancelled_build_is_retried(store: &dyn Ageing) {
    let scene = executing(store, "done -> next -> last").await;
    scene.succeed("done").await;
    let lost = scene.claim("next").await;
    store.cancel_build(scene.build).await.unwrap();

    store.retry_build(scene.build).await.unwrap();

    assert_eq!(scene.states().await, "done completed, next ready, last pending");
    assert_eq!(scene.build().await.tally.cancelled, 0);
    let again = scene.claim("next").await;
    assert_fenced(scene.settle(&lost, wrote("next.txt", "late")).await);
    scene.settle(&again, wrote("next.txt", "x")).await.unwrap();
    scene.succeed("last").await;
    assert_eq!(scene.build_state().await, build::State::Completed);
}

pub async fn a_build_without_a_plan_is_planned_anew(store: &dyn Ageing) {
    let build = submitted(store).await;
    for _ in 0..3 {
        let claim = claimed(store, build).await;
        store.settle_planning(&claim, &flaky(), &Policy::WORK, Jitter::NONE).await.unwrap();
        store.age(secs(60)).await;
    }
    heard(store).await;

    let retried = store.retry_build(build).await.unwrap();

    assert_eq!((retried.state, retried.stop), (build::State::Queued, None));
    assert_eq!(heard(store).await, [Job::Plan(build)]);
    let claim = claimed(store, build).await;
    assert_eq!(claim.attempt, 4);
    store.settle_planning(&claim, &flaky(), &Policy::WORK, Jitter::NONE).await.unwrap();
    assert_eq!(store.build(build).await.unwrap().state, build::State::Queued);
    let told = kinds(store, build).await;
    assert_eq!(told[told.len() - 3..], [Kind::BuildFailed, Kind::BuildRetried, Kind::PlanRetrying]);
}

pub async fn a_rejected_plan_stays_in_the_record(store: &dyn Ageing) {
    let first = proposed(store, "fetch -> build").await;
    store.reject_plan(first.plan, "plan_rejected", "no").await.unwrap();

    let build = store.retry_build(first.build).await.unwrap();

    assert_eq!(build.state, build::State::Queued);
    assert_eq!((build.tally.tasks, build.tally.cancelled), (0, 0));
    assert_eq!(store.plan(first.plan).await.unwrap().state, plan::State::Rejected);
    let second = Scene::adopted(store, first.build, "fetch").await;
    assert_eq!(store.plan_of(first.build).await.unwrap().id, second.plan);
    assert_eq!(store.tasks(first.build).await.unwrap().len(), 1);
    assert_eq!(second.build().await.open_tasks, [0, 1, 0]);
    second.succeed("fetch").await;
    let build = second.build().await;
    assert_eq!((build.state, build.tally.tasks), (build::State::Completed, 1));
}

pub async fn a_retried_build_has_its_deadline_before_it(store: &dyn Ageing) {
    let brief = Brief { deadline_secs: Some(600), ..Brief::of("a to-do list") };
    let scene = executing_as(store, brief, "fetch").await;
    store.age(secs(600)).await;
    store.end_overdue(10).await.unwrap();

    store.retry_build(scene.build).await.unwrap();

    assert_eq!(store.end_overdue(10).await.unwrap(), 0);
    store.age(secs(600)).await;
    assert_eq!(store.end_overdue(10).await.unwrap(), 1);
}

pub async fn a_build_that_is_not_lost_is_not_retried(store: &dyn Ageing) {
    let queued = submitted(store).await;
    let running = executing(store, "fetch").await;
    let completed = executing(store, "fetch").await;
    completed.succeed("fetch").await;
    let waiting = proposed(store, "fetch").await;

    for build in [queued, running.build, completed.build, waiting.build] {
        assert_eq!(code_of(store.retry_build(build).await), "build_not_retryable");
    }
    assert_eq!(completed.states().await, "fetch completed");
}
