//! What is claimed next: the head of a lane, let in by the gatekeeper.
//!
//! One claim of a lane is decided at a time, under the lane's row. Nothing here waits for anybody
//! who holds a build: builds that are locked are passed over, so a claim and a settle never wait
//! for each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    lock::{Contended, Locked},
    rows::Columns,
    *,
};
use crate::{
    domain::{
        limit::{Bucket, Entry, Gatekeeper, Running, Work},
        rank,
    },
    draw,
};

/// How the three tables of leased work differ, for claims.
pub(super) struct Table {
    name: &'static str,
    ready: &'static str,
    running: &'static str,
    /// Expressions for what a limit may look at.
    build: &'static str,
    kind: &'static str,
    key: &'static str,
    cost: &'static str,
    band: &'static str,
}

/// The name of a lane's table.
pub(super) const fn table_of(lane: Lane) -> &'static str {
    table(lane).name
}

pub(super) const fn table(lane: Lane) -> Table {
    match lane {
        Lane::Plans => Table {
            name: "builds",
            ready: "queued",
            running: "planning",
            build: "id",
            kind: "''",
            key: "limit_key",
            cost: "1",
            band: "priority",
        },
        Lane::Tasks => Table {
            name: "tasks",
            ready: "ready",
            running: "in_progress",
            build: "build_id",
            kind: "operation",
            key: "limit_key",
            cost: "cost",
            band: "band",
        },
        Lane::Deliveries => Table {
            name: "deliveries",
            ready: "pending",
            running: "in_progress",
            build: "build_id",
            kind: "kind",
            key: "endpoint_id",
            cost: "1",
            band: "band",
        },
    }
}

/// Due or parked work that one claim lets out at most, of each.
const LET_OUT_MOST: i64 = 500;
/// How often one claim looks at the gates anew after parking what it saw.
pub(super) const ROUNDS_MOST: usize = 16;
/// What one claim judges at most: it holds up all who claim.
const JUDGED_MOST: usize = 1_000;

/// Milliseconds. All who claim wait for whoever froze inside a claim, for no longer than this.
/// Whoever was only slow is refused its commit, and claims again.
const FROZEN_AFTER: &str = "2000";
const LOCK_LANE: &str = "
    select virtual_time, set_config('idle_in_transaction_session_timeout', $2, true)
      from lanes
     where lane = $1
       for update";

/// The advisory lock of claims under limits that count all lanes together; `bflanes` in ASCII.
pub(super) const ALL_LANES: i64 = 0x0062_666c_616e_6573;

/// What a claim may take: it is still to be written as claimed.
#[derive(Debug, Default)]
pub(super) struct Picked {
    pub ids: Vec<String>,
    /// The builds of what was picked, locked.
    pub builds: BTreeMap<BuildId, Locked>,
    /// A build at the head of the lane that somebody else has locked, if nothing was picked.
    pub passed_over: Option<BuildId>,
    /// How long until the first of what a rate has delayed is due.
    pub again_in: Option<Duration>,
}

impl Picked {
    pub fn claimed<T>(&self, claims: Vec<T>, entered: Vec<Job>) -> Claimed<T> {
        Claimed { claims, entered, passed_over: self.passed_over, again_in: self.again_in }
    }
}

/// What a claim came to.
#[derive(Debug)]
pub(super) struct Claimed<T> {
    pub claims: Vec<T>,
    /// Deliveries whose turn has come by it.
    pub entered: Vec<Job>,
    pub passed_over: Option<BuildId>,
    /// When a claim may find more although nobody rings for it: a rate will have room.
    pub again_in: Option<Duration>,
}

pub(super) struct Candidate {
    pub id: String,
    build: BuildId,
    tenant: String,
    kind: String,
    pub key: Option<String>,
    cost: u32,
    pub rank: f64,
    pub band: u8,
}

impl Candidate {
    pub(super) fn work(&self) -> Work<'_> {
        Work {
            build: self.build,
            tenant: &self.tenant,
            kind: &self.kind,
            key: self.key.as_deref(),
            cost: self.cost,
        }
    }
}

