//! Keeping leases while work is done, and writing down what came of it.
//!
//! One keeper for each holder extends all that it holds in one question to the record, every third
//! of a lease, and at once when it hears that a build it works on was called back. Who is silent
//! for a whole lease may have lost it; whether one has is for the record to say.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::id::BuildId,
    job::Job,
    outage::Outage,
    store::{Error, Fence},
};

/// How often a lease is extended within its length: two answers may be missed.
const TIMES: u32 = 3;
/// How many builds that were called back are remembered, far more than in the time of one claim.
const RECALLED_MOST: usize = 256;
/// The least time that a question about leases is given, however late it is.
const ASK_FOR: Duration = Duration::from_secs(1);

/// What a keeper asks of the record in the name of its holder.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// How long a lease lasts, from its claim and from each time that it is extended.
    fn length(&self) -> Duration;

    /// Keeps what is held for another length. Answers with what is not held any longer.
    async fn extend(&self, held: &[Fence]) -> Result<Vec<Fence>, Error>;

    /// Gives something back untouched, due at once; the attempt counts for nothing.
    async fn give_back(&self, fence: Fence) -> Result<(), Error>;
}

/// Keeps the leases of one holder. Cheap to clone.
#[derive(Clone)]
pub struct Keeper(Arc<Parts>);

struct Parts {
    leases: Arc<dyn Leases>,
    held: Mutex<BTreeMap<Key, Kept>>,
    /// What was called back of late: its claim may still be on its way here.
    recalled: Mutex<VecDeque<(BuildId, Instant)>>,
    look: Notify,
}

/// A holder may hold a job again while it still stops working on an earlier attempt.
type Key = (Job, u32);

struct Kept {
    build: BuildId,
    alive_until: Instant,
    lost: CancellationToken,
}

/// Something that is held. It is extended until this is dropped.
pub struct Held {
    keeper: Keeper,
    key: Key,
    lost: CancellationToken,
}

impl Held {
    /// Cancelled when somebody else may have the work, or nobody wants it any more.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    pub fn fence(&self) -> Fence {
        Fence { job: self.key.0, attempt: self.key.1 }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keeper.held().remove(&self.key);
    }
}

impl Keeper {
    pub fn new(leases: Arc<dyn Leases>) -> Self {
        Self(Arc::new(Parts {
            leases,
            held: Mutex::default(),
            recalled: Mutex::default(),
            look: Notify::new(),
        }))
    }

    /// Keeps what was claimed no earlier than `since`.
    pub fn hold(&self, fence: Fence, build: BuildId, since: Instant) -> Held {
        let key = (fence.job, fence.attempt);
        let lost = CancellationToken::new();
        let alive_until = since + self.0.leases.length();
        self.held().insert(key, Kept { build, alive_until, lost: lost.clone() });
        if self.recalled().iter().any(|(other, at)| *other == build && since <= *at) {
            self.0.look.notify_one();
        }
        Held { keeper: self.clone(), key, lost }
    }

    /// Looks now, if anything of this build is held.
    pub fn recall(&self, build: BuildId) {
        {
            let mut recalled = self.recalled();
            if recalled.len() == RECALLED_MOST {
                recalled.pop_front();
            }
            recalled.push_back((build, Instant::now()));
        }
        if self.held().values().any(|kept| kept.build == build) {
            self.0.look.notify_one();
        }
    }

