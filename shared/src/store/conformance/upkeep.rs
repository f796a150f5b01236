//! A store says how full it is, remembers results, and forgets what is old and nothing else.

use serde_json::json;

use super::*;
use crate::domain::attempt::{Origin, ResultKey};

const KEY: ResultKey = ResultKey([7; 32]);
const OTHER: ResultKey = ResultKey([8; 32]);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn output(path: &str, content: &str) -> Output {
    let file = OutputFile { path: path.to_owned(), content: content.to_owned() };
    Output { files: vec![file], logs: vec![format!("wrote {path}")], ..Output::default() }
}

/// Settles a task with an output that stands for the same work done again.
async fn succeed_as(scene: &Scene<'_>, task: &str, key: ResultKey, output: &Output) {
    let claim = scene.claim(task).await;
    let output = Output { origin: Origin::MadeAs(key), ..output.clone() };
    scene.settle(&claim, Outcome::Succeeded(output)).await.unwrap();
}

/// Answers with how many builds it forgot.
async fn forget_all(store: &dyn Ageing, after: Duration) -> u64 {
    let mut builds = 0;
    loop {
        let gone = store.forget(after, 100).await.unwrap();
        builds += gone.builds;
        if gone == Forgotten::default() {
            return builds;
        }
    }
}

async fn exists(store: &dyn Ageing, build: BuildId) -> bool {
    store.build(build).await.is_ok()
}

/// A build of two tasks, one after the other, that has completed, and an endpoint that heard of it.
async fn completed(store: &dyn Ageing) -> BuildId {
    let new = NewBuild {
        webhook: Some(endpoint(&[Kind::BuildCompleted])),
        ..new_build(Brief::of("a to-do list"))
    };
    let build = store.submit(new).await.unwrap().build().id;
    let scene = Scene::adopted(store, build, "first -> second").await;
    scene.succeed("first").await;
    succeed_as(&scene, "second", KEY, &output("second.txt", "2")).await;
    assert_eq!(scene.build_state().await, build::State::Completed);
    build
}

pub async fn a_key_that_was_used_finds_its_build(store: &dyn Ageing) {
    let given = Idempotency { key: "k".to_owned(), request_hash: "aa".to_owned() };
    let new = NewBuild { idempotency: Some(given.clone()), ..new_build(Brief::of("a to-do list")) };
    assert_eq!(store.submitted_before(TENANT, &given).await.unwrap(), None);

    let submitted = store.submit(new).await.unwrap();

    let found = store.submitted_before(TENANT, &given).await.unwrap();
    assert_eq!(found.as_ref(), Some(submitted.build()));
    assert_eq!(store.submitted_before("other", &given).await.unwrap(), None);
    let other = Idempotency { request_hash: "bb".to_owned(), ..given };
    assert_eq!(code_of(store.submitted_before(TENANT, &other).await), "idempotency_key_reused");
}

pub async fn what_is_open_is_counted_by_tenant(store: &dyn Ageing) {
    assert_eq!(store.pressure().await.unwrap(), Pressure::default());
    let running = executing(store, "only").await;
    submitted_as(store, Brief::of("x".repeat(5_000))).await;
    let other = NewBuild { tenant: "other".to_owned(), ..new_build(Brief::of("a shop")) };
    store.submit(other).await.unwrap();

    let before = store.pressure().await.unwrap();
    running.succeed("only").await;
    let after = store.pressure().await.unwrap();

    let counts = |pressure: &Pressure| {
        let open = pressure.open.iter();
        open.map(|open| (open.tenant.clone(), open.builds)).collect::<Vec<_>>()
    };
    assert_eq!(counts(&before), [(TENANT.to_owned(), 2), ("other".to_owned(), 1)]);
    assert_eq!(counts(&after), [(TENANT.to_owned(), 1), ("other".to_owned(), 1)]);
    // Only of those that wait to be planned, however the database packs them.
    assert!(before.open.iter().all(|open| (50..20_000).contains(&open.brief_bytes)), "{before:?}");
    assert_eq!((before.ended_last_minute, after.ended_last_minute), (0, 1));
    store.age(secs(61)).await;
    assert_eq!(store.pressure().await.unwrap().ended_last_minute, 0);
}

