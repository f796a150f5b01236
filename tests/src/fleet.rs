//! A whole fleet in one process: record, queue, API on a real port, workers and dispatcher.
//!
//! It stands on either footing: SQLite and memory, with one member for all, as in `buildfleet dev`;
//! or Postgres and Redis, each program a member of its own, as in a fleet. Tests wait for facts
//! and never for time: `until` panics with a picture of the record, and `age` makes time pass.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use api::{Api, Settings, pressure::Bounds};
use buildfleet::{
    domain::{address::Allowed, id::BuildId},
    member::Member,
    queue::{self, Queue, waker::Waker as Wakes},
    store::{
        self, BuildsWanted, DeliveriesWanted, Store, conformance::Ageing, postgres::Postgres,
        sqlite::Sqlite,
    },
    vault::Vault,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use worker::{
    config::{PlanConfig, TaskConfig},
    plan::{handle::Approval, planner::Planner},
    sweep::{self, Sweep},
    task::{cache, runner::Runner},
};

use crate::{planners, runners, servers};

pub const KEY: &str = "the key of the fleet under test";
/// Far longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a fleet stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Footing {
    /// SQLite in a folder of its own, memory.
    Embedded,
    /// Postgres with a database of its own, Redis with a server of its own.
    Servers,
}

/// Makes a test of each function on each footing. The functions take the footing.
#[macro_export]
macro_rules! on_both_footings {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::fleet::Footing::Embedded).await;
                }
            )*
        }

        mod on_servers {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::fleet::Footing::Servers).await;
                }
            )*
        }
    };
}

/// What a fleet is made of. All fields may be set before it starts.
#[derive(Clone)]
pub struct Setup {
    pub footing: Footing,
    pub planner: Arc<dyn Planner>,
    pub runner: Arc<dyn Runner>,
    pub plans: PlanConfig,
    pub tasks: TaskConfig,
    pub webhooks: webhook_dispatcher::config::Config,
    /// Where the API lets webhooks go.
    pub targets: Allowed,
    /// How much the API takes on.
    pub bounds: Bounds,
    /// How many of each worker.
    pub workers: usize,
}

impl Setup {
    /// One of each program; graphs for prompts and a runner that succeeds; webhooks may go to this
    /// machine.
    pub fn on(footing: Footing) -> Self {
        // Long enough that nothing lapses unless a test lets it.
        let lease = Duration::from_secs(600);
        let time_limit = Duration::from_secs(60);
        let loopback = Allowed::default().with_loopback();
        Self {
            footing,
            planner: Arc::new(planners::Scripted::default()),
            runner: Arc::new(runners::Scripted::new()),
            plans: PlanConfig {
                slots: 2,
                lease,
                time_limit,
                approval: Approval { always: false, within: Duration::from_secs(300) },
                straighten: true,
                build_time_limit: None,
            },
            tasks: TaskConfig { slots: 5, lease, time_limit, cache: cache::Config::OFF },
            webhooks: webhook_dispatcher::config::Config {
                slots: 10,
                lease,
                time_limit,
                allowed: loopback.clone(),
                name_servers: Vec::new(),
                vault: Vault::default(),
            },
            targets: loopback,
            bounds: Bounds::default(),
            workers: 1,
        }
    }

    #[must_use]
    pub fn planner(mut self, planner: &Arc<planners::Scripted>) -> Self {
        self.planner = Arc::<planners::Scripted>::clone(planner);
        self
    }

    #[must_use]
    pub fn runner(mut self, runner: &Arc<runners::Scripted>) -> Self {
        self.runner = Arc::<runners::Scripted>::clone(runner);
        self
    }

    pub async fn start(self) -> Fleet {
        Fleet::start(self).await
    }
}

/// A program of the fleet, running.
pub struct Program {
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Program {
    /// As by SIGTERM; returns when it has ended.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.running.join_next()).await;
        ended.expect("a program that is told to stop ends").expect("it ran").expect("it ends well");
    }

