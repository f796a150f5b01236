//! Results that stand for the same work done again: written with the settlement that made them.

use std::time::Duration;

use serde_json::Value;
use sqlx::{Row as _, SqliteConnection};

use super::{
    Tx,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        attempt::{Origin, Output, OutputFile, ResultKey},
        id::BuildId,
    },
    store::{Error, results::references},
};

pub(super) async fn keep(tx: &mut Tx, build: BuildId, output: &Output) -> Result<(), Error> {
    let Origin::MadeAs(key) = output.origin else { return Ok(()) };
    sqlx::query(
        "insert into results (key, build_id, files, logs, kept_at)
         values ($1, $2, $3, $4, $5)
         on conflict (key) do update
            set build_id = excluded.build_id, files = excluded.files, logs = excluded.logs,
                kept_at = excluded.kept_at",
    )
    .bind(key.to_string())
    .bind(build.to_string())
    .bind(to_json(&references(&output.files))?)
    .bind(to_json(&output.logs)?)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    Ok(())
}

pub(super) async fn cached(
    db: &mut SqliteConnection,
    key: ResultKey,
    within: Duration,
) -> Result<Option<Output>, Error> {
    let found = sqlx::query(
        "select build_id, files, logs
           from results
          where key = $1 and cast(unixepoch('subsec') * 1000 as integer) - $2 < kept_at",
    )
    .bind(key.to_string())
    .bind(i64::try_from(within.as_millis()).unwrap_or(i64::MAX))
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = found else { return Ok(None) };
    let wanted: Vec<Value> = row.json("files")?;
    let rows = sqlx::query(
        "select f.path, f.content
           from json_each($2) w
           join files f on f.build_id = $1
                       and f.path = w.value ->> 0
                       and f.sha256 = w.value ->> 1
          order by f.path",
    )
    .bind(row.text("build_id")?)
    .bind(row.text("files")?)
    .fetch_all(db)
    .await?;
    // Something has been overwritten or forgotten since.
    if rows.len() < wanted.len() {
        return Ok(None);
    }
    let mut files = Vec::with_capacity(rows.len());
    for row in &rows {
        // Written from text.
        let content = String::from_utf8(row.try_get("content")?).map_err(Error::unavailable)?;
        files.push(OutputFile { path: row.text("path")?, content });
    }
    let logs = row.json("logs")?;
    Ok(Some(Output { files, logs, origin: Origin::Cached, ..Output::default() }))
}

pub(super) async fn evict(
    tx: &mut Tx,
    within: Duration,
    most: u64,
    limit: u32,
) -> Result<u64, Error> {
    let evicted = sqlx::query(
        "delete from results
          where key in (
            select key
              from (
                select key, kept_at, row_number() over (order by kept_at desc) as place
                  from results
              )
             where kept_at <= $1 or $2 < place
             order by kept_at
             limit $3
          )",
    )
    .bind(tx.now.saturating_sub(i64::try_from(within.as_millis()).unwrap_or(i64::MAX)))
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .bind(limit)
    .execute(tx.db())
    .await?;
    Ok(evicted.rows_affected())
}
