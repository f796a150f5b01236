//! Settling a task: the progress is read under the build's lock, the domain decides, and what it
//! said is written. What is read and written grows with what the outcome touches, not with the
//! build.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    leases::Held,
    lock::Locked,
    rows::{Columns, document, int, texts},
    *,
};
use crate::domain::{
    attempt::{self, FailureKind, Output},
    brief::OnTaskFailure,
    event::TaskRef,
    retry::Verdict,
    settle::{Dependent, Progress, Settlement},
    task,
};

pub(super) async fn settle(
    pool: &PgPool,
    id: TaskId,
    held: Held,
    outcome: Outcome,
    (policy, jitter): (&Policy, Jitter),
) -> Result<(), Error> {
    // Whoever is late costs this much and no lock.
    let row = sqlx::query(
        "select build_id from tasks where id = $1 and attempt = $2 and state = 'in_progress'",
    )
    .bind(id.to_string())
    .bind(int(held.attempt))
    .fetch_optional(pool)
    .await?
    .ok_or(Error::Fenced)?;
    let mut tx = pool.begin().await?;
    let mut build = lock::build(&mut tx, row.word("build_id")?).await?.ok_or(Error::Fenced)?;
    let task = lock_task(&mut tx, id, held).await?;
    if let Outcome::Succeeded(output) = &outcome {
        // Before the domain is asked, since a build's last event says how many files there are.
        build.tally.files += keep_files(&mut tx, build.id, id, output).await?;
    }
    let progress =
        read_progress(&mut tx, &build, &task, held.attempt, &outcome, (policy, jitter)).await?;
    let settlement = progress.settle(outcome, policy, jitter)?;
    write(&mut tx, &mut build, id, held.attempt, settlement).await?;
    tx.commit().await?;
    Ok(())
}

struct LockedTask {
    named: TaskRef,
    failures: u32,
    crashes: u32,
}

async fn lock_task(conn: &mut PgConnection, id: TaskId, held: Held) -> Result<LockedTask, Error> {
    let row = sqlx::query(
        "select id, name, failures, crashes
           from tasks
          where id = $1
            and attempt = $2 -- the fence
            and state = 'in_progress'
            and (not $3 or leased_until <= clock_timestamp())
            for no key update",
    )
    .bind(id.to_string())
    .bind(int(held.attempt))
    .bind(held.lapsed)
    .fetch_optional(conn)
    .await?
    .ok_or(Error::Fenced)?;
    Ok(LockedTask {
        named: read_ref(&row)?,
        failures: row.count("failures")?,
        crashes: row.count("crashes")?,
    })
}

fn read_ref(row: &PgRow) -> Result<TaskRef, Error> {
    Ok(TaskRef { id: row.word("id")?, name: row.try_get("name")? })
}

async fn read_progress(
    conn: &mut PgConnection,
    build: &Locked,
    task: &LockedTask,
    attempt: u32,
    outcome: &Outcome,
    (policy, jitter): (&Policy, Jitter),
) -> Result<Progress, Error> {
    let mut progress = Progress {
        build: build.state,
        on_task_failure: build.on_task_failure,
        tally: build.tally,
        task: task.named.clone(),
        attempt,
        failures: task.failures,
        crashes: task.crashes,
        dependents: Vec::new(),
        downstream: Vec::new(),
        others: Vec::new(),
    };
    let id = task.named.id;
    match outcome {
        Outcome::Succeeded(_) => progress.dependents = dependents(conn, id).await?,
        Outcome::Failed(failure) if gives_up(task, failure, policy, jitter) => {
            match build.on_task_failure {
                OnTaskFailure::Continue => {
                    let sql = include_str!("sql/downstream.sql");
                    progress.downstream = named(conn, sql, id.to_string()).await?;
                }
                OnTaskFailure::FailFast => {
                    let sql = include_str!("sql/others.sql");
                    progress.others = named(conn, sql, id.to_string()).await?;
                }
            }
        }
        Outcome::Failed(_) | Outcome::GivenBack => {}
    }
    Ok(progress)
}

/// Whether the domain will ask for those who depend on the task; asks the same law as it does.
fn gives_up(task: &LockedTask, failure: &Failure, policy: &Policy, jitter: Jitter) -> bool {
    let (failures, crashes) = match failure.kind {
        FailureKind::Lost => (0, 1),
        FailureKind::Transient | FailureKind::Permanent => (1, 0),
    };
    let (failures, crashes) = (task.failures + failures, task.crashes + crashes);
    policy.judge(failure.kind, failures, crashes, jitter) == Verdict::GiveUp
}

