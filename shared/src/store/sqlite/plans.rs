//! Plans: adopted or proposed, approved, looked at.

use serde_json::{Value, json};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, builds, events, gates,
    inserting::{self, NewTask, ROWS_AT_ONCE},
    planning, ranks,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        attempt, build,
        event::Event,
        id::{BuildId, PlanId, TaskId},
        plan::{Plan, State, Trigger},
        task,
    },
    draw,
    job::{Job, Lane},
    store::{Adoption, Build, BuildClaim, Error, PlanView},
};

pub(super) async fn one(db: &mut SqliteConnection, id: PlanId) -> Result<PlanView, Error> {
    let row = sqlx::query("select * from plans where id = $1")
        .bind(id.to_string())
        .fetch_optional(db)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    Ok(read(&row)?)
}

pub(super) async fn of_build(db: &mut SqliteConnection, id: BuildId) -> Result<PlanView, Error> {
    let row = sqlx::query("select * from plans where build_id = $1 order by id desc limit 1")
        .bind(id.to_string())
        .fetch_optional(db)
        .await?
        .ok_or_else(|| Error::not_found(format_args!("a plan of {id}")))?;
    Ok(read(&row)?)
}

fn read(row: &SqliteRow) -> Result<PlanView, sqlx::Error> {
    Ok(PlanView {
        id: row.word("id")?,
        build: row.word("build_id")?,
        state: row.word("state")?,
        spec: row.json("spec")?,
        project_type: row.text("project_type")?,
        framework: row.text("framework")?,
        complexity: row.word("complexity")?,
        notes: row.json("notes")?,
        estimated_secs: row.count("estimated_secs")?,
        straightened: row.json("straightened")?,
        created_at: row.at("created_at")?,
        approve_until: row.at_if_any("approve_until")?,
    })
}

pub(super) async fn adopt(
    tx: &mut Tx,
    claim: &BuildClaim,
    plan: &Plan,
    adoption: Adoption,
) -> Result<(), Error> {
    let BuildClaim { build, attempt, .. } = *claim;
    planning::held(tx, build, attempt).await?;
    let (trigger, state) = match adoption {
        Adoption::AtOnce { .. } => (build::Trigger::PlanAdopted, State::Adopted),
        Adoption::OnApproval { .. } => (build::Trigger::PlanProposed, State::Proposed),
    };
    let build_state = build::State::Planning.on(trigger)?;
    let ended = attempt::State::Running.on(attempt::Trigger::Success)?;

    insert_plan(tx, build, plan, adoption, state).await?;
    insert_tasks(tx, claim, adoption.plan(), plan).await?;
    let moved = sqlx::query(
        "update builds
            set state = $3, holder = null, leased_until = null, plan_id = $4, tasks = $5,
                completed = 0, failed = 0, skipped = 0, cancelled = 0, updated_at = $6,
                deadline_at = coalesce(deadline_at, $7)
          where id = $1
            and state = 'planning'
            and attempt = $2 -- the fence",
    )
    .bind(build.to_string())
    .bind(attempt)
    .bind(build_state.as_str())
    .bind(adoption.plan().to_string())
    .bind(i64::try_from(plan.tasks.len()).map_err(Error::unavailable)?)
    .bind(tx.now)
    .bind(plan.timeout.filter(|_| state == State::Adopted).map(|timeout| tx.in_future(timeout)))
    .execute(tx.db())
    .await?;
    if moved.rows_affected() == 0 {
        return Err(Error::Fenced);
    }
    planning::end_attempt(tx, build, attempt, ended, None).await?;
    if matches!(adoption, Adoption::AtOnce { .. }) {
        release_unblocked(tx, build).await?;
    }
    gates::freed(tx, Job::Plan(build)).await?;
    events::append(tx, build, &adoption_events(plan, adoption)).await
}

fn adoption_events(plan: &Plan, adoption: Adoption) -> Vec<Event> {
    let tasks: Vec<_> = plan
        .tasks
        .iter()
        .map(|planned| {
            let task = &planned.task;
            (task.name.as_str(), task.operation.as_str(), task.description.as_str())
        })
        .collect();
    let mut events = Vec::new();
    if !plan.straightened.is_empty() {
        events.push(Event::plan_warning(adoption.plan(), &plan.straightened));
    }
    if !plan.ordered.is_empty() {
        events.push(Event::plan_ordered(adoption.plan(), &plan.ordered));
    }
    events.push(Event::plan_generated(
        adoption.plan(),
        plan.estimated_secs,
        &tasks,
        &plan.notes,
        matches!(adoption, Adoption::OnApproval { .. }),
    ));
    events
}

async fn insert_plan(
    tx: &mut Tx,
    build: BuildId,
    plan: &Plan,
    adoption: Adoption,
    state: State,
) -> Result<(), Error> {
    let approve_until = match adoption {
        Adoption::AtOnce { .. } => None,
        Adoption::OnApproval { within, .. } => Some(tx.in_future(within)),
    };
    sqlx::query(
        "insert into plans
           (id, build_id, state, spec, project_type, framework, complexity, notes,
            estimated_secs, straightened, created_at, approve_until, timeout_secs)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(adoption.plan().to_string())
    .bind(build.to_string())
    .bind(state.as_str())
    .bind(to_json(&plan.spec)?)
    .bind(&plan.project_type)
    .bind(&plan.framework)
    .bind(plan.complexity.as_str())
    .bind(to_json(&plan.notes)?)
    .bind(plan.estimated_secs)
    .bind(to_json(&plan.straightened)?)
    .bind(tx.now)
    .bind(approve_until)
    .bind(plan.timeout.map(|timeout| i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX)))
    .execute(tx.db())
    .await?;
    Ok(())
}

