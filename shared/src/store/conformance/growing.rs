//! Plans grow while their tasks run.

use futures_util::future::join_all;

use super::{losing::on_loss, *};
use crate::domain::{
    attempt::FailureKind,
    brief::OnTaskFailure,
    dependency::{DraftNeed, OnLoss},
    plan::DraftTask,
};

/// Tasks as in `Draft::of`, but they may wait for others by these edges as well.
fn more(graph: &str, edges: &[(&str, &str)]) -> Vec<DraftTask> {
    let mut tasks = Draft::of(graph).tasks;
    for (task, on) in edges {
        let task = tasks.iter_mut().find(|drafted| drafted.key == *task).unwrap();
        task.depends_on.push((*on).into());
    }
    tasks
}

fn wrote_and_wants(path: &str, tasks: Vec<DraftTask>) -> Outcome {
    let file = OutputFile { path: path.to_owned(), content: "x".to_owned() };
    Outcome::Succeeded(Output { files: vec![file], tasks, ..Output::default() })
}

pub async fn tasks_are_added_to_a_build_that_runs(store: &dyn Ageing) {
    let scene = executing(store, "a").await;
    heard(store).await;

    let added = store.add_tasks(scene.build, &more("b -> c, d", &[])).await.unwrap();

    let scene = scene.again().await;
    assert_eq!(scene.states().await, "a ready, b ready, c pending, d ready");
    let keys: Vec<_> = added.iter().map(|task| task.key.as_str()).collect();
    assert_eq!(keys, ["b", "c", "d"]);
    assert_eq!(added[0], store.task(scene.task("b")).await.unwrap());
    let mut woken = heard(store).await;
    woken.sort_unstable_by_key(ToString::to_string);
    assert_eq!(woken, [Job::Task(scene.task("b")), Job::Task(scene.task("d"))]);
    let build = scene.build().await;
    assert_eq!((build.tally.tasks, build.open_tasks), (4, [1, 3, 0]));
    let told = store.events(scene.build, build.last_seq - 1, 1).await.unwrap();
    assert_eq!((told[0].kind, &told[0].data["taskCount"]), (Kind::TasksAdded, &4.into()));
    assert_eq!(told[0].data["addedTasks"].as_array().unwrap().len(), 3);
    for key in ["a", "b", "c"] {
        scene.succeed(key).await;
    }
    assert_eq!(scene.build_state().await, build::State::Executing);
    scene.succeed("d").await;
    assert_eq!(scene.build_state().await, build::State::Completed);
}

pub async fn what_is_added_may_wait_for_what_is_there(store: &dyn Ageing) {
    let scene = executing(store, "done -> open").await;
    scene.succeed("done").await;

    let tasks = more("now, later, both", &[("now", "done"), ("later", "open"), ("both", "open")]);
    store.add_tasks(scene.build, &tasks).await.unwrap();

    let scene = scene.again().await;
    let states = "done completed, open ready, now ready, later pending, both pending";
    assert_eq!(scene.states().await, states);
    let later = store.task(scene.task("later")).await.unwrap();
    assert_eq!(later.depends_on, [scene.task("open")]);
    scene.succeed("open").await;
    assert_eq!(scene.state("later").await, task::State::Ready);
    assert_eq!(scene.state("both").await, task::State::Ready);
}

pub async fn what_is_added_too_late_is_skipped(store: &dyn Ageing) {
    let scene = executing(store, "bad, open").await;
    scene.break_down("bad").await;
    let mut tasks = more("late -> after, bears", &[("late", "bad"), ("bears", "bad")]);
    tasks[2].depends_on =
        vec![DraftNeed { key: "bad".to_owned(), on_loss: Some(OnLoss::Continue) }];

    store.add_tasks(scene.build, &tasks).await.unwrap();

    let scene = scene.again().await;
    let states = "bad failed, open ready, late skipped, after skipped, bears ready";
    assert_eq!(scene.states().await, states);
    assert_eq!(scene.build().await.tally.skipped, 2);
    let told = scene.kinds().await;
    let tail = [Kind::TasksAdded, Kind::TaskSkipped, Kind::TaskSkipped];
    assert_eq!(told[told.len() - 3..], tail);
    scene.succeed("open").await;
    scene.succeed("bears").await;
    assert_eq!(scene.build_state().await, build::State::Failed);
}

