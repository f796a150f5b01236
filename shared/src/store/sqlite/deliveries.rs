//! Deliveries: each event to each endpoint that wants it, one after the other per build.
//!
//! Only the earliest open delivery of a build and ordered endpoint has its turn; the others are
//! parked, and when it becomes final, the next one enters the lane.

use serde_json::json;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, choosing, events, fares, gates, ranks,
    rows::{Columns, to_json},
    sent::Sent,
};
use crate::{
    domain::{
        attempt::{self, Failure, FailureKind},
        delivery::{State, Trigger},
        endpoint::{Filter, Profile, log_of},
        event::{Event, Kind},
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

/// Keeps a delivery of each event for every endpoint of the build or its tenant that wants it.
pub(super) async fn announce(
    tx: &mut Tx,
    build: BuildId,
    tenant: &str,
    priority: u8,
    told: &[(i64, Kind)],
) -> Result<(), Error> {
    let endpoints = sqlx::query(
        "select id, events, ordered,
                ordered and exists (select 1 from deliveries d
                                     where d.endpoint_id = endpoints.id
                                       and d.build_id = $1
                                       and d.ordered
                                       and d.settled_at is null) as busy
           from endpoints where build_id = $1 and state = 'enabled'
          union all
         select id, events, ordered,
                ordered and exists (select 1 from deliveries d
                                     where d.endpoint_id = endpoints.id
                                       and d.build_id = $1
                                       and d.ordered
                                       and d.settled_at is null)
           from endpoints where tenant = $2 and build_id is null and state = 'enabled'",
    )
    .bind(build.to_string())
    .bind(tenant)
    .fetch_all(tx.db())
    .await?;
    for endpoint in endpoints {
        let filter: Filter = endpoint.json("events")?;
        let (to, ordered): (EndpointId, bool) =
            (endpoint.word("id")?, endpoint.try_get("ordered")?);
        // Whoever waits for others gets a rank when it is its turn.
        let mut has_turn = !endpoint.try_get::<bool, _>("busy")?;
        let mut rows = Vec::new();
        for (seq, kind) in told.iter().filter(|(_, kind)| filter.wants(*kind)) {
            let id = draw::id::<DeliveryId>();
            let rank = match has_turn {
                true => {
                    tx.ring([Job::Delivery(id)]);
                    let flow = flow(tenant, to);
                    Some(ranks::give_one(tx, Lane::Deliveries, &flow, priority).await?)
                }
                false => None,
            };
            rows.push(json!([id, seq, kind, rank]));
            has_turn &= !ordered;
        }
        if rows.is_empty() {
            continue;
        }
        sqlx::query(
            "insert into deliveries
               (tenant, build_id, endpoint_id, state, due_at, created_at, ordered, band, id, seq,
                kind, rank, parked_on)
             select $1, $2, $3, 'pending', $4, $4, $6, $7, value ->> 0, value ->> 1, value ->> 2,
                    coalesce(value ->> 3, 0.0), iif(value ->> 3 is null, 'turn', null)
               from json_each($5)",
        )
        .bind(tenant)
        .bind(build.to_string())
        .bind(to.to_string())
        .bind(tx.now)
        .bind(to_json(&rows)?)
        .bind(ordered)
        .bind(priority)
        .execute(tx.db())
        .await?;
    }
    Ok(())
}

/// Where deliveries stand in their lane: each endpoint has a flow of its own.
fn flow(tenant: &str, endpoint: EndpointId) -> String {
    format!("{tenant}\n{endpoint}")
}

/// Keeps a delivery of one event; it waits for no other.
pub(super) async fn make_one(
    tx: &mut Tx,
    to: EndpointId,
    tenant: &str,
    log: BuildId,
    seq: i64,
    kind: Kind,
    priority: u8,
) -> Result<DeliveryId, Error> {
    let id = draw::id::<DeliveryId>();
    let now = tx.now;
    let rank = ranks::give_one(tx, Lane::Deliveries, &flow(tenant, to), priority).await?;
    sqlx::query(
        "insert into deliveries
           (id, tenant, build_id, endpoint_id, seq, kind, state, due_at, created_at, band, rank,
            ordered)
         values ($1, $2, $3, $4, $5, $6, 'pending', $7, $7, $8, $9, false)",
    )
    .bind(id.to_string())
    .bind(tenant)
    .bind(log.to_string())
    .bind(to.to_string())
    .bind(seq)
    .bind(kind.as_str())
    .bind(now)
    .bind(priority)
    .bind(rank)
    .execute(tx.db())
    .await?;
    tx.ring([Job::Delivery(id)]);
    Ok(id)
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
        "select number, state, status, failure, took_ms, excerpt, exchange, started_at, settled_at
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
            exchange: row.json_if_any("exchange")?,
            started_at: row.at("started_at")?,
            settled_at: row.at_if_any("settled_at")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn claim(tx: &mut Tx, ask: &Ask) -> Result<Vec<DeliveryClaim>, Error> {
    let ids = choosing::choose(tx, ask).await?;
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
        "select d.id, d.attempt, d.endpoint_id, n.url, n.secret, n.headers, e.id as event_id,
                e.build_id, e.seq, e.kind, e.at, e.data,
                (select json_group_array(secret)
                   from (select secret from old_secrets o
                          where o.endpoint_id = n.id and $2 < live_until
                          order by live_until desc)) as old_secrets
           from json_each($1) j
           join deliveries d on d.id = j.value
           join endpoints n on n.id = d.endpoint_id
           join events e on e.build_id = d.build_id and e.seq = d.seq
          order by j.key",
    )
    .bind(&listed)
    .bind(tx.now)
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
            old_secrets: old_secrets(row)?,
            headers: row.json("headers")?,
            event: events::read(row)?,
            claimed_at: now,
        })
    };
    rows.iter().map(read).collect()
}

