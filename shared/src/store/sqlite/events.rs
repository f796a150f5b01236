//! The log of a build: one row an event, numbered from 1 without gaps.

use serde_json::json;
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, builds,
    rows::{Columns, to_json},
    telling,
};
use crate::{
    domain::{
        event::Event,
        id::{BuildId, EventId},
    },
    draw,
    store::{Error, EventView},
};

/// Adds events to the log, and a delivery of each to every endpoint that wants it.
pub(super) async fn append(tx: &mut Tx, build: BuildId, events: &[Event]) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(events.len()).map_err(Error::unavailable)?;
    // The build's counter, not the log's length: the row is at hand, the log may be long.
    let row = sqlx::query(
        "update builds set last_seq = last_seq + $2, updated_at = $3
          where id = $1
          returning last_seq, tenant, priority",
    )
    .bind(build.to_string())
    .bind(count)
    .bind(tx.now)
    .fetch_one(tx.db())
    .await?;
    let first = row.number("last_seq")? - count + 1;

    let mut rows = Vec::with_capacity(events.len());
    let mut told = Vec::with_capacity(events.len());
    for (seq, event) in (first..).zip(events) {
        // The data as a text: what is kept is what was given, to the letter.
        rows.push(json!([seq, draw::id::<EventId>(), event.kind, to_json(&event.data)?]));
        told.push((seq, event.kind));
    }
    sqlx::query(
        "insert into events (build_id, at, seq, id, kind, data)
         select $1, $2, value ->> 0, value ->> 1, value ->> 2, value ->> 3 from json_each($3)",
    )
    .bind(build.to_string())
    .bind(tx.now)
    .bind(to_json(&rows)?)
    .execute(tx.db())
    .await?;

    let tenant = row.text("tenant")?;
    let priority = sqlx::Row::try_get(&row, "priority")?;
    telling::announce(tx, build, &tenant, priority, &told).await
}

pub(super) async fn after(
    db: &mut SqliteConnection,
    build: BuildId,
    after: u64,
    limit: u32,
) -> Result<Vec<EventView>, Error> {
    let rows = sqlx::query(
        "select build_id, seq, id as event_id, kind, at, data
           from events where build_id = $1 and seq > $2 order by seq limit $3",
    )
    .bind(build.to_string())
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(limit)
    .fetch_all(&mut *db)
    .await?;
    if rows.is_empty() {
        builds::must_exist(db, build).await?;
    }
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Reads an event from a row that has its id as `event_id`.
pub(super) fn read(row: &SqliteRow) -> Result<EventView, sqlx::Error> {
    Ok(EventView {
        id: row.word("event_id")?,
        build: row.word("build_id")?,
        seq: row.number("seq")?.unsigned_abs(),
        kind: row.word("kind")?,
        at: row.at("at")?,
        data: row.json("data")?,
    })
}
