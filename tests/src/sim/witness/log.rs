//! The logs of builds: without gaps, one end each, and told in the commit that made it true.

use std::collections::{BTreeMap, BTreeSet};

use buildfleet::domain::{
    attempt, build,
    event::Kind,
    id::{BuildId, TaskId},
    task,
};
use buildfleet::job::Job;

use super::{Judged, must};
use crate::sim::store::feed::{Commit, Fact};

#[derive(Default)]
pub(super) struct Logs {
    /// The number of the last event, and whether it was an end.
    last: BTreeMap<BuildId, (u64, bool)>,
    completed: BTreeSet<TaskId>,
}

impl Logs {
    pub(super) fn hear(
        &mut self,
        build: BuildId,
        seq: u64,
        kind: Kind,
        task: Option<TaskId>,
    ) -> Judged {
        let (last, has_ended) = self.last.get(&build).copied().unwrap_or_default();
        must(seq == last + 1, || format!("event {seq} of {build} followed on {last}"))?;
        must(!has_ended || kind == Kind::BuildRetried, || {
            format!("{kind} was told after the end of {build}")
        })?;
        self.last.insert(build, (seq, kind.ends_build()));
        match (kind, task) {
            (Kind::TaskCompleted, Some(task)) => {
                must(self.completed.insert(task), || format!("{task} completed twice"))
            }
            _ => Ok(()),
        }
    }

    /// What became true was told, and what was told became true, in one commit.
    pub(super) fn check(
        &self,
        commit: &Commit<'_>,
        tasks: &BTreeMap<TaskId, task::State>,
        builds: &BTreeMap<BuildId, build::State>,
    ) -> Judged {
        let told = |wanted: &dyn Fn(Kind) -> bool, id: TaskId| {
            commit.facts.iter().any(|fact| match fact {
                Fact::Event { kind, task, .. } => *task == Some(id) && wanted(*kind),
                _ => false,
            })
        };
        let is_rejected = commit
            .facts
            .iter()
            .any(|fact| matches!(fact, Fact::Event { kind: Kind::PlanRejected, .. }));
        for fact in commit.facts {
            match fact {
                // What was taken over from another build was told of there.
                Fact::Task { from: None, to: task::State::Completed, .. } => {}
                Fact::Task { task, to, .. } => {
                    let wanted: &dyn Fn(Kind) -> bool = match to {
                        task::State::InProgress => &|kind| kind == Kind::TaskStarted,
                        task::State::Completed => &|kind| kind == Kind::TaskCompleted,
                        task::State::Failed => {
                            &|kind| matches!(kind, Kind::TaskFailed | Kind::TaskTimeout)
                        }
                        task::State::Skipped => &|kind| kind == Kind::TaskSkipped,
                        task::State::Cancelled if !is_rejected => {
                            &|kind| kind == Kind::TaskCancelled
                        }
                        _ => continue,
                    };
                    must(told(wanted, *task), || format!("{task} is {to}, which was not told"))?;
                }
                Fact::Ended { job: Job::Task(task), how, .. } => {
                    let comes_again = tasks.get(task) == Some(&task::State::Ready)
                        && matches!(how, attempt::State::Failed | attempt::State::Lost);
                    must(!comes_again || told(&|kind| kind == Kind::TaskRetrying, *task), || {
                        format!("{task} comes again, which was not told")
                    })?;
                }
                Fact::Build { build, to, .. } if to.is_final() => {
                    let ended = self.last.get(build).is_some_and(|(_, has_ended)| *has_ended);
                    must(ended, || format!("{build} is {to}, which was not told"))?;
                }
                Fact::Event { build, kind, .. } if kind.ends_build() => {
                    let state = builds.get(build).copied();
                    must(state.is_some_and(build::State::is_final), || {
                        format!("{kind} was told of {build}, which is {state:?}")
                    })?;
                }
                Fact::Event { kind: Kind::TaskCompleted, task: Some(task), .. } => {
                    let state = tasks.get(task);
                    must(state == Some(&task::State::Completed), || {
                        format!("{task} was told to have completed and is {state:?}")
                    })?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
