//! What people do to single tasks: take them out, and give them another go.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;

use super::{
    Tx, builds, closing, events, gates, growing, plans,
    rows::{Columns, to_json},
    settling::{self, Of},
    tasks,
};
use crate::{
    domain::{
        brief::OnTaskFailure,
        event::TaskRef,
        id::{BuildId, TaskId},
        plan,
        settle::{
            ByHand, Progress,
            reviving::{Edge, Node, Revival, Revived},
        },
        task,
    },
    job::Job,
    store::{Error, Task},
};

/// Takes a task out.
pub(super) async fn end(tx: &mut Tx, id: TaskId, how: ByHand, reason: &str) -> Result<Task, Error> {
    let task = tasks::one(tx.db(), id).await?;
    let ended = match how {
        ByHand::Cancel => task::State::Cancelled,
        ByHand::Skip => task::State::Skipped,
    };
    if task.state == ended {
        return Ok(task);
    }
    if task.state.is_final() {
        let reason = format!("the task is {} already", task.state);
        return Err(Error::conflict("task_is_final", reason));
    }
    let (_, of) = growing::running_plan(tx, task.build).await?;
    let standing = builds::standing(tx, task.build).await?;
    let mut progress = Progress {
        build: standing.state,
        on_task_failure: on_task_failure(tx, task.build).await?,
        tally: standing.tally,
        task: TaskRef { id, name: task.name },
        attempt: task.attempt,
        failures: task.failures,
        crashes: task.crashes,
        dependents: Vec::new(),
        others: Vec::new(),
        added: None,
    };
    settling::read_losses(tx, &mut progress, false).await?;
    let settlement = progress.end_by_hand(task.state, how, reason)?;
    tasks::end_attempts(tx, &to_json(&[id])?, settlement.attempt, None).await?;
    sqlx::query(
        "update tasks
            set state = $2, due_at = null, parked_on = null, holder = null, leased_until = null,
                begun_at = null, settled_at = $3, failure = $4
          where id = $1",
    )
    .bind(id.to_string())
    .bind(settlement.task.as_str())
    .bind(tx.now)
    .bind(settlement.failure.as_ref().map(to_json).transpose()?)
    .execute(tx.db())
    .await?;
    if task.state == task::State::Ready {
        closing::left(tx, of.flow()).await?;
    }
    settling::write_rest(tx, &of, &settlement).await?;
    gates::freed(tx, Job::Task(id)).await?;
    tx.recall(of.build);
    tasks::one(tx.db(), id).await
}

async fn on_task_failure(tx: &mut Tx, id: BuildId) -> Result<OnTaskFailure, Error> {
    let row = sqlx::query("select on_task_failure from builds where id = $1")
        .bind(id.to_string())
        .fetch_one(tx.db())
        .await?;
    Ok(row.word("on_task_failure")?)
}

/// Gives one lost task another go.
pub(super) async fn retry(tx: &mut Tx, id: TaskId) -> Result<Task, Error> {
    let task = tasks::one(tx.db(), id).await?;
    let row = sqlx::query(
        "select p.state, b.plan_id is p.id as is_current, b.tenant, b.priority
           from plans p join builds b on b.id = p.build_id
          where p.id = $1",
    )
    .bind(task.plan.to_string())
    .fetch_one(tx.db())
    .await?;
    let is_current: bool = sqlx::Row::try_get(&row, "is_current")?;
    if !is_current || row.word::<plan::State>("state")? != plan::State::Adopted {
        let reason = "the plan of the task does not run";
        return Err(Error::conflict("task_not_retryable", reason));
    }
    let of = Of {
        build: task.build,
        tenant: row.text("tenant")?,
        priority: sqlx::Row::try_get(&row, "priority")?,
    };
    let (revival, in_order) = read(tx, &of, id).await?;
    let was_final = revival.build.is_final();
    let revived = revival
        .decide()
        .map_err(|refusal| Error::conflict("task_not_retryable", refusal.to_string()))?;
    write(tx, &of, &revived, was_final).await?;
    let ready: BTreeSet<TaskId> =
        revived.revived.iter().filter(|(_, on)| *on == 0).map(|(id, _)| *id).collect();
    let released: Vec<_> = in_order
        .into_iter()
        .filter(|(id, _)| ready.contains(id))
        .map(|(id, cost)| (id.to_string(), cost))
        .collect();
    plans::release(tx, &of.tenant, of.priority, &released).await?;
    events::append(tx, of.build, &revived.events).await?;
    tasks::one(tx.db(), id).await
}

