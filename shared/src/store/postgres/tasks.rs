//! Tasks: read, and claimed. See `settling.rs` for what becomes of a claim.

use sqlx::{AssertSqlSafe, Row, postgres::PgRow};

use super::{
    rows::{Columns, int},
    *,
};
use crate::domain::{attempt, event::TaskRef, task};

/// What every reading of tasks begins with.
const VIEW: &str = "select t.*, array(
    select on_task_id from dependencies where task_id = t.id order by on_task_id
  ) as depends_on from tasks t";

pub(super) async fn list(pool: &PgPool, build: BuildId) -> Result<Vec<Task>, Error> {
    builds::expect(pool, build).await?;
    const CLAUSES: &str = "where t.plan_id = (
        select id from plans where build_id = $1 order by created_at desc, id desc limit 1
      ) order by t.place";
    let rows = sqlx::query(AssertSqlSafe(format!("{VIEW} {CLAUSES}")))
        .bind(build.to_string())
        .fetch_all(pool)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn view(pool: &PgPool, id: TaskId) -> Result<Task, Error> {
    let row = sqlx::query(AssertSqlSafe(format!("{VIEW} where t.id = $1")))
        .bind(id.to_string())
        .fetch_optional(pool)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    read(&row)
}

fn priority(row: &PgRow) -> Result<u8, sqlx::Error> {
    // Plans are made with a byte; see `DraftTask`.
    Ok(u8::try_from(row.try_get::<i16, _>("priority")?).unwrap_or(u8::MAX))
}

fn read(row: &PgRow) -> Result<Task, Error> {
    let depends_on = row
        .try_get::<Vec<String>, _>("depends_on")?
        .iter()
        .map(|id| id.parse().map_err(Error::unavailable))
        .collect::<Result<_, _>>()?;
    Ok(Task {
        id: row.word("id")?,
        build: row.word("build_id")?,
        plan: row.word("plan_id")?,
        key: row.try_get("key")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        phase: row.word("phase")?,
        operation: row.word("operation")?,
        role: row.try_get("role")?,
        priority: priority(row)?,
        estimated_secs: row.count("estimated_secs")?,
        depends_on,
        writes: row.json("writes")?,
        state: row.word("state")?,
        attempt: row.count("attempt")?,
        failures: row.count("failures")?,
        crashes: row.count("crashes")?,
        failure: row.json_if("failure")?,
        logs: row.json("logs")?,
        started_at: row.try_get("started_at")?,
        settled_at: row.try_get("settled_at")?,
    })
}

pub(super) async fn attempts(pool: &PgPool, id: TaskId) -> Result<Vec<AttemptView>, Error> {
    let rows = sqlx::query("select * from task_attempts where task_id = $1 order by number")
        .bind(id.to_string())
        .fetch_all(pool)
        .await?;
    if rows.is_empty() {
        view(pool, id).await?;
    }
    rows.iter()
        .map(|row| {
            Ok(AttemptView {
                number: row.count("number")?,
                holder: row.word("holder")?,
                state: row.word("state")?,
                failure: row.json_if("failure")?,
                started_at: row.try_get("started_at")?,
                settled_at: row.try_get("settled_at")?,
            })
        })
        .collect()
}

pub(super) async fn claim(
    pool: &PgPool,
    id: TaskId,
    holder: HolderId,
    lease: Duration,
) -> Result<Option<TaskClaim>, Error> {
    // A job that comes twice costs this much and no lock.
    let due = sqlx::query(
        "select build_id from tasks
          where id = $1 and state = 'ready' and due_at <= clock_timestamp()",
    )
    .bind(id.to_string())
    .fetch_optional(pool)
    .await?;
    let Some(due) = due else { return Ok(None) };
    let mut tx = pool.begin().await?;
    let Some(mut build) = lock::build(&mut tx, due.word("build_id")?).await? else {
        return Ok(None);
    };
    let row = sqlx::query(include_str!("sql/claim_task.sql"))
        .bind(id.to_string())
        .bind(task::State::Ready.on(task::Trigger::Claimed)?.as_str())
        .bind(holder.to_string())
        .bind(secs(lease))
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let claim = read_claim(&row)?;
    sqlx::query(
        "insert into task_attempts (task_id, number, holder, state) values ($1, $2, $3, $4)",
    )
    .bind(id.to_string())
    .bind(int(claim.attempt))
    .bind(holder.to_string())
    .bind(attempt::State::Running.as_str())
    .execute(&mut *tx)
    .await?;
    let named = TaskRef { id, name: claim.name.clone() };
    let started = Event::task_started(&named, row.try_get("description")?, claim.attempt);
    events::append(&mut tx, &mut build, &[started]).await?;
    tx.commit().await?;
    Ok(Some(claim))
}

fn read_claim(row: &PgRow) -> Result<TaskClaim, Error> {
    Ok(TaskClaim {
        task: row.word("id")?,
        build: row.word("build_id")?,
        attempt: row.count("attempt")?,
        key: row.try_get("key")?,
        name: row.try_get("name")?,
        phase: row.word("phase")?,
        operation: row.word("operation")?,
        role: row.try_get("role")?,
        estimated_secs: row.count("estimated_secs")?,
        writes: row.json("writes")?,
        input: row.json("input")?,
        spec: row.json("spec")?,
    })
}
