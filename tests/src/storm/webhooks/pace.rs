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
    /// The fewest in any whole second.
    pub fewest: usize,
    /// When the fullest second began and the emptiest one, in seconds after the first request.
    pub at: (f64, f64),
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
    let since = |from: i64| (from - at[0]) as f64 / 1e6;
    let whole = at.iter().filter(|from| **from + WINDOW_MICROS < at[at.len() - 1]);
    // The fullest window begins with a request, the emptiest one just after one.
    let fullest = at.iter().max_by_key(|from| within(**from)).copied().unwrap_or_default();
    let emptiest = whole.min_by_key(|from| within(**from + 1)).copied().unwrap_or_default();
    Ok(Report {
        sent: count,
        mean: (count - 1) as f64 / took,
        most: within(fullest),
        fewest: within(emptiest + 1),
        at: (since(fullest), since(emptiest)),
    })
}
