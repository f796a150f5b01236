//! What holds of every build: random plans with random policies, random outcomes in random order,
//! tasks added, taken out and retried in between.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    model::{Model, broken, done, drafts, index},
    *,
};

const POLICIES: [OnLoss; 4] = [OnLoss::Skip, OnLoss::Continue, OnLoss::FailFast, OnLoss::AlwaysRun];

prop_compose! {
    /// A graph in which tasks wait only for earlier ones. Half of the dependencies say nothing.
    fn graphs()(count in 1usize..25)(
        edges in prop::collection::vec(
            prop::collection::btree_map(0usize..25, 0usize..8, 0..4),
            count,
        )
    ) -> Vec<Vec<(usize, OnLoss)>> {
        let policy = |lot: usize| POLICIES.get(lot).copied().unwrap_or(OnLoss::Skip);
        edges
            .into_iter()
            .enumerate()
            .map(|(at, on)| {
                on.into_iter()
                    .filter(|(on, _)| *on < at)
                    .map(|(on, lot)| (on, policy(lot)))
                    .collect()
            })
            .collect()
    }
}

/// What happens next, as drawn: to which task, what, and with which third number.
type Lot = (usize, u8, usize);

fn outcome(how: u8, attempts: u32) -> Outcome {
    match how {
        0 => broken(),
        1 | 2 => Outcome::Failed(Failure::transient("busy", "it was busy")),
        3 => Outcome::Failed(Failure::lost()),
        4 if attempts < 50 => Outcome::GivenBack,
        _ => done(),
    }
}

/// Adds two tasks: one waits for any task, the other for the first and maybe for another.
fn grown(model: &mut Model, (choice, how, third): Lot) -> bool {
    let count = model.state.len();
    let (on, also) = ((choice % count).to_string(), (third % count).to_string());
    let (first, second) = (count.to_string(), (count + 1).to_string());
    let on_loss = Some(POLICIES[usize::from(how) % 4]);
    let tasks = drafts(&[
        (&first, &[(&on, on_loss)]),
        (&second, &[(&first, on_loss), (&also, Some(POLICIES[third % 4]))]),
    ]);
    let halted = model.halted();
    let added = model.add(tasks).is_ok();
    assert!(!(halted && added), "a build that stops takes nothing more");
    added
}

/// One thing that happens to a build that runs. Answers which tasks may have begun anew.
fn step(model: &mut Model, lot: Lot) -> Vec<usize> {
    let (choice, how, third) = lot;
    let running: Vec<usize> = (0..model.state.len())
        .filter(|&at| matches!(model.state[at], task::State::Ready | task::State::InProgress))
        .collect();
    assert!(!running.is_empty(), "the build executes but nothing can run: {model:?}");
    let open: Vec<usize> =
        (0..model.state.len()).filter(|&at| !model.state[at].is_final()).collect();
    let at = running[choice % running.len()];
    match how {
        10 if model.state.len() < 60 => {
            grown(model, lot);
        }
        11 => {
            model.end_by_hand(open[third % open.len()], ByHand::Cancel);
        }
        12 => {
            model.end_by_hand(open[third % open.len()], ByHand::Skip);
        }
        13 if third < 30 => {
            let retried = model.retry(choice % model.state.len());
            return retried
                .map(|revived| revived.revived.iter().map(|(id, _)| index(*id)).collect())
                .unwrap_or_default();
        }
        _ if model.state[at] == task::State::Ready => model.claim(at),
        _ => {
            model.settle(at, outcome(how, model.attempts[at]));
        }
    }
    Vec::new()
}

/// Runs a build to its end. `lots` are drawn over and over; after a while, nothing is added or
/// retried any more, so that it comes to an end.
fn run(model: &mut Model, lots: &[Lot]) {
    let mut settled_as: BTreeMap<usize, task::State> = BTreeMap::new();
    for (turn, &lot) in lots.iter().cycle().enumerate() {
        if model.build != build::State::Executing {
            return;
        }
        let calm = 600 < turn && 9 < lot.1;
        let revived = step(model, if calm { (lot.0, 9, lot.2) } else { lot });
        model.check();
        for at in revived {
            settled_as.remove(&at);
        }
        for (&at, &state) in &settled_as {
            assert_eq!(model.state[at], state, "a settled task changed");
        }
        let settled = (0..model.state.len()).filter(|&at| model.state[at].is_final());
        settled_as = settled.map(|at| (at, model.state[at])).collect();
    }
}

fn ends(model: &Model) -> usize {
    model.events.iter().filter(|event| event.kind.ends_build()).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_build_ends_once_with_every_task_final_and_counted(
        graph in graphs(),
        fail_fast: bool,
        lots in prop::collection::vec((0usize..100, 0u8..14, 0usize..100), 400),
    ) {
        let policy = if fail_fast { OnTaskFailure::FailFast } else { OnTaskFailure::Continue };
        let mut model = Model::new(graph, policy);

        run(&mut model, &lots);

        let lost = model.tally.failed + model.tally.cancelled;
        prop_assert_eq!(model.build == build::State::Completed, lost == 0);
        prop_assert_eq!(ends(&model), 1);
        prop_assert!(model.events.last().unwrap().kind.ends_build());
    }

    /// A task that fails for good is retried after the build has ended, and then all goes well.
    #[test]
    fn what_was_lost_because_of_one_task_runs_again_with_it(
        graph in graphs(),
        lots in prop::collection::vec((0usize..100, 5u8..10, 0usize..100), 100),
        choice in 0usize..25,
    ) {
        let unsaid = |needs: Vec<(usize, OnLoss)>| {
            needs.into_iter().map(|(on, _)| (on, OnLoss::Skip)).collect()
        };
        let mut model =
            Model::new(graph.into_iter().map(unsaid).collect(), OnTaskFailure::Continue);
        let bad = choice % model.state.len();
        for &(choice, _, _) in lots.iter().cycle() {
            if model.build != build::State::Executing {
                break;
            }
            let ready: Vec<usize> = (0..model.state.len())
                .filter(|&at| model.state[at] == task::State::Ready)
                .collect();
            let at = ready[choice % ready.len()];
            model.claim(at);
            model.settle(at, if at == bad { broken() } else { done() });
        }
        prop_assert_eq!(model.build, build::State::Failed);

        model.retry(bad).unwrap();
        model.check();
        run(&mut model, &lots);

        prop_assert_eq!(model.build, build::State::Completed);
        prop_assert_eq!(model.tally.completed, model.tally.tasks);
    }

    /// Whoever waits with `always_run` alone runs, whatever came of the others.
    #[test]
    fn clean_up_always_runs(
        graph in graphs(),
        fail_fast: bool,
        lots in prop::collection::vec((0usize..100, 0u8..10, 0usize..100), 400),
    ) {
        let policy = if fail_fast { OnTaskFailure::FailFast } else { OnTaskFailure::Continue };
        let mut graph = graph;
        let clean_up = graph.len();
        graph.push((0..clean_up).map(|on| (on, OnLoss::AlwaysRun)).collect());
        let mut model = Model::new(graph, policy);

        run(&mut model, &lots);

        prop_assert!(
            matches!(model.state[clean_up], task::State::Completed | task::State::Failed),
            "{:?}", model.state[clean_up]
        );
        prop_assert!(0 < model.attempts[clean_up]);
    }
}
