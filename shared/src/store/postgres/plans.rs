//! Plans: read, and approved.

use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    lock::{self, Locked},
    rows::Columns,
    *,
};
use crate::domain::{build, plan};

pub(super) async fn view(pool: &PgPool, id: PlanId) -> Result<PlanView, Error> {
    let row = sqlx::query("select * from plans where id = $1")
        .bind(id.to_string())
        .fetch_optional(pool)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    read(&row)
}

pub(super) async fn newest(pool: &PgPool, build: BuildId) -> Result<PlanView, Error> {
    let row = sqlx::query(
        "select * from plans where build_id = $1 order by created_at desc, id desc limit 1",
    )
    .bind(build.to_string())
    .fetch_optional(pool)
    .await?
    .ok_or_else(|| Error::not_found(format_args!("a plan of {build}")))?;
    read(&row)
}

fn read(row: &PgRow) -> Result<PlanView, Error> {
    Ok(PlanView {
        id: row.word("id")?,
        build: row.word("build_id")?,
        state: row.word("state")?,
        spec: row.json("spec")?,
        project_type: row.try_get("project_type")?,
        framework: row.try_get("framework")?,
        complexity: row.word("complexity")?,
        notes: row.json("notes")?,
        estimated_secs: row.count("estimated_secs")?,
        straightened: row.json("straightened")?,
        created_at: row.try_get("created_at")?,
        approve_until: row.try_get("approve_until")?,
    })
}

/// Locks the build of a plan that waits for a person.
pub(super) async fn lock_proposed(conn: &mut PgConnection, id: PlanId) -> Result<Locked, Error> {
    let row = sqlx::query("select build_id from plans where id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut *conn)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    let build =
        lock::build(conn, row.word("build_id")?).await?.ok_or_else(|| Error::not_found(id))?;
    // Read after the lock: plans change under it alone.
    let row = sqlx::query("select state from plans where id = $1")
        .bind(id.to_string())
        .fetch_one(conn)
        .await?;
    let state: plan::State = row.word("state")?;
    if state != plan::State::Proposed {
        return Err(Error::conflict("plan_not_proposed", format!("the plan is {state} already")));
    }
    Ok(build)
}

/// Answers also with what may be claimed by it.
pub(super) async fn approve(db: &Db, id: PlanId) -> Result<(Build, Vec<Job>), Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = lock_proposed(&mut tx, id).await?;
    sqlx::query("update plans set state = $2 where id = $1")
        .bind(id.to_string())
        .bind(plan::State::Proposed.on(plan::Trigger::Approved)?.as_str())
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "update builds b
            set state = $2,
                deadline_at = coalesce(
                  deadline_at, clock_timestamp() + make_interval(secs => p.timeout_secs))
           from plans p
          where b.id = $1 and p.id = b.plan_id",
    )
    .bind(build.id.to_string())
    .bind(build.state.on(build::Trigger::PlanApproved)?.as_str())
    .execute(&mut *tx)
    .await?;
    let released = sqlx::query(
        "select id, cost::integer as cost
           from tasks
          where plan_id = $1 and state = 'pending' and waiting_on = 0
          order by priority, place",
    )
    .bind(id.to_string())
    .fetch_all(&mut *tx)
    .await?;
    let released = released
        .iter()
        .map(|row| Ok((row.word("id")?, row.count("cost")?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let mut ready = releasing::release(&mut tx, &db.flows, &build, &released).await?;
    ready
        .extend(events::append(&mut tx, &db.flows, &mut build, &[Event::plan_approved(id)]).await?);
    let view = builds::view(&mut tx, build.id).await?;
    tx.commit().await?;
    Ok((view, ready))
}