/// Decides what a holder gets out of a lane of builds or tasks, and parks what it may not have; for
/// deliveries, see `choosing.rs`.
pub(super) async fn pick(conn: &mut PgConnection, lane: Lane, ask: &Ask) -> Result<Picked, Error> {
    let mut picked = Picked::default();
    if ask.room == 0 {
        return Ok(picked);
    }
    let (mut virtual_time, _): (f64, String) = sqlx::query_as(LOCK_LANE)
        .bind(lane.as_str())
        .bind(FROZEN_AFTER)
        .fetch_one(&mut *conn)
        .await?;
    let rules = limits::rules(conn, lane).await?;
    if rules.paused.contains(&Gate::Lane(lane)) {
        return Ok(picked);
    }
    if rules.limits.iter().any(|limit| limit.lane.is_none()) {
        // Counted over all lanes, so decided in one at a time.
        sqlx::query("select pg_advisory_xact_lock($1)").bind(ALL_LANES).execute(&mut *conn).await?;
    }
    let table = table(lane);
    let_out_due(conn, &table).await?;
    let running = match rules.needs_running() {
        Some(lanes) => running(conn, lanes).await?,
        None => Vec::new(),
    };
    let buckets = limits::buckets(conn, &rules).await?;
    let mut gate = Gatekeeper::new(
        lane,
        &rules.limits,
        &rules.paused,
        &running,
        &buckets,
        ask.room,
        ask.slots,
    );
    let mut parks: BTreeSet<Gate> = rules.parks.iter().cloned().collect();
    for _ in 0..ROUNDS_MOST {
        let let_out = let_out_parked(conn, lane, &table, &parks, &gate).await?;
        let look = look(conn, &table, &mut gate, &mut picked).await?;
        virtual_time = virtual_time.max(look.virtual_time);
        park(conn, lane, &table, &look).await?;
        picked.again_in = picked.again_in.into_iter().chain(look.again_in()).min();
        let parked_before = parks.len();
        parks.extend(look.parked.into_iter().map(|(_, at)| at));
        // What was let out may have been stopped elsewhere, and leave its room to another.
        if look.is_full || (let_out == 0 && parks.len() == parked_before) {
            break;
        }
    }
    limits::spend(conn, &gate.buckets()).await?;
    if !picked.ids.is_empty() {
        picked.passed_over = None;
        sqlx::query("update lanes set virtual_time = $2 where lane = $1 and virtual_time < $2")
            .bind(lane.as_str())
            .bind(virtual_time)
            .execute(conn)
            .await?;
    }
    Ok(picked)
}

/// What one look at the head of a lane came to, beside what it picked.
#[derive(Default)]
pub(super) struct Look {
    pub parked: Vec<(String, Gate)>,
    pub delayed: Vec<(String, Duration)>,
    pub virtual_time: f64,
    /// Whether there is no use in looking further.
    pub is_full: bool,
}

impl Look {
    pub fn again_in(&self) -> Option<Duration> {
        self.delayed.iter().map(|(_, by)| *by).min()
    }
}

/// Judges what stands at the head of a lane.
async fn look(
    conn: &mut PgConnection,
    table: &Table,
    gate: &mut Gatekeeper<'_>,
    picked: &mut Picked,
) -> Result<Look, Error> {
    let mut look = Look::default();
    let mut after = None;
    let mut judged = 0;
    let page = gate.room() as usize + 32;
    while judged < JUDGED_MOST {
        let candidates = candidates(conn, table, after, page as i64).await?;
        let is_last = candidates.len() < page;
        let Some(last) = candidates.last() else { break };
        after = Some((last.rank, last.id.clone()));
        judged += candidates.len();
        let locked = lock_builds(conn, &candidates, picked).await?;
        for candidate in candidates {
            if picked.ids.contains(&candidate.id) {
                continue;
            }
            if !locked.contains(&candidate.build) {
                picked.passed_over.get_or_insert(candidate.build);
                continue;
            }
            match gate.judge(&candidate.work()) {
                Entry::Admitted => {
                    let tag = rank::tag(candidate.rank, candidate.band);
                    look.virtual_time = look.virtual_time.max(tag);
                    picked.ids.push(candidate.id);
                }
                Entry::Parked(at) => look.parked.push((candidate.id, at)),
                Entry::Delayed(by) => look.delayed.push((candidate.id, by)),
                Entry::NoRoom => look.is_full = true,
            }
            look.is_full |= gate.is_shut();
            if look.is_full {
                return Ok(look);
            }
        }
        if is_last {
            break;
        }
    }
    Ok(look)
}

