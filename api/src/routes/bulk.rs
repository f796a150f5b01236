//! One verb for all that a filter meets: counted first, then done a page at a time.
//!
//! Each build or delivery is a commit of its own, so that a call which is cut off has done some and
//! not others, and doing it again is harmless. A call has a bound, and says where to go on.

use std::time::{Duration, Instant};

use axum::{Json, extract::State};
use buildfleet::{
    domain::{
        id::{BuildId, DeliveryId},
        limit::Gate,
    },
    store::{self, BuildsFound, DeliveriesFound, Page, audit::Change},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    Api, Error,
    auth::{By, TENANT},
    body, query,
    query::Query,
    wire::bulk::{
        BuildAction, BuildsBulk, BulkAnswer, BulkRefusal, DeliveriesBulk, NewBuildsBulk,
        NewDeliveriesBulk,
    },
};

/// Well below the time that a request has.
const WITHIN: Duration = Duration::from_secs(15);
const STEP: u32 = 100;
/// So many at once: they meet in the store's own commits, and leave connections for others.
const AT_ONCE: usize = 4;
const SHOWN: u32 = 20;

/// Cancel, retry, pause or resume many builds
///
/// All that a filter meets, newest first. With `dry_run` only says how many and which. Without,
/// each is done by itself; those that cannot be are counted with their reasons. Stops after `limit`
/// builds or 15 seconds, and tells where to go on. Written to the audit with its filter.
#[utoipa::path(
    post, path = "/v1/builds/bulk", operation_id = "bulk_builds", tag = "builds",
    params(
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why"),
    ),
    request_body = NewBuildsBulk,
    responses(
        (status = 200, description = "What was done", body = BulkAnswer),
        (status = 400, description = "`malformed_json` with line and column, or `bad_reason`"),
        (status = 422, description = "`invalid_request`: every bad field is in `detail.fields`"),
    ),
)]
pub async fn builds(
    State(api): State<Api>,
    By(by): By,
    query: Query,
    body::Json(body): body::Json,
) -> Result<Json<BulkAnswer>, Error> {
    query.finish()?;
    let bulk = BuildsBulk::of(TENANT, &body).map_err(|faults| Error::invalid(&faults))?;
    let (filter, action, store) = (&bulk.filter, bulk.action, &api.store);
    let matching = store.count_builds(filter).await?;
    let find = |limit, after| {
        let wanted = BuildsFound { filter: filter.clone(), limit, after };
        async move { store.find_builds(&wanted).await }
    };
    if bulk.dry_run {
        let page = find(SHOWN, bulk.after).await?;
        return Ok(Json(counted(matching, page.rows.into_iter().map(|id| id.to_string()))));
    }
    let by = &by;
    let act = |id: BuildId| async move {
        match action {
            BuildAction::Cancel => store.cancel_build(id).await.map(drop),
            BuildAction::Retry => store.retry_build(id).await.map(drop),
            BuildAction::Pause => store.pause(&Gate::Build(id), by).await,
            BuildAction::Resume => store.resume(&Gate::Build(id), by).await,
        }
    };
    let [before, after] = action.words();
    let audited = Audited { api: &api, by, subject: "builds", filter: &bulk.words, matching };
    audited.begins(before).await?;
    let done = run(bulk.limit, bulk.after, find, act).await?;
    audited.has_done(after, done).await
}

/// Send many deliveries once more
///
/// All that a filter meets, newest first; as for builds.
#[utoipa::path(
    post, path = "/v1/deliveries/bulk", operation_id = "bulk_deliveries", tag = "deliveries",
    params(
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why"),
    ),
    request_body = NewDeliveriesBulk,
    responses(
        (status = 200, description = "What was done", body = BulkAnswer),
        (status = 400, description = "`malformed_json` with line and column, or `bad_reason`"),
        (status = 422, description = "`invalid_request`: every bad field is in `detail.fields`"),
    ),
)]
pub async fn deliveries(
    State(api): State<Api>,
    By(by): By,
    query: Query,
    body::Json(body): body::Json,
) -> Result<Json<BulkAnswer>, Error> {
    query.finish()?;
    let bulk = DeliveriesBulk::of(TENANT, &body).map_err(|faults| Error::invalid(&faults))?;
    let (filter, store) = (&bulk.filter, &api.store);
    let matching = store.count_deliveries(filter).await?;
    let find = |limit, after| {
        let wanted = DeliveriesFound { filter: filter.clone(), limit, after };
        async move { store.find_deliveries(&wanted).await }
    };
    if bulk.dry_run {
        let page = find(SHOWN, bulk.after).await?;
        return Ok(Json(counted(matching, page.rows.into_iter().map(|id| id.to_string()))));
    }
    let act = |id: DeliveryId| async move { store.redeliver(id).await.map(drop) };
    let audited =
        Audited { api: &api, by: &by, subject: "deliveries", filter: &bulk.words, matching };
    audited.begins("bulk_redeliver").await?;
    let done = run(bulk.limit, bulk.after, find, act).await?;
    audited.has_done("bulk_redeliver_done", done).await
}

