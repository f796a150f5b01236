//! What is old goes: results past their time, builds that nobody wants to keep, and what means
//! nothing any more. In steps, so that whoever works finds room between them. And gaps that work
//! left in a flow when it was taken away are closed up, where whoever took it away did not.

use std::time::{Duration, Instant};

use buildfleet::{
    config::Reader,
    member::Member,
    store::{Error, Forgotten, Store},
};
use tokio::time::sleep;

/// How often it is looked for what is old.
const PERIOD: Duration = Duration::from_secs(60);
/// How often it is looked for gaps.
const GAPS_PERIOD: Duration = Duration::from_secs(1);
/// Flows that are closed up one after the other.
const GAPS_STEP: u32 = 20;
/// How often it is told what went.
const SUMMARY_EVERY: Duration = Duration::from_secs(3600);
/// Between two steps.
const PAUSE: Duration = Duration::from_millis(100);
/// Rows of one kind that go in one step; builds bring many more with them.
const STEP: u32 = 500;
const BUILDS_STEP: u32 = 20;

/// What an operator lets be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long builds stay after their end; `None`: for ever.
    pub keep: Option<Duration>,
    /// How long results stand for the same work.
    pub results_within: Duration,
    pub results_most: u64,
}

impl Config {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        // Ten years; whoever wants longer says 0.
        let days = reader.number("BUILDFLEET_KEEP_DAYS", 0, 3650);
        Self {
            keep: (0 < days).then(|| Duration::from_secs(u64::from(days) * 24 * 3600)),
            results_within: reader.secs("BUILDFLEET_CACHE_SECS", 0, 30 * 24 * 3600),
            results_most: reader.number("BUILDFLEET_CACHE_ENTRIES_MAX", 1, 100_000_000).into(),
        }
    }
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    pub builds: u64,
    pub changes: u64,
    pub results: u64,
    pub idle: u64,
}

/// Looks after the record until the member is stopped. Several may: each finds what the others have
/// left.
pub async fn run(config: Config, member: &Member) {
    tokio::join!(forget(config, member), close_up(member));
}

/// Where very much waits, one flow takes a minute, and nothing else should wait for it.
async fn close_up(member: &Member) {
    loop {
        let closed = tokio::select! {
            closed = member.store.close_up(GAPS_STEP) => closed,
            () = member.stop.cancelled() => return,
        };
        if let Err(error) = closed {
            tracing::warn!(error = %error, "closing up flows was put off");
        }
        tokio::select! {
            () = sleep(GAPS_PERIOD) => {}
            () = member.stop.cancelled() => return,
        }
    }
}

async fn forget(config: Config, member: &Member) {
    let mut gone = Gone::default();
    let mut told = Instant::now();
    loop {
        tokio::select! {
            () = sleep(PERIOD) => {}
            () = member.stop.cancelled() => return,
        }
        let looked = tokio::select! {
            looked = once(config, &*member.store, &mut gone) => looked,
            () = member.stop.cancelled() => return,
        };
        if let Err(error) = looked {
            tracing::warn!(error = %error, "looking for what is old was put off");
        }
        if SUMMARY_EVERY <= told.elapsed() {
            // The name is that of the requirements (S2-90); every line has its timestamp.
            tracing::info!(
                evictedCount = gone.results,
                builds = gone.builds,
                changes = gone.changes,
                idle = gone.idle,
                "what was old is gone"
            );
            (gone, told) = (Gone::default(), Instant::now());
        }
    }
}

/// Takes away all that is old now, and adds what it was to `gone`.
pub async fn once(config: Config, store: &dyn Store, gone: &mut Gone) -> Result<(), Error> {
    loop {
        let evicted = store.evict(config.results_within, config.results_most, STEP).await?;
        gone.results += evicted;
        if evicted < STEP.into() {
            break;
        }
        sleep(PAUSE).await;
    }
    while let Some(keep) = config.keep {
        let forgotten = store.forget(keep, BUILDS_STEP).await?;
        gone.builds += forgotten.builds;
        gone.changes += forgotten.changes;
        if forgotten == Forgotten::default() {
            break;
        }
        sleep(PAUSE).await;
    }
    gone.idle += store.forget_idle(STEP).await?;
    Ok(())
}
