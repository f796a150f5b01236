//! Endpoints: kept, changed, tested, taken away; and their secrets.

use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    probes::Probe,
    rows::{Columns, document, int, page},
    *,
};
use crate::domain::{
    delivery,
    endpoint::{OLD_SECRETS_MAX, Settings, State},
    id::{EndpointId, ReplayId},
};

#[async_trait]
impl Webhooks for Postgres {
    async fn add_endpoint(&self, new: NewTenantEndpoint) -> Result<Endpoint, Error> {
        again(|| add(&self.db.pool, &new)).await
    }

    async fn endpoint(&self, id: EndpointId) -> Result<Endpoint, Error> {
        view(&mut *self.db.pool.acquire().await?, id).await
    }

    async fn endpoints(&self, wanted: &EndpointsWanted) -> Result<Page<Endpoint>, Error> {
        list(&self.db.pool, wanted).await
    }

    async fn change_endpoint(
        &self,
        id: EndpointId,
        settings: &Settings,
    ) -> Result<Endpoint, Error> {
        let changed = again(|| change(&self.db.pool, id, settings)).await?;
        self.look_again();
        Ok(changed)
    }

    async fn remove_endpoint(&self, id: EndpointId) -> Result<(), Error> {
        again(|| remove(&self.db.pool, id)).await
    }

    async fn rotate_secret(
        &self,
        id: EndpointId,
        secret: SecretString,
        grace: Duration,
    ) -> Result<Endpoint, Error> {
        again(|| rotate(&self.db.pool, id, &secret, grace)).await
    }

    async fn enable_endpoint(&self, id: EndpointId) -> Result<Endpoint, Error> {
        let enabled = again(|| enable(&self.db.pool, id)).await?;
        self.look_again();
        Ok(enabled)
    }

    async fn disable_endpoint(&self, id: EndpointId, reason: &str) -> Result<Endpoint, Error> {
        again(|| disable(&self.db.pool, id, reason)).await
    }

    async fn test_endpoint(&self, tenant: &str, id: EndpointId) -> Result<Delivery, Error> {
        self.probes.write(Probe { tenant: tenant.to_owned(), endpoint: id }).await
    }

    async fn kept_secrets(
        &self,
        after: Option<EndpointId>,
        limit: u32,
    ) -> Result<Vec<KeptSecrets>, Error> {
        let rows = sqlx::query(
            "select e.id, coalesce(e.tenant, b.tenant) as tenant,
                    e.secret || array(select secret from old_secrets o where o.endpoint_id = e.id)
                      as secrets
               from endpoints e
               left join builds b on b.id = e.build_id
              where $1::text is null or $1 < e.id
              order by e.id
              limit $2",
        )
        .bind(after.map(|id| id.to_string()))
        .bind(i64::from(limit))
        .fetch_all(&self.db.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let secrets: Vec<String> = row.try_get("secrets")?;
                Ok(KeptSecrets {
                    endpoint: row.word("id")?,
                    tenant: row.try_get("tenant")?,
                    secrets: secrets.into_iter().map(SecretString::from).collect(),
                })
            })
            .collect()
    }

    async fn swap_secret(
        &self,
        id: EndpointId,
        old: &SecretString,
        new: &SecretString,
    ) -> Result<bool, Error> {
        let mut tx = self.db.pool.begin().await?;
        let mut swapped = 0;
        for sql in [
            "update endpoints set secret = $3 where id = $1 and secret = $2",
            "update old_secrets set secret = $3 where endpoint_id = $1 and secret = $2",
        ] {
            swapped += sqlx::query(sql)
                .bind(id.to_string())
                .bind(old.expose_secret())
                .bind(new.expose_secret())
                .execute(&mut *tx)
                .await?
                .rows_affected();
        }
        tx.commit().await?;
        Ok(0 < swapped)
    }

    async fn count_replay(&self, wanted: &ReplayWanted) -> Result<u64, Error> {
        replays::count(&self.db.pool, wanted).await
    }

    async fn begin_replay(
        &self,
        id: ReplayId,
        wanted: &ReplayWanted,
        by: &str,
    ) -> Result<Replay, Error> {
        again(|| replays::begin(&self.db.pool, id, wanted, by)).await
    }

    async fn replay(&self, id: ReplayId) -> Result<Replay, Error> {
        replays::view(&mut *self.db.pool.acquire().await?, id).await
    }

    async fn replays(&self, tenant: &str) -> Result<Vec<Replay>, Error> {
        replays::list(&self.db.pool, tenant).await
    }

    async fn steer_replay(&self, id: ReplayId, to: ReplayState) -> Result<Replay, Error> {
        again(|| replays::steer(&self.db.pool, id, to)).await
    }

    async fn go_on_replaying(&self, limit: u32) -> Result<u64, Error> {
        replays::go_on(&self.db, limit).await
    }
}

