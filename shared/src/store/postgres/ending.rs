//! Builds that are ended from outside: cancelled, rejected, overdue.

use sqlx::{PgConnection, Row};

use super::{
    closing::Left,
    lock::Locked,
    queueing::Flows,
    rows::{Columns, int},
    *,
};
use crate::domain::{
    attempt,
    build::{self, Stop},
    event::TaskRef,
    plan, task,
};

pub(super) async fn cancel(db: &Db, id: BuildId) -> Result<Build, Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = lock::build(&mut tx, id).await?.ok_or_else(|| Error::not_found(id))?;
    if build.state == build::State::Cancelled {
        return builds::view(&mut tx, id).await;
    }
    if build.state.is_final() {
        let reason = format!("the build is {} already", build.state);
        return Err(Error::conflict("build_is_final", reason));
    }
    let stop = Stop::new("cancelled", "the build was cancelled");
    let Ended { open, left } = end(&mut tx, &mut build, build::Trigger::Cancelled, &stop).await?;
    let mut told: Vec<_> = open.iter().map(Event::task_cancelled).collect();
    told.push(Event::build_cancelled(build.tally));
    let entered = events::append(&mut tx, &db.flows, &mut build, &told).await?;
    let view = builds::view(&mut tx, id).await?;
    let marked = closing::mark(&mut tx, &left).await?;
    tx.commit().await?;
    db.bell.ring(entered);
    db.bell.recall(id);
    marked.close_up(db).await;
    Ok(view)
}

pub(super) async fn reject(db: &Db, id: PlanId, code: &str, reason: &str) -> Result<Build, Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = plans::lock_proposed(&mut tx, id).await?;
    let entered =
        reject_locked(&mut tx, &db.flows, &mut build, id, &Stop::new(code, reason)).await?;
    let view = builds::view(&mut tx, build.id).await?;
    tx.commit().await?;
    db.bell.ring(entered);
    Ok(view)
}

async fn reject_locked(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &mut Locked,
    plan: PlanId,
    stop: &Stop,
) -> Result<Vec<Job>, Error> {
    // The tasks of a plan that was only proposed stand in no lane.
    end(conn, build, build::Trigger::PlanRejected, stop).await?;
    let told = [Event::plan_rejected(plan, &stop.message), Event::build_failed(stop, build.tally)];
    events::append(conn, flows, build, &told).await
}

/// What a build had open when it was ended.
struct Ended {
    /// The tasks, in the order of the plan.
    open: Vec<TaskRef>,
    left: Left,
}

/// Ends a build with all that is open in it: tasks and attempts are cancelled, a proposed plan is
/// rejected.
async fn end(
    conn: &mut PgConnection,
    build: &mut Locked,
    trigger: build::Trigger,
    stop: &Stop,
) -> Result<Ended, Error> {
    let was_queued = build.state == build::State::Queued;
    build.state = build.state.on(trigger)?;
    let id = build.id.to_string();
    let (open, were_ready) = cancel_tasks(conn, &id).await?;
    let cancelled = attempt::State::Running.on(attempt::Trigger::Cancelled)?;
    sqlx::query(
        "update planning_attempts
            set state = $2, settled_at = clock_timestamp()
          where build_id = $1 and state = 'running'",
    )
    .bind(&id)
    .bind(cancelled.as_str())
    .execute(&mut *conn)
    .await?;
    sqlx::query("update plans set state = $2 where build_id = $1 and state = 'proposed'")
        .bind(&id)
        .bind(plan::State::Proposed.on(plan::Trigger::Rejected)?.as_str())
        .execute(&mut *conn)
        .await?;
    build.tally.cancelled += u32::try_from(open.len()).unwrap_or(u32::MAX);
    sqlx::query(include_str!("sql/end_build.sql"))
        .bind(&id)
        .bind(build.state.as_str())
        .bind(&stop.code)
        .bind(&stop.message)
        .bind(int(build.tally.cancelled))
        .execute(&mut *conn)
        .await?;
    lock::forget_pauses(conn, std::iter::once(build.id)).await?;
    let lanes = [(was_queued, Lane::Plans), (were_ready, Lane::Tasks)];
    let left = lanes.into_iter().filter(|(left, _)| *left).map(|(_, lane)| (lane, build.flow()));
    Ok(Ended { open, left: left.collect() })
}

/// Answers with the tasks, and whether any was ready.
async fn cancel_tasks(conn: &mut PgConnection, build: &str) -> Result<(Vec<TaskRef>, bool), Error> {
    let mut rows = sqlx::query(include_str!("sql/cancel_tasks.sql"))
        .bind(build)
        .bind(task::State::Pending.on(task::Trigger::BuildCancelled)?.as_str())
        .bind(attempt::State::Running.on(attempt::Trigger::Cancelled)?.as_str())
        .fetch_all(conn)
        .await?;
    rows.sort_by_key(|row| row.get::<i32, _>("place"));
    let mut were_ready = false;
    let mut open = Vec::with_capacity(rows.len());
    for row in &rows {
        were_ready |= row.try_get::<bool, _>("was_ready")?;
        open.push(TaskRef { id: row.word("id")?, name: row.try_get("name")? });
    }
    Ok((open, were_ready))
}

pub(super) async fn end_overdue(db: &Db, limit: u32) -> Result<u32, Error> {
    let rows = sqlx::query(include_str!("sql/overdue.sql"))
        .bind(i64::from(limit))
        .fetch_all(&db.pool)
        .await?;
    let mut ended = 0;
    for row in rows {
        let (build, plan) = (row.word("build_id")?, row.word_if("plan_id")?);
        ended += u32::from(again(|| end_one(db, build, plan)).await?);
    }
    Ok(ended)
}

/// Ends a build that was seen to be overdue, if it still is: because of a plan, or of its deadline.
async fn end_one(db: &Db, id: BuildId, plan: Option<PlanId>) -> Result<bool, Error> {
    let mut tx = db.pool.begin().await?;
    let Some(mut build) = lock::build(&mut tx, id).await? else { return Ok(false) };
    let overdue = match plan {
        Some(plan) => sqlx::query(
            "select true as by_brief from plans
              where id = $1 and state = 'proposed' and approve_until <= clock_timestamp()",
        )
        .bind(plan.to_string()),
        None => sqlx::query(
            "select coalesce(brief ->> 'deadline_secs', '') <> '' as by_brief
               from builds
              where id = $1 and settled_at is null and deadline_at <= clock_timestamp()",
        )
        .bind(id.to_string()),
    };
    let Some(row) = overdue.fetch_optional(&mut *tx).await? else { return Ok(false) };
    let mut left = Left::new();
    let entered = if let Some(plan) = plan {
        // The wording is that of the requirements (S2-57).
        let stop = Stop::new("plan_not_approved", "Plan not approved within timeout period");
        reject_locked(&mut tx, &db.flows, &mut build, plan, &stop).await?
    } else {
        let stop = Stop::overdue(row.try_get("by_brief")?);
        let ended = end(&mut tx, &mut build, build::Trigger::DeadlinePassed, &stop).await?;
        left = ended.left;
        let mut told: Vec<_> = ended.open.iter().map(Event::task_cancelled).collect();
        told.push(Event::build_failed(&stop, build.tally));
        events::append(&mut tx, &db.flows, &mut build, &told).await?
    };
    let marked = closing::mark(&mut tx, &left).await?;
    tx.commit().await?;
    db.bell.ring(entered);
    db.bell.recall(id);
    marked.close_up(db).await;
    Ok(true)
}
