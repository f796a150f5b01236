//! How endpoints fare: what the silent, the sorry and the gone are sent, and what is told about it.

use super::{endpoints::*, *};
use crate::domain::{
    delivery::State,
    endpoint::{self, Filter, Profile, Settings},
    exchange::Asked,
};

pub async fn an_endpoint_that_is_silent_spends_no_attempts_for_long(store: &dyn Ageing) {
    let id = kept(store, TENANT, settings()).await.id;
    began(store, 20).await;
    let mut lost = 0;
    loop {
        let claims = claim(store, 100).await;
        if claims.is_empty() {
            break;
        }
        assert!(claims.len() <= 2);
        lost += claims.len();
        settle_all(store, &claims, &silent()).await;
    }
    assert!((10..=11).contains(&lost), "{lost} were lost");
    let read = store.endpoint(id).await.unwrap();
    assert!(read.health.is_open() && read.held_until.is_some());
    let wait = store.next_due(Lane::Deliveries).await.unwrap().unwrap();
    assert!(Duration::ZERO < wait);

    // One finds out whether it is over, and whoever waits has spent nothing.
    store.age(secs(60)).await;
    let probe = claim(store, 100).await;
    assert_eq!(probe.len(), 1);
    assert!(claim(store, 100).await.is_empty());
    settle(store, &probe[0], &delivered()).await;
    assert_eq!(drain(store).await, 19);
    assert!(!store.endpoint(id).await.unwrap().health.is_open());
}

pub async fn what_a_receiver_asks_for_holds_for_all_that_goes_there(store: &dyn Ageing) {
    let id = kept(store, TENANT, settings()).await.id;
    began(store, 3).await;
    let first = claim(store, 1).await.remove(0);
    let wait = Asked { retry_after: Some(secs(20)), slow_down: true, disable: None };

    settle(store, &first, &asked(429, wait)).await;

    assert!(claim(store, 9).await.is_empty());
    store.age(secs(19)).await;
    assert!(claim(store, 9).await.is_empty());
    store.age(secs(2)).await;
    assert_eq!(claim(store, 9).await.len(), 1);
    assert_eq!(store.endpoint(id).await.unwrap().health.pace, Some(10.0));
}

pub async fn an_endpoint_that_is_gone_is_disabled(store: &dyn Ageing) {
    let hears = Settings { events: Filter::of(&["endpoint_*"]), ..settings() };
    let owner = kept(store, TENANT, hears).await.id;
    let id = kept(store, TENANT, settings()).await.id;
    began(store, 1).await;
    let claimed = claim(store, 1).await.remove(0);
    let gone = Asked { disable: Some("it answered 410".to_owned()), ..Asked::default() };

    settle(store, &claimed, &asked(410, gone)).await;

    let read = store.endpoint(id).await.unwrap();
    assert_eq!(read.state, endpoint::State::AutoDisabled);
    assert_eq!(read.reason.as_deref(), Some("it answered 410"));
    let told = claim(store, 9).await;
    assert_eq!((told.len(), told[0].endpoint), (1, owner));
    assert_eq!(told[0].event.kind, Kind::EndpointDisabled);
    assert_eq!(told[0].event.data["reason"], "it answered 410");
    assert_eq!(told[0].event.data["endpointId"], id.to_string());
}

pub async fn owners_are_warned_before_an_endpoint_is_disabled(store: &dyn Ageing) {
    let hears = Settings { events: Filter::of(&["endpoint_*"]), ..settings() };
    let owner = kept(store, TENANT, hears).await.id;
    let waits = vec![Duration::ZERO; 30];
    let patient = Settings { retry: Profile::Own(waits), ..settings() };
    let id = kept(store, TENANT, patient).await.id;
    began(store, 1).await;
    let mut told = Vec::new();
    for round in 0..31 {
        for claim in claim(store, 9).await {
            let result = if claim.endpoint == owner {
                told.push((claim.event.kind, claim.event.data["percent"].as_u64()));
                delivered()
            } else {
                asked(500, Asked::default())
            };
            settle(store, &claim, &result).await;
        }
        if 20 <= round {
            store.age(HOUR * 12).await;
        }
    }
    for claim in claim(store, 9).await {
        told.push((claim.event.kind, claim.event.data["percent"].as_u64()));
    }
    assert_eq!(store.endpoint(id).await.unwrap().state, endpoint::State::AutoDisabled);
    assert_eq!(
        told,
        [
            (Kind::EndpointFailing, Some(50)),
            (Kind::EndpointFailing, Some(70)),
            (Kind::EndpointFailing, Some(90)),
            (Kind::EndpointDisabled, None),
        ]
    );
}

pub async fn what_is_given_up_is_told_to_those_who_want_to_hear_it(store: &dyn Ageing) {
    let hears = Settings { events: Filter::of(&["delivery_exhausted"]), ..settings() };
    let owner = kept(store, TENANT, hears).await.id;
    let once = Settings { retry: Profile::Own(vec![Duration::ZERO]), ..settings() };
    kept(store, TENANT, once).await;
    let build = began(store, 1).await[0];
    let first = claim(store, 1).await.remove(0);
    settle(store, &first, &asked(500, Asked::default())).await;
    let second = claim(store, 1).await.remove(0);
    assert_eq!((second.delivery, second.attempt), (first.delivery, 2));

    settle(store, &second, &asked(500, Asked::default())).await;

    assert_eq!(store.delivery(first.delivery).await.unwrap().state, State::Exhausted);
    let told = claim(store, 9).await;
    assert_eq!((told.len(), told[0].endpoint), (1, owner));
    assert_eq!(told[0].event.data["deliveryId"], first.delivery.to_string());
    assert_eq!(told[0].event.data["buildId"], build.to_string());
    // Of the loss of such a telling, nobody is told.
    let failed = asked(500, Asked::default());
    let permanent = Some(broken());
    settle(store, &told[0], &SendResult { failure: permanent, ..failed }).await;
    assert!(claim(store, 9).await.is_empty());
}

pub async fn a_delivery_says_that_its_endpoint_is_sent_nothing(store: &dyn Ageing) {
    let endpoint = kept(store, TENANT, settings()).await.id;
    began(store, 3).await;
    let claimed = claim(store, 1).await.remove(0);
    let sent = store.test_endpoint(TENANT, endpoint).await.unwrap();
    let job = Job::Delivery(sent.id);
    let shut = async || store.waits(&[job]).await.unwrap().remove(&job).unwrap().shut;
    assert_eq!(shut().await, None);

    let hour = Asked { retry_after: Some(secs(3600)), ..Asked::default() };
    settle(store, &claimed, &asked(503, hour)).await;
    let held = store.endpoint(endpoint).await.unwrap().held_until;
    assert!(held.is_some());
    assert_eq!(shut().await, Some(Shut { until: held }));
    store.age(secs(3601)).await;
    assert_eq!(shut().await, None);
    assert_eq!(store.endpoint(endpoint).await.unwrap().held_until, None);

    store.disable_endpoint(endpoint, "enough").await.unwrap();
    assert_eq!(shut().await, Some(Shut { until: None }));
}
