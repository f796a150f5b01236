//! Builds that are kept for the first time, many in one commit.

use std::collections::{BTreeMap, HashMap};

use secrecy::ExposeSecret;
use sqlx::{PgConnection, Row};

use super::{
    desk::Gathered,
    queueing::Flow,
    rows::{Columns, document, texts},
    *,
};
use crate::domain::{build, event::Tally};

impl Gathered for NewBuild {
    type Answer = Submitted;
    const NAME: &'static str = "submission";
    const COMMIT_MOST: usize = 256;

    async fn commit(db: &Db, all: &[Self]) -> Result<Vec<Result<Submitted, Error>>, Error> {
        submit_all(db, all).await
    }
}

/// When a build was written.
struct Written {
    created_at: At,
    updated_at: At,
}

async fn submit_all(db: &Db, all: &[NewBuild]) -> Result<Vec<Result<Submitted, Error>>, Error> {
    let ranks = ranks(&db.flows, all).await?;
    let mut tx = db.pool.begin().await?;
    let written = insert(&mut tx, all, ranks).await?;
    insert_endpoints(&mut tx, all.iter().filter(|new| written.contains_key(&new.id))).await?;
    let mut answers = Vec::with_capacity(all.len());
    for new in all {
        answers.push(match written.get(&new.id) {
            Some(written) => Ok(Submitted::New(view(new, written))),
            None => submitted_before(&mut tx, new).await,
        });
    }
    tx.commit().await?;
    Ok(answers)
}

/// A rank for each.
async fn ranks(flows: &Flows, all: &[NewBuild]) -> Result<Vec<f64>, Error> {
    let mut entering: BTreeMap<Flow, Vec<usize>> = BTreeMap::new();
    for (at, new) in all.iter().enumerate() {
        let flow = Flow { tenant: new.tenant.clone(), priority: new.brief.priority.into() };
        entering.entry(flow).or_default().push(at);
    }
    let costs = entering.iter().map(|(flow, all)| (flow.clone(), vec![1; all.len()])).collect();
    let mut ranks = vec![0.0; all.len()];
    for (flow, given) in flows.ranks(Lane::Plans, &costs).await? {
        for (&at, rank) in entering.get(&flow).into_iter().flatten().zip(given) {
            ranks[at] = rank;
        }
    }
    Ok(ranks)
}

/// Answers with those that are new.
async fn insert(
    conn: &mut PgConnection,
    all: &[NewBuild],
    ranks: Vec<f64>,
) -> Result<HashMap<BuildId, Written>, Error> {
    let keys = all.iter().map(|new| new.idempotency.as_ref());
    let rows = sqlx::query(include_str!("sql/insert_builds.sql"))
        .bind(texts(all.iter().map(|new| new.id)))
        .bind(all.iter().map(|new| new.tenant.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| document(&new.brief)).collect::<Result<Vec<_>, _>>()?)
        .bind(all.iter().map(|new| i16::from(new.brief.priority)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.brief.project_id.as_deref()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.brief.on_task_failure.as_str()).collect::<Vec<_>>())
        .bind(build::State::Queued.as_str())
        .bind(keys.clone().map(|key| key.map(|key| &*key.key)).collect::<Vec<_>>())
        .bind(keys.map(|key| key.map(|key| &*key.request_hash)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.brief.deadline().map(secs)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.brief.limit_key.as_deref()).collect::<Vec<_>>())
        .bind(ranks)
        .bind(all.iter().map(|new| new.brief.cache).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            let (created_at, updated_at) = (row.try_get("created_at")?, row.try_get("updated_at")?);
            Ok((row.word("id")?, Written { created_at, updated_at }))
        })
        .collect()
}

async fn insert_endpoints<'a>(
    conn: &mut PgConnection,
    builds: impl Iterator<Item = &'a NewBuild>,
) -> Result<(), Error> {
    let all: Vec<_> = builds.filter_map(|new| Some((new.id, new.webhook.as_ref()?))).collect();
    if all.is_empty() {
        return Ok(());
    }
    let endpoints = || all.iter().map(|(_, endpoint)| endpoint);
    sqlx::query(
        "insert into endpoints (id, build_id, url, secret, events)
         select id, build_id, url, secret, events::json
           from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
             as e (id, build_id, url, secret, events)",
    )
    .bind(texts(endpoints().map(|endpoint| endpoint.id)))
    .bind(texts(all.iter().map(|(build, _)| build)))
    .bind(endpoints().map(|endpoint| endpoint.url.as_str()).collect::<Vec<_>>())
    .bind(endpoints().map(|endpoint| endpoint.secret.expose_secret()).collect::<Vec<_>>())
    .bind(endpoints().map(|endpoint| document(&endpoint.events)).collect::<Result<Vec<_>, _>>()?)
    .execute(conn)
    .await?;
    Ok(())
}

/// A build that nothing has happened to yet.
fn view(new: &NewBuild, written: &Written) -> Build {
    Build {
        id: new.id,
        tenant: new.tenant.clone(),
        brief: new.brief.clone(),
        state: build::State::Queued,
        plan: None,
        stop: None,
        tally: Tally::default(),
        open_tasks: [0; 3],
        open_phase: None,
        forked_from: None,
        estimated_secs: None,
        webhook: new.webhook.as_ref().map(|endpoint| BuildWebhook {
            endpoint: endpoint.id,
            url: endpoint.url.clone(),
            secret: endpoint.secret.clone(),
        }),
        created_at: written.created_at,
        started_at: None,
        settled_at: None,
        updated_at: written.updated_at,
        last_seq: 0,
    }
}

/// The build that the key of this one stands for.
async fn submitted_before(conn: &mut PgConnection, new: &NewBuild) -> Result<Submitted, Error> {
    let earlier = match &new.idempotency {
        Some(idempotency) => builds::submitted_before(conn, &new.tenant, idempotency).await?,
        None => None,
    };
    earlier.map(Submitted::Again).ok_or_else(|| Error::not_found(new.id))
}
