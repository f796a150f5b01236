//! The slots that a claim takes while it is worked on.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{id::EndpointId, limit};

/// The slots of one claim. Cheap to clone; they are free once it was left, or all clones are gone.
#[derive(Debug, Clone)]
pub struct Seat(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    cost: u32,
    slots: Mutex<Slots>,
}

#[derive(Debug)]
enum Slots {
    Awaited { to: Option<EndpointId>, _place: Place },
    Taken(Taken),
    Left,
}

/// Lets an endpoint have many slots of a program, but not the last ones: those are for endpoints
/// that have none.
#[derive(Debug, Clone)]
pub(super) struct Door {
    common: Arc<Semaphore>,
    seated: Arc<Mutex<HashMap<EndpointId, u32>>>,
}

/// A slot's worth of an endpoint. Dropped, it lets another one through.
#[derive(Debug)]
pub(super) struct Pass {
    /// None of those that are kept.
    _common: Option<OwnedSemaphorePermit>,
    to: EndpointId,
    door: Door,
}

impl Door {
    pub(super) fn new(slots: u32) -> Self {
        let common = slots.saturating_sub(limit::spare(slots)).max(1);
        Self { common: Arc::new(Semaphore::new(common as usize)), seated: Arc::default() }
    }

    /// Lets a claim through that need not wait.
    pub(super) fn try_pass(&self, to: EndpointId) -> Option<Pass> {
        let common = Arc::clone(&self.common).try_acquire_owned().ok();
        let mut seated = self.seated();
        let count = seated.entry(to).or_default();
        if common.is_none() && 0 < *count {
            return None;
        }
        *count += 1;
        drop(seated);
        Some(Pass { _common: common, to, door: self.clone() })
    }

    async fn pass(&self, to: EndpointId) -> Option<Pass> {
        if let Some(pass) = self.try_pass(to) {
            return Some(pass);
        }
        let common = Arc::clone(&self.common).acquire_owned().await.ok()?;
        *self.seated().entry(to).or_default() += 1;
        Some(Pass { _common: Some(common), to, door: self.clone() })
    }

    fn seated(&self) -> MutexGuard<'_, HashMap<EndpointId, u32>> {
        // Nothing panics while it holds the lock.
        self.seated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut seated = self.door.seated();
        if let Some(count) = seated.get_mut(&self.to) {
            *count -= 1;
            if *count == 0 {
                seated.remove(&self.to);
            }
        }
    }
}

#[derive(Debug)]
struct Taken {
    _slots: OwnedSemaphorePermit,
    _pass: Option<Pass>,
    /// Counts the slots at work, once this claim is among them.
    busy: Option<Busy>,
}

/// Says how many slots of a program are at work, how much waits for them, and how much has left them
/// so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy {
    pub(super) now: Arc<AtomicU32>,
    pub(super) left: Arc<AtomicU64>,
    pub(super) waiting: Arc<AtomicU32>,
}

impl Busy {
    /// How much was claimed ahead and has no slots yet.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A place in the queue for slots.
#[derive(Debug)]
struct Place {
    cost: u32,
    waiting: Arc<AtomicU32>,
}

impl Place {
    fn new(cost: u32, busy: &Busy) -> Self {
        busy.waiting.fetch_add(cost, Ordering::Relaxed);
        Self { cost, waiting: Arc::clone(&busy.waiting) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.cost, Ordering::Relaxed);
    }
}

impl Seat {
    pub(super) fn taken(slots: OwnedSemaphorePermit, pass: Option<Pass>) -> Self {
        let cost = u32::try_from(slots.num_permits()).unwrap_or(u32::MAX);
        Self::new(cost, Slots::Taken(Taken { _slots: slots, _pass: pass, busy: None }))
    }

    /// For so many slots, which it waits for.
    pub(super) fn awaited(cost: u32, to: Option<EndpointId>, busy: &Busy) -> Self {
        Self::new(cost, Slots::Awaited { to, _place: Place::new(cost, busy) })
    }

    fn new(cost: u32, slots: Slots) -> Self {
        Self(Arc::new(Parts { cost, slots: Mutex::new(slots) }))
    }

    /// Waits for the slots, if it has none yet.
    pub(super) async fn wait(&self, free: &Arc<Semaphore>, door: &Door) {
        let to = match &*self.0.slots() {
            Slots::Awaited { to, .. } => *to,
            Slots::Taken(_) | Slots::Left => return,
        };
        let pass = match to {
            Some(to) => door.pass(to).await,
            None => None,
        };
        if let Ok(slots) = Arc::clone(free).acquire_many_owned(self.0.cost).await {
            *self.0.slots() = Slots::Taken(Taken { _slots: slots, _pass: pass, busy: None });
        }
    }

    /// Frees the slots: nothing is done any more but writing down what came of it, and others may
    /// work meanwhile. Once is enough.
    pub fn leave(&self) {
        let slots = std::mem::replace(&mut *self.0.slots(), Slots::Left);
        if let Slots::Taken(Taken { busy: Some(busy), .. }) = slots {
            busy.now.fetch_sub(self.0.cost, Ordering::Relaxed);
            busy.left.fetch_add(u64::from(self.0.cost), Ordering::Relaxed);
        }
    }

    /// Counts the slots as busy until it is left.
    pub(super) fn begin(&self, busy: &Busy) {
        if let Slots::Taken(taken) = &mut *self.0.slots() {
            busy.now.fetch_add(self.0.cost, Ordering::Relaxed);
            taken.busy = Some(busy.clone());
        }
    }
}

impl Parts {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        // Nothing panics while it holds the lock.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    #[tokio::test]
    async fn the_last_slots_are_for_an_endpoint_that_has_none() {
        let door = Door::new(10);
        let (crowd, other): (EndpointId, EndpointId) = (draw::id(), draw::id());

        let mut seated: Vec<Pass> = (0..20).filter_map(|_| door.try_pass(crowd)).collect();
        let first = door.try_pass(other);
        let second = door.try_pass(other);

        assert_eq!((seated.len(), first.is_some(), second.is_some()), (9, true, false));
        let waits = door.pass(crowd);
        tokio::pin!(waits);
        assert!(futures_util::poll!(&mut waits).is_pending());
        seated.pop();
        assert!(waits.await.is_some());
        assert_eq!(door.seated().get(&crowd), Some(&8));
        drop((seated, first));
        assert!(door.seated().is_empty());
    }
}
