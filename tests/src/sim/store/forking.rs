//! Builds that begin in the middle of another.

use std::collections::BTreeMap;

use buildfleet::{
    domain::{
        build,
        event::{Event, Tally},
        id::{BuildId, PlanId, TaskId},
        plan::{
            self,
            forking::{Fate, Origin, fork},
        },
        task,
    },
    job::Job,
    store::{Build, Error},
};
use serde_json::Value;

use super::{
    feed::Fact,
    plans::{NewTask, reference},
    record::{BuildRow, PlanRow, Record, Stand, Work, at, later},
};

impl Record {
    pub(super) fn fork(&mut self, at_task: TaskId, input: Option<&Value>) -> Result<Build, Error> {
        let row = self.tasks.get(&at_task).ok_or_else(|| Error::not_found(at_task))?;
        let (place, named) = (row.place, reference(row));
        let plan = self.plan_row(row.plan)?.clone();
        if plan.view.state != plan::State::Adopted {
            let reason = format!("the plan is {}", plan.view.state);
            return Err(Error::conflict("plan_not_adopted", reason));
        }
        let origin = self.build_row(row.build)?.clone();
        let places: BTreeMap<TaskId, usize> =
            plan.tasks.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        let fates = fork(&self.origins(&plan, &origin, &places), place);
        let (id, new_plan): (BuildId, PlanId) = (self.draw(), self.draw());
        let ids: Vec<TaskId> = plan.tasks.iter().map(|_| self.draw()).collect();
        self.begin_fork(&origin, &plan, (id, new_plan), at_task)?;

        let mut new = Vec::with_capacity(ids.len());
        for (at, fate) in fates.iter().enumerate() {
            let row = &self.tasks[&plan.tasks[at]];
            let mut draft = row.draft.clone();
            if let Some(input) = input.filter(|_| at == place) {
                draft.input = input.clone();
            }
            let needs = row.depends_on.iter().map(|(on, on_loss)| (ids[places[on]], *on_loss));
            let (state, waiting_on) = match fate {
                Fate::TakenOver => (task::State::Completed, 0),
                Fate::Ready => (task::State::Pending, 0),
                Fate::Waits(on) => (task::State::Pending, *on),
            };
            new.push(NewTask { id: ids[at], draft, needs: needs.collect(), state, waiting_on });
        }
        self.add_to_plan(id, new_plan, new)?;
        let taken_over = self.take_over(&origin, &plan, &ids, &fates, id)?;
        let total = u32::try_from(ids.len()).map_err(Error::unavailable)?;
        let row = self.build_mut(id)?;
        (row.tally.tasks, row.tally.completed) = (total, taken_over);
        self.release_unblocked(id)?;
        self.append(id, &[Event::build_forked(origin.id, &named, total, taken_over)])?;
        self.view_build(id)
    }

    fn origins(
        &self,
        plan: &PlanRow,
        build: &BuildRow,
        places: &BTreeMap<TaskId, usize>,
    ) -> Vec<Origin> {
        let rows = plan.tasks.iter().map(|id| &self.tasks[id]);
        rows.map(|row| Origin {
            state: row.state,
            waits_for: row.depends_on.iter().map(|(on, loss)| (places[on], *loss)).collect(),
            writes: row.draft.writes.clone(),
            wrote: build
                .files
                .values()
                .filter(|file| file.file.task == row.id)
                .map(|file| file.file.path.clone())
                .collect(),
        })
        .collect()
    }

    fn begin_fork(
        &mut self,
        origin: &BuildRow,
        plan: &PlanRow,
        (id, new_plan): (BuildId, PlanId),
        at_task: TaskId,
    ) -> Result<(), Error> {
        let now = self.now;
        let state = build::State::Planning.on(build::Trigger::PlanAdopted)?;
        let mut endpoint = origin.endpoint.clone();
        if let Some(endpoint) = &mut endpoint {
            endpoint.id = self.draw();
            endpoint.open.clear();
        }
        let length = origin.brief.deadline().or(plan.timeout);
        let row = BuildRow {
            id,
            state,
            idempotency: None,
            deadline_at: length.map(|length| later(now, length)),
            plan: Some(new_plan),
            plans: vec![new_plan],
            stop: None,
            forked_from: Some(at_task),
            tally: Tally::default(),
            endpoint,
            events: Vec::new(),
            files: BTreeMap::new(),
            created_at: now,
            started_at: Some(now),
            settled_at: None,
            updated_at: now,
            ..origin.clone()
        };
        let work = Work {
            build: id,
            attempt: 0,
            failures: 0,
            crashes: 0,
            rank: None,
            stand: Stand::Away,
            ..self.work[&Job::Plan(origin.id)].clone()
        };
        self.builds.insert(id, row);
        self.add_work(Job::Plan(id), work);
        self.tell(Fact::Build { build: id, from: None, to: state });
        let mut view = plan.view.clone();
        (view.id, view.build, view.created_at) = (new_plan, id, at(now));
        view.approve_until = None;
        let row = PlanRow { view, tasks: Vec::new(), ..plan.clone() };
        self.plans.insert(new_plan, row);
        Ok(())
    }

    /// Takes over what need not run again, with its files. Answers with how many tasks that is.
    fn take_over(
        &mut self,
        origin: &BuildRow,
        plan: &PlanRow,
        ids: &[TaskId],
        fates: &[Fate],
        id: BuildId,
    ) -> Result<u32, Error> {
        let mut count = 0;
        let mut files = BTreeMap::new();
        for (at, fate) in fates.iter().enumerate() {
            let old = plan.tasks[at];
            let before = self.tasks[&old].clone();
            if *fate != Fate::TakenOver {
                continue;
            }
            count += 1;
            if let Some(row) = self.tasks.get_mut(&ids[at]) {
                row.logs = before.logs;
                (row.started_at, row.settled_at) = (before.started_at, before.settled_at);
            }
            for file in origin.files.values().filter(|file| file.file.task == old) {
                let mut file = file.clone();
                file.file.task = ids[at];
                files.insert(file.file.path.clone(), file);
            }
        }
        let places: BTreeMap<TaskId, TaskId> =
            plan.tasks.iter().copied().zip(ids.iter().copied()).collect();
        if let Some(plan) = self.build_row(id)?.plan
            && let Some(row) = self.plans.get_mut(&plan)
        {
            row.writers.values_mut().for_each(|task| *task = places[task]);
        }
        let row = self.build_mut(id)?;
        row.tally.files = u32::try_from(files.len()).map_err(Error::unavailable)?;
        row.files = files;
        Ok(count)
    }
}
