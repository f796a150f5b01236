//! Settling tasks: the progress is read under the locks of their builds, the domain decides, and
//! what it said is written.
//!
//! Many are settled in one commit. Successes, which is what nearly all of them are, are read
//! together, decided one after the other in memory, and written together: the number of statements
//! does not grow with them. Each failure is then settled by itself, in the same commit. What is
//! read and written grows with what the outcomes touch, not with the builds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    closing::Left,
    desk::{Gathered, only},
    leases::Held,
    lock::{Contended, Locked},
    queueing::Flows,
    releasing::{Dependents, advance},
    rows::{Columns, document, int, texts},
    *,
};
use crate::domain::{
    attempt::{self, Output, OutputFile},
    event::TaskRef,
    plan::growing::Added,
    settle::{Progress, Settlement},
    task,
};

/// An attempt at a task that is to be settled.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub task: TaskId,
    pub held: Held,
    pub outcome: Outcome,
    pub policy: Policy,
    pub jitter: Jitter,
}

/// What a commit of settlements made of others.
#[derive(Debug, Default)]
pub(super) struct Rang {
    pub claimable: Vec<Job>,
    /// Builds of which leases were taken away.
    pub recalled: Vec<BuildId>,
    /// Flows out of which work went unclaimed.
    pub left: Left,
}

impl Rang {
    pub fn left_by(&mut self, any: bool, build: &Locked) {
        if any {
            self.left.insert((Lane::Tasks, build.flow()));
        }
    }
}

impl Gathered for Ended {
    type Answer = ();
    const NAME: &'static str = "settlement";
    const COMMIT_MOST: usize = 512;

    async fn commit(db: &Db, all: &[Self]) -> Result<Vec<Result<(), Error>>, Error> {
        settle_all(db, all, PATIENTLY).await
    }
}

/// Settles one attempt.
pub(super) async fn settle(db: &Db, ended: Ended) -> Result<(), Error> {
    settle_all(db, std::slice::from_ref(&ended), PATIENTLY).await.and_then(only)
}

/// Settles one attempt, unless somebody else holds its build for so long that the next one should
/// not wait: that is `Fenced`, too.
pub(super) async fn settle_soon(db: &Db, ended: Ended) -> Result<(), Error> {
    let settled = settle_all(db, std::slice::from_ref(&ended), BRIEFLY).await;
    match settled.and_then(only) {
        Err(Error::Unavailable { source }) if is_locked(source.as_ref()) => Err(Error::Fenced),
        settled => settled,
    }
}

/// Milliseconds that a settlement waits for a lock; 0 for as long as a statement may take.
const PATIENTLY: &str = "0";
const BRIEFLY: &str = "250";
/// Milliseconds. Whoever freezes inside a settlement holds many builds, for no longer than this.
/// Whoever was only slow is refused its commit, and settles again.
const FROZEN_AFTER: &str = "5000";

/// Settles attempts in one commit and rings the bell. `Fenced` for those that are not running;
/// an error is for all of them, and nothing was written.
async fn settle_all(db: &Db, ended: &[Ended], wait: &str) -> Result<Vec<Result<(), Error>>, Error> {
    let mut batch = Batch::new(ended);
    // Whoever is late costs this much and no lock.
    let builds = batch.builds(&db.pool).await?;
    if builds.is_empty() {
        return Ok(batch.answers());
    }
    let mut tx = db.pool.begin().await?;
    sqlx::query(
        "select set_config('idle_in_transaction_session_timeout', $1, true),
                set_config('lock_timeout', $2, true)",
    )
    .bind(FROZEN_AFTER)
    .bind(wait)
    .execute(&mut *tx)
    .await?;
    let mut builds = lock::builds(&mut tx, &builds, Contended::Wait).await?;
    batch.read_running(&mut tx).await?;
    let mut rang = Rang::default();
    batch.succeed(&mut tx, &db.flows, &mut builds, &mut rang).await?;
    batch.fail(&mut tx, &db.flows, &mut builds, &mut rang).await?;
    if batch.is_parked {
        let lanes = claiming::parked_lanes(&mut tx, Lane::Tasks).await?;
        rang.claimable.extend(claiming::wake_ups(&lanes));
    }
    let marked = closing::mark(&mut tx, &rang.left).await?;
    tx.commit().await?;
    db.bell.ring(rang.claimable);
    for build in rang.recalled {
        db.bell.recall(build);
    }
    marked.close_up_quickly(db).await;
    Ok(batch.answers())
}

/// A task whose attempt runs.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub build: BuildId,
    pub named: TaskRef,
    pub attempt: u32,
    lapsed: bool,
    pub failures: u32,
    pub crashes: u32,
}

struct Batch<'a> {
    ended: &'a [Ended],
    running: HashMap<TaskId, Running>,
    settled: HashSet<TaskId>,
    fenced: Vec<bool>,
    /// Whether some work waits at a gate that the end of these may open.
    is_parked: bool,
}

