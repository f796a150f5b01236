//! The slots that a claim takes while it is worked on.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    Awaited(#[expect(dead_code, reason = "it counts while it is there")] Place),
    Taken(Taken),
    Left,
}

#[derive(Debug)]
struct Taken {
    _slots: OwnedSemaphorePermit,
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
    pub(super) fn taken(slots: OwnedSemaphorePermit) -> Self {
        let cost = u32::try_from(slots.num_permits()).unwrap_or(u32::MAX);
        Self::new(cost, Slots::Taken(Taken { _slots: slots, busy: None }))
    }

    /// For so many slots, which it waits for.
    pub(super) fn awaited(cost: u32, busy: &Busy) -> Self {
        Self::new(cost, Slots::Awaited(Place::new(cost, busy)))
    }

    fn new(cost: u32, slots: Slots) -> Self {
        Self(Arc::new(Parts { cost, slots: Mutex::new(slots) }))
    }

    /// Waits for the slots, if it has none yet.
    pub(super) async fn wait(&self, free: &Arc<Semaphore>) {
        let is_awaited = matches!(&*self.0.slots(), Slots::Awaited(_));
        if is_awaited && let Ok(slots) = Arc::clone(free).acquire_many_owned(self.0.cost).await {
            *self.0.slots() = Slots::Taken(Taken { _slots: slots, busy: None });
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
