//! What the loss of a task means is said by each dependency.

use futures_util::future::join_all;

use super::*;
use crate::domain::{
    brief::OnTaskFailure,
    dependency::{DraftNeed, OnLoss},
};

/// Gives the dependency of a task on another a policy.
pub(super) fn on_loss(draft: &mut Draft, task: &str, on: &str, policy: OnLoss) {
    let task = draft.tasks.iter_mut().find(|drafted| drafted.key == task).unwrap();
    let need = task.depends_on.iter_mut().find(|need| need.key == on).unwrap();
    *need = DraftNeed { key: on.to_owned(), on_loss: Some(policy) };
}

fn fan() -> Draft {
    let mut draft =
        Draft::of("bad -> skip -> after, bad -> go_on, bad -> clean_up, bad -> said, free");
    on_loss(&mut draft, "go_on", "bad", OnLoss::Continue);
    on_loss(&mut draft, "clean_up", "bad", OnLoss::AlwaysRun);
    on_loss(&mut draft, "said", "bad", OnLoss::Skip);
    draft
}

pub async fn each_dependency_says_what_a_loss_means(store: &dyn Ageing) {
    let scene = Scene::drafted(store, Brief::of("a list"), fan()).await;
    heard(store).await;

    scene.break_down("bad").await;

    assert_eq!(
        scene.states().await,
        "bad failed, skip skipped, after skipped, go_on ready, clean_up ready, said skipped, \
         free ready"
    );
    let mut woken = heard(store).await;
    woken.sort_unstable_by_key(ToString::to_string);
    let mut ready = [scene.task("go_on"), scene.task("clean_up")].map(Job::Task);
    ready.sort_unstable_by_key(ToString::to_string);
    assert_eq!(woken, ready);
    for key in ["go_on", "clean_up", "free"] {
        scene.succeed(key).await;
    }
    let build = scene.build().await;
    let tally = build.tally;
    assert_eq!((build.state, tally.completed, tally.skipped), (build::State::Failed, 3, 3));
}

pub async fn what_cleans_up_runs_even_when_the_build_stops(store: &dyn Ageing) {
    let brief = Brief { on_task_failure: OnTaskFailure::FailFast, ..Brief::of("a list") };
    let mut draft = fan();
    // Waits for one that will be cancelled, and for one that will clean up first.
    draft.tasks[4]
        .depends_on
        .push(DraftNeed { key: "free".to_owned(), on_loss: Some(OnLoss::AlwaysRun) });
    let scene = Scene::drafted(store, brief, draft).await;
    let running = scene.claim("free").await;

    scene.break_down("bad").await;

    assert_eq!(
        scene.states().await,
        "bad failed, skip cancelled, after cancelled, go_on cancelled, clean_up ready, \
         said cancelled, free cancelled"
    );
    assert_fenced(scene.settle(&running, wrote("free.txt", "x")).await);
    assert_eq!(scene.build_state().await, build::State::Executing);
    scene.succeed("clean_up").await;
    let build = scene.build().await;
    assert_eq!((build.state, build.tally.cancelled), (build::State::Failed, 5));
    assert_eq!(scene.kinds().await.last(), Some(&Kind::BuildFailed));
}

pub async fn one_dependency_may_stop_the_whole_build(store: &dyn Ageing) {
    let mut draft = Draft::of("bad -> needs -> after, free");
    on_loss(&mut draft, "needs", "bad", OnLoss::FailFast);
    let scene = Scene::drafted(store, Brief::of("a list"), draft).await;

    scene.break_down("bad").await;

    let states = "bad failed, needs cancelled, after cancelled, free cancelled";
    assert_eq!(scene.states().await, states);
    assert_eq!(scene.build_state().await, build::State::Failed);
}

pub async fn a_brief_says_what_a_loss_means_where_its_plan_does_not(store: &dyn Ageing) {
    let brief = Brief { on_loss: OnLoss::Continue, ..Brief::of("a list") };
    let scene = Scene::drafted(store, brief, fan()).await;

    scene.break_down("bad").await;

    assert_eq!(
        scene.states().await,
        "bad failed, skip ready, after pending, go_on ready, clean_up ready, said skipped, \
         free ready"
    );
}

pub async fn a_task_that_bears_two_losses_at_once_runs(store: &dyn Ageing) {
    let mut draft = Draft::of("bad -> next -> join, bad -> join, other -> join");
    for on in ["next", "bad", "other"] {
        on_loss(&mut draft, "join", on, OnLoss::Continue);
    }
    let scene = Scene::drafted(store, Brief::of("a list"), draft).await;

    scene.break_down("bad").await;
    assert_eq!(scene.states().await, "bad failed, next skipped, join pending, other ready");
    scene.break_down("other").await;

    assert_eq!(scene.state("join").await, task::State::Ready);
}

pub async fn settles_at_once_lose_and_release_each_task_once(store: &dyn Ageing) {
    for fail_fast in [false, true] {
        let on_task_failure =
            if fail_fast { OnTaskFailure::FailFast } else { OnTaskFailure::Continue };
        let brief = Brief { on_task_failure, ..Brief::of("a list") };
        let mut draft = Draft::of("a -> end, b -> end, c -> end, d -> end, e -> end");
        for on in ["a", "b", "c", "d", "e"] {
            on_loss(&mut draft, "end", on, OnLoss::AlwaysRun);
        }
        let scene = Scene::drafted(store, brief, draft).await;
        let mut claims = Vec::new();
        for key in ["a", "b", "c", "d", "e"] {
            claims.push(scene.claim(key).await);
        }

        let settles = claims.iter().map(|claim| {
            let good = matches!(claim.key.as_str(), "a" | "b" | "c");
            let outcome = if good { wrote("x.txt", "x") } else { Outcome::Failed(broken()) };
            scene.settle(claim, outcome)
        });
        let settled = join_all(settles).await;

        assert_eq!(scene.state("end").await, task::State::Ready);
        let tally = scene.build().await.tally;
        let fenced = settled.iter().filter(|settled| settled.is_err()).count();
        assert_eq!(tally.settled(), 5);
        assert_eq!(fenced, tally.cancelled as usize, "{settled:?}");
        if !fail_fast {
            assert_eq!((tally.completed, tally.failed), (3, 2));
        }
        scene.succeed("end").await;
        assert_eq!(scene.build_state().await, build::State::Failed);
    }
}

pub async fn writers_of_one_path_run_one_after_the_other(store: &dyn Ageing) {
    let mut draft = Draft::of("first, second");
    for task in &mut draft.tasks {
        task.writes = vec!["main.py".to_owned()];
    }
    let scene = Scene::drafted(store, Brief::of("a list"), draft).await;

    assert_eq!(scene.states().await, "first ready, second pending");
    let told = store.events(scene.build, 1, 10).await.unwrap();
    assert_eq!((told[0].kind, told[1].kind), (Kind::PlanWarning, Kind::PlanGenerated));
    assert_eq!(told[0].data["warning"], "ordered_writes");
    assert_eq!(told[0].data["writes"][0]["then"], "second");
    // Who only waited for a path does not need who wrote it.
    scene.break_down("first").await;
    assert_eq!(scene.state("second").await, task::State::Ready);
}
