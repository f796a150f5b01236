//! Builds that end before their tasks have run.

use futures_util::future::join_all;

use super::*;
use crate::domain::{attempt, plan};

pub async fn a_queued_build_is_cancelled(store: &dyn Ageing) {
    let id = submitted(store).await;

    let build = store.cancel_build(id).await.unwrap();

    assert_eq!(build, store.build(id).await.unwrap());
    assert_eq!(build.state, build::State::Cancelled);
    assert_eq!(build.stop.unwrap().code, "cancelled");
    assert!(build.settled_at.is_some());
    assert_eq!(kinds(store, id).await, [Kind::BuildCancelled]);
    assert_eq!(store.claim_builds(&ask(9)).await.unwrap(), []);
}

pub async fn a_build_in_planning_is_cancelled_under_its_holder(store: &dyn Ageing) {
    let build = submitted(store).await;
    let mine = ask(1);
    let claim = store.claim_builds(&mine).await.unwrap().pop().unwrap();

    store.cancel_build(build).await.unwrap();

    assert!(!keeps(store, mine.holder, claim.fence()).await);
    let plan = Draft::of("fetch").into_plan().unwrap();
    assert_fenced(store.adopt_plan(&claim, &plan, Adoption::AtOnce { plan: draw::id() }).await);
    assert_eq!(store.build(build).await.unwrap().state, build::State::Cancelled);
    store.age(LEASE).await;
    assert_eq!(store.lapsed(10).await.unwrap(), []);
}

pub async fn a_proposed_plan_is_rejected_with_its_build(store: &dyn Ageing) {
    let scene = proposed(store, "fetch -> build").await;

    let build = store.cancel_build(scene.build).await.unwrap();

    assert_eq!(build.state, build::State::Cancelled);
    assert_eq!(store.plan(scene.plan).await.unwrap().state, plan::State::Rejected);
    assert_eq!(code_of(store.approve_plan(scene.plan).await), "plan_not_proposed");
    assert_eq!(scene.states().await, "fetch cancelled, build cancelled");
    assert_eq!(
        scene.kinds().await[2..],
        [Kind::TaskCancelled, Kind::TaskCancelled, Kind::BuildCancelled]
    );
}

pub async fn an_executing_build_is_cancelled_under_its_holders(store: &dyn Ageing) {
    let scene = executing(store, "done, running -> later, waiting").await;
    scene.succeed("done").await;
    let running = scene.claim("running").await;
    let before = scene.kinds().await.len();

    let build = store.cancel_build(scene.build).await.unwrap();

    assert_eq!(build.state, build::State::Cancelled);
    assert_eq!((build.tally.completed, build.tally.cancelled), (1, 3));
    assert_eq!(
        scene.states().await,
        "done completed, running cancelled, later cancelled, waiting cancelled"
    );
    assert_eq!(
        scene.kinds().await[before..],
        [Kind::TaskCancelled, Kind::TaskCancelled, Kind::TaskCancelled, Kind::BuildCancelled]
    );
    let attempts = store.task_attempts(running.task).await.unwrap();
    assert_eq!(attempts[0].state, attempt::State::Cancelled);
    assert!(!keeps(store, scene.holder, running.fence()).await);
    assert_fenced(scene.settle(&running, wrote("running.txt", "x")).await);
    assert!(scene.claim_if_ready("waiting").await.is_none());
    assert_eq!(store.claim_tasks(&ask(9)).await.unwrap(), []);
    assert_eq!(store.files(scene.build).await.unwrap().len(), 1);
}

pub async fn a_final_build_is_not_cancelled(store: &dyn Ageing) {
    let completed = executing(store, "fetch").await;
    completed.succeed("fetch").await;
    let failed = executing(store, "fetch").await;
    failed.break_down("fetch").await;
    let cancelled = submitted(store).await;
    let first = store.cancel_build(cancelled).await.unwrap();

    assert_eq!(code_of(store.cancel_build(completed.build).await), "build_is_final");
    assert_eq!(code_of(store.cancel_build(failed.build).await), "build_is_final");
    assert_eq!(store.cancel_build(cancelled).await.unwrap(), first);
    assert_eq!(completed.build_state().await, build::State::Completed);
}

pub async fn a_plan_not_approved_in_time_fails_its_build(store: &dyn Ageing) {
    let scene = proposed(store, "fetch -> build").await;
    let decided = proposed(store, "fetch").await;
    store.approve_plan(decided.plan).await.unwrap();
    let early = store.end_overdue(10).await.unwrap();
    store.age(HOUR).await;

    let ended = store.end_overdue(10).await.unwrap();

    assert_eq!((early, ended), (0, 1));
    let build = scene.build().await;
    assert_eq!(build.state, build::State::Failed);
    let stop = build::Stop::new("plan_not_approved", "Plan not approved within timeout period");
    assert_eq!(build.stop, Some(stop));
    assert_eq!(scene.kinds().await[2..], [Kind::PlanRejected, Kind::BuildFailed]);
    assert_eq!(code_of(store.approve_plan(scene.plan).await), "plan_not_proposed");
    assert_eq!(decided.build_state().await, build::State::Executing);
    assert_eq!(store.end_overdue(10).await.unwrap(), 0);
}

pub async fn a_build_past_its_deadline_fails(store: &dyn Ageing) {
    let brief = Brief { deadline_secs: Some(600), ..Brief::of("a to-do list") };
    let scene = executing_as(store, brief.clone(), "done -> running, waiting").await;
    scene.succeed("done").await;
    let running = scene.claim("running").await;
    let queued = submitted_as(store, brief.clone()).await;
    let finished = executing_as(store, brief, "fetch").await;
    finished.succeed("fetch").await;
    store.age(secs(300)).await;
    let early = store.end_overdue(10).await.unwrap();
    store.age(secs(300)).await;

    let ended = (store.end_overdue(1).await.unwrap(), store.end_overdue(10).await.unwrap());

    assert_eq!((early, ended), (0, (1, 1)));
    let build = scene.build().await;
    assert_eq!(build.state, build::State::Failed);
    assert_eq!(build.stop.unwrap().code, "deadline_passed");
    assert_eq!(scene.states().await, "done completed, running cancelled, waiting cancelled");
    let told = scene.kinds().await;
    assert_eq!(
        told[told.len() - 3..],
        [Kind::TaskCancelled, Kind::TaskCancelled, Kind::BuildFailed]
    );
    assert_fenced(scene.settle(&running, wrote("running.txt", "x")).await);
    assert_eq!(store.build(queued).await.unwrap().state, build::State::Failed);
    assert_eq!(finished.build_state().await, build::State::Completed);
}

pub async fn a_build_ends_once_however_many_end_it(store: &dyn Ageing) {
    for _ in 0..5 {
        let scene = executing(store, "left, right").await;
        let left = scene.claim("left").await;
        let right = scene.claim("right").await;

        let (by_person, settles) = futures_util::join!(
            store.cancel_build(scene.build),
            join_all([
                scene.settle(&left, wrote("left.txt", "x")),
                scene.settle(&right, wrote("right.txt", "x")),
            ])
        );

        let told = scene.kinds().await;
        assert_eq!(told.iter().filter(|kind| kind.ends_build()).count(), 1, "{told:?}");
        assert!(told.last().unwrap().ends_build());
        let build = scene.build().await;
        let completed = settles.iter().filter(|settled| settled.is_ok()).count();
        assert_eq!(build.tally.completed as usize, completed);
        assert_eq!(by_person.is_ok(), build.state == build::State::Cancelled);
    }
}
