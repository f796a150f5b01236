//! Task graphs to be worked off: made by rule, or read from a file.
//!
//! A file is JSON: `task_count`, and `edges` as pairs of a prerequisite and its dependent, by
//! position. Edges that are in `back_edges` too are left out. A file with `members` names other
//! files beside it, each so many times, which make one graph together.

use std::{collections::HashSet, fs, path::Path};

use anyhow::Context as _;
use buildfleet::domain::plan::{Draft, Plan};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub tasks: usize,
    /// The first must be done before the second.
    pub edges: Vec<(usize, usize)>,
}

#[derive(Deserialize)]
struct File {
    task_count: usize,
    #[serde(default)]
    edges: Vec<(usize, usize)>,
    #[serde(default)]
    back_edges: HashSet<(usize, usize)>,
    #[serde(default)]
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    graph: String,
    copies: usize,
}

impl Graph {
    /// Tasks that wait for nothing.
    pub fn apart(tasks: usize) -> Self {
        Self { tasks, edges: Vec::new() }
    }

    /// A parent that waits for its children.
    pub fn family(children: usize) -> Self {
        Self { tasks: children + 1, edges: (0..children).map(|child| (child, children)).collect() }
    }

    /// Layers of `width` tasks, each of which waits for up to five of the layer before.
    pub fn layers(tasks: usize, width: usize) -> Self {
        let before = |task: usize| {
            let layer = task / width * width;
            // Steps without a common divisor with most widths, so that no two tasks wait for the
            // same.
            let mut needs: Vec<_> =
                [0, 1, 7, 31, 57].map(|step| layer - width + (task + step) % width).to_vec();
            needs.sort_unstable();
            needs.dedup();
            needs.into_iter().map(move |need| (need, task))
        };
        Self { tasks, edges: (width..tasks).flat_map(before).collect() }
    }

    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let file: File = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let mut graph = Self::default();
        for member in &file.members {
            let one = Self::read(&path.with_file_name(format!("{}.json", member.graph)))?;
            for _ in 0..member.copies {
                graph.join(&one);
            }
        }
        let edges = file.edges.into_iter().filter(|edge| !file.back_edges.contains(edge));
        if file.members.is_empty() {
            graph.join(&Self { tasks: file.task_count, edges: edges.collect() });
        }
        Ok(graph)
    }

    /// Puts another graph beside this one.
    fn join(&mut self, other: &Self) {
        let base = self.tasks;
        self.tasks += other.tasks;
        self.edges.extend(other.edges.iter().map(|(from, to)| (from + base, to + base)));
    }

    pub fn plan(&self) -> anyhow::Result<Plan> {
        let mut needs = vec![Vec::new(); self.tasks];
        for (from, to) in &self.edges {
            needs[*to].push(format!("task:{from}"));
        }
        let tasks: Vec<_> = needs
            .into_iter()
            .enumerate()
            .map(|(number, needs)| {
                json!({
                    "key": format!("task:{number}"), "name": format!("Task {number}"),
                    "description": "Does nothing.", "phase": "CODE_GENERATION",
                    "operation": "create_file", "role": "code-001", "priority": 3,
                    "estimated_secs": 1, "depends_on": needs, "writes": [], "input": null,
                })
            })
            .collect();
        let draft: Draft = serde_json::from_value(json!({
            "spec": {}, "project_type": "bench", "framework": "none", "complexity": "simple",
            "notes": [], "tasks": tasks,
        }))?;
        Ok(draft.into_plan()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_members_is_all_of_them_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "ring.json",
            r#"{"task_count": 2, "edges": [[0, 1], [1, 0]], "back_edges": [[1, 0]]}"#,
        );
        write("two.json", r#"{"task_count": 4, "members": [{"graph": "ring", "copies": 2}]}"#);

        let graph = Graph::read(&folder.path().join("two.json")).unwrap();

        assert_eq!(graph.tasks, 4);
        assert_eq!(graph.edges, [(0, 1), (2, 3)]);
    }

    #[test]
    fn graphs_by_rule_are_plans() {
        let layers = Graph::layers(1_000, 100).plan().unwrap();
        assert_eq!(layers.tasks.len(), 1_000);
        assert_eq!(layers.tasks.iter().filter(|task| task.waits_for.is_empty()).count(), 100);

        let family = Graph::family(10).plan().unwrap();
        assert_eq!(family.tasks[10].waits_for.len(), 10);
        assert_eq!(Graph::apart(5).plan().unwrap().tasks.len(), 5);
    }
}
