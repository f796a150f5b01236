//! Hears notices on a channel of Redis, for all who listen in this process.
//!
//! A subscriber can ask nothing else of Redis, so it has a connection of its own. Whatever becomes
//! of that connection, another is made, for ever; what was told in between is lost.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use redis::RedisError;
use tokio::{sync::broadcast, task::JoinSet};

use super::{
    ANSWER_WITHIN, CONNECT_WITHIN, NOTICES_AT,
    node::{Node, Nodes},
    silent,
};
use crate::{job::Notice, outage::Outage, queue::NOTICES_BEHIND};

/// How often to see that the connection still leads to somebody. A cut that nobody was told of is
/// found after this and `ANSWER_WITHIN`.
const PING_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Hearing {
    nodes: Arc<Nodes>,
    channel: String,
    heard: broadcast::Sender<Notice>,
    /// Empty until somebody listens.
    subscriber: Mutex<JoinSet<Infallible>>,
}

impl Hearing {
    pub(super) fn new(nodes: Arc<Nodes>, channel: String) -> Self {
        let heard = broadcast::Sender::new(NOTICES_BEHIND);
        Self { nodes, channel, heard, subscriber: Mutex::default() }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Notice> {
        let mut subscriber = self.subscriber.lock().unwrap_or_else(PoisonError::into_inner);
        if subscriber.is_empty() {
            subscriber.spawn(hear_for_ever(
                self.nodes.clone(),
                self.channel.clone(),
                self.heard.clone(),
            ));
        }
        self.heard.subscribe()
    }
}

async fn hear_for_ever(
    nodes: Arc<Nodes>,
    channel: String,
    heard: broadcast::Sender<Notice>,
) -> Infallible {
    let mut outage = Outage::impatient("hearing notices");
    loop {
        let error = match nodes.of(NOTICES_AT).await {
            Ok(node) => {
                let Err(error) = hear(&nodes, &node, &channel, &heard, &mut outage).await;
                // It may have another address by now, and nobody else may be asking.
                nodes.give_up(NOTICES_AT, &node);
                error
            }
            Err(error) => error,
        };
        tokio::time::sleep(outage.goes_on(&error)).await;
    }
}

/// Hears until the connection fails, or leads to another node than commands do.
async fn hear(
    nodes: &Nodes,
    node: &Arc<Node>,
    channel: &str,
    heard: &broadcast::Sender<Notice>,
    outage: &mut Outage,
) -> Result<Infallible, RedisError> {
    let connecting = async {
        let (mut sink, messages) = node.client.get_async_pubsub().await?.split();
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
            message = messages.next() => match message {
                Some(message) => pass_on(&message, heard),
                None => return Err(silent("the subscriber was cut off".to_owned())),
            },
            _ = pings.tick() => {
                if !nodes.is(NOTICES_AT, node) {
                    return Err(silent("notices are told elsewhere".to_owned()));
                }
                tokio::time::timeout(ANSWER_WITHIN, sink.ping::<redis::Value>())
                    .await
                    .unwrap_or_else(|_| Err(silent("no answer to a ping".to_owned())))?;
            }
        }
    }
}

fn pass_on(message: &redis::Msg, heard: &broadcast::Sender<Notice>) {
    for line in String::from_utf8_lossy(message.get_payload_bytes()).lines() {
        match line.parse() {
            Ok(notice) => {
                // Nobody may listen any more.
                heard.send(notice).ok();
            }
            Err(error) => tracing::debug!(%error, "a notice of another version; passed over"),
        }
    }
}
