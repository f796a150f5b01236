//! What was missed is sent again, and in the end forgotten.

use super::{
    endpoints::{asked, began, claim, drain, kept, settings, settle_all},
    *,
};
use crate::domain::{
    delivery::State,
    endpoint::{Profile, Settings},
    exchange::Asked,
    id::EndpointId,
};

fn of_endpoint(id: EndpointId) -> DeliveryFilter {
    DeliveryFilter {
        tenant: TENANT.to_owned(),
        states: vec![State::Exhausted],
        build: None,
        endpoint: Some(id),
        kind: None,
        code: None,
        created: Span { since: Some(At(0)), until: None },
        ids: None,
    }
}

/// Goes on until there is nothing left to go on with.
async fn replayed(store: &dyn Ageing, limit: u32) -> u64 {
    let mut sent = 0;
    loop {
        let step = store.go_on_replaying(limit).await.unwrap();
        if step == 0 {
            return sent;
        }
        sent += step;
    }
}

/// An endpoint that lost this many deliveries.
async fn lost(store: &dyn Ageing, builds: usize) -> EndpointId {
    let never = Settings { retry: Profile::Own(vec![]), ..settings() };
    let id = kept(store, TENANT, never).await.id;
    began(store, builds).await;
    loop {
        let claims = claim(store, 100).await;
        if claims.is_empty() {
            return id;
        }
        settle_all(store, &claims, &asked(500, Asked::default())).await;
    }
}

pub async fn a_replay_sends_all_that_it_meets_again(store: &dyn Ageing) {
    let id = lost(store, 25).await;
    store.age(secs(1)).await;
    let wanted = ReplayWanted { filter: of_endpoint(id), missing: None };

    assert_eq!(store.count_replay(&wanted).await.unwrap(), 25);
    let replay = store.begin_replay(draw::id(), &wanted, "somebody").await.unwrap();
    assert_eq!((replay.state, replay.total, replay.done), (ReplayState::Running, 25, 0));
    heard(store).await;
    assert_eq!(store.go_on_replaying(10).await.unwrap(), 10);
    assert!(!heard(store).await.is_empty());
    assert_eq!(store.replay(replay.id).await.unwrap().done, 10);
    // What is lost once more meanwhile is not met again.
    let claims = claim(store, 100).await;
    settle_all(store, &claims, &asked(500, Asked::default())).await;
    assert_eq!(replayed(store, 10).await, 15);

    let done = store.replay(replay.id).await.unwrap();
    assert_eq!((done.state, done.done), (ReplayState::Done, 25));
    assert!(done.settled_at.is_some());
    assert_eq!(store.replays(TENANT).await.unwrap(), [done]);
    assert_eq!(drain(store).await, 25 - claims.len());
    let audit = store.audit(&AuditWanted { limit: 1, before: None }).await.unwrap();
    assert_eq!((audit.rows[0].action.as_str(), audit.rows[0].by.as_str()), ("replay", "somebody"));
}

pub async fn a_replay_can_be_paused_and_cancelled(store: &dyn Ageing) {
    let id = lost(store, 6).await;
    store.age(secs(1)).await;
    let wanted = ReplayWanted { filter: of_endpoint(id), missing: None };
    let replay = store.begin_replay(draw::id(), &wanted, "somebody").await.unwrap().id;

    store.go_on_replaying(2).await.unwrap();
    store.steer_replay(replay, ReplayState::Paused).await.unwrap();
    assert_eq!(replayed(store, 2).await, 0);
    store.steer_replay(replay, ReplayState::Running).await.unwrap();
    assert_eq!(store.go_on_replaying(2).await.unwrap(), 2);
    let cancelled = store.steer_replay(replay, ReplayState::Cancelled).await.unwrap();
    assert_eq!((cancelled.state, cancelled.done), (ReplayState::Cancelled, 4));
    assert_eq!(replayed(store, 2).await, 0);
    let again = store.steer_replay(replay, ReplayState::Running).await;
    assert_eq!(code_of(again), "replay_ended");
    assert_not_found(store.replay(draw::id()).await);
}

pub async fn a_recovery_sends_what_was_never_heard_of_too(store: &dyn Ageing) {
    let id = lost(store, 2).await;
    store.disable_endpoint(id, "it is being moved").await.unwrap();
    let scene = executing(store, "fetch").await;
    scene.succeed("fetch").await;
    store.enable_endpoint(id).await.unwrap();
    store.age(secs(1)).await;
    let wanted = ReplayWanted { filter: of_endpoint(id), missing: Some(id) };

    assert_eq!(store.count_replay(&wanted).await.unwrap(), 2 + 5);
    store.begin_replay(draw::id(), &wanted, "somebody").await.unwrap();
    assert_eq!(replayed(store, 2).await, 7);

    assert_eq!(drain(store).await, 7);
    let told = store.deliveries(&super::deliveries::wanted(scene.build)).await.unwrap().rows;
    assert_eq!(told.len(), 5);
    assert!(told.iter().all(|told| told.state == State::Delivered));
    // Once more finds nothing more.
    assert_eq!(store.count_replay(&wanted).await.unwrap(), 0);
}

pub async fn what_was_told_about_endpoints_is_forgotten_in_time(store: &dyn Ageing) {
    let id = kept(store, TENANT, settings()).await.id;
    let old = store.test_endpoint(TENANT, id).await.unwrap().id;
    assert_eq!(drain(store).await, 1);
    store.age(HOUR).await;
    let young = store.test_endpoint(TENANT, id).await.unwrap().id;
    assert_eq!(drain(store).await, 1);
    let open = store.test_endpoint(TENANT, id).await.unwrap().id;

    store.forget(HOUR, 10).await.unwrap();

    assert_not_found(store.delivery(old).await);
    assert_not_found(store.delivery_attempts(old).await);
    assert_eq!(store.delivery(young).await.unwrap().state, State::Delivered);
    assert_eq!(store.delivery(open).await.unwrap().state, State::Pending);
}
