//! What the loss of a task means for the rest of its build.
//!
//! Each dependency says what the loss of its prerequisite means for who waits. Who is skipped is
//! lost in turn; who goes on is held back by one task fewer.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Dependent, Progress, Settlement};
use crate::domain::{
    IllegalTransition,
    brief::OnTaskFailure,
    dependency::OnLoss,
    event::{Event, TaskRef},
    id::TaskId,
    task,
};

/// Whether the loss of a task stops its build, so that all that is open must be known. `dependents`
/// are who waits for it, and for whatever is lost with it. What a brief says of failures is not
/// said of tasks that a person cancels or skips: `failed` is whether it failed.
pub fn halts(on_task_failure: OnTaskFailure, failed: bool, dependents: &[Dependent]) -> bool {
    (failed && on_task_failure == OnTaskFailure::FailFast)
        || dependents.iter().any(|dependent| {
            dependent.on_loss == OnLoss::FailFast && dependent.state == task::State::Pending
        })
}

/// What follows from losses, as far as it has been followed.
struct Losses<'a> {
    edges: HashMap<TaskId, Vec<&'a Dependent>>,
    lost: HashSet<TaskId>,
    /// Who is skipped, in the order in which it turned out.
    skipped: Vec<&'a TaskRef>,
    /// Who goes on and by how much it is held back, and the order in which it turned out.
    held_back: HashMap<TaskId, u32>,
    advanced: Vec<TaskId>,
}

impl<'a> Losses<'a> {
    fn new(dependents: &'a [Dependent]) -> Self {
        let mut edges: HashMap<TaskId, Vec<&Dependent>> = HashMap::new();
        let mut seen = HashSet::new();
        for dependent in dependents {
            if seen.insert((dependent.on, dependent.task.id)) {
                edges.entry(dependent.on).or_default().push(dependent);
            }
        }
        Self {
            edges,
            lost: HashSet::new(),
            skipped: Vec::new(),
            held_back: HashMap::new(),
            advanced: Vec::new(),
        }
    }

    fn follow(&mut self, roots: impl IntoIterator<Item = TaskId>) {
        let mut next: VecDeque<TaskId> = roots.into_iter().collect();
        self.lost.extend(&next);
        while let Some(lost) = next.pop_front() {
            for dependent in self.edges.remove(&lost).unwrap_or_default() {
                let id = dependent.task.id;
                if dependent.state != task::State::Pending || self.lost.contains(&id) {
                    continue;
                }
                if dependent.on_loss.dooms() {
                    self.lost.insert(id);
                    self.skipped.push(&dependent.task);
                    next.push_back(id);
                } else {
                    let held_back = self.held_back.entry(id).or_insert(dependent.waiting_on);
                    *held_back = held_back.saturating_sub(1);
                    self.advanced.push(id);
                }
            }
        }
    }
}

impl Progress {
    /// The task at hand was lost. `halts`: whatever the dependencies say, the build stops.
    pub(super) fn lose_the_rest(
        self,
        mut settlement: Settlement,
        halts: bool,
    ) -> Result<Settlement, IllegalTransition> {
        let mut losses = Losses::new(&self.dependents);
        losses.follow([self.task.id]);
        let halts = halts
            || self.dependents.iter().any(|dependent| {
                dependent.on_loss == OnLoss::FailFast
                    && dependent.state == task::State::Pending
                    && losses.lost.contains(&dependent.on)
            });
        if halts {
            // What cleans up stays; all else that is open is lost at once.
            let stopped: Vec<_> = self.others.iter().filter(|other| !other.cleans_up).collect();
            losses = Losses::new(&self.dependents);
            let roots = stopped.iter().map(|other| other.task.id);
            losses.follow(std::iter::once(self.task.id).chain(roots));
            for other in stopped {
                other.state.on(task::Trigger::BuildFailed)?;
                settlement.cancelled.push(other.task.id);
                settlement.events.push(Event::task_cancelled(&other.task));
                settlement.tally.cancelled += 1;
            }
        }
        for &skipped in &losses.skipped {
            settlement.skipped.push(skipped.id);
            settlement.events.push(Event::task_skipped(skipped, Some(&self.task)));
            settlement.tally.skipped += 1;
        }
        for id in losses.advanced {
            if losses.lost.contains(&id) {
                continue;
            }
            settlement.advanced.push(id);
            if losses.held_back.remove(&id) == Some(0) {
                settlement.released.push(id);
            }
        }
        self.end_if_settled(settlement)
    }
}
