//! Sending: one POST, one time limit over everything, and no address that is refused.
//!
//! Redirects are not followed, proxies of the environment are not used, nothing is decompressed,
//! and of the answer no more is read than its excerpt. `dial.rs` makes connections, after all
//! addresses of a name were judged; `pool.rs` keeps them, each to the address that was judged.
//!
//! HTTP is spoken by hyper's connections, driven by hand: an HTTP/1.1 connection is polled by the
//! very future that waits for its answer, so a request costs no task, no channel between threads
//! and no second wake-up.

mod answer;
mod connection;
mod dial;
mod names;
mod pool;
mod sent;
mod stream;
mod turns;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use buildfleet::domain::{address::Allowed, attempt::Failure, target};
use rustls::RootCertStore;
use tokio::time::{Instant, timeout};
use url::{Position, Url};

use self::{
    connection::Body,
    dial::Dialer,
    pool::{Pool, Ready},
    turns::Turns,
};
use crate::request::Signed;

pub use self::{
    answer::EXCERPT_BYTES_MAX,
    sent::{Sent, Timings, Version},
};

/// The code of a failure by an address that may not be reached.
pub const BLOCKED: &str = "blocked_address";
/// The code of a failure by a URL that could never have been registered.
pub const BAD_URL: &str = "bad_url";

/// How requests are sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where they may go beside the public internet.
    pub allowed: Allowed,
    /// The longest a request may take, from the name to the last byte of the answer.
    pub time_limit: Duration,
    /// Requests on their way at once: as many idle connections are kept to one origin.
    pub slots: usize,
    /// Who is asked for the addresses of names; this machine's own settings if none is named.
    pub name_servers: Vec<SocketAddr>,
    /// Who is trusted to vouch for receivers; whom this machine trusts if `None`.
    pub roots: Option<Arc<RootCertStore>>,
}

/// Why no request can ever be sent from here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading how this machine resolves names")]
    Names(#[source] hickory_resolver::net::NetError),
    #[error("reading whom this machine trusts")]
    Tls(#[from] rustls::Error),
}

/// Sends signed requests. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Sender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dialer: Dialer,
    pool: Pool,
    turns: Turns,
    time_limit: Duration,
}

impl Sender {
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let Settings { allowed, time_limit, slots, name_servers, roots } = settings;
        let dialer = Dialer::new(allowed, &name_servers, roots)?;
        Ok(Self(Arc::new(Inner {
            dialer,
            pool: Pool::new(slots),
            turns: Turns::default(),
            time_limit,
        })))
    }

    /// Makes one attempt. Every way it can end is an answer, never an error.
    pub async fn send(&self, request: &Signed) -> Sent {
        let begun = Instant::now();
        let mut seen = Sent::default();
        let ended = timeout(self.0.time_limit, self.0.exchange(request, &mut seen)).await;
        let failure = match ended {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            // An answer that is no success stays what it is, however its body ends.
            Err(_) if seen.ruling.failure.is_some() => None,
            Err(_) => Some(Failure::transient(
                "timed_out",
                format!("no complete answer within {} seconds", self.0.time_limit.as_secs_f64()),
            )),
        };
        if failure.is_some() {
            seen.ruling.failure = failure;
        }
        seen.timings.total = begun.elapsed();
        seen
    }

    /// Closes connections that nobody has used for a while, for ever.
    pub async fn tend(&self) {
        loop {
            tokio::time::sleep(pool::TENDED_EVERY).await;
            self.0.pool.sweep(Instant::now());
        }
    }

    /// How many connections have been opened, and how many idle ones are kept.
    pub fn connections(&self) -> (u64, usize) {
        (self.0.dialer.opened(), self.0.pool.idle())
    }
}

impl Inner {
    async fn exchange(&self, request: &Signed, seen: &mut Sent) -> Result<(), Failure> {
        let url = target::read(&request.url, self.dialer.allowed())
            .map_err(|refusal| refused(&refusal, &request.url))?;
        let origin = &url[..Position::BeforePath];
        if let Some(ended) = self.over_pooled(origin, &url, request, seen).await {
            return ended.map_err(|error| broken(&error));
        }
        let turn = self.turns.wait(origin).await;
        // Whoever had the turn before may have left a connection that takes more than one request.
        if turn.is_some()
            && let Some(ended) = self.over_pooled(origin, &url, request, seen).await
        {
            return ended.map_err(|error| broken(&error));
        }
        let ready = self.dialer.dial(&url, &mut seen.timings).await?;
        match ready.shared() {
            Some(shared) => self.pool.put(origin, shared, pool::IDLE_MAX, Instant::now()),
            None if turn.is_some() => self.turns.is_one_by_one(origin),
            None => {}
        }
        drop(turn);
        self.exchange_over(ready, &url, request, seen).await.map_err(|error| broken(&error))
    }

    /// Sends over a connection that stands; `None` if there is none that takes the request.
    async fn over_pooled(
        &self,
        origin: &str,
        url: &Url,
        request: &Signed,
        seen: &mut Sent,
    ) -> Option<Result<(), hyper::Error>> {
        while let Some(ready) = self.pool.take(origin, Instant::now()) {
            seen.reused = true;
            match self.exchange_over(ready, url, request, seen).await {
                // It was closed before it took the request: no byte was sent, so it is as if it had
                // not been there.
                Err(error) if error.is_canceled() && seen.status.is_none() => {
                    seen.timings = Timings::default();
                }
                ended => return Some(ended),
            }
        }
        seen.reused = false;
        None
    }

    async fn exchange_over(
        &self,
        mut ready: Ready,
        url: &Url,
        request: &Signed,
        seen: &mut Sent,
    ) -> Result<(), hyper::Error> {
        seen.peer = Some(ready.peer);
        seen.version = Some(ready.connection.version());
        let body = Body::new(request.body.clone());
        let begun = Instant::now();
        let sending = ready.connection.request(url, request.headers.clone(), body);
        let head = ready.connection.send(sending).await?;
        seen.timings.first_byte = Some(begun.elapsed());
        let keep = answer::read(&mut ready, head, request.at.0, seen).await;
        if let Some(idle) = keep {
            let origin = &url[..Position::BeforePath];
            self.pool.put(origin, ready, idle, Instant::now());
        }
        Ok(())
    }
}

/// What keeps a URL from being dialled.
fn refused(refusal: &target::Refusal, url: &str) -> Failure {
    use buildfleet::domain::address::SETTING;

    match refusal {
        target::Refusal::Private | target::Refusal::Port(_) => {
            let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
            let host = host.unwrap_or_default();
            Failure::permanent(BLOCKED, format!("the URL {refusal} ({host}; see {SETTING})"))
        }
        _ => Failure::permanent(BAD_URL, format!("the URL {refusal}")),
    }
}

/// What kept a request from being answered once there was a connection.
fn broken(error: &hyper::Error) -> Failure {
    let code = if error.is_parse() { "bad_answer" } else { "broken_off" };
    Failure::transient(code, innermost(error))
}

/// The last of the sources of an error: what happened, without who came across it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
