//! Which paths a task may write, and who comes first where two write one.

use std::collections::HashMap;

use super::{DraftTask, Refusal, graph::Reach};
use crate::domain::dependency::{Need, OnLoss};

pub const PATH_BYTES_MAX: usize = 240;
/// Where the archive of a project lists the SHA-256 of its files.
pub const MANIFEST: &str = "MANIFEST.sha256";

/// Two tasks that write one path and did not wait for one another: the second waits for the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedWrites {
    pub path: String,
    /// Keys of tasks.
    pub first: String,
    pub then: String,
}

/// Checks every path; answers with those that more than one task writes, by path, and who they are,
/// in the order of the tasks.
pub(super) fn shared(tasks: &[DraftTask]) -> Result<Vec<(String, Vec<usize>)>, Refusal> {
    let mut writers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, task) in tasks.iter().enumerate() {
        for path in &task.writes {
            if let Err(why) = check_path(path) {
                return Err(Refusal::Path { task: task.key.clone(), path: path.clone(), why });
            }
            let writers = writers.entry(path).or_default();
            if writers.last() != Some(&index) {
                writers.push(index);
            }
        }
    }
    let mut shared: Vec<_> = writers
        .into_iter()
        .filter(|(_, by)| 1 < by.len())
        .map(|(path, by)| (path.to_owned(), by))
        .collect();
    shared.sort_unstable();
    Ok(shared)
}

/// Lets those who write one path run one after the other: as they wait for one another already,
/// else in the order `order`, which the graph has and keeps, so that no circle can come of it.
/// Loses nobody: who only waited for a path runs also if its predecessor is lost.
pub(super) fn order_writers(
    tasks: &[DraftTask],
    shared: Vec<(String, Vec<usize>)>,
    waits_for: &mut [Vec<Need>],
    order: &[usize],
) -> Vec<OrderedWrites> {
    let mut ordered = Vec::new();
    if shared.is_empty() {
        return ordered;
    }
    let mut reach = Reach::new(waits_for, order);
    for (path, mut by) in shared {
        by.sort_by_key(|&task| reach.position(task));
        for pair in by.windows(2) {
            let (first, then) = (pair[0], pair[1]);
            if reach.waits(waits_for, then, first) {
                continue;
            }
            let needs = &mut waits_for[then];
            let at = needs.partition_point(|need| need.on < first);
            needs.insert(at, Need { on: first, on_loss: Some(OnLoss::Continue) });
            ordered.push(OrderedWrites {
                path: path.clone(),
                first: tasks[first].key.clone(),
                then: tasks[then].key.clone(),
            });
        }
    }
    ordered
}

/// Who writes each path last, by path.
pub(super) fn last_writers(tasks: &[DraftTask], order: &[usize]) -> Vec<(String, usize)> {
    let mut last: HashMap<&str, usize> = HashMap::new();
    for &task in order {
        last.extend(tasks[task].writes.iter().map(|path| (path.as_str(), task)));
    }
    let mut last: Vec<_> = last.into_iter().map(|(path, task)| (path.to_owned(), task)).collect();
    last.sort_unstable();
    last
}

/// Says why a path must not be written, if so: it has to stay inside the project on every system.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || PATH_BYTES_MAX < path.len() {
        return Err("a path has 1 to 240 bytes");
    }
    if path.starts_with('/') {
        return Err("a path is relative to the project");
    }
    if path
        .chars()
        .any(|c| c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|'))
    {
        return Err(
            "a path has no control characters, backslashes or characters that a file system refuses",
        );
    }
    if path.eq_ignore_ascii_case(MANIFEST) {
        return Err("this path is kept for the manifest of the archive");
    }
    for segment in path.split('/') {
        match segment {
            "" => return Err("a path has no empty segment"),
            "." | ".." => return Err("a path does not climb"),
            _ if segment.eq_ignore_ascii_case(".git") => {
                return Err("a path does not reach into a repository's own folder");
            }
            _ if segment.ends_with(['.', ' ']) || segment.starts_with(' ') => {
                return Err(
                    "a segment does not begin with a blank or end with a blank or full stop",
                );
            }
            _ => {}
        }
    }
    Ok(())
}
