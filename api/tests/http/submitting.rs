//! Posting a brief: what is taken, what is refused and how, and that a repetition is no second
//! build.

use std::sync::Arc;

use api::{Settings, Targets, pressure::Bounds};
use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use buildfleet::queue::memory::Memory;
use serde_json::json;

use crate::scene::{Scene, request, settings};

const SOON: std::time::Duration = std::time::Duration::from_secs(30);

#[tokio::test]
async fn a_brief_is_accepted_with_the_addresses_of_its_build() {
    let scene = Scene::new().await;

    let submitted = scene.submit(json!({"prompt": "a to-do list", "priority": 1}));
    let (answer, ()) = tokio::time::timeout(SOON, async {
        tokio::join!(submitted, scene.store.bell().committed())
    })
    .await
    .expect("the bell rings");

    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let body = answer.json();
    let id = body["id"].as_str().unwrap();
    assert_eq!(body["state"], "queued");
    assert_eq!(body["urls"]["self"], format!("/v1/builds/{id}"));
    assert_eq!(body["urls"]["archive"], format!("/v1/builds/{id}/archive"));
    assert_eq!(answer.header("location"), format!("/v1/builds/{id}"));
    let created_at = body["created_at"].as_str().unwrap();
    assert!(created_at.ends_with('Z') && created_at.len() == 24, "{created_at}");
    assert!(body.get("webhook").is_none());
    let shown = scene.get(&format!("/v1/builds/{id}")).await.json();
    assert_eq!(
        (shown["prompt"].as_str(), shown["priority"].as_u64()),
        (Some("a to-do list"), Some(1))
    );
}

#[tokio::test]
async fn every_field_that_is_wrong_is_named_at_once() {
    let scene = Scene::new().await;

    let answer = scene
        .submit(json!({
            "promt": "x", "priority": "high", "features": [1], "complexity": "enormous",
            "provider": "openai", "metadata": [], "webhook": {"events": ["task_complete"]},
        }))
        .await;

    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.code(), "invalid_request");
    let faults = answer.faults();
    let mut fields: Vec<_> = faults.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "complexity",
            "features[0]",
            "metadata",
            "priority",
            "prompt",
            "promt",
            "provider",
            "webhook.events[0]",
            "webhook.url",
        ]
    );
    assert!(faults["promt"].contains("did you mean prompt?"), "{faults:?}");
    assert!(faults["provider"].contains("\"rules\""), "{faults:?}");
}

#[tokio::test]
async fn a_hundred_thousand_faults_are_answered_shortly() {
    let scene = Scene::new().await;
    let unknown: String = (0..50_000).map(|index| format!("\"promp{index}\":1,")).collect();
    let events = vec!["7"; 100_000].join(",");
    let body = format!(r#"{{{unknown}"webhook":{{"url":"","events":[{events}]}}}}"#);

    let answer = scene.post_json("/v1/builds", &[], &body).await;

    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.body.len() < 50_000, "{}", answer.body.len());
}

