//! The way of a job through apalis-redis, as it comes.
//!
//! Three things are given to it that it does not come with, since it cannot be measured without: it
//! is told to look every 50 ms (by itself it looks when a worker starts and then every 30 s), how
//! many handlers may run at once, and a backlog of less than 8,000 (its script to fetch fails for
//! good beyond that).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use apalis::prelude::*;
use apalis_redis::{Config, RedisStorage};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::JoinSet};

use crate::figures::Series;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer than any of these measurements takes by far.
const AT_MOST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Id {
    id: usize,
}

type Storage = RedisStorage<Id>;

async fn open(url: &str) -> anyhow::Result<Storage> {
    let connection = apalis_redis::connect(url).await?;
    Ok(RedisStorage::new(connection).with_config(Config::default().queue("bench")))
}

fn rate(jobs: usize, begun: Instant) -> f64 {
    jobs as f64 / begun.elapsed().as_secs_f64()
}

pub async fn push_each(url: &str, count: usize) -> anyhow::Result<f64> {
    let mut storage = open(url).await?;
    let begun = Instant::now();
    for id in 0..count {
        storage.push(Id { id }).await?;
    }
    Ok(rate(count, begun))
}

pub async fn push_beside(url: &str, count: usize, producers: usize) -> anyhow::Result<f64> {
    let storage = open(url).await?;
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for producer in 0..producers {
        let mut storage = storage.clone();
        all.spawn(async move {
            for id in (producer..count).step_by(producers) {
                storage.push(Id { id }).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = all.join_next().await {
        ended??;
    }
    Ok(rate(count, begun))
}

pub async fn push_bulk(url: &str, count: usize, at_once: usize) -> anyhow::Result<f64> {
    let mut storage = open(url).await?;
    let ids: Vec<_> = (0..count).map(|id| Id { id }).collect();
    let begun = Instant::now();
    for ids in ids.chunks(at_once) {
        storage.push_bulk(ids.to_vec()).await?;
    }
    Ok(rate(count, begun))
}

/// From the start of the worker to the start of the last handler.
pub async fn work(url: &str, count: usize, slots: usize) -> anyhow::Result<f64> {
    push_bulk(url, count, 500).await?;
    let (all, mut is_all) = mpsc::unbounded_channel();
    let left = Arc::new(AtomicUsize::new(count));
    let begun = Instant::now();
    let mut worker = serve(open(url).await?, slots, move || {
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            all.send(()).ok();
        }
    });
    let last = async {
        tokio::select! {
            _ = is_all.recv() => Ok(()),
            ended = worker.join_next() => Err(anyhow::anyhow!("the worker ended: {ended:?}")),
        }
    };
    tokio::time::timeout(AT_MOST, last).await.context("it stands still")??;
    Ok(rate(count, begun))
}

/// How long an idle worker takes to begin with a job, from before it is pushed, in milliseconds.
pub async fn pickup(url: &str, warm: usize, count: usize) -> anyhow::Result<Series> {
    let mut storage = open(url).await?;
    let (begin, mut begins) = mpsc::unbounded_channel();
    let _worker = serve(storage.clone(), 50, move || {
        begin.send(Instant::now()).ok();
    });
    let mut took = Vec::with_capacity(count);
    for at in 0..warm + count {
        tokio::time::sleep(Duration::from_millis(2 + at as u64 % 7)).await;
        let pushed = Instant::now();
        storage.push(Id { id: at }).await?;
        let begun =
            tokio::time::timeout(AT_MOST, begins.recv()).await.context("it stands still")?;
        let begun = begun.context("the worker ended")?;
        if at >= warm {
            took.push((begun - pushed).as_secs_f64() * 1000.0);
        }
    }
    Ok(took.into_iter().collect())
}

/// A worker of 50 slots, until the set is dropped.
fn serve(
    storage: Storage,
    slots: usize,
    handler: impl Fn() + Clone + Send + Sync + 'static,
) -> JoinSet<Result<(), String>> {
    let mut worker = JoinSet::new();
    worker.spawn(async move {
        let handle = move |_: Id| {
            let handler = handler.clone();
            async move { handler() }
        };
        WorkerBuilder::new("bench")
            .backend(storage.poll_with_interval(LOOK_EVERY))
            .concurrency(slots)
            .build(handle)
            .run()
            .await
            .map_err(|error| error.to_string())
    });
    worker
}
