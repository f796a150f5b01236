//! Attempts at deliveries that have ended: many of them in one commit, each written once.
//!
//! The number of statements does not depend on how many there are. Only deliveries in order need
//! the lock of their build: an event that is written meanwhile must see whose turn it is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    desk::{Gathered, only},
    fares::{Fare, Told},
    leases::Held,
    lock::Contended,
    rows::{Columns, document, int, texts},
    *,
};
use crate::domain::{
    attempt,
    delivery::{State, Trigger},
    endpoint::{Health, Profile, log_of},
    event::Kind,
    id::EndpointId,
    retry::Verdict,
};

/// How an attempt ended, and who says so.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub id: DeliveryId,
    pub held: Held,
    pub end: End,
    pub policy: Policy,
    pub jitter: Jitter,
}

#[derive(Debug, Clone)]
pub(super) enum End {
    Sent(Box<SendResult>),
    Lost,
    GivenBack,
}

/// A delivery as its settling finds it.
struct Found {
    build: BuildId,
    endpoint: EndpointId,
    ordered: bool,
    kind: Kind,
    failures: u32,
    crashes: u32,
    holder: Option<String>,
    retry: Profile,
    /// Whether one more success changes nothing about its endpoint.
    is_at_rest: bool,
}

/// What the rules say of an attempt that ended.
struct Judged {
    state: State,
    ended: attempt::State,
    due_in: Option<Duration>,
    failure: Option<Failure>,
    failures: u32,
    crashes: u32,
}

impl Gathered for Answered {
    type Answer = ();
    const NAME: &'static str = "answer";
    const COMMIT_MOST: usize = 512;

    async fn commit(db: &Db, all: &[Self]) -> Result<Vec<Result<(), Error>>, Error> {
        settle_all(db, all).await
    }
}

/// One alone.
pub(super) async fn settle(db: &Db, answered: Answered) -> Result<(), Error> {
    settle_all(db, std::slice::from_ref(&answered)).await.and_then(only)
}

/// Answers for each whether it was written, and rings for what may be claimed by it.
async fn settle_all(db: &Db, all: &[Answered]) -> Result<Vec<Result<(), Error>>, Error> {
    // Of two answers for one delivery, at most one has the right to be written.
    let mut seen = HashSet::new();
    let is_first: Vec<bool> = all.iter().map(|one| seen.insert(one.id)).collect();
    let firsts: Vec<&Answered> =
        all.iter().zip(&is_first).filter(|(_, is_first)| **is_first).map(|(one, _)| one).collect();
    let written = settle_each_once(db, &firsts).await?;
    let mut settled = Vec::with_capacity(all.len());
    for (one, is_first) in all.iter().zip(is_first) {
        let is_written = match is_first {
            true => written.contains(&one.id),
            false => settle_each_once(db, &[one]).await?.contains(&one.id),
        };
        settled.push(if is_written { Ok(()) } else { Err(Error::Fenced) });
    }
    Ok(settled)
}

async fn settle_each_once(db: &Db, all: &[&Answered]) -> Result<HashSet<DeliveryId>, Error> {
    let mut conn = db.pool.acquire().await?;
    let found = find(&mut conn, all).await?;
    if all.iter().all(|one| is_plain(one, &found)) {
        return settle_plain(&mut conn, db, all, &found).await;
    }
    drop(conn);
    let mut tx = db.pool.begin().await?;
    let ordered: Vec<BuildId> = found
        .values()
        .filter(|found| found.ordered && found.build != log_of(found.endpoint))
        .map(|found| found.build)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    if !ordered.is_empty() {
        lock::builds(&mut tx, &ordered, Contended::Wait).await?;
    }
    let mut judged = Vec::with_capacity(all.len());
    for &answered in all {
        let Some(found) = found.get(&answered.id) else { continue };
        judged.push((answered, found, judge(answered, found)?));
    }
    let written = write(&mut tx, &judged).await?;
    judged.retain(|(answered, ..)| written.contains(&answered.id));
    if judged.is_empty() {
        return Ok(HashSet::new());
    }
    let mut entered = enter_next(&mut tx, db, &judged).await?;
    entered.extend(fare(&mut tx, db, &judged).await?);
    let at_once = judged.iter().filter(|(.., judged)| judged.due_in == Some(Duration::ZERO));
    entered.extend(at_once.map(|(answered, ..)| Job::Delivery(answered.id)));
    let lanes = claiming::parked_lanes(&mut tx, Lane::Deliveries).await?;
    if entered.is_empty() {
        entered.extend(behind(&mut tx, &judged).await?);
    }
    entered.extend(claiming::wake_ups(&lanes));
    tx.commit().await?;
    db.bell.ring(entered);
    // Waits may be far shorter than it takes until somebody looks again.
    if let Some(soonest) = judged.iter().filter_map(|(.., judged)| judged.due_in).min() {
        db.bell.put_off(Lane::Deliveries, tokio::time::Instant::now() + soonest);
    }
    Ok(written)
}