/// Reads what the domain must know, and what each task costs, in the order in which they enter the
/// lane.
async fn read(tx: &mut Tx, of: &Of, id: TaskId) -> Result<(Revival, Vec<(TaskId, u32)>), Error> {
    let standing = builds::standing(tx, of.build).await?;
    let rows = sqlx::query(include_str!("sql/lost_because.sql"))
        .bind(id.to_string())
        .fetch_all(tx.db())
        .await?;
    let (mut edges, mut ids) = (Vec::with_capacity(rows.len()), BTreeSet::from([id]));
    for row in &rows {
        let edge = Edge {
            task: row.word("task_id")?,
            on: row.word("on_task_id")?,
            on_loss: row.word("on_loss")?,
        };
        ids.extend([edge.task, edge.on]);
        edges.push(edge);
    }
    let rows = sqlx::query(
        "select id, name, state, cost,
                coalesce(failure ->> 'code' in ('cancelled_by_hand', 'skipped_by_hand'), 0)
                  as by_hand
           from tasks
          where id in (select value from json_each($1))
          order by priority, place",
    )
    .bind(to_json(&ids)?)
    .fetch_all(tx.db())
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
    Ok((Revival { build: standing.state, tally: standing.tally, task, nodes, edges }, costs))
}

fn node(row: &SqliteRow) -> Result<Node, sqlx::Error> {
    Ok(Node {
        task: tasks::reference(row)?,
        state: row.word("state")?,
        by_hand: sqlx::Row::try_get(row, "by_hand")?,
    })
}

async fn write(tx: &mut Tx, of: &Of, revived: &Revived, was_final: bool) -> Result<(), Error> {
    let rows: Vec<Value> = revived.revived.iter().map(|(id, on)| json!([id, on])).collect();
    sqlx::query(
        "update tasks
            set state = $2, waiting_on = j.value ->> 1, failures = 0, crashes = 0,
                settled_at = null,
                -- Who took it out said why; that is past.
                failure = iif(
                  failure ->> 'code' in ('cancelled_by_hand', 'skipped_by_hand'), null, failure)
           from json_each($1) j
          where tasks.id = j.value ->> 0",
    )
    .bind(to_json(&rows)?)
    .bind(task::State::Failed.on(task::Trigger::Retried)?.as_str())
    .execute(tx.db())
    .await?;
    sqlx::query(
        "update tasks set waiting_on = waiting_on + by.many
           from (select value as id, count(*) as many from json_each($1) group by value) by
          where tasks.id = by.id",
    )
    .bind(to_json(&revived.held_back)?)
    .execute(tx.db())
    .await?;
    let tally = revived.tally;
    // A build that had ended has its deadline before it again.
    sqlx::query(
        "update builds
            set state = $2, stop_code = null, stop_message = null, settled_at = null,
                failed = $3, skipped = $4, cancelled = $5, updated_at = $6,
                deadline_at = iif($7, $6 + 1000 * coalesce(
                  brief ->> 'deadline_secs',
                  (select timeout_secs from plans where id = builds.plan_id)), deadline_at)
          where id = $1",
    )
    .bind(of.build.to_string())
    .bind(revived.build.as_str())
    .bind(tally.failed)
    .bind(tally.skipped)
    .bind(tally.cancelled)
    .bind(tx.now)
    .bind(was_final)
    .execute(tx.db())
    .await?;
    Ok(())
}
