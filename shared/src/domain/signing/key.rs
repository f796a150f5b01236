//! The keys that sign, as they are written: `whsec_`, `whsk_`, `whpk_`, or plain text.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    digest, hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Secret;

/// The beginning of a shared key whose bytes are written in base64.
const SHARED: &str = "whsec_";
/// The beginning of an Ed25519 key: base64 of its seed and its public half, or of its seed alone.
const PRIVATE: &str = "whsk_";
/// The beginning of the public half of an Ed25519 key.
const PUBLIC: &str = "whpk_";

const SEED_BYTES: usize = 32;
const PUBLIC_BYTES: usize = 32;
/// What Standard Webhooks asks of a shared key: fewer bytes can be guessed, more add nothing.
const SHARED_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("what follows {0} must be base64")]
    NotBase64(&'static str),
    #[error("a key must have at least one byte")]
    Empty,
    #[error("what follows whsk_ must be the base64 of 32 or 64 bytes")]
    PrivateLength,
    #[error("the two halves of a key that begins with whsk_ must belong together")]
    Halves,
    #[error("what follows whpk_ must be the base64 of 32 bytes")]
    PublicLength,
    #[error("a key that begins with whpk_ can verify but not sign")]
    PublicOnly,
}

/// A key that signs.
pub enum Key {
    /// Known to both sides: HMAC-SHA256.
    Shared {
        /// Over the text as it was given, for the required scheme.
        plain: Box<hmac::Key>,
        /// Over what the text stands for, for `v1`.
        standard: Box<hmac::Key>,
    },
    /// Ed25519, for `v1a`: receivers know its public half only.
    Pair(Box<Ed25519KeyPair>),
}

impl Key {
    /// Reads a key as it is written. A text without one of the prefixes is its own shared key.
    pub fn read(text: &Secret) -> Result<Self, BadKey> {
        let text = text.expose();
        if text.starts_with(PUBLIC) {
            return Err(BadKey::PublicOnly);
        }
        if let Some(encoded) = text.strip_prefix(PRIVATE) {
            return read_pair(encoded).map(|pair| Self::Pair(Box::new(pair)));
        }
        let standard = match text.strip_prefix(SHARED) {
            Some(encoded) => decode(encoded, SHARED)?,
            None => Zeroizing::new(text.as_bytes().to_vec()),
        };
        if standard.is_empty() {
            return Err(BadKey::Empty);
        }
        Ok(Self::Shared {
            plain: Box::new(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())),
            standard: Box::new(hmac::Key::new(hmac::HMAC_SHA256, &standard)),
        })
    }

    /// Writes a shared key of these bytes.
    pub fn shared(bytes: &[u8]) -> Secret {
        Secret::new(format!("{SHARED}{}", STANDARD.encode(bytes)))
    }

    /// Writes the Ed25519 key that grows from a seed.
    pub fn pair(seed: &[u8; SEED_BYTES]) -> Secret {
        #[expect(clippy::expect_used, reason = "the type says how long a seed is")]
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed");
        let both = Zeroizing::new([seed, pair.public_key().as_ref()].concat());
        Secret::new(format!("{PRIVATE}{}", STANDARD.encode(&*both)))
    }

    /// Whether a key is as long as Standard Webhooks wants keys to be: asked of keys that are given
    /// to an endpoint, not of those that sign already.
    pub fn is_of_standard_length(text: &Secret) -> bool {
        match text.expose().strip_prefix(SHARED) {
            Some(encoded) => {
                decode(encoded, SHARED).is_ok_and(|bytes| SHARED_BYTES.contains(&bytes.len()))
            }
            None => Key::read(text).is_ok(),
        }
    }

    /// The half that receivers may know, if there is one.
    pub fn public(&self) -> Option<PublicKey> {
        match self {
            Self::Shared { .. } => None,
            Self::Pair(pair) => pair.public_key().as_ref().try_into().ok().map(PublicKey),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared { .. } => "Key::Shared(..)",
            Self::Pair(_) => "Key::Pair(..)",
        })
    }
}

fn decode(encoded: &str, prefix: &'static str) -> Result<Zeroizing<Vec<u8>>, BadKey> {
    STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| BadKey::NotBase64(prefix))
}

fn read_pair(encoded: &str) -> Result<Ed25519KeyPair, BadKey> {
    let bytes = decode(encoded, PRIVATE)?;
    match bytes.len() {
        SEED_BYTES => {
            Ed25519KeyPair::from_seed_unchecked(&bytes).map_err(|_| BadKey::PrivateLength)
        }
        64 => {
            let (seed, public) = bytes.split_at(SEED_BYTES);
            Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| BadKey::Halves)
        }
        _ => Err(BadKey::PrivateLength),
    }
}

/// The public half of an Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_BYTES]);

impl PublicKey {
    /// Reads `whpk_` and base64.
    pub fn read(text: &str) -> Result<Self, BadKey> {
        let encoded = text.strip_prefix(PUBLIC).ok_or(BadKey::NotBase64(PUBLIC))?;
        let bytes = STANDARD.decode(encoded).map_err(|_| BadKey::NotBase64(PUBLIC))?;
        bytes.try_into().map(Self).map_err(|_| BadKey::PublicLength)
    }

    /// Whether the text is meant to be one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PUBLIC)
    }

    pub(super) fn verifies(&self, content: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(content, signature).is_ok()
    }

    /// As a JSON Web Key (RFC 8037). Its `kid` is its thumbprint (RFC 7638).
    pub fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0);
        // The members that RFC 8037 names, in the order of the alphabet and without spaces.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let thumbprint = digest::digest(&digest::SHA256, canonical.as_bytes());
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": URL_SAFE_NO_PAD.encode(thumbprint),
            "x": x,
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", STANDARD.encode(self.0))
    }
}
