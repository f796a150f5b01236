//! Leases of every kind: kept, given back, lapsed, lost.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;

use super::{
    rows::{Columns, int},
    *,
};

/// By what right an attempt is settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub attempt: u32,
    /// Only if its lease has lapsed.
    pub lapsed: bool,
}

impl Held {
    pub const fn by_claim(attempt: u32) -> Self {
        Self { attempt, lapsed: false }
    }

    const fn by_nobody(attempt: u32) -> Self {
        Self { attempt, lapsed: true }
    }
}

/// Answers with those that are held no longer.
pub(super) async fn extend(
    pool: &PgPool,
    holder: HolderId,
    held: &[Fence],
    lease: Duration,
) -> Result<Vec<Fence>, Error> {
    let mut kept = HashSet::new();
    for &lane in Lane::ALL {
        let of_lane = held.iter().filter(|fence| fence.job.lane() == lane);
        let (ids, attempts): (Vec<_>, Vec<_>) =
            of_lane.map(|fence| (fence.job.to_string(), int(fence.attempt))).unzip();
        if ids.is_empty() {
            continue;
        }
        let rows = sqlx::query(AssertSqlSafe(extending(lane)))
            .bind(ids)
            .bind(attempts)
            .bind(holder.to_string())
            .bind(secs(lease))
            .fetch_all(pool)
            .await?;
        for row in &rows {
            kept.insert((row.word::<Job>("id")?, row.count("attempt")?));
        }
    }
    Ok(held.iter().copied().filter(|fence| !kept.contains(&(fence.job, fence.attempt))).collect())
}

/// Rows that somebody is writing to are not waited for: a settle locks many too, in an order of its
/// own. Those are answered as held if they were; the next extension finds out.
fn extending(lane: Lane) -> String {
    let (table, running) = match lane {
        Lane::Plans => ("builds", "planning"),
        Lane::Tasks => ("tasks", "in_progress"),
        Lane::Deliveries => ("deliveries", "in_progress"),
    };
    format!(
        "with held as (
           select w.id, w.attempt
             from unnest($1::text[], $2::integer[]) as u (id, attempt)
             join {table} w on w.id = u.id
            where w.attempt = u.attempt
              and w.holder = $3
              and w.state is not distinct from '{running}'
         ), free as (
           select w.id
             from {table} w
            where w.id in (select id from held)
              and w.holder = $3
              and w.state is not distinct from '{running}'
              for no key update skip locked
         ), extended as (
           update {table} w
              set leased_until = clock_timestamp() + make_interval(secs => $4)
             from free
            where w.id = free.id
         )
         select id, attempt from held"
    )
}

pub(super) async fn give_back(db: &Db, fence: Fence) -> Result<(), Error> {
    let held = Held::by_claim(fence.attempt);
    // Nothing is judged where nothing failed, so any law will do.
    let law = (&Policy::WORK, Jitter::NONE);
    match fence.job {
        Job::Plan(id) => {
            planning::give_back(&db.pool, id, fence.attempt).await?;
            db.bell.ring([fence.job]);
            Ok(())
        }
        Job::Task(id) => settling::settle(db, ended(id, held, Outcome::GivenBack, law)).await,
        Job::Delivery(id) => {
            answering::settle(db, answered(id, held, answering::End::GivenBack, law)).await
        }
    }
}

fn ended(
    task: TaskId,
    held: Held,
    outcome: Outcome,
    (policy, jitter): (&Policy, Jitter),
) -> settling::Ended {
    settling::Ended { task, held, outcome, policy: *policy, jitter }
}

fn answered(
    id: DeliveryId,
    held: Held,
    end: answering::End,
    (policy, jitter): (&Policy, Jitter),
) -> answering::Answered {
    answering::Answered { id, held, end, policy: *policy, jitter }
}

pub(super) async fn lapsed(pool: &PgPool, limit: u32) -> Result<Vec<Fence>, Error> {
    let rows =
        sqlx::query(include_str!("sql/lapsed.sql")).bind(i64::from(limit)).fetch_all(pool).await?;
    rows.iter()
        .map(|row| Ok(Fence { job: row.word("id")?, attempt: row.count("attempt")? }))
        .collect()
}

pub(super) async fn lapse_all(pool: &PgPool) -> Result<u64, Error> {
    let mut tx = pool.begin().await?;
    let mut lapsed = 0;
    for sql in [
        "update builds set leased_until = clock_timestamp() where state = 'planning'",
        "update tasks set leased_until = clock_timestamp() where state = 'in_progress'",
        "update deliveries set leased_until = clock_timestamp() where state = 'in_progress'",
    ] {
        lapsed += sqlx::query(sql).execute(&mut *tx).await?.rows_affected();
    }
    tx.commit().await?;
    Ok(lapsed)
}

pub(super) async fn settle_lost(
    db: &Db,
    fence: Fence,
    law: (&Policy, Jitter),
) -> Result<(), Error> {
    let held = Held::by_nobody(fence.attempt);
    match fence.job {
        Job::Plan(id) => {
            db.bell.ring(planning::settle(db, id, held, &Failure::lost(), law).await?);
            Ok(())
        }
        Job::Task(id) => {
            let outcome = Outcome::Failed(Failure::lost());
            settling::settle_soon(db, ended(id, held, outcome, law)).await
        }
        Job::Delivery(id) => {
            answering::settle(db, answered(id, held, answering::End::Lost, law)).await
        }
    }
}
