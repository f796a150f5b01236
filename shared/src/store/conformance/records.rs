//! What a build leaves: its log and its files.

use futures_util::future::join_all;
use sha2::{Digest, Sha256};

use super::*;

pub async fn the_log_of_a_whole_build_is_exact(store: &dyn Ageing) {
    let scene = executing(store, "fetch -> build").await;
    scene.fail("fetch", flaky()).await;
    store.age(secs(2)).await;
    scene.succeed("fetch").await;
    scene.succeed("build").await;

    assert_eq!(
        scene.kinds().await,
        [
            Kind::BuildStarted,
            Kind::PlanGenerated,
            Kind::TaskStarted,
            Kind::TaskRetrying,
            Kind::TaskStarted,
            Kind::TaskCompleted,
            Kind::TaskStarted,
            Kind::TaskCompleted,
            Kind::BuildCompleted
        ]
    );
    let build = scene.build().await;
    assert_eq!((build.state, build.last_seq), (build::State::Completed, 9));
    assert!(build.settled_at >= build.started_at && build.started_at.unwrap() >= build.created_at);
    let last = &store.events(scene.build, 8, 10).await.unwrap()[0];
    assert_eq!((&last.data["taskCount"], &last.data["filesCreated"]), (&2.into(), &2.into()));
    assert_eq!(last.build, scene.build);
    assert!(last.at >= build.created_at);
}

pub async fn the_log_has_no_gaps_under_settles_at_once(store: &dyn Ageing) {
    let keys: Vec<_> = (0..20).map(|task| format!("t{task}")).collect();
    let scene = executing(store, &keys.join(", ")).await;

    join_all(keys.iter().map(|key| scene.succeed(key))).await;

    let told = scene.kinds().await;
    assert_eq!(told.len(), 2 + 20 + 20 + 1);
    assert_eq!(told.last(), Some(&Kind::BuildCompleted));
    assert_eq!(scene.build().await.last_seq, 43);
    let events = store.events(scene.build, 0, 100).await.unwrap();
    assert!(events.is_sorted_by_key(|event| event.at));
    for key in keys {
        let id = scene.task(&key).to_string();
        let of_task = events.iter().filter(|event| event.data["taskId"] == *id);
        let told: Vec<_> = of_task.map(|event| event.kind).collect();
        assert_eq!(told, [Kind::TaskStarted, Kind::TaskCompleted]);
    }
}

pub async fn the_log_is_read_on_from_a_number(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    scene.succeed("fetch").await;

    let read = async |after, limit| {
        let events = store.events(scene.build, after, limit).await.unwrap();
        events.into_iter().map(|event| event.seq).collect::<Vec<_>>()
    };

    assert_eq!(read(0, 2).await, [1, 2]);
    assert_eq!(read(2, 10).await, [3, 4, 5]);
    assert_eq!(read(5, 10).await, [0u64; 0]);
}

pub async fn the_newest_file_of_a_path_wins(store: &dyn Ageing) {
    let scene = executing(store, "first -> second").await;
    let first = scene.claim("first").await;
    scene.settle(&first, wrote("main.py", "old")).await.unwrap();
    let second = scene.claim("second").await;

    scene.settle(&second, wrote("main.py", "newer \u{0} é")).await.unwrap();

    let files = store.files(scene.build).await.unwrap();
    assert_eq!(files.len(), 1);
    let content = "newer \u{0} é".as_bytes();
    let file = store.file(scene.build, "main.py").await.unwrap();
    assert_eq!((file.file.task, file.content.as_slice()), (second.task, content));
    assert_eq!(file.file, files[0]);
    assert_eq!(file.file.size_bytes, content.len() as u64);
    assert_eq!(file.file.sha256, hex::encode(Sha256::digest(content)));
    let build = scene.build().await;
    assert_eq!((build.state, build.tally.files), (build::State::Completed, 1));
}

pub async fn files_are_listed_by_path(store: &dyn Ageing) {
    let scene = executing(store, "fetch, build").await;
    let claim = scene.claim("fetch").await;
    let file =
        |path: &str| OutputFile { path: path.to_owned(), content: format!("content of {path}") };
    let files = ["b.py", "a/z.py", "B.py", "a.py", "empty"].map(file).to_vec();
    let output = Output { files, ..Output::default() };
    scene.settle(&claim, Outcome::Succeeded(output)).await.unwrap();

    let listed = store.files(scene.build).await.unwrap();

    // By bytes, so that an archive is the same wherever it is made.
    let paths: Vec<_> = listed.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["B.py", "a.py", "a/z.py", "b.py", "empty"]);
    let contents = store.file_contents(scene.build).await.unwrap();
    assert_eq!(contents.iter().map(|file| file.file.clone()).collect::<Vec<_>>(), listed);
    assert_eq!(contents[2].content, b"content of a/z.py");
    assert_not_found(store.file(scene.build, "none.py").await);
    assert_eq!(scene.build().await.tally.files, 5);
}

pub async fn a_failed_attempt_leaves_no_files(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;

    scene.break_down("fetch").await;

    assert_eq!(store.files(scene.build).await.unwrap(), []);
    assert_eq!(scene.build().await.tally.files, 0);
}

pub async fn a_build_counts_its_open_tasks(store: &dyn Ageing) {
    let id = submitted(store).await;
    let claim = claimed(store, id).await;
    let mut draft = Draft::of("a -> b, c, d");
    for (task, phase) in
        draft.tasks.iter_mut().zip(["TESTING", "DEPLOYMENT", "TESTING", "ANALYSIS"])
    {
        task.phase = phase.parse().unwrap();
    }
    let plan = draft.into_plan().unwrap();
    let before = store.build(id).await.unwrap();
    store.adopt_plan(&claim, &plan, Adoption::AtOnce { plan: draw::id() }).await.unwrap();
    let scene = Scene::of(store, store.build(id).await.unwrap()).await;
    let begun = scene.build().await;
    scene.claim("c").await;
    scene.succeed("d").await;

    let build = scene.build().await;

    assert_eq!((before.open_tasks, before.open_phase), ([0, 0, 0], None));
    assert_eq!(begun.open_phase, Some(task::Phase::Analysis));
    assert_eq!((build.open_tasks, build.open_phase), ([1, 1, 1], Some(task::Phase::Testing)));
    assert_eq!(build.tally.completed, 1);
    let wanted = BuildsWanted {
        tenant: TENANT.to_owned(),
        state: None,
        project_id: None,
        limit: 10,
        after: None,
    };
    assert_eq!(store.builds(&wanted).await.unwrap().rows, [build]);
}
