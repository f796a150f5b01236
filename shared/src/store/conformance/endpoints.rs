//! Endpoints of tenants: whom they hear of, how they are treated, and what is told about them.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretString};

use super::*;
use crate::domain::{
    attempt,
    delivery::State,
    endpoint::{self, Filter, Profile, Settings},
    exchange::{Asked, Exchange},
    id::DeliveryId,
    limit::Rate,
};

const SECRET: &str = "whsec_Zmlyc3Q=";

pub(super) fn settings() -> Settings {
    Settings { ordered: false, ..Settings::of("https://receiver.test/hook") }
}

pub(super) async fn kept(store: &dyn Ageing, tenant: &str, settings: Settings) -> Endpoint {
    let (tenant, secret) = (tenant.to_owned(), SecretString::from(SECRET));
    store
        .add_endpoint(NewTenantEndpoint { id: draw::id(), tenant, settings, secret })
        .await
        .unwrap()
}

/// Builds of one event each.
pub(super) async fn began(store: &dyn Ageing, builds: usize) -> Vec<BuildId> {
    let mut ids = Vec::new();
    for _ in 0..builds {
        let build = submitted(store).await;
        claimed(store, build).await;
        ids.push(build);
    }
    ids
}

/// What a holder with this many slots gets.
pub(super) async fn claim(store: &dyn Ageing, room: u32) -> Vec<DeliveryClaim> {
    store.claim_deliveries(&ask(room)).await.unwrap()
}

pub(super) fn delivered() -> SendResult {
    SendResult { status: Some(204), took_ms: 3, ..SendResult::default() }
}

/// No answer within half a minute.
pub(super) fn silent() -> SendResult {
    SendResult { failure: Some(flaky()), took_ms: 30_000, ..SendResult::default() }
}

pub(super) fn asked(status: u16, asked: Asked) -> SendResult {
    SendResult { failure: Some(flaky()), status: Some(status), took_ms: 3, asked, ..silent() }
}

pub(super) async fn settle(store: &dyn Ageing, claim: &DeliveryClaim, result: &SendResult) {
    let settled = store.settle_delivery(claim.fence(), result, &Policy::DELIVERY, Jitter::NONE);
    settled.await.unwrap();
}

pub(super) async fn settle_all(store: &dyn Ageing, claims: &[DeliveryClaim], result: &SendResult) {
    join_all(claims.iter().map(|claim| settle(store, claim, result))).await;
}

/// Delivers all there is; answers with how much that was.
pub(super) async fn drain(store: &dyn Ageing) -> usize {
    let mut drained = 0;
    loop {
        let claims = claim(store, 100).await;
        if claims.is_empty() {
            return drained;
        }
        drained += claims.len();
        settle_all(store, &claims, &delivered()).await;
    }
}

pub async fn an_endpoint_is_kept_listed_changed_and_removed(store: &dyn Ageing) {
    let full = Settings {
        events: Filter::of(&["task_*", "build_completed"]),
        headers: [("x-team".to_owned(), "blue".to_owned())].into(),
        rate: Some(Rate { count: 5, per: secs(2) }),
        concurrency: Some(3),
        retry: Profile::Own(vec![secs(1), secs(90)]),
        ordered: true,
        description: "of the blue team".to_owned(),
        ..settings()
    };
    let first = kept(store, TENANT, full.clone()).await;
    let second = kept(store, TENANT, settings()).await;
    kept(store, "other", settings()).await;
    let wanted = EndpointsWanted { tenant: TENANT.to_owned(), state: None, limit: 1, after: None };

    let read = store.endpoint(first.id).await.unwrap();
    assert_eq!((read.settings, read.state), (full, endpoint::State::Enabled));
    assert_eq!((read.tenant.as_str(), read.build, read.secrets.len()), (TENANT, None, 1));
    assert_eq!(read.secrets[0].secret.expose_secret(), SECRET);
    let page = store.endpoints(&wanted).await.unwrap();
    assert_eq!((page.rows[0].id, page.next), (second.id, true));
    let after = Some(second.id);
    let page = store.endpoints(&EndpointsWanted { after, ..wanted.clone() }).await.unwrap();
    assert_eq!((page.rows[0].id, page.next), (first.id, false));

    let changed = store.change_endpoint(first.id, &settings()).await.unwrap();
    assert_eq!(changed.settings, settings());
    store.remove_endpoint(first.id).await.unwrap();
    assert_not_found(store.endpoint(first.id).await);
    assert_not_found(store.enable_endpoint(first.id).await);
    assert_not_found(store.remove_endpoint(first.id).await);
    assert_eq!(store.endpoints(&wanted).await.unwrap().rows.len(), 1);
    assert_not_found(store.endpoint(draw::id()).await);
}

