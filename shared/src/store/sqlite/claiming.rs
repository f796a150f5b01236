//! What comes next in a lane: the parts of a claim that are the same for builds, tasks and
//! deliveries.
//!
//! A claim lets out what is due and what has room at its gate, and then judges what stands at the
//! head of the lane, in order of rank. What it admits is for the caller to take, in the same verb.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use serde_json::json;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, gates,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        id::BuildId,
        limit::{Entry, Gate, Gatekeeper, Work},
        rank,
    },
    job::{Job, Lane},
    store::{Ask, Error},
};

/// What one claim judges at most; it holds up all who write. If there is more, the bell says so.
const JUDGED_MOST: usize = 1000;
/// What one claim lets out of one gate at most.
pub(super) const LET_OUT_MOST: u32 = 1000;
/// Candidates that are read at once.
const PAGE: usize = 64;

/// What the table of a lane is called, and its columns, in the statements of a claim.
pub(super) struct Statements {
    lane: Lane,
    pub let_out_due: &'static str,
    let_out: &'static str,
    is_parked: &'static str,
    candidates: &'static str,
    park: &'static str,
    delay: &'static str,
    next_due: &'static str,
    let_out_delayed: &'static str,
    any: &'static str,
}

macro_rules! statements {
    ($lane:expr, $table:literal, state: $state:literal, gated: $gated:literal,
     build: $build:literal,
     kind: $kind:literal, key: $key:literal, cost: $cost:literal, band: $band:literal) => {
        Statements {
            lane: $lane,
            let_out_due: concat!(
                "update ", $table, " set parked_on = null
                  where rowid in (select rowid from ", $table, "
                                   where parked_on = 'time' and due_at <= $1
                                   order by due_at
                                   limit $2)"
            ),
            // Up to a cost of $2, of which the last may take more than is left.
            let_out: concat!(
                "update ", $table, " set parked_on = null
                  where rowid in (
                    select rowid
                      from (select rowid,
                                   sum(cost) over (order by rank, rowid rows unbounded preceding)
                                     - cost as before
                              from (select rowid, rank, ", $cost, " as cost
                                      from ", $table, "
                                     where parked_on = $1 and ", $gated, "
                                     order by rank
                                     limit $2))
                     where before < $2)"
            ),
            is_parked: concat!(
                "select exists (select 1 from ", $table, " where parked_on = $1 and ", $gated, ")"
            ),
            candidates: concat!(
                "select id, ", $build, " as build_id, tenant, ", $kind, " as kind,
                        ", $key, " as key, ", $cost, " as cost, ", $band, " as band, rank
                   from ", $table, "
                  where state = '", $state, "'
                    and parked_on is null
                    and (rank, id) > ($1, $2)
                  order by rank, id
                  limit $3"
            ),
            park: concat!(
                "update ", $table, " set parked_on = $2
                  where id in (select value from json_each($1))"
            ),
            delay: concat!(
                "update ", $table, " set parked_on = 'time', due_at = j.value ->> 1
                   from json_each($1) j where ", $table, ".id = j.value ->> 0"
            ),
            next_due: concat!(
                "select max(0, min(due_at) - cast(unixepoch('subsec') * 1000 as integer))
                   from ", $table, "
                  where parked_on = 'time'
                    and not exists (select 1 from pauses where gate = $1)"
            ),
            let_out_delayed: concat!(
                "update ", $table, " set due_at = min(due_at, $1)
                  where parked_on = 'time' and failures = 0 and crashes = 0"
            ),
            any: concat!(
                "select id from ", $table, " where state = '", $state, "' and parked_on is null
                  union all
                 select id from ", $table, " where ", $gated, "
                  limit 1"
            ),
        }
    };
}

pub(super) const PLANS: Statements = statements!(
    Lane::Plans, "builds", state: "queued", gated: "parked_on <> 'time'", build: "id",
    kind: "''", key: "limit_key", cost: "1", band: "priority"
);

pub(super) const TASKS: Statements = statements!(
    Lane::Tasks, "tasks", state: "ready", gated: "parked_on <> 'time'", build: "build_id",
    kind: "operation", key: "limit_key", cost: "cost", band: "band"
);

pub(super) const DELIVERIES: Statements = statements!(
    Lane::Deliveries, "deliveries", state: "pending", gated: "parked_on not in ('time', 'turn')",
    build: "build_id", kind: "kind", key: "endpoint_id", cost: "1", band: "band"
);

