//! What still has to become a job, and what a queue may have lost.

use sqlx::{PgConnection, Row};

use super::{
    rows::{Columns, texts},
    *,
};

/// Writes rows for jobs that are due after a while. Called after the work's own due time was
/// stamped, so that no job comes before its work may be claimed.
pub(super) async fn push(
    conn: &mut PgConnection,
    jobs: &[Job],
    priority: i16,
    due_in: Duration,
) -> Result<(), Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into outbox (job, priority, due_at)
         select job, $2, clock_timestamp() + make_interval(secs => $3)
           from unnest($1::text[]) with ordinality as j (job, n)
          order by n",
    )
    .bind(texts(jobs))
    .bind(priority)
    .bind(secs(due_in))
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn due(pool: &PgPool, limit: u32) -> Result<Vec<OutboxRow>, Error> {
    let rows = sqlx::query(
        "select id, job
           from outbox
          where due_at <= clock_timestamp()
          order by priority, due_at, id
          limit $1",
    )
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Ok(OutboxRow { id: row.try_get("id")?, job: row.word("job")? })).collect()
}

pub(super) async fn clear(pool: &PgPool, rows: &[i64]) -> Result<(), Error> {
    sqlx::query("delete from outbox where id = any($1)").bind(rows).execute(pool).await?;
    Ok(())
}

pub(super) async fn next(pool: &PgPool) -> Result<Option<Duration>, Error> {
    let row = sqlx::query(
        "select extract(epoch from min(due_at) - clock_timestamp())::float8 as secs from outbox",
    )
    .fetch_one(pool)
    .await?;
    let secs: Option<f64> = row.try_get("secs")?;
    Ok(secs.map(|secs| Duration::try_from_secs_f64(secs).unwrap_or(Duration::ZERO)))
}

pub(super) async fn forgotten(
    pool: &PgPool,
    older_than: Duration,
    limit: u32,
) -> Result<Vec<Job>, Error> {
    let rows = sqlx::query(include_str!("sql/forgotten.sql"))
        .bind(secs(older_than))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    rows.iter().map(|row| Ok(row.word("id")?)).collect()
}
