//! The files of a build, on this machine.

use std::{
    fs,
    io::{Cursor, Read as _},
    os::unix::fs::PermissionsExt as _,
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
    // `.` has no name of its own, and nothing can take its place.
    let Some(name) = out.file_name() else {
        return Err(Error::Usage(format!(
            "--out must name a folder that is to be made, not {}",
            out.display()
        )));
    };
    let half = out.with_file_name(format!(".{}.half", name.to_string_lossy()));
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
        // Only whether it can be started; the rest is the affair of whoever unpacks.
        let starts = entry.unix_mode().is_some_and(|mode| mode & 0o100 != 0);
        let mut content = Vec::new();
        entry
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut content)
            .map_err(|error| Error::here(path.display(), error))?;
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, content))
            .and_then(|()| if starts { make_startable(&path) } else { Ok(()) });
        written.map_err(|error| Error::here(path.display(), error))?;
    }
    Ok(zip.len())
}

/// Lets whoever may read a file start it.
fn make_startable(path: &Path) -> std::io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    let mode = permissions.mode();
    permissions.set_mode(mode | (mode & 0o444) >> 2);
    fs::set_permissions(path, permissions)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    #[test]
    fn a_script_can_be_started_after_unpacking_and_nothing_else_can() {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (path, mode) in [("bin/start", 0o755), ("README.md", 0o644)] {
            writer.start_file(path, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
            writer.write_all(b"#!/bin/sh\n").unwrap();
        }
        let archive = writer.finish().unwrap().into_inner();
        let folder = std::env::temp_dir().join(format!("unpacked-{}", std::process::id()));

        let files = unpack(&archive, &folder).unwrap();

        let starts =
            |path: &str| fs::metadata(folder.join(path)).unwrap().permissions().mode() & 0o111;
        let (script, words) = (starts("bin/start"), starts("README.md"));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(files, 2);
        assert_ne!(script & 0o100, 0);
        assert_eq!(words, 0);
    }
}