async fn insert_tasks(
    tx: &mut Tx,
    claim: &BuildClaim,
    plan_id: PlanId,
    plan: &Plan,
) -> Result<(), Error> {
    let ids: Vec<TaskId> = plan.tasks.iter().map(|_| draw::id()).collect();
    let on_loss = claim.brief.on_loss;
    let new: Vec<_> = plan
        .tasks
        .iter()
        .zip(&ids)
        .map(|(planned, &id)| NewTask {
            id,
            task: &planned.task,
            needs: planned
                .waits_for
                .iter()
                .map(|need| (ids[need.on], need.on_loss.unwrap_or(on_loss)))
                .collect(),
            state: task::State::Pending,
            waiting_on: u32::try_from(planned.waits_for.len()).unwrap_or(u32::MAX),
        })
        .collect();
    inserting::insert(tx, claim.build, plan_id, 0, &new).await?;
    let writers = plan.writers.iter().map(|(path, task)| (path.as_str(), ids[*task]));
    inserting::keep_writers(tx, plan_id, writers).await
}

/// Makes ready what waits for nothing in a build's plan, in the order of the tasks' priorities.
pub(super) async fn release_unblocked(tx: &mut Tx, build: BuildId) -> Result<(), Error> {
    task::State::Pending.on(task::Trigger::DependenciesMet)?;
    let row = sqlx::query("select plan_id, tenant, priority from builds where id = $1")
        .bind(build.to_string())
        .fetch_one(tx.db())
        .await?;
    let unblocked: Vec<(String, u32)> = sqlx::query_as(
        "select id, cost
           from tasks
          where plan_id = $1
            and state = 'pending'
            and waiting_on = 0
          order by priority, place",
    )
    .bind(row.text("plan_id")?)
    .fetch_all(tx.db())
    .await?;
    let priority = sqlx::Row::try_get(&row, "priority")?;
    release(tx, &row.text("tenant")?, priority, &unblocked).await
}

/// Makes pending tasks of one build ready. `tasks` are their ids and costs, first come, first
/// served.
pub(super) async fn release(
    tx: &mut Tx,
    tenant: &str,
    priority: u8,
    tasks: &[(String, u32)],
) -> Result<(), Error> {
    if tasks.is_empty() {
        return Ok(());
    }
    let costs: Vec<u32> = tasks.iter().map(|(_, cost)| *cost).collect();
    let ranks = ranks::give(tx, Lane::Tasks, tenant, priority, &costs).await?;
    let rows: Vec<Value> =
        tasks.iter().zip(ranks).map(|((id, _), rank)| json!([id, rank])).collect();
    for rows in rows.chunks(ROWS_AT_ONCE) {
        sqlx::query(
            "update tasks
                set state = 'ready', due_at = $2, rank = j.value ->> 1
               from json_each($1) j
              where tasks.id = j.value ->> 0",
        )
        .bind(to_json(rows)?)
        .bind(tx.now)
        .execute(tx.db())
        .await?;
    }
    for (id, _) in tasks {
        tx.ring([Job::Task(id.parse().map_err(Error::unavailable)?)]);
    }
    Ok(())
}

/// The state of a plan and the build that it is for.
pub(super) async fn standing(tx: &mut Tx, id: PlanId) -> Result<(State, BuildId), Error> {
    let row = sqlx::query("select state, build_id from plans where id = $1")
        .bind(id.to_string())
        .fetch_optional(tx.db())
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    Ok((row.word("state")?, row.word("build_id")?))
}

pub(super) async fn approve(tx: &mut Tx, id: PlanId) -> Result<Build, Error> {
    let (state, build) = standing(tx, id).await?;
    let state = decided(state, Trigger::Approved)?;
    let standing = builds::standing(tx, build).await?;
    let build_state = standing.state.on(build::Trigger::PlanApproved)?;
    sqlx::query("update plans set state = $2 where id = $1")
        .bind(id.to_string())
        .bind(state.as_str())
        .execute(tx.db())
        .await?;
    sqlx::query(
        "update builds
            set state = $2, updated_at = $3,
                deadline_at = coalesce(
                  deadline_at,
                  $3 + 1000 * (select timeout_secs from plans where id = builds.plan_id))
          where id = $1",
    )
    .bind(build.to_string())
    .bind(build_state.as_str())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    release_unblocked(tx, build).await?;
    events::append(tx, build, &[Event::plan_approved(id)]).await?;
    builds::one(tx.db(), build).await
}

/// A plan is decided once; who comes late is told so.
pub(super) fn decided(state: State, trigger: Trigger) -> Result<State, Error> {
    state.on(trigger).map_err(|illegal| Error::conflict("plan_not_proposed", illegal.to_string()))
}
