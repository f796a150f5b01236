//! What holds of every plan, of every addition and of every fork, whatever is drawn.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ulid::Ulid;

use super::{
    forking::{Fate, Origin, fork},
    growing::{Neighbour, Surroundings, grow},
    *,
};
use crate::domain::{
    dependency::{OnLoss, Standing},
    id::TaskId,
    task,
};

const PATHS: [&str; 5] = ["a.py", "b.py", "lib/c.py", "d.toml", "README.md"];
const STATES: &[task::State] = task::State::ALL;

fn id(index: usize) -> TaskId {
    Ulid::from_parts(1, index as u128).into()
}

/// What a task waits for, as lots, and the paths it writes.
type Drawn = (Vec<usize>, BTreeSet<usize>);

fn tasks(many: usize) -> impl Strategy<Value = Vec<Drawn>> {
    let one = (
        prop::collection::vec(0usize..400, 0..3),
        prop::collection::btree_set(0usize..PATHS.len(), 0..3),
    );
    prop::collection::vec(one, 1..many)
}

/// Which task a lot names: nearly always one that comes before `at`, else any below `count`.
fn named(lot: usize, at: usize, count: usize) -> Option<usize> {
    if lot < 390 { (0 < at).then(|| lot % at.max(1)) } else { Some(lot % count) }
}

fn draft_of(tasks: &[Drawn], from: usize) -> Vec<DraftTask> {
    let first = Draft::of("x").tasks.remove(0);
    let on = |lot: usize, at: usize| named(lot, from + at, from + tasks.len());
    tasks
        .iter()
        .enumerate()
        .map(|(at, (lots, paths))| DraftTask {
            key: (from + at).to_string(),
            depends_on: lots
                .iter()
                .filter_map(|&lot| on(lot, at))
                .map(|on| on.to_string().into())
                .collect(),
            writes: paths.iter().map(|&path| PATHS[path].to_owned()).collect(),
            ..first.clone()
        })
        .collect()
}

/// Whether `from` waits for `to`, found out the slow way.
fn waits(needs: &[Vec<usize>], from: usize, to: usize) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(task) = next.pop() {
        for &on in &needs[task] {
            if on == to {
                return true;
            }
            if seen.insert(on) {
                next.push(on);
            }
        }
    }
    false
}

