//! Tasks are claimed once, settled once, and release what waits for them once.

use futures_util::future::join_all;

use super::*;
use crate::domain::{attempt, brief::OnTaskFailure};

pub async fn of_many_claimants_one_gets_the_task(store: &dyn Ageing) {
    let scene = executing(store, "a, b, c, d, e, f").await;
    let asks: Vec<_> = (0..8).map(|_| ask(2)).collect();

    let claims = join_all(asks.iter().map(|ask| store.claim_tasks(ask))).await;

    let won: Vec<_> = claims.into_iter().flat_map(|claims| claims.unwrap()).collect();
    let mut keys: Vec<_> = won.iter().map(|claim| claim.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "b", "c", "d", "e", "f"]);
    for claim in &won {
        assert_eq!(claim.attempt, 1);
        assert_eq!(store.task_attempts(claim.task).await.unwrap().len(), 1);
    }
    let started = scene.kinds().await.into_iter().filter(|kind| *kind == Kind::TaskStarted);
    assert_eq!(started.count(), 6);
}

pub async fn a_task_that_waits_is_not_claimed(store: &dyn Ageing) {
    let scene = executing(store, "fetch -> build").await;

    assert!(scene.claim_if_ready("build").await.is_none());
    let claims = store.claim_tasks(&ask(9)).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.task).collect::<Vec<_>>(), [scene.task("fetch")]);
    assert_eq!(scene.state("build").await, task::State::Pending);
}

pub async fn a_claim_carries_what_the_attempt_needs(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;

    let claim = scene.claim("fetch").await;

    assert_eq!((claim.task, claim.build, claim.attempt), (scene.task("fetch"), scene.build, 1));
    assert_eq!((claim.key.as_str(), claim.role.as_str()), ("fetch", "code-001"));
    assert_eq!(claim.writes, ["fetch.txt"]);
    let task = store.task(claim.task).await.unwrap();
    assert_eq!((task.state, task.attempt), (task::State::InProgress, 1));
    assert!(task.started_at.is_some());
    let told = store.events(scene.build, 2, 10).await.unwrap();
    assert_eq!(told[0].kind, Kind::TaskStarted);
    assert_eq!(told[0].data["taskId"], claim.task.to_string());
    assert_eq!(told[0].data["attempt"], 1);
}

pub async fn a_task_waits_for_all_its_dependencies(store: &dyn Ageing) {
    let scene = executing(store, "left -> join, right -> join").await;
    heard(store).await;

    scene.succeed("left").await;
    let between = scene.states().await;
    let jobs = heard(store).await;
    scene.succeed("right").await;

    assert_eq!(between, "left completed, join pending, right ready");
    assert_eq!(jobs, []);
    assert_eq!(scene.state("join").await, task::State::Ready);
    assert_eq!(heard(store).await, [Job::Task(scene.task("join"))]);
}

pub async fn dependents_are_released_once_by_settles_at_once(store: &dyn Ageing) {
    for _ in 0..5 {
        let scene = executing(
            store,
            "a -> join, b -> join, c -> join, d -> join, e -> join, f -> join -> end",
        )
        .await;
        heard(store).await;
        let mut claims = Vec::new();
        for key in ["a", "b", "c", "d", "e", "f"] {
            claims.push(scene.claim(key).await);
        }

        let settles = claims.iter().map(|claim| {
            let path = format!("{}.txt", claim.key);
            scene.settle(claim, wrote(&path, &claim.key))
        });
        for settled in join_all(settles).await {
            settled.unwrap();
        }

        assert_eq!(scene.state("join").await, task::State::Ready);
        assert_eq!(heard(store).await, [Job::Task(scene.task("join"))]);
        let tally = scene.build().await.tally;
        assert_eq!((tally.completed, tally.files), (6, 6));
    }
}

pub async fn an_attempt_is_settled_once(store: &dyn Ageing) {
    let scene = executing(store, "fetch -> build").await;
    let claim = scene.claim("fetch").await;

    let settles = join_all((0..6).map(|_| scene.settle(&claim, wrote("fetch.txt", "x")))).await;

    assert_eq!(settles.iter().filter(|settled| settled.is_ok()).count(), 1);
    for settled in settles {
        if settled.is_err() {
            assert_fenced(settled);
        }
    }
    assert_eq!(scene.build().await.tally.completed, 1);
    let told = scene.kinds().await.into_iter().filter(|kind| *kind == Kind::TaskCompleted).count();
    assert_eq!(told, 1);
}

pub async fn a_late_settle_is_fenced_and_changes_nothing(store: &dyn Ageing) {
    let scene = executing(store, "fetch -> build").await;
    let late = scene.claim("fetch").await;
    store.age(LEASE * 2).await;
    store.settle_lost(late.fence(), &Policy::WORK, Jitter::NONE).await.unwrap();
    let newer = scene.claim("fetch").await;
    let before = (scene.states().await, scene.kinds().await);

    assert_fenced(scene.settle(&late, wrote("fetch.txt", "late")).await);
    assert_fenced(scene.settle(&late, Outcome::Failed(broken())).await);
    assert_fenced(scene.settle(&late, Outcome::GivenBack).await);

    assert_eq!((scene.states().await, scene.kinds().await), before);
    assert_eq!(store.files(scene.build).await.unwrap(), []);
    scene.settle(&newer, wrote("fetch.txt", "in time")).await.unwrap();
    let file = store.file(scene.build, "fetch.txt").await.unwrap();
    assert_eq!(file.content, b"in time");
}

