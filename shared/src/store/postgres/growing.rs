//! Tasks that are added to a build which runs, by a person or by one of its tasks.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    inserting::{self, Inserted, NewTask},
    lock::Locked,
    losing,
    queueing::Flows,
    rows::{Columns, int, texts},
    settling::{self, Rang, Running},
    *,
};
use crate::{
    domain::{
        attempt::Output,
        brief::Brief,
        build,
        plan::growing::{Added, Neighbour, Surroundings, grow, looked_up},
    },
    draw,
};

/// The code of an addition that was refused.
const REFUSED: &str = "tasks_refused";

/// A person adds tasks. Answers also with what may be claimed by it.
pub(super) async fn add(
    db: &Db,
    id: BuildId,
    drafts: &[DraftTask],
) -> Result<(Vec<Task>, Vec<Job>), Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = lock::build(&mut tx, id).await?.ok_or_else(|| Error::not_found(id))?;
    let plan = running_plan(&build)?;
    let around = surroundings(&mut tx, &build, plan, drafts).await?;
    let added = grow(with_ids(drafts), &around)
        .map_err(|refusal| Error::conflict(REFUSED, refusal.to_string()))?;
    let growth = added.growth(build.state, build.tally, None)?;
    let place = build.tally.tasks;
    build.tally = growth.tally;
    let mut ready = write(&mut tx, &db.flows, &build, (plan, place), &added).await?;
    let mut logs = [(&mut build, growth.events.as_slice())];
    ready.extend(events::append_each(&mut tx, &db.flows, &mut logs).await?);
    lock::save(&mut tx, std::iter::once(&build)).await?;
    let sql = format!("{} where t.id = any($1) order by t.place", tasks::VIEW);
    // Both halves are constants of ours.
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(texts(added.tasks.iter().map(|task| task.id)))
        .fetch_all(&mut *tx)
        .await?;
    let views = rows.iter().map(tasks::read).collect::<Result<_, _>>()?;
    tx.commit().await?;
    Ok((views, ready))
}

