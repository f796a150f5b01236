//! What the relay promises, over an outbox on a script.

use std::collections::BTreeMap;

use async_trait::async_trait;
use buildfleet::{
    queue::relay::{Nudge, Outbox, Relay},
    store::OutboxRow,
};

use super::*;

/// The few verbs of a store that the relay knows.
#[derive(Default)]
pub struct Script {
    rows: Mutex<BTreeMap<i64, (Job, Instant)>>,
    /// Work that waits for a worker, oldest first.
    waiting: Mutex<Vec<Job>>,
    silent: std::sync::atomic::AtomicBool,
    /// How far `forgotten` was asked to look, each time.
    looks: Mutex<Vec<u32>>,
}

impl Script {
    pub fn commit(&self, jobs: &[Job], after: Duration) {
        let mut rows = self.rows.lock().unwrap();
        for job in jobs {
            let id = rows.last_key_value().map_or(1, |(id, _)| id + 1);
            rows.insert(id, (*job, Instant::now() + after));
        }
    }

    pub fn wait_for_workers(&self, jobs: &[Job]) {
        self.waiting.lock().unwrap().extend(jobs);
    }

    /// A claim; answers whether the job was waiting.
    pub fn claim(&self, job: Job) -> bool {
        let mut waiting = self.waiting.lock().unwrap();
        let count = waiting.len();
        waiting.retain(|one| *one != job);
        waiting.len() < count
    }

    fn answer(&self) -> Result<(), store::Error> {
        if self.silent.load(Ordering::Relaxed) {
            return Err(store::Error::unavailable(std::io::Error::other("silent")));
        }
        Ok(())
    }
}

#[async_trait]
impl Outbox for Script {
    async fn due(&self, limit: u32) -> Result<Vec<OutboxRow>, store::Error> {
        self.answer()?;
        let rows = self.rows.lock().unwrap();
        let due = rows.iter().filter(|(_, (_, at))| *at <= Instant::now());
        Ok(due
            .take(limit as usize)
            .map(|(id, (job, _))| OutboxRow { id: *id, job: *job })
            .collect())
    }

    async fn clear(&self, ids: &[i64]) -> Result<(), store::Error> {
        self.answer()?;
        self.rows.lock().unwrap().retain(|id, _| !ids.contains(id));
        Ok(())
    }

    async fn next(&self) -> Result<Option<Duration>, store::Error> {
        self.answer()?;
        let rows = self.rows.lock().unwrap();
        Ok(rows.values().map(|(_, at)| at.saturating_duration_since(Instant::now())).min())
    }

    async fn forgotten(&self, _: Duration, limit: u32) -> Result<Vec<Job>, store::Error> {
        self.answer()?;
        self.looks.lock().unwrap().push(limit);
        Ok(self.waiting.lock().unwrap().iter().take(limit as usize).copied().collect())
    }
}

pub struct Relaying {
    pub nudge: Nudge,
    stop: CancellationToken,
    program: JoinSet<()>,
}

impl Relaying {
    pub fn start(script: &Arc<Script>, queue: &Arc<dyn Queue>) -> Self {
        let relay = Relay::new(script.clone(), queue.clone());
        let (nudge, stop) = (relay.nudge(), CancellationToken::new());
        let mut program = JoinSet::new();
        program.spawn(relay.run(stop.clone()));
        Self { nudge, stop, program }
    }

    pub async fn end(mut self) {
        self.stop.cancel();
        self.program.join_next().await.expect("it ran").expect("it did not panic");
    }
}

async fn depth(queue: &Arc<dyn Queue>) -> usize {
    queue.depth(Lane::Tasks).await.unwrap() as usize
}

#[tokio::test]
async fn a_nudge_moves_what_was_committed_at_once_and_in_order() {
    let (script, queue) = (Arc::new(Script::default()), on_memory());
    let relaying = Relaying::start(&script, &queue);
    let begun = Instant::now();
    for _ in 0..20 {
        let wanted = tasks(3);
        script.commit(&wanted, Duration::ZERO);

        relaying.nudge.nudge();

        until("they were moved", async || depth(&queue).await == 3).await;
        let taken = queue.take(Lane::Tasks, draw::id(), 9, Duration::ZERO).await.unwrap();
        assert_eq!(taken.iter().map(|one| one.job).collect::<Vec<_>>(), wanted);
    }
    // Without nudges each would be seen a second later.
    assert!(begun.elapsed() < Duration::from_secs(10));
    until("the outbox is empty", async || script.rows.lock().unwrap().is_empty()).await;
    relaying.end().await;
}

#[tokio::test]
async fn commits_of_other_processes_and_rows_that_become_due_are_moved_too() {
    let (script, queue) = (Arc::new(Script::default()), on_memory());
    let relaying = Relaying::start(&script, &queue);
    let (now, later) = (tasks(1), tasks(1));
    let delay = Duration::from_millis(300);
    let begun = Instant::now();

    script.commit(&now, Duration::ZERO);
    script.commit(&later, delay);

    let first = queue.take(Lane::Tasks, draw::id(), 1, Duration::from_secs(20)).await.unwrap();
    let second = queue.take(Lane::Tasks, draw::id(), 1, Duration::from_secs(20)).await.unwrap();
    assert_eq!((first[0].job, second[0].job), (now[0], later[0]));
    assert!(begun.elapsed() >= delay, "not before it is due");
    relaying.end().await;
}

#[tokio::test]
async fn a_store_that_is_silent_is_waited_for() {
    let (script, queue) = (Arc::new(Script::default()), on_memory());
    script.silent.store(true, Ordering::Relaxed);
    script.commit(&tasks(5), Duration::ZERO);
    let relaying = Relaying::start(&script, &queue);
    relaying.nudge.nudge();
    tokio::task::yield_now().await;

    script.silent.store(false, Ordering::Relaxed);

    until("they were moved", async || depth(&queue).await == 5).await;
    relaying.end().await;
}

#[tokio::test]
async fn several_relays_move_each_row() {
    let (script, queue) = (Arc::new(Script::default()), on_memory());
    let wanted = tasks(3_000);
    script.commit(&wanted, Duration::ZERO);

    let relaying = [(); 3].map(|()| Relaying::start(&script, &queue));

    until("the outbox is empty", async || script.rows.lock().unwrap().is_empty()).await;
    assert_eq!(depth(&queue).await, wanted.len());
    for relaying in relaying {
        relaying.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_lost_everything_gets_it_again_within_seconds() {
    let (script, queue) = (Arc::new(Script::default()), on_memory());
    let wanted = tasks(20_000);
    script.wait_for_workers(&wanted);
    let begun = tokio::time::Instant::now();

    let relaying = Relaying::start(&script, &queue);

    until("all wait again", async || depth(&queue).await == wanted.len()).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    relaying.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_behind_a_backlog_is_found_without_reading_all_of_it_all_the_time() {
    let (script, queue) = (Arc::new(Script::default()), on_memory());
    let (backlog, lost) = (tasks(10_000), tasks(1));
    script.wait_for_workers(&backlog);
    script.wait_for_workers(&lost);
    queue.push(&backlog).await.unwrap();
    let begun = tokio::time::Instant::now();

    let relaying = Relaying::start(&script, &queue);

    let deadline = begun + Duration::from_secs(300);
    while depth(&queue).await <= backlog.len() {
        assert!(tokio::time::Instant::now() < deadline, "it was never found");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let read: u32 = script.looks.lock().unwrap().iter().sum();
    let seconds = begun.elapsed().as_secs() as u32;
    assert!(read / seconds <= 1_500, "{read} rows in {seconds} s");
    relaying.end().await;
}
