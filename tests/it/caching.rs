//! Work that was done before is not done again, and builds that nobody keeps go.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tests::fleet::{Fleet, Footing, Setup};
use worker::{
    plan::planner::by_rules::Rules,
    task::{cache, runner::template::Template},
    upkeep::{self, Gone},
};

tests::on_both_footings!(
    the_same_brief_again_is_answered_from_the_cache,
    what_has_grown_old_is_made_anew_and_taken_away,
);

const BRIEF: &str = "a command line todo list with due dates";
const HOUR: Duration = Duration::from_secs(3600);

async fn fleet(footing: Footing) -> Fleet {
    let mut setup =
        Setup { planner: Arc::new(Rules), runner: Arc::new(Template), ..Setup::on(footing) };
    setup.tasks.cache = cache::Config { within: HOUR, across_tenants: false };
    setup.start().await
}

/// How many tasks a build has, and how many of them were answered from the cache.
async fn built(fleet: &Fleet, brief: Value) -> (String, usize, usize) {
    let build = fleet.submit(brief).await;
    fleet.until_state(&build, "completed").await;
    let events = fleet.events(&build).await;
    let done = events.iter().filter(|event| event["type"] == "task_completed");
    let cached = done.clone().filter(|event| event["data"]["cached"] == true).count();
    (build, done.count(), cached)
}

async fn the_same_brief_again_is_answered_from_the_cache(footing: Footing) {
    let fleet = fleet(footing).await;
    let (first, tasks, cached) = built(&fleet, json!({"prompt": BRIEF})).await;
    assert_eq!(cached, 0);

    let (second, again, cached) = built(&fleet, json!({"prompt": BRIEF})).await;
    let (.., alone) = built(&fleet, json!({"prompt": BRIEF, "cache": false})).await;
    let (.., other) = built(&fleet, json!({"prompt": "a command line recipe box"})).await;

    assert_eq!((again, cached), (tasks, tasks));
    assert_eq!((alone, other), (0, 0));
    let files = async |build: &str| {
        let files = fleet.look(&format!("/v1/builds/{build}/files")).await["files"].clone();
        let named = files.as_array().unwrap().iter();
        named.map(|file| json!([file["path"], file["sha256"]])).collect::<Vec<_>>()
    };
    assert_eq!(files(&first).await, files(&second).await);
}

async fn what_has_grown_old_is_made_anew_and_taken_away(footing: Footing) {
    let fleet = fleet(footing).await;
    let (first, tasks, _) = built(&fleet, json!({"prompt": BRIEF})).await;
    let kept = upkeep::Config { keep: None, results_within: HOUR, results_most: 1_000 };
    fleet.age(HOUR).await;

    let mut gone = Gone::default();
    upkeep::once(kept, &*fleet.elsewhere().await, &mut gone).await.unwrap();
    let (.., cached) = built(&fleet, json!({"prompt": BRIEF})).await;

    assert_eq!((gone.results, gone.builds, cached), (tasks as u64, 0, 0));
    let short = upkeep::Config { keep: Some(HOUR / 2), ..kept };
    upkeep::once(short, &*fleet.elsewhere().await, &mut gone).await.unwrap();
    assert_eq!(gone.builds, 1);
    assert_eq!(fleet.get(&format!("/v1/builds/{first}")).await.status, 404);
}
