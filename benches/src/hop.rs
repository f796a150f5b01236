//! The way of a job through the queue alone: pushed, taken, handled in a slot by nobody's code, done
//! with.
//!
//! The record has no part in it. Slots, what is taken ahead of them and the many receipts in one
//! message are as in `buildfleet::queue::serve`; what apalis adds to a worker there is not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use buildfleet::{
    domain::id::{HolderId, TaskId},
    draw,
    job::{Job, Lane},
    queue::{self, Queue, Taken},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use crate::figures::Series;

const LANE: Lane = Lane::Tasks;
const LISTEN: Duration = Duration::from_secs(1);

pub fn jobs(count: usize) -> Vec<Job> {
    (0..count).map(|_| Job::Task(draw::id::<TaskId>())).collect()
}

/// Jobs in a second.
fn rate(jobs: usize, begun: Instant) -> f64 {
    jobs as f64 / begun.elapsed().as_secs_f64()
}

/// One after the other.
pub async fn push_each(queue: &dyn Queue, count: usize) -> anyhow::Result<f64> {
    let jobs = jobs(count);
    let begun = Instant::now();
    for job in &jobs {
        queue.push(std::slice::from_ref(job)).await?;
    }
    Ok(rate(count, begun))
}

/// One after the other, by many producers at once.
pub async fn push_beside(
    queue: &Arc<dyn Queue>,
    count: usize,
    producers: usize,
) -> anyhow::Result<f64> {
    let jobs = jobs(count);
    let shares: Vec<_> = jobs.chunks(count.div_ceil(producers)).map(<[_]>::to_vec).collect();
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for share in shares {
        let queue = Arc::clone(queue);
        all.spawn(async move {
            for job in share {
                queue.push(&[job]).await?;
            }
            Ok::<_, queue::Error>(())
        });
    }
    while let Some(ended) = all.join_next().await {
        ended??;
    }
    Ok(rate(count, begun))
}

pub async fn push_bulk(queue: &dyn Queue, count: usize, at_once: usize) -> anyhow::Result<f64> {
    let jobs = jobs(count);
    let begun = Instant::now();
    for jobs in jobs.chunks(at_once) {
        queue.push(jobs).await?;
    }
    let rate = rate(count, begun);
    ensure!(queue.depth(LANE).await? == count as u64, "not all went in");
    Ok(rate)
}

/// Works off a backlog: from the start of the worker until the queue has heard of the last job.
pub async fn work(queue: &Arc<dyn Queue>, count: usize, slots: usize) -> anyhow::Result<f64> {
    for jobs in jobs(count).chunks(500) {
        queue.push(jobs).await?;
    }
    let begun = Instant::now();
    serve(Arc::clone(queue), slots, count, |_| {}).await?;
    let rate = rate(count, begun);
    ensure!(queue.depth(LANE).await? == 0, "something is left in the queue");
    Ok(rate)
}

/// How long an idle worker takes to begin with a job, from before it is pushed, in milliseconds.
/// The first `warm` are not counted.
pub async fn pickup(queue: &Arc<dyn Queue>, warm: usize, count: usize) -> anyhow::Result<Series> {
    let (begin, mut begins) = mpsc::unbounded_channel();
    let mut worker = JoinSet::new();
    worker.spawn(serve(Arc::clone(queue), 50, warm + count, move |_| {
        begin.send(Instant::now()).ok();
    }));
    let mut took = Vec::with_capacity(count);
    for (at, job) in jobs(warm + count).into_iter().enumerate() {
        // Until the last job is done with, and at no fixed beat.
        tokio::time::sleep(Duration::from_millis(2 + at as u64 % 7)).await;
        let pushed = Instant::now();
        queue.push(&[job]).await?;
        let begun = begins.recv().await.expect("the worker lives until the last job");
        if at >= warm {
            took.push((begun - pushed).as_secs_f64() * 1000.0);
        }
    }
    while let Some(ended) = worker.join_next().await {
        ended??;
    }
    Ok(took.into_iter().collect())
}

/// What is taken beyond the free slots, and waits for one.
const AHEAD: usize = 200;

/// Takes jobs and calls the handler for each as a future of its own that has a slot, until it has
/// done so for so many.
async fn serve(
    queue: Arc<dyn Queue>,
    slots: usize,
    count: usize,
    handler: impl Fn(Job) + Clone + Send + 'static,
) -> Result<(), queue::Error> {
    let holder: HolderId = draw::id();
    let free = Arc::new(Semaphore::new(slots));
    // One slot is one at a time: there, nothing is taken ahead.
    let ahead = if slots == 1 { 0 } else { AHEAD };
    let hands = Arc::new(Semaphore::new(slots + ahead));
    let (done, dones) = mpsc::unbounded_channel();
    let telling = tell(&*queue, dones);
    let taking = async {
        let mut running = JoinSet::new();
        let mut left = count;
        while left > 0 {
            let Ok(mut room) = Arc::clone(&hands).acquire_owned().await else { break };
            let more = u32::try_from(hands.available_permits()).unwrap_or(u32::MAX);
            if let Ok(more) = Arc::clone(&hands).try_acquire_many_owned(more) {
                room.merge(more);
            }
            let most = room.num_permits().min(left);
            let taken = queue.take(LANE, holder, most, LISTEN).await?;
            left -= taken.len();
            for Taken { job, receipt } in taken {
                let (handler, done, hand) = (handler.clone(), done.clone(), room.split(1));
                let free = Arc::clone(&free);
                running.spawn(async move {
                    let slot = free.acquire().await;
                    handler(job);
                    drop(slot);
                    done.send(receipt).ok();
                    drop(hand);
                });
            }
            while running.try_join_next().is_some() {}
        }
        running.join_all().await;
        drop(done);
        Ok(())
    };
    let (taken, told) = tokio::join!(taking, telling);
    taken.and(told)
}

/// Tells the queue what is done, as much at once as there is.
async fn tell(
    queue: &dyn Queue,
    mut dones: mpsc::UnboundedReceiver<String>,
) -> Result<(), queue::Error> {
    let mut receipts = Vec::new();
    while dones.recv_many(&mut receipts, 512).await > 0 {
        queue.done(LANE, &receipts).await?;
        receipts.clear();
    }
    Ok(())
}
