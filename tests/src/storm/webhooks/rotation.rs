//! Secrets and master keys that change while messages are on their way.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    API, DISPATCHER, Yard,
    inbox::{Answer, Letter},
};
use crate::{patience, signatures, storm::ground::Ground};

const BETWEEN: Duration = Duration::from_millis(10);
const GRACE_SECS: u64 = 8;
/// When a receiver changes over, after the secret was rotated.
const CHANGES_OVER: Duration = Duration::from_secs(2);
const WORKER: &str = "task-worker";
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const OPEN_SECRETS: &str = "
    select (select count(*) from endpoints where secret like 'whsec%')
         + (select count(*) from old_secrets where secret like 'whsec%')";

pub struct Report {
    pub messages: usize,
    pub requests: usize,
    pub rotations: usize,
    /// Times at which the master keys were changed.
    pub master_keys: usize,
    /// Requests that the receiver could not verify with the one secret it had.
    pub unverified: usize,
    /// Secrets that the database holds as they are.
    pub open_secrets: i64,
}

/// Rotates so many times, and changes the master key in the middle of it.
pub async fn run(settings: &str, rotations: usize) -> anyhow::Result<Report> {
    let mut ground = Ground::new(settings, 15).await?;
    let (first, second) = (master_key("first", 1), master_key("second", 2));
    ground.more = master_keys(&first);
    let mut yard = Yard::open(ground).await?;
    let endpoint = yard.endpoint("/locked", json!({})).await?;
    let known = Arc::new(Mutex::new(endpoint.secret.clone()));
    yard.inbox.behave("/locked", {
        let known = Arc::clone(&known);
        move |letter| {
            Answer::Status(if is_signed(letter, &known.lock().unwrap()) { 204 } else { 401 })
        }
    });
    let mut programs = [yard.ground.start(DISPATCHER), yard.ground.start(WORKER)];
    let (http, url) = (yard.http.clone(), yard.url.clone());
    let sent = AtomicUsize::new(0);
    let sending = async {
        loop {
            // While the API is started anew, nobody answers.
            if super::send(&http, &url, &endpoint.id).await.is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(BETWEEN).await;
        }
    };
    let rotating = async {
        let mut changed = 0;
        for rotation in 0..rotations {
            let path = format!("/v1/endpoints/{}/rotate", endpoint.id);
            let answer = yard.post(&path, json!({ "grace_secs": GRACE_SECS })).await?;
            let secret = answer["secret"].as_str().context("the new secret")?.to_owned();
            tokio::time::sleep(CHANGES_OVER).await;
            *known.lock().unwrap() = secret;
            tokio::time::sleep(CHANGES_OVER / 2).await;
            if rotation == rotations / 3 {
                // The new one in front; when the old one seals nothing any more, it goes.
                restart(&mut yard, &mut programs, &format!("{second},{first}")).await?;
                patience::until("all is sealed anew", ENDS_WITHIN, async || {
                    yard.ground.count(SEALED_BY_FIRST).await == 0
                })
                .await;
                changed += 1;
            } else if rotation == rotations * 2 / 3 {
                restart(&mut yard, &mut programs, &second).await?;
                changed += 1;
            }
        }
        anyhow::Ok(changed)
    };
    let changed = tokio::select! {
        changed = rotating => changed?,
        never = sending => never,
    };
    let messages = sent.into_inner();
    yard.drained(Duration::from_secs(60)).await;
    let arrivals = yard.inbox.arrivals();
    let unverified =
        arrivals.iter().filter(|arrival| arrival.answer == Answer::Status(401)).count();
    Ok(Report {
        messages,
        requests: arrivals.len(),
        rotations,
        master_keys: changed,
        unverified,
        open_secrets: yard.ground.count(OPEN_SECRETS).await,
    })
}

const SEALED_BY_FIRST: &str = "
    select (select count(*) from endpoints where secret like '%first%')
         + (select count(*) from old_secrets where secret like '%first%')";

fn master_key(name: &str, byte: u8) -> String {
    format!("{name}:{}", signatures::base64(&[byte; 32]))
}

fn master_keys(keys: &str) -> Vec<(String, String)> {
    vec![("BUILDFLEET_MASTER_KEYS".to_owned(), keys.to_owned())]
}

/// All programs with other master keys.
async fn restart(
    yard: &mut Yard,
    programs: &mut [crate::programs::Program; 2],
    keys: &str,
) -> anyhow::Result<()> {
    yard.ground.more = master_keys(keys);
    yard.api.signal("TERM");
    yard.api.until_ended(ENDS_WITHIN).await;
    yard.api = yard.ground.start(API);
    for (program, name) in programs.iter_mut().zip([DISPATCHER, WORKER]) {
        program.signal("TERM");
        program.until_ended(ENDS_WITHIN).await;
        *program = yard.ground.start(name);
    }
    patience::until("the API answers", ENDS_WITHIN, async || {
        yard.get("/v1/endpoints").await.is_ok()
    })
    .await;
    Ok(())
}

/// As a receiver with one secret does it, by the definition of Standard Webhooks.
fn is_signed(letter: &Letter<'_>, secret: &str) -> bool {
    let header = |name| letter.headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(at), Some(signatures)) = (header("webhook-timestamp"), header("webhook-signature"))
    else {
        return false;
    };
    let Some(key) = secret.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok()) else {
        return false;
    };
    let signed = [letter.event.as_bytes(), b".", at.as_bytes(), b".", letter.body].concat();
    let wanted = format!("v1,{}", signatures::base64(&signatures::hmac_sha256(&key, &signed)));
    signatures.split(' ').any(|signature| signature == wanted)
}
