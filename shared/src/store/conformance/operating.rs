//! What operators ask: why work waits, what a filter meets, what failed, and what was done to it.

use serde_json::json;

use super::*;
use crate::{
    domain::{attempt, delivery, limit::By},
    store::audit::Change,
};

/// A build of a project at a priority, which waits for its planner.
async fn of_project(store: &dyn Ageing, project: &str, priority: u8) -> BuildId {
    let project_id = Some(project.to_owned());
    submitted_as(store, Brief { project_id, priority, ..Brief::of("a list") }).await
}

fn all() -> BuildFilter {
    BuildFilter {
        tenant: TENANT.to_owned(),
        states: Vec::new(),
        project_id: None,
        stop_code: None,
        priority: None,
        created: Span::default(),
        ids: None,
    }
}

async fn found(store: &dyn Ageing, filter: BuildFilter) -> Vec<BuildId> {
    let wanted = BuildsFound { filter, limit: 100, after: None };
    let page = store.find_builds(&wanted).await.unwrap();
    let count = store.count_builds(&wanted.filter).await.unwrap();
    assert_eq!((page.rows.len() as u64, page.next), (count, false));
    page.rows
}

async fn wait(store: &dyn Ageing, job: Job) -> Option<Wait> {
    store.waits(&[job]).await.unwrap().remove(&job)
}

fn everything() -> FailedWanted {
    FailedWanted {
        lane: None,
        tenant: None,
        code: None,
        at: Span::default(),
        limit: 100,
        after: None,
    }
}

async fn failed(store: &dyn Ageing, wanted: &FailedWanted) -> Vec<Failed> {
    let page = store.failed(wanted).await.unwrap();
    assert!(!page.next);
    page.rows
}

pub async fn ready_work_says_where_it_waits(store: &dyn Ageing) {
    let new = NewBuild { webhook: Some(endpoint(&[])), ..new_build(Brief::of("a list")) };
    let build = store.submit(new).await.unwrap().build().id;
    let line = wait(store, Job::Plan(build)).await.unwrap();
    assert_eq!((line.parked_on, line.pause), (None, None));

    let scene = Scene::adopted(store, build, "flaky -> later, one, two").await;
    let limit = Limit {
        name: "one".to_owned(),
        lane: Some(Lane::Tasks),
        by: By::Tenant,
        value: None,
        concurrency: Some(1),
        rate: None,
    };
    scene.fail("flaky", flaky()).await;
    store.put_limit(&limit, "test").await.unwrap();
    scene.claim("one").await;
    let dry = Ask { holder: draw::id(), lease: LEASE, room: 9, slots: 9 };
    assert_eq!(store.claim_tasks(&dry).await.unwrap(), []);

    let jobs = ["flaky", "later", "one", "two"].map(|key| Job::Task(scene.task(key)));
    let waits = store.waits(&jobs).await.unwrap();

    assert_eq!(waits.len(), 2);
    assert_eq!(waits[&jobs[0]].parked_on, Some(Gate::Time));
    let gate = Gate::Limit { name: "one".to_owned(), value: TENANT.to_owned() };
    assert_eq!(waits[&jobs[3]].parked_on, Some(gate));
    store.age(HOUR).await;
    // The time has come, so it is in line.
    assert_eq!(wait(store, jobs[0]).await.unwrap().parked_on, None);
    let listed = DeliveriesWanted {
        tenant: TENANT.to_owned(),
        build: Some(build),
        state: None,
        limit: 2,
        after: None,
    };
    let deliveries = store.deliveries(&listed).await.unwrap().rows;
    let last = wait(store, Job::Delivery(deliveries[0].id)).await.unwrap();
    assert_eq!(last.parked_on, Some(Gate::Turn));
    assert_eq!(wait(store, Job::Plan(draw::id())).await, None);
}

pub async fn paused_work_says_who_paused_it(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    let other = submitted(store).await;
    let job = Job::Task(scene.task("fetch"));
    let gates =
        [Gate::Build(scene.build), Gate::Tenant(TENANT.to_owned()), Gate::Lane(Lane::Tasks)];

    for gate in &gates {
        store.pause(gate, "ada").await.unwrap();

        let pause = wait(store, job).await.unwrap().pause.unwrap();

        assert_eq!((&pause.gate, pause.by.as_str()), (gate, "ada"));
        let is_tenant = matches!(gate, Gate::Tenant(_));
        assert_eq!(wait(store, Job::Plan(other)).await.unwrap().pause.is_some(), is_tenant);
        assert_eq!(store.paused_at(&gates).await.unwrap(), [pause]);
        assert_eq!(store.paused_at(&[Gate::Build(other)]).await.unwrap(), []);
        store.resume(gate, "ada").await.unwrap();
        assert_eq!(wait(store, job).await.unwrap().pause, None);
    }
}

