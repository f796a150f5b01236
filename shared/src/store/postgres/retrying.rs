//! Another go at a build that failed or was cancelled.

use sqlx::{PgConnection, Row};

use super::{lock::Locked, queueing::Flows, rows::Columns, *};
use crate::domain::{build, plan, task};

/// Answers also with what may be claimed by it.
pub(super) async fn retry(db: &Db, id: BuildId) -> Result<(Build, Vec<Job>), Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = lock::build(&mut tx, id).await?.ok_or_else(|| Error::not_found(id))?;
    let adopted = adopted_plan(&mut tx, &build).await?;
    let trigger = build::Trigger::Retried { planned: adopted.is_some() };
    let state = build.state.on(trigger).map_err(|_| {
        let reason = format!("the build is {}, neither failed nor cancelled", build.state);
        Error::conflict("build_not_retryable", reason)
    })?;
    let (tasks, mut ready) = match adopted {
        Some(plan) => {
            let reopened = reopen_tasks(&mut tx, &db.flows, &build, plan).await?;
            reopen_build(&mut tx, &build, state, None).await?;
            reopened
        }
        None => {
            let rank = db.flows.rank_of_one(Lane::Plans, build.flow()).await?;
            reopen_build(&mut tx, &build, state, Some(rank)).await?;
            (0, vec![Job::Plan(id)])
        }
    };
    ready.extend(
        events::append(&mut tx, &db.flows, &mut build, &[Event::build_retried(tasks)]).await?,
    );
    let view = builds::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok((view, ready))
}

async fn adopted_plan(conn: &mut PgConnection, build: &Locked) -> Result<Option<PlanId>, Error> {
    let Some(id) = build.plan else { return Ok(None) };
    let row = sqlx::query("select state from plans where id = $1")
        .bind(id.to_string())
        .fetch_one(conn)
        .await?;
    Ok((row.word::<plan::State>("state")? == plan::State::Adopted).then_some(id))
}

/// Puts every task that was lost back; answers with how many there were, and which are ready.
async fn reopen_tasks(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &Locked,
    plan: PlanId,
) -> Result<(u32, Vec<Job>), Error> {
    let pending = task::State::Failed.on(task::Trigger::Retried)?;
    let mut rows = sqlx::query(include_str!("sql/reopen_tasks.sql"))
        .bind(plan.to_string())
        .bind(pending.as_str())
        .fetch_all(&mut *conn)
        .await?;
    rows.sort_by_key(|row| (row.get::<i16, _>("priority"), row.get::<i32, _>("place")));
    let mut released = Vec::new();
    for row in &rows {
        if row.count("waiting_on")? == 0 {
            released.push((row.word("id")?, row.count("cost")?));
        }
    }
    let ready = releasing::release(conn, flows, build, &released).await?;
    Ok((u32::try_from(rows.len()).unwrap_or(u32::MAX), ready))
}

async fn reopen_build(
    conn: &mut PgConnection,
    build: &Locked,
    state: build::State,
    rank: Option<f64>,
) -> Result<(), Error> {
    let row = sqlx::query("select brief from builds where id = $1")
        .bind(build.id.to_string())
        .fetch_one(&mut *conn)
        .await?;
    let brief: crate::domain::brief::Brief = row.json("brief")?;
    sqlx::query(include_str!("sql/reopen_build.sql"))
        .bind(build.id.to_string())
        .bind(state.as_str())
        .bind(state == build::State::Queued)
        .bind(brief.deadline().map(secs))
        .bind(rank)
        .execute(conn)
        .await?;
    Ok(())
}
