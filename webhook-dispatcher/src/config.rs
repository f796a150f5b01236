//! The dispatcher's settings.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    config::Reader,
    domain::{address::Allowed, retry::Policy},
    member::Member,
    queue::serve::Work,
    store::DeliveryClaim,
};

use crate::{handle::Dispatcher, send::Sender};

/// How deliveries are made.
#[derive(Debug, Clone)]
pub struct Config {
    /// Requests on their way at once, in this process.
    pub slots: u32,
    pub lease: Duration,
    /// The longest a request may take, from the dial to the last byte of the answer.
    pub time_limit: Duration,
    /// Where webhooks may go beside the public internet.
    pub allowed: Allowed,
}

impl Config {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            slots: reader.number("BUILDFLEET_DELIVERY_SLOTS", 1, 1000),
            lease: reader.lease(),
            time_limit: reader.secs("BUILDFLEET_WEBHOOK_TIMEOUT_SECS", 1, 120),
            allowed: reader.webhook_targets(),
        }
    }

    /// Delivers webhooks until the member is stopped. An error means that no request could ever be
    /// made.
    pub async fn serve(self, member: &Member) -> reqwest::Result<()> {
        let dispatcher = Arc::new(Dispatcher {
            store: Arc::clone(&member.store),
            lease: self.lease,
            sender: Sender::new(self.allowed, self.time_limit, self.slots as usize)?,
            retry: Policy::DELIVERY,
        });
        member
            .serve(self.lease, self.slots, move |work: Work<DeliveryClaim>| {
                let dispatcher = Arc::clone(&dispatcher);
                async move { dispatcher.handle(work).await }
            })
            .await;
        Ok(())
    }
}
