//! A build that begins in the middle of another.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{
    Tx, builds, events, inserting, plans,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        build,
        event::{Event, TaskRef},
        id::{BuildId, EndpointId, PlanId, TaskId},
        plan::{
            self,
            forking::{Fate, Origin, fork as fates},
        },
        task,
    },
    draw,
    store::{Build, Error},
};

pub(super) async fn fork(tx: &mut Tx, at: TaskId, input: Option<&Value>) -> Result<Build, Error> {
    let old = Old::read(tx, at).await?;
    let fates = fates(&old.tasks, old.at);
    let new = New {
        build: draw::id(),
        plan: draw::id(),
        ids: old.ids.iter().map(|_| draw::id()).collect(),
        is_taken_over: fates.iter().map(|fate| *fate == Fate::TakenOver).collect(),
    };
    write_build(tx, &old, &new, at).await?;
    write_tasks(tx, &old, &new, &fates, input).await?;
    write_edges(tx, &old, &new).await?;
    write_files(tx, &old, &new).await?;
    copy_endpoints(tx, &old, &new).await?;
    let tally = builds::standing(tx, new.build).await?.tally;
    let named = TaskRef { id: at, name: old.name.clone() };
    let event = Event::build_forked(old.build, &named, tally.tasks, tally.completed);
    plans::release_unblocked(tx, new.build).await?;
    events::append(tx, new.build, &[event]).await?;
    builds::one(tx.db(), new.build).await
}

/// The plan that is forked.
struct Old {
    build: BuildId,
    plan: PlanId,
    /// In the order of the plan.
    ids: Vec<TaskId>,
    tasks: Vec<Origin>,
    /// Whose content each path has.
    files: Vec<(String, usize)>,
    writers: Vec<(String, usize)>,
    at: usize,
    /// Of the task at hand.
    name: String,
}

/// The names of what is made.
struct New {
    build: BuildId,
    plan: PlanId,
    ids: Vec<TaskId>,
    is_taken_over: Vec<bool>,
}

impl Old {
    async fn read(tx: &mut Tx, at: TaskId) -> Result<Self, Error> {
        let row = sqlx::query(
            "select p.id, p.build_id, p.state, t.name
               from tasks t join plans p on p.id = t.plan_id
              where t.id = $1",
        )
        .bind(at.to_string())
        .fetch_optional(tx.db())
        .await?
        .ok_or_else(|| Error::not_found(at))?;
        let state: plan::State = row.word("state")?;
        if state != plan::State::Adopted {
            return Err(Error::conflict("plan_not_adopted", format!("the plan is {state}")));
        }
        let mut old = Self {
            build: row.word("build_id")?,
            plan: row.word("id")?,
            ids: Vec::new(),
            tasks: Vec::new(),
            files: Vec::new(),
            writers: Vec::new(),
            at: 0,
            name: row.text("name")?,
        };
        let rows =
            sqlx::query("select id, state, writes from tasks where plan_id = $1 order by place")
                .bind(old.plan.to_string())
                .fetch_all(tx.db())
                .await?;
        for row in &rows {
            old.ids.push(row.word("id")?);
            old.tasks.push(Origin {
                state: row.word("state")?,
                waits_for: Vec::new(),
                writes: row.json("writes")?,
                wrote: Vec::new(),
            });
        }
        let places: HashMap<TaskId, usize> =
            old.ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        old.at = places.get(&at).copied().ok_or_else(|| Error::not_found(at))?;
        old.read_rest(tx, &places).await?;
        Ok(old)
    }

    async fn read_rest(
        &mut self,
        tx: &mut Tx,
        places: &HashMap<TaskId, usize>,
    ) -> Result<(), Error> {
        let place = |id: TaskId| places.get(&id).copied();
        let rows = sqlx::query(
            "select d.task_id, d.on_task_id, d.on_loss
               from tasks t join dependencies d on d.task_id = t.id
              where t.plan_id = $1",
        )
        .bind(self.plan.to_string())
        .fetch_all(tx.db())
        .await?;
        for row in &rows {
            let (task, on) = (row.word("task_id")?, row.word("on_task_id")?);
            if let (Some(task), Some(on)) = (place(task), place(on)) {
                self.tasks[task].waits_for.push((on, row.word("on_loss")?));
            }
        }
        let rows = sqlx::query("select path, task_id from files where build_id = $1 order by path")
            .bind(self.build.to_string())
            .fetch_all(tx.db())
            .await?;
        for row in &rows {
            if let Some(task) = place(row.word("task_id")?) {
                self.tasks[task].wrote.push(row.text("path")?);
                self.files.push((row.text("path")?, task));
            }
        }
        let rows = sqlx::query("select path, task_id from last_writers where plan_id = $1")
            .bind(self.plan.to_string())
            .fetch_all(tx.db())
            .await?;
        for row in &rows {
            if let Some(task) = place(row.word("task_id")?) {
                self.writers.push((row.text("path")?, task));
            }
        }
        Ok(())
    }
}

impl New {
    fn files(&self, old: &Old) -> Vec<Value> {
        let kept = old.files.iter().filter(|(_, task)| self.is_taken_over[*task]);
        kept.map(|(path, task)| json!([path, self.ids[*task]])).collect()
    }
}

