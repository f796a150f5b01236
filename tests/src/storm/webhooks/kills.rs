//! Messages while dispatchers, API and Redis are killed without warning.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

use super::{API, DISPATCHER, Yard, inbox::Answer};
use crate::{programs::Program, storm::ground::Ground};

const DISPATCHERS: usize = 3;
const CALLERS: usize = 8;
/// Between two calls of a caller.
const BETWEEN: Duration = Duration::from_millis(20);
/// Between two kills, at most.
const APART: u64 = 300;
/// All that is left waits for leases at most.
const WITHIN: Duration = Duration::from_secs(600);
/// Events with their deliveries' state, attempts that may have sent, and successful ones.
const KEPT: &str = "
    select v.id, d.state,
           (select count(*) from delivery_attempts a where a.delivery_id = d.id) as attempts,
           (select count(*) from delivery_attempts a
             where a.delivery_id = d.id and a.state = 'succeeded') as succeeded
      from deliveries d join events v on v.build_id = d.build_id and v.seq = d.seq";

#[derive(Debug, Default)]
pub struct Report {
    pub kills: BTreeMap<&'static str, usize>,
    /// Messages that the API said it had taken in.
    pub accepted: usize,
    /// Messages in the record: also those whose answer was lost with the API.
    pub kept: usize,
    pub requests: usize,
    /// Accepted and never arrived.
    pub lost: Vec<String>,
    /// Not delivered at the end, or delivered by other than one attempt.
    pub unsettled: Vec<String>,
    /// Events that came more than once.
    pub doubled: usize,
    /// Of these, those that came more often than attempts were begun.
    pub unexplained: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "killed: {:?}", self.kills)?;
        writeln!(
            f,
            "{} accepted, {} in the record, {} requests arrived",
            self.accepted, self.kept, self.requests
        )?;
        writeln!(f, "lost: {:?}", self.lost)?;
        writeln!(f, "not delivered by one attempt: {:?}", self.unsettled)?;
        writeln!(f, "came more than once: {}", self.doubled)?;
        writeln!(f, "of these without an attempt that sent it: {:?}", self.unexplained)
    }
}

impl Report {
    pub fn is_well(&self) -> bool {
        self.lost.is_empty() && self.unsettled.is_empty() && self.unexplained.is_empty()
    }
}

pub async fn run(settings: &str, kills: usize, seed: u64) -> anyhow::Result<Report> {
    let mut ground = Ground::new(settings, 5).await?;
    ground.more = vec![("BUILDFLEET_WEBHOOK_TIMEOUT_SECS".to_owned(), "5".to_owned())];
    let mut yard = Yard::open(ground).await?;
    let endpoint = yard.endpoint("/mailbox", json!({})).await?.id;
    // Now and then nobody answers at all, and it takes a moment.
    yard.inbox.behave("/mailbox", |letter| match letter.event.bytes().last() {
        Some(b'7') if letter.times == 0 => Answer::Status(503),
        _ => Answer::Status(204),
    });
    // What sweeps up leases of the dead is a worker's.
    let _worker = yard.ground.start("task-worker");
    let mut dispatchers: Vec<Program> =
        (0..DISPATCHERS).map(|_| yard.ground.start(DISPATCHER)).collect();
    let accepted: Mutex<BTreeSet<String>> = Mutex::default();
    let over = AtomicBool::new(false);
    let mut report = Report::default();
    let (http, url) = (yard.http.clone(), yard.url.clone());
    let calls = futures_util::future::join_all((0..CALLERS).map(|_| async {
        while !over.load(Ordering::Relaxed) {
            if let Ok(event) = super::send(&http, &url, &endpoint).await {
                accepted.lock().unwrap().insert(event);
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }));
    let killing = async {
        let mut dice = StdRng::seed_from_u64(seed);
        for done in 1..=kills {
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..APART))).await;
            let victim = match dice.random_range(0..10) {
                0..7 => {
                    let place = dice.random_range(0..dispatchers.len());
                    dispatchers[place].kill_if_alive();
                    dispatchers[place] = yard.ground.start(DISPATCHER);
                    DISPATCHER
                }
                7..9 => {
                    yard.api.kill_if_alive();
                    yard.api = yard.ground.start(API);
                    API
                }
                _ => {
                    yard.ground.redis.kill();
                    yard.ground.redis.up();
                    "redis"
                }
            };
            *report.kills.entry(victim).or_default() += 1;
            complete(&mut yard, &mut dispatchers);
            if done % 100 == 0 {
                eprintln!("{done} kills, {} requests", yard.inbox.count());
            }
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(calls, killing);
    crate::patience::until("all is delivered", WITHIN, async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        complete(&mut yard, &mut dispatchers);
        yard.ground.count(super::OPEN).await == 0
    })
    .await;
    judge(&yard, accepted.into_inner().unwrap_or_default(), &mut report).await?;
    Ok(report)
}

/// Starts those again that could not start because Redis was away.
fn complete(yard: &mut Yard, dispatchers: &mut [Program]) {
    for dispatcher in dispatchers {
        if dispatcher.has_ended().is_some() {
            *dispatcher = yard.ground.start(DISPATCHER);
        }
    }
    if yard.api.has_ended().is_some() {
        yard.api = yard.ground.start(API);
    }
}

async fn judge(yard: &Yard, accepted: BTreeSet<String>, report: &mut Report) -> anyhow::Result<()> {
    let mut came: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for arrival in yard.inbox.arrivals() {
        let (all, well) = came.entry(arrival.event).or_default();
        *all += 1;
        *well += i64::from(arrival.answer == Answer::Status(204));
        report.requests += 1;
    }
    let kept: Vec<(String, String, i64, i64)> =
        sqlx::query_as(KEPT).fetch_all(&yard.ground.pool).await?;
    let known: BTreeSet<&str> = kept.iter().map(|(event, ..)| &**event).collect();
    let has_come = |event: &str| came.get(event).is_some_and(|(_, well)| 0 < *well);
    (report.accepted, report.kept) = (accepted.len(), kept.len());
    report.lost = accepted
        .iter()
        .filter(|event| !known.contains(&***event) || !has_come(event))
        .cloned()
        .collect();
    for (event, state, attempts, succeeded) in &kept {
        if state != "delivered" || *succeeded != 1 {
            report.unsettled.push(format!("{event} {state} by {succeeded}"));
        }
        let (all, well) = came.get(event).copied().unwrap_or_default();
        report.doubled += usize::from(1 < well);
        if *attempts < all {
            report.unexplained.push(format!("{event}: {all} of {attempts}"));
        }
    }
    Ok(())
}
