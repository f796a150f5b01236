//! The queues against their suite, and what stands on them: serving and relaying, on memory and on
//! a Redis that is treated badly.

mod crew;
mod elsewhere;
mod model;
mod outages;
mod serving;
mod relaying;
mod faults;
mod scripts;

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use buildfleet::{
    domain::id::TaskId,
    draw,
    job::{Job, Lane, Notice},
    queue::{Queue, memory::Memory, redis::Redis, serve},
    store,
};
use tests::servers::redis::Redis as Server;
use tokio::{sync::broadcast, task::JoinSet};
use tokio_util::sync::CancellationToken;

mod in_memory {
    use super::*;

    async fn open() -> (Memory, ()) {
        (Memory::new(), ())
    }

    buildfleet::queue_conformance!(open);
}

mod on_a_server {
    use super::*;

    async fn open() -> (Redis, Server) {
        let server = Server::start();
        (Redis::open_prefixed(&server.url(), "test").await.unwrap(), server)
    }

    buildfleet::queue_conformance!(open);
}

async fn on_redis(server: &Server) -> Arc<dyn Queue> {
    Arc::new(Redis::open(&server.url()).await.unwrap())
}

fn on_memory() -> Arc<dyn Queue> {
    Arc::new(Memory::new())
}

fn tasks(count: usize) -> Vec<Job> {
    (0..count).map(|_| Job::Task(draw::id::<TaskId>())).collect()
}

/// Waits until `fact` holds; panics with `what` if it does not in time.
async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fact().await {
        assert!(Instant::now() < deadline, "never so: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What handlers did, by job.
#[derive(Default)]
struct Ledger {
    begun: Mutex<HashMap<Job, u32>>,
    ended: Mutex<HashMap<Job, u32>>,
}

impl Ledger {
    fn begin(&self, job: Job) {
        *self.begun.lock().unwrap().entry(job).or_default() += 1;
    }

    fn end(&self, job: Job) {
        *self.ended.lock().unwrap().entry(job).or_default() += 1;
    }

    fn begun(&self, job: Job) -> u32 {
        self.begun.lock().unwrap().get(&job).copied().unwrap_or(0)
    }

    fn ended(&self, job: Job) -> u32 {
        self.ended.lock().unwrap().get(&job).copied().unwrap_or(0)
    }

    fn all_ended(&self, jobs: &[Job]) -> bool {
        let ended = self.ended.lock().unwrap();
        jobs.iter().all(|job| ended.contains_key(job))
    }

    /// Handlers that began and were broken off.
    fn broken_off(&self) -> u32 {
        let begun: u32 = self.begun.lock().unwrap().values().sum();
        let ended: u32 = self.ended.lock().unwrap().values().sum();
        begun - ended
    }
}

/// A program that serves the lane of tasks, and a way to end it.
struct Serving {
    stop: CancellationToken,
    busy: Arc<AtomicU32>,
    program: JoinSet<Result<(), buildfleet::queue::Error>>,
}

impl Serving {
    fn start<H, F>(queue: &Arc<dyn Queue>, slots: usize, handler: H) -> Self
    where
        H: Fn(Job) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), store::Error>> + Send + 'static,
    {
        let (stop, busy) = (CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let mut program = JoinSet::new();
        program.spawn(serve::serve(
            queue.clone(),
            Lane::Tasks,
            draw::id(),
            slots,
            stop.clone(),
            busy.clone(),
            handler,
        ));
        Self { stop, busy, program }
    }

    fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    async fn end(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.program.join_next()).await;
        ended.expect("it ends").expect("it ran").expect("it did not panic").expect("it ends well");
    }
}
