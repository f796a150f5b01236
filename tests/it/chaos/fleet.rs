//! Four programs as processes of their own, on a real Postgres and Redis, treated badly.

use std::{collections::HashSet, net::TcpListener, sync::Arc, time::Duration};

use buildfleet::{
    domain::{attempt, event::Kind, id::BuildId, task},
    job::Lane,
    store::{self, EventView, Store},
};
use rand::{RngExt, seq::SliceRandom};
use serde_json::json;
use tempfile::TempDir;
use tests::{
    client::{self, Client, Post},
    patience::{until, until_some},
    programs::{self, Program},
    receiver::{Receiver, Reply},
    seed, servers,
};

use super::{
    super::receivers::{Language, Receiver as Judge},
    PROMPTS,
    embedded::undisturbed,
    record::{self, Files},
};

const KEY: &str = "the-key-of-a-fleet-under-test";
/// Lost leases, a Redis that comes back and webhooks that are told again take some seconds each.
const DONE_WITHIN: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(15);

/// What every process of one fleet shares.
struct Grounds {
    folder: TempDir,
    redis: servers::redis::Redis,
    database: String,
    listen: String,
    store: Arc<dyn Store>,
    client: Client,
    posted: usize,
    submitted: HashSet<BuildId>,
}

impl Grounds {
    async fn new() -> Self {
        let database = servers::Postgres::start().fresh_database();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            redis: servers::redis::Redis::start(),
            store: store::open(&database).await.unwrap(),
            database,
            listen: free.local_addr().unwrap().to_string(),
            client: Client::new(),
            posted: 0,
            submitted: HashSet::new(),
        }
    }

    fn start(&self, program: &str) -> Program {
        self.start_with(program, &[])
    }

    /// The same with more settings, or others.
    fn start_with(&self, program: &str, more: &[(&str, &str)]) -> Program {
        let redis = self.redis.url();
        let mut settings = vec![
            ("DATABASE_URL", &*self.database),
            ("REDIS_URL", &redis),
            ("BUILDFLEET_API_KEY", KEY),
            ("BUILDFLEET_LISTEN", &self.listen),
            ("BUILDFLEET_LEASE_SECS", "2"),
            ("BUILDFLEET_WEBHOOK_ALLOW", "loopback"),
            ("BUILDFLEET_WEBHOOK_TIMEOUT_SECS", "1"),
        ];
        settings.extend(more);
        Program::start(programs::command(program, &settings), program, self.folder.path())
    }

    fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Submits a few builds, however often the API has to be asked.
    async fn submit(&mut self, count: usize, webhook: Option<&str>) {
        let url = self.url();
        for _ in 0..count {
            let post = Post {
                prompt: PROMPTS[self.posted % PROMPTS.len()],
                key: format!("post-{}", self.posted),
                webhook: webhook.map(str::to_owned),
            };
            let build = self.client.submit(&url, KEY, &post).await;
            self.submitted.insert(build.parse().unwrap());
            self.posted += 1;
        }
    }

    async fn at_rest(&self) {
        record::at_rest(&*self.store, DONE_WITHIN).await;
    }

    /// The states of all attempts at tasks.
    async fn attempts(&self) -> Vec<attempt::State> {
        let mut states = Vec::new();
        for build in &self.submitted {
            for task in self.store.tasks(*build).await.unwrap() {
                let attempts = self.store.task_attempts(task.id).await.unwrap();
                states.extend(attempts.iter().map(|attempt| attempt.state));
            }
        }
        states
    }

    async fn tasks_in_progress(&self) -> usize {
        let mut running = 0;
        for build in &self.submitted {
            let tasks = self.store.tasks(*build).await.unwrap();
            running += tasks.iter().filter(|one| one.state == task::State::InProgress).count();
        }
        running
    }

    /// All that the record says of what was submitted so far.
    async fn picture(&self) -> Vec<(BuildId, Vec<EventView>, Files)> {
        let mut picture = Vec::new();
        for build in &self.submitted {
            let events = self.store.events(*build, 0, 100_000).await.unwrap();
            picture.push((*build, events, record::files(&*self.store, *build).await));
        }
        picture
    }
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A replica of a program is killed and started again.
    Kill(&'static str),
    Flush,
    RedisRestarts,
}

