//! The API, as the commands use it.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use url::Url;

use crate::{address::Address, exit::Error};

/// A client of one API. JSON in, JSON out.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    address: Address,
}

/// One event of a build's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub seq: u64,
    pub kind: String,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub data: Value,
}

impl Client {
    pub fn new(address: Address) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("buildfleet/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::here("preparing the HTTP client", error))?;
        Ok(Self { http, address })
    }

    pub fn url(&self) -> &Url {
        &self.address.url
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let url =
            self.address.url.join(path).map_err(|error| {
                Error::Usage(format!("{path:?} is no path of the API: {error}"))
            })?;
        let mut request = self.http.request(method, url);
        if let Some(key) = &self.address.api_key {
            request = request.bearer_auth(key);
        }
        Ok(request)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refused(response).await)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let innermost =
            std::iter::successors(std::error::Error::source(error), |cause| cause.source())
                .last()
                .map_or_else(|| error.to_string(), ToString::to_string);
        Error::Unreachable { url: self.address.url.to_string(), reason: innermost }
    }

    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        let request = self.request(Method::GET, path)?.timeout(Duration::from_secs(60));
        self.json(request).await
    }

    pub async fn get_with(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Error> {
        let mut path = path.to_owned();
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(query);
        let pairs = pairs.finish();
        if !pairs.is_empty() {
            path = format!("{path}?{pairs}");
        }
        self.get(&path).await
    }

    pub async fn post(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&'static str, &str)],
    ) -> Result<Value, Error> {
        self.json(self.asked(Method::POST, path, headers)?.json(body)).await
    }

    pub async fn put(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&'static str, &str)],
    ) -> Result<Value, Error> {
        self.json(self.asked(Method::PUT, path, headers)?.json(body)).await
    }

    pub async fn delete(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<(), Error> {
        self.send(self.asked(Method::DELETE, path, headers)?).await.map(drop)
    }

    fn asked(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<RequestBuilder, Error> {
        let mut request = self.request(method, path)?.timeout(Duration::from_secs(60));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request)
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, Error> {
        let response = self.send(request).await?;
        response.json().await.map_err(|error| self.unreachable(&error))
    }

    /// The zip of a build.
    pub async fn archive(&self, build: &str) -> Result<Vec<u8>, Error> {
        let request = self.request(Method::GET, &format!("/v1/builds/{build}/archive"))?;
        let response = self.send(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok(bytes.to_vec())
    }

    /// Calls `heard` with every event after `after`, until the build has ended or `heard` says so
    /// by answering false. A stream that breaks off is taken up again where it broke, for a minute.
    pub async fn follow(
        &self,
        build: &str,
        mut after: u64,
        mut heard: impl FnMut(Event) -> bool,
    ) -> Result<(), Error> {
        let mut failures = 0;
        loop {
            let before = after;
            match self.stream(build, &mut after, &mut heard).await {
                Ok(true) => return Ok(()),
                Ok(false) => failures = 0,
                // A stream that told something before it broke was no failure in a row.
                Err(error) if is_passing(&error) && before < after => failures = 1,
                Err(error) if is_passing(&error) && failures < 30 => failures += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(Duration::from_millis(if failures == 0 { 50 } else { 2000 })).await;
        }
    }

    /// Reads one stream; true if the build has ended, false if the stream has.
    async fn stream(
        &self,
        build: &str,
        after: &mut u64,
        heard: &mut impl FnMut(Event) -> bool,
    ) -> Result<bool, Error> {
        let request = self
            .request(Method::GET, &format!("/v1/builds/{build}/events"))?
            .header("accept", "text/event-stream")
            .header("last-event-id", after.to_string());
        let response = self.send(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(true);
        }
        let mut bytes = response.bytes_stream();
        let mut frames = Frames::default();
        let mut ended = false;
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|error| self.unreachable(&error))?;
            for event in frames.push(&chunk) {
                *after = event.seq;
                // A build that was retried goes on after its end; the API knows which end is the
                // last.
                ended =
                    matches!(&*event.kind, "build_completed" | "build_failed" | "build_cancelled");
                if !heard(event) {
                    return Ok(true);
                }
            }
        }
        Ok(ended)
    }
}

/// Whether what kept a stream from going on may be over in a moment: nobody there, or one who says
/// that its own store, or the API behind it, does not answer now.
const fn is_passing(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. } | Error::Refused { status: 429 | 502 | 503 | 504, .. }
    )
}

