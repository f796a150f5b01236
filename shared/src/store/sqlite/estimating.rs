//! How long a build will still take: asked for now and then, and counted only then.

use std::{collections::HashMap, time::Duration};

use sqlx::SqliteConnection;

use super::rows::Columns;
use crate::{
    domain::{
        build,
        estimate::{self, Medians, OPEN_MAX, Open, SAMPLES_MAX, Sample},
        id::{BuildId, PlanId},
    },
    store::Error,
};

pub(super) async fn remaining(
    db: &mut SqliteConnection,
    id: BuildId,
) -> Result<Option<Duration>, Error> {
    let row = sqlx::query(
        "select state, plan_id, tasks - completed - failed - skipped - cancelled as open
           from builds
          where id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(&mut *db)
    .await?
    .ok_or_else(|| Error::not_found(id))?;
    let Some(plan) = row.word_if_any::<PlanId>("plan_id")? else { return Ok(None) };
    if row.word::<build::State>("state")? != build::State::Executing
        || OPEN_MAX < row.count("open")?
    {
        return Ok(None);
    }
    let open = open(db, id, plan).await?;
    let medians = medians(db).await?;
    Ok(Some(estimate::remaining(&open, &medians)))
}

async fn open(db: &mut SqliteConnection, id: BuildId, plan: PlanId) -> Result<Vec<Open>, Error> {
    let rows = sqlx::query(
        "select t.id, t.operation, t.role, t.estimated_secs,
                coalesce(cast(unixepoch('subsec') * 1000 as integer) - t.begun_at, 0) as running,
                (select json_group_array(on_task_id) from dependencies where task_id = t.id)
                  as waits_for
           from tasks t
          where t.build_id = $1 and t.plan_id = $2 and t.settled_at is null
          order by t.place",
    )
    .bind(id.to_string())
    .bind(plan.to_string())
    .fetch_all(db)
    .await?;
    let mut places = HashMap::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        places.insert(row.text("id")?, at);
    }
    let mut open = Vec::with_capacity(rows.len());
    for row in &rows {
        let waits_for: Vec<String> = row.json("waits_for")?;
        open.push(Open {
            operation: row.word("operation")?,
            role: row.text("role")?,
            estimated_secs: row.count("estimated_secs")?,
            running: millis(row.number("running")?),
            waits_for: waits_for.iter().filter_map(|on| places.get(on).copied()).collect(),
        });
    }
    Ok(open)
}

/// How long the newest successes took.
async fn medians(db: &mut SqliteConnection) -> Result<Medians, Error> {
    let rows = sqlx::query(
        "select t.operation, t.role, a.settled_at - a.started_at as took
           from (
             select id, attempt, operation, role, state
               from tasks
              where settled_at is not null
              order by settled_at desc
              limit $1
           ) t
           join task_attempts a on a.task_id = t.id and a.number = t.attempt
          where t.state = 'completed' and a.state = 'succeeded'",
    )
    .bind(SAMPLES_MAX)
    .fetch_all(db)
    .await?;
    let samples = rows.iter().map(|row| {
        Ok(Sample {
            operation: row.word("operation")?,
            role: row.text("role")?,
            took: millis(row.number("took")?),
        })
    });
    Ok(Medians::of(samples.collect::<Result<Vec<_>, Error>>()?))
}

fn millis(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or_default())
}
