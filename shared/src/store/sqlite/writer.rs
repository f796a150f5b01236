//! The one who writes: verbs that come at once share a commit.
//!
//! A commit costs a wait for the disk, and a verb a fraction of that. So a verb that has written
//! waits for its turn once more before it commits, and whoever was in line meanwhile has joined:
//! each in a savepoint of its own, so that one that fails takes nobody with it. No verb answers
//! before its commit stands, and alone it waits for nobody. The bell rings once it stands.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use sqlx::{SqliteConnection, SqlitePool, Transaction};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};

use crate::{
    domain::id::BuildId,
    job::{Job, Lane},
    store::{Bell, Error},
};

/// What an answer promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Promise {
    /// It outlives the process, and a power cut too unless that follows at once: enough for claims,
    /// and leases, which only say who was about to do what. It comes back as if the
    /// claim had never been.
    OutlivesProcess,
    /// It is on disk.
    OutlivesPower,
}

/// A verb in the making. Dropped, it leaves no trace.
pub(super) struct Tx {
    db: Transaction<'static, sqlx::Sqlite>,
    /// The instant of everything that this verb writes, by the database's clock.
    pub(super) now: i64,
    /// What this verb has to tell once it stands.
    news: News,
}

/// What commits make claimable, and builds whose leases they take away.
#[derive(Default)]
struct News {
    claimable: Vec<Job>,
    recalled: Vec<BuildId>,
    /// Of each lane, the first time until which work was put off.
    put_off: [Option<Instant>; 3],
}

/// The bell keeps no more than this of a lane, so nobody need remember more.
const NEWS_MOST: usize = 256;

impl Tx {
    /// Says that this work can be claimed, perhaps.
    pub(super) fn ring(&mut self, claimable: impl IntoIterator<Item = Job>) {
        let room = NEWS_MOST.saturating_sub(self.news.claimable.len());
        self.news.claimable.extend(claimable.into_iter().take(room));
    }

    /// The same, unless the verb has said something already.
    pub(super) fn ring_once(&mut self, claimable: Job) {
        if self.news.claimable.is_empty() {
            self.ring([claimable]);
        }
    }

    /// Says that work of a build was ended under whoever holds it.
    pub(super) fn recall(&mut self, build: BuildId) {
        self.news.recalled.push(build);
    }

    /// Says that work of a lane was put off.
    pub(super) fn put_off(&mut self, lane: Lane, after: Duration) {
        let until = &mut self.news.put_off[lane.index()];
        *until = (*until).into_iter().chain(Instant::now().checked_add(after)).min();
    }

    pub(super) fn db(&mut self) -> &mut SqliteConnection {
        &mut self.db
    }

    /// The instant that lies `after` behind this verb's.
    pub(super) fn in_future(&self, after: Duration) -> i64 {
        self.now.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
    }

    async fn read_clock(&mut self) -> Result<(), sqlx::Error> {
        self.now = sqlx::query_scalar("select cast(unixepoch('subsec') * 1000 as integer)")
            .fetch_one(self.db())
            .await?;
        Ok(())
    }
}

/// Whether a commit stands; not known before it was tried.
type Fate = Arc<OnceLock<Result<(), Arc<sqlx::Error>>>>;

/// The verbs that will stand or fall together.
struct Group {
    tx: Tx,
    promise: Promise,
    fate: Fate,
    /// A verb was dropped before it ended: what it wrote is still to be taken back.
    torn: bool,
    bell: Bell,
    /// Of the verbs that were kept.
    news: News,
}

impl Group {
    async fn begin(pool: &SqlitePool, promise: Promise, bell: Bell) -> Result<Self, sqlx::Error> {
        let begin = match promise {
            Promise::OutlivesProcess => "pragma synchronous = normal; begin immediate",
            Promise::OutlivesPower => "pragma synchronous = full; begin immediate",
        };
        let mut tx = Tx { db: pool.begin_with(begin).await?, now: 0, news: News::default() };
        tx.read_clock().await?;
        let (fate, news) = (Fate::default(), News::default());
        Ok(Self { tx, promise, fate, torn: false, bell, news })
    }

    /// Lets one more verb in.
    async fn join(&mut self) -> Result<(), sqlx::Error> {
        self.mend().await?;
        self.tx.news = News::default();
        sqlx::raw_sql("savepoint verb").execute(self.tx.db()).await?;
        self.tx.read_clock().await
    }

    async fn keep(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("release verb").execute(self.tx.db()).await?;
        Ok(())
    }

    async fn take_back(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("rollback to verb; release verb").execute(self.tx.db()).await?;
        Ok(())
    }

    /// Remembers what the verb that was kept has to tell.
    fn hear(&mut self) {
        let News { claimable, recalled, put_off } = std::mem::take(&mut self.tx.news);
        self.news.claimable.extend(claimable);
        self.news.recalled.extend(recalled);
        for (until, other) in self.news.put_off.iter_mut().zip(put_off) {
            *until = until.iter().copied().chain(other).min();
        }
    }

