//! From a draft, which is trusted with nothing, to a plan, which cannot be wrong.
//!
//! A plan has at least one task; its keys are unique; its dependencies exist and have no cycle; its
//! paths stay inside the project; and two tasks that write one path run one after the other. Knows
//! nothing of who drafted it. How a plan grows while it runs: `growing.rs`; how another build
//! begins in the middle of it: `forking.rs`.

pub mod forking;
pub mod graph;
pub mod growing;
mod paths;

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::paths::{MANIFEST, OrderedWrites, PATH_BYTES_MAX, check_path};
use super::{
    IllegalTransition,
    brief::Complexity,
    cycles,
    dependency::{DraftNeed, Need, OnLoss},
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The tasks it waits for.
    pub depends_on: Vec<DraftNeed>,
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
    /// Who waits for whom only because both write one path.
    pub ordered: Vec<OrderedWrites>,
    /// Who writes each path last, by path.
    pub writers: Vec<(String, usize)>,
    /// How long its tasks may take together, from when it takes effect. Only for a build whose
    /// brief gives no deadline.
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTask {
    pub task: DraftTask,
    /// The tasks it waits for; each once, ascending.
    pub waits_for: Vec<Need>,
}

/// Why a draft is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the draft has no task")]
    Empty,
    #[error("the draft has {tasks} tasks; at most {tasks_max} can be planned")]
    TooLarge { tasks: usize, tasks_max: usize },
    #[error("the draft has {edges} dependencies; at most {edges_max} can be planned")]
    TooManyDependencies { edges: usize, edges_max: usize },
    #[error("the draft names the task {key:?} twice")]
    DuplicateKey { key: String },
    #[error("the task {task:?} waits for {on:?}, which the draft does not have")]
    UnknownDependency { task: String, on: String },
    #[error("the tasks wait for each other in a circle: {}", rings(.cycles))]
    Cycle { cycles: Vec<Vec<String>> },
    #[error("the task {task:?} would write {path:?}: {why}")]
    Path { task: String, path: String, why: &'static str },
    #[error("the task {task:?} has a {field} that is not as it must be: {why}")]
    Field { task: String, field: &'static str, why: &'static str },
    #[error("the task {task:?} must not go on without {on:?}, which is lost")]
    Lost { task: String, on: String },
    #[error("the build stops, since it lost a task that it must not go on without")]
    Halted,
}

fn rings(cycles: &[Vec<String>]) -> String {
    cycles.iter().map(|cycle| cycle.join(", ")).collect::<Vec<_>>().join("; ")
}

/// More than the largest graph a build system is known to have had; a draft beyond it is a mistake.
pub const TASKS_MAX: usize = 100_000;
/// Ten dependencies for each of the most tasks.
pub const EDGES_MAX: usize = 1_000_000;
pub const KEY_CHARS_MAX: usize = 200;
pub const NAME_CHARS_MAX: usize = 300;
/// Work that takes more slots than this is a mistake in the draft.
pub const COST_MAX: u32 = 64;
/// How many of the paths that order tasks a plan's notes name one by one.
const ORDERED_NOTES_MAX: usize = 5;

impl Draft {
    /// Checks everything and counts the edges.
    pub fn into_plan(self) -> Result<Plan, Refusal> {
        let waits_for = self.edges()?;
        let cycles = cycles::find(self.tasks.len(), graph::pairs(&waits_for));
        if !cycles.is_empty() {
            return Err(Refusal::Cycle { cycles: self.named(cycles) });
        }
        self.assemble(waits_for, Vec::new())
    }

    /// As `into_plan`, but tasks in a circle are no refusal: all tasks then run one after the
    /// other, by priority, and the plan says which circles it had.
    pub fn into_straightened_plan(self) -> Result<Plan, Refusal> {
        let waits_for = self.edges()?;
        let cycles = cycles::find(self.tasks.len(), graph::pairs(&waits_for));
        if cycles.is_empty() {
            return self.assemble(waits_for, Vec::new());
        }
        let cycles = self.named(cycles);
        let priorities: Vec<u8> = self.tasks.iter().map(|task| task.priority).collect();
        let line = cycles::in_a_line(&priorities);
        let straight = |(task, needs): (usize, Vec<Need>)| {
            let on = line.get(&task).copied();
            let own = needs.into_iter().find(|need| Some(need.on) == on);
            own.or(on.map(Need::of)).into_iter().collect()
        };
        let waits_for = waits_for.into_iter().enumerate().map(straight).collect();
        self.assemble(waits_for, cycles)
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

    fn edges(&self) -> Result<Vec<Vec<Need>>, Refusal> {
        let places = self.places()?;
        let edges = self.tasks.iter().map(|task| task.depends_on.len()).sum();
        if EDGES_MAX < edges {
            return Err(Refusal::TooManyDependencies { edges, edges_max: EDGES_MAX });
        }
        let found = |task: &DraftTask| {
            task.needs(|on| places.get(on).copied())
                .map(|needs| needs.into_iter().map(|(on, on_loss)| Need { on, on_loss }).collect())
        };
        self.tasks.iter().map(found).collect()
    }

    fn assemble(
        mut self,
        mut waits_for: Vec<Vec<Need>>,
        straightened: Vec<Vec<String>>,
    ) -> Result<Plan, Refusal> {
        let shared = paths::shared(&self.tasks)?;
        let order = graph::in_order(&waits_for);
        let ordered = paths::order_writers(&self.tasks, shared, &mut waits_for, &order);
        note(&mut self.notes, &ordered);
        let writers = paths::last_writers(&self.tasks, &order);
        let tasks = &self.tasks;
        let finish =
            graph::longest(&waits_for, &order, |task| u64::from(tasks[task].estimated_secs));
        let longest = finish.into_iter().max().unwrap_or(0);
        Ok(Plan {
            spec: self.spec,
            project_type: self.project_type,
            framework: self.framework,
            complexity: self.complexity,
            notes: self.notes,
            estimated_secs: u32::try_from(longest).unwrap_or(u32::MAX),
            tasks: self
                .tasks
                .into_iter()
                .zip(waits_for)
                .map(|(task, waits_for)| PlannedTask { task, waits_for })
                .collect(),
            straightened,
            ordered,
            writers,
            timeout: None,
        })
    }
}

/// Says in words who waits for whom because of a path.
fn note(notes: &mut Vec<String>, ordered: &[OrderedWrites]) {
    for OrderedWrites { path, first, then } in ordered.iter().take(ORDERED_NOTES_MAX) {
        notes.push(format!("{first} and {then} both write {path}, so {then} waits for {first}."));
    }
    if ORDERED_NOTES_MAX < ordered.len() {
        let more = ordered.len() - ORDERED_NOTES_MAX;
        notes.push(format!("So it is with {more} more pairs of tasks that write one path."));
    }
}

impl DraftTask {
    /// The tasks it waits for, as `find` knows their keys; each once, ascending. Of a dependency
    /// that is given twice, the one with a policy counts.
    fn needs<T: Copy + Ord>(
        &self,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<(T, Option<OnLoss>)>, Refusal> {
        let mut needs = self
            .depends_on
            .iter()
            .map(|need| match find(&need.key) {
                Some(on) => Ok((on, need.on_loss)),
                None => {
                    Err(Refusal::UnknownDependency { task: self.key.clone(), on: need.key.clone() })
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        needs.sort_by_key(|&(on, on_loss)| (on, on_loss.is_none()));
        needs.dedup_by_key(|&mut (on, _)| on);
        Ok(needs)
    }

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
            tasks[task].depends_on.push(on.into());
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
mod laws;
#[cfg(test)]
mod tests;
