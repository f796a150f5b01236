//! Who works, and how much there is to do.

use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{Tx, ranks, rows::Columns};
use crate::{
    domain::id::HolderId,
    store::{Error, LaneView, Worker, WorkerBeat},
};

/// Whoever was silent for so long is gone, or will say so again.
const SILENT_MS_MAX: i64 = 3600 * 1000;

pub(super) async fn beat(tx: &mut Tx, worker: &WorkerBeat) -> Result<(), Error> {
    sqlx::query(
        "insert into workers
           (holder, program, host, version, lane, slots, busy, started_at, beat_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8)
         on conflict (holder) do update
            set program = excluded.program, host = excluded.host, version = excluded.version,
                lane = excluded.lane, slots = excluded.slots, busy = excluded.busy,
                beat_at = excluded.beat_at",
    )
    .bind(worker.holder.to_string())
    .bind(&worker.program)
    .bind(&worker.host)
    .bind(&worker.version)
    .bind(worker.lane.as_str())
    .bind(worker.slots)
    .bind(worker.busy)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    sqlx::query("delete from workers where beat_at < $1")
        .bind(tx.now - SILENT_MS_MAX)
        .execute(tx.db())
        .await?;
    // In passing: nothing else comes by as regularly.
    ranks::forget_idle_flows(tx).await
}

pub(super) async fn sign_off(tx: &mut Tx, holder: HolderId) -> Result<(), Error> {
    sqlx::query("delete from workers where holder = $1")
        .bind(holder.to_string())
        .execute(tx.db())
        .await?;
    Ok(())
}

pub(super) async fn workers(db: &mut SqliteConnection) -> Result<Vec<Worker>, Error> {
    let rows = sqlx::query(
        "select *, max(0, cast(unixepoch('subsec') * 1000 as integer) - beat_at) as silent_ms
           from workers
          where cast(unixepoch('subsec') * 1000 as integer) - $1 <= beat_at
          order by started_at, holder",
    )
    .bind(SILENT_MS_MAX)
    .fetch_all(db)
    .await?;
    let read = |row: &SqliteRow| {
        Ok(Worker {
            holder: row.word("holder")?,
            program: row.text("program")?,
            host: row.text("host")?,
            version: row.text("version")?,
            lane: row.word("lane")?,
            slots: row.count("slots")?,
            busy: row.count("busy")?,
            started_at: row.at("started_at")?,
            beat_at: row.at("beat_at")?,
            silent_ms: row.number("silent_ms")?.unsigned_abs(),
        })
    };
    rows.iter().map(read).collect()
}

/// Work parked at a limit or a pause could run now; deliveries whose turn it is not yet wait for
/// their time like retries do.
pub(super) async fn lanes(db: &mut SqliteConnection) -> Result<Vec<LaneView>, Error> {
    let rows = sqlx::query(include_str!("sql/lanes.sql")).fetch_all(db).await?;
    let read = |row: &SqliteRow| {
        Ok(LaneView {
            lane: row.word("lane")?,
            waiting: row.number("waiting")?.unsigned_abs(),
            delayed: row.number("waiting_or_delayed")?.abs_diff(row.number("waiting")?),
            running: row.number("running")?.unsigned_abs(),
            oldest_ms: row.number("oldest_ms")?.unsigned_abs(),
            settled_last_minute: row.number("settled_last_minute")?.unsigned_abs(),
        })
    };
    rows.iter().map(read).collect()
}
