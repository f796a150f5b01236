//! Bearing with something that does not answer: how long to wait before asking again, and saying so
//! once at its beginning and once at its end.

use std::{error::Error, time::Duration};

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Outage {
    /// What cannot be done meanwhile, for the log: "taking jobs".
    doing: &'static str,
    shortest: Duration,
    longest: Duration,
    since: Option<Instant>,
}

impl Outage {
    /// For a queue: it mostly comes back within a second or so, and work waits for it.
    pub(crate) const fn impatient(doing: &'static str) -> Self {
        Self::new(doing, Duration::from_millis(50), Duration::from_secs(2))
    }

    /// For a store: whoever asks holds a slot, and many ask at once.
    pub(crate) const fn patient(doing: &'static str) -> Self {
        Self::new(doing, Duration::from_millis(500), Duration::from_secs(5))
    }

    const fn new(doing: &'static str, shortest: Duration, longest: Duration) -> Self {
        Self { doing, shortest, longest, since: None }
    }

    /// Notes that it did not answer. Answers with how long to wait before asking again: half of the
    /// time that it has been silent, whoever asks and however often.
    pub(crate) fn goes_on(&mut self, error: &dyn Error) -> Duration {
        let since = *self.since.get_or_insert_with(|| {
            tracing::warn!(doing = self.doing, error = %causes(error), "no answer; trying again");
            Instant::now()
        });
        (since.elapsed() / 2).clamp(self.shortest, self.longest)
    }

    /// Notes that it answered.
    pub(crate) fn is_over(&mut self) {
        if let Some(since) = self.since.take() {
            tracing::info!(
                doing = self.doing,
                outage_ms = since.elapsed().as_millis() as u64,
                "there is an answer again"
            );
        }
    }
}

/// An error and what caused it, in one line.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wait_grows_with_the_outage_and_not_with_those_who_ask() {
        let mut outage = Outage::patient("asking");
        let error = std::io::Error::other("down");

        for _ in 0..100 {
            assert_eq!(outage.goes_on(&error), Duration::from_millis(500));
        }
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(outage.goes_on(&error), Duration::from_secs(2));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(outage.goes_on(&error), Duration::from_secs(5));

        outage.is_over();
        assert_eq!(outage.goes_on(&error), Duration::from_millis(500));
    }
}
