//! Plans in motion: tasks added, taken out and given another go, and how long a build will still
//! take.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    lanes::between,
    plans::{NewTask, reference},
    record::{Record, TaskRow, later},
};
use buildfleet::{
    domain::{
        attempt::{self, Failure, Output},
        brief::OnTaskFailure,
        build,
        dependency::OnLoss,
        estimate::{self, Medians, Open, SAMPLES_MAX, Sample},
        id::{BuildId, PlanId, TaskId},
        plan::{
            self, DraftTask,
            growing::{Added, Neighbour, Surroundings, grow, looked_up},
        },
        settle::{
            ByHand,
            reviving::{Edge, Node, Revival},
        },
        task,
    },
    job::Job,
    store::{Error, MADE_MAX, PREREQUISITES_MAX, Prerequisite, Task},
};

/// The code of an addition that was refused.
const REFUSED: &str = "tasks_refused";

impl Record {
    pub(super) fn add_tasks(
        &mut self,
        build: BuildId,
        drafts: &[DraftTask],
    ) -> Result<Vec<Task>, Error> {
        self.running_plan(build)?;
        let around = self.surroundings(build, drafts)?;
        let drafts = self.with_ids(drafts);
        let added = grow(drafts, &around)
            .map_err(|refusal| Error::conflict(REFUSED, refusal.to_string()))?;
        let row = self.build_row(build)?;
        let growth = added.growth(row.state, row.tally, None)?;
        self.build_mut(build)?.tally = growth.tally;
        self.write_added(build, &added)?;
        self.append(build, &growth.events)?;
        Ok(added.tasks.iter().map(|added| self.view_task(&self.tasks[&added.id])).collect())
    }

    /// What the output of a task adds; the failure that it is if that is refused.
    pub(super) fn added_by(
        &mut self,
        build: BuildId,
        by: TaskId,
        output: &Output,
    ) -> Result<Option<Added>, Failure> {
        if output.tasks.is_empty() {
            return Ok(None);
        }
        let refused = |why: String| Failure::permanent(REFUSED, why);
        let around = self.surroundings(build, &output.tasks);
        let around = around.map_err(|error| refused(error.to_string()))?;
        let drafts = self.with_ids(&output.tasks);
        let added = grow(drafts, &around.once_completed(by));
        added.map(Some).map_err(|refusal| refused(refusal.to_string()))
    }

    fn with_ids(&mut self, drafts: &[DraftTask]) -> Vec<(TaskId, DraftTask)> {
        drafts.iter().map(|draft| (self.draw(), draft.clone())).collect()
    }

    /// The plan whose tasks run.
    fn running_plan(&self, build: BuildId) -> Result<PlanId, Error> {
        let row = self.build_row(build)?;
        match row.plan {
            Some(plan) if row.state == build::State::Executing => Ok(plan),
            _ if row.state.is_final() => {
                let reason = format!("the build is {} already", row.state);
                Err(Error::conflict("build_is_final", reason))
            }
            _ => {
                let reason = format!("the build is {}, its tasks do not run yet", row.state);
                Err(Error::conflict("build_not_executing", reason))
            }
        }
    }

    fn surroundings(&self, build: BuildId, drafts: &[DraftTask]) -> Result<Surroundings, Error> {
        let (keys, paths) = looked_up(drafts);
        let row = self.build_row(build)?;
        let tasks = self.tasks_of(build)?;
        let is_lost = |id: &TaskId| {
            let state = self.tasks[id].state;
            state.is_final() && state != task::State::Completed
        };
        let needs = tasks.iter().flat_map(|task| &task.depends_on);
        let stops = needs.filter(|(on, on_loss)| *on_loss == OnLoss::FailFast && is_lost(on));
        let fails_fast = row.brief.on_task_failure == OnTaskFailure::FailFast;
        let neighbour = |task: &TaskRow| Neighbour {
            id: task.id,
            key: task.draft.key.clone(),
            state: task.state,
        };
        let plan = row.plan.and_then(|plan| self.plans.get(&plan));
        let writers = plan.iter().flat_map(|plan| &plan.writers);
        Ok(Surroundings {
            tasks: tasks.len(),
            halted: (fails_fast && 0 < row.tally.failed) || 0 < stops.count(),
            on_loss: row.brief.on_loss,
            named: tasks
                .iter()
                .filter(|task| keys.contains(task.draft.key.as_str()))
                .map(|task| neighbour(task))
                .collect(),
            writers: writers
                .filter(|(path, _)| paths.contains(path.as_str()))
                .map(|(path, task)| (path.clone(), neighbour(&self.tasks[task])))
                .collect(),
        })
    }

