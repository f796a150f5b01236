//! Tasks that are added to a plan whose tasks run.
//!
//! What is added may wait for what is there and for each other; what is there never waits for what
//! is added, so that no circle can go through both. Costs what the addition is large, not what the
//! plan is: of the plan it knows only what the addition names.

use std::collections::{HashMap, HashSet};

use super::{DraftTask, EDGES_MAX, OrderedWrites, Refusal, TASKS_MAX, graph, paths};
use crate::domain::{
    IllegalTransition, build, cycles,
    dependency::{Need, OnLoss, Standing},
    event::{Event, Tally, TaskRef},
    id::TaskId,
    task,
};

/// What must be known of a plan to add to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings {
    /// How many tasks the plan has.
    pub tasks: usize,
    /// Whether the build stops because of a task that was lost; see `settle::halts`.
    pub halted: bool,
    /// What the brief says of dependencies that say nothing.
    pub on_loss: OnLoss,
    /// The plan's tasks whose keys the addition has or waits for, each once.
    pub named: Vec<Neighbour>,
    /// For each path that both the addition and the plan write, the plan's last writer.
    pub writers: Vec<(String, Neighbour)>,
}

impl Surroundings {
    /// The same, once a task has completed.
    #[must_use]
    pub fn once_completed(mut self, id: TaskId) -> Self {
        let writers = self.writers.iter_mut().map(|(_, neighbour)| neighbour);
        for neighbour in self.named.iter_mut().chain(writers).filter(|one| one.id == id) {
            neighbour.state = task::State::Completed;
        }
        self
    }
}

/// A task that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    pub id: TaskId,
    pub key: String,
    pub state: task::State,
}

