//! A request on its way: drafted, then signed. What is signed is what is sent.

use buildfleet::{
    domain::{
        id::BuildId,
        signing::{self, BadKey, Keyring},
    },
    store::{At, EventView},
};
use hyper::{
    HeaderMap,
    body::Bytes,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName,
        HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

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

const PLAIN_SIGNATURE: HeaderName = HeaderName::from_static(signing::PLAIN_SIGNATURE);
const PLAIN_TIMESTAMP: HeaderName = HeaderName::from_static(signing::PLAIN_TIMESTAMP);
const ID: HeaderName = HeaderName::from_static(signing::ID);
const TIMESTAMP: HeaderName = HeaderName::from_static(signing::TIMESTAMP);
const SIGNATURE: HeaderName = HeaderName::from_static(signing::SIGNATURE);

/// Headers whose values are no secret.
const SHOWN: [HeaderName; 7] =
    [CONTENT_TYPE, USER_AGENT, PLAIN_TIMESTAMP, ID, TIMESTAMP, ACCEPT, ACCEPT_ENCODING];

/// Headers that say how a message is carried: who sets them otherwise can smuggle a second one in.
const OF_HTTP: [HeaderName; 8] = [
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    UPGRADE,
];

/// Why a delivery cannot be put into a request. Trying again would end in the same way.
#[derive(Debug, thiserror::Error)]
pub enum Unsignable {
    #[error(transparent)]
    Key(#[from] BadKey),
    #[error("the id {0:?} cannot be signed")]
    Id(String),
    #[error("the header {0:?} of the endpoint cannot be sent")]
    Header(String),
}

impl Unsignable {
    /// The code of the failure that it makes.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Key(_) => "bad_secret",
            Self::Id(_) => "bad_id",
            Self::Header(_) => "bad_header",
        }
    }
}

/// A request that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Signed {
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// When it was signed.
    pub at: At,
}

impl Signed {
    /// Signs a body for an attempt that is made `now`. The id is that of the event: it stays the
    /// same over all attempts and redeliveries, so a receiver can pass over what it has seen.
    pub fn new(
        url: &str,
        id: &str,
        body: Vec<u8>,
        keys: &Keyring,
        now: At,
    ) -> Result<Self, Unsignable> {
        let unsignable = || Unsignable::Id(id.to_owned());
        if !signing::is_signable(id) {
            return Err(unsignable());
        }
        let now_secs = now.0.div_euclid(1000);
        let signed = keys.sign(id, now_secs, &body);
        let value = |text: String| HeaderValue::try_from(text).map_err(|_| unsignable());
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let agent = concat!("buildfleet/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(plain) = signed.plain {
            headers.insert(PLAIN_SIGNATURE, value(plain)?);
        }
        headers.insert(PLAIN_TIMESTAMP, HeaderValue::from(now.0));
        headers.insert(SIGNATURE, value(signed.standard)?);
        headers.insert(ID, value(id.to_owned())?);
        headers.insert(TIMESTAMP, HeaderValue::from(now_secs));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        // What is not compressed cannot blow up.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(Self { url: url.to_owned(), headers, body: body.into(), at: now })
    }

    /// The same with headers of the endpoint's own. None of ours can be replaced by them, nor what
    /// HTTP itself needs.
    pub fn with_headers(
        mut self,
        own: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
    ) -> Result<Self, Unsignable> {
        let ours = self.headers.clone();
        for (name, value) in own {
            let (name, value) = (name.as_ref(), value.as_ref());
            let bad = || Unsignable::Header(name.to_owned());
            let name = HeaderName::try_from(name).map_err(|_| bad())?;
            if ours.contains_key(&name) || OF_HTTP.contains(&name) {
                return Err(bad());
            }
            self.headers.insert(name, HeaderValue::try_from(value).map_err(|_| bad())?);
        }
        Ok(self)
    }

