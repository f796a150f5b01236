//! The one retry law: what follows a failure, and after how long.
//!
//! Knows kinds, counts and a jitter; not what failed, and not what time it is.

use std::time::Duration;

use super::attempt::FailureKind;

/// What the domain decides of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Retry { after: Duration },
    GiveUp,
}

/// How often and how patiently a kind of work is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Attempts in all that may end in a failure, the first included. At least 1.
    pub failures_max: u32,
    /// Attempts in all that may be lost with their holder. Past it the work is taken for what kills
    /// its workers.
    pub crashes_max: u32,
    /// The wait before the first retry; it doubles with each further one.
    pub delay_min: Duration,
    /// The longest wait before jitter.
    pub delay_max: Duration,
}

impl Policy {
    /// Planning and tasks: three attempts from two seconds (S2-12).
    pub const WORK: Policy = Policy {
        failures_max: 3,
        crashes_max: 3,
        delay_min: Duration::from_secs(2),
        delay_max: Duration::from_secs(60),
    };

    /// Webhooks: five attempts, after 1, 2, 4 and 8 seconds (S2-49). A lost dispatcher is no fault
    /// of the receiver, so only its own failures count; the bound on crashes is for a request that
    /// kills dispatchers.
    pub const DELIVERY: Policy = Policy {
        failures_max: 5,
        crashes_max: 10,
        delay_min: Duration::from_secs(1),
        delay_max: Duration::from_secs(60),
    };

    /// The same for a fleet that is one process. Whoever ends that process, by hand or by the power
    /// switch, loses all it holds, so a loss says next to nothing about the work. The bound remains
    /// for work that ends its process whenever it is tried.
    #[must_use]
    pub const fn alone(self) -> Policy {
        Policy { crashes_max: 100, ..self }
    }

    /// Decides what follows a failure. `failures` and `crashes` count this one.
    pub fn judge(&self, kind: FailureKind, failures: u32, crashes: u32, jitter: Jitter) -> Verdict {
        match kind {
            FailureKind::Permanent => Verdict::GiveUp,
            FailureKind::Transient if self.failures_max <= failures => Verdict::GiveUp,
            FailureKind::Transient => Verdict::Retry { after: jitter.spread(self.delay(failures)) },
            FailureKind::Lost if self.crashes_max <= crashes => Verdict::GiveUp,
            // The lease was waited out already; more waiting would help nobody.
            FailureKind::Lost => Verdict::Retry { after: Duration::ZERO },
        }
    }

    fn delay(&self, failures: u32) -> Duration {
        // Sixteen doublings of a second are most of a day: past that only `delay_max` speaks.
        let doublings = failures.saturating_sub(1).min(16);
        self.delay_min.saturating_mul(1 << doublings).min(self.delay_max)
    }
}

/// A lot drawn between 0 and 1, so that what failed together is not retried together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// In the middle: the delay as it stands.
    pub const NONE: Jitter = Jitter(0.5);

    /// Takes a lot; what is outside 0..=1 is brought to its nearer end.
    pub fn new(lot: f64) -> Self {
        Self(lot.clamp(0.0, 1.0))
    }

    /// The delay, moved by at most a fifth either way.
    pub(super) fn spread(self, delay: Duration) -> Duration {
        delay.mul_f64(0.8 + 0.4 * self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_transient_failure_is_retried_after_a_doubling_delay() {
        let after = |failures| match Policy::DELIVERY.judge(
            FailureKind::Transient,
            failures,
            0,
            Jitter::NONE,
        ) {
            Verdict::Retry { after } => Some(after.as_secs()),
            Verdict::GiveUp => None,
        };

        let delays: Vec<_> = (1..=5).map(after).collect();

        assert_eq!(delays, [Some(1), Some(2), Some(4), Some(8), None]);
    }

    #[test]
    fn a_permanent_failure_is_never_retried() {
        let verdict = Policy::WORK.judge(FailureKind::Permanent, 1, 0, Jitter::NONE);

        assert_eq!(verdict, Verdict::GiveUp);
    }

    #[test]
    fn work_that_loses_its_workers_three_times_is_given_up() {
        let judge = |crashes| Policy::WORK.judge(FailureKind::Lost, 0, crashes, Jitter::NONE);

        assert_eq!(judge(1), Verdict::Retry { after: Duration::ZERO });
        assert_eq!(judge(2), Verdict::Retry { after: Duration::ZERO });
        assert_eq!(judge(3), Verdict::GiveUp);
    }

    #[test]
    fn one_process_may_be_killed_far_more_often_but_not_for_ever() {
        let policy = Policy::WORK.alone();
        let judge = |crashes| policy.judge(FailureKind::Lost, 0, crashes, Jitter::NONE);

        assert_eq!(judge(99), Verdict::Retry { after: Duration::ZERO });
        assert_eq!(judge(100), Verdict::GiveUp);
    }

    proptest! {
        #[test]
        fn jitter_moves_a_delay_by_at_most_a_fifth(lot in -2.0..2.0f64, failures in 1u32..200) {
            let policy = Policy { failures_max: u32::MAX, ..Policy::WORK };

            let verdict = policy.judge(FailureKind::Transient, failures, 0, Jitter::new(lot));

            let Verdict::Retry { after } = verdict else { panic!("given up") };
            let delay = policy.delay(failures);
            prop_assert!(delay.mul_f64(0.799) <= after && after <= delay.mul_f64(1.201));
        }
    }
}
