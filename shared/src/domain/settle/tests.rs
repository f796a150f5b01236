//! A build as a value: random plans, random outcomes in random order, and what must always hold.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ulid::Ulid;

use super::*;
use crate::domain::{attempt::OutputFile, event::Kind, id::TaskId};

/// A build that is kept in memory and settled like the store does it.
#[derive(Debug, Clone)]
struct Model {
    waits_for: Vec<Vec<usize>>,
    on_task_failure: OnTaskFailure,
    state: Vec<task::State>,
    waiting_on: Vec<u32>,
    failures: Vec<u32>,
    crashes: Vec<u32>,
    attempts: Vec<u32>,
    build: build::State,
    tally: Tally,
    events: Vec<Event>,
}

fn id(index: usize) -> TaskId {
    Ulid::from_parts(1, index as u128).into()
}

fn task(index: usize) -> TaskRef {
    TaskRef { id: id(index), name: index.to_string() }
}

fn index(id: TaskId) -> usize {
    usize::try_from(id.ulid().random()).unwrap()
}

impl Model {
    fn new(waits_for: Vec<Vec<usize>>, on_task_failure: OnTaskFailure) -> Self {
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
            failures: vec![0; count],
            crashes: vec![0; count],
            attempts: vec![0; count],
            build: build::State::Executing,
            tally: Tally { tasks: count as u32, ..Tally::default() },
            events: Vec::new(),
        }
    }

    fn claim(&mut self, at: usize) {
        self.state[at] = self.state[at].on(task::Trigger::Claimed).unwrap();
        self.attempts[at] += 1;
        assert!(
            self.waits_for[at].iter().all(|&on| self.state[on] == task::State::Completed),
            "task {at} began before what it waits for had completed"
        );
    }

    fn progress(&self, at: usize) -> Progress {
        let every = 0..self.state.len();
        let dependents = every
            .clone()
            .filter(|&other| self.waits_for[other].contains(&at))
            .map(|other| Dependent {
                task: task(other),
                state: self.state[other],
                waiting_on: self.waiting_on[other],
            })
            .collect();
        let mut doomed = vec![at];
        for other in every.clone() {
            if self.waits_for[other].iter().any(|on| doomed.contains(on)) {
                doomed.push(other);
            }
        }
        let pending = |&&other: &&usize| self.state[other] == task::State::Pending;
        Progress {
            build: self.build,
            on_task_failure: self.on_task_failure,
            tally: self.tally,
            task: task(at),
            attempt: self.attempts[at],
            failures: self.failures[at],
            crashes: self.crashes[at],
            dependents,
            downstream: doomed[1..].iter().filter(pending).map(|&other| task(other)).collect(),
            others: every.filter(|&o| o != at && !self.state[o].is_final()).map(task).collect(),
        }
    }

    fn settle(&mut self, at: usize, outcome: Outcome) -> Settlement {
        let settlement = self.progress(at).settle(outcome, &Policy::WORK, Jitter::NONE).unwrap();
        self.state[at] = settlement.task;
        self.failures[at] += settlement.failures;
        self.crashes[at] += settlement.crashes;
        for &advanced in &settlement.advanced {
            self.waiting_on[index(advanced)] -= 1;
        }
        for &released in &settlement.released {
            let state = &mut self.state[index(released)];
            *state = state.on(task::Trigger::DependenciesMet).unwrap();
        }
        for &skipped in &settlement.skipped {
            let state = &mut self.state[index(skipped)];
            *state = state.on(task::Trigger::DependencyLost).unwrap();
        }
        for &cancelled in &settlement.cancelled {
            let state = &mut self.state[index(cancelled)];
            *state = state.on(task::Trigger::BuildFailed).unwrap();
        }
        self.build = settlement.build;
        self.tally = settlement.tally;
        self.events.extend(settlement.events.clone());
        settlement
    }

    fn counted(&self) -> Tally {
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
}

fn done() -> Outcome {
    Outcome::Succeeded(Output {
        files: vec![OutputFile { path: "a.txt".into(), content: "a".into() }],
        logs: Vec::new(),
    })
}

fn broken() -> Outcome {
    Outcome::Failed(Failure::permanent("broken", "it is broken"))
}

#[test]
fn a_task_is_released_when_the_last_it_waits_for_completes() {
    let mut model = Model::new(vec![vec![], vec![], vec![0, 1]], OnTaskFailure::Continue);
    model.claim(0);
    model.claim(1);

    let first = model.settle(0, done());
    let second = model.settle(1, done());

    assert_eq!(first.released, []);
    assert_eq!(second.released, [id(2)]);
}