/// Whether nothing follows of it but that it is written: it was delivered to an endpoint that is
/// well, and nothing waits for its turn.
fn is_plain(one: &Answered, found: &HashMap<DeliveryId, Found>) -> bool {
    let is_well = found.get(&one.id).is_none_or(|found| !found.ordered && found.is_at_rest);
    is_well && sent(one).is_some_and(|result| Fare::of(result).is_plain())
}

/// One statement is a commit of its own, and has the fence in it.
async fn settle_plain(
    conn: &mut PgConnection,
    db: &Db,
    all: &[&Answered],
    found: &HashMap<DeliveryId, Found>,
) -> Result<HashSet<DeliveryId>, Error> {
    let mut judged = Vec::with_capacity(all.len());
    for &answered in all {
        let Some(found) = found.get(&answered.id) else { continue };
        judged.push((answered, found, judge(answered, found)?));
    }
    let written = write(conn, &judged).await?;
    let mut behind: Vec<Job> = behind(conn, &judged).await?.into_iter().collect();
    let lanes = claiming::parked_lanes(conn, Lane::Deliveries).await?;
    behind.extend(claiming::wake_ups(&lanes));
    db.bell.ring(behind);
    Ok(written)
}

async fn find(
    conn: &mut PgConnection,
    all: &[&Answered],
) -> Result<HashMap<DeliveryId, Found>, Error> {
    let rows = sqlx::query(
        "select d.id, d.build_id, d.endpoint_id, d.ordered, d.kind, d.failures, d.crashes, d.holder,
                e.retry, e.health
           from deliveries d
           join endpoints e on e.id = d.endpoint_id
          where d.id = any($1)",
    )
    .bind(texts(all.iter().map(|one| one.id)))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row: &PgRow| {
            let found = Found {
                build: row.word("build_id")?,
                endpoint: row.word("endpoint_id")?,
                ordered: row.try_get("ordered")?,
                kind: row.word("kind")?,
                failures: row.count("failures")?,
                crashes: row.count("crashes")?,
                holder: row.try_get("holder")?,
                retry: row.json("retry")?,
                is_at_rest: row
                    .json_if::<Health>("health")?
                    .is_some_and(|health| health.is_at_rest()),
            };
            Ok((row.word("id")?, found))
        })
        .collect()
}

fn judge(answered: &Answered, found: &Found) -> Result<Judged, Error> {
    let running = attempt::State::Running;
    let plain = |trigger, ended, due_in| -> Result<Judged, Error> {
        Ok(Judged {
            state: State::InProgress.on(trigger)?,
            ended: running.on(ended)?,
            due_in,
            failure: None,
            failures: 0,
            crashes: 0,
        })
    };
    let (failure, failures, crashes, ended, asked) = match &answered.end {
        End::GivenBack => {
            let due_in = Some(Duration::ZERO);
            return plain(Trigger::GivenBack, attempt::Trigger::GivenBack, due_in);
        }
        End::Sent(result) => match &result.failure {
            None => return plain(Trigger::AttemptSucceeded, attempt::Trigger::Success, None),
            Some(failure) => {
                (failure.clone(), 1, 0, attempt::Trigger::Failure, result.asked.retry_after)
            }
        },
        End::Lost => (Failure::lost(), 0, 1, attempt::Trigger::LeaseLapsed, None),
    };
    let counts = (found.failures + failures, found.crashes + crashes);
    let Answered { policy, jitter, .. } = answered;
    let verdict = found.retry.judge(policy, failure.kind, counts, *jitter, asked);
    Ok(Judged {
        state: State::InProgress.on(Trigger::AttemptFailed(verdict))?,
        ended: running.on(ended)?,
        due_in: match verdict {
            Verdict::Retry { after } => Some(after),
            Verdict::GiveUp => None,
        },
        failure: Some(failure.judged(verdict, counts.1)),
        failures,
        crashes,
    })
}

type Settling<'a> = (&'a Answered, &'a Found, Judged);

