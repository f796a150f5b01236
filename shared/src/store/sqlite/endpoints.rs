//! Endpoints: kept, changed, tested, taken away; and their secrets.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Promise, Sqlite, Tx, deliveries, fares, replays,
    rows::{Columns, to_json},
    telling,
};
use crate::{
    domain::{
        attempt::Failure,
        endpoint::{OLD_SECRETS_MAX, Settings, State, log_of},
        event::Event,
        id::{EndpointId, ReplayId},
    },
    draw,
    job::Job,
    store::{
        At, Delivery, Endpoint, EndpointsWanted, Error, KeptSecret, KeptSecrets, NewTenantEndpoint,
        Page, Replay, ReplayState, ReplayWanted, Webhooks,
    },
};

#[async_trait]
impl Webhooks for Sqlite {
    async fn add_endpoint(&self, new: NewTenantEndpoint) -> Result<Endpoint, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = add(turn.tx(), &new).await;
        turn.end(done).await
    }

    async fn endpoint(&self, id: EndpointId) -> Result<Endpoint, Error> {
        one(&mut *self.look().await?, id).await
    }

    async fn endpoints(&self, wanted: &EndpointsWanted) -> Result<Page<Endpoint>, Error> {
        page(&mut *self.look().await?, wanted).await
    }

    async fn change_endpoint(
        &self,
        id: EndpointId,
        settings: &Settings,
    ) -> Result<Endpoint, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = change(turn.tx(), id, settings).await;
        turn.end(done).await
    }

    async fn remove_endpoint(&self, id: EndpointId) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = remove(turn.tx(), id).await;
        turn.end(done).await
    }

    async fn rotate_secret(
        &self,
        id: EndpointId,
        secret: SecretString,
        grace: Duration,
    ) -> Result<Endpoint, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = rotate(turn.tx(), id, &secret, grace).await;
        turn.end(done).await
    }

    async fn enable_endpoint(&self, id: EndpointId) -> Result<Endpoint, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = enable(turn.tx(), id).await;
        turn.end(done).await
    }

    async fn disable_endpoint(&self, id: EndpointId, reason: &str) -> Result<Endpoint, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = disable(turn.tx(), id, reason).await;
        turn.end(done).await
    }

    async fn test_endpoint(&self, tenant: &str, id: EndpointId) -> Result<Delivery, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = test(turn.tx(), tenant, id).await;
        turn.end(done).await
    }

    async fn kept_secrets(
        &self,
        after: Option<EndpointId>,
        limit: u32,
    ) -> Result<Vec<KeptSecrets>, Error> {
        let rows = sqlx::query(
            "select e.id, coalesce(e.tenant, b.tenant) as tenant,
                    (select json_group_array(secret)
                       from (select e.secret
                              union all
                             select secret from old_secrets o
                              where o.endpoint_id = e.id)) as secrets
               from endpoints e
               left join builds b on b.id = e.build_id
              where coalesce($1, '') < e.id
              order by e.id
              limit $2",
        )
        .bind(after.map(|id| id.to_string()))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let secrets: Vec<String> = row.json("secrets")?;
                Ok(KeptSecrets {
                    endpoint: row.word("id")?,
                    tenant: row.text("tenant")?,
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
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = swap(turn.tx(), id, old, new).await;
        turn.end(done).await
    }

    async fn count_replay(&self, wanted: &ReplayWanted) -> Result<u64, Error> {
        replays::count(&mut *self.look().await?, wanted).await
    }

    async fn begin_replay(
        &self,
        id: ReplayId,
        wanted: &ReplayWanted,
        by: &str,
    ) -> Result<Replay, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = replays::begin(turn.tx(), id, wanted, by).await;
        turn.end(done).await
    }

    async fn replay(&self, id: ReplayId) -> Result<Replay, Error> {
        replays::one(&mut *self.readers.acquire().await?, id).await
    }

    async fn replays(&self, tenant: &str) -> Result<Vec<Replay>, Error> {
        replays::list(&mut *self.readers.acquire().await?, tenant).await
    }

    async fn steer_replay(&self, id: ReplayId, to: ReplayState) -> Result<Replay, Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = replays::steer(turn.tx(), id, to).await;
        turn.end(done).await
    }

    async fn go_on_replaying(&self, limit: u32) -> Result<u64, Error> {
        let running = replays::running(&mut *self.readers.acquire().await?).await?;
        let mut sent = 0;
        for id in running {
            let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
            let done = replays::step(turn.tx(), &id, limit).await;
            sent += turn.end(done).await?;
        }
        Ok(sent)
    }
}

