//! What operators change holds over the whole fleet, is shown and written down, and lets go at
//! once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use buildfleet::{draw, store::Ask};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    fleet::{Fleet, Footing, Setup},
    runners::{Act, Scripted},
};

tests::on_both_footings!(
    a_limit_holds_over_two_workers_until_it_is_removed,
    what_is_paused_begins_nothing_and_goes_on_at_once,
    a_task_that_loses_its_workers_is_in_quarantine,
);

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A runner whose tasks all wait until they are released.
fn holding() -> Arc<Scripted> {
    let runner = KEYS.iter().fold(Scripted::new(), |runner, key| runner.on(key, [Act::Hold]));
    Arc::new(runner)
}

async fn put(fleet: &Fleet, path: &str, body: Value) {
    let request = fleet.request(Method::PUT, path).header("x-reason", "a test").json(&body);
    let answer = fleet.send(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn queue(fleet: &Fleet, name: &str) -> Value {
    let queues = fleet.look("/v1/queues").await;
    let queues = queues["queues"].as_array().unwrap().clone();
    queues.into_iter().find(|queue| queue["name"] == name).unwrap()
}

/// How many tasks were begun; waits until there are so many, and a moment longer for one too many.
async fn begun(fleet: &Fleet, runner: &Scripted, count: usize) {
    let is_so = async || runner.begun().len() == count;
    fleet.until(&format!("{count} tasks were begun"), is_so).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(runner.begun().len(), count, "{}", fleet.picture().await);
}

async fn a_limit_holds_over_two_workers_until_it_is_removed(footing: Footing) {
    let runner = holding();
    let mut setup = Setup::on(footing).runner(&runner);
    setup.workers = 2;
    let fleet = setup.start().await;
    put(&fleet, "/v1/limits/few", json!({ "queue": "tasks", "concurrency": 2 })).await;

    let build = fleet.submit(json!({ "prompt": "a, b, c, d, e, f" })).await;

    begun(&fleet, &runner, 2).await;
    let tasks = queue(&fleet, "tasks").await;
    assert_eq!((&tasks["running"], &tasks["limits"][0]["name"]), (&json!(2), &json!("few")));
    let parked = tasks["parked"].as_array().unwrap();
    assert!(parked.iter().all(|parked| parked["limit"]["name"] == "few"), "{parked:?}");
    assert!(!parked.is_empty());
    let listed = fleet.look(&format!("/v1/builds/{build}/tasks")).await;
    let held = listed["tasks"].as_array().unwrap().iter();
    let held: Vec<_> = held.filter(|task| task["waiting"]["on"] == "limit").collect();
    assert!(!held.is_empty(), "{listed}");
    assert_eq!(held[0]["waiting"]["limit"]["name"], "few");
    // One that ends lets one more begin.
    let first = runner.begun()[0].clone();
    runner.release(&first);
    begun(&fleet, &runner, 3).await;

    let removed = fleet.send(fleet.request(Method::DELETE, "/v1/limits/few")).await;
    assert_eq!(removed.status, 204);
    fleet.until("all were begun", async || runner.begun().len() == 6).await;

    for key in KEYS {
        runner.release(key);
    }
    fleet.until_state(&build, "completed").await;
    let audit = fleet.look("/v1/audit").await;
    let told: Vec<_> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["action"].clone(), entry["subject"].clone(), entry["by"].clone()))
        .collect();
    let entry = |action: &str, by: &str| (json!(action), json!("few"), json!(by));
    assert_eq!(
        told,
        [entry("limit_removed", "default/key-1"), entry("limit_put", "default/key-1: a test")]
    );
}

