//! Whose turn it is: ranks, what is due, and the bell.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::*;
use crate::domain::{brief::OnTaskFailure, plan::COST_MAX};

/// A build of a tenant with so many tasks that can run at once, `t0` and on.
pub(super) async fn busy<'a>(
    store: &'a dyn Ageing,
    tenant: &str,
    brief: Brief,
    many: usize,
) -> Scene<'a> {
    costly(store, tenant, brief, &vec![1; many]).await
}

/// As `busy`, with tasks of these costs.
pub(super) async fn costly<'a>(
    store: &'a dyn Ageing,
    tenant: &str,
    brief: Brief,
    costs: &[u32],
) -> Scene<'a> {
    let new = NewBuild { tenant: tenant.to_owned(), ..new_build(brief) };
    let build = store.submit(new).await.unwrap().build().id;
    let claim = claimed(store, build).await;
    let keys: Vec<_> = (0..costs.len()).map(|index| format!("t{index}")).collect();
    let mut draft = Draft::of(&keys.join(", "));
    for (task, cost) in draft.tasks.iter_mut().zip(costs) {
        task.cost = *cost;
    }
    let plan = draft.into_plan().unwrap();
    store.adopt_plan(&claim, &plan, Adoption::AtOnce { plan: draw::id() }).await.unwrap();
    Scene::of(store, store.build(build).await.unwrap()).await
}

pub(super) fn brief_of(priority: u8) -> Brief {
    Brief { priority, ..Brief::of("a to-do list") }
}

async fn keys(store: &dyn Ageing, room: u32) -> Vec<String> {
    let claims = store.claim_tasks(&ask(room)).await.unwrap();
    claims.into_iter().map(|claim| claim.key).collect()
}

/// How many tasks of each build a claim gets.
pub(super) async fn shares(store: &dyn Ageing, room: u32) -> BTreeMap<BuildId, usize> {
    let mut shares = BTreeMap::new();
    for claim in store.claim_tasks(&ask(room)).await.unwrap() {
        *shares.entry(claim.build).or_default() += 1;
    }
    shares
}

pub async fn every_busy_tenant_gets_its_turn(store: &dyn Ageing) {
    let first = busy(store, "first", brief_of(3), 20).await;
    let second = busy(store, "second", brief_of(3), 20).await;

    for _ in 0..5 {
        let shares = shares(store, 4).await;
        assert_eq!(shares, BTreeMap::from([(first.build, 2), (second.build, 2)]));
    }
}

pub async fn tasks_of_a_plan_go_by_their_priority(store: &dyn Ageing) {
    let build = submitted(store).await;
    let claim = claimed(store, build).await;
    let mut draft = Draft::of("a, b, c, d");
    for (task, priority) in draft.tasks.iter_mut().zip([4, 2, 4, 1]) {
        task.priority = priority;
    }
    let plan = draft.into_plan().unwrap();
    store.adopt_plan(&claim, &plan, Adoption::AtOnce { plan: draw::id() }).await.unwrap();

    assert_eq!(keys(store, 3).await, ["d", "b", "a"]);
    assert_eq!(keys(store, 3).await, ["c"]);
}

pub async fn a_first_priority_goes_before_what_waits(store: &dyn Ageing) {
    let mut builds = Vec::new();
    for priority in [3, 5, 1, 3] {
        builds.push(submitted_as(store, brief_of(priority)).await);
    }

    let claims = store.claim_builds(&ask(9)).await.unwrap();

    let claimed: Vec<_> = claims.iter().map(|claim| claim.build).collect();
    assert_eq!(claimed, [2, 0, 3, 1].map(|index: usize| builds[index]));
}

pub async fn a_last_priority_comes_in_time(store: &dyn Ageing) {
    let late = busy(store, "late", brief_of(5), 1).await;
    // Each is worth as many rounds as it costs.
    costly(store, "early", brief_of(1), &[COST_MAX; 80]).await;

    let mut before = 0;
    while !shares(store, COST_MAX).await.contains_key(&late.build) {
        before += 1;
        assert!(before <= 4000 / COST_MAX + 1, "it has aged enough");
    }

    assert!(3000 / COST_MAX < before, "{before} came before it");
}