async fn add(tx: &mut Tx, new: &NewTenantEndpoint) -> Result<Endpoint, Error> {
    let NewTenantEndpoint { id, tenant, settings, secret } = new;
    let now = tx.now;
    sqlx::query(
        "insert into endpoints (id, tenant, secret, url, events, headers, rate, concurrency, retry,
                                ordered, description, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)",
    )
    .bind(id.to_string())
    .bind(tenant)
    .bind(secret.expose_secret())
    .bind(&settings.url)
    .bind(to_json(&settings.events)?)
    .bind(to_json(&settings.headers)?)
    .bind(settings.rate.as_ref().map(to_json).transpose()?)
    .bind(settings.concurrency)
    .bind(to_json(&settings.retry)?)
    .bind(settings.ordered)
    .bind(&settings.description)
    .bind(now)
    .execute(tx.db())
    .await?;
    one(tx.db(), *id).await
}

macro_rules! select_endpoints {
    ($rest:literal) => {
        concat!(
            "select e.*, coalesce(e.tenant, b.tenant) as of_tenant,
                    iif(cast(unixepoch('subsec') * 1000 as integer) < e.held_until,
                        e.held_until, null) as held_still,
                    (select json_group_array(json_array(secret, live_until))
                       from (select secret, live_until
                               from old_secrets o
                              where o.endpoint_id = e.id
                                and cast(unixepoch('subsec') * 1000 as integer) < live_until
                              order by live_until desc)) as old_secrets
               from endpoints e
               left join builds b on b.id = e.build_id
              where e.removed_at is null and ",
            $rest
        )
    };
}

async fn one(db: &mut SqliteConnection, id: EndpointId) -> Result<Endpoint, Error> {
    let row = sqlx::query(select_endpoints!("e.id = $1"))
        .bind(id.to_string())
        .fetch_optional(db)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    read(&row)
}

async fn page(
    db: &mut SqliteConnection,
    wanted: &EndpointsWanted,
) -> Result<Page<Endpoint>, Error> {
    let rows = sqlx::query(select_endpoints!(
        "e.build_id is null
           and e.tenant = $1
           and ($2 is null or e.state = $2)
           and e.id < coalesce($3, '~')
         order by e.id desc
         limit $4"
    ))
    .bind(&wanted.tenant)
    .bind(wanted.state.map(State::as_str))
    .bind(wanted.after.map(|id| id.to_string()))
    .bind(i64::from(wanted.limit) + 1)
    .fetch_all(db)
    .await?;
    let limit = wanted.limit as usize;
    let next = limit < rows.len();
    let rows = rows.iter().take(limit).map(read).collect::<Result<_, _>>()?;
    Ok(Page { rows, next })
}

