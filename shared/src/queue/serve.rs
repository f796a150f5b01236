//! Puts a plain async function to work on the claims of a lane.
//!
//! The record says what is next; the queue only says that there is something to ask for. What is
//! claimed is begun at once: claims are made for free slots alone, so that nothing waits behind a
//! long build while another process idles. A store or a queue that does not answer is waited for:
//! neither does serving end, nor is what runs disturbed. apalis runs the worker; `source.rs` is
//! what it sees of us. docs/decisions/0003 and 0007 say why it is built like this.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, atomic::AtomicU32},
    time::Duration,
};

use apalis_core::{
    error::WorkerError,
    worker::{builder::WorkerBuilder, ext::parallelize::ParallelizeExt},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Error, Queue,
    feed::{Claim, Feed},
    seat::Seat,
    source::{Arrived, Calling, Desk, Source, Ticket},
    waiting::Waiting,
};
use crate::{
    lease::{Held, Keeper},
    outage::Outage,
    pulse::Beat,
    store,
};

/// How soon work is found of which no wake-up was heard.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a loop that waits for others says that it still goes round.
const ROUND: Duration = Duration::from_secs(1);
/// How much may wait to be written down, beside what is worked on: a store that writes slowly is not
/// asked for ever more.
const UNSETTLED_MOST: usize = 512;
/// For a store that does not answer, at the stop, to take back what was not begun. What it does not
/// take back is found when its lease lapses.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A claim in the hands of its handler.
#[derive(Debug, Clone)]
pub struct Work<C> {
    pub claim: C,
    /// Cancelled when the lease is gone: nothing can be written for this claim any more.
    pub lost: CancellationToken,
    /// The slots it takes, until it is left or the handler ends.
    pub seat: Seat,
}

/// What it takes to serve a lane.
pub struct Serving<F> {
    pub feed: Arc<F>,
    pub queue: Arc<dyn Queue>,
    /// Keeps what is claimed; `serve` runs it.
    pub keeper: Keeper,
    pub slots: u32,
    /// Says how many slots are at work.
    pub busy: Arc<AtomicU32>,
    pub beat: Beat,
    /// `LOOK_EVERY`, unless one wants to see what is done without looking.
    pub look_every: Duration,
    pub stop: CancellationToken,
}

/// Calls `handler` for what can be claimed, for as much at once as there are slots, until `stop`.
/// Handlers run in parallel. Their leases are kept until they have ended.
///
/// At the stop nothing more is claimed, what has not begun is given back, and running handlers,
/// which watch the same token, are waited for. Dropping the future breaks them off.
pub async fn serve<F, H, R>(serving: Serving<F>, handler: H) -> Result<(), Error>
where
    F: Feed,
    H: Fn(Work<F::Claim>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<(), store::Error>> + Send + 'static,
{
    let slots = serving.slots.max(1);
    // Bounded by the slots, one of which each claim has.
    let (arrivals, arrived) = mpsc::unbounded_channel();
    let (returns, returned) = mpsc::unbounded_channel();
    let trouble = Arc::new(Mutex::new(Outage::patient("settling")));
    let desk = Desk { busy: serving.busy, stop: serving.stop.clone(), trouble };
    let source = Source { arrived, stop: serving.stop.clone(), desk };
    let (feed, keeper) = (serving.feed, serving.keeper);
    let worker = work(format!("{}-{}", feed.lane(), feed.holder()), source, handler);
    let giving = give_back(Arc::clone(&feed), returned, serving.stop.clone());
    let waiting = Waiting::new(Arc::clone(&feed), serving.queue, serving.look_every);
    let claimer = Claimer {
        feed,
        keeper: keeper.clone(),
        slots,
        free: Arc::new(Semaphore::new(slots as usize)),
        hands: Arc::new(Semaphore::new(slots as usize + UNSETTLED_MOST)),
        arrivals,
        returns,
        beat: serving.beat,
        stop: serving.stop,
    };

    // The claimer ends at the stop; the worker ends when the claimer is gone and all handlers have
    // ended; the last ticket is gone with the worker, and with it what `give_back` listens to.
    let served = async { tokio::join!(worker, Box::pin(claimer.run(waiting)), Box::pin(giving)).0 };
    let ran = tokio::select! {
        biased;
        ran = served => ran,
        () = keeper.run() => Ok(()),
    };
    ran.map_err(|error| Error { source: error.into() })
}

/// The apalis worker, without its types. They are boxed outside of any async function, because the
/// compiler cannot see that a future that holds them may be sent.
fn work<C, H, R>(
    name: String,
    source: Source<C>,
    handler: H,
) -> Pin<Box<dyn Future<Output = Result<(), WorkerError>> + Send>>
where
    C: Claim,
    H: Fn(Work<C>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<(), store::Error>> + Send + 'static,
{
    let worker =
        WorkerBuilder::new(name).backend(source).parallelize(run_beside).build(Calling(handler));
    Box::pin(worker.run())
}

/// Runs a handler as a future of its own on the runtime, and breaks it off when nobody waits for it
/// any more.
#[expect(clippy::disallowed_methods, reason = "the handle that owns it aborts it when dropped")]
fn run_beside<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(work))
}

