//! Scheduling: where work enters its lane, what a claim takes, and what is let out where it was
//! parked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use buildfleet::{
    domain::{
        attempt,
        limit::{Bucket, Entry, Gate, Gatekeeper, Limit, Running, Work as Judged},
        rank,
    },
    job::{Job, Lane},
    store::Ask,
};

use super::{
    feed::{Fact, Plant},
    record::{AttemptRow, LaneRow, Rank, Record, Stand, Work, later},
};

impl Record {
    /// Gives work a rank, in the order given, and lets it wait in its lane for being claimed.
    pub(super) fn enter(&mut self, lane: Lane, jobs: &[Job]) {
        let mut flows: BTreeMap<(String, u8), Vec<Job>> = BTreeMap::new();
        for job in jobs {
            let Some(work) = self.work.get(job) else { continue };
            flows.entry((work.tenant.clone(), work.band)).or_default().push(*job);
        }
        for ((tenant, band), jobs) in flows {
            let costs: Vec<u32> = jobs.iter().map(|job| self.work[job].cost).collect();
            let weight = self.weights.get(&tenant).copied().unwrap_or(rank::WEIGHT);
            let first_come = self.has(Plant::Fair);
            let row = self.lane_mut(lane);
            let virtual_time = row.virtual_time;
            let last = row.flows.entry((tenant, band)).or_default();
            let (mut tags, next) = rank::tags(virtual_time, *last, weight, &costs);
            *last = next;
            if first_come {
                tags = jobs.iter().map(|job| job_order(*job)).collect();
            }
            for (job, tag) in jobs.into_iter().zip(tags) {
                self.put(job, Stand::Away);
                self.set_rank(job, rank::rank(tag, band));
            }
        }
        for job in jobs {
            self.wait(*job, Duration::ZERO);
        }
    }

    /// Closes up the flows out of which the commit at hand took work that nobody had claimed.
    pub(super) fn close_up(&mut self) {
        for (lane, tenant, band) in std::mem::take(&mut self.gapped) {
            if self.has(Plant::Gap) {
                continue;
            }
            let weight = self.weights.get(&tenant).copied().unwrap_or(rank::WEIGHT);
            let mut closing = rank::Closing::of(self.lane(lane).virtual_time, weight);
            for (Rank(at), job) in self.waiting(lane, &tenant, band) {
                let placed = closing.place(rank::tag(at, band), self.work[&job].cost);
                let placed = rank::rank(placed, band);
                if placed < at {
                    let stand = self.work[&job].stand.clone();
                    self.put(job, Stand::Away);
                    self.set_rank(job, placed);
                    self.put(job, stand);
                }
            }
            if let Some(last) = self.lane_mut(lane).flows.get_mut(&(tenant, band)) {
                *last = closing.end();
            }
        }
    }

    /// What waits in a flow, wherever it is parked, in order of rank.
    fn waiting(&self, lane: Lane, tenant: &str, band: u8) -> BTreeSet<(Rank, Job)> {
        let LaneRow { claimable, timed, parked, .. } = self.lane(lane);
        let all = claimable.iter().chain(parked.values().flatten()).map(|(_, job)| job);
        let own = all.chain(timed.iter().map(|(_, job)| job)).filter_map(|job| {
            let work = &self.work[job];
            let is_own = work.tenant == tenant && work.band == band;
            is_own.then(|| (Rank(work.rank.unwrap_or_default()), *job))
        });
        own.collect()
    }

    /// Lets work wait in its lane once more, at its old rank, for `after`.
    pub(super) fn wait(&mut self, job: Job, after: Duration) {
        let due_at = later(self.now, after);
        let parked_on = if due_at <= self.now { None } else { Some(Gate::Time) };
        if parked_on.is_none() {
            self.claimable.push(job);
        }
        self.put(job, Stand::Ready { due_at, parked_on });
    }

