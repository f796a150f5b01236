//! Every event is told to whoever wants it, in order, until it was heard or given up.

use futures_util::future::join_all;

use super::*;
use crate::domain::{attempt, delivery::State, id::DeliveryId};

pub(super) fn wanted(build: BuildId) -> DeliveriesWanted {
    DeliveriesWanted {
        tenant: TENANT.to_owned(),
        build: Some(build),
        state: None,
        limit: 100,
        after: None,
    }
}

/// The deliveries of a build, oldest first.
async fn deliveries(store: &dyn Ageing, build: BuildId) -> Vec<Delivery> {
    let mut rows = store.deliveries(&wanted(build)).await.unwrap().rows;
    rows.reverse();
    rows
}

/// A build with an endpoint, whose one task has run: five events.
pub(super) async fn told<'a>(store: &'a dyn Ageing, kinds: &[Kind]) -> Scene<'a> {
    let new = NewBuild { webhook: Some(endpoint(kinds)), ..new_build(Brief::of("a list")) };
    let build = store.submit(new).await.unwrap().build().id;
    let scene = Scene::adopted(store, build, "fetch").await;
    scene.succeed("fetch").await;
    scene
}

async fn claim(store: &dyn Ageing, id: DeliveryId) -> Option<DeliveryClaim> {
    claim_as(store, id, draw::id()).await
}

async fn claim_as(store: &dyn Ageing, id: DeliveryId, holder: HolderId) -> Option<DeliveryClaim> {
    if !store.prefer(Job::Delivery(id)).await {
        return None;
    }
    let mut claims = store.claim_deliveries(&Ask { holder, ..ask(1) }).await.unwrap();
    assert_eq!(claims.len(), 1);
    claims.pop().inspect(|claim| assert_eq!(claim.delivery, id))
}

async fn settle(
    store: &dyn Ageing,
    claim: &DeliveryClaim,
    failure: Option<Failure>,
) -> Result<(), Error> {
    let result = SendResult {
        status: Some(if failure.is_some() { 500 } else { 204 }),
        failure,
        took_ms: 12,
        excerpt: Some("so it is".to_owned()),
        ..SendResult::default()
    };
    store.settle_delivery(claim.fence(), &result, &Policy::DELIVERY, Jitter::NONE).await
}

async fn deliver(store: &dyn Ageing, id: DeliveryId) {
    let claim = claim(store, id).await.expect("it is the delivery's turn");
    settle(store, &claim, None).await.unwrap();
}

pub async fn every_event_is_told_to_the_endpoint_of_its_build(store: &dyn Ageing) {
    let scene = told(store, &[]).await;
    executing(store, "fetch").await;

    let listed = deliveries(store, scene.build).await;

    let told: Vec<_> = listed.iter().map(|delivery| delivery.kind).collect();
    assert_eq!(told, scene.kinds().await);
    let events = store.events(scene.build, 0, 10).await.unwrap();
    let first = claim(store, listed[0].id).await.unwrap();
    assert_eq!(first.event, events[0]);
    assert!(events[0].at <= first.claimed_at);
    assert_eq!((first.attempt, first.url.as_str()), (1, "http://receiver.test/hook"));
    let hook = scene.build().await.webhook.unwrap();
    use secrecy::ExposeSecret;
    assert_eq!(first.secret.expose_secret(), hook.secret.expose_secret());
    assert_eq!((first.endpoint, listed[0].event), (hook.endpoint, events[0].id));
    let all = store.deliveries(&DeliveriesWanted { build: None, ..wanted(scene.build) }).await;
    assert_eq!(all.unwrap().rows.len(), 5);
}

pub async fn an_endpoint_hears_only_the_kinds_it_wants(store: &dyn Ageing) {
    let scene = told(store, &[Kind::TaskCompleted, Kind::BuildCompleted]).await;

    let listed = deliveries(store, scene.build).await;

    let told: Vec<_> = listed.iter().map(|delivery| (delivery.seq, delivery.kind)).collect();
    assert_eq!(told, [(4, Kind::TaskCompleted), (5, Kind::BuildCompleted)]);
}

