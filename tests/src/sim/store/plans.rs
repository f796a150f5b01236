//! Plans: adopted or proposed, approved, looked at. And what is in them: tasks.

use std::collections::BTreeSet;

use buildfleet::{
    domain::{
        attempt, build,
        dependency::OnLoss,
        event::{Event, TaskRef},
        id::{BuildId, PlanId, TaskId},
        plan::{DraftTask, Plan, State, Trigger},
        task,
    },
    job::{Job, Lane},
    store::{Adoption, Build, BuildClaim, Error, PlanView, Task},
};

use super::{
    ending::decided,
    feed::Fact,
    record::{PlanRow, Record, Stand, TaskRow, Work, at, at_if_any, later},
};

/// A task that is to be written. What may run is pending at first, and released afterwards.
pub(super) struct NewTask {
    pub id: TaskId,
    pub draft: DraftTask,
    pub needs: Vec<(TaskId, OnLoss)>,
    pub state: task::State,
    pub waiting_on: u32,
}

impl Record {
    pub(super) fn plan_row(&self, id: PlanId) -> Result<&PlanRow, Error> {
        self.plans.get(&id).ok_or_else(|| Error::not_found(id))
    }

    pub(super) fn plan_of(&self, build: BuildId) -> Result<PlanView, Error> {
        let newest = self.build_row(build)?.plans.last();
        let newest = newest.ok_or_else(|| Error::not_found(format_args!("a plan of {build}")))?;
        Ok(self.plan_row(*newest)?.view.clone())
    }

    pub(super) fn adopt_plan(
        &mut self,
        claim: &BuildClaim,
        plan: &Plan,
        adoption: Adoption,
    ) -> Result<(), Error> {
        let (build, job) = (claim.build, Job::Plan(claim.build));
        self.must_hold(claim.fence())?;
        let (trigger, state) = match adoption {
            Adoption::AtOnce { .. } => (build::Trigger::PlanAdopted, State::Adopted),
            Adoption::OnApproval { .. } => (build::Trigger::PlanProposed, State::Proposed),
        };
        let build_state = build::State::Planning.on(trigger)?;
        let ended = attempt::State::Running.on(attempt::Trigger::Success)?;
        self.end_attempt(claim.fence(), ended, None);
        self.put(job, Stand::Away);
        self.put_build(build, build_state)?;
        self.keep_plan(build, plan, adoption, state)?;
        if matches!(adoption, Adoption::AtOnce { .. }) {
            self.release_unblocked(build)?;
        }
        self.append(build, &adoption_events(plan, adoption))
    }

    fn keep_plan(
        &mut self,
        build: BuildId,
        plan: &Plan,
        adoption: Adoption,
        state: State,
    ) -> Result<(), Error> {
        let (id, now) = (adoption.plan(), self.now);
        let ids: Vec<TaskId> = plan.tasks.iter().map(|_| self.draw()).collect();
        let row = self.build_mut(build)?;
        let on_loss = row.brief.on_loss;
        row.plan = Some(id);
        row.plans.push(id);
        row.tally.tasks = u32::try_from(ids.len()).map_err(Error::unavailable)?;
        if let Some(timeout) = plan.timeout.filter(|_| state == State::Adopted) {
            row.deadline_at.get_or_insert(later(now, timeout));
        }
        let approve_until = match adoption {
            Adoption::AtOnce { .. } => None,
            Adoption::OnApproval { within, .. } => Some(at(later(now, within))),
        };
        let view = PlanView {
            id,
            build,
            state,
            spec: plan.spec.clone(),
            project_type: plan.project_type.clone(),
            framework: plan.framework.clone(),
            complexity: plan.complexity,
            notes: plan.notes.clone(),
            estimated_secs: plan.estimated_secs,
            straightened: plan.straightened.clone(),
            created_at: at(now),
            approve_until,
        };
        let writers = plan.writers.iter().map(|(path, task)| (path.clone(), ids[*task])).collect();
        let row = PlanRow { view, tasks: Vec::new(), writers, timeout: plan.timeout };
        self.plans.insert(id, row);
        let new = plan.tasks.iter().zip(&ids).map(|(planned, id)| {
            let needs = planned.waits_for.iter();
            let needs = needs.map(|need| (ids[need.on], need.on_loss.unwrap_or(on_loss)));
            NewTask {
                id: *id,
                draft: planned.task.clone(),
                waiting_on: u32::try_from(planned.waits_for.len()).unwrap_or(u32::MAX),
                needs: needs.collect(),
                state: task::State::Pending,
            }
        });
        self.add_to_plan(build, id, new.collect())
    }

