//! An endpoint that was down for long gets all that it has missed.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::json;

use super::{DISPATCHER, Yard, inbox::Answer};
use crate::{patience, storm::ground::Ground};

const WITHIN: Duration = Duration::from_secs(3600);

pub struct Report {
    /// Deliveries that were given up, as the dry run counted them.
    pub counted: u64,
    pub total: u64,
    pub done: u64,
    /// Different events that arrived afterwards.
    pub arrived: usize,
    /// Requests more than that.
    pub more: usize,
    /// How much of it was sent again while it was paused.
    pub while_paused: u64,
    pub took: Duration,
}

pub async fn run(settings: &str, count: usize) -> anyhow::Result<Report> {
    let mut ground = Ground::new(settings, 15).await?;
    ground.slots = 100;
    let yard = Yard::open(ground).await?;
    let since = now(&yard).await?;
    let endpoint = yard.endpoint("/down", json!({ "retry": [0.01] })).await?;
    yard.inbox.behave("/down", |_| Answer::Status(500));
    // Replays go on in the sweeps of workers.
    let _programs = [yard.ground.start(DISPATCHER), yard.ground.start("task-worker")];
    yard.send_many(&endpoint.id, count).await?;
    yard.drained(WITHIN).await;
    let before = yard.inbox.count();
    yard.inbox.behave("/down", |_| Answer::Status(204));
    let path = format!("/v1/endpoints/{}/recover", endpoint.id);
    let dry = yard.post(&path, json!({ "since": since, "dry_run": true })).await?;
    let counted = dry["matched"].as_u64().context("a count")?;
    let begun = Instant::now();
    let answer = yard.post(&path, json!({ "since": since })).await?;
    let replay = answer["replay"]["id"].as_str().context("a replay")?.to_owned();
    let path = format!("/v1/replays/{replay}");
    let progress = async || {
        let replay = yard.get(&path).await?;
        let number = |name: &str| replay[name].as_u64().context("a number");
        anyhow::Ok((replay["state"].as_str() == Some("done"), number("done")?, number("total")?))
    };
    // Half-way, it stands still for a while.
    let half = count as u64 / 2;
    patience::until("half of it is sent again", WITHIN, async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        progress().await.is_ok_and(|(is_done, done, _)| is_done || half <= done)
    })
    .await;
    let mut while_paused = 0;
    if yard.post(&format!("{path}/pause"), json!({})).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (_, from, _) = progress().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        while_paused = progress().await?.1 - from;
        yard.post(&format!("{path}/resume"), json!({})).await?;
    }
    let mut told = Instant::now();
    patience::until("all of it is sent again", WITHIN, async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let Ok((is_done, done, total)) = progress().await else { return false };
        if Duration::from_secs(5) < told.elapsed() {
            told = Instant::now();
            eprintln!("{done} of {total} are sent again");
        }
        is_done
    })
    .await;
    yard.drained(WITHIN).await;
    let took = begun.elapsed();
    let (_, done, total) = progress().await?;
    let arrivals = yard.inbox.arrivals();
    let after = &arrivals[before..];
    let different: BTreeSet<&str> = after.iter().map(|arrival| &*arrival.event).collect();
    Ok(Report {
        counted,
        total,
        done,
        arrived: different.len(),
        more: after.len() - different.len(),
        while_paused,
        took,
    })
}

/// The record's instant, as the API reads them.
async fn now(yard: &Yard) -> anyhow::Result<String> {
    let question = "select to_char(clock_timestamp() at time zone 'utc',
                                   'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";
    Ok(sqlx::query_scalar(question).fetch_one(&yard.ground.pool).await?)
}
