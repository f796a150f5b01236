//! Tasks that are written for the first time, with what they wait for.
//!
//! A plan may have a hundred thousand, so they go in by the thousand.

use serde_json::{Value, json};

use super::{Tx, rows::to_json};
use crate::{
    domain::{
        dependency::OnLoss,
        id::{BuildId, PlanId, TaskId},
        plan::DraftTask,
        task::State,
    },
    store::Error,
};

/// Rows that go in with one statement: enough to make the statement cheap, few enough that their
/// JSON is.
pub(super) const ROWS_AT_ONCE: usize = 1000;

/// A task that is to be written.
pub(super) struct NewTask<'a> {
    pub id: TaskId,
    pub task: &'a DraftTask,
    pub needs: Vec<(TaskId, OnLoss)>,
    /// `pending` also for what may run: it is released afterwards.
    pub state: State,
    pub waiting_on: u32,
}

/// Writes tasks of a plan from a place on, and what they wait for.
pub(super) async fn insert(
    tx: &mut Tx,
    build: BuildId,
    plan: PlanId,
    place: u32,
    new: &[NewTask<'_>],
) -> Result<(), Error> {
    let mut at = place;
    for new in new.chunks(ROWS_AT_ONCE) {
        let mut rows = Vec::with_capacity(new.len());
        for NewTask { id, task, state, waiting_on, .. } in new {
            rows.push(json!([
                id,
                at,
                task.key,
                task.name,
                task.description,
                task.phase,
                task.operation,
                task.role,
                task.priority,
                task.estimated_secs,
                // As texts: what is kept is what was given, to the letter.
                to_json(&task.writes)?,
                to_json(&task.input)?,
                waiting_on,
                task.cost,
                state,
            ]));
            at += 1;
        }
        sqlx::query(
            "insert into tasks
               (build_id, plan_id, id, place, key, name, description, phase, operation,
                role, priority, estimated_secs, writes, input, waiting_on, cost, state, settled_at,
                tenant, band, limit_key)
             select $1, $2, value ->> 0, value ->> 1, value ->> 2, value ->> 3,
                    value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9,
                    value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14,
                    iif(value ->> 14 = 'skipped', $4, null), b.tenant, b.priority, b.limit_key
               from json_each($3) join builds b on b.id = $1",
        )
        .bind(build.to_string())
        .bind(plan.to_string())
        .bind(to_json(&rows)?)
        .bind(tx.now)
        .execute(tx.db())
        .await?;
    }
    let edges = new
        .iter()
        .flat_map(|new| new.needs.iter().map(|(on, on_loss)| json!([new.id, on, on_loss])));
    insert_edges(tx, &edges.collect::<Vec<_>>()).await
}

/// `edges` are `[task, on, on_loss]`.
pub(super) async fn insert_edges(tx: &mut Tx, edges: &[Value]) -> Result<(), Error> {
    for edges in edges.chunks(ROWS_AT_ONCE) {
        sqlx::query(
            "insert into dependencies (task_id, on_task_id, on_loss)
             select value ->> 0, value ->> 1, value ->> 2 from json_each($1)",
        )
        .bind(to_json(edges)?)
        .execute(tx.db())
        .await?;
    }
    Ok(())
}

/// Who writes each of these paths last, from now on.
pub(super) async fn keep_writers(
    tx: &mut Tx,
    plan: PlanId,
    writers: impl Iterator<Item = (&str, TaskId)>,
) -> Result<(), Error> {
    let writers: Vec<Value> = writers.map(|(path, task)| json!([path, task])).collect();
    for writers in writers.chunks(ROWS_AT_ONCE) {
        sqlx::query(
            "insert or replace into last_writers (plan_id, path, task_id)
             select $1, value ->> 0, value ->> 1 from json_each($2)",
        )
        .bind(plan.to_string())
        .bind(to_json(writers)?)
        .execute(tx.db())
        .await?;
    }
    Ok(())
}