    /// Writes new tasks of a plan after those it has.
    pub(super) fn add_to_plan(
        &mut self,
        build: BuildId,
        plan: PlanId,
        new: Vec<NewTask>,
    ) -> Result<(), Error> {
        let now = self.now;
        let row = self.build_row(build)?;
        let (tenant, band) = (row.tenant.clone(), row.brief.priority);
        let key = row.brief.limit_key.clone();
        let edges = new.iter().map(|new| (new.id, new.needs.clone())).collect();
        for NewTask { id, draft, needs, state, waiting_on } in new {
            let work = Work {
                build,
                tenant: tenant.clone(),
                band,
                kind: draft.operation.as_str().to_owned(),
                key: key.clone(),
                cost: draft.cost,
                attempt: 0,
                failures: 0,
                crashes: 0,
                rank: None,
                stand: Stand::Away,
            };
            self.add_work(Job::Task(id), work);
            self.tell(Fact::Task { task: id, from: None, to: state });
            let Some(tasks) = self.plans.get_mut(&plan).map(|row| &mut row.tasks) else { continue };
            let place = tasks.len();
            tasks.push(id);
            let row = TaskRow {
                id,
                build,
                plan,
                place,
                waiting_on,
                draft,
                depends_on: needs,
                dependents: Vec::new(),
                state,
                failure: None,
                logs: Vec::new(),
                started_at: None,
                settled_at: state.is_final().then_some(now),
            };
            self.tasks.insert(id, row);
        }
        let edges: Vec<(TaskId, Vec<(TaskId, OnLoss)>)> = edges;
        for (id, needs) in &edges {
            for (on, _) in needs {
                if let Some(on) = self.tasks.get_mut(on) {
                    on.dependents.push(*id);
                }
            }
        }
        self.tell(Fact::Planned { build, tasks: edges });
        Ok(())
    }

    pub(super) fn approve_plan(&mut self, id: PlanId) -> Result<Build, Error> {
        let view = &self.plan_row(id)?.view;
        let (build, state) = (view.build, decided(view.state, Trigger::Approved)?);
        let build_state = self.build_row(build)?.state.on(build::Trigger::PlanApproved)?;
        let now = self.now;
        let mut timeout = None;
        if let Some(plan) = self.plans.get_mut(&id) {
            plan.view.state = state;
            timeout = plan.timeout;
        }
        if let Some(timeout) = timeout {
            self.build_mut(build)?.deadline_at.get_or_insert(later(now, timeout));
        }
        self.put_build(build, build_state)?;
        self.release_unblocked(build)?;
        self.append(build, &[Event::plan_approved(id)])?;
        self.view_build(build)
    }

    /// Makes ready what waits for nothing in a build's plan.
    pub(super) fn release_unblocked(&mut self, build: BuildId) -> Result<(), Error> {
        let free: Vec<TaskId> = self
            .tasks_of(build)?
            .into_iter()
            .filter(|task| task.state == task::State::Pending && task.waiting_on == 0)
            .map(|task| task.id)
            .collect();
        self.release(&free)
    }

    /// `pending -> ready`, in the order of the tasks' priorities and places.
    pub(super) fn release(&mut self, tasks: &[TaskId]) -> Result<(), Error> {
        let mut tasks = tasks.to_vec();
        tasks.sort_by_key(|id| (self.tasks[id].draft.priority, self.tasks[id].place));
        for task in &tasks {
            let ready = self.tasks[task].state.on(task::Trigger::DependenciesMet)?;
            self.put_task(*task, ready);
        }
        let jobs: Vec<Job> = tasks.into_iter().map(Job::Task).collect();
        self.enter(Lane::Tasks, &jobs);
        Ok(())
    }

