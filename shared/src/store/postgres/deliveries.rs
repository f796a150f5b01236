//! Deliveries: listed, looked at, sent once more; and whose turn it is.
//!
//! Of each build and ordered endpoint, one delivery is open to a dispatcher at a time: the first
//! that is not final. The others are parked until their turn; whoever makes it final lets the next
//! one in. They are claimed in `choosing.rs` and settled in `answering.rs`.

use std::collections::{BTreeMap, HashMap};

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    queueing::{Flow, Flows},
    rows::{Columns, page, texts},
    *,
};
use crate::domain::{
    attempt,
    delivery::{State, Trigger},
    id::EndpointId,
};

async fn lock_build_of(conn: &mut PgConnection, id: DeliveryId) -> Result<(), Error> {
    let row = sqlx::query("select build_id from deliveries where id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut *conn)
        .await?;
    let row = row.ok_or_else(|| Error::not_found(id))?;
    lock::build(conn, row.word("build_id")?).await?;
    Ok(())
}

/// Lets deliveries be claimed if it is their turn; answers with those.
pub(super) async fn enter_turns(
    conn: &mut PgConnection,
    flows: &Flows,
    firsts: Vec<(DeliveryId, Flow)>,
) -> Result<Vec<Job>, Error> {
    let mut entering: BTreeMap<Flow, Vec<u32>> = BTreeMap::new();
    for (_, flow) in &firsts {
        entering.entry(flow.clone()).or_default().push(1);
    }
    let mut ranks: BTreeMap<Flow, _> = flows
        .ranks(Lane::Deliveries, &entering)
        .await?
        .into_iter()
        .map(|(flow, ranks)| (flow, ranks.into_iter()))
        .collect();
    let (ids, ranks): (Vec<String>, Vec<f64>) = firsts
        .into_iter()
        .filter_map(|(id, flow)| Some((id.to_string(), ranks.get_mut(&flow)?.next()?)))
        .unzip();
    let rows = sqlx::query(include_str!("sql/enter_turns.sql"))
        .bind(ids)
        .bind(ranks)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok(Job::Delivery(row.word("id")?))).collect()
}

/// Where a delivery stands in its lane: each endpoint has a flow of its own.
pub(super) fn flow(tenant: &str, endpoint: EndpointId, priority: i16) -> Flow {
    Flow { tenant: format!("{tenant}\n{endpoint}"), priority }
}

/// Answers also with what may be claimed by it.
pub(super) async fn redeliver(db: &Db, id: DeliveryId) -> Result<(Delivery, Vec<Job>), Error> {
    let mut tx = db.pool.begin().await?;
    lock_build_of(&mut tx, id).await?;
    view(&mut tx, id).await?.state.on(Trigger::Redelivered).map_err(|illegal| {
        Error::conflict("delivery_not_final", format!("the delivery is {}", illegal.state))
    })?;
    let entered = send_again(&mut tx, &db.flows, &[id.to_string()]).await?;
    let view = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok((view, entered))
}

/// Sends those of these deliveries again that are final. Their builds are locked.
pub(super) async fn send_again(
    conn: &mut PgConnection,
    flows: &Flows,
    ids: &[String],
) -> Result<Vec<Job>, Error> {
    let rows = sqlx::query(include_str!("sql/send_again.sql"))
        .bind(ids)
        .bind(State::Pending.as_str())
        .fetch_all(&mut *conn)
        .await?;
    let mut firsts = Vec::with_capacity(rows.len());
    for row in &rows {
        let tenant: String = row.try_get("tenant")?;
        firsts
            .push((row.word("id")?, flow(&tenant, row.word("endpoint_id")?, row.try_get("band")?)));
    }
    // Those behind one in order wait again.
    sqlx::query(
        "update deliveries d
            set parked_on = 'turn'
           from deliveries first
          where first.id = any($1)
            and first.ordered
            and first.settled_at is null
            and d.endpoint_id = first.endpoint_id
            and d.build_id = first.build_id
            and d.ordered
            and d.settled_at is null
            and d.seq > first.seq
            and d.state is not distinct from 'pending'
            and d.parked_on is distinct from 'turn'",
    )
    .bind(ids)
    .execute(&mut *conn)
    .await?;
    enter_turns(conn, flows, firsts).await
}

