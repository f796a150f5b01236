//! A client does not want a build any more.

use std::sync::Arc;

use serde_json::json;
use tests::{
    fleet::{Footing, Setup},
    planners::{self, Step},
    runners::{Act, Scripted, Went},
};

tests::on_both_footings!(
    a_cancelled_build_stops_under_its_holder,
    a_runner_is_told_to_end_before_it_is_dropped,
    a_holder_that_misses_the_notice_finds_out_by_itself,
    a_build_is_cancelled_while_it_is_planned,
    a_cancelled_build_may_be_retried,
);

async fn a_cancelled_build_stops_under_its_holder(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("b", [Act::Hang]));
    // Its leases are so long that only a notice can reach the holder in time.
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b -> c" })).await;
    fleet.until("b runs", async || runner.count("b", Went::Begun) == 1).await;

    let cancelled = fleet.done(&format!("/v1/builds/{build}/cancel")).await;
    let log = fleet.events(&build).await;
    fleet.until("its holder has stopped", async || runner.count("b", Went::BrokenOff) == 1).await;

    assert_eq!(cancelled["state"], "cancelled");
    let kinds: Vec<_> = log.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[kinds.len() - 3..], ["task_cancelled", "task_cancelled", "build_cancelled"]);
    let b = fleet.task(&build, "b").await;
    assert_eq!(b["state"], "cancelled");
    assert_eq!(b["attempts"][0]["state"], "cancelled");
    assert_eq!(runner.count("c", Went::Begun), 0);
    // Another build through the same worker shows that it has nothing left to write for this one.
    let other = fleet.submit(json!({ "prompt": "x" })).await;
    fleet.until_state(&other, "completed").await;
    assert_eq!(fleet.events(&build).await, log);
    let files = fleet.look(&format!("/v1/builds/{build}/files")).await;
    assert_eq!(files["files"].as_array().unwrap().len(), 1);
    let again = fleet.done(&format!("/v1/builds/{build}/cancel")).await;
    assert_eq!(again["state"], "cancelled");
}

async fn a_runner_is_told_to_end_before_it_is_dropped(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("heeds", [Act::Heed]).on("is_deaf", [Act::Hang]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "heeds, is_deaf" })).await;
    fleet.until("both run", async || runner.begun().len() == 2).await;

    fleet.done(&format!("/v1/builds/{build}/cancel")).await;
    fleet.until("one has ended", async || runner.count("heeds", Went::Ended) == 1).await;
    let dropped = runner.count("is_deaf", Went::BrokenOff);
    fleet.until("the other is gone", async || runner.count("is_deaf", Went::BrokenOff) == 1).await;

    assert_eq!(dropped, 0, "it was dropped before its grace had passed");
    assert_eq!(runner.count("heeds", Went::Told), 1);
    // What it said when it was told is of no interest to anybody.
    let task = fleet.task(&build, "heeds").await;
    assert_eq!((&task["state"], &task["error"]), (&json!("cancelled"), &json!(null)));
}

async fn a_holder_that_misses_the_notice_finds_out_by_itself(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::Heed]));
    let mut setup = Setup::on(footing).runner(&runner);
    setup.tasks.lease = std::time::Duration::from_millis(900);
    let fleet = setup.start().await;
    let build = fleet.submit(json!({ "prompt": "a" })).await;
    fleet.until("a runs", async || runner.count("a", Went::Begun) == 1).await;

    // Another process on the same record, which tells nobody.
    fleet.elsewhere().await.cancel_build(build.parse().unwrap()).await.unwrap();

    fleet.until("it was told", async || runner.count("a", Went::Told) == 1).await;
}

async fn a_build_is_cancelled_while_it_is_planned(footing: Footing) {
    let planner = Arc::new(planners::Scripted::of([Step::Hang]));
    let mut setup = Setup::on(footing).planner(&planner);
    setup.plans.slots = 1;
    let fleet = setup.start().await;
    let build = fleet.submit(json!({ "prompt": "a" })).await;
    fleet.until("it is planned", async || planner.asked() == 1).await;

    fleet.done(&format!("/v1/builds/{build}/cancel")).await;

    // The only slot is free again.
    let other = fleet.submit(json!({ "prompt": "b" })).await;
    fleet.until_state(&other, "completed").await;
    assert_eq!(fleet.kinds(&build).await, ["build_started", "build_cancelled"]);
}

async fn a_cancelled_build_may_be_retried(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::Hang]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b" })).await;
    fleet.until("a runs", async || runner.count("a", Went::Begun) == 1).await;

    fleet.done(&format!("/v1/builds/{build}/cancel")).await;
    fleet.done(&format!("/v1/builds/{build}/retry")).await;
    fleet.until_state(&build, "completed").await;

    // Whoever ran the first attempt wrote nothing.
    let file = fleet.get(&format!("/v1/builds/{build}/files/a.txt")).await;
    assert_eq!(file.body, b"a by attempt 2\n");
}
