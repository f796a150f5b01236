//! What holds of ranks and limits whatever is drawn.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    lane::Lane,
    limit::{Bucket, By, Entry, Gatekeeper, Limit, Rate, Running, Work},
    rank,
};

/// Work of a lane, as it waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    rank: f64,
    tenant: usize,
    cost: u32,
}

/// A lane on paper with one priority.
#[derive(Debug, Default)]
struct Paper {
    now: f64,
    last: BTreeMap<usize, f64>,
    waiting: Vec<Waiting>,
}

impl Paper {
    fn add(&mut self, tenant: usize, weight: f64, costs: &[u32]) {
        let last = self.last.entry(tenant).or_default();
        let (tags, next) = rank::tags(self.now, *last, weight, costs);
        *last = next;
        for (&tag, &cost) in tags.iter().zip(costs) {
            self.waiting.push(Waiting { rank: rank::rank(tag, 1), tenant, cost });
        }
    }

    fn claim(&mut self) -> Option<Waiting> {
        let next = (0..self.waiting.len())
            .min_by(|&a, &b| self.waiting[a].rank.total_cmp(&self.waiting[b].rank))?;
        let claimed = self.waiting.swap_remove(next);
        self.now = self.now.max(rank::tag(claimed.rank, 1));
        Some(claimed)
    }
}

const TENANTS: usize = 6;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A tenant that had nothing waiting is served before any other has been served more than two
    /// rounds: two pieces of work for each.
    #[test]
    fn who_comes_late_waits_two_rounds_at_most(
        crowds in prop::collection::vec(1usize..300, TENANTS),
        before in 0usize..400,
    ) {
        let mut lane = Paper::default();
        for (tenant, &crowd) in crowds.iter().enumerate() {
            lane.add(tenant, 1.0, &vec![1; crowd]);
        }
        for _ in 0..before {
            lane.claim();
        }
        lane.add(TENANTS, 1.0, &[1]);

        let mut served = BTreeMap::<usize, usize>::new();
        while let Some(claimed) = lane.claim() {
            if claimed.tenant == TENANTS {
                break;
            }
            *served.entry(claimed.tenant).or_default() += 1;
        }

        prop_assert!(served.values().all(|&count| count <= 2), "{served:?}");
    }

    /// While two tenants both have work waiting, neither gets more than its share, counted in cost
    /// by weight, beyond the largest piece of work of each.
    #[test]
    fn busy_tenants_share_by_weight_up_to_one_piece_of_work(
        weights in prop::collection::vec(0.25f64..8.0, 2),
        costs in prop::collection::vec((1u32..9, 1u32..9), 20..120),
    ) {
        let mut lane = Paper::default();
        let costs = [
            costs.iter().map(|pair| pair.0).collect::<Vec<_>>(),
            costs.iter().map(|pair| pair.1).collect(),
        ];
        for tenant in 0..2 {
            lane.add(tenant, weights[tenant], &costs[tenant]);
        }
        let slack: f64 =
            (0..2)
                .map(|tenant| f64::from(*costs[tenant].iter().max().unwrap()) / weights[tenant])
                .sum();

        let mut shares = [0.0; 2];
        let mut left = [costs[0].len(), costs[1].len()];
        while left.iter().all(|&left| 0 < left) {
            let claimed = lane.claim().unwrap();
            shares[claimed.tenant] += f64::from(claimed.cost) / weights[claimed.tenant];
            left[claimed.tenant] -= 1;
            prop_assert!((shares[0] - shares[1]).abs() <= slack + 1e-6, "{shares:?} {slack}");
        }
    }

    /// Whatever is added and claimed, the virtual time never goes back, and everything that waits
    /// is claimed once.
    #[test]
    fn a_lane_forgets_nothing_and_its_time_never_goes_back(
        steps in prop::collection::vec((0usize..TENANTS, 0u32..4, 0.1f64..10.0), 1..200),
    ) {
        let mut lane = Paper::default();
        let (mut added, mut claimed) = (0u32, 0u32);
        for (tenant, many, weight) in steps {
            let before = lane.now;
            if many == 0 {
                claimed += u32::from(lane.claim().is_some());
            } else {
                lane.add(tenant, weight, &vec![1; many as usize]);
                added += many;
            }
            prop_assert!(before <= lane.now);
        }
        while lane.claim().is_some() {
            claimed += 1;
        }
        prop_assert_eq!(added, claimed);
    }

    /// A better priority with the same tag goes first, and a worse one comes within a bounded
    /// number of rounds.
    #[test]
    fn a_priority_is_worth_a_fixed_number_of_rounds(tag in 0.0f64..1e9, priority in 1u8..5) {
        let (better, worse) = (rank::rank(tag, priority), rank::rank(tag, priority + 1));
        prop_assert!(better < worse);
        prop_assert!((worse - better - rank::ROUNDS_BETWEEN).abs() < 1e-3);
        prop_assert!((rank::tag(worse, priority + 1) - tag).abs() < 1e-3);
    }
}

const TENANT: [&str; 3] = ["a", "b", "c"];
const KIND: [&str; 2] = ["x", "y"];

