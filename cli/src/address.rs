//! Where the fleet is: what was said, else what `buildfleet dev` left behind.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::exit::Error;

/// The note that a running `buildfleet dev` keeps in its data folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    pub url: Url,
    pub api_key: String,
    pub pid: u32,
}

impl Note {
    fn path(data: &Path) -> PathBuf {
        data.join("dev.json")
    }

    /// The note in a data folder, if there is one that can be read.
    pub fn read(data: &Path) -> Option<Note> {
        serde_json::from_slice(&fs::read(Self::path(data)).ok()?).ok()
    }

    /// Writes the note for this user alone: it holds a key.
    pub fn write(&self, data: &Path) -> std::io::Result<()> {
        write_private(&Self::path(data), &serde_json::to_vec_pretty(self)?)
    }

    pub fn remove(data: &Path) {
        // If it stays, whoever follows it finds nobody there and says so.
        let _stays = fs::remove_file(Self::path(data));
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};

    let half = path.with_extension("half");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(half, path)
}

/// An API and the key to it.
#[derive(Debug, Clone)]
pub struct Address {
    pub url: Url,
    pub api_key: Option<String>,
}

impl Address {
    /// What was said wins; what was not said is taken from the note of the local fleet, as long as
    /// it is that fleet that was meant.
    pub fn find(url: Option<Url>, api_key: Option<String>, data: &Path) -> Result<Self, Error> {
        let note = Note::read(data);
        let local = |note: &Note| url.as_ref().is_none_or(|url| *url == note.url);
        let note = note.filter(local);
        let api_key = api_key.or_else(|| note.as_ref().map(|note| note.api_key.clone()));
        let url = match (url, note) {
            (Some(url), _) => url,
            (None, Some(note)) => note.url,
            (None, None) => Url::parse("http://127.0.0.1:8000")
                .map_err(|error| Error::Usage(error.to_string()))?,
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Usage(format!(
                "the API's URL begins with http: or https:, not {url}"
            )));
        }
        Ok(Self { url, api_key })
    }
}