fn assert_in_order(needs: &[Vec<usize>], writes: &[Vec<String>]) {
    for (one, paths) in writes.iter().enumerate() {
        assert!(!waits(needs, one, one), "{one} waits for itself: {needs:?}");
        for (other, theirs) in writes.iter().enumerate().take(one) {
            if paths.iter().any(|path| theirs.contains(path)) {
                assert!(
                    waits(needs, one, other) || waits(needs, other, one),
                    "{one} and {other} write one path side by side: {needs:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_draft_is_a_plan_exactly_if_it_has_no_circle(drawn in tasks(12)) {
        let draft = Draft { tasks: draft_of(&drawn, 0), ..Draft::of("x") };
        let place = |need: &DraftNeed| need.key.parse().unwrap();
        let needs: Vec<Vec<usize>> =
            draft.tasks.iter().map(|task| task.depends_on.iter().map(place).collect()).collect();
        let circle = (0..needs.len()).any(|task| waits(&needs, task, task));

        match draft.into_plan() {
            Ok(plan) => {
                let needs: Vec<Vec<usize>> = plan
                    .tasks
                    .iter()
                    .map(|task| task.waits_for.iter().map(|need| need.on).collect())
                    .collect();
                let writes: Vec<_> = plan.tasks.iter().map(|one| one.task.writes.clone()).collect();
                assert_in_order(&needs, &writes);
                prop_assert!(!circle);
            }
            Err(refusal) => {
                prop_assert!(circle && matches!(refusal, Refusal::Cycle { .. }), "{refusal}");
            }
        }
    }

    /// A plan grows twice, its tasks in any state: no circle comes of it, who writes one path still
    /// does so one after the other unless the first has completed, and what is ready is let go by
    /// all it waits for.
    #[test]
    fn a_plan_that_grows_stays_a_plan(
        first in tasks(8),
        second in tasks(8),
        states in prop::collection::vec(0usize..STATES.len(), 20),
    ) {
        let mut needs: Vec<Vec<usize>> = Vec::new();
        let mut writes: Vec<Vec<String>> = Vec::new();
        let mut now: Vec<task::State> = Vec::new();
        let mut last: std::collections::BTreeMap<String, TaskId> = Default::default();
        for drawn in [first, second] {
            let before = needs.len();
            let neighbour =
                |at: usize| Neighbour { id: id(at), key: at.to_string(), state: now[at] };
            let place = |id: TaskId| usize::try_from(id.ulid().random()).unwrap();
            let around = Surroundings {
                tasks: before,
                halted: false,
                on_loss: OnLoss::Skip,
                named: (0..before).map(neighbour).collect(),
                writers: last
                    .iter()
                    .map(|(path, &id)| (path.clone(), neighbour(place(id))))
                    .collect(),
            };
            let tasks = draft_of(&drawn, before).into_iter().enumerate();
            let tasks = tasks.map(|(at, task)| (id(before + at), task)).collect();
            let added = match grow(tasks, &around) {
                Ok(added) => added,
                Err(Refusal::Cycle { .. }) => return Ok(()),
                Err(refusal) => return Err(TestCaseError::fail(refusal.to_string())),
            };
            for one in &added.tasks {
                needs.push(one.needs.iter().map(|need| place(need.on)).collect());
                writes.push(one.task.writes.clone());
                let met = |need: &growing::AddedNeed| {
                    let state = now.get(place(need.on)).copied();
                    let among = place(need.on).saturating_sub(before);
                    let state = state.unwrap_or(added.tasks[among].state);
                    need.on_loss.standing(state) == Standing::Met
                };
                prop_assert_eq!(one.state == task::State::Ready, one.needs.iter().all(met));
            }
            now.extend(added.tasks.iter().map(|one| one.state));
            last.extend(added.writers);
            // Time goes by: everything is in some state, what comes next is added to that.
            for (at, state) in now.iter_mut().enumerate() {
                *state = STATES[states[at % states.len()]];
            }
            if before == 0 {
                assert_in_order(&needs, &writes);
                continue;
            }
            for (path, first) in &around.writers {
                let waits_for_it = |one: usize| waits(&needs, one, place(first.id));
                let mut behind = (before..needs.len()).filter(|&one| writes[one].contains(path));
                let done = first.state == task::State::Completed;
                prop_assert!(done || behind.all(waits_for_it), "{path} is written side by side");
            }
        }
        for one in 0..needs.len() {
            prop_assert!(!waits(&needs, one, one));
        }
    }

    /// Whatever a build looks like, its fork can run to its end: what is taken over completed and
    /// needs nothing that runs again, nothing it wrote is gone, and the task at hand runs.
    #[test]
    fn a_fork_takes_over_only_what_stands(
        drawn in tasks(13),
        completed in prop::collection::vec(any::<bool>(), 13),
        at in 0usize..12,
    ) {
        let count = drawn.len();
        let at = at % count;
        let mut tasks: Vec<Origin> = drawn
            .iter()
            .enumerate()
            .map(|(index, (on, paths))| Origin {
                state: if completed[index] { task::State::Completed } else { task::State::Pending },
                waits_for: on
                    .iter()
                    .filter_map(|&lot| named(lot, index, index.max(1)))
                    .filter(|on| *on < index)
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .map(|on| (on, OnLoss::Skip))
                    .collect(),
                writes: paths.iter().map(|&path| PATHS[path].to_owned()).collect(),
                wrote: Vec::new(),
            })
            .collect();
        for index in 0..count {
            // What waits for what has not completed has not completed either.
            let open = |(on, _): &(usize, _)| tasks[*on].state != task::State::Completed;
            if tasks[index].waits_for.iter().any(open) {
                tasks[index].state = task::State::Pending;
            }
        }
        for path in PATHS {
            let completed = |task: &&mut Origin| {
                task.state == task::State::Completed && task.writes.iter().any(|own| own == path)
            };
            if let Some(last) = tasks.iter_mut().rfind(completed) {
                last.wrote.push(path.to_owned());
            }
        }

        let fates = fork(&tasks, at);

        prop_assert!(fates[at] != Fate::TakenOver);
        for (index, fate) in fates.iter().enumerate() {
            let task = &tasks[index];
            let runs = |(on, _): &&(usize, _)| fates[*on] != Fate::TakenOver;
            let open = task.waits_for.iter().filter(runs).count();
            match fate {
                Fate::TakenOver => {
                    prop_assert_eq!((task.state, open), (task::State::Completed, 0));
                    for path in &task.writes {
                        let kept = (0..count).any(|by| {
                            tasks[by].wrote.contains(path) && fates[by] == Fate::TakenOver
                        });
                        prop_assert!(kept, "what {index} wrote is gone");
                    }
                }
                Fate::Ready => prop_assert_eq!(open, 0),
                Fate::Waits(on) => prop_assert_eq!(*on as usize, open),
            }
        }
    }
}