pub async fn an_endpoint_of_a_tenant_hears_of_all_its_builds(store: &dyn Ageing) {
    let only = Settings { events: Filter::of(&["build_*"]), ..settings() };
    let hears = kept(store, TENANT, only).await;
    kept(store, "other", settings()).await;
    let scene = executing(store, "fetch").await;
    scene.succeed("fetch").await;

    let wanted = super::deliveries::wanted(scene.build);
    let told = store.deliveries(&wanted).await.unwrap().rows;

    let kinds: Vec<_> = told.iter().rev().map(|told| (told.endpoint, told.kind)).collect();
    assert_eq!(kinds, [(hears.id, Kind::BuildStarted), (hears.id, Kind::BuildCompleted)]);
    let claims = claim(store, 9).await;
    assert_eq!(claims.len(), 2);
    assert_eq!(claims[0].url, "https://receiver.test/hook");
    assert_eq!(claims[0].build(), Some(scene.build));
}

pub async fn what_is_removed_is_told_nothing_more(store: &dyn Ageing) {
    let gone = kept(store, TENANT, settings()).await;
    let build = began(store, 1).await[0];
    store.remove_endpoint(gone.id).await.unwrap();

    assert!(claim(store, 9).await.is_empty());
    let told = store.deliveries(&super::deliveries::wanted(build)).await.unwrap().rows;
    assert_eq!(told[0].state, State::Exhausted);
    assert_eq!(told[0].failure.as_ref().unwrap().code, "endpoint_removed");
    began(store, 1).await;
    assert!(claim(store, 9).await.is_empty());
}

pub async fn old_secrets_sign_until_their_grace_is_over(store: &dyn Ageing) {
    let id = kept(store, TENANT, settings()).await.id;
    store.rotate_secret(id, "whsec_c2Vjb25k".into(), HOUR).await.unwrap();
    let rotated = store.rotate_secret(id, "whsec_dGhpcmQ=".into(), HOUR * 2).await.unwrap();
    let texts = |secrets: Vec<&SecretString>| -> Vec<String> {
        secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect()
    };
    let live =
        |endpoint: &Endpoint| texts(endpoint.secrets.iter().map(|kept| &kept.secret).collect());

    assert_eq!(live(&rotated), ["whsec_dGhpcmQ=", "whsec_c2Vjb25k", SECRET]);
    store.age(HOUR).await;
    began(store, 1).await;
    let claim = claim(store, 1).await.remove(0);
    assert_eq!(claim.secret.expose_secret(), "whsec_dGhpcmQ=");
    assert_eq!(texts(claim.old_secrets.iter().collect()), ["whsec_c2Vjb25k"]);
    let at_once = store.rotate_secret(id, "whsec_Zm91cnRo".into(), Duration::ZERO).await.unwrap();
    assert_eq!(live(&at_once), ["whsec_Zm91cnRo", "whsec_c2Vjb25k"]);
    for number in 0..15 {
        let new = SecretString::from(format!("whsec_{number}"));
        store.rotate_secret(id, new, HOUR * (number + 3)).await.unwrap();
    }
    let many = store.endpoint(id).await.unwrap();
    assert_eq!(many.secrets.len(), 1 + endpoint::OLD_SECRETS_MAX);
    assert_eq!(live(&many)[..2], ["whsec_14", "whsec_13"]);
}