/// The builds among those of the candidates that one may claim from. Locks them where that is
/// needed.
async fn lock_builds(
    conn: &mut PgConnection,
    candidates: &[Candidate],
    picked: &mut Picked,
) -> Result<BTreeSet<BuildId>, Error> {
    let mut ids: Vec<BuildId> = candidates.iter().map(|candidate| candidate.build).collect();
    ids.sort_unstable();
    ids.dedup();
    let new: Vec<BuildId> =
        ids.iter().copied().filter(|id| !picked.builds.contains_key(id)).collect();
    if !new.is_empty() {
        picked.builds.extend(lock::builds(conn, &new, Contended::Skip).await?);
    }
    Ok(ids.into_iter().filter(|id| picked.builds.contains_key(id)).collect())
}

async fn candidates(
    conn: &mut PgConnection,
    table: &Table,
    after: Option<(f64, String)>,
    most: i64,
) -> Result<Vec<Candidate>, Error> {
    let Table { name, ready, build, kind, key, cost, band, .. } = table;
    let sql = format!(
        "select id, {build} as build, tenant, {kind} as kind, {key} as key,
                {cost}::integer as cost, rank, {band} as band
           from {name}
          where state = '{ready}'
            and parked_on is null
            and (rank, id) > ($1, $2)
          order by rank, id
          limit $3"
    );
    let (rank, id) = after.unwrap_or((f64::NEG_INFINITY, String::new()));
    let rows =
        sqlx::query(AssertSqlSafe(sql)).bind(rank).bind(id).bind(most).fetch_all(conn).await?;
    rows.iter().map(read_candidate).collect()
}

pub(super) fn read_candidate(row: &PgRow) -> Result<Candidate, Error> {
    Ok(Candidate {
        id: row.try_get("id")?,
        build: row.word("build")?,
        tenant: row.try_get("tenant")?,
        kind: row.try_get("kind")?,
        key: row.try_get("key")?,
        cost: row.count("cost")?,
        rank: row.try_get("rank")?,
        band: u8::try_from(row.try_get::<i16, _>("band")?).unwrap_or(u8::MAX),
    })
}

/// What is leased in some lanes, as many of a sort as there are.
pub(super) async fn running(
    conn: &mut PgConnection,
    lanes: &[Lane],
) -> Result<Vec<Running>, Error> {
    let mut running = Vec::new();
    for &lane in lanes {
        let Table { name, running: state, kind, key, cost, .. } = table(lane);
        let sql = format!(
            "select tenant, {kind} as kind, {key} as key, sum({cost})::integer as cost
               from {name}
              where state = '{state}'
              group by 1, 2, 3"
        );
        for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *conn).await? {
            running.push(Running {
                lane,
                tenant: row.try_get("tenant")?,
                kind: row.try_get("kind")?,
                key: row.try_get("key")?,
                cost: row.count("cost")?,
            });
        }
    }
    Ok(running)
}

