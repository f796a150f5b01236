//! Limits, weights and pauses: read by claims, changed by people, with an audit of every change.

use std::collections::BTreeSet;

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    rows::{Columns, document, int, page},
    *,
};
use crate::{
    domain::{
        limit::{Bucket, By, Rate},
        rank,
    },
    store::audit::Change,
};

/// All that a claim must know of the rules of a lane.
pub(super) struct Rules {
    pub lane: Lane,
    pub limits: Vec<Limit>,
    pub paused: BTreeSet<Gate>,
    /// Gates at which work of the lane is parked.
    pub parks: Vec<Gate>,
}

impl Rules {
    /// The lanes whose running work a limit counts, if any does.
    pub fn needs_running(&self) -> Option<&'static [Lane]> {
        let mut counted = self.limits.iter().filter(|limit| limit.concurrency.is_some()).peekable();
        counted.peek()?;
        if counted.any(|limit| limit.lane.is_none()) {
            return Some(Lane::ALL);
        }
        let own = Lane::ALL.iter().position(|lane| *lane == self.lane)?;
        Some(&Lane::ALL[own..=own])
    }
}

pub(super) async fn rules(conn: &mut PgConnection, lane: Lane) -> Result<Rules, Error> {
    let row =
        sqlx::query(include_str!("sql/rules.sql")).bind(lane.as_str()).fetch_one(conn).await?;
    read_rules(&row, lane)
}

/// Reads them from a row with limits, pauses and parks.
pub(super) fn read_rules(row: &PgRow, lane: Lane) -> Result<Rules, Error> {
    let gates = |texts: Vec<String>| {
        texts.iter().map(|text| text.parse::<Gate>().map_err(Error::unavailable)).collect()
    };
    let limits: Vec<Value> = row.json("limits")?;
    let paused: Result<Vec<Gate>, Error> = gates(row.try_get("paused")?);
    let parks: Result<Vec<Gate>, Error> = gates(row.try_get("parks")?);
    Ok(Rules {
        lane,
        limits: limits.iter().map(of_document).collect::<Result<_, _>>()?,
        paused: paused?.into_iter().collect(),
        parks: parks?,
    })
}

/// A limit as `row_to_json` writes it.
pub(super) fn of_document(value: &Value) -> Result<Limit, Error> {
    let word = |name: &str| value[name].as_str();
    let number = |name: &str| value[name].as_u64().and_then(|number| u32::try_from(number).ok());
    Ok(Limit {
        name: word("name").unwrap_or_default().to_owned(),
        lane: word("lane").map(str::parse).transpose().map_err(Error::unavailable)?,
        by: word("by").unwrap_or_default().parse::<By>().map_err(Error::unavailable)?,
        value: word("value").map(str::to_owned),
        concurrency: number("concurrency"),
        rate: number("rate_count").zip(value["rate_secs"].as_f64()).map(|(count, secs)| Rate {
            count,
            per: Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX),
        }),
    })
}

/// What is left of the rates of a lane. None are read if there is no rate.
pub(super) async fn buckets(conn: &mut PgConnection, rules: &Rules) -> Result<Vec<Bucket>, Error> {
    let names: Vec<&str> = rules
        .limits
        .iter()
        .filter(|limit| limit.rate.is_some())
        .map(|limit| limit.name.as_str())
        .collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "select limit_name, value, tokens,
                extract(epoch from clock_timestamp() - at)::float8 as age_secs
           from buckets
          where limit_name = any($1)",
    )
    .bind(names)
    .fetch_all(conn)
    .await?;
    rows.iter().map(claiming::bucket).collect()
}

/// Writes what is left of the rates that were drawn from, and forgets those that are full again.
pub(super) async fn spend(conn: &mut PgConnection, buckets: &[Bucket]) -> Result<(), Error> {
    if buckets.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("sql/spend.sql"))
        .bind(buckets.iter().map(|bucket| bucket.limit.as_str()).collect::<Vec<_>>())
        .bind(buckets.iter().map(|bucket| bucket.value.as_str()).collect::<Vec<_>>())
        .bind(buckets.iter().map(|bucket| bucket.tokens).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn list(pool: &PgPool) -> Result<Vec<Limit>, Error> {
    let rows = sqlx::query("select row_to_json(l) as document from limits l order by name")
        .fetch_all(pool)
        .await?;
    rows.iter().map(|row| of_document(&row.json("document")?)).collect()
}

pub(super) async fn put(pool: &PgPool, limit: &Limit, by: &str) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
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
    .bind(limit.concurrency.map(int))
    .bind(limit.rate.map(|rate| int(rate.count)))
    .bind(limit.rate.map(|rate| rate.per.as_secs_f64()))
    .execute(&mut *tx)
    .await?;
    forget_buckets(&mut tx, &limit.name).await?;
    let_out_delayed(&mut tx).await?;
    note(&mut tx, by, Change::LimitPut(limit)).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn remove(pool: &PgPool, name: &str, by: &str) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    forget_buckets(&mut tx, name).await?;
    let removed =
        sqlx::query("delete from limits where name = $1").bind(name).execute(&mut *tx).await?;
    if removed.rows_affected() == 0 {
        return Err(Error::not_found(format_args!("a limit called {name}")));
    }
    let_out_delayed(&mut tx).await?;
    note(&mut tx, by, Change::LimitRemoved(name)).await?;
    tx.commit().await?;
    Ok(())
}

