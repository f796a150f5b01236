//! The fleet: who works, how much waits, and whether the API can serve.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::http::StatusCode;
use buildfleet::{
    domain::id::HolderId,
    draw,
    job::{Job, Lane, Notice},
    queue::{Error, Queue, Taken},
    store::WorkerBeat,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

use crate::scene::{KEY, Scene, settings};

#[tokio::test]
async fn workers_are_listed_with_their_load() {
    let scene = Scene::new().await;
    let beat = WorkerBeat {
        holder: draw::id(),
        program: "task-worker".to_owned(),
        host: "here".to_owned(),
        version: "1.2.3".to_owned(),
        lane: Lane::Tasks,
        slots: 5,
        busy: 2,
    };
    scene.store.beat(&beat).await.unwrap();

    let workers = scene.get("/v1/workers").await.json();

    let worker = &workers["workers"][0];
    assert_eq!(
        (&worker["id"], &worker["queue"]),
        (&json!(beat.holder.to_string()), &json!("tasks"))
    );
    assert_eq!((&worker["slots"], &worker["busy"]), (&json!(5), &json!(2)));
    assert!(worker["last_seen_at"].is_string());
}

#[tokio::test]
async fn queues_tell_what_waits() {
    let scene = Scene::new().await;
    scene.submitted().await;

    let queues = scene.get("/v1/queues").await.json();

    let names: Vec<_> =
        queues["queues"].as_array().unwrap().iter().map(|q| q["name"].clone()).collect();
    assert_eq!(json!(names), json!(["plans", "tasks", "deliveries"]));
    let plans = &queues["queues"][0];
    assert_eq!((&plans["depth"], &plans["queued_jobs"]), (&json!(1), &json!(0)));
    assert_eq!((&plans["rate_per_sec"], &plans["backlog_secs"]), (&json!(0.0), &json!(null)));
}

#[tokio::test]
async fn an_api_whose_queue_is_down_is_not_ready_and_says_so() {
    let scene = Scene::with(settings(), Arc::new(Down)).await;

    let ready = scene.get("/readyz").await;
    let health = scene.get("/health").await;
    let queues = scene.get("/v1/queues").await;

    assert_eq!(
        (ready.status, ready.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    );
    assert_eq!(ready.json()["error"]["detail"], json!({"store": "ok", "queue": "down"}));
    assert_eq!(ready.json()["error"]["message"], "the queue did not answer");
    assert_ne!(ready.header("retry-after"), "");
    assert_eq!((health.status, &health.json()["version"]), (StatusCode::OK, &json!("1.2.3")));
    assert_eq!(queues.json()["queues"][0]["queued_jobs"], json!(null));
}

#[tokio::test]
async fn a_served_api_answers_ends_its_streams_at_the_stop_and_returns() {
    let scene = Scene::new().await;
    let build = scene.executing("a").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(api::serve(listener, scene.router.clone(), scene.stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /v1/builds/{build}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\
         Accept: text/event-stream\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut read = String::new();
    let mut bytes = [0; 1024];
    while !read.contains("plan_generated") {
        let count = stream.read(&mut bytes).await.unwrap();
        read += std::str::from_utf8(&bytes[..count]).unwrap();
    }

    scene.stop.cancel();

    let served = tokio::time::timeout(Duration::from_secs(5), serving.join_next()).await;
    served.expect("it returns").unwrap().unwrap().unwrap();
    assert!(read.starts_with("HTTP/1.1 200 OK"), "{read}");
    stream.read_to_end(&mut Vec::new()).await.unwrap();
}

/// A queue that cannot be reached.
struct Down;

fn down<T>() -> Result<T, Error> {
    Err(Error { source: "down".into() })
}

#[async_trait]
impl Queue for Down {
    async fn push(&self, _: &[Job]) -> Result<usize, Error> {
        down()
    }

    async fn take(&self, _: Lane, _: HolderId, _: usize, _: Duration) -> Result<Vec<Taken>, Error> {
        down()
    }

    async fn done(&self, _: Lane, _: &[String]) -> Result<(), Error> {
        down()
    }

    async fn put_back(&self, _: Lane, _: &[String]) -> Result<(), Error> {
        down()
    }

    async fn take_over(
        &self,
        _: Lane,
        _: HolderId,
        _: Duration,
        _: usize,
    ) -> Result<Vec<Taken>, Error> {
        down()
    }

    async fn depth(&self, _: Lane) -> Result<u64, Error> {
        down()
    }

    async fn notify(&self, _: &[Notice]) -> Result<(), Error> {
        down()
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        broadcast::Sender::new(1).subscribe()
    }

    async fn ping(&self) -> Result<(), Error> {
        down()
    }
}
