//! The verbs of `Upkeep`; see there.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

use super::{Promise, Sqlite, builds, closing, forgetting, results, rows::Columns};
use crate::{
    domain::attempt::{Output, ResultKey},
    store::{Build, Error, Forgotten, Idempotency, OpenBuilds, Pressure, Space, Upkeep},
};

/// Nobody else writes to it, so there is nothing to listen to.
#[async_trait]
impl Upkeep for Sqlite {
    async fn submitted_before(
        &self,
        tenant: &str,
        idempotency: &Idempotency,
    ) -> Result<Option<Build>, Error> {
        builds::submitted_before(&mut *self.look().await?, tenant, idempotency).await
    }

    async fn pressure(&self) -> Result<Pressure, Error> {
        let mut reader = self.look().await?;
        let rows = sqlx::query(
            "select tenant, count(*) as builds,
                    coalesce(sum(octet_length(brief)) filter (where state = 'queued'), 0)
                      as brief_bytes
               from builds
              where settled_at is null
              group by tenant
              order by tenant",
        )
        .fetch_all(&mut *reader)
        .await?;
        let ended: i64 = sqlx::query_scalar(
            "select count(*) from builds
              where settled_at > cast(unixepoch('subsec') * 1000 as integer) - 60000",
        )
        .fetch_one(&mut *reader)
        .await?;
        let read = |row: &SqliteRow| {
            Ok(OpenBuilds {
                tenant: row.text("tenant")?,
                builds: row.number("builds")?.unsigned_abs(),
                brief_bytes: row.number("brief_bytes")?.unsigned_abs(),
            })
        };
        Ok(Pressure {
            open: rows.iter().map(read).collect::<Result<_, Error>>()?,
            ended_last_minute: ended.unsigned_abs(),
        })
    }

    async fn space(&self) -> Result<Space, Error> {
        let disk = rustix::fs::statvfs(&self.folder).map_err(Error::unavailable)?;
        let mut reader = self.look().await?;
        let used: i64 = sqlx::query_scalar(
            "select page_count * page_size from pragma_page_count(), pragma_page_size()",
        )
        .fetch_one(&mut *reader)
        .await?;
        Ok(Space {
            used_bytes: Some(used.unsigned_abs()),
            free_bytes: Some(disk.f_bavail.saturating_mul(disk.f_frsize)),
        })
    }

    async fn cached(&self, key: ResultKey, within: Duration) -> Result<Option<Output>, Error> {
        results::cached(&mut *self.look().await?, key, within).await
    }

    async fn evict(&self, within: Duration, most: u64, limit: u32) -> Result<u64, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesProcess).await?;
        let done = results::evict(turn.tx(), within, most, limit).await;
        turn.end(done).await
    }

    async fn forget(&self, after: Duration, limit: u32) -> Result<Forgotten, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesProcess).await?;
        let done = forgetting::forget(turn.tx(), after, limit).await;
        turn.end(done).await
    }

    async fn forget_idle(&self, limit: u32) -> Result<u64, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesProcess).await?;
        let done = forgetting::forget_idle(turn.tx(), limit).await;
        turn.end(done).await
    }

    async fn close_up(&self, limit: u32) -> Result<u64, Error> {
        closing::close_up(self, limit).await
    }
}
