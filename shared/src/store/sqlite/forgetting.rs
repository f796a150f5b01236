//! Builds that have been final for long enough go, with everything of theirs; and what means
//! nothing any more.

use std::time::Duration;

use super::{Tx, rows::to_json};
use crate::store::{Error, Forgotten, upkeep::TASKS_AT_ONCE};

/// What goes with the builds `$1`, in an order in which nothing is left to refer to what is gone.
const PARTS: &[&str] = &[
    "delete from results where build_id in (select value from json_each($1))",
    "delete from delivery_attempts
      where delivery_id in (
        select id from deliveries where build_id in (select value from json_each($1)))",
    "delete from deliveries where build_id in (select value from json_each($1))",
    // What was told about their endpoints.
    "delete from delivery_attempts
      where delivery_id in (
        select id from deliveries
         where build_id in (select 'bld_' || substr(id, 5) from endpoints
                             where build_id in (select value from json_each($1))))",
    "delete from deliveries
      where build_id in (select 'bld_' || substr(id, 5) from endpoints
                          where build_id in (select value from json_each($1)))",
    "delete from events
      where build_id in (select 'bld_' || substr(id, 5) from endpoints
                          where build_id in (select value from json_each($1)))",
    "delete from paces
      where endpoint_id in (select id from endpoints
                             where build_id in (select value from json_each($1)))",
    "delete from endpoints where build_id in (select value from json_each($1))",
    "delete from files where build_id in (select value from json_each($1))",
    "delete from events where build_id in (select value from json_each($1))",
    "delete from task_attempts
      where task_id in (select id from tasks where build_id in (select value from json_each($1)))",
    "delete from last_writers
      where plan_id in (select id from plans where build_id in (select value from json_each($1)))",
    // Whoever was forked from there goes on, and no longer knows from where.
    "update builds set forked_from = null
      where forked_from in (
        select id from tasks where build_id in (select value from json_each($1)))",
    "delete from dependencies
      where task_id in (select id from tasks where build_id in (select value from json_each($1)))",
    "delete from tasks where build_id in (select value from json_each($1))",
    "delete from plans where build_id in (select value from json_each($1))",
    "delete from planning_attempts where build_id in (select value from json_each($1))",
    "delete from pauses where gate in (select 'build ' || value from json_each($1))",
    "delete from builds where id in (select value from json_each($1))",
];

pub(super) async fn forget(tx: &mut Tx, after: Duration, limit: u32) -> Result<Forgotten, Error> {
    let before = tx.now.saturating_sub(i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
    let old: Vec<String> = sqlx::query_scalar(
        "select id
           from (
             select id, sum(tasks) over (order by settled_at, id) - tasks as before
               from (
                 select id, tasks, settled_at
                   from builds
                  where settled_at < $1
                  order by settled_at, id
                  limit $2
               )
           )
          where before < $3",
    )
    .bind(before)
    .bind(limit)
    .bind(TASKS_AT_ONCE)
    .fetch_all(tx.db())
    .await?;
    if !old.is_empty() {
        let ids = to_json(&old)?;
        for &part in PARTS {
            sqlx::query(part).bind(&ids).execute(tx.db()).await?;
        }
    }
    forget_news(tx, before, limit).await?;
    let changes = sqlx::query(
        "delete from audit
          where id in (select id from audit where at < $1 order by at limit $2)",
    )
    .bind(before)
    .bind(limit)
    .execute(tx.db())
    .await?
    .rows_affected();
    Ok(Forgotten { builds: old.len() as u64, changes })
}

/// What was told about endpoints of tenants before then, and replays that ended before.
async fn forget_news(tx: &mut Tx, before: i64, limit: u32) -> Result<(), Error> {
    let old: Vec<(String, String, i64)> = sqlx::query_as(
        "select d.id, d.build_id, d.seq
           from endpoints e
           join deliveries d on d.build_id = 'bld_' || substr(e.id, 5)
          where e.build_id is null and d.settled_at < $1
          limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx.db())
    .await?;
    if !old.is_empty() {
        let old = to_json(&old)?;
        for sql in [
            "delete from delivery_attempts
              where delivery_id in (select value ->> 0 from json_each($1))",
            "delete from deliveries where id in (select value ->> 0 from json_each($1))",
            "delete from events
              where (build_id, seq) in (select value ->> 1, value ->> 2 from json_each($1))
                and not exists (select 1 from deliveries d
                                 where d.build_id = events.build_id and d.seq = events.seq)",
        ] {
            sqlx::query(sql).bind(&old).execute(tx.db()).await?;
        }
    }
    sqlx::query("delete from replays where settled_at < $1").bind(before).execute(tx.db()).await?;
    Ok(())
}

pub(super) async fn forget_idle(tx: &mut Tx, limit: u32) -> Result<u64, Error> {
    // Work that enters a flow which is not there follows on the virtual time, as it would have.
    let flows = sqlx::query(
        "delete from flows
          where (lane, tenant, priority) in (
            select f.lane, f.tenant, f.priority
              from flows f
              join lanes l on l.lane = f.lane
             where f.last <= l.virtual_time
             limit $1
          )",
    )
    .bind(limit)
    .execute(tx.db())
    .await?;
    let buckets = sqlx::query(
        "delete from buckets
          where (limit_name, value) in (
            select b.limit_name, b.value
              from buckets b
              join limits l on l.name = b.limit_name
             where l.rate_count is null
                or l.rate_count <= b.tokens + ($2 - b.at) / 1000.0 * l.rate_count / l.rate_secs
             limit $1
          )",
    )
    .bind(limit)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    Ok(flows.rows_affected() + buckets.rows_affected())
}
