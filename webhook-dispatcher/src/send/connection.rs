//! A connection on which HTTP is spoken, and a request in its words.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, Uri,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header::{HOST, HeaderValue},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;
use url::{Position, Url};

use super::{sent::Version, stream::Stream};

pub(super) type Body = Full<Bytes>;

/// The most that the head of an answer may take, and that is read ahead of a body.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// A connection of HTTP/2 that does not answer a ping for so long is dead.
const PING_EVERY: Duration = Duration::from_secs(20);

pub(super) enum Connection {
    One(Box<One>),
    Two(Two),
}

/// HTTP/1.1: one request at a time, driven by whoever waits for its answer.
pub(super) struct One {
    requests: http1::SendRequest<Body>,
    /// `None` once it has come to its end.
    driver: Option<http1::Connection<TokioIo<Stream>, Body>>,
}

/// HTTP/2: many requests at a time, driven by a task of its own, which ends with the last clone.
#[derive(Clone)]
pub(super) struct Two {
    requests: http2::SendRequest<Body>,
    _driving: Arc<Mutex<JoinSet<()>>>,
}

impl Connection {
    pub(super) async fn open(stream: Stream, version: Version) -> Result<Self, hyper::Error> {
        let io = TokioIo::new(stream);
        match version {
            Version::Http1 => {
                let (requests, driver) =
                    http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(io).await?;
                Ok(Self::One(Box::new(One { requests, driver: Some(driver) })))
            }
            Version::Http2 => {
                let driving = Arc::new(Mutex::new(JoinSet::new()));
                let (requests, driver) = http2::Builder::new(Owned(Arc::downgrade(&driving)))
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(u32::try_from(BUFFER_BYTES_MAX).ok())
                    .initial_connection_window_size(1024 * 1024)
                    .max_header_list_size(64 * 1024)
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PING_EVERY)
                    .handshake(io)
                    .await?;
                lock(&driving).spawn(async move {
                    // Whoever has a request on it hears of its end there.
                    let _ended = driver.await;
                });
                Ok(Self::Two(Two { requests, _driving: driving }))
            }
        }
    }

    pub(super) const fn version(&self) -> Version {
        match self {
            Self::One(_) => Version::Http1,
            Self::Two(_) => Version::Http2,
        }
    }

    /// Writes a POST in the words of the connection's version.
    pub(super) fn request(&self, url: &Url, mut headers: HeaderMap, body: Body) -> Request<Body> {
        let uri = match self {
            Self::One(_) => {
                let authority = &url[Position::BeforeHost..Position::AfterPort];
                if let Ok(host) = HeaderValue::try_from(authority) {
                    headers.insert(HOST, host);
                }
                &url[Position::BeforePath..]
            }
            Self::Two(_) => &url[..],
        };
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        // A URL that was read is written in characters that a URI may have; one that is not is sent
        // to the root, where it would be refused, rather than not at all.
        *request.uri_mut() = uri.parse().unwrap_or(Uri::from_static("/"));
        *request.headers_mut() = headers;
        request
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::One(one) => {
                let answering = one.requests.send_request(request);
                one.along(answering).await
            }
            Self::Two(two) => two.requests.send_request(request).await,
        }
    }

    /// Waits for something that comes over this connection.
    pub(super) async fn along<F: Future>(&mut self, future: F) -> F::Output {
        match self {
            Self::One(one) => one.along(future).await,
            Self::Two(_) => future.await,
        }
    }

    /// Whether another request can be sent over it at once.
    pub(super) fn is_ready(&mut self) -> bool {
        match self {
            Self::One(one) => {
                // Its end may have come since it was looked at last.
                one.drive(&mut Context::from_waker(Waker::noop()));
                one.driver.is_some() && one.requests.is_ready()
            }
            Self::Two(two) => two.requests.is_ready(),
        }
    }
}

impl One {
    async fn along<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            self.drive(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && let Poll::Ready(_ended) = Pin::new(driver).poll(cx)
        {
            self.driver = None;
        }
    }
}

/// Runs what a connection of HTTP/2 starts as long as somebody holds the connection.
#[derive(Clone)]
struct Owned(Weak<Mutex<JoinSet<()>>>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Owned {
    fn execute(&self, future: F) {
        if let Some(owner) = self.0.upgrade() {
            let mut owner = lock(&owner);
            while owner.try_join_next().is_some() {}
            owner.spawn(async move {
                future.await;
            });
        }
    }
}

fn lock(tasks: &Mutex<JoinSet<()>>) -> std::sync::MutexGuard<'_, JoinSet<()>> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner)
}
