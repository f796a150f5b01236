//! Builds ended from outside: by a person, by a plan nobody wanted, by the clock.

use buildfleet::{
    domain::{
        build::{State, Stop, Trigger},
        event::Event,
        id::{BuildId, PlanId},
        plan, task,
    },
    job::Job,
    store::{Build, Error},
};

use super::{feed::Plant, record::Record};

impl Record {
    pub(super) fn cancel_build(&mut self, id: BuildId) -> Result<Build, Error> {
        match self.build_row(id)?.state {
            State::Cancelled => {}
            state if state.is_final() => {
                let reason = format!("the build is {state} already");
                return Err(Error::conflict("build_is_final", reason));
            }
            _ => {
                let stop = Stop::new("cancelled", "the build was cancelled");
                self.end_build(id, Trigger::Cancelled, stop, Vec::new())?;
            }
        }
        self.view_build(id)
    }

    pub(super) fn reject_plan(
        &mut self,
        id: PlanId,
        code: &str,
        reason: &str,
    ) -> Result<Build, Error> {
        let plan = &self.plan_row(id)?.view;
        let build = plan.build;
        decided(plan.state, plan::Trigger::Rejected)?;
        let rejected = Event::plan_rejected(id, reason);
        self.end_build(build, Trigger::PlanRejected, Stop::new(code, reason), vec![rejected])?;
        self.view_build(build)
    }

    pub(super) fn end_overdue(&mut self, limit: u32) -> Result<u32, Error> {
        let (now, limit) = (self.now, limit as usize);
        let proposed =
            self.plans.iter().filter(|(_, plan)| plan.view.state == plan::State::Proposed);
        let mut plans: Vec<_> = proposed
            .filter_map(|(id, plan)| Some((plan.view.approve_until?.0, plan.view.build, *id)))
            .filter(|(until, ..)| *until <= now)
            .collect();
        plans.sort_unstable();
        plans.truncate(limit);
        for (_, _, plan) in &plans {
            let reason = "Plan not approved within timeout period";
            self.reject_plan(*plan, "plan_not_approved", reason)?;
        }
        let open = self.builds.values().filter(|row| !row.state.is_final());
        let mut builds: Vec<_> = open
            .filter_map(|row| Some((row.deadline_at?, row.id)))
            .filter(|(deadline_at, _)| *deadline_at <= now)
            .collect();
        builds.sort_unstable();
        builds.truncate(limit - plans.len());
        for (_, build) in &builds {
            let by_brief = self.build_row(*build)?.brief.deadline_secs.is_some();
            self.end_build(*build, Trigger::DeadlinePassed, Stop::overdue(by_brief), Vec::new())?;
        }
        Ok(u32::try_from(plans.len() + builds.len()).unwrap_or(u32::MAX))
    }

    /// Ends a build that is not final, with all that is open in it. `first` are told before the
    /// rest.
    fn end_build(
        &mut self,
        id: BuildId,
        trigger: Trigger,
        stop: Stop,
        first: Vec<Event>,
    ) -> Result<(), Error> {
        let row = self.build_row(id)?;
        let (state, plan) = (row.state.on(trigger)?, row.plan);
        let open = self.open_tasks(id)?;
        for (task, state) in &open {
            state.on(task::Trigger::BuildCancelled)?;
            if *state == task::State::InProgress && self.has(Plant::Cancel) {
                self.put_task(task.id, task::State::Cancelled);
            } else {
                self.cancel_task(task.id)?;
            }
        }
        self.recall(Job::Plan(id))?;
        if let Some(plan) = plan.and_then(|plan| self.plans.get_mut(&plan))
            && plan.view.state == plan::State::Proposed
        {
            plan.view.state = plan.view.state.on(plan::Trigger::Rejected)?;
        }
        self.put_build(id, state)?;
        let row = self.build_mut(id)?;
        row.stop = Some(stop.clone());
        row.tally.cancelled += u32::try_from(open.len()).unwrap_or(u32::MAX);
        let tally = row.tally;

        let mut told = first;
        // The tasks of a rejected plan never began; that it was rejected says it all.
        if trigger != Trigger::PlanRejected {
            told.extend(open.iter().map(|(task, _)| Event::task_cancelled(task)));
        }
        told.push(match state {
            State::Cancelled => Event::build_cancelled(tally),
            _ => Event::build_failed(&stop, tally),
        });
        self.recalled.push(id);
        self.append(id, &told)
    }
}

/// A plan is decided once; who comes late is told so.
pub(super) fn decided(state: plan::State, trigger: plan::Trigger) -> Result<plan::State, Error> {
    state.on(trigger).map_err(|illegal| Error::conflict("plan_not_proposed", illegal.to_string()))
}
