//! What one attempt came to: what it means, what was seen, and where the time went.

use std::{net::SocketAddr, time::Duration};

use buildfleet::domain::{
    answer::Ruling,
    exchange::{Asked, Exchange},
};

use crate::request::Signed;

/// Where the time of an attempt went. A step that was not taken took no time: a pooled connection
/// needs no name, no dial and no TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Finding the addresses of the name.
    pub dns: Option<Duration>,
    /// Dialling, until TCP stands.
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    /// From the request's first byte out to the head of the answer.
    pub first_byte: Option<Duration>,
    /// Everything.
    pub total: Duration,
}

/// Which HTTP was spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

impl Version {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// One attempt, from the name to as much of the answer as is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    pub ruling: Ruling,
    /// The receiver's HTTP status, if it answered.
    pub status: Option<u16>,
    /// The answer's headers as text, those that came first.
    pub headers: Vec<(String, String)>,
    /// The beginning of the answer's body, as text.
    pub excerpt: Option<String>,
    /// Bytes of the answer's body that were read.
    pub read_bytes: u64,
    /// The address that was reached.
    pub peer: Option<SocketAddr>,
    pub version: Option<Version>,
    /// Whether the connection had served before.
    pub reused: bool,
    pub timings: Timings,
}

impl Sent {
    /// All that was seen of it, for the log of attempts.
    pub fn exchange(&self, request: &Signed) -> Exchange {
        let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1000.0);
        Exchange {
            address: self.peer.map(|peer| peer.to_string()),
            version: self.version.map(|version| version.as_str().to_owned()),
            reused: self.reused,
            resolved_ms: ms(self.timings.dns),
            connected_ms: ms(self.timings.connect),
            secured_ms: ms(self.timings.tls),
            first_byte_ms: ms(self.timings.first_byte),
            request_headers: request.headers_to_show(),
            body_sha256: Some(request.body_sha256()),
            answer_headers: self.headers.clone(),
            answer_bytes: self.status.map(|_| self.read_bytes),
        }
    }

    /// What the receiver asked of us, whatever it thought of the request.
    pub fn asked(&self) -> Asked {
        let disable = self.ruling.disable.then(|| match self.status {
            Some(410) => "it answered 410".to_owned(),
            _ => "it answered with webhook-delivery: disable".to_owned(),
        });
        Asked { retry_after: self.ruling.pause, slow_down: self.ruling.throttle, disable }
    }
}
