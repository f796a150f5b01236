//! What a client is told when it does not get what it asked for.
//!
//! Every error is a status, a stable code for programs and a clause for people. The body is written
//! by `frame`, which alone knows the id of the request. What lies behind an error is logged here
//! and never sent.

use std::num::NonZeroU16;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use buildfleet::{
    domain::{brief::Fault, sealing::Unopened},
    queue, store,
};
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub status: StatusCode,
    /// Stable, in snake case.
    pub code: &'static str,
    pub message: String,
    pub detail: Option<Value>,
    /// In seconds, where it is worth trying again.
    pub retry_after: Option<NonZeroU16>,
}

/// Nobody mends more faults at once, and a body may have a hundred thousand.
const FAULTS_MAX: usize = 100;

impl Error {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), detail: None, retry_after: None }
    }

    #[must_use]
    pub fn with_detail(self, detail: Value) -> Self {
        Self { detail: Some(detail), ..self }
    }

    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// All fields of a body that are not as they should be.
    pub fn invalid(faults: &[Fault]) -> Self {
        let told = match faults {
            [_] => "a field is not as it should be".to_owned(),
            faults => format!("{} fields are not as they should be", faults.len()),
        };
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request",
            format!("{told}; see detail.fields"),
        )
        .with_detail(fields(faults))
    }

    /// All parameters of a query that are not as they should be.
    pub fn bad_query(faults: &[Fault]) -> Self {
        Self::bad_request("bad_query", "the query is not as it should be; see detail.fields")
            .with_detail(fields(faults))
    }

    /// There is too much to do already; what was accepted is done first.
    pub fn overloaded(message: impl Into<String>, retry_after: u16) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message);
        Self { retry_after: NonZeroU16::new(retry_after), ..error }
    }

    pub fn timed_out() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timed_out",
            "the answer took too long; try again",
        )
    }

    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong here; the request id finds it in the logs",
        )
    }

    /// The words for a status that was answered without any.
    pub fn of_status(status: StatusCode, method: &axum::http::Method, path: &str) -> Self {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => ("not_found", format!("there is nothing at {path}")),
            StatusCode::METHOD_NOT_ALLOWED => (
                "method_not_allowed",
                format!("{path} does not take {method}; see the Allow header"),
            ),
            StatusCode::BAD_REQUEST => ("bad_request", "the request could not be read".to_owned()),
            StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the request is too large".to_owned()),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ("unsupported_media_type", "the body must be application/json".to_owned())
            }
            _ if status.is_client_error() => ("bad_request", "the request was refused".to_owned()),
            _ => return Self { status, ..Self::internal() },
        };
        Self::new(status, code, message)
    }

    /// The body that a client sees.
    pub fn body(&self, request_id: &str) -> Value {
        json!({
            "error": {
                "code": self.code,
                "message": self.message,
                "detail": self.detail,
                "request_id": request_id,
            }
        })
    }
}

fn fields(faults: &[Fault]) -> Value {
    json!({ "fields": &faults[..faults.len().min(FAULTS_MAX)] })
}

impl From<Unopened> for Error {
    fn from(unopened: Unopened) -> Self {
        tracing::error!(error = %unopened, "a secret that is kept does not open");
        Error::internal()
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotFound { .. } => Error::not_found(error.to_string()),
            store::Error::Conflict { code, reason } => Error::conflict(code, reason),
            // No verb of the API holds a lease, so nobody can take one from it.
            store::Error::Fenced => {
                tracing::error!("the store spoke of a lease to the API");
                Error::internal()
            }
            store::Error::Unavailable { source } => {
                tracing::error!(
                    error = &*source as &dyn std::error::Error,
                    "the store did not answer"
                );
                Error::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store_unavailable",
                    "the record cannot be reached; try again",
                )
            }
        }
    }
}

impl From<queue::Error> for Error {
    fn from(error: queue::Error) -> Self {
        tracing::error!(
            error = &*error.source as &dyn std::error::Error,
            "the queue did not answer"
        );
        Error::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "queue_unavailable",
            "the queue cannot be reached; try again",
        )
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if let Some(secs) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs.get()));
        }
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static("Bearer realm=\"buildfleet\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}
