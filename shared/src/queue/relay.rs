//! Moves committed outbox rows into the queue, and brings again what the queue has lost.
//!
//! A row is cleared after its job was pushed. Dying in between, or several relays at once, makes a
//! job come twice, which is harmless; nothing makes it not come at all. Delays live here too: a row
//! is moved when it is due, and the relay sleeps until then.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Queue, outage::Outage};
use crate::{
    job::Job,
    store::{self, OutboxRow, Store},
};

/// Rows moved in one go.
const MOVE_MOST: u32 = 500;
/// How soon the commits of other processes are seen, which cannot nudge us.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at an outbox that says something is due but does not give it.
const BREATHE: Duration = Duration::from_millis(10);
/// How often to look for work that the queue has lost, and how long it must have waited.
const RECALL_EVERY: Duration = Duration::from_secs(2);
const RECALL_AFTER: Duration = Duration::from_secs(2);

/// The half of a store that the relay knows.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// See `Store::outbox_due`.
    async fn due(&self, limit: u32) -> Result<Vec<OutboxRow>, store::Error>;
    /// See `Store::clear_outbox`.
    async fn clear(&self, rows: &[i64]) -> Result<(), store::Error>;
    /// See `Store::outbox_next`.
    async fn next(&self) -> Result<Option<Duration>, store::Error>;
    /// See `Store::forgotten`.
    async fn forgotten(&self, older_than: Duration, limit: u32) -> Result<Vec<Job>, store::Error>;
}

#[async_trait]
impl<S: Store + ?Sized> Outbox for S {
    async fn due(&self, limit: u32) -> Result<Vec<OutboxRow>, store::Error> {
        self.outbox_due(limit).await
    }

    async fn clear(&self, rows: &[i64]) -> Result<(), store::Error> {
        self.clear_outbox(rows).await
    }

    async fn next(&self) -> Result<Option<Duration>, store::Error> {
        self.outbox_next().await
    }

    async fn forgotten(&self, older_than: Duration, limit: u32) -> Result<Vec<Job>, store::Error> {
        Store::forgotten(self, older_than, limit).await
    }
}

/// Wakes a relay after a commit, and whoever in this process watches the record. Cheap to clone,
/// and free to call too often.
#[derive(Debug, Clone, Default)]
pub struct Nudge(Arc<Bells>);

#[derive(Debug, Default)]
struct Bells {
    relay: Notify,
    watchers: Notify,
}

impl Nudge {
    pub fn nudge(&self) {
        self.0.relay.notify_one();
        self.0.watchers.notify_waiters();
    }

    /// Returns at the next commit that this process makes. Commits of others are not heard of.
    pub async fn committed(&self) {
        self.0.watchers.notified().await;
    }
}

pub struct Relay<O: ?Sized = dyn Store> {
    outbox: Arc<O>,
    queue: Arc<dyn Queue>,
    nudge: Nudge,
}

/// Who did not answer decides how long to wait for whom.
enum Silent {
    Outbox(store::Error),
    Queue(super::Error),
}

impl From<store::Error> for Silent {
    fn from(error: store::Error) -> Self {
        Silent::Outbox(error)
    }
}

impl From<super::Error> for Silent {
    fn from(error: super::Error) -> Self {
        Silent::Queue(error)
    }
}

impl<O: Outbox + ?Sized> Relay<O> {
    pub fn new(outbox: Arc<O>, queue: Arc<dyn Queue>) -> Self {
        Self { outbox, queue, nudge: Nudge::default() }
    }

    /// For those who commit. The relay runs at once after each nudge.
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Runs until `stop`. Bears with store and queue when they do not answer.
    pub async fn run(self, stop: CancellationToken) {
        let mut outbox_outage = Outage::impatient("reading the outbox");
        let mut queue_outage = Outage::impatient("pushing jobs");
        let mut recall = Recall::new();
        while !stop.is_cancelled() {
            let round = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                round = self.round(&mut recall) => round,
            };
            let (wait, deaf) = match round {
                Ok(wait) => {
                    outbox_outage.is_over();
                    queue_outage.is_over();
                    (wait, false)
                }
                Err(Silent::Outbox(error)) => (outbox_outage.goes_on(&error), true),
                Err(Silent::Queue(error)) => (queue_outage.goes_on(&error), true),
            };
            tokio::select! {
                () = stop.cancelled() => return,
                // A nudge does not make whoever is silent answer sooner.
                () = self.nudge.0.relay.notified(), if !deaf => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Does what is to be done now. Answers with how long nothing will be, as far as one can know.
    async fn round(&self, recall: &mut Recall) -> Result<Duration, Silent> {
        self.move_due().await?;
        if recall.at <= Instant::now() {
            self.recall(recall).await?;
        }
        let until_row = self.outbox.next().await?.map_or(LOOK_EVERY, |next| next.max(BREATHE));
        let until_recall = recall.at.saturating_duration_since(Instant::now());
        Ok(until_row.min(LOOK_EVERY).min(until_recall))
    }

    async fn move_due(&self) -> Result<(), Silent> {
        loop {
            let rows = self.outbox.due(MOVE_MOST).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let jobs: Vec<Job> = rows.iter().map(|row| row.job).collect();
            self.queue.push(&jobs).await?;
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            self.outbox.clear(&ids).await?;
            if rows.len() < MOVE_MOST as usize {
                return Ok(());
            }
        }
    }

    async fn recall(&self, recall: &mut Recall) -> Result<(), Silent> {
        let now = Instant::now();
        let limit = recall.limit(now);
        let jobs = self.outbox.forgotten(RECALL_AFTER, limit).await?;
        let lost = if jobs.is_empty() { 0 } else { self.queue.push(&jobs).await? };
        if lost > 0 {
            tracing::info!(lost, "brought jobs again that the queue had lost");
        }
        recall.saw(now, limit, jobs.len(), lost);
        Ok(())
    }
}

/// How far to look for lost work, and when.
///
/// The store gives the oldest waiting work first and cannot know what the queue still has. A short
/// look every two seconds finds a queue that lost everything, and then looks again at once, twice
/// as far each time, for as long as it finds much that is lost. If all it sees still waits in the
/// queue, something lost may lie behind that backlog: the far look doubles too, but rests in
/// proportion to what it reads, so that looking costs the same on average however much waits.
#[derive(Debug)]
struct Recall {
    at: Instant,
    /// How far the next far look goes, and not before when. `None` if the near look sees
    /// everything.
    far: Option<(u32, Instant)>,
}

impl Recall {
    const NEAR: u32 = 1_000;
    /// What the far look reads on average.
    const FAR_ROWS_PER_SEC: u32 = 500;

    fn new() -> Self {
        Self { at: Instant::now() + RECALL_EVERY, far: None }
    }

    fn limit(&self, now: Instant) -> u32 {
        match self.far {
            Some((far, at)) if at <= now => far,
            _ => Self::NEAR,
        }
    }

    fn saw(&mut self, now: Instant, limit: u32, seen: usize, lost: usize) {
        self.at = now + RECALL_EVERY;
        let farther = limit.saturating_mul(2);
        if seen < limit as usize {
            // That was all there is.
            self.far = None;
        } else if lost >= seen / 4 {
            // A few come and go while one looks; so many were lost.
            self.far = Some((farther, now));
            self.at = now;
        } else if self.far.is_none_or(|(far, _)| far == limit) {
            let rest = Duration::from_secs(u64::from(farther / Self::FAR_ROWS_PER_SEC));
            self.far = Some((farther, now + rest));
        }
    }
}
