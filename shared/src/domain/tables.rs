//! Every state and every trigger of every machine: what is listed happens, the rest is refused.

use super::{
    attempt, build, delivery, plan,
    retry::Verdict::{self, GiveUp},
    task,
};

const RETRY: Verdict = Verdict::Retry { after: std::time::Duration::ZERO };

/// Compares a machine with the list of all it may do.
macro_rules! table {
    ($machine:ident, [$($trigger:expr),+ $(,)?], [$(($from:ident, $by:expr, $to:ident)),+ $(,)?]) => {
        for &state in $machine::State::ALL {
            for trigger in [$($trigger),+] {
                let listed = [$(($machine::State::$from, $by, $machine::State::$to)),+]
                    .into_iter()
                    .find(|(from, by, _)| *from == state && *by == trigger)
                    .map(|(_, _, to)| to);
                assert_eq!(state.on(trigger).ok(), listed, "{state} by {trigger:?}");
            }
        }
    };
}

#[test]
fn a_task_does_exactly_what_its_table_says() {
    use task::Trigger::*;

    table!(
        task,
        [
            DependenciesMet,
            DependencyLost,
            Claimed,
            GivenBack,
            AttemptSucceeded,
            AttemptFailed(RETRY),
            AttemptFailed(GiveUp),
            BuildCancelled,
            BuildFailed,
            task::Trigger::Cancelled,
            task::Trigger::Skipped,
            Retried,
        ],
        [
            (Pending, task::Trigger::Cancelled, Cancelled),
            (Ready, task::Trigger::Cancelled, Cancelled),
            (InProgress, task::Trigger::Cancelled, Cancelled),
            (Pending, task::Trigger::Skipped, Skipped),
            (Ready, task::Trigger::Skipped, Skipped),
            (InProgress, task::Trigger::Skipped, Skipped),
            (Pending, DependenciesMet, Ready),
            (Pending, DependencyLost, Skipped),
            (Pending, BuildCancelled, Cancelled),
            (Pending, BuildFailed, Cancelled),
            (Ready, Claimed, InProgress),
            (Ready, BuildCancelled, Cancelled),
            (Ready, BuildFailed, Cancelled),
            (InProgress, GivenBack, Ready),
            (InProgress, AttemptSucceeded, Completed),
            (InProgress, AttemptFailed(RETRY), Ready),
            (InProgress, AttemptFailed(GiveUp), Failed),
            (InProgress, BuildCancelled, Cancelled),
            (InProgress, BuildFailed, Cancelled),
            (Failed, Retried, Pending),
            (Skipped, Retried, Pending),
            (Cancelled, Retried, Pending),
        ]
    );
}

#[test]
fn a_build_does_exactly_what_its_table_says() {
    use build::Trigger::*;

    table!(
        build,
        [
            Claimed,
            GivenBack,
            PlanningFailed(RETRY),
            PlanningFailed(GiveUp),
            PlanAdopted,
            PlanProposed,
            PlanApproved,
            PlanRejected,
            TasksAdded,
            AllTasksCompleted,
            SomeTasksLost,
            Cancelled,
            DeadlinePassed,
            Retried { planned: false },
            Retried { planned: true },
        ],
        [
            (Queued, Claimed, Planning),
            (Queued, Cancelled, Cancelled),
            (Queued, DeadlinePassed, Failed),
            (Planning, GivenBack, Queued),
            (Planning, PlanningFailed(RETRY), Queued),
            (Planning, PlanningFailed(GiveUp), Failed),
            (Planning, PlanAdopted, Executing),
            (Planning, PlanProposed, PendingApproval),
            (Planning, Cancelled, Cancelled),
            (Planning, DeadlinePassed, Failed),
            (PendingApproval, PlanApproved, Executing),
            (PendingApproval, PlanRejected, Failed),
            (PendingApproval, Cancelled, Cancelled),
            (PendingApproval, DeadlinePassed, Failed),
            (Executing, TasksAdded, Executing),
            (Executing, AllTasksCompleted, Completed),
            (Executing, SomeTasksLost, Failed),
            (Executing, Cancelled, Cancelled),
            (Executing, DeadlinePassed, Failed),
            (Failed, Retried { planned: false }, Queued),
            (Failed, Retried { planned: true }, Executing),
            (Cancelled, Retried { planned: false }, Queued),
            (Cancelled, Retried { planned: true }, Executing),
        ]
    );
}

#[test]
fn a_delivery_does_exactly_what_its_table_says() {
    use delivery::Trigger::*;

    table!(
        delivery,
        [
            Claimed,
            GivenBack,
            AttemptSucceeded,
            AttemptFailed(RETRY),
            AttemptFailed(GiveUp),
            Redelivered,
        ],
        [
            (Pending, Claimed, InProgress),
            (InProgress, GivenBack, Pending),
            (InProgress, AttemptSucceeded, Delivered),
            (InProgress, AttemptFailed(RETRY), Pending),
            (InProgress, AttemptFailed(GiveUp), Exhausted),
            (Delivered, Redelivered, Pending),
            (Exhausted, Redelivered, Pending),
        ]
    );
}

#[test]
fn an_attempt_does_exactly_what_its_table_says() {
    use attempt::Trigger::*;

    table!(
        attempt,
        [Success, Failure, LeaseLapsed, GivenBack, Cancelled],
        [
            (Running, Success, Succeeded),
            (Running, Failure, Failed),
            (Running, LeaseLapsed, Lost),
            (Running, GivenBack, GivenBack),
            (Running, Cancelled, Cancelled),
        ]
    );
}

#[test]
fn a_plan_does_exactly_what_its_table_says() {
    use plan::Trigger::*;

    table!(
        plan,
        [Approved, Rejected],
        [(Proposed, Approved, Adopted), (Proposed, Rejected, Rejected)]
    );
}
