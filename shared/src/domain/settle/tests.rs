//! What follows from outcomes and from what people ask for, by examples.

use std::time::Duration;

use super::{
    model::{Model, broken, done, id, need},
    reviving::Refusal,
    *,
};
use crate::domain::event::Kind;

#[test]
fn a_task_is_released_when_the_last_it_waits_for_completes() {
    let mut model = Model::new(vec![vec![], vec![], need(&[0, 1])], OnTaskFailure::Continue);
    model.claim(0);
    model.claim(1);

    let first = model.settle(0, done());
    let second = model.settle(1, done());

    assert_eq!(first.released, []);
    assert_eq!(second.released, [id(2)]);
}

#[test]
fn a_failed_task_takes_only_what_depends_on_it() {
    let mut model =
        Model::new(vec![vec![], need(&[0]), need(&[1]), vec![]], OnTaskFailure::Continue);
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
    let mut model = Model::new(vec![vec![], need(&[0]), vec![], vec![]], OnTaskFailure::FailFast);
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

/// A prerequisite, and one task that waits for it with each policy.
fn fan(fail_fast: bool) -> Model {
    let policy = if fail_fast { OnTaskFailure::FailFast } else { OnTaskFailure::Continue };
    let on = |on_loss| vec![(0, on_loss)];
    let graph = vec![vec![], on(OnLoss::Skip), on(OnLoss::Continue), on(OnLoss::AlwaysRun), vec![]];
    Model::new(graph, policy)
}

#[test]
fn each_dependency_says_what_a_loss_means() {
    let mut model = fan(false);
    model.claim(0);

    let settlement = model.settle(0, broken());

    assert_eq!(settlement.skipped, [id(1)]);
    assert_eq!(settlement.advanced, [id(2), id(3)]);
    assert_eq!(settlement.released, [id(2), id(3)]);
    assert_eq!(model.build, build::State::Executing);
}

#[test]
fn what_cleans_up_runs_even_when_the_build_stops() {
    let mut model = fan(true);
    model.claim(0);

    let settlement = model.settle(0, broken());

    assert_eq!(settlement.cancelled, [id(1), id(2), id(4)]);
    assert_eq!(settlement.released, [id(3)]);
    assert_eq!(model.build, build::State::Executing);
    model.claim(3);
    model.settle(3, done());
    assert_eq!(model.build, build::State::Failed);
}

#[test]
fn one_dependency_may_stop_the_whole_build() {
    let graph = vec![vec![], vec![(0, OnLoss::FailFast)], vec![]];
    let mut model = Model::new(graph, OnTaskFailure::Continue);
    model.claim(0);

    let settlement = model.settle(0, broken());

    assert_eq!(settlement.cancelled, [id(1), id(2)]);
    assert_eq!(model.build, build::State::Failed);
}

#[test]
fn a_loss_that_is_borne_holds_back_by_one_fewer_for_each_dependency() {
    // 1 is skipped with 0; 2 waits for both and bears either loss.
    let graph = vec![vec![], need(&[0]), vec![(0, OnLoss::Continue), (1, OnLoss::Continue)]];
    let mut model = Model::new(graph, OnTaskFailure::Continue);
    model.claim(0);

    let settlement = model.settle(0, broken());

    assert_eq!(settlement.advanced, [id(2), id(2)]);
    assert_eq!(settlement.released, [id(2)]);
    model.check();
}

#[test]
fn a_task_taken_out_by_hand_is_lost_to_those_who_need_it() {
    for (how, state) in
        [(ByHand::Cancel, task::State::Cancelled), (ByHand::Skip, task::State::Skipped)]
    {
        let mut model = fan(false);
        model.claim(0);

        let settlement = model.end_by_hand(0, how);

        assert_eq!((settlement.task, settlement.attempt), (state, attempt::State::Cancelled));
        assert_eq!(settlement.failure.unwrap().code, how.code());
        assert_eq!((settlement.skipped, settlement.released), (vec![id(1)], vec![id(2), id(3)]));
    }
}

#[test]
fn a_build_completes_without_what_was_left_out_on_purpose_but_not_without_what_was_cancelled() {
    for (how, end) in
        [(ByHand::Skip, build::State::Completed), (ByHand::Cancel, build::State::Failed)]
    {
        let mut model = Model::new(vec![vec![], need(&[0]), vec![]], OnTaskFailure::FailFast);
        model.end_by_hand(0, how);
        model.claim(2);

        model.settle(2, done());

        assert_eq!(model.build, end);
    }
}

#[test]
fn nothing_more_happens_to_a_task_that_is_final() {
    let mut model = Model::new(vec![vec![], vec![]], OnTaskFailure::Continue);
    model.claim(0);
    model.settle(0, done());

    assert!(
        std::panic::catch_unwind(move || model.end_by_hand(0, ByHand::Cancel)).is_err(),
        "a completed task was cancelled"
    );
}

#[test]
fn a_task_that_completes_may_add_tasks_that_wait_for_it() {
    let mut model = Model::new(vec![vec![]], OnTaskFailure::Continue);
    model.claim(0);
    let more = super::model::drafts(&[("more", &[("0", None)]), ("after", &[("more", None)])]);

    let settlement = model.settle_adding(0, more);

    assert_eq!(model.build, build::State::Executing);
    assert_eq!(model.tally.tasks, 3);
    let kinds: Vec<_> = settlement.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::TaskCompleted, Kind::TasksAdded]);
    assert_eq!(settlement.events[1].data["addedBy"], id(0).to_string());
    assert_eq!(model.state[1..], [task::State::Ready, task::State::Pending]);
    model.check();
}