    /// The headers for people. Signatures and the endpoint's own are masked: they may let others
    /// in.
    pub fn headers_to_show(&self) -> Vec<(String, String)> {
        let shown = self.headers.iter().map(|(name, value)| {
            let value = match value.to_str() {
                Ok(value) if SHOWN.contains(name) => value,
                _ => "***",
            };
            (name.as_str().to_owned(), value.to_owned())
        });
        shown.collect()
    }

    /// SHA-256 of the body, in hex.
    pub fn body_sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.body))
    }
}

#[cfg(test)]
mod tests {
    use buildfleet::domain::{
        endpoint::Settings,
        event::Kind,
        id::{BuildId, EventId},
        signing::Secret,
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

    #[test]
    fn the_headers_are_these_and_no_others() {
        let keys = Keyring::read([&Secret::new("It's a Secret to Everybody")]).unwrap();
        let body = b"Hello, World!".to_vec();

        let signed = Signed::new("http://a/", "evt_1", body, &keys, At(1_763_724_000_123)).unwrap();

        let headers: Vec<_> = signed
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            headers,
            [
                ("content-type", "application/json"),
                ("user-agent", concat!("buildfleet/", env!("CARGO_PKG_VERSION"))),
                (
                    "x-webhook-signature",
                    "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
                ),
                ("x-webhook-timestamp", "1763724000123"),
                (
                    "webhook-signature",
                    keys.sign("evt_1", 1_763_724_000, b"Hello, World!").standard.as_str()
                ),
                ("webhook-id", "evt_1"),
                ("webhook-timestamp", "1763724000"),
                ("accept", "*/*"),
                ("accept-encoding", "identity"),
            ]
        );
        assert!(Signed::new("http://a/", "evt.1", Vec::new(), &keys, At(0)).is_err());
    }

    #[test]
    fn an_endpoint_adds_headers_and_replaces_none() {
        let keys = Keyring::read([&Secret::new("It's a Secret to Everybody")]).unwrap();
        let signed = || Signed::new("http://a/", "evt_1", b"{}".to_vec(), &keys, At(0)).unwrap();

        let with = signed().with_headers([("authorization", "Bearer hush"), ("x-a", "b")]).unwrap();

        assert_eq!(with.headers["authorization"], "Bearer hush");
        let shown = format!("{:?}", with.headers_to_show());
        assert!(shown.contains(r#"("authorization", "***")"#), "{shown}");
        assert!(shown.contains(r#"("webhook-signature", "***")"#), "{shown}");
        assert!(shown.contains(r#"("webhook-id", "evt_1")"#) && !shown.contains("hush"), "{shown}");
        for (name, value) in [
            ("Webhook-Id", "evt_2"),
            ("X-Webhook-Signature", "00"),
            ("content-type", "text/plain"),
            ("Host", "elsewhere"),
            ("content-length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("x-a", "b\r\nx-c: d"),
            ("x a", "b"),
            ("", "b"),
        ] {
            assert!(signed().with_headers([(name, value)]).is_err(), "{name}");
        }
    }

    #[test]
    fn no_endpoint_is_given_a_header_that_could_not_be_sent() {
        let keys = Keyring::read([&Secret::new("It's a Secret to Everybody")]).unwrap();
        let signed = Signed::new("http://a/", "evt_1", b"{}".to_vec(), &keys, At(0)).unwrap();

        for name in signed.headers.keys().chain(&OF_HTTP) {
            let mut settings = Settings::of("http://a/");
            settings.headers.insert(name.as_str().to_owned(), "b".to_owned());

            assert_eq!(settings.faults().len(), 1, "{name}");
        }
    }

    #[test]
    fn the_hash_of_a_body_is_that_of_fips_180() {
        let keys = Keyring::read([&Secret::new("It's a Secret to Everybody")]).unwrap();
        let signed = Signed::new("http://a/", "evt_1", b"abc".to_vec(), &keys, At(0)).unwrap();

        assert_eq!(
            signed.body_sha256(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