    /// Keeps what is held, for ever.
    pub async fn run(&self) {
        let mut outage = Outage::impatient("extending leases");
        let period = self.0.leases.length() / TIMES;
        let mut next = Instant::now() + period;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(next) => {}
                () = self.0.look.notified() => {}
            }
            next = Instant::now() + self.extend(&mut outage).await.unwrap_or(period).min(period);
        }
    }

    /// Extends all that is held. Answers with when to ask again if there was no answer.
    async fn extend(&self, outage: &mut Outage) -> Option<Duration> {
        let (fences, until) = {
            let held = self.held();
            let fences: Vec<_> =
                held.keys().map(|(job, attempt)| Fence { job: *job, attempt: *attempt }).collect();
            (fences, held.values().map(|kept| kept.alive_until).min()?)
        };
        let asked_at = Instant::now();
        let asking = self.0.leases.extend(&fences);
        let answer = tokio::time::timeout_at(until.max(asked_at + ASK_FOR), asking).await;
        let again = match answer {
            Ok(Ok(lost)) => {
                outage.is_over();
                self.heard(&fences, &lost, asked_at);
                None
            }
            Ok(Err(error)) => Some(outage.goes_on(&error)),
            Err(late) => Some(outage.goes_on(&late)),
        };
        self.held().retain(|(job, _), kept| {
            let alive = Instant::now() < kept.alive_until;
            if !alive {
                tracing::warn!(%job, "the lease ran out while the store was silent");
                kept.lost.cancel();
            }
            alive
        });
        again
    }

    fn heard(&self, asked: &[Fence], lost: &[Fence], asked_at: Instant) {
        let mut held = self.held();
        for fence in lost {
            if let Some(kept) = held.remove(&(fence.job, fence.attempt)) {
                tracing::info!(job = %fence.job, attempt = fence.attempt, "a lease is gone");
                kept.lost.cancel();
            }
        }
        for fence in asked {
            if let Some(kept) = held.get_mut(&(fence.job, fence.attempt)) {
                // Counted from the question: the store may have granted it at any moment since.
                kept.alive_until = asked_at + self.0.leases.length();
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, Kept>> {
        // Nothing panics while it holds the lock.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recalled(&self) -> MutexGuard<'_, VecDeque<(BuildId, Instant)>> {
        self.0.recalled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All keepers of a process: each of its holders has one. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keepers(Arc<Mutex<Vec<Weak<Parts>>>>);

impl Keepers {
    /// Lets a keeper hear what is called back, for as long as it is there.
    pub fn add(&self, keeper: &Keeper) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&keeper.0));
    }

    /// Whoever holds something of this build looks now.
    pub fn recall(&self, build: BuildId) {
        for keeper in self.all() {
            keeper.recall(build);
        }
    }

    /// Whoever holds anything looks now.
    pub fn recall_all(&self) {
        for keeper in self.all() {
            keeper.0.look.notify_one();
        }
    }

    /// All that is held now, with a way to give it back.
    pub fn inventory(&self) -> Vec<(Arc<dyn Leases>, Fence)> {
        let mut all = Vec::new();
        for keeper in self.all() {
            for (job, attempt) in keeper.held().keys() {
                let fence = Fence { job: *job, attempt: *attempt };
                all.push((Arc::clone(&keeper.0.leases), fence));
            }
        }
        all
    }

    fn all(&self) -> Vec<Keeper> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).map(Keeper).collect()
    }
}

