//! The verbs of `Upkeep`; see there.

use sqlx::Row;

use super::{rows::Columns, *};
use crate::{
    domain::attempt::{Output, ResultKey},
    store::upkeep::{Forgotten, OpenBuilds, Pressure, Space, Upkeep},
};

#[async_trait]
impl Upkeep for Postgres {
    async fn listen(&self) {
        match listening::listen(&self.db.pool, &self.db.bell).await {}
    }

    async fn submitted_before(
        &self,
        tenant: &str,
        idempotency: &Idempotency,
    ) -> Result<Option<Build>, Error> {
        let mut conn = self.db.pool.acquire().await?;
        builds::submitted_before(&mut conn, tenant, idempotency).await
    }

    async fn pressure(&self) -> Result<Pressure, Error> {
        // What is stored, compressed: nothing is read that is not looked at.
        let rows = sqlx::query(
            "select tenant, count(*) as builds,
                    coalesce(sum(pg_column_size(brief)) filter (where state = 'queued'), 0)::bigint
                      as brief_bytes
               from builds
              where settled_at is null
              group by tenant
              order by tenant",
        )
        .fetch_all(&self.db.pool)
        .await?;
        let ended: i64 = sqlx::query_scalar(
            "select count(*) from builds
              where settled_at > clock_timestamp() - interval '60 seconds'",
        )
        .fetch_one(&self.db.pool)
        .await?;
        let open = rows
            .iter()
            .map(|row| {
                Ok(OpenBuilds {
                    tenant: row.try_get("tenant")?,
                    builds: row.size("builds")?,
                    brief_bytes: row.size("brief_bytes")?,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Pressure { open, ended_last_minute: u64::try_from(ended).unwrap_or(0) })
    }

    async fn space(&self) -> Result<Space, Error> {
        let used: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
            .fetch_one(&self.db.pool)
            .await?;
        // The server's disk is out of our sight.
        Ok(Space { used_bytes: u64::try_from(used).ok(), free_bytes: None })
    }

    async fn cached(&self, key: ResultKey, within: Duration) -> Result<Option<Output>, Error> {
        results::cached(&self.db.pool, key, within).await
    }

    async fn evict(&self, within: Duration, most: u64, limit: u32) -> Result<u64, Error> {
        again(|| results::evict(&self.db.pool, within, most, limit)).await
    }

    async fn forget(&self, after: Duration, limit: u32) -> Result<Forgotten, Error> {
        again(|| forgetting::forget(&self.db.pool, after, limit)).await
    }

    async fn forget_idle(&self, limit: u32) -> Result<u64, Error> {
        again(|| forgetting::forget_idle(&self.db.pool, limit)).await
    }

    async fn close_up(&self, limit: u32) -> Result<u64, Error> {
        closing::close_up(&self.db, limit).await
    }
}
