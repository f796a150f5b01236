//! Which deliveries are claimed next: each endpoint has a line of its own in its lane.
//!
//! A claim goes from endpoint to endpoint by the index of what is claimable, asks the rules how
//! much room each has, and takes what is next by rank out of those lines. So an endpoint that is
//! full, held or disabled costs a look and no more, however much waits for it, and nothing of what
//! waits is touched.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde::Deserialize;
use sqlx::{Connection as _, PgConnection, Row, postgres::PgRow};

use super::{
    claiming::{Candidate, Claimed, Look},
    limits::Rules,
    rows::{Columns, texts},
    *,
};
use crate::domain::{
    delivery::{State, Trigger},
    endpoint::room::{self, Room, Standing},
    id::EndpointId,
    limit::{Entry, Gatekeeper, Running},
    rank,
};

/// Begins, and takes the lane; see `claiming.rs` for who waits how long.
const BEGIN_IN_LANE: &str = "begin;
    set local idle_in_transaction_session_timeout = 2000;
    select 1 from lanes where lane = 'deliveries' for update";

/// A claim that takes longer makes its requests leave too late for the evenness of a rate.
const LATE: Duration = Duration::from_millis(10);
const LATE_SAID_WITHIN: Duration = Duration::from_millis(50);
/// Endpoints that one claim looks at; the next claim goes on with those behind.
const ENDPOINTS_MOST: usize = 512;

/// Where the last claim of this process stopped looking that did not look at all endpoints.
#[derive(Debug, Clone, Default)]
pub(super) struct Looked(Arc<Mutex<String>>);