fn read(row: &SqliteRow) -> Result<Endpoint, Error> {
    let mut secrets = vec![KeptSecret { secret: row.text("secret")?.into(), until: None }];
    let old: Vec<(String, i64)> = row.json("old_secrets")?;
    secrets.extend(
        old.into_iter()
            .map(|(secret, until)| KeptSecret { secret: secret.into(), until: Some(At(until)) }),
    );
    Ok(Endpoint {
        id: row.word("id")?,
        tenant: row.text("of_tenant")?,
        build: row.word_if_any("build_id")?,
        settings: Settings {
            url: row.text("url")?,
            events: row.json("events")?,
            headers: row.json("headers")?,
            rate: row.json_if_any("rate")?,
            concurrency: row.try_get("concurrency")?,
            retry: row.json("retry")?,
            ordered: row.try_get("ordered")?,
            description: row.text("description")?,
        },
        state: row.word("state")?,
        reason: row.try_get("reason")?,
        secrets,
        health: row.json_if_any("health")?.unwrap_or_default(),
        held_until: row.at_if_any("held_still")?,
        failing_since: row.at_if_any("failing_at")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

async fn change(tx: &mut Tx, id: EndpointId, settings: &Settings) -> Result<Endpoint, Error> {
    let now = tx.now;
    sqlx::query(
        "update endpoints
            set health = iif(url = $2, health, null),
                held_until = iif(url = $2, held_until, null),
                failing_at = iif(url = $2, failing_at, null),
                url = $2, events = $3, headers = $4, rate = $5, concurrency = $6, retry = $7,
                ordered = $8, description = $9, updated_at = $10
          where id = $1 and removed_at is null",
    )
    .bind(id.to_string())
    .bind(&settings.url)
    .bind(to_json(&settings.events)?)
    .bind(to_json(&settings.headers)?)
    .bind(settings.rate.as_ref().map(to_json).transpose()?)
    .bind(settings.concurrency)
    .bind(to_json(&settings.retry)?)
    .bind(settings.ordered)
    .bind(&settings.description)
    .bind(now)
    .execute(tx.db())
    .await?;
    stir(tx);
    one(tx.db(), id).await
}

/// Something may be claimed now; what it is, only a claim finds out.
fn stir(tx: &mut Tx) {
    tx.ring([Job::Delivery(draw::id())]);
}

async fn remove(tx: &mut Tx, id: EndpointId) -> Result<(), Error> {
    let now = tx.now;
    if one(tx.db(), id).await?.build.is_some() {
        let reason = "it is the target of a build, and goes with it";
        return Err(Error::conflict("endpoint_of_build", reason));
    }
    sqlx::query(
        "update endpoints set state = 'disabled', removed_at = $2, updated_at = $2 where id = $1",
    )
    .bind(id.to_string())
    .bind(now)
    .execute(tx.db())
    .await?;
    let failure = Failure::permanent("endpoint_removed", "the endpoint was removed");
    sqlx::query(
        "update deliveries
            set state = 'exhausted', parked_on = null, due_at = null, failure = $2, settled_at = $3
          where endpoint_id = $1 and state = 'pending'",
    )
    .bind(id.to_string())
    .bind(to_json(&failure)?)
    .bind(now)
    .execute(tx.db())
    .await?;
    Ok(())
}

async fn rotate(
    tx: &mut Tx,
    id: EndpointId,
    secret: &SecretString,
    grace: Duration,
) -> Result<Endpoint, Error> {
    let (now, until) = (tx.now, tx.in_future(grace));
    let before = one(tx.db(), id).await?;
    sqlx::query("update endpoints set secret = $2, updated_at = $3 where id = $1")
        .bind(id.to_string())
        .bind(secret.expose_secret())
        .bind(now)
        .execute(tx.db())
        .await?;
    let old = before.secrets.first().map(|kept| kept.secret.expose_secret());
    if let Some(old) = old.filter(|old| !grace.is_zero() && *old != secret.expose_secret()) {
        sqlx::query(
            "insert into old_secrets (endpoint_id, secret, live_until) values ($1, $2, $3)
             on conflict (endpoint_id, secret) do update set live_until = excluded.live_until",
        )
        .bind(id.to_string())
        .bind(old)
        .bind(until)
        .execute(tx.db())
        .await?;
    }
    // Those that are over, the new one, and the first to end of those that are too many.
    sqlx::query(
        "delete from old_secrets
          where endpoint_id = $1
            and (live_until <= $2
                 or secret = $3
                 or secret not in (select secret from old_secrets
                                    where endpoint_id = $1 order by live_until desc limit $4))",
    )
    .bind(id.to_string())
    .bind(now)
    .bind(secret.expose_secret())
    .bind(i64::try_from(OLD_SECRETS_MAX).unwrap_or(i64::MAX))
    .execute(tx.db())
    .await?;
    one(tx.db(), id).await
}

async fn enable(tx: &mut Tx, id: EndpointId) -> Result<Endpoint, Error> {
    let now = tx.now;
    sqlx::query(
        "update endpoints
            set state = $2, reason = null, health = null, held_until = null, failing_at = null,
                updated_at = $3
          where id = $1 and removed_at is null",
    )
    .bind(id.to_string())
    .bind(State::Enabled.as_str())
    .bind(now)
    .execute(tx.db())
    .await?;
    stir(tx);
    one(tx.db(), id).await
}

async fn disable(tx: &mut Tx, id: EndpointId, reason: &str) -> Result<Endpoint, Error> {
    let now = tx.now;
    sqlx::query(
        "update endpoints set state = $2, reason = $3, updated_at = $4
          where id = $1 and removed_at is null",
    )
    .bind(id.to_string())
    .bind(State::Disabled.as_str())
    .bind(reason)
    .bind(now)
    .execute(tx.db())
    .await?;
    one(tx.db(), id).await
}

async fn test(tx: &mut Tx, tenant: &str, id: EndpointId) -> Result<Delivery, Error> {
    let endpoint = one(tx.db(), id).await?;
    if endpoint.tenant != tenant {
        return Err(Error::not_found(id));
    }
    if endpoint.state != State::Enabled {
        return Err(Error::conflict("endpoint_disabled", "the endpoint is disabled"));
    }
    let event = Event::endpoint_test(id);
    let seq = fares::keep(tx, id, &event).await?;
    let made = telling::make_one(tx, id, tenant, log_of(id), seq, event.kind, 3).await?;
    deliveries::one(tx.db(), made).await
}

async fn swap(
    tx: &mut Tx,
    id: EndpointId,
    old: &SecretString,
    new: &SecretString,
) -> Result<bool, Error> {
    let mut swapped = 0;
    for sql in [
        "update endpoints set secret = $3 where id = $1 and secret = $2",
        "update old_secrets set secret = $3 where endpoint_id = $1 and secret = $2",
    ] {
        swapped += sqlx::query(sql)
            .bind(id.to_string())
            .bind(old.expose_secret())
            .bind(new.expose_secret())
            .execute(tx.db())
            .await?
            .rows_affected();
    }
    Ok(0 < swapped)
}
