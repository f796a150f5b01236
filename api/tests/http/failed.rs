//! What was given up: listed with its reasons, its counts and the way to its attempts.

use std::time::Duration;

use axum::http::StatusCode;
use buildfleet::{
    domain::retry::{Jitter, Policy},
    draw,
    store::{Adoption, Ask},
};
use serde_json::{Value, json};

use crate::scene::Scene;

const LEASE: Duration = Duration::from_secs(60);

async fn failed(scene: &Scene, query: &str) -> Vec<Value> {
    let answer = scene.get(&format!("/v1/failed{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["failed"].as_array().unwrap().clone()
}

#[tokio::test]
async fn failed_work_tells_why_and_where_its_attempts_are() {
    let scene = Scene::new().await;
    let build = scene.executing("fetch -> build").await;
    scene.fail(build, "fetch").await;
    let task = scene.task(build, "fetch").await;

    let all = failed(&scene, "").await;
    let tasks = failed(&scene, "?kind=task&code=no_template&tenant=default").await;

    assert_eq!(all.len(), 2);
    let [only] = tasks.try_into().unwrap();
    assert_eq!((&only["kind"], &only["id"]), (&json!("task"), &json!(task.to_string())));
    assert_eq!(only["build_id"], build.to_string());
    assert_eq!((&only["code"], &only["quarantined"]), (&json!("no_template"), &json!(false)));
    assert_eq!(only["reason"], "there is no template for this");
    assert_eq!(
        (&only["attempts"], &only["failures"], &only["crashes"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(only["first_error"], only["last_error"]);
    assert_eq!(only["last_error"]["kind"], "permanent");
    let attempts = scene.get(only["attempts_url"].as_str().unwrap()).await.json();
    assert_eq!(attempts["attempts"][0]["error"], only["last_error"]);

    let [build_of_it] = failed(&scene, "?kind=build").await.try_into().unwrap();
    assert_eq!(
        (&build_of_it["code"], &build_of_it["name"]),
        (&json!("tasks_failed"), &json!("a to-do list"))
    );
    let attempts = scene.get(build_of_it["attempts_url"].as_str().unwrap()).await.json();
    assert_eq!(attempts["attempts"][0]["state"], "succeeded");
    for nothing in
        ["?kind=delivery", "?code=quarantined", "?tenant=acme", "?until=1970-01-01T00:00:01Z"]
    {
        assert_eq!(failed(&scene, nothing).await, [] as [Value; 0], "{nothing}");
    }
    assert_eq!(failed(&scene, "?since=2000-01-01T00:00:00%2B02:00").await.len(), 2);
}

#[tokio::test]
async fn a_build_that_kills_its_planners_is_in_quarantine_until_it_is_retried() {
    let scene = Scene::new().await;
    let build = scene.submitted().await;
    for _ in 0..3 {
        let ask = Ask { holder: draw::id(), lease: LEASE, room: 1, slots: 1 };
        let claim = scene.store.claim_builds(&ask).await.unwrap().remove(0);
        scene.store.lapse_all().await.unwrap();
        let lost = scene.store.settle_lost(claim.fence(), &Policy::WORK, Jitter::NONE).await;
        lost.unwrap();
    }

    let [only] = failed(&scene, "?code=quarantined").await.try_into().unwrap();

    assert_eq!((&only["kind"], &only["quarantined"]), (&json!("build"), &json!(true)));
    assert_eq!((&only["failures"], &only["crashes"]), (&json!(0), &json!(3)));
    assert!(only["reason"].as_str().unwrap().contains("lost 3 workers"), "{only}");
    assert_eq!(only["last_error"]["code"], "worker_lost");
    let attempts = scene.get(only["attempts_url"].as_str().unwrap()).await.json();
    let states: Vec<_> =
        attempts["attempts"].as_array().unwrap().iter().map(|a| a["state"].clone()).collect();
    assert_eq!(json!(states), json!(["lost", "lost", "lost"]));
    let shown = scene.get(&format!("/v1/builds/{build}")).await.json();
    assert_eq!(shown["error"]["code"], "quarantined");
    assert_eq!(scene.post(&format!("/v1/builds/{build}/retry")).await.status, StatusCode::ACCEPTED);
    assert_eq!(failed(&scene, "").await, [] as [Value; 0]);
}

#[tokio::test]
async fn failed_work_comes_in_pages() {
    let scene = Scene::new().await;
    for _ in 0..3 {
        let build = scene.submitted().await;
        scene.plan(build, "a", Adoption::AtOnce { plan: draw::id() }).await;
        scene.fail(build, "a").await;
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/failed?limit=4".to_owned());

    loop {
        let page = scene.get(&path).await.json();
        seen.extend(page["failed"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/failed?limit=4&cursor={cursor}");
    }

    assert_eq!(seen, failed(&scene, "?limit=100").await);
    assert_eq!(seen.len(), 6);
}

#[tokio::test]
async fn every_bad_parameter_is_named() {
    let scene = Scene::new().await;

    let answer =
        scene.get("/v1/failed?kind=job&since=yesterday&until=1&cursor=x&limit=0&codes=x").await;

    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let mut named: Vec<_> = answer.faults().into_keys().collect();
    named.sort_unstable();
    assert_eq!(named, ["codes", "cursor", "kind", "limit", "since", "until"]);
    let unknown = scene.get("/v1/builds/bld_01KAJM5Q3V9K2M4N6P7R8S9T0A/attempts").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}
