//! The record of one process: a file that survives every kill.
//!
//! One connection writes, so a writer never meets another; a few read, and never wait for it. Each
//! verb is all or nothing, and stands before it answers; see `writer.rs`. All instants of a verb
//! are one instant, read from the database's clock when it begins. What a verb does is said by
//! `trait Store`.

mod rows;
mod writer;
mod builds;
mod plans;
mod inserting;
mod growing;
mod controlling;
mod forking;
mod estimating;
mod planning;
mod ending;
mod tasks;
mod settling;
mod leases;
mod events;
mod files;
mod deliveries;
mod sent;
mod telling;
mod answering;
mod choosing;
mod fares;
mod endpoints;
mod replays;
mod claiming;
mod gates;
mod ranks;
mod closing;
mod fleet;
mod operating;
mod results;
mod forgetting;
mod upkeep;
#[cfg(feature = "conformance")]
mod ageing;
#[cfg(feature = "conformance")]
mod contradictions;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use sqlx::{
    SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use writer::{Promise, Tx, Writer};

use super::{
    Adoption, Ask, AttemptView, AuditEntry, AuditWanted, Bell, Build, BuildClaim, BuildsWanted,
    DeliveriesWanted, Delivery, DeliveryAttempt, DeliveryClaim, Error, EventView, Fence,
    FileContent, FileView, LaneView, NewBuild, OpenError, Page, Pause, PlanView, Prerequisite,
    SendResult, Store, Submitted, Task, TaskClaim, Worker, WorkerBeat,
};
use crate::{
    domain::{
        attempt::{Failure, Outcome},
        event::Event,
        id::{BuildId, DeliveryId, HolderId, PlanId, TaskId},
        limit::{Gate, Limit},
        plan::{DraftTask, Plan},
        retry::{Jitter, Policy},
        settle::ByHand,
    },
    job::{Job, Lane},
};

/// Readers are few: a page of the API takes a millisecond, and the machine is one.
const READERS: u32 = 4;
/// Only a backup or a curious person ever holds the file; past this the verb is `Unavailable`.
const BUSY: Duration = Duration::from_secs(10);
/// All our statements stay prepared; there are fewer than this.
const STATEMENTS: usize = 256;

/// The embedded store.
#[derive(Clone)]
pub struct Sqlite {
    writer: Writer,
    readers: SqlitePool,
    /// Where the database is.
    folder: PathBuf,
}

impl Sqlite {
    /// Opens the file that a `sqlite:` URL names, makes it and its folder if they are missing, and
    /// brings its schema up to date. A database in memory is refused: nothing would remember.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::from_str(url).map_err(OpenError::Connect)?;
        let path = options.get_filename().to_owned();
        if url.contains(":memory:") || url.contains("mode=memory") {
            let refusal = "the record must be a file: sqlite:path/to/file.db";
            return Err(OpenError::Connect(sqlx::Error::Configuration(refusal.into())));
        }
        make_folder(&path).map_err(|error| OpenError::Connect(sqlx::Error::Io(error)))?;
        let options = options
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .statement_cache_capacity(STATEMENTS)
            .pragma("temp_store", "memory")
            .pragma("cache_size", "-16384");

        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(
                options
                    .clone()
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    // For the migrations; each commit says for itself what it promises.
                    .synchronous(SqliteSynchronous::Full),
            )
            .await
            .map_err(OpenError::Connect)?;
        sqlx::migrate!("../migrations/sqlite").run(&writer).await.map_err(OpenError::Migrate)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .max_lifetime(None)
            .connect_with(options.pragma("query_only", "on"))
            .await
            .map_err(OpenError::Connect)?;
        let folder = folder_of(&path).unwrap_or(Path::new(".")).to_owned();
        Ok(Self { writer: Writer::new(writer), readers, folder })
    }

    /// Begins a look at several tables as of one instant.
    async fn look(&self) -> Result<Transaction<'static, sqlx::Sqlite>, Error> {
        Ok(self.readers.begin().await?)
    }
}

fn make_folder(file: &Path) -> std::io::Result<()> {
    folder_of(file).map_or(Ok(()), std::fs::create_dir_all)
}

/// `None` where one stands.
fn folder_of(file: &Path) -> Option<&Path> {
    file.parent().filter(|folder| !folder.as_os_str().is_empty())
}

#[async_trait]
impl Store for Sqlite {
    async fn ping(&self) -> Result<(), Error> {
        sqlx::query("select 1 from builds limit 1").fetch_optional(&self.readers).await?;
        Ok(())
    }