    async fn mend(&mut self) -> Result<(), sqlx::Error> {
        if self.torn {
            self.take_back().await?;
            self.torn = false;
        }
        Ok(())
    }

    async fn commit(mut self) {
        // Whoever waits must learn something, even if this future is dropped while the disk works.
        let told = Told(Arc::clone(&self.fate));
        let (bell, news) = (self.bell.clone(), std::mem::take(&mut self.news));
        let committed = match self.mend().await {
            Ok(()) => self.tx.db.commit().await,
            Err(error) => Err(error),
        };
        // The first word counts, and this is the first: the fate is set under the lock.
        let stands = committed.is_ok();
        let _ = told.0.set(committed.map_err(Arc::new));
        if stands {
            bell.ring(news.claimable);
            for lane in Lane::ALL {
                if let Some(until) = news.put_off[lane.index()] {
                    bell.put_off(*lane, until);
                }
            }
            for build in news.recalled {
                bell.recall(build);
            }
        }
    }

    fn fail(self, error: sqlx::Error) -> Error {
        let error = Arc::new(error);
        let _ = self.fate.set(Err(Arc::clone(&error)));
        Error::unavailable(error)
    }
}

struct Told(Fate);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.set(Err(Arc::new(sqlx::Error::WorkerCrashed)));
    }
}

type Slot = Arc<Mutex<Option<Group>>>;

/// Gives turns at writing, first come, first served.
#[derive(Clone)]
pub(super) struct Writer {
    /// Of one connection.
    pool: SqlitePool,
    slot: Slot,
    bell: Bell,
}

impl Writer {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool, slot: Slot::default(), bell: Bell::default() }
    }

    pub(super) const fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Waits until it is one's turn to write.
    pub(super) async fn turn(&self, promise: Promise) -> Result<Turn, Error> {
        let mut slot = Arc::clone(&self.slot).lock_owned().await;
        // Whoever promises more cannot join a group that promises less.
        if slot.as_ref().is_some_and(|group| group.promise < promise)
            && let Some(group) = slot.take()
        {
            group.commit().await;
        }
        let first = slot.is_none();
        match slot.as_mut() {
            None => *slot = Some(Group::begin(&self.pool, promise, self.bell.clone()).await?),
            Some(group) => {
                if let Err(error) = group.join().await {
                    return Err(fail(&mut slot, error));
                }
            }
        }
        Ok(Turn { group: Some(Held(slot)), slot: Arc::clone(&self.slot), first })
    }
}

fn fail(slot: &mut Option<Group>, error: sqlx::Error) -> Error {
    match slot.take() {
        Some(group) => group.fail(error),
        None => error.into(),
    }
}

/// The right to write, until it is ended.
pub(super) struct Turn {
    group: Option<Held>,
    slot: Slot,
    /// Whether this verb has the group for itself: then it needs no savepoint.
    first: bool,
}

struct Held(OwnedMutexGuard<Option<Group>>);

impl Held {
    fn group(&mut self) -> &mut Group {
        self.0.as_mut().expect("a turn is given with a group, and only its end takes it")
    }
}

impl Turn {
    pub(super) fn tx(&mut self) -> &mut Tx {
        &mut self.group.as_mut().expect("only the end takes it").group().tx
    }

    /// Commits what was done, or takes it back if it failed; answers once that stands.
    pub(super) async fn end<T>(mut self, done: Result<T, Error>) -> Result<T, Error> {
        let mut held = self.group.take().expect("a turn ends once");
        if self.first && done.is_err() {
            // Dropped, it is rolled back.
            *held.0 = None;
            return done;
        }
        // Until it is kept or taken back, a verb that is dropped leaves the group torn.
        let first = std::mem::replace(&mut self.first, false);
        held.group().torn = !first;
        let closed = match &done {
            _ if first => Ok(()),
            Ok(_) => held.group().keep().await,
            Err(_) => held.group().take_back().await,
        };
        if let Err(error) = closed {
            return Err(fail(&mut held.0, error));
        }
        held.group().torn = false;
        if done.is_ok() {
            held.group().hear();
        }
        let fate = Arc::clone(&held.group().fate);
        drop(held);

        // Back to the end of the line: whoever stood in it joins before the commit.
        let mut slot = Arc::clone(&self.slot).lock_owned().await;
        if fate.get().is_none()
            && let Some(group) = slot.take_if(|group| Arc::ptr_eq(&group.fate, &fate))
        {
            group.commit().await;
        }
        drop(slot);
        match fate.get() {
            Some(Ok(())) => done,
            Some(Err(error)) => Err(Error::unavailable(Arc::clone(error))),
            None => Err(Error::unavailable(sqlx::Error::WorkerCrashed)),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(mut held) = self.group.take() else { return };
        if self.first {
            *held.0 = None;
        } else {
            held.group().torn = true;
        }
    }
}