#[test]
fn a_retry_takes_along_what_was_lost_because_of_the_task_alone() {
    // 3 was lost because of 0, 4 because of 0 and 1, 5 was left out by hand.
    let graph = vec![vec![], vec![], vec![], need(&[0]), need(&[0, 1]), need(&[0])];
    let mut model = Model::new(graph, OnTaskFailure::Continue);
    model.end_by_hand(5, ByHand::Skip);
    for bad in [0, 1] {
        model.claim(bad);
        model.settle(bad, broken());
    }

    let revived = model.retry(0).unwrap();

    assert_eq!(revived.revived, [(id(0), 0), (id(3), 1)]);
    assert_eq!(revived.events.last().unwrap().data["taskCount"], 2);
    model.check();
    let revived = model.retry(1).unwrap();
    assert_eq!(revived.revived, [(id(1), 0), (id(4), 2)]);
    model.check();
}

#[test]
fn a_retry_opens_a_build_that_has_ended() {
    let mut model = Model::new(vec![vec![], need(&[0])], OnTaskFailure::Continue);
    model.claim(0);
    model.settle(0, broken());
    assert_eq!(model.build, build::State::Failed);

    let revived = model.retry(0).unwrap();

    assert_eq!(revived.build, build::State::Executing);
    let kinds: Vec<_> = revived.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::BuildRetried, Kind::TaskRetried]);
    model.check();
}

#[test]
fn who_bore_a_loss_waits_again_when_it_is_retried() {
    let graph = vec![vec![], vec![], vec![(0, OnLoss::Continue), (1, OnLoss::Continue)]];
    let mut model = Model::new(graph, OnTaskFailure::Continue);
    model.claim(0);
    model.settle(0, broken());
    assert_eq!(model.waiting_on[2], 1);

    let revived = model.retry(0).unwrap();

    assert_eq!(revived.held_back, [id(2)]);
    model.check();
}

#[test]
fn only_what_is_lost_by_itself_is_retried() {
    let mut model = Model::new(vec![vec![], need(&[0]), vec![]], OnTaskFailure::Continue);
    model.claim(0);
    model.settle(0, broken());

    assert_eq!(model.retry(2), Err(Refusal::NotLost { state: task::State::Ready }));
    assert_eq!(model.retry(1), Err(Refusal::StillDoomed { task: "0".to_owned() }));
}
