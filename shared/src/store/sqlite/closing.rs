//! Closing up flows out of which work has gone that nobody had claimed; see `domain/rank.rs`.
//!
//! The verb that takes the work away does it, unless a great deal waits in the flow: then the flow
//! is marked, and the upkeep walks it page by page, so that nobody waits long for a turn at writing.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::{
    Promise, Sqlite, Tx,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        id::BuildId,
        rank::{self, Closing},
    },
    job::Lane,
    store::Error,
};

/// How much of a flow is read and moved at once.
const PAGE: u32 = 5_000;

/// A tenant at a priority in a lane.
pub(super) struct Flow<'a> {
    pub lane: Lane,
    pub tenant: &'a str,
    pub priority: u8,
}

/// Work of a build has gone out of its lane that nobody had claimed.
pub(super) async fn left_by(tx: &mut Tx, lane: Lane, build: BuildId) -> Result<(), Error> {
    let (tenant, priority): (String, u8) =
        sqlx::query_as("select tenant, priority from builds where id = $1")
            .bind(build.to_string())
            .fetch_one(tx.db())
            .await?;
    left(tx, Flow { lane, tenant: &tenant, priority }).await
}

/// Work has gone out of a flow that nobody had claimed.
pub(super) async fn left(tx: &mut Tx, flow: Flow<'_>) -> Result<(), Error> {
    let Some(mut walk) = Walk::begin(tx.db(), &flow).await? else { return Ok(()) };
    let moved = walk.page(tx.db(), &flow).await?;
    if walk.is_over {
        move_forward(tx, flow.lane, &moved).await?;
        return end(tx, &flow, &walk).await;
    }
    sqlx::query(
        "update flows set gapped_at = $4 where lane = $1 and tenant = $2 and priority = $3",
    )
    .bind(flow.lane.as_str())
    .bind(flow.tenant)
    .bind(flow.priority)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    Ok(())
}

/// Closes up to `limit` flows up that were marked; answers with how many.
pub(super) async fn close_up(store: &Sqlite, limit: u32) -> Result<u64, Error> {
    let gapped = sqlx::query(
        "select lane, tenant, priority from flows where gapped_at is not null
          order by lane, tenant, priority limit $1",
    )
    .bind(limit)
    .fetch_all(&store.readers)
    .await?;
    for row in &gapped {
        let tenant = row.text("tenant")?;
        let flow =
            Flow { lane: row.word("lane")?, tenant: &tenant, priority: row.try_get("priority")? };
        walk_all(store, &flow).await?;
    }
    Ok(gapped.len() as u64)
}

async fn walk_all(store: &Sqlite, flow: &Flow<'_>) -> Result<(), Error> {
    let mut reader = store.readers.acquire().await?;
    let Some(mut walk) = Walk::begin(&mut reader, flow).await? else { return Ok(()) };
    while !walk.is_over {
        let moved = walk.page(&mut reader, flow).await?;
        let mut turn = store.writer.turn(Promise::OutlivesProcess).await?;
        let mut done = move_forward(turn.tx(), flow.lane, &moved).await;
        if done.is_ok() && walk.is_over {
            done = end(turn.tx(), flow, &walk).await;
        }
        turn.end(done).await?;
    }
    Ok(())
}

/// A flow, and how far it was walked, in order of rank.
struct Walk {
    closing: Closing,
    /// What the flow's next work would follow on, when it began.
    last: f64,
    /// Behind whom the next page begins.
    behind: (f64, String),
    is_over: bool,
}

impl Walk {
    /// `None` if the lane has overtaken the flow: then there is nothing to close up.
    async fn begin(db: &mut SqliteConnection, flow: &Flow<'_>) -> Result<Option<Self>, Error> {
        let row: Option<(f64, f64, f64)> = sqlx::query_as(
            "select f.last, l.virtual_time, coalesce(w.weight, $4)
               from flows f
               join lanes l on l.lane = f.lane
               left join weights w on w.tenant = f.tenant
              where f.lane = $1 and f.tenant = $2 and f.priority = $3 and l.virtual_time < f.last",
        )
        .bind(flow.lane.as_str())
        .bind(flow.tenant)
        .bind(flow.priority)
        .bind(rank::WEIGHT)
        .fetch_optional(db)
        .await?;
        Ok(row.map(|(last, virtual_time, weight)| Self {
            closing: Closing::of(virtual_time, weight),
            last,
            behind: (f64::NEG_INFINITY, String::new()),
            is_over: false,
        }))
    }

