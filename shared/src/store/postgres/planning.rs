//! Planning, the leased work of a build: claimed, noted, adopted or settled.

use sqlx::PgConnection;

use super::{
    claiming::Claimed,
    inserting::NewTask,
    leases::Held,
    lock::{self, Locked},
    queueing::Flows,
    rows::{Columns, document, int},
    *,
};
use crate::{
    domain::{attempt, build, dependency::OnLoss, plan, settle, task},
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
        .bind(plan.timeout.map(|timeout| i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX)))
        .execute(&mut *tx)
        .await?;
    let mut ready =
        insert_tasks(&mut tx, &db.flows, &build, (plan, adoption), claim.brief.on_loss).await?;
    sqlx::query(
        "update builds
            set state = $3, plan_id = $4, holder = null, leased_until = null, tasks = $5,
                deadline_at = coalesce(deadline_at, clock_timestamp() + make_interval(secs => $6))
          where id = $1 and attempt = $2 and state = 'planning'",
    )
    .bind(build.id.to_string())
    .bind(int(claim.attempt))
    .bind(build.state.on(trigger)?.as_str())
    .bind(adoption.plan().to_string())
    .bind(int(u32::try_from(plan.tasks.len()).unwrap_or(u32::MAX)))
    .bind(plan.timeout.filter(|_| within.is_none()).map(secs))
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

/// Writes all tasks of a plan; answers with what is ready.
async fn insert_tasks(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &Locked,
    (plan, adoption): (&Plan, Adoption),
    on_loss: OnLoss,
) -> Result<Vec<Job>, Error> {
    let at_once = matches!(adoption, Adoption::AtOnce { .. });
    let released = task::State::Pending.on(task::Trigger::DependenciesMet)?;
    let ids: Vec<TaskId> = plan.tasks.iter().map(|_| draw::id()).collect();
    let new: Vec<_> = plan
        .tasks
        .iter()
        .zip(&ids)
        .map(|(planned, &id)| NewTask {
            id,
            task: &planned.task,
            needs: planned
                .waits_for
                .iter()
                .map(|need| (ids[need.on], need.on_loss.unwrap_or(on_loss)))
                .collect(),
            state: if at_once && planned.waits_for.is_empty() {
                released
            } else {
                task::State::Pending
            },
            waiting_on: u32::try_from(planned.waits_for.len()).unwrap_or(u32::MAX),
        })
        .collect();
    let ready = inserting::insert(conn, flows, build, (adoption.plan(), 0), &new).await?;
    let writers = plan.writers.iter().map(|(path, task)| (path.as_str(), ids[*task]));
    inserting::keep_writers(conn, adoption.plan(), writers).await?;
    Ok(ready)
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
