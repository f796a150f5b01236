//! Work whose holder fell silent comes back, once.

use futures_util::future::join_all;

use super::*;
use crate::domain::attempt;

async fn lose(store: &dyn Ageing, fence: Fence) -> Result<(), Error> {
    store.settle_lost(fence, &Policy::WORK, Jitter::NONE).await
}

pub async fn a_lease_that_holds_is_not_lapsed(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    let claim = scene.claim("fetch").await;
    store.age(LEASE / 2).await;

    assert_eq!(store.lapsed(10).await.unwrap(), []);
    assert_fenced(lose(store, claim.fence()).await);
    assert_eq!(scene.state("fetch").await, task::State::InProgress);
}

pub async fn a_lapsed_task_comes_again_with_the_next_attempt(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    let claim = scene.claim("fetch").await;
    heard(store).await;
    store.age(LEASE).await;

    let lapsed = store.lapsed(10).await.unwrap();
    lose(store, lapsed[0]).await.unwrap();

    assert_eq!(lapsed, [claim.fence()]);
    assert_eq!(store.lapsed(10).await.unwrap(), []);
    assert_eq!(heard(store).await, [Job::Task(claim.task)]);
    let task = store.task(claim.task).await.unwrap();
    assert_eq!((task.state, task.failures, task.crashes), (task::State::Ready, 0, 1));
    let attempts = store.task_attempts(claim.task).await.unwrap();
    assert_eq!(attempts[0].state, attempt::State::Lost);
    assert_eq!(scene.claim("fetch").await.attempt, 2);
}

pub async fn a_lease_extended_in_time_is_not_lost(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    let claim = scene.claim("fetch").await;
    store.age(LEASE * 2).await;
    assert!(keeps(store, scene.holder, claim.fence()).await);

    assert_eq!(store.lapsed(10).await.unwrap(), []);
    assert_fenced(lose(store, claim.fence()).await);
    scene.settle(&claim, wrote("fetch.txt", "x")).await.unwrap();
}

pub async fn only_its_holder_extends_a_lease(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    let claim = scene.claim("fetch").await;
    let later = Fence { attempt: 2, ..claim.fence() };

    assert!(!keeps(store, draw::id(), claim.fence()).await);
    assert!(!keeps(store, scene.holder, later).await);
    assert!(keeps(store, scene.holder, claim.fence()).await);
    scene.settle(&claim, wrote("fetch.txt", "x")).await.unwrap();
    assert!(!keeps(store, scene.holder, claim.fence()).await);
}

pub async fn extending_answers_with_what_was_lost(store: &dyn Ageing) {
    let new = NewBuild { webhook: Some(endpoint(&[])), ..new_build(Brief::of("a list")) };
    let build = store.submit(new).await.unwrap().build().id;
    let scene = Scene::adopted(store, build, "kept, settled").await;
    let holder = scene.holder;
    let mine = Ask { holder, ..ask(9) };
    submitted(store).await;
    let planning = store.claim_builds(&mine).await.unwrap()[0].fence();
    let delivery = store.claim_deliveries(&mine).await.unwrap()[0].fence();
    let kept = scene.claim("kept").await.fence();
    let settled = scene.claim("settled").await;
    scene.settle(&settled, wrote("settled.txt", "x")).await.unwrap();
    let ahead = Fence { attempt: 2, ..kept };
    store.age(LEASE / 2).await;

    let held = [planning, settled.fence(), kept, ahead, delivery];
    let lost = store.extend(holder, &held, LEASE).await.unwrap();

    assert_eq!(lost, [settled.fence(), ahead]);
    store.age(LEASE / 2).await;
    assert_eq!(store.lapsed(10).await.unwrap(), []);
    assert_eq!(store.extend(holder, &[], LEASE).await.unwrap(), []);
    assert_eq!(store.extend(draw::id(), &[kept], LEASE).await.unwrap(), [kept]);
}

