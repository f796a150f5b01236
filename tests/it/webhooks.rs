//! Whoever asked to be told is told: of everything, in order, signed, and again if need be.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    config::{Env, Reader},
    domain::{address::Allowed, id::DeliveryId},
    store::At,
    vault::Vault,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tests::{
    fleet::{Fleet, Footing, Setup},
    receiver::{Receiver, Reply, Request},
    runners::{Act, Scripted},
    signatures::{base64, hmac_sha256},
};
use worker::resealing::{self, Resealed};

tests::on_both_footings!(
    every_event_arrives_once_and_in_order,
    both_signatures_verify,
    a_secret_is_sealed_at_rest_and_signs_all_the_same,
    a_delivery_that_fails_is_made_again_until_it_is_exhausted,
    a_delivery_that_is_made_again_has_the_same_id_and_a_new_time,
    a_redirect_is_not_followed,
    a_receiver_that_does_not_come_to_an_end_times_out,
    an_address_of_this_machine_is_refused,
    an_address_of_this_machine_is_not_dialled,
    only_the_wanted_events_are_told,
    a_receiver_that_hangs_holds_up_its_own_build_only,
    a_delivery_is_taken_over_from_a_dispatcher_that_died,
    a_dispatcher_that_stops_waits_for_its_answer,
);

const SECRET: &str = "a-secret-of-the-tests";

async fn submit(fleet: &Fleet, prompt: &str, webhook: Value) -> String {
    fleet.submit(json!({ "prompt": prompt, "webhook": webhook })).await
}

fn hooks(receiver: &Receiver) -> Value {
    json!({ "url": receiver.url(), "secret": SECRET })
}

async fn every_event_arrives_once_and_in_order(footing: Footing) {
    let receiver = Receiver::start().await;
    let runner = Arc::new(Scripted::new().on("c", [Act::permanent()]));
    let fleet = Setup { workers: 2, ..Setup::on(footing).runner(&runner) }.start().await;

    let build = submit(&fleet, "a -> b -> z, c -> d -> z, e, f, g, h", hooks(&receiver)).await;
    fleet.until_state(&build, "failed").await;
    fleet.until_told(&build).await;

    let events = fleet.events(&build).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), events.len());
    for (request, event) in requests.iter().zip(&events) {
        assert_eq!(request.line, "POST /hooks HTTP/1.1");
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("webhook-id"), event["id"]);
        let envelope = request.json();
        let members: Vec<_> = envelope.as_object().unwrap().keys().collect();
        assert_eq!(members, ["type", "buildId", "timestamp", "data"]);
        for member in members {
            assert_eq!(envelope[member], event[member], "{member}");
        }
    }
}

/// Verifies a request as a receiver would; `key` is what the secret stands for.
fn verify(request: &Request, secret: &str, key: &[u8]) {
    let plain = hex::encode(hmac_sha256(secret.as_bytes(), &request.body));
    assert_eq!(request.header("x-webhook-signature"), plain);
    let (id, secs) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    let signed = [format!("{id}.{secs}.").as_bytes(), &request.body].concat();
    let standard = format!("v1,{}", base64(&hmac_sha256(key, &signed)));
    assert_eq!(request.header("webhook-signature"), standard);
    let ms: i64 = request.header("x-webhook-timestamp").parse().unwrap();
    assert_eq!(secs.parse::<i64>().unwrap(), ms / 1000);
}

async fn both_signatures_verify(footing: Footing) {
    let (plain, encoded) = (Receiver::start().await, Receiver::start().await);
    let fleet = Setup::on(footing).start().await;
    let key = b"a key of 24 bytes, plain";
    let secret = format!("whsec_{}", base64(key));

    let first = submit(&fleet, "a", hooks(&plain)).await;
    let second = json!({ "url": encoded.url(), "secret": secret });
    let second = submit(&fleet, "a", second).await;
    fleet.until_state(&first, "completed").await;
    fleet.until_state(&second, "completed").await;
    fleet.until_told(&first).await;
    fleet.until_told(&second).await;

    assert_eq!(plain.requests().len(), 5);
    assert_eq!(encoded.requests().len(), 5);
    for request in plain.requests() {
        verify(&request, SECRET, SECRET.as_bytes());
    }
    for request in encoded.requests() {
        verify(&request, &secret, key);
    }
}

