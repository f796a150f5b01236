//! One delivery: claim, attempt, settle.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    domain::{
        answer::Ruling,
        attempt::Failure,
        retry::Policy,
        signing::{Keyring, Secret},
    },
    draw, lease,
    queue::serve::Work,
    store::{DeliveryClaim, Error, SendResult, Store},
};
use secrecy::ExposeSecret as _;

use crate::{
    request::{self, Signed, Unsignable},
    send::{Sender, Sent},
};

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
        let Work { claim, lost } = work;
        // A request that is on its way is waited for even while stopping: nobody can tell whether
        // the receiver has seen it, and it takes no longer than its time limit.
        let sent = tokio::select! {
            biased;
            sent = self.attempt(&claim) => sent,
            () = lost.cancelled() => return Ok(()), // Somebody else sends it now.
        };

        let result = result(sent);
        lease::settle(self.lease, || {
            self.store.settle_delivery(claim.fence(), &result, &self.retry, draw::jitter())
        })
        .await
    }

    async fn attempt(&self, claim: &DeliveryClaim) -> Sent {
        match signed(claim) {
            Ok(request) => self.sender.send(&request).await,
            Err(bad) => {
                let failure = Failure::permanent("bad_secret", bad.to_string());
                let ruling = Ruling { failure: Some(failure), ..Ruling::default() };
                Sent { ruling, ..Sent::default() }
            }
        }
    }
}

fn signed(claim: &DeliveryClaim) -> Result<Signed, Unsignable> {
    let keys = Keyring::read([&Secret::new(claim.secret.expose_secret())])?;
    let (id, body) = (claim.event.id.to_string(), request::body(&claim.event));
    Signed::new(&claim.url, &id, body, &keys, claim.claimed_at)
}

/// The part of it that the store keeps.
fn result(sent: Sent) -> SendResult {
    let Sent { ruling, status, excerpt, timings, .. } = sent;
    let took_ms = u64::try_from(timings.total.as_millis()).unwrap_or(u64::MAX);
    SendResult { failure: ruling.failure, status, took_ms, excerpt }
}
