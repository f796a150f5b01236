//! The log of a build, and the deliveries that each of its events makes.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    lock::Locked,
    queueing::Flows,
    rows::{Columns, document, texts},
    *,
};
use crate::{
    domain::{
        delivery,
        event::Kind,
        id::{EndpointId, EventId},
    },
    draw,
};

/// Writes events of one build down and moves its log on; see `append_each`.
pub(super) async fn append(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &mut Locked,
    events: &[Event],
) -> Result<Vec<Job>, Error> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let entered = append_each(conn, flows, &mut [(build, events)]).await?;
    move_on(conn, std::iter::once(&*build)).await?;
    Ok(entered)
}

/// Writes how far the logs of builds have got.
pub(super) async fn move_on(
    conn: &mut PgConnection,
    builds: impl Iterator<Item = &Locked>,
) -> Result<(), Error> {
    let (ids, seqs): (Vec<_>, Vec<_>) =
        builds.map(|build| (build.id.to_string(), build.last_seq)).unzip();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update builds b
            set last_seq = u.last_seq, updated_at = clock_timestamp()
           from unnest($1::text[], $2::bigint[]) as u (id, last_seq)
          where b.id = u.id",
    )
    .bind(ids)
    .bind(seqs)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes events of many builds down, with numbers that follow on, and a delivery of each to every
/// endpoint that wants it. The new `last_seq` of the builds is the caller's to write. Answers with
/// the deliveries whose turn it is.
pub(super) async fn append_each(
    conn: &mut PgConnection,
    flows: &Flows,
    logs: &mut [(&mut Locked, &[Event])],
) -> Result<Vec<Job>, Error> {
    let mut builds = Vec::new();
    let mut seqs = Vec::new();
    let mut ids = Vec::new();
    let mut kinds = Vec::new();
    let mut data = Vec::new();
    for (build, events) in &mut *logs {
        for event in *events {
            build.last_seq += 1;
            builds.push(build.id.to_string());
            seqs.push(build.last_seq);
            ids.push(draw::id::<EventId>().to_string());
            kinds.push(event.kind.as_str());
            data.push(document(&event.data)?);
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query(
        "insert into events (build_id, seq, id, kind, data)
         select build_id, seq, id, kind, data::json
           from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[])
             as e (build_id, seq, id, kind, data)",
    )
    .bind(builds)
    .bind(seqs)
    .bind(ids)
    .bind(kinds)
    .bind(data)
    .execute(&mut *conn)
    .await?;
    tell(conn, flows, logs).await
}

/// Makes the deliveries of events that were just written.
async fn tell(
    conn: &mut PgConnection,
    flows: &Flows,
    logs: &[(&mut Locked, &[Event])],
) -> Result<Vec<Job>, Error> {
    let heard: BTreeMap<BuildId, (&Locked, &[Event])> = logs
        .iter()
        .filter(|(build, events)| build.is_heard && !events.is_empty())
        .map(|(build, events)| (build.id, (&**build, *events)))
        .collect();
    if heard.is_empty() {
        return Ok(Vec::new());
    }
    let endpoints = sqlx::query(
        "select id, build_id, events from endpoints where build_id = any($1) order by build_id, id",
    )
    .bind(texts(heard.keys()))
    .fetch_all(&mut *conn)
    .await?;
    let mut made = Made::default();
    for endpoint in &endpoints {
        let (id, wanted): (EndpointId, Vec<Kind>) =
            (endpoint.word("id")?, endpoint.json("events")?);
        let Some((build, events)) = heard.get(&endpoint.word("build_id")?) else { continue };
        made.add(build, id, events, &wanted);
    }
    made.write(conn, flows).await
}

/// Deliveries in the making, by column.
#[derive(Default)]
struct Made {
    ids: Vec<DeliveryId>,
    tenants: Vec<String>,
    builds: Vec<String>,
    endpoints: Vec<String>,
    seqs: Vec<i64>,
    kinds: Vec<&'static str>,
    bands: Vec<i16>,
    /// Of each build and endpoint, only the first can be one whose turn it is.
    firsts: Vec<(DeliveryId, queueing::Flow)>,
}

impl Made {
    fn add(&mut self, build: &Locked, endpoint: EndpointId, events: &[Event], wanted: &[Kind]) {
        let first_seq = build.last_seq + 1 - i64::try_from(events.len()).unwrap_or(i64::MAX);
        let mut is_first = true;
        for (seq, event) in (first_seq..).zip(events) {
            if !wanted.is_empty() && !wanted.contains(&event.kind) {
                continue;
            }
            let id = draw::id();
            if std::mem::take(&mut is_first) {
                self.firsts.push((id, build.flow()));
            }
            self.ids.push(id);
            self.tenants.push(build.tenant.clone());
            self.builds.push(build.id.to_string());
            self.endpoints.push(endpoint.to_string());
            self.seqs.push(seq);
            self.kinds.push(event.kind.as_str());
            self.bands.push(build.priority);
        }
    }

    async fn write(self, conn: &mut PgConnection, flows: &Flows) -> Result<Vec<Job>, Error> {
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query(include_str!("sql/insert_deliveries.sql"))
            .bind(texts(&self.ids))
            .bind(self.tenants)
            .bind(self.builds)
            .bind(self.endpoints)
            .bind(self.seqs)
            .bind(self.kinds)
            .bind(self.bands)
            .bind(delivery::State::Pending.as_str())
            .bind(Gate::Turn.to_string())
            .execute(&mut *conn)
            .await?;
        deliveries::enter_turns(conn, flows, self.firsts).await
    }
}

pub(super) async fn list(
    pool: &PgPool,
    build: BuildId,
    after: u64,
    limit: u32,
) -> Result<Vec<EventView>, Error> {
    let rows = sqlx::query(
        "select id, build_id, seq, kind, at, data
           from events
          where build_id = $1 and $2 < seq
          order by seq
          limit $3",
    )
    .bind(build.to_string())
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    if rows.is_empty() {
        builds::expect(pool, build).await?;
    }
    rows.iter().map(read).collect()
}

pub(super) fn read(row: &PgRow) -> Result<EventView, Error> {
    Ok(EventView {
        id: row.word("id")?,
        build: row.word("build_id")?,
        seq: row.size("seq")?,
        kind: row.word("kind")?,
        at: row.try_get("at")?,
        data: row.json("data")?,
    })
}
