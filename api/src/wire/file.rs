//! The files of a project as clients see them.

use buildfleet::store::FileView;
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;

#[derive(Debug, Serialize, ToSchema)]
pub struct File {
    /// Relative to the project, with forward slashes.
    #[schema(example = "app/models/book.py")]
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// In hex.
    #[schema(min_length = 64, max_length = 64)]
    pub sha256: String,
    /// By the name; null if the name says nothing.
    #[schema(example = "python")]
    pub language: Option<String>,
    /// The task that wrote it last.
    pub task_id: String,
    pub created_at: Time,
}

impl From<FileView> for File {
    fn from(file: FileView) -> Self {
        Self {
            language: language(&file.path).map(str::to_owned),
            path: file.path,
            size: file.size_bytes,
            sha256: file.sha256,
            task_id: file.task.to_string(),
            created_at: file.at.into(),
        }
    }
}

/// Every committed file of a build, by path.
#[derive(Debug, Serialize, ToSchema)]
pub struct Files {
    pub files: Vec<File>,
    pub total_files: usize,
    /// In bytes.
    pub total_size: u64,
}

/// The language of a file, by its name.
fn language(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name == "Dockerfile" || name.starts_with("Dockerfile.") {
        return Some("dockerfile");
    }
    if name == "Makefile" {
        return Some("makefile");
    }
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "py" | "pyi" => "python",
        "ts" | "tsx" | "mts" | "cts" => "typescript",
        "js" | "jsx" | "mjs" | "cjs" => "javascript",
        "rs" => "rust",
        "go" => "go",
        "json" => "json",
        "toml" => "toml",
        "yaml" | "yml" => "yaml",
        "md" => "markdown",
        "html" | "htm" => "html",
        "css" => "css",
        "sql" => "sql",
        "sh" => "shell",
        "xml" => "xml",
        "ini" | "cfg" => "ini",
        "txt" => "text",
        _ => return None,
    })
}

/// How a file's bytes are labelled. Nothing that a browser would run: what a project holds was
/// written from a stranger's words.
pub fn content_type(path: &str, content: &[u8]) -> &'static str {
    if path.ends_with(".json") {
        "application/json"
    } else if std::str::from_utf8(content).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}
