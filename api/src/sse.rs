//! Streams of events: each reader pulls from the log by sequence number, so that nothing is
//! buffered for a slow one, and nothing is lost or told twice to one that comes back.
//!
//! Other processes write the log, so somebody has to look whether it grew. All readers of one build
//! in this process look with one pair of eyes: a `Tail`.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use axum::response::sse::Event as Frame;
use buildfleet::{
    domain::id::BuildId,
    store::{self, EventView},
};
use futures_util::{Stream, stream};
use tokio::time::Instant;

use crate::{Api, wire};

/// How old what one knows of a log may be. A person does not notice; a database hardly does.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long to wait for more after a commit of this process, which is heard of at once.
const MOMENT: Duration = Duration::from_millis(10);
/// How long to leave a store in peace that does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How many events a reader pulls at once, and so holds at most.
const BATCH: u32 = 100;

/// The builds that somebody watches.
#[derive(Default)]
pub struct Tails(Mutex<HashMap<BuildId, Weak<Tail>>>);

/// How far the log of one build is known to reach.
pub struct Tail {
    build: BuildId,
    seen: tokio::sync::Mutex<Seen>,
}

struct Seen {
    last_seq: u64,
    at: Option<Instant>,
}

impl Tails {
    fn of(&self, build: BuildId) -> Arc<Tail> {
        let mut tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tail) = tails.get(&build).and_then(Weak::upgrade) {
            return tail;
        }
        tails.retain(|_, tail| 0 < tail.strong_count());
        let seen = tokio::sync::Mutex::new(Seen { last_seq: 0, at: None });
        let tail = Arc::new(Tail { build, seen });
        tails.insert(build, Arc::downgrade(&tail));
        tail
    }
}

impl Tail {
    /// Returns when the log reaches beyond `after`. Whoever comes first looks for all: the others
    /// wait for the lock and find the answer fresh.
    async fn beyond(&self, store: &dyn store::Store, after: u64) -> Result<(), store::Error> {
        loop {
            let wait = {
                let mut seen = self.seen.lock().await;
                if after < seen.last_seq {
                    return Ok(());
                }
                match seen.at.map(|at| at.elapsed()) {
                    Some(age) if age < LOOK_EVERY => LOOK_EVERY - age,
                    _ => {
                        seen.last_seq = self.look(store, seen.last_seq.max(after)).await?;
                        seen.at = Some(Instant::now());
                        continue;
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = store.bell().committed() => {
                    // One look for all the commits of a moment.
                    tokio::time::sleep(wait.min(MOMENT)).await;
                    self.seen.lock().await.at = None;
                }
            }
        }
    }

    async fn look(&self, store: &dyn store::Store, after: u64) -> Result<u64, store::Error> {
        let fresh = store.events(self.build, after, BATCH).await?;
        Ok(fresh.last().map_or(after, |event| event.seq))
    }
}

/// One reader's place in a log.
struct Reader {
    api: Api,
    tail: Arc<Tail>,
    after: u64,
    batch: VecDeque<EventView>,
    /// Where it stands may be the end of the log for good.
    maybe_over: bool,
}

/// The events of a build after a sequence number, and those to come, until the one that ends the
/// build. Ends early when the process stops.
pub fn frames(
    api: Api,
    build: BuildId,
    after: u64,
) -> impl Stream<Item = Result<Frame, Infallible>> + Send + 'static {
    let tail = api.tails.of(build);
    let reader = Reader { api, tail, after, batch: VecDeque::new(), maybe_over: true };
    stream::unfold(reader, |mut reader| async move {
        let stop = reader.api.stop.clone();
        let event = tokio::select! {
            event = reader.next() => event?,
            () = stop.cancelled() => return None,
        };
        Some((Ok(frame(event)), reader))
    })
}

impl Reader {
    async fn next(&mut self) -> Option<EventView> {
        loop {
            if let Some(event) = self.batch.pop_front() {
                self.after = event.seq;
                self.maybe_over = event.kind.ends_build();
                return Some(event);
            }
            match self.pull().await {
                Ok(true) => return None,
                Ok(false) => {}
                // A build that is gone has no more to tell.
                Err(store::Error::NotFound { .. }) => return None,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        build.id = %self.tail.build,
                        "a stream waits for the store"
                    );
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Fetches what comes next, waiting for it. True if nothing will come.
    async fn pull(&mut self) -> Result<bool, store::Error> {
        let store = &*self.api.store;
        if self.maybe_over {
            let build = store.build(self.tail.build).await?;
            if build.state.is_final() && build.last_seq == self.after {
                return Ok(true);
            }
            self.maybe_over = false;
        }
        self.tail.beyond(store, self.after).await?;
        self.batch = store.events(self.tail.build, self.after, BATCH).await?.into();
        Ok(false)
    }
}

fn frame(event: EventView) -> Frame {
    let frame = Frame::default().id(event.seq.to_string()).event(event.kind.as_str());
    // Strings, numbers and a JSON value: there is nothing in an event that JSON cannot say.
    let data = serde_json::to_string(&wire::event::Event::from(event)).unwrap_or_default();
    frame.data(data)
}
