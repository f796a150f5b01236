//! How an endpoint fares, and what follows for what is sent to it.
//!
//! Four things are kept of it. A window: how many requests may be on their way, which grows while
//! answers come soon and shrinks when they do not. A pace: how many in a second, once it has said
//! that there are too many. A breaker: it opens when requests are lost on it one after the other,
//! and then one request at a time finds out whether that is over; meanwhile no delivery spends an
//! attempt. And how long nothing has arrived, which in the end disables it.
//!
//! Only what costs us something counts against window and breaker: a receiver that answers `500` at
//! once holds up nobody. Knows no instants: ages are told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{
    attempt::{Failure, FailureKind},
    exchange::Asked,
};

/// With what an endpoint begins that nobody knows yet.
pub const WINDOW_FIRST: f64 = 2.0;
pub const WINDOW_MAX: f64 = 1024.0;
/// An answer that takes this long, or longer, holds others up.
pub const SLOW: Duration = Duration::from_secs(1);

/// Requests that were lost before the breaker opens, and the share of all that they must be.
const LOST_MIN: f64 = 10.0;
const LOST_SHARE: f64 = 0.7;
/// What was counted is worth half after this.
const HALF_LIFE: Duration = Duration::from_secs(30);
const OPEN_FIRST: Duration = Duration::from_secs(10);
const OPEN_MAX: Duration = Duration::from_secs(300);

/// The pace after the first complaint, unless the endpoint has a rate of its own.
const PACE_FIRST: f64 = 10.0;
const PACE_MIN: f64 = 0.1;
/// A pace above this is none.
const PACE_MAX: f64 = 500.0;
/// What each answer without a complaint adds to the pace.
const PACE_STEP: f64 = 0.1;
/// Complaints within this are one complaint: they were on their way together.
const COMPLAINT: Duration = Duration::from_secs(1);

/// The longest that a receiver may ask for.
const ASKED_MAX: Duration = Duration::from_secs(24 * 3600);

/// An endpoint that nothing has reached for so long, with as many failures at least, is disabled.
pub const DISABLED_AFTER: Duration = Duration::from_secs(5 * 24 * 3600);
pub const DISABLED_AFTER_FAILURES: u32 = 20;
/// At which parts of that its owner is warned, in percent.
pub const WARNINGS: [u8; 3] = [50, 70, 90];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Requests that may be on their way at once.
    pub window: f64,
    /// Whether the newest answer took long.
    pub slow: bool,
    /// Requests in a second.
    pub pace: Option<f64>,
    /// Answers of late, fading.
    pub good: f64,
    /// Requests that were lost of late, fading.
    pub lost: f64,
    /// How often in a row the breaker has opened; 0 while it is closed.
    pub opened: u32,
    /// Failures since the last success.
    pub streak: u32,
    /// The last warning that was given, in percent.
    pub warned: u8,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            window: WINDOW_FIRST,
            slow: false,
            pace: None,
            good: 0.0,
            lost: 0.0,
            opened: 0,
            streak: 0,
            warned: 0,
        }
    }
}

/// What came of one request, as far as health goes.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub failure: Option<&'a Failure>,
    /// Whether the receiver answered at all.
    pub answered: bool,
    pub took: Duration,
    pub asked: &'a Asked,
}

/// What is known of the endpoint beside its health.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// Since the health was written.
    pub health: Duration,
    /// Since the first failure after the last success; `None` if there was none.
    pub failing: Option<Duration>,
    /// The rate that it was given, in requests a second.
    pub rate: Option<f64>,
}

/// What its owner is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// Nothing has arrived for this part of the time after which it is disabled.
    Failing {
        percent: u8,
    },
    Disabled {
        reason: String,
    },
    /// Something has arrived after a warning.
    Recovered,
}

/// What follows of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    /// Nothing is to be sent for so long.
    pub held_for: Option<Duration>,
    pub notices: Vec<Notice>,
    /// It is to be disabled, and why.
    pub disabled: Option<String>,
}

impl Health {
    /// Whether another answer like the last ones changes nothing, so that nothing need be written.
    pub fn is_at_rest(&self) -> bool {
        WINDOW_MAX <= self.window
            && !self.slow
            && self.pace.is_none()
            && self.lost < 0.05
            && self.opened == 0
            && self.streak == 0
            && self.warned == 0
    }

    pub const fn is_open(&self) -> bool {
        0 < self.opened
    }

