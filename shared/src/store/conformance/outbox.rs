//! What is ready is on its way to the queue, and what a queue loses comes again.

use super::*;

pub async fn whatever_becomes_ready_is_in_the_outbox(store: &dyn Ageing) {
    let build = submitted(store).await;
    assert_eq!(drained(store).await, [Job::Plan(build)]);
    let scene = Scene::adopted(store, build, "a -> c, b -> c").await;

    let jobs = drained(store).await;

    assert_eq!(jobs, [Job::Task(scene.task("a")), Job::Task(scene.task("b"))]);
    scene.succeed("a").await;
    assert_eq!(drained(store).await, []);
    scene.succeed("b").await;
    assert_eq!(drained(store).await, [Job::Task(scene.task("c"))]);
}

pub async fn rows_stay_until_they_are_cleared(store: &dyn Ageing) {
    submitted(store).await;
    submitted(store).await;
    let rows = store.outbox_due(10).await.unwrap();

    store.clear_outbox(&[rows[0].id]).await.unwrap();

    assert_eq!(store.outbox_due(10).await.unwrap(), rows[1..]);
    assert_eq!(store.outbox_due(10).await.unwrap(), rows[1..]);
    store.clear_outbox(&[]).await.unwrap();
    store.clear_outbox(&[rows[0].id, rows[1].id]).await.unwrap();
    assert_eq!(store.outbox_due(10).await.unwrap(), []);
}

pub async fn what_is_due_comes_by_priority_and_then_by_age(store: &dyn Ageing) {
    let mut builds = Vec::new();
    for priority in [3, 5, 1, 3] {
        let brief = Brief { priority, ..Brief::of("a to-do list") };
        builds.push(submitted_as(store, brief).await);
    }

    let rows = store.outbox_due(10).await.unwrap();

    let jobs: Vec<_> = rows.iter().map(|row| row.job).collect();
    assert_eq!(jobs, [2, 0, 3, 1].map(|index: usize| Job::Plan(builds[index])));
    assert_eq!(store.outbox_due(2).await.unwrap(), rows[..2]);
}

pub async fn a_retry_is_due_when_its_delay_is_over(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    let due = store.outbox_next().await.unwrap();
    drained(store).await;
    let empty = store.outbox_next().await.unwrap();

    scene.fail("fetch", flaky()).await;

    assert_eq!((due, empty), (Some(Duration::ZERO), None));
    let next = store.outbox_next().await.unwrap().unwrap();
    assert!(secs(1) < next && next <= secs(2), "{next:?}");
    assert_eq!(store.outbox_due(10).await.unwrap(), []);
    store.age(secs(2)).await;
    assert_eq!(store.outbox_next().await.unwrap(), Some(Duration::ZERO));
    assert_eq!(drained(store).await, [Job::Task(scene.task("fetch"))]);
}

pub async fn what_the_queue_lost_is_found_again(store: &dyn Ageing) {
    let new = NewBuild { webhook: Some(endpoint(&[])), ..new_build(Brief::of("a list")) };
    let build = store.submit(new).await.unwrap().build().id;
    let scene = Scene::adopted(store, build, "held, ready, late").await;
    scene.claim("held").await;
    scene.fail("late", flaky()).await;
    store.age(secs(30)).await;
    let queued = submitted(store).await;
    let in_outbox = store.forgotten(Duration::ZERO, 10).await.unwrap();
    drained(store).await;
    store.age(secs(5)).await;

    let forgotten = store.forgotten(secs(20), 10).await.unwrap();

    assert_eq!(in_outbox, []);
    let wanted = DeliveriesWanted {
        tenant: TENANT.to_owned(),
        build: Some(build),
        state: None,
        limit: 100,
        after: None,
    };
    let oldest = store.deliveries(&wanted).await.unwrap().rows.pop().unwrap().id;
    let late = Job::Task(scene.task("late"));
    assert_eq!(forgotten, [Job::Delivery(oldest), Job::Task(scene.task("ready")), late]);
    assert_eq!(store.forgotten(secs(20), 1).await.unwrap(), forgotten[..1]);
    assert!(store.forgotten(secs(1), 10).await.unwrap().contains(&Job::Plan(queued)));
}

pub async fn a_delivery_whose_turn_it_is_not_is_not_forgotten(store: &dyn Ageing) {
    let new = NewBuild { webhook: Some(endpoint(&[])), ..new_build(Brief::of("a list")) };
    let build = store.submit(new).await.unwrap().build().id;
    let first_jobs = async || {
        let jobs = drained(store).await;
        jobs.into_iter().filter(|job| job.lane() == Lane::Deliveries).collect::<Vec<_>>()
    };
    Scene::adopted(store, build, "fetch").await;
    let jobs = first_jobs().await;
    let [Job::Delivery(first)] = jobs[..] else { panic!("{jobs:?}") };
    store.claim_delivery(first, draw::id(), LEASE).await.unwrap().unwrap();
    store.age(secs(30)).await;

    let forgotten = store.forgotten(secs(10), 10).await.unwrap();

    assert!(forgotten.iter().all(|job| job.lane() == Lane::Tasks), "{forgotten:?}");
}
