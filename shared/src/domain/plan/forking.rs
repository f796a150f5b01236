//! A build that begins in the middle of another: from a task on, everything runs again.

use std::collections::HashMap;

use crate::domain::{
    dependency::{OnLoss, Standing},
    task,
};

/// A task of the build that is forked, in the order of its plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    pub state: task::State,
    pub waits_for: Vec<(usize, OnLoss)>,
    /// The paths it may write.
    pub writes: Vec<String>,
    /// Those among them whose content in the record is its own.
    pub wrote: Vec<String>,
}

/// How a task of the fork begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Completed, with the files that it made in the other build.
    TakenOver,
    Ready,
    /// Pending, held back by so many tasks.
    Waits(u32),
}

/// Decides how each task of a fork at the task `at` begins. Taken over is what completed and does
/// not lie downstream of `at`, unless what it made was written over by a task that runs again: then
/// its own content is gone, and it runs again too.
pub fn fork(tasks: &[Origin], at: usize) -> Vec<Fate> {
    let again = run_again(tasks, at);
    let taken_over = |index: usize| tasks[index].state == task::State::Completed && !again[index];
    tasks
        .iter()
        .enumerate()
        .map(|(index, task)| {
            if taken_over(index) {
                return Fate::TakenOver;
            }
            // Whatever is not taken over is open again, so nothing is lost.
            let open = task.waits_for.iter().filter(|(on, on_loss)| {
                let state =
                    if taken_over(*on) { task::State::Completed } else { task::State::Pending };
                on_loss.standing(state) == Standing::Open
            });
            match u32::try_from(open.count()).unwrap_or(u32::MAX) {
                0 => Fate::Ready,
                waiting_on => Fate::Waits(waiting_on),
            }
        })
        .collect()
}

fn run_again(tasks: &[Origin], at: usize) -> Vec<bool> {
    let mut dependents = vec![Vec::new(); tasks.len()];
    let mut writers = HashMap::<&str, Vec<usize>>::new();
    for (index, task) in tasks.iter().enumerate() {
        for &(on, _) in &task.waits_for {
            dependents[on].push(index);
        }
        for path in &task.writes {
            writers.entry(path).or_default().push(index);
        }
    }
    let mut again = vec![false; tasks.len()];
    again[at] = true;
    let mut next = vec![at];
    while let Some(task) = next.pop() {
        let over =
            tasks[task].wrote.iter().filter_map(|path| writers.remove(path.as_str())).flatten();
        for index in over.chain(std::mem::take(&mut dependents[task])) {
            if !again[index] {
                again[index] = true;
                next.push(index);
            }
        }
    }
    again
}
