//! Waiting for something to claim: for a wake-up from the queue, for the next work that is due, and
//! at last for nothing at all, since a wake-up may be lost.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Error, Queue, Taken, feed::Feed};
use crate::{job::Job, outage::Outage};

/// Wake-ups taken at once. After a rush many of them are of work that was done long ago.
const TAKE_MOST: usize = 1_000;
/// Wake-ups passed on at once.
const PASS_MOST: usize = 32;
/// How old what one knows of the next due work may be.
const DUE_KNOWN_FOR: Duration = Duration::from_millis(200);
/// How often to clear away what was taken by those who died before they said that they were done
/// with it, and how long that is left to them.
const CLEAR_EVERY: Duration = Duration::from_secs(60);
/// Receipts that are kept for a queue that does not answer; more are left to be cleared away.
const UNDONE_MOST: usize = 10_000;

type Listening = Pin<Box<dyn Future<Output = Result<Vec<Taken>, Error>> + Send>>;

/// Wake-ups that were heard and not acted upon yet.
pub(super) type Woken = Vec<Job>;

pub(super) struct Waiting<F> {
    feed: Arc<F>,
    queue: Arc<dyn Queue>,
    look_every: Duration,
    /// Goes on over several waits, so that nothing it takes is lost and no connection is broken
    /// off.
    listening: Option<Listening>,
    woken: Woken,
    undone: Vec<String>,
    outage: Outage,
    /// When the next work is due, if any is, and when one asked.
    due: Option<(Instant, Option<Instant>)>,
    clear_at: Instant,
}

impl<F: Feed> Waiting<F> {
    pub(super) fn new(feed: Arc<F>, queue: Arc<dyn Queue>, look_every: Duration) -> Self {
        Self {
            feed,
            queue,
            look_every,
            listening: None,
            woken: Vec::new(),
            undone: Vec::new(),
            outage: Outage::impatient("listening for wake-ups"),
            due: None,
            clear_at: Instant::now() + CLEAR_EVERY,
        }
    }

    /// What was heard since one last asked.
    pub(super) fn take_woken(&mut self) -> Woken {
        std::mem::take(&mut self.woken)
    }

    /// Waits until there may be something to claim.
    pub(super) async fn wait(&mut self) {
        self.clear().await;
        let (asked_at, due_at) = self.due_at().await;
        let look_at = asked_at + self.look_every;
        let mut until = due_at.map_or(look_at, |due_at| due_at.min(look_at));
        let feed = Arc::clone(&self.feed);
        loop {
            tokio::select! {
                biased;
                () = self.listen() => return,
                () = tokio::time::sleep_until(until) => return,
                sooner = feed.due_before(until) => until = sooner,
            }
            self.due = Some((asked_at, Some(until)));
        }
    }

    /// Returns when it was woken, or when the queue says that there was nothing for a while.
    async fn listen(&mut self) {
        loop {
            let listening = self.listening.get_or_insert_with(|| {
                let (queue, lane) = (Arc::clone(&self.queue), self.feed.lane());
                let (holder, wait) = (self.feed.holder(), self.look_every);
                Box::pin(async move { queue.take(lane, holder, TAKE_MOST, wait).await })
            });
            let heard = listening.await;
            self.listening = None;
            match heard {
                Ok(taken) => {
                    self.outage.is_over();
                    self.hear(taken);
                    return;
                }
                // Without wake-ups there is still the look every now and then.
                Err(error) => tokio::time::sleep(self.outage.goes_on(&error)).await,
            }
        }
    }

    fn hear(&mut self, taken: Vec<Taken>) {
        for Taken { job, receipt } in taken {
            self.woken.push(job);
            if self.undone.len() < UNDONE_MOST {
                self.undone.push(receipt);
            }
        }
    }

    /// When work that waits for its time is due, and when one asked. A store that does not say so
    /// will say it to the claim that follows.
    async fn due_at(&mut self) -> (Instant, Option<Instant>) {
        let now = Instant::now();
        if let Some((asked_at, due_at)) = self.due
            && now < asked_at + DUE_KNOWN_FOR
            && due_at.is_none_or(|due_at| now < due_at)
        {
            return (asked_at, due_at);
        }
        let due_at = match self.feed.next_due().await {
            Ok(due) => due.map(|due| now + due),
            Err(_) => None,
        };
        self.due = Some((now, due_at));
        (now, due_at)
    }

    /// Tells the queue that wake-ups were heard; they are of no use to anybody else.
    pub(super) async fn is_done_with(&mut self, woken: &Woken) {
        if woken.is_empty() || self.undone.is_empty() {
            return;
        }
        match self.queue.done(self.feed.lane(), &self.undone).await {
            Ok(()) => self.undone.clear(),
            // With the next ones.
            Err(error) => {
                self.outage.goes_on(&error);
            }
        }
    }

    /// Wakes others if there may be more than one had room for. Without it, who is woken by many
    /// wake-ups and claims little would leave the rest to nobody.
    pub(super) async fn pass_on(&mut self, mut woken: Woken, got: u32, asked: u32) {
        let Some(last) = woken.pop() else { return };
        if got < asked {
            return;
        }
        woken.drain(..woken.len().min(got as usize));
        woken.truncate(PASS_MOST - 1);
        woken.push(last);
        // They are found by looking if this is lost.
        if let Err(error) = self.queue.push(&woken).await {
            self.outage.goes_on(&error);
        }
    }

    async fn clear(&mut self) {
        if Instant::now() < self.clear_at {
            return;
        }
        self.clear_at = Instant::now() + CLEAR_EVERY;
        let (lane, holder) = (self.feed.lane(), self.feed.holder());
        match self.queue.take_over(lane, holder, CLEAR_EVERY, TAKE_MOST).await {
            Ok(taken) => self.hear(taken),
            Err(error) => {
                self.outage.goes_on(&error);
            }
        }
    }
}
