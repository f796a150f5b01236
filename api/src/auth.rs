//! Who may come in: whoever shows one of the keys.
//!
//! Everything under `/v1` is shut, also what does not exist there. Knows keys, not persons: there
//! is one tenant.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::{Api, Error};

/// Whose builds they are.
pub const TENANT: &str = "default";

/// The keys, as they are compared.
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    pub fn new(keys: &[SecretString]) -> Self {
        Self(keys.iter().map(|key| digest(key.expose_secret())).collect())
    }

    /// Takes as long for a wrong key as for a right one: digests have one length, and all of them
    /// are looked at.
    fn know(&self, key: &str) -> bool {
        let shown = digest(key);
        let known = self.0.iter().fold(Choice::from(0), |known, key| known | key.ct_eq(&shown));
        known.into()
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Lets requests under `/v1` through that show a key.
pub async fn require(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let path = request.uri().path();
    if path != "/v1" && !path.starts_with("/v1/") {
        return Ok(next.run(request).await);
    }
    match key(request.headers()) {
        Some(key) if api.keys.know(key) => Ok(next.run(request).await),
        Some(_) => Err(unauthorized("this key is not known")),
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