fn counted(matching: u64, ids: impl Iterator<Item = String>) -> BulkAnswer {
    BulkAnswer {
        dry_run: true,
        matching,
        ids: ids.collect(),
        done: 0,
        refused: 0,
        refusals: Vec::new(),
        next_cursor: None,
    }
}

/// How far a call came.
#[derive(Default)]
struct Done {
    done: u32,
    refused: u32,
    refusals: Vec<BulkRefusal>,
    next_cursor: Option<String>,
}

impl Done {
    fn seen(&self) -> u32 {
        self.done + self.refused
    }

    /// A refusal is counted; a store that does not answer ends it all.
    fn hear(&mut self, id: String, result: Result<(), store::Error>) -> Result<(), Error> {
        let (code, message) = match result {
            Ok(()) => {
                self.done += 1;
                return Ok(());
            }
            Err(store::Error::Conflict { code, reason }) => (code, reason),
            Err(error @ store::Error::NotFound { .. }) => ("not_found", error.to_string()),
            Err(error) => return Err(error.into()),
        };
        self.refused += 1;
        if self.refusals.len() < SHOWN as usize {
            self.refusals.push(BulkRefusal { id, code: code.to_owned(), message });
        }
        Ok(())
    }
}

async fn run<I, F, A>(
    limit: u32,
    mut after: Option<I>,
    find: impl Fn(u32, Option<I>) -> F + Send,
    act: impl Fn(I) -> A + Send,
) -> Result<Done, Error>
where
    I: Copy + PartialEq + ToString + Send,
    F: Future<Output = Result<Page<I>, store::Error>> + Send,
    A: Future<Output = Result<(), store::Error>> + Send,
{
    let began = Instant::now();
    let mut done = Done::default();
    loop {
        let page = find((limit - done.seen()).min(STEP), after).await?;
        for ids in page.rows.chunks(AT_ONCE) {
            let results = join_all(ids.iter().map(|id| act(*id))).await;
            for (id, result) in ids.iter().zip(results) {
                done.hear(id.to_string(), result)?;
                after = Some(*id);
            }
            if WITHIN <= began.elapsed() {
                break;
            }
        }
        let is_at_end = page.rows.last().copied() == after || page.rows.is_empty();
        if is_at_end && !page.next {
            return Ok(done);
        }
        if limit <= done.seen() || WITHIN <= began.elapsed() {
            done.next_cursor = after.map(|id| query::cursor(id.to_string()));
            return Ok(done);
        }
    }
}

/// What the audit is told of a call.
struct Audited<'a> {
    api: &'a Api,
    by: &'a str,
    subject: &'static str,
    filter: &'a Value,
    matching: u64,
}

impl Audited<'_> {
    /// Before anything is done, so that nothing is done which nobody was told of.
    async fn begins(&self, action: &'static str) -> Result<(), Error> {
        let detail = json!({ "filter": self.filter, "matching": self.matching });
        self.note(action, &detail).await
    }

    async fn has_done(self, action: &'static str, done: Done) -> Result<Json<BulkAnswer>, Error> {
        let detail = json!({
            "filter": self.filter,
            "done": done.done,
            "refused": done.refused,
            "more": done.next_cursor.is_some(),
        });
        self.note(action, &detail).await?;
        Ok(Json(BulkAnswer {
            dry_run: false,
            matching: self.matching,
            ids: Vec::new(),
            done: done.done,
            refused: done.refused,
            refusals: done.refusals,
            next_cursor: done.next_cursor,
        }))
    }

    async fn note(&self, action: &'static str, detail: &Value) -> Result<(), Error> {
        let change = Change::Bulk { action, subject: self.subject, detail };
        Ok(self.api.store.note(&change, self.by).await?)
    }
}
