//! Which deliveries are claimed next: each endpoint has a line of its own in its lane.
//!
//! The heads of the lines are judged in order of rank. An endpoint that is full, held or disabled
//! has no head, and nothing of what waits for it is touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx,
    claiming::{self, Candidate, DELIVERIES, Look},
    gates,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        endpoint::room::{self, Room, Standing},
        limit::{Entry, Gate, Gatekeeper},
    },
    job::Lane,
    store::{Ask, Error},
};

/// Ids of the deliveries that a holder may take now, in order of rank; what a limit or a pause
/// keeps from it is parked.
pub(super) async fn choose(tx: &mut Tx, ask: &Ask) -> Result<Vec<String>, Error> {
    let now = tx.now;
    let standing = gates::Standing::read(tx, Lane::Deliveries).await?;
    if ask.room == 0 || standing.paused.contains(&Gate::Lane(Lane::Deliveries)) {
        return Ok(Vec::new());
    }
    sqlx::query(DELIVERIES.let_out_due)
        .bind(now)
        .bind(claiming::LET_OUT_MOST)
        .execute(tx.db())
        .await?;
    let mut keeper = Gatekeeper::new(
        Lane::Deliveries,
        &standing.limits,
        &standing.paused,
        &standing.running,
        &standing.buckets,
        ask.room,
        ask.slots,
    );
    let mut admitted: Vec<Candidate> = Vec::new();
    let mut emptied = BTreeSet::new();
    let mut begun = BTreeMap::new();
    loop {
        let parks = &standing.parks;
        let let_out = claiming::let_out(tx, &DELIVERIES, parks, &keeper, ask, &mut emptied).await?;
        let lines = lines(tx.db(), now, ask, &begun).await?;
        let look = judge(tx, &lines, &mut keeper, &mut admitted, &mut begun).await?;
        claiming::write(tx, &DELIVERIES, &look).await?;
        // What was turned away at a gate leaves its line to those behind it.
        if look.over || (let_out == 0 && look.parked.is_empty() && look.delayed.is_empty()) {
            spend(tx, &lines, &begun).await?;
            say_when_there_is_room(tx, &lines, &begun);
            break;
        }
    }
    claiming::forget_gates(tx, &DELIVERIES, &emptied).await?;
    gates::keep_buckets(tx, &keeper.buckets()).await?;
    claiming::advance(tx, Lane::Deliveries, &admitted).await?;
    Ok(admitted.into_iter().map(|candidate| candidate.id).collect())
}

/// The line before an endpoint.
struct Line {
    standing: Standing,
    /// How much more may be begun.
    room: u32,
}

/// The lines before the endpoints that have something to do.
type Lines = BTreeMap<String, Line>;

async fn lines(
    db: &mut SqliteConnection,
    now: i64,
    ask: &Ask,
    begun: &BTreeMap<String, u32>,
) -> Result<Lines, Error> {
    let standings = active(db, now).await?;
    let flying: Vec<(String, u32, u32)> = sqlx::query_as(
        "select endpoint_id, count(*), count(*) filter (where holder = $1)
           from deliveries where state = 'in_progress' group by endpoint_id",
    )
    .bind(ask.holder.to_string())
    .fetch_all(db)
    .await?;
    let others = flying.iter().filter(|(id, ..)| !standings.contains_key(id)).count();
    let is_alone = standings.len() + others == 1;
    let flying: BTreeMap<String, (u32, u32)> =
        flying.into_iter().map(|(id, all, own)| (id, (all, own))).collect();
    Ok(standings
        .into_iter()
        .map(|(id, standing)| {
            let (in_flight, own) = flying.get(&id).copied().unwrap_or_default();
            let standing = Standing { in_flight, ..standing };
            let begun = begun.get(&id).copied().unwrap_or(0);
            let room = match standing.room(ask.slots, own, is_alone) {
                Room::Of(room) => room.saturating_sub(begun),
                Room::After(_) | Room::None => 0,
            };
            (id, Line { standing, room })
        })
        .collect())
}

/// Endpoints that have something to do: found by going from one to the next in the index of what is
/// claimable.
async fn active(db: &mut SqliteConnection, now: i64) -> Result<BTreeMap<String, Standing>, Error> {
    let rows = sqlx::query(
        "with recursive active (endpoint_id) as (
           select min(endpoint_id) from deliveries indexed by deliveries_claimable
            where state = 'pending' and parked_on is null
           union all
           select (select min(d.endpoint_id)
                     from deliveries d indexed by deliveries_claimable
                    where d.state = 'pending'
                      and d.parked_on is null
                      and a.endpoint_id < d.endpoint_id)
             from active a
            where a.endpoint_id is not null
         )
         select e.id, e.state, e.concurrency, e.rate, e.health, e.held_until, p.tokens, p.at
           from active a
           join endpoints e on e.id = a.endpoint_id
           left join paces p on p.endpoint_id = e.id",
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok((row.text("id")?, read_standing(row, now)?))).collect()
}

