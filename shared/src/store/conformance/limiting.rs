//! How much may run at once and how often.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{scheduling::costly, *};
use crate::domain::{
    limit::{By, Rate},
    task::Operation,
};

pub(super) fn limit(name: &str, by: By, concurrency: u32) -> Limit {
    Limit {
        name: name.to_owned(),
        lane: Some(Lane::Tasks),
        by,
        value: None,
        concurrency: Some(concurrency),
        rate: None,
    }
}

pub(super) fn gate(name: &str, value: &str) -> Gate {
    Gate::Limit { name: name.to_owned(), value: value.to_owned() }
}

pub(super) async fn put(store: &dyn Ageing, limit: &Limit) {
    store.put_limit(limit, "test").await.unwrap();
}

pub(super) async fn busy<'a>(store: &'a dyn Ageing, tenant: &str, many: usize) -> Scene<'a> {
    costly(store, tenant, Brief::of("a to-do list"), &vec![1; many]).await
}

/// What many claimants at once get out of the lane of tasks, until it is dry.
pub(super) async fn claimed_by_many(store: &dyn Ageing) -> Vec<TaskClaim> {
    let drain = async || {
        let ask = ask(4);
        let mut got = Vec::new();
        loop {
            let claims = store.claim_tasks(&ask).await.unwrap();
            if claims.is_empty() {
                return got;
            }
            got.extend(claims);
        }
    };
    let mut all: Vec<_> = join_all((0..6).map(|_| drain())).await.into_iter().flatten().collect();
    // One that looked while another one wrote may have found the lane dry.
    all.extend(drain().await);
    all
}

fn counted(claims: &[TaskClaim], of: impl Fn(&TaskClaim) -> String) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for claim in claims {
        *counts.entry(of(claim)).or_default() += 1;
    }
    counts
}

pub async fn a_store_comes_with_the_limits_of_the_requirements(store: &dyn Ageing) {
    let limits = store.limits().await.unwrap();

    let per = secs(1);
    let of = |lane: Lane, concurrency, rate| Limit {
        lane: Some(lane),
        rate,
        ..limit(lane.as_str(), By::All, concurrency)
    };
    assert_eq!(
        limits,
        [
            of(Lane::Deliveries, 10, Some(Rate { count: 20, per })),
            of(Lane::Plans, 2, None),
            of(Lane::Tasks, 5, None),
        ]
    );
    for _ in 0..3 {
        submitted(store).await;
    }
    assert_eq!(store.claim_builds(&ask(9)).await.unwrap().len(), 2);
}

pub async fn a_limit_of_a_lane_holds_and_frees(store: &dyn Ageing) {
    put(store, &limit("lane", By::All, 3)).await;
    let scene = busy(store, TENANT, 12).await;
    let doomed = busy(store, "other", 4).await;

    let claims = claimed_by_many(store).await;

    assert_eq!(claims.len(), 3);
    // By a settle,
    let own: Vec<_> = claims.iter().filter(|claim| claim.build == scene.build).collect();
    scene.settle(own[0], wrote("t.txt", "x")).await.unwrap();
    assert_eq!(claimed_by_many(store).await.len(), 1);
    // by a cancel,
    let others = claims.iter().filter(|claim| claim.build == doomed.build).count();
    store.cancel_build(doomed.build).await.unwrap();
    let again = claimed_by_many(store).await;
    assert!(others <= again.len() && again.len() <= others + 1, "{others} {}", again.len());
    // and by the loss of a lease.
    store.lapse_all().await.unwrap();
    let lapsed = store.lapsed(10).await.unwrap();
    assert_eq!(lapsed.len(), 3);
    assert_eq!(claimed_by_many(store).await.len(), 0);
    store.settle_lost(lapsed[0], &Policy::WORK, Jitter::NONE).await.unwrap();
    assert_eq!(claimed_by_many(store).await.len(), 1);
}

pub async fn a_limit_of_each_tenant_leaves_room_for_others(store: &dyn Ageing) {
    put(store, &limit("each", By::Tenant, 2)).await;
    for tenant in ["a", "b", "c"] {
        busy(store, tenant, 5).await;
    }

    let claims = claimed_by_many(store).await;

    let counts = counted(&claims, |claim| claim.build.to_string());
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [2, 2, 2]);
}