/// What every reading of deliveries begins with.
const VIEW: &str = "select d.*, e.url, v.id as event_id
   from deliveries d
   join endpoints e on e.id = d.endpoint_id
   join events v on v.build_id = d.build_id and v.seq = d.seq";

pub(super) async fn view(conn: &mut PgConnection, id: DeliveryId) -> Result<Delivery, Error> {
    let row = sqlx::query(AssertSqlSafe(format!("{VIEW} where d.id = $1")))
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    read(&row)
}

/// Several of them.
pub(super) async fn views(
    conn: &mut PgConnection,
    ids: impl Iterator<Item = &DeliveryId>,
) -> Result<HashMap<DeliveryId, Delivery>, Error> {
    let rows = sqlx::query(AssertSqlSafe(format!("{VIEW} where d.id = any($1)")))
        .bind(texts(ids))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((row.word("id")?, read(row)?))).collect()
}

pub(super) async fn list(
    pool: &PgPool,
    wanted: &DeliveriesWanted,
) -> Result<Page<Delivery>, Error> {
    const CLAUSES: &str = "where d.tenant = $1
        and ($2::text is null or d.build_id = $2)
        and ($3::text is null or d.state = $3)
        and ($4::text is null or d.id < $4)
      order by d.id desc limit $5";
    let rows = sqlx::query(AssertSqlSafe(format!("{VIEW} {CLAUSES}")))
        .bind(&wanted.tenant)
        .bind(wanted.build.map(|id| id.to_string()))
        .bind(wanted.state.map(State::as_str))
        .bind(wanted.after.map(|id| id.to_string()))
        .bind(i64::from(wanted.limit) + 1)
        .fetch_all(pool)
        .await?;
    let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(page(rows, wanted.limit))
}

fn read(row: &PgRow) -> Result<Delivery, Error> {
    Ok(Delivery {
        id: row.word("id")?,
        build: row.word("build_id")?,
        endpoint: row.word("endpoint_id")?,
        url: row.try_get("url")?,
        event: row.word("event_id")?,
        kind: row.word("kind")?,
        seq: row.size("seq")?,
        state: row.word("state")?,
        attempt: row.count("attempt")?,
        failure: row.json_if("failure")?,
        created_at: row.try_get("created_at")?,
        due_at: row.try_get("due_at")?,
        settled_at: row.try_get("settled_at")?,
    })
}

/// The attempt that runs has no row of its own yet.
pub(super) async fn attempts(pool: &PgPool, id: DeliveryId) -> Result<Vec<DeliveryAttempt>, Error> {
    let mut conn = pool.acquire().await?;
    let mut tx = sqlx::Connection::begin(&mut *conn).await?;
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *tx).await?;
    let rows =
        sqlx::query("select * from delivery_attempts where delivery_id = $1 order by number")
            .bind(id.to_string())
            .fetch_all(&mut *tx)
            .await?;
    let delivery = sqlx::query("select state, attempt, begun_at from deliveries where id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    let mut attempts = rows.iter().map(read_attempt).collect::<Result<Vec<_>, Error>>()?;
    if delivery.word::<State>("state")? == State::InProgress {
        attempts.push(DeliveryAttempt {
            number: delivery.count("attempt")?,
            state: attempt::State::Running,
            status: None,
            failure: None,
            took_ms: None,
            excerpt: None,
            exchange: None,
            started_at: delivery.try_get("begun_at")?,
            settled_at: None,
        });
    }
    Ok(attempts)
}

fn read_attempt(row: &PgRow) -> Result<DeliveryAttempt, Error> {
    let status: Option<i16> = row.try_get("status")?;
    let took_ms: Option<i64> = row.try_get("took_ms")?;
    Ok(DeliveryAttempt {
        number: row.count("number")?,
        state: row.word("state")?,
        status: status.and_then(|status| u16::try_from(status).ok()),
        failure: row.json_if("failure")?,
        took_ms: took_ms.and_then(|took_ms| u64::try_from(took_ms).ok()),
        excerpt: row.try_get("excerpt")?,
        exchange: row.json_if("exchange")?,
        started_at: row.try_get("started_at")?,
        settled_at: row.try_get("settled_at")?,
    })
}
