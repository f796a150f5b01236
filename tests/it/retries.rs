//! What fails is tried again, as often as the law says; what is lost is taken over.

use std::{sync::Arc, time::Duration};

use buildfleet::domain::attempt::Failure;
use serde_json::{Value, json};
use tests::{
    fleet::{Fleet, Footing, Setup},
    planners::{self, Step},
    runners::{Act, Scripted, Went},
};

tests::on_both_footings!(
    a_task_that_fails_twice_completes_at_the_third_attempt,
    a_task_that_goes_on_failing_is_given_up,
    what_cannot_succeed_is_not_tried_again,
    a_runner_that_panics_has_failed_and_its_worker_lives_on,
    a_planner_that_panics_has_failed_and_its_worker_lives_on,
    a_task_that_takes_too_long_is_told_as_a_timeout,
    a_path_that_was_not_declared_is_refused,
    planning_is_tried_again,
    a_retried_build_runs_only_what_was_lost,
    a_worker_that_stops_gives_its_task_back,
    a_lease_that_lapses_is_taken_over,
    a_flushed_queue_loses_no_work,
);

/// Makes the next attempt due, as often as it takes.
async fn let_time_pass_until(fleet: &Fleet, what: &str, mut fact: impl AsyncFnMut() -> bool) {
    // More than any wait of the law for work.
    let step = Duration::from_secs(60);
    fleet
        .until(what, async || {
            if fact().await {
                return true;
            }
            fleet.age(step).await;
            false
        })
        .await;
}

async fn a_task_that_fails_twice_completes_at_the_third_attempt(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::transient(), Act::transient()]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b" })).await;

    fleet.until("the first has failed", async || fleet.kinds(&build).await.len() == 4).await;
    let waiting = fleet.task(&build, "a").await;
    assert_eq!((&waiting["state"], &waiting["failures"]), (&json!("ready"), &json!(1)));
    assert_eq!(waiting["error"]["code"], "flaky");
    fleet.age(Duration::from_secs(3)).await;
    fleet.until("the second has failed", async || fleet.kinds(&build).await.len() == 6).await;
    fleet.age(Duration::from_secs(5)).await;
    fleet.until_state(&build, "completed").await;

    let a = fleet.task(&build, "a").await;
    assert_eq!((&a["attempt"], &a["failures"], &a["crashes"]), (&json!(3), &json!(2), &json!(0)));
    let log: Vec<_> = a["attempts"].as_array().unwrap().iter().collect();
    let states: Vec<_> = log.iter().map(|attempt| &attempt["state"]).collect();
    assert_eq!(states, ["failed", "failed", "succeeded"]);
    assert_eq!(log[1]["error"]["reason"], "the wind blew");
    assert_eq!(log[2]["error"], Value::Null);
    let kinds = fleet.kinds(&build).await;
    assert_eq!(
        kinds[2..9],
        [
            "task_started",
            "task_retrying",
            "task_started",
            "task_retrying",
            "task_started",
            "task_completed",
            "task_started"
        ]
    );
    let waits: Vec<_> = fleet
        .events(&build)
        .await
        .iter()
        .filter(|event| event["type"] == "task_retrying")
        .map(|event| event["data"]["retryInMs"].as_u64().unwrap())
        .collect();
    assert!((1_600..=2_400).contains(&waits[0]), "{waits:?}");
    assert!((3_200..=4_800).contains(&waits[1]), "{waits:?}");
}

async fn a_task_that_goes_on_failing_is_given_up(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", vec![Act::transient(); 9]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a" })).await;

    let_time_pass_until(&fleet, "it was given up", async || {
        fleet.build(&build).await["state"] == "failed"
    })
    .await;

    let a = fleet.task(&build, "a").await;
    assert_eq!(
        (&a["state"], &a["attempt"], &a["failures"]),
        (&json!("failed"), &json!(3), &json!(3))
    );
    assert_eq!(runner.count("a", Went::Begun), 3);
}

async fn what_cannot_succeed_is_not_tried_again(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::permanent()]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a" })).await;

    fleet.until_state(&build, "failed").await;

    let a = fleet.task(&build, "a").await;
    assert_eq!(a["attempt"], 1);
    assert_eq!(a["error"]["kind"], "permanent");
    assert_eq!(a["error"]["code"], "hopeless");
    assert_eq!(a["error"]["reason"], "there is no template for this");
}

