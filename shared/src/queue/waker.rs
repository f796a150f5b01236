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
    job::{Job, Notice},
    lease::Keepers,
    outage::Outage,
    pulse::Beat,
    store::bell::{Bell, Rung},
};

/// Wake-ups of one lane that are kept while the queue does not answer. A worker that is woken claims
/// all it has room for, so more would wake nobody else.
const WAKES_MOST: usize = 32;
/// Builds whose recall is kept meanwhile; their holders find out by themselves within a third of a
/// lease.
const RECALLED_MOST: usize = 1_000;
/// How often a waker with nothing to do says that it goes round.
const ROUND: Duration = Duration::from_secs(1);
/// For the last words of a process that ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub struct Waker {
    bell: Bell,
    queue: Arc<dyn Queue>,
    keepers: Keepers,
    beat: Beat,
    wakes: [Vec<Job>; 3],
    recalled: BTreeSet<BuildId>,
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
        let mut again_at = None;
        loop {
            self.beat.round();
            let rung = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                rung = self.bell.rung() => Some(rung),
                () = tokio::time::sleep_until(again_at.unwrap_or(Instant::now() + ROUND)) => None,
            };
            if let Some(rung) = rung {
                self.keep(rung);
            }
            // The bell does not make a queue that is silent answer sooner.
            if again_at.is_some_and(|again_at| Instant::now() < again_at) {
                continue;
            }
            let told = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                told = self.tell() => told,
            };
            again_at = match told {
                Ok(()) => {
                    outage.is_over();
                    None
                }
                Err(error) => Some(Instant::now() + outage.goes_on(&error)),
            };
        }
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
            let wakes = &mut self.wakes[job.lane().index()];
            if wakes.len() < WAKES_MOST {
                wakes.push(job);
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
        let wakes = self.wakes.concat();
        if !wakes.is_empty() {
            self.queue.push(&wakes).await?;
            self.wakes.iter_mut().for_each(Vec::clear);
        }
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
