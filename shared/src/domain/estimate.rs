//! When a build will be done: the longest chain of what is open, by how long such work took of
//! late.
//!
//! Knows nothing of limits and of who waits for a worker, so it is what a build can hope for.

use std::{collections::HashMap, time::Duration};

use super::{dependency::Need, plan::graph, task::Operation};

/// Attempts that succeeded, the newest of the fleet: more say less about today.
pub const SAMPLES_MAX: u32 = 1000;
/// Fewer say too little about a kind of work; then its plan's estimate counts.
pub const SAMPLES_MIN: usize = 3;

/// A build with more open tasks is not measured: people look at builds again and again, and this
/// many are read in a tenth of a second.
pub const OPEN_MAX: u32 = 10_000;

/// What kind of work took how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub operation: Operation,
    pub role: String,
    pub took: Duration,
}

/// How long work takes, by its operation and role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Medians(HashMap<(Operation, String), Duration>);

impl Medians {
    pub fn of(samples: impl IntoIterator<Item = Sample>) -> Self {
        let mut kinds: HashMap<(Operation, String), Vec<Duration>> = HashMap::new();
        for Sample { operation, role, took } in samples {
            kinds.entry((operation, role)).or_default().push(took);
        }
        let median = |(kind, mut all): (_, Vec<Duration>)| {
            if all.len() < SAMPLES_MIN {
                return None;
            }
            let middle = all.len() / 2;
            let (_, &mut median, _) = all.select_nth_unstable(middle);
            Some((kind, median))
        };
        Self(kinds.into_iter().filter_map(median).collect())
    }

    fn takes(&self, task: &Open) -> Duration {
        let kind = (task.operation, task.role.clone());
        self.0.get(&kind).copied().unwrap_or(Duration::from_secs(task.estimated_secs.into()))
    }
}

/// A task that is not final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    pub operation: Operation,
    pub role: String,
    pub estimated_secs: u32,
    /// How long its attempt has been running; zero if none is.
    pub running: Duration,
    /// The positions of the open tasks it waits for.
    pub waits_for: Vec<usize>,
}

/// How long it takes until all of these are done, if nothing has to wait for a worker.
pub fn remaining(tasks: &[Open], medians: &Medians) -> Duration {
    let waits_for: Vec<Vec<Need>> =
        tasks.iter().map(|task| task.waits_for.iter().copied().map(Need::of).collect()).collect();
    let millis = |index: usize| {
        let task: &Open = &tasks[index];
        let left = medians.takes(task).saturating_sub(task.running);
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    };
    let order = graph::in_order(&waits_for);
    let longest = graph::longest(&waits_for, &order, millis).into_iter().max().unwrap_or(0);
    Duration::from_millis(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(role: &str, running: u64, waits_for: &[usize]) -> Open {
        Open {
            operation: Operation::CreateFile,
            role: role.to_owned(),
            estimated_secs: 60,
            running: Duration::from_secs(running),
            waits_for: waits_for.to_vec(),
        }
    }

    fn took(role: &str, secs: u64) -> Sample {
        Sample {
            operation: Operation::CreateFile,
            role: role.to_owned(),
            took: Duration::from_secs(secs),
        }
    }

    #[test]
    fn the_longest_chain_counts_by_what_such_work_took() {
        let medians = Medians::of([took("a", 1), took("a", 900), took("a", 3), took("b", 1)]);
        let tasks = [open("a", 0, &[]), open("a", 0, &[0]), open("a", 0, &[0]), open("b", 0, &[2])];

        // 3 + 3 for the chain of a, and the plan's 60 for b, of which there is one sample only.
        assert_eq!(remaining(&tasks, &medians), Duration::from_secs(66));
    }

    #[test]
    fn what_runs_has_its_time_behind_it_but_never_less_than_none_before_it() {
        let medians = Medians::default();

        assert_eq!(remaining(&[open("a", 45, &[])], &medians), Duration::from_secs(15));
        assert_eq!(remaining(&[open("a", 100, &[])], &medians), Duration::ZERO);
        assert_eq!(remaining(&[], &medians), Duration::ZERO);
    }
}
