//! Attempts at deliveries that have ended: what came of them, and what follows.

use std::time::Duration;

use sqlx::Row as _;

use super::{
    Tx, fares, gates,
    rows::{Columns, to_json},
    sent::Sent,
    telling,
};
use crate::{
    domain::{
        attempt::{self, Failure, FailureKind},
        delivery::{State, Trigger},
        endpoint::{Profile, log_of},
        event::{Event, Kind},
        id::{BuildId, DeliveryId, EndpointId},
        retry::{Jitter, Policy, Verdict},
    },
    job::{Job, Lane},
    store::Error,
};

/// A delivery that one holds.
struct Held {
    kind: Kind,
    retry: Profile,
    ordered: bool,
    endpoint: EndpointId,
    build: BuildId,
    failures: u32,
    crashes: u32,
}

async fn held(tx: &mut Tx, id: DeliveryId, attempt: u32) -> Result<Held, Error> {
    let row = sqlx::query(
        "select d.endpoint_id, d.build_id, d.failures, d.crashes, d.kind, d.ordered, n.retry
           from deliveries d
           join endpoints n on n.id = d.endpoint_id
          where d.id = $1
            and d.state = 'in_progress'
            and d.attempt = $2 -- the fence",
    )
    .bind(id.to_string())
    .bind(attempt)
    .fetch_optional(tx.db())
    .await?
    .ok_or(Error::Fenced)?;
    Ok(Held {
        kind: row.word("kind")?,
        retry: row.json("retry")?,
        ordered: row.try_get("ordered")?,
        endpoint: row.word("endpoint_id")?,
        build: row.word("build_id")?,
        failures: row.count("failures")?,
        crashes: row.count("crashes")?,
    })
}

pub(super) async fn settle(
    tx: &mut Tx,
    id: DeliveryId,
    attempt: u32,
    sent: &Sent,
    policy: &Policy,
    jitter: Jitter,
) -> Result<(), Error> {
    let held = held(tx, id, attempt).await?;
    let (failures, crashes) = match sent.failure.as_ref().map(|failure| failure.kind) {
        None => (0, 0),
        Some(FailureKind::Lost) => (0, 1),
        Some(_) => (1, 0),
    };
    let (trigger, ended) = match &sent.failure {
        None => (Trigger::AttemptSucceeded, attempt::Trigger::Success),
        Some(failure) => {
            let counts = (held.failures + failures, held.crashes + crashes);
            let asked = sent.asked.retry_after;
            let verdict = held.retry.judge(policy, failure.kind, counts, jitter, asked);
            let ended = match failure.kind {
                FailureKind::Lost => attempt::Trigger::LeaseLapsed,
                _ => attempt::Trigger::Failure,
            };
            (Trigger::AttemptFailed(verdict), ended)
        }
    };
    let state = State::InProgress.on(trigger)?;
    let due_at = match trigger {
        Trigger::AttemptFailed(Verdict::Retry { after }) => Some(tx.in_future(after)),
        _ => None,
    };
    let kept = match (&sent.failure, trigger) {
        (Some(failure), Trigger::AttemptFailed(verdict)) => {
            Some(failure.clone().judged(verdict, held.crashes + crashes))
        }
        _ => None,
    };
    write(tx, id, attempt, state, due_at, [failures, crashes], kept.as_ref()).await?;
    end_attempt(tx, id, attempt, attempt::State::Running.on(ended)?, sent).await?;
    match due_at {
        Some(due_at) if due_at <= tx.now => tx.ring([Job::Delivery(id)]),
        Some(due_at) => {
            tx.put_off(Lane::Deliveries, Duration::from_millis((due_at - tx.now).unsigned_abs()))
        }
        None if held.ordered => telling::pass_the_turn(tx, held.endpoint, held.build).await?,
        None => {}
    }
    fares::take_in(tx, held.endpoint, sent).await?;
    if let (State::Exhausted, Some(failure)) = (state, &kept)
        && held.build != log_of(held.endpoint)
    {
        let Held { endpoint, build, kind, .. } = held;
        let event = Event::delivery_exhausted(id, endpoint, build, kind, failure);
        fares::tell(tx, endpoint, &event).await?;
    }
    ring_behind(tx, held.endpoint).await?;
    gates::freed(tx, Job::Delivery(id)).await
}

