//! Another go for one lost task, and for what was lost because of it.

use std::collections::{HashMap, HashSet};

use crate::domain::{
    IllegalTransition, build,
    dependency::{OnLoss, Standing},
    event::{Event, Tally, TaskRef},
    id::TaskId,
    task,
};

/// What must be known of a build to give one of its tasks another go.
#[derive(Debug, Clone, PartialEq)]
pub struct Revival {
    pub build: build::State,
    pub tally: Tally,
    pub task: Node,
    /// Whoever waits for the task, directly or through tasks that are lost, and whatever the task
    /// or one of these waits for.
    pub nodes: Vec<Node>,
    /// Every dependency of the task and of those who wait for it.
    pub edges: Vec<Edge>,
}

/// A task as its revival has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub task: TaskRef,
    pub state: task::State,
    /// Whether a person took it out; then it stays out.
    pub by_hand: bool,
}

/// `task` waits for `on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub task: TaskId,
    pub on: TaskId,
    pub on_loss: OnLoss,
}

/// What giving another go writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Revived {
    /// `pending` or `ready` again, with counts of failures and crashes at zero, and how many tasks
    /// hold each back. Who is held back by none is ready.
    pub revived: Vec<(TaskId, u32)>,
    /// Pending tasks that are held back by one task more for each time they are named here.
    pub held_back: Vec<TaskId>,
    pub build: build::State,
    pub tally: Tally,
    pub events: Vec<Event>,
}

/// Why a task gets no other go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the task is {state}; only what failed, was skipped or was cancelled is retried")]
    NotLost { state: task::State },
    #[error("the task {task:?} it waits for is lost; retry that one")]
    StillDoomed { task: String },
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
}

impl Revival {
    /// Decides who runs again: the task, and whoever was lost because of it and would not be lost
    /// because of another.
    pub fn decide(self) -> Result<Revived, Refusal> {
        let mut around = Around::of(&self);
        around.check(&self.task)?;
        let mut at = 0;
        while let Some(&next) = around.revived.get(at) {
            at += 1;
            // Whoever waits for several is asked for each; when it is asked last, all are known.
            for dependent in around.dependents.remove(&next).unwrap_or_default() {
                around.revive_with(dependent, next);
            }
        }
        let held_back = self
            .edges
            .iter()
            .filter(|edge| around.is_revived.contains(&edge.on))
            .filter(|edge| around.state(edge.task) == Some(task::State::Pending))
            .map(|edge| edge.task)
            .collect();
        let revived = around.revived.iter().map(|&id| (id, around.held_by(id))).collect();
        let states: Vec<_> =
            around.revived.iter().filter_map(|&revived| around.state(revived)).collect();
        self.write(&states, revived, held_back)
    }

    fn write(
        &self,
        states: &[task::State],
        revived: Vec<(TaskId, u32)>,
        held_back: Vec<TaskId>,
    ) -> Result<Revived, Refusal> {
        let mut tally = self.tally;
        for &state in states {
            state.on(task::Trigger::Retried)?;
            let count = match state {
                task::State::Failed => &mut tally.failed,
                task::State::Skipped => &mut tally.skipped,
                _ => &mut tally.cancelled,
            };
            *count = count.saturating_sub(1);
        }
        let mut events = Vec::new();
        let mut build = self.build;
        if build.is_final() {
            build = build.on(build::Trigger::Retried { planned: true })?;
            let tasks = u32::try_from(revived.len()).unwrap_or(u32::MAX);
            events.push(Event::build_retried(tasks));
        }
        events.push(Event::task_retried(&self.task.task, revived.len()));
        Ok(Revived { revived, held_back, build, tally, events })
    }
}

/// The same, to be asked.
struct Around<'a> {
    nodes: HashMap<TaskId, &'a Node>,
    needs: HashMap<TaskId, Vec<Edge>>,
    dependents: HashMap<TaskId, Vec<TaskId>>,
    revived: Vec<TaskId>,
    is_revived: HashSet<TaskId>,
}

impl<'a> Around<'a> {
    fn of(revival: &'a Revival) -> Self {
        let mut needs: HashMap<TaskId, Vec<Edge>> = HashMap::new();
        let mut dependents: HashMap<TaskId, Vec<TaskId>> = HashMap::new();
        for edge in &revival.edges {
            needs.entry(edge.task).or_default().push(*edge);
            dependents.entry(edge.on).or_default().push(edge.task);
        }
        let root = &revival.task;
        let nodes = revival.nodes.iter().chain([root]).map(|node| (node.task.id, node)).collect();
        Self {
            nodes,
            needs,
            dependents,
            revived: vec![root.task.id],
            is_revived: HashSet::from([root.task.id]),
        }
    }

    fn state(&self, id: TaskId) -> Option<task::State> {
        self.nodes.get(&id).map(|node| node.state)
    }

    fn needs(&self, id: TaskId) -> &[Edge] {
        self.needs.get(&id).map_or(&[], Vec::as_slice)
    }

    /// How a dependency stands once what is revived so far is open.
    fn standing(&self, edge: &Edge) -> Standing {
        match self.state(edge.on) {
            _ if self.is_revived.contains(&edge.on) => Standing::Open,
            Some(state) => edge.on_loss.standing(state),
            None => Standing::Met,
        }
    }

    fn check(&self, root: &Node) -> Result<(), Refusal> {
        use task::State::{Cancelled, Failed, Skipped};
        if !matches!(root.state, Failed | Skipped | Cancelled) {
            return Err(Refusal::NotLost { state: root.state });
        }
        let lost =
            self.needs(root.task.id).iter().find(|edge| self.standing(edge) == Standing::Lost);
        match lost.and_then(|edge| self.nodes.get(&edge.on)) {
            Some(on) => Err(Refusal::StillDoomed { task: on.task.name.clone() }),
            None => Ok(()),
        }
    }

    /// Revives who waits for `on`, if it was lost because of it and of none that stays lost.
    fn revive_with(&mut self, id: TaskId, on: TaskId) {
        let Some(node) = self.nodes.get(&id) else { return };
        let was_lost = matches!(node.state, task::State::Skipped | task::State::Cancelled);
        if !was_lost || node.by_hand || self.is_revived.contains(&id) {
            return;
        }
        let needs = self.needs(id);
        let because = needs.iter().any(|edge| edge.on == on && edge.on_loss.dooms());
        let doomed = needs.iter().any(|edge| self.standing(edge) == Standing::Lost);
        if because && !doomed {
            self.is_revived.insert(id);
            self.revived.push(id);
        }
    }

    fn held_by(&self, id: TaskId) -> u32 {
        let open = self.needs(id).iter().filter(|edge| self.standing(edge) == Standing::Open);
        u32::try_from(open.count()).unwrap_or(u32::MAX)
    }
}