    /// As by SIGKILL: nothing is given back, and nobody is told.
    pub async fn kill(mut self) {
        self.running.shutdown().await;
    }
}

/// Where the queue is.
enum Waker {
    Memory(Arc<dyn Queue>),
    Redis(servers::redis::Redis),
}

pub struct Fleet {
    database: String,
    pub store: Arc<dyn Ageing>,
    setup: Setup,
    waker: Waker,
    /// What the programs of the embedded footing share.
    shared: Option<Member>,
    programs: Mutex<Vec<Program>>,
    root: String,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Fleet {
    async fn start(setup: Setup) -> Self {
        // Fails if a provider is in place already, which serves as well.
        let _in_place = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder for the test");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (database, store, waker): (_, Arc<dyn Ageing>, _) = match setup.footing {
            Footing::Embedded => {
                let url = format!("sqlite:{}", folder.path().join("fleet.db").display());
                let memory = queue::open(None).await.expect("memory is there");
                let store = Sqlite::open(&url).await.expect("a store");
                (url, Arc::new(store), Waker::Memory(memory))
            }
            Footing::Servers => {
                let url = servers::Postgres::start().fresh_database();
                let redis = Waker::Redis(servers::redis::Redis::start());
                let store = Postgres::open(&url).await.expect("a store");
                (url, Arc::new(store), redis)
            }
        };
        let mut fleet = Self {
            database,
            store,
            waker,
            shared: None,
            programs: Mutex::default(),
            root: format!("http://{address}"),
            client: reqwest::Client::builder().no_proxy().build().expect("a client"),
            _folder: folder,
            setup: setup.clone(),
        };
        // What the test itself does to the record wakes the fleet too.
        let (member, waker) =
            fleet.new_member("buildfleet dev", fleet.record(), CancellationToken::new()).await;
        let idle = CancellationToken::new();
        let stop = idle.clone();
        fleet.keep(Program::spawn(idle, waker.run(stop)));
        if setup.footing == Footing::Embedded {
            fleet.shared = Some(member);
        }
        fleet.keep(fleet.start_api(listener).await);
        for _ in 0..setup.workers {
            let (plans, tasks) = (fleet.start_plan_worker().await, fleet.start_task_worker().await);
            fleet.keep(plans);
            fleet.keep(tasks);
            fleet.keep(fleet.start_dispatcher().await);
        }
        fleet
    }

    async fn new_member(
        &self,
        program: &'static str,
        store: Arc<dyn Store>,
        stop: CancellationToken,
    ) -> (Member, Wakes) {
        let queue = match &self.waker {
            Waker::Memory(queue) => Arc::clone(queue),
            Waker::Redis(server) => queue::open(Some(&server.url())).await.expect("a URL of Redis"),
        };
        Member::new(store, queue, program, stop)
    }

    /// Starts a program that does `work`; on servers as a member of its own, which shares nothing
    /// with the others but the servers.
    async fn program<F>(&self, name: &'static str, work: impl FnOnce(Member) -> F) -> Program
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        match &self.shared {
            Some(shared) => {
                let mut member = shared.clone();
                member.stop = stop.clone();
                Program::spawn(stop, work(member))
            }
            None => {
                let store = store::open(&self.database).await.expect("the servers are there");
                let (member, waker) = self.new_member(name, store, stop.clone()).await;
                Program::spawn(stop, Member::run(waker, work(member)))
            }
        }
    }

    async fn start_api(&self, listener: TcpListener) -> Program {
        let settings = Settings {
            keys: vec![KEY.into()],
            default_webhook_url: None,
            default_webhook_secret: None,
            webhook_targets: self.setup.targets.clone(),
            cors_origins: Vec::new(),
            approval_required: self.setup.plans.approval.always,
            bounds: self.setup.bounds,
            vault: self.setup.webhooks.vault.clone(),
            environment: "test".to_owned(),
            version: "0.0.0".to_owned(),
        };
        self.program("buildfleet-api", |member| async move {
            let api = Api::new(&member, settings);
            api::serve(listener, api::router(api), member.stop).await.expect("the port is ours");
        })
        .await
    }