#[test]
fn a_failed_task_takes_only_what_depends_on_it() {
    let mut model = Model::new(vec![vec![], vec![0], vec![1], vec![]], OnTaskFailure::Continue);
    model.claim(0);

    let settlement = model.settle(0, broken());

    assert_eq!(settlement.skipped, [id(1), id(2)]);
    assert_eq!(model.build, build::State::Executing);
    model.claim(3);
    model.settle(3, done());
    assert_eq!(model.build, build::State::Failed);
    let last = model.events.last().unwrap();
    assert_eq!(last.kind, Kind::BuildFailed);
    assert_eq!(last.data["error"]["message"], "1 of 4 tasks failed, 2 were skipped");
}

#[test]
fn a_build_that_fails_fast_cancels_all_that_is_open() {
    let mut model = Model::new(vec![vec![], vec![0], vec![], vec![]], OnTaskFailure::FailFast);
    model.claim(0);
    model.claim(2);

    let settlement = model.settle(0, broken());

    assert_eq!(settlement.cancelled, [id(1), id(2), id(3)]);
    assert_eq!(model.build, build::State::Failed);
}

#[test]
fn work_that_is_given_back_has_lost_nothing() {
    let mut model = Model::new(vec![vec![]], OnTaskFailure::Continue);
    model.claim(0);

    let settlement = model.settle(0, Outcome::GivenBack);

    assert_eq!((settlement.failures, settlement.crashes), (0, 0));
    assert_eq!(settlement.due_in, Some(Duration::ZERO));
    assert_eq!(model.state[0], task::State::Ready);
    assert!(model.events.is_empty());
}

#[test]
fn a_time_limit_is_told_as_a_timeout() {
    let mut model = Model::new(vec![vec![]], OnTaskFailure::Continue);
    for _ in 0..3 {
        model.claim(0);
        model.settle(0, Outcome::Failed(Failure::timed_out(Duration::from_secs(60))));
    }

    let kinds: Vec<_> = model.events.iter().map(|event| event.kind).collect();

    assert_eq!(
        kinds,
        [Kind::TaskRetrying, Kind::TaskRetrying, Kind::TaskTimeout, Kind::BuildFailed]
    );
}

#[test]
fn planning_that_cannot_succeed_fails_the_build_with_its_reason() {
    let failure = Failure::permanent("brief_refused", "the brief names nothing to build");

    let settlement = settle_planning(&failure, 1, 0, 0, &Policy::WORK, Jitter::NONE).unwrap();

    assert_eq!(settlement.build, build::State::Failed);
    assert_eq!(settlement.stop.unwrap().message, "the brief names nothing to build");
    assert_eq!(settlement.events[0].kind, Kind::BuildFailed);
}

prop_compose! {
    /// A graph in which tasks wait only for earlier ones.
    fn graphs()(count in 1usize..25)(
        edges in prop::collection::vec(prop::collection::btree_set(0usize..25, 0..4), count)
    ) -> Vec<Vec<usize>> {
        edges
            .into_iter()
            .enumerate()
            .map(|(at, on)| on.into_iter().filter(|&on| on < at).collect())
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_build_ends_once_with_every_task_final_and_counted(
        graph in graphs(),
        fail_fast: bool,
        lots in prop::collection::vec((0usize..100, 0u8..10), 400),
    ) {
        let policy = if fail_fast { OnTaskFailure::FailFast } else { OnTaskFailure::Continue };
        let mut model = Model::new(graph, policy);
        let mut settled_as: BTreeMap<usize, task::State> = BTreeMap::new();
        let mut lots = lots.into_iter().cycle();

        // Each task has at most three failures and three crashes, so this always comes to an end.
        while model.build == build::State::Executing {
            let open: Vec<usize> = (0..model.state.len())
                .filter(|&at| matches!(model.state[at], task::State::Ready | task::State::InProgress))
                .collect();
            prop_assert!(!open.is_empty(), "the build executes but nothing can run: {model:?}");
            let (choice, how) = lots.next().unwrap();
            let at = open[choice % open.len()];
            if model.state[at] == task::State::Ready {
                model.claim(at);
                continue;
            }
            let outcome = match how {
                0 => broken(),
                1 | 2 => Outcome::Failed(Failure::transient("busy", "it was busy")),
                3 => Outcome::Failed(Failure::lost()),
                4 if model.attempts[at] < 50 => Outcome::GivenBack,
                _ => done(),
            };
            model.settle(at, outcome);
            for (&at, &state) in &settled_as {
                prop_assert_eq!(model.state[at], state, "a settled task changed");
            }
            settled_as = (0..model.state.len())
                .filter(|&at| model.state[at].is_final())
                .map(|at| (at, model.state[at]))
                .collect();
            prop_assert_eq!(model.tally, model.counted());
        }

        prop_assert!(model.state.iter().all(|state| state.is_final()));
        let completed = model.tally.completed == model.tally.tasks;
        prop_assert_eq!(model.build == build::State::Completed, completed);
        let ends: Vec<_> = model.events.iter().filter(|event| event.kind.ends_build()).collect();
        prop_assert_eq!(ends.len(), 1);
        prop_assert!(model.events.last().unwrap().kind.ends_build());
    }
}