/// Nothing is begun of what is paused, however long one looks; answers with how long the whole
/// build takes once it is resumed.
async fn held(fleet: &Fleet, runner: &Scripted, build: &str, state: &str, gate: &str) -> Duration {
    let before = runner.begun().len();
    fleet.until_state(build, state).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(runner.begun().len(), before, "{gate}");
    assert_eq!(fleet.build(build).await["state"], state);

    let resuming = Instant::now();
    fleet.done(&format!("/v1/{gate}/resume")).await;
    fleet.until_state(build, "completed").await;
    assert_eq!(runner.begun().len(), before + 2);
    resuming.elapsed()
}

async fn what_is_paused_begins_nothing_and_goes_on_at_once(footing: Footing) {
    let runner = Arc::new(Scripted::new());
    let mut setup = Setup::on(footing).runner(&runner);
    setup.workers = 2;
    let fleet = setup.start().await;
    let brief = json!({ "prompt": "a -> b" });

    fleet.done("/v1/queues/tasks/pause").await;
    let build = fleet.submit(brief.clone()).await;
    let of_queue = held(&fleet, &runner, &build, "executing", "queues/tasks").await;

    fleet.done("/v1/tenants/default/pause").await;
    let build = fleet.submit(brief.clone()).await;
    let of_tenant = held(&fleet, &runner, &build, "queued", "tenants/default").await;

    // So that nobody plans it before it is paused.
    fleet.done("/v1/queues/plans/pause").await;
    let build = fleet.submit(brief).await;
    fleet.done(&format!("/v1/builds/{build}/pause")).await;
    fleet.done("/v1/queues/plans/resume").await;
    let gate = format!("builds/{build}");
    let of_build = held(&fleet, &runner, &build, "queued", &gate).await;

    assert_eq!(fleet.look("/v1/paused").await, json!({ "paused": [] }));
    // Whoever looked only now and then would take a second for each step of the three.
    let slowest = of_queue.max(of_tenant).max(of_build);
    assert!(slowest < Duration::from_secs(10), "{of_queue:?}, {of_tenant:?}, {of_build:?}");
}

async fn a_task_that_loses_its_workers_is_in_quarantine(footing: Footing) {
    let runner = Arc::new(Scripted::new());
    let mut setup = Setup::on(footing).runner(&runner);
    setup.workers = 0;
    let fleet = setup.start().await;
    fleet.keep(fleet.start_plan_worker().await);
    let build = fleet.submit(json!({ "prompt": "a -> b" })).await;
    fleet.until_state(&build, "executing").await;

    // Three workers take it, and are never heard of again.
    for _ in 0..3 {
        let lease = Duration::from_secs(60);
        let ask = Ask { holder: draw::id(), lease, room: 1, slots: 1 };
        fleet
            .until("it can be taken", async || {
                fleet.store.claim_tasks(&ask).await.unwrap().len() == 1
            })
            .await;
        fleet.age(lease * 2).await;
    }
    fleet.until_state(&build, "failed").await;

    let failed = fleet.look("/v1/failed?code=quarantined").await;
    let failed = failed["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 1, "{failed:?}");
    let a = fleet.task(&build, "a").await;
    assert_eq!((&failed[0]["id"], &failed[0]["crashes"]), (&a["id"], &json!(3)));
    assert_eq!((&failed[0]["failures"], &failed[0]["quarantined"]), (&json!(0), &json!(true)));
    assert_eq!(failed[0]["first_error"]["code"], "worker_lost");
    assert_eq!(a["error"]["code"], "quarantined");
    let mut holders: Vec<_> = a["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["worker_id"].to_string())
        .collect();
    holders.sort_unstable();
    holders.dedup();
    assert_eq!(holders.len(), 3);
    let told = fleet.event(&build, "task_failed").await["error"].to_string();
    assert!(told.contains("lost 3 workers"), "{told}");
    assert_eq!(runner.begun().len(), 0);

    // By hand it is tried again, and nothing is held against it.
    fleet.keep(fleet.start_task_worker().await);
    fleet.done(&format!("/v1/builds/{build}/retry")).await;
    fleet.until_state(&build, "completed").await;
    assert_eq!(fleet.look("/v1/failed").await["failed"], json!([]));
}