async fn add(pool: &PgPool, new: &NewTenantEndpoint) -> Result<Endpoint, Error> {
    let NewTenantEndpoint { id, tenant, settings, secret } = new;
    let mut tx = pool.begin().await?;
    sqlx::query(
        "insert into endpoints (id, tenant, secret, url, events, headers, rate, concurrency, retry,
                                ordered, description)
         values ($1, $2, $3, $4, $5::json, $6::json, $7::json, $8, $9::json, $10, $11)",
    )
    .bind(id.to_string())
    .bind(tenant)
    .bind(secret.expose_secret())
    .bind(&settings.url)
    .bind(document(&settings.events)?)
    .bind(document(&settings.headers)?)
    .bind(settings.rate.as_ref().map(document).transpose()?)
    .bind(settings.concurrency.map(int))
    .bind(document(&settings.retry)?)
    .bind(settings.ordered)
    .bind(&settings.description)
    .execute(&mut *tx)
    .await?;
    let kept = view(&mut tx, *id).await?;
    tx.commit().await?;
    Ok(kept)
}

/// What every reading of endpoints begins with.
const VIEW: &str = "select e.*, coalesce(e.tenant, b.tenant) as of_tenant,
       case when clock_timestamp() < e.held_until then e.held_until end as held_still,
       array(select o.secret from old_secrets o
              where o.endpoint_id = e.id and clock_timestamp() < o.live_until
              order by o.live_until desc) as old_secrets,
       array(select o.live_until from old_secrets o
              where o.endpoint_id = e.id and clock_timestamp() < o.live_until
              order by o.live_until desc) as old_until
  from endpoints e
  left join builds b on b.id = e.build_id
 where e.removed_at is null";

async fn view(conn: &mut PgConnection, id: EndpointId) -> Result<Endpoint, Error> {
    let row = sqlx::query(AssertSqlSafe(format!("{VIEW} and e.id = $1")))
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    read(&row)
}

async fn list(pool: &PgPool, wanted: &EndpointsWanted) -> Result<Page<Endpoint>, Error> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "{VIEW}
            and e.build_id is null
            and e.tenant = $1
            and ($2::text is null or e.state = $2)
            and ($3::text is null or e.id < $3)
          order by e.id desc
          limit $4"
    )))
    .bind(&wanted.tenant)
    .bind(wanted.state.map(State::as_str))
    .bind(wanted.after.map(|id| id.to_string()))
    .bind(i64::from(wanted.limit) + 1)
    .fetch_all(pool)
    .await?;
    let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(page(rows, wanted.limit))
}

