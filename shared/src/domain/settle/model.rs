//! A build that is kept in memory and settled like a store does it.

use std::collections::BTreeSet;

use ulid::Ulid;

use super::{
    reviving::{Edge, Node, Refusal, Revival, Revived},
    *,
};
use crate::domain::{
    attempt::OutputFile,
    dependency::Standing,
    id::TaskId,
    plan::{
        Draft, DraftTask,
        growing::{Added, Neighbour, Surroundings, grow},
    },
};

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub waits_for: Vec<Vec<(usize, OnLoss)>>,
    pub on_task_failure: OnTaskFailure,
    pub state: Vec<task::State>,
    pub waiting_on: Vec<u32>,
    pub by_hand: BTreeSet<usize>,
    /// Tasks that got another go.
    pub retried: BTreeSet<usize>,
    pub failures: Vec<u32>,
    pub crashes: Vec<u32>,
    pub attempts: Vec<u32>,
    /// How often each was made ready by another.
    pub releases: Vec<u32>,
    pub build: build::State,
    pub tally: Tally,
    pub events: Vec<Event>,
}

pub(super) fn id(index: usize) -> TaskId {
    Ulid::from_parts(1, index as u128).into()
}

pub(super) fn task(index: usize) -> TaskRef {
    TaskRef { id: id(index), name: index.to_string() }
}

pub(super) fn index(id: TaskId) -> usize {
    usize::try_from(id.ulid().random()).unwrap()
}

/// Dependencies without a policy of their own.
pub(super) fn need(on: &[usize]) -> Vec<(usize, OnLoss)> {
    on.iter().map(|&on| (on, OnLoss::Skip)).collect()
}

pub(super) fn done() -> Outcome {
    Outcome::Succeeded(Output {
        files: vec![OutputFile { path: "a.txt".into(), content: "a".into() }],
        ..Output::default()
    })
}

pub(super) fn broken() -> Outcome {
    Outcome::Failed(Failure::permanent("broken", "it is broken"))
}

impl Model {
    pub fn new(waits_for: Vec<Vec<(usize, OnLoss)>>, on_task_failure: OnTaskFailure) -> Self {
        let count = waits_for.len();
        let waiting_on: Vec<u32> = waits_for.iter().map(|on| on.len() as u32).collect();
        let state = waiting_on
            .iter()
            .map(|&open| if open == 0 { task::State::Ready } else { task::State::Pending })
            .collect();
        Self {
            waits_for,
            on_task_failure,
            state,
            waiting_on,
            by_hand: BTreeSet::new(),
            retried: BTreeSet::new(),
            failures: vec![0; count],
            crashes: vec![0; count],
            attempts: vec![0; count],
            releases: vec![0; count],
            build: build::State::Executing,
            tally: Tally { tasks: count as u32, ..Tally::default() },
            events: Vec::new(),
        }
    }

    pub fn claim(&mut self, at: usize) {
        self.state[at] = self.state[at].on(task::Trigger::Claimed).unwrap();
        self.attempts[at] += 1;
        for &(on, on_loss) in &self.waits_for[at] {
            let standing = on_loss.standing(self.state[on]);
            // Who was let go because it bears the loss is not called back when that is retried.
            let borne = self.retried.contains(&on) && !on_loss.dooms();
            assert!(standing == Standing::Met || borne, "task {at} began before {on} let it");
        }
    }

    /// Every dependency on one of `ons`.
    fn edges_on(&self, ons: &[usize]) -> Vec<Dependent> {
        let mut edges = Vec::new();
        for (at, needs) in self.waits_for.iter().enumerate() {
            for &(on, on_loss) in needs.iter().filter(|(on, _)| ons.contains(on)) {
                edges.push(Dependent {
                    on: id(on),
                    task: task(at),
                    state: self.state[at],
                    waiting_on: self.waiting_on[at],
                    on_loss,
                });
            }
        }
        edges
    }

    fn cleans_up(&self, at: usize) -> bool {
        self.waits_for[at].iter().any(|(_, on_loss)| *on_loss == OnLoss::AlwaysRun)
    }

