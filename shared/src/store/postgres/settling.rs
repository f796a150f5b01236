//! Settling tasks: the progress is read under the locks of their builds, the domain decides, and
//! what it said is written.
//!
//! Many are settled in one commit. Successes, which is what nearly all of them are, are read
//! together, decided one after the other in memory, and written together: the number of statements
//! does not grow with them. Each failure is then settled by itself, in the same commit. What is read
//! and written grows with what the outcomes touch, not with the builds.

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
    attempt::{self, FailureKind, OutputFile},
    brief::OnTaskFailure,
    event::TaskRef,
    retry::Verdict,
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
struct Running {
    build: BuildId,
    named: TaskRef,
    attempt: u32,
    lapsed: bool,
    failures: u32,
    crashes: u32,
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
                && let Some(running) = self.take(index)
                && builds.contains_key(&running.build)
            {
                won.push((running, output, ended));
            }
        }
        if won.is_empty() {
            return Ok(());
        }
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
                ..progress(build, &running)
            };
            let outcome = Outcome::Succeeded(output.clone());
            let settlement = progress.settle(outcome, &ended.policy, ended.jitter)?;
            dependents.advance(&settlement);
            written.add(build, &running, settlement)?;
        }
        written.write(conn, flows, builds, &dependents, rang).await
    }

    /// Settles whatever is not a success, one by one.
    async fn fail(
        &mut self,
        conn: &mut PgConnection,
        flows: &Flows,
        builds: &mut BTreeMap<BuildId, Locked>,
        rang: &mut Rang,
    ) -> Result<(), Error> {
        for (index, ended) in self.ended.iter().enumerate() {
            if matches!(ended.outcome, Outcome::Succeeded(_)) {
                continue;
            }
            let Some(running) = self.take(index) else { continue };
            let Some(build) = builds.get_mut(&running.build) else { continue };
            if build.state.is_final() {
                // An earlier one of this batch has ended the build, and this task with it.
                self.fenced[index] = true;
                continue;
            }
            settle_loss(conn, flows, build, &running, ended, rang).await?;
        }
        Ok(())
    }
}

fn read_ref(row: &PgRow) -> Result<TaskRef, Error> {
    Ok(TaskRef { id: row.word("id")?, name: row.try_get("name")? })
}

fn progress(build: &Locked, running: &Running) -> Progress {
    Progress {
        build: build.state,
        on_task_failure: build.on_task_failure,
        tally: build.tally,
        task: running.named.clone(),
        attempt: running.attempt,
        failures: running.failures,
        crashes: running.crashes,
        dependents: Vec::new(),
        downstream: Vec::new(),
        others: Vec::new(),
    }
}

/// Takes over how a build stands after a settlement.
fn move_on(build: &mut Locked, settlement: &Settlement) {
    build.state = settlement.build;
    build.stop.clone_from(&settlement.stop);
    build.tally = settlement.tally;
}

/// Who waits for the tasks of a batch, as they stand in the midst of it.
#[derive(Default)]
struct Dependents {
    by_target: HashMap<TaskId, Vec<TaskId>>,
    tasks: HashMap<TaskId, Waiting>,
}

struct Waiting {
    dependent: Dependent,
    build: BuildId,
    cost: u32,
    priority: i16,
    place: i32,
    advanced_by: u32,
    released: bool,
}

impl Dependents {
    async fn read(conn: &mut PgConnection, on: &[TaskId]) -> Result<Self, Error> {
        let rows =
            sqlx::query(include_str!("sql/dependents.sql")).bind(texts(on)).fetch_all(conn).await?;
        let mut read = Self::default();
        for row in &rows {
            let task = read_ref(row)?;
            read.by_target.entry(row.word("on_task_id")?).or_default().push(task.id);
            if !read.tasks.contains_key(&task.id) {
                let (state, waiting_on) = (row.word("state")?, row.count("waiting_on")?);
                let waiting = Waiting {
                    build: row.word("build_id")?,
                    cost: row.count("cost")?,
                    priority: row.try_get("priority")?,
                    place: row.try_get("place")?,
                    advanced_by: 0,
                    released: false,
                    dependent: Dependent { task, state, waiting_on },
                };
                read.tasks.insert(waiting.dependent.task.id, waiting);
            }
        }
        Ok(read)
    }

