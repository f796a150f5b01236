//! The OpenAPI document: it tells of every call, and of nothing else.

use std::collections::HashSet;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};

use crate::scene::{Scene, request};

#[tokio::test]
async fn every_call_in_the_document_is_there_and_refuses_strangers() {
    let scene = Scene::new().await;
    let document = scene.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    let mut calls = 0;

    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let concrete = path
                .replace("{id}", "x")
                .replace("{path}", "y")
                .replace("{name}", "z")
                .replace("{queue}", "tasks");
            let known = scene.call(request(method.clone(), &concrete, &[], Body::empty())).await;
            let stranger = [("authorization", "Bearer no")];
            let strange = scene.call(request(method, &concrete, &stranger, Body::empty())).await;

            assert_ne!(known.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert!(!known.text().contains("there is nothing at"), "{path}: {}", known.text());
            let refused = strange.status == StatusCode::UNAUTHORIZED;
            assert_eq!(refused, path.starts_with("/v1/"), "{path}");
            calls += 1;
        }
    }

    assert_eq!(document["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    assert_eq!(document["info"]["version"], "1.2.3");
    assert_eq!(calls, 60);
}

#[tokio::test]
async fn every_error_in_the_document_has_the_one_form() {
    let scene = Scene::new().await;
    let document = scene.get("/openapi.json").await.json();

    let mut names = HashSet::new();

    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(names.insert(name), "{path} has the name of another call");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let words = response["description"].as_str().unwrap_or("");
                assert!(!words.is_empty(), "{path} {status} has no description");
                if status.starts_with('4') || status.starts_with('5') {
                    let schema = &response["content"]["application/json"]["schema"]["$ref"];
                    assert_eq!(schema, "#/components/schemas/ErrorBody", "{path} {status}");
                }
            }
            assert!(operation["summary"].is_string(), "{path}");
        }
    }
}
