//! Leases of all three kinds of work: kept, given back, lapsed, ended.

use std::time::Duration;

use buildfleet::{
    domain::{
        attempt::{self, Failure, FailureKind, Outcome},
        id::HolderId,
        retry::{Jitter, Policy},
    },
    job::{Job, Lane},
    store::{Error, Fence, SendResult},
};

use super::{
    feed::{Fact, Plant},
    record::{Record, Stand, later},
};

impl Record {
    /// Whether this attempt is the running one. Every write by a worker asks.
    pub(super) fn is_held(&self, fence: Fence) -> bool {
        let Some(work) = self.work.get(&fence.job) else { return false };
        let attempt = work.attempt == fence.attempt || self.has(Plant::Fence);
        attempt && matches!(work.stand, Stand::Held { .. })
    }

    pub(super) fn must_hold(&self, fence: Fence) -> Result<(), Error> {
        if self.is_held(fence) { Ok(()) } else { Err(Error::Fenced) }
    }

    /// Writes what an attempt came to. The work itself is moved by the caller.
    pub(super) fn end_attempt(
        &mut self,
        fence: Fence,
        how: attempt::State,
        failure: Option<&Failure>,
    ) {
        let now = self.now;
        if let Some(row) = self.attempts.get_mut(&(fence.job, fence.attempt)) {
            row.state = how;
            row.failure = failure.cloned();
            row.settled_at = Some(now);
        }
        self.tell(Fact::Ended { job: fence.job, attempt: fence.attempt, how });
        self.ring_freed(fence.job.lane());
    }

    pub(super) fn extend(
        &mut self,
        holder: HolderId,
        held: &[Fence],
        lease: Duration,
    ) -> Vec<Fence> {
        let mut lost = Vec::new();
        let until = later(self.now, lease);
        for fence in held {
            let is_own = self.work.get(&fence.job).is_some_and(|work| {
                let held = matches!(work.stand, Stand::Held { holder: own, .. } if own == holder);
                held && work.attempt == fence.attempt
            });
            if is_own {
                self.put(fence.job, Stand::Held { holder, until });
                self.tell(Fact::Extended { job: fence.job, attempt: fence.attempt, until });
            } else {
                lost.push(*fence);
            }
        }
        lost
    }

    pub(super) fn give_back(&mut self, fence: Fence) -> Result<(), Error> {
        match fence.job {
            Job::Plan(id) => self.give_back_planning(id, fence.attempt),
            Job::Delivery(id) => self.give_back_delivery(id, fence.attempt),
            Job::Task(_) => {
                // Nothing is judged, so neither policy nor jitter has a say.
                self.settle_task(fence, Outcome::GivenBack, &Policy::WORK, Jitter::NONE)
            }
        }
    }

    pub(super) fn lapsed(&self, limit: u32) -> Vec<Fence> {
        let mut lapsed = Vec::new();
        for lane in Lane::ALL {
            for job in &self.lane(*lane).held {
                let work = &self.work[job];
                if let Stand::Held { until, .. } = work.stand
                    && until <= self.now
                {
                    lapsed.push((until, Fence { job: *job, attempt: work.attempt }));
                }
            }
        }
        lapsed.sort_by_key(|(until, fence)| (*until, fence.job));
        lapsed.into_iter().take(limit as usize).map(|(_, fence)| fence).collect()
    }

    pub(super) fn lapse_all(&mut self) -> u64 {
        let now = self.now;
        let held: Vec<Job> = self.lanes.iter().flat_map(|lane| lane.held.iter().copied()).collect();
        let mut lapsed = 0;
        for job in held {
            let Some(work) = self.work.get(&job) else { continue };
            if let Stand::Held { holder, until } = work.stand {
                let (attempt, until) = (work.attempt, until.min(now));
                self.put(job, Stand::Held { holder, until });
                self.tell(Fact::Extended { job, attempt, until });
                lapsed += 1;
            }
        }
        lapsed
    }

    pub(super) fn settle_lost(
        &mut self,
        fence: Fence,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        self.must_hold(fence)?;
        // Its holder may have come back and kept it meanwhile.
        if let Stand::Held { until, .. } = self.work[&fence.job].stand
            && self.now < until
            && !self.has(Plant::Lapse)
        {
            return Err(Error::Fenced);
        }
        match fence.job {
            Job::Plan(id) => {
                self.settle_planning(id, fence.attempt, &Failure::lost(), policy, jitter)
            }
            Job::Task(_) => {
                self.settle_task(fence, Outcome::Failed(Failure::lost()), policy, jitter)
            }
            Job::Delivery(id) => {
                let failure = Some(Failure::lost());
                let lost = SendResult { failure, ..SendResult::default() };
                self.settle_delivery(id, fence.attempt, &lost, policy, jitter)
            }
        }
    }

    /// Ends whatever runs at this work without asking its holder, who will find out.
    pub(super) fn recall(&mut self, job: Job) -> Result<(), Error> {
        let Some(work) = self.work.get(&job) else { return Ok(()) };
        if matches!(work.stand, Stand::Held { .. }) {
            let fence = Fence { job, attempt: work.attempt };
            let cancelled = attempt::State::Running.on(attempt::Trigger::Cancelled)?;
            self.end_attempt(fence, cancelled, None);
        } else if matches!(work.stand, Stand::Ready { .. }) {
            self.gapped.insert((job.lane(), work.tenant.clone(), work.band));
        }
        self.put(job, Stand::Away);
        Ok(())
    }
}

/// Whether an attempt that failed like this was lost with its holder.
pub(super) fn is_lost(failure: &Failure) -> bool {
    failure.kind == FailureKind::Lost
}
