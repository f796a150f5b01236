//! Sending: one POST, one time limit over everything, and no address that is refused.
//!
//! Redirects are not followed, proxies of the environment are not used, and of the answer no more
//! is read than its excerpt. The addresses of a name are judged as they are resolved for the
//! connection, so what was judged is what is dialled.

use std::{
    error::Error as StdError,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use buildfleet::{
    domain::{address::Allowed, attempt::Failure},
    store::SendResult,
};
use reqwest::{
    Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use tokio::time::Instant;
use url::{Host, Url};

use crate::request::Signed;

/// How much of an answer is kept for people, in bytes.
pub const EXCERPT_BYTES_MAX: usize = 2048;
/// The code of a failure by an address that may not be reached.
pub const BLOCKED: &str = "blocked_address";

/// Sends signed requests.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    allowed: Arc<Allowed>,
    time_limit: Duration,
}

impl Sender {
    /// `slots` is how many requests are on their way at once: as many idle connections are kept.
    pub fn new(allowed: Allowed, time_limit: Duration, slots: usize) -> reqwest::Result<Self> {
        // Fails if a provider is in place already, which serves as well.
        let _in_place = rustls::crypto::ring::default_provider().install_default();
        let allowed = Arc::new(allowed);
        let client = Client::builder()
            .dns_resolver(Arc::new(Guard { allowed: Arc::clone(&allowed) }))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(time_limit)
            .pool_max_idle_per_host(slots)
            .build()?;
        Ok(Self { client, allowed, time_limit })
    }

    /// Makes one attempt. Every way it can end is a result, never an error.
    pub async fn send(&self, request: Signed) -> SendResult {
        let begun = Instant::now();
        let answered = tokio::time::timeout(self.time_limit, self.exchange(request)).await;
        let (failure, status, excerpt) = match answered {
            Ok(Ok((status, excerpt))) => (refusal(status), Some(status), excerpt),
            Ok(Err(failure)) => (Some(failure), None, None),
            Err(_) => (
                Some(Failure::transient(
                    "timed_out",
                    format!("no complete answer within {} seconds", self.time_limit.as_secs_f64()),
                )),
                None,
                None,
            ),
        };
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        SendResult { failure, status, took_ms, excerpt, ..SendResult::default() }
    }

    async fn exchange(&self, request: Signed) -> Result<(u16, Option<String>), Failure> {
        let url = self.vetted(&request.url)?;
        let mut post = self.client.post(url).body(request.body);
        for (name, value) in request.headers {
            post = post.header(name, value);
        }
        let answer = post.send().await.map_err(|error| failure(&error))?;
        let status = answer.status().as_u16();
        Ok((status, excerpt(answer).await))
    }

    /// The URL, if its scheme can be spoken and its address, where it has one instead of a name,
    /// may be reached. Names are judged by `Guard`.
    fn vetted(&self, url: &str) -> Result<Url, Failure> {
        let url = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| Failure::permanent("bad_url", "the URL is not one of http or https"))?;
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(Failure::permanent("bad_url", "the URL has no host")),
        };
        match address {
            Some(address) if !self.allowed.address(address) => Err(blocked(&address.to_string())),
            _ => Ok(url),
        }
    }
}

fn blocked(host: &str) -> Failure {
    Failure::permanent(
        BLOCKED,
        format!(
            "{host} is not on the public internet; an operator can allow it with \
             BUILDFLEET_WEBHOOK_ALLOW"
        ),
    )
}

/// What a status that is no success means.
fn refusal(status: u16) -> Option<Failure> {
    match status {
        200..=299 => None,
        300..=399 => Some(Failure::transient(
            "redirected",
            format!("the receiver answered {status}; redirects are not followed"),
        )),
        _ => Some(Failure::transient("refused", format!("the receiver answered {status}"))),
    }
}

/// Reads the beginning of an answer, and no more. An answer that breaks off has an excerpt all the
/// same: its status decided already.
async fn excerpt(mut answer: Response) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < EXCERPT_BYTES_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => {
                let room = EXCERPT_BYTES_MAX - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Ok(None) | Err(_) => break,
        }
    }
    // A zero character is text to UTF-8 but not to Postgres.
    let text = String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}");
    Some(text).filter(|text| !text.is_empty())
}

/// What kept a request from being answered.
fn failure(error: &reqwest::Error) -> Failure {
    if let Some(refused) = causes(error).find_map(|cause| cause.downcast_ref::<Refused>()) {
        return blocked(&refused.host);
    }
    let innermost = causes(error).last().map_or_else(|| error.to_string(), ToString::to_string);
    if error.is_builder() {
        return Failure::permanent("bad_request", innermost);
    }
    let code = if error.is_connect() { "not_connected" } else { "broken_off" };
    Failure::transient(code, innermost)
}

/// The sources of an error, outermost first.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// No address of a name may be reached.
#[derive(Debug, thiserror::Error)]
#[error("{host} has no address that may be reached")]
struct Refused {
    host: String,
}

/// Resolves names to the addresses that may be reached.
#[derive(Debug)]
struct Guard {
    allowed: Arc<Allowed>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = Arc::clone(&self.allowed);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let every = allowed.name(&host);
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            // One address that is refused refuses the name: an honest name has none.
            if !every && found.iter().any(|found| !allowed.address(found.ip())) {
                return Err(Box::new(Refused { host }) as Box<dyn StdError + Send + Sync>);
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
