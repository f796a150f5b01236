//! The queues against their suite, and what stands on them: serving and waking, on memory and on a
//! Redis that is treated badly.

mod record;
mod crew;
mod elsewhere;
mod model;
mod outages;
mod serving;
mod waking;
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
    lease::{Keeper, Keepers},
    pulse::Pulse,
    queue::{
        Queue,
        memory::Memory,
        redis::Redis,
        serve::{self, LOOK_EVERY, Work},
        waker::Waker,
    },
    store,
};
use tests::servers::redis::Redis as Server;
use tokio::{sync::broadcast, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::record::{Claimed, Hand, Record};

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

/// Longer than any test: who learns something in time did not learn it by looking.
const NEVER: Duration = Duration::from_secs(6_000);

/// A program that serves the lane of tasks and wakes others, and a way to end it.
struct Serving {
    stop: CancellationToken,
    busy: Arc<AtomicU32>,
    pulse: Pulse,
    program: JoinSet<Result<(), buildfleet::queue::Error>>,
    waker: JoinSet<()>,
    idle: CancellationToken,
}

impl Serving {
    fn start<H, F>(queue: &Arc<dyn Queue>, record: &Arc<Record>, slots: u32, handler: H) -> Self
    where
        H: Fn(Work<Claimed>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), store::Error>> + Send + 'static,
    {
        Self::looking(LOOK_EVERY, queue, record, slots, handler)
    }

    /// One that looks by itself only every so often.
    fn looking<H, F>(
        look_every: Duration,
        queue: &Arc<dyn Queue>,
        record: &Arc<Record>,
        slots: u32,
        handler: H,
    ) -> Self
    where
        H: Fn(Work<Claimed>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), store::Error>> + Send + 'static,
    {
        let (stop, idle) = (CancellationToken::new(), CancellationToken::new());
        let (pulse, keepers) = (Pulse::default(), Keepers::default());
        let busy = Arc::new(AtomicU32::new(0));
        let feed = Hand::of(record);
        let keeper = Keeper::new(feed.clone());
        keepers.add(&keeper);
        let mut waker = JoinSet::new();
        let waking = Waker::new(record.bell.clone(), queue.clone(), keepers, pulse.watch("waking"));
        waker.spawn(waking.run(idle.clone()));
        let mut program = JoinSet::new();
        let serving = serve::Serving {
            feed,
            queue: queue.clone(),
            keeper,
            slots,
            busy: busy.clone(),
            beat: pulse.watch("claiming tasks"),
            look_every,
            stop: stop.clone(),
        };
        program.spawn(serve::serve(serving, handler));
        Self { stop, busy, pulse, program, waker, idle }
    }

    fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    async fn end(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.program.join_next()).await;
        ended.expect("it ends").expect("it ran").expect("it did not panic").expect("it ends well");
        self.idle.cancel();
        self.waker.join_next().await.expect("it ran").expect("it did not panic");
    }
}
