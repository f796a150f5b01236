//! Whose turn it is: one number for each piece of work, and the smallest goes first.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): a lane has a virtual time, the
//! start tag of whatever was claimed last. Work of a flow, which is a tenant at a priority, gets
//! the tags that follow on one another in steps of its cost divided by the tenant's weight, and
//! none lies before the virtual time. So a flow that was idle goes next, however much others have
//! waiting, and flows that are busy share by their weights. Costs one number per flow.
//!
//! A priority below the first puts work back by a number of rounds, and not more: as the virtual
//! time goes on, whatever waits comes to the front. That is its ageing.
//!
//! Tags are given when work becomes ready, and some are never used: a build is cancelled, or fails,
//! with work waiting. Without more, what the tenant does next would stand as many rounds behind as
//! it had waiting, punished for what nobody did for it. So a flow out of which work has gone
//! unclaimed is closed up: what still waits in it moves forward, and so does what comes next.

/// How many rounds each priority below the first waits longer than the one above it. In a round,
/// every busy flow of weight 1 has work of cost 1 claimed once.
pub const ROUNDS_BETWEEN: f64 = 1000.0;

/// The weight of a tenant that nobody gave another.
pub const WEIGHT: f64 = 1.0;
pub const WEIGHT_MIN: f64 = 0.01;
pub const WEIGHT_MAX: f64 = 1000.0;

/// The start tags of work that enters a lane together, and the finish tag of the last of them,
/// which is what the flow's next work follows on. `last` is what the flow had before; 0 if it is
/// new.
pub fn tags(virtual_time: f64, last: f64, weight: f64, costs: &[u32]) -> (Vec<f64>, f64) {
    let mut next = virtual_time.max(last);
    let tags = costs
        .iter()
        .map(|&cost| {
            let start = next;
            next += f64::from(cost.max(1)) / weight.clamp(WEIGHT_MIN, WEIGHT_MAX);
            start
        })
        .collect();
    (tags, next)
}

/// Where work with a start tag stands in its lane.
pub fn rank(tag: f64, priority: u8) -> f64 {
    tag + f64::from(priority.saturating_sub(1)) * ROUNDS_BETWEEN
}

/// The start tag of work that stands at `rank`.
pub fn tag(rank: f64, priority: u8) -> f64 {
    rank - f64::from(priority.saturating_sub(1)) * ROUNDS_BETWEEN
}

/// Start tags this near are the same: they went through a rank and back.
const NEARLY: f64 = 1e-6;

/// A flow that is being closed up: whatever waits in it is placed anew, in order of rank.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    /// Where what was placed ends; no earlier than the virtual time.
    end: f64,
    weight: f64,
}

impl Closing {
    pub fn of(virtual_time: f64, weight: f64) -> Self {
        Self { end: virtual_time, weight: weight.clamp(WEIGHT_MIN, WEIGHT_MAX) }
    }

    /// The start tag of what waits next: right behind what was placed before it, and never later
    /// than the one that it has. Who stands before the virtual time, as what was parked may, stays.
    pub fn place(&mut self, tag: f64, cost: u32) -> f64 {
        let placed = if tag <= self.end + NEARLY { tag } else { self.end };
        self.end = self.end.max(placed + f64::from(cost.max(1)) / self.weight);
        placed
    }

