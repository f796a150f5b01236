//! What must be true of the record when everything has come to its end, read as a client reads it.

use std::collections::{BTreeMap, BTreeSet};

use buildfleet::{
    domain::{attempt, build, delivery, id::BuildId, task},
    store::{Build, DeliveriesWanted, Error, Store},
};

use super::director::Director;

type Judged = Result<(), String>;

fn must(is_so: bool, otherwise: impl FnOnce() -> String) -> Judged {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

fn said(error: Error) -> String {
    format!("the record cannot be read: {error}")
}

/// Looks at every build.
pub async fn whole(director: &Director) -> Judged {
    let store = &director.ground.model;
    let builds = director.builds().await;
    let mut posted = 0;
    for (id, _) in builds {
        let build = store.build(id).await.map_err(said)?;
        posted += usize::from(build.forked_from.is_none());
        log(store, &build).await?;
        tasks(store, &build).await?;
        deliveries(director, &build).await?;
    }
    // However often a brief was posted, it is one build.
    must(posted == director.submitted.len(), || {
        format!("{} briefs made {posted} builds", director.submitted.len())
    })?;
    let running: u64 = store.lanes().await.map_err(said)?.iter().map(|lane| lane.running).sum();
    must(running == 0, || format!("{running} leases are left"))
}

async fn log(store: &dyn Store, build: &Build) -> Judged {
    let id = build.id;
    let events = store.events(id, 0, u32::MAX).await.map_err(said)?;
    must(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), || {
        format!("the log of {id} has a gap")
    })?;
    let last = events.last().map(|event| event.kind);
    must(last.is_some_and(buildfleet::domain::event::Kind::ends_build), || {
        format!("the log of {id} ends with {last:?}")
    })
}

async fn tasks(store: &dyn Store, build: &Build) -> Judged {
    let id = build.id;
    let tasks = store.tasks(id).await.map_err(said)?;
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut files = BTreeSet::new();
    for task in &tasks {
        *counts.entry(task.state.as_str()).or_default() += 1;
        let attempts = store.task_attempts(task.id).await.map_err(said)?;
        let numbers = attempts.iter().zip(1..).all(|(attempt, number)| attempt.number == number);
        must(numbers && attempts.len() == task.attempt as usize, || {
            format!("the attempts of {} are not numbered", task.id)
        })?;
        must(attempts.iter().all(|attempt| attempt.settled_at.is_some()), || {
            format!("an attempt at {} did not end", task.id)
        })?;
        let succeeded =
            attempts.iter().filter(|attempt| attempt.state == attempt::State::Succeeded);
        let completed = task.state == task::State::Completed;
        let taken_over = completed && attempts.is_empty() && build.forked_from.is_some();
        must(taken_over || succeeded.count() == usize::from(completed), || {
            format!("{} is {}, which its attempts do not say", task.id, task.state)
        })?;
        if completed {
            for path in &task.writes {
                let file = store.file(id, path).await.map_err(said)?;
                files.insert(file.file.path);
            }
        }
    }
    tally(id, build, &counts, u32::try_from(files.len()).unwrap_or(u32::MAX))
}

fn tally(id: BuildId, build: &Build, counts: &BTreeMap<&str, u32>, files: u32) -> Judged {
    let count = |state: task::State| counts.get(state.as_str()).copied().unwrap_or(0);
    let tally = build.tally;
    // The tasks of a plan that was rejected and given up for another count for nothing.
    if build.plan.is_none() {
        return Ok(());
    }
    let counted = (
        count(task::State::Completed),
        count(task::State::Failed),
        count(task::State::Skipped),
        count(task::State::Cancelled),
    );
    let told = (tally.completed, tally.failed, tally.skipped, tally.cancelled);
    must(counted == told, || format!("{id} tells of {told:?} and has {counted:?}"))?;
    must(tally.files == files, || format!("{id} tells of {} files, not {files}", tally.files))?;
    let all = tally.failed + tally.cancelled == 0;
    must(all == (build.state == build::State::Completed), || {
        format!("{id} is {} with {} of {} tasks", build.state, tally.completed, tally.tasks)
    })
}

async fn deliveries(director: &Director, build: &Build) -> Judged {
    let Some(hook) = &build.webhook else { return Ok(()) };
    let wanted = DeliveriesWanted {
        tenant: build.tenant.clone(),
        build: Some(build.id),
        state: None,
        limit: u32::MAX,
        after: None,
    };
    let rows = director.ground.model.deliveries(&wanted).await.map_err(said)?.rows;
    for row in rows {
        let heard = director.ground.ear.has_heard(hook.endpoint, row.seq);
        must(row.state != delivery::State::Delivered || heard, || {
            format!("{} was delivered and never heard", row.id)
        })?;
    }
    Ok(())
}