/// Master keys of 32 equal bytes, by their names.
fn vault(names: &[&str]) -> Vault {
    let key = |name: &&str| format!("{name}:{}", base64(&[name.as_bytes()[0]; 32]));
    let keys = names.iter().map(key).collect::<Vec<_>>().join(",");
    let env = Env::of([("BUILDFLEET_MASTER_KEYS", keys.as_str())]);
    let mut reader = Reader::new(&env);
    let vault = Vault::read(&mut reader);
    reader.finish(vault).unwrap()
}

/// The secrets of all endpoints, as they are in the record.
async fn at_rest(fleet: &Fleet) -> Vec<String> {
    let kept = fleet.store.kept_secrets(None, 100).await.unwrap();
    let secrets = kept.iter().flat_map(|of| &of.secrets);
    secrets.map(|secret| secret.expose_secret().to_owned()).collect()
}

async fn a_secret_is_sealed_at_rest_and_signs_all_the_same(footing: Footing) {
    let receiver = Receiver::start().await;
    let mut setup = Setup::on(footing);
    setup.webhooks.vault = vault(&["a"]);
    let fleet = setup.start().await;

    let build = submit(&fleet, "a", hooks(&receiver)).await;
    fleet.until_state(&build, "completed").await;
    fleet.until_told(&build).await;

    assert_eq!(receiver.requests().len(), 5);
    for request in receiver.requests() {
        verify(&request, SECRET, SECRET.as_bytes());
    }
    let sealed = at_rest(&fleet).await;
    assert!(sealed.len() == 1 && sealed[0].starts_with("sealed1.a."), "{sealed:?}");

    let store = fleet.elsewhere().await;
    let resealed = resealing::once(&vault(&["b", "a"]), &*store).await.unwrap();
    assert_eq!(resealed, Resealed { anew: 1, unopened: 0 });
    assert!(at_rest(&fleet).await[0].starts_with("sealed1.b."));
    let again = resealing::once(&vault(&["b"]), &*store).await.unwrap();
    assert_eq!(again, Resealed::default());
    let lost = resealing::once(&vault(&["c"]), &*store).await.unwrap();
    assert_eq!(lost, Resealed { anew: 0, unopened: 1 });
}

/// Waits until an attempt at a build's first delivery has been settled.
async fn until_attempted(fleet: &Fleet, build: &str, attempts: u64) -> Value {
    let mut first = Value::Null;
    fleet
        .until(&format!("attempt {attempts} is over"), async || {
            let Some(found) = fleet.deliveries(build).await.into_iter().next() else {
                return false;
            };
            first = found;
            first["attempt"] == attempts && first["state"] != "in_progress"
        })
        .await;
    first
}

/// A delivery with its attempts.
async fn delivery(fleet: &Fleet, id: &Value) -> Value {
    fleet.look(&format!("/v1/deliveries/{}", id.as_str().unwrap())).await
}

async fn a_delivery_that_fails_is_made_again_until_it_is_exhausted(footing: Footing) {
    let receiver = Receiver::start().await;
    receiver.reply([500, 404, 503, 429].map(Reply::Status).into_iter().chain([Reply::Close]));
    let fleet = Setup::on(footing).start().await;
    let build = submit(&fleet, "a", hooks(&receiver)).await;
    fleet.until_state(&build, "completed").await;

    let mut waits = Vec::new();
    for attempt in 1..=4 {
        let first = until_attempted(&fleet, &build, attempt).await;
        assert_eq!(first["state"], "pending");
        // Nothing overtakes it, however long it takes.
        assert_eq!(receiver.requests().len() as u64, attempt);
        let id: DeliveryId = first["id"].as_str().unwrap().parse().unwrap();
        let At(due) = fleet.store.delivery(id).await.unwrap().due_at.unwrap();
        let attempts = fleet.store.delivery_attempts(id).await.unwrap();
        let At(failed) = attempts.last().unwrap().settled_at.unwrap();
        waits.push(due - failed);
        fleet.age(Duration::from_secs(10)).await;
    }
    let first = until_attempted(&fleet, &build, 5).await;

    for (wait, wanted) in waits.iter().zip([1_000, 2_000, 4_000, 8_000]) {
        // A fifth of jitter either way, and the rounding of two instants.
        assert!((wanted * 8 / 10 - 2..=wanted * 12 / 10 + 2).contains(wait), "{waits:?}");
    }
    assert_eq!(first["state"], "exhausted");
    let seen = delivery(&fleet, &first["id"]).await;
    let attempts = seen["attempts"].as_array().unwrap();
    assert!(attempts.iter().all(|attempt| attempt["state"] == "failed"));
    let statuses: Vec<_> = attempts.iter().map(|attempt| &attempt["status"]).collect();
    assert_eq!(statuses, [&json!(500), &json!(404), &json!(503), &json!(429), &Value::Null]);
    assert_eq!(attempts[0]["error"]["reason"], "the receiver answered 500");
    assert_eq!(attempts[0]["excerpt"], "answered 500");
    assert_eq!(attempts[4]["error"]["code"], "broken_off");
    // What comes after it is told all the same.
    fleet.until("the others arrived", async || receiver.requests().len() == 9).await;

    let again = format!("/v1/deliveries/{}/redeliver", first["id"].as_str().unwrap());
    fleet.done(&again).await;
    fleet.until_told(&build).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 10);
    assert_eq!(requests[9].header("webhook-id"), requests[0].header("webhook-id"));
    assert_eq!(delivery(&fleet, &first["id"]).await["attempt"], 6);
}

