//! Attempts at tasks: claimed and settled. And what a build leaves: its log and its files.

use std::{collections::BTreeSet, sync::Arc};

use buildfleet::{
    domain::{
        attempt::{Outcome, Output},
        dependency::OnLoss,
        event::Event,
        id::{BuildId, TaskId},
        retry::{Jitter, Policy},
        settle::{Dependent, Open, Progress, Settlement, halts},
        task,
    },
    job::{Job, Lane},
    store::{Ask, At, AttemptView, Error, EventView, Fence, FileContent, FileView, TaskClaim},
};
use sha2::{Digest, Sha256};

use super::{
    feed::{Fact, Plant},
    plans::reference,
    record::{Record, Stand, TaskRow, at, at_if_any},
};

impl Record {
    pub(super) fn claim_tasks(&mut self, ask: &Ask) -> Result<Vec<TaskClaim>, Error> {
        let mut claims = Vec::new();
        for job in self.claim(Lane::Tasks, ask) {
            let Job::Task(id) = job else { continue };
            let (attempt, now) = (self.work[&job].attempt, self.now);
            let Some(row) = self.tasks.get_mut(&id) else { continue };
            row.started_at.get_or_insert(now);
            let in_progress = row.state.on(task::Trigger::Claimed)?;
            let (draft, build, plan) = (row.draft.clone(), row.build, row.plan);
            let task = reference(row);
            self.put_task(id, in_progress);
            self.append(build, &[Event::task_started(&task, &draft.description, attempt)])?;
            claims.push(TaskClaim {
                task: id,
                build,
                attempt,
                key: draft.key,
                name: draft.name,
                phase: draft.phase,
                operation: draft.operation,
                role: draft.role,
                estimated_secs: draft.estimated_secs,
                writes: draft.writes,
                input: draft.input,
                spec: Arc::new(self.plan_row(plan)?.view.spec.clone()),
                cost: draft.cost,
                prerequisites: Vec::new(),
            });
        }
        Ok(claims)
    }

    pub(super) fn settle_task(
        &mut self,
        fence: Fence,
        outcome: Outcome,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let Job::Task(id) = fence.job else { return Err(Error::Fenced) };
        self.must_hold(fence)?;
        let build = self.tasks[&id].build;
        let mut progress = self.progress(id, fence.attempt)?;
        let settlement = match outcome {
            Outcome::Succeeded(output) => {
                match self.added_by(build, id, &output) {
                    Ok(added) => {
                        // Counted before the decision, so that a last event tells of the last
                        // files.
                        progress.tally.files += self.new_files(build, &output)?;
                        progress.dependents = self.dependents(id);
                        progress.added = added;
                        progress.settle(Outcome::Succeeded(output), policy, jitter)?
                    }
                    Err(failure) => {
                        self.read_losses(&mut progress, true)?;
                        progress.settle(Outcome::Failed(failure), policy, jitter)?
                    }
                }
            }
            Outcome::Failed(failure) => {
                self.read_losses(&mut progress, true)?;
                progress.settle(Outcome::Failed(failure), policy, jitter)?
            }
            Outcome::GivenBack => progress.settle(Outcome::GivenBack, policy, jitter)?,
        };
        self.write(build, id, fence, settlement)
    }

    /// A task of a build, without the tasks around it.
    pub(super) fn progress(&self, id: TaskId, attempt: u32) -> Result<Progress, Error> {
        let (row, work) = (&self.tasks[&id], &self.work[&Job::Task(id)]);
        let build = self.build_row(row.build)?;
        Ok(Progress {
            build: build.state,
            on_task_failure: build.brief.on_task_failure,
            tally: build.tally,
            task: reference(row),
            attempt,
            failures: work.failures,
            crashes: work.crashes,
            dependents: Vec::new(),
            others: Vec::new(),
            added: None,
        })
    }

    /// Who waits for a task that is lost, and all that is open if its build stops then.
    pub(super) fn read_losses(&self, progress: &mut Progress, failed: bool) -> Result<(), Error> {
        let (mut lost, mut next) = (BTreeSet::new(), vec![progress.task.id]);
        while let Some(id) = next.pop() {
            if !lost.insert(id) {
                continue;
            }
            for dependent in self.dependents(id) {
                if dependent.on_loss.dooms() && dependent.state == task::State::Pending {
                    next.push(dependent.task.id);
                }
                progress.dependents.push(dependent);
            }
        }
        progress.dependents.sort_by_key(|dependent| dependent.task.id);
        if halts(progress.on_task_failure, failed, &progress.dependents) {
            let build = self.tasks[&progress.task.id].build;
            for row in self.tasks_of(build)?.into_iter().filter(|row| !row.state.is_final()) {
                let says = |wanted| row.depends_on.iter().any(|(_, on_loss)| *on_loss == wanted);
                let cleans_up = says(OnLoss::AlwaysRun);
                if cleans_up {
                    let needs = row.depends_on.iter();
                    progress.dependents.extend(needs.map(|(on, _)| self.dependent(*on, row)));
                }
                if row.id != progress.task.id {
                    let (task, state) = (reference(row), row.state);
                    progress.others.push(Open { task, state, cleans_up });
                }
            }
        }
        Ok(())
    }

