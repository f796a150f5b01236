//! One delivery: claim, attempt, settle.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    domain::{attempt::Failure, retry::Policy},
    draw, lease,
    queue::serve::Work,
    store::{DeliveryClaim, Error, SendResult, Store},
};

use crate::{request::Signed, send::Sender};

/// What it takes to deliver webhooks.
pub struct Dispatcher {
    pub store: Arc<dyn Store>,
    pub sender: Sender,
    /// How long a store that does not answer is asked again to keep what came of an attempt.
    pub lease: Duration,
    pub retry: Policy,
}

impl Dispatcher {
    /// Makes one attempt at one delivery. An error means nothing was decided, and the delivery will
    /// be claimed again.
    pub async fn handle(&self, work: Work<DeliveryClaim>) -> Result<(), Error> {
        let Work { claim, lost, seat } = work;
        // A request that is on its way is waited for even while stopping: nobody can tell whether
        // the receiver has seen it, and it takes no longer than its time limit.
        let result = tokio::select! {
            biased;
            result = self.attempt(&claim) => result,
            () = lost.cancelled() => return Ok(()), // Somebody else sends it now.
        };
        seat.leave();

        lease::settle(self.lease, || {
            self.store.settle_delivery(claim.fence(), &result, &self.retry, draw::jitter())
        })
        .await
    }

    async fn attempt(&self, claim: &DeliveryClaim) -> SendResult {
        match Signed::new(claim, claim.claimed_at) {
            Ok(request) => self.sender.send(request).await,
            Err(bad) => SendResult {
                failure: Some(Failure::permanent("bad_secret", bad.to_string())),
                ..SendResult::default()
            },
        }
    }
}
