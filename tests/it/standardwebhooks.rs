//! Receivers that are not ours verify every webhook, and so do the verifiers that our documents
//! offer.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use buildfleet::{
    domain::{
        address::Allowed,
        signing::{Key, Keyring, Secret, Standard},
    },
    store::At,
};
use serde_json::json;
use tests::{
    fleet::{Footing, Setup},
    runners::{Act, Scripted},
    signatures::base64,
};
use webhook_dispatcher::{
    request::Signed,
    send::{Sender, Sent, Settings},
};

use super::receivers::{Language, Receiver, python};

#[path = "../../docs/verifiers/verify.rs"]
mod documented;

tests::on_both_footings!(independent_receivers_verify_every_webhook);

async fn start(language: Language, keys: &[&str]) -> Receiver {
    let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    let starting = tokio::task::spawn_blocking(move || {
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        Receiver::start(language, &keys)
    });
    starting.await.unwrap()
}

async fn independent_receivers_verify_every_webhook(footing: Footing) {
    let secret = format!("whsec_{}", base64(b"thirty-two bytes make a good key"));
    let runner = Arc::new(Scripted::new().on("c", [Act::permanent(), Act::permanent()]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    for language in [Language::Python, Language::Node] {
        let receiver = start(language, &[&secret]).await;
        let hooks = json!({ "url": receiver.url, "secret": secret });

        let prompt = "a -> b, c -> d, e -> f -> e, sch\u{f6}n";
        let build = fleet.submit(json!({ "prompt": prompt, "webhook": hooks })).await;
        fleet.until_state(&build, "failed").await;
        fleet.until_told(&build).await;

        let received = receiver.received().await;
        let events = fleet.events(&build).await;
        let told: Vec<_> = events
            .iter()
            .map(|event| {
                json!({
                    "id": event["id"],
                    "type": event["type"],
                    "buildId": build,
                    "verified": language.verifiers(),
                    "forged": [],
                })
            })
            .collect();
        assert_eq!(received, told, "{language:?}");
        let kinds = fleet.kinds(&build).await;
        for kind in
            ["plan_warning", "task_completed", "task_failed", "task_skipped", "build_failed"]
        {
            assert!(kinds.iter().any(|other| other == kind), "{kind} was not told: {kinds:?}");
        }
    }
}

/// The keys of an endpoint in the middle of a rotation.
struct Keys {
    new: Secret,
    old: Secret,
    pair: Secret,
    public: String,
}

impl Keys {
    fn new() -> Self {
        let pair = Key::pair(&[7; 32]);
        let public = Key::read(&pair).unwrap().public().unwrap().to_string();
        Self { new: Key::shared(&[1; 32]), old: Key::shared(&[2; 24]), pair, public }
    }

    fn ring(&self) -> Keyring {
        Keyring::read([&self.new, &self.pair, &self.old]).unwrap()
    }
}

const BODY: &str =
    r#"{"type":"build_started","buildId":"bld_1","timestamp":1,"data":{"a":"schön"}}"#;

fn now() -> At {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    At(i64::try_from(since.as_millis()).unwrap())
}

async fn send(url: &str, ring: &Keyring) -> Sent {
    let sender = Sender::new(Settings {
        allowed: Allowed::default().with_loopback(),
        time_limit: Duration::from_secs(20),
        slots: 1,
        name_servers: Vec::new(),
        roots: None,
    })
    .unwrap();
    sender.send(&Signed::new(url, "evt_1", BODY.into(), ring, now()).unwrap()).await
}

#[tokio::test]
async fn in_the_middle_of_a_rotation_old_receivers_and_new_ones_verify() {
    let keys = Keys::new();
    for language in [Language::Python, Language::Node] {
        for (secret, has_the_old_key) in [(&keys.old, true), (&keys.new, false)] {
            let with_public = [secret.expose(), &keys.public];
            let (keys_of_it, nacl): (&[&str], &[&str]) = match language {
                Language::Python => (&with_public, &["nacl"]),
                Language::Node => (&with_public[..1], &[]),
            };
            let receiver = start(language, keys_of_it).await;

            let exchange = send(&receiver.url, &keys.ring()).await;

            assert_eq!(exchange.status, Some(200), "{language:?}");
            let one = &receiver.received().await[0];
            // The required header has room for the oldest key only, until that ends.
            let body_only = ["convoy", "plain"];
            let wanted: Vec<_> = language
                .verifiers()
                .iter()
                .chain(nacl)
                .filter(|name| has_the_old_key || !body_only.contains(name))
                .collect();
            assert_eq!(one["verified"], json!(wanted), "{language:?}");
            assert_eq!(one["forged"], json!([]), "{language:?}");
        }
    }
}

/// A verifier of our documents, as one runs it by hand; `None` if its language is not at hand.
fn documented_verifier(name: &str) -> Option<Command> {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verifiers").join(name);
    let runs = |program: &str, version: &str| {
        let ended = Command::new(program).arg(version).stdout(Stdio::null()).status();
        ended.is_ok_and(|status| status.success())
    };
    let mut command = match name.rsplit('.').next()? {
        "py" => Command::new(python()),
        "mjs" => Command::new("node"),
        "go" if runs("go", "version") => {
            let mut command = Command::new("go");
            command.arg("run");
            command
        }
        "rb" if runs("ruby", "--version") => Command::new("ruby"),
        _ => return None,
    };
    command.arg(file);
    Some(command)
}

#[test]
fn the_verifiers_of_our_documents_believe_what_they_should_and_nothing_else() {
    let keys = Keys::new();
    let secs = now().0 / 1000;
    let mut tried = Vec::new();
    for name in ["verify.py", "verify.mjs", "verify.go", "verify.rb"] {
        let said = |key: &str, secs: i64, id: &str, body: &str| {
            let stamped = secs.to_string();
            let signed = keys.ring().sign("evt_1", secs, BODY.as_bytes()).standard;
            let signature = format!("nonsense v2,abc {signed}");
            let mut child = documented_verifier(name)?
                .args([key, id, &stamped, &signature])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // One that minds its arguments does not read.
            let _unread = child.stdin.take().unwrap().write_all(body.as_bytes());
            let ended = child.wait_with_output().unwrap();
            let printed = String::from_utf8(ended.stdout).unwrap();
            Some(ended.status.success().then(|| printed.trim().to_owned()))
        };
        let (new, old) = (keys.new.expose(), keys.old.expose());
        let Some(first) = said(new, secs, "evt_1", BODY) else { continue };
        tried.push(name);
        assert_eq!(first.as_deref(), Some("evt_1"), "{name}");
        for (key, secs, id, body, believed) in [
            (old, secs, "evt_1", BODY, true),
            (&keys.public, secs, "evt_1", BODY, true),
            ("sixteen-letters!", secs, "evt_1", BODY, false),
            (new, secs, "evt_2", BODY, false),
            (new, secs, "evt_1", "{}", false),
            (&keys.public, secs, "evt_1", "{}", false),
            (new, secs - 310, "evt_1", BODY, false),
            (new, secs + 310, "evt_1", BODY, false),
        ] {
            let found = said(key, secs, id, body).unwrap().is_some();
            assert_eq!(found, believed, "{name} {secs} {id} {body}");
        }
    }
    assert!(tried.len() >= 2, "Python and Node.js are needed for the other tests too: {tried:?}");
}

#[test]
fn the_verifier_in_rust_believes_what_it_should_and_nothing_else() {
    let keys = Keys::new();
    let secs = 1_763_546_400;
    let timestamp = secs.to_string();
    let signature = keys.ring().sign("evt_1", secs, BODY.as_bytes()).standard;
    let judge = |keys: &[&str], came: Standard<'_>, body: &str, now: i64| {
        let header = |name: &str| match name {
            "webhook-id" => came.id,
            "webhook-timestamp" => came.timestamp,
            "webhook-signature" => came.signature,
            _ => None,
        };
        documented::verify(keys, header, body.as_bytes(), now).map(str::to_owned)
    };
    let came =
        Standard { id: Some("evt_1"), timestamp: Some(&timestamp), signature: Some(&signature) };

    for key in [keys.new.expose(), keys.old.expose(), &keys.public] {
        assert_eq!(judge(&["other", key], came, BODY, secs + 300).as_deref(), Ok("evt_1"));
        assert!(judge(&[key], came, "{}", secs).is_err());
        assert!(judge(&[key], came, BODY, secs + 301).is_err());
        assert!(judge(&[key], came, BODY, secs - 301).is_err());
        assert!(judge(&[key], Standard { id: Some("evt_2"), ..came }, BODY, secs).is_err());
        assert!(judge(&[key], Standard { signature: None, ..came }, BODY, secs).is_err());
    }
    for key in ["other", "whsec_", "whpk_", "whsec_???"] {
        assert!(judge(&[key], came, BODY, secs).is_err(), "{key}");
    }
}

#[test]
fn the_documents_name_every_verifier() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let page = fs::read_to_string(docs.join("webhooks.md")).unwrap();

    for entry in fs::read_dir(docs.join("verifiers")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(page.contains(&format!("(verifiers/{name})")), "docs/webhooks.md: {name}");
    }
}
