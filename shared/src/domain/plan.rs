//! From a draft, which is trusted with nothing, to a plan, which cannot be wrong.
//!
//! A plan has at least one task; its keys are unique; its dependencies exist and have no cycle; its
//! paths stay inside the project; and two tasks that write one path run one after the other. Knows
//! nothing of who drafted it.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    IllegalTransition,
    brief::Complexity,
    cycles,
    task::{Operation, Phase},
    words,
};

/// The life of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for a person.
    Proposed,
    /// Its tasks run, or have run.
    Adopted,
    /// A person said no, or nobody said yes in time, or its build was stopped before.
    Rejected,
}

words!(State { Proposed = "proposed", Adopted = "adopted", Rejected = "rejected" });

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Approved,
    Rejected,
}

impl State {
    /// The state that follows. A plan is decided once.
    pub fn on(self, trigger: Trigger) -> Result<State, IllegalTransition> {
        match (self, trigger) {
            (State::Proposed, Trigger::Approved) => Ok(State::Adopted),
            (State::Proposed, Trigger::Rejected) => Ok(State::Rejected),
            (state, trigger) => Err(IllegalTransition {
                machine: "plan",
                state: state.as_str(),
                trigger: match trigger {
                    Trigger::Approved => "approved",
                    Trigger::Rejected => "rejected",
                },
            }),
        }
    }
}

/// What a planner proposes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// What the tasks build from, in the planner's own form; kept with the plan as it is.
    pub spec: Value,
    pub project_type: String,
    pub framework: String,
    pub complexity: Complexity,
    /// What the client should know, in full sentences: what is built otherwise than asked.
    pub notes: Vec<String>,
    pub tasks: Vec<DraftTask>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DraftTask {
    /// Names the task in its plan: `component:books`.
    pub key: String,
    pub name: String,
    pub description: String,
    pub phase: Phase,
    pub operation: Operation,
    /// Id of the role that does it: `code-001`.
    pub role: String,
    /// 1 runs first.
    pub priority: u8,
    pub estimated_secs: u32,
    /// How many slots of a worker it takes.
    #[serde(default = "one_slot")]
    pub cost: u32,
    /// Keys of the tasks it waits for.
    pub depends_on: Vec<String>,
    /// The only paths it may write.
    pub writes: Vec<String>,
    /// For its runner alone.
    pub input: Value,
}

const fn one_slot() -> u32 {
    1
}

/// A checked graph of tasks. In the order of the draft.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub spec: Value,
    pub project_type: String,
    pub framework: String,
    pub complexity: Complexity,
    pub notes: Vec<String>,
    pub tasks: Vec<PlannedTask>,
    /// Seconds along the longest chain of dependencies, by the tasks' own estimates.
    pub estimated_secs: u32,
    /// The cycles of the draft, by keys, where the plan is a line because of them.
    pub straightened: Vec<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTask {
    pub task: DraftTask,
    /// Positions of the tasks it waits for; each once, ascending.
    pub waits_for: Vec<usize>,
}

/// Why a draft is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the draft has no task")]
    Empty,
    #[error("the draft has {tasks} tasks; at most {tasks_max} can be planned")]
    TooLarge { tasks: usize, tasks_max: usize },
    #[error("the draft names the task {key:?} twice")]
    DuplicateKey { key: String },
    #[error("the task {task:?} waits for {on:?}, which the draft does not have")]
    UnknownDependency { task: String, on: String },
    #[error("the tasks wait for each other in a circle: {}", rings(.cycles))]
    Cycle { cycles: Vec<Vec<String>> },
    #[error("the task {task:?} would write {path:?}: {why}")]
    Path { task: String, path: String, why: &'static str },
    #[error(
        "the tasks {first:?} and {second:?} both write {path:?} and neither waits for the other"
    )]
    Contended { path: String, first: String, second: String },
    #[error("the task {task:?} has a {field} that is not as it must be: {why}")]
    Field { task: String, field: &'static str, why: &'static str },
}

fn rings(cycles: &[Vec<String>]) -> String {
    cycles.iter().map(|cycle| cycle.join(", ")).collect::<Vec<_>>().join("; ")
}