pub async fn secrets_can_be_kept_in_another_form(store: &dyn Ageing) {
    let id = kept(store, TENANT, settings()).await.id;
    store.rotate_secret(id, "second".into(), HOUR).await.unwrap();
    let next = kept(store, TENANT, settings()).await.id;

    let all = store.kept_secrets(None, 10).await.unwrap();

    assert_eq!(all.iter().map(|kept| kept.endpoint).collect::<Vec<_>>(), [id, next]);
    assert_eq!((&*all[0].tenant, all[0].secrets.len()), (TENANT, 2));
    assert!(store.swap_secret(id, &SECRET.into(), &"sealed".into()).await.unwrap());
    assert!(!store.swap_secret(id, &SECRET.into(), &"sealed".into()).await.unwrap());
    let secrets = store.endpoint(id).await.unwrap().secrets;
    assert_eq!(secrets[1].secret.expose_secret(), "sealed");
    assert_eq!(store.kept_secrets(Some(id), 10).await.unwrap().len(), 1);
}

pub async fn a_disabled_endpoint_is_told_nothing_until_it_is_enabled(store: &dyn Ageing) {
    let id = kept(store, TENANT, settings()).await.id;
    began(store, 1).await;
    let disabled = store.disable_endpoint(id, "it is being moved").await.unwrap();
    assert_eq!(disabled.state, endpoint::State::Disabled);
    assert_eq!(disabled.reason.as_deref(), Some("it is being moved"));
    began(store, 1).await;

    assert!(claim(store, 9).await.is_empty());
    assert_eq!(code_of(store.test_endpoint(TENANT, id).await), "endpoint_disabled");
    heard(store).await;
    let enabled = store.enable_endpoint(id).await.unwrap();
    assert_eq!((enabled.state, enabled.reason), (endpoint::State::Enabled, None));
    assert!(!heard(store).await.is_empty());
    // What happened meanwhile was not for it.
    assert_eq!(drain(store).await, 1);
}

pub async fn a_test_is_sent_to_whoever_it_is_for(store: &dyn Ageing) {
    let only = Settings { events: Filter::of(&["build_failed"]), ..settings() };
    let id = kept(store, TENANT, only).await.id;

    let sent = store.test_endpoint(TENANT, id).await.unwrap();

    assert_eq!((sent.kind, sent.state), (Kind::EndpointTest, State::Pending));
    assert_eq!(heard(store).await, [Job::Delivery(sent.id)]);
    let claim = claim(store, 1).await.remove(0);
    assert_eq!((claim.delivery, claim.build()), (sent.id, None));
    assert_eq!(claim.event.data["endpointId"], id.to_string());
    settle(store, &claim, &delivered()).await;
    assert_eq!(store.delivery(sent.id).await.unwrap().state, State::Delivered);
}

pub async fn tests_that_are_asked_for_at_once_are_each_their_own(store: &dyn Ageing) {
    let ours = kept(store, TENANT, settings()).await.id;
    let theirs = kept(store, "theirs", settings()).await.id;
    let disabled = kept(store, TENANT, settings()).await.id;
    store.disable_endpoint(disabled, "it is being moved").await.unwrap();
    let unknown = draw::id();

    let asked = (0..20).flat_map(|_| [ours, theirs, disabled, unknown]);
    let answers = join_all(asked.map(|id| store.test_endpoint(TENANT, id))).await;

    let (mut sent, mut events) = (BTreeSet::new(), BTreeSet::new());
    for (nth, answer) in answers.into_iter().enumerate() {
        match (nth % 4, answer) {
            (0, Ok(delivery)) => {
                assert_eq!((delivery.endpoint, delivery.state), (ours, State::Pending));
                sent.insert(delivery.id);
                events.insert(delivery.event);
            }
            (1 | 3, Err(error)) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
            (2, refused) => assert_eq!(code_of(refused), "endpoint_disabled"),
            (_, answer) => panic!("{answer:?}"),
        }
    }
    assert_eq!((sent.len(), events.len()), (20, 20));
    assert_eq!(drain(store).await, 20);
    for id in sent {
        assert_eq!(store.delivery(id).await.unwrap().state, State::Delivered);
    }
}