prop_compose! {
    fn limits()(
        drawn in prop::collection::vec(
            (0usize..3, 0u32..6, prop::option::of((1u32..6, 1u64..5))),
            1..4,
        )
    ) -> Vec<Limit> {
        drawn
            .into_iter()
            .enumerate()
            .map(|(index, (by, concurrency, rate))| Limit {
                name: format!("limit-{index}"),
                lane: Some(Lane::Tasks),
                by: [By::All, By::Tenant, By::Kind][by],
                value: None,
                concurrency: Some(concurrency),
                rate: rate.map(|(count, secs)| Rate { count, per: Duration::from_secs(secs) }),
            })
            .collect()
    }
}

/// What a limit counts a piece of work under.
fn value<'a>(limit: &Limit, tenant: &'a str, kind: &'a str) -> &'a str {
    match limit.by {
        By::All | By::Key => "",
        By::Tenant => tenant,
        By::Kind => kind,
    }
}

/// Ends one piece of work that runs.
fn end_one(running: &mut Vec<Running>, lot: usize) {
    if !running.is_empty() {
        let at = lot % running.len();
        running.swap_remove(at);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Claims of random work under random limits, some of it ending in between: what runs is never
    /// more than a limit allows, unless it is one piece that costs more than all of it; and no
    /// bucket is ever below nothing or above full.
    #[test]
    fn no_limit_is_ever_exceeded(
        limits in limits(),
        steps in prop::collection::vec((0usize..3, 0usize..2, 1u32..4, 0u8..4, 0u64..900), 1..120),
    ) {
        let paused = BTreeSet::new();
        let mut running: Vec<Running> = Vec::new();
        let mut buckets: Vec<Bucket> = Vec::new();
        for (tenant, kind, cost, ending, passes_ms) in steps {
            for _ in 0..ending {
                end_one(&mut running, passes_ms as usize);
            }
            for bucket in &mut buckets {
                bucket.age += Duration::from_millis(passes_ms);
            }
            let mut gate =
                Gatekeeper::new(Lane::Tasks, &limits, &paused, &running, &buckets, 100, 100);
            let (tenant, kind) = (TENANT[tenant], KIND[kind]);
            let build = ulid::Ulid::nil().into();
            let entry = gate.judge(&Work { build, tenant, kind, key: None, cost });
            for drawn in gate.buckets() {
                let count = limits.iter().find(|limit| limit.name == drawn.limit).unwrap();
                let full = f64::from(count.rate.unwrap().count);
                prop_assert!((0.0..=full).contains(&drawn.tokens), "{drawn:?}");
                buckets.retain(|old| (&old.limit, &old.value) != (&drawn.limit, &drawn.value));
                buckets.push(drawn);
            }
            if entry == Entry::Admitted {
                let (tenant, kind) = (tenant.to_owned(), kind.to_owned());
                running.push(Running { lane: Lane::Tasks, tenant, kind, key: None, cost });
            }
            for limit in &limits {
                let mut used = BTreeMap::<&str, (u32, u32)>::new();
                for one in &running {
                    let used = used.entry(value(limit, &one.tenant, &one.kind)).or_default();
                    *used = (used.0 + one.cost, used.1 + 1);
                }
                let most = limit.concurrency.unwrap();
                for (cost, pieces) in used.into_values() {
                    let alone = pieces == 1 && 0 < most;
                    prop_assert!(cost <= most || alone, "{limit:?} {running:?}");
                }
            }
        }
    }

    /// However it is asked, a rate lets in no more than what a bucket holds and what has refilled.
    #[test]
    fn no_rate_is_ever_exceeded(
        count in 1u32..10,
        secs in 1u64..5,
        passes in prop::collection::vec(0u64..700, 1..150),
    ) {
        let rate = Rate { count, per: Duration::from_secs(secs) };
        let limits = [Limit {
            name: "pace".to_owned(),
            lane: Some(Lane::Tasks),
            by: By::All,
            value: None,
            concurrency: None,
            rate: Some(rate),
        }];
        let paused = BTreeSet::new();
        let mut buckets: Vec<Bucket> = Vec::new();
        let (mut admitted, mut passed) = (0u32, 0u64);
        for passes_ms in passes {
            passed += passes_ms;
            for bucket in &mut buckets {
                bucket.age += Duration::from_millis(passes_ms);
            }
            let mut gate = Gatekeeper::new(Lane::Tasks, &limits, &paused, &[], &buckets, 9, 9);
            let build = ulid::Ulid::nil().into();
            let work = Work { build, tenant: "a", kind: "x", key: None, cost: 1 };
            match gate.judge(&work) {
                Entry::Admitted => {
                    admitted += 1;
                    buckets = gate.buckets();
                }
                Entry::Delayed(wait) => prop_assert!(wait <= rate.per),
                other => prop_assert!(false, "{other:?}"),
            }
            let refilled = passed as f64 / 1000.0 * f64::from(count) / secs as f64;
            prop_assert!(f64::from(admitted) <= f64::from(count) + refilled + 1e-6);
        }
    }
}