    /// Reads what a store reads: who waits for the task and for what is lost with it; and all that
    /// is open if the build halts.
    fn progress(&self, at: usize, lost: bool, failed: bool) -> Progress {
        let mut doomed = vec![at];
        let mut next = 0;
        while lost && let Some(&on) = doomed.get(next) {
            next += 1;
            for other in 0..self.state.len() {
                let waits = |(needed, on_loss): &(usize, OnLoss)| *needed == on && on_loss.dooms();
                if self.state[other] == task::State::Pending
                    && !doomed.contains(&other)
                    && self.waits_for[other].iter().any(waits)
                {
                    doomed.push(other);
                }
            }
        }
        let mut dependents = self.edges_on(&doomed);
        let mut others = Vec::new();
        if lost && halts(self.on_task_failure, failed, &dependents) {
            let open: Vec<usize> =
                (0..self.state.len()).filter(|&o| o != at && !self.state[o].is_final()).collect();
            dependents.extend(
                self.edges_on(&open).into_iter().filter(|edge| self.cleans_up(index(edge.task.id))),
            );
            others = open
                .into_iter()
                .map(|at| Open {
                    task: task(at),
                    state: self.state[at],
                    cleans_up: self.cleans_up(at),
                })
                .collect();
        }
        Progress {
            build: self.build,
            on_task_failure: self.on_task_failure,
            tally: self.tally,
            task: task(at),
            attempt: self.attempts[at],
            failures: self.failures[at],
            crashes: self.crashes[at],
            dependents,
            others,
            added: None,
        }
    }

    pub fn settle(&mut self, at: usize, outcome: Outcome) -> Settlement {
        let failed = matches!(outcome, Outcome::Failed(_));
        let progress = self.progress(at, failed, failed);
        let settlement = progress.settle(outcome, &Policy::WORK, Jitter::NONE).unwrap();
        self.write(at, settlement)
    }

    /// Settles a success that asks for more tasks.
    pub fn settle_adding(&mut self, at: usize, tasks: Vec<DraftTask>) -> Settlement {
        self.state[at] = task::State::Completed;
        let added = self.added(tasks).unwrap();
        self.state[at] = task::State::InProgress;
        let progress = Progress { added: Some(added), ..self.progress(at, false, false) };
        let settlement = progress.settle(done(), &Policy::WORK, Jitter::NONE).unwrap();
        self.write(at, settlement)
    }

    pub fn end_by_hand(&mut self, at: usize, how: ByHand) -> Settlement {
        let progress = self.progress(at, true, false);
        let settlement = progress.end_by_hand(self.state[at], how, "no longer wanted").unwrap();
        self.by_hand.insert(at);
        self.write(at, settlement)
    }

    /// Checks tasks against the plan as it is.
    pub fn added(&self, tasks: Vec<DraftTask>) -> Result<Added, crate::domain::plan::Refusal> {
        let count = self.state.len();
        let named = (0..count)
            .map(|at| Neighbour { id: id(at), key: at.to_string(), state: self.state[at] })
            .collect();
        let around = Surroundings {
            tasks: count,
            halted: self.halted(),
            on_loss: OnLoss::Skip,
            named,
            writers: Vec::new(),
        };
        let tasks = tasks.into_iter().enumerate().map(|(at, task)| (id(count + at), task));
        grow(tasks.collect(), &around)
    }

    /// Whether the build stops.
    pub fn halted(&self) -> bool {
        let lost =
            |at: usize| self.state[at].is_final() && self.state[at] != task::State::Completed;
        let failed = self.state.contains(&task::State::Failed);
        let edge = |(on, on_loss): &(usize, OnLoss)| *on_loss == OnLoss::FailFast && lost(*on);
        (failed && self.on_task_failure == OnTaskFailure::FailFast)
            || self.waits_for.iter().flatten().any(edge)
    }

    fn write(&mut self, at: usize, settlement: Settlement) -> Settlement {
        self.state[at] = settlement.task;
        self.failures[at] += settlement.failures;
        self.crashes[at] += settlement.crashes;
        for &advanced in &settlement.advanced {
            self.waiting_on[index(advanced)] -= 1;
        }
        for &released in &settlement.released {
            let at = index(released);
            self.state[at] = self.state[at].on(task::Trigger::DependenciesMet).unwrap();
            self.releases[at] += 1;
        }
        for &skipped in &settlement.skipped {
            let state = &mut self.state[index(skipped)];
            *state = state.on(task::Trigger::DependencyLost).unwrap();
        }
        for &cancelled in &settlement.cancelled {
            let state = &mut self.state[index(cancelled)];
            *state = state.on(task::Trigger::BuildFailed).unwrap();
        }
        if let Some(added) = &settlement.added {
            self.append(added);
        }
        self.build = settlement.build;
        self.tally = settlement.tally;
        self.events.extend(settlement.events.clone());
        settlement
    }