pub async fn an_endpoint_that_is_alone_has_what_is_claimed_ahead(store: &dyn Ageing) {
    let id = kept(store, TENANT, settings()).await.id;
    began(store, 60).await;
    let mut drained = 0;
    while drained < 20 {
        let claims = claim(store, 100).await;
        drained += claims.len();
        settle_all(store, &claims, &delivered()).await;
    }

    // Of somebody with two slots who asks for ten more than that, and then once more.
    let ahead = Ask { slots: 2, ..ask(12) };
    let claims = store.claim_deliveries(&ahead).await.unwrap();
    assert_eq!(claims.len(), 12);
    assert_eq!(store.claim_deliveries(&Ask { room: 3, ..ahead }).await.unwrap().len(), 3);

    // One that holds others up has no such thing.
    let slow = SendResult { took_ms: 2_000, ..delivered() };
    settle_all(store, &claims, &slow).await;
    assert!(store.endpoint(id).await.unwrap().health.slow);
    assert!(store.claim_deliveries(&ahead).await.unwrap().is_empty());
}

pub async fn an_unordered_endpoint_is_told_everything_at_once(store: &dyn Ageing) {
    let scene = executing(store, "fetch").await;
    let id = kept(store, TENANT, settings()).await.id;
    scene.succeed("fetch").await;
    store.test_endpoint(TENANT, id).await.unwrap();

    // As many as go to an endpoint that nobody knows yet.
    let first = claim(store, 100).await;
    assert_eq!(first.len(), 2);
    settle_all(store, &first, &delivered()).await;
    assert_eq!(claim(store, 100).await.len(), 2);
}

pub async fn an_ordered_endpoint_hears_builds_beside_each_other(store: &dyn Ageing) {
    kept(store, TENANT, Settings { ordered: true, ..settings() }).await;
    let scenes = [executing(store, "fetch").await, executing(store, "fetch").await];
    for scene in &scenes {
        scene.succeed("fetch").await;
    }
    let mut next = [1, 1];
    let mut most = 0;
    loop {
        let claims = claim(store, 100).await;
        if claims.is_empty() {
            break;
        }
        most = most.max(claims.len());
        for claim in &claims {
            let place = scenes.iter().position(|scene| scene.build == claim.event.build).unwrap();
            assert_eq!(claim.event.seq, next[place]);
            next[place] += 1;
        }
        settle_all(store, &claims, &delivered()).await;
    }
    assert_eq!((most, next), (2, [6, 6]));
}

pub async fn an_endpoint_has_no_more_on_its_way_than_it_takes(store: &dyn Ageing) {
    let most = Settings { concurrency: Some(3), ..settings() };
    kept(store, TENANT, most).await;
    began(store, 20).await;
    for _ in 0..4 {
        let claims = claim(store, 100).await;
        settle_all(store, &claims, &delivered()).await;
    }

    let claims = claim(store, 100).await;

    assert_eq!(claims.len(), 3);
    assert!(claim(store, 100).await.is_empty());
    heard(store).await;
    settle(store, &claims[0], &delivered()).await;
    assert!(!heard(store).await.is_empty());
    assert_eq!(claim(store, 100).await.len(), 1);
}

