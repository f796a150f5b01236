//! Whether the loops of this process still go round.
//!
//! A process can look alive while nothing in it moves: a claim that never returns, a lock that is
//! never let go. Each loop says when it made a round; whoever asks hears which ones stand still.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A loop that is silent for longer stands still. Whatever waits properly waits less: a connection
/// for 10 seconds, a statement for 30. What is left is a connection whose other end is gone without
/// a word, and for that a new start is the remedy.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);

/// The loops of one process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Loops>>);

#[derive(Debug, Default)]
struct Loops {
    next: u64,
    /// What each does, and when it last made a round.
    by_number: BTreeMap<u64, (String, Instant)>,
}

impl Pulse {
    /// Watches a loop from now on, until the beat is dropped.
    pub fn watch(&self, what: impl Into<String>) -> Beat {
        let mut loops = self.loops();
        let number = loops.next;
        loops.next += 1;
        loops.by_number.insert(number, (what.into(), Instant::now()));
        Beat { pulse: self.clone(), number }
    }

    /// What has made no round for longer than this.
    pub fn stalled(&self, longer_than: Duration) -> Vec<String> {
        let loops = self.loops();
        let silent = loops.by_number.values().filter(|(_, at)| longer_than < at.elapsed());
        silent.map(|(what, _)| what.clone()).collect()
    }

    fn loops(&self) -> MutexGuard<'_, Loops> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One loop's way to say that it goes round.
#[derive(Debug)]
pub struct Beat {
    pulse: Pulse,
    number: u64,
}

impl Beat {
    pub fn round(&self) {
        if let Some((_, at)) = self.pulse.loops().by_number.get_mut(&self.number) {
            *at = Instant::now();
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.pulse.loops().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_named_and_one_that_ended_is_not() {
        let pulse = Pulse::default();
        let (still, moving) = (pulse.watch("claiming tasks"), pulse.watch("waking"));
        let ended = pulse.watch("claiming plans");

        drop(ended);
        tokio::time::advance(Duration::from_secs(5)).await;
        moving.round();

        assert_eq!(pulse.stalled(Duration::from_secs(4)), ["claiming tasks"]);
        still.round();
        assert!(pulse.stalled(Duration::from_secs(4)).is_empty());
    }
}
