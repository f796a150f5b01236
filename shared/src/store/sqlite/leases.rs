//! Leases of all three kinds of work: kept, given back, lapsed.

use std::{collections::HashSet, time::Duration};

use serde_json::json;
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, answering, planning,
    rows::{Columns, to_json},
    sent::Sent,
    settling,
};
use crate::{
    domain::{
        attempt::{Failure, Outcome},
        id::HolderId,
        retry::{Jitter, Policy},
    },
    job::{Job, Lane},
    store::{Error, Fence},
};

pub(super) async fn extend(
    tx: &mut Tx,
    holder: HolderId,
    held: &[Fence],
    lease: Duration,
) -> Result<Vec<Fence>, Error> {
    let mut kept = HashSet::new();
    for &lane in Lane::ALL {
        let rows: Vec<_> = held
            .iter()
            .filter(|fence| fence.job.lane() == lane)
            .map(|fence| json!([fence.job.to_string(), fence.attempt]))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let extend = match lane {
            Lane::Plans => {
                "update builds set leased_until = $3 from json_each($1) j
                  where builds.id = j.value ->> 0 and attempt = j.value ->> 1
                    and state = 'planning' and holder = $2
                  returning id, attempt"
            }
            Lane::Tasks => {
                "update tasks set leased_until = $3 from json_each($1) j
                  where tasks.id = j.value ->> 0 and attempt = j.value ->> 1
                    and state = 'in_progress' and holder = $2
                  returning id, attempt"
            }
            Lane::Deliveries => {
                "update deliveries set leased_until = $3 from json_each($1) j
                  where deliveries.id = j.value ->> 0 and attempt = j.value ->> 1
                    and state = 'in_progress' and holder = $2
                  returning id, attempt"
            }
        };
        let rows = sqlx::query(extend)
            .bind(to_json(&rows)?)
            .bind(holder.to_string())
            .bind(tx.in_future(lease))
            .fetch_all(tx.db())
            .await?;
        for row in &rows {
            kept.insert((row.word::<Job>("id")?, row.count("attempt")?));
        }
    }
    let is_lost = |fence: &&Fence| !kept.contains(&(fence.job, fence.attempt));
    Ok(held.iter().filter(is_lost).copied().collect())
}

pub(super) async fn give_back(tx: &mut Tx, fence: Fence) -> Result<(), Error> {
    match fence.job {
        Job::Plan(id) => planning::give_back(tx, id, fence.attempt).await,
        Job::Delivery(id) => answering::give_back(tx, id, fence.attempt).await,
        Job::Task(id) => {
            // Nothing is judged, so neither policy nor jitter has a say.
            let (policy, jitter) = (&Policy::WORK, Jitter::NONE);
            settling::settle(tx, id, fence.attempt, Outcome::GivenBack, policy, jitter).await
        }
    }
}

pub(super) async fn lapsed(db: &mut SqliteConnection, limit: u32) -> Result<Vec<Fence>, Error> {
    let rows = sqlx::query(
        "with clock as (select cast(unixepoch('subsec') * 1000 as integer) as now)
         select id, attempt, leased_until from builds, clock
          where state = 'planning' and leased_until <= now
          union all
         select id, attempt, leased_until from tasks, clock
          where state = 'in_progress' and leased_until <= now
          union all
         select id, attempt, leased_until from deliveries, clock
          where state = 'in_progress' and leased_until <= now
          order by leased_until
          limit $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await?;
    let read = |row: &SqliteRow| Ok(Fence { job: row.word("id")?, attempt: row.count("attempt")? });
    rows.iter().map(read).collect()
}

pub(super) async fn lapse_all(tx: &mut Tx) -> Result<u64, Error> {
    let mut lapsed = 0;
    for lapse in [
        "update builds set leased_until = min(leased_until, $1) where state = 'planning'",
        "update tasks set leased_until = min(leased_until, $1) where state = 'in_progress'",
        "update deliveries set leased_until = min(leased_until, $1) where state = 'in_progress'",
    ] {
        lapsed += sqlx::query(lapse).bind(tx.now).execute(tx.db()).await?.rows_affected();
    }
    Ok(lapsed)
}

pub(super) async fn settle_lost(
    tx: &mut Tx,
    fence: Fence,
    policy: &Policy,
    jitter: Jitter,
) -> Result<(), Error> {
    let leased_until = match fence.job {
        Job::Plan(_) => {
            "select leased_until from builds where id = $1 and attempt = $2 and state = 'planning'"
        }
        Job::Task(_) => {
            "select leased_until from tasks
              where id = $1 and attempt = $2 and state = 'in_progress'"
        }
        Job::Delivery(_) => {
            "select leased_until from deliveries
              where id = $1 and attempt = $2 and state = 'in_progress'"
        }
    };
    let leased_until: Option<i64> = sqlx::query_scalar(leased_until)
        .bind(fence.job.to_string())
        .bind(fence.attempt)
        .fetch_optional(tx.db())
        .await?;
    // Its holder may have come back and kept it meanwhile.
    if leased_until.is_none_or(|until| tx.now < until) {
        return Err(Error::Fenced);
    }
    match fence.job {
        Job::Plan(id) => {
            planning::settle(tx, id, fence.attempt, &Failure::lost(), policy, jitter).await
        }
        Job::Task(id) => {
            let lost = Outcome::Failed(Failure::lost());
            settling::settle(tx, id, fence.attempt, lost, policy, jitter).await
        }
        Job::Delivery(id) => {
            answering::settle(tx, id, fence.attempt, &Sent::lost(), policy, jitter).await
        }
    }
}
