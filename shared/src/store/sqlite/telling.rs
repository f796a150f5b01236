//! Deliveries in the making: each event to each endpoint that wants it, and whose turn it is.
//!
//! Only the earliest open delivery of a build and ordered endpoint has its turn; the others are
//! parked, and when it becomes final, the next one enters the lane.

use serde_json::json;
use sqlx::Row as _;

use super::{
    Tx, ranks,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        endpoint::Filter,
        event::Kind,
        id::{BuildId, DeliveryId, EndpointId},
        limit::Gate,
    },
    draw,
    job::{Job, Lane},
    store::Error,
};

/// Keeps a delivery of each event for every endpoint of the build or its tenant that wants it.
pub(super) async fn announce(
    tx: &mut Tx,
    build: BuildId,
    tenant: &str,
    priority: u8,
    told: &[(i64, Kind)],
) -> Result<(), Error> {
    let endpoints = sqlx::query(
        "select id, events, ordered,
                ordered and exists (select 1 from deliveries d
                                     where d.endpoint_id = endpoints.id
                                       and d.build_id = $1
                                       and d.ordered
                                       and d.settled_at is null) as busy
           from endpoints where build_id = $1 and state = 'enabled'
          union all
         select id, events, ordered,
                ordered and exists (select 1 from deliveries d
                                     where d.endpoint_id = endpoints.id
                                       and d.build_id = $1
                                       and d.ordered
                                       and d.settled_at is null)
           from endpoints where tenant = $2 and build_id is null and state = 'enabled'",
    )
    .bind(build.to_string())
    .bind(tenant)
    .fetch_all(tx.db())
    .await?;
    for endpoint in endpoints {
        let filter: Filter = endpoint.json("events")?;
        let (to, ordered): (EndpointId, bool) =
            (endpoint.word("id")?, endpoint.try_get("ordered")?);
        // Whoever waits for others gets a rank when it is its turn.
        let mut has_turn = !endpoint.try_get::<bool, _>("busy")?;
        let mut rows = Vec::new();
        for (seq, kind) in told.iter().filter(|(_, kind)| filter.wants(*kind)) {
            let id = draw::id::<DeliveryId>();
            let rank = match has_turn {
                true => {
                    tx.ring([Job::Delivery(id)]);
                    let flow = flow(tenant, to);
                    Some(ranks::give_one(tx, Lane::Deliveries, &flow, priority).await?)
                }
                false => None,
            };
            rows.push(json!([id, seq, kind, rank]));
            has_turn &= !ordered;
        }
        if rows.is_empty() {
            continue;
        }
        sqlx::query(
            "insert into deliveries
               (tenant, build_id, endpoint_id, state, due_at, created_at, ordered, band, id, seq,
                kind, rank, parked_on)
             select $1, $2, $3, 'pending', $4, $4, $6, $7, value ->> 0, value ->> 1, value ->> 2,
                    coalesce(value ->> 3, 0.0), iif(value ->> 3 is null, 'turn', null)
               from json_each($5)",
        )
        .bind(tenant)
        .bind(build.to_string())
        .bind(to.to_string())
        .bind(tx.now)
        .bind(to_json(&rows)?)
        .bind(ordered)
        .bind(priority)
        .execute(tx.db())
        .await?;
    }
    Ok(())
}

/// Where deliveries stand in their lane: each endpoint has a flow of its own.
fn flow(tenant: &str, endpoint: EndpointId) -> String {
    format!("{tenant}\n{endpoint}")
}

/// Keeps a delivery of one event; it waits for no other.
pub(super) async fn make_one(
    tx: &mut Tx,
    to: EndpointId,
    tenant: &str,
    log: BuildId,
    seq: i64,
    kind: Kind,
    priority: u8,
) -> Result<DeliveryId, Error> {
    let id = draw::id::<DeliveryId>();
    let now = tx.now;
    let rank = ranks::give_one(tx, Lane::Deliveries, &flow(tenant, to), priority).await?;
    sqlx::query(
        "insert into deliveries
           (id, tenant, build_id, endpoint_id, seq, kind, state, due_at, created_at, band, rank,
            ordered)
         values ($1, $2, $3, $4, $5, $6, 'pending', $7, $7, $8, $9, false)",
    )
    .bind(id.to_string())
    .bind(tenant)
    .bind(log.to_string())
    .bind(to.to_string())
    .bind(seq)
    .bind(kind.as_str())
    .bind(now)
    .bind(priority)
    .bind(rank)
    .execute(tx.db())
    .await?;
    tx.ring([Job::Delivery(id)]);
    Ok(id)
}

/// Lets the earliest open delivery of a build and endpoint into the lane. It waits from now on:
/// before, it was not its turn.
pub(super) async fn pass_the_turn(
    tx: &mut Tx,
    endpoint: EndpointId,
    build: BuildId,
) -> Result<(), Error> {
    let next = sqlx::query(
        "select id, state, tenant, band, parked_on
           from deliveries
          where endpoint_id = $1 and build_id = $2 and settled_at is null and ordered
          order by seq
          limit 1",
    )
    .bind(endpoint.to_string())
    .bind(build.to_string())
    .fetch_optional(tx.db())
    .await?;
    let Some(next) = next else { return Ok(()) };
    if next.word_if_any("parked_on")? != Some(Gate::Turn) {
        return Ok(());
    }
    let (id, flow) = (next.text("id")?, flow(&next.text("tenant")?, endpoint));
    enter(tx, &id, &flow, next.try_get("band")?).await
}

/// Gives a delivery its place in the lane.
async fn enter(tx: &mut Tx, id: &str, flow: &str, priority: u8) -> Result<(), Error> {
    let rank = ranks::give_one(tx, Lane::Deliveries, flow, priority).await?;
    sqlx::query(
        "update deliveries
            set due_at = max(due_at, $2), rank = $3, parked_on = iif($2 < due_at, 'time', null)
          where id = $1",
    )
    .bind(id)
    .bind(tx.now)
    .bind(rank)
    .execute(tx.db())
    .await?;
    tx.ring([id.parse().map_err(Error::unavailable)?]);
    Ok(())
}

/// Sends a delivery again that is final.
pub(super) async fn send_again(tx: &mut Tx, id: DeliveryId) -> Result<(), Error> {
    let row = sqlx::query(
        "update deliveries
            set state = 'pending', failures = 0, crashes = 0, due_at = $2, settled_at = null,
                rank = coalesce(rank, 0.0), parked_on = 'turn'
          where id = $1
         returning endpoint_id, build_id, seq, tenant, band, ordered",
    )
    .bind(id.to_string())
    .bind(tx.now)
    .fetch_one(tx.db())
    .await?;
    let endpoint: EndpointId = row.word("endpoint_id")?;
    if !row.try_get::<bool, _>("ordered")? {
        let flow = flow(&row.text("tenant")?, endpoint);
        return enter(tx, &id.to_string(), &flow, row.try_get("band")?).await;
    }
    // Whatever comes after it waits for it now, unless somebody is sending that already.
    sqlx::query(
        "update deliveries set parked_on = 'turn'
          where endpoint_id = $1
            and build_id = $2
            and seq > $3
            and ordered
            and settled_at is null
            and state = 'pending'",
    )
    .bind(endpoint.to_string())
    .bind(row.text("build_id")?)
    .bind(row.number("seq")?)
    .execute(tx.db())
    .await?;
    pass_the_turn(tx, endpoint, row.word("build_id")?).await
}
