//! A process of the fleet: what every program does beside its own work.
//!
//! It says that it lives, wakes others after its commits, hears what was called back, and puts a
//! handler to work on a lane. `buildfleet dev` is one member with every lane.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::{
    config::host_name,
    domain::id::HolderId,
    draw,
    job::Lane,
    lease::{Keeper, Keepers, Leases},
    pulse::Pulse,
    queue::{
        Queue,
        feed::{Claimable, OfStore},
        serve::{LOOK_EVERY, Serving, Work, serve},
        waker::Waker,
    },
    store::{Error, Store, WorkerBeat},
};

/// How often a holder says that it lives.
pub const BEAT: Duration = Duration::from_secs(5);
/// A holder that is silent for longer shows as lost. It says nothing while the store is away for a
/// moment, and that is no reason to count it out.
pub const LOST_AFTER: Duration = Duration::from_secs(60);
/// For a store that may not answer, at the end of a process.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A process with a store, a queue and a name.
#[derive(Clone)]
pub struct Member {
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    /// Its loops: who claims, and who wakes.
    pub pulse: Pulse,
    /// Cancelled when the process shall take on nothing more.
    pub stop: CancellationToken,
    keepers: Keepers,
    program: &'static str,
}

impl Member {
    /// A member and the waker that `run` wants.
    pub fn new(
        store: Arc<dyn Store>,
        queue: Arc<dyn Queue>,
        program: &'static str,
        stop: CancellationToken,
    ) -> (Self, Waker) {
        let (pulse, keepers) = (Pulse::default(), Keepers::default());
        let bell = store.bell().clone();
        let waker = Waker::new(bell, Arc::clone(&queue), keepers.clone(), pulse.watch("waking"));
        (Self { store, queue, pulse, stop, keepers, program }, waker)
    }

    /// Runs the waker beside what the program does, and a little longer: what is settled while it
    /// stops still wakes others.
    pub async fn run<T>(waker: Waker, work: impl Future<Output = T>) -> T {
        let idle = CancellationToken::new();
        let worked = async {
            let result = work.await;
            idle.cancel();
            result
        };
        let ((), result) = tokio::join!(waker.run(idle.clone()), worked);
        result
    }

    /// Works on a lane until stopped, with at most `slots` at work at once, under a holder's name
    /// of its own. Leases last for `lease`, and are kept while the handlers run.
    pub async fn serve<C, H, R>(&self, lease: Duration, slots: u32, handler: H)
    where
        C: Claimable,
        H: Fn(Work<C>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let holder: HolderId = draw::id();
        let feed = Arc::new(OfStore::<C>::new(Arc::clone(&self.store), holder, lease));
        let keeper = Keeper::new(Arc::<OfStore<C>>::clone(&feed));
        self.keepers.add(&keeper);
        let busy = Arc::new(AtomicU32::new(0));
        let serving = Serving {
            feed,
            queue: Arc::clone(&self.queue),
            keeper,
            slots,
            busy: Arc::clone(&busy),
            beat: self.pulse.watch(format!("claiming {}", C::LANE)),
            look_every: LOOK_EVERY,
            stop: self.stop.clone(),
        };
        tokio::select! {
            biased;
            served = serve(serving, handler) => {
                if let Err(error) = served {
                    tracing::error!(error = %error, "the lane is served no more");
                }
            }
            () = self.beat(C::LANE, holder, slots, busy) => {}
        }
        match tokio::time::timeout(LAST_WORDS, self.store.sign_off(holder)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the worker could not be taken off the list");
            }
            Err(late) => {
                tracing::warn!(error = %late, "the worker could not be taken off the list");
            }
        }
    }

    /// Says that a holder lives, for ever.
    async fn beat(&self, lane: Lane, holder: HolderId, slots: u32, busy: Arc<AtomicU32>) {
        loop {
            let beat = WorkerBeat {
                holder,
                program: self.program.to_owned(),
                host: host_name(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                lane,
                slots,
                busy: busy.load(Ordering::Relaxed),
            };
            if let Err(error) = self.store.beat(&beat).await {
                tracing::warn!(error = %error, "the heartbeat was not written");
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// All that this process holds. To be asked for before the work on it is dropped.
    pub fn holdings(&self) -> Holdings {
        Holdings(self.keepers.inventory())
    }
}

/// What a process held when it was told to end at once.
pub struct Holdings(Vec<(Arc<dyn Leases>, crate::store::Fence)>);

impl Holdings {
    /// Gives all of it back, if the store answers within a moment. What is not given back is found
    /// when its lease lapses.
    pub async fn give_back(self) {
        let count = self.0.len();
        let giving = self.0.iter().map(|(leases, fence)| leases.give_back(*fence));
        match tokio::time::timeout(LAST_WORDS, join_all(giving)).await {
            Ok(given) => {
                let given = given.iter().filter(|one| one.is_ok()).count();
                tracing::info!(given, of = count, "gave back what was held");
            }
            Err(late) => tracing::warn!(error = %late, "what was held is left to lapse"),
        }
    }
}
