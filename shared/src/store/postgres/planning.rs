//! Planning, the leased work of a build: claimed, noted, adopted or settled.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{
    claiming::Claimed,
    leases::Held,
    lock::{self, Locked},
    queueing::Flows,
    rows::{Columns, document, int, texts},
    *,
};
use crate::{
    domain::{attempt, build, plan, settle, task},
    draw,
};

/// Claims what is next in the lane.
pub(super) async fn claim(db: &Db, ask: &Ask) -> Result<Claimed<BuildClaim>, Error> {
    let mut tx = db.pool.begin().await?;
    let mut picked = claiming::pick(&mut tx, Lane::Plans, ask).await?;
    if picked.ids.is_empty() {
        tx.commit().await?;
        return Ok(Claimed::nothing(picked.passed_over));
    }
    let rows = sqlx::query(include_str!("sql/claim_builds.sql"))
        .bind(&picked.ids)
        .bind(build::State::Queued.on(build::Trigger::Claimed)?.as_str())
        .bind(ask.holder.to_string())
        .bind(secs(ask.lease))
        .bind(attempt::State::Running.as_str())
        .fetch_all(&mut *tx)
        .await?;
    let (mut claims, mut entered) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        let claim = BuildClaim {
            build: row.word("id")?,
            attempt: row.count("attempt")?,
            brief: row.json("brief")?,
        };
        if let (1, Some(build)) = (claim.attempt, picked.builds.get_mut(&claim.build)) {
            let brief = &claim.brief;
            let started = Event::build_started(&brief.prompt, brief.framework.as_deref());
            entered.extend(events::append(&mut tx, &db.flows, build, &[started]).await?);
        }
        claims.push(claim);
    }
    tx.commit().await?;
    Ok(Claimed { claims, entered, passed_over: None })
}

pub(super) async fn note(db: &Db, claim: &BuildClaim, event: &Event) -> Result<Vec<Job>, Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = held(&mut tx, claim.build, Held::by_claim(claim.attempt)).await?;
    let entered =
        events::append(&mut tx, &db.flows, &mut build, std::slice::from_ref(event)).await?;
    tx.commit().await?;
    Ok(entered)
}

/// Locks a build whose planning is held; `Fenced` if it is not.
pub(super) async fn held(
    conn: &mut PgConnection,
    id: BuildId,
    held: Held,
) -> Result<Locked, Error> {
    let build = lock::build(conn, id).await?.ok_or(Error::Fenced)?;
    let is_held = build.state == build::State::Planning
        && build.attempt == held.attempt
        && (build.lapsed || !held.lapsed);
    if is_held { Ok(build) } else { Err(Error::Fenced) }
}

pub(super) async fn adopt(
    db: &Db,
    claim: &BuildClaim,
    plan: &Plan,
    adoption: Adoption,
) -> Result<Vec<Job>, Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = held(&mut tx, claim.build, Held::by_claim(claim.attempt)).await?;
    let (state, trigger, within) = match adoption {
        Adoption::AtOnce { .. } => (plan::State::Adopted, build::Trigger::PlanAdopted, None),
        Adoption::OnApproval { within, .. } => {
            (plan::State::Proposed, build::Trigger::PlanProposed, Some(within))
        }
    };
    sqlx::query(include_str!("sql/insert_plan.sql"))
        .bind(adoption.plan().to_string())
        .bind(build.id.to_string())
        .bind(state.as_str())
        .bind(document(&plan.spec)?)
        .bind(&plan.project_type)
        .bind(&plan.framework)
        .bind(plan.complexity.as_str())
        .bind(document(&plan.notes)?)
        .bind(int(plan.estimated_secs))
        .bind(document(&plan.straightened)?)
        .bind(within.map(secs))
        .execute(&mut *tx)
        .await?;
    let mut ready = insert_tasks(&mut tx, &db.flows, &build, plan, adoption).await?;
    sqlx::query(
        "update builds
            set state = $3, plan_id = $4, holder = null, leased_until = null, tasks = $5
          where id = $1 and attempt = $2 and state = 'planning'",
    )
    .bind(build.id.to_string())
    .bind(int(claim.attempt))
    .bind(build.state.on(trigger)?.as_str())
    .bind(adoption.plan().to_string())
    .bind(int(u32::try_from(plan.tasks.len()).unwrap_or(u32::MAX)))
    .execute(&mut *tx)
    .await?;
    let succeeded = attempt::State::Running.on(attempt::Trigger::Success)?;
    end_attempt(&mut tx, build.id, claim.attempt, succeeded, None).await?;
    ready.extend(
        events::append(&mut tx, &db.flows, &mut build, &adoption_events(plan, adoption)).await?,
    );
    let lanes = claiming::parked_lanes(&mut tx, Lane::Plans).await?;
    ready.extend(claiming::wake_ups(&lanes));
    tx.commit().await?;
    Ok(ready)
}

fn adoption_events(plan: &Plan, adoption: Adoption) -> Vec<Event> {
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
    if plan.straightened.is_empty() {
        vec![generated]
    } else {
        vec![Event::plan_warning(adoption.plan(), &plan.straightened), generated]
    }
}

