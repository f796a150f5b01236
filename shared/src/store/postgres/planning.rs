//! Planning, the leased work of a build: claimed, noted, settled. See `adopting.rs` for what becomes
//! of its plan.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{
    claiming::Claimed,
    leases::Held,
    lock::{self, Locked},
    rows::{Columns, document, int},
    *,
};
use crate::domain::{attempt, build, settle};

/// Claims what is next in the lane.
pub(super) async fn claim(db: &Db, ask: &Ask) -> Result<Claimed<BuildClaim>, Error> {
    let mut tx = db.pool.begin().await?;
    let mut picked = claiming::pick(&mut tx, Lane::Plans, ask).await?;
    if picked.ids.is_empty() {
        tx.commit().await?;
        return Ok(picked.claimed(Vec::new(), Vec::new()));
    }
    let rows = sqlx::query(include_str!("sql/claim_builds.sql"))
        .bind(&picked.ids)
        .bind(build::State::Queued.on(build::Trigger::Claimed)?.as_str())
        .bind(ask.holder.to_string())
        .bind(secs(ask.lease))
        .bind(attempt::State::Running.as_str())
        .fetch_all(&mut *tx)
        .await?;
    let mut claims = Vec::with_capacity(rows.len());
    let mut started = BTreeMap::new();
    for row in &rows {
        let claim = BuildClaim {
            build: row.word("id")?,
            attempt: row.count("attempt")?,
            brief: row.json("brief")?,
        };
        if claim.attempt == 1 {
            let brief = &claim.brief;
            let event = Event::build_started(&brief.prompt, brief.framework.as_deref());
            started.insert(claim.build, [event]);
        }
        claims.push(claim);
    }
    let mut logs: Vec<_> = picked
        .builds
        .iter_mut()
        .filter_map(|(id, build)| Some((build, started.get(id)?.as_slice())))
        .collect();
    let entered = events::append_each(&mut tx, &db.flows, &mut logs).await?;
    events::move_on(&mut tx, logs.iter().map(|(build, _)| &**build)).await?;
    tx.commit().await?;
    Ok(picked.claimed(claims, entered))
}

pub(super) async fn note(db: &Db, claim: &BuildClaim, event: &Event) -> Result<Vec<Job>, Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = held(&mut tx, claim.build, Held::by_claim(claim.attempt)).await?;
    let entered =
        events::append(&mut tx, &db.flows, &mut build, std::slice::from_ref(event)).await?;
    tx.commit().await?;
    Ok(entered)
}

/// Locks a build whose planning is held; `Fenced` if it is not.
pub(super) async fn held(
    conn: &mut PgConnection,
    id: BuildId,
    held: Held,
) -> Result<Locked, Error> {
    let build = lock::build(conn, id).await?.ok_or(Error::Fenced)?;
    if is_held(&build, held) { Ok(build) } else { Err(Error::Fenced) }
}

/// Whether it is this attempt at planning that runs.
pub(super) fn is_held(build: &Locked, held: Held) -> bool {
    build.state == build::State::Planning
        && build.attempt == held.attempt
        && (build.lapsed || !held.lapsed)
}

pub(super) async fn settle(
    db: &Db,
    id: BuildId,
    lease: Held,
    failure: &Failure,
    (policy, jitter): (&Policy, Jitter),
) -> Result<Vec<Job>, Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = held(&mut tx, id, lease).await?;
    let settlement = settle::settle_planning(
        failure,
        build.attempt,
        build.failures,
        build.crashes,
        policy,
        jitter,
    )?;
    sqlx::query(include_str!("sql/settle_planning.sql"))
        .bind(id.to_string())
        .bind(int(lease.attempt))
        .bind(settlement.build.as_str())
        .bind(settlement.due_in.map(secs))
        .bind(int(settlement.failures))
        .bind(int(settlement.crashes))
        .bind(settlement.stop.as_ref().map(|stop| &stop.code))
        .bind(settlement.stop.as_ref().map(|stop| &stop.message))
        .bind(settlement.build.is_final())
        .execute(&mut *tx)
        .await?;
    end_attempt(&mut tx, id, lease.attempt, settlement.attempt, Some(failure)).await?;
    lock::forget_pauses(&mut tx, settlement.build.is_final().then_some(id).into_iter()).await?;
    let mut entered = events::append(&mut tx, &db.flows, &mut build, &settlement.events).await?;
    if settlement.due_in == Some(Duration::ZERO) {
        entered.push(Job::Plan(id));
    }
    let lanes = claiming::parked_lanes(&mut tx, Lane::Plans).await?;
    entered.extend(claiming::wake_ups(&lanes));
    tx.commit().await?;
    Ok(entered)
}

/// Gives a planning back, due at once.
pub(super) async fn give_back(pool: &PgPool, id: BuildId, attempt: u32) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    let build = held(&mut tx, id, Held::by_claim(attempt)).await?;
    sqlx::query(
        "update builds
            set state = $3, due_at = clock_timestamp(), holder = null, leased_until = null,
                updated_at = clock_timestamp()
          where id = $1
            and attempt = $2 and state = 'planning'",
    )
    .bind(id.to_string())
    .bind(int(attempt))
    .bind(build.state.on(build::Trigger::GivenBack)?.as_str())
    .execute(&mut *tx)
    .await?;
    let given_back = attempt::State::Running.on(attempt::Trigger::GivenBack)?;
    end_attempt(&mut tx, id, attempt, given_back, None).await?;
    tx.commit().await?;
    Ok(())
}

async fn end_attempt(
    conn: &mut PgConnection,
    id: BuildId,
    number: u32,
    state: attempt::State,
    failure: Option<&Failure>,
) -> Result<(), Error> {
    sqlx::query(
        "update planning_attempts
            set state = $3, failure = $4::json, settled_at = clock_timestamp()
          where build_id = $1 and number = $2 and state = 'running'",
    )
    .bind(id.to_string())
    .bind(int(number))
    .bind(state.as_str())
    .bind(failure.map(document).transpose()?)
    .execute(conn)
    .await?;
    Ok(())
}