/// Claims work for free slots.
struct Claimer<F: Feed> {
    feed: Arc<F>,
    keeper: Keeper,
    slots: u32,
    free: Arc<Semaphore>,
    /// For what is held: what takes a slot, and what is still to be written down.
    hands: Arc<Semaphore>,
    arrivals: mpsc::UnboundedSender<Arrived<F::Claim>>,
    returns: mpsc::UnboundedSender<Held>,
    beat: Beat,
    stop: CancellationToken,
}

impl<F: Feed> Claimer<F> {
    async fn run(self, mut waiting: Waiting<F>) {
        let mut outage = Outage::impatient("claiming work");
        while let Some(room) = self.room().await {
            let asked = room.count();
            match self.claim(&mut waiting, room).await {
                Some(Ok(got)) => {
                    outage.is_over();
                    if got < asked && !self.wait(&mut waiting, asked).await {
                        break;
                    }
                }
                Some(Err(error)) => {
                    let wait = outage.goes_on(&error);
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep(wait) => {}
                        () = self.stop.cancelled() => break,
                    }
                }
                None => break,
            }
        }
    }

    /// Waits until a slot is free, and answers with all that are. `None` at the stop.
    async fn room(&self) -> Option<Room> {
        let mut room = loop {
            self.beat.round();
            let one = async {
                let hands = self.hands.clone().acquire_owned().await;
                let slots = self.free.clone().acquire_owned().await;
                Some(Room { slots: slots.ok()?, hands: hands.ok()? })
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                room = one => break room?,
                () = tokio::time::sleep(ROUND) => {}
            }
        };
        // Handlers that were settled by one commit end one after the other; one claim serves all.
        tokio::task::yield_now().await;
        // Only this future takes any, so there may be more of them in a moment but never fewer.
        let more = self.free.available_permits().min(self.hands.available_permits());
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if let (Ok(slots), Ok(hands)) = (
            self.free.clone().try_acquire_many_owned(more),
            self.hands.clone().try_acquire_many_owned(more),
        ) {
            room.slots.merge(slots);
            room.hands.merge(hands);
        }
        Some(room)
    }

    /// Claims what there is room for, and hands it on. Answers with how much of the room that took;
    /// `None` if the store does not answer although it is time to stop.
    async fn claim(
        &self,
        waiting: &mut Waiting<F>,
        room: Room,
    ) -> Option<Result<u32, store::Error>> {
        let asked = room.count();
        let woken = waiting.take_woken();
        let claiming = async {
            let since = Instant::now();
            // A claim that is broken off may have been made all the same: not even the stop does.
            let claiming = self.feed.claim(asked, self.slots);
            let claimed = until_late(claiming, &self.stop).await?;
            Some(claimed.map(|claims| self.hand_on(claims, since, room)))
        };
        let (claimed, ()) = tokio::join!(claiming, waiting.is_done_with(&woken));
        if let Some(Ok(got)) = &claimed {
            waiting.pass_on(woken, *got, asked).await;
        }
        claimed
    }

    fn hand_on(
        &self,
        claims: Vec<F::Claim>,
        since: Instant,
        mut room: Room,
    ) -> u32 {
        let mut taken = 0;
        for claim in claims {
            let cost = claim.cost().clamp(1, self.slots);
            let held = self.keeper.hold(claim.fence(), claim.build(), since);
            let Some(Room { slots, hands }) = room.split(cost) else {
                // A store that gives more than was asked for gets it back.
                self.returns.send(held).ok();
                continue;
            };
            taken += cost;
            let seat = Seat::new(slots);
            let work = Work { claim, lost: held.lost().clone(), seat: seat.clone() };
            let ticket = Ticket::new(held, self.returns.clone(), seat, hands);
            // A ticket that is refused gives its claim back.
            self.arrivals.send(Arrived { work, ticket: Some(ticket) }).ok();
        }
        taken
    }

    /// Waits for something to change after a claim found less than it had asked for. False at the
    /// stop.
    async fn wait(&self, waiting: &mut Waiting<F>, asked: u32) -> bool {
        self.beat.round();
        // What is next may take more slots than were free. To ask again for each that becomes free
        // would be to ask all the time; twice as many at a time is soon enough.
        let more = (asked.saturating_mul(2)).min(self.slots);
        let free = Arc::clone(&self.free);
        let roomier = async move {
            if asked < more {
                drop(free.acquire_many_owned(more).await);
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = waiting.wait() => true,
            () = roomier => true,
        }
    }
}