    /// Takes what a holder gets out of a lane, in order, and leases it to the holder.
    pub(super) fn claim(&mut self, lane: Lane, ask: &Ask) -> Vec<Job> {
        if ask.room == 0 || self.pauses.contains_key(&Gate::Lane(lane)) {
            return Vec::new();
        }
        self.let_out_due(lane);
        if self.lane(lane).claimable.is_empty() && self.lane(lane).parked.is_empty() {
            return Vec::new();
        }
        let limits: Vec<Limit> = self.limits.values().cloned().collect();
        let paused = self.pauses.keys().cloned().collect();
        let running = self.running(ask);
        let buckets: Vec<Bucket> = self
            .buckets
            .iter()
            .map(|((limit, value), (tokens, at))| Bucket {
                limit: limit.clone(),
                value: value.clone(),
                tokens: *tokens,
                age: between(*at, self.now),
            })
            .collect();
        let mut gate =
            Gatekeeper::new(lane, &limits, &paused, &running, &buckets, ask.room, ask.slots);
        let mut admitted = Vec::new();
        // What is let out at one gate may be stopped at another, and leaves room for the next.
        loop {
            let let_out = self.let_out_parked(lane, &gate);
            let more = self.judge_all(lane, &mut gate, &admitted);
            if !let_out && more.is_empty() {
                break;
            }
            admitted.extend(more);
        }
        for Bucket { limit, value, tokens, .. } in gate.buckets() {
            let now = self.now;
            self.buckets.insert((limit, value), (tokens, now));
        }
        for job in &admitted {
            self.lease(*job, ask);
        }
        admitted
    }

    fn judge_all(&mut self, lane: Lane, gate: &mut Gatekeeper<'_>, before: &[Job]) -> Vec<Job> {
        let all = self.lane(lane).claimable.iter().map(|(_, job)| *job);
        let candidates: Vec<Job> = all.filter(|job| !before.contains(job)).collect();
        let mut admitted = Vec::new();
        for job in candidates {
            if gate.is_shut() {
                break;
            }
            let Work { build, tenant, kind, key, cost, .. } = &self.work[&job];
            let judged = Judged { build: *build, tenant, kind, key: key.as_deref(), cost: *cost };
            match gate.judge(&judged) {
                Entry::Admitted => admitted.push(job),
                Entry::Parked(gate) => {
                    let due_at = self.now;
                    self.put(job, Stand::Ready { due_at, parked_on: Some(gate) });
                }
                Entry::Delayed(by) => {
                    // Never less than the clock can tell, or it would be due at once for ever.
                    self.wait(job, by.max(Duration::from_millis(1)));
                }
                Entry::NoRoom => break,
            }
        }
        admitted
    }

    fn lease(&mut self, job: Job, ask: &Ask) {
        let (now, until) = (self.now, later(self.now, ask.lease));
        let lane = job.lane();
        let Some(work) = self.work.get_mut(&job) else { return };
        work.attempt += 1;
        let attempt = work.attempt;
        let tag = rank::tag(work.rank.unwrap_or_default(), work.band);
        if !self.has(Plant::Fair) {
            let row = self.lane_mut(lane);
            row.virtual_time = row.virtual_time.max(tag);
        }
        self.put(job, Stand::Held { holder: ask.holder, until });
        self.attempts.insert(
            (job, attempt),
            AttemptRow {
                holder: ask.holder,
                state: attempt::State::Running,
                failure: None,
                started_at: now,
                settled_at: None,
                status: None,
                took_ms: None,
                excerpt: None,
                exchange: None,
            },
        );
        self.tell(Fact::Claimed { job, attempt, holder: ask.holder, until });
    }

    /// What is leased, in all lanes.
    fn running(&self, ask: &Ask) -> Vec<Running> {
        let mut sorts: BTreeMap<(Lane, &str, &str, Option<&str>), u32> = BTreeMap::new();
        for lane in Lane::ALL {
            for job in &self.lane(*lane).held {
                let work = &self.work[job];
                if self.has(Plant::Slot) && !is_held_by(work, ask) {
                    continue;
                }
                *sorts
                    .entry((*lane, &work.tenant, &work.kind, work.key.as_deref()))
                    .or_default() += work.cost;
            }
        }
        sorts
            .into_iter()
            .map(|((lane, tenant, kind, key), cost)| Running {
                lane,
                tenant: tenant.to_owned(),
                kind: kind.to_owned(),
                key: key.map(str::to_owned),
                cost,
            })
            .collect()
    }

