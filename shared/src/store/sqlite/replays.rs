//! Deliveries that are sent again together: step by step, so that no number of them is too many.
//!
//! First goes what was sent and is final, in the order in which it was made; then, if that was
//! asked for, what its endpoint never heard of. How far it is stands in its row, in the commit that
//! got it there.

use sqlx::{AssertSqlSafe, SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, gates,
    operating::{DELIVERY_FILTER, bind_delivery_filter},
    rows::{Columns, to_json},
    telling,
};
use crate::{
    domain::{
        endpoint::Filter,
        event::Kind,
        id::{BuildId, EndpointId, ReplayId},
    },
    store::{At, Error, Replay, ReplayState, ReplayWanted, audit::Change},
};

/// Replays that go on in one round.
const ROUND_MOST: u32 = 16;

/// Final, and made before the replay.
const FINAL: &str = "d.settled_at is not null
    and d.created_at <= coalesce((select created_at from replays where id = $10), d.created_at)";

/// Events of the tenant that its endpoint wants and never heard of; see `Missing`.
const MISSING: &str = "from builds b
    join events v on v.build_id = b.id
   where b.tenant = $1
     and $3 <= b.updated_at
     and $3 <= v.at
     and ($4 is null or v.at < $4)
     and v.kind in (select value from json_each($5))
     and not exists (
       select 1
         from deliveries d
        where d.build_id = v.build_id and d.seq = v.seq and d.endpoint_id = $2
     )";

pub(super) async fn count(db: &mut SqliteConnection, wanted: &ReplayWanted) -> Result<u64, Error> {
    let sql =
        format!("select count(*) as found from deliveries d where {DELIVERY_FILTER} and {FINAL}");
    let count = sqlx::query(AssertSqlSafe(sql));
    let row = bind_delivery_filter(count, &wanted.filter)?
        .bind(None::<String>)
        .fetch_one(&mut *db)
        .await?;
    let missing = match Missing::of(db, wanted).await? {
        Some(missing) => missing.count(db).await?,
        None => 0,
    };
    Ok(row.number("found")?.unsigned_abs() + missing)
}

/// What an endpoint never heard of.
struct Missing {
    tenant: String,
    endpoint: EndpointId,
    since: i64,
    until: Option<i64>,
    /// As JSON.
    kinds: String,
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

impl Missing {
    /// `None` if that is not wanted, or the endpoint is gone.
    async fn of(db: &mut SqliteConnection, wanted: &ReplayWanted) -> Result<Option<Self>, Error> {
        let (Some(endpoint), Some(At(since))) = (wanted.missing, wanted.filter.created.since)
        else {
            return Ok(None);
        };
        let row = sqlx::query(
            "select events from endpoints where id = $1 and tenant = $2 and removed_at is null",
        )
        .bind(endpoint.to_string())
        .bind(&wanted.filter.tenant)
        .fetch_optional(db)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let filter: Filter = row.json("events")?;
        let meant = wanted.filter.kind;
        let kinds: Vec<&str> = Kind::ALL
            .iter()
            .filter(|kind| filter.wants(**kind) && meant.is_none_or(|meant| meant == **kind))
            .map(|kind| kind.as_str())
            .collect();
        Ok(Some(Self {
            tenant: wanted.filter.tenant.clone(),
            endpoint,
            since,
            until: wanted.filter.created.until.map(|At(until)| until),
            kinds: to_json(&kinds)?,
        }))
    }

    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query
            .bind(&self.tenant)
            .bind(self.endpoint.to_string())
            .bind(self.since)
            .bind(self.until)
            .bind(&self.kinds)
    }

    async fn count(&self, db: &mut SqliteConnection) -> Result<u64, Error> {
        let count = sqlx::query(AssertSqlSafe(format!("select count(*) as found {MISSING}")));
        Ok(self.bind(count).fetch_one(db).await?.number("found")?.unsigned_abs())
    }

    /// What comes behind a place, in the order of builds and their logs.
    async fn next(
        &self,
        db: &mut SqliteConnection,
        (build, seq): (&str, i64),
        limit: u32,
    ) -> Result<Vec<(BuildId, i64, Kind)>, Error> {
        let next = sqlx::query(AssertSqlSafe(format!(
            "select v.build_id, v.seq, v.kind {MISSING}
                and (v.build_id, v.seq) > ($6, $7)
              order by v.build_id, v.seq
              limit $8"
        )));
        let rows = self.bind(next).bind(build).bind(seq).bind(limit).fetch_all(db).await?;
        rows.iter()
            .map(|row| Ok((row.word("build_id")?, row.number("seq")?, row.word("kind")?)))
            .collect()
    }
}

