//! The dispatcher's settings.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use buildfleet::{
    config::Reader,
    domain::{address::Allowed, retry::Policy},
    member::Member,
    queue::serve::Work,
    store::DeliveryClaim,
    vault::Vault,
};

use crate::{
    handle::Dispatcher,
    send::{self, Sender, Settings},
};

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
    /// Who is asked for the addresses of names; this machine's own settings if none is named.
    pub name_servers: Vec<SocketAddr>,
    /// Opens the secrets that sign.
    pub vault: Vault,
}

impl Config {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            slots: reader.number("BUILDFLEET_DELIVERY_SLOTS", 1, 1000),
            lease: reader.lease(),
            time_limit: reader.secs("BUILDFLEET_WEBHOOK_TIMEOUT_SECS", 1, 120),
            allowed: reader.webhook_targets(),
            name_servers: reader.addresses("BUILDFLEET_WEBHOOK_DNS"),
            vault: Vault::read(reader),
        }
    }

    /// Delivers webhooks until the member is stopped. An error means that no request could ever be
    /// made.
    pub async fn serve(self, member: &Member) -> Result<(), send::Error> {
        let sender = Sender::new(Settings {
            allowed: self.allowed,
            time_limit: self.time_limit,
            slots: self.slots as usize,
            name_servers: self.name_servers,
            roots: None,
        })?;
        let dispatcher = Arc::new(Dispatcher {
            store: Arc::clone(&member.store),
            lease: self.lease,
            sender: sender.clone(),
            vault: self.vault,
            retry: Policy::DELIVERY,
        });
        let serving = member.serve(self.lease, self.slots, move |work: Work<DeliveryClaim>| {
            let dispatcher = Arc::clone(&dispatcher);
            async move { dispatcher.handle(work).await }
        });
        tokio::select! {
            () = serving => {}
            () = sender.tend() => {}
        }
        Ok(())
    }
}