    /// In the order of the plan.
    fn dependents(&self, id: TaskId) -> Vec<Dependent> {
        let mut rows: Vec<&TaskRow> =
            self.tasks[&id].dependents.iter().map(|id| &self.tasks[id]).collect();
        rows.sort_by_key(|row| row.place);
        rows.into_iter().map(|row| self.dependent(id, row)).collect()
    }

    fn dependent(&self, on: TaskId, row: &TaskRow) -> Dependent {
        let early = u32::from(self.has(Plant::Release) && 1 < row.waiting_on);
        let on_loss = row.depends_on.iter().find(|(other, _)| *other == on);
        Dependent {
            on,
            task: reference(row),
            state: row.state,
            waiting_on: row.waiting_on - early,
            on_loss: on_loss.map(|(_, on_loss)| *on_loss).unwrap_or_default(),
        }
    }

    /// How many of the paths the build does not have yet.
    fn new_files(&self, build: BuildId, output: &Output) -> Result<u32, Error> {
        let files = &self.build_row(build)?.files;
        let new: BTreeSet<&String> = output
            .files
            .iter()
            .map(|file| &file.path)
            .filter(|path| !files.contains_key(*path))
            .collect();
        u32::try_from(new.len()).map_err(Error::unavailable)
    }

    fn write(
        &mut self,
        build: BuildId,
        id: TaskId,
        fence: Fence,
        settlement: Settlement,
    ) -> Result<(), Error> {
        let job = Job::Task(id);
        self.end_attempt(fence, settlement.attempt, settlement.failure.as_ref());
        self.count(job, settlement.failures, settlement.crashes);
        match settlement.due_in {
            Some(after) => self.wait(job, after),
            None => self.put(job, Stand::Away),
        }
        self.put_task(id, settlement.task);
        if let Some(output) = &settlement.output {
            if let Some(row) = self.tasks.get_mut(&id) {
                row.logs.clone_from(&output.logs);
            }
            self.keep_files(build, id, output)?;
        }
        self.write_rest(build, id, settlement)
    }

    /// Writes what a settlement says of others than the attempt itself, and of the build.
    pub(super) fn write_rest(
        &mut self,
        build: BuildId,
        id: TaskId,
        settlement: Settlement,
    ) -> Result<(), Error> {
        if let Some(row) = self.tasks.get_mut(&id)
            && settlement.failure.is_some()
        {
            row.failure = settlement.failure;
        }
        for task in &settlement.advanced {
            if let Some(row) = self.tasks.get_mut(task) {
                row.waiting_on = row.waiting_on.saturating_sub(1);
            }
        }
        self.release(&settlement.released)?;
        for task in &settlement.skipped {
            self.put_task(*task, task::State::Skipped);
        }
        for task in &settlement.cancelled {
            self.cancel_task(*task)?;
        }
        if !settlement.cancelled.is_empty() {
            self.recalled.push(build);
        }
        self.put_build(build, settlement.build)?;
        let row = self.build_mut(build)?;
        row.tally = settlement.tally;
        if settlement.stop.is_some() {
            row.stop = settlement.stop;
        }
        if let Some(added) = &settlement.added {
            self.write_added(build, added)?;
        }
        if self.has(Plant::Half) && settlement.events.len() == 1 && self.now % 7 == 0 {
            return Ok(());
        }
        self.append(build, &settlement.events)
    }

    pub(super) fn attempts_of(&self, id: TaskId) -> Result<Vec<AttemptView>, Error> {
        self.tasks.get(&id).ok_or_else(|| Error::not_found(id))?;
        Ok(self.attempt_views(Job::Task(id)))
    }

    /// Oldest first.
    pub(super) fn attempt_views(&self, job: Job) -> Vec<AttemptView> {
        let rows = self.attempts.range((job, 0)..=(job, u32::MAX));
        rows.map(|((_, number), row)| AttemptView {
            number: *number,
            holder: row.holder,
            state: row.state,
            failure: row.failure.clone(),
            started_at: at(row.started_at),
            settled_at: at_if_any(row.settled_at),
        })
        .collect()
    }

    /// Adds events to the log, and a delivery of each to the endpoint if it wants it.
    pub(super) fn append(&mut self, build: BuildId, events: &[Event]) -> Result<(), Error> {
        for event in events {
            let id = self.draw();
            let now = self.now;
            let row = self.build_mut(build)?;
            let seq = row.events.len() as u64 + 1;
            row.updated_at = now;
            row.events.push(EventView {
                id,
                build,
                seq,
                kind: event.kind,
                at: At(now),
                data: event.data.clone(),
            });
            let task = event.data["taskId"].as_str().and_then(|id| id.parse().ok());
            self.tell(Fact::Event { build, seq, kind: event.kind, task });
            self.announce(build, seq, event.kind)?;
        }
        Ok(())
    }

    fn keep_files(&mut self, build: BuildId, task: TaskId, output: &Output) -> Result<(), Error> {
        let now = self.now;
        let row = self.build_mut(build)?;
        for file in &output.files {
            let content = file.content.clone().into_bytes();
            let view = FileView {
                path: file.path.clone(),
                size_bytes: content.len() as u64,
                sha256: hex::encode(Sha256::digest(&content)),
                task,
                at: At(now),
            };
            row.files.insert(file.path.clone(), FileContent { file: view, content });
        }
        Ok(())
    }
}
