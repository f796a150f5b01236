//! Tasks that are written for the first time, with what they wait for.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{
    lock::Locked,
    queueing::Flows,
    rows::{document, int, texts},
    *,
};
use crate::domain::{dependency::OnLoss, plan::DraftTask, task};

/// A task that is to be written.
pub(super) struct NewTask<'a> {
    pub id: TaskId,
    pub task: &'a DraftTask,
    pub needs: Vec<(TaskId, OnLoss)>,
    pub state: task::State,
    pub waiting_on: u32,
}

/// Writes tasks of a plan from a place on, and what they wait for, in two statements; answers with
/// those that are ready.
pub(super) async fn insert(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &Locked,
    (plan, place): (PlanId, u32),
    new: &[NewTask<'_>],
) -> Result<Vec<Job>, Error> {
    let ranks = ranks_of_ready(flows, build, new).await?;
    let column =
        |of: fn(&DraftTask) -> &str| new.iter().map(|new| of(new.task)).collect::<Vec<_>>();
    let tasks = || new.iter().map(|new| new.task);
    sqlx::query(include_str!("sql/insert_tasks.sql"))
        .bind(build.id.to_string())
        .bind(plan.to_string())
        .bind(texts(new.iter().map(|new| new.id)))
        .bind(column(|task| &task.key))
        .bind(column(|task| &task.name))
        .bind(column(|task| &task.description))
        .bind(column(|task| task.phase.as_str()))
        .bind(column(|task| task.operation.as_str()))
        .bind(column(|task| &task.role))
        .bind(tasks().map(|task| i16::from(task.priority)).collect::<Vec<_>>())
        .bind(tasks().map(|task| int(task.estimated_secs)).collect::<Vec<_>>())
        .bind(tasks().map(|task| document(&task.writes)).collect::<Result<Vec<_>, _>>()?)
        .bind(tasks().map(|task| document(&task.input)).collect::<Result<Vec<_>, _>>()?)
        .bind(texts(new.iter().map(|new| new.state)))
        .bind(new.iter().map(|new| int(new.waiting_on)).collect::<Vec<_>>())
        .bind(tasks().map(|task| i16::try_from(task.cost).unwrap_or(1)).collect::<Vec<_>>())
        .bind(ranks)
        .bind(&build.tenant)
        .bind(build.priority)
        .bind(&build.limit_key)
        .bind(int(place))
        .execute(&mut *conn)
        .await?;
    let (mut from, mut on, mut on_loss) = (Vec::new(), Vec::new(), Vec::new());
    for new in new {
        for (needed, policy) in &new.needs {
            from.push(new.id.to_string());
            on.push(needed.to_string());
            on_loss.push(policy.as_str());
        }
    }
    sqlx::query(
        "insert into dependencies (task_id, on_task_id, on_loss)
         select * from unnest($1::text[], $2::text[], $3::text[])",
    )
    .bind(from)
    .bind(on)
    .bind(on_loss)
    .execute(conn)
    .await?;
    let ready = new.iter().filter(|new| new.state == task::State::Ready);
    Ok(ready.map(|new| Job::Task(new.id)).collect())
}

/// Who writes each of these paths last, from now on.
pub(super) async fn keep_writers(
    conn: &mut PgConnection,
    plan: PlanId,
    writers: impl Iterator<Item = (&str, TaskId)>,
) -> Result<(), Error> {
    let (paths, tasks): (Vec<_>, Vec<_>) = writers.map(|(path, id)| (path, id.to_string())).unzip();
    if paths.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into last_writers (plan_id, path, task_id)
         select $1, * from unnest($2::text[], $3::text[])
         on conflict (plan_id, path) do update set task_id = excluded.task_id",
    )
    .bind(plan.to_string())
    .bind(paths)
    .bind(tasks)
    .execute(conn)
    .await?;
    Ok(())
}

/// A rank for each task that is ready: in the order of their priorities, and then of the plan.
async fn ranks_of_ready(
    flows: &Flows,
    build: &Locked,
    new: &[NewTask<'_>],
) -> Result<Vec<Option<f64>>, Error> {
    let mut ready: Vec<usize> =
        (0..new.len()).filter(|&at| new[at].state == task::State::Ready).collect();
    ready.sort_by_key(|&at| new[at].task.priority);
    let mut given = vec![None; new.len()];
    if ready.is_empty() {
        return Ok(given);
    }
    let costs = ready.iter().map(|&at| new[at].task.cost).collect();
    let ranks = flows.ranks(Lane::Tasks, &BTreeMap::from([(build.flow(), costs)])).await?;
    for (at, rank) in ready.into_iter().zip(ranks.into_values().flatten()) {
        given[at] = Some(rank);
    }
    Ok(given)
}
