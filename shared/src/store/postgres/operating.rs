//! What operators ask: why work waits, what a filter meets, what was given up.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Row, postgres::PgRow};

use super::{
    rows::{Columns, page, texts},
    *,
};
use crate::store::{
    audit::Change,
    operating::{NAME_CHARS_MAX, merged},
};

#[async_trait]
impl Operating for Postgres {
    async fn waits(&self, jobs: &[Job]) -> Result<HashMap<Job, Wait>, Error> {
        let mut waits = HashMap::new();
        for &lane in Lane::ALL {
            let ids = texts(jobs.iter().filter(|job| job.lane() == lane));
            if ids.is_empty() {
                continue;
            }
            // All parts are constants of this file.
            let rows = sqlx::query(AssertSqlSafe(waiting(lane)))
                .bind(ids)
                .fetch_all(&self.db.pool)
                .await?;
            for row in &rows {
                waits.insert(row.word("id")?, read_wait(row)?);
            }
        }
        Ok(waits)
    }

    async fn paused_at(&self, gates: &[Gate]) -> Result<Vec<Pause>, Error> {
        let rows =
            sqlx::query("select gate, by, at from pauses where gate = any($1) order by at, gate")
                .bind(texts(gates))
                .fetch_all(&self.db.pool)
                .await?;
        rows.iter()
            .map(|row| {
                let (by, at) = (row.try_get("by")?, row.try_get("at")?);
                Ok(Pause { gate: row.word("gate")?, by, at })
            })
            .collect()
    }

    async fn parked(&self) -> Result<Vec<Parked>, Error> {
        let rows = sqlx::query(include_str!("sql/parked.sql"))
            .bind(i64::from(PARKED_COUNTED))
            .bind(i64::from(PARKED_GATES))
            .fetch_all(&self.db.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Parked {
                    lane: row.word("lane")?,
                    gate: row.word("gate")?,
                    count: row.size("parked")?,
                })
            })
            .collect()
    }

    async fn find_builds(&self, wanted: &BuildsFound) -> Result<Page<BuildId>, Error> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "select b.id from builds b where {BUILD_FILTER} and ($9::text is null or b.id < $9)
              order by b.id desc limit $10"
        )));
        let rows = bind_build_filter(rows, &wanted.filter)
            .bind(wanted.after.map(|id| id.to_string()))
            .bind(i64::from(wanted.limit) + 1)
            .fetch_all(&self.db.pool)
            .await?;
        let ids = rows.iter().map(|row| row.word("id")).collect::<Result<_, _>>()?;
        Ok(page(ids, wanted.limit))
    }

    async fn count_builds(&self, filter: &BuildFilter) -> Result<u64, Error> {
        let count = sqlx::query(AssertSqlSafe(format!(
            "select count(*) as found from builds b where {BUILD_FILTER}"
        )));
        Ok(bind_build_filter(count, filter).fetch_one(&self.db.pool).await?.size("found")?)
    }

    async fn find_deliveries(&self, wanted: &DeliveriesFound) -> Result<Page<DeliveryId>, Error> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "select d.id from deliveries d
              where {DELIVERY_FILTER} and ($10::text is null or d.id < $10)
              order by d.id desc limit $11"
        )));
        let rows = bind_delivery_filter(rows, &wanted.filter)
            .bind(wanted.after.map(|id| id.to_string()))
            .bind(i64::from(wanted.limit) + 1)
            .fetch_all(&self.db.pool)
            .await?;
        let ids = rows.iter().map(|row| row.word("id")).collect::<Result<_, _>>()?;
        Ok(page(ids, wanted.limit))
    }

    async fn count_deliveries(&self, filter: &DeliveryFilter) -> Result<u64, Error> {
        let count = sqlx::query(AssertSqlSafe(format!(
            "select count(*) as found from deliveries d where {DELIVERY_FILTER}"
        )));
        Ok(bind_delivery_filter(count, filter).fetch_one(&self.db.pool).await?.size("found")?)
    }

    async fn failed(&self, wanted: &FailedWanted) -> Result<Page<Failed>, Error> {
        let mut found = Vec::new();
        for &lane in Lane::ALL.iter().filter(|lane| wanted.lane.is_none_or(|own| own == **lane)) {
            let sql = match lane {
                Lane::Plans => include_str!("sql/failed_builds.sql"),
                Lane::Tasks => include_str!("sql/failed_tasks.sql"),
                Lane::Deliveries => include_str!("sql/failed_deliveries.sql"),
            };
            let rows = sqlx::query(sql)
                .bind(&wanted.tenant)
                .bind(&wanted.code)
                .bind(wanted.at.since.map(|At(ms)| ms))
                .bind(wanted.at.until.map(|At(ms)| ms))
                .bind(wanted.after.map(|place| place.at))
                .bind(wanted.after.map(|place| place.job.to_string()))
                .bind(i64::from(wanted.limit) + 1)
                .bind(NAME_CHARS_MAX)
                .fetch_all(&self.db.pool)
                .await?;
            for row in &rows {
                found.push(read_failed(row)?);
            }
        }
        Ok(merged(found, wanted.limit))
    }

    async fn planning_attempts(&self, build: BuildId) -> Result<Vec<AttemptView>, Error> {
        builds::expect(&self.db.pool, build).await?;
        let rows =
            sqlx::query("select * from planning_attempts where build_id = $1 order by number")
                .bind(build.to_string())
                .fetch_all(&self.db.pool)
                .await?;
        rows.iter()
            .map(|row| {
                Ok(AttemptView {
                    number: row.count("number")?,
                    holder: row.word("holder")?,
                    state: row.word("state")?,
                    failure: row.json_if("failure")?,
                    started_at: row.try_get("started_at")?,
                    settled_at: row.try_get("settled_at")?,
                })
            })
            .collect()
    }

    async fn note(&self, change: &Change<'_>, by: &str) -> Result<(), Error> {
        let mut conn = self.db.pool.acquire().await?;
        limits::note(&mut conn, by, *change).await
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
        Lane::Plans | Lane::Tasks => ("false as is_shut, null::timestamptz as shut_until", ""),
        Lane::Deliveries => (
            "e.state <> 'enabled' or coalesce(clock_timestamp() < e.held_until, false) as is_shut,
             case when e.state = 'enabled' then e.held_until end as shut_until",
            "join endpoints e on e.id = w.endpoint_id",
        ),
    };
    format!(
        "select w.id, w.due_at, p.gate, p.by, p.at, {shut},
                case when w.parked_on <> 'time' or clock_timestamp() < w.due_at then w.parked_on
                end as parked_on
           from {table} w
           {endpoint}
           left join lateral (
             select gate, by, at
               from pauses
              where gate in ('build ' || {build}, 'tenant ' || w.tenant, 'lane {lane}')
              order by at, gate
              limit 1
           ) p on true
          where w.id = any($1) and w.state = '{ready}'"
    )
}

