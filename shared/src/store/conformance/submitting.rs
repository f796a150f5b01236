//! A brief is kept once, and found again.

use futures_util::future::join_all;
use serde_json::json;

use super::*;

fn keyed(key: &str, hash: &str) -> NewBuild {
    NewBuild {
        idempotency: Some(Idempotency { key: key.to_owned(), request_hash: hash.to_owned() }),
        ..new_build(Brief::of("a to-do list"))
    }
}

fn wanted(limit: u32) -> BuildsWanted {
    BuildsWanted { tenant: TENANT.to_owned(), state: None, project_id: None, limit, after: None }
}

pub async fn a_submitted_build_is_queued_as_it_was_asked_for(store: &dyn Ageing) {
    let brief = Brief {
        framework: Some("fastapi".to_owned()),
        features: vec!["search".to_owned()],
        require_approval: true,
        priority: 1,
        ..Brief::of("a book library")
    };
    let hook = endpoint(&[Kind::BuildCompleted]);
    let new = NewBuild { webhook: Some(hook.clone()), ..new_build(brief.clone()) };
    let id = new.id;

    let submitted = store.submit(new).await.unwrap();

    let build = store.build(id).await.unwrap();
    assert_eq!(submitted, Submitted::New(build.clone()));
    assert_eq!((build.id, build.state), (id, build::State::Queued));
    assert_eq!((build.brief, build.tenant.as_str()), (brief, TENANT));
    assert_eq!((build.plan, build.estimated_secs, build.last_seq), (None, None, 0));
    assert_eq!((build.started_at, build.settled_at, build.stop), (None, None, None));
    assert_eq!(build.webhook.unwrap().endpoint, hook.id);
    assert_eq!(heard(store).await, [Job::Plan(id)]);
}

pub async fn a_submit_without_a_key_is_always_new(store: &dyn Ageing) {
    let first = submitted(store).await;

    let second = store.submit(new_build(Brief::of("a to-do list"))).await.unwrap();

    assert!(matches!(second, Submitted::New(ref build) if build.id != first));
}

pub async fn the_same_key_and_request_is_the_same_build(store: &dyn Ageing) {
    let first = store.submit(keyed("k", "aa")).await.unwrap();
    heard(store).await;

    let again = store.submit(keyed("k", "aa")).await.unwrap();

    assert_eq!(again, Submitted::Again(first.build().clone()));
    assert_eq!(heard(store).await, []);
    assert_eq!(store.builds(&wanted(10)).await.unwrap().rows.len(), 1);
}

pub async fn the_same_key_with_another_request_is_a_conflict(store: &dyn Ageing) {
    store.submit(keyed("k", "aa")).await.unwrap();

    let other = store.submit(keyed("k", "bb")).await;

    assert_eq!(code_of(other), "idempotency_key_reused");
    assert_eq!(store.builds(&wanted(10)).await.unwrap().rows.len(), 1);
}

pub async fn the_same_key_of_another_tenant_is_another_build(store: &dyn Ageing) {
    store.submit(keyed("k", "aa")).await.unwrap();

    let other =
        store.submit(NewBuild { tenant: "other".to_owned(), ..keyed("k", "bb") }).await.unwrap();

    assert!(matches!(other, Submitted::New(_)));
}

pub async fn submits_with_one_key_at_once_keep_one_build(store: &dyn Ageing) {
    let submits = (0..12).map(|_| store.submit(keyed("k", "aa")));

    let answers: Vec<_> =
        join_all(submits).await.into_iter().map(|answer| answer.unwrap()).collect();

    let new = answers.iter().filter(|answer| matches!(answer, Submitted::New(_))).count();
    assert_eq!(new, 1);
    assert!(answers.iter().all(|answer| answer.build().id == answers[0].build().id));
    assert_eq!(heard(store).await.len(), 1);
}