fn old_secrets(row: &SqliteRow) -> Result<Vec<secrecy::SecretString>, sqlx::Error> {
    let secrets: Vec<String> = row.json("old_secrets")?;
    Ok(secrets.into_iter().map(Into::into).collect())
}

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
        Some(_) => {}
        None if held.ordered => pass_the_turn(tx, held.endpoint, held.build).await?,
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

/// Lets the earliest open delivery of a build and endpoint into the lane. It waits from now on:
/// before, it was not its turn.
async fn pass_the_turn(tx: &mut Tx, endpoint: EndpointId, build: BuildId) -> Result<(), Error> {
    let next = sqlx::query(
        "select id, state, tenant, band, parked_on
           from deliveries
          where endpoint_id = $1 and build_id = $2 and settled_at is null and ordered
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
    let (id, flow) = (next.text("id")?, flow(&next.text("tenant")?, endpoint));
    enter(tx, &id, &flow, next.try_get("band")?).await
}

/// Gives a delivery its place in the lane.
async fn enter(tx: &mut Tx, id: &str, flow: &str, priority: u8) -> Result<(), Error> {
    let rank = ranks::give_one(tx, Lane::Deliveries, flow, priority).await?;
    sqlx::query(
        "update deliveries
            set due_at = max(due_at, $2), rank = $3, parked_on = iif($2 < due_at, 'time', null)
          where id = $1",
    )
    .bind(id)
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
    let untouched = Sent::default();
    write(tx, id, attempt, state, Some(due_at), [0, 0], None).await?;
    end_attempt(tx, id, attempt, ended, &untouched).await?;
    tx.ring([Job::Delivery(id)]);
    gates::freed(tx, Job::Delivery(id)).await
}

pub(super) async fn redeliver(tx: &mut Tx, id: DeliveryId) -> Result<Delivery, Error> {
    let delivery = one(tx.db(), id).await?;
    delivery
        .state
        .on(Trigger::Redelivered)
        .map_err(|illegal| Error::conflict("delivery_not_final", illegal.to_string()))?;
    send_again(tx, id).await?;
    one(tx.db(), id).await
}

/// Sends a delivery again that is final.
pub(super) async fn send_again(tx: &mut Tx, id: DeliveryId) -> Result<(), Error> {
    let row = sqlx::query(
        "update deliveries
            set state = 'pending', failures = 0, crashes = 0, due_at = $2, settled_at = null,
                rank = coalesce(rank, 0.0), parked_on = 'turn'
          where id = $1
         returning endpoint_id, build_id, seq, tenant, band, ordered",
    )
    .bind(id.to_string())
    .bind(tx.now)
    .fetch_one(tx.db())
    .await?;
    let endpoint: EndpointId = row.word("endpoint_id")?;
    if !row.try_get::<bool, _>("ordered")? {
        let flow = flow(&row.text("tenant")?, endpoint);
        return enter(tx, &id.to_string(), &flow, row.try_get("band")?).await;
    }
    // Whatever comes after it waits for it now, unless somebody is sending that already.
    sqlx::query(
        "update deliveries set parked_on = 'turn'
          where endpoint_id = $1
            and build_id = $2
            and seq > $3
            and ordered
            and settled_at is null
            and state = 'pending'",
    )
    .bind(endpoint.to_string())
    .bind(row.text("build_id")?)
    .bind(row.number("seq")?)
    .execute(tx.db())
    .await?;
    pass_the_turn(tx, endpoint, row.word("build_id")?).await
}