/// Answers with those that were held as it is said.
async fn write(
    conn: &mut PgConnection,
    rows: &[Settling<'_>],
) -> Result<HashSet<DeliveryId>, Error> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let mut failures = Vec::with_capacity(rows.len());
    let mut exchanges = Vec::with_capacity(rows.len());
    for (answered, _, judged) in rows {
        failures.push(judged.failure.as_ref().map(document).transpose()?);
        let exchange = sent(answered).and_then(|result| result.exchange.as_ref());
        exchanges.push(exchange.map(document).transpose()?);
    }
    let written = sqlx::query_scalar::<_, String>(include_str!("sql/settle_deliveries.sql"))
        .bind(texts(rows.iter().map(|(answered, ..)| answered.id)))
        .bind(each(rows, |(answered, ..)| int(answered.held.attempt)))
        .bind(each(rows, |(answered, ..)| answered.held.lapsed))
        .bind(each(rows, |(.., judged)| judged.state.as_str()))
        .bind(each(rows, |(.., judged)| judged.due_in.map(secs)))
        .bind(each(rows, |(.., judged)| int(judged.failures)))
        .bind(each(rows, |(.., judged)| int(judged.crashes)))
        .bind(failures)
        .bind(each(rows, |(.., judged)| judged.state.is_final()))
        .bind(each(rows, |(.., judged)| judged.ended.as_str()))
        .bind(each(rows, |(answered, ..)| {
            sent(answered)?.status.and_then(|status| i16::try_from(status).ok())
        }))
        .bind(each(rows, |(answered, ..)| {
            Some(i64::try_from(sent(answered)?.took_ms).unwrap_or(i64::MAX))
        }))
        // What a receiver answers is its own affair, but Postgres takes this character in no text.
        .bind(each(rows, |(answered, ..)| {
            Some(sent(answered)?.excerpt.as_ref()?.replace('\0', "\u{fffd}"))
        }))
        .bind(exchanges)
        .bind(each(rows, |(_, found, _)| found.holder.clone().unwrap_or_default()))
        .fetch_all(conn)
        .await?;
    written.iter().map(|id| id.parse().map_err(Error::unavailable)).collect()
}

fn each<'a, T>(rows: &'a [Settling<'a>], of: impl Fn(&'a Settling<'a>) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

fn sent(answered: &Answered) -> Option<&SendResult> {
    match &answered.end {
        End::Sent(result) => Some(result),
        End::Lost | End::GivenBack => None,
    }
}

/// Lets those be claimed whose turn it is now.
async fn enter_next(
    conn: &mut PgConnection,
    db: &Db,
    rows: &[Settling<'_>],
) -> Result<Vec<Job>, Error> {
    let ended: BTreeSet<(String, String)> = rows
        .iter()
        .filter(|(_, found, judged)| found.ordered && judged.state.is_final())
        .map(|(_, found, _)| (found.endpoint.to_string(), found.build.to_string()))
        .collect();
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let (endpoints, builds): (Vec<_>, Vec<_>) = ended.into_iter().unzip();
    let next = sqlx::query(include_str!("sql/next_turns.sql"))
        .bind(endpoints)
        .bind(builds)
        .fetch_all(&mut *conn)
        .await?;
    let mut firsts = Vec::with_capacity(next.len());
    for row in &next {
        let tenant: String = row.try_get("tenant")?;
        let flow = deliveries::flow(&tenant, row.word("endpoint_id")?, row.try_get("band")?);
        firsts.push((row.word("id")?, flow));
    }
    deliveries::enter_turns(conn, &db.flows, firsts).await
}

/// Takes in how the endpoints fared; answers with what may be claimed by it.
async fn fare(conn: &mut PgConnection, db: &Db, rows: &[Settling<'_>]) -> Result<Vec<Job>, Error> {
    let mut fares: BTreeMap<EndpointId, Vec<Fare<'_>>> = BTreeMap::new();
    let mut exhausted = Vec::new();
    for (answered, found, judged) in rows {
        if let Some(result) = sent(answered) {
            fares.entry(found.endpoint).or_default().push(Fare::of(result));
        }
        if judged.state == State::Exhausted
            && let Some(failure) = &judged.failure
            && found.build != log_of(found.endpoint)
        {
            exhausted.push(Told::exhausted(
                answered.id,
                found.endpoint,
                found.build,
                found.kind,
                failure,
            ));
        }
    }
    let told = fares::take_in(conn, &fares).await?;
    fares::tell(conn, &db.flows, exhausted.into_iter().chain(told).collect()).await
}

/// Something that waits at one of these endpoints, for which there may be room now.
async fn behind(conn: &mut PgConnection, rows: &[Settling<'_>]) -> Result<Option<Job>, Error> {
    let endpoints: BTreeSet<EndpointId> = rows.iter().map(|(_, found, _)| found.endpoint).collect();
    let id: Option<String> = sqlx::query_scalar(
        "select d.id
           from unnest($1::text[]) as e (id)
          cross join lateral (
            select id
              from deliveries
             where endpoint_id = e.id and state = 'pending' and parked_on is null
             order by rank, id
             limit 1
          ) d
          limit 1",
    )
    .bind(texts(endpoints))
    .fetch_optional(conn)
    .await?;
    id.map(|id| id.parse().map_err(Error::unavailable)).transpose()
}
