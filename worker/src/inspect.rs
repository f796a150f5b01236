//! What can be said of a task's files without running them.
//!
//! Errors here are permanent: the same runner would make the same files again.

use std::collections::HashSet;

use buildfleet::domain::{
    attempt::{Failure, Output, OutputFile},
    plan::check_path,
};

/// A file larger than this is no source file; the store keeps them whole.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Checks that a task wrote exactly the paths it declared, and that each file is what its name
/// says.
pub fn output(declared: &[String], output: &Output) -> Result<(), Failure> {
    let mut missing: HashSet<&str> = declared.iter().map(String::as_str).collect();
    for file in &output.files {
        if let Err(why) = check_path(&file.path) {
            return Err(Failure::permanent("bad_path", format!("{:?}: {why}", file.path)));
        }
        if !missing.remove(file.path.as_str()) {
            return Err(Failure::permanent(
                "undeclared_write",
                format!("the task wrote {:?}, which it had not declared or wrote twice", file.path),
            ));
        }
        if FILE_BYTES_MAX < file.content.len() {
            return Err(Failure::permanent(
                "file_too_large",
                format!("{} has more than {FILE_BYTES_MAX} bytes", file.path),
            ));
        }
        if let Some(fault) = fault(file) {
            return Err(Failure::permanent("bad_file", format!("{}: {fault}", file.path)));
        }
    }
    match missing.into_iter().min() {
        Some(path) => {
            Err(Failure::permanent("missing_file", format!("the task did not write {path:?}")))
        }
        None => Ok(()),
    }
}

/// What is wrong with a file whose form can be read.
fn fault(file: &OutputFile) -> Option<String> {
    match file.path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "json" if !may_have_comments(&file.path) => {
            serde_json::from_str::<serde::de::IgnoredAny>(&file.content)
                .err()
                .map(|error| error.to_string())
        }
        "toml" => file.content.parse::<toml::Table>().err().map(|error| error.message().to_owned()),
        _ if file.content.contains('\0') => Some("it holds a zero byte".to_owned()),
        _ => None,
    }
}

/// Files that are called JSON but are read by programs that allow comments.
fn may_have_comments(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("tsconfig") || path.contains(".vscode/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(files: &[(&str, &str)]) -> Output {
        Output {
            files: files
                .iter()
                .map(|(path, content)| OutputFile {
                    path: (*path).into(),
                    content: (*content).into(),
                })
                .collect(),
            ..Output::default()
        }
    }

    fn code(declared: &[&str], files: &[(&str, &str)]) -> Option<String> {
        let declared: Vec<String> = declared.iter().map(|path| (*path).to_owned()).collect();
        output(&declared, &made(files)).err().map(|failure| failure.code)
    }

    #[test]
    fn what_was_declared_and_written_passes() {
        assert_eq!(code(&["a.json", "b.toml"], &[("a.json", "{}"), ("b.toml", "x = 1")]), None);
    }

    #[test]
    fn a_path_that_was_not_declared_is_refused() {
        assert_eq!(code(&["a"], &[("a", ""), ("b", "")]).as_deref(), Some("undeclared_write"));
        assert_eq!(code(&["a"], &[("a", ""), ("a", "")]).as_deref(), Some("undeclared_write"));
    }

    #[test]
    fn a_path_that_was_declared_but_not_written_is_missed() {
        assert_eq!(code(&["a", "b"], &[("a", "")]).as_deref(), Some("missing_file"));
    }

    #[test]
    fn a_path_outside_the_project_is_refused_even_if_declared() {
        assert_eq!(code(&["../a"], &[("../a", "")]).as_deref(), Some("bad_path"));
    }

    #[test]
    fn a_file_that_is_not_what_its_name_says_is_refused() {
        assert_eq!(code(&["a.json"], &[("a.json", "{")]).as_deref(), Some("bad_file"));
        assert_eq!(code(&["a.toml"], &[("a.toml", "x =")]).as_deref(), Some("bad_file"));
        assert_eq!(code(&["a.py"], &[("a.py", "x\0")]).as_deref(), Some("bad_file"));
        assert_eq!(code(&["tsconfig.json"], &[("tsconfig.json", "{} // why")]), None);
    }
}
