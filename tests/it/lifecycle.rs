//! One build from the brief to the archive, and what a client sees of it on the way.

use std::{collections::BTreeMap, io::Read as _, sync::Arc};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tests::{
    fleet::{Fleet, Footing, Setup},
    receiver::Receiver,
    runners::{Act, Scripted, Went},
};
use worker::{plan::planner::by_rules::Rules, task::runner::template::Template};

tests::on_both_footings!(
    a_brief_becomes_a_project,
    a_brief_that_says_nothing_fails_at_once,
    a_submit_under_one_key_is_one_build,
    a_stream_that_is_cut_goes_on_where_it_was,
    two_of_each_worker_share_the_work,
);

const LIBRARY: &str = "Build a REST API for managing a book library with authors, books and loans";

/// The names of an object's members, in order.
fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

async fn a_brief_becomes_a_project(footing: Footing) {
    let setup =
        Setup { planner: Arc::new(Rules), runner: Arc::new(Template), ..Setup::on(footing) };
    let fleet = setup.start().await;

    let build = fleet.submit(json!({ "prompt": LIBRARY, "framework": "fastapi" })).await;
    let ended = fleet.until_state(&build, "completed").await;

    assert_eq!(ended["progress"], 100.0);
    assert_eq!(ended["error"], Value::Null);
    assert_eq!(ended["tasks"]["completed"], ended["tasks"]["total"]);
    let total = ended["tasks"]["total"].as_u64().unwrap() as usize;
    the_log_tells_all(&fleet, &build, total).await;
    the_archive_is_the_files(&fleet, &build).await;
}

/// The events of S2-40 to S2-47 with their data, in an order that can be.
async fn the_log_tells_all(fleet: &Fleet, build: &str, total: usize) {
    let events = fleet.events(build).await;
    for (index, event) in events.iter().enumerate() {
        assert_eq!(members(event), ["id", "seq", "type", "buildId", "timestamp", "data"]);
        assert_eq!(event["seq"], index as u64 + 1);
        assert_eq!(event["buildId"], build);
        assert!(1_577_836_800_000 < event["timestamp"].as_i64().unwrap(), "milliseconds: {event}");
    }
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["build_started", "plan_partial", "plan_generated"]);
    assert_eq!(*kinds.last().unwrap(), "build_completed");
    assert_eq!(kinds.len(), 4 + 2 * total);

    assert_eq!(events[0]["data"], json!({ "prompt": LIBRARY, "framework": "fastapi" }));
    let partial = &events[1]["data"];
    assert_eq!(members(partial), ["planId", "totalTasksSoFar", "latestTasks"]);
    assert_eq!(partial["totalTasksSoFar"], total as u64);
    let plan = &events[2]["data"];
    assert_eq!(plan["taskCount"], total as u64);
    assert!(0 < plan["estimatedDuration"].as_u64().unwrap());
    let listed = plan["tasks"].as_array().unwrap();
    assert_eq!(listed.len(), total);
    assert!(listed.iter().all(|task| members(task) == ["name", "type", "description"]));
    assert_eq!(partial["latestTasks"], plan["tasks"]);

    let tasks = fleet.look(&format!("/v1/builds/{build}/tasks")).await;
    let place = |kind: &str, task: &Value| {
        let mut found =
            events.iter().filter(|event| event["type"] == kind && event["data"]["taskId"] == *task);
        let seq = found.next().expect("each task is told of")["seq"].as_u64().unwrap();
        assert!(found.next().is_none(), "{kind} of {task} was told twice");
        seq
    };
    for task in tasks["tasks"].as_array().unwrap() {
        let started = place("task_started", &task["id"]);
        let completed = place("task_completed", &task["id"]);
        assert!(started < completed);
        for on in task["depends_on"].as_array().unwrap() {
            assert!(place("task_completed", on) < started, "{} began too soon", task["key"]);
        }
        let data = &events[started as usize - 1]["data"];
        assert_eq!(members(data), ["taskId", "taskName", "description", "attempt"]);
        assert_eq!(data["taskName"], task["name"]);
        assert_eq!(data["description"], task["description"]);
        let data = &events[completed as usize - 1]["data"];
        assert_eq!(members(data), ["taskId", "taskName", "filesCreated"]);
        let sorted = |list: &Value| {
            let mut paths: Vec<_> =
                list.as_array().unwrap().iter().map(ToString::to_string).collect();
            paths.sort();
            paths
        };
        assert_eq!(sorted(&data["filesCreated"]), sorted(&task["writes"]));
    }
    let last = &events.last().unwrap()["data"];
    assert_eq!(last["completedTasks"], total as u64);
}

async fn the_archive_is_the_files(fleet: &Fleet, build: &str) {
    let files = fleet.look(&format!("/v1/builds/{build}/files")).await;
    let mut wanted = BTreeMap::new();
    for file in files["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        let answer = fleet.get(&format!("/v1/builds/{build}/files/{path}")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(file["sha256"], hex::encode(Sha256::digest(&answer.body)), "{path}");
        wanted.insert(path.to_owned(), answer.body);
    }
    for word in ["author", "book", "loan"] {
        assert!(wanted.keys().any(|path| path.contains(word)), "no file is about {word}s");
    }

    let answer = fleet.get(&format!("/v1/builds/{build}/archive")).await;
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(answer.body)).unwrap();
    let mut found = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let name = entry.name().unwrap().into_owned();
        assert!(found.insert(name, content).is_none(), "an entry came twice");
    }
    let manifest = found.remove("MANIFEST.sha256").expect("an archive has a manifest");
    let lines: String = wanted
        .iter()
        .map(|(path, content)| format!("{}  {path}\n", hex::encode(Sha256::digest(content))))
        .collect();
    assert_eq!(String::from_utf8(manifest).unwrap(), lines);
    assert_eq!(found, wanted);
}

