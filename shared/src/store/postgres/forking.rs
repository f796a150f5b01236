//! A build that begins in the middle of another.

use std::collections::{BTreeMap, HashMap};

use sqlx::{PgConnection, Row};

use super::{
    lock::Locked,
    queueing::Flows,
    rows::{Columns, document, int, texts},
    *,
};
use crate::{
    domain::{
        build,
        event::TaskRef,
        plan::{
            self,
            forking::{Fate, Origin, fork as fates},
        },
        task,
    },
    draw,
};

/// Answers also with what may be claimed by it.
pub(super) async fn fork(
    db: &Db,
    at: TaskId,
    input: Option<&Value>,
) -> Result<(Build, Vec<Job>), Error> {
    let mut tx = db.pool.begin().await?;
    // Nothing moves on in the other build while it is read.
    let origin = lock::build_of(&mut tx, at).await?;
    let old = Old::read(&mut tx, at).await?;
    let fates = fates(&old.tasks, old.at);
    let new = New::of(&old, &fates);
    write_build(&mut tx, &origin, &old, &new, at).await?;
    let ready = write_tasks(&mut tx, &db.flows, (&origin, &old, &new), &fates, input).await?;
    write_edges(&mut tx, &old, &new).await?;
    write_files(&mut tx, &origin, &old, &new).await?;
    copy_endpoints(&mut tx, &origin, new.build).await?;
    let mut build =
        lock::build(&mut tx, new.build).await?.ok_or_else(|| Error::not_found(new.build))?;
    let named = TaskRef { id: at, name: old.name.clone() };
    let event = Event::build_forked(origin.id, &named, build.tally.tasks, build.tally.completed);
    let told = events::append(&mut tx, &db.flows, &mut build, &[event]).await?;
    let view = builds::view(&mut tx, new.build).await?;
    tx.commit().await?;
    Ok((view, [ready, told].concat()))
}

/// The plan that is forked.
struct Old {
    plan: PlanId,
    /// In the order of the plan.
    ids: Vec<TaskId>,
    tasks: Vec<Origin>,
    costs: Vec<u32>,
    priorities: Vec<i16>,
    /// Whose content each path has.
    files: Vec<(String, usize)>,
    writers: Vec<(String, usize)>,
    at: usize,
    /// Of the task at hand.
    name: String,
}

impl Old {
    async fn read(conn: &mut PgConnection, at: TaskId) -> Result<Self, Error> {
        let row = sqlx::query(
            "select p.id, p.build_id, p.state, t.name
               from tasks t
               join plans p on p.id = t.plan_id
              where t.id = $1",
        )
        .bind(at.to_string())
        .fetch_one(&mut *conn)
        .await?;
        let state: plan::State = row.word("state")?;
        if state != plan::State::Adopted {
            return Err(Error::conflict("plan_not_adopted", format!("the plan is {state}")));
        }
        let plan: PlanId = row.word("id")?;
        let build: BuildId = row.word("build_id")?;
        let name = row.try_get("name")?;
        let rows = sqlx::query(
            "select id, state, writes, cost::integer as cost, priority
               from tasks
              where plan_id = $1
              order by place",
        )
        .bind(plan.to_string())
        .fetch_all(&mut *conn)
        .await?;
        let mut old = Self {
            plan,
            ids: Vec::with_capacity(rows.len()),
            tasks: Vec::with_capacity(rows.len()),
            costs: Vec::with_capacity(rows.len()),
            priorities: Vec::with_capacity(rows.len()),
            files: Vec::new(),
            writers: Vec::new(),
            at: 0,
            name,
        };
        for row in &rows {
            old.ids.push(row.word("id")?);
            old.costs.push(row.count("cost")?);
            old.priorities.push(row.try_get("priority")?);
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
        old.read_rest(conn, build, &places).await?;
        Ok(old)
    }

    async fn read_rest(
        &mut self,
        conn: &mut PgConnection,
        build: BuildId,
        places: &HashMap<TaskId, usize>,
    ) -> Result<(), Error> {
        let place = |id: TaskId| places.get(&id).copied();
        let rows = sqlx::query(
            "select d.task_id, d.on_task_id, d.on_loss
               from tasks t
               join dependencies d on d.task_id = t.id
              where t.plan_id = $1",
        )
        .bind(self.plan.to_string())
        .fetch_all(&mut *conn)
        .await?;
        for row in &rows {
            let (task, on) = (row.word("task_id")?, row.word("on_task_id")?);
            if let (Some(task), Some(on)) = (place(task), place(on)) {
                self.tasks[task].waits_for.push((on, row.word("on_loss")?));
            }
        }
        let rows = sqlx::query("select path, task_id from files where build_id = $1 order by path")
            .bind(build.to_string())
            .fetch_all(&mut *conn)
            .await?;
        for row in &rows {
            if let Some(task) = place(row.word("task_id")?) {
                let path: String = row.try_get("path")?;
                self.tasks[task].wrote.push(path.clone());
                self.files.push((path, task));
            }
        }
        let rows = sqlx::query("select path, task_id from last_writers where plan_id = $1")
            .bind(self.plan.to_string())
            .fetch_all(conn)
            .await?;
        for row in &rows {
            if let Some(task) = place(row.word("task_id")?) {
                self.writers.push((row.try_get("path")?, task));
            }
        }
        Ok(())
    }
}

/// The names of what is made, and how much of it is taken over.
struct New {
    build: BuildId,
    plan: PlanId,
    ids: Vec<TaskId>,
    is_taken_over: Vec<bool>,
}

impl New {
    fn of(old: &Old, fates: &[Fate]) -> Self {
        Self {
            build: draw::id(),
            plan: draw::id(),
            ids: old.ids.iter().map(|_| draw::id()).collect(),
            is_taken_over: fates.iter().map(|fate| *fate == Fate::TakenOver).collect(),
        }
    }

