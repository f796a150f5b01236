//! Tasks: looked at, claimed, cancelled. For outcomes, see `settling.rs`.

use std::time::Duration;

use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, builds, events,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        attempt,
        event::{Event, TaskRef},
        id::{BuildId, HolderId, TaskId},
        task::State,
    },
    store::{AttemptView, Error, Task, TaskClaim},
};

macro_rules! select_tasks {
    ($rest:literal) => {
        concat!(
            "select t.*,
               (select json_group_array(d.on_task_id)
                  from dependencies d join tasks o on o.id = d.on_task_id
                 where d.task_id = t.id) as depends_on
             from tasks t ",
            $rest
        )
    };
}

pub(super) async fn one(db: &mut SqliteConnection, id: TaskId) -> Result<Task, Error> {
    let row = sqlx::query(select_tasks!("where t.id = $1"))
        .bind(id.to_string())
        .fetch_optional(db)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    Ok(read(&row)?)
}

pub(super) async fn of_build(db: &mut SqliteConnection, id: BuildId) -> Result<Vec<Task>, Error> {
    let rows = sqlx::query(select_tasks!(
        "where t.plan_id = (select id from plans where build_id = $1 order by id desc limit 1)
         order by t.place"
    ))
    .bind(id.to_string())
    .fetch_all(&mut *db)
    .await?;
    if rows.is_empty() {
        builds::must_exist(db, id).await?;
    }
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

fn read(row: &SqliteRow) -> Result<Task, sqlx::Error> {
    // Drawn in the order of the plan, so ids ascend with it.
    let mut depends_on: Vec<TaskId> = row.json("depends_on")?;
    depends_on.sort_unstable();
    Ok(Task {
        id: row.word("id")?,
        build: row.word("build_id")?,
        plan: row.word("plan_id")?,
        key: row.text("key")?,
        name: row.text("name")?,
        description: row.text("description")?,
        phase: row.word("phase")?,
        operation: row.word("operation")?,
        role: row.text("role")?,
        priority: sqlx::Row::try_get(row, "priority")?,
        estimated_secs: row.count("estimated_secs")?,
        depends_on,
        writes: row.json("writes")?,
        state: row.word("state")?,
        attempt: row.count("attempt")?,
        failures: row.count("failures")?,
        crashes: row.count("crashes")?,
        failure: row.json_if_any("failure")?,
        logs: row.json("logs")?,
        started_at: row.at_if_any("started_at")?,
        settled_at: row.at_if_any("settled_at")?,
    })
}

pub(super) async fn attempts(
    db: &mut SqliteConnection,
    id: TaskId,
) -> Result<Vec<AttemptView>, Error> {
    let rows = sqlx::query(
        "select number, holder, state, failure, started_at, settled_at
           from task_attempts where task_id = $1 order by number",
    )
    .bind(id.to_string())
    .fetch_all(&mut *db)
    .await?;
    if rows.is_empty() {
        one(db, id).await?;
    }
    let read = |row: &SqliteRow| {
        Ok(AttemptView {
            number: row.count("number")?,
            holder: row.word("holder")?,
            state: row.word("state")?,
            failure: row.json_if_any("failure")?,
            started_at: row.at("started_at")?,
            settled_at: row.at_if_any("settled_at")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn claim(
    tx: &mut Tx,
    id: TaskId,
    holder: HolderId,
    lease: Duration,
) -> Result<Option<TaskClaim>, Error> {
    let claimed = sqlx::query(
        "update tasks
            set state = 'in_progress', attempt = attempt + 1, holder = $2, leased_until = $3,
                due_at = null, started_at = coalesce(started_at, $4)
          where id = $1
            and state = 'ready'
            and due_at <= $4
          returning build_id, attempt, key, name, description, phase, operation, role,
                    estimated_secs, writes, input,
                    (select spec from plans p where p.id = plan_id) as spec",
    )
    .bind(id.to_string())
    .bind(holder.to_string())
    .bind(tx.in_future(lease))
    .bind(tx.now)
    .fetch_optional(tx.db())
    .await?;
    let Some(row) = claimed else { return Ok(None) };
    let claim = TaskClaim {
        task: id,
        build: row.word("build_id")?,
        attempt: row.count("attempt")?,
        key: row.text("key")?,
        name: row.text("name")?,
        phase: row.word("phase")?,
        operation: row.word("operation")?,
        role: row.text("role")?,
        estimated_secs: row.count("estimated_secs")?,
        writes: row.json("writes")?,
        input: row.json("input")?,
        spec: row.json("spec")?,
    };
    sqlx::query(
        "insert into task_attempts (task_id, number, holder, state, started_at)
         values ($1, $2, $3, 'running', $4)",
    )
    .bind(id.to_string())
    .bind(claim.attempt)
    .bind(holder.to_string())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    let task = TaskRef { id, name: claim.name.clone() };
    let started = Event::task_started(&task, &row.text("description")?, claim.attempt);
    events::append(tx, claim.build, &[started]).await?;
    Ok(Some(claim))
}

/// The tasks of a build that are not final, in the order of the plan.
pub(super) async fn open(tx: &mut Tx, build: BuildId) -> Result<Vec<(TaskRef, State)>, Error> {
    let rows = sqlx::query(
        "select id, name, state
           from tasks
          where plan_id = (select plan_id from builds where id = $1)
            and state in ('pending', 'ready', 'in_progress')
          order by place",
    )
    .bind(build.to_string())
    .fetch_all(tx.db())
    .await?;
    let read = |row: &SqliteRow| Ok((reference(row)?, row.word("state")?));
    rows.iter().map(read).collect()
}

pub(super) fn reference(row: &SqliteRow) -> Result<TaskRef, sqlx::Error> {
    Ok(TaskRef { id: row.word("id")?, name: row.text("name")? })
}

/// Cancels tasks, and the attempts that run at them: their holders will find themselves fenced.
pub(super) async fn cancel(tx: &mut Tx, ids: &[TaskId]) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids = to_json(ids)?;
    let cancelled = attempt::State::Running.on(attempt::Trigger::Cancelled)?;
    sqlx::query(
        "update task_attempts set state = $2, settled_at = $3
          where task_id in (select value from json_each($1)) and state = 'running'",
    )
    .bind(&ids)
    .bind(cancelled.as_str())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    sqlx::query(
        "update tasks
            set state = 'cancelled', due_at = null, holder = null, leased_until = null,
                settled_at = $2
          where id in (select value from json_each($1))
            and state in ('pending', 'ready', 'in_progress')",
    )
    .bind(&ids)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    Ok(())
}
