//! Secrets at rest: sealed before they are written down, opened where they are used.
//!
//! Each sealing has a key of its own, grown from a master key and a fresh salt (HKDF-SHA256), so a
//! nonce can never come twice; what it seals is bound to the place where it stands, so a sealed
//! secret that is moved to another row does not open there. Master keys have names: the first of
//! the list seals, all of them open, and so a master key is changed by putting a new one in front,
//! sealing everything anew, and taking the old one away. The salt is handed in: nothing here draws.

mod master;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use zeroize::Zeroizing;

pub use self::master::{Fault, MasterKeys};

use super::signing::Secret;

/// How long a salt is: of 24 random bytes, no two are ever the same.
pub const SALT_BYTES: usize = 24;
/// What a sealed text begins with.
const VERSION: &str = "sealed1";
const KEY_BYTES: usize = 32;

/// A secret as it is kept: `sealed1.NAME-OF-THE-MASTER-KEY.BASE64`, the salt in front of what was
/// encrypted. It tells nothing but the secret's length.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(String);

/// Why a sealed secret does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    #[error("it is not a sealed secret")]
    NotSealed,
    #[error("it is sealed under the master key {0:?}, which is not in BUILDFLEET_MASTER_KEYS")]
    NoSuchKey(String),
    #[error("it was changed, moved from its place, or sealed under another key named {0:?}")]
    Broken(String),
}

impl Sealed {
    /// Reads what was written down. Says nothing of whether it will open.
    pub fn read(text: &str) -> Result<Self, Unopened> {
        let sealed = Self(text.to_owned());
        sealed.parts()?;
        Ok(sealed)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its master key.
    pub fn master(&self) -> &str {
        self.0.split('.').nth(1).unwrap_or_default()
    }

    /// The master key's name, the salt, and what was encrypted.
    fn parts(&self) -> Result<(&str, [u8; SALT_BYTES], Vec<u8>), Unopened> {
        let mut parts = self.0.split('.');
        let (Some(VERSION), Some(master), Some(encoded), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Unopened::NotSealed);
        };
        let mut bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Unopened::NotSealed)?;
        if bytes.len() < SALT_BYTES + AES_256_GCM.tag_len() {
            return Err(Unopened::NotSealed);
        }
        let encrypted = bytes.split_off(SALT_BYTES);
        let salt = bytes.try_into().map_err(|_| Unopened::NotSealed)?;
        Ok((master, salt, encrypted))
    }
}

impl fmt::Debug for Sealed {
    /// Names the master key only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({:?})", self.master())
    }
}

impl MasterKeys {
    /// Seals a secret under the first key. `place` says where it will stand, such as the id of its
    /// endpoint; `salt` must be drawn anew for each call.
    pub fn seal(&self, secret: &Secret, place: &str, salt: [u8; SALT_BYTES]) -> Sealed {
        let first = self.first();
        let (key, nonce) = grown(&first.bytes, &salt);
        let aad = bound(&first.name, place);
        let mut bytes = Zeroizing::new(Vec::with_capacity(
            SALT_BYTES + secret.expose().len() + AES_256_GCM.tag_len(),
        ));
        bytes.extend_from_slice(secret.expose().as_bytes());
        #[expect(clippy::expect_used, reason = "it fails past 64 gigabytes, which is no secret")]
        let tag = key
            .seal_in_place_separate_tag(nonce, aad, &mut bytes)
            .expect("a secret is short enough to be sealed");
        let sealed = [&salt, bytes.as_slice(), tag.as_ref()].concat();
        Sealed(format!("{VERSION}.{}.{}", first.name, URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens what was sealed for the same place.
    pub fn open(&self, sealed: &Sealed, place: &str) -> Result<Secret, Unopened> {
        let (name, salt, encrypted) = sealed.parts()?;
        let master = self.find(name).ok_or_else(|| Unopened::NoSuchKey(name.to_owned()))?;
        let broken = || Unopened::Broken(name.to_owned());
        let (key, nonce) = grown(&master.bytes, &salt);
        let mut bytes = Zeroizing::new(encrypted);
        let opened =
            key.open_in_place(nonce, bound(name, place), &mut bytes).map_err(|_| broken())?;
        std::str::from_utf8(opened).map(Secret::new).map_err(|_| broken())
    }

    /// Whether it has to be sealed anew before any other key than the first can be taken away.
    pub fn is_stale(&self, sealed: &Sealed) -> bool {
        sealed.master() != self.first().name
    }
}

/// What is authenticated beside the secret.
fn bound(master: &str, place: &str) -> Aad<Vec<u8>> {
    // No name of a master key has a dot, so no two pairs are written alike.
    Aad::from(format!("{VERSION}.{master}.{place}").into_bytes())
}

/// The length of a key and its nonce, for HKDF.
struct KeyAndNonce;

impl hkdf::KeyType for KeyAndNonce {
    fn len(&self) -> usize {
        KEY_BYTES + NONCE_LEN
    }
}

fn grown(master: &[u8; KEY_BYTES], salt: &[u8; SALT_BYTES]) -> (LessSafeKey, Nonce) {
    let mut bytes = Zeroizing::new([0; KEY_BYTES + NONCE_LEN]);
    #[expect(clippy::expect_used, reason = "all lengths are constants that fit")]
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(master)
        .expand(&[b"buildfleet secret at rest"], KeyAndNonce)
        .and_then(|grown| grown.fill(&mut *bytes))
        .expect("HKDF gives as many bytes as these");
    let (key, nonce) = bytes.split_at(KEY_BYTES);
    #[expect(clippy::expect_used, reason = "both halves were just cut to their lengths")]
    let (key, nonce) = (
        UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"),
        Nonce::try_assume_unique_for_key(nonce).expect("12 bytes"),
    );
    (LessSafeKey::new(key), nonce)
}
