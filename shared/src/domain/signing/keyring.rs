//! The live keys of an endpoint, and what they make of a body.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

use super::{BadKey, Key, PublicKey, Secret, signed_content};

/// The keys that sign at the same time, newest first: the current one, and those it replaced whose
/// time has not run out.
#[derive(Debug)]
pub struct Keyring(Vec<Key>);

/// The values of the two signature headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// Of `X-Webhook-Signature`; none if no key is shared.
    pub plain: Option<String>,
    /// Of `webhook-signature`: a token for each key, newest first, with spaces between them.
    pub standard: String,
}

impl Keyring {
    /// Reads the keys, newest first; there must be one.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a Secret>) -> Result<Self, BadKey> {
        let keys = texts.into_iter().map(Key::read).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(BadKey::Empty) } else { Ok(Self(keys)) }
    }

    /// The public halves of its Ed25519 keys.
    pub fn public(&self) -> impl Iterator<Item = PublicKey> {
        self.0.iter().filter_map(Key::public)
    }

    /// Signs a body. The id stays the same over all attempts, the time is that of this one.
    ///
    /// The required header has room for one signature. It is that of the oldest shared key that
    /// lives: a receiver that was told of no new key yet verifies as before, until the old one
    /// ends.
    pub fn sign(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> Signatures {
        let mut plain = None;
        // `v1a,` and 64 bytes in base64, with a space.
        let mut standard = String::with_capacity(self.0.len() * 93);
        for key in &self.0 {
            if !standard.is_empty() {
                standard.push(' ');
            }
            match key {
                Key::Shared { plain: key, standard: over_time } => {
                    plain = Some(key);
                    standard.push_str("v1,");
                    let tag = mac(over_time, id, timestamp_secs, body);
                    STANDARD.encode_string(tag, &mut standard);
                }
                Key::Pair(pair) => {
                    standard.push_str("v1a,");
                    let signature = pair.sign(&signed_content(id, timestamp_secs, body));
                    STANDARD.encode_string(signature, &mut standard);
                }
            }
        }
        Signatures { plain: plain.map(|key| hex::encode(hmac::sign(key, body))), standard }
    }
}

fn mac(key: &hmac::Key, id: &str, timestamp_secs: i64, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(id.as_bytes());
    context.update(format!(".{timestamp_secs}.").as_bytes());
    context.update(body);
    context.sign()
}