pub async fn what_is_parked_is_counted_by_gate(store: &dyn Ageing) {
    let scene = executing(store, "a, b, c").await;
    store.pause(&Gate::Build(scene.build), "ada").await.unwrap();
    store.pause(&Gate::Tenant("other".to_owned()), "ada").await.unwrap();
    let theirs = NewBuild { tenant: "other".to_owned(), ..new_build(Brief::of("a list")) };
    store.submit(theirs).await.unwrap();
    assert_eq!(store.parked().await.unwrap(), []);
    let ask = Ask { holder: draw::id(), lease: LEASE, room: 9, slots: 9 };

    assert_eq!(store.claim_tasks(&ask).await.unwrap(), []);
    assert_eq!(store.claim_builds(&ask).await.unwrap(), []);

    let of = |lane, gate, count| Parked { lane, gate, count };
    let expected = [
        of(Lane::Plans, Gate::Tenant("other".to_owned()), 1),
        of(Lane::Tasks, Gate::Build(scene.build), 3),
    ];
    assert_eq!(store.parked().await.unwrap(), expected);
    store.resume(&Gate::Build(scene.build), "ada").await.unwrap();
    assert_eq!(store.claim_tasks(&ask).await.unwrap().len(), 3);
    assert_eq!(store.parked().await.unwrap(), expected[..1]);
}

pub async fn builds_are_found_by_every_part_of_a_filter(store: &dyn Ageing) {
    let old = of_project(store, "x", 1).await;
    store.age(HOUR).await;
    let new = of_project(store, "y", 2).await;
    let scene = executing(store, "fetch").await;
    scene.break_down("fetch").await;
    let lost = scene.build;
    let theirs = NewBuild { tenant: "other".to_owned(), ..new_build(Brief::of("a list")) };
    let theirs = store.submit(theirs).await.unwrap().build().id;
    let made = store.build(new).await.unwrap().created_at;

    let since = Span { since: Some(made), until: None };
    let until = Span { since: None, until: Some(made) };
    for (filter, wanted) in [
        (all(), vec![lost, new, old]),
        (BuildFilter { tenant: "other".to_owned(), ..all() }, vec![theirs]),
        (BuildFilter { states: vec![build::State::Queued], ..all() }, vec![new, old]),
        (
            BuildFilter { states: vec![build::State::Queued, build::State::Failed], ..all() },
            vec![lost, new, old],
        ),
        (BuildFilter { project_id: Some("x".to_owned()), ..all() }, vec![old]),
        (BuildFilter { stop_code: Some("tasks_failed".to_owned()), ..all() }, vec![lost]),
        (BuildFilter { priority: Some(2), ..all() }, vec![new]),
        (BuildFilter { created: since, ..all() }, vec![lost, new]),
        (BuildFilter { created: until, ..all() }, vec![old]),
        (BuildFilter { ids: Some(vec![old, theirs]), ..all() }, vec![old]),
        (BuildFilter { ids: Some(Vec::new()), ..all() }, Vec::new()),
        (BuildFilter { priority: Some(2), project_id: Some("x".to_owned()), ..all() }, Vec::new()),
    ] {
        assert_eq!(found(store, filter.clone()).await, wanted, "{filter:?}");
    }
}

pub async fn what_a_filter_meets_is_counted_and_paged(store: &dyn Ageing) {
    for _ in 0..5 {
        of_project(store, "x", 3).await;
    }
    let filter = BuildFilter { project_id: Some("x".to_owned()), ..all() };
    let mut wanted = BuildsFound { filter, limit: 2, after: None };
    let (mut seen, mut pages) = (Vec::new(), 0);

    loop {
        let page = store.find_builds(&wanted).await.unwrap();
        seen.extend(page.rows);
        pages += 1;
        wanted.after = seen.last().copied();
        if !page.next {
            break;
        }
    }

    assert_eq!((pages, store.count_builds(&wanted.filter).await.unwrap()), (3, 5));
    assert_eq!(seen, found(store, wanted.filter).await);
}

