//! Another go at one task that was lost.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    lock::Locked,
    rows::{Columns, int, texts},
    *,
};
use crate::domain::{
    event::TaskRef,
    plan,
    settle::reviving::{Edge, Node, Revival, Revived},
    task,
};

/// Answers also with what may be claimed by it.
pub(super) async fn retry(db: &Db, id: TaskId) -> Result<(Task, Vec<Job>), Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = lock::build_of(&mut tx, id).await?;
    check_plan(&mut tx, id).await?;
    let (revival, in_order) = read(&mut tx, &build, id).await?;
    let revived = revival
        .decide()
        .map_err(|refusal| Error::conflict("task_not_retryable", refusal.to_string()))?;
    write(&mut tx, &revived).await?;
    let ready: HashSet<TaskId> =
        revived.revived.iter().filter(|(_, on)| *on == 0).map(|(id, _)| *id).collect();
    let released: Vec<_> = in_order.into_iter().filter(|(id, _)| ready.contains(id)).collect();
    let mut ready = releasing::release(&mut tx, &db.flows, &build, &released).await?;
    if build.state.is_final() {
        begin_anew(&mut tx, &build).await?;
    }
    (build.state, build.tally, build.stop) = (revived.build, revived.tally, None);
    let mut logs = [(&mut build, revived.events.as_slice())];
    ready.extend(events::append_each(&mut tx, &db.flows, &mut logs).await?);
    lock::save(&mut tx, std::iter::once(&build)).await?;
    let view = tasks::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok((view, ready))
}

/// Whether the task is one of the plan that its build runs.
async fn check_plan(conn: &mut PgConnection, id: TaskId) -> Result<(), Error> {
    let row = sqlx::query(
        "select p.state, coalesce(b.plan_id = p.id, false) as is_current
           from tasks t
           join plans p on p.id = t.plan_id
           join builds b on b.id = t.build_id
          where t.id = $1",
    )
    .bind(id.to_string())
    .fetch_one(conn)
    .await?;
    if row.try_get("is_current")? && row.word::<plan::State>("state")? == plan::State::Adopted {
        return Ok(());
    }
    Err(Error::conflict("task_not_retryable", "the plan of the task does not run"))
}

/// Reads what the domain must know, and what each task costs, in the order in which they enter the
/// lane.
async fn read(
    conn: &mut PgConnection,
    build: &Locked,
    id: TaskId,
) -> Result<(Revival, Vec<(TaskId, u32)>), Error> {
    let rows = sqlx::query(include_str!("sql/lost_because.sql"))
        .bind(id.to_string())
        .fetch_all(&mut *conn)
        .await?;
    let (mut edges, mut ids) = (Vec::with_capacity(rows.len()), vec![id]);
    for row in &rows {
        let edge = Edge {
            task: row.word("task_id")?,
            on: row.word("on_task_id")?,
            on_loss: row.word("on_loss")?,
        };
        ids.extend([edge.task, edge.on]);
        edges.push(edge);
    }
    ids.sort_unstable();
    ids.dedup();
    let rows = sqlx::query(
        "select id, name, state, cost::integer as cost, priority, place,
                coalesce(failure ->> 'code' in ('cancelled_by_hand', 'skipped_by_hand'), false)
                  as by_hand
           from tasks
          where id = any($1)
          order by priority, place",
    )
    .bind(texts(ids))
    .fetch_all(conn)
    .await?;
    let mut costs = Vec::with_capacity(rows.len());
    let (mut nodes, mut root) = (Vec::new(), None);
    for row in &rows {
        let node = node(row)?;
        costs.push((node.task.id, row.count("cost")?));
        if node.task.id == id {
            root = Some(node);
        } else {
            nodes.push(node);
        }
    }
    let task = root.ok_or_else(|| Error::not_found(id))?;
    Ok((Revival { build: build.state, tally: build.tally, task, nodes, edges }, costs))
}

fn node(row: &PgRow) -> Result<Node, Error> {
    let state: task::State = row.word("state")?;
    Ok(Node {
        task: TaskRef { id: row.word("id")?, name: row.try_get("name")? },
        by_hand: row.try_get("by_hand")?,
        state,
    })
}

async fn write(conn: &mut PgConnection, revived: &Revived) -> Result<(), Error> {
    let (ids, waiting_on): (Vec<_>, Vec<_>) =
        revived.revived.iter().map(|(id, on)| (id.to_string(), int(*on))).unzip();
    sqlx::query(include_str!("sql/revive_tasks.sql"))
        .bind(ids)
        .bind(waiting_on)
        .bind(task::State::Failed.on(task::Trigger::Retried)?.as_str())
        .execute(&mut *conn)
        .await?;
    let mut held_back: HashMap<TaskId, u32> = HashMap::new();
    for id in &revived.held_back {
        *held_back.entry(*id).or_default() += 1;
    }
    if held_back.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update tasks t
            set waiting_on = waiting_on + u.by
           from unnest($1::text[], $2::integer[]) as u (id, by)
          where t.id = u.id",
    )
    .bind(texts(held_back.keys()))
    .bind(held_back.values().copied().map(int).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// A build that had ended has its deadline before it again.
async fn begin_anew(conn: &mut PgConnection, build: &Locked) -> Result<(), Error> {
    sqlx::query(
        "update builds b
            set deadline_at = clock_timestamp() + make_interval(
                  secs => coalesce((b.brief ->> 'deadline_secs')::float8, p.timeout_secs))
           from plans p
          where b.id = $1 and p.id = b.plan_id",
    )
    .bind(build.id.to_string())
    .execute(conn)
    .await?;
    Ok(())
}