/// More than the largest graph a build system is known to have had; a draft beyond it is a mistake.
pub const TASKS_MAX: usize = 100_000;
pub const KEY_CHARS_MAX: usize = 200;
pub const NAME_CHARS_MAX: usize = 300;
pub const PATH_BYTES_MAX: usize = 240;
/// Work that takes more slots than this is a mistake in the draft.
pub const COST_MAX: u32 = 64;
/// Where the archive of a project lists the SHA-256 of its files.
pub const MANIFEST: &str = "MANIFEST.sha256";

impl Draft {
    /// Checks everything and counts the edges.
    pub fn into_plan(self) -> Result<Plan, Refusal> {
        let places = self.places()?;
        let waits_for = self.edges(&places)?;
        let cycles = cycles::find(self.tasks.len(), pairs(&waits_for));
        if !cycles.is_empty() {
            return Err(Refusal::Cycle { cycles: self.named(cycles) });
        }
        self.check_paths(&waits_for)?;
        Ok(self.assemble(waits_for, Vec::new()))
    }

    /// As `into_plan`, but tasks in a circle are no refusal: all tasks then run one after the
    /// other, by priority, and the plan says which circles it had.
    pub fn into_straightened_plan(self) -> Result<Plan, Refusal> {
        let places = self.places()?;
        let waits_for = self.edges(&places)?;
        let cycles = cycles::find(self.tasks.len(), pairs(&waits_for));
        if cycles.is_empty() {
            return self.into_plan();
        }
        let cycles = self.named(cycles);
        let priorities: Vec<u8> = self.tasks.iter().map(|task| task.priority).collect();
        let line = cycles::in_a_line(&priorities);
        let waits_for: Vec<Vec<usize>> = (0..self.tasks.len())
            .map(|index| line.get(&index).copied().into_iter().collect())
            .collect();
        self.check_paths(&waits_for)?;
        Ok(self.assemble(waits_for, cycles))
    }

    fn named(&self, cycles: Vec<Vec<usize>>) -> Vec<Vec<String>> {
        let key = |index: usize| self.tasks[index].key.clone();
        cycles.into_iter().map(|cycle| cycle.into_iter().map(key).collect()).collect()
    }

    fn places(&self) -> Result<HashMap<String, usize>, Refusal> {
        if self.tasks.is_empty() {
            return Err(Refusal::Empty);
        }
        if TASKS_MAX < self.tasks.len() {
            return Err(Refusal::TooLarge { tasks: self.tasks.len(), tasks_max: TASKS_MAX });
        }
        let mut places = HashMap::with_capacity(self.tasks.len());
        for (index, task) in self.tasks.iter().enumerate() {
            task.check()?;
            if places.insert(task.key.clone(), index).is_some() {
                return Err(Refusal::DuplicateKey { key: task.key.clone() });
            }
        }
        Ok(places)
    }