pub async fn one_task_is_claimed_soon_behind_two_thousand(store: &dyn Ageing) {
    busy(store, "big", brief_of(3), 2000).await;
    assert_eq!(keys(store, 700).await.len(), 700);
    let small = busy(store, "small", brief_of(3), 1).await;

    assert!(shares(store, 3).await.contains_key(&small.build));
}

pub async fn tenants_share_by_their_weights(store: &dyn Ageing) {
    store.put_weight("heavy", 3.0, "test").await.unwrap();
    let heavy = busy(store, "heavy", brief_of(3), 100).await;
    busy(store, "light", brief_of(3), 100).await;

    let shares = shares(store, 80).await;

    assert!((58..=62).contains(&shares[&heavy.build]), "{shares:?}");
    assert_eq!(store.weights().await.unwrap(), [("heavy".to_owned(), 3.0)]);
    store.put_weight("heavy", 1.0, "test").await.unwrap();
    assert_eq!(store.weights().await.unwrap(), []);
}

pub async fn work_that_comes_again_keeps_its_rank(store: &dyn Ageing) {
    let scene = busy(store, TENANT, brief_of(3), 9).await;
    let failed = store.claim_tasks(&ask(1)).await.unwrap().remove(0);
    scene.settle(&failed, Outcome::Failed(flaky())).await.unwrap();
    assert_eq!(keys(store, 2).await, ["t1", "t2"]);
    store.age(secs(2)).await;
    assert_eq!(keys(store, 1).await, ["t0"]);

    let given_back = store.claim_tasks(&ask(1)).await.unwrap().remove(0);
    scene.settle(&given_back, Outcome::GivenBack).await.unwrap();
    let lost = store.claim_tasks(&ask(2)).await.unwrap();
    store.age(LEASE).await;
    for claim in &lost {
        store.settle_lost(claim.fence(), &Policy::WORK, Jitter::NONE).await.unwrap();
    }

    assert_eq!(given_back.key, "t3");
    assert_eq!(lost.iter().map(|claim| claim.key.as_str()).collect::<Vec<_>>(), ["t3", "t4"]);
    assert_eq!(keys(store, 3).await, ["t3", "t4", "t5"]);
}

pub async fn planning_given_back_is_next_again(store: &dyn Ageing) {
    let first = submitted(store).await;
    submitted(store).await;
    let claim = store.claim_builds(&ask(1)).await.unwrap().remove(0);

    store.give_back(claim.fence()).await.unwrap();

    assert_eq!(claim.build, first);
    assert_eq!(store.claim_builds(&ask(1)).await.unwrap()[0].build, first);
}

pub async fn what_is_due_late_is_claimed_when_it_is_due(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    let before = store.next_due(Lane::Tasks).await.unwrap();

    scene.fail("fetch", flaky()).await;

    let wait = store.next_due(Lane::Tasks).await.unwrap().unwrap();
    assert!(secs(1) < wait && wait <= secs(2), "{wait:?}");
    assert_eq!(store.task(scene.task("fetch")).await.unwrap().parked_on, Some(Gate::Time));
    assert_eq!(keys(store, 9).await, [""; 0]);
    store.age(secs(2)).await;
    assert_eq!(store.next_due(Lane::Tasks).await.unwrap(), Some(Duration::ZERO));
    assert_eq!(keys(store, 9).await, ["fetch"]);
    assert_eq!((before, store.next_due(Lane::Tasks).await.unwrap()), (None, None));
    assert_eq!(store.task(scene.task("fetch")).await.unwrap().parked_on, None);
}

pub async fn a_claim_takes_no_more_than_there_is_room_for(store: &dyn Ageing) {
    let scene = costly(store, TENANT, brief_of(3), &[2, 2, 1, 9, 1]).await;
    let ask = |room| Ask { slots: 4, ..ask(room) };
    let keys = async |room| {
        let claims = store.claim_tasks(&ask(room)).await.unwrap();
        claims.into_iter().map(|claim| claim.key).collect::<Vec<_>>()
    };

    assert_eq!(keys(0).await, [""; 0]);
    // Nothing cheap overtakes what has no room.
    assert_eq!(keys(3).await, ["t0"]);
    assert_eq!(keys(3).await, ["t1", "t2"]);
    // What costs more than all slots takes all of them.
    assert_eq!(keys(3).await, [""; 0]);
    assert_eq!(store.task(scene.task("t3")).await.unwrap().cost, 9);
    assert_eq!(keys(4).await, ["t3"]);
    assert_eq!(keys(4).await, ["t4"]);
}

