//! Tasks that are written for the first time, with what they wait for.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{
    lock::Locked,
    queueing::{Flow, Flows},
    rows::{document, int},
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

/// Tasks of one plan that are to be written, from a place of it on.
pub(super) struct Inserted<'a> {
    pub build: &'a Locked,
    pub plan: PlanId,
    pub place: u32,
    pub tasks: Vec<NewTask<'a>>,
}

/// Tasks by column.
#[derive(Default)]
struct Rows<'a> {
    builds: Vec<String>,
    plans: Vec<String>,
    tenants: Vec<&'a str>,
    bands: Vec<i16>,
    limit_keys: Vec<Option<&'a str>>,
    places: Vec<i32>,
    ids: Vec<String>,
    writes: Vec<String>,
    inputs: Vec<String>,
    tasks: Vec<&'a DraftTask>,
    states: Vec<&'static str>,
    waiting_on: Vec<i32>,
    ranks: Vec<Option<f64>>,
}

/// Writes tasks, and what they wait for, in two statements; answers with those that are ready.
pub(super) async fn insert(
    conn: &mut PgConnection,
    flows: &Flows,
    inserted: &[Inserted<'_>],
) -> Result<Vec<Job>, Error> {
    let ranks = ranks_of_ready(flows, inserted).await?;
    let mut rows = Rows { ranks, ..Rows::default() };
    let (mut from, mut on, mut on_loss) = (Vec::new(), Vec::new(), Vec::new());
    for Inserted { build, plan, place, tasks } in inserted {
        let (build_id, plan) = (build.id.to_string(), plan.to_string());
        for (new, place) in tasks.iter().zip(*place..) {
            let id = new.id.to_string();
            for (needed, policy) in &new.needs {
                from.push(id.clone());
                on.push(needed.to_string());
                on_loss.push(policy.as_str());
            }
            rows.builds.push(build_id.clone());
            rows.plans.push(plan.clone());
            rows.tenants.push(&build.tenant);
            rows.bands.push(build.priority);
            rows.limit_keys.push(build.limit_key.as_deref());
            rows.places.push(int(place));
            rows.ids.push(id);
            rows.writes.push(document(&new.task.writes)?);
            rows.inputs.push(document(&new.task.input)?);
            rows.tasks.push(new.task);
            rows.states.push(new.state.as_str());
            rows.waiting_on.push(int(new.waiting_on));
        }
    }
    rows.write(conn).await?;
    if !from.is_empty() {
        sqlx::query(
            "insert into dependencies (task_id, on_task_id, on_loss)
             select * from unnest($1::text[], $2::text[], $3::text[])",
        )
        .bind(from)
        .bind(on)
        .bind(on_loss)
        .execute(conn)
        .await?;
    }
    let ready =
        inserted.iter().flat_map(|of| &of.tasks).filter(|new| new.state == task::State::Ready);
    Ok(ready.map(|new| Job::Task(new.id)).collect())
}

impl Rows<'_> {
    async fn write(self, conn: &mut PgConnection) -> Result<(), Error> {
        let tasks = &self.tasks;
        let column = |of: fn(&DraftTask) -> &str| tasks.iter().map(|task| of(task)).collect();
        let (keys, names, descriptions): (Vec<_>, Vec<_>, Vec<_>) =
            (column(|task| &task.key), column(|task| &task.name), column(|task| &task.description));
        let (phases, operations, roles): (Vec<_>, Vec<_>, Vec<_>) = (
            column(|task| task.phase.as_str()),
            column(|task| task.operation.as_str()),
            column(|task| &task.role),
        );
        sqlx::query(include_str!("sql/insert_tasks.sql"))
            .bind(self.builds)
            .bind(self.plans)
            .bind(self.tenants)
            .bind(self.bands)
            .bind(self.limit_keys)
            .bind(self.places)
            .bind(self.ids)
            .bind(keys)
            .bind(names)
            .bind(descriptions)
            .bind(phases)
            .bind(operations)
            .bind(roles)
            .bind(tasks.iter().map(|task| i16::from(task.priority)).collect::<Vec<_>>())
            .bind(tasks.iter().map(|task| int(task.estimated_secs)).collect::<Vec<_>>())
            .bind(self.writes)
            .bind(self.inputs)
            .bind(self.states)
            .bind(self.waiting_on)
            .bind(
                tasks.iter().map(|task| i16::try_from(task.cost).unwrap_or(1)).collect::<Vec<_>>(),
            )
            .bind(self.ranks)
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// Who writes each of these paths of its plan last, from now on.
pub(super) async fn keep_writers<'a>(
    conn: &mut PgConnection,
    writers: impl Iterator<Item = (PlanId, &'a str, TaskId)>,
) -> Result<(), Error> {
    let (mut plans, mut paths, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
    for (plan, path, task) in writers {
        plans.push(plan.to_string());
        paths.push(path);
        tasks.push(task.to_string());
    }
    if paths.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into last_writers (plan_id, path, task_id)
         select * from unnest($1::text[], $2::text[], $3::text[])
         on conflict (plan_id, path) do update set task_id = excluded.task_id",
    )
    .bind(plans)
    .bind(paths)
    .bind(tasks)
    .execute(conn)
    .await?;
    Ok(())
}

/// A rank for each task that is ready: in the order of their priorities, and then of the plan.
async fn ranks_of_ready(
    flows: &Flows,
    inserted: &[Inserted<'_>],
) -> Result<Vec<Option<f64>>, Error> {
    let mut given: Vec<Option<f64>> = Vec::new();
    let mut entering: BTreeMap<Flow, (Vec<u32>, Vec<usize>)> = BTreeMap::new();
    for Inserted { build, tasks, .. } in inserted {
        let first = given.len();
        given.resize(first + tasks.len(), None);
        let mut ready: Vec<usize> =
            (0..tasks.len()).filter(|&at| tasks[at].state == task::State::Ready).collect();
        if ready.is_empty() {
            continue;
        }
        ready.sort_by_key(|&at| tasks[at].task.priority);
        let (costs, places) = entering.entry(build.flow()).or_default();
        costs.extend(ready.iter().map(|&at| tasks[at].task.cost));
        places.extend(ready.iter().map(|&at| first + at));
    }
    let costs = entering.iter().map(|(flow, (costs, _))| (flow.clone(), costs.clone())).collect();
    let ranks = flows.ranks(Lane::Tasks, &costs).await?;
    for (flow, ranks) in ranks {
        let Some((_, places)) = entering.get(&flow) else { continue };
        for (&at, rank) in places.iter().zip(ranks) {
            given[at] = Some(rank);
        }
    }
    Ok(given)
}
