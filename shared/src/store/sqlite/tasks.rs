//! Tasks: looked at, claimed, cancelled. For outcomes, see `settling.rs`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, builds, claiming, events, gates,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        attempt::{self, Failure},
        event::{Event, TaskRef},
        id::{BuildId, TaskId},
        task::State,
    },
    job::Job,
    store::{Ask, AttemptView, Error, Task, TaskClaim},
};

macro_rules! select_tasks {
    ($rest:literal) => {
        concat!(
            "select t.*,
               (select json_group_array(d.on_task_id)
                  from dependencies d
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

pub(super) fn read(row: &SqliteRow) -> Result<Task, sqlx::Error> {
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
        priority: row.try_get("priority")?,
        estimated_secs: row.count("estimated_secs")?,
        depends_on,
        writes: row.json("writes")?,
        state: row.word("state")?,
        cost: row.count("cost")?,
        parked_on: row.word_if_any("parked_on")?,
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
           from task_attempts
          where task_id = $1
          union all
         -- The one that runs, which only its task knows of.
         select attempt, holder, $2, null, begun_at, null
           from tasks
          where id = $1 and state = 'in_progress'
          order by number",
    )
    .bind(id.to_string())
    .bind(attempt::State::Running.as_str())
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

pub(super) async fn claim(tx: &mut Tx, ask: &Ask) -> Result<Vec<TaskClaim>, Error> {
    let ids = claiming::admit(tx, &claiming::TASKS, ask).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = sqlx::query(
        "update tasks
            set state = 'in_progress', attempt = attempt + 1, holder = $2, leased_until = $3,
                due_at = null, begun_at = $4, started_at = coalesce(started_at, $4)
          where id in (select value from json_each($1))
            and state = 'ready'
          returning id, build_id, plan_id, attempt, key, name, description, phase, operation,
                    role, estimated_secs, writes, input, cost, tenant, rank",
    )
    .bind(to_json(&ids)?)
    .bind(ask.holder.to_string())
    .bind(tx.in_future(ask.lease))
    .bind(tx.now)
    .fetch_all(tx.db())
    .await?;
    let mut ranked = Vec::with_capacity(rows.len());
    for row in rows.drain(..) {
        ranked.push((row.try_get::<f64, _>("rank")?, row.text("id")?, row));
    }
    ranked.sort_by(|(rank, id, _), (other, other_id, _)| {
        rank.total_cmp(other).then_with(|| id.cmp(other_id))
    });

    let mut plans: HashMap<String, OfPlan> = HashMap::new();
    let mut claims = Vec::with_capacity(ranked.len());
    let mut started: BTreeMap<BuildId, Vec<Event>> = BTreeMap::new();
    for (_, _, row) in &ranked {
        let plan = plan_of(tx, &mut plans, row.text("plan_id")?).await?;
        let claim = read_claim(row, plan)?;
        let task = TaskRef { id: claim.task, name: claim.name.clone() };
        let event = Event::task_started(&task, &row.text("description")?, claim.attempt);
        started.entry(claim.build).or_default().push(event);
        claims.push(claim);
    }
    for (build, told) in started {
        events::append(tx, build, &told).await?;
    }
    Ok(claims)
}

/// What tasks have of their plan and build.
#[derive(Clone)]
struct OfPlan {
    spec: Arc<Value>,
    cache: bool,
}

/// Read once however many tasks of the plan are claimed.
async fn plan_of(
    tx: &mut Tx,
    plans: &mut HashMap<String, OfPlan>,
    id: String,
) -> Result<OfPlan, Error> {
    if let Some(plan) = plans.get(&id) {
        return Ok(plan.clone());
    }
    let row = sqlx::query(
        "select p.spec, b.cache from plans p join builds b on b.id = p.build_id where p.id = $1",
    )
    .bind(&id)
    .fetch_one(tx.db())
    .await?;
    let plan = OfPlan { spec: Arc::new(row.json("spec")?), cache: row.try_get("cache")? };
    plans.insert(id, plan.clone());
    Ok(plan)
}

fn read_claim(row: &SqliteRow, plan: OfPlan) -> Result<TaskClaim, sqlx::Error> {
    Ok(TaskClaim {
        task: row.word("id")?,
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
        spec: plan.spec,
        cost: row.count("cost")?,
        prerequisites: Vec::new(),
        tenant: row.text("tenant")?,
        cache: plan.cache,
    })
}

/// Writes how the attempts ended that run at these tasks, which are a list of ids as JSON and are
/// about to change. Answers with how many there are.
pub(super) async fn end_attempts(
    tx: &mut Tx,
    tasks: &str,
    state: attempt::State,
    failure: Option<&Failure>,
) -> Result<u64, Error> {
    let ended = sqlx::query(
        "insert into task_attempts
           (task_id, number, holder, state, failure, started_at, settled_at)
         select id, attempt, holder, $2, $3, begun_at, $4
           from tasks
          where id in (select value from json_each($1))
            and state = 'in_progress'",
    )
    .bind(tasks)
    .bind(state.as_str())
    .bind(failure.map(to_json).transpose()?)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    Ok(ended.rows_affected())
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

/// Whether any of these stands in the lane and is not claimed.
pub(super) async fn any_ready(tx: &mut Tx, ids: &[TaskId]) -> Result<bool, Error> {
    if ids.is_empty() {
        return Ok(false);
    }
    let ready = sqlx::query_scalar(
        "select exists (select 1 from tasks
          where id in (select value from json_each($1)) and state = 'ready')",
    )
    .bind(to_json(ids)?)
    .fetch_one(tx.db())
    .await?;
    Ok(ready)
}

/// Cancels tasks, and the attempts that run at them: their holders will find themselves fenced.
/// Answers with whether there were any.
pub(super) async fn cancel(tx: &mut Tx, ids: &[TaskId]) -> Result<bool, Error> {
    let Some(&first) = ids.first() else { return Ok(false) };
    let ids = to_json(ids)?;
    let cancelled = attempt::State::Running.on(attempt::Trigger::Cancelled)?;
    let fenced = end_attempts(tx, &ids, cancelled, None).await?;
    sqlx::query(
        "update tasks
            set state = 'cancelled', due_at = null, parked_on = null, holder = null,
                leased_until = null, begun_at = null, settled_at = $2
          where id in (select value from json_each($1))
            and state in ('pending', 'ready', 'in_progress')",
    )
    .bind(&ids)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    if 0 < fenced {
        gates::freed(tx, Job::Task(first)).await?;
    }
    Ok(0 < fenced)
}