/// Lets work out whose time has come.
pub(super) async fn let_out_due(conn: &mut PgConnection, table: &Table) -> Result<(), Error> {
    let name = table.name;
    let sql = format!(
        "update {name}
            set parked_on = null
          where id in (
            select id
              from {name}
             where parked_on = 'time' and due_at <= clock_timestamp()
             order by due_at
             limit $1
               for no key update skip locked
          )"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(LET_OUT_MOST).execute(conn).await?;
    Ok(())
}

/// Lets work out at the gates where there is room, in the order of its ranks, and forgets gates at
/// which nothing is parked.
pub(super) async fn let_out_parked(
    conn: &mut PgConnection,
    lane: Lane,
    table: &Table,
    parks: &BTreeSet<Gate>,
    gate: &Gatekeeper<'_>,
) -> Result<u64, Error> {
    let open: Vec<(String, i64)> = parks
        .iter()
        .map(|at| (at.to_string(), i64::from(gate.room_at(at)).min(LET_OUT_MOST)))
        .filter(|(_, room)| 0 < *room)
        .collect();
    if open.is_empty() {
        return Ok(0);
    }
    let name = table.name;
    let (gates, rooms): (Vec<_>, Vec<_>) = open.into_iter().unzip();
    let sql = format!(
        "update {name}
            set parked_on = null
          where id in (
            select parked.id
              from unnest($1::text[], $2::bigint[]) as g (gate, room)
             cross join lateral (
               select id
                 from {name}
                where parked_on = g.gate
                order by rank
                limit g.room
                  for no key update skip locked
             ) parked
          )"
    );
    let let_out =
        sqlx::query(AssertSqlSafe(sql)).bind(&gates).bind(rooms).execute(&mut *conn).await?;
    let sql = format!(
        "delete from parks p
          where lane = $1
            and gate = any($2)
            and not exists (select 1 from {name} where parked_on = p.gate)"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(lane.as_str()).bind(gates).execute(conn).await?;
    Ok(let_out.rows_affected())
}

pub(super) async fn park(
    conn: &mut PgConnection,
    lane: Lane,
    table: &Table,
    Look { parked, delayed, .. }: &Look,
) -> Result<(), Error> {
    let Table { name, ready, .. } = table;
    if !parked.is_empty() {
        let sql = format!(
            "update {name} w
                set parked_on = u.gate
               from unnest($1::text[], $2::text[]) as u (id, gate)
              where w.id = u.id and w.state = '{ready}'"
        );
        let (ids, gates): (Vec<_>, Vec<_>) =
            parked.iter().map(|(id, gate)| (id, gate.to_string())).unzip();
        sqlx::query(AssertSqlSafe(sql)).bind(ids).bind(&gates).execute(&mut *conn).await?;
        sqlx::query(
            "insert into parks (lane, gate)
             select distinct $1, gate from unnest($2::text[]) as u (gate)
             on conflict do nothing",
        )
        .bind(lane.as_str())
        .bind(gates)
        .execute(&mut *conn)
        .await?;
    }
    if !delayed.is_empty() {
        let sql = format!(
            "update {name} w
                set parked_on = 'time',
                    due_at = clock_timestamp() + make_interval(secs => u.secs)
               from unnest($1::text[], $2::float8[]) as u (id, secs)
              where w.id = u.id and w.state = '{ready}'"
        );
        let (ids, waits): (Vec<_>, Vec<_>) = delayed.iter().map(|(id, by)| (id, secs(*by))).unzip();
        sqlx::query(AssertSqlSafe(sql)).bind(ids).bind(waits).execute(conn).await?;
    }
    Ok(())
}

/// The lanes in which work waits at a gate that the end of work of this lane may open.
pub(super) async fn parked_lanes(conn: &mut PgConnection, lane: Lane) -> Result<Vec<Lane>, Error> {
    let words: Vec<String> =
        sqlx::query_scalar(PARKED_LANES).bind(lane.as_str()).fetch_all(conn).await?;
    words.iter().map(|word| word.parse().map_err(Error::unavailable)).collect()
}

const PARKED_LANES: &str = "select l.lane
  from lanes l
 where exists (select 1 from parks p where p.lane = l.lane)
   and (l.lane = $1 or exists (select 1 from limits where lane is null))";

/// Wake-ups for lanes in which something may be claimed; what they name need not exist.
pub(super) fn wake_ups(lanes: &[Lane]) -> impl Iterator<Item = Job> {
    lanes.iter().map(|lane| match lane {
        Lane::Plans => Job::Plan(draw::id()),
        Lane::Tasks => Job::Task(draw::id()),
        Lane::Deliveries => Job::Delivery(draw::id()),
    })
}

/// Waits until nobody holds a build, without holding anything.
pub(super) async fn wait_for(pool: &PgPool, build: BuildId) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    lock::build(&mut tx, build).await?;
    tx.rollback().await?;
    Ok(())
}

/// Rates that lie in the past: how much of each is there again.
pub(super) fn bucket(row: &PgRow) -> Result<Bucket, Error> {
    Ok(Bucket {
        limit: row.try_get("limit_name")?,
        value: row.try_get("value")?,
        tokens: row.try_get("tokens")?,
        age: Duration::try_from_secs_f64(row.try_get("age_secs")?).unwrap_or(Duration::ZERO),
    })
}
