//! Reading an answer: its head decides, and of its body no more is read than people look at.

use std::time::Duration;

use buildfleet::domain::answer::{Answer, CONTROL};
use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Response,
    body::{Body as _, Bytes, Incoming},
    header::{CONNECTION, CONTENT_ENCODING, DATE, HeaderName, RETRY_AFTER},
};
use tokio::time::timeout;

use super::{
    connection::Connection,
    pool::{IDLE_MAX, Ready},
    sent::{Sent, Version},
};

/// How much of an answer is kept for people, in bytes.
pub const EXCERPT_BYTES_MAX: usize = 2048;
/// How much of the rest is read to keep the connection: a new one costs more than that.
const REST_BYTES_MAX: usize = 64 * 1024;
/// And how long that may take.
const REST_TIME_LIMIT: Duration = Duration::from_millis(100);
/// Headers of an answer that are kept for people, and the bytes of them.
const HEADERS_MAX: usize = 32;
const HEADER_BYTES_MAX: usize = 4096;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Reads an answer into what is seen of it. Returns how long the connection may be kept, if it can
/// take another request.
pub(super) async fn read(
    ready: &mut Ready,
    head: Response<Incoming>,
    now_ms: i64,
    seen: &mut Sent,
) -> Option<Duration> {
    let (head, mut body) = head.into_parts();
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let answer = Answer {
        status: head.status.as_u16(),
        retry_after: text(RETRY_AFTER),
        date: text(DATE),
        control: text(HeaderName::from_static(CONTROL)),
    };
    seen.status = Some(answer.status);
    seen.headers = kept(&head.headers);
    seen.ruling = answer.rule(now_ms);
    let idle = idle(&head.headers);
    let coding = text(CONTENT_ENCODING).filter(|coding| !coding.eq_ignore_ascii_case("identity"));
    match coding {
        // Decoding is how two kilobytes become two gigabytes.
        Some(coding) => {
            seen.excerpt = Some(format!("({}; not decoded)", excerpt(coding.as_bytes())));
        }
        None => read_excerpt(&mut ready.connection, &mut body, seen).await,
    }
    if idle.is_zero() || !drain(&mut ready.connection, &mut body, seen).await {
        return None;
    }
    // What is shared counts as ready as long as it stands, even while others use it.
    (ready.connection.version() == Version::Http2 || ready.connection.is_ready()).then_some(idle)
}

/// Reads the beginning of a body. One that breaks off has a beginning all the same: the status has
/// decided already.
async fn read_excerpt(connection: &mut Connection, body: &mut Incoming, seen: &mut Sent) {
    let mut bytes = Vec::new();
    while bytes.len() < EXCERPT_BYTES_MAX && !body.is_end_stream() {
        let Some(chunk) = chunk(connection, body).await else { break };
        seen.read_bytes += chunk.len() as u64;
        let room = EXCERPT_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        // Kept as it comes, for the case that the time limit cuts in.
        seen.excerpt = Some(excerpt(&bytes));
    }
}

/// Reads a short rest to its end; false if it is long or slow, or broke off.
async fn drain(connection: &mut Connection, body: &mut Incoming, seen: &mut Sent) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if body.size_hint().lower() > REST_BYTES_MAX as u64 {
        return false;
    }
    let reading = async {
        let mut read = 0;
        while !body.is_end_stream() {
            match connection.along(body.frame()).await {
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    read += length;
                    seen.read_bytes += length as u64;
                }
                Some(Err(_)) => return false,
                None => break,
            }
            if REST_BYTES_MAX < read {
                return false;
            }
        }
        true
    };
    timeout(REST_TIME_LIMIT, reading).await.unwrap_or(false)
}

/// The next bytes of a body; `None` at its end, however it came.
async fn chunk(connection: &mut Connection, body: &mut Incoming) -> Option<Bytes> {
    loop {
        let frame = connection.along(body.frame()).await?.ok()?;
        if let Ok(data) = frame.into_data() {
            return Some(data);
        }
    }
}

/// Bytes as text that every store can keep.
fn excerpt(bytes: &[u8]) -> String {
    // A zero character is text to UTF-8 but not to Postgres.
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut room = HEADER_BYTES_MAX;
    let mut kept = Vec::with_capacity(headers.len().min(HEADERS_MAX));
    for (name, value) in headers.iter().take(HEADERS_MAX) {
        let bytes = name.as_str().len() + value.len();
        if room < bytes {
            break;
        }
        room -= bytes;
        kept.push((name.as_str().to_owned(), excerpt(value.as_bytes())));
    }
    kept
}

/// How long the receiver lets the connection wait: what it says in `Keep-Alive: timeout=5`, less a
/// second, so that it is not closed just as the next request goes out.
fn idle(headers: &HeaderMap) -> Duration {
    let words = |name| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(str::trim)
    };
    if words(CONNECTION).any(|word| word.eq_ignore_ascii_case("close")) {
        return Duration::ZERO;
    }
    let said = words(KEEP_ALIVE).find_map(|word| {
        let (name, secs) = word.split_once('=')?;
        if name.eq_ignore_ascii_case("timeout") { secs.parse().ok() } else { None }
    });
    match said {
        Some(secs) => Duration::from_secs(secs).saturating_sub(Duration::from_secs(1)),
        None => IDLE_MAX,
    }
}