impl Statements {
    pub(super) const fn of(lane: Lane) -> &'static Statements {
        match lane {
            Lane::Plans => &PLANS,
            Lane::Tasks => &TASKS,
            Lane::Deliveries => &DELIVERIES,
        }
    }

    /// Milliseconds until the next delayed work is due; none in a lane that is paused.
    pub(super) async fn next_due(&self, db: &mut SqliteConnection) -> Result<Option<i64>, Error> {
        let gate = Gate::Lane(self.lane).to_string();
        Ok(sqlx::query_scalar(self.next_due).bind(gate).fetch_one(db).await?)
    }

    /// Lets work that only a rate has delayed be judged again at once.
    pub(super) async fn let_out_delayed(&self, tx: &mut Tx) -> Result<(), Error> {
        let now = tx.now;
        sqlx::query(self.let_out_delayed).bind(now).execute(tx.db()).await?;
        Ok(())
    }

    /// Some work of the lane that waits for a claim, or at a gate.
    pub(super) async fn any(&self, tx: &mut Tx) -> Result<Option<Job>, Error> {
        let row = sqlx::query(self.any).fetch_optional(tx.db()).await?;
        Ok(row.map(|row| row.word("id")).transpose()?)
    }
}

pub(super) struct Candidate {
    pub id: String,
    build: BuildId,
    tenant: String,
    kind: String,
    pub key: Option<String>,
    cost: u32,
    pub band: u8,
    pub rank: f64,
}

impl Candidate {
    pub(super) fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.text("id")?,
            build: row.word("build_id")?,
            tenant: row.text("tenant")?,
            kind: row.text("kind")?,
            key: row.try_get("key")?,
            cost: row.count("cost")?,
            band: row.try_get("band")?,
            rank: row.try_get("rank")?,
        })
    }

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

/// What one look at the head of the lane came to.
#[derive(Default)]
pub(super) struct Look {
    pub parked: BTreeMap<Gate, Vec<String>>,
    /// Until when, in milliseconds since 1970.
    pub delayed: Vec<(String, i64)>,
    /// Nothing further can be admitted.
    pub over: bool,
}

/// Ids of the builds or tasks that a holder may take now, in order of rank; what it cannot is
/// parked. For deliveries, see `choosing.rs`.
pub(super) async fn admit(
    tx: &mut Tx,
    statements: &Statements,
    ask: &Ask,
) -> Result<Vec<String>, Error> {
    let (lane, now) = (statements.lane, tx.now);
    let standing = gates::Standing::read(tx, lane).await?;
    if ask.room == 0 || standing.paused.contains(&Gate::Lane(lane)) {
        return Ok(Vec::new());
    }
    sqlx::query(statements.let_out_due).bind(now).bind(LET_OUT_MOST).execute(tx.db()).await?;
    let mut keeper = Gatekeeper::new(
        lane,
        &standing.limits,
        &standing.paused,
        &standing.running,
        &standing.buckets,
        ask.room,
        ask.slots,
    );
    let mut admitted: Vec<Candidate> = Vec::new();
    let mut emptied = BTreeSet::new();
    let mut judged = 0;
    loop {
        let let_out = let_out(tx, statements, &standing.parks, &keeper, ask, &mut emptied).await?;
        let look = judge(tx, statements, &mut keeper, &mut admitted, &mut judged).await?;
        write(tx, statements, &look).await?;
        // What came out of one gate may stand at another now, and others behind it have room.
        if look.over || let_out == 0 {
            break;
        }
    }
    forget_gates(tx, statements, &emptied).await?;
    gates::keep_buckets(tx, &keeper.buckets()).await?;
    advance(tx, lane, &admitted).await?;
    Ok(admitted.into_iter().map(|candidate| candidate.id).collect())
}