async fn refused(response: Response) -> Error {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap_or_default();
    let error = &body["error"];
    let code = error["code"].as_str().unwrap_or("unknown").to_owned();
    let mut message = error["message"]
        .as_str()
        .map_or_else(|| format!("the API answered {status}"), ToOwned::to_owned);
    let faults = error["detail"]["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !faults.is_empty() {
        message = "the request is not as it should be:".to_owned();
    }
    for fault in faults {
        let part = |name: &str| fault[name].as_str().unwrap_or_default().to_owned();
        message += &format!("\n  {}: {}", part("field"), part("message"));
    }
    if status == 401 {
        message += "\n  BUILDFLEET_API_KEY or --api-key gives the key";
    }
    Error::Refused { status, code, message }
}

/// Cuts a stream of server-sent events into events (WHATWG HTML, section 9.2).
#[derive(Debug, Default)]
struct Frames {
    pending: Vec<u8>,
}

impl Frames {
    fn push(&mut self, chunk: &[u8]) -> Vec<Event> {
        self.pending.extend_from_slice(chunk);
        let mut events = Vec::new();
        while let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
            let frame: Vec<u8> = self.pending.drain(..end + 2).collect();
            events.extend(event(&String::from_utf8_lossy(&frame)));
        }
        events
    }
}

fn event(frame: &str) -> Option<Event> {
    let data: String =
        frame.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
    let value: Value = serde_json::from_str(&data).ok()?;
    Event::read(&value)
}

impl Event {
    /// An event from its JSON.
    pub fn read(value: &Value) -> Option<Self> {
        Some(Self {
            seq: value["seq"].as_u64()?,
            kind: value["type"].as_str()?.to_owned(),
            timestamp: value["timestamp"].as_i64()?,
            data: value["data"].clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use axum::{
        Router,
        http::{HeaderMap, header::CONTENT_TYPE},
        response::IntoResponse as _,
        routing,
    };
    use serde_json::json;

    use super::*;

    /// An API that tells one event, answers 503 once, and then tells the rest, in which the build
    /// ends, is retried, and ends again.
    async fn tell(calls: u32, headers: &HeaderMap) -> axum::response::Response {
        let after = headers["last-event-id"].to_str().unwrap();
        let told = |events: &[(u32, &str)]| {
            let data = |(seq, kind): &(u32, &str)| {
                let event = json!({ "seq": seq, "type": kind, "timestamp": 1, "data": {} });
                format!("id: {seq}\ndata: {event}\n\n")
            };
            let frames: String = events.iter().map(data).collect();
            ([(CONTENT_TYPE, "text/event-stream")], frames).into_response()
        };
        match (calls, after) {
            (0, "0") => told(&[(1, "build_started")]),
            (1, _) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            (_, "1") => told(&[(2, "build_failed"), (3, "build_retried"), (4, "build_completed")]),
            _ => StatusCode::BAD_REQUEST.into_response(),
        }
    }

    #[tokio::test]
    async fn following_outlasts_a_store_that_is_away_and_an_end_that_was_not_the_last() {
        let _in_place = rustls::crypto::ring::default_provider().install_default();
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let events = routing::get(async move |headers: HeaderMap| {
            tell(counted.fetch_add(1, Ordering::Relaxed), &headers).await
        });
        let router = Router::new().route("/v1/builds/{id}/events", events);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let client = Client::new(Address { url, api_key: None }).unwrap();
        let mut seqs = Vec::new();

        let followed = client.follow("bld_1", 0, |event| {
            seqs.push(event.seq);
            true
        });
        tokio::select! {
            served = axum::serve(listener, router) => served.unwrap(),
            followed = followed => followed.unwrap(),
        }

        assert_eq!(seqs, [1, 2, 3, 4]);
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn events_are_read_however_the_stream_is_cut() {
        let stream = ": keep-alive\n\nid: 1\nevent: a\ndata: {\"seq\":1,\"type\":\"a\",\"timestamp\":5,\
                      \"data\":{\"x\":\"ü\"}}\n\nid: 2\nevent: b\ndata: {\"seq\":2,\"type\":\"b\",\
                      \"timestamp\":6,\"data\":{}}\n\n";
        for size in 1..40 {
            let mut frames = Frames::default();
            let events: Vec<_> =
                stream.as_bytes().chunks(size).flat_map(|chunk| frames.push(chunk)).collect();

            let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
            assert_eq!(seqs, [1, 2], "in chunks of {size}");
            assert_eq!(events[0].data["x"], "ü");
        }
    }
}