impl Looked {
    fn at(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn goes_on(&self, from: &str) {
        from.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Claims what is next in the lane.
pub(super) async fn claim(
    pool: &PgPool,
    looked: &Looked,
    ask: &Ask,
) -> Result<Claimed<DeliveryClaim>, Error> {
    if ask.room == 0 {
        return Ok(Chosen::default().claimed(Vec::new()));
    }
    let mut conn = pool.acquire().await?;
    let asked_at = Instant::now();
    // In one message, since all who claim wait for it.
    let mut tx = conn.begin_with(BEGIN_IN_LANE).await?;
    let queued = asked_at.elapsed();
    let chosen = choose(&mut tx, looked, ask, queued).await?;
    if chosen.ids.is_empty() {
        tx.commit().await?;
        return Ok(chosen.claimed(Vec::new()));
    }
    let rows = sqlx::query(include_str!("sql/claim_deliveries.sql"))
        .bind(&chosen.ids)
        .bind(State::Pending.on(Trigger::Claimed)?.as_str())
        .bind(ask.holder.to_string())
        .bind(secs(ask.lease))
        .bind(chosen.virtual_time)
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    drop(conn);
    if !chosen.paced.is_empty() && chosen.read_at.is_some_and(|read_at| LATE < read_at.elapsed()) {
        // Its claims stand, whatever comes of this, and are not to wait for it.
        match tokio::time::timeout(LATE_SAID_WITHIN, leave_late(pool, &chosen.paced)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a rate does not know of a late request"),
            Err(_) => tracing::debug!("a rate does not know of a late request"),
        }
    }
    let mut told = HashMap::new();
    for row in &rows {
        if row.try_get::<Option<&str>, _>("url")?.is_some() {
            told.insert(row.word("endpoint_id")?, read_told(row)?);
        }
    }
    let claims = rows.iter().map(|row| read(row, &told)).collect::<Result<_, _>>()?;
    Ok(chosen.claimed(claims))
}

/// What a request needs to know of its endpoint.
struct Told {
    url: String,
    secret: secrecy::SecretString,
    old_secrets: Vec<secrecy::SecretString>,
    headers: BTreeMap<String, String>,
}

fn read_told(row: &PgRow) -> Result<Told, Error> {
    let old: Vec<String> = row.try_get("old_secrets")?;
    Ok(Told {
        url: row.try_get("url")?,
        secret: row.try_get::<String, _>("secret")?.into(),
        old_secrets: old.into_iter().map(Into::into).collect(),
        headers: row.json("headers")?,
    })
}

fn read(row: &PgRow, told: &HashMap<EndpointId, Told>) -> Result<DeliveryClaim, Error> {
    let endpoint = row.word("endpoint_id")?;
    let told = told.get(&endpoint).ok_or_else(|| Error::not_found(endpoint))?;
    Ok(DeliveryClaim {
        delivery: row.word("delivery_id")?,
        attempt: row.count("attempt")?,
        endpoint,
        tenant: row.try_get("tenant")?,
        url: told.url.clone(),
        secret: told.secret.clone(),
        old_secrets: told.old_secrets.clone(),
        headers: told.headers.clone(),
        event: events::read(row)?,
        claimed_at: row.try_get("begun_at")?,
    })
}

/// What a claim may take.
#[derive(Default)]
struct Chosen {
    ids: Vec<String>,
    virtual_time: f64,
    /// How long until a limit's or an endpoint's rate has room again for what waits.
    again_in: Option<Duration>,
    /// Endpoints whose rate was drawn from, by what was read when.
    paced: Vec<String>,
    read_at: Option<Instant>,
}

impl Chosen {
    fn claimed(&self, claims: Vec<DeliveryClaim>) -> Claimed<DeliveryClaim> {
        Claimed { claims, entered: Vec::new(), passed_over: None, again_in: self.again_in }
    }

    fn may_go_on_in(&mut self, wait: Option<Duration>) {
        self.again_in = self.again_in.into_iter().chain(wait).min();
    }
}

/// Decides what a holder gets, and parks what a limit or a pause keeps from it.
async fn choose(
    conn: &mut PgConnection,
    looked: &Looked,
    ask: &Ask,
    queued: Duration,
) -> Result<Chosen, Error> {
    let mut chosen = Chosen::default();
    let Ground { rules, any_due, flying, virtual_time } = ground(conn, ask.holder).await?;
    chosen.virtual_time = virtual_time;
    if rules.paused.contains(&Gate::Lane(Lane::Deliveries)) {
        return Ok(chosen);
    }
    let table = claiming::table(Lane::Deliveries);
    if any_due {
        claiming::let_out_due(conn, &table).await?;
    }
    let running = match rules.needs_running() {
        Some(lanes) if 1 < lanes.len() => {
            // Counted over all lanes, so decided in one at a time.
            sqlx::query("select pg_advisory_xact_lock($1)")
                .bind(claiming::ALL_LANES)
                .execute(&mut *conn)
                .await?;
            claiming::running(conn, lanes).await?
        }
        Some(_) => flying.iter().map(Flying::running).collect(),
        None => Vec::new(),
    };
    let buckets = limits::buckets(conn, &rules).await?;
    let mut gate = Gatekeeper::new(
        Lane::Deliveries,
        &rules.limits,
        &rules.paused,
        &running,
        &buckets,
        ask.room,
        ask.slots,
    );
    let mut lines = Lines::read(conn, &flying, &looked.at(), ask, queued).await?;
    looked.goes_on(&lines.until);
    let mut parks: BTreeSet<Gate> = rules.parks.iter().cloned().collect();
    for _ in 0..claiming::ROUNDS_MOST {
        let let_out =
            claiming::let_out_parked(conn, Lane::Deliveries, &table, &parks, &gate).await?;
        if 0 < let_out {
            lines = lines.again(conn, &flying, ask).await?;
        }
        let look = look(conn, &mut lines, &mut gate, &mut chosen).await?;
        claiming::park(conn, Lane::Deliveries, &table, &look).await?;
        chosen.may_go_on_in(look.again_in());
        let turned_away = look.parked.len() + look.delayed.len();
        parks.extend(look.parked.into_iter().map(|(_, at)| at));
        // What was turned away at a gate leaves its line to those behind it.
        if look.is_full || (let_out == 0 && turned_away == 0) {
            break;
        }
    }
    limits::spend(conn, &gate.buckets()).await?;
    chosen.paced = lines.spend(conn).await?;
    chosen.read_at = Some(lines.read_at);
    chosen.may_go_on_in(lines.next_room());
    Ok(chosen)
}

/// What a claim stands on.
struct Ground {
    rules: Rules,
    any_due: bool,
    flying: Vec<Flying>,
    virtual_time: f64,
}

/// Deliveries on their way, as many of a sort as there are.
#[derive(Deserialize)]
struct Flying {
    tenant: String,
    kind: String,
    endpoint_id: String,
    running: u32,
    /// Of whoever asks.
    own: u32,
}

impl Flying {
    fn running(&self) -> Running {
        Running {
            lane: Lane::Deliveries,
            tenant: self.tenant.clone(),
            kind: self.kind.clone(),
            key: Some(self.endpoint_id.clone()),
            cost: self.running,
        }
    }
}

async fn ground(conn: &mut PgConnection, holder: HolderId) -> Result<Ground, Error> {
    let row = sqlx::query(include_str!("sql/delivery_rules.sql"))
        .bind(holder.to_string())
        .bind(i64::MAX)
        .fetch_one(conn)
        .await?;
    Ok(Ground {
        rules: limits::read_rules(&row, Lane::Deliveries)?,
        any_due: row.try_get("any_due")?,
        flying: row.json("flying")?,
        virtual_time: row.try_get("virtual_time")?,
    })
}

/// The line before an endpoint.
struct Line {
    standing: Standing,
    /// How much more may be begun.
    room: u32,
}

/// The lines before the endpoints that have something to do.
struct Lines {
    at: BTreeMap<String, Line>,
    begun: BTreeMap<String, u32>,
    /// Where the look went on, and where it stopped; nowhere if it saw all.
    from: String,
    until: String,
    read_at: Instant,
    queued: Duration,
}

impl Lines {
    async fn read(
        conn: &mut PgConnection,
        flying: &[Flying],
        from: &str,
        ask: &Ask,
        queued: Duration,
    ) -> Result<Self, Error> {
        let mut standings = active(conn, from, ENDPOINTS_MOST).await?;
        let read_at = Instant::now();
        let is_long = standings.len() == ENDPOINTS_MOST;
        if !from.is_empty() && !is_long {
            // The end was reached, so from the beginning on.
            let most = ENDPOINTS_MOST - standings.len();
            standings.extend(active(conn, "", most).await?);
        }
        let last = standings.keys().next_back().filter(|_| is_long).cloned().unwrap_or_default();
        let mut busy: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for one in flying {
            let (all, own) = busy.entry(&one.endpoint_id).or_default();
            *all += one.running;
            *own += one.own;
        }
        let others = busy.keys().filter(|id| !standings.contains_key(**id)).count();
        let is_alone = standings.len() + others == 1;
        let at = standings
            .into_iter()
            .map(|(id, standing)| {
                let (in_flight, own) = busy.get(id.as_str()).copied().unwrap_or_default();
                // What the claim took that one waited for leaves only now.
                let late = if LATE < queued { queued } else { Duration::ZERO };
                let tokens = standing.tokens.map(|(left, age)| (left, age.saturating_sub(late)));
                let standing = Standing { in_flight, tokens, ..standing };
                let room = match standing.room(ask.slots, own, is_alone) {
                    Room::Of(room) => room,
                    Room::After(_) | Room::None => 0,
                };
                (id, Line { standing, room })
            })
            .collect();
        Ok(Self { at, begun: BTreeMap::new(), from: from.to_owned(), until: last, read_at, queued })
    }

    /// The same with the endpoints for which something was let out since.
    async fn again(
        self,
        conn: &mut PgConnection,
        flying: &[Flying],
        ask: &Ask,
    ) -> Result<Self, Error> {
        let mut lines = Self::read(conn, flying, &self.from, ask, self.queued).await?;
        for (id, begun) in &self.begun {
            if let Some(line) = lines.at.get_mut(id) {
                line.room = line.room.saturating_sub(*begun);
            }
        }
        lines.begun = self.begun;
        Ok(lines)
    }

    /// How long until an endpoint that its rate or a hold kept back takes another request. Some of
    /// them may have nothing left to do; then a claim finds nothing, once.
    fn next_room(&self) -> Option<Duration> {
        self.at
            .iter()
            .filter_map(|(id, line)| line.standing.wait(self.begun.get(id).copied().unwrap_or(0)))
            .min()
            .map(|wait| wait.max(room::SOON))
    }

    /// Writes what is left of the rates that were drawn from, and answers with whose these are.
    async fn spend(&self, conn: &mut PgConnection) -> Result<Vec<String>, Error> {
        let spent: Vec<(&str, f64)> = self
            .begun
            .iter()
            .filter_map(|(id, begun)| Some((id.as_str(), self.at.get(id)?.standing.spent(*begun)?)))
            .collect();
        if spent.is_empty() {
            return Ok(Vec::new());
        }
        let (ids, tokens): (Vec<_>, Vec<_>) = spent.into_iter().unzip();
        let paced = texts(&ids);
        // As of when it was read: what passed since is not lost.
        sqlx::query(
            "insert into paces (endpoint_id, tokens, at)
             select id, tokens, clock_timestamp() - make_interval(secs => $3)
               from unnest($1::text[], $2::float8[]) as u (id, tokens)
             on conflict (endpoint_id) do update
                set tokens = excluded.tokens, at = excluded.at",
        )
        .bind(ids)
        .bind(tokens)
        .bind(secs(self.read_at.elapsed()))
        .execute(conn)
        .await?;
        Ok(paced)
    }
}

/// A claim took long, by a disk that was busy say, and its requests leave later than their rates
/// think: nothing is to follow too soon on them.
async fn leave_late(pool: &PgPool, paced: &[String]) -> Result<(), Error> {
    const BEGIN: &str = "begin;
        set local idle_in_transaction_session_timeout = 2000;
        set local synchronous_commit = off";
    let mut tx = pool.begin_with(BEGIN).await?;
    // In the order in which claims write them.
    let sql = "with late as (
                 select endpoint_id from paces
                  where endpoint_id = any($1) order by endpoint_id for update
               )
               update paces p set at = clock_timestamp()
                 from late l where l.endpoint_id = p.endpoint_id";
    sqlx::query(sql).bind(paced).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn active(
    conn: &mut PgConnection,
    from: &str,
    most: usize,
) -> Result<BTreeMap<String, Standing>, Error> {
    let rows = sqlx::query(include_str!("sql/active_endpoints.sql"))
        .bind(from)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, read_standing(row)?))).collect()
}

