//! Limits, weights and pauses: changed by hand, shown where they hold, and written down.

use axum::http::StatusCode;
use buildfleet::{
    draw,
    store::{Adoption, Ask},
};
use serde_json::{Value, json};

use crate::scene::Scene;

const UNKNOWN: &str = "bld_01KAJM5Q3V9K2M4N6P7R8S9T0A";

/// What one process would get out of a lane.
fn ask() -> Ask {
    let lease = std::time::Duration::from_secs(60);
    Ask { holder: draw::id(), lease, room: 9, slots: 9 }
}

async fn put(scene: &Scene, path: &str, body: Value) -> Value {
    let answer = scene.put_json(path, &[], &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

async fn queue(scene: &Scene, name: &str) -> Value {
    let queues = scene.get("/v1/queues").await.json();
    let queues = queues["queues"].as_array().unwrap().clone();
    queues.into_iter().find(|queue| queue["name"] == name).unwrap()
}

async fn waiting(scene: &Scene, task: impl ToString) -> Value {
    scene.get(&format!("/v1/tasks/{}", task.to_string())).await.json()["waiting"].clone()
}

#[tokio::test]
async fn the_limits_of_the_requirements_are_there_from_the_start() {
    let scene = Scene::new().await;

    let limits = scene.get("/v1/limits").await.json();

    let told: Vec<_> = limits["limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|limit| (limit["name"].clone(), limit["concurrency"].clone()))
        .collect();
    let expected = [("deliveries", 10), ("plans", 2), ("tasks", 5)];
    assert_eq!(told, expected.map(|(name, most)| (json!(name), json!(most))));
    assert_eq!(limits["limits"][0]["rate"], json!({"count": 20, "per_secs": 1.0}));
    assert_eq!(limits["limits"][2]["queue"], "tasks");
}

#[tokio::test]
async fn a_limit_is_made_changed_and_removed_with_an_audit() {
    let scene = Scene::new().await;
    let path = "/v1/limits/each-tenant";
    let body = json!({"queue": "tasks", "by": "tenant", "concurrency": 1});

    let why = [("x-reason", "too hot"), ("authorization", "Bearer another-key")];
    let made = scene.put_json(path, &why, &body).await;
    let rate = json!({"count": 3, "per_secs": 0.5});
    let changed = put(&scene, path, json!({"by": "tenant", "value": "acme", "rate": rate})).await;
    let removed = scene.delete(path).await;
    let again = scene.delete(path).await;

    assert_eq!(made.status, StatusCode::OK, "{}", made.text());
    let of = |limit: Value, queue: Value, value: Value, most: Value, rate: Value| {
        assert_eq!(
            limit,
            json!({
                "name": "each-tenant", "queue": queue, "by": "tenant", "value": value,
                "concurrency": most, "rate": rate,
            })
        );
    };
    of(made.json(), json!("tasks"), json!(null), json!(1), json!(null));
    of(changed, json!(null), json!("acme"), json!(null), rate);
    assert_eq!((removed.status, removed.text().as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!((again.status, again.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));

    let audit = scene.get("/v1/audit?limit=2").await.json();
    let first = &audit["entries"][0];
    assert_eq!(
        (&first["action"], &first["subject"], &first["detail"]),
        (&json!("limit_removed"), &json!("each-tenant"), &json!(null))
    );
    assert_eq!(first["by"], "default/key-1");
    let cursor = audit["next_cursor"].as_str().unwrap();
    let rest = scene.get(&format!("/v1/audit?limit=2&cursor={cursor}")).await.json();
    let made = &rest["entries"][0];
    assert_eq!(
        (&made["action"], &made["by"], &made["detail"]["queue"], &made["detail"]["concurrency"]),
        (&json!("limit_put"), &json!("default/key-2: too hot"), &json!("tasks"), &json!(1))
    );
    assert_eq!(rest["next_cursor"], json!(null));
}

#[tokio::test]
async fn every_bad_field_of_a_limit_is_named() {
    let scene = Scene::new().await;
    for (name, body, fields) in [
        ("x", json!({}), vec!["concurrency"]),
        ("x", json!([]), vec![""]),
        ("x", json!({"concurency": 1}), vec!["concurency", "concurrency"]),
        ("x", json!({"concurrency": -1}), vec!["concurrency"]),
        ("x", json!({"concurrency": 1_000_001}), vec!["concurrency"]),
        ("x", json!({"concurrency": 1, "queue": "task", "by": "tenants"}), vec!["by", "queue"]),
        ("x", json!({"concurrency": 1, "value": "acme"}), vec!["value"]),
        ("x", json!({"concurrency": 1, "by": "key", "value": "\u{0}"}), vec!["value"]),
        ("x", json!({"rate": {}}), vec!["rate.count", "rate.per_secs"]),
        ("x", json!({"rate": {"count": 0, "per_secs": 0}}), vec!["rate.count", "rate.per_secs"]),
        ("x", json!({"rate": {"count": 1, "per_secs": 86_401}}), vec!["rate.per_secs"]),
        ("x", json!({"rate": 3}), vec!["rate"]),
        ("a%20b", json!({"concurrency": 1}), vec!["name"]),
    ] {
        let answer = scene.put_json(&format!("/v1/limits/{name}"), &[], &body).await;

        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let mut named: Vec<_> = answer.faults().into_keys().collect();
        named.sort_unstable();
        assert_eq!(named, fields, "{body}");
    }
    assert_eq!(scene.get("/v1/audit").await.json()["entries"], json!([]));
}

#[tokio::test]
async fn a_reason_that_cannot_be_kept_is_refused() {
    let scene = Scene::new().await;
    let long = "x".repeat(201);
    let body = json!({"concurrency": 1});
    for reasons in [vec![("x-reason", long.as_str())], vec![("x-reason", "a"), ("x-reason", "b")]] {
        let answer = scene.put_json("/v1/limits/x", &reasons, &body).await;

        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, "bad_reason")
        );
    }
}

#[tokio::test]
async fn a_tenant_is_given_a_weight() {
    let scene = Scene::new().await;
    let path = "/v1/weights/acme%20inc";

    assert_eq!(put(&scene, path, json!({"weight": 2.5})).await["weight"], 2.5);

    let expected = json!({"weights": [{"tenant": "acme inc", "weight": 2.5}]});
    assert_eq!(scene.get("/v1/weights").await.json(), expected);
    put(&scene, path, json!({"weight": 1})).await;
    assert_eq!(scene.get("/v1/weights").await.json(), json!({"weights": []}));
    let audit = scene.get("/v1/audit").await.json();
    let entry = &audit["entries"][1];
    assert_eq!((&entry["action"], &entry["subject"]), (&json!("weight_put"), &json!("acme inc")));
    for body in [json!({}), json!({"weight": 0}), json!({"weight": 1001}), json!({"weight": "x"})] {
        let answer = scene.put_json(path, &[], &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.faults().into_keys().collect::<Vec<_>>(), ["weight"], "{body}");
    }
}

#[tokio::test]
async fn a_paused_build_says_so_and_goes_on_when_it_is_resumed() {
    let scene = Scene::new().await;
    let build = scene.executing("fetch -> build").await;
    let fetch = scene.task(build, "fetch").await;
    let later = scene.task(build, "build").await;
    let path = format!("/v1/builds/{build}");
    assert_eq!(waiting(&scene, fetch).await["on"], "line");
    assert_eq!(waiting(&scene, later).await["on"], "dependencies");

    let why = [("x-reason", "let me think")];
    let paused = scene.post_with(&format!("{path}/pause"), &why).await;
    let again = scene.post(&format!("{path}/pause")).await;

    assert_eq!((paused.status, again.status), (StatusCode::OK, StatusCode::OK));
    let pause = &paused.json()["paused"];
    assert_eq!(
        (&pause["what"], &pause["name"], &pause["by"]),
        (&json!("build"), &json!(build.to_string()), &json!("default/key-1: let me think"))
    );
    assert_eq!(scene.get(&path).await.json()["paused"], *pause);
    assert_eq!(scene.get("/v1/builds").await.json()["builds"][0]["paused"], *pause);
    assert_eq!(scene.get("/v1/paused").await.json(), json!({"paused": [pause]}));
    assert_eq!(scene.store.claim_tasks(&ask()).await.unwrap(), []);
    let waits = waiting(&scene, fetch).await;
    assert_eq!((&waits["on"], &waits["pause"]), (&json!("pause"), pause));
    let parked = &queue(&scene, "tasks").await["parked"][0];
    assert_eq!(
        (&parked["on"], &parked["pause"], &parked["count"]),
        (&json!("pause"), &json!(format!("build {build}")), &json!(1))
    );

    let resumed = scene.post(&format!("{path}/resume")).await;

    assert_eq!(resumed.json()["paused"], json!(null));
    assert_eq!(waiting(&scene, fetch).await["on"], "line");
    assert_eq!(scene.store.claim_tasks(&ask()).await.unwrap().len(), 1);
    assert_eq!(waiting(&scene, fetch).await, json!(null));
    for verb in ["pause", "resume"] {
        let unknown = scene.post(&format!("/v1/builds/{UNKNOWN}/{verb}")).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    }
    scene.post(&format!("{path}/cancel")).await;
    let ended = scene.post(&format!("{path}/pause")).await;
    assert_eq!((ended.status, ended.code().as_str()), (StatusCode::CONFLICT, "build_is_final"));
}

#[tokio::test]
async fn a_paused_tenant_and_a_paused_queue_hold_what_waits() {
    let scene = Scene::new().await;
    let build = scene.submitted().await;
    let path = format!("/v1/builds/{build}");

    let tenant = scene.post("/v1/tenants/default/pause").await;
    let held = scene.get(&path).await.json();
    let resumed = scene.post("/v1/tenants/default/resume").await;
    assert_eq!(tenant.json()["paused"][0]["what"], "tenant");
    assert_eq!(held["paused"]["what"], "tenant");
    assert_eq!(held["waiting"]["pause"]["name"], "default");
    assert_eq!(resumed.json(), json!({"paused": []}));

    scene.post("/v1/queues/plans/pause").await;
    let held = scene.get(&path).await.json();
    assert_eq!((&held["paused"], &held["waiting"]["on"]), (&json!(null), &json!("pause")));
    assert_eq!(held["waiting"]["pause"]["what"], "queue");
    assert_eq!(queue(&scene, "plans").await["paused"]["name"], "plans");
    assert_eq!(queue(&scene, "tasks").await["paused"], json!(null));
    assert_eq!(scene.store.claim_builds(&ask()).await.unwrap(), []);
    scene.post("/v1/queues/plans/resume").await;
    assert_eq!(scene.get(&path).await.json()["waiting"]["on"], "line");

    let audit = scene.get("/v1/audit").await.json();
    let told: Vec<_> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{} {}", entry["action"], entry["subject"]).replace('"', ""))
        .collect();
    let expected = [
        "resumed queue plans",
        "paused queue plans",
        "resumed tenant default",
        "paused tenant default",
    ];
    assert_eq!(told, expected);
    let nowhere = scene.post("/v1/queues/jobs/pause").await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    assert!(nowhere.text().contains("plans, tasks, deliveries"), "{}", nowhere.text());
    let nobody = scene.post("/v1/tenants/%07/pause").await;
    assert_eq!(nobody.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(nobody.faults().contains_key("tenant"));
}

#[tokio::test]
async fn what_waits_for_room_names_its_limit() {
    let scene = Scene::new().await;
    let build = scene.executing("a, b").await;
    let body = json!({"queue": "tasks", "by": "tenant", "concurrency": 1});
    put(&scene, "/v1/limits/each-tenant", body).await;
    let claims = scene.store.claim_tasks(&ask()).await.unwrap();
    assert_eq!(claims.len(), 1);
    let held = if claims[0].key == "a" { "b" } else { "a" };

    let waits = waiting(&scene, scene.task(build, held).await).await;

    assert_eq!(waits["on"], "limit");
    assert_eq!(waits["limit"], json!({"name": "each-tenant", "value": "default"}));
    let tasks = queue(&scene, "tasks").await;
    assert_eq!(tasks["parked"][0]["limit"], waits["limit"]);
    assert_eq!(tasks["parked"][0]["count"], 1);
    let names: Vec<_> =
        tasks["limits"].as_array().unwrap().iter().map(|l| l["name"].clone()).collect();
    assert_eq!(names, [json!("each-tenant"), json!("tasks")]);
    let listed = scene.get(&format!("/v1/builds/{build}/tasks")).await.json();
    let of = |key: &str| {
        let tasks = listed["tasks"].as_array().unwrap();
        tasks.iter().find(|task| task["key"] == key).unwrap()["waiting"].clone()
    };
    assert_eq!(of(held), waits);
    assert_eq!(of(&claims[0].key), json!(null));
}

#[tokio::test]
async fn what_waits_for_a_person_or_a_turn_says_so() {
    let scene = Scene::new().await;
    let webhook = json!({"url": "https://example.com/hooks"});
    let build = scene.submitted_as(json!({"prompt": "x", "webhook": webhook})).await;
    let within = std::time::Duration::from_secs(60);
    scene.plan(build, "a", Adoption::OnApproval { plan: draw::id(), within }).await;

    let shown = scene.get(&format!("/v1/builds/{build}")).await.json();
    let listed = scene.get(&format!("/v1/deliveries?build={build}")).await.json();

    assert_eq!(shown["waiting"]["on"], "approval");
    let on: Vec<_> = listed["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delivery| delivery["waiting"]["on"].clone())
        .collect();
    assert_eq!(on, [json!("turn"), json!("line")]);
}

#[tokio::test]
async fn what_waits_at_an_endpoint_says_so() {
    let scene = Scene::new().await;
    let made =
        scene.post_json("/v1/endpoints", &[], r#"{"url": "https://example.com/hooks"}"#).await;
    let endpoint = made.json()["id"].as_str().unwrap().to_owned();
    let sent = scene.post(&format!("/v1/endpoints/{endpoint}/test")).await.json();
    let path = format!("/v1/deliveries/{}", sent["id"].as_str().unwrap());
    assert_eq!(scene.get(&path).await.json()["waiting"]["on"], "line");

    scene.post(&format!("/v1/endpoints/{endpoint}/disable")).await;

    let shown = scene.get(&path).await.json();
    assert_eq!(shown["waiting"]["on"], "endpoint");
    assert_eq!(shown["waiting"]["due_at"], json!(null));
}