fn read_standing(row: &SqliteRow, now: i64) -> Result<Standing, Error> {
    let held_until: Option<i64> = row.try_get("held_until")?;
    let tokens: Option<f64> = row.try_get("tokens")?;
    let since: Option<i64> = row.try_get("at")?;
    let age = since.map(|at| millis(now.saturating_sub(at)));
    Ok(Standing {
        state: row.word("state")?,
        concurrency: row.try_get("concurrency")?,
        rate: row.json_if_any("rate")?,
        health: row.json_if_any("health")?.unwrap_or_default(),
        held_for: held_until.map(|until| millis(until.saturating_sub(now))),
        in_flight: 0,
        tokens: tokens.zip(age),
    })
}

/// None if it is negative.
fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

async fn judge(
    tx: &mut Tx,
    lines: &Lines,
    keeper: &mut Gatekeeper<'_>,
    admitted: &mut Vec<Candidate>,
    begun: &mut BTreeMap<String, u32>,
) -> Result<Look, Error> {
    let mut look = Look::default();
    let known: BTreeSet<String> = admitted.iter().map(|candidate| candidate.id.clone()).collect();
    let mut heads = Vec::new();
    for (id, line) in lines {
        let room = line.room.min(keeper.room());
        if room == 0 {
            continue;
        }
        // What was admitted stands in the line until it is claimed.
        let most = room.saturating_add(begun.get(id).copied().unwrap_or(0));
        let rows = sqlx::query(
            "select id, build_id, tenant, kind, endpoint_id as key, 1 as cost, band, rank
               from deliveries indexed by deliveries_claimable
              where endpoint_id = $1 and state = 'pending' and parked_on is null
              order by rank, id
              limit $2",
        )
        .bind(id)
        .bind(most)
        .fetch_all(tx.db())
        .await?;
        for row in &rows {
            let candidate = Candidate::read(row)?;
            if !known.contains(&candidate.id) {
                heads.push(candidate);
            }
        }
    }
    heads.sort_by(|a, b| a.rank.total_cmp(&b.rank).then_with(|| a.id.cmp(&b.id)));
    look.over = heads.is_empty();
    for candidate in heads {
        match keeper.judge(&candidate.work()) {
            Entry::Admitted => {
                *begun.entry(candidate.key.clone().unwrap_or_default()).or_default() += 1;
                admitted.push(candidate);
            }
            Entry::Parked(gate) => look.parked.entry(gate).or_default().push(candidate.id),
            Entry::Delayed(wait) => {
                look.delayed.push((candidate.id, tx.in_future(wait).saturating_add(1)));
            }
            Entry::NoRoom => look.over = true,
        }
        look.over |= keeper.is_shut();
        if look.over {
            break;
        }
    }
    Ok(look)
}

/// An endpoint that its rate or a hold kept back takes another request after a while, and nobody
/// else rings for that. Some may have nothing left to do; then a claim finds nothing, once.
fn say_when_there_is_room(tx: &mut Tx, lines: &Lines, begun: &BTreeMap<String, u32>) {
    let waits = lines
        .iter()
        .filter_map(|(id, line)| line.standing.wait(begun.get(id).copied().unwrap_or(0)));
    if let Some(wait) = waits.min() {
        tx.put_off(Lane::Deliveries, wait.max(room::SOON));
    }
}

/// Writes what is left of the rates that were drawn from.
async fn spend(tx: &mut Tx, lines: &Lines, begun: &BTreeMap<String, u32>) -> Result<(), Error> {
    let rows: Vec<(&String, f64)> = begun
        .iter()
        .filter_map(|(id, begun)| Some((id, lines.get(id)?.standing.spent(*begun)?)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let now = tx.now;
    sqlx::query(
        "insert into paces (endpoint_id, tokens, at)
         select value ->> 0, value ->> 1, $2 from json_each($1) where true
         on conflict (endpoint_id) do update set tokens = excluded.tokens, at = excluded.at",
    )
    .bind(to_json(&rows)?)
    .bind(now)
    .execute(tx.db())
    .await?;
    Ok(())
}

/// How long until an endpoint has room again of which nothing else tells; `None` if none waits for
/// that.
pub(super) async fn next_room(db: &mut SqliteConnection) -> Result<Option<Duration>, Error> {
    let now: i64 = sqlx::query_scalar("select cast(unixepoch('subsec') * 1000 as integer)")
        .fetch_one(&mut *db)
        .await?;
    let standings = active(db, now).await?;
    Ok(standings.values().filter_map(|standing| standing.wait(0)).min())
}
