//! Deliveries: each event to the endpoint that wants it, one after the other per build.

use std::{collections::BTreeMap, time::Duration};

use buildfleet::{
    domain::{
        attempt,
        delivery::{State, Trigger},
        event::Kind,
        id::{BuildId, DeliveryId},
        limit::Gate,
        retry::{Jitter, Policy, Verdict},
    },
    job::{Job, Lane},
    store::{
        Ask, At, DeliveriesWanted, Delivery, DeliveryAttempt, DeliveryClaim, Error, Fence, Page,
        SendResult,
    },
};

use super::{
    feed::{Fact, Plant},
    leases::is_lost,
    record::{DeliveryRow, Record, Stand, Work, at, at_if_any},
};

impl Record {
    /// Keeps a delivery of an event for the endpoint of its build, if that wants it.
    pub(super) fn announce(&mut self, build: BuildId, seq: u64, kind: Kind) -> Result<(), Error> {
        let now = self.now;
        let row = self.build_row(build)?;
        let Some(endpoint) = &row.endpoint else { return Ok(()) };
        if !endpoint.wants.is_empty() && !endpoint.wants.contains(&kind) {
            return Ok(());
        }
        let work = Work {
            build,
            tenant: row.tenant.clone(),
            band: row.brief.priority,
            kind: kind.as_str().to_owned(),
            key: Some(endpoint.id.to_string()),
            cost: 1,
            attempt: 0,
            failures: 0,
            crashes: 0,
            rank: None,
            stand: Stand::Away,
        };
        let endpoint = endpoint.id;
        let id: DeliveryId = self.draw();
        let state = State::Pending;
        let row = DeliveryRow {
            id,
            build,
            endpoint,
            seq,
            kind,
            state,
            failure: None,
            created_at: now,
            settled_at: None,
        };
        self.deliveries.insert(id, row);
        self.add_work(Job::Delivery(id), work);
        self.tell(Fact::Announced { delivery: id, build, endpoint, seq });
        self.tell(Fact::Delivery { delivery: id, from: None, to: state });
        if let Some(endpoint) = &mut self.build_mut(build)?.endpoint {
            endpoint.open.insert(seq, id);
        }
        self.line_up(id, Duration::ZERO);
        Ok(())
    }

    /// Lets a pending delivery wait for its turn, or for its time if it has its turn.
    fn line_up(&mut self, id: DeliveryId, after: Duration) {
        let (job, row) = (Job::Delivery(id), &self.deliveries[&id]);
        let open = self.builds[&row.build].endpoint.as_ref().map(|endpoint| &endpoint.open);
        let has_turn = open.is_none_or(|open| open.range(..row.seq).next().is_none());
        if !has_turn && !self.has(Plant::Turn) {
            let due_at = self.now;
            self.put(job, Stand::Ready { due_at, parked_on: Some(Gate::Turn) });
        } else if self.work[&job].rank.is_none() {
            self.enter(Lane::Deliveries, &[job]);
        } else {
            self.wait(job, after);
        }
    }

    /// After a change of what is open at an endpoint: the earliest has its turn, and whatever
    /// waits behind it has not.
    fn turn_on(&mut self, build: BuildId) {
        let Some(endpoint) = &self.builds[&build].endpoint else { return };
        let open: Vec<DeliveryId> = endpoint.open.values().copied().collect();
        for (place, id) in open.into_iter().enumerate() {
            let Stand::Ready { parked_on, .. } = &self.work[&Job::Delivery(id)].stand else {
                continue;
            };
            let waits_for_turn = *parked_on == Some(Gate::Turn);
            if (place == 0) == waits_for_turn {
                self.line_up(id, Duration::ZERO);
            }
        }
    }

    pub(super) fn claim_deliveries(&mut self, ask: &Ask) -> Result<Vec<DeliveryClaim>, Error> {
        let mut claims = Vec::new();
        for job in self.claim(Lane::Deliveries, ask) {
            let Job::Delivery(id) = job else { continue };
            let attempt = self.work[&job].attempt;
            self.put_delivery(id, Trigger::Claimed)?;
            let row = &self.deliveries[&id];
            let build = self.build_row(row.build)?;
            let (Some(endpoint), Some(event)) =
                (&build.endpoint, build.events.get(place_of(row.seq)))
            else {
                continue;
            };
            claims.push(DeliveryClaim {
                delivery: id,
                attempt,
                endpoint: endpoint.id,
                tenant: self.work[&job].tenant.clone(),
                url: endpoint.url.clone(),
                secret: endpoint.secret.clone(),
                old_secrets: Vec::new(),
                headers: BTreeMap::new(),
                event: event.clone(),
                claimed_at: At(self.now),
            });
        }
        Ok(claims)
    }

    /// Moves a delivery along its machine.
    fn put_delivery(&mut self, id: DeliveryId, trigger: Trigger) -> Result<State, Error> {
        let now = self.now;
        let row = self.deliveries.get_mut(&id).ok_or_else(|| Error::not_found(id))?;
        let (from, to) = (row.state, row.state.on(trigger)?);
        row.state = to;
        row.settled_at = to.is_final().then_some(now);
        let (build, seq) = (row.build, row.seq);
        if let Some(endpoint) = &mut self.build_mut(build)?.endpoint {
            if to.is_final() {
                endpoint.open.remove(&seq);
            } else {
                endpoint.open.insert(seq, id);
            }
        }
        self.tell(Fact::Delivery { delivery: id, from: Some(from), to });
        Ok(to)
    }

