//! One endpoint with a rate, a backlog, and several dispatchers that all want to send to it.

use std::time::Duration;

use serde_json::json;

use super::{DISPATCHER, Yard};
use crate::storm::ground::Ground;

const DISPATCHERS: usize = 5;
const WINDOW_MICROS: i64 = 1_000_000;

pub struct Report {
    pub sent: usize,
    /// Requests a second from the first to the last.
    pub mean: f64,
    /// The most within any second.
    pub most: usize,
    /// Seconds of which the one after the first held fewer than the mean asks for are no fault of
    /// the pace; this is the fewest in any whole second.
    pub fewest: usize,
}

/// Sends for so many seconds at `rate` a second.
pub async fn run(settings: &str, rate: u32, secs: u32) -> anyhow::Result<Report> {
    let yard = Yard::open(Ground::new(settings, 15).await?).await?;
    let endpoint =
        yard.endpoint("/paced", json!({ "rate": { "count": rate, "per_secs": 1 } })).await?;
    let count = (rate * secs) as usize;
    yard.send_many(&endpoint.id, count).await?;
    let _dispatchers: Vec<_> = (0..DISPATCHERS).map(|_| yard.ground.start(DISPATCHER)).collect();
    yard.drained(Duration::from_secs(u64::from(secs) * 2 + 30)).await;
    let mut at: Vec<i64> = yard.inbox.arrivals().iter().map(|arrival| arrival.at).collect();
    at.sort_unstable();
    anyhow::ensure!(at.len() == count, "{} of {count} came", at.len());
    let within = |from: i64| {
        at.partition_point(|at| *at < from + WINDOW_MICROS) - at.partition_point(|at| *at < from)
    };
    let took = (at[at.len() - 1] - at[0]) as f64 / 1e6;
    Ok(Report {
        sent: count,
        mean: (count - 1) as f64 / took,
        // The fullest window begins with a request.
        most: at.iter().map(|from| within(*from)).max().unwrap_or_default(),
        // The emptiest one begins just after one.
        fewest: at
            .iter()
            .filter(|from| **from + WINDOW_MICROS < at[at.len() - 1])
            .map(|from| within(*from + 1))
            .min()
            .unwrap_or_default(),
    })
}
