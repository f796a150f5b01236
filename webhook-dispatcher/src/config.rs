//! The dispatcher's settings.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    config::Reader,
    domain::{address::Allowed, retry::Policy},
    job::Lane,
    member::Member,
};

use crate::{handle::Dispatcher, send::Sender};

/// How deliveries are made.
#[derive(Debug, Clone)]
pub struct Config {
    /// Requests on their way at once, in this process.
    pub slots: usize,
    /// The longest a request may take, from the dial to the last byte of the answer.
    pub time_limit: Duration,
    /// Where webhooks may go beside the public internet.
    pub allowed: Allowed,
}

impl Config {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            slots: reader.number("BUILDFLEET_DELIVERY_SLOTS", 1, 1000) as usize,
            time_limit: reader.secs("BUILDFLEET_WEBHOOK_TIMEOUT_SECS", 1, 120),
            allowed: reader.webhook_targets(),
        }
    }

    /// The lease of a delivery: the request's time limit, and enough to write the result down. A
    /// lease that could lapse while a request is on its way would send it twice.
    pub fn lease(&self) -> Duration {
        self.time_limit + Duration::from_secs(15)
    }

    /// Delivers webhooks until the member is stopped. An error means that no request could ever be
    /// made.
    pub async fn serve(self, member: &Member) -> reqwest::Result<()> {
        let holder = Member::holder();
        let dispatcher = Arc::new(Dispatcher {
            store: Arc::clone(&member.store),
            lease: self.lease(),
            sender: Sender::new(self.allowed, self.time_limit, self.slots)?,
            holder,
            retry: Policy::DELIVERY,
            nudge: member.nudge.clone(),
            stop: member.stop.clone(),
        });
        member
            .serve(Lane::Deliveries, holder, self.slots, move |job| {
                let dispatcher = Arc::clone(&dispatcher);
                async move { dispatcher.handle(job).await }
            })
            .await;
        Ok(())
    }
}
