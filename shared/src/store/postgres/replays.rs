//! Deliveries that are sent again together: step by step, so that no number of them is too many.
//!
//! First goes what was sent and is final, in the order in which it was made; then, if that was
//! asked for, what its endpoint never heard of. How far it is stands in its row, in the commit that
//! got it there.

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    lock::Contended,
    operating::{DELIVERY_FILTER, bind_delivery_filter},
    rows::{Columns, document},
    *,
};
use crate::{
    domain::{
        endpoint::Filter,
        event::Kind,
        id::{EndpointId, ReplayId},
    },
    store::audit::Change,
};

/// Replays that go on in one round.
const ROUND_MOST: i64 = 16;

/// Final, and made before the replay.
const FINAL: &str = "d.settled_at is not null
    and d.created_at
      < coalesce((select created_at from replays where id = $10), clock_timestamp())";

/// Events of the tenant that its endpoint wants and never heard of; see `Missing`.
const MISSING: &str = "from builds b
    join events v on v.build_id = b.id
   where b.tenant = $1
     and to_timestamp($3 / 1000.0) <= b.updated_at
     and to_timestamp($3 / 1000.0) <= v.at
     and ($4::bigint is null or v.at < to_timestamp($4 / 1000.0))
     and v.kind = any($5)
     and not exists (
       select 1
         from deliveries d
        where d.build_id = v.build_id and d.seq = v.seq and d.endpoint_id = $2
     )";

pub(super) async fn count(pool: &PgPool, wanted: &ReplayWanted) -> Result<u64, Error> {
    count_in(&mut *pool.acquire().await?, wanted).await
}

async fn count_in(conn: &mut PgConnection, wanted: &ReplayWanted) -> Result<u64, Error> {
    let sql =
        format!("select count(*) as found from deliveries d where {DELIVERY_FILTER} and {FINAL}");
    let count = sqlx::query(AssertSqlSafe(sql));
    let sent = bind_delivery_filter(count, &wanted.filter)
        .bind(None::<String>)
        .fetch_one(&mut *conn)
        .await?
        .size("found")?;
    let missing = match Missing::of(conn, wanted).await? {
        Some(missing) => missing.count(conn).await?,
        None => 0,
    };
    Ok(sent + missing)
}

/// What an endpoint never heard of.
struct Missing {
    tenant: String,
    endpoint: EndpointId,
    since: i64,
    until: Option<i64>,
    kinds: Vec<&'static str>,
}

impl Missing {
    /// `None` if that is not wanted, or the endpoint is gone.
    async fn of(conn: &mut PgConnection, wanted: &ReplayWanted) -> Result<Option<Self>, Error> {
        let (Some(endpoint), Some(At(since))) = (wanted.missing, wanted.filter.created.since)
        else {
            return Ok(None);
        };
        let row = sqlx::query(
            "select events from endpoints where id = $1 and tenant = $2 and removed_at is null",
        )
        .bind(endpoint.to_string())
        .bind(&wanted.filter.tenant)
        .fetch_optional(conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let filter: Filter = row.json("events")?;
        let meant = wanted.filter.kind;
        let kinds = Kind::ALL
            .iter()
            .filter(|kind| filter.wants(**kind) && meant.is_none_or(|meant| meant == **kind))
            .map(|kind| kind.as_str())
            .collect();
        Ok(Some(Self {
            tenant: wanted.filter.tenant.clone(),
            endpoint,
            since,
            until: wanted.filter.created.until.map(|At(until)| until),
            kinds,
        }))
    }

    fn bind<'q>(
        &'q self,
        query: sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>,
    ) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
        query
            .bind(&self.tenant)
            .bind(self.endpoint.to_string())
            .bind(self.since)
            .bind(self.until)
            .bind(&self.kinds)
    }

    async fn count(&self, conn: &mut PgConnection) -> Result<u64, Error> {
        let count = sqlx::query(AssertSqlSafe(format!("select count(*) as found {MISSING}")));
        Ok(self.bind(count).fetch_one(conn).await?.size("found")?)
    }

    /// What comes behind a place, in the order of builds and their logs.
    async fn next(
        &self,
        conn: &mut PgConnection,
        (build, seq): (&str, i64),
        limit: i64,
    ) -> Result<Vec<(BuildId, i64, Kind)>, Error> {
        let next = sqlx::query(AssertSqlSafe(format!(
            "select v.build_id, v.seq, v.kind {MISSING}
                and (v.build_id, v.seq) > ($6, $7)
              order by v.build_id, v.seq
              limit $8"
        )));
        let rows = self.bind(next).bind(build).bind(seq).bind(limit).fetch_all(conn).await?;
        rows.iter()
            .map(|row| Ok((row.word("build_id")?, row.try_get("seq")?, row.word("kind")?)))
            .collect()
    }
}

