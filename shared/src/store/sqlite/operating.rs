//! What operators ask: why work waits, what a filter meets, what was given up.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _, sqlite::SqliteRow};

use super::{
    Promise, Sqlite, builds, gates,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        id::{BuildId, DeliveryId},
        limit::Gate,
    },
    job::{Job, Lane},
    store::{
        At, AttemptView, BuildFilter, BuildsFound, DeliveriesFound, DeliveryFilter, Error, Failed,
        FailedPlace, FailedWanted, Operating, PARKED_COUNTED, PARKED_GATES, Page, Parked, Pause,
        Shut, Wait,
        audit::Change,
        operating::{NAME_CHARS_MAX, merged},
    },
};

#[async_trait]
impl Operating for Sqlite {
    async fn waits(&self, jobs: &[Job]) -> Result<HashMap<Job, Wait>, Error> {
        let mut waits = HashMap::new();
        let mut reader = self.look().await?;
        for &lane in Lane::ALL {
            let ids: Vec<_> =
                jobs.iter().filter(|job| job.lane() == lane).map(Job::to_string).collect();
            if ids.is_empty() {
                continue;
            }
            // All parts are constants of this file.
            let rows = sqlx::query(AssertSqlSafe(waiting(lane)))
                .bind(to_json(&ids)?)
                .fetch_all(&mut *reader)
                .await?;
            for row in &rows {
                waits.insert(row.word("id")?, read_wait(row)?);
            }
        }
        Ok(waits)
    }

    async fn paused_at(&self, gates: &[Gate]) -> Result<Vec<Pause>, Error> {
        let gates: Vec<_> = gates.iter().map(Gate::to_string).collect();
        let rows = sqlx::query(
            "select gate, by, at
               from pauses
              where gate in (select value from json_each($1))
              order by at, gate",
        )
        .bind(to_json(&gates)?)
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &SqliteRow| {
            Ok(Pause { gate: row.word("gate")?, by: row.text("by")?, at: row.at("at")? })
        };
        rows.iter().map(read).collect()
    }

    async fn parked(&self) -> Result<Vec<Parked>, Error> {
        let rows = sqlx::query(include_str!("sql/parked.sql"))
            .bind(PARKED_COUNTED)
            .bind(PARKED_GATES)
            .fetch_all(&self.readers)
            .await?;
        let read = |row: &SqliteRow| {
            Ok(Parked {
                lane: row.word("lane")?,
                gate: row.word("gate")?,
                count: row.number("parked")?.unsigned_abs(),
            })
        };
        rows.iter().map(read).collect()
    }

    async fn find_builds(&self, wanted: &BuildsFound) -> Result<Page<BuildId>, Error> {
        let found = sqlx::query(AssertSqlSafe(format!(
            "select b.id from builds b where {BUILD_FILTER} and b.id < coalesce($9, '~')
              order by b.id desc limit $10"
        )));
        let rows = bind_build_filter(found, &wanted.filter)?
            .bind(wanted.after.map(|id| id.to_string()))
            .bind(i64::from(wanted.limit) + 1)
            .fetch_all(&self.readers)
            .await?;
        page(&rows, wanted.limit)
    }

    async fn count_builds(&self, filter: &BuildFilter) -> Result<u64, Error> {
        let count = sqlx::query(AssertSqlSafe(format!(
            "select count(*) as found from builds b where {BUILD_FILTER}"
        )));
        let row = bind_build_filter(count, filter)?.fetch_one(&self.readers).await?;
        Ok(row.number("found")?.unsigned_abs())
    }

    async fn find_deliveries(&self, wanted: &DeliveriesFound) -> Result<Page<DeliveryId>, Error> {
        let found = sqlx::query(AssertSqlSafe(format!(
            "select d.id from deliveries d where {DELIVERY_FILTER} and d.id < coalesce($10, '~')
              order by d.id desc limit $11"
        )));
        let rows = bind_delivery_filter(found, &wanted.filter)?
            .bind(wanted.after.map(|id| id.to_string()))
            .bind(i64::from(wanted.limit) + 1)
            .fetch_all(&self.readers)
            .await?;
        page(&rows, wanted.limit)
    }

    async fn count_deliveries(&self, filter: &DeliveryFilter) -> Result<u64, Error> {
        let count = sqlx::query(AssertSqlSafe(format!(
            "select count(*) as found from deliveries d where {DELIVERY_FILTER}"
        )));
        let row = bind_delivery_filter(count, filter)?.fetch_one(&self.readers).await?;
        Ok(row.number("found")?.unsigned_abs())
    }