    pub async fn start_plan_worker(&self) -> Program {
        let (config, planner) = (self.setup.plans.clone(), Arc::clone(&self.setup.planner));
        self.program("plan-worker", |member| async move {
            tokio::join!(config.serve(&member, planner), sweep::run(Sweep::FLEET, &member));
        })
        .await
    }

    pub async fn start_task_worker(&self) -> Program {
        let (config, runner) = (self.setup.tasks.clone(), Arc::clone(&self.setup.runner));
        self.program("task-worker", |member| async move {
            tokio::join!(config.serve(&member, runner), sweep::run(Sweep::FLEET, &member));
        })
        .await
    }

    pub async fn start_dispatcher(&self) -> Program {
        let config = self.setup.webhooks.clone();
        self.program("webhook-dispatcher", |member| async move {
            config.serve(&member).await.expect("a client can be made");
        })
        .await
    }

    /// Lets a program run as long as the fleet.
    pub fn keep(&self, program: Program) {
        self.programs.lock().unwrap().push(program);
    }

    /// The record as a process has it that belongs to no fleet.
    pub async fn elsewhere(&self) -> Arc<dyn Store> {
        store::open(&self.database).await.expect("the record is there")
    }

    fn record(&self) -> Arc<dyn Store> {
        Arc::<dyn Ageing>::clone(&self.store)
    }

    /// Makes time pass: everything in the record grows older, and whoever waits looks again.
    pub async fn age(&self, by: Duration) {
        self.store.age(by).await;
        sweep::once(Sweep::FLEET, &*self.record()).await.expect("the store answers");
    }

    /// Empties Redis, as `FLUSHALL` does. On memory there is nothing to flush.
    pub fn flush(&self) {
        if let Waker::Redis(server) = &self.waker {
            server.command::<String>(&["FLUSHALL"]);
        }
    }