pub(super) async fn begin(
    pool: &PgPool,
    id: ReplayId,
    wanted: &ReplayWanted,
    by: &str,
) -> Result<Replay, Error> {
    let mut tx = pool.begin().await?;
    let total = count_in(&mut tx, wanted).await?;
    sqlx::query(
        "insert into replays (id, tenant, wanted, state, total, by)
         values ($1, $2, $3::json, $4, $5, $6)",
    )
    .bind(id.to_string())
    .bind(&wanted.filter.tenant)
    .bind(document(wanted)?)
    .bind(ReplayState::Running.as_str())
    .bind(i64::try_from(total).unwrap_or(i64::MAX))
    .bind(by)
    .execute(&mut *tx)
    .await?;
    let detail = serde_json::to_value(wanted).map_err(Error::unavailable)?;
    let change = Change::Bulk { action: "replay", subject: "deliveries", detail: &detail };
    limits::note(&mut tx, by, change).await?;
    let replay = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(replay)
}

pub(super) async fn view(conn: &mut PgConnection, id: ReplayId) -> Result<Replay, Error> {
    let row = sqlx::query("select * from replays where id = $1")
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    read(&row)
}

pub(super) async fn list(pool: &PgPool, tenant: &str) -> Result<Vec<Replay>, Error> {
    let rows = sqlx::query("select * from replays where tenant = $1 order by id desc limit 100")
        .bind(tenant)
        .fetch_all(pool)
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<Replay, Error> {
    Ok(Replay {
        id: row.word("id")?,
        tenant: row.try_get("tenant")?,
        state: row.word("state")?,
        total: row.size("total")?,
        done: row.size("done")?,
        by: row.try_get("by")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        settled_at: row.try_get("settled_at")?,
    })
}

pub(super) async fn steer(pool: &PgPool, id: ReplayId, to: ReplayState) -> Result<Replay, Error> {
    let mut tx = pool.begin().await?;
    // Waits for whoever is going on with it.
    sqlx::query("select 1 from replays where id = $1 for no key update")
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
    let before = view(&mut tx, id).await?;
    if before.settled_at.is_some() {
        let reason = format!("the replay is {} already", before.state);
        return Err(Error::conflict("replay_ended", reason));
    }
    sqlx::query(
        "update replays
            set state = $2, updated_at = clock_timestamp(),
                settled_at = case when $3 then clock_timestamp() end
          where id = $1",
    )
    .bind(id.to_string())
    .bind(to.as_str())
    .bind(matches!(to, ReplayState::Done | ReplayState::Cancelled))
    .execute(&mut *tx)
    .await?;
    let after = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(after)
}

pub(super) async fn go_on(db: &Db, limit: u32) -> Result<u64, Error> {
    let running: Vec<String> =
        sqlx::query_scalar("select id from replays where state = 'running' order by id limit $1")
            .bind(ROUND_MOST)
            .fetch_all(&db.pool)
            .await?;
    let mut sent = 0;
    for id in running {
        let (one, entered) = again(|| step(db, &id, i64::from(limit))).await?;
        sent += one;
        db.bell.ring(entered);
    }
    Ok(sent)
}

/// One step of one replay, unless somebody else takes it.
async fn step(db: &Db, id: &str, limit: i64) -> Result<(u64, Vec<Job>), Error> {
    let mut tx = db.pool.begin().await?;
    let row = sqlx::query(
        "select wanted, place from replays where id = $1 and state = 'running'
            for no key update skip locked",
    )
    .bind(id)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok((0, Vec::new())) };
    let (wanted, place): (ReplayWanted, Option<String>) =
        (row.json("wanted")?, row.try_get("place")?);
    let place = place.unwrap_or_default();
    let mut step = match place.split_once(' ') {
        Some((build, seq)) => {
            let after = (build, seq.parse().map_err(Error::unavailable)?);
            send_missing(&mut tx, db, &wanted, after, limit).await?
        }
        None => send_again(&mut tx, db, id, &wanted, &place, limit).await?,
    };
    if step.place.as_deref() == Some(MISSING_FIRST) {
        step = send_missing(&mut tx, db, &wanted, ("", 0), limit).await?;
    }
    sqlx::query(
        "update replays
            set done = done + $2, place = coalesce($3, place), updated_at = clock_timestamp(),
                state = case when $3 is null then 'done' else state end,
                settled_at = case when $3 is null then clock_timestamp() end
          where id = $1",
    )
    .bind(id)
    .bind(step.sent)
    .bind(step.place)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((step.sent.unsigned_abs(), step.entered))
}