async fn dependents(conn: &mut PgConnection, id: TaskId) -> Result<Vec<Dependent>, Error> {
    let rows = sqlx::query(include_str!("sql/dependents.sql"))
        .bind(id.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Dependent {
                task: read_ref(row)?,
                state: row.word("state")?,
                waiting_on: row.count("waiting_on")?,
            })
        })
        .collect()
}

async fn named(
    conn: &mut PgConnection,
    sql: &'static str,
    id: String,
) -> Result<Vec<TaskRef>, Error> {
    let rows = sqlx::query(sql).bind(id).fetch_all(conn).await?;
    rows.iter().map(read_ref).collect()
}

/// Keeps files by path; answers with how many paths the build did not have before.
async fn keep_files(
    conn: &mut PgConnection,
    build: BuildId,
    task: TaskId,
    output: &Output,
) -> Result<u32, Error> {
    // The last of each path, since one statement cannot write a row twice.
    let files: BTreeMap<&str, &[u8]> =
        output.files.iter().map(|file| (file.path.as_str(), file.content.as_bytes())).collect();
    if files.is_empty() {
        return Ok(0);
    }
    let sha256: Vec<_> =
        files.values().map(|content| hex::encode(Sha256::digest(content))).collect();
    let rows = sqlx::query(include_str!("sql/keep_files.sql"))
        .bind(build.to_string())
        .bind(task.to_string())
        .bind(files.keys().copied().collect::<Vec<_>>())
        .bind(sha256)
        .bind(files.values().copied().collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    let mut new = 0;
    for row in rows {
        new += u32::from(row.try_get::<bool, _>("is_new")?);
    }
    Ok(new)
}

async fn write(
    conn: &mut PgConnection,
    build: &mut Locked,
    id: TaskId,
    attempt: u32,
    settlement: Settlement,
) -> Result<(), Error> {
    write_task(conn, id, attempt, &settlement).await?;
    write_others(conn, &settlement).await?;
    write_build(conn, build.id, &settlement).await?;
    let ready: Vec<_> = settlement.released.iter().copied().map(Job::Task).collect();
    outbox::push(conn, &ready, build.priority, Duration::ZERO).await?;
    if let Some(due_in) = settlement.due_in {
        outbox::push(conn, &[Job::Task(id)], build.priority, due_in).await?;
    }
    events::append(conn, build, &settlement.events).await
}

async fn write_task(
    conn: &mut PgConnection,
    id: TaskId,
    attempt: u32,
    settlement: &Settlement,
) -> Result<(), Error> {
    let failure = settlement.failure.as_ref().map(document).transpose()?;
    let logs = settlement.output.as_ref().map(|output| document(&output.logs)).transpose()?;
    let written = sqlx::query(include_str!("sql/settle_task.sql"))
        .bind(id.to_string())
        .bind(int(attempt))
        .bind(settlement.task.as_str())
        .bind(settlement.due_in.map(secs))
        .bind(int(settlement.failures))
        .bind(int(settlement.crashes))
        .bind(&failure)
        .bind(logs)
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

async fn write_others(conn: &mut PgConnection, settlement: &Settlement) -> Result<(), Error> {
    if !settlement.advanced.is_empty() {
        sqlx::query(include_str!("sql/advance.sql"))
            .bind(texts(&settlement.advanced))
            .bind(texts(&settlement.released))
            .bind(task::State::Pending.on(task::Trigger::DependenciesMet)?.as_str())
            .execute(&mut *conn)
            .await?;
    }
    end_tasks(conn, &settlement.skipped, task::State::Skipped).await?;
    end_tasks(conn, &settlement.cancelled, task::State::Cancelled).await
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
            set state = $2, due_at = null, holder = null, leased_until = null,
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

async fn write_build(
    conn: &mut PgConnection,
    id: BuildId,
    settlement: &Settlement,
) -> Result<(), Error> {
    let tally = settlement.tally;
    sqlx::query(include_str!("sql/progress_build.sql"))
        .bind(id.to_string())
        .bind(settlement.build.as_str())
        .bind(settlement.stop.as_ref().map(|stop| &stop.code))
        .bind(settlement.stop.as_ref().map(|stop| &stop.message))
        .bind(settlement.build.is_final())
        .bind(int(tally.completed))
        .bind(int(tally.failed))
        .bind(int(tally.skipped))
        .bind(int(tally.cancelled))
        .bind(int(tally.files))
        .execute(conn)
        .await?;
    Ok(())
}