    pub(super) fn write_added(&mut self, build: BuildId, added: &Added) -> Result<(), Error> {
        let Some(plan) = self.build_row(build)?.plan else { return Ok(()) };
        let new = added.tasks.iter().map(|added| NewTask {
            id: added.id,
            draft: added.task.clone(),
            needs: added.needs.iter().map(|need| (need.on, need.on_loss)).collect(),
            state: match added.state {
                task::State::Ready => task::State::Pending,
                state => state,
            },
            waiting_on: added.waiting_on,
        });
        self.add_to_plan(build, plan, new.collect())?;
        if let Some(plan) = self.plans.get_mut(&plan) {
            plan.writers.extend(added.writers.iter().cloned());
        }
        let ready: Vec<TaskId> = added.ready().map(|added| added.id).collect();
        self.release(&ready)
    }

    pub(super) fn end_task(
        &mut self,
        id: TaskId,
        how: ByHand,
        reason: &str,
    ) -> Result<Task, Error> {
        let row = self.tasks.get(&id).ok_or_else(|| Error::not_found(id))?;
        let ended = match how {
            ByHand::Cancel => task::State::Cancelled,
            ByHand::Skip => task::State::Skipped,
        };
        let (build, state) = (row.build, row.state);
        if state == ended {
            return Ok(self.view_task(row));
        }
        if state.is_final() {
            let reason = format!("the task is {state} already");
            return Err(Error::conflict("task_is_final", reason));
        }
        self.running_plan(build)?;
        let mut progress = self.progress(id, self.work[&Job::Task(id)].attempt)?;
        self.read_losses(&mut progress, false)?;
        let settlement = progress.end_by_hand(state, how, reason)?;
        self.recall(Job::Task(id))?;
        self.put_task(id, settlement.task);
        self.recalled.push(build);
        self.write_rest(build, id, settlement)?;
        Ok(self.view_task(&self.tasks[&id]))
    }

    /// Who took a task out said why; when it is given another go, that is past.
    pub(super) fn forget_by_hand(&mut self, id: TaskId) {
        if let Some(row) = self.tasks.get_mut(&id)
            && is_by_hand(row)
        {
            row.failure = None;
        }
    }

    pub(super) fn retry_task(&mut self, id: TaskId) -> Result<Task, Error> {
        let row = self.tasks.get(&id).ok_or_else(|| Error::not_found(id))?;
        let (build, plan) = (row.build, row.plan);
        let runs = self.build_row(build)?.plan == Some(plan)
            && self.plan_row(plan)?.view.state == plan::State::Adopted;
        if !runs {
            let reason = "the plan of the task does not run";
            return Err(Error::conflict("task_not_retryable", reason));
        }
        let revived = self
            .revival(id)?
            .decide()
            .map_err(|refusal| Error::conflict("task_not_retryable", refusal.to_string()))?;
        for (task, waiting_on) in &revived.revived {
            let pending = self.tasks[task].state.on(task::Trigger::Retried)?;
            self.forget_by_hand(*task);
            if let Some(row) = self.tasks.get_mut(task) {
                row.waiting_on = *waiting_on;
            }
            if let Some(work) = self.work.get_mut(&Job::Task(*task)) {
                (work.failures, work.crashes) = (0, 0);
            }
            self.put_task(*task, pending);
        }
        for task in &revived.held_back {
            if let Some(row) = self.tasks.get_mut(task) {
                row.waiting_on += 1;
            }
        }
        self.open_again(build, plan, revived.build)?;
        self.build_mut(build)?.tally = revived.tally;
        let ready = revived.revived.iter().filter(|(_, on)| *on == 0).map(|(id, _)| *id);
        self.release(&ready.collect::<Vec<_>>())?;
        self.append(build, &revived.events)?;
        Ok(self.view_task(&self.tasks[&id]))
    }

    /// A build that had ended has its deadline before it again.
    fn open_again(
        &mut self,
        build: BuildId,
        plan: PlanId,
        state: build::State,
    ) -> Result<(), Error> {
        let (now, timeout) = (self.now, self.plan_row(plan)?.timeout);
        let row = self.build_mut(build)?;
        if row.state.is_final() {
            let length = row.brief.deadline().or(timeout);
            row.deadline_at = length.map(|length| later(now, length));
        }
        row.stop = None;
        self.put_build(build, state)
    }