pub async fn a_limit_of_one_tenant_is_of_no_other(store: &dyn Ageing) {
    let value = Some("a".to_owned());
    put(store, &Limit { value, ..limit("one", By::Tenant, 2) }).await;
    let a = busy(store, "a", 5).await;
    let b = busy(store, "b", 5).await;

    let claims = claimed_by_many(store).await;

    let counts = counted(&claims, |claim| claim.build.to_string());
    assert_eq!(counts, BTreeMap::from([(a.build.to_string(), 2), (b.build.to_string(), 5)]));
}

pub async fn a_limit_of_each_kind_counts_operations(store: &dyn Ageing) {
    put(store, &limit("kinds", By::Kind, 2)).await;
    let build = submitted(store).await;
    let claim = claimed(store, build).await;
    let mut draft = Draft::of("a, b, c, d, e, f, g");
    for task in &mut draft.tasks[..4] {
        task.operation = Operation::InstallDeps;
    }
    let plan = draft.into_plan().unwrap();
    store.adopt_plan(&claim, &plan, Adoption::AtOnce { plan: draw::id() }).await.unwrap();

    let claims = claimed_by_many(store).await;

    let counts = counted(&claims, |claim| claim.operation.to_string());
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [2, 2]);
}

pub async fn a_limit_of_each_key_counts_builds_together(store: &dyn Ageing) {
    put(store, &limit("keys", By::Key, 3)).await;
    let keyed = |key: &str| Brief { limit_key: Some(key.to_owned()), ..Brief::of("a list") };
    let mut shared = Vec::new();
    for tenant in ["a", "b"] {
        shared.push(costly(store, tenant, keyed("shared"), &[1; 4]).await.build);
    }
    let own = costly(store, "a", keyed("own"), &[1; 4]).await.build;
    let free = busy(store, "a", 4).await.build;

    let claims = claimed_by_many(store).await;

    let of = |build| claims.iter().filter(|claim| claim.build == build).count();
    assert_eq!(of(shared[0]) + of(shared[1]), 3);
    assert_eq!((of(own), of(free)), (3, 4));
}

pub async fn limits_of_all_kinds_hold_together(store: &dyn Ageing) {
    put(store, &limit("lane", By::All, 5)).await;
    put(store, &limit("each", By::Tenant, 2)).await;
    let value = Some("c".to_owned());
    put(store, &Limit { value, ..limit("one", By::Tenant, 0) }).await;
    for tenant in ["a", "b", "c", "d"] {
        busy(store, tenant, 5).await;
    }

    let claims = claimed_by_many(store).await;

    let counts = counted(&claims, |claim| claim.build.to_string());
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 2]);
}

pub async fn a_limit_may_count_all_lanes_together(store: &dyn Ageing) {
    put(store, &Limit { lane: None, ..limit("all", By::All, 3) }).await;
    let scene = busy(store, TENANT, 3).await;
    submitted(store).await;
    submitted(store).await;
    let running = store.claim_tasks(&ask(2)).await.unwrap();

    let planning = store.claim_builds(&ask(9)).await.unwrap();

    assert_eq!((running.len(), planning.len()), (2, 1));
    assert_eq!(store.claim_tasks(&ask(9)).await.unwrap(), []);
    rung(store).await;
    scene.settle(&running[0], wrote("t.txt", "x")).await.unwrap();
    assert!(heard(store).await.iter().any(|job| job.lane() == Lane::Plans));
    assert_eq!(store.claim_builds(&ask(9)).await.unwrap().len(), 1);
}

pub async fn costs_count_under_a_limit(store: &dyn Ageing) {
    put(store, &limit("lane", By::All, 4)).await;
    let scene = costly(store, TENANT, Brief::of("a list"), &[3, 3, 9, 1]).await;
    let next = async || store.claim_tasks(&ask(20)).await.unwrap();

    let first = next().await;
    assert_eq!(first.iter().map(|claim| claim.cost).collect::<Vec<_>>(), [3]);
    // Nothing cheap overtakes what waits for room.
    assert_eq!(next().await, []);
    scene.settle(&first[0], wrote("t.txt", "x")).await.unwrap();
    let second = next().await;
    assert_eq!(second.iter().map(|claim| claim.cost).collect::<Vec<_>>(), [3]);
    scene.settle(&second[0], wrote("t.txt", "x")).await.unwrap();
    // What costs more than the limit runs alone.
    let third = next().await;
    assert_eq!(third.iter().map(|claim| claim.cost).collect::<Vec<_>>(), [9]);
    scene.settle(&third[0], wrote("t.txt", "x")).await.unwrap();
    assert_eq!(next().await.len(), 1);
}