async fn a_delivery_that_is_made_again_has_the_same_id_and_a_new_time(footing: Footing) {
    let receiver = Receiver::start().await;
    receiver.reply([Reply::Status(500)]);
    let fleet = Setup::on(footing).start().await;
    let build = submit(&fleet, "a", hooks(&receiver)).await;

    // Nothing is aged here, since an event has its time in its body: a second passes by itself.
    fleet.until_told(&build).await;

    let requests = receiver.requests();
    assert_eq!(requests.len(), 6);
    let (first, second) = (&requests[0], &requests[1]);
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
    let sent_at = |request: &Request| -> i64 {
        verify(request, SECRET, SECRET.as_bytes());
        request.header("x-webhook-timestamp").parse().unwrap()
    };
    let apart = sent_at(second) - sent_at(first);
    assert!((800..10_000).contains(&apart), "{apart} ms");
}

async fn a_redirect_is_not_followed(footing: Footing) {
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    receiver.reply([Reply::Redirect(elsewhere.url())]);
    let fleet = Setup::on(footing).start().await;
    let build = submit(&fleet, "a", hooks(&receiver)).await;

    let first = until_attempted(&fleet, &build, 1).await;

    assert_eq!(first["state"], "pending");
    assert_eq!(first["error"]["code"], "redirected");
    assert_eq!(delivery(&fleet, &first["id"]).await["attempts"][0]["status"], 302);
    fleet.age(Duration::from_secs(2)).await;
    fleet.until_told(&build).await;
    assert!(elsewhere.requests().is_empty());
}

async fn a_receiver_that_does_not_come_to_an_end_times_out(footing: Footing) {
    let receiver = Receiver::start().await;
    receiver.reply([Reply::Hang, Reply::Drip]);
    let mut setup = Setup::on(footing);
    setup.webhooks.time_limit = Duration::from_millis(200);
    let fleet = setup.start().await;
    let build = submit(&fleet, "a", hooks(&receiver)).await;

    for attempt in 1..=2 {
        let first = until_attempted(&fleet, &build, attempt).await;
        assert_eq!(first["error"]["code"], "timed_out");
        assert_eq!(first["error"]["reason"], "no complete answer within 0.2 seconds");
        fleet.age(Duration::from_secs(3)).await;
    }
    fleet.until_told(&build).await;
}

async fn an_address_of_this_machine_is_refused(footing: Footing) {
    let fleet = Setup { targets: Allowed::default(), ..Setup::on(footing) }.start().await;
    for url in ["http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]/", "http://10.0.0.1/"] {
        let brief = json!({ "prompt": "a", "webhook": { "url": url, "secret": SECRET } });
        let request = fleet.request(reqwest::Method::POST, "/v1/builds").json(&brief);

        let answer = fleet.send(request).await;

        assert_eq!(answer.status, 422, "{url}");
        assert_eq!(answer.json()["error"]["detail"]["fields"][0]["field"], "webhook.url", "{url}");
    }
    assert_eq!(fleet.look("/v1/builds").await["builds"], json!([]));
}

