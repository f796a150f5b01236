//! Hears notices on a channel of Redis, for all who listen in this process.
//!
//! A subscriber can ask nothing else of Redis, so it has a connection of its own. Whatever becomes
//! of that connection, another is made, for ever; what was told in between is lost.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use redis::{Client, RedisError};
use tokio::{sync::broadcast, task::JoinSet};

use super::{ANSWER_WITHIN, CONNECT_WITHIN, silent};
use crate::{
    job::Notice,
    queue::{NOTICES_BEHIND, outage::Outage},
};

/// How often to see that the connection still leads to somebody. A cut that nobody was told of is
/// found after this and `ANSWER_WITHIN`.
const PING_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Hearing {
    client: Client,
    channel: String,
    heard: broadcast::Sender<Notice>,
    /// Empty until somebody listens.
    subscriber: Mutex<JoinSet<Infallible>>,
}

impl Hearing {
    pub(super) fn new(client: Client, channel: String) -> Self {
        let heard = broadcast::Sender::new(NOTICES_BEHIND);
        Self { client, channel, heard, subscriber: Mutex::default() }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Notice> {
        let mut subscriber = self.subscriber.lock().unwrap_or_else(PoisonError::into_inner);
        if subscriber.is_empty() {
            subscriber.spawn(hear_for_ever(
                self.client.clone(),
                self.channel.clone(),
                self.heard.clone(),
            ));
        }
        self.heard.subscribe()
    }
}

async fn hear_for_ever(
    client: Client,
    channel: String,
    heard: broadcast::Sender<Notice>,
) -> Infallible {
    let mut outage = Outage::impatient("hearing notices");
    loop {
        let Err(error) = hear(&client, &channel, &heard, &mut outage).await;
        tokio::time::sleep(outage.goes_on(&error)).await;
    }
}

/// Hears until the connection fails.
async fn hear(
    client: &Client,
    channel: &str,
    heard: &broadcast::Sender<Notice>,
    outage: &mut Outage,
) -> Result<Infallible, RedisError> {
    let connecting = async {
        let (mut sink, messages) = client.get_async_pubsub().await?.split();
        sink.subscribe(channel).await?;
        Ok::<_, RedisError>((sink, messages))
    };
    let (mut sink, mut messages) = tokio::time::timeout(CONNECT_WITHIN, connecting)
        .await
        .unwrap_or_else(|_| Err(silent("no answer to a subscriber".to_owned())))?;
    outage.is_over();

    let mut pings = tokio::time::interval(PING_EVERY);
    loop {
        tokio::select! {
            message = messages.next() => {
                let message = message.ok_or_else(|| silent("the subscriber was cut off".to_owned()))?;
                pass_on(&message, heard);
            }
            _ = pings.tick() => {
                tokio::time::timeout(ANSWER_WITHIN, sink.ping::<redis::Value>())
                    .await
                    .unwrap_or_else(|_| Err(silent("no answer to a ping".to_owned())))?;
            }
        }
    }
}

fn pass_on(message: &redis::Msg, heard: &broadcast::Sender<Notice>) {
    match String::from_utf8_lossy(message.get_payload_bytes()).parse() {
        Ok(notice) => {
            // Nobody may listen any more.
            heard.send(notice).ok();
        }
        Err(error) => tracing::debug!(%error, "a notice of another version; passed over"),
    }
}
