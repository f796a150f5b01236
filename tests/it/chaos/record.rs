//! What the record of a fleet must look like once all is done, whatever it went through.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use api::auth::TENANT;
use buildfleet::{
    domain::{attempt, build, delivery, event::Kind, id::BuildId, task},
    store::{Build, BuildsWanted, DeliveriesWanted, Delivery, EventView, Store},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tests::{client::SECRET, patience::until_some, receiver::Receiver};

/// The files of a project by path.
pub type Files = BTreeMap<String, Vec<u8>>;
/// What an undisturbed fleet makes of each prompt.
pub type Reference = HashMap<String, Files>;

pub async fn builds(store: &dyn Store) -> Vec<Build> {
    let all = BuildsWanted {
        tenant: TENANT.to_owned(),
        state: None,
        project_id: None,
        limit: 10_000,
        after: None,
    };
    store.builds(&all).await.unwrap().rows
}

pub async fn unfinished(store: &dyn Store) -> usize {
    builds(store).await.iter().filter(|build| !build.state.is_final()).count()
}

async fn deliveries(store: &dyn Store) -> Vec<Delivery> {
    let all = DeliveriesWanted {
        tenant: TENANT.to_owned(),
        build: None,
        state: None,
        limit: 100_000,
        after: None,
    };
    store.deliveries(&all).await.unwrap().rows
}

pub async fn files(store: &dyn Store, build: BuildId) -> Files {
    let contents = store.file_contents(build).await.unwrap();
    contents.into_iter().map(|one| (one.file.path, one.content)).collect()
}

/// Waits until no build and no delivery is open.
pub async fn at_rest(store: &dyn Store, within: Duration) {
    let deadline = std::time::Instant::now() + within;
    until_some("the fleet is at rest", within + Duration::from_secs(1), async || {
        let open: Vec<_> =
            builds(store).await.into_iter().filter(|build| !build.state.is_final()).collect();
        let untold: Vec<_> =
            deliveries(store).await.into_iter().filter(|one| !one.state.is_final()).collect();
        let resting = open.is_empty() && untold.is_empty();
        if !resting && deadline < std::time::Instant::now() {
            for build in &open {
                eprintln!("{}: {:?}", build.id, build.state);
                for task in store.tasks(build.id).await.unwrap() {
                    eprintln!("  {} {:?} attempt {}", task.key, task.state, task.attempt);
                }
            }
            eprintln!("deliveries still open: {untold:#?}");
        }
        resting.then_some(())
    })
    .await;
}

/// Everything that was asked for was done, once.
pub async fn assert_all_done_once(
    store: &dyn Store,
    submitted: &HashSet<BuildId>,
    reference: &Reference,
) {
    let builds = builds(store).await;
    let kept: HashSet<_> = builds.iter().map(|build| build.id).collect();
    assert_eq!(builds.len(), submitted.len(), "a build was doubled or lost");
    assert_eq!(&kept, submitted);
    for build in &builds {
        assert_done_once(store, build).await;
        let made = files(store, build.id).await;
        let wanted = &reference[&build.brief.prompt];
        let paths = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(paths(&made), paths(wanted), "{}", build.id);
        for (path, content) in &made {
            assert!(content == &wanted[path], "{path} of {} is not as it should be", build.id);
        }
    }
    assert_eq!(store.lapsed(10).await.unwrap(), []);
    for lane in store.lanes().await.unwrap() {
        assert_eq!((lane.waiting, lane.delayed, lane.running), (0, 0, 0), "{}", lane.lane);
    }
}

async fn assert_done_once(store: &dyn Store, build: &Build) {
    let id = build.id;
    let events = store.events(id, 0, 100_000).await.unwrap();
    let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    let count = |kind| kinds.iter().filter(|one| **one == kind).count();

    assert_eq!(build.state, build::State::Completed, "{id}: {:?} {events:#?}", build.stop);
    assert_eq!(seqs, (1..=build.last_seq).collect::<Vec<_>>(), "{id}: the log has a gap");
    for kind in [Kind::BuildStarted, Kind::PlanGenerated, Kind::BuildCompleted] {
        assert_eq!(count(kind), 1, "{id}: {kind:?}");
    }
    assert_eq!(kinds.last(), Some(&Kind::BuildCompleted), "{id}");

    let tasks = store.tasks(id).await.unwrap();
    for task in &tasks {
        let attempts = store.task_attempts(task.id).await.unwrap();
        let named = |kind| seqs_of(&events, kind, &task.id.to_string());
        let succeeded =
            attempts.iter().filter(|one| one.state == attempt::State::Succeeded).count();
        assert_eq!(task.state, task::State::Completed, "{}", task.id);
        assert_eq!(succeeded, 1, "{}: {attempts:#?}", task.id);
        assert!(attempts.iter().all(|one| one.state.is_final()), "{}: {attempts:#?}", task.id);
        assert_eq!(named(Kind::TaskCompleted).len(), 1, "{}", task.id);
        assert_eq!(named(Kind::TaskStarted).len(), attempts.len(), "{}", task.id);
        for on in &task.depends_on {
            let met = seqs_of(&events, Kind::TaskCompleted, &on.to_string());
            assert!(met.first() < named(Kind::TaskStarted).first(), "{} began too early", task.id);
        }
    }
    assert_eq!(count(Kind::TaskCompleted), tasks.len(), "{id}");
    let kept = store.files(id).await.unwrap();
    let tally = build.tally;
    let counted = (tally.tasks as usize, tally.completed as usize, tally.files as usize);
    assert_eq!(counted, (tasks.len(), tasks.len(), kept.len()), "{id}");
    assert_eq!((tally.failed, tally.skipped, tally.cancelled), (0, 0, 0), "{id}");
    let told = &events.last().unwrap().data;
    assert_eq!(told["completedTasks"], tasks.len(), "{id}");
    assert_eq!(told["filesCreated"], kept.len(), "{id}");
}

fn seqs_of(events: &[EventView], kind: Kind, task: &str) -> Vec<u64> {
    let named = |event: &&EventView| event.kind == kind && event.data["taskId"] == task;
    events.iter().filter(named).map(|event| event.seq).collect()
}

/// What a receiver was told: id and type of each event of each build, in the order of first
/// receipt. Whatever was not signed by us counts as not told.
fn heard(receiver: &Receiver) -> HashMap<String, Vec<(String, String)>> {
    let mut seen = HashSet::new();
    let mut heard: HashMap<_, Vec<_>> = HashMap::new();
    for request in receiver.requests() {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(&request.body);
        let signature = hex::encode(mac.finalize().into_bytes());
        assert_eq!(request.header("x-webhook-signature"), signature, "{request:?}");
        let event = request.header("webhook-id").to_owned();
        if seen.insert(event.clone()) {
            let build = request.json()["buildId"].as_str().unwrap().to_owned();
            heard.entry(build).or_default().push((event, request.kind()));
        }
    }
    heard
}

/// Nothing counts as delivered that the receiver has not seen.
pub async fn assert_no_claim_without_receipt(store: &dyn Store, receiver: &Receiver) {
    // The record first: what it knows came before.
    let deliveries = deliveries(store).await;
    let heard: HashSet<_> =
        heard(receiver).into_values().flatten().map(|(event, _)| event).collect();
    for delivery in deliveries {
        if delivery.state == delivery::State::Delivered {
            assert!(heard.contains(&delivery.event.to_string()), "{delivery:?}");
        }
    }
}

/// Every event reached the receiver, and first in the order of the log.
pub async fn assert_all_told_in_order(store: &dyn Store, receiver: &Receiver) {
    let mut heard = heard(receiver);
    for build in builds(store).await {
        let events = store.events(build.id, 0, 100_000).await.unwrap();
        let logged: Vec<_> = events
            .iter()
            .map(|event| (event.id.to_string(), event.kind.as_str().to_owned()))
            .collect();
        assert_eq!(heard.remove(&build.id.to_string()), Some(logged), "{}", build.id);
    }
    assert!(heard.is_empty(), "told of builds that nobody posted: {heard:?}");
    for delivery in deliveries(store).await {
        assert_eq!(delivery.state, delivery::State::Delivered, "{delivery:?}");
    }
}
