//! A build's log: as a page, or as a stream that can be taken up again anywhere.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{KeepAlive, Sse},
    },
};
use buildfleet::domain::id::BuildId;

use crate::{
    Api, Error,
    query::{Id, Query},
    sse,
    wire::event::{Event, Events},
};

const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;
/// Stores count in signed numbers.
const SEQ_MAX: u64 = i64::MAX as u64;
/// Proxies cut what is silent, often after 30 or 60 seconds.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Read a build's events
///
/// A page of JSON; or, with `Accept: text/event-stream`, a stream: first the events after `after`
/// (or
/// `Last-Event-ID`, which goes before), then those to come, each with `id` (its seq), `event` (its type)
/// and `data` (the event as in the page). A comment every 15 seconds keeps the line open. The
/// stream ends after the event that ends the build; taken up again after that, the answer is 204.
#[utoipa::path(
    get, path = "/v1/builds/{id}/events", operation_id = "read_events", tag = "events",
    params(
        ("id" = String, Path, description = "`bld_...`"),
        ("after" = Option<u64>, Query, maximum = 9223372036854775807_i64, description = "Only events after this seq; 0 if absent"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Of a page; 100 if absent"),
        ("Last-Event-ID" = Option<String>, Header, description = "The seq of the last event that was read; goes before `after`", pattern = "^[0-9]{1,18}$"),
    ),
    responses(
        (status = 200, description = "A page, or a stream", content(
            (Events = "application/json"), (String = "text/event-stream"),
        )),
        (status = 204, description = "A stream was taken up after its end"),
        (status = 400, description = "`bad_query`, `bad_last_event_id`, or `beyond_the_log`: a stream cannot be taken up after an event that is not there yet"),
    ),
)]
pub async fn of_build(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let after = query.number("after", 0, SEQ_MAX, 0);
    let limit = query.number("limit", 1, LIMIT_MAX, LIMIT_DEFAULT);
    query.finish()?;
    let after = last_event_id(&headers)?.unwrap_or(after);
    if wants_stream(&headers) {
        return stream(api, id, after).await;
    }

    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let events = api.store.events(id, after, limit).await?;
    let next_after = events.last().map_or(after, |event| event.seq);
    // Read after the events, so that none can come between that this answer says nothing of.
    let build = api.store.build(id).await?;
    let ended = build.state.is_final() && build.last_seq <= next_after;
    let events = events.into_iter().map(Event::from).collect();
    Ok(Json(Events { events, next_after, ended }).into_response())
}

async fn stream(api: Api, id: BuildId, after: u64) -> Result<Response, Error> {
    let build = api.store.build(id).await?;
    if build.state.is_final() && build.last_seq <= after {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if build.last_seq < after {
        return Err(Error::bad_request(
            "beyond_the_log",
            format!("the last event of {id} is {}, not {after}", build.last_seq),
        ));
    }
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_EVERY).text("keep-alive");
    let mut response = Sse::new(sse::frames(api, id, after)).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn wants_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or("");
            essence.eq_ignore_ascii_case("text/event-stream")
                && !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)))
        })
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    value
        .to_str()
        .ok()
        // `parse` alone would take a plus sign; 18 digits fit any store.
        .filter(|text| text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            Error::bad_request(
                "bad_last_event_id",
                "Last-Event-ID must be the id of an event of this stream",
            )
        })
}
