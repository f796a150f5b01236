//! What is true of every answer: keys, ids, errors of one form, careful headers.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use buildfleet::queue::memory::Memory;

use crate::scene::{KEY, Scene, request, settings};

const UNKNOWN: &str = "/v1/builds/bld_01KAJM5Q3V9K2M4N6P7R8S9T0A";

#[tokio::test]
async fn nobody_gets_in_without_a_key() {
    let scene = Scene::new().await;

    for authorization in ["", "Bearer wrong", "Bearer ", "Basic a2V5", KEY] {
        for path in ["/v1/builds", "/v1/nothing", "/v1"] {
            let answer = scene.get_with(path, &[("authorization", authorization)]).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{authorization:?} {path}");
            assert_eq!(answer.code(), "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
    }
}

#[tokio::test]
async fn any_of_the_keys_opens_in_either_header() {
    let scene = Scene::new().await;

    let other = scene.get_with("/v1/builds", &[("authorization", "bearer another-key")]).await;
    let bare = axum::http::Request::builder().uri("/v1/builds").header("x-api-key", KEY);
    let bare = scene.call(bare.body(Body::empty()).unwrap()).await;

    assert_eq!((other.status, bare.status), (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn health_and_documents_are_open() {
    let scene = Scene::new().await;

    for path in ["/health", "/livez", "/readyz", "/openapi.json", "/docs/", "/docs/swagger-ui.css"]
    {
        let answer = scene.get_with(path, &[("authorization", "Bearer wrong")]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_taken_is_said_in_json() {
    let scene = Scene::new().await;

    for path in
        ["/nothing", "/v1/nothing", "/v1/builds/", UNKNOWN, "/v1/builds/bld_x", "/docs/no.js"]
    {
        let answer = scene.get(path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::NOT_FOUND, "not_found"),
            "{path}"
        );
        assert_eq!(answer.header("content-type"), "application/json");
    }
    let answer = scene.call(request(Method::DELETE, "/v1/builds", &[], Body::empty())).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
    );
    let mut allowed: Vec<_> = answer.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn a_request_keeps_its_id_if_it_is_sane() {
    let scene = Scene::new().await;

    let kept = scene.get_with(UNKNOWN, &[("x-request-id", "abc-1.2_3")]).await;
    let drawn = scene.get_with(UNKNOWN, &[("x-request-id", "a b{}")]).await;

    assert_eq!(kept.header("x-request-id"), "abc-1.2_3");
    assert_eq!(kept.json()["error"]["request_id"], "abc-1.2_3");
    let id = drawn.header("x-request-id");
    assert!(id.starts_with("req_") && id.len() == 28, "{id}");
    assert_eq!(drawn.json()["error"]["request_id"], id);
}

#[tokio::test]
async fn every_answer_keeps_browsers_careful() {
    let scene = Scene::new().await;

    for path in ["/v1/builds", "/nothing", "/docs/", "/health"] {
        let answer = scene.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("x-xss-protection"), "1; mode=block");
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
        assert!(answer.header("content-security-policy").starts_with("default-src 'self'"));
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_call_only_if_they_are_named() {
    let named = api::Settings { cors_origins: vec!["https://ui.example".to_owned()], ..settings() };
    let scene = Scene::with(named, Arc::new(Memory::new())).await;
    let preflight = |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,idempotency-key"),
        ];
        request(Method::OPTIONS, "/v1/builds", &headers, Body::empty())
    };

    let ours = scene.call(preflight("https://ui.example")).await;
    let theirs = scene.call(preflight("https://evil.example")).await;

    assert_eq!(ours.status, StatusCode::OK);
    assert_eq!(ours.header("access-control-allow-origin"), "https://ui.example");
    assert_eq!(theirs.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_parameter_that_is_unknown_or_wrong_is_named() {
    let scene = Scene::new().await;

    let answer = scene.get("/v1/builds?limit=0&stat=failed&state=done&cursor=!&cursor=a").await;

    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::BAD_REQUEST, "bad_query"));
    let faults = answer.faults();
    let mut fields: Vec<_> = faults.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["cursor", "limit", "stat", "state"]);
    assert!(faults["stat"].contains("did you mean state?"), "{faults:?}");
    assert!(faults["state"].contains("one of queued, planning"), "{faults:?}");
}
