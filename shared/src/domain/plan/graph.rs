//! What is asked of a graph of tasks. Everything is linear, up to a logarithm, and without
//! recursion: chains may be a hundred thousand tasks long.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::domain::dependency::Need;

/// Every dependency as `(task, on)`.
pub fn pairs(waits_for: &[Vec<Need>]) -> impl Iterator<Item = (usize, usize)> {
    waits_for
        .iter()
        .enumerate()
        .flat_map(|(task, needs)| needs.iter().map(move |need| (task, need.on)))
}

/// The tasks of a graph without cycles, each after all it waits for; where that leaves a choice, in
/// the order they have.
pub fn in_order(waits_for: &[Vec<Need>]) -> Vec<usize> {
    let mut dependents = vec![Vec::new(); waits_for.len()];
    let mut open: Vec<usize> = waits_for.iter().map(Vec::len).collect();
    for (task, on) in pairs(waits_for) {
        dependents[on].push(task);
    }
    let mut next: BinaryHeap<_> =
        (0..waits_for.len()).filter(|&task| open[task] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(waits_for.len());
    while let Some(Reverse(task)) = next.pop() {
        order.push(task);
        for &dependent in &dependents[task] {
            open[dependent] -= 1;
            if open[dependent] == 0 {
                next.push(Reverse(dependent));
            }
        }
    }
    order
}

/// For each task, the largest sum of weights along a chain that ends with it. `order` is that of
/// `in_order`.
pub fn longest(
    waits_for: &[Vec<Need>],
    order: &[usize],
    weight: impl Fn(usize) -> u64,
) -> Vec<u64> {
    let mut longest = vec![0u64; waits_for.len()];
    for &task in order {
        let before = waits_for[task].iter().map(|need| longest[need.on]).max().unwrap_or(0);
        longest[task] = before.saturating_add(weight(task));
    }
    longest
}

/// Answers whether one task waits for another, until it has looked at too many.
pub struct Reach {
    /// Where a task stands in the order.
    position: Vec<usize>,
    /// By which question a task was last looked at.
    asked: Vec<usize>,
    question: usize,
    /// How many tasks may still be looked at.
    left: usize,
}

impl Reach {
    /// All questions together cost no more than a few walks over the whole graph.
    pub fn new(waits_for: &[Vec<Need>], order: &[usize]) -> Self {
        let mut position = vec![0; order.len()];
        for (at, &task) in order.iter().enumerate() {
            position[task] = at;
        }
        let edges: usize = waits_for.iter().map(Vec::len).sum();
        let left = 8 * (order.len() + edges) + 1000;
        Self { position, asked: vec![0; order.len()], question: 0, left }
    }

    pub fn position(&self, task: usize) -> usize {
        self.position[task]
    }

    /// Whether `from` waits for `to`, directly or through others; `false` also if it would cost too
    /// much to tell.
    pub fn waits(&mut self, waits_for: &[Vec<Need>], from: usize, to: usize) -> bool {
        self.question += 1;
        let mut next = vec![from];
        while let Some(task) = next.pop() {
            for &Need { on, .. } in &waits_for[task] {
                if on == to {
                    return true;
                }
                if self.left == 0 {
                    return false;
                }
                self.left -= 1;
                // What comes before `to` cannot wait for it.
                if self.position[to] < self.position[on] && self.asked[on] != self.question {
                    self.asked[on] = self.question;
                    next.push(on);
                }
            }
        }
        false
    }
}
