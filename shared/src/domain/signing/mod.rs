//! Signatures: what proves to a receiver that a webhook is ours and was not changed.
//!
//! Two schemes go with every attempt. The required one is `X-Webhook-Signature`, the hex of
//! HMAC-SHA256 over the body alone. Beside it stands Standard Webhooks 1.0.0: an id, a time, and
//! one token for each live key over `{id}.{unix seconds}.{body}`, so that keys can change without a
//! moment in which a receiver must know both at once. Nothing here draws a key or reads a clock.

mod secret;
mod key;
mod keyring;
mod verifier;
#[cfg(test)]
mod tests;

pub use self::key::{BadKey, Key, PublicKey};
pub use self::keyring::{Keyring, Signatures};
pub use self::secret::Secret;
pub use self::verifier::{Mismatch, Standard, Verifier};

/// The header of the required scheme.
pub const PLAIN_SIGNATURE: &str = "x-webhook-signature";
/// Its time, in milliseconds since 1970. It is not signed: receivers that care look at the next
/// ones.
pub const PLAIN_TIMESTAMP: &str = "x-webhook-timestamp";
/// The headers of Standard Webhooks.
pub const ID: &str = "webhook-id";
pub const TIMESTAMP: &str = "webhook-timestamp";
pub const SIGNATURE: &str = "webhook-signature";

/// How far the time of a webhook may be from the receiver's, in seconds: what the libraries of
/// Standard Webhooks allow.
pub const TOLERANCE_SECS: i64 = 300;

/// Whether an id can be signed: a dot would let one id and time be read as another, and a control
/// character would not get through a header.
pub fn is_signable(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.')
}

/// What the tokens of Standard Webhooks are over.
fn signed_content(id: &str, timestamp_secs: i64, body: &[u8]) -> Vec<u8> {
    let mut content = format!("{id}.{timestamp_secs}.").into_bytes();
    content.extend_from_slice(body);
    content
}
