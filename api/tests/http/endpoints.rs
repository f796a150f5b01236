//! Endpoints of a tenant: kept, changed, rotated, tested, disabled; and what they missed.

use axum::http::StatusCode;
use buildfleet::{
    domain::{
        attempt::Failure,
        retry::{Jitter, Policy},
    },
    store::SendResult,
};
use serde_json::{Value, json};

use crate::scene::{Answer, Scene};

const HOOK: &str = "https://example.com/hooks";

async fn add(scene: &Scene, body: Value) -> Answer {
    scene.post_json("/v1/endpoints", &[], &body.to_string()).await
}

async fn added(scene: &Scene) -> String {
    let answer = add(scene, json!({"url": HOOK})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_endpoint_is_added_with_a_secret_that_is_shown_once() {
    let scene = Scene::new().await;

    let answer = add(&scene, json!({"url": HOOK})).await;

    let endpoint = answer.json();
    let id = endpoint["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/endpoints/{id}"));
    assert!(endpoint["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(endpoint["rate"], json!({"count": 10, "per_secs": 1.0}));
    assert_eq!((&endpoint["ordered"], &endpoint["retry"]), (&json!(true), &json!("required")));
    let shown = scene.get(&format!("/v1/endpoints/{id}")).await;
    assert_eq!(shown.json()["state"], "enabled");
    assert_eq!(shown.json()["secret"], Value::Null);
    assert!(!shown.text().contains("whsec_"));
    let listed = scene.get("/v1/endpoints?limit=1&state=enabled").await.json();
    assert_eq!(listed["endpoints"][0]["id"], id);
    assert_eq!(listed["next_cursor"], Value::Null);
}

#[tokio::test]
async fn every_fault_of_an_endpoint_is_named_at_once() {
    let scene = Scene::new().await;
    let body = json!({
        "url": "http://127.0.0.1/", "secret": "short", "events": ["task_*", "nothing"],
        "headers": {"webhook-id": "1", "x-a": 5}, "rate": {"count": 0}, "concurrency": 0,
        "retry": "often", "ordered": "yes", "desription": "x",
    });

    let answer = add(&scene, body).await;

    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let faults = answer.faults();
    let mut fields: Vec<_> = faults.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "concurrency",
            "desription",
            "events",
            "headers.webhook-id",
            "headers.x-a",
            "ordered",
            "rate.count",
            "rate.per_secs",
            "retry",
            "secret",
            "url",
        ]
    );
    assert_eq!(faults["desription"], "is not a field here; did you mean description?");
    assert_eq!(faults["retry"], "must be required, standard, or a list of seconds");
    assert!(!answer.text().contains("short"));
}

#[tokio::test]
async fn an_endpoint_is_changed_and_keeps_its_headers() {
    let scene = Scene::new().await;
    let body = json!({
        "url": HOOK, "headers": {"Authorization": "Bearer of news", "x-team": "blue"},
        "rate": "unlimited", "retry": [0.5, 90], "ordered": false,
    });
    let endpoint = add(&scene, body).await.json();
    let path = format!("/v1/endpoints/{}", endpoint["id"].as_str().unwrap());
    assert_eq!(endpoint["headers"], json!(["authorization", "x-team"]));
    assert_eq!((&endpoint["rate"], &endpoint["retry"]), (&Value::Null, &json!([0.5, 90.0])));

    let change = json!({"url": HOOK, "headers": {"authorization": null}, "concurrency": 3});
    let changed = scene.put_json(&path, &[], &change).await.json();
    assert_eq!(changed["headers"], json!(["authorization"]));
    assert_eq!((&changed["concurrency"], &changed["ordered"]), (&json!(3), &json!(true)));
    let refused = scene.put_json(&path, &[], &json!({"url": HOOK, "secret": "x"})).await;
    assert!(refused.faults().contains_key("secret"));
    assert_eq!(scene.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(scene.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_secret_is_rotated_and_the_old_one_signs_on() {
    let scene = Scene::new().await;
    let path = format!("/v1/endpoints/{}/rotate", added(&scene).await);

    let made = scene.post(&path).await.json();
    let given = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let body = json!({"secret": given, "grace_secs": 0});
    let rotated = scene.post_json(&path, &[], &body.to_string()).await.json();

    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(made["secrets"].as_array().unwrap().len(), 2);
    assert_eq!(rotated["secret"], given);
    assert_eq!(rotated["secrets"].as_array().unwrap().len(), 2);
    let long = json!({"grace_secs": 604_801}).to_string();
    assert!(scene.post_json(&path, &[], &long).await.faults().contains_key("grace_secs"));
}

#[tokio::test]
async fn secrets_are_kept_sealed_and_told_as_they_are() {
    let scene = Scene::sealing().await;
    let path = format!("/v1/endpoints/{}/rotate", added(&scene).await);
    let given = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let body = json!({"secret": given}).to_string();

    let rotated = scene.post_json(&path, &[], &body).await.json();
    let again = scene.post_json(&path, &[], &body).await.json();

    // The same secret once more is no other one.
    assert_eq!((&rotated["secret"], &again["secret"]), (&json!(given), &json!(given)));
    assert_eq!(again["secrets"].as_array().unwrap().len(), 2);
    let kept = scene.secrets_at_rest().await;
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|secret| secret.starts_with("sealed1.a.")), "{kept:?}");
    let sealed = json!({"secret": kept[0]}).to_string();
    assert!(scene.post_json(&path, &[], &sealed).await.faults().contains_key("secret"));
}

#[tokio::test]
async fn an_endpoint_is_tested_disabled_and_enabled() {
    let scene = Scene::new().await;
    let path = format!("/v1/endpoints/{}", added(&scene).await);

    let test = scene.post(&format!("{path}/test")).await;
    assert_eq!(test.status, StatusCode::ACCEPTED);
    assert_eq!(test.json()["type"], "endpoint_test");
    let body = json!({"reason": "it is being moved"}).to_string();
    let disabled = scene.post_json(&format!("{path}/disable"), &[], &body).await.json();
    assert_eq!(
        (&disabled["state"], &disabled["reason"]),
        (&json!("disabled"), &json!("it is being moved"))
    );
    assert_eq!(scene.post(&format!("{path}/test")).await.code(), "endpoint_disabled");
    let enabled = scene.post(&format!("{path}/enable")).await.json();
    assert_eq!((&enabled["state"], &enabled["reason"]), (&json!("enabled"), &Value::Null));
}

/// An endpoint with a delivery that was given up.
async fn failed(scene: &Scene) -> String {
    let id = added(scene).await;
    let test = scene.post(&format!("/v1/endpoints/{id}/test")).await.json();
    let claim = scene.claim_delivery(test["id"].as_str().unwrap().parse().unwrap()).await;
    let failure = Some(Failure::permanent("refused", "the receiver answered 400"));
    let result = SendResult { failure, status: Some(400), ..SendResult::default() };
    let law = (&Policy::DELIVERY, Jitter::NONE);
    scene.store.settle_delivery(claim.fence(), &result, law.0, law.1).await.unwrap();
    scene.store.age(std::time::Duration::from_secs(1)).await;
    id
}

#[tokio::test]
async fn what_an_endpoint_missed_is_counted_and_sent_again() {
    let scene = Scene::new().await;
    let id = failed(&scene).await;
    let path = format!("/v1/endpoints/{id}/recover");
    let since = json!({"since": "2020-01-01T00:00:00Z", "dry_run": true}).to_string();

    let dry = scene.post_json(&path, &[], &since).await;
    assert_eq!((dry.status, dry.json()), (StatusCode::OK, json!({"matched": 1, "replay": null})));
    let body = since.replace("true", "false");
    let begun = scene.post_json(&path, &[("x-reason", "an outage")], &body).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text());
    let replay = begun.json()["replay"]["id"].as_str().unwrap().to_owned();
    while 0 < scene.store.go_on_replaying(10).await.unwrap() {}
    scene.store.go_on_replaying(10).await.unwrap();
    let done = scene.get(&format!("/v1/replays/{replay}")).await.json();
    assert_eq!((&done["state"], &done["done"]), (&json!("done"), &json!(1)));
    assert_eq!(scene.get("/v1/replays").await.json()["replays"][0]["id"], replay);
    let ended = scene.post(&format!("/v1/replays/{replay}/pause")).await;
    assert_eq!(ended.code(), "replay_ended");
    assert!(scene.post_json(&path, &[], "{}").await.faults().contains_key("since"));
}

#[tokio::test]
async fn a_replay_says_which_deliveries_it_means() {
    let scene = Scene::new().await;
    let id = failed(&scene).await;
    let post = async |body: Value| scene.post_json("/v1/replays", &[], &body.to_string()).await;

    let filter = json!({"endpoint_id": id, "code": "refused"});
    let dry = post(json!({"filter": filter, "dry_run": true})).await;
    assert_eq!(dry.json()["matched"], 1);
    let begun = post(json!({"filter": filter})).await.json();
    let path = format!("/v1/replays/{}", begun["replay"]["id"].as_str().unwrap());
    assert_eq!(scene.post(&format!("{path}/pause")).await.json()["state"], "paused");
    assert_eq!(scene.post(&format!("{path}/resume")).await.json()["state"], "running");
    assert_eq!(scene.post(&format!("{path}/cancel")).await.json()["state"], "cancelled");
    assert!(post(json!({})).await.faults().contains_key("filter"));
    assert!(post(json!({"filter": {}})).await.faults().contains_key("filter"));
    let odd = post(json!({"filter": {"endpoint_id": "x", "sates": []}})).await.faults();
    assert!(odd.contains_key("filter.endpoint_id") && odd.contains_key("filter.sates"));
}