    fn of(&self, target: TaskId) -> Vec<Dependent> {
        let ids = self.by_target.get(&target).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| Some(self.tasks.get(id)?.dependent.clone())).collect()
    }

    fn advance(&mut self, settlement: &Settlement) {
        for id in &settlement.advanced {
            if let Some(waiting) = self.tasks.get_mut(id) {
                waiting.advanced_by += 1;
                waiting.dependent.waiting_on = waiting.dependent.waiting_on.saturating_sub(1);
            }
        }
        for id in &settlement.released {
            if let Some(waiting) = self.tasks.get_mut(id) {
                waiting.released = true;
                waiting.dependent.state = task::State::Ready;
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
async fn advance(
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
        ids.push(waiting.dependent.task.id.to_string());
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

/// Settles an attempt that was not a success.
async fn settle_loss(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &mut Locked,
    running: &Running,
    ended: &Ended,
    rang: &mut Rang,
) -> Result<(), Error> {
    let id = running.named.id;
    let mut progress = progress(build, running);
    if let Outcome::Failed(failure) = &ended.outcome
        && gives_up(running, failure, ended)
    {
        let (sql, found) = match build.on_task_failure {
            OnTaskFailure::Continue => {
                (include_str!("sql/downstream.sql"), &mut progress.downstream)
            }
            OnTaskFailure::FailFast => (include_str!("sql/others.sql"), &mut progress.others),
        };
        let rows = sqlx::query(sql).bind(id.to_string()).fetch_all(&mut *conn).await?;
        *found = rows.iter().map(read_ref).collect::<Result<_, _>>()?;
    }
    let settlement = progress.settle(ended.outcome.clone(), &ended.policy, ended.jitter)?;
    move_on(build, &settlement);
    write_loss(conn, id, running.attempt, &settlement).await?;
    end_tasks(conn, &settlement.skipped, task::State::Skipped).await?;
    end_tasks(conn, &settlement.cancelled, task::State::Cancelled).await?;
    let mut logs = [(&mut *build, settlement.events.as_slice())];
    rang.claimable.extend(events::append_each(conn, flows, &mut logs).await?);
    lock::save(conn, std::iter::once(&*build)).await?;
    if settlement.due_in == Some(Duration::ZERO) {
        rang.claimable.push(Job::Task(id));
    }
    if !settlement.cancelled.is_empty() {
        rang.recalled.push(build.id);
    }
    Ok(())
}

/// Whether the domain will ask for those who depend on the task; asks the same law as it does.
fn gives_up(running: &Running, failure: &Failure, ended: &Ended) -> bool {
    let (failures, crashes) = match failure.kind {
        FailureKind::Lost => (0, 1),
        FailureKind::Transient | FailureKind::Permanent => (1, 0),
    };
    let (failures, crashes) = (running.failures + failures, running.crashes + crashes);
    ended.policy.judge(failure.kind, failures, crashes, ended.jitter) == Verdict::GiveUp
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

async fn write_loss(
    conn: &mut PgConnection,
    id: TaskId,
    attempt: u32,
    settlement: &Settlement,
) -> Result<(), Error> {
    let failure = settlement.failure.as_ref().map(document).transpose()?;
    let written = sqlx::query(include_str!("sql/settle_task.sql"))
        .bind(id.to_string())
        .bind(int(attempt))
        .bind(settlement.task.as_str())
        .bind(settlement.due_in.map(secs))
        .bind(int(settlement.failures))
        .bind(int(settlement.crashes))
        .bind(&failure)
        .bind(settlement.task.is_final())
        .execute(&mut *conn)
        .await?
        .rows_affected();
    if written == 0 {
        return Err(Error::Fenced);
    }
    sqlx::query(
        "update task_attempts
            set state = $3, failure = $4::json, settled_at = clock_timestamp()
          where task_id = $1 and number = $2 and state = 'running'",
    )
    .bind(id.to_string())
    .bind(int(attempt))
    .bind(settlement.attempt.as_str())
    .bind(failure)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends tasks that are not final, and with them the attempts that run.
async fn end_tasks(
    conn: &mut PgConnection,
    ids: &[TaskId],
    state: task::State,
) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids = texts(ids);
    sqlx::query(
        "update tasks
            set state = $2, due_at = null, parked_on = null, holder = null, leased_until = null,
                settled_at = clock_timestamp()
          where id = any($1)",
    )
    .bind(&ids)
    .bind(state.as_str())
    .execute(&mut *conn)
    .await?;
    end_running(conn, &ids).await
}

/// Cancels the attempts that run at any of these tasks.
pub(super) async fn end_running(conn: &mut PgConnection, tasks: &[String]) -> Result<(), Error> {
    sqlx::query(
        "update task_attempts
            set state = $2, settled_at = clock_timestamp()
          where task_id = any($1) and state = 'running'",
    )
    .bind(tasks)
    .bind(attempt::State::Running.on(attempt::Trigger::Cancelled)?.as_str())
    .execute(conn)
    .await?;
    Ok(())
}