/// Writes all tasks and edges of a plan, in two statements; answers with what is ready.
async fn insert_tasks(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &Locked,
    plan: &Plan,
    adoption: Adoption,
) -> Result<Vec<Job>, Error> {
    let at_once = matches!(adoption, Adoption::AtOnce { .. });
    let released = task::State::Pending.on(task::Trigger::DependenciesMet)?;
    let ids: Vec<TaskId> = plan.tasks.iter().map(|_| draw::id()).collect();
    let tasks = || plan.tasks.iter().map(|planned| &planned.task);
    let states: Vec<_> = plan
        .tasks
        .iter()
        .map(|planned| at_once && planned.waits_for.is_empty())
        .map(|ready| if ready { released } else { task::State::Pending })
        .collect();
    let ranks = ranks_of_ready(flows, build, plan, &states).await?;
    let column = |of: fn(&plan::DraftTask) -> &str| tasks().map(of).collect::<Vec<_>>();
    sqlx::query(include_str!("sql/insert_tasks.sql"))
        .bind(build.id.to_string())
        .bind(adoption.plan().to_string())
        .bind(texts(&ids))
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
        .bind(texts(&states))
        .bind(
            plan.tasks
                .iter()
                .map(|planned| i32::try_from(planned.waits_for.len()).unwrap_or(i32::MAX))
                .collect::<Vec<_>>(),
        )
        .bind(tasks().map(|task| i16::try_from(task.cost).unwrap_or(1)).collect::<Vec<_>>())
        .bind(ranks)
        .bind(&build.tenant)
        .bind(build.priority)
        .bind(&build.limit_key)
        .execute(&mut *conn)
        .await?;
    let edges = plan
        .tasks
        .iter()
        .zip(&ids)
        .flat_map(|(planned, id)| planned.waits_for.iter().map(move |&on| (id, on)));
    let (from, on): (Vec<_>, Vec<_>) =
        edges.map(|(id, on)| (id.to_string(), ids[on].to_string())).unzip();
    sqlx::query(
        "insert into dependencies (task_id, on_task_id)
         select * from unnest($1::text[], $2::text[])",
    )
    .bind(from)
    .bind(on)
    .execute(conn)
    .await?;
    let ready = ids.into_iter().zip(states).filter(|(_, state)| *state == released);
    Ok(ready.map(|(id, _)| Job::Task(id)).collect())
}

/// A rank for each task of a plan that is ready, in the order of the plan.
async fn ranks_of_ready(
    flows: &Flows,
    build: &Locked,
    plan: &Plan,
    states: &[task::State],
) -> Result<Vec<Option<f64>>, Error> {
    // In the order of their priorities, and then of the plan.
    let mut ready: Vec<usize> =
        (0..states.len()).filter(|&place| states[place] == task::State::Ready).collect();
    ready.sort_by_key(|&place| plan.tasks[place].task.priority);
    let mut given = vec![None; states.len()];
    if ready.is_empty() {
        return Ok(given);
    }
    let costs = ready.iter().map(|&place| plan.tasks[place].task.cost).collect();
    let ranks = flows.ranks(Lane::Tasks, &BTreeMap::from([(build.flow(), costs)])).await?;
    for (place, rank) in ready.into_iter().zip(ranks.into_values().flatten()) {
        given[place] = Some(rank);
    }
    Ok(given)
}

pub(super) async fn settle(
    db: &Db,
    id: BuildId,
    lease: Held,
    failure: &Failure,
    (policy, jitter): (&Policy, Jitter),
) -> Result<Vec<Job>, Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = held(&mut tx, id, lease).await?;
    let settlement = settle::settle_planning(
        failure,
        build.attempt,
        build.failures,
        build.crashes,
        policy,
        jitter,
    )?;
    sqlx::query(include_str!("sql/settle_planning.sql"))
        .bind(id.to_string())
        .bind(int(lease.attempt))
        .bind(settlement.build.as_str())
        .bind(settlement.due_in.map(secs))
        .bind(int(settlement.failures))
        .bind(int(settlement.crashes))
        .bind(settlement.stop.as_ref().map(|stop| &stop.code))
        .bind(settlement.stop.as_ref().map(|stop| &stop.message))
        .bind(settlement.build.is_final())
        .execute(&mut *tx)
        .await?;
    end_attempt(&mut tx, id, lease.attempt, settlement.attempt, Some(failure)).await?;
    lock::forget_pauses(&mut tx, settlement.build.is_final().then_some(id).into_iter()).await?;
    let mut entered = events::append(&mut tx, &db.flows, &mut build, &settlement.events).await?;
    if settlement.due_in == Some(Duration::ZERO) {
        entered.push(Job::Plan(id));
    }
    let lanes = claiming::parked_lanes(&mut tx, Lane::Plans).await?;
    entered.extend(claiming::wake_ups(&lanes));
    tx.commit().await?;
    Ok(entered)
}

/// Gives a planning back, due at once.
pub(super) async fn give_back(pool: &PgPool, id: BuildId, attempt: u32) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    let build = held(&mut tx, id, Held::by_claim(attempt)).await?;
    sqlx::query(
        "update builds
            set state = $3, due_at = clock_timestamp(), holder = null, leased_until = null,
                updated_at = clock_timestamp()
          where id = $1
            and attempt = $2 and state = 'planning'",
    )
    .bind(id.to_string())
    .bind(int(attempt))
    .bind(build.state.on(build::Trigger::GivenBack)?.as_str())
    .execute(&mut *tx)
    .await?;
    let given_back = attempt::State::Running.on(attempt::Trigger::GivenBack)?;
    end_attempt(&mut tx, id, attempt, given_back, None).await?;
    tx.commit().await?;
    Ok(())
}

async fn end_attempt(
    conn: &mut PgConnection,
    id: BuildId,
    number: u32,
    state: attempt::State,
    failure: Option<&Failure>,
) -> Result<(), Error> {
    sqlx::query(
        "update planning_attempts
            set state = $3, failure = $4::json, settled_at = clock_timestamp()
          where build_id = $1 and number = $2 and state = 'running'",
    )
    .bind(id.to_string())
    .bind(int(number))
    .bind(state.as_str())
    .bind(failure.map(document).transpose()?)
    .execute(conn)
    .await?;
    Ok(())
}
