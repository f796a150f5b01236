//! Keeping a lease while work is done.

use std::time::Duration;

use buildfleet::{
    domain::id::HolderId,
    store::{Error, Fence, Store},
};
use tokio::time::{Instant, sleep};

/// The lease is gone: somebody else may hold the work, or nobody may want it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

/// Extends a lease three times in its length; returns only once it is lost. A store that does not
/// answer is waited for as long as the lease can still be alive.
pub async fn keep(store: &dyn Store, fence: Fence, holder: HolderId, lease: Duration) -> Lost {
    let mut alive_until = Instant::now() + lease;
    loop {
        sleep(lease / 3).await;
        let asked_at = Instant::now();
        match store.extend(fence, holder, lease).await {
            // Counted from the question: the store may have granted it at any moment since.
            Ok(()) => alive_until = asked_at + lease,
            Err(Error::Unavailable { source }) if Instant::now() < alive_until => {
                tracing::warn!(error = %source, job = %fence.job, "the lease could not be extended");
            }
            Err(_) => return Lost,
        }
    }
}

/// Writes down what was decided; where the store does not answer, tries again until `patience` has
/// passed. Settling twice is harmless: the second finds no running attempt.
pub async fn settle<F, R>(patience: Duration, mut write: F) -> Result<(), Error>
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), Error>>,
{
    let until = Instant::now() + patience;
    let mut pause = Duration::from_millis(50);
    loop {
        match write().await {
            Err(Error::Unavailable { source }) if Instant::now() + pause < until => {
                tracing::warn!(error = %source, "settling did not succeed; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            settled => return settled,
        }
    }
}
