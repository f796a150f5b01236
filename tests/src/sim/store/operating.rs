//! What operators ask: why work waits, what a filter meets, what was given up.

use std::{cmp::Reverse, collections::HashMap};

use async_trait::async_trait;
use buildfleet::{
    domain::{
        build, delivery,
        id::{BuildId, DeliveryId},
        limit::Gate,
        task,
    },
    job::{Job, Lane},
    store::{
        At, AttemptView, BuildFilter, BuildsFound, DeliveriesFound, DeliveryFilter, Error, Failed,
        FailedPlace, FailedWanted, Operating, PARKED_GATES, Page, Parked, Pause, Span, Wait,
        audit::Change,
    },
};

use super::{
    Model,
    record::{BuildRow, DeliveryRow, Record, Stand, at},
};

/// How much of a prompt is shown in a listing.
const NAME_CHARS: usize = 100;

#[async_trait]
impl Operating for Model {
    async fn waits(&self, jobs: &[Job]) -> Result<HashMap<Job, Wait>, Error> {
        Ok(self.look(|record| {
            jobs.iter().filter_map(|job| Some((*job, record.wait_of(*job)?))).collect()
        }))
    }

    async fn paused_at(&self, gates: &[Gate]) -> Result<Vec<Pause>, Error> {
        Ok(self.look(|record| record.paused_at(gates)))
    }

    async fn parked(&self) -> Result<Vec<Parked>, Error> {
        Ok(self.look(|record| {
            let lanes = Lane::ALL.iter().flat_map(|lane| record.parked(*lane));
            lanes.collect()
        }))
    }

    async fn find_builds(&self, wanted: &BuildsFound) -> Result<Page<BuildId>, Error> {
        Ok(self.look(|record| {
            let found = record.builds.values().rev().filter(|row| meets(row, &wanted.filter));
            let after = found.filter(|row| wanted.after.is_none_or(|after| row.id < after));
            page(after.map(|row| row.id), wanted.limit)
        }))
    }

    async fn count_builds(&self, filter: &BuildFilter) -> Result<u64, Error> {
        Ok(self
            .look(|record| record.builds.values().filter(|row| meets(row, filter)).count() as u64))
    }

    async fn find_deliveries(&self, wanted: &DeliveriesFound) -> Result<Page<DeliveryId>, Error> {
        Ok(self.look(|record| {
            let rows = record.deliveries.values().rev();
            let found = rows.filter(|row| record.is_met(row, &wanted.filter));
            let after = found.filter(|row| wanted.after.is_none_or(|after| row.id < after));
            page(after.map(|row| row.id), wanted.limit)
        }))
    }

    async fn count_deliveries(&self, filter: &DeliveryFilter) -> Result<u64, Error> {
        Ok(self.look(|record| {
            record.deliveries.values().filter(|row| record.is_met(row, filter)).count() as u64
        }))
    }

    async fn failed(&self, wanted: &FailedWanted) -> Result<Page<Failed>, Error> {
        Ok(self.look(|record| {
            let order = |place: &FailedPlace| (place.at, place.job.to_string());
            let mut rows: Vec<Failed> = record
                .given_up()
                .into_iter()
                .filter(|row| {
                    wanted.lane.is_none_or(|lane| row.place.job.lane() == lane)
                        && wanted.tenant.as_ref().is_none_or(|tenant| *tenant == row.tenant)
                        && wanted.code.as_ref().is_none_or(|code| *code == row.code)
                        && is_in(wanted.at, row.at)
                        && wanted.after.is_none_or(|after| order(&row.place) < order(&after))
                })
                .collect();
            rows.sort_by_key(|row| Reverse(order(&row.place)));
            page(rows.into_iter(), wanted.limit)
        }))
    }

    async fn planning_attempts(&self, build: BuildId) -> Result<Vec<AttemptView>, Error> {
        self.look(|record| {
            record.build_row(build)?;
            Ok(record.attempt_views(Job::Plan(build)))
        })
    }

    async fn note(&self, change: &Change<'_>, by: &str) -> Result<(), Error> {
        self.change("note", |record| record.write_down(by, *change))
    }
}

fn page<T>(rows: impl Iterator<Item = T>, limit: u32) -> Page<T> {
    let mut rows: Vec<T> = rows.take(limit as usize + 1).collect();
    let next = (limit as usize) < rows.len();
    rows.truncate(limit as usize);
    Page { rows, next }
}

fn is_in(span: Span, at: At) -> bool {
    span.since.is_none_or(|since| since <= at) && span.until.is_none_or(|until| at < until)
}

