//! Closing up flows out of which work has gone that nobody had claimed; see `domain/rank.rs`.
//!
//! The commit that takes the work away marks the flow, as the last thing it does: a flow is moved
//! on by commits of their own (`Flows`), and one that this commit asked for later would wait for
//! it. Once the commit stands, the flow is walked in order of rank and what waits is moved forward,
//! in commits of their own again: a few rows each, none that is locked, none that has meanwhile
//! gone. What was given its rank before and was committed after is found by a second walk.
//!
//! No commit waits for anything while it holds a flow but for another flow, in one order.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{queueing::Flow, rows::Columns, *};
use crate::domain::rank::{self, Closing};

/// Flows that lose work in a commit.
pub(super) type Left = BTreeSet<(Lane, Flow)>;

/// How much of a flow is read at once.
const PAGE: i64 = 10_000;
/// Rows moved by one commit: while it is made, no claim takes them.
const MOVED_AT_ONCE: usize = 1_000;
/// Rounds. A commit that others wait behind closes up at once what is ahead by no more than this.
const AHEAD_LITTLE: f64 = 5_000.0;
/// Milliseconds. After that, another process may begin to walk the same flow.
const WALKED_WITHIN: &str = "300000";
/// Seconds after which every commit that was on its way has ended.
const ON_THEIR_WAY: f64 = 5.0;

/// Flows that were marked, and by how many rounds each is ahead of its lane.
pub(super) struct Marked(Vec<(Lane, Flow, f64)>);