    /// Waits until `fact` holds; panics with what is in the record if it does not in time.
    pub async fn until(&self, what: &str, mut fact: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !fact().await {
            if deadline < Instant::now() {
                panic!("never so: {what}\n{}", self.picture().await);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// All builds with their tasks, attempts, events and deliveries, and the lanes.
    pub async fn picture(&self) -> String {
        let mut picture = String::new();
        let wanted = BuildsWanted {
            tenant: api::auth::TENANT.to_owned(),
            state: None,
            project_id: None,
            limit: 10,
            after: None,
        };
        let builds = self.store.builds(&wanted).await.map(|page| page.rows).unwrap_or_default();
        for build in builds {
            let (id, state, stop) = (build.id, build.state, &build.stop);
            writeln!(picture, "{id}: {state:?}, {stop:?}").ok();
            for task in self.store.tasks(id).await.unwrap_or_default() {
                writeln!(picture, "  {}: {:?}, {:?}", task.key, task.state, task.failure).ok();
                for attempt in self.store.task_attempts(task.id).await.unwrap_or_default() {
                    writeln!(picture, "    {attempt:?}").ok();
                }
            }
            for event in self.store.events(id, 0, 1000).await.unwrap_or_default() {
                writeln!(picture, "  {} {} {}", event.seq, event.kind.as_str(), event.data).ok();
            }
        }
        let wanted = DeliveriesWanted {
            tenant: api::auth::TENANT.to_owned(),
            build: None,
            state: None,
            limit: 100,
            after: None,
        };
        let told = self.store.deliveries(&wanted).await.map(|page| page.rows).unwrap_or_default();
        for delivery in told {
            writeln!(
                picture,
                "{} of {}: {:?} after {} attempts, {:?}",
                delivery.id, delivery.seq, delivery.state, delivery.attempt, delivery.failure
            )
            .ok();
        }
        writeln!(picture, "lanes: {:?}", self.store.lanes().await).ok();
        picture
    }
}

impl Program {
    fn spawn(stop: CancellationToken, work: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut running = JoinSet::new();
        running.spawn(work);
        Self { stop, running }
    }
}

/// What the API answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers are ASCII"))
    }
}

/// The fleet as a client has it: over HTTP, and in no other way.
impl Fleet {
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.root)).bearer_auth(KEY)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("the API answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the API's answer has an end").to_vec();
        Answer { status, headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(reqwest::Method::GET, path)).await
    }

    pub async fn post(&self, path: &str) -> Answer {
        self.send(self.request(reqwest::Method::POST, path)).await
    }

    /// Posts what must be done, and answers with what is then so.
    pub async fn done(&self, path: &str) -> Value {
        let answer = self.post(path).await;
        assert!(answer.status < 300, "{path}: {answer:?}");
        answer.json()
    }

    /// What there must be at a path.
    pub async fn look(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    pub async fn submit(&self, brief: Value) -> String {
        let request = self.request(reqwest::Method::POST, "/v1/builds").json(&brief);
        let answer = self.send(request).await;
        assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["id"].as_str().expect("a build has an id").to_owned()
    }

    pub async fn build(&self, id: &str) -> Value {
        self.look(&format!("/v1/builds/{id}")).await
    }

    /// Waits until a build is in a state; answers with the build.
    pub async fn until_state(&self, id: &str, state: &str) -> Value {
        let mut build = Value::Null;
        self.until(&format!("{id} is {state}"), async || {
            build = self.build(id).await;
            build["state"] == state
        })
        .await;
        build
    }

    /// A task of a build by its key, with its attempts.
    pub async fn task(&self, build: &str, key: &str) -> Value {
        let tasks = self.look(&format!("/v1/builds/{build}/tasks")).await;
        let tasks = tasks["tasks"].as_array().expect("a list");
        let task = tasks.iter().find(|task| task["key"] == key).expect("a task with this key");
        self.look(&format!("/v1/tasks/{}", task["id"].as_str().expect("an id"))).await
    }

    pub async fn task_state(&self, build: &str, key: &str) -> String {
        self.task(build, key).await["state"].as_str().expect("a word").to_owned()
    }

    /// All events of a build so far.
    pub async fn events(&self, build: &str) -> Vec<Value> {
        let page = self.look(&format!("/v1/builds/{build}/events?limit=1000")).await;
        page["events"].as_array().expect("a list").clone()
    }

    pub async fn kinds(&self, build: &str) -> Vec<String> {
        let events = self.events(build).await;
        events.iter().map(|event| event["type"].as_str().expect("a word").to_owned()).collect()
    }

    /// The data of the first event of a kind.
    pub async fn event(&self, build: &str, kind: &str) -> Value {
        let events = self.events(build).await;
        let event = events.iter().find(|event| event["type"] == kind);
        event.unwrap_or_else(|| panic!("no {kind} in {events:?}"))["data"].clone()
    }

    /// The deliveries of a build, oldest first.
    pub async fn deliveries(&self, build: &str) -> Vec<Value> {
        let page = self.look(&format!("/v1/deliveries?build={build}&limit=100")).await;
        let mut all = page["deliveries"].as_array().expect("a list").clone();
        all.sort_by_key(|delivery| delivery["seq"].as_u64());
        all
    }

    /// Waits until a build is at its end, and everything is told that there is to tell of it.
    pub async fn until_told(&self, build: &str) {
        self.until(&format!("all of {build} is told"), async || {
            let id: BuildId = build.parse().expect("an id");
            let ended = self.store.build(id).await.expect("a build");
            if !ended.state.is_final() {
                return false;
            }
            let told = self.deliveries(build).await;
            let delivered = told.iter().filter(|delivery| delivery["state"] == "delivered");
            delivered.count() as u64 == ended.last_seq
        })
        .await;
    }
}
