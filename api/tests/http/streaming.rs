//! A build's log as pages and as streams: every event once, in order, however often one comes back.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    http::{Method, StatusCode},
};
use buildfleet::domain::id::BuildId;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::scene::{Answer, Scene, request};

const STREAM: (&str, &str) = ("accept", "text/event-stream");
/// Longer than any of these tests takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq)]
struct Frame {
    id: u64,
    event: String,
    data: Value,
}

/// Reads frames off a stream as they come.
struct Frames {
    body: BodyDataStream,
    text: String,
}

impl Frames {
    async fn open(scene: &Scene, build: BuildId, headers: &[(&str, &str)]) -> Frames {
        let path = format!("/v1/builds/{build}/events");
        let headers = [&[STREAM], headers].concat();
        let response = scene.send(request(Method::GET, &path, &headers, Body::empty())).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Frames { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// What stands before the next blank line; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.unwrap()?;
            self.text += std::str::from_utf8(&chunk.unwrap()).unwrap();
        }
    }

    async fn next(&mut self) -> Option<Frame> {
        let block = self.block().await?;
        let field = |name: &str| {
            let line = block
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_else(|| panic!("{block}"));
            line.trim_start().to_owned()
        };
        Some(Frame {
            id: field("id:").parse().unwrap(),
            event: field("event:"),
            data: serde_json::from_str(&field("data:")).unwrap(),
        })
    }

