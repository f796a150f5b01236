//! One delivery: claim, attempt, settle.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    domain::{
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
        match signed(claim) {
            Ok(request) => {
                let sent = self.sender.send(&request).await;
                result(&request, sent)
            }
            Err(bad) => SendResult {
                failure: Some(Failure::permanent(bad.code(), bad.to_string())),
                ..SendResult::default()
            },
        }
    }
}

fn signed(claim: &DeliveryClaim) -> Result<Signed, Unsignable> {
    let newest_first = std::iter::once(&claim.secret).chain(&claim.old_secrets);
    let keys: Vec<Secret> = newest_first.map(|key| Secret::new(key.expose_secret())).collect();
    let keys = Keyring::read(&keys)?;
    let (id, body) = (claim.event.id.to_string(), request::body(&claim.event, claim.build()));
    Signed::new(&claim.url, &id, body, &keys, claim.claimed_at)?.with_headers(&claim.headers)
}

/// The part of it that the store keeps.
fn result(request: &Signed, sent: Sent) -> SendResult {
    SendResult {
        exchange: Some(sent.exchange(request)),
        asked: sent.asked(),
        took_ms: u64::try_from(sent.timings.total.as_millis()).unwrap_or(u64::MAX),
        failure: sent.ruling.failure,
        status: sent.status,
        excerpt: sent.excerpt,
    }
}
