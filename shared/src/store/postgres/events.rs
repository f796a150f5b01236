//! The log of a build, and the deliveries that each of its events makes.

use std::collections::{BTreeMap, BTreeSet};

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
        endpoint::Filter,
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
    insert(conn, builds, seqs, ids, kinds, data).await?;
    tell(conn, flows, logs).await
}

/// Writes events, by column: logs, numbers, ids, kinds, data.
pub(super) async fn insert(
    conn: &mut PgConnection,
    logs: Vec<String>,
    seqs: Vec<i64>,
    ids: Vec<String>,
    kinds: Vec<&'static str>,
    data: Vec<String>,
) -> Result<(), Error> {
    sqlx::query(
        "insert into events (build_id, seq, id, kind, data)
         select build_id, seq, id, kind, data::json
           from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[])
             as e (build_id, seq, id, kind, data)",
    )
    .bind(logs)
    .bind(seqs)
    .bind(ids)
    .bind(kinds)
    .bind(data)
    .execute(conn)
    .await?;
    Ok(())
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
    let tenants: BTreeSet<&str> = heard.values().map(|(build, _)| build.tenant.as_str()).collect();
    let endpoints = sqlx::query(
        "select id, build_id, null as tenant, events, ordered
           from endpoints
          where build_id = any($1) and state = 'enabled'
          union all
         select id, null, tenant, events, ordered
           from endpoints
          where build_id is null and tenant = any($2) and state = 'enabled'
          order by id",
    )
    .bind(texts(heard.keys()))
    .bind(texts(tenants))
    .fetch_all(&mut *conn)
    .await?;
    let mut made = Made::default();
    for row in &endpoints {
        let filter: Filter = row.json("events")?;
        let (of, tenant): (Option<BuildId>, Option<&str>) =
            (row.word_if("build_id")?, row.try_get("tenant")?);
        for (id, (build, events)) in &heard {
            if of.is_some_and(|of| of != *id) || tenant.is_some_and(|of| of != build.tenant) {
                continue;
            }
            let to = To {
                endpoint: row.word("id")?,
                tenant: build.tenant.clone(),
                ordered: row.try_get("ordered")?,
            };
            made.add(build, &to, events, &filter);
        }
    }
    made.write(conn, flows).await
}

/// Whom a delivery is for.
pub(super) struct To {
    pub endpoint: EndpointId,
    pub tenant: String,
    pub ordered: bool,
}

/// Deliveries in the making, by column.
#[derive(Default)]
pub(super) struct Made {
    ids: Vec<DeliveryId>,
    tenants: Vec<String>,
    builds: Vec<String>,
    endpoints: Vec<String>,
    seqs: Vec<i64>,
    kinds: Vec<&'static str>,
    bands: Vec<i16>,
    ordered: Vec<bool>,
    /// Of each build and ordered endpoint, only the first can be one whose turn it is.
    firsts: Vec<Option<queueing::Flow>>,
}

impl Made {
    fn add(&mut self, build: &Locked, to: &To, events: &[Event], filter: &Filter) {
        let first_seq = build.last_seq + 1 - i64::try_from(events.len()).unwrap_or(i64::MAX);
        let mut is_first = true;
        for (seq, event) in (first_seq..).zip(events) {
            if filter.wants(event.kind) {
                self.add_one(to, build.id, seq, event.kind, build.priority);
                if to.ordered && !std::mem::take(&mut is_first) {
                    self.firsts.pop();
                    self.firsts.push(None);
                }
            }
        }
    }

    /// One that waits for none that is made with it; answers with its id.
    pub(super) fn add_one(
        &mut self,
        to: &To,
        log: BuildId,
        seq: i64,
        kind: Kind,
        priority: i16,
    ) -> DeliveryId {
        let id = draw::id();
        self.ids.push(id);
        self.tenants.push(to.tenant.clone());
        self.builds.push(log.to_string());
        self.endpoints.push(to.endpoint.to_string());
        self.seqs.push(seq);
        self.kinds.push(kind.as_str());
        self.bands.push(priority);
        self.ordered.push(to.ordered);
        self.firsts.push(Some(deliveries::flow(&to.tenant, to.endpoint, priority)));
        id
    }

    /// Answers with those that may be claimed.
    pub(super) async fn write(
        self,
        conn: &mut PgConnection,
        flows: &Flows,
    ) -> Result<Vec<Job>, Error> {
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut entering: BTreeMap<queueing::Flow, Vec<u32>> = BTreeMap::new();
        for flow in self.firsts.iter().flatten() {
            entering.entry(flow.clone()).or_default().push(1);
        }
        let mut ranks: BTreeMap<_, _> = flows
            .ranks(Lane::Deliveries, &entering)
            .await?
            .into_iter()
            .map(|(flow, ranks)| (flow, ranks.into_iter()))
            .collect();
        let ranks: Vec<Option<f64>> = self
            .firsts
            .iter()
            .map(|flow| flow.as_ref().and_then(|flow| ranks.get_mut(flow)?.next()))
            .collect();
        let rows = sqlx::query(include_str!("sql/insert_deliveries.sql"))
            .bind(texts(&self.ids))
            .bind(self.tenants)
            .bind(self.builds)
            .bind(self.endpoints)
            .bind(self.seqs)
            .bind(self.kinds)
            .bind(self.bands)
            .bind(self.ordered)
            .bind(ranks)
            .bind(delivery::State::Pending.as_str())
            .fetch_all(conn)
            .await?;
        let mut entered = Vec::new();
        for row in &rows {
            if row.try_get("enters")? {
                entered.push(Job::Delivery(row.word("id")?));
            }
        }
        Ok(entered)
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