/// Marks flows. The last statement of its commit.
pub(super) async fn mark(conn: &mut PgConnection, left: &Left) -> Result<Marked, Error> {
    if left.is_empty() {
        return Ok(Marked(Vec::new()));
    }
    let rows = sqlx::query(include_str!("sql/mark_gapped.sql"))
        .bind(left.iter().map(|(lane, _)| lane.as_str()).collect::<Vec<_>>())
        .bind(left.iter().map(|(_, flow)| flow.tenant.as_str()).collect::<Vec<_>>())
        .bind(left.iter().map(|(_, flow)| flow.priority).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    let read = |row: &PgRow| Ok((row.word("lane")?, read_flow(row)?, row.try_get("ahead")?));
    rows.iter().map(read).collect::<Result<_, Error>>().map(Marked)
}

fn read_flow(row: &PgRow) -> Result<Flow, Error> {
    Ok(Flow { tenant: row.try_get("tenant")?, priority: row.try_get("priority")? })
}

impl Marked {
    /// Closes up what a commit has marked. What takes longer, or fails, is left to the upkeep: the
    /// commit stands.
    pub async fn close_up(self, db: &Db) {
        for (lane, flow, _) in self.0 {
            if let Err(error) = walk(db, lane, &flow, 1).await {
                tracing::debug!(%error, %lane, tenant = flow.tenant, "a flow is closed up later");
            }
        }
    }

    /// The same, for a commit that others wait behind: only where not much can wait.
    pub async fn close_up_quickly(mut self, db: &Db) {
        self.0.retain(|(.., ahead)| *ahead <= AHEAD_LITTLE);
        self.close_up(db).await;
    }
}

/// Closes up `limit` flows at most; answers with how many. Only one process walks a flow at a time.
pub(super) async fn close_up(db: &Db, limit: u32) -> Result<u64, Error> {
    // Whoever walks holds a connection for the while and asks for a second one.
    let Ok(_only) = db.walking.try_lock() else { return Ok(0) };
    let rows = sqlx::query(include_str!("sql/gapped_flows.sql"))
        .bind(i64::from(limit))
        .fetch_all(&db.pool)
        .await?;
    let mut closed = 0;
    for row in &rows {
        let (lane, flow): (Lane, _) = (row.word("lane")?, read_flow(row)?);
        let mut alone = db.pool.begin().await?;
        let is_alone = sqlx::query_scalar(
            "select pg_try_advisory_xact_lock(hashtextextended($1, 0))
               from set_config('idle_in_transaction_session_timeout', $2, true)",
        )
        .bind(format!("closing up {lane} {} {}", flow.priority, flow.tenant))
        .bind(WALKED_WITHIN)
        .fetch_one(&mut *alone)
        .await?;
        if is_alone {
            closed += u64::from(walk(db, lane, &flow, usize::MAX).await?);
        }
        alone.rollback().await?;
    }
    Ok(closed)
}

/// Walks a flow, and moves forward what waits in it. Answers with whether it came to its end within
/// so many pages.
async fn walk(db: &Db, lane: Lane, flow: &Flow, pages: usize) -> Result<bool, Error> {
    let (waiting, table, ready) = match lane {
        Lane::Plans => (include_str!("sql/waiting_builds.sql"), "builds", "queued"),
        Lane::Tasks => (include_str!("sql/waiting_tasks.sql"), "tasks", "ready"),
        // Each endpoint has flows of its own, and nothing goes out of them unclaimed.
        Lane::Deliveries => return Ok(true),
    };
    let mut walked: Option<Walked> = None;
    for _ in 0..pages {
        let (rank, id) =
            walked.as_ref().map_or((f64::NEG_INFINITY, ""), |walked| (walked.rank, &walked.id));
        let rows = sqlx::query(waiting)
            .bind(&flow.tenant)
            .bind(flow.priority)
            .bind(rank)
            .bind(id)
            .bind(PAGE)
            .fetch_all(&db.pool)
            .await?;
        // None: it was forgotten, since the lane has overtaken it.
        let Some(first) = rows.first() else { return Ok(true) };
        let walked = match &mut walked {
            Some(walked) => walked,
            None => walked.insert(Walked::begin(first)?),
        };
        let moved = walked.place(&rows, flow.band())?;
        for (ids, ranks) in moved.0.chunks(MOVED_AT_ONCE).zip(moved.1.chunks(MOVED_AT_ONCE)) {
            // All parts are constants of this file.
            sqlx::query(AssertSqlSafe(moving(table, ready)))
                .bind(ids)
                .bind(ranks)
                .execute(&db.pool)
                .await?;
        }
        if walked.read < PAGE {
            return end(&db.pool, lane, flow, walked, first.try_get("last")?).await;
        }
    }
    Ok(false)
}

/// How far a walk has come.
struct Walked {
    closing: Closing,
    /// The marks that the flow had when it began.
    marks: String,
    /// How many it read with the last page, and behind whom the next one begins.
    read: i64,
    rank: f64,
    id: String,
}

impl Walked {
    fn begin(row: &PgRow) -> Result<Self, Error> {
        let closing = Closing::of(row.try_get("virtual_time")?, row.try_get("weight")?);
        let marks = row.try_get("marks")?;
        Ok(Self { closing, marks, read: 0, rank: f64::NEG_INFINITY, id: String::new() })
    }

    /// Answers with those that move, and their new ranks.
    fn place(&mut self, rows: &[PgRow], band: u8) -> Result<(Vec<String>, Vec<f64>), Error> {
        let mut moved = (Vec::new(), Vec::new());
        self.read = 0;
        for row in rows {
            // Where nothing waits, there is one row that tells of the flow alone.
            let Some(id) = row.try_get::<Option<String>, _>("id")? else { continue };
            let (at, cost): (f64, _) = (row.try_get("rank")?, row.count("cost")?);
            let placed = rank::rank(self.closing.place(rank::tag(at, band), cost), band);
            if placed < at {
                moved.0.push(id.clone());
                moved.1.push(placed);
            }
            (self.read, self.rank, self.id) = (self.read + 1, at, id);
        }
        Ok(moved)
    }
}

/// Rows that somebody is writing to are about to leave, or are found by the second walk.
fn moving(table: &str, ready: &str) -> String {
    format!(
        "with moving as (
           select w.id, u.rank
             from unnest($1::text[], $2::float8[]) as u (id, rank)
             join {table} w on w.id = u.id
            where w.state is not distinct from '{ready}'
              and u.rank < w.rank
              for no key update of w skip locked
         )
         update {table} w
            set rank = m.rank
           from moving m
          where w.id = m.id"
    )
}

/// Whether the flow is closed up with that.
async fn end(
    pool: &PgPool,
    lane: Lane,
    flow: &Flow,
    walked: &Walked,
    last: f64,
) -> Result<bool, Error> {
    let closed = sqlx::query(include_str!("sql/closed_up.sql"))
        .bind(lane.as_str())
        .bind(&flow.tenant)
        .bind(flow.priority)
        .bind(walked.closing.end() - last)
        .bind(&walked.marks)
        .bind(ON_THEIR_WAY)
        .execute(pool)
        .await?;
    Ok(closed.rows_affected() == 1)
}