pub async fn a_store_knows_how_much_it_takes(store: &dyn Ageing) {
    let space = store.space().await.unwrap();

    assert!(space.used_bytes.is_some_and(|bytes| 10_000 < bytes), "{space:?}");
    assert!(space.free_bytes.is_none_or(|bytes| 10_000 < bytes), "{space:?}");
}

pub async fn a_claim_says_whose_it_is_and_whether_results_are_shared(store: &dyn Ageing) {
    let scene = executing(store, "only").await;
    let brief = Brief { cache: false, ..Brief::of("a to-do list") };
    let alone = executing_as(store, brief, "only").await;

    let (shared, unshared) = (scene.claim("only").await, alone.claim("only").await);

    assert_eq!((shared.tenant.as_str(), shared.cache), (TENANT, true));
    assert_eq!((unshared.tenant.as_str(), unshared.cache), (TENANT, false));
}

pub async fn a_result_is_found_by_its_key_while_it_is_young(store: &dyn Ageing) {
    let scene = executing(store, "make, rest").await;
    let made = Output {
        files: [("b.txt", "bee \u{1F41D}"), ("a.txt", "ay")]
            .map(|(path, content)| OutputFile { path: path.into(), content: content.into() })
            .to_vec(),
        ..output("", "")
    };
    assert_eq!(store.cached(KEY, HOUR).await.unwrap(), None);

    succeed_as(&scene, "make", KEY, &made).await;

    let found = store.cached(KEY, HOUR).await.unwrap().unwrap();
    assert_eq!(found.origin, Origin::Cached);
    assert_eq!(found.logs, made.logs);
    let mut files = made.files;
    files.reverse();
    assert_eq!(found.files, files);
    assert_eq!(store.cached(OTHER, HOUR).await.unwrap(), None);
    store.age(HOUR).await;
    assert_eq!(store.cached(KEY, HOUR).await.unwrap(), None);
    assert!(store.cached(KEY, 2 * HOUR).await.unwrap().is_some());
}

pub async fn a_result_without_files_is_found_too(store: &dyn Ageing) {
    let scene = executing(store, "look, rest").await;

    let looked = Output { files: Vec::new(), ..output("", "") };
    succeed_as(&scene, "look", KEY, &looked).await;

    let found = store.cached(KEY, HOUR).await.unwrap().unwrap();
    assert_eq!((found.files, found.logs), (Vec::new(), looked.logs));
}

pub async fn a_result_whose_files_were_overwritten_is_not_found(store: &dyn Ageing) {
    let scene = executing(store, "first -> second").await;
    succeed_as(&scene, "first", KEY, &output("main.py", "one")).await;
    assert!(store.cached(KEY, HOUR).await.unwrap().is_some());

    let claim = scene.claim("second").await;
    scene.settle(&claim, wrote("main.py", "two")).await.unwrap();

    assert_eq!(store.cached(KEY, HOUR).await.unwrap(), None);
    // Whoever does the work again makes it stand once more.
    let again = executing(store, "first").await;
    succeed_as(&again, "first", KEY, &output("main.py", "one")).await;
    assert_eq!(store.cached(KEY, HOUR).await.unwrap().unwrap().files[0].content, "one");
}

pub async fn only_a_success_that_stands_leaves_a_result(store: &dyn Ageing) {
    let scene = executing(store, "late, rest").await;
    let claim = scene.claim("late").await;
    store.age(LEASE).await;
    store.settle_lost(claim.fence(), &Policy::WORK, Jitter::NONE).await.unwrap();

    let made = Output { origin: Origin::MadeAs(KEY), ..output("a.txt", "a") };
    assert_fenced(scene.settle(&claim, Outcome::Succeeded(made)).await);

    assert_eq!(store.cached(KEY, HOUR).await.unwrap(), None);
}