    /// Puts back what was lost; answers with how many tasks run again.
    pub(super) fn revive_tasks(&mut self, tasks: &[TaskId]) -> Result<u32, Error> {
        let mut revived = 0;
        for id in tasks {
            let row = &self.tasks[id];
            if !row.state.is_final() || row.state == task::State::Completed {
                continue;
            }
            let open = row
                .depends_on
                .iter()
                .filter(|(on, _)| self.tasks[on].state != task::State::Completed);
            let waiting_on = u32::try_from(open.count()).unwrap_or(u32::MAX);
            let pending = row.state.on(task::Trigger::Retried)?;
            if let Some(work) = self.work.get_mut(&Job::Task(*id)) {
                (work.failures, work.crashes) = (0, 0);
            }
            self.forget_by_hand(*id);
            if let Some(row) = self.tasks.get_mut(id) {
                row.waiting_on = waiting_on;
            }
            self.put_task(*id, pending);
            revived += 1;
        }
        Ok(revived)
    }

    /// Moves a task to a state that the domain has named.
    pub(super) fn put_task(&mut self, id: TaskId, to: task::State) {
        let now = self.now;
        let Some(row) = self.tasks.get_mut(&id) else { return };
        let from = std::mem::replace(&mut row.state, to);
        row.settled_at = to.is_final().then_some(now);
        self.tell(Fact::Task { task: id, from: Some(from), to });
    }

    pub(super) fn cancel_task(&mut self, id: TaskId) -> Result<(), Error> {
        self.recall(Job::Task(id))?;
        self.put_task(id, task::State::Cancelled);
        Ok(())
    }

    /// Of the build's newest plan, in its order.
    pub(super) fn tasks_of(&self, build: BuildId) -> Result<Vec<&TaskRow>, Error> {
        let newest = self.build_row(build)?.plans.last().and_then(|plan| self.plans.get(plan));
        let ids = newest.iter().flat_map(|plan| &plan.tasks);
        Ok(ids.filter_map(|id| self.tasks.get(id)).collect())
    }

    /// The tasks of a build that are not final, in the order of the plan.
    pub(super) fn open_tasks(&self, build: BuildId) -> Result<Vec<(TaskRef, task::State)>, Error> {
        let rows = self.tasks_of(build)?;
        let open = rows.into_iter().filter(|row| !row.state.is_final());
        Ok(open.map(|row| (reference(row), row.state)).collect())
    }

    pub(super) fn view_task(&self, row: &TaskRow) -> Task {
        let work = &self.work[&Job::Task(row.id)];
        let parked_on = match &work.stand {
            Stand::Ready { parked_on, .. } => parked_on.clone(),
            _ => None,
        };
        let draft = &row.draft;
        Task {
            id: row.id,
            build: row.build,
            plan: row.plan,
            key: draft.key.clone(),
            name: draft.name.clone(),
            description: draft.description.clone(),
            phase: draft.phase,
            operation: draft.operation,
            role: draft.role.clone(),
            priority: draft.priority,
            estimated_secs: draft.estimated_secs,
            depends_on: row
                .depends_on
                .iter()
                .map(|(on, _)| *on)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            writes: draft.writes.clone(),
            state: row.state,
            cost: draft.cost,
            parked_on,
            attempt: work.attempt,
            failures: work.failures,
            crashes: work.crashes,
            failure: row.failure.clone(),
            logs: row.logs.clone(),
            started_at: at_if_any(row.started_at),
            settled_at: at_if_any(row.settled_at),
        }
    }
}

pub(super) fn reference(row: &TaskRow) -> TaskRef {
    TaskRef { id: row.id, name: row.draft.name.clone() }
}

fn adoption_events(plan: &Plan, adoption: Adoption) -> Vec<Event> {
    let tasks: Vec<_> = plan
        .tasks
        .iter()
        .map(|planned| {
            let task = &planned.task;
            (task.name.as_str(), task.operation.as_str(), task.description.as_str())
        })
        .collect();
    let mut events = Vec::new();
    if !plan.straightened.is_empty() {
        events.push(Event::plan_warning(adoption.plan(), &plan.straightened));
    }
    if !plan.ordered.is_empty() {
        events.push(Event::plan_ordered(adoption.plan(), &plan.ordered));
    }
    events.push(Event::plan_generated(
        adoption.plan(),
        plan.estimated_secs,
        &tasks,
        &plan.notes,
        matches!(adoption, Adoption::OnApproval { .. }),
    ));
    events
}
