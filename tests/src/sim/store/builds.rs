//! Builds: submitted, looked at, planned, given another go.

use std::time::Duration;

use buildfleet::{
    domain::{
        attempt::{self, Failure},
        build::{State, Trigger},
        event::{Event, Tally},
        id::BuildId,
        limit::Gate,
        plan,
        retry::{Jitter, Policy},
        settle, task,
    },
    job::{Job, Lane},
    store::{
        Ask, Build, BuildClaim, BuildWebhook, BuildsWanted, Error, Fence, NewBuild, Page, Submitted,
    },
};

use super::{
    feed::Fact,
    record::{BuildRow, EndpointRow, PlanRow, Record, Stand, Work, at, at_if_any, later},
};

impl Record {
    pub(super) fn submit(&mut self, new: NewBuild) -> Result<Submitted, Error> {
        let NewBuild { id, tenant, brief, idempotency, webhook } = new;
        let idempotency = idempotency.map(|given| (given.key, given.request_hash));
        if let Some((key, hash)) = &idempotency {
            let earlier = self.builds.values().find(|row| {
                row.tenant == tenant
                    && row.idempotency.as_ref().is_some_and(|(other, _)| other == key)
            });
            if let Some(row) = earlier {
                if row.idempotency.as_ref().is_some_and(|(_, other)| other == hash) {
                    return Ok(Submitted::Again(self.view_build(row.id)?));
                }
                return Err(Error::conflict(
                    "idempotency_key_reused",
                    "the idempotency key was used for another request",
                ));
            }
        }
        let now = self.now;
        let work = Work {
            build: id,
            tenant: tenant.clone(),
            band: brief.priority,
            kind: String::new(),
            key: brief.limit_key.clone(),
            cost: 1,
            attempt: 0,
            failures: 0,
            crashes: 0,
            rank: None,
            stand: Stand::Away,
        };
        let row = BuildRow {
            id,
            tenant,
            state: State::Queued,
            idempotency,
            deadline_at: brief.deadline().map(|deadline| later(now, deadline)),
            plan: None,
            plans: Vec::new(),
            stop: None,
            forked_from: None,
            tally: Tally::default(),
            endpoint: webhook.map(EndpointRow::from),
            events: Vec::new(),
            files: Default::default(),
            created_at: now,
            started_at: None,
            settled_at: None,
            updated_at: now,
            brief,
        };
        self.builds.insert(id, row);
        self.add_work(Job::Plan(id), work);
        self.tell(Fact::Build { build: id, from: None, to: State::Queued });
        self.enter(Lane::Plans, &[Job::Plan(id)]);
        Ok(Submitted::New(self.view_build(id)?))
    }

    pub(super) fn build_row(&self, id: BuildId) -> Result<&BuildRow, Error> {
        self.builds.get(&id).ok_or_else(|| Error::not_found(id))
    }

    pub(super) fn build_mut(&mut self, id: BuildId) -> Result<&mut BuildRow, Error> {
        self.builds.get_mut(&id).ok_or_else(|| Error::not_found(id))
    }

    /// Moves a build to a state that the domain has named.
    pub(super) fn put_build(&mut self, id: BuildId, to: State) -> Result<(), Error> {
        let now = self.now;
        let row = self.build_mut(id)?;
        let from = std::mem::replace(&mut row.state, to);
        row.updated_at = now;
        row.settled_at = to.is_final().then_some(now);
        if from != to {
            self.tell(Fact::Build { build: id, from: Some(from), to });
        }
        let gate = Gate::Build(id);
        if to.is_final() && self.pauses.remove(&gate).is_some() {
            self.tell(Fact::Paused { gate, is_paused: false });
        }
        Ok(())
    }

    pub(super) fn view_build(&self, id: BuildId) -> Result<Build, Error> {
        let row = self.build_row(id)?;
        let (mut open_tasks, mut open_phase) = ([0u32; 3], None);
        let plan = row.plan.and_then(|plan| self.plans.get(&plan));
        for task in plan.iter().flat_map(|plan| &plan.tasks).filter_map(|id| self.tasks.get(id)) {
            let place = match task.state {
                task::State::Pending => 0,
                task::State::Ready => 1,
                task::State::InProgress => 2,
                _ => continue,
            };
            open_tasks[place] += 1;
            let order = |phase| task::Phase::ALL.iter().position(|other| *other == phase);
            let earlier = open_phase.is_none_or(|open| order(task.draft.phase) < order(open));
            if earlier {
                open_phase = Some(task.draft.phase);
            }
        }
        Ok(Build {
            id,
            tenant: row.tenant.clone(),
            brief: row.brief.clone(),
            state: row.state,
            plan: row.plan,
            stop: row.stop.clone(),
            tally: row.tally,
            forked_from: row.forked_from,
            open_tasks,
            open_phase,
            estimated_secs: plan.map(|plan| plan.view.estimated_secs),
            webhook: row.endpoint.as_ref().map(|endpoint| BuildWebhook {
                endpoint: endpoint.id,
                url: endpoint.url.clone(),
                secret: endpoint.secret.clone(),
            }),
            created_at: at(row.created_at),
            started_at: at_if_any(row.started_at),
            settled_at: at_if_any(row.settled_at),
            updated_at: at(row.updated_at),
            last_seq: row.events.len() as u64,
        })
    }

