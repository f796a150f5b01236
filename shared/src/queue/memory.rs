//! The queue of one process: three lanes in memory.
//!
//! It keeps the promises of `Queue` word for word, so that what is built on it runs on Redis too;
//! both pass `conformance.rs`. What it holds is gone with the process, and nobody misses it:
//! whoever claims looks by himself.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::{Notify, broadcast};

use super::{Error, NOTICES_BEHIND, Queue, Taken, WAITING_MOST};
use crate::{
    domain::id::HolderId,
    job::{Job, Lane, Notice},
};

#[derive(Debug)]
pub struct Memory {
    plans: OneLane,
    tasks: OneLane,
    deliveries: OneLane,
    notices: broadcast::Sender<Notice>,
}

#[derive(Debug, Default)]
struct OneLane {
    jobs: Mutex<Jobs>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Jobs {
    /// In the order in which they are taken.
    waiting: VecDeque<Job>,
    /// The same jobs, to answer quickly whether one waits.
    known: HashSet<Job>,
    /// By receipt, which counts up.
    taken: BTreeMap<u64, (Job, Instant)>,
    receipts: u64,
}

impl Memory {
    pub fn new() -> Self {
        Self {
            plans: OneLane::default(),
            tasks: OneLane::default(),
            deliveries: OneLane::default(),
            notices: broadcast::Sender::new(NOTICES_BEHIND),
        }
    }

    fn lane(&self, lane: Lane) -> &OneLane {
        match lane {
            Lane::Plans => &self.plans,
            Lane::Tasks => &self.tasks,
            Lane::Deliveries => &self.deliveries,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl OneLane {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // Nothing panics while it holds the lock, and each change leaves the lane whole.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Jobs {
    /// Answers whether the job was new, and there was room.
    fn push(&mut self, job: Job) -> bool {
        self.waiting.len() < WAITING_MOST && self.put(job)
    }

    /// Answers whether the job was new.
    fn put(&mut self, job: Job) -> bool {
        let new = self.known.insert(job);
        if new {
            self.waiting.push_back(job);
        }
        new
    }

    fn take(&mut self, most: usize) -> Vec<Taken> {
        let count = most.min(self.waiting.len());
        let jobs: Vec<Job> = self.waiting.drain(..count).collect();
        let now = Instant::now();
        jobs.into_iter()
            .map(|job| {
                self.known.remove(&job);
                self.receipts += 1;
                self.taken.insert(self.receipts, (job, now));
                Taken { job, receipt: self.receipts.to_string() }
            })
            .collect()
    }

    fn forget(&mut self, receipt: &str) -> Option<Job> {
        let (job, _) = self.taken.remove(&receipt.parse().ok()?)?;
        Some(job)
    }
}

#[async_trait]
impl Queue for Memory {
    async fn push(&self, jobs: &[Job]) -> Result<usize, Error> {
        let mut new = 0;
        for &lane in Lane::ALL {
            let lane_jobs = jobs.iter().filter(|job| job.lane() == lane);
            let here = self.lane(lane);
            let added = {
                let mut held = here.jobs();
                lane_jobs.filter(|job| held.push(**job)).count()
            };
            if added > 0 {
                here.arrived.notify_waiters();
            }
            new += added;
        }
        Ok(new)
    }

    async fn take(
        &self,
        lane: Lane,
        _holder: HolderId,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Taken>, Error> {
        let here = self.lane(lane);
        let until = tokio::time::Instant::now() + wait;
        loop {
            // Listening begins before looking, so that nothing arrives in between unheard.
            let mut arrival = std::pin::pin!(here.arrived.notified());
            arrival.as_mut().enable();
            let taken = here.jobs().take(most);
            if !taken.is_empty() || most == 0 {
                return Ok(taken);
            }
            if tokio::time::timeout_at(until, arrival).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    async fn done(&self, lane: Lane, receipts: &[String]) -> Result<(), Error> {
        let mut jobs = self.lane(lane).jobs();
        for receipt in receipts {
            jobs.forget(receipt);
        }
        Ok(())
    }

    async fn put_back(&self, lane: Lane, receipts: &[String]) -> Result<(), Error> {
        let here = self.lane(lane);
        {
            let mut jobs = here.jobs();
            for receipt in receipts {
                if let Some(job) = jobs.forget(receipt) {
                    jobs.put(job);
                }
            }
        }
        here.arrived.notify_waiters();
        Ok(())
    }

    async fn take_over(
        &self,
        lane: Lane,
        _holder: HolderId,
        older_than: Duration,
        most: usize,
    ) -> Result<Vec<Taken>, Error> {
        let mut jobs = self.lane(lane).jobs();
        let now = Instant::now();
        Ok(jobs
            .taken
            .iter_mut()
            .filter(|(_, (_, since))| now.duration_since(*since) >= older_than)
            .take(most)
            .map(|(receipt, (job, since))| {
                *since = now;
                Taken { job: *job, receipt: receipt.to_string() }
            })
            .collect())
    }

    async fn depth(&self, lane: Lane) -> Result<u64, Error> {
        Ok(self.lane(lane).jobs().waiting.len() as u64)
    }

    async fn notify(&self, notices: &[Notice]) -> Result<(), Error> {
        for notice in notices {
            // Nobody may listen.
            self.notices.send(*notice).ok();
        }
        Ok(())
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }
}