pub async fn a_rate_of_an_endpoint_has_no_burst(store: &dyn Ageing) {
    let rated = Settings { rate: Some(Rate { count: 10, per: secs(1) }), ..settings() };
    kept(store, TENANT, rated).await;
    began(store, 4).await;

    let first = claim(store, 100).await;
    assert_eq!(first.len(), 1);
    settle_all(store, &first, &delivered()).await;
    assert!(claim(store, 100).await.is_empty());
    let wait = store.next_due(Lane::Deliveries).await.unwrap().unwrap();
    assert!(Duration::ZERO < wait && wait < Duration::from_millis(103), "{wait:?}");
    store.age(Duration::from_millis(103)).await;
    assert_eq!(claim(store, 100).await.len(), 1);
}

pub async fn a_busy_endpoint_leaves_room_for_the_others(store: &dyn Ageing) {
    let busy = kept(store, TENANT, settings()).await.id;
    let scenes = began(store, 40).await;
    let mut drained = 0;
    while drained < 20 {
        let claims = claim(store, 100).await;
        drained += claims.len();
        settle_all(store, &claims, &delivered()).await;
    }
    assert_eq!(scenes.len(), 40);
    let idle = kept(store, TENANT, settings()).await.id;
    store.test_endpoint(TENANT, idle).await.unwrap();

    let claims = claim(store, 10).await;

    let at = |id| claims.iter().filter(|claim| claim.endpoint == id).count();
    assert_eq!((at(idle), at(busy)), (1, 5));
}

pub async fn the_log_of_attempts_has_what_was_seen(store: &dyn Ageing) {
    kept(store, TENANT, settings()).await;
    began(store, 1).await;
    let claim = claim(store, 1).await.remove(0);
    let running = store.delivery_attempts(claim.delivery).await.unwrap();
    assert_eq!((running.len(), running[0].state), (1, attempt::State::Running));
    assert_eq!((running[0].number, running[0].started_at), (1, claim.claimed_at));
    let exchange = Exchange {
        address: Some("192.0.2.7:443".to_owned()),
        first_byte_ms: Some(1.25),
        answer_headers: vec![("server".to_owned(), "one \u{e9}".to_owned())],
        ..Exchange::default()
    };

    let result = SendResult {
        excerpt: Some("so it\u{0} is".to_owned()),
        exchange: Some(exchange.clone()),
        ..delivered()
    };
    settle(store, &claim, &result).await;

    let log = store.delivery_attempts(claim.delivery).await.unwrap();
    assert_eq!((log.len(), log[0].state), (1, attempt::State::Succeeded));
    assert_eq!((log[0].status, log[0].took_ms), (Some(204), Some(3)));
    assert_eq!((&log[0].exchange, log[0].started_at), (&Some(exchange), claim.claimed_at));
}

pub async fn answers_that_come_at_once_are_all_written(store: &dyn Ageing) {
    let ids = [kept(store, TENANT, settings()).await.id, kept(store, TENANT, settings()).await.id];
    began(store, 30).await;
    let mut all: Vec<DeliveryId> = Vec::new();
    loop {
        let claims = claim(store, 100).await;
        if claims.is_empty() {
            break;
        }
        all.extend(claims.iter().map(|claim| claim.delivery));
        let twice = claims.iter().chain(&claims).map(|claim| async {
            let policy = &Policy::DELIVERY;
            let result = delivered();
            store.settle_delivery(claim.fence(), &result, policy, Jitter::NONE).await
        });
        let (written, fenced): (Vec<_>, Vec<_>) =
            join_all(twice).await.into_iter().partition(Result::is_ok);
        assert_eq!((written.len(), fenced.len()), (claims.len(), claims.len()));
    }
    assert_eq!(all.len(), 60);
    for id in ids {
        assert!(30.0 < store.endpoint(id).await.unwrap().health.window);
    }
    for id in all {
        let delivery = store.delivery(id).await.unwrap();
        assert_eq!((delivery.state, delivery.attempt), (State::Delivered, 1));
        assert_eq!(store.delivery_attempts(id).await.unwrap().len(), 1);
    }
}
