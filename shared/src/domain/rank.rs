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