pub async fn an_answer_from_the_cache_is_told_as_one(store: &dyn Ageing) {
    let scene = executing(store, "make").await;
    succeed_as(&scene, "make", KEY, &output("a.txt", "a")).await;
    let again = executing(store, "make").await;

    let found = store.cached(KEY, HOUR).await.unwrap().unwrap();
    let claim = again.claim("make").await;
    again.settle(&claim, Outcome::Succeeded(found)).await.unwrap();

    let told = async |scene: &Scene<'_>| {
        let events = store.events(scene.build, 0, 100).await.unwrap();
        let done = events.into_iter().find(|event| event.kind == Kind::TaskCompleted);
        done.unwrap().data["cached"].clone()
    };
    assert_eq!(told(&again).await, json!(true));
    assert_eq!(told(&scene).await, json!(null));
    let file = store.file(again.build, "a.txt").await.unwrap();
    assert_eq!((file.content.as_slice(), file.file.task), (b"a".as_slice(), claim.task));
    // What was answered does not make the answer younger.
    store.age(HOUR).await;
    assert_eq!(store.cached(KEY, HOUR).await.unwrap(), None);
}

pub async fn old_results_are_evicted_in_steps(store: &dyn Ageing) {
    let scene = executing(store, "a, b, c, rest").await;
    for (number, task) in ["a", "b", "c"].into_iter().enumerate() {
        let made = output(&format!("{task}.txt"), task);
        succeed_as(&scene, task, ResultKey([number as u8; 32]), &made).await;
        store.age(secs(600)).await;
    }
    let found =
        async |number: u8| store.cached(ResultKey([number; 32]), DAY).await.unwrap().is_some();

    assert_eq!(store.evict(DAY, 100, 100).await.unwrap(), 0);
    assert_eq!(store.evict(secs(1000), 100, 1).await.unwrap(), 1);
    assert_eq!((found(0).await, found(1).await, found(2).await), (false, true, true));
    assert_eq!(store.evict(secs(1000), 100, 100).await.unwrap(), 1);
    assert_eq!((found(1).await, found(2).await), (false, true));
}

pub async fn the_oldest_results_beyond_the_most_are_evicted(store: &dyn Ageing) {
    let scene = executing(store, "a, b, c, rest").await;
    for (number, task) in ["a", "b", "c"].into_iter().enumerate() {
        let made = output(&format!("{task}.txt"), task);
        succeed_as(&scene, task, ResultKey([number as u8; 32]), &made).await;
        store.age(secs(1)).await;
    }

    assert_eq!(store.evict(DAY, 1, 100).await.unwrap(), 2);
    assert_eq!(store.evict(DAY, 1, 100).await.unwrap(), 0);

    assert!(store.cached(ResultKey([2; 32]), DAY).await.unwrap().is_some());
}

pub async fn a_final_build_is_forgotten_with_all_that_is_its(store: &dyn Ageing) {
    let build = completed(store).await;
    let tasks = store.tasks(build).await.unwrap();
    let plan = store.plan_of(build).await.unwrap();
    let wanted = DeliveriesWanted {
        tenant: TENANT.to_owned(),
        build: None,
        state: None,
        limit: 10,
        after: None,
    };
    let told = store.deliveries(&wanted).await.unwrap().rows;
    assert_eq!(told.len(), 1);
    store.age(2 * DAY).await;

    assert_eq!(forget_all(store, DAY).await, 1);

    assert_not_found(store.build(build).await);
    assert_not_found(store.plan(plan.id).await);
    assert_not_found(store.task(tasks[0].id).await);
    assert_not_found(store.task_attempts(tasks[0].id).await);
    assert_not_found(store.delivery(told[0].id).await);
    assert_not_found(store.delivery_attempts(told[0].id).await);
    assert_not_found(store.events(build, 0, 10).await);
    assert_not_found(store.files(build).await);
    assert_eq!(store.cached(KEY, 30 * DAY).await.unwrap(), None);
    assert!(store.claim_deliveries(&ask(10)).await.unwrap().is_empty());
}

