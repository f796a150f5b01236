//! Tasks that are added to a build which runs, by a person or by one of its tasks.

use serde_json::json;
use sqlx::sqlite::SqliteRow;

use super::{
    Tx, builds, events, inserting,
    inserting::NewTask,
    plans,
    rows::{Columns, to_json},
    settling::{self, Held, Of},
    tasks,
};
use crate::{
    domain::{
        attempt::{Failure, Output},
        brief::Brief,
        build,
        event::Tally,
        id::{BuildId, PlanId, TaskId},
        plan::{
            DraftTask,
            growing::{Added, Neighbour, Surroundings, grow, looked_up},
        },
        retry::{Jitter, Policy},
        task,
    },
    draw,
    store::{Error, Task},
};

/// The code of an addition that was refused.
const REFUSED: &str = "tasks_refused";

/// A person adds tasks.
pub(super) async fn add(
    tx: &mut Tx,
    id: BuildId,
    drafts: &[DraftTask],
) -> Result<Vec<Task>, Error> {
    let (plan, of) = running_plan(tx, id).await?;
    let standing = builds::standing(tx, id).await?;
    let around = surroundings(tx, id, plan, drafts).await?;
    let added = grow(with_ids(drafts), &around)
        .map_err(|refusal| Error::conflict(REFUSED, refusal.to_string()))?;
    let growth = added.growth(standing.state, standing.tally, None)?;
    write(tx, &of, (plan, standing.tally.tasks), &added).await?;
    write_tally(tx, id, growth.tally).await?;
    events::append(tx, id, &growth.events).await?;
    let mut views = Vec::with_capacity(added.tasks.len());
    for task in &added.tasks {
        views.push(tasks::one(tx.db(), task.id).await?);
    }
    Ok(views)
}

/// The plan whose tasks run.
pub(super) async fn running_plan(tx: &mut Tx, id: BuildId) -> Result<(PlanId, Of), Error> {
    let row = sqlx::query("select state, plan_id, tenant, priority from builds where id = $1")
        .bind(id.to_string())
        .fetch_optional(tx.db())
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    let state: build::State = row.word("state")?;
    match row.word_if_any("plan_id")? {
        Some(plan) if state == build::State::Executing => {
            let priority = sqlx::Row::try_get(&row, "priority")?;
            Ok((plan, Of { build: id, tenant: row.text("tenant")?, priority }))
        }
        _ if state.is_final() => {
            let reason = format!("the build is {state} already");
            Err(Error::conflict("build_is_final", reason))
        }
        _ => {
            let reason = format!("the build is {state}, its tasks do not run yet");
            Err(Error::conflict("build_not_executing", reason))
        }
    }
}

fn with_ids(drafts: &[DraftTask]) -> Vec<(TaskId, DraftTask)> {
    drafts.iter().map(|draft| (draw::id(), draft.clone())).collect()
}

/// A task has succeeded that asks for more tasks: they are added in the same commit, or its attempt
/// has failed for good.
pub(super) async fn settle(
    tx: &mut Tx,
    mut held: Held,
    output: Output,
    policy: &Policy,
    jitter: Jitter,
) -> Result<(), Error> {
    let of = held.of.clone();
    let (id, attempt) = (held.progress.task.id, held.progress.attempt);
    let (plan, _) = running_plan(tx, of.build).await?;
    let place = held.progress.tally.tasks;
    let around = surroundings(tx, of.build, plan, &output.tasks).await?;
    let added = match grow(with_ids(&output.tasks), &around.once_completed(id)) {
        Ok(added) => added,
        Err(refusal) => {
            let failure = Failure::permanent(REFUSED, refusal.to_string());
            let settlement = settling::fail(tx, held, failure, policy, jitter).await?;
            return settling::write(tx, &of, (id, attempt), &settlement).await;
        }
    };
    held.progress.added = Some(added.clone());
    let settlement = settling::succeed(tx, held, output, policy, jitter).await?;
    settling::write(tx, &of, (id, attempt), &settlement).await?;
    write(tx, &of, (plan, place), &added).await
}