fn meets(row: &BuildRow, filter: &BuildFilter) -> bool {
    let BuildFilter { tenant, states, project_id, stop_code, priority, created, ids } = filter;
    let code = row.stop.as_ref().map(|stop| &stop.code);
    row.tenant == *tenant
        && (states.is_empty() || states.contains(&row.state))
        && project_id.as_ref().is_none_or(|id| row.brief.project_id.as_ref() == Some(id))
        && stop_code.as_ref().is_none_or(|wanted| code == Some(wanted))
        && priority.is_none_or(|priority| row.brief.priority == priority)
        && is_in(*created, at(row.created_at))
        && ids.as_ref().is_none_or(|ids| ids.contains(&row.id))
}

impl Record {
    fn wait_of(&self, job: Job) -> Option<Wait> {
        let work = self.work.get(&job)?;
        let Stand::Ready { due_at, parked_on } = &work.stand else { return None };
        let gates =
            [Gate::Build(work.build), Gate::Tenant(work.tenant.clone()), Gate::Lane(job.lane())];
        let has_come = *parked_on == Some(Gate::Time) && *due_at <= self.now;
        Some(Wait {
            parked_on: parked_on.clone().filter(|_| !has_come),
            due_at: at(*due_at),
            pause: self.paused_at(&gates).into_iter().next(),
            // Its endpoints are always well.
            shut: None,
        })
    }

    /// Oldest first.
    fn paused_at(&self, gates: &[Gate]) -> Vec<Pause> {
        let found = self.pauses.values().filter(|pause| gates.contains(&pause.gate));
        let mut found: Vec<Pause> = found.cloned().collect();
        found.sort_by_key(|pause| (pause.at, pause.gate.to_string()));
        found
    }

    fn parked(&self, lane: Lane) -> Vec<Parked> {
        let gates = self.lane(lane).parked.iter().filter(|(gate, _)| **gate != Gate::Turn);
        let mut parked: Vec<Parked> = gates
            .map(|(gate, jobs)| Parked { lane, gate: gate.clone(), count: jobs.len() as u64 })
            .collect();
        parked.sort_by_key(|parked| parked.gate.to_string());
        parked.truncate(PARKED_GATES as usize);
        parked
    }

    fn is_met(&self, row: &DeliveryRow, filter: &DeliveryFilter) -> bool {
        let DeliveryFilter { tenant, states, build, endpoint, kind, code, created, ids } = filter;
        let failed = row.failure.as_ref().map(|failure| &failure.code);
        self.work[&Job::Delivery(row.id)].tenant == *tenant
            && (states.is_empty() || states.contains(&row.state))
            && build.is_none_or(|build| row.build == build)
            && endpoint.is_none_or(|endpoint| row.endpoint == endpoint)
            && kind.is_none_or(|kind| row.kind == kind)
            && code.as_ref().is_none_or(|wanted| failed == Some(wanted))
            && is_in(*created, at(row.created_at))
            && ids.as_ref().is_none_or(|ids| ids.contains(&row.id))
    }

    /// Everything that was given up.
    fn given_up(&self) -> Vec<Failed> {
        let builds = self.builds.values().filter(|row| row.state == build::State::Failed);
        let builds = builds.filter_map(|row| {
            let stop = row.stop.as_ref()?;
            let prompt = row.brief.prompt.replace('\n', " ");
            let name = prompt.chars().take(NAME_CHARS).collect();
            let why = (stop.code.clone(), stop.message.clone());
            self.told(Job::Plan(row.id), row.settled_at?, name, why)
        });
        let tasks = self.tasks.values().filter(|row| row.state == task::State::Failed);
        let tasks = tasks.filter_map(|row| {
            let failure = row.failure.as_ref()?;
            let why = (failure.code.clone(), failure.reason.clone());
            self.told(Job::Task(row.id), row.settled_at?, row.draft.name.clone(), why)
        });
        let rows = self.deliveries.values();
        let deliveries = rows.filter(|row| row.state == delivery::State::Exhausted);
        let deliveries = deliveries.filter_map(|row| {
            let failure = row.failure.as_ref()?;
            let why = (failure.code.clone(), failure.reason.clone());
            self.told(Job::Delivery(row.id), row.settled_at?, row.kind.to_string(), why)
        });
        builds.chain(tasks).chain(deliveries).collect()
    }

    fn told(
        &self,
        job: Job,
        settled_at: i64,
        name: String,
        (code, reason): (String, String),
    ) -> Option<Failed> {
        let work = self.work.get(&job)?;
        let attempts = self.attempts.range((job, 0)..=(job, u32::MAX));
        let failures: Vec<_> = attempts.filter_map(|(_, row)| row.failure.clone()).collect();
        Some(Failed {
            place: FailedPlace { at: settled_at, job },
            build: work.build,
            tenant: work.tenant.clone(),
            name,
            code,
            reason,
            attempt: work.attempt,
            failures: work.failures,
            crashes: work.crashes,
            first: failures.first().cloned(),
            last: failures.last().cloned(),
            at: at(settled_at),
        })
    }
}
