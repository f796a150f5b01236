//! How soon after its time a retry arrives.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{DISPATCHER, Yard, inbox::Answer};
use crate::storm::{ground::Ground, spread::Spread};
use serde_json::json;

const BETWEEN: Duration = Duration::from_millis(50);
/// Far below the shortest wait before a retry.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What waits for its time: which event, after which attempt, until when.
const WAITING: &str = "
    select v.id, d.attempt, (extract(epoch from d.due_at) * 1000000)::bigint
      from deliveries d join events v on v.build_id = d.build_id and v.seq = d.seq
     where d.parked_on = 'time' and 0 < d.attempt";

/// From the instant that the record named for a retry until the request had arrived.
pub async fn run(settings: &str, count: usize) -> anyhow::Result<Spread> {
    let yard = Yard::open(Ground::new(settings, 15).await?).await?;
    let endpoint = yard.endpoint("/stubborn", json!({ "retry": "required" })).await?;
    // Answered at once, so that it is sent no less.
    yard.inbox.behave("/stubborn", |letter| match letter.times {
        0..4 => Answer::Status(500),
        _ => Answer::Status(204),
    });
    let _dispatcher = yard.ground.start(DISPATCHER);
    let mut due: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let sending = async {
        for _ in 0..count {
            yard.send(&endpoint.id).await?;
            tokio::time::sleep(BETWEEN).await;
        }
        anyhow::Ok(())
    };
    let looking = async {
        while yard.inbox.count() < count * 5 {
            let rows: Vec<(String, i32, i64)> =
                sqlx::query_as(WAITING).fetch_all(&yard.ground.pool).await?;
            due.extend(rows.into_iter().map(|(event, attempt, at)| ((event, attempt), at)));
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::Ok(())
    };
    let within = Duration::from_secs(60) + BETWEEN * u32::try_from(count)?;
    tokio::time::timeout(within, async { tokio::try_join!(sending, looking) }).await??;
    let mut times: HashMap<String, i32> = HashMap::new();
    let mut late = Vec::new();
    for arrival in yard.inbox.arrivals() {
        let before = times.entry(arrival.event.clone()).or_default();
        if let Some(due_at) = due.get(&(arrival.event, *before)) {
            late.push((arrival.at - due_at) as f64 / 1000.0);
        }
        *before += 1;
    }
    Ok(Spread::of(late))
}
