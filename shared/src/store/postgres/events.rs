//! The log of a build, and the deliveries that each of its events makes.

use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    lock::Locked,
    rows::{Columns, document, texts},
    *,
};
use crate::{
    domain::{
        delivery,
        event::Kind,
        id::{EndpointId, EventId},
    },
    draw,
};

/// Writes events down, with numbers that follow on, and a delivery of each to every endpoint of the
/// build that wants it.
pub(super) async fn append(
    conn: &mut PgConnection,
    build: &mut Locked,
    events: &[Event],
) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let data = events.iter().map(|event| document(&event.data)).collect::<Result<Vec<_>, _>>()?;
    sqlx::query(
        "insert into events (build_id, seq, id, kind, data)
         select $1, $2 + n, id, kind, data::json
           from unnest($3::text[], $4::text[], $5::text[]) with ordinality
             as e (id, kind, data, n)",
    )
    .bind(build.id.to_string())
    .bind(build.last_seq)
    .bind(texts(events.iter().map(|_| draw::id::<EventId>())))
    .bind(texts(events.iter().map(|event| event.kind)))
    .bind(data)
    .execute(&mut *conn)
    .await?;
    let first = build.last_seq + 1;
    build.last_seq += i64::try_from(events.len()).unwrap_or(i64::MAX);
    sqlx::query("update builds set last_seq = $2, updated_at = clock_timestamp() where id = $1")
        .bind(build.id.to_string())
        .bind(build.last_seq)
        .execute(&mut *conn)
        .await?;
    tell(conn, build, events, first).await
}

/// Makes the deliveries of events whose numbers begin with `first`.
async fn tell(
    conn: &mut PgConnection,
    build: &Locked,
    events: &[Event],
    first: i64,
) -> Result<(), Error> {
    let endpoints = sqlx::query("select id, events from endpoints where build_id = $1 order by id")
        .bind(build.id.to_string())
        .fetch_all(&mut *conn)
        .await?;
    for endpoint in &endpoints {
        let (id, wanted): (EndpointId, Vec<Kind>) =
            (endpoint.word("id")?, endpoint.json("events")?);
        let (seqs, kinds): (Vec<_>, Vec<_>) = (first..)
            .zip(events)
            .filter(|(_, event)| wanted.is_empty() || wanted.contains(&event.kind))
            .map(|(seq, event)| (seq, event.kind.to_string()))
            .unzip();
        let ids: Vec<DeliveryId> = seqs.iter().map(|_| draw::id()).collect();
        let Some(next) = ids.first() else { continue };
        sqlx::query(include_str!("sql/insert_deliveries.sql"))
            .bind(&build.tenant)
            .bind(build.id.to_string())
            .bind(id.to_string())
            .bind(delivery::State::Pending.as_str())
            .bind(texts(&ids))
            .bind(seqs)
            .bind(kinds)
            .execute(&mut *conn)
            .await?;
        // Of these, only the first can be one whose turn it is.
        deliveries::enter_turn(conn, *next, build.priority).await?;
    }
    Ok(())
}

pub(super) async fn list(
    pool: &PgPool,
    build: BuildId,
    after: u64,
    limit: u32,
) -> Result<Vec<EventView>, Error> {
    let rows = sqlx::query(
        "select id, build_id, seq, kind, at, data
           from events
          where build_id = $1 and $2 < seq
          order by seq
          limit $3",
    )
    .bind(build.to_string())
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    if rows.is_empty() {
        builds::expect(pool, build).await?;
    }
    rows.iter().map(read).collect()
}

pub(super) fn read(row: &PgRow) -> Result<EventView, Error> {
    Ok(EventView {
        id: row.word("id")?,
        build: row.word("build_id")?,
        seq: row.size("seq")?,
        kind: row.word("kind")?,
        at: row.try_get("at")?,
        data: row.json("data")?,
    })
}
