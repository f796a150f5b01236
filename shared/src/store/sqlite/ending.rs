//! Builds ended from outside: by a person, by a plan nobody wanted, by the clock.

use super::{Tx, builds, closing, events, gates, plans, rows::Columns, tasks};
use crate::{
    domain::{
        attempt,
        build::{self, State, Stop, Trigger},
        event::Event,
        id::{BuildId, PlanId},
        plan, task,
    },
    job::{Job, Lane},
    store::{Build, Error},
};

pub(super) async fn cancel(tx: &mut Tx, id: BuildId) -> Result<Build, Error> {
    let standing = builds::standing(tx, id).await?;
    match standing.state {
        State::Cancelled => {}
        state if state.is_final() => {
            let reason = format!("the build is {state} already");
            return Err(Error::conflict("build_is_final", reason));
        }
        _ => {
            let stop = Stop::new("cancelled", "the build was cancelled");
            end(tx, id, Trigger::Cancelled, stop, Vec::new()).await?;
        }
    }
    builds::one(tx.db(), id).await
}

pub(super) async fn reject(
    tx: &mut Tx,
    id: PlanId,
    code: &str,
    reason: &str,
) -> Result<Build, Error> {
    let (state, build) = plans::standing(tx, id).await?;
    plans::decided(state, plan::Trigger::Rejected)?;
    let rejected = Event::plan_rejected(id, reason);
    end(tx, build, Trigger::PlanRejected, Stop::new(code, reason), vec![rejected]).await?;
    builds::one(tx.db(), build).await
}

pub(super) async fn overdue(tx: &mut Tx, limit: u32) -> Result<u32, Error> {
    let plans = sqlx::query(
        "select id from plans
          where state = 'proposed' and approve_until <= $1
          order by approve_until limit $2",
    )
    .bind(tx.now)
    .bind(limit)
    .fetch_all(tx.db())
    .await?;
    let mut ended = 0;
    for row in plans {
        let reason = "Plan not approved within timeout period";
        reject(tx, row.word("id")?, "plan_not_approved", reason).await?;
        ended += 1;
    }
    let builds = sqlx::query(
        "select id, brief ->> 'deadline_secs' is not null as by_brief from builds
          where settled_at is null and deadline_at <= $1
          order by deadline_at limit $2",
    )
    .bind(tx.now)
    .bind(limit - ended)
    .fetch_all(tx.db())
    .await?;
    for row in builds {
        let stop = Stop::overdue(sqlx::Row::try_get(&row, "by_brief")?);
        end(tx, row.word("id")?, Trigger::DeadlinePassed, stop, Vec::new()).await?;
        ended += 1;
    }
    Ok(ended)
}

/// Ends a build that is not final, with all that is open in it. `first` are told before the rest.
async fn end(
    tx: &mut Tx,
    id: BuildId,
    trigger: Trigger,
    stop: Stop,
    first: Vec<Event>,
) -> Result<(), Error> {
    let standing = builds::standing(tx, id).await?;
    let state = standing.state.on(trigger)?;
    let open = tasks::open(tx, id).await?;
    for (_, state) in &open {
        state.on(task::Trigger::BuildCancelled)?;
    }
    let ids: Vec<_> = open.iter().map(|(task, _)| task.id).collect();
    let fenced = tasks::cancel(tx, &ids).await?;
    if cancel_planning(tx, id).await? || fenced {
        tx.recall(id);
    }
    reject_proposed(tx, id).await?;
    gates::forget_pause(tx, id).await?;

    let mut tally = standing.tally;
    tally.cancelled += u32::try_from(open.len()).unwrap_or(u32::MAX);
    sqlx::query(
        "update builds
            set state = $2, stop_code = $3, stop_message = $4, cancelled = $5, due_at = null,
                parked_on = null, holder = null, leased_until = null, settled_at = $6,
                updated_at = $6
          where id = $1",
    )
    .bind(id.to_string())
    .bind(state.as_str())
    .bind(&stop.code)
    .bind(&stop.message)
    .bind(tally.cancelled)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    if standing.state == State::Queued {
        closing::left_by(tx, Lane::Plans, id).await?;
    }
    if open.iter().any(|(_, state)| *state == task::State::Ready) {
        closing::left_by(tx, Lane::Tasks, id).await?;
    }

    let mut told = first;
    // The tasks of a rejected plan never began; that it was rejected says it all.
    if trigger != Trigger::PlanRejected {
        told.extend(open.iter().map(|(task, _)| Event::task_cancelled(task)));
    }
    told.push(match state {
        build::State::Cancelled => Event::build_cancelled(tally),
        _ => Event::build_failed(&stop, tally),
    });
    events::append(tx, id, &told).await
}

/// Answers with whether somebody planned it.
async fn cancel_planning(tx: &mut Tx, id: BuildId) -> Result<bool, Error> {
    let cancelled = attempt::State::Running.on(attempt::Trigger::Cancelled)?;
    let fenced = sqlx::query(
        "update planning_attempts set state = $2, settled_at = $3
          where build_id = $1 and state = 'running'",
    )
    .bind(id.to_string())
    .bind(cancelled.as_str())
    .bind(tx.now)
    .execute(tx.db())
    .await?
    .rows_affected();
    if 0 < fenced {
        gates::freed(tx, Job::Plan(id)).await?;
    }
    Ok(0 < fenced)
}

async fn reject_proposed(tx: &mut Tx, id: BuildId) -> Result<(), Error> {
    let rejected = plan::State::Proposed.on(plan::Trigger::Rejected)?;
    sqlx::query("update plans set state = $2 where build_id = $1 and state = 'proposed'")
        .bind(id.to_string())
        .bind(rejected.as_str())
        .execute(tx.db())
        .await?;
    Ok(())
}
