//! Signing, verifying and receiving webhooks with the command itself.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use buildfleet::{
    domain::{
        address::Allowed,
        signing::{Key, Keyring, Secret},
    },
    store::At,
};
use serde_json::Value;
use webhook_dispatcher::{
    request::Signed,
    send::{Sender, Sent, Settings},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &str = r#"{"test": 2432232314}"#;

fn buildfleet(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_buildfleet"))
        .args(args)
        .env_remove("WEBHOOK_SECRET")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused its arguments without reading.
    let _refused = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_body_is_signed_as_the_published_vector_says() {
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    let args = ["sign", "--secret", SECRET, "--id", id, "--timestamp", "1614265330"];

    let signed = buildfleet(&args, BODY);

    let printed = words(&signed);
    assert!(signed.status.success(), "{signed:?}");
    for line in [
        "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp: 1614265330",
        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "x-webhook-timestamp: 1614265330000",
    ] {
        assert!(printed.lines().any(|other| other == line), "{line}: {printed}");
    }
    let json: Value =
        serde_json::from_str(&words(&buildfleet(&[&["--json"], &args[..]].concat(), BODY)))
            .unwrap();
    assert_eq!(json["webhook-timestamp"], "1614265330");
}

#[test]
fn what_is_signed_verifies_and_nothing_else_does() {
    let pair = Key::pair(&[7; 32]);
    let public = Key::read(&pair).unwrap().public().unwrap().to_string();
    let signed = words(&buildfleet(&["sign", "--secret", SECRET, "--secret", pair.expose()], BODY));
    let headers: Vec<_> = signed.lines().flat_map(|line| ["--header", line]).collect();
    let verify = |secret: &str, extra: &[&str], headers: &[&str], body: &str| {
        buildfleet(&[&["verify", "--secret", secret], extra, headers].concat(), body)
    };

    for secret in [SECRET, &public, pair.expose()] {
        let done = verify(secret, &[], &headers, BODY);
        assert_eq!(
            (done.status.code(), words(&done).as_str()),
            (Some(0), "verified\n"),
            "{secret}"
        );
    }
    let forged = verify(SECRET, &[], &headers, "{}");
    assert_eq!(forged.status.code(), Some(1));
    assert!(words(&forged).starts_with("not verified: "), "{forged:?}");
    assert_eq!(verify(&public, &[], &headers, "{}").status.code(), Some(1));
    assert_eq!(verify("another-secret!!", &[], &headers, BODY).status.code(), Some(1));
    assert_eq!(verify(SECRET, &[], &headers[..2], BODY).status.code(), Some(1));
    assert_eq!(verify("whsec_???", &[], &headers, BODY).status.code(), Some(2));
    assert_eq!(verify(SECRET, &["--header", "nonsense"], &headers, BODY).status.code(), Some(2));
}

#[test]
fn a_time_long_past_verifies_only_if_any_time_will_do() {
    let args = ["sign", "--secret", SECRET, "--timestamp", "1614265330"];
    let signed = words(&buildfleet(&args, BODY));
    let headers: Vec<_> = signed.lines().flat_map(|line| ["--header", line]).collect();
    let verify = ["verify", "--secret", SECRET];

    let old = buildfleet(&[&verify[..], &headers].concat(), BODY);
    assert_eq!(old.status.code(), Some(1));
    assert!(words(&old).contains("in the past"), "{old:?}");
    let any = buildfleet(&[&verify[..], &["--any-time"], &headers].concat(), BODY);
    assert_eq!(any.status.code(), Some(0));
}

#[test]
fn an_id_that_would_blur_what_was_signed_is_refused() {
    let signed = buildfleet(&["sign", "--secret", SECRET, "--id", "a.b"], BODY);

    assert_eq!(signed.status.code(), Some(2));
}

/// `buildfleet listen`, until dropped.
struct Listening {
    process: Child,
    url: String,
}

impl Listening {
    fn start(args: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_buildfleet"))
            .args(["listen", "--json", "--listen", "127.0.0.1:0", "--secret", SECRET])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut said).unwrap();
        let url = said.split(' ').find(|word| word.starts_with("http")).expect(&said).to_owned();
        Self { process, url }
    }

    /// What it printed, once it has ended by itself.
    fn ended(&mut self) -> String {
        assert!(self.process.wait().unwrap().success());
        let mut printed = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        printed
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

async fn send(to: &Listening, secret: &str, time_limit: Duration) -> Sent {
    let sender = Sender::new(Settings {
        allowed: Allowed::default().with_loopback(),
        time_limit,
        slots: 1,
        name_servers: Vec::new(),
        roots: None,
    })
    .unwrap();
    let keys = Keyring::read([&Secret::new(secret)]).unwrap();
    let now = At(jiff::Timestamp::now().as_millisecond());
    sender.send(&Signed::new(&to.url, "evt_1", BODY.into(), &keys, now).unwrap()).await
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_listener_prints_what_came_and_answers_in_turn() {
    let statuses = ["--status", "503,429,204", "--header", "Retry-After: 7", "--count", "4"];
    let mut listening = Listening::start(&statuses);

    let mut found = Vec::new();
    for secret in [SECRET, SECRET, SECRET, "another-secret!!"] {
        let exchange = send(&listening, secret, LONG).await;
        found.push((exchange.status, exchange.ruling.pause.map(|pause| pause.as_secs())));
    }

    let wanted = [(503, Some(7)), (429, Some(7)), (204, None), (401, None)];
    assert_eq!(found, wanted.map(|(status, pause)| (Some(status), pause)));
    let printed = listening.ended();
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verified: Vec<_> = lines.iter().map(|line| line["verified"].as_bool().unwrap()).collect();
    assert_eq!(verified, [true, true, true, false]);
    assert_eq!(lines[0]["id"], "evt_1");
    assert_eq!(lines[0]["event"]["test"], 2_432_232_314_u64);
    assert!(lines[3]["fault"].as_str().unwrap().contains("fits none"), "{printed}");
}

#[tokio::test]
async fn a_listener_is_slow_on_demand() {
    let listening = Listening::start(&["--delay", "0.3"]);
    let exchange = send(&listening, SECRET, LONG).await;
    assert_eq!(exchange.status, Some(204));
    assert!(Duration::from_millis(300) <= exchange.timings.first_byte.unwrap());

    let listening = Listening::start(&["--drip", "0.05"]);
    let exchange = send(&listening, SECRET, Duration::from_millis(500)).await;
    assert_eq!(exchange.ruling.failure.unwrap().code, "timed_out");
    assert!(exchange.excerpt.unwrap().starts_with(".."));
}

#[tokio::test]
async fn a_listener_is_huge_on_demand() {
    let listening = Listening::start(&["--huge"]);
    let exchange = send(&listening, SECRET, LONG).await;

    assert_eq!((exchange.status, exchange.ruling.failure), (Some(200), None));
    assert!(exchange.timings.total < Duration::from_secs(5), "{:?}", exchange.timings);
}
