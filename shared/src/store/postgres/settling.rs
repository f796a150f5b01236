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
    leases::Held,
    lock::{Contended, Locked},
    queueing::Flows,
    rows::{Columns, document, int, texts},
    *,
};
use crate::domain::{
    attempt::{self, Output, OutputFile},
    dependency::OnLoss,
    event::TaskRef,
    plan::growing::Added,
    settle::{Dependent, Progress, Settlement},
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
}

/// Settles one attempt.
pub(super) async fn settle(db: &Db, ended: Ended) -> Result<(), Error> {
    let mut answers = settle_all(db, std::slice::from_ref(&ended)).await?;
    answers.pop().unwrap_or(Err(Error::Fenced))
}

/// Settles attempts in one commit and rings the bell. `Fenced` for those that are not running;
/// an error is for all of them, and nothing was written.
pub(super) async fn settle_all(db: &Db, ended: &[Ended]) -> Result<Vec<Result<(), Error>>, Error> {
    let mut batch = Batch::new(ended);
    // Whoever is late costs this much and no lock.
    let builds = batch.builds(&db.pool).await?;
    if builds.is_empty() {
        return Ok(batch.answers());
    }
    let mut tx = db.pool.begin().await?;
    let mut builds = lock::builds(&mut tx, &builds, Contended::Wait).await?;
    batch.read_running(&mut tx).await?;
    let mut rang = Rang::default();
    batch.succeed(&mut tx, &db.flows, &mut builds, &mut rang).await?;
    batch.fail(&mut tx, &db.flows, &mut builds, &mut rang).await?;
    if batch.is_parked {
        let lanes = claiming::parked_lanes(&mut tx, Lane::Tasks).await?;
        rang.claimable.extend(claiming::wake_ups(&lanes));
    }
    tx.commit().await?;
    db.bell.ring(rang.claimable);
    for build in rang.recalled {
        db.bell.recall(build);
    }
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

/// Who waits for the tasks of a batch, as they stand in the midst of it.
#[derive(Default)]
pub(super) struct Dependents {
    by_target: HashMap<TaskId, Vec<(TaskId, OnLoss)>>,
    tasks: HashMap<TaskId, Waiting>,
}

struct Waiting {
    task: TaskRef,
    state: task::State,
    waiting_on: u32,
    build: BuildId,
    cost: u32,
    priority: i16,
    place: i32,
    advanced_by: u32,
    released: bool,
}

impl Dependents {
    async fn read(conn: &mut PgConnection, on: &[TaskId]) -> Result<Self, Error> {
        let mut read = Self::default();
        let query = sqlx::query(include_str!("sql/dependents.sql")).bind(texts(on));
        read.extend(&query.fetch_all(conn).await?)?;
        Ok(read)
    }

    /// Takes dependencies in, with the tasks that wait as they stand in the record.
    pub(super) fn extend(&mut self, rows: &[PgRow]) -> Result<(), Error> {
        for row in rows {
            let task = read_ref(row)?;
            let on_loss = row.word("on_loss")?;
            self.by_target.entry(row.word("on_task_id")?).or_default().push((task.id, on_loss));
            if !self.tasks.contains_key(&task.id) {
                let waiting = Waiting {
                    state: row.word("state")?,
                    waiting_on: row.count("waiting_on")?,
                    build: row.word("build_id")?,
                    cost: row.count("cost")?,
                    priority: row.try_get("priority")?,
                    place: row.try_get("place")?,
                    advanced_by: 0,
                    released: false,
                    task,
                };
                self.tasks.insert(waiting.task.id, waiting);
            }
        }
        Ok(())
    }

    fn of(&self, target: TaskId) -> Vec<Dependent> {
        let edges = self.by_target.get(&target).map(Vec::as_slice).unwrap_or_default();
        edges.iter().filter_map(|edge| self.dependent(target, *edge)).collect()
    }

    /// All that were read.
    pub(super) fn all(&self) -> Vec<Dependent> {
        self.by_target
            .iter()
            .flat_map(|(on, edges)| edges.iter().filter_map(|edge| self.dependent(*on, *edge)))
            .collect()
    }

    fn dependent(&self, on: TaskId, (id, on_loss): (TaskId, OnLoss)) -> Option<Dependent> {
        let Waiting { task, state, waiting_on, .. } = self.tasks.get(&id)?;
        let task = task.clone();
        Some(Dependent { on, task, state: *state, waiting_on: *waiting_on, on_loss })
    }

    pub(super) fn advance(&mut self, settlement: &Settlement) {
        for id in &settlement.advanced {
            if let Some(waiting) = self.tasks.get_mut(id) {
                waiting.advanced_by += 1;
                waiting.waiting_on = waiting.waiting_on.saturating_sub(1);
            }
        }
        for id in &settlement.released {
            if let Some(waiting) = self.tasks.get_mut(id) {
                waiting.released = true;
                waiting.state = task::State::Ready;
            }
        }
    }
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

/// Writes that dependents wait for fewer tasks, and gives those a rank that wait for none.
pub(super) async fn advance(
    conn: &mut PgConnection,
    flows: &Flows,
    builds: &BTreeMap<BuildId, Locked>,
    dependents: &Dependents,
) -> Result<(), Error> {
    let mut advanced: Vec<&Waiting> =
        dependents.tasks.values().filter(|waiting| 0 < waiting.advanced_by).collect();
    if advanced.is_empty() {
        return Ok(());
    }
    advanced.sort_unstable_by_key(|waiting| (waiting.build, waiting.priority, waiting.place));
    let mut entering: BTreeMap<queueing::Flow, Vec<u32>> = BTreeMap::new();
    for waiting in advanced.iter().filter(|waiting| waiting.released) {
        let Some(build) = builds.get(&waiting.build) else { continue };
        entering.entry(build.flow()).or_default().push(waiting.cost);
    }
    let mut ranks: BTreeMap<_, _> = flows
        .ranks(Lane::Tasks, &entering)
        .await?
        .into_iter()
        .map(|(flow, ranks)| (flow, ranks.into_iter()))
        .collect();
    let (mut ids, mut by, mut stand) = (Vec::new(), Vec::new(), Vec::new());
    for waiting in advanced {
        ids.push(waiting.task.id.to_string());
        by.push(int(waiting.advanced_by));
        let flow = builds.get(&waiting.build).map(Locked::flow).filter(|_| waiting.released);
        stand.push(flow.and_then(|flow| ranks.get_mut(&flow)?.next()));
    }
    sqlx::query(include_str!("sql/advance.sql"))
        .bind(ids)
        .bind(by)
        .bind(stand)
        .bind(task::State::Pending.on(task::Trigger::DependenciesMet)?.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes pending tasks of one build, which wait for nothing, ready; answers with them as jobs.
pub(super) async fn release(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &Locked,
    tasks: &[(TaskId, u32)],
) -> Result<Vec<Job>, Error> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let costs = tasks.iter().map(|(_, cost)| *cost).collect();
    let ranks = flows.ranks(Lane::Tasks, &BTreeMap::from([(build.flow(), costs)])).await?;
    sqlx::query(include_str!("sql/advance.sql"))
        .bind(texts(tasks.iter().map(|(id, _)| id)))
        .bind(vec![0; tasks.len()])
        .bind(ranks.into_values().flatten().map(Some).collect::<Vec<_>>())
        .bind(task::State::Pending.on(task::Trigger::DependenciesMet)?.as_str())
        .execute(conn)
        .await?;
    Ok(tasks.iter().map(|(id, _)| Job::Task(*id)).collect())
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
