//! What was seen of one request to an endpoint, for the log of attempts and for what follows.
//!
//! The sender fills it in; the record keeps it as it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One request and its answer. What was not seen, because it broke off before, is not given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Address and port that the connection went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `HTTP/1.1` or `HTTP/2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether the connection was there already: then nothing was looked up, dialled or shaken.
    #[serde(default)]
    pub reused: bool,
    /// All in milliseconds, each from the end of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secured_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// Secrets are masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<(String, String)>,
    /// SHA-256 of the body that was sent, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answer_headers: Vec<(String, String)>,
    /// How much of the answer's body was read, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_bytes: Option<u64>,
}

/// What a receiver asked for with its answer, whatever it thought of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Nothing shall be sent to the endpoint for so long.
    pub retry_after: Option<Duration>,
    /// There is too much (429, 502, 504).
    pub slow_down: bool,
    /// Nothing shall be sent to the endpoint any more, and how it said so (410, or the header
    /// `webhook-delivery: disable`). That no further attempt be made at this delivery is a
    /// permanent failure.
    pub disable: Option<String>,
}