pub async fn work_over_a_limit_is_parked_and_comes_when_there_is_room(store: &dyn Ageing) {
    put(store, &limit("each", By::Tenant, 1)).await;
    let scene = busy(store, TENANT, 3).await;
    let first = store.claim_tasks(&ask(9)).await.unwrap();
    rung(store).await;

    let tasks = store.tasks(scene.build).await.unwrap();

    assert_eq!(first.len(), 1);
    let parked: Vec<_> = tasks.iter().map(|task| task.parked_on.clone()).collect();
    assert_eq!(parked, [None, Some(gate("each", TENANT)), Some(gate("each", TENANT))]);
    let lane = store.lanes().await.unwrap()[1];
    assert_eq!((lane.waiting, lane.running), (2, 1));
    scene.settle(&first[0], wrote("t0.txt", "x")).await.unwrap();
    // Whoever sleeps is woken, since nothing else became claimable.
    assert!(heard(store).await.iter().all(|job| job.lane() == Lane::Tasks));
    let next = store.claim_tasks(&ask(9)).await.unwrap();
    assert_eq!(next.iter().map(|claim| claim.task).collect::<Vec<_>>(), [scene.task("t1")]);
    scene.settle(&next[0], wrote("t1.txt", "x")).await.unwrap();
    let last = store.claim_tasks(&ask(9)).await.unwrap();
    scene.settle(&last[0], wrote("t2.txt", "x")).await.unwrap();
    assert_eq!(scene.build_state().await, build::State::Completed);
}

pub async fn what_another_limit_stops_does_not_stop_the_rest(store: &dyn Ageing) {
    put(store, &limit("each", By::Tenant, 1)).await;
    let build = submitted(store).await;
    let claim = claimed(store, build).await;
    let mut draft = Draft::of("first, stopped, stopped_too, free");
    for task in &mut draft.tasks[1..3] {
        task.operation = Operation::InstallDeps;
    }
    let plan = draft.into_plan().unwrap();
    store.adopt_plan(&claim, &plan, Adoption::AtOnce { plan: draw::id() }).await.unwrap();
    let scene = Scene::of(store, store.build(build).await.unwrap()).await;
    let first = store.claim_tasks(&ask(9)).await.unwrap();
    let value = Some(Operation::InstallDeps.to_string());
    put(store, &Limit { value, ..limit("kind", By::Kind, 0) }).await;
    scene.settle(&first[0], wrote("first.txt", "x")).await.unwrap();

    let next = store.claim_tasks(&ask(9)).await.unwrap();

    assert_eq!(next.iter().map(|claim| claim.key.as_str()).collect::<Vec<_>>(), ["free"]);
    let stopped = store.task(scene.task("stopped")).await.unwrap();
    assert_eq!(stopped.parked_on, Some(gate("kind", "install_deps")));
}

pub async fn a_settle_rings_where_work_is_parked(store: &dyn Ageing) {
    put(store, &limit("each", By::Tenant, 1)).await;
    let scene = busy(store, TENANT, 3).await;
    let first = store.claim_tasks(&ask(9)).await.unwrap();
    rung(store).await;

    scene.settle(&first[0], wrote("t0.txt", "x")).await.unwrap();

    assert!(!heard(store).await.is_empty());
    let second = store.claim_tasks(&ask(9)).await.unwrap();
    rung(store).await;
    store.lapse_all().await.unwrap();
    store.settle_lost(second[0].fence(), &Policy::WORK, Jitter::NONE).await.unwrap();
    assert!(!heard(store).await.is_empty());
}

pub async fn a_rate_lets_a_burst_begin_and_then_one_at_a_time(store: &dyn Ageing) {
    let rate = Some(Rate { count: 5, per: secs(100) });
    put(store, &Limit { concurrency: None, rate, ..limit("pace", By::All, 0) }).await;
    busy(store, TENANT, 14).await;

    let burst = claimed_by_many(store).await;

    assert_eq!(burst.len(), 5);
    let wait = store.next_due(Lane::Tasks).await.unwrap().unwrap();
    assert!(secs(15) < wait && wait <= secs(21), "{wait:?}");
    store.age(secs(22)).await;
    assert_eq!(claimed_by_many(store).await.len(), 1);
    store.age(HOUR).await;
    assert_eq!(claimed_by_many(store).await.len(), 5);
    store.age(secs(43)).await;
    assert_eq!(claimed_by_many(store).await.len(), 2);
}

