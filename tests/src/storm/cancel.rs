//! How long a running task runs on after somebody cancelled its build.

use std::time::Duration;

use anyhow::Context;
use api::auth::TENANT;
use serde_json::json;

use super::{clock, faults::WORKER, ground::Ground, load::Feeder, shapes, spread::Spread};
use crate::{patience::until_some, programs::Program};

const SOON: Duration = Duration::from_secs(30);

/// What was measured, each from before the call.
pub struct Report {
    /// Until the runner, in another process, saw that it shall end.
    pub told: Spread,
    /// Until the API had answered.
    pub answered: Spread,
}

/// Cancels builds that run, one after the other, through the API.
pub async fn run(settings: &str, times: usize) -> anyhow::Result<Report> {
    let ground = Ground::new(settings, 15).await?;
    ground.limit(100, 40, 40).await?;
    rustls::crypto::ring::default_provider().install_default().ok();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let _api = ground.start("buildfleet-api");
    let worker = ground.start(WORKER);
    let mut feeder = Feeder::new(&*ground.store);
    let (mut told, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let build = feeder.feed(TENANT, shapes::single(json!({ "heed": true }))).await?.to_string();
        said(&worker, "begun", &build).await;
        let request = http
            .post(format!("{}/v1/builds/{build}/cancel", ground.url()))
            .bearer_auth(super::ground::KEY);
        let called_at = clock::micros();
        request.send().await?.error_for_status().context("the API cancels")?;
        answered.push(millis(called_at, clock::micros()));
        told.push(millis(called_at, said(&worker, "told", &build).await));
    }
    Ok(Report { told: Spread::of(told), answered: Spread::of(answered) })
}

fn millis(from: i64, to: i64) -> f64 {
    (to - from) as f64 / 1000.0
}

/// When a worker said something of a build.
async fn said(worker: &Program, word: &str, build: &str) -> i64 {
    let wanted = format!("{word} {build} ");
    until_some(&wanted, SOON, async || {
        let log = worker.log();
        let line = log.lines().rev().find_map(|line| line.strip_prefix(&wanted))?;
        line.trim().parse().ok()
    })
    .await
}
