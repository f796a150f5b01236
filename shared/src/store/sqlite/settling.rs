//! Settling attempts at tasks: reads the progress, asks the domain, writes down what it says.
//!
//! What is read is what the outcome needs, so the cost does not grow with the build: a success
//! reads the direct dependents; only a task given up reads what is lost with it.

use std::collections::HashSet;

use sqlx::sqlite::SqliteRow;

use super::{
    Tx, builds,
    closing::{self, Flow},
    events, files, gates, growing, plans, results,
    rows::{Columns, to_json},
    tasks,
};
use crate::{
    domain::{
        attempt::{Failure, Outcome, Output},
        id::{BuildId, TaskId},
        retry::{Jitter, Policy},
        settle::{Dependent, Open, Progress, Settlement, halts},
        task,
    },
    job::{Job, Lane},
    store::Error,
};

pub(super) async fn settle(
    tx: &mut Tx,
    id: TaskId,
    attempt: u32,
    outcome: Outcome,
    policy: &Policy,
    jitter: Jitter,
) -> Result<(), Error> {
    let held = held(tx, id, attempt).await?;
    let of = held.of.clone();
    let settlement = match outcome {
        Outcome::Succeeded(output) if !output.tasks.is_empty() => {
            return growing::settle(tx, held, output, policy, jitter).await;
        }
        Outcome::Succeeded(output) => succeed(tx, held, output, policy, jitter).await?,
        Outcome::Failed(failure) => fail(tx, held, failure, policy, jitter).await?,
        Outcome::GivenBack => held.progress.settle(Outcome::GivenBack, policy, jitter)?,
    };
    write(tx, &of, (id, attempt), &settlement).await
}

/// Writes what a settlement of an attempt says.
pub(super) async fn write(
    tx: &mut Tx,
    of: &Of,
    (id, attempt): (TaskId, u32),
    settlement: &Settlement,
) -> Result<(), Error> {
    let ended = (settlement.attempt, settlement.failure.as_ref());
    tasks::end_attempts(tx, &to_json(&[id])?, ended.0, ended.1).await?;
    // Whoever does not pass the fence has ended nothing: all is undone.
    write_task(tx, id, attempt, settlement).await?;
    if let Some(output) = &settlement.output {
        files::keep(tx, of.build, id, output).await?;
        results::keep(tx, of.build, output).await?;
    }
    if settlement.due_in.is_some_and(|due_in| due_in.is_zero()) {
        tx.ring([Job::Task(id)]);
    }
    write_rest(tx, of, settlement).await?;
    gates::freed(tx, Job::Task(id)).await
}

/// Writes what a settlement says of others than the task itself, and of the build.
pub(super) async fn write_rest(tx: &mut Tx, of: &Of, settlement: &Settlement) -> Result<(), Error> {
    advance(tx, settlement, of).await?;
    skip(tx, &settlement.skipped).await?;
    let were_ready = tasks::any_ready(tx, &settlement.cancelled).await?;
    if tasks::cancel(tx, &settlement.cancelled).await? {
        tx.recall(of.build);
    }
    if were_ready {
        closing::left(tx, of.flow()).await?;
    }
    write_build(tx, of.build, settlement).await?;
    events::append(tx, of.build, &settlement.events).await
}

/// The build of a task, and where its work stands in the lane.
#[derive(Debug, Clone)]
pub(super) struct Of {
    pub build: BuildId,
    pub tenant: String,
    pub priority: u8,
}

impl Of {
    /// That of its tasks.
    pub fn flow(&self) -> Flow<'_> {
        Flow { lane: Lane::Tasks, tenant: &self.tenant, priority: self.priority }
    }
}

pub(super) struct Held {
    pub of: Of,
    pub progress: Progress,
}

