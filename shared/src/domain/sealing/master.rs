//! The master keys, as an operator lists them: `NAME:BASE64`, the one that seals first.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use zeroize::Zeroizing;

use super::KEY_BYTES;

const NAME_CHARS_MAX: usize = 32;

/// Master keys with their names; the first seals, all open. At least one.
#[derive(Clone)]
pub struct MasterKeys(Vec<MasterKey>);

#[derive(Clone)]
pub(super) struct MasterKey {
    pub(super) name: String,
    pub(super) bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// What is wrong with a list of master keys. Keys themselves are not named, only where they stand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("entry {0} must be written NAME:BASE64")]
    NoName(usize),
    #[error(
        "the name of entry {0} must have 1 to {NAME_CHARS_MAX} letters, digits, - and _, not {1:?}"
    )]
    BadName(usize, String),
    #[error(
        "the key {0:?} must be the base64 of 32 bytes, such as `openssl rand -base64 32` makes"
    )]
    BadKey(String),
    #[error("the name {0:?} comes twice")]
    Twice(String),
    #[error("there must be at least one key")]
    None,
}

impl MasterKeys {
    /// Reads entries such as `2026b:q83v...`, the one that seals first. All faults come at once.
    pub fn read(entries: &[String]) -> Result<Self, Vec<Fault>> {
        let (mut keys, mut faults) = (Vec::<MasterKey>::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            match read_entry(index + 1, entry) {
                Ok(key) if keys.iter().any(|other| other.name == key.name) => {
                    faults.push(Fault::Twice(key.name));
                }
                Ok(key) => keys.push(key),
                Err(fault) => faults.push(fault),
            }
        }
        if entries.is_empty() {
            faults.push(Fault::None);
        }
        if faults.is_empty() { Ok(Self(keys)) } else { Err(faults) }
    }

    /// One key of these bytes, for a fleet that keeps its own.
    pub fn of(name: &str, bytes: [u8; KEY_BYTES]) -> Result<Self, Fault> {
        if !is_name(name) {
            return Err(Fault::BadName(1, name.to_owned()));
        }
        Ok(Self(vec![MasterKey { name: name.to_owned(), bytes: Zeroizing::new(bytes) }]))
    }

    /// The names, the one that seals first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.name.as_str())
    }

    pub(super) fn first(&self) -> &MasterKey {
        &self.0[0]
    }

    pub(super) fn find(&self, name: &str) -> Option<&MasterKey> {
        self.0.iter().find(|key| key.name == name)
    }
}

fn read_entry(place: usize, entry: &str) -> Result<MasterKey, Fault> {
    let (name, encoded) = entry.split_once(':').ok_or(Fault::NoName(place))?;
    if !is_name(name) {
        return Err(Fault::BadName(place, name.to_owned()));
    }
    let bad = || Fault::BadKey(name.to_owned());
    let decoded = STANDARD
        .decode(encoded)
        .or_else(|_| STANDARD_NO_PAD.decode(encoded))
        .map(Zeroizing::new)
        .map_err(|_| bad())?;
    let bytes = <[u8; KEY_BYTES]>::try_from(decoded.as_slice()).map_err(|_| bad())?;
    Ok(MasterKey { name: name.to_owned(), bytes: Zeroizing::new(bytes) })
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

impl fmt::Debug for MasterKeys {
    /// Names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