    fn edges(&self, places: &HashMap<String, usize>) -> Result<Vec<Vec<usize>>, Refusal> {
        self.tasks
            .iter()
            .map(|task| {
                let mut waits_for = task
                    .depends_on
                    .iter()
                    .map(|on| {
                        places.get(on).copied().ok_or_else(|| Refusal::UnknownDependency {
                            task: task.key.clone(),
                            on: on.clone(),
                        })
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                waits_for.sort_unstable();
                waits_for.dedup();
                Ok(waits_for)
            })
            .collect()
    }

    fn check_paths(&self, waits_for: &[Vec<usize>]) -> Result<(), Refusal> {
        let mut writers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, task) in self.tasks.iter().enumerate() {
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
        let mut shared: Vec<_> = writers.into_iter().filter(|(_, by)| 1 < by.len()).collect();
        shared.sort_unstable();
        if shared.is_empty() {
            return Ok(());
        }
        let depth = depths(waits_for, |_| 1);
        for (path, mut by) in shared {
            // A task lies deeper than whatever it waits for, so sorted by depth only neighbours
            // have to be compared: an order of all is an order of each pair in a row.
            by.sort_by_key(|&index| depth[index]);
            for pair in by.windows(2) {
                if !reaches(waits_for, &depth, pair[1], pair[0]) {
                    return Err(Refusal::Contended {
                        path: path.to_owned(),
                        first: self.tasks[pair[0]].key.clone(),
                        second: self.tasks[pair[1]].key.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn assemble(self, waits_for: Vec<Vec<usize>>, straightened: Vec<Vec<String>>) -> Plan {
        let estimates: Vec<u32> = self.tasks.iter().map(|task| task.estimated_secs).collect();
        let finish = depths(&waits_for, |index| estimates[index]);
        Plan {
            spec: self.spec,
            project_type: self.project_type,
            framework: self.framework,
            complexity: self.complexity,
            notes: self.notes,
            estimated_secs: finish.into_iter().max().unwrap_or(0),
            tasks: self
                .tasks
                .into_iter()
                .zip(waits_for)
                .map(|(task, waits_for)| PlannedTask { task, waits_for })
                .collect(),
            straightened,
        }
    }
}

impl DraftTask {
    fn check(&self) -> Result<(), Refusal> {
        let refuse = |field, why| Err(Refusal::Field { task: self.key.clone(), field, why });
        if self.key.trim().is_empty() || KEY_CHARS_MAX < self.key.chars().count() {
            return refuse("key", "it must have 1 to 200 characters");
        }
        if self.name.trim().is_empty() || NAME_CHARS_MAX < self.name.chars().count() {
            return refuse("name", "it must have 1 to 300 characters");
        }
        if self.priority == 0 {
            return refuse("priority", "it must be at least 1");
        }
        if !(1..=COST_MAX).contains(&self.cost) {
            return refuse("cost", "it must be between 1 and 64");
        }
        Ok(())
    }
}

fn pairs(waits_for: &[Vec<usize>]) -> impl Iterator<Item = (usize, usize)> {
    waits_for.iter().enumerate().flat_map(|(task, ons)| ons.iter().map(move |&on| (task, on)))
}

/// For each task of a graph without cycles, the largest sum of weights along a chain that ends with
/// it. Linear, and without recursion: chains may be a hundred thousand tasks long.
fn depths(waits_for: &[Vec<usize>], weight: impl Fn(usize) -> u32) -> Vec<u32> {
    let mut dependents = vec![Vec::new(); waits_for.len()];
    let mut open: Vec<usize> = waits_for.iter().map(Vec::len).collect();
    for (task, on) in pairs(waits_for) {
        dependents[on].push(task);
    }
    let mut depth = vec![0u32; waits_for.len()];
    let mut next: Vec<usize> = (0..waits_for.len()).filter(|&task| open[task] == 0).collect();
    while let Some(task) = next.pop() {
        depth[task] = depth[task].saturating_add(weight(task));
        for &dependent in &dependents[task] {
            depth[dependent] = depth[dependent].max(depth[task]);
            open[dependent] -= 1;
            if open[dependent] == 0 {
                next.push(dependent);
            }
        }
    }
    depth
}

/// Whether `from` waits for `to`, directly or through others.
fn reaches(waits_for: &[Vec<usize>], depth: &[u32], from: usize, to: usize) -> bool {
    let mut seen = HashSet::new();
    let mut next = vec![from];
    while let Some(task) = next.pop() {
        if task == to {
            return true;
        }
        // What lies no deeper than `to` cannot wait for it.
        next.extend(
            waits_for[task].iter().copied().filter(|&on| depth[to] <= depth[on] && seen.insert(on)),
        );
    }
    false
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

#[cfg(any(test, feature = "conformance"))]
impl Draft {
    /// Writes a plan small: `fetch -> build, fetch -> lint, ship` (build waits for fetch, ...).
    /// Each task writes `<key>.txt`.
    pub fn of(graph: &str) -> Draft {
        let mut tasks: Vec<DraftTask> = Vec::new();
        let mut place = |key: &str| match tasks.iter().position(|task| task.key == key) {
            Some(index) => index,
            None => {
                tasks.push(DraftTask {
                    key: key.to_owned(),
                    name: key.to_owned(),
                    description: format!("Does {key}."),
                    phase: Phase::CodeGeneration,
                    operation: Operation::CreateFile,
                    role: "code-001".to_owned(),
                    priority: 3,
                    estimated_secs: 1,
                    cost: 1,
                    depends_on: Vec::new(),
                    writes: vec![format!("{key}.txt")],
                    input: Value::Null,
                });
                tasks.len() - 1
            }
        };
        let mut edges = Vec::new();
        for clause in graph.split(',').map(str::trim).filter(|clause| !clause.is_empty()) {
            let keys: Vec<_> = clause.split("->").map(str::trim).collect();
            let places: Vec<_> = keys.iter().map(|key| place(key)).collect();
            for index in 1..keys.len() {
                edges.push((places[index], keys[index - 1].to_owned()));
            }
        }
        for (task, on) in edges {
            tasks[task].depends_on.push(on);
        }
        Draft {
            spec: Value::Null,
            project_type: "test".to_owned(),
            framework: "none".to_owned(),
            complexity: Complexity::Simple,
            notes: Vec::new(),
            tasks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_knows_its_edges_and_its_longest_chain() {
        let plan =
            Draft::of("fetch -> build -> ship, fetch -> lint, lint -> ship").into_plan().unwrap();

        let waits: Vec<_> = plan.tasks.iter().map(|planned| planned.waits_for.clone()).collect();
        assert_eq!(waits, [vec![], vec![0], vec![1, 3], vec![0]]);
        assert_eq!(plan.estimated_secs, 3);
    }

    #[test]
    fn an_unknown_dependency_is_a_refusal_that_names_it() {
        let mut draft = Draft::of("a");
        draft.tasks[0].depends_on.push("ghost".to_owned());

        let refusal = draft.into_plan().unwrap_err();

        assert_eq!(refusal, Refusal::UnknownDependency { task: "a".into(), on: "ghost".into() });
    }

    #[test]
    fn a_task_costs_a_slot_unless_it_says_otherwise_and_never_too_many() {
        let mut json = serde_json::to_value(Draft::of("a")).unwrap();
        json["tasks"][0].as_object_mut().unwrap().remove("cost");
        let mut draft: Draft = serde_json::from_value(json).unwrap();
        assert_eq!(draft.tasks[0].cost, 1);

        for cost in [0, COST_MAX + 1] {
            draft.tasks[0].cost = cost;
            let refusal = draft.clone().into_plan().unwrap_err();
            assert!(matches!(refusal, Refusal::Field { field: "cost", .. }), "{refusal}");
        }
    }

    #[test]
    fn tasks_in_a_circle_are_refused_or_laid_in_a_line() {
        let draft = Draft::of("a -> b -> c -> a, d");

        let refusal = draft.clone().into_plan().unwrap_err();
        let plan = draft.into_straightened_plan().unwrap();

        assert_eq!(
            refusal,
            Refusal::Cycle { cycles: vec![vec!["a".into(), "b".into(), "c".into()]] }
        );
        assert_eq!(plan.straightened, [["a", "b", "c"]]);
        let waits: Vec<_> = plan.tasks.iter().map(|planned| planned.waits_for.clone()).collect();
        assert_eq!(waits, [vec![], vec![0], vec![1], vec![2]]);
    }

    #[test]
    fn two_tasks_may_write_one_path_only_one_after_the_other() {
        let mut draft = Draft::of("a -> b -> c, d");
        for index in [0, 2] {
            draft.tasks[index].writes = vec!["main.py".to_owned()];
        }
        assert!(draft.clone().into_plan().is_ok());

        draft.tasks[3].writes = vec!["main.py".to_owned()];
        let refusal = draft.into_plan().unwrap_err();

        assert!(matches!(refusal, Refusal::Contended { .. }), "{refusal}");
    }

    #[test]
    fn a_path_stays_inside_the_project() {
        for path in ["app/main.py", ".github/workflows/ci.yml", "docs/Über uns.md", ".env.example"]
        {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "../up",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "c:x",
            ".git/hooks/x",
            "manifest.SHA256",
            "a/.GIT/config",
            "nul\0",
            "a ",
            " a",
            "a./b",
            "line\nbreak",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(check_path(&"x".repeat(241)).is_err());
    }

    #[test]
    fn a_chain_of_the_greatest_length_is_planned() {
        let mut draft = Draft::of("a");
        let first = draft.tasks[0].clone();
        draft.tasks = (0..TASKS_MAX)
            .map(|index| DraftTask {
                key: index.to_string(),
                depends_on: if index == 0 { vec![] } else { vec![(index - 1).to_string()] },
                ..first.clone()
            })
            .collect();

        let plan = draft.into_plan().unwrap();

        assert_eq!(plan.estimated_secs as usize, TASKS_MAX);
    }
}
