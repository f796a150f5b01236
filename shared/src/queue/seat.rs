//! The slots that a claim takes while it is worked on.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::OwnedSemaphorePermit;

/// The slots of one claim. Cheap to clone; they are free once it was left, or all clones are gone.
#[derive(Debug, Clone)]
pub struct Seat(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    cost: u32,
    taken: Mutex<Option<Taken>>,
}

#[derive(Debug)]
struct Taken {
    _slots: OwnedSemaphorePermit,
    /// Counts the slots at work, once this claim is among them.
    busy: Option<Arc<AtomicU32>>,
}

impl Seat {
    pub(super) fn new(slots: OwnedSemaphorePermit) -> Self {
        let cost = u32::try_from(slots.num_permits()).unwrap_or(u32::MAX);
        let taken = Mutex::new(Some(Taken { _slots: slots, busy: None }));
        Self(Arc::new(Parts { cost, taken }))
    }

    /// Frees the slots: nothing is done any more but writing down what came of it, and others may
    /// work meanwhile. Once is enough.
    pub fn leave(&self) {
        if let Some(Taken { busy: Some(busy), .. }) = self.0.take() {
            busy.fetch_sub(self.0.cost, Ordering::Relaxed);
        }
    }

    /// Counts the slots as busy until it is left.
    pub(super) fn begin(&self, busy: Arc<AtomicU32>) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = &mut *taken {
            busy.fetch_add(self.0.cost, Ordering::Relaxed);
            taken.busy = Some(busy);
        }
    }
}

impl Parts {
    fn take(&self) -> Option<Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