/// The attempt at hand, without the tasks around it. `Fenced` if it is not the running one.
async fn held(tx: &mut Tx, id: TaskId, attempt: u32) -> Result<Held, Error> {
    let row = sqlx::query(
        "select t.id, t.name, t.failures, t.crashes, t.build_id, t.tenant, t.band, b.state,
                b.on_task_failure, b.tasks, b.completed, b.failed, b.skipped, b.cancelled, b.files
           from tasks t join builds b on b.id = t.build_id
          where t.id = $1
            and t.state = 'in_progress'
            and t.attempt = $2 -- the fence",
    )
    .bind(id.to_string())
    .bind(attempt)
    .fetch_optional(tx.db())
    .await?
    .ok_or(Error::Fenced)?;
    let of = Of {
        build: row.word("build_id")?,
        tenant: row.text("tenant")?,
        priority: sqlx::Row::try_get(&row, "band")?,
    };
    Ok(Held {
        of,
        progress: Progress {
            build: row.word("state")?,
            on_task_failure: row.word("on_task_failure")?,
            tally: builds::tally(&row)?,
            task: tasks::reference(&row)?,
            attempt,
            failures: row.count("failures")?,
            crashes: row.count("crashes")?,
            dependents: Vec::new(),
            others: Vec::new(),
            added: None,
        },
    })
}

pub(super) async fn succeed(
    tx: &mut Tx,
    held: Held,
    output: Output,
    policy: &Policy,
    jitter: Jitter,
) -> Result<Settlement, Error> {
    let Held { of, mut progress } = held;
    progress.dependents = dependents(tx, include_str!("sql/dependents.sql"), &progress).await?;
    // Counted before the decision, so that a last event tells of the last files too.
    progress.tally.files += new_files(tx, of.build, &output).await?;
    Ok(progress.settle(Outcome::Succeeded(output), policy, jitter)?)
}

pub(super) async fn fail(
    tx: &mut Tx,
    held: Held,
    failure: Failure,
    policy: &Policy,
    jitter: Jitter,
) -> Result<Settlement, Error> {
    let Held { mut progress, .. } = held;
    let alone = progress.clone().settle(Outcome::Failed(failure.clone()), policy, jitter)?;
    if alone.task == task::State::Failed {
        // It is given up, so now it matters who is lost with it.
        read_losses(tx, &mut progress, true).await?;
    }
    Ok(progress.settle(Outcome::Failed(failure), policy, jitter)?)
}

/// Reads who waits for a task that is lost, and all that is open if its build stops then.
pub(super) async fn read_losses(
    tx: &mut Tx,
    progress: &mut Progress,
    failed: bool,
) -> Result<(), Error> {
    progress.dependents = dependents(tx, include_str!("sql/lost_with.sql"), progress).await?;
    if halts(progress.on_task_failure, failed, &progress.dependents) {
        let clean_up = dependents(tx, include_str!("sql/clean_up.sql"), progress).await?;
        progress.dependents.extend(clean_up);
        let rows = sqlx::query(include_str!("sql/others.sql"))
            .bind(progress.task.id.to_string())
            .fetch_all(tx.db())
            .await?;
        for row in &rows {
            progress.others.push(Open {
                task: tasks::reference(row)?,
                state: row.word("state")?,
                cleans_up: sqlx::Row::try_get(row, "cleans_up")?,
            });
        }
    }
    Ok(())
}

async fn dependents(
    tx: &mut Tx,
    sql: &'static str,
    progress: &Progress,
) -> Result<Vec<Dependent>, Error> {
    let rows = sqlx::query(sql).bind(progress.task.id.to_string()).fetch_all(tx.db()).await?;
    let read = |row: &SqliteRow| {
        Ok(Dependent {
            on: row.word("on_task_id")?,
            task: tasks::reference(row)?,
            state: row.word("state")?,
            waiting_on: row.count("waiting_on")?,
            on_loss: row.word("on_loss")?,
        })
    };
    rows.iter().map(read).collect()
}