    /// Takes in what came of a request.
    pub fn take_in(&mut self, seen: Seen<'_>, ages: Ages) -> Turn {
        let mut turn = Turn::default();
        let faded = 0.5f64.powf(ages.health.as_secs_f64() / HALF_LIFE.as_secs_f64());
        self.good *= faded;
        self.lost *= faded;
        match seen.failure.map(|failure| failure.kind) {
            // Its dispatcher died: nothing is known of the endpoint.
            Some(FailureKind::Lost) => return turn,
            Some(kind) => self.take_failure(kind, seen, &mut turn),
            None => self.take_success(seen, &mut turn),
        }
        if seen.asked.slow_down {
            let given = ages.rate.unwrap_or(f64::MAX);
            self.pace = Some(match self.pace {
                Some(pace) if ages.health < COMPLAINT => pace,
                Some(pace) => (pace / 2.0).max(PACE_MIN),
                None => (given / 2.0).min(PACE_FIRST),
            });
        } else if seen.answered {
            self.pace = self.pace.map(|pace| pace + PACE_STEP).filter(|pace| *pace <= PACE_MAX);
        }
        if let Some(asked) = seen.asked.retry_after {
            let asked = asked.min(ASKED_MAX);
            turn.held_for = Some(turn.held_for.map_or(asked, |held| held.max(asked)));
        }
        if let Some(reason) = &seen.asked.disable {
            turn.disabled = Some(reason.clone());
        } else if seen.failure.is_some() {
            self.warn(ages.failing.unwrap_or_default(), &mut turn);
        }
        if let Some(reason) = &turn.disabled {
            turn.notices.push(Notice::Disabled { reason: reason.clone() });
        }
        turn
    }

    fn take_success(&mut self, seen: Seen<'_>, turn: &mut Turn) {
        if 0 < self.warned {
            turn.notices.push(Notice::Recovered);
        }
        (self.streak, self.warned) = (0, 0);
        if 0 < self.opened {
            (self.opened, self.good, self.lost) = (0, 0.0, 0.0);
            self.window = WINDOW_FIRST;
        }
        self.take_answer(seen.took);
    }

    fn take_failure(&mut self, kind: FailureKind, seen: Seen<'_>, turn: &mut Turn) {
        self.streak = self.streak.saturating_add(1);
        if kind == FailureKind::Permanent {
            return;
        }
        if seen.answered && seen.took < SLOW {
            if 0 < self.opened {
                // It is there again, however little it likes what it gets.
                (self.opened, self.good, self.lost) = (0, 0.0, 0.0);
                self.window = WINDOW_FIRST;
            }
            if !seen.asked.slow_down {
                self.take_answer(seen.took);
            }
            return;
        }
        self.lost += 1.0;
        self.window = (self.window * 0.7).max(1.0);
        let is_lost = LOST_MIN <= self.lost && LOST_SHARE * (self.lost + self.good) <= self.lost;
        if 0 < self.opened || is_lost || LOST_MIN <= f64::from(self.streak) {
            let times = self.opened.min(16);
            self.opened = self.opened.saturating_add(1);
            turn.held_for = Some(OPEN_FIRST.saturating_mul(1 << times).min(OPEN_MAX));
        }
    }

    fn take_answer(&mut self, took: Duration) {
        self.slow = SLOW <= took;
        if 0.05 <= self.lost {
            self.good += 1.0;
        }
        self.window = if self.slow {
            (self.window * 0.9).max(WINDOW_FIRST)
        } else {
            (self.window + 1.0).min(WINDOW_MAX)
        };
    }

