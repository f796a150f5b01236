//! What is paused, and what was changed by hand.

use super::{
    limiting::{busy, claimed_by_many, gate, limit},
    *,
};
use crate::domain::limit::{By, Rate};

pub async fn what_is_paused_is_not_claimed_and_what_runs_goes_on(store: &dyn Ageing) {
    let a = busy(store, "a", 3).await;
    let b = busy(store, "b", 3).await;
    let c = busy(store, "c", 3).await;
    let running = a.claim("t0").await;
    store.pause(&Gate::Tenant("a".to_owned()), "test").await.unwrap();
    store.pause(&Gate::Build(b.build), "test").await.unwrap();

    let claims = claimed_by_many(store).await;

    assert!(claims.iter().all(|claim| claim.build == c.build));
    assert_eq!(claims.len(), 3);
    let parked =
        async |scene: &Scene<'_>| store.task(scene.task("t1")).await.unwrap().parked_on.unwrap();
    assert_eq!(parked(&a).await, Gate::Tenant("a".to_owned()));
    assert_eq!(parked(&b).await, Gate::Build(b.build));
    assert!(keeps(store, a.holder, running.fence()).await);
    a.settle(&running, wrote("t0.txt", "x")).await.unwrap();
    rung(store).await;
    store.resume(&Gate::Tenant("a".to_owned()), "test").await.unwrap();
    assert!(!heard(store).await.is_empty());
    assert_eq!(claimed_by_many(store).await.len(), 2);
    store.resume(&Gate::Build(b.build), "test").await.unwrap();
    assert_eq!(claimed_by_many(store).await.len(), 3);
}

pub async fn a_paused_lane_is_not_claimed_from(store: &dyn Ageing) {
    let scene = busy(store, TENANT, 2).await;
    let late = executing(store, "late").await;
    late.fail("late", flaky()).await;
    let lane = Gate::Lane(Lane::Tasks);
    store.pause(&lane, "test").await.unwrap();
    let queued = submitted(store).await;
    store.age(secs(2)).await;

    assert_eq!(store.claim_tasks(&ask(9)).await.unwrap(), []);
    // Whoever waits for it would ask at once, again and again.
    assert_eq!(store.next_due(Lane::Tasks).await.unwrap(), None);
    assert_eq!(store.claim_builds(&ask(9)).await.unwrap()[0].build, queued);
    rung(store).await;
    store.resume(&lane, "test").await.unwrap();
    assert!(heard(store).await.iter().any(|job| job.lane() == Lane::Tasks));
    assert_eq!(store.claim_tasks(&ask(9)).await.unwrap().len(), 3);
    assert_eq!(scene.states().await, "t0 in_progress, t1 in_progress");
}

pub async fn a_cancelled_build_leaves_its_pause(store: &dyn Ageing) {
    let scene = busy(store, TENANT, 2).await;
    store.pause(&Gate::Build(scene.build), "test").await.unwrap();
    assert_eq!(claimed_by_many(store).await, []);
    store.cancel_build(scene.build).await.unwrap();

    store.retry_build(scene.build).await.unwrap();

    assert_eq!(store.paused().await.unwrap(), []);
    assert_eq!(claimed_by_many(store).await.len(), 2);
}

pub async fn only_what_can_be_paused_is_paused(store: &dyn Ageing) {
    let done = executing(store, "fetch").await;
    done.succeed("fetch").await;
    let open = submitted(store).await;
    let pause = async |gate: Gate| store.pause(&gate, "anne").await;

    assert_eq!(code_of(pause(Gate::Time).await), "not_pausable");
    assert_eq!(code_of(pause(Gate::Turn).await), "not_pausable");
    assert_eq!(code_of(pause(gate("all", "")).await), "not_pausable");
    assert_eq!(code_of(pause(Gate::Build(done.build)).await), "build_is_final");
    assert_not_found(pause(Gate::Build(draw::id())).await);
    pause(Gate::Build(open)).await.unwrap();
    pause(Gate::Build(open)).await.unwrap();
    pause(Gate::Lane(Lane::Plans)).await.unwrap();
    let paused = store.paused().await.unwrap();
    let mut gates: Vec<_> = paused.iter().map(|pause| pause.gate.clone()).collect();
    gates.sort();
    assert_eq!(gates, [Gate::Build(open), Gate::Lane(Lane::Plans)]);
    assert!(paused.iter().all(|pause| pause.by == "anne"));
    store.resume(&Gate::Build(open), "anne").await.unwrap();
    store.resume(&Gate::Build(open), "anne").await.unwrap();
    assert_eq!(store.paused().await.unwrap().len(), 1);
}

pub async fn the_audit_lists_what_was_changed_by_hand(store: &dyn Ageing) {
    let wanted = |limit, before| AuditWanted { limit, before };
    let earlier = store.audit(&wanted(1, None)).await.unwrap().rows[0].id;
    let tenant = Gate::Tenant("a".to_owned());
    let rate = Some(Rate { count: 2, per: Duration::from_millis(500) });
    store.put_limit(&Limit { rate, ..limit("lane", By::All, 3) }, "anne").await.unwrap();
    store.put_weight("a", 2.0, "bert").await.unwrap();
    for _ in 0..2 {
        store.pause(&tenant, "anne").await.unwrap();
    }
    for _ in 0..2 {
        store.resume(&tenant, "bert").await.unwrap();
    }
    store.remove_limit("lane", "anne").await.unwrap();
    code_of(store.pause(&Gate::Time, "anne").await);

    let page = store.audit(&wanted(5, None)).await.unwrap();

    assert!(page.next);
    let told: Vec<_> = page
        .rows
        .iter()
        .map(|entry| (entry.by.as_str(), entry.action.as_str(), entry.subject.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("anne", "limit_removed", "lane"),
            ("bert", "resumed", "tenant a"),
            ("anne", "paused", "tenant a"),
            ("bert", "weight_put", "a"),
            ("anne", "limit_put", "lane"),
        ]
    );
    assert_eq!(
        page.rows[4].detail,
        serde_json::json!({
            "lane": "tasks", "by": "all", "value": null, "concurrency": 3,
            "rate": { "count": 2, "per_secs": 0.5 },
        })
    );
    assert_eq!(page.rows[3].detail, serde_json::json!({ "weight": 2.0 }));
    let rest = store.audit(&wanted(100, Some(page.rows[4].id))).await.unwrap();
    assert!(!rest.next);
    assert_eq!(rest.rows[0].id, earlier);
    assert!(page.rows.is_sorted_by_key(|entry| std::cmp::Reverse(entry.id)));
}
