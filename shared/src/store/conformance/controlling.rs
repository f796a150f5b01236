//! People take single tasks out, give them another go, and ask what they wait for.

use super::{losing::on_loss, *};
use crate::domain::{attempt, dependency::OnLoss, settle::ByHand};

async fn cancel(store: &dyn Ageing, task: TaskId) -> Result<Task, Error> {
    store.end_task(task, ByHand::Cancel, "no longer wanted").await
}

async fn skip(store: &dyn Ageing, task: TaskId) -> Result<Task, Error> {
    store.end_task(task, ByHand::Skip, "not needed this time").await
}

pub async fn a_running_task_is_cancelled_under_its_holder(store: &dyn Ageing) {
    let scene = executing(store, "a -> b, free").await;
    let running = scene.claim("a").await;
    rung(store).await;

    let task = cancel(store, scene.task("a")).await.unwrap();

    assert_eq!(task, store.task(task.id).await.unwrap());
    assert_eq!(scene.states().await, "a cancelled, b skipped, free ready");
    assert_eq!(task.failure.unwrap().reason, "no longer wanted");
    assert!(rung(store).await.recalled.contains(&scene.build));
    assert!(!keeps(store, scene.holder, running.fence()).await);
    assert_fenced(scene.settle(&running, wrote("a.txt", "x")).await);
    let attempts = store.task_attempts(task.id).await.unwrap();
    assert_eq!(attempts[0].state, attempt::State::Cancelled);
    let told = scene.kinds().await;
    assert_eq!(told[told.len() - 2..], [Kind::TaskCancelled, Kind::TaskSkipped]);
    scene.succeed("free").await;
    assert_eq!(scene.build_state().await, build::State::Failed);
}

pub async fn a_waiting_task_is_cancelled_with_who_needs_it(store: &dyn Ageing) {
    let mut draft = Draft::of("a -> b -> c, b -> bears");
    on_loss(&mut draft, "bears", "b", OnLoss::Continue);
    let scene = Scene::drafted(store, Brief::of("a list"), draft).await;

    cancel(store, scene.task("b")).await.unwrap();

    assert_eq!(scene.states().await, "a ready, b cancelled, c skipped, bears ready");
    assert_eq!(cancel(store, scene.task("b")).await.unwrap().state, task::State::Cancelled);
    scene.succeed("bears").await;
    // Nobody waits for the last one any more, but it still runs.
    scene.succeed("a").await;
    assert_eq!(scene.states().await, "a completed, b cancelled, c skipped, bears completed");
    assert_eq!(scene.build_state().await, build::State::Failed);
}

pub async fn a_build_completes_without_what_was_left_out(store: &dyn Ageing) {
    let scene = executing(store, "a -> b, free").await;

    let task = skip(store, scene.task("a")).await.unwrap();

    assert_eq!(
        (task.state, task.failure.unwrap().code.as_str()),
        (task::State::Skipped, "skipped_by_hand")
    );
    assert_eq!(scene.states().await, "a skipped, b skipped, free ready");
    scene.succeed("free").await;
    let build = scene.build().await;
    assert_eq!((build.state, build.stop, build.tally.skipped), (build::State::Completed, None, 2));
}

pub async fn a_task_that_is_final_is_not_taken_out(store: &dyn Ageing) {
    let scene = executing(store, "done, bad -> lost, free").await;
    scene.succeed("done").await;
    scene.break_down("bad").await;

    for key in ["done", "bad"] {
        assert_eq!(code_of(cancel(store, scene.task(key)).await), "task_is_final");
        assert_eq!(code_of(skip(store, scene.task(key)).await), "task_is_final");
    }
    assert_eq!(code_of(cancel(store, scene.task("lost")).await), "task_is_final");
    assert_not_found(cancel(store, draw::id()).await);
    let waiting = proposed(store, "a").await;
    assert_eq!(code_of(cancel(store, waiting.task("a")).await), "build_not_executing");
}

pub async fn a_task_is_retried_with_what_was_lost_because_of_it(store: &dyn Ageing) {
    let scene =
        executing(store, "bad -> mine -> also, worse, bad -> both, worse -> both, free").await;
    scene.break_down("bad").await;
    scene.break_down("worse").await;
    heard(store).await;

    let task = store.retry_task(scene.task("bad")).await.unwrap();

    assert_eq!(task, store.task(task.id).await.unwrap());
    assert_eq!(
        scene.states().await,
        "bad ready, mine pending, also pending, worse failed, both skipped, free ready"
    );
    assert_eq!((task.failures, heard(store).await), (0, vec![Job::Task(task.id)]));
    let tally = scene.build().await.tally;
    assert_eq!((tally.failed, tally.skipped), (1, 1));
    let told = store.events(scene.build, scene.build().await.last_seq - 1, 1).await.unwrap();
    assert_eq!((told[0].kind, &told[0].data["taskCount"]), (Kind::TaskRetried, &3.into()));
    scene.succeed("bad").await;
    scene.succeed("mine").await;
    assert_eq!(scene.state("also").await, task::State::Ready);
    store.retry_task(scene.task("worse")).await.unwrap();
    scene.succeed("worse").await;
    for key in ["also", "both", "free"] {
        scene.succeed(key).await;
    }
    assert_eq!(scene.build_state().await, build::State::Completed);
}

