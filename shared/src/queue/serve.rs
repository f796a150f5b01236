//! Puts a plain async function to work on the claims of a lane.
//!
//! The record says what is next; the queue only says that there is something to ask for. What is
//! claimed is begun at once, or within some milliseconds: beyond the free slots, no more is claimed
//! than has found one so soon of late, and what waits longer is given back, so that nothing waits
//! behind a long build while another process idles. A store or a queue that does not answer is
//! waited for: neither does serving end, nor is what runs disturbed. apalis runs the worker;
//! `source.rs` is what it sees of us. docs/decisions/0003, 0007 and 0008 say why it is built like
//! this.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use apalis_core::{
    error::WorkerError,
    worker::{builder::WorkerBuilder, ext::parallelize::ParallelizeExt},
};
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Error, Queue,
    feed::{Claim, Feed},
    seat::{Busy, Seat},
    source::{Arrived, Calling, Source, Ticket, Usher},
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
/// How long what is claimed ahead of the slots may wait for one, by what was seen of late, and how
/// much that is at most.
const AHEAD: Duration = Duration::from_millis(40);
const AHEAD_MOST: u32 = 512;
/// Where work is over at once, how long room is let grow before one looks again whether it is worth a
/// claim.
const GATHER_FOR: Duration = Duration::from_millis(1);
/// How much may wait to be written down, beside what is worked on: a store that writes slowly is not
/// asked for ever more.
const UNSETTLED_MOST: usize = 1_024;
/// Claims that are being given back at the same time. Not more, since each may take a connection.
const GIVEN_BACK_AT_ONCE: usize = 4;
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
    // Bounded by the hands, one of which at least each claim has.
    let (arrivals, arrived) = mpsc::unbounded_channel();
    let (returns, returned) = mpsc::unbounded_channel();
    let trouble = Arc::new(Mutex::new(Outage::patient("settling")));
    let free = Arc::new(Semaphore::new(slots as usize));
    let busy = Busy { now: serving.busy, ..Busy::default() };
    let pace = Pace::new(busy.clone());
    let stop = serving.stop.clone();
    let usher = Usher { busy, free: Arc::clone(&free), stop, trouble };
    let source = Source { arrived, stop: serving.stop.clone(), usher };
    let (feed, keeper) = (serving.feed, serving.keeper);
    let worker = work(format!("{}-{}", feed.lane(), feed.holder()), source, handler);
    let giving = give_back(Arc::clone(&feed), returned, serving.stop.clone());
    let waiting = Waiting::new(Arc::clone(&feed), serving.queue, serving.look_every);
    let claimer = Claimer {
        feed,
        keeper: keeper.clone(),
        slots,
        free,
        pace,
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

/// Claims work for free slots, and ahead of them.
struct Claimer<F: Feed> {
    feed: Arc<F>,
    keeper: Keeper,
    slots: u32,
    free: Arc<Semaphore>,
    pace: Pace,
    /// For what is held: what takes a slot, and what is still to be written down.
    hands: Arc<Semaphore>,
    arrivals: mpsc::UnboundedSender<Arrived<F::Claim>>,
    returns: mpsc::UnboundedSender<Held>,
    beat: Beat,
    stop: CancellationToken,
}

impl<F: Feed> Claimer<F> {
    async fn run(mut self, mut waiting: Waiting<F>) {
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

    /// Waits until there is something to claim for: free slots, or the near future. `None` at the
    /// stop.
    async fn room(&mut self) -> Option<Room> {
        loop {
            self.beat.round();
            // Handlers that end together end one after the other; one claim serves all.
            tokio::task::yield_now().await;
            if self.stop.is_cancelled() {
                return None;
            }
            if let Some(room) = self.room_now() {
                return Some(room);
            }
            let change = async {
                if 0 < self.pace.ahead {
                    tokio::time::sleep(GATHER_FOR).await;
                } else if self.hands.available_permits() == 0 {
                    drop(self.hands.acquire().await);
                } else {
                    drop(self.free.acquire().await);
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                () = change => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    fn room_now(&mut self) -> Option<Room> {
        let (ahead, waiting) = (self.pace.ahead(), self.pace.busy.waiting());
        // Only this future takes hands, and slots while nothing waits for any: there may be more of
        // them in a moment but never fewer.
        let free = self.free.available_permits();
        // Not for every little bit: a claim has its price.
        let more = free + ahead.saturating_sub(waiting) as usize;
        if more < (self.slots.min(ahead) + ahead) as usize / 4 {
            return None;
        }
        let hands = self.hands.available_permits().min(more);
        let take = |from: &Arc<Semaphore>, count: usize| {
            Arc::clone(from).try_acquire_many_owned(u32::try_from(count).unwrap_or(u32::MAX)).ok()
        };
        match hands {
            0 => None,
            _ => Some(Room { slots: take(&self.free, free)?, hands: take(&self.hands, hands)? }),
        }
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

    fn hand_on(&self, claims: Vec<F::Claim>, since: Instant, mut room: Room) -> u32 {
        let mut taken = 0;
        for claim in claims {
            let cost = claim.cost().clamp(1, self.slots);
            let held = self.keeper.hold(claim.fence(), claim.build(), since);
            let Some(hands) = room.hands.split(cost as usize) else {
                // A store that gives more than was asked for gets it back.
                self.returns.send(held).ok();
                continue;
            };
            taken += cost;
            let seat = match room.slots.split(cost as usize) {
                Some(slots) => Seat::taken(slots),
                None => Seat::awaited(cost, &self.pace.busy),
            };
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

/// What may be claimed: as much as there are hands. What finds no slot waits for one.
struct Room {
    slots: OwnedSemaphorePermit,
    hands: OwnedSemaphorePermit,
}

impl Room {
    fn count(&self) -> u32 {
        u32::try_from(self.hands.num_permits()).unwrap_or(u32::MAX)
    }
}

/// How fast slots have become free of late, and so how much may be claimed ahead of them: what will
/// find a slot within `AHEAD`. Where work takes longer than that, it is nothing.
struct Pace {
    busy: Busy,
    since: Instant,
    left: u64,
    ahead: u32,
}

impl Pace {
    fn new(busy: Busy) -> Self {
        let left = busy.left.load(Ordering::Relaxed);
        Self { busy, since: Instant::now(), left, ahead: 0 }
    }

    fn ahead(&mut self) -> u32 {
        let (now, left) = (Instant::now(), self.busy.left.load(Ordering::Relaxed));
        let passed = now - self.since;
        if AHEAD / 4 <= passed {
            let left_of_late = left.saturating_sub(self.left) as f64;
            let ahead = left_of_late * AHEAD.as_secs_f64() / passed.as_secs_f64();
            self.ahead = (ahead as u32).min(AHEAD_MOST);
            (self.since, self.left) = (now, left);
        }
        self.ahead
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

/// Gives back what was claimed and not begun, several at a time, since all that was claimed ahead
/// may come back together.
async fn give_back<F: Feed>(
    feed: Arc<F>,
    returned: mpsc::UnboundedReceiver<Held>,
    stop: CancellationToken,
) {
    let returning = Mutex::new(Returning::default());
    let (feed, returning, stop) = (&*feed, &returning, &stop);
    stream::unfold(
        returned,
        |mut returned| async move { Some((returned.recv().await?, returned)) },
    )
    .for_each_concurrent(GIVEN_BACK_AT_ONCE, |held| async move {
        while let Err(error @ store::Error::Unavailable { .. }) = feed.give_back(held.fence()).await
        {
            let Some(wait) = Returning::of(returning).goes_on(&error, stop.is_cancelled()) else {
                return;
            };
            tokio::time::sleep(wait).await;
        }
        Returning::of(returning).outage.is_over();
    })
    .await;
}

/// A store that does not take back is asked again until it has heard, but not for long at the stop.
struct Returning {
    outage: Outage,
    give_up_at: Option<Instant>,
}

impl Default for Returning {
    fn default() -> Self {
        Self { outage: Outage::impatient("giving claims back"), give_up_at: None }
    }
}

impl Returning {
    fn of(shared: &Mutex<Self>) -> MutexGuard<'_, Self> {
        // Nothing panics while it holds the lock.
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait before one asks again, if at all.
    fn goes_on(&mut self, error: &store::Error, stopping: bool) -> Option<Duration> {
        let wait = self.outage.goes_on(error);
        if stopping {
            let give_up_at = self.give_up_at.get_or_insert_with(|| Instant::now() + LAST_WORDS);
            if *give_up_at <= Instant::now() {
                return None;
            }
        }
        Some(wait.min(Duration::from_millis(250)))
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