/// What must be known of the plan before the domain can be asked.
async fn surroundings(
    tx: &mut Tx,
    build: BuildId,
    plan: PlanId,
    drafts: &[DraftTask],
) -> Result<Surroundings, Error> {
    let (keys, paths) = looked_up(drafts);
    let row = sqlx::query(
        "select b.brief, b.tasks,
                (b.on_task_failure = 'fail_fast' and 0 < b.failed)
                or (0 < b.failed + b.skipped + b.cancelled and exists (
                  select 1
                    from tasks o
                    join dependencies d on d.on_task_id = o.id
                   where o.plan_id = b.plan_id
                     and o.state in ('failed', 'skipped', 'cancelled')
                     and d.on_loss = 'fail_fast'
                )) as halted
           from builds b
          where b.id = $1",
    )
    .bind(build.to_string())
    .fetch_one(tx.db())
    .await?;
    give_keys(tx, plan).await?;
    let named = sqlx::query(
        "select t.id, t.key, t.state
           from task_keys k
           join tasks t on t.id = k.task_id
          where k.plan_id = $1 and k.key in (select value from json_each($2))",
    )
    .bind(plan.to_string())
    .bind(to_json(&keys)?)
    .fetch_all(tx.db())
    .await?;
    let writers = sqlx::query(
        "select w.path, t.id, t.key, t.state
           from last_writers w
           join tasks t on t.id = w.task_id
          where w.plan_id = $1 and w.path in (select value from json_each($2))
          order by w.path",
    )
    .bind(plan.to_string())
    .bind(to_json(&paths)?)
    .fetch_all(tx.db())
    .await?;
    let brief: Brief = row.json("brief")?;
    Ok(Surroundings {
        tasks: row.count("tasks")? as usize,
        halted: sqlx::Row::try_get(&row, "halted")?,
        on_loss: brief.on_loss,
        named: named.iter().map(neighbour).collect::<Result<_, _>>()?,
        writers: writers
            .iter()
            .map(|row| Ok((row.text("path")?, neighbour(row)?)))
            .collect::<Result<_, sqlx::Error>>()?,
    })
}

/// Makes the tasks of a plan known by their keys, the first time that it is to grow.
async fn give_keys(tx: &mut Tx, plan: PlanId) -> Result<(), Error> {
    let first = sqlx::query("update plans set has_keys = 1 where id = $1 and has_keys = 0")
        .bind(plan.to_string())
        .execute(tx.db())
        .await?
        .rows_affected();
    if 0 < first {
        sqlx::query(
            "insert into task_keys (plan_id, key, task_id)
             select plan_id, key, id from tasks where plan_id = $1",
        )
        .bind(plan.to_string())
        .execute(tx.db())
        .await?;
    }
    Ok(())
}

fn neighbour(row: &SqliteRow) -> Result<Neighbour, sqlx::Error> {
    Ok(Neighbour { id: row.word("id")?, key: row.text("key")?, state: row.word("state")? })
}

/// Writes what was added from a place of the plan on.
async fn write(
    tx: &mut Tx,
    of: &Of,
    (plan, place): (PlanId, u32),
    added: &Added,
) -> Result<(), Error> {
    let new: Vec<_> = added
        .tasks
        .iter()
        .map(|added| NewTask {
            id: added.id,
            task: &added.task,
            needs: added.needs.iter().map(|need| (need.on, need.on_loss)).collect(),
            state: if added.state == task::State::Ready {
                task::State::Pending
            } else {
                added.state
            },
            waiting_on: added.waiting_on,
        })
        .collect();
    inserting::insert(tx, of.build, plan, place, &new).await?;
    let keys: Vec<_> = added.tasks.iter().map(|one| json!([one.task.key, one.id])).collect();
    sqlx::query(
        "insert into task_keys (plan_id, key, task_id)
         select $1, value ->> 0, value ->> 1 from json_each($2)",
    )
    .bind(plan.to_string())
    .bind(to_json(&keys)?)
    .execute(tx.db())
    .await?;
    let writers = added.writers.iter().map(|(path, task)| (path.as_str(), *task));
    inserting::keep_writers(tx, plan, writers).await?;
    let mut ready: Vec<_> = added.ready().collect();
    ready.sort_by_key(|added| added.task.priority);
    let ready: Vec<_> = ready.iter().map(|added| (added.id.to_string(), added.task.cost)).collect();
    plans::release(tx, &of.tenant, of.priority, &ready).await
}

async fn write_tally(tx: &mut Tx, id: BuildId, tally: Tally) -> Result<(), Error> {
    sqlx::query("update builds set tasks = $2, skipped = $3, updated_at = $4 where id = $1")
        .bind(id.to_string())
        .bind(tally.tasks)
        .bind(tally.skipped)
        .bind(tx.now)
        .execute(tx.db())
        .await?;
    Ok(())
}
