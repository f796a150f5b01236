//! Ranks: given when work becomes ready, and kept for its retries. The rules are in
//! `domain/rank.rs`.

use super::Tx;
use crate::{domain::rank, job::Lane, store::Error};

/// The ranks of work that enters a lane together, in the order of its costs.
pub(super) async fn give(
    tx: &mut Tx,
    lane: Lane,
    tenant: &str,
    priority: u8,
    costs: &[u32],
) -> Result<Vec<f64>, Error> {
    let (virtual_time, last, weight): (f64, f64, f64) = sqlx::query_as(
        "select virtual_time,
                coalesce((select last from flows
                           where flows.lane = lanes.lane and tenant = $2 and priority = $3), 0.0),
                coalesce((select weight from weights where tenant = $5), $4)
           from lanes where lane = $1",
    )
    .bind(lane.as_str())
    .bind(tenant)
    .bind(priority)
    .bind(rank::WEIGHT)
    // What comes after a line break is an endpoint.
    .bind(tenant.split('\n').next())
    .fetch_one(tx.db())
    .await?;
    let (tags, last) = rank::tags(virtual_time, last, weight, costs);
    sqlx::query(
        "insert into flows (lane, tenant, priority, last) values ($1, $2, $3, $4)
         on conflict (lane, tenant, priority) do update set last = excluded.last",
    )
    .bind(lane.as_str())
    .bind(tenant)
    .bind(priority)
    .bind(last)
    .execute(tx.db())
    .await?;
    Ok(tags.into_iter().map(|tag| rank::rank(tag, priority)).collect())
}

/// The rank of one piece of work of cost 1.
pub(super) async fn give_one(
    tx: &mut Tx,
    lane: Lane,
    tenant: &str,
    priority: u8,
) -> Result<f64, Error> {
    let ranks = give(tx, lane, tenant, priority, &[1]).await?;
    Ok(ranks.first().copied().unwrap_or_default())
}

/// Forgets flows that say no more than the virtual time does.
pub(super) async fn forget_idle_flows(tx: &mut Tx) -> Result<(), Error> {
    sqlx::query(
        "delete from flows
          where last < (select virtual_time from lanes where lanes.lane = flows.lane)",
    )
    .execute(tx.db())
    .await?;
    Ok(())
}