    fn files<'a>(&'a self, old: &'a Old) -> impl Iterator<Item = (&'a str, TaskId)> {
        let kept = old.files.iter().filter(|(_, task)| self.is_taken_over[*task]);
        kept.map(|(path, task)| (path.as_str(), self.ids[*task]))
    }
}

async fn write_build(
    conn: &mut PgConnection,
    origin: &Locked,
    old: &Old,
    new: &New,
    at: TaskId,
) -> Result<(), Error> {
    let completed = new.is_taken_over.iter().filter(|taken_over| **taken_over).count();
    sqlx::query(include_str!("sql/fork_build.sql"))
        .bind(origin.id.to_string())
        .bind(old.plan.to_string())
        .bind(new.build.to_string())
        .bind(new.plan.to_string())
        .bind(build::State::Planning.on(build::Trigger::PlanAdopted)?.as_str())
        .bind(int(u32::try_from(new.ids.len()).unwrap_or(u32::MAX)))
        .bind(int(u32::try_from(completed).unwrap_or(u32::MAX)))
        .bind(int(u32::try_from(new.files(old).count()).unwrap_or(u32::MAX)))
        .bind(at.to_string())
        .execute(&mut *conn)
        .await?;
    sqlx::query(include_str!("sql/fork_plan.sql"))
        .bind(old.plan.to_string())
        .bind(new.plan.to_string())
        .bind(new.build.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

async fn write_tasks(
    conn: &mut PgConnection,
    flows: &Flows,
    (origin, old, new): (&Locked, &Old, &New),
    fates: &[Fate],
    input: Option<&Value>,
) -> Result<Vec<Job>, Error> {
    let mut ready: Vec<usize> = (0..fates.len()).filter(|&at| fates[at] == Fate::Ready).collect();
    ready.sort_by_key(|&at| old.priorities[at]);
    let costs = ready.iter().map(|&at| old.costs[at]).collect();
    let entering = BTreeMap::from([(origin.flow(), costs)]);
    let given = flows.ranks(Lane::Tasks, &entering).await?;
    let mut ranks = vec![None; fates.len()];
    for (&at, rank) in ready.iter().zip(given.into_values().flatten()) {
        ranks[at] = Some(rank);
    }
    let (states, waiting_on): (Vec<_>, Vec<_>) = fates
        .iter()
        .map(|fate| match fate {
            Fate::TakenOver => (task::State::Completed.as_str(), 0),
            Fate::Ready => (task::State::Ready.as_str(), 0),
            Fate::Waits(on) => (task::State::Pending.as_str(), int(*on)),
        })
        .unzip();
    sqlx::query(include_str!("sql/fork_tasks.sql"))
        .bind(texts(&old.ids))
        .bind(texts(&new.ids))
        .bind(states)
        .bind(waiting_on)
        .bind(ranks)
        .bind(new.build.to_string())
        .bind(new.plan.to_string())
        .bind(new.ids[old.at].to_string())
        .bind(input.map(document).transpose()?)
        .execute(conn)
        .await?;
    Ok(ready.into_iter().map(|at| Job::Task(new.ids[at])).collect())
}

async fn write_edges(conn: &mut PgConnection, old: &Old, new: &New) -> Result<(), Error> {
    let (mut from, mut on, mut on_loss) = (Vec::new(), Vec::new(), Vec::new());
    for (task, origin) in old.tasks.iter().enumerate() {
        for (needed, policy) in &origin.waits_for {
            from.push(new.ids[task].to_string());
            on.push(new.ids[*needed].to_string());
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
    .execute(&mut *conn)
    .await?;
    let writers = old.writers.iter().map(|(path, task)| (path.as_str(), new.ids[*task]));
    let writers = writers.map(|(path, task)| (new.plan, path, task));
    inserting::keep_writers(conn, writers).await
}

async fn write_files(
    conn: &mut PgConnection,
    origin: &Locked,
    old: &Old,
    new: &New,
) -> Result<(), Error> {
    let (paths, tasks): (Vec<_>, Vec<_>) =
        new.files(old).map(|(path, task)| (path, task.to_string())).unzip();
    sqlx::query(
        "insert into files (build_id, path, task_id, sha256, size_bytes, content, at)
         select $2, f.path, u.task_id, f.sha256, f.size_bytes, f.content, f.at
           from unnest($3::text[], $4::text[]) as u (path, task_id)
           join files f on f.build_id = $1 and f.path = u.path",
    )
    .bind(origin.id.to_string())
    .bind(new.build.to_string())
    .bind(paths)
    .bind(tasks)
    .execute(conn)
    .await?;
    Ok(())
}

/// Whoever hears of the other build hears of this one.
async fn copy_endpoints(
    conn: &mut PgConnection,
    origin: &Locked,
    build: BuildId,
) -> Result<(), Error> {
    let rows = sqlx::query("select id from endpoints where build_id = $1 order by created_at, id")
        .bind(origin.id.to_string())
        .fetch_all(&mut *conn)
        .await?;
    for row in &rows {
        sqlx::query(
            "insert into endpoints
               (id, build_id, url, secret, events, headers, rate, concurrency, retry, ordered)
             select $2, $3, url, secret, events, headers, rate, concurrency, retry, ordered
               from endpoints where id = $1",
        )
        .bind(row.try_get::<String, _>("id")?)
        .bind(draw::id::<crate::domain::id::EndpointId>().to_string())
        .bind(build.to_string())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
