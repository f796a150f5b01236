//! Deliveries: the reasons of every failed attempt are kept, and one can have it told again.

use axum::http::StatusCode;
use buildfleet::{
    domain::{
        attempt::Failure,
        id::{BuildId, DeliveryId},
        retry::{Jitter, Policy},
    },
    draw,
    store::{Adoption, SendResult},
};
use serde_json::json;

use crate::scene::Scene;

/// A build with one delivery, which failed for good.
async fn exhausted(scene: &Scene) -> (BuildId, DeliveryId) {
    let webhook = json!({"url": "https://example.com/hooks", "events": ["build_started"]});
    let build = scene.submitted_as(json!({"prompt": "x", "webhook": webhook})).await;
    scene.plan(build, "a", Adoption::AtOnce { plan: draw::id() }).await;
    let listed = scene.get(&format!("/v1/deliveries?build={build}")).await.json();
    let id: DeliveryId = listed["deliveries"][0]["id"].as_str().unwrap().parse().unwrap();
    let claim = scene.claim_delivery(id).await;
    let result = SendResult {
        failure: Some(Failure::permanent("refused", "the receiver answered 410")),
        status: Some(410),
        took_ms: 12,
        excerpt: Some("gone".to_owned()),
        ..SendResult::default()
    };
    let settled =
        scene.store.settle_delivery(claim.fence(), &result, &Policy::DELIVERY, Jitter::NONE).await;
    settled.unwrap();
    (build, id)
}

#[tokio::test]
async fn a_failed_delivery_is_listed_with_its_reasons() {
    let scene = Scene::new().await;
    let (build, id) = exhausted(&scene).await;

    let listed = scene.get(&format!("/v1/deliveries?build={build}&state=exhausted")).await.json();
    let other = scene.get("/v1/deliveries?state=delivered").await.json();
    let shown = scene.get(&format!("/v1/deliveries/{id}")).await.json();

    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed["deliveries"][0]["type"], &listed["next_cursor"]),
        (&json!("build_started"), &json!(null))
    );
    assert_eq!(other["deliveries"], json!([]));
    assert_eq!((&shown["state"], &shown["attempt"]), (&json!("exhausted"), &json!(1)));
    let attempt = &shown["attempts"][0];
    assert_eq!((&attempt["number"], &attempt["status"]), (&json!(1), &json!(410)));
    assert_eq!(attempt["error"]["reason"], "the receiver answered 410");
    assert_eq!((&attempt["excerpt"], &attempt["took_ms"]), (&json!("gone"), &json!(12)));
}

#[tokio::test]
async fn a_delivery_at_its_end_is_sent_once_more_and_no_other() {
    let scene = Scene::new().await;
    let (_, id) = exhausted(&scene).await;
    let path = format!("/v1/deliveries/{id}/redeliver");

    let again = scene.post(&path).await;
    let early = scene.post(&path).await;
    let unknown = scene.post("/v1/deliveries/dlv_01KAJM5Q3V9K2M4N6P7R8S9T0A/redeliver").await;

    assert_eq!((again.status, &again.json()["state"]), (StatusCode::ACCEPTED, &json!("pending")));
    assert_eq!((early.status, early.code().as_str()), (StatusCode::CONFLICT, "delivery_not_final"));
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_filter_that_is_no_build_is_refused() {
    let scene = Scene::new().await;

    let answer = scene.get("/v1/deliveries?build=tsk_01KAJM5Q3V9K2M4N6P7R8S9T0A&state=lost").await;

    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.faults().len(), 2);
}