/// The main job on a fleet as it is run: the events arrive in order, and a library that is not ours
/// verifies each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_of_processes_builds_a_brief_and_tells_an_independent_receiver() {
    let judge = tokio::task::spawn_blocking(|| Judge::start(Language::Python, &[client::SECRET]))
        .await
        .unwrap();
    let grounds = Grounds::new().await;
    let mut programs = vec![grounds.start("buildfleet-api")];
    for name in ["plan-worker", "task-worker", "webhook-dispatcher"] {
        programs.extend([grounds.start(name), grounds.start(name)]);
    }
    let post = Post {
        prompt: "Build a REST API for managing a book library with authors, books and loans",
        key: "library".to_owned(),
        webhook: Some(judge.url.clone()),
    };

    let build = grounds.client.submit(&grounds.url(), KEY, &post).await;
    grounds.at_rest().await;

    let events = grounds.store.events(build.parse().unwrap(), 0, 1000).await.unwrap();
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            json!({
                "id": event.id,
                "type": event.kind,
                "buildId": build,
                "verified": Language::Python.verifiers(),
                "forged": [],
            })
        })
        .collect();
    assert_eq!(judge.received().await, told);
    assert_eq!(events.first().map(|event| event.kind), Some(Kind::BuildStarted));
    assert_eq!(events.last().map(|event| event.kind), Some(Kind::BuildCompleted));
    let paths: Vec<_> =
        record::files(&*grounds.store, build.parse().unwrap()).await.into_keys().collect();
    for path in ["app/routers/authors.py", "app/routers/books.py", "app/routers/loans.py"] {
        assert!(paths.iter().any(|other| other == path), "{path} is not among {paths:?}");
    }
    drop(programs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_survives_the_death_of_each_program_and_of_its_queue() {
    let mut dice = seed::dice();
    let reference = undisturbed().await;
    let receiver = Receiver::start().await;
    let mut grounds = Grounds::new().await;
    let mut programs = Vec::new();
    for (name, replicas) in
        [("buildfleet-api", 1), ("plan-worker", 2), ("task-worker", 2), ("webhook-dispatcher", 2)]
    {
        programs.extend((0..replicas).map(|_| (name, grounds.start(name))));
    }
    let mut faults = [
        Fault::Kill("buildfleet-api"),
        Fault::Kill("plan-worker"),
        Fault::Kill("task-worker"),
        Fault::Kill("webhook-dispatcher"),
        Fault::Flush,
        Fault::RedisRestarts,
    ];
    faults.shuffle(&mut dice);
    println!("{faults:?}");

    let mut interrupted = 0;
    for fault in faults {
        grounds.submit(3, Some(&receiver.url())).await;
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..400_000))).await;
        interrupted += record::unfinished(&*grounds.store).await;
        match fault {
            Fault::Kill(name) => {
                let place = programs.iter().position(|(other, _)| *other == name).unwrap();
                programs.remove(place).1.kill();
                programs.push((name, grounds.start(name)));
            }
            Fault::Flush => grounds.redis.command(&["FLUSHALL"]),
            Fault::RedisRestarts => {
                grounds.redis.kill();
                tokio::time::sleep(Duration::from_micros(dice.random_range(0..400_000))).await;
                grounds.redis.up();
            }
        }
    }
    grounds.submit(2, Some(&receiver.url())).await;
    grounds.at_rest().await;
    drop(programs);

    let store = &*grounds.store;
    record::assert_all_done_once(store, &grounds.submitted, &reference).await;
    record::assert_all_told_in_order(store, &receiver).await;
    assert!(0 < interrupted, "no fault met a build at work");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_frozen_past_its_lease_changes_nothing_when_it_wakes() {
    let reference = undisturbed().await;
    let mut grounds = Grounds::new().await;
    let _api = grounds.start("buildfleet-api");
    let _planner = grounds.start("plan-worker");
    let frozen = grounds.start("task-worker");

    // Frozen as it is, it may hold nothing at that instant; then it is let go for another one.
    until("the frozen worker holds tasks", DONE_WITHIN, async || {
        frozen.signal("CONT");
        if record::unfinished(&*grounds.store).await == 0 {
            grounds.submit(3, None).await;
        }
        if grounds.tasks_in_progress().await == 0 {
            return false;
        }
        frozen.signal("STOP");
        0 < grounds.tasks_in_progress().await
    })
    .await;
    let helper = grounds.start("task-worker");
    grounds.at_rest().await;
    let before = grounds.picture().await;
    helper.kill();
    frozen.signal("CONT");
    // What it does now, it does after what it was frozen in.
    let earlier = grounds.submitted.clone();
    grounds.submit(2, None).await;
    grounds.at_rest().await;

    let later = std::mem::replace(&mut grounds.submitted, earlier);
    assert_eq!(grounds.picture().await, before);
    grounds.submitted = later;
    assert!(grounds.attempts().await.contains(&attempt::State::Lost), "no lease lapsed");
    record::assert_all_done_once(&*grounds.store, &grounds.submitted, &reference).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_told_to_stop_ends_by_itself_and_loses_nothing() {
    let reference = undisturbed().await;
    let receiver = Receiver::start().await;
    let mut grounds = Grounds::new().await;
    let programs = ["buildfleet-api", "plan-worker", "task-worker", "webhook-dispatcher"];
    let mut running: Vec<_> = programs.map(|name| (name, grounds.start(name))).into();

    for name in ["task-worker", "plan-worker", "webhook-dispatcher", "buildfleet-api"] {
        grounds.submit(3, Some(&receiver.url())).await;
        if name == "task-worker" {
            until_some("tasks run", SOON, async || {
                (0 < grounds.tasks_in_progress().await).then_some(())
            })
            .await;
        }
        let place = running.iter().position(|(other, _)| *other == name).unwrap();
        let (_, told) = running.remove(place);
        told.signal("TERM");
        let status = told.ended(SOON).await;
        assert_eq!(status.code(), Some(0), "{name}: {status}");
        running.push((name, grounds.start(name)));
    }
    grounds.at_rest().await;
    drop(running);

    assert!(!grounds.attempts().await.contains(&attempt::State::Lost), "an attempt was lost");
    record::assert_all_done_once(&*grounds.store, &grounds.submitted, &reference).await;
    record::assert_all_told_in_order(&*grounds.store, &receiver).await;
}

/// What a program answers that is asked how it is.
async fn health(address: &str, path: &str) -> Option<(u16, String)> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{address}{path}")).send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_told_twice_ends_at_once_and_gives_back_what_it_holds() {
    let receiver = Receiver::start().await;
    receiver.reply([Reply::Hang]);
    let mut grounds = Grounds::new().await;
    let _api = grounds.start("buildfleet-api");
    let _planner = grounds.start("plan-worker");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let settings = [
        ("BUILDFLEET_HEALTH_LISTEN", &*free),
        ("BUILDFLEET_WEBHOOK_TIMEOUT_SECS", "100"),
        ("BUILDFLEET_LEASE_SECS", "1000"),
    ];
    let told = grounds.start_with("webhook-dispatcher", &settings);
    grounds.submit(1, Some(&receiver.url())).await;
    until("a request is on its way", SOON, async || receiver.requests().len() == 1).await;
    let (live, ready) = (health(&free, "/livez").await, health(&free, "/readyz").await);

    told.signal("TERM");
    let stopping = until_some("it says that it stops", SOON, async || {
        health(&free, "/readyz").await.filter(|(status, _)| *status == 503)
    })
    .await;
    let still_live = health(&free, "/livez").await;
    told.signal("TERM");
    let ended = told.ended(SOON).await;

    assert_eq!((live, ready), (Some((200, "ok\n".into())), Some((200, "ok\n".into()))));
    assert_eq!(stopping, (503, "this process is stopping\n".to_owned()));
    assert_eq!(still_live, Some((200, "ok\n".into())));
    assert_eq!(ended.code(), Some(130), "{ended}");
    // With leases of so many seconds, it can only have been given back.
    let _next = grounds.start("webhook-dispatcher");
    until("it was sent again", SOON, async || receiver.requests().len() > 1).await;
    let lanes = grounds.store.lanes().await.unwrap();
    let deliveries = lanes.iter().find(|lane| lane.lane == Lane::Deliveries).unwrap();
    assert!(deliveries.running <= 1, "{deliveries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_started_before_its_servers_waits_for_them() {
    let mut grounds = Grounds::new().await;
    let nowhere = "postgres://postgres@127.0.0.1:1/none";
    let without = grounds.start_with("plan-worker", &[("DATABASE_URL", nowhere)]);
    until("it says that it waits", SOON, async || {
        without.log().contains("doing=\"opening the database\"")
    })
    .await;
    without.signal("TERM");
    assert_eq!(without.ended(SOON).await.code(), Some(0));

    grounds.redis.kill();
    let worker = grounds.start("task-worker");
    until("it listens in vain", SOON, async || worker.log().contains("listening for wake-ups"))
        .await;
    grounds.redis.up();

    let again = "there is an answer again doing=\"listening for wake-ups\"";
    until("it is heard again", SOON, async || worker.log().contains(again)).await;
}
