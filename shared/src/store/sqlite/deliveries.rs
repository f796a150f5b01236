//! Deliveries: each event to each endpoint that wants it, one after the other per build.
//!
//! Only the earliest open delivery of a build and endpoint has its turn, and only it is in the
//! outbox; when it becomes final, the next one enters.

use std::time::Duration;

use serde_json::json;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, events, outbox,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        attempt::{self, Failure, FailureKind},
        delivery::{State, Trigger},
        event::Kind,
        id::{BuildId, DeliveryId, EndpointId, HolderId},
        retry::{Jitter, Policy, Verdict},
    },
    draw,
    job::Job,
    store::{
        At, DeliveriesWanted, Delivery, DeliveryAttempt, DeliveryClaim, Error, Page, SendResult,
    },
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
        sqlx::query(
            "insert into deliveries
               (tenant, build_id, endpoint_id, state, due_at, created_at, id, seq, kind)
             select $1, $2, $3, 'pending', $4, $4, value ->> 0, value ->> 1, value ->> 2
               from json_each($5)",
        )
        .bind(tenant)
        .bind(build.to_string())
        .bind(endpoint.text("id")?)
        .bind(tx.now)
        .bind(to_json(&rows)?)
        .execute(tx.db())
        .await?;
        if !endpoint.try_get::<bool, _>("busy")? {
            outbox::put(tx, Job::Delivery(first), priority, tx.now).await?;
        }
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

pub(super) async fn claim(
    tx: &mut Tx,
    id: DeliveryId,
    holder: HolderId,
    lease: Duration,
) -> Result<Option<DeliveryClaim>, Error> {
    let claimed = sqlx::query(
        "update deliveries
            set state = 'in_progress', attempt = attempt + 1, holder = $2, leased_until = $3,
                due_at = null
          where id = $1
            and state = 'pending'
            and due_at <= $4
            -- Its turn: an endpoint hears of a build in the order in which things came about.
            and not exists (select 1 from deliveries earlier
                             where earlier.endpoint_id = deliveries.endpoint_id
                               and earlier.build_id = deliveries.build_id
                               and earlier.seq < deliveries.seq
                               and earlier.settled_at is null)
          returning attempt",
    )
    .bind(id.to_string())
    .bind(holder.to_string())
    .bind(tx.in_future(lease))
    .bind(tx.now)
    .fetch_optional(tx.db())
    .await?;
    let Some(claimed) = claimed else { return Ok(None) };
    let attempt = claimed.count("attempt")?;
    sqlx::query(
        "insert into delivery_attempts (delivery_id, number, holder, state, started_at)
         values ($1, $2, $3, 'running', $4)",
    )
    .bind(id.to_string())
    .bind(attempt)
    .bind(holder.to_string())
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    let row = sqlx::query(
        "select d.endpoint_id, n.url, n.secret, e.id as event_id, e.build_id, e.seq, e.kind,
                e.at, e.data
           from deliveries d
           join endpoints n on n.id = d.endpoint_id
           join events e on e.build_id = d.build_id and e.seq = d.seq
          where d.id = $1",
    )
    .bind(id.to_string())
    .fetch_one(tx.db())
    .await?;
    Ok(Some(DeliveryClaim {
        delivery: id,
        attempt,
        endpoint: row.word("endpoint_id")?,
        url: row.text("url")?,
        secret: row.text("secret")?.into(),
        event: events::read(&row)?,
        claimed_at: At(tx.now),
    }))
}

/// What came of an attempt, known or not.
pub(super) struct Sent {
    failure: Option<Failure>,
    status: Option<u16>,
    took_ms: Option<i64>,
    excerpt: Option<String>,
}

impl Sent {
    /// Its dispatcher fell silent: nobody knows what the receiver got.
    pub(super) fn lost() -> Self {
        Self { failure: Some(Failure::lost()), status: None, took_ms: None, excerpt: None }
    }
}

