//! Who waits for whom, and what becomes of those that wait for what failed.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tests::{
    fleet::{Footing, Setup},
    runners::{Act, Scripted, Went},
};

tests::on_both_footings!(
    a_task_waits_for_what_it_depends_on,
    a_diamond_is_released_once,
    a_failure_skips_only_what_depends_on_it,
    a_build_that_fails_fast_stops_the_rest,
    a_circle_is_straightened_with_a_warning,
    a_circle_is_blocked_where_lines_are_not_allowed,
);

async fn a_task_waits_for_what_it_depends_on(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::Hold]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b, c" })).await;

    // `c` waits for nobody. Once it has completed, a worker was free for `b`.
    fleet.until("c has completed", async || runner.count("c", Went::Ended) == 1).await;
    fleet.until("a is held", async || runner.count("a", Went::Begun) == 1).await;
    fleet.until("c is settled", async || fleet.task_state(&build, "c").await == "completed").await;
    let b = fleet.task(&build, "b").await;
    assert_eq!((&b["state"], &b["attempts"]), (&json!("pending"), &json!([])));
    let seen = fleet.build(&build).await;
    assert_eq!(seen["state"], "executing");
    assert_eq!(seen["current_phase"], "CODE_GENERATION");
    assert_eq!(seen["progress"], 33.3);

    runner.release("a");
    fleet.until_state(&build, "completed").await;
    assert_eq!(runner.begun().last().unwrap(), "b");
}

async fn a_diamond_is_released_once(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("b", [Act::Hold]).on("c", [Act::Hold]));
    let fleet = Setup { workers: 2, ..Setup::on(footing).runner(&runner) }.start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b -> d, a -> c -> d" })).await;

    fleet
        .until("both sides are held", async || {
            runner.count("b", Went::Begun) + runner.count("c", Went::Begun) == 2
        })
        .await;
    // Both end at the same time, in whichever worker they run.
    runner.release("b");
    runner.release("c");
    fleet.until_state(&build, "completed").await;

    assert_eq!(runner.count("d", Went::Begun), 1);
    let kinds = fleet.kinds(&build).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "task_started").count(), 4);
    assert_eq!(fleet.task(&build, "d").await["attempt"], 1);
}

async fn a_failure_skips_only_what_depends_on_it(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::permanent()]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b -> c, d -> e, d -> c" })).await;

    let failed = fleet.until_state(&build, "failed").await;

    assert_eq!(failed["error"]["code"], "tasks_failed");
    assert_eq!(failed["error"]["message"], "1 of 5 tasks failed, 2 were skipped");
    let tasks = &failed["tasks"];
    assert_eq!(
        (&tasks["failed"], &tasks["skipped"], &tasks["completed"]),
        (&json!(1), &json!(2), &json!(2))
    );
    for (key, state) in [
        ("a", "failed"),
        ("b", "skipped"),
        ("c", "skipped"),
        ("d", "completed"),
        ("e", "completed"),
    ] {
        assert_eq!(fleet.task_state(&build, key).await, state, "{key}");
    }
    let a = fleet.task(&build, "a").await;
    assert_eq!(
        fleet.event(&build, "task_failed").await,
        json!({ "taskId": a["id"], "taskName": "a", "error": "there is no template for this" })
    );
    assert_eq!(fleet.event(&build, "task_skipped").await["because"], a["id"]);
    let mut begun = runner.begun();
    begun.sort();
    assert_eq!(begun, ["a", "d", "e"]);
}

async fn a_build_that_fails_fast_stops_the_rest(footing: Footing) {
    let script = Scripted::new().on("first", [Act::Hold]);
    let runner = Arc::new(script.on("bad", [Act::permanent()]).on("slow", [Act::Hang]));
    let mut setup = Setup::on(footing).runner(&runner);
    // How soon a worker hears that it lost its lease.
    setup.tasks.lease = Duration::from_millis(600);
    let fleet = setup.start().await;
    let brief = json!({ "prompt": "first -> bad, slow -> late", "on_task_failure": "fail_fast" });
    let build = fleet.submit(brief).await;

    fleet.until("slow runs", async || runner.count("slow", Went::Begun) == 1).await;
    runner.release("first");
    let failed = fleet.until_state(&build, "failed").await;

    assert_eq!(failed["tasks"]["cancelled"], 2);
    assert_eq!(fleet.task_state(&build, "slow").await, "cancelled");
    assert_eq!(fleet.task_state(&build, "late").await, "cancelled");
    fleet
        .until("who ran it has stopped", async || runner.count("slow", Went::BrokenOff) == 1)
        .await;
    let slow = fleet.task(&build, "slow").await;
    assert_eq!(slow["attempts"][0]["state"], "cancelled");
    assert_eq!(runner.count("late", Went::Begun), 0);
}

async fn a_circle_is_straightened_with_a_warning(footing: Footing) {
    let runner = Arc::new(Scripted::new());
    let fleet = Setup::on(footing).runner(&runner).start().await;

    let build = fleet.submit(json!({ "prompt": "a -> b -> c -> a, d" })).await;
    fleet.until_state(&build, "completed").await;

    let warning = fleet.event(&build, "plan_warning").await;
    let plan = fleet.look(&format!("/v1/builds/{build}/plan")).await;
    assert_eq!(warning["planId"], plan["id"]);
    assert_eq!(warning["warning"], "sequential_execution");
    assert!(warning["message"].as_str().unwrap().contains("one after the other"));
    assert_eq!(warning["cycles"], json!([["a", "b", "c"]]));
    assert_eq!(plan["cycles"], warning["cycles"]);
    assert_eq!(runner.begun(), ["a", "b", "c", "d"]);
    let kinds = fleet.kinds(&build).await;
    assert_eq!(kinds[..3], ["build_started", "plan_warning", "plan_generated"]);
    // One after the other: each task ends before the next begins.
    let of_tasks: Vec<_> = kinds[3..kinds.len() - 1].iter().map(String::as_str).collect();
    assert_eq!(of_tasks, ["task_started", "task_completed"].repeat(4));
}

async fn a_circle_is_blocked_where_lines_are_not_allowed(footing: Footing) {
    let mut setup = Setup::on(footing);
    setup.plans.straighten = false;
    let fleet = setup.start().await;

    let build = fleet.submit(json!({ "prompt": "a -> b -> a, c -> c" })).await;
    let failed = fleet.until_state(&build, "failed").await;

    assert_eq!(fleet.kinds(&build).await, ["build_started", "plan_blocked", "build_failed"]);
    let blocked = fleet.event(&build, "plan_blocked").await;
    let plan = blocked["planId"].as_str().unwrap();
    assert_eq!(
        blocked,
        json!({
            "planId": plan,
            "reason": "circular_dependencies",
            "cycles": [["a", "b"], ["c"]],
            "editUrl": format!("/api/plans/{plan}/edit"),
        })
    );
    assert_eq!(failed["error"]["code"], "circular_dependencies");
    assert_eq!(failed["plan_id"], Value::Null);
}