    async fn submit(&self, new: NewBuild) -> Result<Submitted, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = builds::submit(turn.tx(), new).await;
        turn.end(done).await
    }

    async fn build(&self, id: BuildId) -> Result<Build, Error> {
        builds::one(&mut *self.readers.acquire().await?, id).await
    }

    async fn builds(&self, wanted: &BuildsWanted) -> Result<Page<Build>, Error> {
        builds::page(&mut *self.readers.acquire().await?, wanted).await
    }

    async fn cancel_build(&self, id: BuildId) -> Result<Build, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = ending::cancel(turn.tx(), id).await;
        turn.end(done).await
    }

    async fn retry_build(&self, id: BuildId) -> Result<Build, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = builds::retry(turn.tx(), id).await;
        turn.end(done).await
    }

    async fn approve_plan(&self, id: PlanId) -> Result<Build, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = plans::approve(turn.tx(), id).await;
        turn.end(done).await
    }

    async fn reject_plan(&self, id: PlanId, code: &str, reason: &str) -> Result<Build, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = ending::reject(turn.tx(), id, code, reason).await;
        turn.end(done).await
    }

    async fn claim_builds(&self, ask: &Ask) -> Result<Vec<BuildClaim>, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesProcess).await?;
        let done = planning::claim(turn.tx(), ask).await;
        turn.end(done).await
    }

    async fn note_planning(&self, claim: &BuildClaim, event: Event) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = planning::note(turn.tx(), claim, event).await;
        turn.end(done).await
    }

    async fn adopt_plan(
        &self,
        claim: &BuildClaim,
        plan: &Plan,
        adoption: Adoption,
    ) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = plans::adopt(turn.tx(), claim, plan, adoption).await;
        turn.end(done).await
    }

    async fn settle_planning(
        &self,
        claim: &BuildClaim,
        failure: &Failure,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let BuildClaim { build, attempt, .. } = *claim;
        let done = planning::settle(turn.tx(), build, attempt, failure, policy, jitter).await;
        turn.end(done).await
    }

    async fn plan_of(&self, build: BuildId) -> Result<PlanView, Error> {
        plans::of_build(&mut *self.readers.acquire().await?, build).await
    }

    async fn plan(&self, id: PlanId) -> Result<PlanView, Error> {
        plans::one(&mut *self.readers.acquire().await?, id).await
    }

    async fn tasks(&self, build: BuildId) -> Result<Vec<Task>, Error> {
        tasks::of_build(&mut *self.look().await?, build).await
    }

    async fn task(&self, id: TaskId) -> Result<Task, Error> {
        tasks::one(&mut *self.readers.acquire().await?, id).await
    }

    async fn task_attempts(&self, id: TaskId) -> Result<Vec<AttemptView>, Error> {
        tasks::attempts(&mut *self.look().await?, id).await
    }

    async fn claim_tasks(&self, ask: &Ask) -> Result<Vec<TaskClaim>, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesProcess).await?;
        let done = tasks::claim(turn.tx(), ask).await;
        turn.end(done).await
    }

    async fn settle_task(
        &self,
        fence: Fence,
        outcome: Outcome,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let Job::Task(task) = fence.job else { return Err(Error::Fenced) };
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = settling::settle(turn.tx(), task, fence.attempt, outcome, policy, jitter).await;
        turn.end(done).await
    }

    async fn add_tasks(&self, build: BuildId, tasks: &[DraftTask]) -> Result<Vec<Task>, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = growing::add(turn.tx(), build, tasks).await;
        turn.end(done).await
    }

    async fn end_task(&self, id: TaskId, how: ByHand, reason: &str) -> Result<Task, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = controlling::end(turn.tx(), id, how, reason).await;
        turn.end(done).await
    }

    async fn retry_task(&self, id: TaskId) -> Result<Task, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = controlling::retry(turn.tx(), id).await;
        turn.end(done).await
    }

    async fn fork(&self, task: TaskId, input: Option<&Value>) -> Result<Build, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = forking::fork(turn.tx(), task, input).await;
        turn.end(done).await
    }

    async fn remaining(&self, build: BuildId) -> Result<Option<Duration>, Error> {
        estimating::remaining(&mut *self.look().await?, build).await
    }

    async fn prerequisites(&self, task: TaskId) -> Result<Vec<Prerequisite>, Error> {
        files::prerequisites(&mut *self.look().await?, task).await
    }

    async fn extend(
        &self,
        holder: HolderId,
        held: &[Fence],
        lease: Duration,
    ) -> Result<Vec<Fence>, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesProcess).await?;
        let done = leases::extend(turn.tx(), holder, held, lease).await;
        turn.end(done).await
    }

    async fn give_back(&self, fence: Fence) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = leases::give_back(turn.tx(), fence).await;
        turn.end(done).await
    }

    async fn lapsed(&self, limit: u32) -> Result<Vec<Fence>, Error> {
        leases::lapsed(&mut *self.readers.acquire().await?, limit).await
    }

    async fn lapse_all(&self) -> Result<u64, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesProcess).await?;
        let done = leases::lapse_all(turn.tx()).await;
        turn.end(done).await
    }

    async fn settle_lost(
        &self,
        fence: Fence,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = leases::settle_lost(turn.tx(), fence, policy, jitter).await;
        turn.end(done).await
    }

    async fn end_overdue(&self, limit: u32) -> Result<u32, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = ending::overdue(turn.tx(), limit).await;
        turn.end(done).await
    }

    async fn events(
        &self,
        build: BuildId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<EventView>, Error> {
        events::after(&mut *self.look().await?, build, after, limit).await
    }

    async fn files(&self, build: BuildId) -> Result<Vec<FileView>, Error> {
        files::listing(&mut *self.look().await?, build).await
    }

    async fn file(&self, build: BuildId, path: &str) -> Result<FileContent, Error> {
        files::one(&mut *self.readers.acquire().await?, build, path).await
    }

    async fn file_contents(&self, build: BuildId) -> Result<Vec<FileContent>, Error> {
        files::contents(&mut *self.look().await?, build).await
    }

    async fn claim_deliveries(&self, ask: &Ask) -> Result<Vec<DeliveryClaim>, Error> {
        // What is about to be told outside must not be taken back by a power cut.
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = deliveries::claim(turn.tx(), ask).await;
        turn.end(done).await
    }

    async fn settle_delivery(
        &self,
        fence: Fence,
        result: &SendResult,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let Job::Delivery(delivery) = fence.job else { return Err(Error::Fenced) };
        let mut turn = self.writer.turn(Promise::OutlivesProcess).await?;
        let sent = result.into();
        let done =
            answering::settle(turn.tx(), delivery, fence.attempt, &sent, policy, jitter).await;
        turn.end(done).await
    }

    async fn deliveries(&self, wanted: &DeliveriesWanted) -> Result<Page<Delivery>, Error> {
        deliveries::page(&mut *self.readers.acquire().await?, wanted).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Delivery, Error> {
        deliveries::one(&mut *self.readers.acquire().await?, id).await
    }

    async fn delivery_attempts(&self, id: DeliveryId) -> Result<Vec<DeliveryAttempt>, Error> {
        deliveries::attempts(&mut *self.look().await?, id).await
    }

    async fn redeliver(&self, id: DeliveryId) -> Result<Delivery, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = deliveries::redeliver(turn.tx(), id).await;
        turn.end(done).await
    }

    fn bell(&self) -> &Bell {
        self.writer.bell()
    }

    async fn next_due(&self, lane: Lane) -> Result<Option<Duration>, Error> {
        let mut reader = self.readers.acquire().await?;
        let ms = claiming::Statements::of(lane).next_due(&mut reader).await?;
        let due = ms.map(|ms| Duration::from_millis(ms.unsigned_abs()));
        if lane != Lane::Deliveries || due == Some(Duration::ZERO) {
            return Ok(due);
        }
        let room = choosing::next_room(&mut reader).await?;
        Ok(due.into_iter().chain(room).min())
    }

    async fn limits(&self) -> Result<Vec<Limit>, Error> {
        gates::limits(&mut *self.readers.acquire().await?).await
    }

    async fn put_limit(&self, limit: &Limit, by: &str) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = gates::put_limit(turn.tx(), limit, by).await;
        turn.end(done).await
    }

    async fn remove_limit(&self, name: &str, by: &str) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = gates::remove_limit(turn.tx(), name, by).await;
        turn.end(done).await
    }

    async fn weights(&self) -> Result<Vec<(String, f64)>, Error> {
        gates::weights(&mut *self.readers.acquire().await?).await
    }

    async fn put_weight(&self, tenant: &str, weight: f64, by: &str) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = gates::put_weight(turn.tx(), tenant, weight, by).await;
        turn.end(done).await
    }

    async fn pause(&self, gate: &Gate, by: &str) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = gates::pause(turn.tx(), gate, by).await;
        turn.end(done).await
    }

    async fn resume(&self, gate: &Gate, by: &str) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = gates::resume(turn.tx(), gate, by).await;
        turn.end(done).await
    }

    async fn paused(&self) -> Result<Vec<Pause>, Error> {
        gates::paused(&mut *self.readers.acquire().await?).await
    }

    async fn audit(&self, wanted: &AuditWanted) -> Result<Page<AuditEntry>, Error> {
        gates::audit(&mut *self.readers.acquire().await?, wanted).await
    }

    async fn beat(&self, worker: &WorkerBeat) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesProcess).await?;
        let done = fleet::beat(turn.tx(), worker).await;
        turn.end(done).await
    }

    async fn sign_off(&self, holder: HolderId) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesProcess).await?;
        let done = fleet::sign_off(turn.tx(), holder).await;
        turn.end(done).await
    }

    async fn workers(&self) -> Result<Vec<Worker>, Error> {
        fleet::workers(&mut *self.readers.acquire().await?).await
    }

    async fn lanes(&self) -> Result<Vec<LaneView>, Error> {
        fleet::lanes(&mut *self.readers.acquire().await?).await
    }
}
