//! Who is there, and how much there is to do.

use sqlx::Row;

use super::{
    rows::{Columns, int},
    *,
};

pub(super) async fn beat(pool: &PgPool, worker: &WorkerBeat) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    sqlx::query(
        "insert into workers (holder, program, host, version, lane, slots, busy)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (holder) do update
            set slots = excluded.slots, busy = excluded.busy, beat_at = clock_timestamp()",
    )
    .bind(worker.holder.to_string())
    .bind(&worker.program)
    .bind(&worker.host)
    .bind(&worker.version)
    .bind(worker.lane.as_str())
    .bind(int(worker.slots))
    .bind(int(worker.busy))
    .execute(&mut *tx)
    .await?;
    sqlx::query("delete from workers where beat_at < clock_timestamp() - interval '1 hour'")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn sign_off(pool: &PgPool, holder: HolderId) -> Result<(), Error> {
    sqlx::query("delete from workers where holder = $1")
        .bind(holder.to_string())
        .execute(pool)
        .await?;
    Ok(())
}

pub(super) async fn workers(pool: &PgPool) -> Result<Vec<Worker>, Error> {
    let rows = sqlx::query(
        "select *,
                floor(extract(epoch from clock_timestamp() - beat_at) * 1000)::bigint as silent_ms
           from workers
          order by holder",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Worker {
                holder: row.word("holder")?,
                program: row.try_get("program")?,
                host: row.try_get("host")?,
                version: row.try_get("version")?,
                lane: row.word("lane")?,
                slots: row.count("slots")?,
                busy: row.count("busy")?,
                started_at: row.try_get("started_at")?,
                beat_at: row.try_get("beat_at")?,
                silent_ms: row.size("silent_ms")?,
            })
        })
        .collect()
}

pub(super) async fn lanes(pool: &PgPool) -> Result<Vec<LaneView>, Error> {
    let mut lanes = Vec::with_capacity(Lane::ALL.len());
    for &lane in Lane::ALL {
        let sql = match lane {
            Lane::Plans => include_str!("sql/lane_plans.sql"),
            Lane::Tasks => include_str!("sql/lane_tasks.sql"),
            Lane::Deliveries => include_str!("sql/lane_deliveries.sql"),
        };
        let row = sqlx::query(sql).fetch_one(pool).await?;
        lanes.push(LaneView {
            lane,
            waiting: row.size("waiting")?,
            delayed: row.size("delayed")?,
            running: row.size("running")?,
            oldest_ms: row.size("oldest_ms")?,
            settled_last_minute: row.size("settled_last_minute")?,
        });
    }
    Ok(lanes)
}
