//! What a store does beside scheduling: it hears of work that others hand in, says how full it is,
//! remembers results, and forgets what is old.
//!
//! The answers given here are those of a store that nobody else writes to and that keeps nothing.
//! Both real stores give their own, and are held to them by the conformance suite.

use std::time::Duration;

use async_trait::async_trait;

use super::{Build, Error, Idempotency};
use crate::domain::attempt::{Output, ResultKey};

/// What a tenant has in the record that is not final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBuilds {
    pub tenant: String,
    pub builds: u64,
    /// What the briefs that nobody has planned yet take in the database.
    pub brief_bytes: u64,
}

/// How much there is to do, and how fast it gets less.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Tenants with nothing open are not listed.
    pub open: Vec<OpenBuilds>,
    /// Builds that came to their end in the last 60 seconds.
    pub ended_last_minute: u64,
}

/// How much room there is, as far as the store can know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// What the database takes.
    pub used_bytes: Option<u64>,
    /// What the disk that it is on has left.
    pub free_bytes: Option<u64>,
}

/// What one commit of `forget` took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub builds: u64,
    /// Entries of the audit.
    pub changes: u64,
}

#[async_trait]
pub trait Upkeep {
    /// Hears of briefs that others hand in through the database itself, and rings the bell for
    /// them. Does not return; losing a word of it costs a second.
    async fn listen(&self) {
        std::future::pending().await
    }

    /// The build that an idempotency key stands for; a `Conflict` as of `Store::submit` if it was
    /// used for another request.
    async fn submitted_before(
        &self,
        _tenant: &str,
        _idempotency: &Idempotency,
    ) -> Result<Option<Build>, Error> {
        Ok(None)
    }

    /// Costs as much as there is open: to be asked now and then, not for each request.
    async fn pressure(&self) -> Result<Pressure, Error> {
        Ok(Pressure::default())
    }

    async fn space(&self) -> Result<Space, Error> {
        Ok(Space::default())
    }

    /// What the same work made, if it was settled as a success within `within`, is not forgotten,
    /// and has all its files as they were; as `Origin::Cached`.
    async fn cached(&self, _key: ResultKey, _within: Duration) -> Result<Option<Output>, Error> {
        Ok(None)
    }

    /// Forgets results that are older than `within`, oldest first, and the oldest of those beyond
    /// `most`; at most `limit` in all. Answers with how many.
    async fn evict(&self, _within: Duration, _most: u64, _limit: u32) -> Result<u64, Error> {
        Ok(0)
    }

    /// Forgets builds that have been final for longer than `after`, with everything of theirs:
    /// attempts, events, files, deliveries, results, idempotency keys. Oldest first, in one commit:
    /// at most `limit` of them, and no more after `TASKS_AT_ONCE` tasks. Changes by hand of before
    /// then are forgotten alike, at most `limit`.
    async fn forget(&self, _after: Duration, _limit: u32) -> Result<Forgotten, Error> {
        Ok(Forgotten::default())
    }

    /// Forgets what means the same as nothing: flows that their lane has overtaken, rates that are
    /// whole again. At most `limit` of each; answers with how many.
    async fn forget_idle(&self, _limit: u32) -> Result<u64, Error> {
        Ok(0)
    }

    /// Closes up flows out of which work has gone that nobody had claimed (`domain/rank.rs`), as far
    /// as that is still to be done: the verbs that take it away do it themselves, unless a great
    /// deal waits in the flow, or they are killed in between. At most `limit` flows; answers with
    /// how many.
    async fn close_up(&self, _limit: u32) -> Result<u64, Error> {
        Ok(0)
    }
}

/// How many tasks one commit of `forget` takes with it, unless a single build has more.
pub const TASKS_AT_ONCE: u32 = 5_000;