impl From<&SendResult> for Sent {
    fn from(result: &SendResult) -> Self {
        Self {
            failure: result.failure.clone(),
            status: result.status,
            took_ms: Some(i64::try_from(result.took_ms).unwrap_or(i64::MAX)),
            excerpt: result.excerpt.clone(),
        }
    }
}

/// A delivery that one holds.
struct Held {
    endpoint: EndpointId,
    build: BuildId,
    priority: u8,
    failures: u32,
    crashes: u32,
}

async fn held(tx: &mut Tx, id: DeliveryId, attempt: u32) -> Result<Held, Error> {
    let row = sqlx::query(
        "select d.endpoint_id, d.build_id, d.failures, d.crashes, b.priority
           from deliveries d join builds b on b.id = d.build_id
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
        endpoint: row.word("endpoint_id")?,
        build: row.word("build_id")?,
        priority: row.try_get("priority")?,
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
    write(tx, id, attempt, state, due_at, [failures, crashes], sent.failure.as_ref()).await?;
    end_attempt(tx, id, attempt, attempt::State::Running.on(ended)?, sent).await?;
    match due_at {
        Some(due_at) => outbox::put(tx, Job::Delivery(id), held.priority, due_at).await,
        None => pass_the_turn(tx, &held).await,
    }
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
            set state = $3, due_at = $4, holder = null, leased_until = null,
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

/// Puts the earliest open delivery of the same build and endpoint into the outbox. It waits from
/// now on: before, it was not its turn.
async fn pass_the_turn(tx: &mut Tx, ended: &Held) -> Result<(), Error> {
    let next = sqlx::query(
        "update deliveries set due_at = max(due_at, $3)
          where id = (select id from deliveries
                       where endpoint_id = $1 and build_id = $2 and settled_at is null
                       order by seq limit 1)
            and state = 'pending'
          returning id, due_at",
    )
    .bind(ended.endpoint.to_string())
    .bind(ended.build.to_string())
    .bind(tx.now)
    .fetch_optional(tx.db())
    .await?;
    let Some(next) = next else { return Ok(()) };
    let (id, due_at) = (next.word("id")?, next.number("due_at")?);
    outbox::put(tx, Job::Delivery(id), ended.priority, due_at).await
}

pub(super) async fn give_back(tx: &mut Tx, id: DeliveryId, attempt: u32) -> Result<(), Error> {
    let held = held(tx, id, attempt).await?;
    let state = State::InProgress.on(Trigger::GivenBack)?;
    let ended = attempt::State::Running.on(attempt::Trigger::GivenBack)?;
    let due_at = tx.now;
    let untouched = Sent { failure: None, status: None, took_ms: None, excerpt: None };
    write(tx, id, attempt, state, Some(due_at), [0, 0], None).await?;
    end_attempt(tx, id, attempt, ended, &untouched).await?;
    outbox::put(tx, Job::Delivery(id), held.priority, due_at).await
}

pub(super) async fn redeliver(tx: &mut Tx, id: DeliveryId) -> Result<Delivery, Error> {
    let delivery = one(tx.db(), id).await?;
    let state = delivery
        .state
        .on(Trigger::Redelivered)
        .map_err(|illegal| Error::conflict("delivery_not_final", illegal.to_string()))?;
    let row = sqlx::query(
        "update deliveries
            set state = $2, failures = 0, crashes = 0, due_at = $3, settled_at = null
          where id = $1
          returning (select priority from builds b where b.id = build_id) as priority,
                    exists (select 1 from deliveries earlier
                             where earlier.endpoint_id = deliveries.endpoint_id
                               and earlier.build_id = deliveries.build_id
                               and earlier.seq < deliveries.seq
                               and earlier.settled_at is null) as waits",
    )
    .bind(id.to_string())
    .bind(state.as_str())
    .bind(tx.now)
    .fetch_one(tx.db())
    .await?;
    if !row.try_get::<bool, _>("waits")? {
        outbox::put(tx, Job::Delivery(id), row.try_get("priority")?, tx.now).await?;
    }
    one(tx.db(), id).await
}
