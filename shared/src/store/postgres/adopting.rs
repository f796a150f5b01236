//! Plans that take effect: written with their tasks, many in one commit.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{
    desk::{Gathered, only},
    inserting::{Inserted, NewTask},
    leases::Held,
    lock::{Contended, Locked},
    rows::{document, int, texts},
    *,
};
use crate::{
    domain::{attempt, build, dependency::OnLoss, plan, task},
    draw,
};

/// A plan of more tasks is written by itself, and holds up no others.
pub(super) const GATHERED_MOST: usize = 500;

/// A plan that is to take effect.
#[derive(Debug)]
pub(super) struct Adopted {
    pub build: BuildId,
    pub attempt: u32,
    /// What its dependencies mean that do not say so.
    pub on_loss: OnLoss,
    pub plan: Plan,
    pub adoption: Adoption,
}

impl Gathered for Adopted {
    type Answer = ();
    const NAME: &'static str = "plan";
    const COMMIT_MOST: usize = 1_000;

    fn weight(&self) -> usize {
        self.plan.tasks.len()
    }

    async fn commit(db: &Db, all: &[Self]) -> Result<Vec<Result<(), Error>>, Error> {
        adopt_all(db, all).await
    }
}

pub(super) async fn adopt(db: &Db, adopted: &Adopted) -> Result<(), Error> {
    adopt_all(db, std::slice::from_ref(adopted)).await.and_then(only)
}

/// `Fenced` for those whose planning is not held.
async fn adopt_all(db: &Db, all: &[Adopted]) -> Result<Vec<Result<(), Error>>, Error> {
    let ids: Vec<BuildId> = all.iter().map(|adopted| adopted.build).collect();
    let mut tx = db.pool.begin().await?;
    let mut builds = lock::builds(&mut tx, &ids, Contended::Wait).await?;
    let (mut answers, mut held) = (Vec::with_capacity(all.len()), BTreeMap::new());
    for adopted in all {
        let is_held = builds
            .get(&adopted.build)
            .is_some_and(|build| planning::is_held(build, Held::by_claim(adopted.attempt)));
        // Of two that hold the same attempt, the first.
        let is_first = is_held && !held.contains_key(&adopted.build);
        if is_first {
            held.insert(adopted.build, adopted);
        }
        answers.push(if is_first { Ok(()) } else { Err(Error::Fenced) });
    }
    if held.is_empty() {
        return Ok(answers);
    }
    insert_plans(&mut tx, &held).await?;
    let mut ready = insert_tasks(&mut tx, &db.flows, &builds, &held).await?;
    let told: BTreeMap<BuildId, Vec<Event>> = held
        .iter()
        .map(|(id, adopted)| (*id, events_of(&adopted.plan, adopted.adoption)))
        .collect();
    let mut logs: Vec<_> = builds
        .iter_mut()
        .filter_map(|(id, build)| Some((build, told.get(id)?.as_slice())))
        .collect();
    ready.extend(events::append_each(&mut tx, &db.flows, &mut logs).await?);
    move_on(&mut tx, &builds, &held).await?;
    let lanes = claiming::parked_lanes(&mut tx, Lane::Plans).await?;
    ready.extend(claiming::wake_ups(&lanes));
    tx.commit().await?;
    db.bell.ring(ready);
    Ok(answers)
}

type Adopting<'a> = BTreeMap<BuildId, &'a Adopted>;

