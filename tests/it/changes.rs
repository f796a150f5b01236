//! Builds that change while they run: tasks added, taken out and retried, and whole builds forked.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use buildfleet::{
    domain::{
        attempt::{Failure, Output, OutputFile},
        plan::Draft,
    },
    store::TaskClaim,
};
use serde_json::json;
use tests::{
    fleet::{Footing, Setup},
    runners::{Act, Scripted, Went},
};
use tokio_util::sync::CancellationToken;
use worker::task::runner::Runner;

tests::on_both_footings!(
    a_task_finds_more_to_do_and_hands_what_it_made_on,
    tasks_are_added_to_a_build_that_runs,
    a_cancelled_task_stops_under_its_holder,
    one_lost_task_is_retried,
    a_fork_runs_only_what_must_run_again,
    a_build_that_takes_too_long_is_stopped,
);

/// Adds a task for each word of its input, and one that reads what all of them made.
struct Splits;

#[async_trait]
impl Runner for Splits {
    async fn run(&self, claim: &TaskClaim, _: &CancellationToken) -> Result<Output, Failure> {
        let mut tasks = Vec::new();
        if claim.key == "split" {
            tasks = Draft::of("one -> join, two -> join, three -> join").tasks;
        }
        let content = match claim.key.as_str() {
            "join" => claim.prerequisites.iter().fold(String::new(), |text, on| {
                let made = on.made.iter().map(|file| format!("{} {}", file.path, file.size_bytes));
                format!("{text}{} {}: {}\n", on.key, on.state, made.collect::<Vec<_>>().join(", "))
            }),
            key => key.to_owned(),
        };
        let path = claim.writes[0].clone();
        Ok(Output { files: vec![OutputFile { path, content }], tasks, ..Output::default() })
    }

    fn wants_prerequisites(&self) -> bool {
        true
    }
}

async fn a_task_finds_more_to_do_and_hands_what_it_made_on(footing: Footing) {
    let fleet = Setup { runner: Arc::new(Splits), ..Setup::on(footing) }.start().await;
    let build = fleet.submit(json!({ "prompt": "split" })).await;

    let completed = fleet.until_state(&build, "completed").await;

    assert_eq!(
        (&completed["tasks"]["total"], &completed["tasks"]["completed"]),
        (&json!(5), &json!(5))
    );
    let added = fleet.event(&build, "tasks_added").await;
    assert_eq!(added["addedBy"], fleet.task(&build, "split").await["id"]);
    let joined = fleet.get(&format!("/v1/builds/{build}/files/join.txt")).await;
    assert_eq!(
        String::from_utf8(joined.body).unwrap(),
        "one completed: one.txt 3\ntwo completed: two.txt 3\nthree completed: three.txt 5\n"
    );
}

async fn tasks_are_added_to_a_build_that_runs(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::Hold]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a" })).await;
    fleet.until("a is held", async || runner.count("a", Went::Begun) == 1).await;
    let like = |key: &str, on: &[&str]| {
        json!({
            "key": key, "phase": "CODE_GENERATION", "operation": "create_file", "role": "code-001",
            "depends_on": on, "writes": [format!("{key}.txt")],
        })
    };

    let tasks = json!({ "tasks": [like("b", &[]), like("c", &["a", "b"])] });
    let path = format!("/v1/builds/{build}/tasks");
    let request = fleet.request(reqwest::Method::POST, &path).json(&tasks);
    assert_eq!(fleet.send(request).await.status, 201);

    fleet.until("b has run", async || runner.count("b", Went::Ended) == 1).await;
    runner.release("a");
    fleet.until_state(&build, "completed").await;
    assert_eq!(runner.begun(), ["a", "b", "c"]);
}

async fn a_cancelled_task_stops_under_its_holder(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::Heed]).on("c", [Act::Hold]));
    // Its leases are so long that only a notice can reach the holder in time.
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b, c" })).await;
    fleet.until("both run", async || runner.begun().len() == 2).await;
    let a = fleet.task(&build, "a").await["id"].as_str().unwrap().to_owned();

    let skipped = fleet.done(&format!("/v1/tasks/{a}/skip")).await;

    assert_eq!(skipped["state"], "skipped");
    fleet.until("it was told", async || runner.count("a", Went::Told) == 1).await;
    assert_eq!(fleet.task_state(&build, "b").await, "skipped");
    runner.release("c");
    let completed = fleet.until_state(&build, "completed").await;
    assert_eq!(completed["tasks"]["skipped"], 2);
    assert_eq!(runner.count("b", Went::Begun), 0);
}

async fn one_lost_task_is_retried(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("bad", [Act::permanent()]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> bad -> b -> c" })).await;
    fleet.until_state(&build, "failed").await;
    let bad = fleet.task(&build, "bad").await["id"].as_str().unwrap().to_owned();

    fleet.done(&format!("/v1/tasks/{bad}/retry")).await;

    fleet.until_state(&build, "completed").await;
    assert_eq!(runner.begun(), ["a", "bad", "bad", "b", "c"]);
    assert_eq!(fleet.event(&build, "task_retried").await["taskCount"], 3);
}

async fn a_fork_runs_only_what_must_run_again(footing: Footing) {
    let runner = Arc::new(Scripted::new());
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b -> c, a -> d" })).await;
    fleet.until_state(&build, "completed").await;
    let b = fleet.task(&build, "b").await["id"].as_str().unwrap().to_owned();
    let before = runner.begun().len();

    let fork = fleet.done(&format!("/v1/tasks/{b}/fork")).await;
    let fork = fork["id"].as_str().unwrap();

    fleet.until_state(fork, "completed").await;
    assert_eq!(runner.begun()[before..], ["b", "c"]);
    let files = fleet.look(&format!("/v1/builds/{fork}/files")).await;
    assert_eq!(files["files"].as_array().unwrap().len(), 4);
}

async fn a_build_that_takes_too_long_is_stopped(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [Act::Heed]));
    let mut setup = Setup::on(footing).runner(&runner);
    setup.plans.build_time_limit = Some(Duration::from_secs(300));
    let fleet = setup.start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b" })).await;
    fleet.until("a runs", async || runner.count("a", Went::Begun) == 1).await;

    // Leases are longer than that, so that nothing else ends it.
    fleet.age(Duration::from_secs(310)).await;

    let failed = fleet.until_state(&build, "failed").await;
    assert_eq!(failed["error"]["code"], "plan_timeout");
}
