//! Deliveries: each event to each endpoint that wants it, one after the other per build.
//!
//! Only the earliest open delivery of a build and endpoint has its turn; the others are parked, and
//! when it becomes final, the next one enters the lane.

use serde_json::json;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, claiming, events, gates, ranks,
    rows::{Columns, to_json},
    sent::Sent,
};
use crate::{
    domain::{
        attempt::{self, Failure, FailureKind},
        delivery::{State, Trigger},
        event::Kind,
        id::{BuildId, DeliveryId, EndpointId},
        limit::Gate,
        retry::{Jitter, Policy, Verdict},
    },
    draw,
    job::{Job, Lane},
    store::{Ask, At, DeliveriesWanted, Delivery, DeliveryAttempt, DeliveryClaim, Error, Page},
};

macro_rules! select_deliveries {
    ($rest:literal) => {
        concat!(
            "select d.*, n.url, e.id as event_id
               from deliveries d
               join endpoints n on n.id = d.endpoint_id
               join events e on e.build_id = d.build_id and e.seq = d.seq ",
            $rest
        )
    };
}

/// Keeps a delivery of each event for every endpoint of the build that wants it.
pub(super) async fn announce(
    tx: &mut Tx,
    build: BuildId,
    tenant: &str,
    priority: u8,
    told: &[(i64, Kind)],
) -> Result<(), Error> {
    let endpoints = sqlx::query(
        "select id, events,
                exists (select 1 from deliveries d
                         where d.endpoint_id = endpoints.id
                           and d.build_id = $1
                           and d.settled_at is null) as busy
           from endpoints where build_id = $1",
    )
    .bind(build.to_string())
    .fetch_all(tx.db())
    .await?;
    for endpoint in endpoints {
        let wanted: Vec<Kind> = endpoint.json("events")?;
        let mut first = None;
        let mut rows = Vec::new();
        for (seq, kind) in told {
            if wanted.is_empty() || wanted.contains(kind) {
                let id = draw::id::<DeliveryId>();
                first.get_or_insert(id);
                rows.push(json!([id, seq, kind]));
            }
        }
        let Some(first) = first else { continue };
        // Whoever waits for others gets a rank when it is its turn.
        let turn = match endpoint.try_get("busy")? {
            true => None,
            false => {
                tx.ring([Job::Delivery(first)]);
                Some(ranks::give_one(tx, Lane::Deliveries, tenant, priority).await?)
            }
        };
        sqlx::query(
            "insert into deliveries
               (tenant, build_id, endpoint_id, state, due_at, created_at, id, seq, kind, band,
                rank, parked_on)
             select $1, $2, $3, 'pending', $4, $4, value ->> 0, value ->> 1, value ->> 2, $6,
                    iif(key = 0, coalesce($7, 0.0), 0.0),
                    iif(key = 0 and $7 is not null, null, 'turn')
               from json_each($5)",
        )
        .bind(tenant)
        .bind(build.to_string())
        .bind(endpoint.text("id")?)
        .bind(tx.now)
        .bind(to_json(&rows)?)
        .bind(priority)
        .bind(turn)
        .execute(tx.db())
        .await?;
    }
    Ok(())
}

pub(super) async fn one(db: &mut SqliteConnection, id: DeliveryId) -> Result<Delivery, Error> {
    let row = sqlx::query(select_deliveries!("where d.id = $1"))
        .bind(id.to_string())
        .fetch_optional(db)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    Ok(read(&row)?)
}

pub(super) async fn page(
    db: &mut SqliteConnection,
    wanted: &DeliveriesWanted,
) -> Result<Page<Delivery>, Error> {
    let rows = match wanted.build {
        Some(build) => sqlx::query(select_deliveries!(
            "where d.tenant = $1
               and d.id < coalesce($2, '~')
               and ($3 is null or d.state = $3)
               and d.build_id = $5
             order by d.id desc
             limit $4"
        ))
        .bind(&wanted.tenant)
        .bind(wanted.after.map(|id| id.to_string()))
        .bind(wanted.state.map(State::as_str))
        .bind(i64::from(wanted.limit) + 1)
        .bind(build.to_string()),
        None => sqlx::query(select_deliveries!(
            "where d.tenant = $1
               and d.id < coalesce($2, '~')
               and ($3 is null or d.state = $3)
             order by d.id desc
             limit $4"
        ))
        .bind(&wanted.tenant)
        .bind(wanted.after.map(|id| id.to_string()))
        .bind(wanted.state.map(State::as_str))
        .bind(i64::from(wanted.limit) + 1),
    }
    .fetch_all(db)
    .await?;
    let limit = wanted.limit as usize;
    let next = limit < rows.len();
    let rows = rows.iter().take(limit).map(read).collect::<Result<_, _>>()?;
    Ok(Page { rows, next })
}