pub async fn a_retried_task_opens_its_build(store: &dyn Ageing) {
    let brief = Brief { deadline_secs: Some(600), ..Brief::of("a list") };
    let scene = executing_as(store, brief, "done, bad -> lost").await;
    scene.succeed("done").await;
    scene.break_down("bad").await;
    assert_eq!(scene.build_state().await, build::State::Failed);
    store.age(secs(600)).await;

    store.retry_task(scene.task("bad")).await.unwrap();

    let build = scene.build().await;
    assert_eq!((build.state, build.stop, build.settled_at), (build::State::Executing, None, None));
    assert_eq!(store.end_overdue(10).await.unwrap(), 0);
    let told = scene.kinds().await;
    assert_eq!(told[told.len() - 2..], [Kind::BuildRetried, Kind::TaskRetried]);
    scene.succeed("bad").await;
    scene.succeed("lost").await;
    assert_eq!(scene.build_state().await, build::State::Completed);
}

pub async fn who_bore_a_loss_waits_again_when_it_is_retried(store: &dyn Ageing) {
    let mut draft = Draft::of("bad -> join, open -> join, bad -> early");
    on_loss(&mut draft, "join", "bad", OnLoss::Continue);
    on_loss(&mut draft, "early", "bad", OnLoss::Continue);
    let scene = Scene::drafted(store, Brief::of("a list"), draft).await;
    scene.break_down("bad").await;
    scene.succeed("early").await;

    store.retry_task(scene.task("bad")).await.unwrap();

    scene.succeed("open").await;
    let states = "bad ready, join pending, open completed, early completed";
    assert_eq!(scene.states().await, states);
    scene.succeed("bad").await;
    scene.succeed("join").await;
    assert_eq!(scene.build_state().await, build::State::Completed);
}

pub async fn only_what_is_lost_by_itself_is_retried(store: &dyn Ageing) {
    let scene = executing(store, "bad -> lost, done, free").await;
    scene.succeed("done").await;
    scene.break_down("bad").await;

    for key in ["lost", "done", "free"] {
        let refused = store.retry_task(scene.task(key)).await;
        assert_eq!(code_of(refused), "task_not_retryable", "{key}");
    }
    assert_not_found(store.retry_task(draw::id()).await);
    let rejected = proposed(store, "a").await;
    store.reject_plan(rejected.plan, "plan_rejected", "no").await.unwrap();
    assert_eq!(code_of(store.retry_task(rejected.task("a")).await), "task_not_retryable");
}

pub async fn what_a_task_waited_for_is_told_with_what_it_made(store: &dyn Ageing) {
    let mut draft = Draft::of("a -> end, b -> end, bad -> end");
    on_loss(&mut draft, "end", "bad", OnLoss::Continue);
    draft.tasks[0].writes.push("lib/a.py".to_owned());
    let scene = Scene::drafted(store, Brief::of("a list"), draft).await;
    let claim = scene.claim("a").await;
    let files = ["lib/a.py", "a.txt"]
        .map(|path| OutputFile { path: path.to_owned(), content: path.to_owned() });
    let output = Output { files: files.into(), ..Output::default() };
    scene.settle(&claim, Outcome::Succeeded(output)).await.unwrap();
    scene.succeed("b").await;
    scene.break_down("bad").await;

    let told = store.prerequisites(scene.task("end")).await.unwrap();

    let known: Vec<_> = told.iter().map(|on| (on.key.as_str(), on.state, on.made.len())).collect();
    let (completed, failed) = (task::State::Completed, task::State::Failed);
    assert_eq!(known, [("a", completed, 2), ("b", completed, 1), ("bad", failed, 0)]);
    assert_eq!(told[0].task, scene.task("a"));
    let listed = store.files(scene.build).await.unwrap();
    assert_eq!(told[0].made[0], listed[0]);
    assert_eq!(told[0].made[1].path, "lib/a.py");
    assert_eq!(store.prerequisites(scene.task("a")).await.unwrap(), []);
    assert_not_found(store.prerequisites(draw::id()).await);
}

pub async fn a_build_says_how_long_it_will_take(store: &dyn Ageing) {
    let mut draft = Draft::of("a -> b -> c, d");
    for task in &mut draft.tasks {
        task.estimated_secs = 100;
    }
    let scene = Scene::drafted(store, Brief::of("a list"), draft).await;
    let queued = submitted(store).await;
    assert_eq!(store.remaining(queued).await.unwrap(), None);
    assert_eq!(store.remaining(scene.build).await.unwrap(), Some(secs(300)));
    // Three that took ten seconds each say more than the plan does.
    let other = executing(store, "x, y, z").await;
    for key in ["x", "y", "z"] {
        let claim = other.claim(key).await;
        store.age(secs(10)).await;
        other.settle(&claim, wrote("x.txt", "x")).await.unwrap();
    }

    let remaining = store.remaining(scene.build).await.unwrap().unwrap();

    assert!((secs(30)..secs(33)).contains(&remaining), "{remaining:?}");
    scene.claim("a").await;
    store.age(secs(5)).await;
    let remaining = store.remaining(scene.build).await.unwrap().unwrap();
    assert!((secs(23)..secs(28)).contains(&remaining), "{remaining:?}");
    assert_eq!(store.remaining(other.build).await.unwrap(), None);
    assert_not_found(store.remaining(draw::id()).await);
}
