//! An API with a store of its own, words to call it, and a hand that does the workers' part.

use std::{collections::HashMap, sync::Arc, time::Duration};

use api::{Api, Settings, Targets};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
    response::Response,
};
use buildfleet::{
    config::{Env, Reader},
    domain::{
        attempt::{Failure, Outcome, Output, OutputFile},
        id::{BuildId, DeliveryId, TaskId},
        plan::Draft,
        retry::{Jitter, Policy},
    },
    draw,
    job::Job,
    member::Member,
    queue::{Queue, memory::Memory},
    store::{
        Adoption, Ask, BuildClaim, DeliveryClaim, TaskClaim, conformance::Ageing, sqlite::Sqlite,
    },
    vault::Vault,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const KEY: &str = "key-of-the-tests";
const LEASE: Duration = Duration::from_secs(60);

pub struct Scene {
    pub router: Router,
    pub store: Arc<dyn Ageing>,
    pub stop: CancellationToken,
    _folder: TempDir,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

pub fn settings() -> Settings {
    Settings {
        keys: vec![KEY.into(), "another-key".into()],
        default_webhook_url: None,
        default_webhook_secret: None,
        webhook_targets: Targets::default(),
        cors_origins: Vec::new(),
        approval_required: false,
        bounds: api::pressure::Bounds::default(),
        vault: Vault::default(),
        environment: "test".to_owned(),
        version: "1.2.3".to_owned(),
    }
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(settings(), Arc::new(Memory::new())).await
    }

    /// One whose operator has given a master key.
    pub async fn sealing() -> Self {
        let key = "a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let env = Env::of([("BUILDFLEET_MASTER_KEYS", key)]);
        let mut reader = Reader::new(&env);
        let vault = Vault::read(&mut reader);
        let settings = Settings { vault: reader.finish(vault).unwrap(), ..settings() };
        Self::with(settings, Arc::new(Memory::new())).await
    }

    /// The secrets of all endpoints, as they are in the record.
    pub async fn secrets_at_rest(&self) -> Vec<String> {
        let kept = self.store.kept_secrets(None, 100).await.unwrap();
        let secrets = kept.iter().flat_map(|of| &of.secrets);
        secrets.map(|secret| secret.expose_secret().to_owned()).collect()
    }

    pub async fn with(settings: Settings, queue: Arc<dyn Queue>) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite:{}", folder.path().join("record.db").display());
        let store: Arc<dyn Ageing> = Arc::new(Sqlite::open(&url).await.unwrap());
        let stop = CancellationToken::new();
        let (member, _waker) = Member::new(store.clone(), queue, "buildfleet-api", stop.clone());
        Self { router: api::router(Api::new(&member, settings)), store, stop, _folder: folder }
    }

    /// Calls as it stands, without a key.
    pub async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn call(&self, request: Request<Body>) -> Answer {
        Answer::of(self.send(request).await).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.call(request(Method::GET, path, headers, Body::empty())).await
    }

    pub async fn post(&self, path: &str) -> Answer {
        self.call(request(Method::POST, path, &[], Body::empty())).await
    }

    pub async fn post_json(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.call(request(Method::POST, path, &headers, Body::from(body.to_owned()))).await
    }

    pub async fn put_json(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.call(request(Method::PUT, path, &headers, Body::from(body.to_string()))).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.call(request(Method::POST, path, headers, Body::empty())).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(request(Method::DELETE, path, &[], Body::empty())).await
    }

    pub async fn submit(&self, brief: Value) -> Answer {
        self.post_json("/v1/builds", &[], &brief.to_string()).await
    }

    /// A build that waits for its planner.
    pub async fn submitted(&self) -> BuildId {
        self.submitted_as(json!({"prompt": "a to-do list"})).await
    }

    pub async fn submitted_as(&self, brief: Value) -> BuildId {
        let answer = self.submit(brief).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().parse().unwrap()
    }

    /// A build that runs a plan such as `fetch -> build`; each task writes `<key>.txt`.
    pub async fn executing(&self, graph: &str) -> BuildId {
        let build = self.submitted().await;
        self.plan(build, graph, Adoption::AtOnce { plan: draw::id() }).await;
        build
    }

    pub async fn plan(&self, build: BuildId, graph: &str, adoption: Adoption) {
        self.plan_draft(build, Draft::of(graph), adoption).await;
    }

    pub async fn plan_draft(&self, build: BuildId, draft: Draft, adoption: Adoption) {
        let claim = self.claim_build(build).await;
        self.store.adopt_plan(&claim, &draft.into_plan().unwrap(), adoption).await.unwrap();
    }

    async fn claim_build(&self, build: BuildId) -> BuildClaim {
        self.store.prefer(Job::Plan(build)).await;
        self.store.claim_builds(&one()).await.unwrap().remove(0)
    }

    async fn claim_task(&self, task: TaskId) -> TaskClaim {
        self.store.prefer(Job::Task(task)).await;
        self.store.claim_tasks(&one()).await.unwrap().remove(0)
    }

    pub async fn claim_delivery(&self, delivery: DeliveryId) -> DeliveryClaim {
        self.store.prefer(Job::Delivery(delivery)).await;
        self.store.claim_deliveries(&one()).await.unwrap().remove(0)
    }

    pub async fn task(&self, build: BuildId, key: &str) -> TaskId {
        let tasks = self.store.tasks(build).await.unwrap();
        tasks.into_iter().find(|task| task.key == key).unwrap().id
    }

    pub async fn succeed(&self, build: BuildId, key: &str, files: &[(&str, &str)]) {
        let files = files
            .iter()
            .map(|(path, content)| OutputFile {
                path: (*path).to_owned(),
                content: (*content).to_owned(),
            })
            .collect();
        self.settle(build, key, Outcome::Succeeded(Output { files, ..Output::default() })).await;
    }

    pub async fn fail(&self, build: BuildId, key: &str) {
        let failure = Failure::permanent("no_template", "there is no template for this");
        self.settle(build, key, Outcome::Failed(failure)).await;
    }

    async fn settle(&self, build: BuildId, key: &str, outcome: Outcome) {
        let task = self.task(build, key).await;
        let claim = self.claim_task(task).await;
        let settled =
            self.store.settle_task(claim.fence(), outcome, &Policy::WORK, Jitter::NONE).await;
        settled.unwrap();
    }
}

/// What a holder asks for that wants one thing.
fn one() -> Ask {
    Ask { holder: draw::id(), lease: LEASE, room: 1, slots: 1 }
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Self { status: parts.status, headers: parts.headers, body }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or("").to_owned()
    }

    /// The fields that an error names, with their messages.
    pub fn faults(&self) -> HashMap<String, String> {
        let fields = &self.json()["error"]["detail"]["fields"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        fields
            .as_array()
            .unwrap_or_else(|| panic!("{}", self.text()))
            .iter()
            .map(|fault| (text(&fault["field"]), text(&fault["message"])))
            .collect()
    }
}

pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "authorization") {
        request = request.header("authorization", format!("Bearer {KEY}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}