pub async fn an_addition_that_is_no_plan_is_refused(store: &dyn Ageing) {
    let scene = executing(store, "a -> b").await;
    let before = (scene.states().await, scene.kinds().await);

    for tasks in [
        Vec::new(),
        more("a", &[]),
        more("c", &[("c", "ghost")]),
        more("c -> d -> c", &[]),
        more("c, c2", &[("c", "c2"), ("c2", "c")]),
    ] {
        assert_eq!(code_of(store.add_tasks(scene.build, &tasks).await), "tasks_refused");
    }

    assert_eq!((scene.states().await, scene.kinds().await), before);
    assert_not_found(store.add_tasks(draw::id(), &more("c", &[])).await);
}

pub async fn only_a_build_that_executes_takes_more_tasks(store: &dyn Ageing) {
    let queued = submitted(store).await;
    let waiting = proposed(store, "a").await;
    let ended = executing(store, "a").await;
    ended.succeed("a").await;

    let add = |build| async move { code_of(store.add_tasks(build, &more("b", &[])).await) };

    assert_eq!(add(queued).await, "build_not_executing");
    assert_eq!(add(waiting.build).await, "build_not_executing");
    assert_eq!(add(ended.build).await, "build_is_final");
}

pub async fn a_build_that_stops_takes_no_more_tasks(store: &dyn Ageing) {
    let by_brief = Brief { on_task_failure: OnTaskFailure::FailFast, ..Brief::of("a list") };
    let mut by_edge = Draft::of("bad -> needs, bad -> clean_up");
    on_loss(&mut by_edge, "needs", "bad", OnLoss::FailFast);
    on_loss(&mut by_edge, "clean_up", "bad", OnLoss::AlwaysRun);
    let mut plain = Draft::of("bad -> clean_up");
    on_loss(&mut plain, "clean_up", "bad", OnLoss::AlwaysRun);

    for (brief, draft) in [(by_brief, plain), (Brief::of("a list"), by_edge)] {
        let scene = Scene::drafted(store, brief, draft).await;
        scene.break_down("bad").await;
        assert_eq!(scene.state("clean_up").await, task::State::Ready);

        let refused = store.add_tasks(scene.build, &more("more", &[])).await;

        assert_eq!(code_of(refused), "tasks_refused");
    }
}

pub async fn an_added_writer_waits_for_the_last_one(store: &dyn Ageing) {
    let scene = executing(store, "first").await;
    for key in ["second", "third"] {
        let mut tasks = more(key, &[]);
        tasks[0].writes = vec!["first.txt".to_owned()];
        store.add_tasks(scene.build, &tasks).await.unwrap();
    }

    let scene = scene.again().await;
    assert_eq!(scene.states().await, "first ready, second pending, third pending");
    scene.succeed("first").await;
    assert_eq!(scene.states().await, "first completed, second ready, third pending");
    scene.break_down("second").await;
    assert_eq!(scene.state("third").await, task::State::Ready);
}

pub async fn a_task_adds_tasks_as_it_succeeds(store: &dyn Ageing) {
    let scene = executing(store, "seed -> end").await;
    let seed = scene.claim("seed").await;
    heard(store).await;
    let tasks = more("grown, later", &[("grown", "seed"), ("later", "end")]);

    scene.settle(&seed, wrote_and_wants("seed.txt", tasks)).await.unwrap();

    let scene = scene.again().await;
    let states = "seed completed, end ready, grown ready, later pending";
    assert_eq!(scene.states().await, states);
    let woken = heard(store).await;
    assert_eq!(woken.len(), 2);
    assert!(woken.contains(&Job::Task(scene.task("grown"))));
    let told = scene.kinds().await;
    assert_eq!(told[told.len() - 2..], [Kind::TaskCompleted, Kind::TasksAdded]);
    let build = scene.build().await;
    assert_eq!((build.tally.tasks, build.tally.completed, build.tally.files), (4, 1, 1));
    for key in ["end", "grown", "later"] {
        scene.succeed(key).await;
    }
    assert_eq!(scene.build_state().await, build::State::Completed);
}

pub async fn a_task_that_adds_what_is_refused_fails(store: &dyn Ageing) {
    let scene = executing(store, "seed -> end").await;
    let seed = scene.claim("seed").await;

    let tasks = more("end", &[]);
    scene.settle(&seed, wrote_and_wants("seed.txt", tasks)).await.unwrap();

    assert_eq!(scene.states().await, "seed failed, end skipped");
    assert_eq!(store.files(scene.build).await.unwrap(), []);
    let failure = store.task(scene.task("seed")).await.unwrap().failure.unwrap();
    let known = (failure.kind, failure.code.as_str());
    assert_eq!(known, (FailureKind::Permanent, "tasks_refused"));
}