impl<'a> Batch<'a> {
    fn new(ended: &'a [Ended]) -> Self {
        Self {
            ended,
            running: HashMap::new(),
            settled: HashSet::new(),
            fenced: vec![true; ended.len()],
            is_parked: false,
        }
    }

    fn answers(&self) -> Vec<Result<(), Error>> {
        self.fenced.iter().map(|fenced| if *fenced { Err(Error::Fenced) } else { Ok(()) }).collect()
    }

    fn ids(&self) -> Vec<String> {
        texts(self.ended.iter().map(|ended| ended.task))
    }

    /// The builds of the tasks, as far as they run.
    async fn builds(&self, pool: &PgPool) -> Result<Vec<BuildId>, Error> {
        let rows = sqlx::query(
            // By key alone: see `settle_successes.sql`.
            "select build_id, state from tasks where id = any($1)",
        )
        .bind(self.ids())
        .fetch_all(pool)
        .await?;
        let mut builds = BTreeSet::new();
        for row in &rows {
            if row.word::<task::State>("state")? == task::State::InProgress {
                builds.insert(row.word("build_id")?);
            }
        }
        Ok(builds.into_iter().collect())
    }

    /// Reads the tasks that run, once their builds are locked: nobody else changes them then.
    async fn read_running(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        let rows = sqlx::query(
            "select id, build_id, name, state, attempt, failures, crashes,
                    coalesce(leased_until <= clock_timestamp(), false) as lapsed,
                    exists (select 1 from parks) as is_parked
               from tasks
              where id = any($1)",
        )
        .bind(self.ids())
        .fetch_all(conn)
        .await?;
        for row in &rows {
            self.is_parked = row.try_get("is_parked")?;
            if row.word::<task::State>("state")? != task::State::InProgress {
                continue;
            }
            let running = Running {
                build: row.word("build_id")?,
                named: read_ref(row)?,
                attempt: row.count("attempt")?,
                lapsed: row.try_get("lapsed")?,
                failures: row.count("failures")?,
                crashes: row.count("crashes")?,
            };
            self.running.insert(running.named.id, running);
        }
        Ok(())
    }

    /// The running attempt that one ended, if it still may be settled; asked once for each.
    fn take(&mut self, index: usize) -> Option<Running> {
        let ended = &self.ended[index];
        // The fence: whoever lost the lease holds an older number.
        let running = self.running.get(&ended.task).filter(|running| {
            running.attempt == ended.held.attempt && (running.lapsed || !ended.held.lapsed)
        })?;
        self.settled.insert(ended.task).then(|| {
            self.fenced[index] = false;
            running.clone()
        })
    }

    async fn succeed(
        &mut self,
        conn: &mut PgConnection,
        flows: &Flows,
        builds: &mut BTreeMap<BuildId, Locked>,
        rang: &mut Rang,
    ) -> Result<(), Error> {
        let mut won = Vec::new();
        for (index, ended) in self.ended.iter().enumerate() {
            if let Outcome::Succeeded(output) = &ended.outcome
                && output.tasks.is_empty()
                && let Some(running) = self.take(index)
                && builds.contains_key(&running.build)
            {
                won.push((running, output, ended));
            }
        }
        if won.is_empty() {
            return Ok(());
        }
        succeed_all(conn, flows, builds, (won, None), rang).await
    }

    /// Settles whatever is not a success, and successes that ask for more tasks, one by one.
    async fn fail(
        &mut self,
        conn: &mut PgConnection,
        flows: &Flows,
        builds: &mut BTreeMap<BuildId, Locked>,
        rang: &mut Rang,
    ) -> Result<(), Error> {
        for (index, ended) in self.ended.iter().enumerate() {
            let growing = match &ended.outcome {
                Outcome::Succeeded(output) if output.tasks.is_empty() => continue,
                Outcome::Succeeded(output) => Some(output),
                Outcome::Failed(_) | Outcome::GivenBack => None,
            };
            let Some(running) = self.take(index) else { continue };
            let Some(build) = builds.get_mut(&running.build) else { continue };
            if build.state.is_final() {
                // An earlier one of this batch has ended the build, and this task with it.
                self.fenced[index] = true;
                continue;
            }
            if let Some(output) = growing {
                growing::settle(conn, flows, builds, running, (ended, output), rang).await?;
                continue;
            }
            for lost in losing::settle(conn, flows, build, &running, ended, rang).await? {
                // If its attempt has ended too, that comes too late.
                self.running.remove(&lost);
            }
        }
        Ok(())
    }
}