/// Lets out of each gate what has room there, and answers with how many that were.
pub(super) async fn let_out(
    tx: &mut Tx,
    statements: &Statements,
    parks: &[Gate],
    keeper: &Gatekeeper<'_>,
    ask: &Ask,
    emptied: &mut BTreeSet<String>,
) -> Result<u64, Error> {
    let mut all = 0;
    for gate in parks {
        let room = match keeper.room_at(gate) {
            0 => continue,
            u32::MAX => LET_OUT_MOST,
            // The holder can take no more, and what is let out in vain has to be parked again.
            room => room.min(ask.room),
        };
        let gate = gate.to_string();
        if emptied.contains(&gate) {
            continue;
        }
        let out = sqlx::query(statements.let_out)
            .bind(&gate)
            .bind(room)
            .execute(tx.db())
            .await?
            .rows_affected();
        all += out;
        if out < u64::from(room) {
            emptied.insert(gate);
        }
    }
    Ok(all)
}

async fn judge(
    tx: &mut Tx,
    statements: &Statements,
    keeper: &mut Gatekeeper<'_>,
    admitted: &mut Vec<Candidate>,
    judged: &mut usize,
) -> Result<Look, Error> {
    let mut look = Look::default();
    let known: HashSet<String> = admitted.iter().map(|candidate| candidate.id.clone()).collect();
    let (mut rank, mut id) = (f64::MIN, String::new());
    loop {
        let rows = sqlx::query(statements.candidates)
            .bind(rank)
            .bind(&id)
            .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
            .fetch_all(tx.db())
            .await?;
        for row in &rows {
            let candidate = Candidate::read(row)?;
            (rank, id) = (candidate.rank, candidate.id.clone());
            if known.contains(&id) {
                continue;
            }
            if *judged == JUDGED_MOST {
                tx.ring([id.parse().map_err(Error::unavailable)?]);
                look.over = true;
                return Ok(look);
            }
            *judged += 1;
            match keeper.judge(&candidate.work()) {
                Entry::Admitted => admitted.push(candidate),
                Entry::Parked(gate) => look.parked.entry(gate).or_default().push(candidate.id),
                Entry::Delayed(wait) => {
                    look.delayed.push((candidate.id, tx.in_future(wait).saturating_add(1)))
                }
                Entry::NoRoom => {
                    look.over = true;
                    return Ok(look);
                }
            }
            if keeper.is_shut() {
                look.over = true;
                return Ok(look);
            }
        }
        if rows.len() < PAGE {
            return Ok(look);
        }
    }
}

pub(super) async fn write(tx: &mut Tx, statements: &Statements, look: &Look) -> Result<(), Error> {
    for (gate, ids) in &look.parked {
        let gate = gate.to_string();
        sqlx::query(statements.park).bind(to_json(ids)?).bind(&gate).execute(tx.db()).await?;
        sqlx::query("insert or ignore into parks (lane, gate) values ($1, $2)")
            .bind(statements.lane.as_str())
            .bind(&gate)
            .execute(tx.db())
            .await?;
    }
    if !look.delayed.is_empty() {
        let first = look.delayed.iter().map(|(_, until)| until.saturating_sub(tx.now)).min();
        let wait = u64::try_from(first.unwrap_or(0)).unwrap_or(0);
        tx.put_off(statements.lane, Duration::from_millis(wait));
        let rows: Vec<_> = look.delayed.iter().map(|(id, until)| json!([id, until])).collect();
        sqlx::query(statements.delay).bind(to_json(&rows)?).execute(tx.db()).await?;
    }
    Ok(())
}

/// Takes gates off the list at which nothing is parked any more.
pub(super) async fn forget_gates(
    tx: &mut Tx,
    statements: &Statements,
    emptied: &BTreeSet<String>,
) -> Result<(), Error> {
    for gate in emptied {
        let is_parked: bool =
            sqlx::query_scalar(statements.is_parked).bind(gate).fetch_one(tx.db()).await?;
        if !is_parked {
            sqlx::query("delete from parks where lane = $1 and gate = $2")
                .bind(statements.lane.as_str())
                .bind(gate)
                .execute(tx.db())
                .await?;
        }
    }
    Ok(())
}

/// The lane's virtual time is the start tag of what was claimed last.
pub(super) async fn advance(tx: &mut Tx, lane: Lane, admitted: &[Candidate]) -> Result<(), Error> {
    let tags = admitted.iter().map(|candidate| rank::tag(candidate.rank, candidate.band));
    let Some(tag) = tags.reduce(f64::max) else { return Ok(()) };
    sqlx::query("update lanes set virtual_time = $2 where lane = $1 and virtual_time < $2")
        .bind(lane.as_str())
        .bind(tag)
        .execute(tx.db())
        .await?;
    Ok(())
}