async fn an_address_of_this_machine_is_not_dialled(footing: Footing) {
    let receiver = Receiver::start().await;
    let mut setup = Setup::on(footing);
    // The API let it pass, as it does a name that only later comes to mean this machine.
    setup.webhooks.allowed = Allowed::default();
    let fleet = setup.start().await;
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("http://{host}:{}/hooks", receiver.port());
        let build = submit(&fleet, "a", json!({ "url": url, "secret": SECRET })).await;

        let first = until_attempted(&fleet, &build, 1).await;

        assert_eq!(first["state"], "exhausted", "{host}");
        assert_eq!(first["error"]["code"], "blocked_address", "{host}");
        let reason = first["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(host) && reason.contains("BUILDFLEET_WEBHOOK_ALLOW"), "{reason}");
    }
    assert!(receiver.requests().is_empty());
}

async fn only_the_wanted_events_are_told(footing: Footing) {
    let receiver = Receiver::start().await;
    let fleet = Setup::on(footing).start().await;
    let wanted = json!({
        "url": receiver.url(),
        "secret": SECRET,
        "events": ["task_completed", "build_completed"],
    });
    let build = submit(&fleet, "a -> b", wanted).await;

    fleet.until_state(&build, "completed").await;
    fleet
        .until("the last is told", async || {
            let told = fleet.deliveries(&build).await;
            told.last().is_some_and(|last| {
                last["type"] == "build_completed" && last["state"] == "delivered"
            })
        })
        .await;

    assert_eq!(receiver.kinds(), ["task_completed", "task_completed", "build_completed"]);
    assert_eq!(fleet.deliveries(&build).await.len(), 3);
}

async fn a_receiver_that_hangs_holds_up_its_own_build_only(footing: Footing) {
    let (silent, well) = (Receiver::start().await, Receiver::start().await);
    silent.always(Reply::Hang);
    let fleet = Setup::on(footing).start().await;
    let held = submit(&fleet, "a", hooks(&silent)).await;
    fleet.until("it hangs", async || silent.requests().len() == 1).await;

    let other = submit(&fleet, "a", hooks(&well)).await;
    fleet.until_state(&other, "completed").await;
    fleet.until_told(&other).await;

    // The build itself does not wait for its receiver.
    fleet.until_state(&held, "completed").await;
    assert_eq!(silent.requests().len(), 1);
}

async fn a_delivery_is_taken_over_from_a_dispatcher_that_died(footing: Footing) {
    let receiver = Receiver::start().await;
    receiver.reply([Reply::Hang]);
    let fleet = Setup { workers: 0, ..Setup::on(footing) }.start().await;
    fleet.keep(fleet.start_plan_worker().await);
    fleet.keep(fleet.start_task_worker().await);
    let first = fleet.start_dispatcher().await;
    let build = submit(&fleet, "a", hooks(&receiver)).await;
    fleet.until("it hangs", async || receiver.requests().len() == 1).await;

    first.kill().await;
    fleet.keep(fleet.start_dispatcher().await);
    fleet.until_state(&build, "completed").await;
    fleet.age(Duration::from_secs(601)).await;
    fleet.until_told(&build).await;

    let requests = receiver.requests();
    assert_eq!(requests.len(), 6);
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    let first = &fleet.deliveries(&build).await[0];
    let seen = delivery(&fleet, &first["id"]).await;
    assert_eq!(seen["attempts"][0]["state"], "lost");
    assert_eq!(seen["attempts"][1]["state"], "succeeded");
}

async fn a_dispatcher_that_stops_waits_for_its_answer(footing: Footing) {
    let receiver = Receiver::start().await;
    receiver.reply([Reply::Hang]);
    let mut setup = Setup { workers: 0, ..Setup::on(footing) };
    setup.webhooks.time_limit = Duration::from_millis(300);
    let fleet = setup.start().await;
    fleet.keep(fleet.start_plan_worker().await);
    let dispatcher = fleet.start_dispatcher().await;
    let build = submit(&fleet, "a", hooks(&receiver)).await;
    fleet.until("it hangs", async || receiver.requests().len() == 1).await;

    dispatcher.stop().await;

    let first = &fleet.deliveries(&build).await[0];
    assert_eq!(delivery(&fleet, &first["id"]).await["attempts"][0]["state"], "failed");
    assert_eq!(first["error"]["code"], "timed_out");
    assert_eq!(receiver.requests().len(), 1);
}
