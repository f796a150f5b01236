//! What surrounds every answer: the id of the request, the form of errors, the headers that keep a
//! browser careful, and the limit on how long it may take.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use crate::{Api, Error, body::BODY_BYTES_MAX};

/// How long a request may take until its answer begins; streams and archives may go on after that.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const REQUEST_ID_CHARS_MAX: usize = 128;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The page of `/docs` needs its own scripts and styles, some of them inline, and nothing from
/// elsewhere.
const CONTENT_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; \
     style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'self'; \
     frame-ancestors 'none'";

/// Set unless a route has set its own (S3-34).
const CAREFUL: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_XSS_PROTECTION, "1; mode=block"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Gives a request its id, and its answer the common form.
pub async fn around(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", request.id = %id);
    let began = Instant::now();

    let mut response = next.run(request).instrument(span.clone()).await;

    let status = response.status();
    let told = response.extensions_mut().remove::<Error>();
    // Whatever refuses a request without a word of its own (a router, an extractor) is given ours.
    let silent = (status.is_client_error() || status.is_server_error()) && told.is_none();
    if let Some(error) = told.or_else(|| silent.then(|| Error::of_status(status, &method, &path))) {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(error.body(&id).to_string());
    }

    let headers = response.headers_mut();
    for (name, value) in CAREFUL {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        tracing::debug!(
            http.method = %method,
            http.path = path,
            http.status = status.as_u16(),
            http.took_ms = took_ms,
            "a request was answered"
        );
    });
    response
}

/// How much of bodies may be held at once. Read as JSON, a body takes fifty times its size if it
/// was made to do so.
const ROOM_BYTES: usize = 32 * 1024 * 1024;
/// Of a body of unknown length it is not known how soon it ends.
const RETRY_SECS_ROOM: u16 = 1;

/// What is left of it, in KiB.
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_BYTES / 1024)))
    }
}

impl Room {
    /// Room for a body, until it is dropped.
    fn take(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Error> {
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let chunked = headers.contains_key(header::TRANSFER_ENCODING);
        let bytes = announced.unwrap_or(if chunked { BODY_BYTES_MAX } else { 0 });
        // A larger one is refused without being read.
        let kibibytes = bytes.min(BODY_BYTES_MAX).div_ceil(1024) as u32;
        Arc::clone(&self.0).try_acquire_many_owned(kibibytes).map_err(|_| {
            Error::overloaded("too many requests with large bodies are under way", RETRY_SECS_ROOM)
                .with_detail(json!({ "bound": "bodies", "retry_after_secs": RETRY_SECS_ROOM }))
        })
    }
}

/// Lets a request in if there is room for its body; the room is its until it is answered.
pub async fn with_room(State(api): State<Api>, request: Request, next: Next) -> Response {
    match api.room.take(request.headers()) {
        Ok(_room) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Answers 503 if the answer does not begin in time.
pub async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::timed_out().into_response(),
    }
}

/// Turns a panic into an answer.
pub fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no words");
    tracing::error!(panic = words, "a request panicked");
    Error::internal().into_response()
}

/// The id that the client gave, if it can be logged and echoed safely; else a drawn one.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| (1..=REQUEST_ID_CHARS_MAX).contains(&id.len()))
        .filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)))
        .map_or_else(|| format!("req_{}", hex::encode(rand::random::<[u8; 12]>())), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(bytes: usize) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(bytes))])
    }

    #[test]
    fn bodies_are_let_in_until_there_is_no_room_and_again_when_there_is() {
        let room = Room::default();
        let mut held: Vec<_> = (0..ROOM_BYTES / BODY_BYTES_MAX)
            .map(|_| room.take(&sized(BODY_BYTES_MAX)).unwrap())
            .collect();

        let refused = room.take(&sized(1)).unwrap_err();
        let without_a_body = room.take(&HeaderMap::new());
        held.pop();
        let chunked = HeaderMap::from_iter([(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        )]);

        assert_eq!(refused.code, "overloaded");
        assert_eq!(refused.retry_after.map(u16::from), Some(RETRY_SECS_ROOM));
        assert!(without_a_body.is_ok());
        let last = room.take(&chunked).unwrap();
        assert!(room.take(&sized(1)).is_err());
        drop(last);
        assert!(room.take(&sized(usize::MAX)).is_ok());
    }
}
