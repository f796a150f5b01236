//! Puts a plain async function to work on the jobs of a lane.
//!
//! apalis runs the worker; `source.rs` is what it sees of us. Jobs are taken only for slots that
//! are free, so that nothing waits behind a long build while another process idles. A queue that
//! does not answer is waited for: neither does serving end, nor is what runs disturbed.
//! docs/decisions/0003 says why it is built like this.

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
    Error, Queue, Taken,
    outage::Outage,
    source::{Arrived, Calling, Desk, Mark, Source, Ticket},
};
use crate::{
    domain::id::HolderId,
    job::{Job, Lane},
    store,
};

/// The longest time to listen to an empty lane before listening anew. Arrivals are heard at once.
const LISTEN: Duration = Duration::from_secs(1);
/// How often to look for jobs of holders that died between taking and claiming.
const TAKE_OVER_EVERY: Duration = Duration::from_secs(10);
/// Far longer than taking and claiming lasts. Taking over from someone who is merely slow is
/// harmless: the claim says no.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(30);
/// How long, at the end, to go on telling a queue that does not answer what became of its jobs.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Calls `handler` for the jobs of a lane, up to `slots` at once, until `stop`. Handlers run in
/// parallel; `busy` says how many.
///
/// A job is done with when its handler answers `Ok`, `Fenced`, `NotFound` or `Conflict`. After
/// `Unavailable`, or a panic, it is put back a little later. On `stop` nothing more is taken, what has
/// not begun is put back, and running handlers, which watch the same token, are waited for.
/// Dropping the future breaks them off.
pub async fn serve<H, F>(
    queue: Arc<dyn Queue>,
    lane: Lane,
    holder: HolderId,
    slots: usize,
    stop: CancellationToken,
    busy: Arc<AtomicU32>,
    handler: H,
) -> Result<(), Error>
where
    H: Fn(Job) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), store::Error>> + Send + 'static,
{
    let slots = slots.max(1);
    let (arrivals, arrived) = mpsc::channel(slots);
    let (marks, marked) = mpsc::unbounded_channel();
    let trouble = Arc::new(Mutex::new(Outage::patient("handling jobs")));
    let desk = Desk { busy, stop: stop.clone(), trouble };
    let source = Source { arrived, stop: stop.clone(), desk };
    let worker = work(format!("{lane}-{holder}"), source, handler);
    let taker = Taker {
        queue: queue.clone(),
        lane,
        holder,
        free: Arc::new(Semaphore::new(slots)),
        arrivals,
        marks,
        stop: stop.clone(),
    };

    // The taker ends at the stop; the worker ends when the taker is gone and all handlers have
    // ended; the last ticket is gone with the worker, and with it what `tell` listens to.
    let (ran, (), ()) =
        tokio::join!(worker, Box::pin(taker.run()), Box::pin(tell(queue, lane, marked, stop)),);
    ran.map_err(|error| Error { source: error.into() })
}

/// The apalis worker, without its types. They are boxed outside of any async function, because the
/// compiler cannot see that a future that holds them may be sent.
fn work<H, F>(
    name: String,
    source: Source,
    handler: H,
) -> Pin<Box<dyn Future<Output = Result<(), WorkerError>> + Send>>
where
    H: Fn(Job) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), store::Error>> + Send + 'static,
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

/// Takes jobs out of the queue for free slots.
struct Taker {
    queue: Arc<dyn Queue>,
    lane: Lane,
    holder: HolderId,
    free: Arc<Semaphore>,
    arrivals: mpsc::Sender<Arrived>,
    marks: mpsc::UnboundedSender<Mark>,
    stop: CancellationToken,
}

impl Taker {
    async fn run(self) {
        let mut outage = Outage::impatient("taking jobs");
        let mut take_over_at = Instant::now() + TAKE_OVER_EVERY;
        while let Some(slots) = self.free_slots().await {
            let most = slots.num_permits();
            let overdue = Instant::now() >= take_over_at;
            let taking = async {
                if overdue {
                    self.queue.take_over(self.lane, self.holder, TAKE_OVER_AFTER, most).await
                } else {
                    self.queue.take(self.lane, self.holder, most, LISTEN).await
                }
            };
            let taken = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                taken = taking => taken,
            };
            match taken {
                Ok(taken) => {
                    outage.is_over();
                    if overdue {
                        take_over_at = Instant::now() + TAKE_OVER_EVERY;
                    }
                    self.hand_on(taken, slots);
                }
                Err(error) => {
                    let wait = outage.goes_on(&error);
                    drop(slots);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.stop.cancelled() => return,
                    }
                }
            }
        }
    }

    /// Waits for a free slot, and answers with all that are free. `None` at the stop.
    async fn free_slots(&self) -> Option<OwnedSemaphorePermit> {
        let one = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            one = self.free.clone().acquire_owned() => one.ok()?,
        };
        let mut slots = one;
        // Only this future takes slots, so there may be more of them in a moment but never fewer.
        let others = u32::try_from(self.free.available_permits()).unwrap_or(u32::MAX);
        if let Ok(others) = self.free.clone().try_acquire_many_owned(others) {
            slots.merge(others);
        }
        Some(slots)
    }

    fn hand_on(&self, taken: Vec<Taken>, mut slots: OwnedSemaphorePermit) {
        for Taken { job, receipt } in taken {
            let Some(slot) = slots.split(1) else {
                // A queue that gives more than was asked for gets it back.
                self.marks.send(Mark::PutBack(receipt)).ok();
                continue;
            };
            let ticket = Ticket::new(receipt, self.marks.clone(), slot);
            // There is room for as many as there are slots. A ticket that is refused puts its job
            // back.
            self.arrivals.try_send(Arrived { job, ticket: Some(ticket) }).ok();
        }
    }
}

/// Tells the queue what became of the jobs that were taken, many at once, and again until it has
/// heard.
async fn tell(
    queue: Arc<dyn Queue>,
    lane: Lane,
    mut marked: mpsc::UnboundedReceiver<Mark>,
    stop: CancellationToken,
) {
    let mut outage = Outage::impatient("telling the queue what is done");
    let mut marks = Vec::new();
    let mut give_up_at = None;
    while marked.recv_many(&mut marks, 512).await > 0 {
        let (mut done, mut back) = (Vec::new(), Vec::new());
        for mark in marks.drain(..) {
            match mark {
                Mark::Done(receipt) => done.push(receipt),
                Mark::PutBack(receipt) => back.push(receipt),
            }
        }
        while let Err(error) = tell_once(&*queue, lane, &mut done, &mut back).await {
            let wait = outage.goes_on(&error);
            if stop.is_cancelled() {
                let give_up_at = *give_up_at.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                if Instant::now() >= give_up_at {
                    // Others take over what is left, or the relay brings it again.
                    break;
                }
                tokio::time::sleep(wait.min(Duration::from_millis(250))).await;
            } else {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        outage.is_over();
    }
}

/// Both lists are empty after success; what was told is not told again after an error.
async fn tell_once(
    queue: &dyn Queue,
    lane: Lane,
    done: &mut Vec<String>,
    back: &mut Vec<String>,
) -> Result<(), Error> {
    if !done.is_empty() {
        queue.done(lane, done).await?;
        done.clear();
    }
    if !back.is_empty() {
        queue.put_back(lane, back).await?;
        back.clear();
    }
    Ok(())
}