    fn let_out_due(&mut self, lane: Lane) {
        if self.has(Plant::Time) {
            return;
        }
        let now = self.now;
        let due: Vec<(i64, Job)> = self
            .lane(lane)
            .timed
            .iter()
            .take_while(|(due_at, _)| *due_at <= now)
            .copied()
            .collect();
        for (due_at, job) in due {
            self.put(job, Stand::Ready { due_at, parked_on: None });
        }
    }

    /// Lets out, at each gate with room, as many as it has room for, to be judged again. Answers
    /// whether that was any.
    fn let_out_parked(&mut self, lane: Lane, gate: &Gatekeeper<'_>) -> bool {
        let now = self.now;
        let mut out = Vec::new();
        for (at, parked) in &self.lane(lane).parked {
            let room = usize::try_from(gate.room_at(at)).unwrap_or(usize::MAX);
            out.extend(parked.iter().take(room).map(|(_, job)| *job));
        }
        for job in &out {
            self.put(*job, Stand::Ready { due_at: now, parked_on: None });
        }
        !out.is_empty()
    }

    /// Lets work that only a rate has delayed be judged again at once.
    pub(super) fn let_out_delayed(&mut self, lane: Lane) {
        let now = self.now;
        let timed: Vec<(i64, Job)> = self.lane(lane).timed.iter().copied().collect();
        for (due_at, job) in timed {
            let Work { failures, crashes, .. } = self.work[&job];
            if now < due_at && failures == 0 && crashes == 0 {
                self.put(job, Stand::Ready { due_at: now, parked_on: Some(Gate::Time) });
            }
        }
    }

    /// Work of a lane has ended: there may be room for what is parked.
    pub(super) fn ring_freed(&mut self, lane: Lane) {
        let crosses = self.limits.values().any(|limit| limit.lane.is_none());
        for other in Lane::ALL {
            if *other == lane || crosses {
                self.ring_parked(*other);
            }
        }
    }

    /// Rings for what is parked in a lane: there may be room now.
    pub(super) fn ring_parked(&mut self, lane: Lane) {
        let parked = &self.lanes[lane.index()].parked;
        let waiting = parked.iter().filter(|(gate, _)| **gate != Gate::Turn);
        let first = waiting.filter_map(|(_, parked)| parked.first().map(|(_, job)| *job)).next();
        self.claimable.extend(first);
    }

    pub(super) fn next_due(&self, lane: Lane) -> Option<Duration> {
        if self.pauses.contains_key(&Gate::Lane(lane)) || self.has(Plant::Time) {
            return None;
        }
        let (due_at, _) = self.lane(lane).timed.first()?;
        Some(between(self.now, *due_at))
    }
}

/// From one instant to a later one; nothing if it is not later.
pub(super) fn between(from: i64, to: i64) -> Duration {
    Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

fn is_held_by(work: &Work, ask: &Ask) -> bool {
    matches!(work.stand, Stand::Held { holder, .. } if holder == ask.holder)
}

/// The order in which ids were drawn, as a number.
fn job_order(job: Job) -> f64 {
    let ulid = match job {
        Job::Plan(id) => id.ulid(),
        Job::Task(id) => id.ulid(),
        Job::Delivery(id) => id.ulid(),
    };
    #[expect(clippy::cast_precision_loss, reason = "few are drawn")]
    let order = ulid.random() as f64;
    order
}

impl Record {
    /// For tests of stores: the work is claimed next. Answers whether it may be.
    pub(super) fn move_to_front(&mut self, job: Job) -> bool {
        let Some(work) = self.work.get(&job) else { return false };
        let Stand::Ready { due_at, parked_on } = work.stand.clone() else { return false };
        let is_due = due_at <= self.now && matches!(parked_on, None | Some(Gate::Time));
        if is_due {
            self.put(job, Stand::Away);
            self.set_rank(job, -1e18);
            self.put(job, Stand::Ready { due_at, parked_on: None });
        }
        is_due
    }
}