    pub(super) fn settle_delivery(
        &mut self,
        id: DeliveryId,
        attempt: u32,
        result: &SendResult,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error> {
        let job = Job::Delivery(id);
        let fence = Fence { job, attempt };
        self.must_hold(fence)?;
        let work = &self.work[&job];
        let (mut failures, mut crashes) = (0, 0);
        let mut kept = None;
        let (trigger, ended, after) = match &result.failure {
            None => (Trigger::AttemptSucceeded, attempt::Trigger::Success, Duration::ZERO),
            Some(failure) => {
                let lost = is_lost(failure);
                (failures, crashes) = if lost { (0, 1) } else { (1, 0) };
                let verdict = policy.judge(
                    failure.kind,
                    work.failures + failures,
                    work.crashes + crashes,
                    jitter,
                );
                kept = Some(failure.clone().judged(verdict, work.crashes + crashes));
                let ended =
                    if lost { attempt::Trigger::LeaseLapsed } else { attempt::Trigger::Failure };
                let after = match verdict {
                    Verdict::Retry { after } => after,
                    Verdict::GiveUp => Duration::ZERO,
                };
                (Trigger::AttemptFailed(verdict), ended, after)
            }
        };
        let ended = attempt::State::Running.on(ended)?;
        self.end_attempt(fence, ended, result.failure.as_ref());
        if let Some(row) = self.attempts.get_mut(&(job, attempt)) {
            row.status = result.status;
            row.took_ms = Some(result.took_ms);
            row.excerpt.clone_from(&result.excerpt);
            row.exchange.clone_from(&result.exchange);
        }
        self.count(job, failures, crashes);
        let state = self.put_delivery(id, trigger)?;
        if let Some(row) = self.deliveries.get_mut(&id)
            && kept.is_some()
        {
            row.failure = kept;
        }
        self.put(job, Stand::Away);
        if !state.is_final() {
            self.line_up(id, after);
        }
        self.turn_on(self.deliveries[&id].build);
        Ok(())
    }

    pub(super) fn give_back_delivery(&mut self, id: DeliveryId, attempt: u32) -> Result<(), Error> {
        let job = Job::Delivery(id);
        let fence = Fence { job, attempt };
        self.must_hold(fence)?;
        let ended = attempt::State::Running.on(attempt::Trigger::GivenBack)?;
        self.end_attempt(fence, ended, None);
        self.put_delivery(id, Trigger::GivenBack)?;
        self.put(job, Stand::Away);
        self.line_up(id, Duration::ZERO);
        Ok(())
    }

    pub(super) fn redeliver(&mut self, id: DeliveryId) -> Result<Delivery, Error> {
        let row = self.deliveries.get(&id).ok_or_else(|| Error::not_found(id))?;
        let build = row.build;
        row.state
            .on(Trigger::Redelivered)
            .map_err(|illegal| Error::conflict("delivery_not_final", illegal.to_string()))?;
        self.put_delivery(id, Trigger::Redelivered)?;
        if let Some(work) = self.work.get_mut(&Job::Delivery(id)) {
            (work.failures, work.crashes, work.rank) = (0, 0, None);
        }
        self.line_up(id, Duration::ZERO);
        self.turn_on(build);
        self.view_delivery(id)
    }

    pub(super) fn view_delivery(&self, id: DeliveryId) -> Result<Delivery, Error> {
        let row = self.deliveries.get(&id).ok_or_else(|| Error::not_found(id))?;
        let build = self.build_row(row.build)?;
        let work = &self.work[&Job::Delivery(id)];
        let endpoint = build.endpoint.as_ref().ok_or_else(|| Error::not_found(row.endpoint))?;
        let event = build.events.get(place_of(row.seq)).ok_or_else(|| Error::not_found(id))?;
        Ok(Delivery {
            id,
            build: row.build,
            endpoint: row.endpoint,
            url: endpoint.url.clone(),
            event: event.id,
            kind: row.kind,
            seq: row.seq,
            state: row.state,
            attempt: work.attempt,
            failure: row.failure.clone(),
            created_at: at(row.created_at),
            due_at: match work.stand {
                Stand::Ready { due_at, .. } => Some(at(due_at)),
                _ => None,
            },
            settled_at: at_if_any(row.settled_at),
        })
    }

    pub(super) fn list_deliveries(
        &self,
        wanted: &DeliveriesWanted,
    ) -> Result<Page<Delivery>, Error> {
        let found = self.deliveries.values().rev().filter(|row| {
            self.builds[&row.build].tenant == wanted.tenant
                && wanted.build.is_none_or(|build| row.build == build)
                && wanted.after.is_none_or(|after| row.id < after)
                && wanted.state.is_none_or(|state| row.state == state)
        });
        let ids: Vec<DeliveryId> = found.map(|row| row.id).collect();
        let limit = wanted.limit as usize;
        let rows =
            ids.iter().take(limit).map(|id| self.view_delivery(*id)).collect::<Result<_, _>>()?;
        Ok(Page { rows, next: limit < ids.len() })
    }

    pub(super) fn delivery_attempts(&self, id: DeliveryId) -> Result<Vec<DeliveryAttempt>, Error> {
        self.deliveries.get(&id).ok_or_else(|| Error::not_found(id))?;
        let job = Job::Delivery(id);
        let rows = self.attempts.range((job, 0)..=(job, u32::MAX));
        Ok(rows
            .map(|((_, number), row)| DeliveryAttempt {
                number: *number,
                state: row.state,
                status: row.status,
                failure: row.failure.clone(),
                took_ms: row.took_ms,
                excerpt: row.excerpt.clone(),
                exchange: row.exchange.clone(),
                started_at: at(row.started_at),
                settled_at: at_if_any(row.settled_at),
            })
            .collect())
    }
}

/// Numbers begin at 1.
fn place_of(seq: u64) -> usize {
    usize::try_from(seq.saturating_sub(1)).unwrap_or(usize::MAX)
}