    async fn rest(mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}

async fn ended(scene: &Scene) -> BuildId {
    let build = scene.executing("a -> b").await;
    scene.succeed(build, "a", &[("a.txt", "1")]).await;
    scene.succeed(build, "b", &[("b.txt", "2")]).await;
    build
}

async fn page(scene: &Scene, build: BuildId, query: &str) -> Answer {
    scene.get(&format!("/v1/builds/{build}/events{query}")).await
}

#[tokio::test]
async fn a_page_of_events_goes_on_where_the_last_one_ended() {
    let scene = Scene::new().await;
    let build = ended(&scene).await;

    let first = page(&scene, build, "?limit=3").await.json();
    let rest = page(&scene, build, "?after=3").await.json();
    let beyond = page(&scene, build, &format!("?after={}", rest["next_after"])).await.json();

    assert_eq!((&first["next_after"], &first["ended"]), (&json!(3), &json!(false)));
    let event = &first["events"][0];
    assert_eq!((&event["seq"], &event["type"]), (&json!(1), &json!("build_started")));
    assert_eq!(event["buildId"], build.to_string());
    assert!(event["timestamp"].as_i64().unwrap() > 1_700_000_000_000);
    assert!(event["id"].as_str().unwrap().starts_with("evt_"));
    assert_eq!(rest["ended"], true);
    assert_eq!(rest["events"].as_array().unwrap().last().unwrap()["type"], "build_completed");
    assert_eq!((&beyond["events"], &beyond["ended"]), (&json!([]), &json!(true)));
}

#[tokio::test]
async fn a_stream_of_a_finished_build_tells_all_and_ends() {
    let scene = Scene::new().await;
    let build = ended(&scene).await;
    let listed = page(&scene, build, "").await.json();

    let frames = Frames::open(&scene, build, &[]).await.rest().await;

    let ids: Vec<u64> = frames.iter().map(|frame| frame.id).collect();
    assert_eq!(ids, (1..=frames.len() as u64).collect::<Vec<_>>());
    assert_eq!(frames.last().unwrap().event, "build_completed");
    let told: Vec<Value> = frames.into_iter().map(|frame| frame.data).collect();
    assert_eq!(json!(told), listed["events"]);
}

#[tokio::test]
async fn a_stream_that_is_cut_and_resumed_tells_every_event_once() {
    let scene = Scene::new().await;
    let build = ended(&scene).await;
    let whole = Frames::open(&scene, build, &[]).await.rest().await;

    for cut in 1..whole.len() {
        let mut first = Frames::open(&scene, build, &[]).await;
        let mut told = Vec::new();
        for _ in 0..cut {
            told.push(first.next().await.unwrap());
        }
        drop(first);
        let last = told.last().unwrap().id.to_string();
        told.extend(Frames::open(&scene, build, &[("last-event-id", &last)]).await.rest().await);

        assert_eq!(told, whole, "cut after {cut}");
    }
}

#[tokio::test]
async fn a_stream_tells_what_happens_while_it_is_read() {
    let scene = Scene::new().await;
    let build = scene.executing("a -> b").await;
    let mut one = Frames::open(&scene, build, &[]).await;
    let mut other = Frames::open(&scene, build, &[]).await;
    let begun = [one.next().await.unwrap().event, one.next().await.unwrap().event];

    scene.succeed(build, "a", &[]).await;
    let live = [one.next().await.unwrap().event, one.next().await.unwrap().event];
    scene.fail(build, "b").await;

    assert_eq!(begun, ["build_started", "plan_generated"]);
    assert_eq!(live, ["task_started", "task_completed"]);
    let rest: Vec<_> = one.rest().await.into_iter().map(|frame| frame.event).collect();
    assert_eq!(rest, ["task_started", "task_failed", "build_failed"]);
    let first = other.next().await.unwrap();
    assert_eq!((first.id, other.rest().await.len()), (1, 6));
}

#[tokio::test]
async fn a_stream_goes_on_over_a_retry_and_ends_at_the_last_end() {
    let scene = Scene::new().await;
    let build = scene.executing("a").await;
    scene.fail(build, "a").await;
    scene.post(&format!("/v1/builds/{build}/retry")).await;
    scene.succeed(build, "a", &[]).await;

    let frames = Frames::open(&scene, build, &[]).await.rest().await;

    let ends =
        frames.iter().filter(|frame| frame.event.starts_with("build_")).map(|f| f.event.as_str());
    assert_eq!(
        ends.collect::<Vec<_>>(),
        ["build_started", "build_failed", "build_retried", "build_completed"]
    );
}

#[tokio::test]
async fn a_stream_resumed_after_the_end_has_no_content() {
    let scene = Scene::new().await;
    let build = ended(&scene).await;
    let last = page(&scene, build, "").await.json()["next_after"].to_string();

    let path = format!("/v1/builds/{build}/events");
    let answer = scene.get_with(&path, &[STREAM, ("last-event-id", &last)]).await;
    let by_query = scene.get_with(&format!("{path}?after={last}"), &[STREAM]).await;

    assert_eq!((answer.status, answer.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(by_query.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_stream_cannot_be_resumed_where_it_never_was() {
    let scene = Scene::new().await;
    let build = scene.executing("a").await;
    let path = format!("/v1/builds/{build}/events");

    for (id, code) in [
        ("x", "bad_last_event_id"),
        ("-1", "bad_last_event_id"),
        ("+1", "bad_last_event_id"),
        ("", "bad_last_event_id"),
        ("99999999999999999999", "bad_last_event_id"),
        ("99", "beyond_the_log"),
    ] {
        let answer = scene.get_with(&path, &[STREAM, ("last-event-id", id)]).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, code),
            "{id:?}"
        );
    }
    let unknown =
        scene.get_with("/v1/builds/bld_01KAJM5Q3V9K2M4N6P7R8S9T0A/events", &[STREAM]).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
}

#[tokio::test]
async fn a_silent_stream_is_kept_open_by_comments() {
    let scene = Scene::new().await;
    let build = scene.submitted().await;
    let mut frames = Frames::open(&scene, build, &[]).await;
    tokio::time::pause();

    let block = frames.block().await.unwrap();

    assert_eq!(block, ": keep-alive");
}

#[tokio::test]
async fn a_stream_ends_when_the_process_stops() {
    let scene = Scene::new().await;
    let build = scene.executing("a").await;
    let mut frames = Frames::open(&scene, build, &[]).await;
    frames.next().await.unwrap();

    scene.stop.cancel();

    assert!(frames.rest().await.len() <= 1);
}
