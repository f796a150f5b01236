//! Deliveries: claimed in their turn, settled, listed, sent once more.
//!
//! Of each build and endpoint, one delivery is open to a dispatcher at a time: the first that is
//! not final. The others are parked until their turn; whoever makes it final lets the next one in.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    claiming::Claimed,
    leases::Held,
    queueing::{Flow, Flows},
    rows::{Columns, document, int, page},
    *,
};
use crate::domain::{
    attempt,
    delivery::{State, Trigger},
};

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum End<'a> {
    Sent(&'a SendResult),
    Lost,
    GivenBack,
}

/// Claims what is next in the lane.
pub(super) async fn claim(pool: &PgPool, ask: &Ask) -> Result<Claimed<DeliveryClaim>, Error> {
    let mut tx = pool.begin().await?;
    let picked = claiming::pick(&mut tx, Lane::Deliveries, ask).await?;
    if picked.ids.is_empty() {
        tx.commit().await?;
        return Ok(Claimed::nothing(None));
    }
    let rows = sqlx::query(include_str!("sql/claim_deliveries.sql"))
        .bind(&picked.ids)
        .bind(State::Pending.on(Trigger::Claimed)?.as_str())
        .bind(ask.holder.to_string())
        .bind(secs(ask.lease))
        .bind(attempt::State::Running.as_str())
        .fetch_all(&mut *tx)
        .await?;
    let claims = rows.iter().map(read_claim).collect::<Result<_, _>>()?;
    tx.commit().await?;
    Ok(Claimed { claims, entered: Vec::new(), passed_over: None })
}

fn read_claim(row: &PgRow) -> Result<DeliveryClaim, Error> {
    Ok(DeliveryClaim {
        delivery: row.word("delivery_id")?,
        attempt: row.count("attempt")?,
        endpoint: row.word("endpoint_id")?,
        url: row.try_get("url")?,
        secret: row.try_get::<String, _>("secret")?.into(),
        event: events::read(row)?,
        claimed_at: row.try_get("started_at")?,
    })
}

/// Answers with what may be claimed by it.
pub(super) async fn settle(
    db: &Db,
    id: DeliveryId,
    held: Held,
    end: End<'_>,
    law: (&Policy, Jitter),
) -> Result<Vec<Job>, Error> {
    let mut tx = db.pool.begin().await?;
    // Under the build's lock, so that an event which is written meanwhile sees whose turn it is.
    let build = lock_build_of(&mut tx, id).await?.ok_or(Error::Fenced)?;
    let row = sqlx::query(
        "select failures, crashes
           from deliveries
          where id = $1
            and attempt = $2 -- the fence
            and state = 'in_progress'
            and (not $3 or leased_until <= clock_timestamp())
            for no key update",
    )
    .bind(id.to_string())
    .bind(int(held.attempt))
    .bind(held.lapsed)
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(Error::Fenced)?;
    let judged = judge(end, row.count("failures")?, row.count("crashes")?, law)?;
    write(&mut tx, id, held.attempt, end, &judged).await?;
    let mut entered = match judged.due_in {
        Some(Duration::ZERO) => vec![Job::Delivery(id)],
        Some(_) => Vec::new(),
        None => enter_next(&mut tx, &db.flows, id, build.flow()).await?,
    };
    let lanes = claiming::parked_lanes(&mut tx, Lane::Deliveries).await?;
    entered.extend(claiming::wake_ups(&lanes));
    tx.commit().await?;
    Ok(entered)
}