    pub(super) fn list_builds(&self, wanted: &BuildsWanted) -> Result<Page<Build>, Error> {
        let found = self.builds.values().rev().filter(|row| {
            row.tenant == wanted.tenant
                && wanted.after.is_none_or(|after| row.id < after)
                && wanted.state.is_none_or(|state| row.state == state)
                && wanted
                    .project_id
                    .as_ref()
                    .is_none_or(|id| row.brief.project_id.as_ref() == Some(id))
        });
        let ids: Vec<BuildId> = found.map(|row| row.id).collect();
        let limit = wanted.limit as usize;
        let rows =
            ids.iter().take(limit).map(|id| self.view_build(*id)).collect::<Result<_, _>>()?;
        Ok(Page { rows, next: limit < ids.len() })
    }

    pub(super) fn claim_builds(&mut self, ask: &Ask) -> Result<Vec<BuildClaim>, Error> {
        let mut claims = Vec::new();
        for job in self.claim(Lane::Plans, ask) {
            let Job::Plan(build) = job else { continue };
            let attempt = self.work[&job].attempt;
            let now = self.now;
            let planning = self.build_row(build)?.state.on(Trigger::Claimed)?;
            self.put_build(build, planning)?;
            let row = self.build_mut(build)?;
            row.started_at.get_or_insert(now);
            let brief = row.brief.clone();
            if attempt == 1 {
                let started = Event::build_started(&brief.prompt, brief.framework.as_deref());
                self.append(build, &[started])?;
            }
            claims.push(BuildClaim { build, attempt, brief });
        }
        Ok(claims)
    }

    pub(super) fn note_planning(&mut self, claim: &BuildClaim, event: Event) -> Result<(), Error> {
        self.must_hold(claim.fence())?;
        self.append(claim.build, &[event])
    }

    pub(super) fn settle_planning(
        &mut self,
        build: BuildId,
        attempt: u32,
        failure: &Failure,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let job = Job::Plan(build);
        let fence = Fence { job, attempt };
        self.must_hold(fence)?;
        let Work { failures, crashes, .. } = self.work[&job];
        let settlement =
            settle::settle_planning(failure, attempt, failures, crashes, policy, jitter)?;
        self.end_attempt(fence, settlement.attempt, Some(failure));
        self.count(job, settlement.failures, settlement.crashes);
        match settlement.due_in {
            Some(after) => self.wait(job, after),
            None => self.put(job, Stand::Away),
        }
        self.put_build(build, settlement.build)?;
        self.build_mut(build)?.stop = settlement.stop;
        self.append(build, &settlement.events)
    }

    pub(super) fn give_back_planning(&mut self, build: BuildId, attempt: u32) -> Result<(), Error> {
        let job = Job::Plan(build);
        let fence = Fence { job, attempt };
        self.must_hold(fence)?;
        let queued = State::Planning.on(Trigger::GivenBack)?;
        let ended = attempt::State::Running.on(attempt::Trigger::GivenBack)?;
        self.end_attempt(fence, ended, None);
        self.wait(job, Duration::ZERO);
        self.put_build(build, queued)
    }

    /// Adds to what is counted of work by its retry law.
    pub(super) fn count(&mut self, job: Job, failures: u32, crashes: u32) {
        if let Some(work) = self.work.get_mut(&job) {
            work.failures += failures;
            work.crashes += crashes;
        }
    }

    pub(super) fn retry_build(&mut self, id: BuildId) -> Result<Build, Error> {
        let row = self.build_row(id)?;
        let plan = row.plan.and_then(|plan| self.plans.get(&plan));
        let planned = plan.is_some_and(|plan| plan.view.state == plan::State::Adopted);
        let state = row
            .state
            .on(Trigger::Retried { planned })
            .map_err(|illegal| Error::conflict("build_not_retryable", illegal.to_string()))?;
        let timeout = plan.filter(|_| planned).and_then(|plan| plan.timeout);
        let (deadline, now) = (row.brief.deadline().or(timeout), self.now);
        let lost = match plan {
            Some(PlanRow { tasks, .. }) if planned => tasks.clone(),
            _ => Vec::new(),
        };
        let again = self.revive_tasks(&lost)?;
        self.put_build(id, state)?;
        let row = self.build_mut(id)?;
        row.stop = None;
        row.deadline_at = deadline.map(|deadline| later(now, deadline));
        row.tally = Tally { failed: 0, skipped: 0, cancelled: 0, ..row.tally };
        if !planned {
            row.plan = None;
            row.tally = Tally { files: row.tally.files, ..Tally::default() };
        }
        if let Some(work) = self.work.get_mut(&Job::Plan(id)) {
            (work.failures, work.crashes) = (0, 0);
        }
        if planned {
            self.release_unblocked(id)?;
        } else {
            self.enter(Lane::Plans, &[Job::Plan(id)]);
        }
        self.append(id, &[Event::build_retried(again)])?;
        self.view_build(id)
    }
}
