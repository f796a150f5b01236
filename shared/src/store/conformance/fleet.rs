//! Who is there, and how much there is to do.

use super::*;

fn beat(program: &str) -> WorkerBeat {
    WorkerBeat {
        holder: draw::id(),
        program: program.to_owned(),
        host: "one.test".to_owned(),
        version: "0.1.0".to_owned(),
        lane: Lane::Tasks,
        slots: 4,
        busy: 1,
    }
}

pub async fn a_store_answers(store: &dyn Ageing) {
    store.ping().await.unwrap();
}

pub async fn a_worker_that_beats_is_listed(store: &dyn Ageing) {
    let first = beat("task-worker");
    store.beat(&first).await.unwrap();
    store.age(secs(10)).await;
    let silent = store.workers().await.unwrap()[0].silent_ms;

    store.beat(&WorkerBeat { busy: 3, ..first.clone() }).await.unwrap();

    let workers = store.workers().await.unwrap();
    assert_eq!(workers.len(), 1);
    let worker = &workers[0];
    assert_eq!((worker.holder, worker.program.as_str()), (first.holder, "task-worker"));
    assert_eq!((worker.lane, worker.slots, worker.busy), (Lane::Tasks, 4, 3));
    assert!((10_000..20_000).contains(&silent), "{silent}");
    assert!(worker.silent_ms < 9_000);
    assert!(worker.beat_at.0 - worker.started_at.0 >= 10_000);
}

pub async fn a_worker_that_signs_off_is_not_listed(store: &dyn Ageing) {
    let (first, second) = (beat("task-worker"), beat("plan-worker"));
    store.beat(&first).await.unwrap();
    store.beat(&second).await.unwrap();

    store.sign_off(first.holder).await.unwrap();

    let workers = store.workers().await.unwrap();
    assert_eq!(workers.iter().map(|worker| worker.holder).collect::<Vec<_>>(), [second.holder]);
    store.sign_off(first.holder).await.unwrap();
}

pub async fn a_worker_silent_for_an_hour_is_forgotten(store: &dyn Ageing) {
    store.beat(&beat("task-worker")).await.unwrap();
    store.age(HOUR + secs(1)).await;
    let second = beat("plan-worker");

    store.beat(&second).await.unwrap();

    let workers = store.workers().await.unwrap();
    assert_eq!(workers.iter().map(|worker| worker.holder).collect::<Vec<_>>(), [second.holder]);
}

pub async fn lanes_count_what_waits_and_runs(store: &dyn Ageing) {
    let new = NewBuild { webhook: Some(endpoint(&[])), ..new_build(Brief::of("a list")) };
    let build = store.submit(new).await.unwrap().build().id;
    let scene = Scene::adopted(store, build, "held, ready, late, done").await;
    scene.claim("held").await;
    scene.succeed("done").await;
    store.age(secs(10)).await;
    scene.fail("late", flaky()).await;
    submitted(store).await;
    let planning = submitted(store).await;
    claimed(store, planning).await;

    let lanes = store.lanes().await.unwrap();

    let [plans, tasks, deliveries] = lanes[..] else { panic!("{lanes:?}") };
    assert_eq!((plans.lane, plans.waiting, plans.delayed, plans.running), (Lane::Plans, 1, 0, 1));
    assert_eq!((tasks.lane, tasks.waiting, tasks.delayed, tasks.running), (Lane::Tasks, 1, 1, 1));
    assert!((10_000..30_000).contains(&tasks.oldest_ms), "{tasks:?}");
    assert!(plans.oldest_ms < 9_000, "{plans:?}");
    assert_eq!(tasks.settled_last_minute, 1);
    assert_eq!((deliveries.lane, deliveries.running), (Lane::Deliveries, 0));
    assert_eq!(deliveries.waiting, 1);
    assert!((10_000..30_000).contains(&deliveries.oldest_ms), "{deliveries:?}");
}
