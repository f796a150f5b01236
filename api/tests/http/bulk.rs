//! One verb for all that a filter meets: counted first, done in bounded steps, written down.

use axum::http::StatusCode;
use buildfleet::{
    domain::{
        attempt::Failure,
        id::BuildId,
        retry::{Jitter, Policy},
    },
    draw,
    store::{Adoption, SendResult},
};
use serde_json::{Value, json};

use crate::scene::{Answer, Scene};

async fn ask(scene: &Scene, body: &Value) -> Answer {
    let why = [("x-reason", "the end of the quarter")];
    scene.post_json("/v1/builds/bulk", &why, &body.to_string()).await
}

async fn done(scene: &Scene, body: &Value) -> Value {
    let answer = ask(scene, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

async fn of_project(scene: &Scene, project: &str) -> BuildId {
    scene.submitted_as(json!({"prompt": "x", "project_id": project})).await
}

async fn state(scene: &Scene, build: BuildId) -> String {
    scene.store.build(build).await.unwrap().state.to_string()
}

#[tokio::test]
async fn a_dry_run_counts_and_does_nothing() {
    let scene = Scene::new().await;
    let (old, new) = (of_project(&scene, "p").await, of_project(&scene, "p").await);
    of_project(&scene, "other").await;

    let body = json!({"action": "cancel", "filter": {"project_id": "p"}, "dry_run": true});
    let answer = done(&scene, &body).await;

    assert_eq!((&answer["dry_run"], &answer["matching"]), (&json!(true), &json!(2)));
    assert_eq!(answer["ids"], json!([new.to_string(), old.to_string()]));
    assert_eq!((&answer["done"], &answer["next_cursor"]), (&json!(0), &json!(null)));
    assert_eq!(state(&scene, old).await, "queued");
    assert_eq!(scene.get("/v1/audit").await.json()["entries"], json!([]));
}

#[tokio::test]
async fn all_that_a_filter_meets_are_cancelled_and_retried() {
    let scene = Scene::new().await;
    let mut builds = Vec::new();
    for _ in 0..5 {
        builds.push(of_project(&scene, "p").await);
    }
    let spared = of_project(&scene, "other").await;

    let filter = json!({"project_id": "p"});
    let cancelled = done(&scene, &json!({"action": "cancel", "filter": filter})).await;

    assert_eq!((&cancelled["matching"], &cancelled["done"]), (&json!(5), &json!(5)));
    for build in &builds {
        assert_eq!(state(&scene, *build).await, "cancelled");
    }
    assert_eq!(state(&scene, spared).await, "queued");
    let audit = scene.get("/v1/audit").await.json();
    let actions: Vec<_> =
        audit["entries"].as_array().unwrap().iter().map(|e| e["action"].clone()).collect();
    assert_eq!(json!(actions), json!(["bulk_cancel_done", "bulk_cancel"]));
    let begun = &audit["entries"][1];
    assert_eq!(begun["by"], "default/key-1: the end of the quarter");
    assert_eq!(begun["detail"], json!({"filter": filter, "matching": 5}));
    assert_eq!(audit["entries"][0]["detail"]["done"], 5);

    let body = json!({"action": "retry", "filter": {"stop_code": "cancelled", "priority": 3}});
    let retried = done(&scene, &body).await;
    assert_eq!((&retried["done"], &retried["refused"]), (&json!(5), &json!(0)));
    assert_eq!(state(&scene, builds[0]).await, "queued");
}

#[tokio::test]
async fn a_call_stops_at_its_bound_and_goes_on_at_its_cursor() {
    let scene = Scene::new().await;
    for _ in 0..5 {
        of_project(&scene, "p").await;
    }
    let mut body = json!({"action": "pause", "filter": {"project_id": "p"}, "limit": 2});
    let mut counts = Vec::new();

    loop {
        let answer = done(&scene, &body).await;
        counts.push(answer["done"].as_u64().unwrap());
        if answer["next_cursor"].is_null() {
            break;
        }
        body["cursor"] = answer["next_cursor"].clone();
    }

    assert_eq!(counts, [2, 2, 1]);
    let paused = scene.get("/v1/paused").await.json();
    assert_eq!(paused["paused"].as_array().unwrap().len(), 5);
    let resumed = done(&scene, &json!({"action": "resume", "filter": {"project_id": "p"}})).await;
    assert_eq!(resumed["done"], 5);
    assert_eq!(scene.get("/v1/paused").await.json(), json!({"paused": []}));
}

#[tokio::test]
async fn what_cannot_be_done_is_counted_with_its_reason() {
    let scene = Scene::new().await;
    let (one, other) = (of_project(&scene, "p").await, of_project(&scene, "p").await);
    scene.post(&format!("/v1/builds/{one}/cancel")).await;

    let ids = json!([one.to_string(), other.to_string()]);
    let states = json!(["queued", "cancelled"]);
    let body = json!({"action": "retry", "filter": {"ids": ids, "states": states}});
    let answer = done(&scene, &body).await;

    assert_eq!((&answer["done"], &answer["refused"]), (&json!(1), &json!(1)));
    let refusal = &answer["refusals"][0];
    assert_eq!(
        (&refusal["id"], &refusal["code"]),
        (&json!(other.to_string()), &json!("build_not_retryable"))
    );
}

#[tokio::test]
async fn every_bad_field_is_named_and_nothing_is_done() {
    let scene = Scene::new().await;
    let build = of_project(&scene, "p").await;
    for (body, fields) in [
        (json!([]), vec![""]),
        (json!({}), vec!["action", "filter"]),
        (json!({"action": "cancel", "filter": {}}), vec!["filter"]),
        (json!({"action": "cancel", "filter": {"states": null}}), vec!["filter"]),
        (json!({"action": "delete", "filter": {"project_id": "p"}}), vec!["action"]),
        (
            json!({"action": "cancel", "filter": {
                "states": ["queued", "running"], "ids": ["x"], "priority": 6,
                "created_since": "now", "created_until": 5, "project": "p",
            }}),
            vec![
                "filter.created_since",
                "filter.created_until",
                "filter.ids[0]",
                "filter.priority",
                "filter.project",
                "filter.states[1]",
            ],
        ),
        (
            json!({"action": "cancel", "filter": {"project_id": "p"}, "limit": 0, "cursor": "x",
                   "dry_run": "yes"}),
            vec!["cursor", "dry_run", "limit"],
        ),
        (json!({"action": "cancel", "filter": {"project_id": "\u{0}"}}), vec!["filter.project_id"]),
    ] {
        let answer = ask(&scene, &body).await;

        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let mut named: Vec<_> = answer.faults().into_keys().collect();
        named.sort_unstable();
        assert_eq!(named, fields, "{body}");
    }
    assert_eq!(state(&scene, build).await, "queued");
    assert_eq!(scene.get("/v1/audit").await.json()["entries"], json!([]));
}

#[tokio::test]
async fn deliveries_that_were_given_up_are_sent_once_more() {
    let scene = Scene::new().await;
    let webhook = json!({"url": "https://example.com/hooks", "events": ["build_started"]});
    let mut lost = Vec::new();
    for code in ["gone", "gone", "refused"] {
        let build = scene.submitted_as(json!({"prompt": "x", "webhook": webhook})).await;
        scene.plan(build, "a", Adoption::AtOnce { plan: draw::id() }).await;
        let listed = scene.get(&format!("/v1/deliveries?build={build}")).await.json();
        let id = listed["deliveries"][0]["id"].as_str().unwrap().parse().unwrap();
        let claim = scene.claim_delivery(id).await;
        let result = SendResult {
            failure: Some(Failure::permanent(code, "the receiver said no")),
            status: Some(410),
            took_ms: 1,
            ..SendResult::default()
        };
        let law = (&Policy::DELIVERY, Jitter::NONE);
        scene.store.settle_delivery(claim.fence(), &result, law.0, law.1).await.unwrap();
        lost.push(id);
    }
    let ask = |body: Value| {
        let body = body.to_string();
        let scene = &scene;
        async move { scene.post_json("/v1/deliveries/bulk", &[], &body).await }
    };
    let body =
        |dry_run| json!({"action": "redeliver", "filter": {"code": "gone"}, "dry_run": dry_run});

    let dry = ask(body(true)).await.json();
    let done = ask(body(false)).await.json();

    assert_eq!((&dry["matching"], &dry["ids"][1]), (&json!(2), &json!(lost[0].to_string())));
    assert_eq!((&done["done"], &done["refused"]), (&json!(2), &json!(0)));
    for (id, state) in lost.iter().zip(["pending", "pending", "exhausted"]) {
        assert_eq!(scene.store.delivery(*id).await.unwrap().state.as_str(), state);
    }
    let audit = scene.get("/v1/audit").await.json();
    assert_eq!(audit["entries"][1]["action"], "bulk_redeliver");
    assert_eq!(audit["entries"][1]["subject"], "deliveries");
    let bad = ask(json!({"action": "cancel", "filter": {"type": "x", "build_id": "y"}})).await;
    let mut named: Vec<_> = bad.faults().into_keys().collect();
    named.sort_unstable();
    assert_eq!(named, ["action", "filter.build_id", "filter.type"]);
}