pub async fn deliveries_go_one_after_the_other(store: &dyn Ageing) {
    let scene = told(store, &[]).await;
    let listed = deliveries(store, scene.build).await;
    let first_jobs: Vec<_> =
        heard(store).await.into_iter().filter(|job| job.lane() == Lane::Deliveries).collect();

    assert_eq!(first_jobs, [Job::Delivery(listed[0].id)]);
    assert!(claim(store, listed[1].id).await.is_none());
    for index in 0..5 {
        let claims = store.claim_deliveries(&ask(9)).await.unwrap();
        assert_eq!(claims.len(), 1);
        assert_eq!(claims[0].delivery, listed[index].id);
        settle(store, &claims[0], None).await.unwrap();

        let next: Vec<_> =
            listed.get(index + 1).map(|next| Job::Delivery(next.id)).into_iter().collect();
        assert_eq!(heard(store).await, next);
    }
    let state = store.delivery(listed[4].id).await.unwrap();
    assert_eq!((state.state, state.attempt), (State::Delivered, 1));
    assert!(state.settled_at.is_some() && state.due_at.is_none());
}

pub async fn of_many_claimants_one_gets_the_delivery(store: &dyn Ageing) {
    let scene = told(store, &[]).await;
    for delivery in deliveries(store, scene.build).await {
        let asks: Vec<_> = (0..8).map(|_| ask(3)).collect();
        let claims = join_all(asks.iter().map(|ask| store.claim_deliveries(ask))).await;

        let won: Vec<_> = claims.into_iter().flat_map(|claims| claims.unwrap()).collect();
        assert_eq!(won.len(), 1);
        assert_eq!(won[0].delivery, delivery.id);
        settle(store, &won[0], None).await.unwrap();
    }
}

pub async fn a_failed_delivery_comes_again_after_its_delay(store: &dyn Ageing) {
    let scene = told(store, &[Kind::BuildCompleted]).await;
    let id = deliveries(store, scene.build).await[0].id;
    let first = claim(store, id).await.unwrap();

    settle(store, &first, Some(flaky())).await.unwrap();

    let delivery = store.delivery(id).await.unwrap();
    assert_eq!((delivery.state, delivery.failure), (State::Pending, Some(flaky())));
    assert!(delivery.due_at.is_some());
    assert!(claim(store, id).await.is_none());
    let wait = store.next_due(Lane::Deliveries).await.unwrap().unwrap();
    assert!(Duration::ZERO < wait && wait <= secs(1), "{wait:?}");
    store.age(secs(1)).await;
    assert_eq!(store.next_due(Lane::Deliveries).await.unwrap(), Some(Duration::ZERO));
    assert_eq!(claim(store, id).await.unwrap().attempt, 2);
    let attempts = store.delivery_attempts(id).await.unwrap();
    assert_eq!((attempts[0].number, attempts[0].state), (1, attempt::State::Failed));
    assert_eq!((attempts[0].status, attempts[0].took_ms), (Some(500), Some(12)));
    assert_eq!(attempts[0].excerpt.as_deref(), Some("so it is"));
    assert_eq!(attempts[0].failure, Some(flaky()));
    assert_eq!((attempts[1].number, attempts[1].state), (2, attempt::State::Running));
}

async fn exhaust(store: &dyn Ageing, id: DeliveryId) {
    for _ in 0..5 {
        let claim = claim(store, id).await.expect("the delivery is due");
        settle(store, &claim, Some(flaky())).await.unwrap();
        store.age(secs(60)).await;
    }
}

pub async fn an_exhausted_delivery_lets_the_next_one_go(store: &dyn Ageing) {
    let scene = told(store, &[]).await;
    let listed = deliveries(store, scene.build).await;
    heard(store).await;

    exhaust(store, listed[0].id).await;

    let first = store.delivery(listed[0].id).await.unwrap();
    assert_eq!((first.state, first.attempt), (State::Exhausted, 5));
    assert_eq!(first.failure, Some(flaky()));
    assert!(heard(store).await.contains(&Job::Delivery(listed[1].id)));
    deliver(store, listed[1].id).await;
    assert_eq!(scene.build_state().await, build::State::Completed);
}

