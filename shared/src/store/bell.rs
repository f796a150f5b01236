//! Rings after commits, for whoever in this process wants to know at once.
//!
//! The waker hears what became claimable and whose leases were taken away; watchers hear only that
//! something was committed. Nothing is true because of the bell: who missed it finds out by
//! looking.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::{domain::id::BuildId, job::Job};

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

    #[tokio::test]
    async fn a_lane_is_woken_no_more_than_is_of_use() {
        let bell = Bell::default();

        bell.ring((0..1000).map(|_| Job::Task(draw::id())));
        bell.ring([Job::Plan(draw::id())]);

        assert_eq!(bell.rung().await.claimable.len(), WAKES_MOST + 1);
    }
}
