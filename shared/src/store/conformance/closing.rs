//! Nobody waits for work that was taken away before anybody claimed it.

use super::{
    limiting::{limit, put},
    scheduling::{brief_of, busy, shares},
    *,
};
use crate::domain::{brief::OnTaskFailure, limit::By};

/// Asserts that of two builds of different tenants the first waits for two rounds at most, and that
/// neither gets more than the other by more than a task.
async fn assert_alike(store: &dyn Ageing, first: &Scene<'_>, other: &Scene<'_>) {
    let soon = shares(store, 4).await;
    assert!(soon.contains_key(&first.build), "{soon:?}");
    let next = shares(store, 20).await;
    for build in [first.build, other.build] {
        let share = next.get(&build).copied().unwrap_or(0);
        assert!((9..=11).contains(&share), "{next:?}");
    }
}

pub async fn whoever_cancels_waits_no_longer_for_it(store: &dyn Ageing) {
    let other = busy(store, "busy", brief_of(3), 300).await;
    let sorry = busy(store, "sorry", brief_of(3), 200).await;
    assert_eq!(shares(store, 20).await.len(), 2);

    store.cancel_build(sorry.build).await.unwrap();

    let again = busy(store, "sorry", brief_of(3), 30).await;
    assert_alike(store, &again, &other).await;
}

pub async fn work_behind_what_was_cancelled_moves_forward(store: &dyn Ageing) {
    let other = busy(store, "busy", brief_of(2), 300).await;
    let sorry = busy(store, "sorry", brief_of(2), 200).await;
    let behind = busy(store, "sorry", brief_of(2), 20).await;
    assert_eq!(shares(store, 20).await.len(), 2);

    store.cancel_build(sorry.build).await.unwrap();

    assert_alike(store, &behind, &other).await;
    // What comes next follows on the last that waits: neither before it nor far behind it.
    let next = busy(store, "sorry", brief_of(2), 30).await;
    let shares = shares(store, 16).await;
    assert!((7..=8).contains(&shares[&behind.build]), "{shares:?}");
    assert!((7..=8).contains(&shares[&other.build]), "{shares:?}");
    assert_alike(store, &next, &other).await;
}

pub async fn what_waits_parked_moves_forward_too(store: &dyn Ageing) {
    put(store, &limit("few", By::Tenant, 1)).await;
    let sorry = busy(store, "sorry", brief_of(3), 200).await;
    let behind = busy(store, "sorry", brief_of(3), 30).await;
    assert_eq!(shares(store, 100).await.len(), 1);

    store.cancel_build(sorry.build).await.unwrap();

    let other = busy(store, "busy", brief_of(3), 300).await;
    store.remove_limit("few", "test").await.unwrap();
    assert_alike(store, &behind, &other).await;
}

pub async fn a_great_deal_is_moved_forward_by_a_sweep(store: &dyn Ageing) {
    let other = busy(store, "busy", brief_of(3), 300).await;
    let sorry = busy(store, "sorry", brief_of(3), 200).await;
    // More than a store reads at once.
    let behind = busy(store, "sorry", brief_of(3), 10_500).await;

    store.cancel_build(sorry.build).await.unwrap();
    store.close_up(10).await.unwrap();

    assert_alike(store, &behind, &other).await;
    assert_eq!(store.close_up(10).await.unwrap(), 0);
    // The last of them has moved too, and what comes next follows on it.
    while !shares(store, 1_000).await.is_empty() {}
    let late = busy(store, "late", brief_of(3), 100).await;
    let next = busy(store, "sorry", brief_of(3), 30).await;
    assert_alike(store, &next, &late).await;
}

pub async fn a_build_that_fails_early_costs_its_tenant_no_turn(store: &dyn Ageing) {
    let other = busy(store, "busy", brief_of(3), 300).await;
    let fails_fast = Brief { on_task_failure: OnTaskFailure::FailFast, ..brief_of(3) };
    let sorry = busy(store, "sorry", fails_fast, 200).await;

    sorry.break_down("t7").await;

    assert_eq!(sorry.build_state().await, build::State::Failed);
    let again = busy(store, "sorry", brief_of(3), 30).await;
    assert_alike(store, &again, &other).await;
}

pub async fn tasks_taken_out_by_hand_cost_no_turn(store: &dyn Ageing) {
    let other = busy(store, "busy", brief_of(3), 300).await;
    let sorry = busy(store, "sorry", brief_of(3), 50).await;

    for index in 0..20 {
        let task = sorry.task(&format!("t{index}"));
        store.end_task(task, ByHand::Skip, "not needed").await.unwrap();
    }

    assert_alike(store, &sorry, &other).await;
}

pub async fn briefs_that_are_cancelled_cost_no_turn(store: &dyn Ageing) {
    let submit = async |tenant: &str| {
        let new = NewBuild { tenant: tenant.to_owned(), ..new_build(brief_of(3)) };
        store.submit(new).await.unwrap().build().id
    };
    let mut sorry = Vec::new();
    for _ in 0..20 {
        submit("busy").await;
        sorry.push(submit("sorry").await);
    }
    for build in sorry {
        store.cancel_build(build).await.unwrap();
    }

    let again = submit("sorry").await;

    let claims = store.claim_builds(&ask(4)).await.unwrap();
    assert!(claims.iter().any(|claim| claim.build == again));
}