pub async fn nothing_that_is_open_or_young_is_forgotten(store: &dyn Ageing) {
    let queued = submitted(store).await;
    let running = executing(store, "fetch -> build").await;
    running.succeed("fetch").await;
    let waiting = proposed(store, "only").await;
    store.age(2 * DAY).await;
    let young = completed(store).await;

    assert_eq!(forget_all(store, DAY).await, 0);

    for build in [queued, running.build, waiting.build, young] {
        assert!(exists(store, build).await);
    }
    running.succeed("build").await;
    assert_eq!(running.build_state().await, build::State::Completed);
}

pub async fn builds_are_forgotten_oldest_first_and_in_steps(store: &dyn Ageing) {
    let mut builds = Vec::new();
    for _ in 0..3 {
        builds.push(completed(store).await);
        store.age(secs(60)).await;
    }
    store.age(DAY).await;

    assert_eq!(store.forget(DAY, 2).await.unwrap().builds, 2);
    let left = [exists(store, builds[0]).await, exists(store, builds[1]).await];
    assert_eq!(left, [false, false]);
    assert!(exists(store, builds[2]).await);

    assert_eq!(forget_all(store, DAY).await, 1);
}

pub async fn forgetters_at_once_forget_each_build_once(store: &dyn Ageing) {
    for _ in 0..6 {
        let build = submitted(store).await;
        store.cancel_build(build).await.unwrap();
    }
    store.age(2 * DAY).await;

    let counts = futures_util::future::join_all((0..4).map(|_| forget_all(store, DAY))).await;

    assert_eq!(counts.into_iter().sum::<u64>(), 6);
}

pub async fn a_forgotten_build_gives_its_key_back(store: &dyn Ageing) {
    let keyed = |hash: &str| NewBuild {
        idempotency: Some(Idempotency { key: "k".to_owned(), request_hash: hash.to_owned() }),
        ..new_build(Brief::of("a to-do list"))
    };
    let first = store.submit(keyed("aa")).await.unwrap().build().id;
    store.cancel_build(first).await.unwrap();
    store.age(2 * DAY).await;
    forget_all(store, DAY).await;

    let second = store.submit(keyed("bb")).await.unwrap();

    assert!(matches!(second, Submitted::New(_)));
}

pub async fn old_changes_by_hand_are_forgotten(store: &dyn Ageing) {
    let gate = Gate::Tenant("slow".to_owned());
    let listed = async || {
        let page = store.audit(&AuditWanted { limit: 100, before: None }).await.unwrap();
        page.rows.into_iter().map(|entry| entry.action).collect::<Vec<_>>()
    };
    store.pause(&gate, "kim").await.unwrap();
    store.age(2 * DAY).await;
    store.resume(&gate, "kim").await.unwrap();

    forget_all(store, DAY).await;

    assert_eq!(listed().await, ["resumed"]);
}

pub async fn what_means_nothing_is_forgotten_and_the_order_stays(store: &dyn Ageing) {
    // The lane overtakes the first flow; the second is ahead of it.
    let first = submitted(store).await;
    claimed_in_order(store, &[first]).await;
    let busy = NewBuild { tenant: "busy".to_owned(), ..new_build(Brief::of("a shop")) };
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let new = NewBuild { id: draw::id(), ..busy.clone() };
        waiting.push(store.submit(new).await.unwrap().build().id);
    }
    claimed_in_order(store, &waiting[..2]).await;

    let gone = store.forget_idle(100).await.unwrap();

    assert!(1 <= gone, "{gone}");
    assert_eq!(store.forget_idle(100).await.unwrap(), 0);
    // As it would be with what was forgotten: next, and not before its turn again.
    let back = [submitted(store).await, submitted(store).await];
    claimed_in_order(store, &[back[0], waiting[2], back[1]]).await;
}

/// Claims builds one by one, and asserts which they are.
async fn claimed_in_order(store: &dyn Ageing, wanted: &[BuildId]) {
    for build in wanted {
        let claims = store.claim_builds(&ask(1)).await.unwrap();
        assert_eq!(claims.iter().map(|claim| claim.build).collect::<Vec<_>>(), [*build]);
    }
}