/// Settles successes together. What one of them adds has been written; only a success that is alone
/// here may add.
pub(super) async fn succeed_all(
    conn: &mut PgConnection,
    flows: &Flows,
    builds: &mut BTreeMap<BuildId, Locked>,
    (won, mut added): (Vec<(Running, &Output, &Ended)>, Option<Added>),
    rang: &mut Rang,
) -> Result<(), Error> {
    // Before the domain is asked, since a build's last event says how many files there are.
    let files = won.iter().map(|(running, output, _)| (running, output.files.as_slice()));
    keep_files(conn, builds, files).await?;
    results::keep(conn, won.iter().map(|(running, output, _)| (running.build, *output))).await?;
    let ids = won.iter().map(|(running, ..)| running.named.id).collect::<Vec<_>>();
    let mut dependents = Dependents::read(conn, &ids).await?;
    let mut written = Successes::default();
    for (running, output, ended) in won {
        let Some(build) = builds.get_mut(&running.build) else { continue };
        let progress = Progress {
            dependents: dependents.of(running.named.id),
            added: added.take(),
            ..progress(build, &running)
        };
        let outcome = Outcome::Succeeded(output.clone());
        let settlement = progress.settle(outcome, &ended.policy, ended.jitter)?;
        dependents.advance(&settlement);
        written.add(build, &running, settlement)?;
    }
    written.write(conn, flows, builds, &dependents, rang).await
}

pub(super) fn read_ref(row: &PgRow) -> Result<TaskRef, Error> {
    Ok(TaskRef { id: row.word("id")?, name: row.try_get("name")? })
}

pub(super) fn progress(build: &Locked, running: &Running) -> Progress {
    Progress {
        build: build.state,
        on_task_failure: build.on_task_failure,
        tally: build.tally,
        task: running.named.clone(),
        attempt: running.attempt,
        failures: running.failures,
        crashes: running.crashes,
        dependents: Vec::new(),
        others: Vec::new(),
        added: None,
    }
}

/// Takes over how a build stands after a settlement.
pub(super) fn move_on(build: &mut Locked, settlement: &Settlement) {
    build.state = settlement.build;
    build.stop.clone_from(&settlement.stop);
    build.tally = settlement.tally;
}

/// Successes of a batch, by column.
#[derive(Default)]
struct Successes {
    tasks: Vec<String>,
    attempts: Vec<i32>,
    logs: Vec<String>,
    events: BTreeMap<BuildId, Vec<Event>>,
    /// In the order in which they were released.
    released: Vec<TaskId>,
}

impl Successes {
    fn add(
        &mut self,
        build: &mut Locked,
        running: &Running,
        settlement: Settlement,
    ) -> Result<(), Error> {
        move_on(build, &settlement);
        let logs = settlement.output.as_ref().map(|output| output.logs.as_slice());
        self.tasks.push(running.named.id.to_string());
        self.attempts.push(int(running.attempt));
        self.logs.push(document(&logs.unwrap_or_default())?);
        self.released.extend(&settlement.released);
        self.events.entry(build.id).or_default().extend(settlement.events);
        Ok(())
    }

    async fn write(
        self,
        conn: &mut PgConnection,
        flows: &Flows,
        builds: &mut BTreeMap<BuildId, Locked>,
        dependents: &Dependents,
        rang: &mut Rang,
    ) -> Result<(), Error> {
        sqlx::query(include_str!("sql/settle_successes.sql"))
            .bind(&self.tasks)
            .bind(&self.attempts)
            .bind(self.logs)
            .bind(task::State::InProgress.on(task::Trigger::AttemptSucceeded)?.as_str())
            .bind(attempt::State::Running.on(attempt::Trigger::Success)?.as_str())
            .execute(&mut *conn)
            .await?;
        let mut logs: Vec<_> = builds
            .iter_mut()
            .filter_map(|(id, build)| Some((build, self.events.get(id)?.as_slice())))
            .collect();
        rang.claimable.extend(events::append_each(conn, flows, &mut logs).await?);
        let touched = builds.values().filter(|build| self.events.contains_key(&build.id));
        lock::save(conn, touched).await?;
        advance(conn, flows, builds, dependents).await?;
        rang.claimable.extend(self.released.into_iter().map(Job::Task));
        Ok(())
    }
}

/// Keeps files by path, and counts the paths that their builds did not have before.
async fn keep_files(
    conn: &mut PgConnection,
    builds: &mut BTreeMap<BuildId, Locked>,
    made: impl Iterator<Item = (&Running, &[OutputFile])>,
) -> Result<(), Error> {
    // The last of each path, since one statement cannot write a row twice.
    let mut files: BTreeMap<(BuildId, &str), (TaskId, &[u8])> = BTreeMap::new();
    for (running, made) in made {
        for file in made {
            let place = (running.build, file.path.as_str());
            files.insert(place, (running.named.id, file.content.as_bytes()));
        }
    }
    if files.is_empty() {
        return Ok(());
    }
    let sha256: Vec<_> =
        files.values().map(|(_, content)| hex::encode(Sha256::digest(content))).collect();
    let rows = sqlx::query(include_str!("sql/keep_files.sql"))
        .bind(texts(files.keys().map(|(build, _)| build)))
        .bind(texts(files.values().map(|(task, _)| task)))
        .bind(files.keys().map(|(_, path)| *path).collect::<Vec<_>>())
        .bind(sha256)
        .bind(files.values().map(|(_, content)| *content).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    for row in rows {
        if row.try_get::<bool, _>("is_new")?
            && let Some(build) = builds.get_mut(&row.word("build_id")?)
        {
            build.tally.files += 1;
        }
    }
    Ok(())
}
