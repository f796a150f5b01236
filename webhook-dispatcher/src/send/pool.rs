//! Connections that were used and may be used again.
//!
//! A connection stays what it was when it was dialled: a line to an address that was judged. Where
//! its name leads by now does not matter to it, so a name that changes its mind cannot move it; and
//! since it is not kept for long, a receiver that moves is followed soon.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::connection::Connection;

/// How long a connection may wait for the next request, unless its receiver asks for less.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long a connection is used in all: after that its name is asked again.
const AGE_MAX: Duration = Duration::from_secs(5 * 60);
/// How often connections are closed that waited too long.
pub(super) const TENDED_EVERY: Duration = Duration::from_secs(5);
/// Idle connections in all, at least: enough for many receivers, and far from what a process may
/// have open.
const KEPT_MIN: usize = 512;

/// A connection that can take a request.
pub(super) struct Ready {
    pub(super) connection: Connection,
    /// Where it leads; this address was judged before it was dialled.
    pub(super) peer: SocketAddr,
    pub(super) dialled_at: Instant,
}

impl Ready {
    /// The same connection once more, if it takes many requests at a time.
    pub(super) fn shared(&self) -> Option<Self> {
        let Connection::Two(two) = &self.connection else { return None };
        let connection = Connection::Two(two.clone());
        Some(Self { connection, peer: self.peer, dialled_at: self.dialled_at })
    }
}

struct Parked {
    ready: Ready,
    until: Instant,
}

#[derive(Default)]
struct Idle {
    by_origin: HashMap<String, Vec<Parked>>,
    kept: usize,
}

/// Idle connections by origin, such as `https://example.com:8443`.
pub(super) struct Pool {
    idle: Mutex<Idle>,
    per_origin_max: usize,
    kept_max: usize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("kept", &self.idle()).finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(per_origin_max: usize) -> Self {
        let kept_max = KEPT_MIN.max(per_origin_max * 2);
        Self { idle: Mutex::default(), per_origin_max, kept_max }
    }

    /// The connection that waited shortest, or a clone of one that takes many requests.
    pub(super) fn take(&self, origin: &str, now: Instant) -> Option<Ready> {
        loop {
            let mut parked = {
                let mut idle = self.lock();
                let of_origin = idle.by_origin.get_mut(origin)?;
                let Some(parked) = of_origin.pop() else {
                    idle.by_origin.remove(origin);
                    return None;
                };
                idle.kept -= 1;
                parked
            };
            // Looked at outside the lock, since it reads from a socket.
            if parked.until <= now || !parked.ready.connection.is_ready() {
                continue;
            }
            let Some(shared) = parked.ready.shared() else { return Some(parked.ready) };
            self.park(origin, parked);
            return Some(shared);
        }
    }

    /// Keeps a connection for at most `idle`.
    pub(super) fn put(&self, origin: &str, ready: Ready, idle: Duration, now: Instant) {
        let until = (now + idle.min(IDLE_MAX)).min(ready.dialled_at + AGE_MAX);
        if now < until {
            self.park(origin, Parked { ready, until });
        }
    }

    fn park(&self, origin: &str, parked: Parked) {
        let is_shared = |connection: &Connection| matches!(connection, Connection::Two(_));
        let mut guard = self.lock();
        let idle = &mut *guard;
        if !idle.by_origin.contains_key(origin) {
            idle.by_origin.insert(origin.to_owned(), Vec::new());
        }
        let Some(of_origin) = idle.by_origin.get_mut(origin) else { return };
        if is_shared(&parked.ready.connection) {
            // One that takes many requests is enough; the one that has been used last stays.
            let before = of_origin.len();
            of_origin.retain(|other| !is_shared(&other.ready.connection));
            idle.kept -= before - of_origin.len();
        }
        if of_origin.len() < self.per_origin_max.max(1) && idle.kept < self.kept_max {
            of_origin.push(parked);
            idle.kept += 1;
        }
    }

    /// Closes what has waited too long, and what its receiver closed.
    pub(super) fn sweep(&self, now: Instant) {
        let mut guard = self.lock();
        let idle = &mut *guard;
        idle.by_origin.retain(|_, parked| {
            parked.retain_mut(|one| now < one.until && one.ready.connection.is_ready());
            !parked.is_empty()
        });
        idle.kept = idle.by_origin.values().map(Vec::len).sum();
    }

    /// How many connections are kept.
    pub(super) fn idle(&self) -> usize {
        self.lock().kept
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