fn read(row: &PgRow) -> Result<Endpoint, Error> {
    let newest: String = row.try_get("secret")?;
    let mut secrets = vec![KeptSecret { secret: newest.into(), until: None }];
    let (old, until): (Vec<String>, Vec<OldUntil>) =
        (row.try_get("old_secrets")?, row.try_get("old_until")?);
    let old = old.into_iter().zip(until);
    secrets.extend(
        old.map(|(secret, OldUntil(at))| KeptSecret { secret: secret.into(), until: Some(at) }),
    );
    Ok(Endpoint {
        id: row.word("id")?,
        tenant: row.try_get("of_tenant")?,
        build: row.word_if("build_id")?,
        settings: Settings {
            url: row.try_get("url")?,
            events: row.json("events")?,
            headers: row.json("headers")?,
            rate: row.json_if("rate")?,
            concurrency: count_if(row, "concurrency")?,
            retry: row.json("retry")?,
            ordered: row.try_get("ordered")?,
            description: row.try_get("description")?,
        },
        state: row.word("state")?,
        reason: row.try_get("reason")?,
        secrets,
        health: row.json_if("health")?.unwrap_or_default(),
        held_until: row.try_get("held_still")?,
        failing_since: row.try_get("failing_at")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

pub(super) fn count_if(row: &PgRow, column: &str) -> Result<Option<u32>, Error> {
    let count: Option<i32> = row.try_get(column)?;
    Ok(count.and_then(|count| u32::try_from(count).ok()))
}

async fn change(pool: &PgPool, id: EndpointId, settings: &Settings) -> Result<Endpoint, Error> {
    let mut tx = pool.begin().await?;
    sqlx::query(
        "update endpoints
            set health = case when url = $2 then health end,
                held_until = case when url = $2 then held_until end,
                failing_at = case when url = $2 then failing_at end,
                url = $2, events = $3::json, headers = $4::json, rate = $5::json, concurrency = $6,
                retry = $7::json, ordered = $8, description = $9, updated_at = clock_timestamp()
          where id = $1 and removed_at is null",
    )
    .bind(id.to_string())
    .bind(&settings.url)
    .bind(document(&settings.events)?)
    .bind(document(&settings.headers)?)
    .bind(settings.rate.as_ref().map(document).transpose()?)
    .bind(settings.concurrency.map(int))
    .bind(document(&settings.retry)?)
    .bind(settings.ordered)
    .bind(&settings.description)
    .execute(&mut *tx)
    .await?;
    let changed = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(changed)
}

async fn remove(pool: &PgPool, id: EndpointId) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    if view(&mut tx, id).await?.build.is_some() {
        let reason = "it is the target of a build, and goes with it";
        return Err(Error::conflict("endpoint_of_build", reason));
    }
    // Nothing is made for it from here on, and what is on its way settles as it does.
    sqlx::query(
        "update endpoints
            set state = 'disabled', removed_at = clock_timestamp(), updated_at = clock_timestamp()
          where id = $1",
    )
    .bind(id.to_string())
    .execute(&mut *tx)
    .await?;
    let failure = Failure::permanent("endpoint_removed", "the endpoint was removed");
    sqlx::query(
        "update deliveries
            set state = $2, parked_on = null, due_at = null, failure = $3::json,
                settled_at = clock_timestamp()
          where endpoint_id = $1 and state = 'pending'",
    )
    .bind(id.to_string())
    .bind(delivery::State::Exhausted.as_str())
    .bind(document(&failure)?)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

async fn rotate(
    pool: &PgPool,
    id: EndpointId,
    secret: &SecretString,
    grace: Duration,
) -> Result<Endpoint, Error> {
    let mut tx = pool.begin().await?;
    let old: Option<String> = sqlx::query_scalar(
        "select secret from endpoints where id = $1 and removed_at is null for no key update",
    )
    .bind(id.to_string())
    .fetch_optional(&mut *tx)
    .await?;
    let old = old.ok_or_else(|| Error::not_found(id))?;
    sqlx::query("update endpoints set secret = $2, updated_at = clock_timestamp() where id = $1")
        .bind(id.to_string())
        .bind(secret.expose_secret())
        .execute(&mut *tx)
        .await?;
    if !grace.is_zero() && old != secret.expose_secret() {
        sqlx::query(
            "insert into old_secrets (endpoint_id, secret, live_until)
             values ($1, $2, clock_timestamp() + make_interval(secs => $3))
             on conflict (endpoint_id, secret) do update set live_until = excluded.live_until",
        )
        .bind(id.to_string())
        .bind(old)
        .bind(secs(grace))
        .execute(&mut *tx)
        .await?;
    }
    // Those that are over, the new one, and the first to end of those that are too many.
    sqlx::query(
        "delete from old_secrets
          where endpoint_id = $1
            and (live_until <= clock_timestamp()
                 or secret = $3
                 or secret not in (
                   select secret from old_secrets
                    where endpoint_id = $1 order by live_until desc limit $2
                 ))",
    )
    .bind(id.to_string())
    .bind(i64::try_from(OLD_SECRETS_MAX).unwrap_or(i64::MAX))
    .bind(secret.expose_secret())
    .execute(&mut *tx)
    .await?;
    let rotated = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(rotated)
}

async fn enable(pool: &PgPool, id: EndpointId) -> Result<Endpoint, Error> {
    let mut tx = pool.begin().await?;
    sqlx::query(
        "update endpoints
            set state = $2, reason = null, health = null, held_until = null, failing_at = null,
                updated_at = clock_timestamp()
          where id = $1 and removed_at is null",
    )
    .bind(id.to_string())
    .bind(State::Enabled.as_str())
    .execute(&mut *tx)
    .await?;
    let enabled = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(enabled)
}

async fn disable(pool: &PgPool, id: EndpointId, reason: &str) -> Result<Endpoint, Error> {
    let mut tx = pool.begin().await?;
    sqlx::query(
        "update endpoints
            set state = $2, reason = $3, updated_at = clock_timestamp()
          where id = $1 and removed_at is null",
    )
    .bind(id.to_string())
    .bind(State::Disabled.as_str())
    .bind(reason)
    .execute(&mut *tx)
    .await?;
    let disabled = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(disabled)
}

/// An instant within an array.
struct OldUntil(At);

impl sqlx::Type<sqlx::Postgres> for OldUntil {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        At::type_info()
    }
}

impl sqlx::postgres::PgHasArrayType for OldUntil {
    fn array_type_info() -> sqlx::postgres::PgTypeInfo {
        sqlx::postgres::PgTypeInfo::with_name("_timestamptz")
    }
}

impl<'r> sqlx::Decode<'r, sqlx::Postgres> for OldUntil {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        At::decode(value).map(Self)
    }
}
