//! Someone died, or waited too long: lapsed leases are settled as lost, and what is overdue is
//! ended. And deliveries that are sent again together go on.
//!
//! Every worker sweeps. Two that find the same lease are fenced from one another by the store.

use std::time::Duration;

use buildfleet::{
    domain::retry::Policy,
    draw,
    job::Job,
    member::Member,
    store::{Error, Fence, Store},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// A lease is found lapsed at most this long after it lapsed.
pub const PERIOD: Duration = Duration::from_secs(1);
/// How much one pass settles; the next begins at once if there was more.
const BATCH: u32 = 200;
/// How many are settled beside each other.
const BESIDE: usize = 4;
/// Deliveries of a replay that are sent again in one commit.
const REPLAY_BATCH: u32 = 500;

/// What is thought of work that lost its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    work: Policy,
    deliveries: Policy,
}

impl Sweep {
    /// Where many processes hold work, work that loses one after the other is taken for the cause.
    pub const FLEET: Sweep = Sweep { work: Policy::WORK, deliveries: Policy::DELIVERY };
    /// Where all of it is one process, which may be killed at any instant and as often as one
    /// likes.
    pub const ALONE: Sweep =
        Sweep { work: Policy::WORK.alone(), deliveries: Policy::DELIVERY.alone() };
}

/// Sweeps until the member is stopped. A store that does not answer is asked again a period later.
pub async fn run(sweep: Sweep, member: &Member) {
    let beat = member.pulse.watch("sweeping");
    loop {
        beat.round();
        let pause = match once(sweep, &*member.store).await {
            Ok(0) => PERIOD,
            Ok(settled) => {
                tracing::info!(settled, "swept lapsed leases, overdue builds and replays");
                Duration::ZERO
            }
            Err(error) => {
                tracing::warn!(error = %error, "sweeping was put off");
                PERIOD
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = member.stop.cancelled() => return,
        }
    }
}

/// One pass; answers with how much it settled.
pub async fn once(sweep: Sweep, store: &dyn Store) -> Result<u32, Error> {
    let overdue = store.end_overdue(BATCH).await?;
    let lapsed = store.lapsed(BATCH).await?;
    // Some at a time: one whose build is held by a process that froze keeps the others waiting less.
    let settled = stream::iter(lapsed)
        .map(|fence| settle(sweep, store, fence))
        .buffer_unordered(BESIDE)
        .try_fold(0, async |settled, one| Ok(settled + u32::from(one)))
        .await?;
    let sent_again = store.go_on_replaying(REPLAY_BATCH).await?;
    Ok(overdue + settled + u32::try_from(sent_again).unwrap_or(u32::MAX))
}

/// Whether it was this one who settled it.
async fn settle(sweep: Sweep, store: &dyn Store, fence: Fence) -> Result<bool, Error> {
    let policy = match fence.job {
        Job::Plan(_) | Job::Task(_) => &sweep.work,
        Job::Delivery(_) => &sweep.deliveries,
    };
    match store.settle_lost(fence, policy, draw::jitter()).await {
        Ok(()) => {
            tracing::warn!(job = %fence.job, attempt = fence.attempt, "a lease lapsed");
            Ok(true)
        }
        // Its holder, or another sweep, was quicker, or is at it.
        Err(Error::Fenced | Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
