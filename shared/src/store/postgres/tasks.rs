//! Tasks: read, and claimed. See `settling.rs` for what becomes of a claim.

use std::{cmp::Ordering, collections::BTreeMap};

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    claiming::Claimed,
    rows::{Columns, texts},
    *,
};
use crate::domain::{attempt, event::TaskRef, task};

/// What every reading of tasks begins with.
pub(super) const VIEW: &str = "select t.*, array(
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

pub(super) async fn view(conn: &mut PgConnection, id: TaskId) -> Result<Task, Error> {
    let row = sqlx::query(AssertSqlSafe(format!("{VIEW} where t.id = $1")))
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    read(&row)
}

fn priority(row: &PgRow) -> Result<u8, sqlx::Error> {
    // Plans are made with a byte; see `DraftTask`.
    Ok(u8::try_from(row.try_get::<i16, _>("priority")?).unwrap_or(u8::MAX))
}

pub(super) fn read(row: &PgRow) -> Result<Task, Error> {
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
        cost: cost(row)?,
        parked_on: row.word_if("parked_on")?,
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
    let rows = sqlx::query(include_str!("sql/attempts.sql"))
        .bind(id.to_string())
        .bind(attempt::State::Running.as_str())
        .fetch_all(pool)
        .await?;
    if rows.is_empty() {
        view(&mut *pool.acquire().await?, id).await?;
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

/// Claims what is next in the lane. Answers also with the deliveries whose turn has come by the
/// events of the starts, and with a build that was passed over if there was nothing else.
pub(super) async fn claim(db: &Db, ask: &Ask) -> Result<Claimed<TaskClaim>, Error> {
    let mut tx = db.pool.begin().await?;
    let mut picked = claiming::pick(&mut tx, Lane::Tasks, ask).await?;
    if picked.ids.is_empty() {
        // What was parked or let out is worth keeping.
        tx.commit().await?;
        return Ok(picked.claimed(Vec::new(), Vec::new()));
    }
    let mut rows = sqlx::query(include_str!("sql/claim_tasks.sql"))
        .bind(&picked.ids)
        .bind(task::State::Ready.on(task::Trigger::Claimed)?.as_str())
        .bind(ask.holder.to_string())
        .bind(secs(ask.lease))
        .fetch_all(&mut *tx)
        .await?;
    rows.sort_by(|one, other| place(one).partial_cmp(&place(other)).unwrap_or(Ordering::Equal));
    let plans = plans_of(&mut tx, &rows).await?;
    let mut claims = Vec::with_capacity(rows.len());
    let mut started: BTreeMap<BuildId, Vec<Event>> = BTreeMap::new();
    for row in &rows {
        let plan: PlanId = row.word("plan_id")?;
        let claim = read_claim(row, plans.get(&plan).cloned().unwrap_or_default())?;
        let named = TaskRef { id: claim.task, name: claim.name.clone() };
        let event = Event::task_started(&named, row.try_get("description")?, claim.attempt);
        started.entry(claim.build).or_default().push(event);
        claims.push(claim);
    }
    let mut logs: Vec<_> = picked
        .builds
        .iter_mut()
        .filter_map(|(id, build)| Some((build, started.get(id)?.as_slice())))
        .collect();
    let entered = events::append_each(&mut tx, &db.flows, &mut logs).await?;
    events::move_on(&mut tx, logs.iter().map(|(build, _)| &**build)).await?;
    tx.commit().await?;
    Ok(picked.claimed(claims, entered))
}

/// Where a task stood in its lane.
fn place(row: &PgRow) -> (f64, &str) {
    (row.try_get("rank").unwrap_or_default(), row.try_get("id").unwrap_or_default())
}

/// What tasks have of their plans and builds.
#[derive(Clone, Default)]
struct OfPlan {
    spec: Arc<Value>,
    cache: bool,
}

/// Read once for all tasks of a plan.
async fn plans_of(
    conn: &mut PgConnection,
    rows: &[PgRow],
) -> Result<BTreeMap<PlanId, OfPlan>, Error> {
    let mut plans =
        rows.iter().map(|row| row.word("plan_id")).collect::<Result<Vec<PlanId>, _>>()?;
    plans.sort_unstable();
    plans.dedup();
    let rows = sqlx::query(
        "select p.id, p.spec, b.cache
           from plans p
           join builds b on b.id = p.build_id
          where p.id = any($1)",
    )
    .bind(texts(plans))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let of_plan =
                OfPlan { spec: Arc::new(row.json("spec")?), cache: row.try_get("cache")? };
            Ok((row.word("id")?, of_plan))
        })
        .collect()
}

fn read_claim(row: &PgRow, plan: OfPlan) -> Result<TaskClaim, Error> {
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
        spec: plan.spec,
        cost: cost(row)?,
        prerequisites: Vec::new(),
        tenant: row.try_get("tenant")?,
        cache: plan.cache,
    })
}

fn cost(row: &PgRow) -> Result<u32, sqlx::Error> {
    Ok(u32::try_from(row.try_get::<i16, _>("cost")?).unwrap_or(1))
}