/// The plan whose tasks run.
pub(super) fn running_plan(build: &Locked) -> Result<PlanId, Error> {
    match build.plan {
        Some(plan) if build.state == build::State::Executing => Ok(plan),
        _ if build.state.is_final() => {
            let reason = format!("the build is {} already", build.state);
            Err(Error::conflict("build_is_final", reason))
        }
        _ => {
            let reason = format!("the build is {}, its tasks do not run yet", build.state);
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
    conn: &mut PgConnection,
    flows: &Flows,
    builds: &mut BTreeMap<BuildId, Locked>,
    running: Running,
    (ended, output): (&Ended, &Output),
    rang: &mut Rang,
) -> Result<(), Error> {
    let Some(build) = builds.get_mut(&running.build) else { return Ok(()) };
    let plan = running_plan(build)?;
    let around = surroundings(conn, build, plan, &output.tasks).await?;
    let added = match grow(with_ids(&output.tasks), &around.once_completed(running.named.id)) {
        Ok(added) => added,
        Err(refusal) => {
            let failure = Failure::permanent(REFUSED, refusal.to_string());
            let ended = Ended { outcome: Outcome::Failed(failure), ..ended.clone() };
            losing::settle(conn, flows, build, &running, &ended, rang).await?;
            return Ok(());
        }
    };
    let (id, place) = (build.id, build.tally.tasks);
    let won = (vec![(running, output, ended)], Some(added.clone()));
    // First, since what is added must not be taken for what waited before.
    settling::succeed_all(conn, flows, builds, won, rang).await?;
    if let Some(build) = builds.get(&id) {
        rang.claimable.extend(write(conn, flows, build, (plan, place), &added).await?);
    }
    Ok(())
}

/// What must be known of the plan before the domain can be asked.
async fn surroundings(
    conn: &mut PgConnection,
    build: &Locked,
    plan: PlanId,
    drafts: &[DraftTask],
) -> Result<Surroundings, Error> {
    let (keys, paths) = looked_up(drafts);
    let row = sqlx::query(
        "select b.brief,
                b.on_task_failure = 'fail_fast' and 0 < b.failed
                or 0 < b.failed + b.skipped + b.cancelled and exists (
                  select 1
                    from dependencies d
                    join tasks o on o.id = d.on_task_id
                   where o.plan_id = b.plan_id
                     and o.state in ('failed', 'skipped', 'cancelled')
                     and d.on_loss = 'fail_fast'
                ) as halted
           from builds b
          where b.id = $1",
    )
    .bind(build.id.to_string())
    .fetch_one(&mut *conn)
    .await?;
    give_keys(conn, plan).await?;
    let named = sqlx::query(
        "select t.id, t.key, t.state
           from task_keys k
           join tasks t on t.id = k.task_id
          where k.plan_id = $1 and k.key = any($2)",
    )
    .bind(plan.to_string())
    .bind(keys.into_iter().collect::<Vec<_>>())
    .fetch_all(&mut *conn)
    .await?;
    let writers = sqlx::query(
        "select w.path, t.id, t.key, t.state
           from last_writers w
           join tasks t on t.id = w.task_id
          where w.plan_id = $1 and w.path = any($2)
          order by w.path",
    )
    .bind(plan.to_string())
    .bind(paths.into_iter().collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    Ok(Surroundings {
        tasks: build.tally.tasks as usize,
        halted: row.try_get("halted")?,
        on_loss: row.json::<Brief>("brief")?.on_loss,
        named: named.iter().map(neighbour).collect::<Result<_, _>>()?,
        writers: writers
            .iter()
            .map(|row| Ok((row.try_get("path")?, neighbour(row)?)))
            .collect::<Result<_, Error>>()?,
    })
}

/// Makes the tasks of a plan known by their keys, the first time that it is to grow.
async fn give_keys(conn: &mut PgConnection, plan: PlanId) -> Result<(), Error> {
    let first = sqlx::query("update plans set has_keys = true where id = $1 and not has_keys")
        .bind(plan.to_string())
        .execute(&mut *conn)
        .await?
        .rows_affected();
    if 0 < first {
        sqlx::query(
            "insert into task_keys (plan_id, key, task_id)
             select plan_id, key, id from tasks where plan_id = $1",
        )
        .bind(plan.to_string())
        .execute(conn)
        .await?;
    }
    Ok(())
}

fn neighbour(row: &PgRow) -> Result<Neighbour, Error> {
    Ok(Neighbour { id: row.word("id")?, key: row.try_get("key")?, state: row.word("state")? })
}

/// Writes what was added from a place of the plan on; answers with what is ready.
async fn write(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &Locked,
    (plan, place): (PlanId, u32),
    added: &Added,
) -> Result<Vec<Job>, Error> {
    // What else the build has more or fewer of is written by `lock::save`.
    sqlx::query("update builds set tasks = $2 where id = $1")
        .bind(build.id.to_string())
        .bind(int(build.tally.tasks))
        .execute(&mut *conn)
        .await?;
    let tasks = added
        .tasks
        .iter()
        .map(|added| NewTask {
            id: added.id,
            task: &added.task,
            needs: added.needs.iter().map(|need| (need.on, need.on_loss)).collect(),
            state: added.state,
            waiting_on: added.waiting_on,
        })
        .collect();
    let inserted = [Inserted { build, plan, place, tasks }];
    let ready = inserting::insert(conn, flows, &inserted).await?;
    sqlx::query(
        "insert into task_keys (plan_id, key, task_id)
         select $1, * from unnest($2::text[], $3::text[])",
    )
    .bind(plan.to_string())
    .bind(added.tasks.iter().map(|added| added.task.key.as_str()).collect::<Vec<_>>())
    .bind(texts(added.tasks.iter().map(|added| added.id)))
    .execute(&mut *conn)
    .await?;
    let writers = added.writers.iter().map(|(path, task)| (plan, path.as_str(), *task));
    inserting::keep_writers(conn, writers).await?;
    Ok(ready)
}
