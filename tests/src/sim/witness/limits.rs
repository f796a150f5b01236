//! Limits, counted anew from the leases that were told of.

use std::collections::BTreeMap;

use buildfleet::{
    domain::limit::{By, Limit},
    job::{Job, Lane},
};

use super::{Judged, Work, must};

/// What a count of milliseconds may be off by, in tokens.
const SLACK: f64 = 0.05;

#[derive(Default)]
pub(super) struct Counts {
    limits: Vec<Limit>,
    /// What is held, by lane and job, with its cost.
    held: BTreeMap<Job, (Lane, String, String, Option<String>, u32)>,
    /// By limit and value: what an ideal bucket would hold, and when that was.
    buckets: BTreeMap<(String, String), (f64, i64)>,
}

impl Counts {
    pub(super) fn change(&mut self, limits: &[Limit]) {
        for limit in limits {
            let before = self.limits.iter().find(|other| other.name == limit.name);
            if before.is_none_or(|before| before.rate != limit.rate) {
                self.buckets.retain(|(name, _), _| *name != limit.name);
            }
        }
        self.limits = limits.to_vec();
    }

    pub(super) fn ended(&mut self, job: Job, _: &Work) {
        self.held.remove(&job);
    }

    pub(super) fn claimed(&mut self, at: i64, job: Job, work: &Work) -> Judged {
        let sort =
            (job.lane(), work.tenant.clone(), work.kind.clone(), work.key.clone(), work.cost);
        self.held.insert(job, sort);
        for limit in &self.limits {
            let Some(value) = value_of(limit, &self.held[&job]) else { continue };
            if let Some(most) = limit.concurrency {
                let others = self.held.iter().filter(|(other, sort)| {
                    **other != job && value_of(limit, sort).as_ref() == Some(&value)
                });
                let others: u32 = others.map(|(_, (.., cost))| *cost).sum();
                // What costs more than the whole limit may run alone.
                let fits = others + work.cost <= most || (others == 0 && 0 < most);
                must(fits, || {
                    let name = &limit.name;
                    format!(
                        "{job} (cost {}) came to {others} of {most} at {name} {value:?}",
                        work.cost
                    )
                })?;
            }
            if let Some(rate) = limit.rate {
                let place = (limit.name.clone(), value.clone());
                let count = f64::from(rate.count);
                let (left, since) = self.buckets.get(&place).copied().unwrap_or((count, at));
                #[expect(clippy::cast_precision_loss, reason = "minutes, in milliseconds")]
                let secs = (at - since) as f64 / 1000.0;
                let left = (left + secs * count / rate.per.as_secs_f64()).min(count) - 1.0;
                must(-SLACK <= left, || {
                    format!("{job} began faster than {} allows: {left} left", limit.name)
                })?;
                self.buckets.insert(place, (left, at));
            }
        }
        Ok(())
    }
}

/// Under which value a limit counts work; `None` if it does not.
fn value_of(
    limit: &Limit,
    (lane, tenant, kind, key, _): &(Lane, String, String, Option<String>, u32),
) -> Option<String> {
    if limit.lane.is_some_and(|own| own != *lane) {
        return None;
    }
    let value = match limit.by {
        By::All => String::new(),
        By::Kind => kind.clone(),
        By::Tenant => tenant.clone(),
        By::Key => key.clone()?,
    };
    let is_meant = limit.value.as_ref().is_none_or(|own| *own == value);
    is_meant.then_some(value)
}