async fn write_build(tx: &mut Tx, old: &Old, new: &New, at: TaskId) -> Result<(), Error> {
    let completed = new.is_taken_over.iter().filter(|taken_over| **taken_over).count();
    sqlx::query(
        "insert into builds
           (id, tenant, brief, priority, project_id, on_task_failure, limit_key, state, plan_id,
            tasks, completed, files, created_at, started_at, updated_at, forked_from, deadline_at)
         select $3, b.tenant, b.brief, b.priority, b.project_id, b.on_task_failure, b.limit_key,
                $5, $4, $6, $7, $8, $9, $9, $9, $10,
                $9 + 1000 * coalesce(b.brief ->> 'deadline_secs', p.timeout_secs)
           from builds b join plans p on p.id = $2
          where b.id = $1",
    )
    .bind(old.build.to_string())
    .bind(old.plan.to_string())
    .bind(new.build.to_string())
    .bind(new.plan.to_string())
    .bind(build::State::Planning.on(build::Trigger::PlanAdopted)?.as_str())
    .bind(i64::try_from(new.ids.len()).map_err(Error::unavailable)?)
    .bind(i64::try_from(completed).map_err(Error::unavailable)?)
    .bind(i64::try_from(new.files(old).len()).map_err(Error::unavailable)?)
    .bind(tx.now)
    .bind(at.to_string())
    .execute(tx.db())
    .await?;
    sqlx::query(
        "insert into plans
           (id, build_id, state, spec, project_type, framework, complexity, notes, estimated_secs,
            straightened, created_at, timeout_secs)
         select $2, $3, state, spec, project_type, framework, complexity, notes, estimated_secs,
                straightened, $4, timeout_secs
           from plans
          where id = $1",
    )
    .bind(old.plan.to_string())
    .bind(new.plan.to_string())
    .bind(new.build.to_string())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    Ok(())
}

/// What may run is pending at first, and released afterwards.
async fn write_tasks(
    tx: &mut Tx,
    old: &Old,
    new: &New,
    fates: &[Fate],
    input: Option<&Value>,
) -> Result<(), Error> {
    let rows: Vec<Value> = fates
        .iter()
        .enumerate()
        .map(|(at, fate)| {
            let (state, waiting_on) = match fate {
                Fate::TakenOver => (task::State::Completed, 0),
                Fate::Ready => (task::State::Pending, 0),
                Fate::Waits(on) => (task::State::Pending, *on),
            };
            json!([old.ids[at], new.ids[at], state, waiting_on])
        })
        .collect();
    for rows in rows.chunks(inserting::ROWS_AT_ONCE) {
        sqlx::query(
            "insert into tasks
               (id, build_id, plan_id, place, key, name, description, phase, operation, role,
                priority, estimated_secs, writes, input, tenant, band, limit_key, cost, state,
                waiting_on, logs, started_at, settled_at)
             select j.value ->> 1, $2, $3, t.place, t.key, t.name, t.description, t.phase,
                    t.operation, t.role, t.priority, t.estimated_secs, t.writes,
                    iif(j.value ->> 1 = $4, coalesce($5, t.input), t.input), t.tenant, t.band,
                    t.limit_key, t.cost, j.value ->> 2, j.value ->> 3,
                    iif(j.value ->> 2 = 'completed', t.logs, '[]'),
                    iif(j.value ->> 2 = 'completed', t.started_at, null),
                    iif(j.value ->> 2 = 'completed', t.settled_at, null)
               from json_each($1) j join tasks t on t.id = j.value ->> 0",
        )
        .bind(to_json(rows)?)
        .bind(new.build.to_string())
        .bind(new.plan.to_string())
        .bind(new.ids[old.at].to_string())
        .bind(input.map(to_json).transpose()?)
        .execute(tx.db())
        .await?;
    }
    Ok(())
}

async fn write_edges(tx: &mut Tx, old: &Old, new: &New) -> Result<(), Error> {
    let mut edges = Vec::new();
    for (task, origin) in old.tasks.iter().enumerate() {
        let needs = origin.waits_for.iter();
        edges.extend(needs.map(|(on, on_loss)| json!([new.ids[task], new.ids[*on], on_loss])));
    }
    inserting::insert_edges(tx, &edges).await?;
    let writers = old.writers.iter().map(|(path, task)| (path.as_str(), new.ids[*task]));
    inserting::keep_writers(tx, new.plan, writers).await
}

async fn write_files(tx: &mut Tx, old: &Old, new: &New) -> Result<(), Error> {
    sqlx::query(
        "insert into files (build_id, path, task_id, sha256, size_bytes, content, at)
         select $2, f.path, j.value ->> 1, f.sha256, f.size_bytes, f.content, f.at
           from json_each($3) j
           join files f on f.build_id = $1 and f.path = j.value ->> 0",
    )
    .bind(old.build.to_string())
    .bind(new.build.to_string())
    .bind(to_json(&new.files(old))?)
    .execute(tx.db())
    .await?;
    Ok(())
}

/// Whoever hears of the other build hears of this one.
async fn copy_endpoints(tx: &mut Tx, old: &Old, new: &New) -> Result<(), Error> {
    let rows = sqlx::query("select id from endpoints where build_id = $1 order by id")
        .bind(old.build.to_string())
        .fetch_all(tx.db())
        .await?;
    for row in &rows {
        sqlx::query(
            "insert into endpoints
               (id, build_id, url, secret, events, headers, rate, concurrency, retry, ordered,
                created_at, updated_at)
             select $2, $3, url, secret, events, headers, rate, concurrency, retry, ordered, $4, $4
               from endpoints where id = $1",
        )
        .bind(row.text("id")?)
        .bind(draw::id::<EndpointId>().to_string())
        .bind(new.build.to_string())
        .bind(tx.now)
        .execute(tx.db())
        .await?;
    }
    Ok(())
}