    fn revival(&self, id: TaskId) -> Result<Revival, Error> {
        let (mut lost, mut next) = (BTreeSet::new(), vec![id]);
        let mut waiting = BTreeSet::from([id]);
        while let Some(task) = next.pop() {
            if !lost.insert(task) {
                continue;
            }
            for dependent in &self.tasks[&task].dependents {
                waiting.insert(*dependent);
                let state = self.tasks[dependent].state;
                if matches!(state, task::State::Skipped | task::State::Cancelled) {
                    next.push(*dependent);
                }
            }
        }
        let (mut edges, mut ids) = (Vec::new(), waiting.clone());
        for task in &waiting {
            for (on, on_loss) in &self.tasks[task].depends_on {
                ids.insert(*on);
                edges.push(Edge { task: *task, on: *on, on_loss: *on_loss });
            }
        }
        let node = |id: &TaskId| {
            let row = &self.tasks[id];
            Node { task: reference(row), state: row.state, by_hand: is_by_hand(row) }
        };
        let build = self.build_row(self.tasks[&id].build)?;
        Ok(Revival {
            build: build.state,
            tally: build.tally,
            task: node(&id),
            nodes: ids.iter().filter(|other| **other != id).map(node).collect(),
            edges,
        })
    }

    pub(super) fn remaining(&self, build: BuildId) -> Result<Option<Duration>, Error> {
        if self.build_row(build)?.state != build::State::Executing {
            return Ok(None);
        }
        let open: Vec<&TaskRow> =
            self.tasks_of(build)?.into_iter().filter(|row| !row.state.is_final()).collect();
        let places: BTreeMap<TaskId, usize> =
            open.iter().enumerate().map(|(place, row)| (row.id, place)).collect();
        let open: Vec<Open> = open
            .iter()
            .map(|row| Open {
                operation: row.draft.operation,
                role: row.draft.role.clone(),
                estimated_secs: row.draft.estimated_secs,
                running: self.running_for(row),
                waits_for: row
                    .depends_on
                    .iter()
                    .filter_map(|(on, _)| places.get(on).copied())
                    .collect(),
            })
            .collect();
        Ok(Some(estimate::remaining(&open, &self.medians())))
    }

    fn running_for(&self, row: &TaskRow) -> Duration {
        let job = Job::Task(row.id);
        let attempt = self.attempts.get(&(job, self.work[&job].attempt));
        let running = attempt.filter(|attempt| attempt.state == attempt::State::Running);
        running.map_or(Duration::ZERO, |attempt| between(attempt.started_at, self.now))
    }

    fn medians(&self) -> Medians {
        let mut settled: Vec<&TaskRow> =
            self.tasks.values().filter(|row| row.settled_at.is_some()).collect();
        settled.sort_by_key(|row| std::cmp::Reverse(row.settled_at));
        let samples = settled.into_iter().take(SAMPLES_MAX as usize).filter_map(|row| {
            let job = Job::Task(row.id);
            let attempt = self.attempts.get(&(job, self.work[&job].attempt))?;
            let succeeded =
                attempt.state == attempt::State::Succeeded && row.state == task::State::Completed;
            succeeded.then(|| Sample {
                operation: row.draft.operation,
                role: row.draft.role.clone(),
                took: between(attempt.started_at, attempt.settled_at.unwrap_or(self.now)),
            })
        });
        Medians::of(samples)
    }

    pub(super) fn prerequisites(&self, id: TaskId) -> Result<Vec<Prerequisite>, Error> {
        let row = self.tasks.get(&id).ok_or_else(|| Error::not_found(id))?;
        let files = &self.build_row(row.build)?.files;
        let mut on: Vec<&TaskRow> = row.depends_on.iter().map(|(on, _)| &self.tasks[on]).collect();
        on.sort_by_key(|row| row.place);
        let told = on.into_iter().take(PREREQUISITES_MAX as usize);
        Ok(told
            .map(|row| Prerequisite {
                task: row.id,
                key: row.draft.key.clone(),
                state: row.state,
                made: files
                    .values()
                    .filter(|file| {
                        file.file.task == row.id && row.draft.writes.contains(&file.file.path)
                    })
                    .take(MADE_MAX as usize)
                    .map(|file| file.file.clone())
                    .collect(),
            })
            .collect())
    }
}

/// Whether a person took it out.
fn is_by_hand(row: &TaskRow) -> bool {
    let codes = [ByHand::Cancel.code(), ByHand::Skip.code()];
    row.failure.as_ref().is_some_and(|failure| codes.contains(&failure.code.as_str()))
}
