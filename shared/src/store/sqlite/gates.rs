//! Limits, pauses and weights: what stands before a lane, and the verbs that change it.

use std::{collections::BTreeSet, time::Duration};

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, builds,
    claiming::Statements,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        id::BuildId,
        limit::{Bucket, Gate, Limit, Rate, Running},
        rank,
    },
    job::{Job, Lane},
    store::{AuditEntry, AuditWanted, Error, Page, Pause, audit::Change},
};

/// All that a claim has to know of before it judges.
pub(super) struct Standing {
    pub limits: Vec<Limit>,
    pub paused: BTreeSet<Gate>,
    /// In all lanes; empty if no limit counts it.
    pub running: Vec<Running>,
    pub buckets: Vec<Bucket>,
    /// Where something is parked in the lane.
    pub parks: Vec<Gate>,
}

impl Standing {
    pub(super) async fn read(tx: &mut Tx, lane: Lane) -> Result<Self, Error> {
        let limits = limits(tx.db()).await?;
        let paused = paused(tx.db()).await?.into_iter().map(|pause| pause.gate).collect();
        let counts = limits.iter().any(|limit| limit.concurrency.is_some());
        let running = if counts { running(tx.db()).await? } else { Vec::new() };
        let meters = limits.iter().any(|limit| limit.rate.is_some());
        let buckets = if meters { buckets(tx).await? } else { Vec::new() };
        let parks = sqlx::query("select gate from parks where lane = $1")
            .bind(lane.as_str())
            .fetch_all(tx.db())
            .await?
            .iter()
            .map(|row| row.word("gate"))
            .collect::<Result<_, _>>()?;
        Ok(Self { limits, paused, running, buckets, parks })
    }
}

async fn running(db: &mut SqliteConnection) -> Result<Vec<Running>, Error> {
    let rows = sqlx::query(
        "select 'plans' as lane, tenant, '' as kind, limit_key as key, count(*) as cost
           from builds where state = 'planning' group by tenant, limit_key
          union all
         select 'tasks', tenant, operation, limit_key, sum(cost)
           from tasks where state = 'in_progress' group by tenant, operation, limit_key
          union all
         select 'deliveries', tenant, kind, endpoint_id, count(*)
           from deliveries where state = 'in_progress' group by tenant, kind, endpoint_id",
    )
    .fetch_all(db)
    .await?;
    let read = |row: &SqliteRow| {
        Ok(Running {
            lane: row.word("lane")?,
            tenant: row.text("tenant")?,
            kind: row.text("kind")?,
            key: row.try_get("key")?,
            cost: row.count("cost")?,
        })
    };
    rows.iter().map(read).collect()
}

