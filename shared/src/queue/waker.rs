//! Carries what the bell of this process's store rang for to the rest of the fleet: wake-ups for
//! work that became claimable, notices for leases that were called back.
//!
//! Both are haste and nothing else. A queue that does not answer is waited for, but not for long
//! with the same words: of each lane no more is kept than may be of use.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{sync::broadcast::error::RecvError, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Error, Queue};
use crate::{
    domain::id::BuildId,
    job::{Job, Lane, Notice},
    lease::Keepers,
    outage::Outage,
    pulse::Beat,
    store::bell::{Bell, Rung},
};

/// Wake-ups of one lane that are kept while the queue does not answer. A worker that is woken
/// claims all it has room for, so more would wake nobody else.
const WAKES_MOST: usize = 32;
/// Builds whose recall is kept meanwhile; their holders find out by themselves within a third of a
/// lease.
const RECALLED_MOST: usize = 1_000;
/// So many wake-ups wait in a lane whose workers are all busy: more are of no use to anybody.
const WAITING_MOST: u64 = 256;
/// How many one pushes into a lane before one looks whether anybody listens, and how long one lets
/// a lane be where nobody does.
const PUSHED_MOST: usize = 128;
const LET_BE: Duration = Duration::from_millis(50);
/// How often a waker with nothing to do says that it goes round.
const ROUND: Duration = Duration::from_secs(1);
/// For the last words of a process that ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub struct Waker {
    bell: Bell,
    queue: Arc<dyn Queue>,
    keepers: Keepers,
    beat: Beat,
    wakes: [Wakes; 3],
    recalled: BTreeSet<BuildId>,
}

/// The wake-ups of a lane that are still to be pushed.
#[derive(Default)]
struct Wakes {
    jobs: Vec<Job>,
    /// How many were pushed since one looked how many wait.
    pushed: usize,
    let_be_until: Option<Instant>,
}

impl Waker {
    pub fn new(bell: Bell, queue: Arc<dyn Queue>, keepers: Keepers, beat: Beat) -> Self {
        let (wakes, recalled) = Default::default();
        Self { bell, queue, keepers, beat, wakes, recalled }
    }

    /// Runs until `stop`, and then says what was rung for last.
    pub async fn run(mut self, stop: CancellationToken) {
        let hearing = hear(Arc::clone(&self.queue), self.keepers.clone());
        tokio::select! {
            biased;
            () = self.wake(&stop) => {}
            () = hearing => {}
        }
        let last = async {
            let rung = self.bell.rung();
            if let Ok(rung) = tokio::time::timeout(Duration::ZERO, rung).await {
                self.keep(rung);
            }
            self.tell().await
        };
        if let Ok(Err(error)) = tokio::time::timeout(LAST_WORDS, last).await {
            tracing::debug!(%error, "the last wake-ups were not pushed");
        }
    }

    async fn wake(&mut self, stop: &CancellationToken) {
        let mut outage = Outage::impatient("pushing wake-ups");
        let mut silent_until = None;
        loop {
            self.beat.round();
            let now = Instant::now();
            let again_at = silent_until.or_else(|| self.let_be_until()).unwrap_or(now + ROUND);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                rung = self.bell.rung() => self.keep(rung),
                () = tokio::time::sleep_until(again_at) => silent_until = None,
            }
            // The bell does not make a queue that is silent answer sooner.
            if silent_until.is_some() {
                continue;
            }
            let told = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                told = self.tell() => told,
            };
            match told {
                Ok(()) => outage.is_over(),
                Err(error) => silent_until = Some(Instant::now() + outage.goes_on(&error)),
            }
        }
    }

    /// When to look again at the first lane that is let be and has something to say.
    fn let_be_until(&self) -> Option<Instant> {
        let waiting = self.wakes.iter().filter(|wakes| !wakes.jobs.is_empty());
        waiting.filter_map(|wakes| wakes.let_be_until).min()
    }

    fn keep(&mut self, rung: Rung) {
        for build in rung.recalled {
            // Those of this process need no queue to hear of it.
            self.keepers.recall(build);
            if self.recalled.len() < RECALLED_MOST {
                self.recalled.insert(build);
            }
        }
        for job in rung.claimable {
            let jobs = &mut self.wakes[job.lane().index()].jobs;
            if jobs.len() < WAKES_MOST {
                jobs.push(job);
            }
        }
    }

    /// Says all that is kept. What was said is not said again after an error.
    async fn tell(&mut self) -> Result<(), Error> {
        if !self.recalled.is_empty() {
            let notices: Vec<_> = self.recalled.iter().copied().map(Notice::Recalled).collect();
            self.queue.notify(&notices).await?;
            self.recalled.clear();
        }
        for lane in Lane::ALL {
            self.push(*lane).await?;
        }
        Ok(())
    }

    /// Pushes the wake-ups of a lane, unless so many wait there that nobody can be idle. Without
    /// this a rush would fill the queue with words for workers that do not listen.
    async fn push(&mut self, lane: Lane) -> Result<(), Error> {
        let wakes = &mut self.wakes[lane.index()];
        if wakes.jobs.is_empty() || wakes.let_be_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        if PUSHED_MOST <= wakes.pushed || wakes.let_be_until.is_some() {
            wakes.let_be_until = None;
            if WAITING_MOST <= self.queue.depth(lane).await? {
                wakes.let_be_until = Some(Instant::now() + LET_BE);
                return Ok(());
            }
            wakes.pushed = 0;
        }
        self.queue.push(&wakes.jobs).await?;
        wakes.pushed += wakes.jobs.len();
        wakes.jobs.clear();
        Ok(())
    }
}

/// Hears what other processes called back.
async fn hear(queue: Arc<dyn Queue>, keepers: Keepers) {
    let mut notices = queue.notices();
    loop {
        match notices.recv().await {
            Ok(Notice::Recalled(build)) => keepers.recall(build),
            // Nobody knows what was missed.
            Err(RecvError::Lagged(_)) => keepers.recall_all(),
            // The queue keeps its end for as long as it is there, and it is held here.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
