//! What one attempt at a delivery came to, as data: for the log of attempts, and for whoever asks
//! why it took so long.

use std::{net::SocketAddr, time::Duration};

use super::answer::Ruling;

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
    /// Everything, queueing for a connection included.
    pub total: Duration,
}

/// Which HTTP was spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

super::words!(Version { Http1 = "HTTP/1.1", Http2 = "HTTP/2" });

/// One attempt, from the dial to as much of the answer as is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exchange {
    pub ruling: Ruling,
    /// The receiver's HTTP status, if it answered.
    pub status: Option<u16>,
    /// The answer's headers as text, those that came first.
    pub headers: Vec<(String, String)>,
    /// The beginning of the answer's body, as text.
    pub excerpt: Option<String>,
    /// The address that was reached.
    pub peer: Option<SocketAddr>,
    pub version: Option<Version>,
    /// Whether the connection had served before.
    pub reused: bool,
    pub timings: Timings,
}
