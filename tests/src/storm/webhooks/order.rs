//! Builds told of in order to one endpoint that often fails, by several dispatchers.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use api::auth::TENANT;
use serde_json::json;

use super::{DISPATCHER, Yard, inbox::Answer};
use crate::storm::{faults::WORKER, ground::Ground, load::Feeder, shapes};

const DISPATCHERS: usize = 5;
const WITHIN: Duration = Duration::from_secs(600);
/// Each event with its build and its place in it.
const EVENTS: &str = "select v.id, v.build_id, v.seq from events v";

pub struct Report {
    pub builds: usize,
    pub requests: usize,
    /// Answered with an error.
    pub refused: usize,
    /// Requests about an event before the one before it was delivered, with the first of them.
    pub early: Vec<String>,
    /// Events of which no request was answered well.
    pub missing: usize,
    /// Requests that followed on one of another build, and so went beside it.
    pub interleaved: usize,
}

/// Runs so many builds at once; each is a chain or a fan of tasks.
pub async fn run(settings: &str, builds: usize) -> anyhow::Result<Report> {
    let yard = Yard::open(Ground::new(settings, 15).await?).await?;
    yard.ground.limit(100, 40, 40).await?;
    let retry = vec![0.2; 20];
    yard.endpoint("/ordered", json!({ "ordered": true, "events": ["*"], "retry": retry })).await?;
    // About one in four is refused, whichever that is.
    yard.inbox.behave("/ordered", |letter| {
        let sum: usize = letter.event.bytes().map(usize::from).sum();
        let refused = (sum + letter.times * 7).is_multiple_of(4) && letter.times < 10;
        Answer::Status(if refused { 500 } else { 204 })
    });
    let worker = yard.ground.start(WORKER);
    let _dispatchers: Vec<_> = (0..DISPATCHERS).map(|_| yard.ground.start(DISPATCHER)).collect();
    let mut feeder = Feeder::new(&*yard.ground.store);
    for place in 0..builds {
        let plan = if place % 2 == 0 { shapes::in_line(8) } else { shapes::side_by_side(12) };
        feeder.feed(TENANT, plan).await?;
    }
    crate::patience::until("all builds are at their end", WITHIN, async || {
        yard.ground.count("select count(*) from builds where settled_at is null").await == 0
    })
    .await;
    yard.drained(WITHIN).await;
    drop(worker);
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as(EVENTS).fetch_all(&yard.ground.pool).await?;
    let places: HashMap<String, (String, i64)> =
        rows.into_iter().map(|(event, build, seq)| (event, (build, seq))).collect();
    let mut report =
        Report { builds, requests: 0, refused: 0, early: Vec::new(), missing: 0, interleaved: 0 };
    let mut delivered: BTreeMap<&str, i64> = BTreeMap::new();
    let mut last = "";
    let arrivals = yard.inbox.arrivals();
    for arrival in &arrivals {
        let Some((build, seq)) = places.get(&arrival.event) else { continue };
        report.requests += 1;
        report.interleaved += usize::from(last != build.as_str());
        last = build;
        let before = delivered.entry(build).or_default();
        if *seq != *before + 1 {
            report.early.push(format!("{build} {seq} after {before}"));
        }
        if arrival.answer == Answer::Status(204) {
            *before = (*before).max(*seq);
        } else {
            report.refused += 1;
        }
    }
    report.missing = places
        .values()
        .filter(|(build, seq)| delivered.get(build.as_str()).is_none_or(|last| last < seq))
        .count();
    Ok(report)
}