    /// A person adds tasks.
    pub fn add(&mut self, tasks: Vec<DraftTask>) -> Result<(), crate::domain::plan::Refusal> {
        let added = self.added(tasks)?;
        let growth = added.growth(self.build, self.tally, None).unwrap();
        self.append(&added);
        self.tally = growth.tally;
        self.events.extend(growth.events);
        Ok(())
    }

    fn append(&mut self, added: &Added) {
        for task in &added.tasks {
            assert_eq!(index(task.id), self.state.len());
            self.waits_for
                .push(task.needs.iter().map(|need| (index(need.on), need.on_loss)).collect());
            self.state.push(task.state);
            self.waiting_on.push(task.waiting_on);
            self.failures.push(0);
            self.crashes.push(0);
            self.attempts.push(0);
            self.releases.push(0);
        }
    }

    pub fn retry(&mut self, at: usize) -> Result<Revived, Refusal> {
        let node = |at: usize| Node {
            task: task(at),
            state: self.state[at],
            by_hand: self.by_hand.contains(&at),
        };
        let every = 0..self.state.len();
        let edges = every.clone().flat_map(|at| {
            self.waits_for[at].iter().map(move |&(on, on_loss)| Edge {
                task: id(at),
                on: id(on),
                on_loss,
            })
        });
        let revived = Revival {
            build: self.build,
            tally: self.tally,
            task: node(at),
            edges: edges.collect(),
            nodes: every.filter(|&other| other != at).map(node).collect(),
        }
        .decide()?;
        for &(id, waiting_on) in &revived.revived {
            let at = index(id);
            let ready = waiting_on == 0;
            self.state[at] = if ready { task::State::Ready } else { task::State::Pending };
            self.waiting_on[at] = waiting_on;
            (self.failures[at], self.crashes[at], self.releases[at]) = (0, 0, 0);
            self.by_hand.remove(&at);
            self.retried.insert(at);
        }
        for &id in &revived.held_back {
            self.waiting_on[index(id)] += 1;
        }
        self.build = revived.build;
        self.tally = revived.tally;
        self.events.extend(revived.events.clone());
        Ok(revived)
    }

    pub fn counted(&self) -> Tally {
        let count = |wanted| self.state.iter().filter(|state| **state == wanted).count() as u32;
        Tally {
            tasks: self.state.len() as u32,
            completed: count(task::State::Completed),
            failed: count(task::State::Failed),
            skipped: count(task::State::Skipped),
            cancelled: count(task::State::Cancelled),
            files: 0,
        }
    }

    /// What must hold after every step.
    pub fn check(&self) {
        assert_eq!(self.tally, self.counted());
        for (at, needs) in self.waits_for.iter().enumerate() {
            assert!(needs.iter().all(|(on, _)| *on != at), "task {at} waits for itself");
            if self.state[at] == task::State::Pending {
                let standing = |(on, on_loss): &(usize, OnLoss)| on_loss.standing(self.state[*on]);
                let open = needs.iter().filter(|need| standing(need) == Standing::Open).count();
                let lost = needs.iter().any(|need| standing(need) == Standing::Lost);
                assert_eq!(self.waiting_on[at], open as u32, "task {at} is held back wrongly");
                assert!(0 < open && !lost, "task {at} waits for nothing that will come");
            }
            assert!(self.releases[at] <= 1, "task {at} was released twice");
        }
        let ended = self.state.iter().all(|state| state.is_final());
        assert_eq!(ended, self.build.is_final(), "a build ends exactly when its tasks have");
    }
}

/// What a task waits for, by key, and what the loss of it means.
type Needs<'a> = &'a [(&'a str, Option<OnLoss>)];

/// Tasks with these keys, which wait for these.
pub(super) fn drafts(tasks: &[(&str, Needs<'_>)]) -> Vec<DraftTask> {
    let first = Draft::of("x").tasks.remove(0);
    tasks
        .iter()
        .map(|(key, needs)| DraftTask {
            key: (*key).to_owned(),
            name: (*key).to_owned(),
            writes: Vec::new(),
            depends_on: needs
                .iter()
                .map(|(key, on_loss)| crate::domain::dependency::DraftNeed {
                    key: (*key).to_owned(),
                    on_loss: *on_loss,
                })
                .collect(),
            ..first.clone()
        })
        .collect()
}