async fn buckets(tx: &mut Tx) -> Result<Vec<Bucket>, Error> {
    let now = tx.now;
    let rows = sqlx::query("select limit_name, value, tokens, max(0, $1 - at) as age from buckets")
        .bind(now)
        .fetch_all(tx.db())
        .await?;
    let read = |row: &SqliteRow| {
        Ok(Bucket {
            limit: row.text("limit_name")?,
            value: row.text("value")?,
            tokens: row.try_get("tokens")?,
            age: Duration::from_millis(row.number("age")?.unsigned_abs()),
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn keep_buckets(tx: &mut Tx, buckets: &[Bucket]) -> Result<(), Error> {
    let now = tx.now;
    for bucket in buckets {
        sqlx::query(
            "insert into buckets (limit_name, value, tokens, at) values ($1, $2, $3, $4)
             on conflict (limit_name, value) do update set tokens = excluded.tokens, at = excluded.at",
        )
        .bind(&bucket.limit)
        .bind(&bucket.value)
        .bind(bucket.tokens)
        .bind(now)
        .execute(tx.db())
        .await?;
    }
    Ok(())
}

/// Work of a lane ended, so there may be room where other work is parked.
pub(super) async fn freed(tx: &mut Tx, job: Job) -> Result<(), Error> {
    let lanes = sqlx::query("select distinct lane from parks").fetch_all(tx.db()).await?;
    for row in lanes {
        let lane: Lane = row.word("lane")?;
        if lane == job.lane() {
            tx.ring([job]);
        } else if crosses_lanes(tx).await? {
            stir(tx, lane).await?;
        }
    }
    Ok(())
}

async fn crosses_lanes(tx: &mut Tx) -> Result<bool, Error> {
    let crosses = sqlx::query_scalar("select exists (select 1 from limits where lane is null)");
    Ok(crosses.fetch_one(tx.db()).await?)
}

/// Rings for a lane, if there is anything to look at.
async fn stir(tx: &mut Tx, lane: Lane) -> Result<(), Error> {
    let any = Statements::of(lane).any(tx).await?;
    tx.ring(any);
    Ok(())
}

async fn stir_all(tx: &mut Tx) -> Result<(), Error> {
    for &lane in Lane::ALL {
        stir(tx, lane).await?;
    }
    Ok(())
}

/// What was delayed by a rate that is another one now is looked at again at once.
async fn judge_again(tx: &mut Tx) -> Result<(), Error> {
    for &lane in Lane::ALL {
        Statements::of(lane).let_out_delayed(tx).await?;
    }
    stir_all(tx).await
}

pub(super) async fn limits(db: &mut SqliteConnection) -> Result<Vec<Limit>, Error> {
    let rows = sqlx::query("select * from limits order by name").fetch_all(db).await?;
    let read = |row: &SqliteRow| {
        let rate_count: Option<u32> = row.try_get("rate_count")?;
        let rate_secs: Option<f64> = row.try_get("rate_secs")?;
        Ok(Limit {
            name: row.text("name")?,
            lane: row.word_if_any("lane")?,
            by: row.word("by")?,
            value: row.try_get("value")?,
            concurrency: row.try_get("concurrency")?,
            rate: match (rate_count, rate_secs) {
                (Some(count), Some(secs)) => {
                    Some(Rate { count, per: Duration::from_secs_f64(secs.max(0.0)) })
                }
                _ => None,
            },
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn put_limit(tx: &mut Tx, limit: &Limit, by: &str) -> Result<(), Error> {
    sqlx::query(
        "insert into limits (name, lane, by, value, concurrency, rate_count, rate_secs)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (name) do update
            set lane = excluded.lane, by = excluded.by, value = excluded.value,
                concurrency = excluded.concurrency, rate_count = excluded.rate_count,
                rate_secs = excluded.rate_secs",
    )
    .bind(&limit.name)
    .bind(limit.lane.map(Lane::as_str))
    .bind(limit.by.as_str())
    .bind(&limit.value)
    .bind(limit.concurrency)
    .bind(limit.rate.map(|rate| rate.count))
    .bind(limit.rate.map(|rate| rate.per.as_secs_f64()))
    .execute(tx.db())
    .await?;
    note(tx, by, Change::LimitPut(limit)).await?;
    judge_again(tx).await
}

pub(super) async fn remove_limit(tx: &mut Tx, name: &str, by: &str) -> Result<(), Error> {
    sqlx::query("delete from buckets where limit_name = $1").bind(name).execute(tx.db()).await?;
    let removed =
        sqlx::query("delete from limits where name = $1").bind(name).execute(tx.db()).await?;
    if removed.rows_affected() == 0 {
        return Err(Error::not_found(format_args!("the limit {name}")));
    }
    note(tx, by, Change::LimitRemoved(name)).await?;
    judge_again(tx).await
}

pub(super) async fn weights(db: &mut SqliteConnection) -> Result<Vec<(String, f64)>, Error> {
    Ok(sqlx::query_as("select tenant, weight from weights order by tenant").fetch_all(db).await?)
}

pub(super) async fn put_weight(
    tx: &mut Tx,
    tenant: &str,
    weight: f64,
    by: &str,
) -> Result<(), Error> {
    if weight == rank::WEIGHT {
        sqlx::query("delete from weights where tenant = $1").bind(tenant).execute(tx.db()).await?;
    } else {
        sqlx::query(
            "insert into weights (tenant, weight) values ($1, $2)
             on conflict (tenant) do update set weight = excluded.weight",
        )
        .bind(tenant)
        .bind(weight)
        .execute(tx.db())
        .await?;
    }
    note(tx, by, Change::WeightPut { tenant, weight }).await
}

pub(super) async fn pause(tx: &mut Tx, gate: &Gate, by: &str) -> Result<(), Error> {
    match gate {
        Gate::Tenant(_) | Gate::Lane(_) => {}
        Gate::Build(build) => {
            let state = builds::standing(tx, *build).await?.state;
            if state.is_final() {
                let reason = format!("the build is {state} already");
                return Err(Error::conflict("build_is_final", reason));
            }
        }
        Gate::Time | Gate::Turn | Gate::Limit { .. } => {
            let reason = "only builds, tenants and lanes can be paused";
            return Err(Error::conflict("not_pausable", reason));
        }
    }
    let paused = sqlx::query("insert or ignore into pauses (gate, by, at) values ($1, $2, $3)")
        .bind(gate.to_string())
        .bind(by)
        .bind(tx.now)
        .execute(tx.db())
        .await?;
    if 0 < paused.rows_affected() {
        note(tx, by, Change::Paused(gate)).await?;
    }
    Ok(())
}

pub(super) async fn resume(tx: &mut Tx, gate: &Gate, by: &str) -> Result<(), Error> {
    if unpause(tx, gate).await? {
        note(tx, by, Change::Resumed(gate)).await?;
        stir_all(tx).await?;
    }
    Ok(())
}

async fn unpause(tx: &mut Tx, gate: &Gate) -> Result<bool, Error> {
    let gone = sqlx::query("delete from pauses where gate = $1")
        .bind(gate.to_string())
        .execute(tx.db())
        .await?;
    Ok(0 < gone.rows_affected())
}

/// A build that has ended is not paused any more.
pub(super) async fn forget_pause(tx: &mut Tx, build: BuildId) -> Result<(), Error> {
    unpause(tx, &Gate::Build(build)).await?;
    Ok(())
}

pub(super) async fn paused(db: &mut SqliteConnection) -> Result<Vec<Pause>, Error> {
    let rows =
        sqlx::query("select gate, by, at from pauses order by at, gate").fetch_all(db).await?;
    let read = |row: &SqliteRow| {
        Ok(Pause { gate: row.word("gate")?, by: row.text("by")?, at: row.at("at")? })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn note(tx: &mut Tx, by: &str, change: Change<'_>) -> Result<(), Error> {
    sqlx::query("insert into audit (at, by, action, subject, detail) values ($1, $2, $3, $4, $5)")
        .bind(tx.now)
        .bind(by)
        .bind(change.action())
        .bind(change.subject())
        .bind(to_json(&change.detail())?)
        .execute(tx.db())
        .await?;
    Ok(())
}

pub(super) async fn audit(
    db: &mut SqliteConnection,
    wanted: &AuditWanted,
) -> Result<Page<AuditEntry>, Error> {
    let rows = sqlx::query(
        "select id, at, by, action, subject, detail
           from audit
          where id < coalesce($1, 9223372036854775807)
          order by id desc
          limit $2",
    )
    .bind(wanted.before)
    .bind(i64::from(wanted.limit) + 1)
    .fetch_all(db)
    .await?;
    let read = |row: &SqliteRow| {
        Ok(AuditEntry {
            id: row.number("id")?,
            at: row.at("at")?,
            by: row.text("by")?,
            action: row.text("action")?,
            subject: row.text("subject")?,
            detail: row.json("detail")?,
        })
    };
    let limit = wanted.limit as usize;
    let next = limit < rows.len();
    let rows = rows.iter().take(limit).map(read).collect::<Result<_, sqlx::Error>>()?;
    Ok(Page { rows, next })
}
