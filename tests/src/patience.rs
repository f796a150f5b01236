//! Waiting for facts, not for time to pass.

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until there is an answer; after `within`, panics with what was waited for.
pub async fn until_some<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The same for a fact that holds or does not.
pub async fn until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) {
    until_some(what, within, async || holds().await.then_some(())).await;
}
