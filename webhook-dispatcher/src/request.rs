//! A request on its way: drafted, then signed. What is signed is what is sent.

use buildfleet::{
    domain::id::BuildId,
    store::{At, DeliveryClaim, EventView},
};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::sign::{self, BadSecret};

/// The envelope of every webhook (S2-38). Its bytes are the same on every attempt.
#[derive(Debug, Serialize)]
struct Envelope<'a> {
    r#type: &'a str,
    /// Null if it is about an endpoint.
    #[serde(rename = "buildId")]
    build: Option<String>,
    /// In milliseconds since 1970, when the event happened.
    timestamp: i64,
    data: &'a serde_json::Value,
}

/// The body of a webhook: UTF-8 JSON. `build` is what the event is about, if it is a build.
pub fn body(event: &EventView, build: Option<BuildId>) -> Vec<u8> {
    let envelope = Envelope {
        r#type: event.kind.as_str(),
        build: build.map(|id| id.to_string()),
        timestamp: event.at.0,
        data: &event.data,
    };
    #[expect(clippy::expect_used, reason = "its keys are strings and its numbers are finite")]
    serde_json::to_vec(&envelope).expect("an envelope is JSON")
}

/// A request that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Signed {
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Signed {
    /// Signs a delivery for an attempt that is made `now`. The id is that of the event: it stays
    /// the same over all attempts and redeliveries, so a receiver can pass over what it has seen.
    pub fn new(claim: &DeliveryClaim, now: At) -> Result<Self, BadSecret> {
        let body = body(&claim.event, claim.build());
        let secret = claim.secret.expose_secret();
        let id = claim.event.id.to_string();
        let now_secs = now.0.div_euclid(1000);
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("user-agent", concat!("buildfleet/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("x-webhook-signature", sign::body_hex(secret, &body)),
            ("x-webhook-timestamp", now.0.to_string()),
            ("webhook-signature", sign::standard(secret, &id, now_secs, &body)?),
            ("webhook-id", id),
            ("webhook-timestamp", now_secs.to_string()),
        ];
        Ok(Self { url: claim.url.clone(), headers, body })
    }
}

#[cfg(test)]
mod tests {
    use buildfleet::domain::{
        event::Kind,
        id::{BuildId, EventId},
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn the_envelope_has_four_members_in_their_order() {
        let build: BuildId = "bld_01J8ZQ5W3V9K2M4N6P7R8S9T0A".parse().unwrap();
        let event = EventView {
            id: "evt_01J8ZQ5W3V9K2M4N6P7R8S9T0B".parse::<EventId>().unwrap(),
            build,
            seq: 1,
            kind: Kind::BuildStarted,
            at: At(1_763_724_000_123),
            data: json!({ "prompt": "a to-do list", "framework": null }),
        };

        let body = String::from_utf8(body(&event, Some(build))).unwrap();

        assert_eq!(
            body,
            "{\"type\":\"build_started\",\"buildId\":\"bld_01J8ZQ5W3V9K2M4N6P7R8S9T0A\",\
             \"timestamp\":1763724000123,\"data\":{\"prompt\":\"a to-do list\",\"framework\":null}}"
        );
    }
}
