//! How many requests may be begun to an endpoint now.
//!
//! Counted from the leases, like every limit. A rate is kept a little below what it says, and has
//! next to no burst: so that what leaves us in time cannot arrive too close together.

use std::time::Duration;

use super::{Health, State};
use crate::domain::limit::Rate;

/// The part of a rate that is used. The rest is for the unevenness of the way: at ten a second,
/// eleven requests have to come 36 ms closer than they left to be seen within a second.
const USED: f64 = 0.965;
/// Who comes this much too late for its time keeps its place; more is lost.
const LATE: Duration = Duration::from_millis(20);
/// No claim is worth making for room that comes within less than this: it would be made again and
/// again where many endpoints have a rate. Short of `LATE`, it costs no rate.
pub const SOON: Duration = Duration::from_millis(10);
/// What a sum of fractions loses.
const NEARLY_ONE: f64 = 1.0 - 1e-9;

/// How an endpoint stands at a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub state: State,
    pub concurrency: Option<u32>,
    pub rate: Option<Rate>,
    pub health: Health,
    /// How long nothing may be sent.
    pub held_for: Option<Duration>,
    /// Over the whole fleet.
    pub in_flight: u32,
    /// What is left of its rate, and since when.
    pub tokens: Option<(f64, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Room {
    Of(u32),
    /// Nothing until then.
    After(Duration),
    /// Nothing until something ends, or somebody changes something.
    None,
}

impl Standing {
    /// `slots` are those of whoever asks, of which `own` are at this endpoint already. `is_alone`:
    /// no other endpoint has anything to do, and it is for whoever asks to say how much is claimed
    /// ahead of the slots.
    pub fn room(&self, slots: u32, own: u32, is_alone: bool) -> Room {
        if self.state != State::Enabled {
            return Room::None;
        }
        if let Some(held) = self.held_for.filter(|held| !held.is_zero()) {
            return Room::After(held);
        }
        // An open breaker whose time is up lets one through.
        let window = if self.health.is_open() { 1 } else { whole(self.health.window).max(1) };
        let most = window.min(self.concurrency.unwrap_or(u32::MAX));
        let room = most
            .saturating_sub(self.in_flight)
            .min(share(slots, self.health.slow, is_alone).saturating_sub(own));
        if room == 0 {
            return Room::None;
        }
        let Some(per_sec) = self.per_sec() else { return Room::Of(room) };
        let left = self.left(per_sec);
        if left < NEARLY_ONE {
            return Room::After(Duration::from_secs_f64((1.0 - left) / per_sec));
        }
        Room::Of(room.min(whole(left + 1e-9)))
    }

    /// How long until it takes another request once `begun` requests were begun, if a hold or its
    /// rate keeps it from that now; `None` if it takes one at once, or time alone changes nothing.
    pub fn wait(&self, begun: u32) -> Option<Duration> {
        let tokens = self.spent(begun).map(|left| (left, Duration::ZERO));
        match (Self { tokens, in_flight: 0, ..self.clone() }).room(1, 0, true) {
            Room::After(wait) => Some(wait),
            Room::Of(_) | Room::None => None,
        }
    }

    /// What is left of its rate once `begun` requests were begun; `None` if it has no rate.
    pub fn spent(&self, begun: u32) -> Option<f64> {
        let left = self.left(self.per_sec()?);
        Some((left - f64::from(begun)).max(0.0))
    }

    /// Requests a second.
    fn per_sec(&self) -> Option<f64> {
        let given =
            self.rate.map(|rate| USED * f64::from(rate.count) / rate.per.as_secs_f64().max(1e-3));
        match (given, self.health.pace) {
            (Some(given), Some(pace)) => Some(given.min(pace)),
            (given, pace) => given.or(pace),
        }
    }

    fn left(&self, per_sec: f64) -> f64 {
        let full = 1.0 + per_sec * LATE.as_secs_f64();
        self.tokens.map_or(full, |(tokens, age)| (tokens + age.as_secs_f64() * per_sec).min(full))
    }
}

/// The most that one holder has of one endpoint: a part of its slots, unless nobody else needs any.
fn share(slots: u32, slow: bool, is_alone: bool) -> u32 {
    match (slow, is_alone) {
        (true, _) => (slots / 8).max(2).min(slots).max(1),
        (false, true) => u32::MAX,
        (false, false) => (slots / 2).max(1),
    }
}

fn whole(number: f64) -> u32 {
    // Saturates.
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        Standing {
            state: State::Enabled,
            concurrency: None,
            rate: None,
            health: Health { window: 1024.0, ..Health::default() },
            held_for: None,
            in_flight: 0,
            tokens: None,
        }
    }

    #[test]
    fn an_endpoint_has_at_most_half_the_slots_unless_it_is_alone() {
        assert_eq!(standing().room(10, 0, false), Room::Of(5));
        assert_eq!(standing().room(10, 30, true), Room::Of(1024));
        assert_eq!(standing().room(10, 4, false), Room::Of(1));
        assert_eq!(standing().room(1, 0, false), Room::Of(1));
        assert_eq!(Standing { in_flight: 1020, ..standing() }.room(10, 1020, true), Room::Of(4));
        let slow = Health { slow: true, ..standing().health };
        assert_eq!(Standing { health: slow, ..standing() }.room(10, 0, true), Room::Of(2));
    }

    #[test]
    fn its_own_concurrency_is_kept_over_the_fleet() {
        let own = Standing { concurrency: Some(3), in_flight: 2, ..standing() };

        assert_eq!(own.room(10, 0, true), Room::Of(1));
        assert_eq!(Standing { in_flight: 3, ..own }.room(10, 0, true), Room::None);
    }

    #[test]
    fn nothing_is_sent_to_who_is_disabled_or_held() {
        let held_for = Some(Duration::from_secs(3));

        let held = Standing { held_for, ..standing() };
        assert_eq!(held.room(10, 0, true), Room::After(Duration::from_secs(3)));
        let disabled = Standing { state: State::AutoDisabled, ..held };
        assert_eq!(disabled.room(10, 0, true), Room::None);
    }

    #[test]
    fn an_open_breaker_lets_one_through() {
        let health = Health { opened: 3, ..Health::default() };
        let open = Standing { health, ..standing() };

        assert_eq!(open.room(10, 0, true), Room::Of(1));
        assert_eq!(Standing { in_flight: 1, ..open }.room(10, 0, true), Room::None);
    }

    /// Requests begun at these milliseconds by claimants that are up to `late` ms late.
    fn begun_at(rate: Rate, late: u64, secs: u64) -> Vec<u64> {
        let mut at = Standing { rate: Some(rate), ..standing() };
        let (mut now, mut written, mut begun) = (0u64, 0u64, Vec::new());
        let mut lot = 7u64;
        while now < secs * 1000 {
            at.tokens = at.tokens.map(|(tokens, _)| (tokens, Duration::from_millis(now - written)));
            let wait = match at.room(1000, 0, true) {
                Room::Of(room) => {
                    begun.extend((0..room).map(|_| now));
                    at.tokens = at.spent(room).map(|tokens| (tokens, Duration::ZERO));
                    written = now;
                    1
                }
                Room::After(wait) => u64::try_from(wait.as_millis()).unwrap() + 1,
                Room::None => panic!("there is always room"),
            };
            lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            now += wait + (lot >> 33) % (late + 1);
        }
        begun
    }

    #[test]
    fn a_rate_is_kept_in_every_second_and_used_all_the_time() {
        for count in [1u32, 10, 100, 1000] {
            let rate = Rate { count, per: Duration::from_secs(1) };
            for late in [0, 5, 15] {
                let begun = begun_at(rate, late, 60);

                let most = (0..59_000u64)
                    .map(|from| {
                        let first = begun.partition_point(|at| *at < from);
                        begun.partition_point(|at| *at < from + 1000) - first
                    })
                    .max()
                    .unwrap();
                assert!(most <= count as usize, "{most} within a second at {count}, late {late}");
                let mean = begun.len() as f64 / 60.0;
                assert!(0.95 * f64::from(count) <= mean, "{mean} a second at {count}, {late}");
            }
        }
    }
}