struct Step {
    sent: i64,
    /// Where it goes on; `None` if it is done.
    place: Option<String>,
    entered: Vec<Job>,
}

/// Nothing is left to be sent again; what is missing comes next, from the first event of the first
/// build on.
const MISSING_FIRST: &str = " 0";

async fn send_again(
    conn: &mut PgConnection,
    db: &Db,
    replay: &str,
    wanted: &ReplayWanted,
    after: &str,
    limit: i64,
) -> Result<Step, Error> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "select d.id, d.build_id, d.ordered
           from deliveries d
          where {DELIVERY_FILTER} and {FINAL} and $11 < d.id
          order by d.id
          limit $12"
    )));
    let rows = bind_delivery_filter(rows, &wanted.filter)
        .bind(replay)
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *conn)
        .await?;
    let mut ids = Vec::with_capacity(rows.len());
    let mut builds = Vec::new();
    for row in &rows {
        ids.push(row.try_get::<String, _>("id")?);
        if row.try_get("ordered")? {
            builds.push(row.word("build_id")?);
        }
    }
    let place = match (ids.last(), wanted.missing) {
        (Some(last), _) => Some(last.clone()),
        (None, Some(_)) => Some(MISSING_FIRST.to_owned()),
        (None, None) => None,
    };
    builds.sort_unstable();
    builds.dedup();
    if !builds.is_empty() {
        lock::builds(conn, &builds, Contended::Wait).await?;
    }
    let entered = deliveries::send_again(conn, &db.flows, &ids).await?;
    Ok(Step { sent: i64::try_from(ids.len()).unwrap_or(i64::MAX), place, entered })
}

async fn send_missing(
    conn: &mut PgConnection,
    db: &Db,
    wanted: &ReplayWanted,
    after: (&str, i64),
    limit: i64,
) -> Result<Step, Error> {
    let done = Step { sent: 0, place: None, entered: Vec::new() };
    let Some(missing) = Missing::of(conn, wanted).await? else { return Ok(done) };
    // Two replays of one endpoint make nothing twice.
    sqlx::query("select 1 from endpoints where id = $1 for no key update")
        .bind(missing.endpoint.to_string())
        .execute(&mut *conn)
        .await?;
    let events = missing.next(conn, after, limit).await?;
    let Some((build, seq, _)) = events.last() else { return Ok(done) };
    let place = Some(format!("{build} {seq}"));
    let to = events::To {
        endpoint: missing.endpoint,
        tenant: missing.tenant.clone(),
        // What comes late comes in no order.
        ordered: false,
    };
    let mut made = events::Made::default();
    for (build, seq, kind) in &events {
        made.add_one(&to, *build, *seq, *kind, fares::NOTICE_PRIORITY);
    }
    let entered = made.write(conn, &db.flows).await?;
    Ok(Step { sent: i64::try_from(events.len()).unwrap_or(i64::MAX), place, entered })
}
