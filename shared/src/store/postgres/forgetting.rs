//! Builds that have been final for long enough go, with everything of theirs; and what means
//! nothing any more.

use sqlx::{Row, postgres::PgRow};

use super::*;
use crate::store::upkeep::TASKS_AT_ONCE;

/// What goes with the builds `$1`, in an order in which nothing is left to refer to what is gone.
const PARTS: &[&str] = &[
    "delete from results where build_id = any($1)",
    "delete from delivery_attempts a using deliveries d
      where a.delivery_id = d.id and d.build_id = any($1)",
    "delete from deliveries where build_id = any($1)",
    // What was told about their endpoints.
    "delete from delivery_attempts a using endpoints e, deliveries d
      where e.build_id = any($1)
        and d.build_id = 'bld_' || substr(e.id, 5)
        and a.delivery_id = d.id",
    "delete from deliveries d using endpoints e
      where e.build_id = any($1) and d.build_id = 'bld_' || substr(e.id, 5)",
    "delete from events v using endpoints e
      where e.build_id = any($1) and v.build_id = 'bld_' || substr(e.id, 5)",
    "delete from paces p using endpoints e where e.build_id = any($1) and p.endpoint_id = e.id",
    "delete from endpoints where build_id = any($1)",
    "delete from files where build_id = any($1)",
    "delete from events where build_id = any($1)",
    "delete from task_attempts a using tasks t where a.task_id = t.id and t.build_id = any($1)",
    "delete from last_writers w using plans p
      where w.plan_id = p.id and p.build_id = any($1)",
    // Whoever was forked from there goes on, and no longer knows from where.
    "update builds b set forked_from = null
       from tasks t
      where b.forked_from = t.id and t.build_id = any($1)",
    "delete from dependencies d using tasks t where d.task_id = t.id and t.build_id = any($1)",
    "delete from tasks where build_id = any($1)",
    "delete from plans where build_id = any($1)",
    "delete from planning_attempts where build_id = any($1)",
    "delete from pauses where gate = any(select 'build ' || id from unnest($1) as gone (id))",
    "delete from builds where id = any($1)",
];

pub(super) async fn forget(pool: &PgPool, after: Duration, limit: u32) -> Result<Forgotten, Error> {
    let mut tx = pool.begin().await?;
    let old = sqlx::query(include_str!("sql/old_builds.sql"))
        .bind(secs(after))
        .bind(i64::from(limit))
        .bind(i64::from(TASKS_AT_ONCE))
        .fetch_all(&mut *tx)
        .await?;
    let old: Vec<String> =
        old.iter().map(|row: &PgRow| row.try_get("id")).collect::<Result<_, _>>()?;
    if !old.is_empty() {
        for &part in PARTS {
            sqlx::query(part).bind(&old).execute(&mut *tx).await?;
        }
    }
    forget_news(&mut tx, after, limit).await?;
    let changes = sqlx::query(
        "delete from audit
          where id in (
            select id
              from audit
             where at < clock_timestamp() - make_interval(secs => $1)
             order by at
             limit $2
               for update skip locked
          )",
    )
    .bind(secs(after))
    .bind(i64::from(limit))
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(Forgotten { builds: old.len() as u64, changes })
}

/// What was told about endpoints of tenants long ago, and replays that ended then.
async fn forget_news(
    conn: &mut sqlx::PgConnection,
    after: Duration,
    limit: u32,
) -> Result<(), Error> {
    let old = sqlx::query(
        "select d.id, d.build_id, d.seq
           from endpoints e
           join deliveries d on d.build_id = 'bld_' || substr(e.id, 5)
          where e.build_id is null
            and d.settled_at < clock_timestamp() - make_interval(secs => $1)
          limit $2
            for update of d skip locked",
    )
    .bind(secs(after))
    .bind(i64::from(limit))
    .fetch_all(&mut *conn)
    .await?;
    let column = |name: &str| -> Result<Vec<String>, Error> {
        Ok(old.iter().map(|row| row.try_get(name)).collect::<Result<_, _>>()?)
    };
    let (ids, logs) = (column("id")?, column("build_id")?);
    let seqs: Vec<i64> = old.iter().map(|row| row.try_get("seq")).collect::<Result<_, _>>()?;
    for sql in [
        "delete from delivery_attempts where delivery_id = any($1)",
        "delete from deliveries where id = any($1)",
    ] {
        sqlx::query(sql).bind(&ids).execute(&mut *conn).await?;
    }
    sqlx::query(
        "delete from events v
          using unnest($1::text[], $2::bigint[]) as u (build_id, seq)
          where v.build_id = u.build_id
            and v.seq = u.seq
            and not exists (
              select 1 from deliveries d where d.build_id = v.build_id and d.seq = v.seq
            )",
    )
    .bind(logs)
    .bind(seqs)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "delete from replays where settled_at < clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(secs(after))
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn forget_idle(pool: &PgPool, limit: u32) -> Result<u64, Error> {
    // Work that enters a flow which is not there follows on the virtual time, as it would have.
    let flows = sqlx::query(
        "delete from flows
          where (lane, tenant, priority) in (
            select f.lane, f.tenant, f.priority
              from flows f
              join lanes l on l.lane = f.lane
             where f.last <= l.virtual_time
               -- What was on its way into it may stand far back.
               and f.gapped_at is null
               and f.look_at is null
             limit $1
               for update of f skip locked
          )",
    );
    let buckets = sqlx::query(
        "delete from buckets
          where (limit_name, value) in (
            select b.limit_name, b.value
              from buckets b
              join limits l on l.name = b.limit_name
             where l.rate_count is null
                or l.rate_count <= b.tokens
                   + extract(epoch from clock_timestamp() - b.at) * l.rate_count / l.rate_secs
             limit $1
               for update of b skip locked
          )",
    );
    let mut gone = 0;
    for forgetting in [flows, buckets] {
        gone += forgetting.bind(i64::from(limit)).execute(pool).await?.rows_affected();
    }
    Ok(gone)
}
