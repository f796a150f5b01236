//! Signatures: HMAC-SHA256 over the body, and over id, time and body.
//!
//! Two schemes go with every attempt, with one secret. The first is `X-Webhook-Signature`, the hex
//! of HMAC-SHA256 over the body alone, keyed with the secret's text as it was given. The second is
//! Standard Webhooks 1.0.0: `v1,` and the base64 of HMAC-SHA256 over `{id}.{unix seconds}.{body}`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Why a secret cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    #[error("a secret that begins with whsec_ goes on with base64")]
    NotBase64,
    #[error("a secret has at least one byte")]
    Empty,
}

/// The beginning of a secret whose key is written in base64.
pub const SECRET_PREFIX: &str = "whsec_";

/// `X-Webhook-Signature`: hex of HMAC-SHA256(secret, body).
pub fn body_hex(secret: &str, body: &[u8]) -> String {
    hex::encode(mac(secret.as_bytes(), &[body]))
}

/// `webhook-signature`: one token of Standard Webhooks. The key is what follows `whsec_`, decoded; a
/// secret without that prefix is its own key.
pub fn standard(
    secret: &str,
    id: &str,
    timestamp_secs: i64,
    body: &[u8],
) -> Result<String, BadSecret> {
    let key = match secret.strip_prefix(SECRET_PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| BadSecret::NotBase64)?,
        None => secret.as_bytes().to_vec(),
    };
    if key.is_empty() {
        return Err(BadSecret::Empty);
    }
    let timestamp = timestamp_secs.to_string();
    let signed: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    Ok(format!("v1,{}", STANDARD.encode(mac(&key, &signed))))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Whether `X-Webhook-Signature` fits the body; compared in constant time.
pub fn is_body_hex(secret: &str, body: &[u8], given: &str) -> bool {
    use subtle::ConstantTimeEq as _;

    body_hex(secret, body).as_bytes().ct_eq(given.as_bytes()).into()
}

/// Whether one token of `webhook-signature` fits; compared in constant time. The caller checks that
/// the timestamp is near.
pub fn is_standard(secret: &str, id: &str, timestamp_secs: i64, body: &[u8], given: &str) -> bool {
    use subtle::ConstantTimeEq as _;

    let Ok(expected) = standard(secret, id, timestamp_secs, body) else { return false };
    given.split(' ').any(|token| expected.as_bytes().ct_eq(token.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_signatures_match_the_published_vectors() {
        for (secret, id, timestamp, body, signature) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
            (
                "whsec_plJ3nmyCDGBKInavdOK15jsl",
                "msg_loFOjxBNrRLzqYUf",
                1_731_705_121,
                r#"{"event_type":"ping","data":{"success":true}}"#,
                "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            ),
        ] {
            let signed = standard(secret, id, timestamp, body.as_bytes());

            assert_eq!(signed.as_deref(), Ok(signature));
            assert!(is_standard(secret, id, timestamp, body.as_bytes(), signature));
            assert!(!is_standard(secret, id, timestamp + 1, body.as_bytes(), signature));
        }
    }

    #[test]
    fn body_signatures_match_the_published_vectors() {
        for (secret, body, signature) in [
            (
                "convoy-webhook-secret",
                r#"{"event":"charge.success","amount":1000,"currency":"NGN"}"#,
                "244449b7f48cbc2709060c9dcdc2b3aa47a78f540430579015c579fb12defbb4",
            ),
            (
                "It's a Secret to Everybody",
                "Hello, World!",
                "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            ),
        ] {
            assert_eq!(body_hex(secret, body.as_bytes()), signature);
            assert!(is_body_hex(secret, body.as_bytes(), signature));
            assert!(!is_body_hex(secret, b"", signature));
        }
    }

    #[test]
    fn a_secret_that_only_looks_encoded_is_refused() {
        assert_eq!(standard("whsec_???", "evt_1", 0, b""), Err(BadSecret::NotBase64));
        assert_eq!(standard("whsec_", "evt_1", 0, b""), Err(BadSecret::Empty));
    }
}