pub async fn what_is_unknown_does_not_exist(store: &dyn Ageing) {
    let build: BuildId = draw::id();
    let plan: PlanId = draw::id();
    let delivery = draw::id();
    let planless = submitted(store).await;

    assert_not_found(store.build(build).await);
    assert_not_found(store.cancel_build(build).await);
    assert_not_found(store.retry_build(build).await);
    assert_not_found(store.plan_of(build).await);
    assert_not_found(store.plan_of(planless).await);
    assert_not_found(store.plan(plan).await);
    assert_not_found(store.approve_plan(plan).await);
    assert_not_found(store.reject_plan(plan, "plan_rejected", "no").await);
    assert_not_found(store.task(draw::id()).await);
    assert_not_found(store.task_attempts(draw::id()).await);
    assert_not_found(store.tasks(build).await);
    assert_not_found(store.events(build, 0, 10).await);
    assert_not_found(store.files(build).await);
    assert_not_found(store.file_contents(build).await);
    assert_not_found(store.file(planless, "main.py").await);
    assert_not_found(store.delivery(delivery).await);
    assert_not_found(store.delivery_attempts(delivery).await);
    assert_not_found(store.redeliver(delivery).await);
    assert_not_found(store.remove_limit("ghost", "test").await);
    assert_not_found(store.pause(&Gate::Build(build), "test").await);
    let fence = Fence { job: Job::Plan(build), attempt: 1 };
    assert!(!keeps(store, draw::id(), fence).await);
    assert_eq!(store.tasks(planless).await.unwrap(), []);
}

pub async fn builds_are_listed_newest_first_and_in_pages(store: &dyn Ageing) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(submitted(store).await);
    }
    ids.reverse();

    let first = store.builds(&wanted(2)).await.unwrap();
    let second = store.builds(&BuildsWanted { after: Some(ids[1]), ..wanted(3) }).await.unwrap();

    let listed = |page: &Page<Build>| page.rows.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!((listed(&first), first.next), (ids[..2].to_vec(), true));
    assert_eq!((listed(&second), second.next), (ids[2..].to_vec(), false));
}

pub async fn builds_are_listed_by_tenant_state_and_project(store: &dyn Ageing) {
    let queued = submitted(store).await;
    let cancelled = submitted(store).await;
    store.cancel_build(cancelled).await.unwrap();
    let brief = Brief { project_id: Some("shop".to_owned()), ..Brief::of("a shop") };
    let in_project = submitted_as(store, brief).await;
    let others = NewBuild { tenant: "other".to_owned(), ..new_build(Brief::of("theirs")) };
    store.submit(others).await.unwrap();

    let listed = async |wanted: BuildsWanted| {
        let page = store.builds(&wanted).await.unwrap();
        page.rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };

    assert_eq!(listed(wanted(10)).await, [in_project, cancelled, queued]);
    let state = Some(build::State::Cancelled);
    assert_eq!(listed(BuildsWanted { state, ..wanted(10) }).await, [cancelled]);
    let project_id = Some("shop".to_owned());
    assert_eq!(listed(BuildsWanted { project_id, ..wanted(10) }).await, [in_project]);
}

pub async fn text_of_every_kind_is_kept_as_it_is(store: &dyn Ageing) {
    let mut brief = Brief::of("quotes ' \" \\ lines \n\r\t nothing \u{0} far \u{10ffff} joined 👩‍👩‍👧");
    brief.metadata.insert("zebra".to_owned(), json!({ "b": 1.5, "a": [null, "\u{0}"] }));
    brief.metadata.insert("ant".to_owned(), json!(9_007_199_254_740_993_i64));

    let build = submitted_as(store, brief.clone()).await;

    let kept = store.build(build).await.unwrap().brief;
    assert_eq!(kept, brief);
    assert_eq!(kept.metadata.keys().collect::<Vec<_>>(), ["zebra", "ant"]);
    claimed(store, build).await;
    let told = store.events(build, 0, 1).await.unwrap();
    assert_eq!(told[0].data["prompt"], brief.prompt);
}