async fn a_runner_that_panics_has_failed_and_its_worker_lives_on(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::Panic]));
    let mut setup = Setup::on(footing).runner(&runner);
    setup.tasks.slots = 1;
    let fleet = setup.start().await;
    let build = fleet.submit(json!({ "prompt": "a" })).await;

    fleet.until_state(&build, "failed").await;

    let a = fleet.task(&build, "a").await;
    assert_eq!(a["error"]["code"], "runner_panicked");
    assert_eq!(a["error"]["reason"], "it panicked: the runner lost its head");
    let other = fleet.submit(json!({ "prompt": "b" })).await;
    fleet.until_state(&other, "completed").await;
}

async fn a_planner_that_panics_has_failed_and_its_worker_lives_on(footing: Footing) {
    let planner = Arc::new(planners::Scripted::of([Step::Panic]));
    let mut setup = Setup::on(footing).planner(&planner);
    setup.plans.slots = 1;
    let fleet = setup.start().await;

    let build = fleet.submit(json!({ "prompt": "a" })).await;
    let failed = fleet.until_state(&build, "failed").await;

    assert_eq!(failed["error"]["code"], "planner_panicked");
    let other = fleet.submit(json!({ "prompt": "b" })).await;
    fleet.until_state(&other, "completed").await;
}

async fn a_task_that_takes_too_long_is_told_as_a_timeout(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", vec![Act::Heed; 3]));
    let mut setup = Setup::on(footing).runner(&runner);
    setup.tasks.time_limit = Duration::from_millis(100);
    let fleet = setup.start().await;
    let build = fleet.submit(json!({ "prompt": "a" })).await;

    let_time_pass_until(&fleet, "it was given up", async || {
        fleet.build(&build).await["state"] == "failed"
    })
    .await;

    let a = fleet.task(&build, "a").await;
    assert_eq!(a["error"]["code"], "timed_out");
    assert_eq!(a["error"]["reason"], "Task timed out after 0.1 seconds");
    assert_eq!(
        fleet.event(&build, "task_timeout").await,
        json!({ "taskId": a["id"], "taskName": "a", "suggestion": "Retry or skip this task" })
    );
    assert!(!fleet.kinds(&build).await.contains(&"task_failed".to_owned()));
    assert_eq!(runner.count("a", Went::Told), 3);
}

async fn a_path_that_was_not_declared_is_refused(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::AlsoWrite("b.txt")]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a, b" })).await;

    fleet.until_state(&build, "failed").await;

    let a = fleet.task(&build, "a").await;
    assert_eq!(a["error"]["code"], "undeclared_write");
    let files = fleet.look(&format!("/v1/builds/{build}/files")).await;
    let paths: Vec<_> =
        files["files"].as_array().unwrap().iter().map(|file| &file["path"]).collect();
    assert_eq!(paths, ["b.txt"]);
    let b = fleet.get(&format!("/v1/builds/{build}/files/b.txt")).await;
    assert_eq!(b.body, b"b by attempt 1\n");
}

async fn planning_is_tried_again(footing: Footing) {
    let flaky = Step::Fail(Failure::transient("model_busy", "the model is busy"));
    let planner = Arc::new(planners::Scripted::of([flaky]));
    let fleet = Setup::on(footing).planner(&planner).start().await;
    let build = fleet.submit(json!({ "prompt": "a" })).await;

    fleet.until("the first has failed", async || fleet.kinds(&build).await.len() == 2).await;
    assert_eq!(fleet.build(&build).await["state"], "queued");
    let retrying = fleet.event(&build, "plan_retrying").await;
    assert_eq!(
        (&retrying["attempt"], &retrying["error"]),
        (&json!(1), &json!("the model is busy"))
    );
    fleet.age(Duration::from_secs(3)).await;
    fleet.until_state(&build, "completed").await;

    assert_eq!(planner.asked(), 2);
    let kinds = fleet.kinds(&build).await;
    assert_eq!(kinds[..3], ["build_started", "plan_retrying", "plan_generated"]);
}

