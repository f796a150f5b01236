//! Verifies a webhook of buildfleet, with `base64` and `ring`.
//!
//! `verify` returns the id of the event, which stays the same over all attempts: remember it, and
//! pass over what has been seen. Everything else is not to be believed. A key is `whsec_...`, plain
//! text, or `whpk_...`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{hmac, signature};

const TOLERANCE_SECS: i64 = 300;

/// `header` gives the value of a header; `body` is the bytes as they came, not JSON read and
/// written.
pub fn verify<'a>(
    keys: &[&str],
    header: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
    now_secs: i64,
) -> Result<&'a str, &'static str> {
    let missing = "a header is missing, or webhook-timestamp is no number of seconds";
    let id = header("webhook-id").ok_or(missing)?;
    let timestamp = header("webhook-timestamp").ok_or(missing)?;
    let signatures = header("webhook-signature").ok_or(missing)?;
    let secs = i64::from(timestamp.parse::<u32>().map_err(|_| missing)?);
    if TOLERANCE_SECS < (now_secs - secs).abs() {
        return Err("webhook-timestamp is too far from now");
    }
    let content = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let fits = signatures.split(' ').filter_map(|token| token.split_once(',')).any(
        |(version, encoded)| {
            let given = STANDARD.decode(encoded).unwrap_or_default();
            keys.iter().any(|key| fits(key, version, &given, &content))
        },
    );
    if fits { Ok(id) } else { Err("webhook-signature fits none of the keys") }
}

fn fits(key: &str, version: &str, given: &[u8], content: &[u8]) -> bool {
    if let Some(encoded) = key.strip_prefix("whpk_") {
        let public = STANDARD.decode(encoded).unwrap_or_default();
        let public = signature::UnparsedPublicKey::new(&signature::ED25519, public);
        return version == "v1a" && public.verify(content, given).is_ok();
    }
    let raw = match key.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).unwrap_or_default(),
        None => key.as_bytes().to_vec(),
    };
    let mac = hmac::Key::new(hmac::HMAC_SHA256, &raw);
    // An empty key would fit whatever anybody signed with none.
    !raw.is_empty() && version == "v1" && hmac::verify(&mac, content, given).is_ok()
}