    async fn failed(&self, wanted: &FailedWanted) -> Result<Page<Failed>, Error> {
        let mut found = Vec::new();
        let mut reader = self.look().await?;
        for &lane in Lane::ALL.iter().filter(|lane| wanted.lane.is_none_or(|own| own == **lane)) {
            let rows = sqlx::query(AssertSqlSafe(given_up(lane)))
                .bind(&wanted.tenant)
                .bind(&wanted.code)
                .bind(wanted.at.since.map(|At(ms)| ms))
                .bind(wanted.at.until.map(|At(ms)| ms))
                .bind(wanted.after.map(|place| place.at))
                .bind(wanted.after.map(|place| place.job.to_string()))
                .bind(i64::from(wanted.limit) + 1)
                .bind(NAME_CHARS_MAX)
                .fetch_all(&mut *reader)
                .await?;
            for row in &rows {
                found.push(read_failed(row)?);
            }
        }
        Ok(merged(found, wanted.limit))
    }

    async fn planning_attempts(&self, build: BuildId) -> Result<Vec<AttemptView>, Error> {
        let mut reader = self.look().await?;
        builds::must_exist(&mut reader, build).await?;
        let rows = sqlx::query(
            "select number, holder, state, failure, started_at, settled_at
               from planning_attempts where build_id = $1 order by number",
        )
        .bind(build.to_string())
        .fetch_all(&mut *reader)
        .await?;
        let read = |row: &SqliteRow| {
            Ok(AttemptView {
                number: row.count("number")?,
                holder: row.word("holder")?,
                state: row.word("state")?,
                failure: row.json_if_any("failure")?,
                started_at: row.at("started_at")?,
                settled_at: row.at_if_any("settled_at")?,
            })
        };
        rows.iter().map(read).collect()
    }

    async fn note(&self, change: &Change<'_>, by: &str) -> Result<(), Error> {
        let mut turn = self.writer.turn(Promise::OutlivesPower).await?;
        let done = gates::note(turn.tx(), by, *change).await;
        turn.end(done).await
    }
}

/// A time that has come keeps nothing from being claimed.
fn waiting(lane: Lane) -> String {
    let (table, build, ready) = match lane {
        Lane::Plans => ("builds", "w.id", "queued"),
        Lane::Tasks => ("tasks", "w.build_id", "ready"),
        Lane::Deliveries => ("deliveries", "w.build_id", "pending"),
    };
    let (shut, endpoint) = match lane {
        Lane::Plans | Lane::Tasks => ("false as is_shut, null as shut_until", ""),
        Lane::Deliveries => (
            "e.state <> 'enabled'
               or coalesce(cast(unixepoch('subsec') * 1000 as integer) < e.held_until, false)
               as is_shut,
             iif(e.state = 'enabled', e.held_until, null) as shut_until",
            "join endpoints e on e.id = w.endpoint_id",
        ),
    };
    format!(
        "select w.id, w.due_at, p.gate, p.by, p.at, {shut},
                iif(w.parked_on <> 'time'
                      or cast(unixepoch('subsec') * 1000 as integer) < w.due_at,
                    w.parked_on, null) as parked_on
           from {table} w
           {endpoint}
           left join pauses p on p.gate = (
             select gate
               from pauses
              where gate in ('build ' || {build}, 'tenant ' || w.tenant, 'lane {lane}')
              order by at, gate
              limit 1
           )
          where w.id in (select value from json_each($1)) and w.state = '{ready}'"
    )
}

fn read_wait(row: &SqliteRow) -> Result<Wait, Error> {
    let pause = match row.word_if_any("gate")? {
        Some(gate) => Some(Pause { gate, by: row.text("by")?, at: row.at("at")? }),
        None => None,
    };
    let shut =
        row.try_get::<bool, _>("is_shut")?.then(|| row.at_if_any("shut_until")).transpose()?;
    Ok(Wait {
        parked_on: row.word_if_any("parked_on")?,
        due_at: row.at("due_at")?,
        pause,
        shut: shut.map(|until| Shut { until }),
    })
}

fn page<T>(rows: &[SqliteRow], limit: u32) -> Result<Page<T>, Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let limit = limit as usize;
    let next = limit < rows.len();
    let ids = rows.iter().take(limit).map(|row| row.word("id")).collect::<Result<_, _>>()?;
    Ok(Page { rows: ids, next })
}