pub async fn a_task_that_loses_three_workers_is_given_up(store: &dyn Ageing) {
    let scene = executing(store, "fetch -> build").await;
    for _ in 0..3 {
        let claim = scene.claim("fetch").await;
        store.age(LEASE).await;
        lose(store, claim.fence()).await.unwrap();
    }

    assert_eq!(scene.states().await, "fetch failed, build skipped");
    assert_eq!(scene.build_state().await, build::State::Failed);
    let task = store.task(scene.task("fetch")).await.unwrap();
    assert_eq!((task.failures, task.crashes), (0, 3));
    assert_eq!(task.failure.unwrap().code, attempt::QUARANTINED);
}

pub async fn a_lost_lease_is_settled_once_by_sweepers_at_once(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    let claim = scene.claim("fetch").await;
    heard(store).await;
    store.age(LEASE).await;

    let settles = join_all((0..6).map(|_| lose(store, claim.fence()))).await;

    assert_eq!(settles.iter().filter(|settled| settled.is_ok()).count(), 1);
    assert_eq!(store.task(claim.task).await.unwrap().crashes, 1);
    assert_eq!(heard(store).await.len(), 1);
}

pub async fn a_lapsed_planning_comes_again(store: &dyn Ageing) {
    let build = submitted(store).await;
    let claim = claimed(store, build).await;
    heard(store).await;
    store.age(LEASE).await;

    assert_eq!(store.lapsed(10).await.unwrap(), [claim.fence()]);
    lose(store, claim.fence()).await.unwrap();

    assert_eq!(heard(store).await, [Job::Plan(build)]);
    assert_eq!(store.build(build).await.unwrap().state, build::State::Queued);
    assert_eq!(claimed(store, build).await.attempt, 2);
    assert_fenced(lose(store, claim.fence()).await);
}

pub async fn a_build_that_loses_three_planners_fails(store: &dyn Ageing) {
    let build = submitted(store).await;
    for _ in 0..3 {
        let claim = claimed(store, build).await;
        store.age(LEASE).await;
        lose(store, claim.fence()).await.unwrap();
    }

    let build = store.build(build).await.unwrap();
    assert_eq!(build.state, build::State::Failed);
    assert_eq!(build.stop.unwrap().code, attempt::QUARANTINED);
}

pub async fn lapsed_work_is_listed_longest_lapsed_first(store: &dyn Ageing) {
    let scene = executing(store, "first, second").await;
    let first = scene.claim("first").await;
    store.age(secs(30)).await;
    let build = submitted(store).await;
    let planning = claimed(store, build).await;
    store.age(secs(30)).await;
    let second = scene.claim("second").await;
    store.age(LEASE).await;

    let expected = [first.fence(), planning.fence(), second.fence()];
    assert_eq!(store.lapsed(10).await.unwrap(), expected);
    assert_eq!(store.lapsed(2).await.unwrap(), expected[..2]);
}

pub async fn all_leases_lapse_at_once(store: &dyn Ageing) {
    let new = NewBuild { webhook: Some(endpoint(&[])), ..new_build(Brief::of("a list")) };
    let build = store.submit(new).await.unwrap().build().id;
    let scene = Scene::adopted(store, build, "fetch, build").await;
    scene.claim("fetch").await;
    scene.claim("build").await;
    let waiting = submitted(store).await;
    claimed(store, waiting).await;
    let wanted = DeliveriesWanted {
        tenant: TENANT.to_owned(),
        build: Some(build),
        state: None,
        limit: 10,
        after: None,
    };
    let deliveries = store.deliveries(&wanted).await.unwrap().rows;
    let first = deliveries.last().unwrap().id;
    let sent = store.claim_deliveries(&ask(9)).await.unwrap();
    assert_eq!(sent.iter().map(|claim| claim.delivery).collect::<Vec<_>>(), [first]);

    let lapsed = store.lapse_all().await.unwrap();

    assert_eq!(lapsed, 4);
    assert_eq!(store.lapsed(10).await.unwrap().len(), 4);
    for fence in store.lapsed(10).await.unwrap() {
        lose(store, fence).await.unwrap();
    }
    assert_eq!(scene.states().await, "fetch ready, build ready");
}