    fn warn(&mut self, failing: Duration, turn: &mut Turn) {
        let time = failing.as_secs_f64() / DISABLED_AFTER.as_secs_f64();
        let count = f64::from(self.streak) / f64::from(DISABLED_AFTER_FAILURES);
        let part = 100.0 * time.min(count);
        if 100.0 <= part {
            let hours = DISABLED_AFTER.as_secs() / 3600;
            turn.disabled = Some(format!("nothing has arrived for {hours} hours"));
            return;
        }
        let due = WARNINGS.into_iter().rfind(|warning| f64::from(*warning) <= part);
        if let Some(percent) = due.filter(|percent| self.warned < *percent) {
            self.warned = percent;
            turn.notices.push(Notice::Failing { percent });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Ages = Ages { health: Duration::from_millis(5), failing: None, rate: None };

    fn answer(health: &mut Health, millis: u64) -> Turn {
        let (took, asked) = (Duration::from_millis(millis), &Asked::default());
        health.take_in(Seen { failure: None, answered: true, took, asked }, SOON)
    }

    fn failure(health: &mut Health, answered: bool, asked: &Asked, ages: Ages) -> Turn {
        let failed = Failure::transient("flaky", "it did not work");
        let took = Duration::from_millis(if answered { 3 } else { 30_000 });
        health.take_in(Seen { failure: Some(&failed), answered, took, asked }, ages)
    }

    fn lose(health: &mut Health) -> Turn {
        failure(health, false, &Asked::default(), SOON)
    }

    #[test]
    fn an_endpoint_that_answers_soon_comes_to_rest() {
        let mut health = Health::default();
        for _ in 0..1022 {
            assert!(!health.is_at_rest());
            assert_eq!(answer(&mut health, 3), Turn::default());
        }
        assert!(health.is_at_rest());
    }

    #[test]
    fn a_black_hole_has_one_request_on_its_way_and_then_none() {
        let mut health = Health::default();
        for _ in 0..9 {
            assert_eq!(lose(&mut health).held_for, None);
        }
        assert!(health.window < 1.5);
        assert_eq!(lose(&mut health).held_for, Some(OPEN_FIRST));
        assert_eq!(lose(&mut health).held_for, Some(OPEN_FIRST * 2));
        for _ in 0..9 {
            lose(&mut health);
        }
        assert_eq!(lose(&mut health).held_for, Some(OPEN_MAX));
        answer(&mut health, 3);
        assert!(!health.is_open());
        assert!(lose(&mut health).held_for.is_none());
    }

    #[test]
    fn an_endpoint_that_refuses_at_once_is_not_held_up() {
        let mut health = Health::default();
        for _ in 0..100 {
            assert_eq!(failure(&mut health, true, &Asked::default(), SOON), Turn::default());
        }
        assert!(50.0 < health.window && !health.is_open());
    }

    #[test]
    fn answers_between_losses_keep_the_breaker_closed() {
        let mut health = Health::default();
        for _ in 0..200 {
            assert!(lose(&mut health).held_for.is_none());
            answer(&mut health, 3);
            answer(&mut health, 3);
        }
    }

    #[test]
    fn a_slow_endpoint_gets_no_more_requests_than_at_first() {
        let mut health = Health { window: 100.0, ..Health::default() };
        for _ in 0..60 {
            answer(&mut health, 29_000);
        }
        assert!(health.slow && health.window <= WINDOW_FIRST);
    }

    #[test]
    fn complaints_halve_the_pace_and_answers_raise_it() {
        let mut health = Health::default();
        let asked = Asked { slow_down: true, ..Asked::default() };
        let later = Ages { health: Duration::from_secs(2), ..SOON };
        failure(&mut health, true, &asked, later);
        failure(&mut health, true, &asked, SOON);
        assert_eq!(health.pace, Some(10.0));
        failure(&mut health, true, &asked, later);
        assert_eq!(health.pace, Some(5.0));
        for _ in 0..10 {
            answer(&mut health, 3);
        }
        assert!((health.pace.unwrap() - 6.0).abs() < 0.01);
        for _ in 0..5000 {
            answer(&mut health, 3);
        }
        assert_eq!(health.pace, None);
    }

    #[test]
    fn what_a_receiver_asks_for_holds_for_the_endpoint() {
        let wait = Duration::from_secs(20);
        let asked = Asked { retry_after: Some(wait), ..Asked::default() };

        let turn = failure(&mut Health::default(), true, &asked, SOON);

        assert_eq!(turn.held_for, Some(wait));
        let asked = Asked { disable: Some("it is gone".to_owned()), ..Asked::default() };
        let turn = failure(&mut Health::default(), true, &asked, SOON);
        assert_eq!(turn.disabled.as_deref(), Some("it is gone"));
    }

    #[test]
    fn its_owner_is_warned_and_then_it_is_disabled() {
        let mut health = Health { streak: 100, ..Health::default() };
        let mut told = Vec::new();
        for hours in 0..=120 {
            let failing = Some(Duration::from_secs(hours * 3600));
            let ages = Ages { failing, ..SOON };
            told.extend(failure(&mut health, true, &Asked::default(), ages).notices);
        }
        let reason = "nothing has arrived for 120 hours".to_owned();
        assert_eq!(
            told,
            [
                Notice::Failing { percent: 50 },
                Notice::Failing { percent: 70 },
                Notice::Failing { percent: 90 },
                Notice::Disabled { reason },
            ]
        );
        assert_eq!(answer(&mut health, 3).notices, [Notice::Recovered]);
    }

    #[test]
    fn few_failures_over_a_long_time_disable_nothing() {
        let mut health = Health::default();
        for _ in 0..9 {
            let ages = Ages { failing: Some(DISABLED_AFTER * 2), ..SOON };
            assert_eq!(failure(&mut health, true, &Asked::default(), ages), Turn::default());
        }
    }
}