/// Rings for something that waits at an endpoint, for which there may be room now.
async fn ring_behind(tx: &mut Tx, endpoint: EndpointId) -> Result<(), Error> {
    let behind: Option<String> = sqlx::query_scalar(
        "select id from deliveries
          where endpoint_id = $1 and state = 'pending' and parked_on is null
          order by rank, id
          limit 1",
    )
    .bind(endpoint.to_string())
    .fetch_optional(tx.db())
    .await?;
    if let Some(id) = behind {
        tx.ring_once(id.parse().map_err(Error::unavailable)?);
    }
    Ok(())
}

/// `counts` are what the attempt adds to failures and crashes.
async fn write(
    tx: &mut Tx,
    id: DeliveryId,
    attempt: u32,
    state: State,
    due_at: Option<i64>,
    counts: [u32; 2],
    failure: Option<&Failure>,
) -> Result<(), Error> {
    let written = sqlx::query(
        "update deliveries
            set state = $3, due_at = $4,
                parked_on = case
                  when $4 is null then null
                  -- An earlier one may have been sent once more meanwhile.
                  when exists (select 1 from deliveries earlier
                                where deliveries.ordered
                                  and earlier.ordered
                                  and earlier.endpoint_id = deliveries.endpoint_id
                                  and earlier.build_id = deliveries.build_id
                                  and earlier.seq < deliveries.seq
                                  and earlier.settled_at is null) then 'turn'
                  when $9 < $4 then 'time'
                end,
                holder = null, leased_until = null,
                failures = failures + $5, crashes = crashes + $6,
                failure = coalesce($7, failure), settled_at = iif($8, $9, null)
          where id = $1
            and state = 'in_progress'
            and attempt = $2 -- the fence",
    )
    .bind(id.to_string())
    .bind(attempt)
    .bind(state.as_str())
    .bind(due_at)
    .bind(counts[0])
    .bind(counts[1])
    .bind(failure.map(to_json).transpose()?)
    .bind(state.is_final())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    if written.rows_affected() == 0 { Err(Error::Fenced) } else { Ok(()) }
}

async fn end_attempt(
    tx: &mut Tx,
    id: DeliveryId,
    attempt: u32,
    state: attempt::State,
    sent: &Sent,
) -> Result<(), Error> {
    sqlx::query(
        "update delivery_attempts
            set state = $3, status = $4, failure = $5, took_ms = $6, excerpt = $7,
                settled_at = $8, exchange = $9
          where delivery_id = $1
            and number = $2
            and state = 'running'",
    )
    .bind(id.to_string())
    .bind(attempt)
    .bind(state.as_str())
    .bind(sent.status)
    .bind(sent.failure.as_ref().map(to_json).transpose()?)
    .bind(sent.took_ms)
    .bind(&sent.excerpt)
    .bind(tx.now)
    .bind(sent.exchange.as_ref().map(to_json).transpose()?)
    .execute(tx.db())
    .await?;
    Ok(())
}

pub(super) async fn give_back(tx: &mut Tx, id: DeliveryId, attempt: u32) -> Result<(), Error> {
    held(tx, id, attempt).await?;
    let state = State::InProgress.on(Trigger::GivenBack)?;
    let ended = attempt::State::Running.on(attempt::Trigger::GivenBack)?;
    let due_at = tx.now;
    let untouched = Sent::default();
    write(tx, id, attempt, state, Some(due_at), [0, 0], None).await?;
    end_attempt(tx, id, attempt, ended, &untouched).await?;
    tx.ring([Job::Delivery(id)]);
    gates::freed(tx, Job::Delivery(id)).await
}
