//! The states that follow on one another, as the one who watches was taught them.

use buildfleet::domain::{build, task};

/// The states of a build that follow on one another.
pub(super) fn leads(from: Option<build::State>, to: build::State) -> bool {
    use build::State::*;

    // A fork begins in the middle.
    let Some(from) = from else { return matches!(to, Queued | Executing) };
    matches!(
        (from, to),
        (Queued, Planning)
            | (Planning, Queued | PendingApproval | Executing)
            | (PendingApproval, Executing)
            | (Executing, Completed)
            | (Queued | Planning | PendingApproval | Executing, Failed | Cancelled)
            | (Failed | Cancelled, Queued | Executing)
    )
}

/// The states of a task that follow on one another. What completed stays so.
pub(super) fn task_leads(from: Option<task::State>, to: task::State) -> bool {
    use task::State::*;

    // Of a fork, what was taken over; of an addition, what came too late.
    let Some(from) = from else { return matches!(to, Pending | Completed | Skipped) };
    matches!(
        (from, to),
        (Pending, Ready | Skipped | Cancelled)
            | (Ready, InProgress | Skipped | Cancelled)
            | (InProgress, Ready | Completed | Failed | Skipped | Cancelled)
            | (Failed | Skipped | Cancelled, Pending)
    )
}