const BUILD_FILTER: &str = "b.tenant = $1
    and ($2 is null or b.state in (select value from json_each($2)))
    and ($3 is null or b.project_id = $3)
    and ($4 is null or b.stop_code = $4)
    and ($5 is null or $5 <= b.created_at)
    and ($6 is null or b.created_at < $6)
    and ($7 is null or b.id in (select value from json_each($7)))
    and ($8 is null or b.priority = $8)";

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_build_filter<'q>(query: Query<'q>, filter: &'q BuildFilter) -> Result<Query<'q>, Error> {
    Ok(query
        .bind(&filter.tenant)
        .bind(any_of(&filter.states)?)
        .bind(&filter.project_id)
        .bind(&filter.stop_code)
        .bind(filter.created.since.map(|At(ms)| ms))
        .bind(filter.created.until.map(|At(ms)| ms))
        .bind(filter.ids.as_ref().map(to_json).transpose()?)
        .bind(filter.priority))
}

pub(super) const DELIVERY_FILTER: &str = "d.tenant = $1
    and ($2 is null or d.state in (select value from json_each($2)))
    and ($3 is null or d.build_id = $3)
    and ($4 is null or d.failure ->> 'code' = $4)
    and ($5 is null or $5 <= d.created_at)
    and ($6 is null or d.created_at < $6)
    and ($7 is null or d.id in (select value from json_each($7)))
    and ($8 is null or d.kind = $8)
    and ($9 is null or d.endpoint_id = $9)";

pub(super) fn bind_delivery_filter<'q>(
    query: Query<'q>,
    filter: &'q DeliveryFilter,
) -> Result<Query<'q>, Error> {
    Ok(query
        .bind(&filter.tenant)
        .bind(any_of(&filter.states)?)
        .bind(filter.build.map(|id| id.to_string()))
        .bind(&filter.code)
        .bind(filter.created.since.map(|At(ms)| ms))
        .bind(filter.created.until.map(|At(ms)| ms))
        .bind(filter.ids.as_ref().map(to_json).transpose()?)
        .bind(filter.kind.map(|kind| kind.as_str()))
        .bind(filter.endpoint.map(|id| id.to_string())))
}

fn any_of<T: ToString>(words: &[T]) -> Result<Option<String>, Error> {
    if words.is_empty() {
        return Ok(None);
    }
    to_json(&words.iter().map(ToString::to_string).collect::<Vec<_>>()).map(Some)
}

/// What was given up in a lane, last given up first.
fn given_up(lane: Lane) -> String {
    let (table, state, build, name, code, reason, attempts, key) = match lane {
        Lane::Plans => (
            "builds",
            "failed",
            "w.id",
            "replace(w.brief ->> 'prompt', char(10), ' ')",
            "w.stop_code",
            "w.stop_message",
            "planning_attempts",
            "build_id",
        ),
        Lane::Tasks => (
            "tasks",
            "failed",
            "w.build_id",
            "w.name",
            "w.failure ->> 'code'",
            "w.failure ->> 'reason'",
            "task_attempts",
            "task_id",
        ),
        Lane::Deliveries => (
            "deliveries",
            "exhausted",
            "w.build_id",
            "w.kind",
            "w.failure ->> 'code'",
            "w.failure ->> 'reason'",
            "delivery_attempts",
            "delivery_id",
        ),
    };
    format!(
        "select w.id, {build} as build_id, w.tenant, substr({name}, 1, $8) as name,
                {code} as code, {reason} as reason, w.attempt, w.failures, w.crashes, w.settled_at,
                (select failure from {attempts} a
                  where a.{key} = w.id and failure is not null
                  order by number limit 1) as first,
                (select failure from {attempts} a
                  where a.{key} = w.id and failure is not null
                  order by number desc limit 1) as last
           from {table} w
          where w.state = '{state}'
            and ($1 is null or w.tenant = $1)
            and ($2 is null or {code} = $2)
            and ($3 is null or $3 <= w.settled_at)
            and ($4 is null or w.settled_at < $4)
            and ($5 is null or (w.settled_at, w.id) < ($5, $6))
          order by w.settled_at desc, w.id desc
          limit $7"
    )
}

fn read_failed(row: &SqliteRow) -> Result<Failed, Error> {
    Ok(Failed {
        place: FailedPlace { at: row.number("settled_at")?, job: row.word("id")? },
        build: row.word("build_id")?,
        tenant: row.text("tenant")?,
        name: row.text("name")?,
        code: row.text("code")?,
        reason: row.text("reason")?,
        attempt: row.count("attempt")?,
        failures: row.count("failures")?,
        crashes: row.count("crashes")?,
        first: row.json_if_any("first")?,
        last: row.json_if_any("last")?,
        at: row.at("settled_at")?,
    })
}
