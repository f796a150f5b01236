//! A project as one zip file: its committed files under their paths, and a manifest.
//!
//! The same files make the same bytes: entries are sorted and their times fixed. The manifest has
//! the form that `sha256sum -c MANIFEST.sha256` takes; no project file can have its name, because
//! no plan may write it.

use std::io::{Cursor, Write};

use buildfleet::{
    domain::plan::MANIFEST,
    store::{FileContent, FileView},
};
use sha2::{Digest, Sha256};
use zip::{CompressionMethod, DateTime, ZipWriter, result::ZipError, write::SimpleFileOptions};

/// The lines of the manifest: hash, two blanks, path.
pub fn manifest<'f>(files: impl IntoIterator<Item = &'f FileView>) -> String {
    files.into_iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect()
}

/// What changes whenever the archive does, and only then; in hex.
pub fn tag<'f>(files: impl IntoIterator<Item = &'f FileView>) -> String {
    hex::encode(Sha256::digest(manifest(files)))
}

/// Writes the archive. Takes a while for large projects: not for the threads that serve others.
pub fn zip(files: &[FileContent]) -> Result<Vec<u8>, ZipError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        // The first instant that a zip file can tell.
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in files {
        // A script that cannot be started would have to be mended by everyone who unpacks it.
        let mode = if entry.content.starts_with(b"#!") { 0o755 } else { 0o644 };
        writer.start_file(entry.file.path.as_str(), options.unix_permissions(mode))?;
        writer.write_all(&entry.content)?;
    }
    writer.start_file(MANIFEST, options)?;
    writer.write_all(manifest(files.iter().map(|entry| &entry.file)).as_bytes())?;
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use buildfleet::store::At;
    use buildfleet::{domain::id::TaskId, draw};
    use zip::ZipArchive;

    use super::*;

    fn file(path: &str, content: &[u8]) -> FileContent {
        FileContent {
            file: FileView {
                path: path.to_owned(),
                size_bytes: content.len() as u64,
                sha256: hex::encode(Sha256::digest(content)),
                task: draw::id::<TaskId>(),
                at: At(1_795_262_400_000),
            },
            content: content.to_vec(),
        }
    }

    #[test]
    fn an_archive_holds_each_file_and_the_manifest_and_is_always_the_same() {
        let files = [file("app/main.py", b"print(1)\n"), file("docs/\u{dc}ber uns.md", b"# Wir\n")];

        let bytes = zip(&files).unwrap();

        assert_eq!(bytes, zip(&files).unwrap());
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let names: Vec<_> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["app/main.py", "docs/\u{dc}ber uns.md", MANIFEST]);
        for entry in &files {
            let mut content = Vec::new();
            archive.by_name(&entry.file.path).unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(content, entry.content);
        }
        let mut manifest = String::new();
        archive.by_name(MANIFEST).unwrap().read_to_string(&mut manifest).unwrap();
        assert_eq!(manifest.lines().count(), 2);
        assert!(manifest.starts_with(&format!("{}  app/main.py\n", files[0].file.sha256)));
    }
}
