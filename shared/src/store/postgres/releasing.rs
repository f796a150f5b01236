//! Who waits for tasks, and is released when they are settled.

use std::collections::{BTreeMap, HashMap};

use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    lock::Locked,
    queueing::Flows,
    rows::{Columns, int, texts},
    settling::read_ref,
    *,
};
use crate::domain::{
    dependency::OnLoss,
    event::TaskRef,
    settle::{Dependent, Settlement},
    task,
};

/// Who waits for the tasks of a batch, as they stand in the midst of it.
#[derive(Default)]
pub(super) struct Dependents {
    by_target: HashMap<TaskId, Vec<(TaskId, OnLoss)>>,
    tasks: HashMap<TaskId, Waiting>,
}

pub(super) struct Waiting {
    task: TaskRef,
    state: task::State,
    waiting_on: u32,
    build: BuildId,
    cost: u32,
    priority: i16,
    place: i32,
    advanced_by: u32,
    released: bool,
}

impl Dependents {
    pub async fn read(conn: &mut PgConnection, on: &[TaskId]) -> Result<Self, Error> {
        let mut read = Self::default();
        let query = sqlx::query(include_str!("sql/dependents.sql")).bind(texts(on));
        read.extend(&query.fetch_all(conn).await?)?;
        Ok(read)
    }

    /// Takes dependencies in, with the tasks that wait as they stand in the record.
    pub(super) fn extend(&mut self, rows: &[PgRow]) -> Result<(), Error> {
        for row in rows {
            let task = read_ref(row)?;
            let on_loss = row.word("on_loss")?;
            self.by_target.entry(row.word("on_task_id")?).or_default().push((task.id, on_loss));
            if !self.tasks.contains_key(&task.id) {
                let waiting = Waiting {
                    state: row.word("state")?,
                    waiting_on: row.count("waiting_on")?,
                    build: row.word("build_id")?,
                    cost: row.count("cost")?,
                    priority: row.try_get("priority")?,
                    place: row.try_get("place")?,
                    advanced_by: 0,
                    released: false,
                    task,
                };
                self.tasks.insert(waiting.task.id, waiting);
            }
        }
        Ok(())
    }

    pub fn of(&self, target: TaskId) -> Vec<Dependent> {
        let edges = self.by_target.get(&target).map(Vec::as_slice).unwrap_or_default();
        edges.iter().filter_map(|edge| self.dependent(target, *edge)).collect()
    }

    /// All that were read.
    pub(super) fn all(&self) -> Vec<Dependent> {
        self.by_target
            .iter()
            .flat_map(|(on, edges)| edges.iter().filter_map(|edge| self.dependent(*on, *edge)))
            .collect()
    }

    fn dependent(&self, on: TaskId, (id, on_loss): (TaskId, OnLoss)) -> Option<Dependent> {
        let Waiting { task, state, waiting_on, .. } = self.tasks.get(&id)?;
        let task = task.clone();
        Some(Dependent { on, task, state: *state, waiting_on: *waiting_on, on_loss })
    }

    pub(super) fn advance(&mut self, settlement: &Settlement) {
        for id in &settlement.advanced {
            if let Some(waiting) = self.tasks.get_mut(id) {
                waiting.advanced_by += 1;
                waiting.waiting_on = waiting.waiting_on.saturating_sub(1);
            }
        }
        for id in &settlement.released {
            if let Some(waiting) = self.tasks.get_mut(id) {
                waiting.released = true;
                waiting.state = task::State::Ready;
            }
        }
    }
}

/// Writes that dependents wait for fewer tasks, and gives those a rank that wait for none.
pub(super) async fn advance(
    conn: &mut PgConnection,
    flows: &Flows,
    builds: &BTreeMap<BuildId, Locked>,
    dependents: &Dependents,
) -> Result<(), Error> {
    let mut advanced: Vec<&Waiting> =
        dependents.tasks.values().filter(|waiting| 0 < waiting.advanced_by).collect();
    if advanced.is_empty() {
        return Ok(());
    }
    advanced.sort_unstable_by_key(|waiting| (waiting.build, waiting.priority, waiting.place));
    let mut entering: BTreeMap<queueing::Flow, Vec<u32>> = BTreeMap::new();
    for waiting in advanced.iter().filter(|waiting| waiting.released) {
        let Some(build) = builds.get(&waiting.build) else { continue };
        entering.entry(build.flow()).or_default().push(waiting.cost);
    }
    let mut ranks: BTreeMap<_, _> = flows
        .ranks(Lane::Tasks, &entering)
        .await?
        .into_iter()
        .map(|(flow, ranks)| (flow, ranks.into_iter()))
        .collect();
    let (mut ids, mut by, mut stand) = (Vec::new(), Vec::new(), Vec::new());
    for waiting in advanced {
        ids.push(waiting.task.id.to_string());
        by.push(int(waiting.advanced_by));
        let flow = builds.get(&waiting.build).map(Locked::flow).filter(|_| waiting.released);
        stand.push(flow.and_then(|flow| ranks.get_mut(&flow)?.next()));
    }
    sqlx::query(include_str!("sql/advance.sql"))
        .bind(ids)
        .bind(by)
        .bind(stand)
        .bind(task::State::Pending.on(task::Trigger::DependenciesMet)?.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes pending tasks of one build, which wait for nothing, ready; answers with them as jobs.
pub(super) async fn release(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &Locked,
    tasks: &[(TaskId, u32)],
) -> Result<Vec<Job>, Error> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let costs = tasks.iter().map(|(_, cost)| *cost).collect();
    let ranks = flows.ranks(Lane::Tasks, &BTreeMap::from([(build.flow(), costs)])).await?;
    sqlx::query(include_str!("sql/advance.sql"))
        .bind(texts(tasks.iter().map(|(id, _)| id)))
        .bind(vec![0; tasks.len()])
        .bind(ranks.into_values().flatten().map(Some).collect::<Vec<_>>())
        .bind(task::State::Pending.on(task::Trigger::DependenciesMet)?.as_str())
        .execute(conn)
        .await?;
    Ok(tasks.iter().map(|(id, _)| Job::Task(*id)).collect())
}