async fn a_retried_build_runs_only_what_was_lost(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("b", [Act::permanent()]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b -> c, d" })).await;
    fleet.until_state(&build, "failed").await;
    let before = fleet.kinds(&build).await.len();

    fleet.done(&format!("/v1/builds/{build}/retry")).await;
    let completed = fleet.until_state(&build, "completed").await;

    assert_eq!(completed["tasks"]["completed"], 4);
    assert_eq!(completed["error"], Value::Null);
    let counts = ["a", "b", "c", "d"].map(|key| runner.count(key, Went::Begun));
    assert_eq!(counts, [1, 2, 1, 1]);
    let b = fleet.task(&build, "b").await;
    assert_eq!((&b["attempt"], &b["failures"]), (&json!(2), &json!(0)));
    assert_eq!(
        fleet.kinds(&build).await[before..],
        [
            "build_retried",
            "task_started",
            "task_completed",
            "task_started",
            "task_completed",
            "build_completed"
        ]
    );
    assert_eq!(fleet.event(&build, "build_retried").await, json!({ "taskCount": 2 }));
    let again = fleet.post(&format!("/v1/builds/{build}/retry")).await;
    assert_eq!(
        (again.status, &again.json()["error"]["code"]),
        (409, &json!("build_not_retryable"))
    );
}

async fn a_worker_that_stops_gives_its_task_back(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::Hang]));
    let fleet = Setup { workers: 0, ..Setup::on(footing).runner(&runner) }.start().await;
    fleet.keep(fleet.start_plan_worker().await);
    let first = fleet.start_task_worker().await;
    let build = fleet.submit(json!({ "prompt": "a" })).await;
    fleet.until("a runs", async || runner.count("a", Went::Begun) == 1).await;

    first.stop().await;
    let back = fleet.task(&build, "a").await;
    fleet.keep(fleet.start_task_worker().await);
    fleet.until_state(&build, "completed").await;

    assert_eq!((&back["state"], &back["failures"]), (&json!("ready"), &json!(0)));
    assert_eq!(back["attempts"][0]["state"], "given_back");
    let a = fleet.task(&build, "a").await;
    assert_eq!((&a["attempt"], &a["failures"], &a["crashes"]), (&json!(2), &json!(0), &json!(0)));
    assert_ne!(a["attempts"][0]["worker_id"], a["attempts"][1]["worker_id"]);
    let workers = fleet.look("/v1/workers").await;
    assert!(!workers.to_string().contains(back["attempts"][0]["worker_id"].as_str().unwrap()));
}

async fn a_lease_that_lapses_is_taken_over(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::Hang]));
    let fleet = Setup { workers: 0, ..Setup::on(footing).runner(&runner) }.start().await;
    fleet.keep(fleet.start_plan_worker().await);
    let first = fleet.start_task_worker().await;
    let build = fleet.submit(json!({ "prompt": "a -> b" })).await;
    fleet.until("a runs", async || runner.count("a", Went::Begun) == 1).await;

    first.kill().await;
    fleet.keep(fleet.start_task_worker().await);
    assert_eq!(fleet.task_state(&build, "a").await, "in_progress");
    fleet.age(Duration::from_secs(601)).await;
    fleet.until_state(&build, "completed").await;

    let a = fleet.task(&build, "a").await;
    assert_eq!((&a["attempt"], &a["failures"], &a["crashes"]), (&json!(2), &json!(0), &json!(1)));
    assert_eq!(a["attempts"][0]["state"], "lost");
    assert_eq!(a["attempts"][0]["error"]["code"], "worker_lost");
    let file = fleet.get(&format!("/v1/builds/{build}/files/a.txt")).await;
    assert_eq!(file.body, b"a by attempt 2\n");
}

async fn a_flushed_queue_loses_no_work(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::Hold]));
    let mut setup = Setup { workers: 0, ..Setup::on(footing).runner(&runner) };
    setup.tasks.slots = 1;
    let fleet = setup.start().await;
    let worker = fleet.start_task_worker().await;
    fleet.keep(fleet.start_plan_worker().await);
    let build = fleet.submit(json!({ "prompt": "a -> z, b -> z, c -> z, d -> z" })).await;
    fleet.until("a runs", async || runner.count("a", Went::Begun) == 1).await;

    fleet.flush();
    runner.release("a");
    fleet.until_state(&build, "completed").await;

    let mut begun = runner.begun();
    begun.sort();
    assert_eq!(begun, ["a", "b", "c", "d", "z"]);
    worker.stop().await;
}
