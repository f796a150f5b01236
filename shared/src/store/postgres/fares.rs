//! How endpoints fare: their health, what follows for them, and who is told.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    queueing::Flows,
    rows::{Columns, document, texts},
    *,
};
use crate::{
    domain::{
        endpoint::{
            Filter, Health, State, health,
            health::{Ages, Seen},
            log_of,
        },
        event::{Event, Kind},
        id::{EndpointId, EventId},
    },
    draw,
};

/// What came of one request.
pub(super) struct Fare<'a> {
    result: &'a SendResult,
}

impl<'a> Fare<'a> {
    pub const fn of(result: &'a SendResult) -> Self {
        Self { result }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            failure: self.result.failure.as_ref(),
            answered: self.result.status.is_some(),
            took: Duration::from_millis(self.result.took_ms),
            asked: &self.result.asked,
        }
    }

    /// Whether it can change anything about an endpoint that is at rest.
    pub fn is_plain(&self) -> bool {
        self.result.failure.is_none()
            && self.result.took_ms < u64::try_from(health::SLOW.as_millis()).unwrap_or(u64::MAX)
            && self.result.asked == crate::domain::exchange::Asked::default()
    }
}

/// Something to be told about an endpoint, to the others of its tenant.
pub(super) struct Told {
    about: EndpointId,
    event: Event,
}

impl Told {
    pub fn exhausted(
        delivery: DeliveryId,
        about: EndpointId,
        build: BuildId,
        kind: Kind,
        failure: &Failure,
    ) -> Self {
        Self { about, event: Event::delivery_exhausted(delivery, about, build, kind, failure) }
    }
}

/// Writes how the endpoints fare now; answers with what is to be told of it.
pub(super) async fn take_in(
    conn: &mut PgConnection,
    fares: &BTreeMap<EndpointId, Vec<Fare<'_>>>,
) -> Result<Vec<Told>, Error> {
    // Most endpoints are well, and then nothing is written.
    let rows = sqlx::query("select id, health from endpoints where id = any($1)")
        .bind(texts(fares.keys()))
        .fetch_all(&mut *conn)
        .await?;
    let mut changing = Vec::new();
    for row in &rows {
        let (id, health): (EndpointId, Option<Health>) = (row.word("id")?, row.json_if("health")?);
        let is_at_rest = health.as_ref().is_some_and(Health::is_at_rest);
        let fares = fares.get(&id).map(Vec::as_slice).unwrap_or_default();
        if !(is_at_rest && fares.iter().all(Fare::is_plain)) {
            changing.push(id);
        }
    }
    if changing.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "select id, build_id, url, rate, health, state,
                extract(epoch from clock_timestamp() - health_at)::float8 as health_secs,
                extract(epoch from clock_timestamp() - failing_at)::float8 as failing_secs
           from endpoints
          where id = any($1)
          order by id
            for no key update",
    )
    .bind(texts(changing))
    .fetch_all(&mut *conn)
    .await?;
    let mut told = Vec::new();
    let mut written = Written::default();
    for row in &rows {
        let id = row.word("id")?;
        let fares = fares.get(&id).map(Vec::as_slice).unwrap_or_default();
        written.add(row, id, fares, &mut told)?;
    }
    written.write(conn).await?;
    Ok(told)
}

/// The new healths, by column.
#[derive(Default)]
struct Written {
    ids: Vec<String>,
    healths: Vec<String>,
    held_secs: Vec<Option<f64>>,
    failing: Vec<bool>,
    disabled: Vec<Option<String>>,
}