pub async fn a_fence_of_another_kind_is_fenced(store: &dyn Ageing) {
    let build = submitted(store).await;
    let planning = claimed(store, build).await;
    let unknown = Fence { job: Job::Task(draw::id()), attempt: 1 };

    let settle = |fence| store.settle_task(fence, Outcome::GivenBack, &Policy::WORK, Jitter::NONE);

    assert_fenced(settle(planning.fence()).await);
    assert_fenced(settle(unknown).await);
}

pub async fn a_transient_failure_comes_again_after_its_delay(store: &dyn Ageing) {
    let scene = executing(store, "fetch -> build").await;

    scene.fail("fetch", flaky()).await;

    let task = store.task(scene.task("fetch")).await.unwrap();
    assert_eq!((task.state, task.failures, task.crashes), (task::State::Ready, 1, 0));
    assert_eq!(task.failure, Some(flaky()));
    assert!(scene.claim_if_ready("fetch").await.is_none());
    store.age(secs(1)).await;
    assert!(scene.claim_if_ready("fetch").await.is_none());
    store.age(secs(1)).await;
    let again = scene.claim("fetch").await;
    assert_eq!(again.attempt, 2);
    scene.settle(&again, wrote("fetch.txt", "x")).await.unwrap();
    let task = store.task(scene.task("fetch")).await.unwrap();
    assert_eq!((task.state, task.failure), (task::State::Completed, Some(flaky())));
    assert_eq!(task.logs, ["wrote fetch.txt"]);
    let told = store.events(scene.build, 3, 1).await.unwrap();
    assert_eq!((told[0].kind, &told[0].data["retryInMs"]), (Kind::TaskRetrying, &2000.into()));
}

pub async fn a_task_that_fails_three_times_is_given_up(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    for _ in 0..3 {
        scene.fail("fetch", flaky()).await;
        store.age(secs(60)).await;
    }

    assert_eq!(scene.state("fetch").await, task::State::Failed);
    let build = scene.build().await;
    assert_eq!((build.state, build.tally.failed), (build::State::Failed, 1));
    assert_eq!(build.stop.unwrap().code, "tasks_failed");
    assert!(scene.claim_if_ready("fetch").await.is_none());
}

pub async fn a_failed_task_skips_only_what_depends_on_it(store: &dyn Ageing) {
    let scene = executing(store, "a -> b -> c -> end, x -> y -> end, done -> b").await;
    scene.succeed("done").await;

    scene.break_down("a").await;

    assert_eq!(
        scene.states().await,
        "a failed, b skipped, c skipped, end skipped, x ready, y pending, done completed"
    );
    assert_eq!(scene.build_state().await, build::State::Executing);
    scene.succeed("x").await;
    scene.succeed("y").await;
    let build = scene.build().await;
    assert_eq!(build.state, build::State::Failed);
    let tally = build.tally;
    assert_eq!((tally.completed, tally.failed, tally.skipped), (3, 1, 3));
    let told = scene.kinds().await;
    assert_eq!(told.iter().filter(|kind| **kind == Kind::TaskSkipped).count(), 3);
    assert_eq!(told.last(), Some(&Kind::BuildFailed));
}

pub async fn a_build_that_fails_fast_cancels_the_rest(store: &dyn Ageing) {
    let brief = Brief { on_task_failure: OnTaskFailure::FailFast, ..Brief::of("a list") };
    let scene = executing_as(store, brief, "a -> b, x -> y, ready, done").await;
    scene.succeed("done").await;
    let running = scene.claim("x").await;

    scene.break_down("a").await;

    assert_eq!(
        scene.states().await,
        "a failed, b cancelled, x cancelled, y cancelled, ready cancelled, done completed"
    );
    let build = scene.build().await;
    assert_eq!((build.state, build.tally.cancelled), (build::State::Failed, 4));
    assert_fenced(scene.settle(&running, wrote("x.txt", "x")).await);
    assert!(!keeps(store, scene.holder, running.fence()).await);
    let attempts = store.task_attempts(scene.task("x")).await.unwrap();
    assert_eq!(attempts[0].state, attempt::State::Cancelled);
}

pub async fn a_time_limit_is_told_as_a_timeout(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    for _ in 0..3 {
        scene.fail("fetch", Failure::timed_out(secs(300))).await;
        store.age(secs(60)).await;
    }

    assert!(scene.kinds().await.contains(&Kind::TaskTimeout));
    assert!(!scene.kinds().await.contains(&Kind::TaskFailed));
}

pub async fn a_task_given_back_counts_for_nothing(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    for attempt in 1..=5 {
        heard(store).await;
        let claim = scene.claim("fetch").await;

        scene.settle(&claim, Outcome::GivenBack).await.unwrap();

        assert_eq!(claim.attempt, attempt);
        assert_eq!(heard(store).await, [Job::Task(scene.task("fetch"))]);
    }
    let task = store.task(scene.task("fetch")).await.unwrap();
    assert_eq!((task.state, task.failures, task.crashes), (task::State::Ready, 0, 0));
    scene.succeed("fetch").await;
    assert_eq!(scene.build_state().await, build::State::Completed);
}

pub async fn attempts_are_listed_oldest_first(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    let given_back = scene.claim("fetch").await;
    scene.settle(&given_back, Outcome::GivenBack).await.unwrap();
    scene.fail("fetch", flaky()).await;
    store.age(secs(2)).await;
    scene.claim("fetch").await;

    let attempts = store.task_attempts(scene.task("fetch")).await.unwrap();

    let listed: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.state)).collect();
    assert_eq!(
        listed,
        [(1, attempt::State::GivenBack), (2, attempt::State::Failed), (3, attempt::State::Running)]
    );
    assert_eq!(attempts[1].failure, Some(flaky()));
    assert_eq!(attempts[2].holder, scene.holder);
    assert!(attempts[1].settled_at.is_some() && attempts[2].settled_at.is_none());
}
