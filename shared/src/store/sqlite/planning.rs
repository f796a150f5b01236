//! Planning as leased work: claimed, settled as a failure, given back. For success, see `plans.rs`.

use std::time::Duration;

use serde_json::json;

use super::{
    Tx, claiming, events, gates,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        attempt,
        attempt::Failure,
        brief::Brief,
        build,
        event::Event,
        id::BuildId,
        retry::{Jitter, Policy},
        settle::{self, PlanningSettlement},
    },
    job::Job,
    store::{Ask, BuildClaim, Error},
};

pub(super) async fn claim(tx: &mut Tx, ask: &Ask) -> Result<Vec<BuildClaim>, Error> {
    let ids = claiming::admit(tx, &claiming::PLANS, ask).await?;
    let mut claims = Vec::with_capacity(ids.len());
    for id in &ids {
        let row = sqlx::query(
            "update builds
                set state = 'planning', attempt = attempt + 1, holder = $2, leased_until = $3,
                    due_at = null, started_at = coalesce(started_at, $4), updated_at = $4
              where id = $1
                and state = 'queued'
              returning id, attempt, brief",
        )
        .bind(id)
        .bind(ask.holder.to_string())
        .bind(tx.in_future(ask.lease))
        .bind(tx.now)
        .fetch_one(tx.db())
        .await?;
        let claim = BuildClaim {
            build: row.word("id")?,
            attempt: row.count("attempt")?,
            brief: row.json("brief")?,
        };
        if claim.attempt == 1 {
            let Brief { prompt, framework, .. } = &claim.brief;
            let started = Event::build_started(prompt, framework.as_deref());
            events::append(tx, claim.build, &[started]).await?;
        }
        claims.push(claim);
    }
    begin_attempts(tx, ask, &claims).await?;
    Ok(claims)
}

async fn begin_attempts(tx: &mut Tx, ask: &Ask, claims: &[BuildClaim]) -> Result<(), Error> {
    if claims.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = claims.iter().map(|claim| json!([claim.build, claim.attempt])).collect();
    sqlx::query(
        "insert into planning_attempts (build_id, number, holder, state, started_at)
         select value ->> 0, value ->> 1, $2, 'running', $3 from json_each($1)",
    )
    .bind(to_json(&rows)?)
    .bind(ask.holder.to_string())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    Ok(())
}

/// What one knows of a build whose planning one holds.
pub(super) struct Held {
    pub failures: u32,
    pub crashes: u32,
}

/// `Fenced` if the attempt is not the running one.
pub(super) async fn held(tx: &mut Tx, id: BuildId, attempt: u32) -> Result<Held, Error> {
    let row = sqlx::query(
        "select failures, crashes
           from builds
          where id = $1
            and state = 'planning'
            and attempt = $2 -- the fence",
    )
    .bind(id.to_string())
    .bind(attempt)
    .fetch_optional(tx.db())
    .await?
    .ok_or(Error::Fenced)?;
    Ok(Held { failures: row.count("failures")?, crashes: row.count("crashes")? })
}

pub(super) async fn note(tx: &mut Tx, claim: &BuildClaim, event: Event) -> Result<(), Error> {
    held(tx, claim.build, claim.attempt).await?;
    events::append(tx, claim.build, &[event]).await
}

pub(super) async fn settle(
    tx: &mut Tx,
    id: BuildId,
    attempt: u32,
    failure: &Failure,
    policy: &Policy,
    jitter: Jitter,
) -> Result<(), Error> {
    let held = held(tx, id, attempt).await?;
    let settlement =
        settle::settle_planning(failure, attempt, held.failures, held.crashes, policy, jitter)?;
    let due_at = settlement.due_in.map(|after| tx.in_future(after));
    write(tx, id, attempt, &settlement, due_at).await?;
    end_attempt(tx, id, attempt, settlement.attempt, Some(failure)).await?;
    if due_at.is_none() {
        gates::forget_pause(tx, id).await?;
    }
    if due_at.is_some_and(|due_at| due_at <= tx.now) {
        tx.ring([Job::Plan(id)]);
    }
    gates::freed(tx, Job::Plan(id)).await?;
    events::append(tx, id, &settlement.events).await
}

async fn write(
    tx: &mut Tx,
    id: BuildId,
    attempt: u32,
    settlement: &PlanningSettlement,
    due_at: Option<i64>,
) -> Result<(), Error> {
    let stop = settlement.stop.as_ref();
    let written = sqlx::query(
        "update builds
            set state = $3, due_at = $4, parked_on = iif($10 < $4, 'time', null), holder = null, leased_until = null,
                failures = failures + $5, crashes = crashes + $6,
                stop_code = $7, stop_message = $8,
                settled_at = iif($9, $10, null), updated_at = $10
          where id = $1
            and state = 'planning'
            and attempt = $2 -- the fence",
    )
    .bind(id.to_string())
    .bind(attempt)
    .bind(settlement.build.as_str())
    .bind(due_at)
    .bind(settlement.failures)
    .bind(settlement.crashes)
    .bind(stop.map(|stop| &stop.code))
    .bind(stop.map(|stop| &stop.message))
    .bind(settlement.build.is_final())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    if written.rows_affected() == 0 { Err(Error::Fenced) } else { Ok(()) }
}

/// Writes what an attempt at planning came to.
pub(super) async fn end_attempt(
    tx: &mut Tx,
    id: BuildId,
    attempt: u32,
    state: attempt::State,
    failure: Option<&Failure>,
) -> Result<(), Error> {
    sqlx::query(
        "update planning_attempts
            set state = $3, failure = $4, settled_at = $5
          where build_id = $1
            and number = $2
            and state = 'running'",
    )
    .bind(id.to_string())
    .bind(attempt)
    .bind(state.as_str())
    .bind(failure.map(to_json).transpose()?)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    Ok(())
}

pub(super) async fn give_back(tx: &mut Tx, id: BuildId, attempt: u32) -> Result<(), Error> {
    held(tx, id, attempt).await?;
    let state = build::State::Planning.on(build::Trigger::GivenBack)?;
    let ended = attempt::State::Running.on(attempt::Trigger::GivenBack)?;
    let settlement = PlanningSettlement {
        attempt: ended,
        build: state,
        due_in: Some(Duration::ZERO),
        failures: 0,
        crashes: 0,
        stop: None,
        events: Vec::new(),
    };
    let due_at = tx.now;
    write(tx, id, attempt, &settlement, Some(due_at)).await?;
    end_attempt(tx, id, attempt, ended, None).await?;
    tx.ring([Job::Plan(id)]);
    gates::freed(tx, Job::Plan(id)).await
}
