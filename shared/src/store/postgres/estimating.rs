//! How long a build will still take: asked for now and then, and counted only then.

use std::collections::HashMap;

use sqlx::Row;

use super::{rows::Columns, *};
use crate::domain::{
    build,
    estimate::{self, Medians, OPEN_MAX, Open, SAMPLES_MAX, Sample},
};

pub(super) async fn remaining(pool: &PgPool, id: BuildId) -> Result<Option<Duration>, Error> {
    let row = sqlx::query(
        "select state, plan_id, tasks - completed - failed - skipped - cancelled as open
           from builds
          where id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(pool)
    .await?
    .ok_or_else(|| Error::not_found(id))?;
    let Some(plan) = row.word_if::<PlanId>("plan_id")? else { return Ok(None) };
    if row.word::<build::State>("state")? != build::State::Executing
        || OPEN_MAX < row.count("open")?
    {
        return Ok(None);
    }
    let open = open(pool, plan).await?;
    let medians = medians(pool).await?;
    Ok(Some(estimate::remaining(&open, &medians)))
}

async fn open(pool: &PgPool, plan: PlanId) -> Result<Vec<Open>, Error> {
    let rows = sqlx::query(include_str!("sql/open_tasks.sql"))
        .bind(plan.to_string())
        .fetch_all(pool)
        .await?;
    let mut open = Vec::with_capacity(rows.len());
    let mut places = HashMap::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        places.insert(row.try_get::<String, _>("id")?, at);
    }
    for row in &rows {
        let waits_for: Vec<String> = row.try_get("waits_for")?;
        open.push(Open {
            operation: row.word("operation")?,
            role: row.try_get("role")?,
            estimated_secs: row.count("estimated_secs")?,
            running: Duration::try_from_secs_f64(row.try_get("running")?).unwrap_or_default(),
            waits_for: waits_for.iter().filter_map(|on| places.get(on).copied()).collect(),
        });
    }
    Ok(open)
}

async fn medians(pool: &PgPool) -> Result<Medians, Error> {
    let rows = sqlx::query(include_str!("sql/samples.sql"))
        .bind(i64::from(SAMPLES_MAX))
        .fetch_all(pool)
        .await?;
    let samples = rows.iter().map(|row| {
        Ok(Sample {
            operation: row.word("operation")?,
            role: row.try_get("role")?,
            took: Duration::try_from_secs_f64(row.try_get("took")?).unwrap_or_default(),
        })
    });
    Ok(Medians::of(samples.collect::<Result<Vec<_>, Error>>()?))
}
