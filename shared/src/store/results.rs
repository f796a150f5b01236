//! What both stores write down of a result that stands for the same work done again.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::domain::attempt::OutputFile;

/// Path and SHA-256 of each file, by path; of two at one path, the last, which is the one that is
/// kept.
pub(super) fn references(files: &[OutputFile]) -> Vec<(&str, String)> {
    let by_path: BTreeMap<&str, &str> =
        files.iter().map(|file| (file.path.as_str(), file.content.as_str())).collect();
    by_path
        .into_iter()
        .map(|(path, content)| (path, hex::encode(Sha256::digest(content))))
        .collect()
}
