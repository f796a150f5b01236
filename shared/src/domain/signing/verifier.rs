//! The receiver's side: whether a webhook is what one of the keys signed, and of our time.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

use super::{BadKey, Key, PublicKey, Secret, TOLERANCE_SECS, signed_content};

/// Why a webhook is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("no {0}")]
    Missing(&'static str),
    #[error("webhook-timestamp is no number of seconds")]
    BadTimestamp,
    #[error("webhook-timestamp is {by_secs} seconds in the past")]
    TooOld { by_secs: i64 },
    #[error("webhook-timestamp is {by_secs} seconds in the future")]
    TooNew { by_secs: i64 },
    #[error("webhook-signature fits none of the keys")]
    Standard,
    #[error("X-Webhook-Signature fits none of the keys")]
    Plain,
}

/// The headers of Standard Webhooks, as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standard<'a> {
    pub id: Option<&'a str>,
    pub timestamp: Option<&'a str>,
    pub signature: Option<&'a str>,
}

/// Keys that verify: any one of them will do.
#[derive(Debug)]
pub struct Verifier {
    shared: Vec<Key>,
    public: Vec<PublicKey>,
}

impl Verifier {
    /// Reads keys: those that sign, and `whpk_`.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a Secret>) -> Result<Self, BadKey> {
        let (mut shared, mut public) = (Vec::new(), Vec::new());
        for text in texts {
            if PublicKey::is_meant(text.expose()) {
                public.push(PublicKey::read(text.expose())?);
                continue;
            }
            let key = Key::read(text)?;
            match key.public() {
                Some(half) => public.push(half),
                None => shared.push(key),
            }
        }
        if shared.is_empty() && public.is_empty() {
            return Err(BadKey::Empty);
        }
        Ok(Self { shared, public })
    }

    /// Whether there is a key that the required header could fit.
    pub fn has_shared(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Judges the headers of Standard Webhooks. `now_secs` is the receiver's time; without it, any
    /// time is believed. Tokens of unknown versions and words that are no tokens are passed over.
    pub fn standard(
        &self,
        came: Standard<'_>,
        body: &[u8],
        now_secs: Option<i64>,
    ) -> Result<(), Mismatch> {
        let id = came.id.ok_or(Mismatch::Missing(super::ID))?;
        let timestamp = came.timestamp.ok_or(Mismatch::Missing(super::TIMESTAMP))?;
        let signature = came.signature.ok_or(Mismatch::Missing(super::SIGNATURE))?;
        let timestamp = Some(timestamp)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or(Mismatch::BadTimestamp)?;
        if let Some(now) = now_secs {
            let age = now.saturating_sub(timestamp);
            if TOLERANCE_SECS < age {
                return Err(Mismatch::TooOld { by_secs: age });
            }
            if age < -TOLERANCE_SECS {
                return Err(Mismatch::TooNew { by_secs: age.saturating_neg() });
            }
        }
        let content = signed_content(id, timestamp, body);
        let fits = signature.split(' ').any(|token| self.fits(token, &content));
        if fits { Ok(()) } else { Err(Mismatch::Standard) }
    }

    fn fits(&self, token: &str, content: &[u8]) -> bool {
        let Some((version, encoded)) = token.split_once(',') else { return false };
        let Ok(bytes) = STANDARD.decode(encoded) else { return false };
        match version {
            "v1" => self.macs().any(|(_, key)| hmac::verify(key, content, &bytes).is_ok()),
            "v1a" => self.public.iter().any(|key| key.verifies(content, &bytes)),
            _ => false,
        }
    }

    /// Judges `X-Webhook-Signature`: lower-case hex, compared in constant time.
    pub fn plain(&self, signature: &str, body: &[u8]) -> Result<(), Mismatch> {
        let bytes = match hex::decode(signature) {
            Ok(bytes) if !signature.bytes().any(|byte| byte.is_ascii_uppercase()) => bytes,
            _ => return Err(Mismatch::Plain),
        };
        let fits = self.macs().any(|(key, _)| hmac::verify(key, body, &bytes).is_ok());
        if fits { Ok(()) } else { Err(Mismatch::Plain) }
    }

    fn macs(&self) -> impl Iterator<Item = (&hmac::Key, &hmac::Key)> {
        self.shared.iter().filter_map(|key| match key {
            Key::Shared { plain, standard } => Some((&**plain, &**standard)),
            Key::Pair(_) => None,
        })
    }
}
