//! Rings after commits, for whoever in this process wants to know at once.
//!
//! The waker hears what became claimable and whose leases were taken away; watchers hear only that
//! something was committed. Nothing is true because of the bell: who missed it finds out by
//! looking.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    domain::id::BuildId,
    job::{Job, Lane},
};

/// Wake-ups of one lane that are kept for the waker. A worker that is woken claims all it has room
/// for, so there is no use in more wake-ups than there may be idle processes.
const WAKES_MOST: usize = 32;

/// Cheap to clone, and free to ring too often.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    heard: Mutex<Rung>,
    waker: Notify,
    watchers: Notify,
    /// Of each lane, the first time at which work may be claimed that nobody will ring for.
    put_off: Mutex<[Option<Instant>; 3]>,
    sooner: Notify,
}

/// What commits have made of late.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Work that became claimable, at most `WAKES_MOST` of each lane.
    pub claimable: Vec<Job>,
    /// Builds of which somebody may have lost a lease: they were cancelled, or failed fast.
    pub recalled: BTreeSet<BuildId>,
}

impl Rung {
    fn is_silent(&self) -> bool {
        self.claimable.is_empty() && self.recalled.is_empty()
    }
}

impl Bell {
    /// A commit made this work claimable, perhaps.
    pub fn ring(&self, claimable: impl IntoIterator<Item = Job>) {
        {
            let mut heard = self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let mut counts = [0usize; 3];
            for job in &heard.claimable {
                counts[job.lane().index()] += 1;
            }
            for job in claimable {
                let count = &mut counts[job.lane().index()];
                if *count < WAKES_MOST {
                    *count += 1;
                    heard.claimable.push(job);
                }
            }
        }
        self.wake();
    }

    /// A commit ended work of a build that somebody may hold.
    pub fn recall(&self, build: BuildId) {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner).recalled.insert(build);
        self.wake();
    }

    /// Work of a lane may be claimed from then on, of which nobody will ring: this process has put
    /// it off, or has seen that a rate has room again.
    pub fn put_off(&self, lane: Lane, until: Instant) {
        {
            let mut all = self.0.put_off.lock().unwrap_or_else(PoisonError::into_inner);
            let first = &mut all[lane.index()];
            *first = Some(first.map_or(until, |first| first.min(until)));
        }
        self.0.sooner.notify_waiters();
    }

    /// Returns when work of a lane may be claimed before `than`, with the time; each is told once.
    pub async fn due_before(&self, lane: Lane, than: Instant) -> Instant {
        loop {
            let changed = self.0.sooner.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on nothing is missed.
            changed.as_mut().enable();
            {
                let mut all = self.0.put_off.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(until) = all[lane.index()].take_if(|until| *until < than) {
                    return until;
                }
            }
            changed.await;
        }
    }

    fn wake(&self) {
        self.0.waker.notify_one();
        self.0.watchers.notify_waiters();
    }

    /// Waits until it has rung, and takes what it rang for. For one listener, the waker.
    pub async fn rung(&self) -> Rung {
        loop {
            let rung =
                std::mem::take(&mut *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner));
            if !rung.is_silent() {
                return rung;
            }
            self.0.waker.notified().await;
        }
    }

    /// Returns at the next commit that this process makes. Commits of others are not heard of.
    pub async fn committed(&self) {
        self.0.watchers.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    #[tokio::test]
    async fn what_it_rang_for_is_heard_once() {
        let bell = Bell::default();
        let (task, build) = (Job::Task(draw::id()), draw::id());

        bell.ring([task]);
        bell.recall(build);

        let rung = bell.rung().await;
        assert_eq!(rung, Rung { claimable: vec![task], recalled: BTreeSet::from([build]) });
        bell.ring([]);
        let again = tokio::time::timeout(std::time::Duration::from_millis(20), bell.rung()).await;
        assert!(again.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_of_what_is_due_sooner() {
        let (bell, now) = (Bell::default(), Instant::now());
        let at = |ms| now + std::time::Duration::from_millis(ms);
        let waits = |ms| {
            let bell = bell.clone();
            async move {
                tokio::select! {
                    biased;
                    due = bell.due_before(Lane::Deliveries, at(ms)) => Some(due),
                    () = tokio::time::sleep_until(at(ms)) => None,
                }
            }
        };

        let put_off = async {
            bell.put_off(Lane::Deliveries, at(700));
            bell.put_off(Lane::Deliveries, at(300));
            bell.put_off(Lane::Tasks, at(100));
        };
        assert_eq!(tokio::join!(waits(500), put_off).0, Some(at(300)));
        bell.put_off(Lane::Deliveries, at(800));
        assert_eq!(waits(600).await, None);
        assert_eq!(waits(900).await, Some(at(800)));
    }

    #[tokio::test]
    async fn a_lane_is_woken_no_more_than_is_of_use() {
        let bell = Bell::default();

        bell.ring((0..1000).map(|_| Job::Task(draw::id())));
        bell.ring([Job::Plan(draw::id())]);

        assert_eq!(bell.rung().await.claimable.len(), WAKES_MOST + 1);
    }
}
