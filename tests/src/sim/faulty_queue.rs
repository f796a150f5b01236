//! The queue as one process sees it: jobs and notices are lost, doubled, late and out of order.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use buildfleet::{
    domain::id::HolderId,
    job::{Job, Lane, Notice},
    queue::{Error, Queue, Taken, memory::Memory},
};
use tokio::sync::broadcast;

use super::line::{Fate, Line, To, pause};

pub struct FaultyQueue {
    queue: Arc<Memory>,
    line: Line,
}

fn silent() -> Error {
    Error { source: "the connection was cut".into() }
}

impl FaultyQueue {
    pub fn new(queue: Arc<Memory>, line: Line) -> Self {
        Self { queue, line }
    }

    /// True so many times in a thousand while anything goes wrong at all; counted then.
    fn happens(&self, share: u64, what: &'static str) -> bool {
        let world = self.line.world();
        let happens = !world.is_calm() && self.line.draw(|chance| chance.per_mille(share));
        if happens {
            world.fault(what);
        }
        happens
    }

    /// Waits for the way there. Answers whether the call arrives, and what follows.
    async fn way(&self) -> (bool, Result<Duration, Error>) {
        self.line.pass().await;
        match self.line.fate(To::Queue) {
            Fate::Fine { there, back } => {
                pause(there).await;
                (true, Ok(back))
            }
            Fate::Refused { after } => {
                pause(after).await;
                (false, Err(silent()))
            }
            Fate::Unheard { there, .. } => {
                pause(there).await;
                (true, Err(silent()))
            }
            // A queue that does something later does it as if it had lost it until then.
            Fate::Late { .. } => (false, Err(silent())),
        }
    }

    async fn back(&self, way: Result<Duration, Error>) -> Result<(), Error> {
        let back = way?;
        pause(back).await;
        self.line.pass().await;
        Ok(())
    }

    fn push_later(&self, jobs: Vec<Job>) {
        let after = self.line.draw(|chance| chance.millis(1, 3000));
        let queue = Arc::clone(&self.queue);
        self.line.world().in_server(async move {
            pause(after).await;
            queue.push(&jobs).await.ok();
        });
    }
}

#[async_trait]
impl Queue for FaultyQueue {
    async fn push(&self, jobs: &[Job]) -> Result<usize, Error> {
        let (arrives, way) = self.way().await;
        let mut pushed = 0;
        if arrives {
            let mut jobs = jobs.to_vec();
            if self.happens(80, "wake-ups lost") {
                jobs.clear();
            }
            if self.happens(80, "wake-ups doubled") {
                self.push_later(jobs.clone());
            }
            if self.happens(80, "wake-ups out of order") {
                self.line.draw(|chance| chance.shuffle(&mut jobs));
            }
            if self.happens(40, "wake-ups late") {
                self.push_later(std::mem::take(&mut jobs));
            }
            pushed = self.queue.push(&jobs).await?;
        }
        self.back(way).await?;
        Ok(pushed)
    }

    async fn take(
        &self,
        lane: Lane,
        holder: HolderId,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Taken>, Error> {
        let (arrives, way) = self.way().await;
        let mut taken = Vec::new();
        if arrives {
            taken = self.queue.take(lane, holder, most, wait).await?;
        }
        if !taken.is_empty() && self.happens(50, "jobs taken and lost") {
            taken.clear();
        }
        if !taken.is_empty() && self.happens(50, "jobs taken twice") {
            taken.push(taken[0].clone());
        }
        if 1 < taken.len() && self.happens(100, "jobs out of order") {
            self.line.draw(|chance| chance.shuffle(&mut taken));
        }
        self.back(way).await?;
        Ok(taken)
    }

    async fn done(&self, lane: Lane, receipts: &[String]) -> Result<(), Error> {
        let (arrives, way) = self.way().await;
        if arrives {
            self.queue.done(lane, receipts).await?;
        }
        self.back(way).await
    }

    async fn put_back(&self, lane: Lane, receipts: &[String]) -> Result<(), Error> {
        let (arrives, way) = self.way().await;
        if arrives {
            self.queue.put_back(lane, receipts).await?;
        }
        self.back(way).await
    }

    async fn take_over(
        &self,
        lane: Lane,
        holder: HolderId,
        older_than: Duration,
        most: usize,
    ) -> Result<Vec<Taken>, Error> {
        let (arrives, way) = self.way().await;
        let mut taken = Vec::new();
        if arrives {
            taken = self.queue.take_over(lane, holder, older_than, most).await?;
        }
        self.back(way).await?;
        Ok(taken)
    }

    async fn depth(&self, lane: Lane) -> Result<u64, Error> {
        self.queue.depth(lane).await
    }

    async fn notify(&self, notices: &[Notice]) -> Result<(), Error> {
        let (arrives, way) = self.way().await;
        if arrives && !self.happens(150, "notices lost") {
            self.queue.notify(notices).await?;
            if self.happens(80, "notices doubled") {
                self.queue.notify(notices).await?;
            }
        }
        self.back(way).await
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.queue.notices()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.queue.ping().await
    }
}
