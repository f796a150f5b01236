//! Fairness: who waits with one piece of work waits for two rounds at most.
//!
//! In a round, every tenant that has work waiting has as much claimed as its weight says. Counted
//! are claims at the same priority that nothing but their turn held up: first attempts at work that
//! was never parked. A limit that holds for all alike makes nobody wait longer than others, so it
//! counts as nothing. While work of another priority overtakes what waits at this one, rounds are
//! not counted: what was overtaken goes before what comes later, however much that is.

use std::collections::{BTreeMap, BTreeSet};

use buildfleet::{domain::limit::Gate, job::Job};

use super::{Judged, Work, must};

/// The greatest cost of work in the simulation: a round is as long as its longest work.
pub const COST_MAX: u32 = 3;

#[derive(Default)]
pub(super) struct Rounds {
    weights: BTreeMap<String, f64>,
    /// Names of limits that hold for all work of a lane alike.
    for_all: BTreeSet<String>,
    /// Work that waits, by lane, priority and tenant.
    waiting: BTreeMap<(usize, u8, String), BTreeSet<Job>>,
    /// Work that was parked at some time.
    parked: BTreeSet<Job>,
    /// Work that waited while work of another priority was claimed.
    overtaken: BTreeSet<Job>,
    /// The only work of a tenant that waits, with what was claimed since of each other tenant.
    alone: BTreeMap<Job, BTreeMap<String, u32>>,
}

impl Rounds {
    pub(super) fn weigh(&mut self, tenant: &str, weight: f64) {
        self.weights.insert(tenant.to_owned(), weight);
    }

    /// Limits that hold for all alike; by name.
    pub(super) fn hold_for_all(&mut self, names: BTreeSet<String>) {
        self.for_all = names;
    }

    /// The rules have changed: whoever waits now is not counted.
    pub(super) fn forget(&mut self) {
        self.alone.clear();
    }

    pub(super) fn ready(&mut self, job: Job, is_due: bool, parked_on: Option<&Gate>, work: &Work) {
        let flow = flow(job, work);
        let is_new = self.waiting.entry(flow.clone()).or_default().insert(job);
        let is_held_up = match parked_on {
            None => false,
            Some(Gate::Limit { name, .. }) => !self.for_all.contains(name),
            Some(_) => true,
        };
        if is_held_up || !is_due {
            self.parked.insert(job);
            self.alone.remove(&job);
        } else if is_new && self.waiting[&flow].len() == 1 && work.attempt == 0 {
            let is_late = self.waiting.iter().any(|((lane, band, _), jobs)| {
                (*lane, *band) == (flow.0, flow.1) && !jobs.is_disjoint(&self.overtaken)
            });
            if !is_late && !self.parked.contains(&job) {
                self.alone.insert(job, BTreeMap::new());
            }
        } else if is_new {
            // With more than one piece of work, one's own is in the way.
            let flow = &self.waiting[&flow];
            self.alone.retain(|other, _| !flow.contains(other));
        }
    }

    pub(super) fn gone(&mut self, job: Job) {
        self.overtaken.remove(&job);
        self.waiting.values_mut().for_each(|jobs| {
            jobs.remove(&job);
        });
        self.alone.remove(&job);
    }

    pub(super) fn claimed(&mut self, job: Job, attempt: u32, work: &Work) -> Judged {
        let flow = flow(job, work);
        if let Some(jobs) = self.waiting.get_mut(&flow) {
            jobs.remove(&job);
        }
        self.alone.remove(&job);
        self.overtaken.remove(&job);
        for ((lane, band, _), jobs) in &self.waiting {
            if *lane == flow.0 && *band != flow.1 {
                self.overtaken.extend(jobs);
            }
        }
        if 1 < attempt || self.parked.contains(&job) {
            return Ok(());
        }
        let weight = |tenant: &String| self.weights.get(tenant).copied().unwrap_or(1.0);
        let alone: BTreeSet<Job> = self
            .waiting
            .iter()
            .filter(|((lane, band, tenant), _)| {
                (*lane, *band) == (flow.0, flow.1) && *tenant != flow.2
            })
            .flat_map(|(_, jobs)| jobs.iter().copied())
            .collect();
        for (other, claimed) in &mut self.alone {
            if !alone.contains(other) {
                continue;
            }
            let count = claimed.entry(flow.2.clone()).or_default();
            *count += 1;
            let tenant = self.waiting.iter().find(|(_, jobs)| jobs.contains(other));
            let Some(((.., tenant), _)) = tenant else { continue };
            let ratio = (weight(&flow.2) / weight(tenant)).max(weight(&flow.2)).max(1.0);
            // Two rounds, and the claim that was being made when they began.
            let most = 2.0 * ratio * f64::from(COST_MAX) + 1.0;
            must(f64::from(*count) <= most, || {
                format!("{other} of {tenant} waits while {} had {count} claimed", flow.2)
            })?;
        }
        Ok(())
    }
}

fn flow(job: Job, work: &Work) -> (usize, u8, String) {
    (job.lane().index(), work.band, work.tenant.clone())
}