pub async fn failed_work_is_listed_with_its_reasons(store: &dyn Ageing) {
    let scene = executing(store, "fetch -> build").await;
    scene.fail("fetch", flaky()).await;
    store.age(HOUR).await;
    scene.break_down("fetch").await;

    let listed = failed(store, &everything()).await;

    let [first, second] = listed.try_into().unwrap();
    // Both were given up by one commit; which is first is the store's affair.
    let (build, task) =
        if first.place.job.lane() == Lane::Plans { (first, second) } else { (second, first) };
    assert_eq!(build.place.job, Job::Plan(scene.build));
    assert_eq!((build.name.as_str(), build.code.as_str()), ("a to-do list", "tasks_failed"));
    assert_eq!((build.failures, build.first), (0, None));
    assert_eq!(task.place.job, Job::Task(scene.task("fetch")));
    assert_eq!((task.build, task.tenant.as_str()), (scene.build, TENANT));
    assert_eq!((task.code.as_str(), task.reason.as_str()), ("broken", "it cannot work"));
    assert_eq!((task.attempt, task.failures, task.crashes), (2, 2, 0));
    assert_eq!((task.first, task.last), (Some(flaky()), Some(broken())));
    let settled = store.task(scene.task("fetch")).await.unwrap().settled_at;
    assert_eq!(Some(task.at), settled);
}

pub async fn failed_work_is_listed_newest_first_and_in_pages(store: &dyn Ageing) {
    let mut made = Vec::new();
    for _ in 0..3 {
        let scene = executing(store, "fetch").await;
        scene.break_down("fetch").await;
        made.push(scene.task("fetch"));
        store.age(HOUR).await;
    }
    let tasks = FailedWanted { lane: Some(Lane::Tasks), ..everything() };
    let jobs = |rows: &[Failed]| rows.iter().map(|row| row.place.job).collect::<Vec<_>>();
    let newest: Vec<_> = made.iter().rev().map(|id| Job::Task(*id)).collect();

    assert_eq!(jobs(&failed(store, &tasks).await), newest);
    let (mut wanted, mut seen) = (FailedWanted { limit: 2, ..everything() }, Vec::new());
    loop {
        let page = store.failed(&wanted).await.unwrap();
        seen.extend(page.rows);
        wanted.after = seen.last().map(|row| row.place);
        if !page.next {
            break;
        }
    }
    assert_eq!(seen, failed(store, &everything()).await);
    assert_eq!(seen.len(), 6);

    let middle = store.task(made[1]).await.unwrap().settled_at;
    let until = Span { since: None, until: middle };
    let since = Span { since: middle, until: None };
    let at = |at| FailedWanted { at, ..tasks.clone() };
    assert_eq!(jobs(&failed(store, &at(until)).await), newest[2..]);
    assert_eq!(jobs(&failed(store, &at(since)).await), newest[..2]);
    let theirs = FailedWanted { tenant: Some("other".to_owned()), ..everything() };
    assert_eq!(failed(store, &theirs).await, []);
    let code = |code: &str| FailedWanted { code: Some(code.to_owned()), ..everything() };
    assert_eq!(failed(store, &code("broken")).await.len(), 3);
    assert_eq!(failed(store, &code("tasks_failed")).await.len(), 3);
}

pub async fn quarantined_work_is_found_by_its_code(store: &dyn Ageing) {
    let scene = executing(store, "killer, other").await;
    let planning = submitted(store).await;
    scene.break_down("other").await;
    for _ in 0..3 {
        let claims = [scene.claim("killer").await.fence(), claimed(store, planning).await.fence()];
        store.age(LEASE).await;
        for fence in claims {
            store.settle_lost(fence, &Policy::WORK, Jitter::NONE).await.unwrap();
        }
    }

    let code = Some(attempt::QUARANTINED.to_owned());
    let listed = failed(store, &FailedWanted { code, ..everything() }).await;

    let mut jobs: Vec<_> = listed.iter().map(|row| row.place.job).collect();
    jobs.sort_unstable();
    assert_eq!(jobs, [Job::Plan(planning), Job::Task(scene.task("killer"))]);
    for row in listed {
        assert_eq!((row.failures, row.crashes), (0, 3));
        assert!(row.reason.contains("lost 3 workers"), "{}", row.reason);
        assert_eq!(row.first.unwrap().code, attempt::WORKER_LOST);
    }
    // By hand it is tried again.
    store.retry_build(scene.build).await.unwrap();
    assert_eq!(scene.claim("killer").await.attempt, 4);
}

