//! Who may come in: whoever shows one of the keys.
//!
//! Everything under `/v1` is shut, also what does not exist there. Knows keys, not persons: there
//! is one tenant. What is changed by hand is written down with the place of the key in the settings
//! and with what the caller says for a reason.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::{Api, Error};

/// Whose builds they are.
pub const TENANT: &str = "default";

/// Why something is changed by hand, for the audit.
pub const REASON: HeaderName = HeaderName::from_static("x-reason");
const REASON_CHARS_MAX: usize = 200;

/// The keys, as they are compared.
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    pub fn new(keys: &[SecretString]) -> Self {
        Self(keys.iter().map(|key| digest(key.expose_secret())).collect())
    }

    /// The place of a key, from 1. Takes as long for a wrong key as for a right one: digests have
    /// one length, and all of them are looked at.
    fn place(&self, key: &str) -> Option<u64> {
        let shown = digest(key);
        let mut place = 0;
        for (number, known) in (1..).zip(&self.0) {
            place.conditional_assign(&number, known.ct_eq(&shown));
        }
        (place != 0).then_some(place)
    }
}

/// Who calls, as the audit names them: `default/key-1`, and the reason if one is given.
#[derive(Debug, Clone)]
pub struct By(pub String);

/// The place of the key that was shown.
#[derive(Debug, Clone, Copy)]
struct Key(u64);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let who = match parts.extensions.get::<Key>() {
            Some(Key(place)) => format!("{TENANT}/key-{place}"),
            None => "anonymous".to_owned(),
        };
        Ok(Self(match reason(&parts.headers)? {
            Some(reason) => format!("{who}: {reason}"),
            None => who,
        }))
    }
}

fn reason(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut given = headers.get_all(REASON).iter();
    let Some(reason) = given.next() else { return Ok(None) };
    let alone = given.next().is_none();
    std::str::from_utf8(reason.as_bytes())
        .ok()
        .filter(|_| alone)
        .map(str::trim)
        .filter(|reason| reason.chars().count() <= REASON_CHARS_MAX)
        .filter(|reason| !reason.chars().any(char::is_control))
        .map(|reason| Some(reason.to_owned()).filter(|reason| !reason.is_empty()))
        .ok_or_else(|| {
            Error::bad_request(
                "bad_reason",
                format!(
                    "X-Reason must be given once, with at most {REASON_CHARS_MAX} characters and \
                     none that steers a terminal"
                ),
            )
        })
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Lets requests under `/v1` through that show a key.
pub async fn require(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    let path = request.uri().path();
    if path != "/v1" && !path.starts_with("/v1/") {
        return Ok(next.run(request).await);
    }
    match key(request.headers()).map(|key| api.keys.place(key)) {
        Some(Some(place)) => {
            request.extensions_mut().insert(Key(place));
            Ok(next.run(request).await)
        }
        Some(None) => Err(unauthorized("this key is not known")),
        None => Err(unauthorized("a key is needed: `Authorization: Bearer <key>`")),
    }
}

fn key(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| key.trim());
    }
    headers.get("x-api-key")?.to_str().ok().map(str::trim)
}

fn unauthorized(message: &str) -> Error {
    Error::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}