pub async fn a_lost_delivery_comes_again(store: &dyn Ageing) {
    let scene = told(store, &[Kind::BuildCompleted]).await;
    let id = deliveries(store, scene.build).await[0].id;
    let holder = draw::id();
    let lost = claim_as(store, id, holder).await.unwrap();
    assert!(keeps(store, holder, lost.fence()).await);
    heard(store).await;
    store.age(LEASE).await;

    assert_eq!(store.lapsed(10).await.unwrap(), [lost.fence()]);
    store.settle_lost(lost.fence(), &Policy::DELIVERY, Jitter::NONE).await.unwrap();

    assert_eq!(heard(store).await, [Job::Delivery(id)]);
    assert_fenced(settle(store, &lost, None).await);
    let again = claim(store, id).await.unwrap();
    assert_eq!(again.attempt, 2);
    settle(store, &again, None).await.unwrap();
    let attempts = store.delivery_attempts(id).await.unwrap();
    assert_eq!(attempts[0].state, attempt::State::Lost);
    assert_eq!(attempts[1].state, attempt::State::Succeeded);
}

pub async fn a_delivery_given_back_counts_for_nothing(store: &dyn Ageing) {
    let scene = told(store, &[Kind::BuildCompleted]).await;
    let id = deliveries(store, scene.build).await[0].id;
    for _ in 0..6 {
        heard(store).await;
        let claim = claim(store, id).await.unwrap();

        store.give_back(claim.fence()).await.unwrap();

        assert_eq!(heard(store).await, [Job::Delivery(id)]);
    }
    let attempts = store.delivery_attempts(id).await.unwrap();
    assert!(attempts.iter().all(|attempt| attempt.state == attempt::State::GivenBack));
    let claim = claim(store, id).await.unwrap();
    settle(store, &claim, Some(flaky())).await.unwrap();
    assert_eq!(store.delivery(id).await.unwrap().state, State::Pending);
}

pub async fn a_late_settle_of_a_delivery_is_fenced(store: &dyn Ageing) {
    let scene = told(store, &[Kind::BuildCompleted]).await;
    let id = deliveries(store, scene.build).await[0].id;
    let first = claim(store, id).await.unwrap();
    settle(store, &first, None).await.unwrap();

    assert_fenced(settle(store, &first, None).await);
    assert_fenced(settle(store, &first, Some(flaky())).await);
    assert_fenced(store.give_back(first.fence()).await);
    assert_eq!(store.delivery(id).await.unwrap().state, State::Delivered);
}

pub async fn a_final_delivery_is_sent_once_more(store: &dyn Ageing) {
    let scene = told(store, &[]).await;
    let listed = deliveries(store, scene.build).await;
    exhaust(store, listed[0].id).await;
    heard(store).await;

    let again = store.redeliver(listed[0].id).await.unwrap();

    assert_eq!(again, store.delivery(listed[0].id).await.unwrap());
    assert_eq!((again.state, again.attempt, again.settled_at), (State::Pending, 5, None));
    assert_eq!(heard(store).await, [Job::Delivery(listed[0].id)]);
    let claim = claim(store, listed[0].id).await.unwrap();
    assert_eq!(claim.attempt, 6);
    settle(store, &claim, Some(flaky())).await.unwrap();
    assert_eq!(store.delivery(listed[0].id).await.unwrap().state, State::Pending);
    assert!(super::deliveries::claim(store, listed[1].id).await.is_none());
}

pub async fn an_open_delivery_is_not_sent_once_more(store: &dyn Ageing) {
    let scene = told(store, &[]).await;
    let listed = deliveries(store, scene.build).await;
    claim(store, listed[0].id).await.unwrap();

    assert_eq!(code_of(store.redeliver(listed[0].id).await), "delivery_not_final");
    assert_eq!(code_of(store.redeliver(listed[1].id).await), "delivery_not_final");
}

pub async fn deliveries_are_listed_in_pages(store: &dyn Ageing) {
    let scene = told(store, &[]).await;
    let listed = deliveries(store, scene.build).await;
    deliver(store, listed[0].id).await;
    let page = async |wanted: DeliveriesWanted| {
        let page = store.deliveries(&wanted).await.unwrap();
        (page.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), page.next)
    };
    let wanted = || wanted(scene.build);

    assert_eq!(page(DeliveriesWanted { limit: 2, ..wanted() }).await, (vec![5, 4], true));
    let after = Some(listed[3].id);
    assert_eq!(page(DeliveriesWanted { after, ..wanted() }).await, (vec![3, 2, 1], false));
    let state = Some(State::Delivered);
    assert_eq!(page(DeliveriesWanted { state, ..wanted() }).await, (vec![1], false));
    let tenant = "other".to_owned();
    assert_eq!(page(DeliveriesWanted { tenant, ..wanted() }).await, (vec![], false));
}
