//! A record on a script: what is ready, what is held, and how it answers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::atomic::AtomicBool,
};

use async_trait::async_trait;
use buildfleet::{
    domain::id::{BuildId, HolderId},
    lease::Leases,
    queue::feed::{Claim, Feed},
    store::{Bell, Error, Fence},
};
use tokio::sync::Semaphore;

use super::*;

/// Far longer than any test: what is found out in time was not found by extending.
pub const LEASE: Duration = Duration::from_secs(6_000);

/// The right to handle a job of the script.
#[derive(Debug, Clone, Copy)]
pub struct Claimed {
    pub job: Job,
    attempt: u32,
    build: BuildId,
    cost: u32,
}

impl Claim for Claimed {
    fn fence(&self) -> Fence {
        Fence { job: self.job, attempt: self.attempt }
    }

    fn build(&self) -> BuildId {
        self.build
    }

    fn cost(&self) -> u32 {
        self.cost
    }
}

/// What all holders of a fleet share.
pub struct Record {
    pub bell: Bell,
    /// The build of all that is in it.
    pub build: BuildId,
    ready: Mutex<VecDeque<(Job, u32)>>,
    due: Mutex<BTreeMap<tokio::time::Instant, Job>>,
    attempts: Mutex<BTreeMap<Job, u32>>,
    /// Jobs whose leases are gone.
    lost: Mutex<BTreeSet<Job>>,
    given_back: Mutex<Vec<Job>>,
    claims: AtomicU32,
    silent: AtomicBool,
    /// What a claim must get before it is answered.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

impl Record {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            bell: Bell::default(),
            build: draw::id(),
            ready: Mutex::default(),
            due: Mutex::default(),
            attempts: Mutex::default(),
            lost: Mutex::default(),
            given_back: Mutex::default(),
            claims: AtomicU32::new(0),
            silent: AtomicBool::new(false),
            gate: Mutex::default(),
        })
    }

    /// Makes jobs claimable, as a commit does.
    pub fn commit(&self, jobs: &[Job]) {
        self.put(jobs, 1);
        self.bell.ring(jobs.iter().copied());
    }

    /// Makes jobs claimable without a word to anyone, as a commit does whose process dies.
    pub fn put(&self, jobs: &[Job], cost: u32) {
        self.ready.lock().unwrap().extend(jobs.iter().map(|job| (*job, cost)));
    }

    /// Makes a job claimable after a while.
    pub fn delay(&self, job: Job, by: Duration) {
        self.due.lock().unwrap().insert(tokio::time::Instant::now() + by, job);
    }

    /// Takes a lease away, as a cancel does, without a word to anyone.
    pub fn lost(&self, job: Job) {
        self.lost.lock().unwrap().insert(job);
    }

    pub fn is_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    /// From now on a claim is answered only once a permit was added.
    pub fn hold_claims(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    pub fn left(&self) -> usize {
        self.ready.lock().unwrap().len()
    }

    pub fn claims(&self) -> u32 {
        self.claims.load(Ordering::Relaxed)
    }

    pub fn given_back(&self) -> Vec<Job> {
        self.given_back.lock().unwrap().clone()
    }

    fn answer(&self) -> Result<(), Error> {
        if self.silent.load(Ordering::Relaxed) {
            return Err(Error::unavailable("silent"));
        }
        Ok(())
    }

    fn take(&self, room: u32, slots: u32) -> Vec<Claimed> {
        let mut ready = self.ready.lock().unwrap();
        let mut due = self.due.lock().unwrap();
        while let Some(first) = due.first_entry()
            && *first.key() <= tokio::time::Instant::now()
        {
            ready.push_back((first.remove(), 1));
        }
        let (mut claims, mut left) = (Vec::new(), room);
        while let Some((job, cost)) = ready.front().copied() {
            let cost = cost.min(slots);
            if left < cost {
                break;
            }
            left -= cost;
            ready.pop_front();
            let mut attempts = self.attempts.lock().unwrap();
            let attempt = attempts.entry(job).or_default();
            *attempt += 1;
            claims.push(Claimed { job, attempt: *attempt, build: self.build, cost });
        }
        claims
    }
}

/// One holder's half of the record.
pub struct Hand {
    pub record: Arc<Record>,
    holder: HolderId,
}

impl Hand {
    pub fn of(record: &Arc<Record>) -> Arc<Self> {
        Arc::new(Self { record: record.clone(), holder: draw::id() })
    }
}

#[async_trait]
impl Leases for Hand {
    fn length(&self) -> Duration {
        LEASE
    }

    async fn extend(&self, held: &[Fence]) -> Result<Vec<Fence>, Error> {
        self.record.answer()?;
        let lost = self.record.lost.lock().unwrap();
        Ok(held.iter().copied().filter(|fence| lost.contains(&fence.job)).collect())
    }

    async fn give_back(&self, fence: Fence) -> Result<(), Error> {
        self.record.answer()?;
        self.record.given_back.lock().unwrap().push(fence.job);
        self.record.commit(&[fence.job]);
        Ok(())
    }
}

#[async_trait]
impl Feed for Hand {
    type Claim = Claimed;

    fn lane(&self) -> Lane {
        Lane::Tasks
    }

    fn holder(&self) -> HolderId {
        self.holder
    }

    async fn claim(&self, room: u32, slots: u32) -> Result<Vec<Claimed>, Error> {
        self.record.claims.fetch_add(1, Ordering::Relaxed);
        let gate = self.record.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        self.record.answer()?;
        Ok(self.record.take(room, slots))
    }

    async fn next_due(&self) -> Result<Option<Duration>, Error> {
        self.record.answer()?;
        let due = self.record.due.lock().unwrap();
        Ok(due.keys().next().map(|at| at.saturating_duration_since(tokio::time::Instant::now())))
    }

    async fn due_before(&self, _: tokio::time::Instant) -> tokio::time::Instant {
        std::future::pending().await
    }
}
