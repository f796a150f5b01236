//! The files of a build, on this machine.

use std::{
    fs,
    io::{Cursor, Read as _},
    path::{Path, PathBuf},
};

use super::Context;
use crate::{
    client::Client,
    exit::{Error, Exit},
};

/// The largest file that is taken out of an archive; the fleet keeps none larger.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub async fn download(context: &Context, build: &str, out: Option<PathBuf>) -> Result<Exit, Error> {
    let client = context.client()?;
    let out = out.unwrap_or_else(|| Path::new("projects").join(build));
    let files = write(&client, build, &out).await?;
    let answer = serde_json::json!({ "folder": out, "files": files });
    context.print(&answer, || out.display().to_string());
    Ok(Exit::Done)
}

/// Writes the files of a build into a folder that is empty or does not exist yet; answers with how
/// many. The folder appears whole or not at all.
pub async fn write(client: &Client, build: &str, out: &Path) -> Result<usize, Error> {
    let here = |error: std::io::Error| Error::here(out.display(), error);
    if out.exists() && fs::read_dir(out).map_err(here)?.next().is_some() {
        return Err(Error::NotDone(format!(
            "{} holds files already; --out names another folder",
            out.display()
        )));
    }
    let archive = client.archive(build).await?;
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::create_dir_all(parent.unwrap_or(Path::new("."))).map_err(here)?;
    let half = out
        .with_file_name(format!(".{}.half", out.file_name().unwrap_or_default().to_string_lossy()));
    if half.exists() {
        fs::remove_dir_all(&half).map_err(here)?;
    }
    let files = unpack(&archive, &half)?;
    if out.exists() {
        fs::remove_dir(out).map_err(here)?;
    }
    fs::rename(&half, out).map_err(here)?;
    Ok(files)
}

fn unpack(archive: &[u8], folder: &Path) -> Result<usize, Error> {
    let bad = |error: &dyn std::fmt::Display| Error::here("reading the archive", error);
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).map_err(|error| bad(&error))?;
    for index in 0..zip.len() {
        let entry = zip.by_index(index).map_err(|error| bad(&error))?;
        let path = entry
            .enclosed_name()
            .ok_or_else(|| bad(&format!("{:?} is no path inside the project", entry.name())))?;
        let path = folder.join(path);
        let mut content = Vec::new();
        entry
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut content)
            .map_err(|error| Error::here(path.display(), error))?;
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, content));
        written.map_err(|error| Error::here(path.display(), error))?;
    }
    Ok(zip.len())
}
