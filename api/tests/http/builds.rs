//! Looking at builds, and the verbs on them, their plans and their tasks.

use std::time::Duration;

use axum::http::StatusCode;
use buildfleet::{domain::id::BuildId, draw, store::Adoption};
use serde_json::{Value, json};

use crate::scene::Scene;

async fn shown(scene: &Scene, build: BuildId) -> Value {
    scene.get(&format!("/v1/builds/{build}")).await.json()
}

#[tokio::test]
async fn a_build_tells_how_far_it_is() {
    let scene = Scene::new().await;
    let queued = scene.submitted().await;
    let queued = shown(&scene, queued).await;
    let build = scene.executing("fetch -> build, fetch -> lint").await;
    scene.succeed(build, "fetch", &[("fetch.txt", "1")]).await;
    let running = shown(&scene, build).await;
    scene.succeed(build, "build", &[("build.txt", "2")]).await;
    scene.succeed(build, "lint", &[("lint.txt", "3")]).await;

    let completed = shown(&scene, build).await;

    assert_eq!((&queued["current_phase"], &queued["estimate"]), (&json!("planning"), &Value::Null));
    assert_eq!((&queued["progress"], &queued["plan_id"]), (&json!(0.0), &Value::Null));
    assert_eq!(running["state"], "executing");
    assert_eq!(running["current_phase"], "CODE_GENERATION");
    assert_eq!(running["progress"], 33.3);
    assert_eq!(running["tasks"]["total"], 3);
    assert_eq!(
        (&running["tasks"]["completed"], &running["tasks"]["ready"]),
        (&json!(1), &json!(2))
    );
    let estimate = &running["estimate"];
    // The longest chain of what is open, by its own estimates.
    assert_eq!((&estimate["total_secs"], &estimate["remaining_secs"]), (&json!(2), &json!(1)));
    assert!(running["created_at"].as_str() < estimate["estimated_completion_at"].as_str());
    assert_eq!(running["finished_at"], Value::Null);
    assert_eq!((&completed["state"], &completed["progress"]), (&json!("completed"), &json!(100.0)));
    assert_eq!((&completed["current_phase"], &completed["error"]), (&Value::Null, &Value::Null));
    assert_eq!(completed["usage"]["cost_usd"], 0.0);
    assert!(completed["finished_at"].is_string() && completed["notes"].is_array());
}

