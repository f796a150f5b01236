//! A process of the fleet: what every program does beside its own work.
//!
//! It says that it lives, carries its commits into the queue, and puts a handler to work on a lane.
//! `buildfleet dev` is one member with every lane.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    config::host_name,
    domain::id::HolderId,
    draw,
    job::{Job, Lane},
    queue::{
        Queue,
        relay::{Nudge, Relay},
        serve::serve,
    },
    store::{Error, Store, WorkerBeat},
};

/// How often a holder says that it lives. Three silent beats and it shows as lost.
pub const BEAT: Duration = Duration::from_secs(5);

/// A process with a store, a queue and a name.
#[derive(Clone)]
pub struct Member {
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    /// Wakes the relay after a commit.
    pub nudge: Nudge,
    /// Cancelled when the process shall take on nothing more.
    pub stop: CancellationToken,
    program: &'static str,
}

impl Member {
    /// A member and the relay that `run` wants.
    pub fn new(
        store: Arc<dyn Store>,
        queue: Arc<dyn Queue>,
        program: &'static str,
        stop: CancellationToken,
    ) -> (Self, Relay) {
        let relay = Relay::new(Arc::clone(&store), Arc::clone(&queue));
        (Self { store, queue, nudge: relay.nudge(), stop, program }, relay)
    }

    /// Runs the relay beside what the program does, and a little longer: what is settled while it
    /// stops is still carried into the queue.
    pub async fn run<T>(relay: Relay, work: impl Future<Output = T>) -> T {
        let idle = CancellationToken::new();
        let worked = async {
            let result = work.await;
            idle.cancel();
            result
        };
        let ((), result) = tokio::join!(relay.run(idle.clone()), worked);
        result
    }

    /// Works on a lane until stopped, with at most `slots` jobs at once, under a holder's name of
    /// its own.
    pub async fn serve<H, F>(&self, lane: Lane, holder: HolderId, slots: usize, handler: H)
    where
        H: Fn(Job) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let busy = Arc::new(AtomicU32::new(0));
        let beat = self.beat(lane, holder, slots, Arc::clone(&busy));
        let serving =
            serve(Arc::clone(&self.queue), lane, holder, slots, self.stop.clone(), busy, handler);
        tokio::select! {
            served = serving => {
                if let Err(error) = served {
                    tracing::error!(error = %error, "the lane is served no more");
                }
            }
            () = beat => {}
        }
        if let Err(error) = self.store.sign_off(holder).await {
            tracing::warn!(error = %error, "the worker could not be taken off the list");
        }
    }

    /// Says that a holder lives, for ever.
    async fn beat(&self, lane: Lane, holder: HolderId, slots: usize, busy: Arc<AtomicU32>) {
        loop {
            let beat = WorkerBeat {
                holder,
                program: self.program.to_owned(),
                host: host_name(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                lane,
                slots: u32::try_from(slots).unwrap_or(u32::MAX),
                busy: busy.load(Ordering::Relaxed),
            };
            if let Err(error) = self.store.beat(&beat).await {
                tracing::warn!(error = %error, "the heartbeat was not written");
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Draws a name for a holder of this process.
    pub fn holder() -> HolderId {
        draw::id()
    }
}
