//! What still has to become a job, and what a queue may have lost.

use std::time::Duration;

use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx,
    rows::{Columns, to_json},
};
use crate::{
    job::Job,
    store::{Error, OutboxRow},
};

pub(super) async fn put(tx: &mut Tx, job: Job, priority: u8, due_at: i64) -> Result<(), Error> {
    sqlx::query("insert into outbox (job, priority, due_at) values ($1, $2, $3)")
        .bind(job.to_string())
        .bind(priority)
        .bind(due_at)
        .execute(tx.db())
        .await?;
    Ok(())
}

pub(super) async fn due(db: &mut SqliteConnection, limit: u32) -> Result<Vec<OutboxRow>, Error> {
    // The index is in the wanted order, so a long outbox is not sorted for each handful.
    let rows = sqlx::query(
        "select id, job from outbox indexed by outbox_in_turn
          where due_at <= cast(unixepoch('subsec') * 1000 as integer)
          order by priority, due_at, id
          limit $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await?;
    let read = |row: &SqliteRow| Ok(OutboxRow { id: row.number("id")?, job: row.word("job")? });
    rows.iter().map(read).collect()
}

pub(super) async fn clear(tx: &mut Tx, rows: &[i64]) -> Result<(), Error> {
    sqlx::query("delete from outbox where id in (select value from json_each($1))")
        .bind(to_json(rows)?)
        .execute(tx.db())
        .await?;
    Ok(())
}

pub(super) async fn next(db: &mut SqliteConnection) -> Result<Option<Duration>, Error> {
    let wait: Option<i64> = sqlx::query_scalar(
        "select max(0, min(due_at) - cast(unixepoch('subsec') * 1000 as integer)) from outbox",
    )
    .fetch_one(db)
    .await?;
    Ok(wait.map(|ms| Duration::from_millis(ms.unsigned_abs())))
}

pub(super) async fn forgotten(
    db: &mut SqliteConnection,
    older_than: Duration,
    limit: u32,
) -> Result<Vec<Job>, Error> {
    let rows = sqlx::query(
        "with clock as (select cast(unixepoch('subsec') * 1000 as integer) - $1 as before)
         select id, due_at from builds, clock
          where state = 'queued' and due_at < before
            and not exists (select 1 from outbox where job = builds.id)
          union all
         select id, due_at from tasks, clock
          where state = 'ready' and due_at < before
            and not exists (select 1 from outbox where job = tasks.id)
          union all
         select id, due_at from deliveries, clock
          where state = 'pending' and due_at < before
            and not exists (select 1 from outbox where job = deliveries.id)
            and not exists (select 1 from deliveries earlier
                             where earlier.endpoint_id = deliveries.endpoint_id
                               and earlier.build_id = deliveries.build_id
                               and earlier.seq < deliveries.seq
                               and earlier.settled_at is null)
          order by due_at
          limit $2",
    )
    .bind(i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX))
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok(row.word("id")?)).collect()
}