pub(super) async fn begin(
    tx: &mut Tx,
    id: ReplayId,
    wanted: &ReplayWanted,
    by: &str,
) -> Result<Replay, Error> {
    let now = tx.now;
    let total = count(tx.db(), wanted).await?;
    sqlx::query(
        "insert into replays (id, tenant, wanted, state, total, by, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(id.to_string())
    .bind(&wanted.filter.tenant)
    .bind(to_json(wanted)?)
    .bind(ReplayState::Running.as_str())
    .bind(i64::try_from(total).unwrap_or(i64::MAX))
    .bind(by)
    .bind(now)
    .execute(tx.db())
    .await?;
    let detail = serde_json::to_value(wanted).map_err(Error::unavailable)?;
    let change = Change::Bulk { action: "replay", subject: "deliveries", detail: &detail };
    gates::note(tx, by, change).await?;
    one(tx.db(), id).await
}

pub(super) async fn one(db: &mut SqliteConnection, id: ReplayId) -> Result<Replay, Error> {
    let row = sqlx::query("select * from replays where id = $1")
        .bind(id.to_string())
        .fetch_optional(db)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    Ok(read(&row)?)
}

pub(super) async fn list(db: &mut SqliteConnection, tenant: &str) -> Result<Vec<Replay>, Error> {
    let rows = sqlx::query("select * from replays where tenant = $1 order by id desc limit 100")
        .bind(tenant)
        .fetch_all(db)
        .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

fn read(row: &SqliteRow) -> Result<Replay, sqlx::Error> {
    Ok(Replay {
        id: row.word("id")?,
        tenant: row.text("tenant")?,
        state: row.word("state")?,
        total: row.number("total")?.unsigned_abs(),
        done: row.number("done")?.unsigned_abs(),
        by: row.text("by")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        settled_at: row.at_if_any("settled_at")?,
    })
}

pub(super) async fn steer(tx: &mut Tx, id: ReplayId, to: ReplayState) -> Result<Replay, Error> {
    let now = tx.now;
    let before = one(tx.db(), id).await?;
    if before.settled_at.is_some() {
        let reason = format!("the replay is {} already", before.state);
        return Err(Error::conflict("replay_ended", reason));
    }
    let is_over = matches!(to, ReplayState::Done | ReplayState::Cancelled);
    sqlx::query("update replays set state = $2, updated_at = $3, settled_at = $4 where id = $1")
        .bind(id.to_string())
        .bind(to.as_str())
        .bind(now)
        .bind(is_over.then_some(now))
        .execute(tx.db())
        .await?;
    one(tx.db(), id).await
}

pub(super) async fn running(db: &mut SqliteConnection) -> Result<Vec<String>, Error> {
    let ids =
        sqlx::query_scalar("select id from replays where state = 'running' order by id limit $1");
    Ok(ids.bind(ROUND_MOST).fetch_all(db).await?)
}

/// One step of one replay; answers with how many deliveries that were.
pub(super) async fn step(tx: &mut Tx, id: &str, limit: u32) -> Result<u64, Error> {
    let now = tx.now;
    let row = sqlx::query("select wanted, place from replays where id = $1 and state = 'running'")
        .bind(id)
        .fetch_optional(tx.db())
        .await?;
    let Some(row) = row else { return Ok(0) };
    let wanted: ReplayWanted = row.json("wanted")?;
    let place: String = row.word_if_any("place")?.unwrap_or_default();
    let (mut sent, mut place) = match place.split_once(' ') {
        Some((build, seq)) => {
            let after = (build, seq.parse().map_err(Error::unavailable)?);
            send_missing(tx, &wanted, after, limit).await?
        }
        None => send_again(tx, id, &wanted, &place, limit).await?,
    };
    if place.as_deref() == Some(MISSING_FIRST) {
        (sent, place) = send_missing(tx, &wanted, ("", 0), limit).await?;
    }
    sqlx::query(
        "update replays
            set done = done + $2, place = coalesce($3, place), updated_at = $4,
                state = iif($3 is null, 'done', state), settled_at = iif($3 is null, $4, null)
          where id = $1",
    )
    .bind(id)
    .bind(i64::try_from(sent).unwrap_or(i64::MAX))
    .bind(place)
    .bind(now)
    .execute(tx.db())
    .await?;
    Ok(sent)
}

/// Nothing is left to be sent again; what is missing comes next, from the first event of the first
/// build on.
const MISSING_FIRST: &str = " 0";

/// Answers with how many, and where it goes on; nowhere if it is done.
async fn send_again(
    tx: &mut Tx,
    replay: &str,
    wanted: &ReplayWanted,
    after: &str,
    limit: u32,
) -> Result<(u64, Option<String>), Error> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "select d.id from deliveries d
          where {DELIVERY_FILTER} and {FINAL} and $11 < d.id
          order by d.id
          limit $12"
    )));
    let rows = bind_delivery_filter(rows, &wanted.filter)?
        .bind(replay)
        .bind(after)
        .bind(limit)
        .fetch_all(tx.db())
        .await?;
    let mut last = None;
    for row in &rows {
        telling::send_again(tx, row.word("id")?).await?;
        last = Some(row.text("id")?);
    }
    let place = match (last, wanted.missing) {
        (Some(last), _) => Some(last),
        (None, Some(_)) => Some(MISSING_FIRST.to_owned()),
        (None, None) => None,
    };
    Ok((rows.len() as u64, place))
}

async fn send_missing(
    tx: &mut Tx,
    wanted: &ReplayWanted,
    after: (&str, i64),
    limit: u32,
) -> Result<(u64, Option<String>), Error> {
    let Some(missing) = Missing::of(tx.db(), wanted).await? else { return Ok((0, None)) };
    let events = missing.next(tx.db(), after, limit).await?;
    let place = events.last().map(|(build, seq, _)| format!("{build} {seq}"));
    for (build, seq, kind) in &events {
        let (to, tenant) = (missing.endpoint, missing.tenant.as_str());
        // What comes late comes in no order.
        telling::make_one(tx, to, tenant, *build, *seq, *kind, 3).await?;
    }
    Ok((events.len() as u64, place))
}