async fn a_brief_that_says_nothing_fails_at_once(footing: Footing) {
    let fleet = Setup { planner: Arc::new(Rules), ..Setup::on(footing) }.start().await;

    let build = fleet.submit(json!({ "prompt": "asdf" })).await;
    let failed = fleet.until_state(&build, "failed").await;

    assert_eq!(failed["error"]["code"], "brief_refused");
    assert!(20 < failed["error"]["message"].as_str().unwrap().len(), "{}", failed["error"]);
    assert_eq!(fleet.kinds(&build).await, ["build_started", "build_failed"]);
    let told = fleet.event(&build, "build_failed").await;
    assert_eq!(told["error"], failed["error"]);
}

async fn a_submit_under_one_key_is_one_build(footing: Footing) {
    let fleet = Setup::on(footing).start().await;
    let submit = async |prompt: &str| {
        let request = fleet
            .request(reqwest::Method::POST, "/v1/builds")
            .header("idempotency-key", "once")
            .json(&json!({ "prompt": prompt }));
        fleet.send(request).await
    };

    let first = submit("a -> b").await;
    let id = first.json()["id"].as_str().unwrap().to_owned();
    fleet.until_state(&id, "completed").await;
    let again = submit("a -> b").await;
    let other = submit("a -> c").await;

    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(again.json()["id"], id);
    assert_eq!(other.status, 409);
    assert_eq!(other.json()["error"]["code"], "idempotency_key_reused");
    let builds = fleet.look("/v1/builds").await;
    assert_eq!(builds["builds"].as_array().unwrap().len(), 1);
}

/// Reads frames off a stream until `most` have come or it has ended.
async fn frames(fleet: &Fleet, build: &str, after: Option<&str>, most: usize) -> Vec<Frame> {
    let mut request = fleet
        .request(reqwest::Method::GET, &format!("/v1/builds/{build}/events"))
        .header("accept", "text/event-stream");
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let (mut text, mut frames) = (String::new(), Vec::new());
    while frames.len() < most {
        let Some(chunk) = response.chunk().await.unwrap() else { break };
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((frame, rest)) = text.split_once("\n\n") {
            if !frame.starts_with(':') {
                frames.push(Frame::read(frame));
            }
            text = rest.to_owned();
        }
    }
    frames.truncate(most);
    frames
}

#[derive(Debug)]
struct Frame {
    id: String,
    event: String,
    data: Value,
}

impl Frame {
    fn read(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
        };
        let data = serde_json::from_str(&field("data")).unwrap();
        Self { id: field("id"), event: field("event"), data }
    }
}

async fn a_stream_that_is_cut_goes_on_where_it_was(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("b", [Act::Hold]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b -> c" })).await;

    let mut seen = frames(&fleet, &build, None, 3).await;
    runner.release("b");
    while seen.last().is_none_or(|frame| !frame.event.starts_with("build_completed")) {
        let last = seen.last().map(|frame| frame.id.clone());
        let more = frames(&fleet, &build, last.as_deref(), 2).await;
        assert!(!more.is_empty(), "the stream ended too soon");
        seen.extend(more);
    }

    let log = fleet.events(&build).await;
    assert_eq!(
        seen.iter().map(|frame| &frame.data).collect::<Vec<_>>(),
        log.iter().collect::<Vec<_>>()
    );
    for (frame, event) in seen.iter().zip(&log) {
        assert_eq!(frame.id, event["seq"].to_string());
        assert_eq!(frame.event, event["type"]);
    }
    let over = fleet
        .request(reqwest::Method::GET, &format!("/v1/builds/{build}/events"))
        .header("accept", "text/event-stream")
        .header("last-event-id", log.len().to_string());
    assert_eq!(fleet.send(over).await.status, 204);
}

async fn two_of_each_worker_share_the_work(footing: Footing) {
    let receiver = Receiver::start().await;
    let both = Scripted::new().on("first", [Act::Hold]).on("second", [Act::Hold]);
    let runner = Arc::new(both);
    let mut setup = Setup { workers: 2, ..Setup::on(footing).runner(&runner) };
    setup.tasks.slots = 1;
    let fleet = setup.start().await;

    let hooks = json!({ "url": receiver.url(), "secret": "a-secret-of-the-tests" });
    let wide = "first, second, a -> z, b -> z, c -> z, d -> z, e -> z, f -> z";
    let build = fleet.submit(json!({ "prompt": wide, "webhook": hooks })).await;
    // With one slot each, two tasks run at once only if two workers do.
    fleet
        .until("two tasks are held", async || {
            runner.count("first", Went::Begun) + runner.count("second", Went::Begun) == 2
        })
        .await;
    let holders: Vec<_> = [fleet.task(&build, "first").await, fleet.task(&build, "second").await]
        .iter()
        .map(|task| task["attempts"][0]["worker_id"].to_string())
        .collect();
    assert_ne!(holders[0], holders[1]);
    runner.release("first");
    runner.release("second");
    fleet.until_state(&build, "completed").await;
    fleet.until_told(&build).await;

    let mut begun = runner.begun();
    assert_eq!(begun.last().unwrap(), "z");
    begun.sort();
    assert_eq!(begun, ["a", "b", "c", "d", "e", "f", "first", "second", "z"]);
    assert_eq!(receiver.kinds(), fleet.kinds(&build).await);
    let workers = fleet.look("/v1/workers").await;
    let lanes: Vec<_> =
        workers["workers"].as_array().unwrap().iter().map(|worker| &worker["queue"]).collect();
    assert_eq!(lanes.len(), 6, "{workers}");
}