fn read(row: &SqliteRow) -> Result<Delivery, sqlx::Error> {
    Ok(Delivery {
        id: row.word("id")?,
        build: row.word("build_id")?,
        endpoint: row.word("endpoint_id")?,
        url: row.text("url")?,
        event: row.word("event_id")?,
        kind: row.word("kind")?,
        seq: row.number("seq")?.unsigned_abs(),
        state: row.word("state")?,
        attempt: row.count("attempt")?,
        failure: row.json_if_any("failure")?,
        created_at: row.at("created_at")?,
        due_at: row.at_if_any("due_at")?,
        settled_at: row.at_if_any("settled_at")?,
    })
}

pub(super) async fn attempts(
    db: &mut SqliteConnection,
    id: DeliveryId,
) -> Result<Vec<DeliveryAttempt>, Error> {
    let rows = sqlx::query(
        "select number, state, status, failure, took_ms, excerpt, started_at, settled_at
           from delivery_attempts where delivery_id = $1 order by number",
    )
    .bind(id.to_string())
    .fetch_all(&mut *db)
    .await?;
    if rows.is_empty() {
        one(db, id).await?;
    }
    let read = |row: &SqliteRow| {
        Ok(DeliveryAttempt {
            number: row.count("number")?,
            state: row.word("state")?,
            status: row.try_get("status")?,
            failure: row.json_if_any("failure")?,
            took_ms: row.try_get::<Option<i64>, _>("took_ms")?.map(i64::unsigned_abs),
            excerpt: row.try_get("excerpt")?,
            started_at: row.at("started_at")?,
            settled_at: row.at_if_any("settled_at")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn claim(tx: &mut Tx, ask: &Ask) -> Result<Vec<DeliveryClaim>, Error> {
    let ids = claiming::admit(tx, &claiming::DELIVERIES, ask).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let listed = to_json(&ids)?;
    sqlx::query(
        "update deliveries
            set state = 'in_progress', attempt = attempt + 1, holder = $2, leased_until = $3,
                due_at = null
          where id in (select value from json_each($1))
            and state = 'pending'",
    )
    .bind(&listed)
    .bind(ask.holder.to_string())
    .bind(tx.in_future(ask.lease))
    .execute(tx.db())
    .await?;
    sqlx::query(
        "insert into delivery_attempts (delivery_id, number, holder, state, started_at)
         select d.id, d.attempt, $2, 'running', $3
           from json_each($1) j join deliveries d on d.id = j.value",
    )
    .bind(&listed)
    .bind(ask.holder.to_string())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    let rows = sqlx::query(
        "select d.id, d.attempt, d.endpoint_id, n.url, n.secret, e.id as event_id, e.build_id,
                e.seq, e.kind, e.at, e.data
           from json_each($1) j
           join deliveries d on d.id = j.value
           join endpoints n on n.id = d.endpoint_id
           join events e on e.build_id = d.build_id and e.seq = d.seq
          order by j.key",
    )
    .bind(&listed)
    .fetch_all(tx.db())
    .await?;
    let now = At(tx.now);
    let read = |row: &SqliteRow| {
        Ok(DeliveryClaim {
            delivery: row.word("id")?,
            attempt: row.count("attempt")?,
            endpoint: row.word("endpoint_id")?,
            url: row.text("url")?,
            secret: row.text("secret")?.into(),
            event: events::read(row)?,
            claimed_at: now,
        })
    };
    rows.iter().map(read).collect()
}

/// A delivery that one holds.
struct Held {
    endpoint: EndpointId,
    build: BuildId,
    failures: u32,
    crashes: u32,
}

async fn held(tx: &mut Tx, id: DeliveryId, attempt: u32) -> Result<Held, Error> {
    let row = sqlx::query(
        "select endpoint_id, build_id, failures, crashes
           from deliveries
          where id = $1
            and state = 'in_progress'
            and attempt = $2 -- the fence",
    )
    .bind(id.to_string())
    .bind(attempt)
    .fetch_optional(tx.db())
    .await?
    .ok_or(Error::Fenced)?;
    Ok(Held {
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
            let (failures, crashes) = (held.failures + failures, held.crashes + crashes);
            let verdict = policy.judge(failure.kind, failures, crashes, jitter);
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
        Some(_) => {}
        None => pass_the_turn(tx, held.endpoint, held.build).await?,
    }
    gates::freed(tx, Job::Delivery(id)).await
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
                                where earlier.endpoint_id = deliveries.endpoint_id
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
                settled_at = $8
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
    .execute(tx.db())
    .await?;
    Ok(())
}

/// Lets the earliest open delivery of a build and endpoint into the lane. It waits from now on:
/// before, it was not its turn.
async fn pass_the_turn(tx: &mut Tx, endpoint: EndpointId, build: BuildId) -> Result<(), Error> {
    let next = sqlx::query(
        "select id, state, tenant, band, parked_on
           from deliveries
          where endpoint_id = $1 and build_id = $2 and settled_at is null
          order by seq
          limit 1",
    )
    .bind(endpoint.to_string())
    .bind(build.to_string())
    .fetch_optional(tx.db())
    .await?;
    let Some(next) = next else { return Ok(()) };
    if next.word_if_any("parked_on")? != Some(Gate::Turn) {
        return Ok(());
    }
    let tenant = next.text("tenant")?;
    let rank = ranks::give_one(tx, Lane::Deliveries, &tenant, next.try_get("band")?).await?;
    let id = next.text("id")?;
    sqlx::query(
        "update deliveries
            set due_at = max(due_at, $2), rank = $3, parked_on = iif($2 < due_at, 'time', null)
          where id = $1",
    )
    .bind(&id)
    .bind(tx.now)
    .bind(rank)
    .execute(tx.db())
    .await?;
    tx.ring([id.parse().map_err(Error::unavailable)?]);
    Ok(())
}

pub(super) async fn give_back(tx: &mut Tx, id: DeliveryId, attempt: u32) -> Result<(), Error> {
    held(tx, id, attempt).await?;
    let state = State::InProgress.on(Trigger::GivenBack)?;
    let ended = attempt::State::Running.on(attempt::Trigger::GivenBack)?;
    let due_at = tx.now;
    let untouched = Sent { failure: None, status: None, took_ms: None, excerpt: None };
    write(tx, id, attempt, state, Some(due_at), [0, 0], None).await?;
    end_attempt(tx, id, attempt, ended, &untouched).await?;
    tx.ring([Job::Delivery(id)]);
    gates::freed(tx, Job::Delivery(id)).await
}

pub(super) async fn redeliver(tx: &mut Tx, id: DeliveryId) -> Result<Delivery, Error> {
    let delivery = one(tx.db(), id).await?;
    let state = delivery
        .state
        .on(Trigger::Redelivered)
        .map_err(|illegal| Error::conflict("delivery_not_final", illegal.to_string()))?;
    sqlx::query(
        "update deliveries
            set state = $2, failures = 0, crashes = 0, due_at = $3, settled_at = null,
                rank = coalesce(rank, 0.0), parked_on = 'turn'
          where id = $1",
    )
    .bind(id.to_string())
    .bind(state.as_str())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    // Whatever comes after it waits for it now, unless somebody is sending that already.
    sqlx::query(
        "update deliveries set parked_on = 'turn'
          where endpoint_id = $1
            and build_id = $2
            and seq > $3
            and settled_at is null
            and state = 'pending'",
    )
    .bind(delivery.endpoint.to_string())
    .bind(delivery.build.to_string())
    .bind(i64::try_from(delivery.seq).map_err(Error::unavailable)?)
    .execute(tx.db())
    .await?;
    pass_the_turn(tx, delivery.endpoint, delivery.build).await?;
    one(tx.db(), id).await
}