    /// Reads what waits next; answers with those that move, and their new ranks.
    async fn page(
        &mut self,
        db: &mut SqliteConnection,
        flow: &Flow<'_>,
    ) -> Result<Vec<(String, f64)>, Error> {
        let rows = sqlx::query(waiting(flow.lane))
            .bind(flow.tenant)
            .bind(flow.priority)
            .bind(self.behind.0)
            .bind(&self.behind.1)
            .bind(PAGE)
            .fetch_all(db)
            .await?;
        self.is_over = rows.len() < PAGE as usize;
        let mut moved = Vec::new();
        for row in &rows {
            let (id, at): (String, f64) = (row.text("id")?, row.try_get("rank")?);
            let placed = self.closing.place(rank::tag(at, flow.priority), row.count("cost")?);
            let placed = rank::rank(placed, flow.priority);
            if placed < at {
                moved.push((id.clone(), placed));
            }
            self.behind = (at, id);
        }
        Ok(moved)
    }
}

/// By the builds of the tenant: the indices of claims hold the work of all tenants.
const fn waiting(lane: Lane) -> &'static str {
    match lane {
        Lane::Plans => {
            "select id, rank, 1 as cost
               from builds
              where +state = 'queued' and tenant = $1 and priority = $2 and ($3, $4) < (rank, id)
              order by rank, id
              limit $5"
        }
        Lane::Tasks => {
            "select t.id, t.rank, t.cost
               from builds b
               cross join tasks t on t.plan_id = b.plan_id
              where b.tenant = $1
                and b.priority = $2
                and b.settled_at is null
                and +t.state = 'ready'
                and ($3, $4) < (t.rank, t.id)
              order by t.rank, t.id
              limit $5"
        }
        // Each endpoint has flows of its own, and nothing goes out of them unclaimed.
        Lane::Deliveries => {
            "select id, rank, 1 as cost from deliveries
              where false and $1 = $2 and $3 = $4 limit $5"
        }
    }
}

/// What has gone meanwhile stays as it is.
async fn move_forward(tx: &mut Tx, lane: Lane, moved: &[(String, f64)]) -> Result<(), Error> {
    if moved.is_empty() {
        return Ok(());
    }
    let (table, ready) = match lane {
        Lane::Plans => ("builds", "queued"),
        Lane::Tasks => ("tasks", "ready"),
        Lane::Deliveries => ("deliveries", "pending"),
    };
    // All parts are constants of this file.
    sqlx::query(AssertSqlSafe(format!(
        "update {table} set rank = j.value ->> 1
           from json_each($1) j
          where {table}.id = j.value ->> 0
            and +{table}.state = '{ready}'
            and j.value ->> 1 < {table}.rank"
    )))
    .bind(to_json(moved)?)
    .execute(tx.db())
    .await?;
    Ok(())
}

/// The flow's next work follows on the last that waits. If more has entered it since the walk began,
/// that stands behind the gap: then the flow is walked once more.
async fn end(tx: &mut Tx, flow: &Flow<'_>, walk: &Walk) -> Result<(), Error> {
    sqlx::query(
        "update flows
            set gapped_at = iif(last = $4, null, gapped_at), last = last + ($5 - $4)
          where lane = $1 and tenant = $2 and priority = $3 and $4 <= last",
    )
    .bind(flow.lane.as_str())
    .bind(flow.tenant)
    .bind(flow.priority)
    .bind(walk.last)
    .bind(walk.closing.end())
    .execute(tx.db())
    .await?;
    Ok(())
}