#[tokio::test]
async fn json_that_breaks_off_is_located() {
    let scene = Scene::new().await;

    let answer = scene.post_json("/v1/builds", &[], "{\n  \"prompt\": \"x\",\n}").await;

    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::BAD_REQUEST, "malformed_json")
    );
    let detail = &answer.json()["error"]["detail"];
    assert_eq!((detail["line"].as_u64(), detail["column"].as_u64()), (Some(3), Some(1)));
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    let scene = Scene::new().await;

    for headers in
        [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/jsonx")]]
    {
        let body = Body::from(r#"{"prompt": "x"}"#);
        let answer = scene.call(request(Method::POST, "/v1/builds", headers, body)).await;

        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{headers:?}");
        assert_eq!(answer.code(), "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let scene = Scene::new().await;

    for body in ["[]", "null", "7", "\"a to-do list\""] {
        let answer = scene.post_json("/v1/builds", &[], body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
}

#[tokio::test]
async fn a_body_beyond_a_mebibyte_is_refused_whether_it_says_so_or_not() {
    let scene = Scene::new().await;
    let large = "x".repeat(1024 * 1024 + 1);
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(large.clone())]);

    let said = scene.post_json("/v1/builds", &[("content-length", "1048577")], &large).await;
    let headers = [("content-type", "application/json")];
    let unsaid = request(Method::POST, "/v1/builds", &headers, Body::from_stream(chunks));
    let unsaid = scene.call(unsaid).await;

    assert_eq!((said.status, said.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
    assert_eq!(
        (unsaid.status, unsaid.code().as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
    );
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let scene = Scene::new().await;
    let never =
        Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>());
    let headers = [("content-type", "application/json")];
    tokio::time::pause();

    let answer = scene.call(request(Method::POST, "/v1/builds", &headers, never)).await;

    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::REQUEST_TIMEOUT, "body_too_slow")
    );
}

#[tokio::test]
async fn a_repetition_under_one_key_is_the_same_build() {
    let scene = Scene::new().await;
    let key = [("idempotency-key", "one")];

    let first = scene.post_json("/v1/builds", &key, r#"{"prompt": "x", "priority": 2}"#).await;
    let again = scene.post_json("/v1/builds", &key, r#" {"priority":2,"prompt":"x"} "#).await;
    let other = scene.post_json("/v1/builds", &key, r#"{"prompt": "y", "priority": 2}"#).await;

    assert_eq!((first.status, again.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(first.json(), again.json());
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(
        (other.status, other.code().as_str()),
        (StatusCode::CONFLICT, "idempotency_key_reused")
    );
    let builds = scene.get("/v1/builds").await.json();
    assert_eq!(builds["builds"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_has_visible_characters() {
    let scene = Scene::new().await;

    for key in ["", "a b", &"x".repeat(256)] {
        let answer =
            scene.post_json("/v1/builds", &[("idempotency-key", key)], r#"{"prompt": "x"}"#).await;
        assert_eq!(answer.code(), "bad_idempotency_key", "{key:?}");
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn of_two_idempotency_keys_none_counts() {
    let scene = Scene::new().await;
    let keys = [("idempotency-key", "one"), ("idempotency-key", "two")];

    let answer = scene.post_json("/v1/builds", &keys, r#"{"prompt": "x"}"#).await;

    assert_eq!(answer.code(), "bad_idempotency_key");
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_secret_is_made_for_a_webhook_without_one_and_told_again_to_a_repetition() {
    let scene = Scene::new().await;
    let key = [("idempotency-key", "one")];
    let brief = r#"{"prompt": "x", "webhook": {"url": "https://example.com/hooks"}}"#;

    let first = scene.post_json("/v1/builds", &key, brief).await.json();
    let again = scene.post_json("/v1/builds", &key, brief).await.json();

    let secret = first["webhook"]["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    assert_eq!(first["webhook"], again["webhook"]);
    let shown = scene.get(first["urls"]["self"].as_str().unwrap()).await;
    assert_eq!(shown.json()["webhook"]["url"], "https://example.com/hooks");
    assert!(!shown.text().contains("whsec_"), "{}", shown.text());
}

#[tokio::test]
async fn a_secret_that_was_made_is_kept_sealed_and_told_again_all_the_same() {
    let scene = Scene::sealing().await;
    let key = [("idempotency-key", "one")];
    let brief = r#"{"prompt": "x", "webhook": {"url": "https://example.com/hooks"}}"#;

    let first = scene.post_json("/v1/builds", &key, brief).await.json();
    let again = scene.post_json("/v1/builds", &key, brief).await.json();

    assert!(first["webhook"]["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(first["webhook"], again["webhook"]);
    let kept = scene.secrets_at_rest().await;
    assert!(kept.len() == 1 && kept[0].starts_with("sealed1.a."), "{kept:?}");
}

#[tokio::test]
async fn a_given_secret_and_the_operators_are_never_told() {
    let secret = "the-operators-secret";
    let scene = Scene::with(
        api::Settings {
            default_webhook_url: Some("https://hooks.example.com/".parse().unwrap()),
            default_webhook_secret: Some(secret.into()),
            ..settings()
        },
        Arc::new(Memory::new()),
    )
    .await;

    let theirs = json!({"prompt": "x", "webhook": {"url": "https://example.com/", "secret": "sixteen-letters!"}});
    let theirs = scene.submit(theirs).await;
    let ours =
        scene.submit(json!({"prompt": "x", "webhook": {"url": "https://example.com/"}})).await;
    let none = scene.submit(json!({"prompt": "x"})).await;

    for answer in [&theirs, &ours, &none] {
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert!(answer.json().get("webhook").is_none(), "{}", answer.text());
    }
    let shown = scene.get(none.json()["urls"]["self"].as_str().unwrap()).await.json();
    assert_eq!(shown["webhook"]["url"], "https://hooks.example.com/");
}

#[tokio::test]
async fn a_webhook_into_a_private_network_is_refused_unless_allowed() {
    let brief = json!({"prompt": "x", "webhook": {"url": "http://127.0.0.1:9000/x"}});
    let strict = Scene::new().await;
    let allowed = Targets::read(&["loopback".to_owned()]).unwrap();
    let lenient = api::Settings { webhook_targets: allowed, ..settings() };
    let lenient = Scene::with(lenient, Arc::new(Memory::new())).await;

    let refused = strict.submit(brief.clone()).await;
    let taken = lenient.submit(brief).await;

    assert_eq!(refused.faults().keys().collect::<Vec<_>>(), ["webhook.url"]);
    assert_eq!(taken.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_brief_that_is_silent_about_approval_gets_the_operators_choice() {
    let careful = api::Settings { approval_required: true, ..settings() };
    let scene = Scene::with(careful, Arc::new(Memory::new())).await;

    let silent = scene.submitted().await;
    let asked = scene.submitted_as(json!({"prompt": "x", "require_approval": false})).await;

    assert_eq!(scene.get(&format!("/v1/builds/{silent}")).await.json()["require_approval"], true);
    assert_eq!(scene.get(&format!("/v1/builds/{asked}")).await.json()["require_approval"], false);
}

#[tokio::test]
async fn what_was_asked_is_given_back() {
    let scene = Scene::new().await;
    let brief = json!({
        "prompt": "Ein Verzeichnis für Bücher 📚", "project_type": "api", "framework": "fastapi",
        "complexity": "simple", "features": ["search"],
        "project_id": "library", "provider": "rules",
        "require_approval": true, "on_task_failure": "fail_fast",
        "priority": 5, "deadline_secs": 600,
        "budget": {"max_cost_usd": 0.25, "max_tokens": 1000}, "metadata": {"a": [1, {"b": null}]},
        "limit_key": "library",
    });

    let build = scene.submitted_as(brief.clone()).await;

    let shown = scene.get(&format!("/v1/builds/{build}")).await.json();
    for (field, value) in
        brief.as_object().unwrap().iter().filter(|(field, _)| *field != "provider")
    {
        assert_eq!(&shown[field], value, "{field}");
    }
}

#[tokio::test]
async fn too_much_at_once_is_refused_with_a_time_to_come_back() {
    let bounds = Bounds { open_builds_max: Some(2), ..Bounds::default() };
    let scene = Scene::with(Settings { bounds, ..settings() }, Arc::new(Memory::new())).await;
    let brief = json!({"prompt": "a to-do list"}).to_string();
    let first = scene.post_json("/v1/builds", &[("idempotency-key", "one")], &brief).await;
    scene.submitted().await;

    let refused = scene.submit(json!({"prompt": "a to-do list"})).await;
    let keyed = scene.post_json("/v1/builds", &[("idempotency-key", "two")], &brief).await;
    let again = scene.post_json("/v1/builds", &[("idempotency-key", "one")], &brief).await;

    for answer in [&refused, &keyed] {
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.code(), "overloaded");
        let detail = &answer.json()["error"]["detail"];
        assert_eq!(detail["bound"], "open_builds");
        assert_eq!(answer.header("retry-after"), detail["retry_after_secs"].to_string());
    }
    // What was accepted before is answered as before.
    assert_eq!(again.status, StatusCode::ACCEPTED);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert_eq!(scene.get("/v1/builds").await.json()["builds"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_full_disk_is_no_place_for_more() {
    let bounds = Bounds { disk_free_bytes_min: Some(u64::MAX), ..Bounds::default() };
    let scene = Scene::with(Settings { bounds, ..settings() }, Arc::new(Memory::new())).await;

    let refused = scene.submit(json!({"prompt": "a to-do list"})).await;

    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.json()["error"]["detail"]["bound"], "disk_free_bytes");
}