/// What may be claimed: as many slots as hands.
struct Room {
    slots: OwnedSemaphorePermit,
    hands: OwnedSemaphorePermit,
}

impl Room {
    fn count(&self) -> u32 {
        u32::try_from(self.slots.num_permits()).unwrap_or(u32::MAX)
    }

    /// Takes a part for one claim.
    fn split(&mut self, cost: u32) -> Option<Self> {
        let (slots, hands) = (self.slots.split(cost as usize)?, self.hands.split(cost as usize)?);
        Some(Self { slots, hands })
    }
}

/// What comes of it, unless that takes too long after the stop.
async fn until_late<T>(future: impl Future<Output = T>, stop: &CancellationToken) -> Option<T> {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        biased;
        value = future => Some(value),
        () = late => None,
    }
}

/// Gives back what was claimed and not begun, and again until the store has heard.
async fn give_back<F: Feed>(
    feed: Arc<F>,
    mut returned: mpsc::UnboundedReceiver<Held>,
    stop: CancellationToken,
) {
    let mut outage = Outage::impatient("giving claims back");
    let mut give_up_at = None;
    while let Some(held) = returned.recv().await {
        while let Err(error @ store::Error::Unavailable { .. }) = feed.give_back(held.fence()).await
        {
            let wait = outage.goes_on(&error);
            if stop.is_cancelled()
                && *give_up_at.get_or_insert_with(|| Instant::now() + LAST_WORDS) <= Instant::now()
            {
                break;
            }
            tokio::time::sleep(wait.min(Duration::from_millis(250))).await;
        }
        outage.is_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_stop_leaves_a_claim_some_time() {
        let stop = CancellationToken::new();
        stop.cancel();

        let soon = until_late(tokio::time::sleep(LAST_WORDS / 2), &stop).await;
        let never = until_late(std::future::pending::<()>(), &stop).await;

        assert_eq!((soon, never), (Some(()), None));
    }
}
