//! Builds that begin in the middle of others.

use serde_json::json;

use super::*;

async fn forked<'a>(scene: &Scene<'a>, at: &str) -> Scene<'a> {
    let build = scene.store.fork(scene.task(at), None).await.unwrap();
    Scene::of(scene.store, build).await
}

pub async fn a_fork_takes_over_what_does_not_lie_downstream(store: &dyn Ageing) {
    let brief = Brief { project_id: Some("shop".to_owned()), priority: 2, ..Brief::of("a shop") };
    let scene = executing_as(store, brief.clone(), "a -> b -> c, a -> side, bad").await;
    for key in ["a", "b", "c", "side"] {
        scene.succeed(key).await;
    }
    scene.break_down("bad").await;
    let before = (scene.build().await, scene.states().await);
    heard(store).await;

    let fork = forked(&scene, "b").await;

    let states = "a completed, b ready, c pending, side completed, bad ready";
    assert_eq!(fork.states().await, states);
    assert_eq!((scene.build().await, scene.states().await), before);
    let build = fork.build().await;
    assert_eq!(
        (build.state, build.brief, build.tenant),
        (build::State::Executing, brief, before.0.tenant)
    );
    assert_eq!(build.forked_from, Some(scene.task("b")));
    assert_eq!((build.tally.tasks, build.tally.completed, build.tally.files), (5, 2, 2));
    let mut woken = heard(store).await;
    woken.sort_unstable_by_key(ToString::to_string);
    let mut ready = [fork.task("b"), fork.task("bad")].map(Job::Task);
    ready.sort_unstable_by_key(ToString::to_string);
    assert_eq!(woken, ready);
    let files = store.files(fork.build).await.unwrap();
    let kept: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.task)).collect();
    assert_eq!(kept, [("a.txt", fork.task("a")), ("side.txt", fork.task("side"))]);
    assert_eq!(store.file(fork.build, "a.txt").await.unwrap().content, b"a");
    for key in ["b", "c", "bad"] {
        fork.succeed(key).await;
    }
    assert_eq!(fork.build_state().await, build::State::Completed);
    assert_eq!(store.tasks(fork.build).await.unwrap()[1].depends_on, [fork.task("a")]);
}

pub async fn a_fork_of_a_build_that_runs_goes_its_own_way(store: &dyn Ageing) {
    let scene = executing(store, "a -> b, running, late -> end").await;
    scene.succeed("a").await;
    let running = scene.claim("running").await;

    let fork = forked(&scene, "b").await;

    let states = "a completed, b ready, running ready, late ready, end pending";
    assert_eq!(fork.states().await, states);
    scene.settle(&running, wrote("running.txt", "x")).await.unwrap();
    for key in ["b", "late", "end"] {
        scene.succeed(key).await;
    }
    assert_eq!(scene.build_state().await, build::State::Completed);
    assert_eq!(fork.states().await, states);
}

pub async fn a_fork_has_another_input(store: &dyn Ageing) {
    let mut draft = Draft::of("a -> b");
    for task in &mut draft.tasks {
        task.input = json!({ "words": 1 });
    }
    let scene = Scene::drafted(store, Brief::of("a list"), draft).await;
    scene.succeed("a").await;

    let build = store.fork(scene.task("b"), Some(&json!({ "words": 2 }))).await.unwrap();

    let fork = Scene::of(store, build).await;
    assert_eq!(fork.claim("b").await.input, json!({ "words": 2 }));
    assert_eq!(scene.claim("b").await.input, json!({ "words": 1 }));
    let again = forked(&fork, "a").await;
    assert_eq!(again.claim("a").await.input, json!({ "words": 1 }));
    assert_not_found(store.fork(draw::id(), None).await);
}

pub async fn a_fork_runs_again_what_was_written_over(store: &dyn Ageing) {
    let mut draft = Draft::of("first -> then, other");
    draft.tasks[1].writes = vec!["first.txt".to_owned()];
    let scene = Scene::drafted(store, Brief::of("a list"), draft).await;
    scene.succeed("first").await;
    let claim = scene.claim("then").await;
    scene.settle(&claim, wrote("first.txt", "over")).await.unwrap();
    scene.succeed("other").await;

    let fork = forked(&scene, "then").await;

    // What the first one made is gone, so it cannot be taken over.
    assert_eq!(fork.states().await, "first ready, then pending, other completed");
    let paths: Vec<_> =
        store.files(fork.build).await.unwrap().into_iter().map(|file| file.path).collect();
    assert_eq!(paths, ["other.txt"]);
}

pub async fn a_fork_is_told_where_its_origin_was(store: &dyn Ageing) {
    let scene = deliveries::told(store, &[]).await;
    let at = store.tasks(scene.build).await.unwrap().remove(0);

    let fork = forked(&scene, &at.key).await;

    let (origin, build) = (scene.build().await.webhook.unwrap(), fork.build().await.webhook);
    let build = build.unwrap();
    assert_eq!(build.url, origin.url);
    assert_ne!(build.endpoint, origin.endpoint);
    let told = store.events(fork.build, 0, 10).await.unwrap();
    assert_eq!((told.len(), told[0].kind), (1, Kind::BuildForked));
    assert_eq!(told[0].data["fromBuildId"], scene.build.to_string());
    assert_eq!(told[0].data["fromTaskId"], at.id.to_string());
    assert_eq!(told[0].data["takenOver"], 0);
    let deliveries = store.deliveries(&deliveries::wanted(fork.build)).await.unwrap().rows;
    assert_eq!((deliveries.len(), deliveries[0].kind), (1, Kind::BuildForked));
}

pub async fn a_fork_can_be_added_to_and_forked(store: &dyn Ageing) {
    let scene = executing(store, "a -> b").await;
    scene.succeed("a").await;
    let fork = forked(&scene, "b").await;
    let mut tasks = Draft::of("c").tasks;
    tasks[0].writes = vec!["b.txt".to_owned()];

    store.add_tasks(fork.build, &tasks).await.unwrap();

    let fork = fork.again().await;
    assert_eq!(fork.states().await, "a completed, b ready, c pending");
    fork.succeed("b").await;
    let second = forked(&fork, "c").await;
    assert_eq!(second.states().await, "a completed, b completed, c ready");
    second.succeed("c").await;
    assert_eq!(second.build_state().await, build::State::Completed);
}

pub async fn only_a_plan_that_took_effect_is_forked(store: &dyn Ageing) {
    let waiting = proposed(store, "a").await;

    assert_eq!(code_of(store.fork(waiting.task("a"), None).await), "plan_not_adopted");
}
