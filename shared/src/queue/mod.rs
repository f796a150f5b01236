//! The waker: it carries words from those who made work claimable to those who claim.
//!
//! A job in it is a wake-up: there is work in this lane, look what is next. Two queues keep the
//! same promises: Redis for a fleet, memory for one process. A queue may lose everything at any
//! time and may give a job twice: who looks finds what the record says. It knows nothing of order,
//! limits, retries or delays.

pub mod memory;
pub mod redis;
pub mod waker;
pub mod feed;
pub mod seat;
pub mod serve;
mod waiting;
mod source;
#[cfg(feature = "conformance")]
pub mod conformance;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::{
    domain::id::HolderId,
    job::{Job, Lane, Notice},
};

/// How many jobs may wait in a lane. A queue of wake-ups needs no more: those who take so many are
/// awake for long, and then find out for themselves what else there is. A lane of so many takes up
/// some 11 MB of Redis.
pub const WAITING_MOST: usize = 100_000;
/// How many notices a listener may be behind before it misses some.
const NOTICES_BEHIND: usize = 1_024;

/// The queue could not be reached, or did not answer sensibly. The caller tries again later.
#[derive(Debug, thiserror::Error)]
#[error("the queue did not answer")]
pub struct Error {
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A job that was taken, and what to hand back when done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub job: Job,
    pub receipt: String,
}

#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Puts jobs in, at the end of their lanes. A job that waits there already is not put in again,
    /// nor is any while `WAITING_MOST` wait in its lane. Answers with how many went in.
    async fn push(&self, jobs: &[Job]) -> Result<usize, Error>;

    /// Takes up to `most` jobs, oldest first; waits up to `wait` for the first one. What was taken
    /// may be pushed again at once.
    async fn take(
        &self,
        lane: Lane,
        holder: HolderId,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Taken>, Error>;

    /// Is done with jobs that were taken. Receipts that are not known are passed over.
    async fn done(&self, lane: Lane, receipts: &[String]) -> Result<(), Error>;

    /// Puts jobs that were taken back in front of nobody: at the end of their lane, to be taken by
    /// anyone.
    async fn put_back(&self, lane: Lane, receipts: &[String]) -> Result<(), Error>;

    /// Takes over jobs that someone took longer ago than `older_than` and is not done with.
    async fn take_over(
        &self,
        lane: Lane,
        holder: HolderId,
        older_than: Duration,
        most: usize,
    ) -> Result<Vec<Taken>, Error>;

    /// How many jobs wait in a lane.
    async fn depth(&self, lane: Lane) -> Result<u64, Error>;

    /// Tells every process that listens, this one too. Nothing is kept for those that do not.
    async fn notify(&self, notices: &[Notice]) -> Result<(), Error>;

    /// Hears what is notified from about now on, through all outages, for as long as the queue is
    /// there. Notices may be lost, so whoever listens also finds out in another way, later. To be
    /// called within a runtime.
    fn notices(&self) -> broadcast::Receiver<Notice>;

    /// Answers if the queue does.
    async fn ping(&self) -> Result<(), Error>;
}

/// Answers with what would be right, if no queue can be opened with a `REDIS_URL`. Nobody is asked.
pub fn check_url(url: &str) -> Result<(), String> {
    redis::check(url)
}

/// Opens the queue that a `REDIS_URL` names; without one, the memory of this process.
pub async fn open(url: Option<&str>) -> Result<Arc<dyn Queue>, Error> {
    match url {
        Some(url) => Ok(Arc::new(redis::Redis::open(url).await?)),
        None => Ok(Arc::new(memory::Memory::new())),
    }
}
