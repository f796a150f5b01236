//! One delivery: claim, attempt, settle.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    domain::{attempt::Failure, id::HolderId, retry::Policy},
    draw,
    job::Job,
    queue::relay::Nudge,
    store::{DeliveryClaim, Error, SendResult, Store},
};
use tokio_util::sync::CancellationToken;

use crate::{request::Signed, send::Sender};

/// What it takes to deliver webhooks.
pub struct Dispatcher {
    pub store: Arc<dyn Store>,
    pub sender: Sender,
    pub holder: HolderId,
    /// Longer than a request may take, so that it is never extended: see `config`.
    pub lease: Duration,
    pub retry: Policy,
    pub nudge: Nudge,
    pub stop: CancellationToken,
}

impl Dispatcher {
    /// Makes one attempt at one delivery. An error means nothing was decided, and the job will come
    /// again.
    pub async fn handle(&self, job: Job) -> Result<(), Error> {
        let Job::Delivery(delivery) = job else { return Ok(()) };
        if self.stop.is_cancelled() {
            return Ok(()); // Nothing was claimed; the relay of another dispatcher finds it again.
        }
        let claimed = self.store.claim_delivery(delivery, self.holder, self.lease).await?;
        let Some(claim) = claimed else {
            return Ok(()); // Settled already, not due, not its turn yet, or someone else has it.
        };

        // A request that is on its way is waited for even while stopping: nobody can tell whether
        // the receiver has seen it, and it takes no longer than its time limit.
        let result = self.attempt(&claim).await;

        let settled = self.settle(&claim, &result).await;
        self.nudge.nudge();
        settled
    }

    async fn attempt(&self, claim: &DeliveryClaim) -> SendResult {
        match Signed::new(claim, claim.claimed_at) {
            Ok(request) => self.sender.send(request).await,
            Err(bad) => SendResult {
                failure: Some(Failure::permanent("bad_secret", bad.to_string())),
                status: None,
                took_ms: 0,
                excerpt: None,
            },
        }
    }

    /// Writes the result down. The lease outlives the request by enough for a few tries.
    async fn settle(&self, claim: &DeliveryClaim, result: &SendResult) -> Result<(), Error> {
        let mut pause = Duration::from_millis(100);
        loop {
            let settled = self
                .store
                .settle_delivery(claim.fence(), result, &self.retry, draw::jitter())
                .await;
            match settled {
                Err(Error::Unavailable { source }) if pause < Duration::from_secs(5) => {
                    tracing::warn!(error = %source, "settling did not succeed; trying again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                settled => return settled,
            }
        }
    }
}
