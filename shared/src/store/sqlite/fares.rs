//! How endpoints fare: their health, what follows for them, and who is told.

use std::time::Duration;

use sqlx::Row as _;

use super::{
    Tx,
    rows::{Columns, to_json},
    sent::Sent,
    telling,
};
use crate::{
    domain::{
        endpoint::{
            Filter, Health, State,
            health::{Ages, Notice},
            log_of,
        },
        event::Event,
        id::{EndpointId, EventId},
        limit::Rate,
    },
    draw,
    store::Error,
};

/// That of builds that say nothing of it.
const NOTICE_PRIORITY: u8 = 3;

/// Takes in what came of a request.
pub(super) async fn take_in(tx: &mut Tx, id: EndpointId, sent: &Sent) -> Result<(), Error> {
    let now = tx.now;
    let row = sqlx::query(
        "select url, build_id, state, rate, health, health_at, failing_at
           from endpoints where id = $1",
    )
    .bind(id.to_string())
    .fetch_one(tx.db())
    .await?;
    let since = |column: &str| -> Result<Option<Duration>, Error> {
        let at: Option<i64> = row.try_get(column)?;
        let ms = at.map(|at| u64::try_from(now.saturating_sub(at)).unwrap_or(0));
        Ok(ms.map(Duration::from_millis))
    };
    let rate: Option<Rate> = row.json_if_any("rate")?;
    let ages = Ages {
        health: since("health_at")?.unwrap_or(Duration::MAX),
        failing: since("failing_at")?,
        rate: rate.map(|rate| f64::from(rate.count) / rate.per.as_secs_f64().max(1e-3)),
    };
    let mut health: Health = row.json_if_any("health")?.unwrap_or_default();
    let before = health.clone();
    let turn = health.take_in(sent.seen(), ages);
    if before.is_at_rest() && health.is_at_rest() && turn.held_for.is_none() {
        return Ok(());
    }
    let is_enabled = row.word::<State>("state")? == State::Enabled;
    let disabled = turn.disabled.filter(|_| is_enabled);
    sqlx::query(
        "update endpoints
            set health = $2, health_at = $3, held_until = coalesce($4, held_until),
                failing_at = iif($5, coalesce(failing_at, $3), null),
                state = iif($6 is null, state, $7), reason = coalesce($6, reason)
          where id = $1",
    )
    .bind(id.to_string())
    .bind(to_json(&health)?)
    .bind(now)
    .bind(turn.held_for.map(|held| tx.in_future(held)))
    .bind(0 < health.streak)
    .bind(&disabled)
    .bind(State::AutoDisabled.as_str())
    .execute(tx.db())
    .await?;
    let is_of_tenant = row.try_get::<Option<&str>, _>("build_id")?.is_none();
    if is_enabled && is_of_tenant {
        let url = row.text("url")?;
        for notice in &turn.notices {
            if matches!(notice, Notice::Disabled { .. }) && disabled.is_none() {
                continue;
            }
            tell(tx, id, &Event::of_endpoint(id, &url, notice)).await?;
        }
    }
    Ok(())
}

/// Tells the other endpoints of the tenant, if they want to hear it. What is told is in the log of
/// the endpoint that it is about.
pub(super) async fn tell(tx: &mut Tx, about: EndpointId, event: &Event) -> Result<(), Error> {
    let rows = sqlx::query(
        "select l.id, l.tenant, l.events
           from endpoints a
           left join builds b on b.id = a.build_id
           join endpoints l on l.tenant = coalesce(a.tenant, b.tenant)
          where a.id = $1 and l.build_id is null and l.id <> a.id and l.state = 'enabled'
          order by l.id",
    )
    .bind(about.to_string())
    .fetch_all(tx.db())
    .await?;
    let mut seq = None;
    for row in &rows {
        let filter: Filter = row.json("events")?;
        if !filter.wants(event.kind) {
            continue;
        }
        let seq = match seq {
            Some(seq) => seq,
            None => *seq.insert(keep(tx, about, event).await?),
        };
        let (to, tenant) = (row.word("id")?, row.text("tenant")?);
        telling::make_one(tx, to, &tenant, log_of(about), seq, event.kind, NOTICE_PRIORITY).await?;
    }
    Ok(())
}

/// Writes an event about an endpoint to its log; answers with the number it has there.
pub(super) async fn keep(tx: &mut Tx, about: EndpointId, event: &Event) -> Result<i64, Error> {
    let now = tx.now;
    let log = log_of(about).to_string();
    let seq: i64 =
        sqlx::query_scalar("select coalesce(max(seq), 0) + 1 from events where build_id = $1")
            .bind(&log)
            .fetch_one(tx.db())
            .await?;
    sqlx::query(
        "insert into events (build_id, seq, id, kind, at, data) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(log)
    .bind(seq)
    .bind(draw::id::<EventId>().to_string())
    .bind(event.kind.as_str())
    .bind(now)
    .bind(to_json(&event.data)?)
    .execute(tx.db())
    .await?;
    Ok(seq)
}