pub async fn additions_and_settles_at_once_lose_nothing(store: &dyn Ageing) {
    let scene = executing(store, "a, b, c, d, last").await;
    let mut claims = Vec::new();
    for key in ["a", "b", "c", "d"] {
        claims.push(scene.claim(key).await);
    }

    let settles = claims.iter().map(|claim| {
        let added = format!("{}2", claim.key);
        let others = claims.iter().map(|claim| claim.key.as_str());
        let edges: Vec<_> = others.map(|on| (added.as_str(), on)).collect();
        let tasks = more(&added, &edges);
        scene.settle(claim, wrote_and_wants(&format!("{}.txt", claim.key), tasks))
    });
    let by_hand = ["x", "y", "z"].map(|key| {
        let tasks = more(key, &[(key, "a")]);
        async move { store.add_tasks(scene.build, &tasks).await }
    });
    let (settled, added) = tokio::join!(join_all(settles), join_all(by_hand));

    assert!(settled.iter().all(Result::is_ok) && added.iter().all(Result::is_ok));
    let scene = scene.again().await;
    let build = scene.build().await;
    assert_eq!((build.tally.tasks, build.tally.completed, build.tally.files), (12, 4, 4));
    for key in ["a2", "b2", "c2", "d2", "x", "y", "z", "last"] {
        assert_eq!(scene.state(key).await, task::State::Ready, "{key}");
        scene.succeed(key).await;
    }
    assert_eq!(scene.build_state().await, build::State::Completed);
}

async fn with_timeout<'a>(store: &'a dyn Ageing, brief: Brief, adoption: Adoption) -> Scene<'a> {
    let build = submitted_as(store, brief).await;
    let claim = claimed(store, build).await;
    let mut plan = Draft::of("a").into_plan().unwrap();
    plan.timeout = Some(secs(900));
    store.age(secs(500)).await;
    store.adopt_plan(&claim, &plan, adoption).await.unwrap();
    Scene::of(store, store.build(build).await.unwrap()).await
}

async fn stop_of(scene: &Scene<'_>) -> Option<String> {
    scene.build().await.stop.map(|stop| stop.code)
}

pub async fn a_plan_has_a_timeout_once_it_takes_effect(store: &dyn Ageing) {
    let (first, second) = (draw::id(), draw::id());
    let at_once = Adoption::AtOnce { plan: first };
    let at_once = with_timeout(store, Brief::of("a list"), at_once).await;
    let on_approval = Adoption::OnApproval { plan: second, within: HOUR };
    let on_approval = with_timeout(store, Brief::of("a list"), on_approval).await;

    store.age(secs(390)).await;
    assert_eq!(store.end_overdue(10).await.unwrap(), 0);
    store.approve_plan(second).await.unwrap();
    store.age(secs(20)).await;

    // The second one had its 500 seconds of planning as well, but its own time began only then.
    assert_eq!(store.end_overdue(10).await.unwrap(), 1);
    assert_eq!(stop_of(&at_once).await.as_deref(), Some("plan_timeout"));
    assert_eq!(on_approval.build_state().await, build::State::Executing);
    store.retry_build(at_once.build).await.unwrap();
    assert_eq!(store.end_overdue(10).await.unwrap(), 0);
    store.age(secs(900)).await;
    assert_eq!(store.end_overdue(10).await.unwrap(), 2);
    assert_eq!(stop_of(&on_approval).await.as_deref(), Some("plan_timeout"));
}

pub async fn a_deadline_of_the_brief_goes_before_the_timeout(store: &dyn Ageing) {
    let brief = Brief { deadline_secs: Some(5000), ..Brief::of("a list") };
    let scene = with_timeout(store, brief, Adoption::AtOnce { plan: draw::id() }).await;

    store.age(secs(2000)).await;
    assert_eq!(store.end_overdue(10).await.unwrap(), 0);
    store.age(secs(3000)).await;

    assert_eq!(store.end_overdue(10).await.unwrap(), 1);
    assert_eq!(stop_of(&scene).await.as_deref(), Some("deadline_passed"));
}