pub async fn a_rate_of_each_tenant_delays_no_other(store: &dyn Ageing) {
    let rate = Some(Rate { count: 2, per: secs(100) });
    put(store, &Limit { concurrency: None, rate, ..limit("pace", By::Tenant, 0) }).await;
    let a = busy(store, "a", 10).await;
    let b = busy(store, "b", 3).await;

    let claims = claimed_by_many(store).await;

    let counts = counted(&claims, |claim| claim.build.to_string());
    assert_eq!(counts, BTreeMap::from([(a.build.to_string(), 2), (b.build.to_string(), 2)]));
    store.age(secs(51)).await;
    assert_eq!(claimed_by_many(store).await.len(), 2);
}

pub async fn plans_and_deliveries_have_limits_too(store: &dyn Ageing) {
    let of = |name, lane, by| Limit { lane: Some(lane), ..limit(name, by, 1) };
    let mut builds = Vec::new();
    for tenant in ["a", "b"] {
        for _ in 0..2 {
            let webhook = Some(endpoint(&[]));
            let tenant = tenant.to_owned();
            let new = NewBuild { webhook, tenant, ..new_build(Brief::of("a list")) };
            builds.push(store.submit(new).await.unwrap().build().id);
        }
    }
    put(store, &of("planners", Lane::Plans, By::Tenant)).await;
    assert_eq!(store.claim_builds(&ask(9)).await.unwrap().len(), 2);
    store.remove_limit("planners", "test").await.unwrap();
    assert_eq!(store.claim_builds(&ask(9)).await.unwrap().len(), 2);

    // All four have told that they started, each to an endpoint of its own.
    put(store, &of("endpoints", Lane::Deliveries, By::Key)).await;
    put(store, &of("kinds", Lane::Deliveries, By::Kind)).await;
    let first = store.claim_deliveries(&ask(9)).await.unwrap();
    assert_eq!(first.len(), 1);
    store.remove_limit("kinds", "test").await.unwrap();
    assert_eq!(store.claim_deliveries(&ask(9)).await.unwrap().len(), 3);
}

pub async fn a_limit_that_is_changed_holds_from_the_next_claim(store: &dyn Ageing) {
    put(store, &limit("lane", By::All, 1)).await;
    let scene = busy(store, TENANT, 12).await;
    assert_eq!(claimed_by_many(store).await.len(), 1);

    put(store, &limit("lane", By::All, 4)).await;
    let more = claimed_by_many(store).await;
    put(store, &limit("lane", By::All, 2)).await;
    assert_eq!(claimed_by_many(store).await.len(), 0);
    for claim in &more[..2] {
        scene.settle(claim, wrote(&format!("{}.txt", claim.key), "x")).await.unwrap();
        assert_eq!(claimed_by_many(store).await.len(), 0);
    }
    scene.settle(&more[2], wrote("t.txt", "x")).await.unwrap();
    assert_eq!(claimed_by_many(store).await.len(), 1);

    assert_eq!(more.len(), 3);
    store.remove_limit("lane", "test").await.unwrap();
    assert_eq!(claimed_by_many(store).await.len(), 7);
    assert_not_found(store.remove_limit("lane", "test").await);
}

pub async fn a_rate_that_is_taken_away_delays_nothing_more(store: &dyn Ageing) {
    let rate = Some(Rate { count: 1, per: HOUR });
    let pace = Limit { concurrency: None, rate, ..limit("pace", By::Tenant, 0) };
    put(store, &pace).await;
    busy(store, TENANT, 5).await;
    assert_eq!(claimed_by_many(store).await.len(), 1);

    let rate = Some(Rate { count: 3, per: HOUR });
    put(store, &Limit { rate, ..pace.clone() }).await;
    let quicker = claimed_by_many(store).await.len();
    store.remove_limit("pace", "test").await.unwrap();

    assert!(quicker <= 3, "{quicker}");
    assert_eq!(claimed_by_many(store).await.len(), 4 - quicker);
}

pub async fn limits_are_listed_as_they_are(store: &dyn Ageing) {
    let rate = Some(Rate { count: 7, per: Duration::from_millis(1500) });
    let all = Limit { lane: None, rate, ..limit("all", By::All, 9) };
    let value = Some("a b".to_owned());
    let one = Limit { value, ..limit("one", By::Key, 0) };

    put(store, &one).await;
    put(store, &limit("all", By::Kind, 1)).await;
    put(store, &all).await;

    assert_eq!(store.limits().await.unwrap(), [all, one]);
}