/// How many of the paths the build does not have yet.
async fn new_files(tx: &mut Tx, build: BuildId, output: &Output) -> Result<u32, Error> {
    let paths: HashSet<&str> = output.files.iter().map(|file| file.path.as_str()).collect();
    if paths.is_empty() {
        return Ok(0);
    }
    let known: u32 = sqlx::query_scalar(
        "select count(*) from files
          where build_id = $1 and path in (select value from json_each($2))",
    )
    .bind(build.to_string())
    .bind(to_json(&paths)?)
    .fetch_one(tx.db())
    .await?;
    Ok(u32::try_from(paths.len()).map_err(Error::unavailable)?.saturating_sub(known))
}

async fn write_task(
    tx: &mut Tx,
    id: TaskId,
    attempt: u32,
    settlement: &Settlement,
) -> Result<(), Error> {
    let written = sqlx::query(
        "update tasks
            set state = $3, due_at = $4, parked_on = iif($10 < $4, 'time', null), holder = null,
                leased_until = null, begun_at = null,
                failures = failures + $5, crashes = crashes + $6,
                failure = coalesce($7, failure), logs = coalesce($8, logs),
                settled_at = iif($9, $10, null)
          where id = $1
            and state = 'in_progress'
            and attempt = $2 -- the fence",
    )
    .bind(id.to_string())
    .bind(attempt)
    .bind(settlement.task.as_str())
    .bind(settlement.due_in.map(|after| tx.in_future(after)))
    .bind(settlement.failures)
    .bind(settlement.crashes)
    .bind(settlement.failure.as_ref().map(to_json).transpose()?)
    .bind(settlement.output.as_ref().map(|output| to_json(&output.logs)).transpose()?)
    .bind(settlement.task.is_final())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    if written.rows_affected() == 0 { Err(Error::Fenced) } else { Ok(()) }
}

/// Lets the dependents wait for fewer tasks, and releases those that wait for none.
async fn advance(tx: &mut Tx, settlement: &Settlement, of: &Of) -> Result<(), Error> {
    if settlement.advanced.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update tasks set waiting_on = waiting_on - by.many
           from (select value as id, count(*) as many from json_each($1) group by value) by
          where tasks.id = by.id",
    )
    .bind(to_json(&settlement.advanced)?)
    .execute(tx.db())
    .await?;
    if settlement.released.is_empty() {
        return Ok(());
    }
    let released: Vec<(String, u32)> = sqlx::query_as(
        "select id, cost from tasks
          where id in (select value from json_each($1))
          order by priority, place",
    )
    .bind(to_json(&settlement.released)?)
    .fetch_all(tx.db())
    .await?;
    plans::release(tx, &of.tenant, of.priority, &released).await
}

async fn skip(tx: &mut Tx, ids: &[TaskId]) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update tasks set state = 'skipped', settled_at = $2
          where id in (select value from json_each($1)) and state = 'pending'",
    )
    .bind(to_json(ids)?)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    Ok(())
}

async fn write_build(tx: &mut Tx, id: BuildId, settlement: &Settlement) -> Result<(), Error> {
    let (tally, stop) = (settlement.tally, settlement.stop.as_ref());
    sqlx::query(
        "update builds
            set state = $2, stop_code = $3, stop_message = $4, completed = $5, failed = $6,
                skipped = $7, cancelled = $8, files = $9, tasks = $12,
                settled_at = iif($10, $11, settled_at), updated_at = $11
          where id = $1",
    )
    .bind(id.to_string())
    .bind(settlement.build.as_str())
    .bind(stop.map(|stop| &stop.code))
    .bind(stop.map(|stop| &stop.message))
    .bind(tally.completed)
    .bind(tally.failed)
    .bind(tally.skipped)
    .bind(tally.cancelled)
    .bind(tally.files)
    .bind(settlement.build.is_final())
    .bind(tx.now)
    .bind(tally.tasks)
    .execute(tx.db())
    .await?;
    if settlement.build.is_final() {
        gates::forget_pause(tx, id).await?;
    }
    Ok(())
}
