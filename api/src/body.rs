//! Reading bodies: how large, of which type, how slowly; and where JSON breaks off.
//!
//! What the JSON means is read in `wire`.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::Error;

pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// A mebibyte over a slow line; whoever takes longer holds a connection for nothing.
const BODY_WITHIN: Duration = Duration::from_secs(15);

/// A body of JSON.
pub struct Json(pub Value);

/// A body of JSON, or none at all.
pub struct MaybeJson(pub Option<Value>);

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        expect_json(&parts.headers)?;
        parse(&read(&parts.headers, body).await?).map(Json)
    }
}

impl<S: Send + Sync> FromRequest<S> for MaybeJson {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body).await?;
        if bytes.is_empty() {
            return Ok(MaybeJson(None));
        }
        expect_json(&parts.headers)?;
        parse(&bytes).map(|value| MaybeJson(Some(value)))
    }
}

fn expect_json(headers: &HeaderMap) -> Result<(), Error> {
    let given =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let given = if given.is_empty() { "nothing".to_owned() } else { format!("{given:?}") };
    Err(Error::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("Content-Type must be application/json, not {given}"),
    ))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Error> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    if announced.is_some_and(|bytes| BODY_BYTES_MAX < bytes) {
        return Err(too_large());
    }
    tokio::time::timeout(BODY_WITHIN, gather(body)).await.unwrap_or_else(|_| {
        Err(Error::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_too_slow",
            format!("the body did not arrive within {} seconds", BODY_WITHIN.as_secs()),
        ))
    })
}

async fn gather(body: Body) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk
            .map_err(|_| Error::bad_request("body_cut", "the body broke off before its end"))?;
        if BODY_BYTES_MAX < bytes.len() + chunk.len() {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large() -> Error {
    Error::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!("the body must have at most {BODY_BYTES_MAX} bytes"),
    )
}

fn parse(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::bad_request("malformed_json", format!("the body is not JSON: {error}"))
            .with_detail(json!({ "line": error.line(), "column": error.column() }))
    })
}
