//! Receivers by path: each answers as it is told to, and all that came in is kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use tokio::{net::TcpListener, task::JoinSet};

use crate::storm::clock;

/// Longer than any dispatcher waits.
const NEVER: Duration = Duration::from_secs(3600);

/// One request that came in whole.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub path: String,
    /// The header `webhook-id`.
    pub event: String,
    /// Microseconds since 1970.
    pub at: i64,
    pub answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    Hang,
}

/// What a receiver looks at before it answers.
pub struct Letter<'a> {
    pub event: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    /// How often it came before.
    pub times: usize,
}

type Manner = dyn Fn(&Letter<'_>) -> Answer + Send + Sync;

#[derive(Default)]
struct Shared {
    manners: Mutex<HashMap<String, Arc<Manner>>>,
    arrivals: Mutex<Arrivals>,
}

#[derive(Default)]
struct Arrivals {
    all: Vec<Arrival>,
    times: HashMap<(String, String), usize>,
}

pub struct Inbox {
    port: u16,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

impl Inbox {
    /// Listens on a port of this machine, until dropped.
    pub async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the inbox is shut: {error}");
            }
        });
        Ok(Self { port, shared, _serving: serving })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Requests to a path are treated like this from now on; those to others are answered with 204.
    pub fn behave(
        &self,
        path: &str,
        manner: impl Fn(&Letter<'_>) -> Answer + Send + Sync + 'static,
    ) {
        self.shared.manners.lock().unwrap().insert(path.to_owned(), Arc::new(manner));
    }

    /// All that came in, oldest first.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap().all.clone()
    }

    pub fn count(&self) -> usize {
        self.shared.arrivals.lock().unwrap().all.len()
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let at = clock::micros();
    let path = uri.path().to_owned();
    let event = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or("").to_owned();
    let manner = shared.manners.lock().unwrap().get(&path).map(Arc::clone);
    let answer = {
        let mut arrivals = shared.arrivals.lock().unwrap();
        let times = arrivals.times.entry((path.clone(), event.clone())).or_default();
        let letter = Letter { event: &event, headers: &headers, body: &body, times: *times };
        *times += 1;
        let answer = manner.map_or(Answer::Status(204), |manner| manner(&letter));
        arrivals.all.push(Arrival { path, event, at, answer });
        answer
    };
    match answer {
        Answer::Status(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
        Answer::Hang => {
            tokio::time::sleep(NEVER).await;
            StatusCode::OK
        }
    }
}