/// Writes down what was decided; where the store does not answer, tries again until `patience` has
/// passed, which is of use for as long as the lease may live. Settling twice is harmless: the
/// second finds no running attempt.
pub async fn settle<F, R>(patience: Duration, mut write: F) -> Result<(), Error>
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), Error>>,
{
    let until = Instant::now() + patience;
    let mut pause = Duration::from_millis(50);
    loop {
        match write().await {
            Err(Error::Unavailable { source }) if Instant::now() + pause < until => {
                tracing::warn!(error = %source, "settling did not succeed; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            settled => return settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    const LEASE: Duration = Duration::from_secs(9);

    /// A record of leases on a script.
    #[derive(Default)]
    struct Script {
        asked: Mutex<Vec<Vec<Fence>>>,
        lost: Mutex<Vec<Fence>>,
        silent: Mutex<bool>,
    }

    impl Script {
        fn asked(&self) -> usize {
            self.asked.lock().unwrap().len()
        }
    }

    #[async_trait]
    impl Leases for Script {
        fn length(&self) -> Duration {
            LEASE
        }

        async fn extend(&self, held: &[Fence]) -> Result<Vec<Fence>, Error> {
            self.asked.lock().unwrap().push(held.to_vec());
            if *self.silent.lock().unwrap() {
                return Err(Error::unavailable("silent"));
            }
            Ok(self.lost.lock().unwrap().clone())
        }

        async fn give_back(&self, _: Fence) -> Result<(), Error> {
            Ok(())
        }
    }

    fn fence() -> Fence {
        Fence { job: Job::Task(draw::id()), attempt: 1 }
    }

    fn keeper() -> (Arc<Script>, Keeper) {
        let script = Arc::new(Script::default());
        (script.clone(), Keeper::new(script))
    }

    /// Runs a keeper for a while of made-up time.
    async fn keep(keeper: &Keeper, during: Duration) {
        tokio::time::timeout(during, keeper.run()).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_is_held_is_extended_in_one_question_each_third_of_a_lease() {
        let (script, keeper) = keeper();
        let held = [(); 5].map(|()| keeper.hold(fence(), draw::id(), Instant::now()));

        keep(&keeper, LEASE * 2 + Duration::from_millis(100)).await;

        assert_eq!(script.asked(), 6);
        assert!(script.asked.lock().unwrap().iter().all(|fences| fences.len() == 5));
        assert!(held.iter().all(|held| !held.lost().is_cancelled()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_is_told_and_what_is_done_is_not_asked_for() {
        let (script, keeper) = keeper();
        let [lost, kept, done] = [(); 3].map(|()| keeper.hold(fence(), draw::id(), Instant::now()));
        script.lost.lock().unwrap().push(lost.fence());

        drop(done);
        keep(&keeper, LEASE / 2).await;

        assert!(lost.lost().is_cancelled());
        assert!(!kept.lost().is_cancelled());
        assert_eq!(script.asked.lock().unwrap()[0].len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_build_that_is_called_back_is_looked_at_at_once_by_those_who_hold_some_of_it() {
        let (script, keeper) = keeper();
        let keepers = Keepers::default();
        keepers.add(&keeper);
        let build = draw::id();
        let held = keeper.hold(fence(), build, Instant::now());
        script.lost.lock().unwrap().push(held.fence());

        keepers.recall(draw::id());
        keep(&keeper, Duration::from_millis(10)).await;
        let before = script.asked();
        keepers.recall(build);
        keep(&keeper, Duration::from_millis(10)).await;

        assert_eq!((before, script.asked()), (0, 1));
        assert!(held.lost().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_was_on_its_way_when_its_build_was_called_back_is_looked_at() {
        let (script, keeper) = keeper();
        let (build, claimed_at) = (draw::id(), Instant::now());

        keeper.recall(build);
        let held = keeper.hold(fence(), build, claimed_at);
        script.lost.lock().unwrap().push(held.fence());
        keep(&keeper, Duration::from_millis(10)).await;

        assert!(held.lost().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_silent_is_borne_with_for_as_long_as_the_lease_may_live() {
        let (script, keeper) = keeper();
        let held = keeper.hold(fence(), draw::id(), Instant::now());
        *script.silent.lock().unwrap() = true;

        keep(&keeper, LEASE - Duration::from_millis(10)).await;
        let before = held.lost().is_cancelled();
        keep(&keeper, LEASE / 3 + Duration::from_secs(1)).await;

        assert!(!before);
        assert!(held.lost().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn settling_is_tried_again_until_patience_is_at_its_end() {
        let mut tries = 0;

        let settled = settle(Duration::from_secs(5), || {
            tries += 1;
            let answer = if tries < 4 { Err(Error::unavailable("away")) } else { Ok(()) };
            async { answer }
        })
        .await;
        let given_up =
            settle(Duration::from_secs(5), || async { Err(Error::unavailable("away")) }).await;

        assert!(settled.is_ok());
        assert_eq!(tries, 4);
        assert!(matches!(given_up, Err(Error::Unavailable { .. })));
    }
}
