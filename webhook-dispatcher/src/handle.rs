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
    vault::Vault,
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
    pub vault: Vault,
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
        match self.signed(claim) {
            Ok(request) => {
                let sent = self.sender.send(&request).await;
                result(&request, sent)
            }
            Err(failure) => SendResult { failure: Some(failure), ..SendResult::default() },
        }
    }

    fn signed(&self, claim: &DeliveryClaim) -> Result<Signed, Failure> {
        let newest_first = std::iter::once(&claim.secret).chain(&claim.old_secrets);
        let keys = newest_first
            .map(|kept| self.vault.open(kept, &claim.tenant))
            .map(|opened| opened.map(|secret| Secret::new(secret.expose_secret())))
            .collect::<Result<Vec<_>, _>>();
        // An operator who forgot a key can give it until all attempts are made.
        let keys = keys.map_err(|unopened| {
            let reason = format!("a secret of the endpoint does not open: {unopened}");
            Failure::transient("sealed_secret", reason)
        })?;
        let (id, body) = (claim.event.id.to_string(), request::body(&claim.event, claim.build()));
        Keyring::read(&keys)
            .map_err(Unsignable::from)
            .and_then(|keys| Signed::new(&claim.url, &id, body, &keys, claim.claimed_at))
            .and_then(|signed| signed.with_headers(&claim.headers))
            .map_err(|bad| Failure::permanent(bad.code(), bad.to_string()))
    }
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