impl Written {
    fn add(
        &mut self,
        row: &PgRow,
        id: EndpointId,
        fares: &[Fare<'_>],
        told: &mut Vec<Told>,
    ) -> Result<(), Error> {
        let span = |column: &str| -> Result<Option<Duration>, Error> {
            let secs: Option<f64> = row.try_get(column)?;
            Ok(secs.map(|secs| Duration::try_from_secs_f64(secs).unwrap_or(Duration::ZERO)))
        };
        let rate: Option<crate::domain::limit::Rate> = row.json_if("rate")?;
        let mut health: Health = row.json_if("health")?.unwrap_or_default();
        let mut ages = Ages {
            health: span("health_secs")?.unwrap_or(Duration::MAX),
            failing: span("failing_secs")?,
            rate: rate.map(|rate| f64::from(rate.count) / rate.per.as_secs_f64().max(1e-3)),
        };
        let is_of_build = row.try_get::<Option<&str>, _>("build_id")?.is_some();
        let was_enabled = row.word::<State>("state")? == State::Enabled;
        let (mut held, mut disabled, mut failing) = (None, None, ages.failing.is_some());
        for fare in fares {
            let turn = health.take_in(fare.seen(), ages);
            ages.health = Duration::ZERO;
            failing = 0 < health.streak;
            held = turn.held_for.max(held);
            if !was_enabled || disabled.is_some() {
                continue;
            }
            disabled = turn.disabled;
            if !is_of_build {
                let url: &str = row.try_get("url")?;
                told.extend(
                    turn.notices.iter().map(|notice| Told {
                        about: id,
                        event: Event::of_endpoint(id, url, notice),
                    }),
                );
            }
        }
        self.ids.push(id.to_string());
        self.healths.push(document(&health)?);
        self.held_secs.push(held.map(secs));
        self.failing.push(failing);
        self.disabled.push(disabled);
        Ok(())
    }

    async fn write(self, conn: &mut PgConnection) -> Result<(), Error> {
        sqlx::query(
            "update endpoints e
                set health = u.health::json,
                    health_at = clock_timestamp(),
                    held_until = coalesce(
                      clock_timestamp() + make_interval(secs => u.held_secs), e.held_until),
                    failing_at = case
                      when u.failing then coalesce(e.failing_at, clock_timestamp())
                    end,
                    state = case when u.disabled is null then e.state else $6 end,
                    reason = coalesce(u.disabled, e.reason)
               from unnest($1::text[], $2::text[], $3::float8[], $4::boolean[], $5::text[])
                 as u (id, health, held_secs, failing, disabled)
              where e.id = u.id",
        )
        .bind(self.ids)
        .bind(self.healths)
        .bind(self.held_secs)
        .bind(self.failing)
        .bind(self.disabled)
        .bind(State::AutoDisabled.as_str())
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Tells the other endpoints of the tenants, if they want to hear it. What is told is in the log of
/// the endpoint that it is about.
pub(super) async fn tell(
    conn: &mut PgConnection,
    flows: &Flows,
    told: Vec<Told>,
) -> Result<Vec<Job>, Error> {
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let listeners = sqlx::query(include_str!("sql/listeners.sql"))
        .bind(texts(told.iter().map(|told| told.about)))
        .fetch_all(&mut *conn)
        .await?;
    let mut made = events::Made::default();
    let mut kept = Kept::default();
    for Told { about, event } in &told {
        let mut seq = None;
        for row in &listeners {
            let filter: Filter = row.json("events")?;
            if row.word::<EndpointId>("about")? != *about || !filter.wants(event.kind) {
                continue;
            }
            let seq = match seq {
                Some(seq) => seq,
                None => {
                    let number = numbers(conn, 1).await?.into_iter().next().unwrap_or_default();
                    kept.add(*about, number, event)?;
                    *seq.insert(number)
                }
            };
            let to = events::To {
                endpoint: row.word("id")?,
                tenant: row.try_get("tenant")?,
                ordered: false,
            };
            made.add_one(&to, log_of(*about), seq, event.kind, NOTICE_PRIORITY);
        }
    }
    kept.write(conn).await?;
    made.write(conn, flows).await
}

/// Numbers that events about endpoints have in their logs, in order. There may be gaps.
pub(super) async fn numbers(conn: &mut PgConnection, count: usize) -> Result<Vec<i64>, Error> {
    let sql = "select nextval('endpoint_events') as number
         from generate_series(1, $1)
        order by number";
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    Ok(sqlx::query_scalar(sql).bind(count).fetch_all(conn).await?)
}

/// That of builds that say nothing of it.
pub(super) const NOTICE_PRIORITY: i16 = 3;

/// Events about endpoints in the making, by column.
#[derive(Default)]
pub(super) struct Kept {
    logs: Vec<String>,
    seqs: Vec<i64>,
    ids: Vec<String>,
    kinds: Vec<&'static str>,
    data: Vec<String>,
}

impl Kept {
    /// With one of the numbers that are given by `numbers`.
    pub fn add(&mut self, about: EndpointId, seq: i64, event: &Event) -> Result<(), Error> {
        self.logs.push(log_of(about).to_string());
        self.seqs.push(seq);
        self.ids.push(draw::id::<EventId>().to_string());
        self.kinds.push(event.kind.as_str());
        self.data.push(document(&event.data)?);
        Ok(())
    }

    pub async fn write(self, conn: &mut PgConnection) -> Result<(), Error> {
        if self.ids.is_empty() {
            return Ok(());
        }
        events::insert(conn, self.logs, self.seqs, self.ids, self.kinds, self.data).await
    }
}