pub async fn claimants_at_once_empty_a_lane(store: &dyn Ageing) {
    let scene = busy(store, TENANT, brief_of(3), 150).await;
    busy(store, "other", brief_of(3), 150).await;
    let drain = async || {
        let ask = ask(7);
        let mut got = Vec::new();
        loop {
            let claims = store.claim_tasks(&ask).await.unwrap();
            let full = claims.len() == 7;
            got.extend(claims.into_iter().map(|claim| claim.task));
            if !full {
                return got;
            }
        }
    };

    let drained = join_all((0..6).map(|_| drain())).await;
    let after = drain().await;

    let all: Vec<_> = drained.into_iter().flatten().chain(after).collect();
    assert_eq!(all.len(), 300);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 300);
    let started = scene.kinds().await.into_iter().filter(|kind| *kind == Kind::TaskStarted);
    assert_eq!(started.count(), 150);
}

pub async fn the_bell_rings_for_what_became_claimable(store: &dyn Ageing) {
    let build = submitted(store).await;
    assert_eq!(heard(store).await, [Job::Plan(build)]);
    let scene = Scene::adopted(store, build, "a -> c, b -> c").await;

    let jobs = heard(store).await;

    assert_eq!(jobs, [Job::Task(scene.task("a")), Job::Task(scene.task("b"))]);
    scene.succeed("a").await;
    assert_eq!(heard(store).await, []);
    scene.succeed("b").await;
    assert_eq!(heard(store).await, [Job::Task(scene.task("c"))]);
}

pub async fn a_failed_verb_rings_no_bell(store: &dyn Ageing) {
    let scene = executing(store, "a -> b").await;
    let claim = scene.claim("a").await;
    store.cancel_build(scene.build).await.unwrap();
    rung(store).await;

    assert_fenced(scene.settle(&claim, wrote("a.txt", "x")).await);
    code_of(store.approve_plan(scene.plan).await);

    assert_eq!(rung(store).await, Rung::default());
}

pub async fn the_bell_rings_at_every_commit(store: &dyn Ageing) {
    let bell = store.bell().clone();

    let both = async { futures_util::join!(bell.committed(), submitted(store)) };

    tokio::time::timeout(secs(20), both).await.expect("it has rung");
}

pub async fn the_bell_recalls_what_was_ended_under_its_holders(store: &dyn Ageing) {
    let cancelled = executing(store, "running -> next").await;
    cancelled.claim("running").await;
    let planning = submitted(store).await;
    claimed(store, planning).await;
    let brief = Brief { on_task_failure: OnTaskFailure::FailFast, ..Brief::of("a list") };
    let failed = executing_as(store, brief, "bad, running").await;
    failed.claim("running").await;
    let brief = Brief { deadline_secs: Some(30), ..Brief::of("a list") };
    let overdue = executing_as(store, brief, "running").await;
    let running = overdue.claim("running").await;
    let completed = executing(store, "done, running").await;
    completed.succeed("done").await;
    let quiet = rung(store).await.recalled;

    store.cancel_build(cancelled.build).await.unwrap();
    store.cancel_build(planning).await.unwrap();
    let first = rung(store).await.recalled;
    failed.break_down("bad").await;
    let second = rung(store).await.recalled;
    store.age(secs(30)).await;
    store.end_overdue(10).await.unwrap();
    let third = rung(store).await.recalled;

    assert_eq!(quiet, BTreeSet::new());
    assert_eq!(first, BTreeSet::from([cancelled.build, planning]));
    assert_eq!((second, third), (BTreeSet::from([failed.build]), BTreeSet::from([overdue.build])));
    assert!(!keeps(store, overdue.holder, running.fence()).await);
}
