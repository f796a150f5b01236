//! Deliveries: looked at, claimed, sent once more. They are made in `telling.rs`, chosen in
//! `choosing.rs` and settled in `answering.rs`.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, choosing, events,
    rows::{Columns, to_json},
    telling,
};
use crate::{
    domain::{
        delivery::{State, Trigger},
        id::DeliveryId,
    },
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
                due_at = null, begun_at = $4
          where id in (select value from json_each($1))
            and state = 'pending'",
    )
    .bind(&listed)
    .bind(ask.holder.to_string())
    .bind(tx.in_future(ask.lease))
    .bind(tx.now)
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
        "select d.id, d.attempt, d.endpoint_id, d.tenant, n.url, n.secret, n.headers,
                e.id as event_id, e.build_id, e.seq, e.kind, e.at, e.data,
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
            tenant: row.text("tenant")?,
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

pub(super) async fn redeliver(tx: &mut Tx, id: DeliveryId) -> Result<Delivery, Error> {
    let delivery = one(tx.db(), id).await?;
    delivery
        .state
        .on(Trigger::Redelivered)
        .map_err(|illegal| Error::conflict("delivery_not_final", illegal.to_string()))?;
    telling::send_again(tx, id).await?;
    one(tx.db(), id).await
}