pub async fn deliveries_are_found_by_every_part_of_a_filter(store: &dyn Ageing) {
    let kinds = [Kind::BuildStarted, Kind::PlanGenerated];
    let new = NewBuild { webhook: Some(endpoint(&kinds)), ..new_build(Brief::of("a list")) };
    let build = store.submit(new).await.unwrap().build().id;
    Scene::adopted(store, build, "fetch").await;
    let ask = Ask { holder: draw::id(), lease: LEASE, room: 9, slots: 9 };
    let claim = store.claim_deliveries(&ask).await.unwrap().remove(0);
    let result = SendResult {
        failure: Some(Failure::permanent("gone", "the receiver answered 410")),
        status: Some(410),
        took_ms: 1,
        ..SendResult::default()
    };
    let law = (&Policy::DELIVERY, Jitter::NONE);
    store.settle_delivery(claim.fence(), &result, law.0, law.1).await.unwrap();
    let lost = claim.delivery;
    let next = store.claim_deliveries(&ask).await.unwrap().remove(0).delivery;
    let made = store.delivery(lost).await.unwrap().created_at;

    let any = DeliveryFilter {
        tenant: TENANT.to_owned(),
        states: Vec::new(),
        build: None,
        endpoint: None,
        kind: None,
        code: None,
        created: Span::default(),
        ids: None,
    };
    let until = Span { since: None, until: Some(made) };
    for (filter, wanted) in [
        (any.clone(), vec![next, lost]),
        (DeliveryFilter { tenant: "other".to_owned(), ..any.clone() }, Vec::new()),
        (DeliveryFilter { states: vec![delivery::State::Exhausted], ..any.clone() }, vec![lost]),
        (DeliveryFilter { build: Some(build), ..any.clone() }, vec![next, lost]),
        (DeliveryFilter { build: Some(draw::id()), ..any.clone() }, Vec::new()),
        (DeliveryFilter { endpoint: Some(claim.endpoint), ..any.clone() }, vec![next, lost]),
        (DeliveryFilter { endpoint: Some(draw::id()), ..any.clone() }, Vec::new()),
        (DeliveryFilter { kind: Some(Kind::PlanGenerated), ..any.clone() }, vec![next]),
        (DeliveryFilter { code: Some("gone".to_owned()), ..any.clone() }, vec![lost]),
        (DeliveryFilter { created: until, ..any.clone() }, Vec::new()),
        (DeliveryFilter { ids: Some(vec![next]), ..any.clone() }, vec![next]),
    ] {
        let wanted_page = DeliveriesFound { filter: filter.clone(), limit: 9, after: None };
        let page = store.find_deliveries(&wanted_page).await.unwrap();
        assert_eq!((page.rows, page.next), (wanted.clone(), false), "{filter:?}");
        assert_eq!(store.count_deliveries(&filter).await.unwrap(), wanted.len() as u64);
    }
    let first = DeliveriesFound { filter: any, limit: 1, after: None };
    let page = store.find_deliveries(&first).await.unwrap();
    assert_eq!((page.rows, page.next), (vec![next], true));
    let second = DeliveriesFound { after: Some(next), ..first };
    assert_eq!(store.find_deliveries(&second).await.unwrap().rows, [lost]);
}

pub async fn attempts_at_planning_are_listed_oldest_first(store: &dyn Ageing) {
    let build = submitted(store).await;
    let first = claimed(store, build).await;
    let law = (&Policy::WORK, Jitter::NONE);
    store.settle_planning(&first, &flaky(), law.0, law.1).await.unwrap();
    store.age(HOUR).await;
    claimed(store, build).await;

    let attempts = store.planning_attempts(build).await.unwrap();

    let told: Vec<_> =
        attempts.iter().map(|attempt| (attempt.number, attempt.state.as_str())).collect();
    assert_eq!(told, [(1, "failed"), (2, "running")]);
    assert_eq!(attempts[0].failure, Some(flaky()));
    assert_not_found(store.planning_attempts(draw::id()).await);
}

pub async fn what_is_done_in_bulk_is_in_the_audit(store: &dyn Ageing) {
    let detail = json!({ "filter": { "state": ["queued"] }, "matching": 2 });
    let change = Change::Bulk { action: "bulk_cancel", subject: "builds", detail: &detail };

    store.note(&change, "ada").await.unwrap();

    let page = store.audit(&AuditWanted { limit: 9, before: None }).await.unwrap();
    let entry = &page.rows[0];
    assert_eq!((entry.by.as_str(), entry.action.as_str()), ("ada", "bulk_cancel"));
    assert_eq!((entry.subject.as_str(), &entry.detail), ("builds", &detail));
}