    /// What the flow's next work follows on, once everything was placed.
    pub const fn end(&self) -> f64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A lane on paper: flows, what waits, and the virtual time.
    #[derive(Default)]
    struct Paper {
        now: f64,
        last: BTreeMap<(&'static str, u8), f64>,
        waiting: Vec<(f64, u8, &'static str)>,
    }

    impl Paper {
        /// Takes away all that a tenant has waiting but the last few, and closes up.
        fn cancel(&mut self, tenant: &'static str, priority: u8, keep: usize) {
            let own = |other: &&'static str| *other == tenant;
            let goes = self.waiting.iter().filter(|(.., other)| own(other)).count() - keep;
            let mut gone = 0;
            self.waiting.retain(|(.., other)| {
                gone += usize::from(own(other) && gone < goes);
                !own(other) || goes <= gone
            });
            let mut closing = Closing::of(self.now, 1.0);
            for (at, ..) in self.waiting.iter_mut().filter(|(.., other)| own(other)) {
                *at = rank(closing.place(tag(*at, priority), 1), priority);
            }
            self.last.insert((tenant, priority), closing.end());
            self.waiting.sort_by(|a, b| a.0.total_cmp(&b.0));
        }

        fn add(&mut self, tenant: &'static str, priority: u8, weight: f64, many: usize) {
            let last = self.last.entry((tenant, priority)).or_default();
            let (tags, next) = tags(self.now, *last, weight, &vec![1; many]);
            *last = next;
            self.waiting.extend(tags.iter().map(|&tag| (rank(tag, priority), priority, tenant)));
            self.waiting.sort_by(|a, b| a.0.total_cmp(&b.0));
        }

        fn claim(&mut self, many: usize) -> Vec<&'static str> {
            let claimed: Vec<_> = self.waiting.drain(..many.min(self.waiting.len())).collect();
            for (rank, priority, _) in &claimed {
                self.now = self.now.max(tag(*rank, *priority));
            }
            claimed.into_iter().map(|(_, _, tenant)| tenant).collect()
        }
    }

    #[test]
    fn one_task_waits_two_rounds_at_most_behind_a_hundred_thousand() {
        let mut lane = Paper::default();
        lane.add("big", 3, 1.0, 100_000);
        lane.claim(40_000);

        lane.add("small", 3, 1.0, 1);

        assert!(lane.claim(3).contains(&"small"));
    }

    #[test]
    fn whoever_cancels_waits_no_longer_for_it() {
        let mut lane = Paper::default();
        lane.add("busy", 3, 1.0, 100_000);
        lane.add("sorry", 3, 1.0, 50_000);
        lane.claim(2_000);

        lane.cancel("sorry", 3, 0);
        lane.add("sorry", 3, 1.0, 1);

        assert!(lane.claim(3).contains(&"sorry"));
    }

    #[test]
    fn what_waits_behind_what_was_cancelled_moves_forward() {
        let mut lane = Paper::default();
        lane.add("busy", 3, 1.0, 100_000);
        lane.add("sorry", 3, 1.0, 50_000);
        lane.claim(2_000);

        lane.cancel("sorry", 3, 10);
        lane.add("sorry", 3, 1.0, 10);

        // Not more than its share, either.
        let claimed = lane.claim(40);
        let sorry = claimed.iter().filter(|tenant| **tenant == "sorry").count();
        assert!((19..=20).contains(&sorry), "{sorry}");
    }

    #[test]
    fn a_flow_without_a_gap_stays_as_it_is() {
        let mut closing = Closing::of(10.0, 2.0);

        // One was parked long ago, one costs more than the others.
        let placed = [(3.0, 1), (10.0, 4), (12.0, 1)].map(|(tag, cost)| closing.place(tag, cost));

        assert_eq!(placed, [3.0, 10.0, 12.0]);
        assert!((closing.end() - 12.5).abs() < 1e-9);
    }

    #[test]
    fn busy_tenants_share_by_their_weights() {
        let mut lane = Paper::default();
        lane.add("heavy", 3, 3.0, 1000);
        lane.add("light", 3, 1.0, 1000);

        let claimed = lane.claim(400);

        let heavy = claimed.iter().filter(|tenant| **tenant == "heavy").count();
        assert!((298..=302).contains(&heavy), "{heavy}");
    }

    #[test]
    fn idleness_is_not_saved_up() {
        let mut lane = Paper::default();
        lane.add("busy", 3, 1.0, 1000);
        lane.claim(500);
        lane.add("idle", 3, 1.0, 500);

        let claimed = lane.claim(200);

        let idle = claimed.iter().filter(|tenant| **tenant == "idle").count();
        assert!((98..=102).contains(&idle), "{idle}");
    }

    #[test]
    fn a_first_priority_goes_before_what_waits_and_a_last_one_still_comes() {
        let mut lane = Paper::default();
        lane.add("late", 5, 1.0, 1);
        lane.add("early", 1, 1.0, 10);
        assert_eq!(lane.claim(10), ["early"; 10]);

        let mut claimed = 0;
        loop {
            lane.add("early", 1, 1.0, 10);
            claimed += 10;
            if lane.claim(10).contains(&"late") {
                break;
            }
        }

        assert!(claimed <= 4 * 1000 + 20, "{claimed}");
    }
}
