//! Where work enters its lane: it is given a rank when it becomes ready. See `domain/rank.rs`.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Row};

use super::*;
use crate::domain::rank;

/// A tenant at a priority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flow {
    pub tenant: String,
    pub priority: i16,
}

impl Flow {
    pub fn band(&self) -> u8 {
        // Written from a byte; see `Brief::priority`.
        u8::try_from(self.priority).unwrap_or(u8::MAX)
    }
}

/// Moves flows on, each time in a commit of its own that does not wait for the disk: otherwise all
/// commits of a tenant would wait for each other. A rank that was given and not used, or given
/// twice after a crash, harms nobody. Its connections are its own, so that it waits for no commit
/// that waits for it.
#[derive(Debug, Clone)]
pub(super) struct Flows(pub PgPool);

impl Flows {
    /// Where work stands in its lane that enters it now: for each flow, in the order of its costs.
    pub async fn ranks(
        &self,
        lane: Lane,
        entering: &BTreeMap<Flow, Vec<u32>>,
    ) -> Result<BTreeMap<Flow, Vec<f64>>, Error> {
        if entering.is_empty() {
            return Ok(BTreeMap::new());
        }
        let units =
            |costs: &Vec<u32>| costs.iter().map(|&cost| f64::from(cost.max(1))).sum::<f64>();
        let rows = sqlx::query(include_str!("sql/enter_flows.sql"))
            .bind(lane.as_str())
            .bind(entering.keys().map(|flow| flow.tenant.as_str()).collect::<Vec<_>>())
            .bind(entering.keys().map(|flow| flow.priority).collect::<Vec<_>>())
            .bind(entering.values().map(units).collect::<Vec<_>>())
            .fetch_all(&self.0)
            .await?;
        let mut ranks = BTreeMap::new();
        for row in rows {
            let flow = Flow { tenant: row.try_get("tenant")?, priority: row.try_get("priority")? };
            let (last, weight): (f64, f64) = (row.try_get("last")?, row.try_get("weight")?);
            let Some(costs) = entering.get(&flow) else { continue };
            let first = last - units(costs) / weight;
            let (tags, _) = rank::tags(first, first, weight, costs);
            let band = flow.band();
            ranks.insert(flow, tags.into_iter().map(|tag| rank::rank(tag, band)).collect());
        }
        Ok(ranks)
    }

    /// The rank of one piece of work of cost 1.
    pub async fn rank_of_one(&self, lane: Lane, flow: Flow) -> Result<f64, Error> {
        let ranks = self.ranks(lane, &BTreeMap::from([(flow, vec![1])])).await?;
        Ok(ranks.into_values().flatten().next().unwrap_or_default())
    }
}

/// How many builds are given their rank at once.
const HANDED_IN_MOST: i64 = 500;

/// Gives builds a rank that `buildfleet.submit` handed in, and with it their place in the lane.
pub(super) async fn rank_handed_in(db: &Db) -> Result<(), Error> {
    const UNRANKED: &str = "select id, tenant, priority
         from builds
        where state = 'queued' and parked_on = 'turn'
        order by id
        limit $1
          for no key update skip locked";
    let mut tx = db.pool.begin().await?;
    let rows = sqlx::query(UNRANKED).bind(HANDED_IN_MOST).fetch_all(&mut *tx).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut entering: BTreeMap<Flow, Vec<String>> = BTreeMap::new();
    for row in rows {
        let flow = Flow { tenant: row.try_get("tenant")?, priority: row.try_get("priority")? };
        entering.entry(flow).or_default().push(row.try_get("id")?);
    }
    let costs = entering.iter().map(|(flow, ids)| (flow.clone(), vec![1; ids.len()])).collect();
    let ranks = db.flows.ranks(Lane::Plans, &costs).await?;
    let ids: Vec<String> = entering.into_values().flatten().collect();
    sqlx::query(
        "update builds b
            set parked_on = null, rank = u.rank
           from unnest($1::text[], $2::float8[]) as u (id, rank)
          where b.id = u.id",
    )
    .bind(ids)
    // Both are in the order of the flows.
    .bind(ranks.into_values().flatten().collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// How long until the next work that waits for its time is due; none in a lane that is paused.
pub(super) async fn next_due(pool: &PgPool, lane: Lane) -> Result<Option<Duration>, Error> {
    let table = claiming::table_of(lane);
    let sql = format!(
        "select extract(epoch from min(due_at) - clock_timestamp())::float8
           from {table}
          where parked_on = 'time'
            and not exists (select 1 from pauses where gate = $1)"
    );
    let secs: Option<f64> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(Gate::Lane(lane).to_string())
        .fetch_one(pool)
        .await?;
    Ok(secs.map(|secs| Duration::try_from_secs_f64(secs).unwrap_or(Duration::ZERO)))
}