async fn lock_build_of(
    conn: &mut PgConnection,
    id: DeliveryId,
) -> Result<Option<lock::Locked>, Error> {
    let row = sqlx::query("select build_id from deliveries where id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut *conn)
        .await?;
    match row {
        Some(row) => lock::build(conn, row.word("build_id")?).await,
        None => Ok(None),
    }
}

/// What the rules say of an attempt that ended.
struct Judged {
    state: State,
    attempt: attempt::State,
    due_in: Option<Duration>,
    failure: Option<Failure>,
    failures: u32,
    crashes: u32,
}

fn judge(
    end: End<'_>,
    failures: u32,
    crashes: u32,
    (policy, jitter): (&Policy, Jitter),
) -> Result<Judged, Error> {
    use crate::domain::retry::Verdict;

    let running = attempt::State::Running;
    let (failure, new_failures, new_crashes, ended) = match end {
        End::GivenBack => {
            return Ok(Judged {
                state: State::InProgress.on(Trigger::GivenBack)?,
                attempt: running.on(attempt::Trigger::GivenBack)?,
                due_in: Some(Duration::ZERO),
                failure: None,
                failures: 0,
                crashes: 0,
            });
        }
        End::Sent(SendResult { failure: None, .. }) => {
            return Ok(Judged {
                state: State::InProgress.on(Trigger::AttemptSucceeded)?,
                attempt: running.on(attempt::Trigger::Success)?,
                due_in: None,
                failure: None,
                failures: 0,
                crashes: 0,
            });
        }
        End::Sent(SendResult { failure: Some(failure), .. }) => {
            (failure.clone(), 1, 0, attempt::Trigger::Failure)
        }
        End::Lost => (Failure::lost(), 0, 1, attempt::Trigger::LeaseLapsed),
    };
    let verdict =
        policy.judge(failure.kind, failures + new_failures, crashes + new_crashes, jitter);
    Ok(Judged {
        state: State::InProgress.on(Trigger::AttemptFailed(verdict))?,
        attempt: running.on(ended)?,
        due_in: match verdict {
            Verdict::Retry { after } => Some(after),
            Verdict::GiveUp => None,
        },
        failure: Some(failure.judged(verdict, crashes + new_crashes)),
        failures: new_failures,
        crashes: new_crashes,
    })
}

async fn write(
    conn: &mut PgConnection,
    id: DeliveryId,
    attempt: u32,
    end: End<'_>,
    judged: &Judged,
) -> Result<(), Error> {
    let failure = judged.failure.as_ref().map(document).transpose()?;
    sqlx::query(include_str!("sql/settle_delivery.sql"))
        .bind(id.to_string())
        .bind(int(attempt))
        .bind(judged.state.as_str())
        .bind(judged.due_in.map(secs))
        .bind(int(judged.failures))
        .bind(int(judged.crashes))
        .bind(&failure)
        .bind(judged.state.is_final())
        .execute(&mut *conn)
        .await?;
    let sent = match end {
        End::Sent(result) => Some(result),
        End::Lost | End::GivenBack => None,
    };
    sqlx::query(
        "update delivery_attempts
            set state = $3, failure = $4::json, status = $5, took_ms = $6, excerpt = $7,
                settled_at = clock_timestamp()
          where delivery_id = $1 and number = $2 and state = 'running'",
    )
    .bind(id.to_string())
    .bind(int(attempt))
    .bind(judged.attempt.as_str())
    .bind(failure)
    .bind(sent.and_then(|result| result.status).and_then(|status| i16::try_from(status).ok()))
    .bind(sent.map(|result| i64::try_from(result.took_ms).unwrap_or(i64::MAX)))
    // What a receiver answers is its own affair, but Postgres takes this character in no text.
    .bind(
        sent.and_then(|result| result.excerpt.as_ref()).map(|text| text.replace('\0', "\u{fffd}")),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets deliveries be claimed if it is their turn; answers with those.
pub(super) async fn enter_turns(
    conn: &mut PgConnection,
    flows: &Flows,
    firsts: Vec<(DeliveryId, Flow)>,
) -> Result<Vec<Job>, Error> {
    let mut entering: BTreeMap<Flow, Vec<u32>> = BTreeMap::new();
    for (_, flow) in &firsts {
        entering.entry(flow.clone()).or_default().push(1);
    }
    let mut ranks: BTreeMap<Flow, _> = flows
        .ranks(Lane::Deliveries, &entering)
        .await?
        .into_iter()
        .map(|(flow, ranks)| (flow, ranks.into_iter()))
        .collect();
    let (ids, ranks): (Vec<String>, Vec<f64>) = firsts
        .into_iter()
        .filter_map(|(id, flow)| Some((id.to_string(), ranks.get_mut(&flow)?.next()?)))
        .unzip();
    let rows = sqlx::query(include_str!("sql/enter_turns.sql"))
        .bind(ids)
        .bind(ranks)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok(Job::Delivery(row.word("id")?))).collect()
}

/// Lets the delivery be claimed whose turn it is once `done` is final.
async fn enter_next(
    conn: &mut PgConnection,
    flows: &Flows,
    done: DeliveryId,
    flow: Flow,
) -> Result<Vec<Job>, Error> {
    let next = sqlx::query(
        "select d.id
           from deliveries d
           join deliveries done on done.endpoint_id = d.endpoint_id and done.build_id = d.build_id
          where done.id = $1 and d.settled_at is null
          order by d.seq
          limit 1",
    )
    .bind(done.to_string())
    .fetch_optional(&mut *conn)
    .await?;
    match next {
        Some(row) => enter_turns(conn, flows, vec![(row.word("id")?, flow)]).await,
        None => Ok(Vec::new()),
    }
}

/// Answers also with what may be claimed by it.
pub(super) async fn redeliver(db: &Db, id: DeliveryId) -> Result<(Delivery, Vec<Job>), Error> {
    let mut tx = db.pool.begin().await?;
    let build = lock_build_of(&mut tx, id).await?.ok_or_else(|| Error::not_found(id))?;
    let state = view(&mut tx, id).await?.state.on(Trigger::Redelivered).map_err(|illegal| {
        Error::conflict("delivery_not_final", format!("the delivery is {}", illegal.state))
    })?;
    sqlx::query(
        "update deliveries
            set state = $2, parked_on = 'turn', due_at = clock_timestamp(), settled_at = null,
                failures = 0, crashes = 0
          where id = $1",
    )
    .bind(id.to_string())
    .bind(state.as_str())
    .execute(&mut *tx)
    .await?;
    // Those behind it wait again.
    sqlx::query(
        "update deliveries d
            set parked_on = 'turn'
           from deliveries first
          where first.id = $1
            and d.endpoint_id = first.endpoint_id
            and d.build_id = first.build_id
            and d.seq > first.seq
            and d.state = 'pending'",
    )
    .bind(id.to_string())
    .execute(&mut *tx)
    .await?;
    let entered = enter_turns(&mut tx, &db.flows, vec![(id, build.flow())]).await?;
    let view = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok((view, entered))
}

/// What every reading of deliveries begins with.
const VIEW: &str = "select d.*, e.url, v.id as event_id
   from deliveries d
   join endpoints e on e.id = d.endpoint_id
   join events v on v.build_id = d.build_id and v.seq = d.seq";

pub(super) async fn view(conn: &mut PgConnection, id: DeliveryId) -> Result<Delivery, Error> {
    let row = sqlx::query(AssertSqlSafe(format!("{VIEW} where d.id = $1")))
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    read(&row)
}

pub(super) async fn list(
    pool: &PgPool,
    wanted: &DeliveriesWanted,
) -> Result<Page<Delivery>, Error> {
    const CLAUSES: &str = "where d.tenant = $1
        and ($2::text is null or d.build_id = $2)
        and ($3::text is null or d.state = $3)
        and ($4::text is null or d.id < $4)
      order by d.id desc limit $5";
    let rows = sqlx::query(AssertSqlSafe(format!("{VIEW} {CLAUSES}")))
        .bind(&wanted.tenant)
        .bind(wanted.build.map(|id| id.to_string()))
        .bind(wanted.state.map(State::as_str))
        .bind(wanted.after.map(|id| id.to_string()))
        .bind(i64::from(wanted.limit) + 1)
        .fetch_all(pool)
        .await?;
    let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(page(rows, wanted.limit))
}

fn read(row: &PgRow) -> Result<Delivery, Error> {
    Ok(Delivery {
        id: row.word("id")?,
        build: row.word("build_id")?,
        endpoint: row.word("endpoint_id")?,
        url: row.try_get("url")?,
        event: row.word("event_id")?,
        kind: row.word("kind")?,
        seq: row.size("seq")?,
        state: row.word("state")?,
        attempt: row.count("attempt")?,
        failure: row.json_if("failure")?,
        created_at: row.try_get("created_at")?,
        due_at: row.try_get("due_at")?,
        settled_at: row.try_get("settled_at")?,
    })
}

pub(super) async fn attempts(pool: &PgPool, id: DeliveryId) -> Result<Vec<DeliveryAttempt>, Error> {
    let rows =
        sqlx::query("select * from delivery_attempts where delivery_id = $1 order by number")
            .bind(id.to_string())
            .fetch_all(pool)
            .await?;
    if rows.is_empty() {
        view(&mut *pool.acquire().await?, id).await?;
    }
    rows.iter()
        .map(|row| {
            let status: Option<i16> = row.try_get("status")?;
            let took_ms: Option<i64> = row.try_get("took_ms")?;
            Ok(DeliveryAttempt {
                number: row.count("number")?,
                state: row.word("state")?,
                status: status.and_then(|status| u16::try_from(status).ok()),
                failure: row.json_if("failure")?,
                took_ms: took_ms.and_then(|took_ms| u64::try_from(took_ms).ok()),
                excerpt: row.try_get("excerpt")?,
                started_at: row.try_get("started_at")?,
                settled_at: row.try_get("settled_at")?,
            })
        })
        .collect()
}