/// Tasks that may be added, in the order in which they follow on the plan's.
#[derive(Debug, Clone, PartialEq)]
pub struct Added {
    pub tasks: Vec<AddedTask>,
    /// Who waits for whom only because both write one path.
    pub ordered: Vec<OrderedWrites>,
    /// Who writes each path of the addition last.
    pub writers: Vec<(String, TaskId)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AddedTask {
    pub id: TaskId,
    pub task: DraftTask,
    pub needs: Vec<AddedNeed>,
    /// `ready`, `pending`, or `skipped` if it waits for what is lost.
    pub state: task::State,
    /// How many tasks hold it back.
    pub waiting_on: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedNeed {
    pub on: TaskId,
    pub on_loss: OnLoss,
}

/// Checks tasks, with the ids they are to have, against the plan they are added to.
pub fn grow(tasks: Vec<(TaskId, DraftTask)>, around: &Surroundings) -> Result<Added, Refusal> {
    if around.halted {
        return Err(Refusal::Halted);
    }
    let (ids, tasks): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
    let mut needs = edges(&tasks, around)?;
    let ours =
        |needs: &Vec<Need>| needs.iter().copied().filter(|need| need.on < tasks.len()).collect();
    let mut among: Vec<Vec<Need>> = needs.iter().map(ours).collect();
    let cycles = cycles::find(tasks.len(), graph::pairs(&among));
    if !cycles.is_empty() {
        let key = |index: usize| tasks[index].key.clone();
        let named = cycles.into_iter().map(|cycle| cycle.into_iter().map(key).collect());
        return Err(Refusal::Cycle { cycles: named.collect() });
    }
    let order = graph::in_order(&among);
    let shared = paths::shared(&tasks)?;
    let mut ordered = paths::order_writers(&tasks, shared, &mut among, &order);
    for (own, among) in needs.iter_mut().zip(among) {
        own.retain(|need| tasks.len() <= need.on);
        own.extend(among);
    }
    let (writers, behind) = follow_writers(&tasks, &ids, &order, around, &mut needs);
    ordered.extend(behind);
    let states = states(&tasks, &order, around, &needs)?;
    let on = |index: usize| match ids.get(index) {
        Some(&id) => id,
        None => neighbour(around, index - ids.len()).id,
    };
    let named = |need: &Need| AddedNeed {
        on: on(need.on),
        on_loss: need.on_loss.unwrap_or(around.on_loss),
    };
    let needs: Vec<Vec<AddedNeed>> =
        needs.iter().map(|needs| needs.iter().map(named).collect()).collect();
    let tasks = ids
        .into_iter()
        .zip(tasks)
        .zip(needs)
        .zip(states)
        .map(|(((id, task), needs), (state, waiting_on))| AddedTask {
            id,
            task,
            needs,
            state,
            waiting_on,
        })
        .collect();
    Ok(Added { tasks, ordered, writers })
}

/// The neighbours in one row: those that are named, then the writers.
fn neighbour(around: &Surroundings, index: usize) -> &Neighbour {
    match around.named.get(index) {
        Some(named) => named,
        None => &around.writers[index - around.named.len()].1,
    }
}

/// For each task what it waits for: below the number of tasks one of them, else a neighbour.
fn edges(tasks: &[DraftTask], around: &Surroundings) -> Result<Vec<Vec<Need>>, Refusal> {
    if tasks.is_empty() {
        return Err(Refusal::Empty);
    }
    let after = around.tasks + tasks.len();
    if TASKS_MAX < after {
        return Err(Refusal::TooLarge { tasks: after, tasks_max: TASKS_MAX });
    }
    let edges = tasks.iter().map(|task| task.depends_on.len()).sum();
    if EDGES_MAX < edges {
        return Err(Refusal::TooManyDependencies { edges, edges_max: EDGES_MAX });
    }
    let mut places: HashMap<&str, usize> = around
        .named
        .iter()
        .enumerate()
        .map(|(at, it)| (it.key.as_str(), tasks.len() + at))
        .collect();
    for (index, task) in tasks.iter().enumerate() {
        task.check()?;
        if places.insert(&task.key, index).is_some() {
            return Err(Refusal::DuplicateKey { key: task.key.clone() });
        }
    }
    tasks
        .iter()
        .map(|task| {
            let needs = task.needs(|on| places.get(on).copied())?;
            Ok(needs.into_iter().map(|(on, on_loss)| Need { on, on_loss }).collect())
        })
        .collect()
}

/// Lets the first of the added tasks that writes a path wait for the last of the plan's that does,
/// unless that has completed. Answers with the last writers from then on, and with what was
/// ordered.
fn follow_writers(
    tasks: &[DraftTask],
    ids: &[TaskId],
    order: &[usize],
    around: &Surroundings,
    needs: &mut [Vec<Need>],
) -> (Vec<(String, TaskId)>, Vec<OrderedWrites>) {
    let mut standing: HashMap<&str, usize> = around
        .writers
        .iter()
        .enumerate()
        .map(|(at, (path, _))| (path.as_str(), around.named.len() + at))
        .collect();
    let mut last = HashMap::new();
    let mut ordered = Vec::new();
    for &task in order {
        for path in &tasks[task].writes {
            last.insert(path.clone(), ids[task]);
            let Some(at) = standing.remove(path.as_str()) else { continue };
            let before = neighbour(around, at);
            let waits = needs[task].iter().any(|need| {
                tasks.len() <= need.on && neighbour(around, need.on - tasks.len()).id == before.id
            });
            if before.state == task::State::Completed || waits {
                continue;
            }
            needs[task].push(Need { on: tasks.len() + at, on_loss: Some(OnLoss::Continue) });
            ordered.push(OrderedWrites {
                path: path.clone(),
                first: before.key.clone(),
                then: tasks[task].key.clone(),
            });
        }
    }
    let mut last: Vec<_> = last.into_iter().collect();
    last.sort_unstable();
    (last, ordered)
}

/// With what state each task begins, and how many tasks hold it back.
fn states(
    tasks: &[DraftTask],
    order: &[usize],
    around: &Surroundings,
    needs: &[Vec<Need>],
) -> Result<Vec<(task::State, u32)>, Refusal> {
    let mut states = vec![(task::State::Pending, 0); tasks.len()];
    for &task in order {
        let mut waiting_on = 0;
        let mut doomed = false;
        for need in &needs[task] {
            let (state, key) = match tasks.get(need.on) {
                Some(other) => (states[need.on].0, &other.key),
                None => {
                    let neighbour = neighbour(around, need.on - tasks.len());
                    (neighbour.state, &neighbour.key)
                }
            };
            let on_loss = need.on_loss.unwrap_or(around.on_loss);
            match on_loss.standing(state) {
                Standing::Open => waiting_on += 1,
                Standing::Met => {}
                Standing::Lost if on_loss == OnLoss::FailFast => {
                    let task = tasks[task].key.clone();
                    return Err(Refusal::Lost { task, on: key.clone() });
                }
                Standing::Lost => doomed = true,
            }
        }
        let state = match (doomed, waiting_on) {
            (true, _) => task::State::Skipped,
            (false, 0) => task::State::Ready,
            (false, _) => task::State::Pending,
        };
        states[task] = (state, waiting_on);
    }
    Ok(states)
}

/// What adding to a build changes about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    pub tally: Tally,
    pub events: Vec<Event>,
}

impl Added {
    /// What follows for a build that runs. `by` is the task that asked for it, if one did.
    pub fn growth(
        &self,
        build: build::State,
        mut tally: Tally,
        by: Option<&TaskRef>,
    ) -> Result<Growth, IllegalTransition> {
        build.on(build::Trigger::TasksAdded)?;
        let count = u32::try_from(self.tasks.len()).unwrap_or(u32::MAX);
        tally.tasks = tally.tasks.saturating_add(count);
        let named = |added: &AddedTask| TaskRef { id: added.id, name: added.task.name.clone() };
        let listed: Vec<_> = self
            .tasks
            .iter()
            .map(|added| {
                let task = &added.task;
                (task.name.as_str(), task.operation.as_str(), task.description.as_str())
            })
            .collect();
        let mut events = vec![Event::tasks_added(&listed, tally.tasks, by)];
        for added in self.tasks.iter().filter(|added| added.state == task::State::Skipped) {
            tally.skipped += 1;
            events.push(Event::task_skipped(&named(added), None));
        }
        Ok(Growth { tally, events })
    }

    /// Those that may run at once.
    pub fn ready(&self) -> impl Iterator<Item = &AddedTask> {
        self.tasks.iter().filter(|added| added.state == task::State::Ready)
    }
}

/// The keys and the paths that must be looked up in the plan before `grow` is asked.
pub fn looked_up<'a>(
    tasks: impl IntoIterator<Item = &'a DraftTask>,
) -> (HashSet<&'a str>, HashSet<&'a str>) {
    let (mut keys, mut written) = (HashSet::new(), HashSet::new());
    for task in tasks {
        keys.insert(task.key.as_str());
        keys.extend(task.depends_on.iter().map(|need| need.key.as_str()));
        written.extend(task.writes.iter().map(String::as_str));
    }
    (keys, written)
}
