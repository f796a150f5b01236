//! The sender against receivers, names and networks that misbehave.

mod keeping;
mod misbehaving;
mod names;
mod refusing;
mod secure;
mod server;

use super::*;

/// Sends to this machine too; nothing else is special.
fn settings() -> Settings {
    Settings {
        allowed: Allowed::default().with_loopback(),
        time_limit: Duration::from_secs(10),
        slots: 10,
        name_servers: Vec::new(),
        roots: None,
    }
}

fn sender(settings: Settings) -> Sender {
    Sender::new(settings).unwrap()
}

fn within(time_limit: Duration) -> Sender {
    sender(Settings { time_limit, ..settings() })
}

fn request(url: &str) -> Signed {
    use buildfleet::{
        domain::signing::{Keyring, Secret},
        store::At,
    };

    let keys = Keyring::read([&Secret::new("sixteen-letters!")]).unwrap();
    Signed::new(url, "evt_1", b"{}".to_vec(), &keys, At(1_763_546_400_000)).unwrap()
}

/// The code of a failure, and whether it is to be tried again.
fn failure(sent: &Sent) -> (&str, bool) {
    use buildfleet::domain::attempt::FailureKind;

    let failure = sent.ruling.failure.as_ref().expect("it failed");
    (failure.code.as_str(), failure.kind == FailureKind::Transient)
}

fn reason(sent: &Sent) -> &str {
    &sent.ruling.failure.as_ref().expect("it failed").reason
}
