//! Whether a process lives, and whether it is of use now; and a listener that says so to those who
//! watch processes, for programs that speak no HTTP otherwise.

use std::{convert::Infallible, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Method, Request, Response, StatusCode, body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{member::Member, pulse::STALLED_AFTER};

/// Probes give up after a few seconds; they are to hear from us who was silent.
const PING_WITHIN: Duration = Duration::from_secs(2);
/// Nobody has so many probes; more wait in the system's own queue.
const CONNECTIONS_MAX: usize = 32;
/// For the head of a request to arrive, and for a connection to lie idle.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a process says of itself.
#[derive(Clone)]
pub struct Health {
    member: Member,
    stalled_after: Duration,
}

/// Whether all that a process leans on answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    pub store: bool,
    pub queue: bool,
    pub stopping: bool,
}

impl Readiness {
    pub const fn is_ready(self) -> bool {
        self.store && self.queue && !self.stopping
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.store, self.queue) {
            (false, false) => f.write_str("the store and the queue did not answer"),
            (false, true) => f.write_str("the store did not answer"),
            (true, false) => f.write_str("the queue did not answer"),
            (true, true) if self.stopping => f.write_str("this process is stopping"),
            (true, true) => f.write_str("ok"),
        }
    }
}

impl Health {
    pub fn of(member: &Member) -> Self {
        Self { member: member.clone(), stalled_after: STALLED_AFTER }
    }

    /// The same with less patience, or more.
    #[must_use]
    pub fn stalled_after(self, stalled_after: Duration) -> Self {
        Self { stalled_after, ..self }
    }

    /// What of this process stands still; none if it lives.
    pub fn stalled(&self) -> Vec<String> {
        self.member.pulse.stalled(self.stalled_after)
    }

    pub async fn readiness(&self) -> Readiness {
        let (store, queue) =
            tokio::join!(answers(self.member.store.ping()), answers(self.member.queue.ping()));
        Readiness { store, queue, stopping: self.member.stop.is_cancelled() }
    }

    /// Serves `GET /livez` and `GET /readyz`, also called `/health/live` and `/health/ready`, for
    /// ever: until the process ends, somebody wants to know how it is.
    pub async fn serve(self, listener: TcpListener) {
        let health = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            while CONNECTIONS_MAX <= connections.len() {
                connections.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, _)) => {
                    connections.spawn(connection(Arc::clone(&health), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "a probe could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }

    async fn answer(&self, method: &Method, path: &str) -> (StatusCode, String) {
        if ![Method::GET, Method::HEAD].contains(method) {
            return (StatusCode::METHOD_NOT_ALLOWED, "only GET".to_owned());
        }
        match path {
            "/livez" | "/health/live" => match self.stalled().as_slice() {
                [] => (StatusCode::OK, "ok".to_owned()),
                still => {
                    (StatusCode::SERVICE_UNAVAILABLE, format!("stands still: {}", still.join(", ")))
                }
            },
            "/readyz" | "/health/ready" => {
                let readiness = self.readiness().await;
                let status = if readiness.is_ready() {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                (status, readiness.to_string())
            }
            _ => (StatusCode::NOT_FOUND, "only /livez and /readyz".to_owned()),
        }
    }
}

/// Takes an address for `Health::serve`.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn connection(health: Arc<Health>, stream: TcpStream) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let health = Arc::clone(&health);
        async move {
            let (status, text) = health.answer(request.method(), request.uri().path()).await;
            let mut response = Response::new(format!("{text}\n"));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a probe broke off");
    }
}

async fn answers<T, E>(ping: impl Future<Output = Result<T, E>>) -> bool {
    matches!(tokio::time::timeout(PING_WITHIN, ping).await, Ok(Ok(_)))
}
