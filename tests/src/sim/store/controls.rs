//! What is changed by hand: limits, weights, pauses; and the audit of it.

use buildfleet::{
    domain::{
        limit::{Gate, Limit},
        rank,
    },
    job::Lane,
    store::{At, AuditEntry, AuditWanted, Error, Page, Pause, audit::Change},
};

use super::{feed::Fact, record::Record};

impl Record {
    pub(super) fn put_limit(&mut self, limit: &Limit, by: &str) {
        self.limits.insert(limit.name.clone(), limit.clone());
        self.write_down(by, Change::LimitPut(limit));
        self.limits_changed();
    }

    pub(super) fn remove_limit(&mut self, name: &str, by: &str) -> Result<(), Error> {
        self.limits.remove(name).ok_or_else(|| Error::not_found(name))?;
        self.buckets.retain(|(limit, _), _| limit != name);
        self.write_down(by, Change::LimitRemoved(name));
        self.limits_changed();
        Ok(())
    }

    fn limits_changed(&mut self) {
        self.tell_limits();
        for lane in Lane::ALL {
            self.let_out_delayed(*lane);
            self.ring_parked(*lane);
            self.claimable.extend(self.lane(*lane).timed.first().map(|(_, job)| *job));
        }
    }

    pub(super) fn tell_limits(&mut self) {
        self.tell(Fact::Limits(self.limits.values().cloned().collect()));
    }

    pub(super) fn put_weight(&mut self, tenant: &str, weight: f64, by: &str) {
        if weight == rank::WEIGHT {
            self.weights.remove(tenant);
        } else {
            self.weights.insert(tenant.to_owned(), weight);
        }
        self.tell(Fact::Weight { tenant: tenant.to_owned(), weight });
        self.write_down(by, Change::WeightPut { tenant, weight });
    }

    pub(super) fn pause(&mut self, gate: &Gate, by: &str) -> Result<(), Error> {
        match gate {
            Gate::Build(build) if self.build_row(*build)?.state.is_final() => {
                return Err(Error::conflict("build_is_final", "the build has come to its end"));
            }
            Gate::Build(_) | Gate::Tenant(_) | Gate::Lane(_) => {}
            Gate::Time | Gate::Turn | Gate::Limit { .. } => {
                return Err(Error::conflict("not_pausable", format!("{gate} cannot be paused")));
            }
        }
        if !self.pauses.contains_key(gate) {
            let pause = Pause { gate: gate.clone(), by: by.to_owned(), at: At(self.now) };
            self.pauses.insert(gate.clone(), pause);
            self.tell(Fact::Paused { gate: gate.clone(), is_paused: true });
            self.write_down(by, Change::Paused(gate));
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, gate: &Gate, by: &str) {
        if self.pauses.remove(gate).is_none() {
            return;
        }
        self.tell(Fact::Paused { gate: gate.clone(), is_paused: false });
        self.write_down(by, Change::Resumed(gate));
        for lane in Lane::ALL {
            if *gate == Gate::Lane(*lane) {
                let first = self.lane(*lane).claimable.first().map(|(_, job)| *job);
                self.claimable.extend(first);
            }
            self.ring_parked(*lane);
        }
    }

    pub(super) fn write_down(&mut self, by: &str, change: Change<'_>) {
        let id = i64::try_from(self.audit.len()).unwrap_or(i64::MAX) + 1;
        self.audit.push(AuditEntry {
            id,
            at: At(self.now),
            by: by.to_owned(),
            action: change.action().to_owned(),
            subject: change.subject(),
            detail: change.detail(),
        });
    }

    pub(super) fn audit(&self, wanted: &AuditWanted) -> Page<AuditEntry> {
        let below = |entry: &&AuditEntry| wanted.before.is_none_or(|before| entry.id < before);
        let mut rows: Vec<_> = self.audit.iter().rev().filter(below).cloned().collect();
        let limit = wanted.limit as usize;
        let next = limit < rows.len();
        rows.truncate(limit);
        Page { rows, next }
    }
}