fn read_standing(row: &PgRow) -> Result<Standing, Error> {
    let secs = |column: &str| -> Result<Option<Duration>, Error> {
        let secs: Option<f64> = row.try_get(column)?;
        Ok(secs.map(|secs| Duration::try_from_secs_f64(secs).unwrap_or(Duration::ZERO)))
    };
    let tokens: Option<f64> = row.try_get("tokens")?;
    Ok(Standing {
        state: row.word("state")?,
        concurrency: endpoints::count_if(row, "concurrency")?,
        rate: row.json_if("rate")?,
        health: row.json_if("health")?.unwrap_or_default(),
        held_for: secs("held_secs")?,
        in_flight: 0,
        tokens: tokens.zip(secs("tokens_secs")?),
    })
}

/// Judges what stands at the heads of the lines.
async fn look(
    conn: &mut PgConnection,
    lines: &mut Lines,
    gate: &mut Gatekeeper<'_>,
    chosen: &mut Chosen,
) -> Result<Look, Error> {
    let mut look = Look::default();
    let open: Vec<(&String, i64)> = lines
        .at
        .iter()
        .filter(|(_, line)| 0 < line.room)
        // What was chosen stands in the line until it is claimed.
        .map(|(id, line)| {
            let ahead = lines.begun.get(id).copied().unwrap_or(0);
            (id, i64::from(line.room.min(gate.room())) + i64::from(ahead))
        })
        .collect();
    if open.is_empty() || gate.room() == 0 {
        look.is_full = true;
        return Ok(look);
    }
    let (ids, rooms): (Vec<_>, Vec<_>) = open.into_iter().unzip();
    let rows = sqlx::query(include_str!("sql/delivery_candidates.sql"))
        .bind(texts(ids))
        .bind(rooms)
        .fetch_all(conn)
        .await?;
    let known: BTreeSet<String> = chosen.ids.iter().cloned().collect();
    for row in &rows {
        let candidate: Candidate = claiming::read_candidate(row)?;
        if known.contains(&candidate.id) {
            continue;
        }
        match gate.judge(&candidate.work()) {
            Entry::Admitted => {
                let tag = rank::tag(candidate.rank, candidate.band);
                chosen.virtual_time = chosen.virtual_time.max(tag);
                let endpoint = candidate.key.unwrap_or_default();
                if let Some(line) = lines.at.get_mut(&endpoint) {
                    line.room = line.room.saturating_sub(1);
                }
                *lines.begun.entry(endpoint).or_default() += 1;
                chosen.ids.push(candidate.id);
            }
            Entry::Parked(at) => look.parked.push((candidate.id, at)),
            Entry::Delayed(by) => look.delayed.push((candidate.id, by)),
            Entry::NoRoom => look.is_full = true,
        }
        look.is_full |= gate.is_shut();
        if look.is_full {
            break;
        }
    }
    Ok(look)
}

/// How long until an endpoint has room again of which nothing else tells; `None` if none waits for
/// that.
pub(super) async fn next_room(pool: &PgPool) -> Result<Option<Duration>, Error> {
    let mut conn = pool.acquire().await?;
    let standings = active(&mut conn, "", ENDPOINTS_MOST).await?;
    Ok(standings.values().filter_map(|standing| standing.wait(0)).min())
}