async fn insert_plans(conn: &mut PgConnection, held: &Adopting<'_>) -> Result<(), Error> {
    let plans = || held.values().map(|adopted| &adopted.plan);
    let timeouts = plans().map(|plan| {
        plan.timeout.map(|timeout| i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX))
    });
    let documents = |of: fn(&Plan) -> Result<String, Error>| plans().map(of).collect();
    let specs: Result<Vec<_>, Error> = documents(|plan| document(&plan.spec));
    let notes: Result<Vec<_>, Error> = documents(|plan| document(&plan.notes));
    let straightened: Result<Vec<_>, Error> = documents(|plan| document(&plan.straightened));
    sqlx::query(include_str!("sql/insert_plans.sql"))
        .bind(texts(held.values().map(|adopted| adopted.adoption.plan())))
        .bind(texts(held.keys()))
        .bind(held.values().map(|adopted| takes(adopted.adoption).0.as_str()).collect::<Vec<_>>())
        .bind(specs?)
        .bind(plans().map(|plan| plan.project_type.as_str()).collect::<Vec<_>>())
        .bind(plans().map(|plan| plan.framework.as_str()).collect::<Vec<_>>())
        .bind(plans().map(|plan| plan.complexity.as_str()).collect::<Vec<_>>())
        .bind(notes?)
        .bind(plans().map(|plan| int(plan.estimated_secs)).collect::<Vec<_>>())
        .bind(straightened?)
        .bind(held.values().map(|adopted| within(adopted.adoption).map(secs)).collect::<Vec<_>>())
        .bind(timeouts.collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// The state that a plan begins in, and what that is to its build.
const fn takes(adoption: Adoption) -> (plan::State, build::Trigger) {
    match adoption {
        Adoption::AtOnce { .. } => (plan::State::Adopted, build::Trigger::PlanAdopted),
        Adoption::OnApproval { .. } => (plan::State::Proposed, build::Trigger::PlanProposed),
    }
}

const fn within(adoption: Adoption) -> Option<Duration> {
    match adoption {
        Adoption::AtOnce { .. } => None,
        Adoption::OnApproval { within, .. } => Some(within),
    }
}

fn events_of(plan: &Plan, adoption: Adoption) -> Vec<Event> {
    let listed: Vec<_> = plan
        .tasks
        .iter()
        .map(|planned| &planned.task)
        .map(|task| (task.name.as_str(), task.operation.as_str(), task.description.as_str()))
        .collect();
    let needs_approval = matches!(adoption, Adoption::OnApproval { .. });
    let generated = Event::plan_generated(
        adoption.plan(),
        plan.estimated_secs,
        &listed,
        &plan.notes,
        needs_approval,
    );
    let mut told = Vec::new();
    if !plan.straightened.is_empty() {
        told.push(Event::plan_warning(adoption.plan(), &plan.straightened));
    }
    if !plan.ordered.is_empty() {
        told.push(Event::plan_ordered(adoption.plan(), &plan.ordered));
    }
    told.push(generated);
    told
}

/// Writes all tasks; answers with what is ready.
async fn insert_tasks(
    conn: &mut PgConnection,
    flows: &Flows,
    builds: &BTreeMap<BuildId, Locked>,
    held: &Adopting<'_>,
) -> Result<Vec<Job>, Error> {
    let (mut inserted, mut writers) = (Vec::with_capacity(held.len()), Vec::new());
    for (id, adopted) in held {
        let Some(build) = builds.get(id) else { continue };
        let plan = adopted.adoption.plan();
        let ids: Vec<TaskId> = adopted.plan.tasks.iter().map(|_| draw::id()).collect();
        let last = adopted.plan.writers.iter();
        writers.extend(last.map(|(path, task)| (plan, path.as_str(), ids[*task])));
        inserted.push(Inserted { build, plan, place: 0, tasks: new_tasks(adopted, &ids)? });
    }
    let ready = inserting::insert(conn, flows, &inserted).await?;
    inserting::keep_writers(conn, writers.into_iter()).await?;
    Ok(ready)
}

fn new_tasks<'a>(adopted: &'a Adopted, ids: &[TaskId]) -> Result<Vec<NewTask<'a>>, Error> {
    let at_once = matches!(adopted.adoption, Adoption::AtOnce { .. });
    let released = task::State::Pending.on(task::Trigger::DependenciesMet)?;
    let new = adopted.plan.tasks.iter().zip(ids).map(|(planned, &id)| NewTask {
        id,
        task: &planned.task,
        needs: planned
            .waits_for
            .iter()
            .map(|need| (ids[need.on], need.on_loss.unwrap_or(adopted.on_loss)))
            .collect(),
        state: if at_once && planned.waits_for.is_empty() {
            released
        } else {
            task::State::Pending
        },
        waiting_on: u32::try_from(planned.waits_for.len()).unwrap_or(u32::MAX),
    });
    Ok(new.collect())
}

/// Builds go on with their plans, and their attempts at planning have succeeded.
async fn move_on(
    conn: &mut PgConnection,
    builds: &BTreeMap<BuildId, Locked>,
    held: &Adopting<'_>,
) -> Result<(), Error> {
    let states: Result<Vec<_>, Error> = held
        .values()
        .map(|adopted| Ok(build::State::Planning.on(takes(adopted.adoption).1)?.as_str()))
        .collect();
    let counts = held.values().map(|adopted| adopted.plan.tasks.len());
    let timeouts = held.values().map(|adopted| {
        adopted.plan.timeout.filter(|_| within(adopted.adoption).is_none()).map(secs)
    });
    let seqs = held.keys().map(|id| builds.get(id).map_or(0, |build| build.last_seq));
    sqlx::query(include_str!("sql/adopt_plans.sql"))
        .bind(texts(held.keys()))
        .bind(held.values().map(|adopted| int(adopted.attempt)).collect::<Vec<_>>())
        .bind(states?)
        .bind(texts(held.values().map(|adopted| adopted.adoption.plan())))
        .bind(counts.map(|count| i32::try_from(count).unwrap_or(i32::MAX)).collect::<Vec<_>>())
        .bind(timeouts.collect::<Vec<_>>())
        .bind(seqs.collect::<Vec<_>>())
        .bind(attempt::State::Running.on(attempt::Trigger::Success)?.as_str())
        .execute(conn)
        .await?;
    Ok(())
}