fn read_wait(row: &PgRow) -> Result<Wait, Error> {
    let pause = match row.word_if("gate")? {
        Some(gate) => Some(Pause { gate, by: row.try_get("by")?, at: row.try_get("at")? }),
        None => None,
    };
    let shut = row.try_get::<bool, _>("is_shut")?.then(|| row.try_get("shut_until")).transpose()?;
    Ok(Wait {
        parked_on: row.word_if("parked_on")?,
        due_at: row.try_get("due_at")?,
        pause,
        shut: shut.map(|until| Shut { until }),
    })
}

const BUILD_FILTER: &str = "b.tenant = $1
    and ($2::text[] is null or b.state = any($2))
    and ($3::text is null or b.project_id = $3)
    and ($4::text is null or b.stop_code = $4)
    and ($5::bigint is null or to_timestamp($5 / 1000.0) <= b.created_at)
    and ($6::bigint is null or b.created_at < to_timestamp($6 / 1000.0))
    and ($7::text[] is null or b.id = any($7))
    and ($8::smallint is null or b.priority = $8)";

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind_build_filter<'q>(query: Query<'q>, filter: &'q BuildFilter) -> Query<'q> {
    query
        .bind(&filter.tenant)
        .bind(any_of(&filter.states))
        .bind(&filter.project_id)
        .bind(&filter.stop_code)
        .bind(filter.created.since.map(|At(ms)| ms))
        .bind(filter.created.until.map(|At(ms)| ms))
        .bind(filter.ids.as_ref().map(texts))
        .bind(filter.priority.map(i16::from))
}

pub(super) const DELIVERY_FILTER: &str = "d.tenant = $1
    and ($2::text[] is null or d.state = any($2))
    and ($3::text is null or d.build_id = $3)
    and ($4::text is null or d.failure ->> 'code' = $4)
    and ($5::bigint is null or to_timestamp($5 / 1000.0) <= d.created_at)
    and ($6::bigint is null or d.created_at < to_timestamp($6 / 1000.0))
    and ($7::text[] is null or d.id = any($7))
    and ($8::text is null or d.kind = $8)
    and ($9::text is null or d.endpoint_id = $9)";

pub(super) fn bind_delivery_filter<'q>(query: Query<'q>, filter: &'q DeliveryFilter) -> Query<'q> {
    query
        .bind(&filter.tenant)
        .bind(any_of(&filter.states))
        .bind(filter.build.map(|id| id.to_string()))
        .bind(&filter.code)
        .bind(filter.created.since.map(|At(ms)| ms))
        .bind(filter.created.until.map(|At(ms)| ms))
        .bind(filter.ids.as_ref().map(texts))
        .bind(filter.kind.map(|kind| kind.as_str()))
        .bind(filter.endpoint.map(|id| id.to_string()))
}

fn any_of<T: ToString>(words: &[T]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| texts(words.iter().map(ToString::to_string)))
}

fn read_failed(row: &PgRow) -> Result<Failed, Error> {
    Ok(Failed {
        place: FailedPlace { at: row.try_get("place")?, job: row.word("id")? },
        build: row.word("build_id")?,
        tenant: row.try_get("tenant")?,
        name: row.try_get("name")?,
        code: row.try_get("code")?,
        reason: row.try_get("reason")?,
        attempt: row.count("attempt")?,
        failures: row.count("failures")?,
        crashes: row.count("crashes")?,
        first: row.json_if("first")?,
        last: row.json_if("last")?,
        at: row.try_get("settled_at")?,
    })
}
