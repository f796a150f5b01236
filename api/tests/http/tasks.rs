//! Tasks that are added, taken out, given another go and forked.

use axum::http::StatusCode;
use buildfleet::{domain::id::BuildId, draw, store::Adoption};
use serde_json::{Value, json};

use crate::scene::Scene;

/// `fetch completed, build ready`, in the order of the plan.
async fn states(scene: &Scene, build: BuildId) -> String {
    let tasks = scene.get(&format!("/v1/builds/{build}/tasks")).await.json();
    let tasks = tasks["tasks"].as_array().unwrap();
    let text = |task: &Value, field: &str| task[field].as_str().unwrap().to_owned();
    let lines = tasks.iter().map(|task| format!("{} {}", text(task, "key"), text(task, "state")));
    lines.collect::<Vec<_>>().join(", ")
}

fn task(key: &str, depends_on: Value) -> Value {
    json!({
        "key": key, "phase": "CODE_GENERATION", "operation": "create_file", "role": "code-001",
        "depends_on": depends_on,
    })
}

async fn add(scene: &Scene, build: BuildId, tasks: &[Value]) -> crate::scene::Answer {
    let body = json!({ "tasks": tasks }).to_string();
    scene.post_json(&format!("/v1/builds/{build}/tasks"), &[], &body).await
}

#[tokio::test]
async fn tasks_are_added_to_a_build_that_executes() {
    let scene = Scene::new().await;
    let build = scene.executing("fetch").await;

    let needs = json!(["fetch", {"key": "docs", "on_loss": "always_run"}]);
    let answer = add(&scene, build, &[task("docs", json!([])), task("end", needs)]).await;

    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let tasks = &answer.json()["tasks"];
    assert_eq!((&tasks[0]["key"], &tasks[0]["name"]), (&json!("docs"), &json!("docs")));
    assert_eq!(tasks[1]["depends_on"].as_array().unwrap().len(), 2);
    assert_eq!(states(&scene, build).await, "fetch ready, docs ready, end pending");
    let again = add(&scene, build, &[task("docs", json!([]))]).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(again.json()["error"]["code"], "tasks_refused");
}

#[tokio::test]
async fn every_bad_task_of_an_addition_is_named() {
    let scene = Scene::new().await;
    let build = scene.executing("fetch").await;

    let mut strange = task("b", json!([]));
    strange["color"] = "red".into();
    let tasks = [task("a", json!([])), strange, json!({ "key": "c" }), json!(7)];
    let answer = add(&scene, build, &tasks).await;

    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let detail = &answer.json()["error"]["detail"]["fields"];
    let fields: Vec<_> = detail.as_array().unwrap().iter().map(|fault| &fault["field"]).collect();
    assert_eq!(fields, ["tasks[1]", "tasks[2]", "tasks[3]"]);
    for body in ["[]", "{}", r#"{"tasks": []}"#, r#"{"tasks": 3}"#, r#"{"task": []}"#] {
        let path = format!("/v1/builds/{build}/tasks");
        let answer = scene.post_json(&path, &[], body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    assert_eq!(states(&scene, build).await, "fetch ready");
}

#[tokio::test]
async fn a_build_that_has_ended_takes_no_more_tasks() {
    let scene = Scene::new().await;
    let build = scene.executing("fetch").await;
    scene.succeed(build, "fetch", &[("fetch.txt", "x")]).await;

    let answer = add(&scene, build, &[task("more", json!([]))]).await;

    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.json()["error"]["code"], "build_is_final");
}

#[tokio::test]
async fn a_task_is_cancelled_or_skipped_with_a_reason() {
    let scene = Scene::new().await;
    for (verb, state) in [("cancel", "cancelled"), ("skip", "skipped")] {
        let build = scene.executing("fetch -> build, lint").await;
        let id = scene.task(build, "fetch").await;
        let path = format!("/v1/tasks/{id}/{verb}");

        let answer = scene.post_json(&path, &[], r#"{"reason": "we have it"}"#).await;

        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.json()["state"], state);
        assert_eq!(answer.json()["error"]["reason"], "we have it");
        assert_eq!(
            states(&scene, build).await,
            format!("fetch {state}, build skipped, lint ready")
        );
        // Asked again, it is so already.
        assert_eq!(scene.post(&path).await.status, StatusCode::OK);
        scene.succeed(build, "lint", &[("lint.txt", "x")]).await;
        let build = scene.get(&format!("/v1/builds/{build}")).await.json();
        let end = if verb == "skip" { "completed" } else { "failed" };
        assert_eq!(build["state"], end);
    }
}

#[tokio::test]
async fn one_lost_task_is_retried() {
    let scene = Scene::new().await;
    let build = scene.executing("fetch -> build, done").await;
    scene.succeed(build, "done", &[("done.txt", "x")]).await;
    scene.fail(build, "fetch").await;
    let (fetch, done) = (scene.task(build, "fetch").await, scene.task(build, "done").await);

    let refused = scene.post(&format!("/v1/tasks/{done}/retry")).await;
    let answer = scene.post(&format!("/v1/tasks/{fetch}/retry")).await;

    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.json()["error"]["code"], "task_not_retryable");
    assert_eq!((answer.status, &answer.json()["state"]), (StatusCode::ACCEPTED, &json!("ready")));
    assert_eq!(states(&scene, build).await, "fetch ready, build pending, done completed");
}

#[tokio::test]
async fn a_build_is_forked_at_a_task_with_another_input() {
    let scene = Scene::new().await;
    let build = scene.executing("fetch -> build").await;
    scene.succeed(build, "fetch", &[("fetch.txt", "x")]).await;
    let task = scene.task(build, "build").await;

    let path = format!("/v1/tasks/{task}/fork");
    let answer = scene.post_json(&path, &[], r#"{"input": {"words": 2}}"#).await;

    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let fork = answer.json();
    assert_eq!(
        (&fork["forked_from"], &fork["state"]),
        (&json!(task.to_string()), &json!("executing"))
    );
    assert_eq!(answer.header("location"), fork["urls"]["self"].as_str().unwrap());
    let fork: BuildId = fork["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(states(&scene, fork).await, "fetch completed, build ready");
    let file = scene.get(&format!("/v1/builds/{fork}/files/fetch.txt")).await;
    assert_eq!(file.text(), "x");
    let bad = scene.post_json(&path, &[], r#"{"inputs": {}}"#).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_plan_that_waits_for_approval_lets_nobody_at_its_tasks() {
    let scene = Scene::new().await;
    let build = scene.submitted().await;
    let within = std::time::Duration::from_secs(60);
    scene.plan(build, "fetch", Adoption::OnApproval { plan: draw::id(), within }).await;
    let task = scene.task(build, "fetch").await;

    for (verb, code) in [("cancel", "build_not_executing"), ("fork", "plan_not_adopted")] {
        let answer = scene.post(&format!("/v1/tasks/{task}/{verb}")).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{verb}");
        assert_eq!(answer.json()["error"]["code"], code);
    }
}
