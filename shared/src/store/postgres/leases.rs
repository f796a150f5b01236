//! Leases of every kind: kept, given back, lapsed, lost.

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

pub(super) async fn extend(
    pool: &PgPool,
    fence: Fence,
    holder: HolderId,
    lease: Duration,
) -> Result<(), Error> {
    let sql = match fence.job {
        Job::Plan(_) => {
            "update builds set leased_until = clock_timestamp() + make_interval(secs => $4)
              where id = $1 and attempt = $2 and holder = $3 and state = 'planning'"
        }
        Job::Task(_) => {
            "update tasks set leased_until = clock_timestamp() + make_interval(secs => $4)
              where id = $1 and attempt = $2 and holder = $3 and state = 'in_progress'"
        }
        Job::Delivery(_) => {
            "update deliveries set leased_until = clock_timestamp() + make_interval(secs => $4)
              where id = $1 and attempt = $2 and holder = $3 and state = 'in_progress'"
        }
    };
    let kept = sqlx::query(sql)
        .bind(fence.job.to_string())
        .bind(int(fence.attempt))
        .bind(holder.to_string())
        .bind(secs(lease))
        .execute(pool)
        .await?
        .rows_affected();
    if kept == 0 { Err(Error::Fenced) } else { Ok(()) }
}

pub(super) async fn give_back(pool: &PgPool, fence: Fence) -> Result<(), Error> {
    let held = Held::by_claim(fence.attempt);
    // Nothing is judged where nothing failed, so any law will do.
    let law = (&Policy::WORK, Jitter::NONE);
    match fence.job {
        Job::Plan(id) => planning::give_back(pool, id, fence.attempt).await,
        Job::Task(id) => settling::settle(pool, id, held, Outcome::GivenBack, law).await,
        Job::Delivery(id) => {
            deliveries::settle(pool, id, held, deliveries::End::GivenBack, law).await
        }
    }
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
    pool: &PgPool,
    fence: Fence,
    law: (&Policy, Jitter),
) -> Result<(), Error> {
    let held = Held::by_nobody(fence.attempt);
    match fence.job {
        Job::Plan(id) => planning::settle(pool, id, held, &Failure::lost(), law).await,
        Job::Task(id) => {
            settling::settle(pool, id, held, Outcome::Failed(Failure::lost()), law).await
        }
        Job::Delivery(id) => deliveries::settle(pool, id, held, deliveries::End::Lost, law).await,
    }
}