#[tokio::test]
async fn builds_are_listed_newest_first_and_page_by_page() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(scene.submitted().await.to_string());
    }
    ids.reverse();

    let mut seen = Vec::new();
    let mut pages = 0;
    let mut path = "/v1/builds?limit=2".to_owned();
    loop {
        let page = scene.get(&path).await.json();
        pages += 1;
        for build in page["builds"].as_array().unwrap() {
            seen.push(build["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/builds?limit=2&cursor={next}");
    }

    assert_eq!((seen, pages), (ids, 3));
}

#[tokio::test]
async fn a_listing_is_filtered_by_state_and_project() {
    let scene = Scene::new().await;
    let ours = scene.submitted_as(json!({"prompt": "x", "project_id": "a&b"})).await;
    let other = scene.submitted().await;
    scene.post(&format!("/v1/builds/{other}/cancel")).await;

    let by_project = scene.get("/v1/builds?project_id=a%26b").await.json();
    let by_state = scene.get("/v1/builds?state=cancelled").await.json();
    let by_both = scene.get("/v1/builds?state=cancelled&project_id=a%26b").await.json();

    let only = |page: &Value| page["builds"][0]["id"].as_str().unwrap_or("").to_owned();
    assert_eq!(by_project["builds"].as_array().unwrap().len(), 1);
    assert_eq!((only(&by_project), only(&by_state)), (ours.to_string(), other.to_string()));
    assert_eq!(by_both["builds"], json!([]));
}

#[tokio::test]
async fn a_build_is_cancelled_once_and_not_after_its_end() {
    let scene = Scene::new().await;
    let build = scene.submitted().await;
    let done = scene.executing("a").await;
    scene.succeed(done, "a", &[]).await;

    let first = scene.post(&format!("/v1/builds/{build}/cancel")).await;
    let again = scene.post(&format!("/v1/builds/{build}/cancel")).await;
    let late = scene.post(&format!("/v1/builds/{done}/cancel")).await;

    assert_eq!((first.status, &first.json()["state"]), (StatusCode::OK, &json!("cancelled")));
    assert_eq!((again.status, again.json()), (StatusCode::OK, first.json()));
    assert_eq!((late.status, late.code().as_str()), (StatusCode::CONFLICT, "build_is_final"));
}

#[tokio::test]
async fn a_retry_runs_again_what_was_lost() {
    let scene = Scene::new().await;
    let build = scene.executing("a -> b, c").await;
    scene.succeed(build, "c", &[]).await;
    let early = scene.post(&format!("/v1/builds/{build}/retry")).await;
    scene.fail(build, "a").await;
    let failed = shown(&scene, build).await;

    let retried = scene.post(&format!("/v1/builds/{build}/retry")).await;

    assert_eq!(
        (early.status, early.code().as_str()),
        (StatusCode::CONFLICT, "build_not_retryable")
    );
    assert_eq!(
        (&failed["state"], &failed["error"]["code"]),
        (&json!("failed"), &json!("tasks_failed"))
    );
    assert_eq!(retried.status, StatusCode::ACCEPTED);
    let retried = retried.json();
    assert_eq!(retried["state"], "executing");
    assert_eq!(
        (&retried["tasks"]["completed"], &retried["tasks"]["ready"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_task_tells_its_attempts_and_why_they_failed() {
    let scene = Scene::new().await;
    let build = scene.executing("a -> b").await;
    scene.fail(build, "a").await;

    let tasks = scene.get(&format!("/v1/builds/{build}/tasks")).await.json();
    let id = tasks["tasks"][0]["id"].as_str().unwrap();
    let task = scene.get(&format!("/v1/tasks/{id}")).await.json();

    assert_eq!(tasks["tasks"][1]["depends_on"], json!([id]));
    assert_eq!(tasks["tasks"][1]["state"], "skipped");
    assert_eq!(
        (&task["key"], &task["state"], &task["attempt"]),
        (&json!("a"), &json!("failed"), &json!(1))
    );
    assert_eq!(task["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(task["attempts"][0]["error"]["code"], "no_template");
    assert_eq!(task["attempts"][0]["error"]["kind"], "permanent");
}

#[tokio::test]
async fn a_build_without_a_plan_has_no_tasks_and_no_plan() {
    let scene = Scene::new().await;
    let build = scene.submitted().await;

    let tasks = scene.get(&format!("/v1/builds/{build}/tasks")).await;
    let plan = scene.get(&format!("/v1/builds/{build}/plan")).await;

    assert_eq!((tasks.status, tasks.json()), (StatusCode::OK, json!({"tasks": []})));
    assert_eq!(plan.status, StatusCode::NOT_FOUND);
}

async fn proposed(scene: &Scene) -> (BuildId, String) {
    let build = scene.submitted_as(json!({"prompt": "x", "require_approval": true})).await;
    let within = Duration::from_secs(3600);
    scene.plan(build, "a -> b", Adoption::OnApproval { plan: draw::id(), within }).await;
    let plan = scene.get(&format!("/v1/builds/{build}/plan")).await.json();
    assert_eq!(plan["state"], "proposed");
    assert!(plan["approve_until"].is_string());
    (build, plan["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_plan_is_approved_once() {
    let scene = Scene::new().await;
    let (build, plan) = proposed(&scene).await;
    assert_eq!(shown(&scene, build).await["state"], "pending_approval");

    let first = scene.post(&format!("/v1/plans/{plan}/approve")).await;
    let again = scene.post(&format!("/v1/plans/{plan}/approve")).await;

    assert_eq!((first.status, &first.json()["state"]), (StatusCode::OK, &json!("executing")));
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "plan_not_proposed"));
}

#[tokio::test]
async fn a_plan_is_rejected_with_or_without_a_reason() {
    let scene = Scene::new().await;
    let (build, plan) = proposed(&scene).await;
    let (_, silent) = proposed(&scene).await;
    let path = format!("/v1/plans/{plan}/reject");

    let wrong = scene.post_json(&path, &[], r#"{"reason": 7, "why": "x"}"#).await;
    let rejected = scene.post_json(&path, &[], r#"{"reason": "the loans are missing"}"#).await;
    let without = scene.post(&format!("/v1/plans/{silent}/reject")).await;

    assert_eq!(wrong.faults().len(), 2);
    assert_eq!((rejected.status, without.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(rejected.json()["error"]["code"], "plan_rejected");
    let events = scene.get(&format!("/v1/builds/{build}/events")).await.json();
    let told = events["events"].as_array().unwrap().iter().find(|e| e["type"] == "plan_rejected");
    assert_eq!(told.unwrap()["data"]["reason"], "the loans are missing");
}