/// Lets work that only a rate has delayed be judged again at once.
async fn let_out_delayed(conn: &mut PgConnection) -> Result<(), Error> {
    for lane in Lane::ALL {
        let sql = format!(
            "update {}
                set due_at = least(due_at, clock_timestamp())
              where parked_on = 'time' and failures = 0 and crashes = 0",
            claiming::table_of(*lane)
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    }
    Ok(())
}

async fn forget_buckets(conn: &mut PgConnection, name: &str) -> Result<(), Error> {
    // Claims write buckets under their lane's row, and a limit may be of any lane.
    sqlx::query("select 1 from lanes order by lane for update").execute(&mut *conn).await?;
    sqlx::query("delete from buckets where limit_name = $1").bind(name).execute(conn).await?;
    Ok(())
}

pub(super) async fn weights(pool: &PgPool) -> Result<Vec<(String, f64)>, Error> {
    Ok(sqlx::query_as("select tenant, weight from weights order by tenant").fetch_all(pool).await?)
}

pub(super) async fn put_weight(
    pool: &PgPool,
    tenant: &str,
    weight: f64,
    by: &str,
) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    let weight = weight.clamp(rank::WEIGHT_MIN, rank::WEIGHT_MAX);
    if (weight - rank::WEIGHT).abs() < f64::EPSILON {
        sqlx::query("delete from weights where tenant = $1").bind(tenant).execute(&mut *tx).await?;
    } else {
        sqlx::query(
            "insert into weights (tenant, weight) values ($1, $2)
             on conflict (tenant) do update set weight = excluded.weight",
        )
        .bind(tenant)
        .bind(weight)
        .execute(&mut *tx)
        .await?;
    }
    note(&mut tx, by, Change::WeightPut { tenant, weight }).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn pause(pool: &PgPool, gate: &Gate, by: &str) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    match gate {
        Gate::Tenant(_) | Gate::Lane(_) => {}
        Gate::Build(id) => {
            let build = lock::build(&mut tx, *id).await?.ok_or_else(|| Error::not_found(id))?;
            if build.state.is_final() {
                let reason = format!("the build is {} already", build.state);
                return Err(Error::conflict("build_is_final", reason));
            }
        }
        Gate::Time | Gate::Turn | Gate::Limit { .. } => {
            let reason = "only a build, a tenant or a lane can be paused";
            return Err(Error::conflict("not_pausable", reason));
        }
    }
    let new = sqlx::query("insert into pauses (gate, by) values ($1, $2) on conflict do nothing")
        .bind(gate.to_string())
        .bind(by)
        .execute(&mut *tx)
        .await?;
    if 0 < new.rows_affected() {
        note(&mut tx, by, Change::Paused(gate)).await?;
    }
    tx.commit().await?;
    Ok(())
}

pub(super) async fn resume(pool: &PgPool, gate: &Gate, by: &str) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    let gone = sqlx::query("delete from pauses where gate = $1")
        .bind(gate.to_string())
        .execute(&mut *tx)
        .await?;
    if 0 < gone.rows_affected() {
        note(&mut tx, by, Change::Resumed(gate)).await?;
    }
    tx.commit().await?;
    Ok(())
}

pub(super) async fn paused(pool: &PgPool) -> Result<Vec<Pause>, Error> {
    let rows = sqlx::query("select gate, by, at from pauses order by gate").fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            Ok(Pause { gate: row.word("gate")?, by: row.try_get("by")?, at: row.try_get("at")? })
        })
        .collect()
}

/// Writes down a change that somebody made by hand.
pub(super) async fn note(
    conn: &mut PgConnection,
    by: &str,
    change: Change<'_>,
) -> Result<(), Error> {
    sqlx::query("insert into audit (by, action, subject, detail) values ($1, $2, $3, $4::json)")
        .bind(by)
        .bind(change.action())
        .bind(change.subject())
        .bind(document(&change.detail())?)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn audit(pool: &PgPool, wanted: &AuditWanted) -> Result<Page<AuditEntry>, Error> {
    let rows = sqlx::query(
        "select * from audit where $1::bigint is null or id < $1 order by id desc limit $2",
    )
    .bind(wanted.before)
    .bind(i64::from(wanted.limit) + 1)
    .fetch_all(pool)
    .await?;
    let read = |row: &PgRow| {
        Ok(AuditEntry {
            id: row.try_get("id")?,
            at: row.try_get("at")?,
            by: row.try_get("by")?,
            action: row.try_get("action")?,
            subject: row.try_get("subject")?,
            detail: row.json("detail")?,
        })
    };
    let rows = rows.iter().map(read).collect::<Result<_, Error>>()?;
    Ok(page(rows, wanted.limit))
}
