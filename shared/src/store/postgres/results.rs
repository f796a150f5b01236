//! Results that stand for the same work done again: written with the settlement that made them.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row};

use super::{
    rows::{Columns, document, texts},
    *,
};
use crate::{
    domain::attempt::{Origin, Output, OutputFile, ResultKey},
    store::results::references,
};

/// Keeps the results of settled tasks; of two with one key, the last.
pub(super) async fn keep<'a>(
    conn: &mut PgConnection,
    made: impl Iterator<Item = (BuildId, &'a Output)>,
) -> Result<(), Error> {
    // In the order of keys, so that two commits do not wait for each other in a circle.
    let mut results: BTreeMap<ResultKey, (BuildId, &Output)> = BTreeMap::new();
    for (build, output) in made {
        if let Origin::MadeAs(key) = output.origin {
            results.insert(key, (build, output));
        }
    }
    if results.is_empty() {
        return Ok(());
    }
    let files = results.values().map(|(_, output)| document(&references(&output.files)));
    let logs = results.values().map(|(_, output)| document(&output.logs));
    sqlx::query(include_str!("sql/keep_results.sql"))
        .bind(texts(results.keys()))
        .bind(texts(results.values().map(|(build, _)| build)))
        .bind(files.collect::<Result<Vec<_>, _>>()?)
        .bind(logs.collect::<Result<Vec<_>, _>>()?)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn cached(
    pool: &PgPool,
    key: ResultKey,
    within: Duration,
) -> Result<Option<Output>, Error> {
    let found = sqlx::query(
        "select build_id, files, logs
           from results
          where key = $1 and clock_timestamp() - make_interval(secs => $2) < kept_at",
    )
    .bind(key.to_string())
    .bind(secs(within))
    .fetch_optional(pool)
    .await?;
    let Some(row) = found else { return Ok(None) };
    let references: Vec<(String, String)> = row.json("files")?;
    let logs = row.json("logs")?;
    let mut files = Vec::with_capacity(references.len());
    if !references.is_empty() {
        let (paths, sums): (Vec<_>, Vec<_>) = references.iter().cloned().unzip();
        let rows = sqlx::query(
            "select f.path, f.content
               from unnest($2::text[], $3::text[]) as u (path, sha256)
               join files f on f.build_id = $1 and f.path = u.path and f.sha256 = u.sha256
              order by f.path",
        )
        .bind(row.try_get::<&str, _>("build_id")?)
        .bind(paths)
        .bind(sums)
        .fetch_all(pool)
        .await?;
        for row in &rows {
            // Written from text.
            let content = String::from_utf8(row.try_get("content")?).map_err(Error::unavailable)?;
            files.push(OutputFile { path: row.try_get("path")?, content });
        }
    }
    // Something has been overwritten or forgotten since.
    if files.len() < references.len() {
        return Ok(None);
    }
    Ok(Some(Output { files, logs, origin: Origin::Cached, ..Output::default() }))
}

pub(super) async fn evict(
    pool: &PgPool,
    within: Duration,
    most: u64,
    limit: u32,
) -> Result<u64, Error> {
    let evicted = sqlx::query(include_str!("sql/evict_results.sql"))
        .bind(secs(within))
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .execute(pool)
        .await?;
    Ok(evicted.rows_affected())
}
