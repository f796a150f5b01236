//! The one who watches: it hears of every commit, keeps books of its own, and says what is not as
//! it must be.
//!
//! It shares no code with any store: what it knows of states and limits it was taught here. Only
//! the first thing that is wrong counts, since whatever follows may follow from it.

mod digest;
mod fair;
mod limits;
mod log;
mod states;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use buildfleet::{
    domain::{
        attempt, build, delivery,
        dependency::OnLoss,
        id::{BuildId, DeliveryId, EndpointId, HolderId, TaskId},
        limit::{By, Gate},
        task,
    },
    job::Job,
};

use super::store::feed::{Commit, Fact, Watch};
use digest::{digest, mixed};
use fair::Rounds;
use limits::Counts;
use log::Logs;
use states::{leads, task_leads};

pub use fair::COST_MAX;

/// How many commits of the end are kept to be shown.
const SHOWN: usize = 200;

/// Cheap to clone; all of them are the same one.
#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    at: i64,
    commits: u64,
    digest: u64,
    latest: VecDeque<(i64, &'static str, bool, Vec<Fact>)>,
    broken: Option<String>,
    work: BTreeMap<Job, Work>,
    builds: BTreeMap<BuildId, build::State>,
    tasks: BTreeMap<TaskId, task::State>,
    waits_for: BTreeMap<TaskId, Vec<(TaskId, OnLoss)>>,
    /// Tasks that waited and were released, for as long as they do not wait again.
    let_go: BTreeSet<TaskId>,
    deliveries: BTreeMap<DeliveryId, (delivery::State, EndpointId, u64)>,
    /// Deliveries of an endpoint that are not final, by number of event.
    open: BTreeMap<EndpointId, BTreeSet<u64>>,
    paused: BTreeSet<Gate>,
    counts: Counts,
    logs: Logs,
    rounds: Rounds,
}

/// Leased work, as it has been told of.
#[derive(Debug, Clone)]
struct Work {
    build: BuildId,
    tenant: String,
    band: u8,
    kind: String,
    key: Option<String>,
    cost: u32,
    /// The number of the last attempt.
    attempt: u32,
    held: Option<Held>,
    is_ready: bool,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    holder: HolderId,
    until: i64,
}

/// What a run was, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub commits: u64,
    /// Of all facts in their order: two runs with the same digest were the same run.
    pub digest: u64,
}

impl Witness {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was wrong first, if anything was.
    pub fn broken(&self) -> Option<String> {
        self.books().broken.clone()
    }

    /// Something that is wrong was found elsewhere.
    pub fn object(&self, what: String) {
        let mut books = self.books();
        books.object(what);
    }

    pub fn seen(&self) -> Seen {
        let books = self.books();
        Seen { commits: books.commits, digest: books.digest }
    }

    /// The last commits, oldest first.
    pub fn trace(&self, since: i64) -> Vec<String> {
        let books = self.books();
        let shown = books.latest.iter().map(|(at, verb, is_refused, facts)| {
            let refused = if *is_refused { " (refused)" } else { "" };
            let facts: Vec<String> = facts.iter().map(ToString::to_string).collect();
            format!("{:>8} ms  {verb}{refused}: {}", at - since, facts.join("; "))
        });
        shown.collect()
    }

    /// Builds, tasks and deliveries that have not come to their end.
    pub fn open(&self) -> Vec<String> {
        let books = self.books();
        let builds = books.builds.iter().filter(|(_, state)| !state.is_final());
        let tasks = books.tasks.iter().filter(|(_, state)| !state.is_final());
        let deliveries = books.deliveries.iter().filter(|(_, (state, ..))| !state.is_final());
        let mut open: Vec<String> = builds.map(|(id, state)| format!("{id} {state}")).collect();
        open.extend(tasks.map(|(id, state)| format!("{id} {state}")));
        open.extend(deliveries.map(|(id, (state, ..))| format!("{id} {state}")));
        open
    }

    /// Leases of holders that are not among these.
    pub fn held_by_others(&self, alive: &BTreeSet<HolderId>) -> Vec<String> {
        let books = self.books();
        let held = books.work.iter().filter_map(|(job, work)| Some((job, work.held?)));
        held.filter(|(_, held)| !alive.contains(&held.holder))
            .map(|(job, held)| format!("{job} by {} until {}", held.holder, held.until))
            .collect()
    }
}

impl Watch for Witness {
    fn committed(&mut self, commit: &Commit<'_>) {
        let mut books = self.books();
        books.note(commit);
        if let Err(what) = books.check(commit) {
            books.object(format!("{}: {what}", commit.verb));
        }
    }
}

/// What is wrong, in words.
type Judged = Result<(), String>;

fn must(is_so: bool, otherwise: impl FnOnce() -> String) -> Judged {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

impl Books {
    fn object(&mut self, what: String) {
        let at = self.at;
        self.broken.get_or_insert_with(|| format!("at {at} ms: {what}"));
    }

    fn note(&mut self, commit: &Commit<'_>) {
        self.at = commit.at;
        self.commits += 1;
        for fact in commit.facts {
            self.digest = mixed(self.digest ^ mixed(digest(fact) ^ commit.at.unsigned_abs()));
        }
        if commit.facts.is_empty() {
            return;
        }
        if self.latest.len() == SHOWN {
            self.latest.pop_front();
        }
        let kept = (commit.at, commit.verb, commit.is_refused, commit.facts.to_vec());
        self.latest.push_back(kept);
    }

    fn check(&mut self, commit: &Commit<'_>) -> Judged {
        must(!commit.is_refused || commit.facts.is_empty(), || {
            format!("was refused and changed something: {:?}", commit.facts)
        })?;
        for fact in commit.facts {
            self.hear(commit, fact)?;
        }
        for fact in commit.facts {
            let Fact::Task { task, from: Some(task::State::Pending), to } = fact else { continue };
            if *to == task::State::Ready {
                self.may_run(*task)?;
            }
        }
        self.check_stands(commit)?;
        self.logs.check(commit, &self.tasks, &self.builds)?;
        self.check_claims(commit)
    }

    fn hear(&mut self, commit: &Commit<'_>, fact: &Fact) -> Judged {
        match fact {
            Fact::Work { job, build, tenant, band, kind, key, cost } => {
                let work = Work {
                    build: *build,
                    tenant: tenant.clone(),
                    band: *band,
                    kind: kind.clone(),
                    key: key.clone(),
                    cost: *cost,
                    attempt: 0,
                    held: None,
                    is_ready: false,
                };
                let before = self.work.insert(*job, work);
                must(before.is_none(), || format!("{job} is new for the second time"))
            }
            Fact::Ready { job, .. } => {
                let work = self.work_of(*job)?;
                // Given back or failed: the end of its lease was told before.
                must(work.held.is_none(), || format!("{job} is ready and held at once"))?;
                work.is_ready = true;
                Ok(())
            }
            Fact::Claimed { job, attempt, holder, until } => {
                self.claimed(*job, *attempt, Held { holder: *holder, until: *until })
            }
            Fact::Extended { job, attempt, until } => {
                let work = self.work_of(*job)?;
                let last = work.attempt;
                must(last == *attempt, || {
                    format!("attempt {attempt} of {job} was extended, but {last} is the last")
                })?;
                let held = work.held.as_mut();
                let held = held.ok_or_else(|| format!("{job} was extended, and nobody held it"))?;
                held.until = *until;
                Ok(())
            }
            Fact::Ended { job, attempt, how } => self.ended(commit, *job, *attempt, *how),
            Fact::Build { build, from, to } => {
                let known = self.builds.insert(*build, *to);
                must(known == *from, || format!("{build} was {known:?}, not {from:?}"))?;
                must(leads(*from, *to), || format!("{build} went from {from:?} to {to}"))
            }
            Fact::Task { task, from, to } => {
                let known = self.tasks.insert(*task, *to);
                must(known == *from, || format!("{task} was {known:?}, not {from:?}"))?;
                must(task_leads(*from, *to), || format!("{task} went from {from:?} to {to}"))?;
                if *to != task::State::Ready {
                    self.work_of(Job::Task(*task))?.is_ready = false;
                }
                match (from, to) {
                    (Some(task::State::Pending), task::State::Ready) => {
                        self.let_go.insert(*task);
                        Ok(())
                    }
                    (_, task::State::Pending) => {
                        self.let_go.remove(task);
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
            Fact::Delivery { delivery, from, to } => self.delivery(*delivery, *from, *to),
            Fact::Planned { tasks, .. } => {
                self.waits_for.extend(tasks.iter().cloned());
                Ok(())
            }
            Fact::Event { build, seq, kind, task } => self.logs.hear(*build, *seq, *kind, *task),
            Fact::Announced { delivery, endpoint, seq, .. } => {
                let state = delivery::State::Pending;
                self.deliveries.insert(*delivery, (state, *endpoint, *seq));
                Ok(())
            }
            Fact::Limits(limits) => {
                self.counts.change(limits);
                let all = limits.iter().filter(|limit| limit.by == By::All && limit.lane.is_some());
                self.rounds.hold_for_all(all.map(|limit| limit.name.clone()).collect());
                Ok(())
            }
            Fact::Weight { tenant, weight } => {
                self.rounds.weigh(tenant, *weight);
                Ok(())
            }
            Fact::Paused { gate, is_paused } => {
                if *is_paused {
                    self.paused.insert(gate.clone());
                } else {
                    self.paused.remove(gate);
                }
                Ok(())
            }
        }
    }

    fn work_of(&mut self, job: Job) -> Result<&mut Work, String> {
        self.work.get_mut(&job).ok_or_else(|| format!("{job} is not known"))
    }

    fn claimed(&mut self, job: Job, attempt: u32, held: Held) -> Judged {
        let work = self.work_of(job)?;
        if let Some(other) = work.held {
            return Err(format!(
                "{job} was claimed by {} while {} held it",
                held.holder, other.holder
            ));
        }
        let last = std::mem::replace(&mut work.attempt, attempt);
        must(attempt == last + 1, || format!("attempt {attempt} of {job} followed on {last}"))?;
        must(work.is_ready, || format!("{job} was claimed and was not ready"))?;
        work.held = Some(held);
        work.is_ready = false;
        let (build, tenant) = (work.build, work.tenant.clone());
        for gate in [Gate::Build(build), Gate::Tenant(tenant), Gate::Lane(job.lane())] {
            must(!self.paused.contains(&gate), || format!("{job} was claimed at the shut {gate}"))?;
        }
        match job {
            // What was let go because another was lost is not called back when that gets another
            // go.
            Job::Task(task) if self.let_go.contains(&task) => Ok(()),
            Job::Task(task) => self.may_run(task),
            Job::Delivery(delivery) => self.has_turn(delivery),
            Job::Plan(_) => Ok(()),
        }
    }

    /// No task runs before what it waits for has completed, or was lost where that is borne.
    fn may_run(&self, task: TaskId) -> Judged {
        use task::State::{Cancelled, Completed, Failed, Skipped};

        let waits_for = self.waits_for.get(&task).ok_or_else(|| format!("{task} has no plan"))?;
        let open = waits_for.iter().find(|(on, on_loss)| match self.tasks.get(on) {
            Some(Completed) => false,
            Some(Failed | Skipped | Cancelled) => {
                !matches!(on_loss, OnLoss::Continue | OnLoss::AlwaysRun)
            }
            _ => true,
        });
        must(open.is_none(), || format!("{task} was let go while {open:?} was not done"))
    }

    /// No delivery goes before those of earlier events.
    fn has_turn(&self, delivery: DeliveryId) -> Judged {
        let Some((_, endpoint, seq)) = self.deliveries.get(&delivery) else {
            return Err(format!("{delivery} is of no event"));
        };
        let earliest = self.open.get(endpoint).and_then(BTreeSet::first);
        must(earliest == Some(seq), || {
            format!("{delivery} of event {seq} was claimed before that of event {earliest:?}")
        })
    }

    fn ended(
        &mut self,
        commit: &Commit<'_>,
        job: Job,
        attempt: u32,
        how: attempt::State,
    ) -> Judged {
        let work = self.work_of(job)?;
        let last = work.attempt;
        must(last == attempt, || {
            format!("attempt {attempt} of {job} came to its end, but {last} is running")
        })?;
        let held = work.held.take();
        let held = held.ok_or_else(|| format!("attempt {attempt} of {job} ended twice"))?;
        must(how != attempt::State::Running, || format!("{job} ended as running"))?;
        must(how != attempt::State::Lost || held.until <= commit.at, || {
            format!("{job} was taken from {} who had kept it until {}", held.holder, held.until)
        })?;
        let named = commit.fence.filter(|fence| fence.job == job);
        must(named.is_none_or(|fence| fence.attempt == attempt), || {
            format!("attempt {attempt} of {job} ended by somebody else's word: {named:?}")
        })
    }

    fn delivery(
        &mut self,
        id: DeliveryId,
        from: Option<delivery::State>,
        to: delivery::State,
    ) -> Judged {
        use delivery::State::*;

        let known = self.deliveries.get_mut(&id);
        let (state, endpoint, seq) = known.ok_or_else(|| format!("{id} is of no event"))?;
        let before = std::mem::replace(state, to);
        let legal = match (from, to) {
            (None, Pending) => true,
            (Some(from), to) => {
                before == from
                    && matches!(
                        (from, to),
                        (Pending, InProgress)
                            | (InProgress, Pending | Delivered | Exhausted)
                            | (Delivered | Exhausted, Pending)
                    )
            }
            _ => false,
        };
        must(legal, || format!("{id} went from {from:?} (it was {before}) to {to}"))?;
        let open = self.open.entry(*endpoint).or_default();
        if to.is_final() {
            open.remove(seq)
        } else {
            open.insert(*seq)
        };
        Ok(())
    }

    /// After a commit, what it touched stands where its state says.
    fn check_stands(&self, commit: &Commit<'_>) -> Judged {
        for fact in commit.facts {
            let (job, in_progress, ready) = match fact {
                Fact::Task { task, .. } => {
                    let state = self.tasks[task];
                    let is = |other| state == other;
                    (Job::Task(*task), is(task::State::InProgress), is(task::State::Ready))
                }
                Fact::Build { build, .. } => {
                    let state = self.builds[build];
                    let is = |other| state == other;
                    (Job::Plan(*build), is(build::State::Planning), is(build::State::Queued))
                }
                Fact::Delivery { delivery, .. } => {
                    let state = self.deliveries[delivery].0;
                    let is = |other| state == other;
                    let pending = is(delivery::State::Pending);
                    (Job::Delivery(*delivery), is(delivery::State::InProgress), pending)
                }
                _ => continue,
            };
            let Some(work) = self.work.get(&job) else { return Err(format!("{job} is unknown")) };
            must(work.held.is_some() == in_progress, || {
                format!("{job} is in progress: {in_progress}, and held: {:?}", work.held)
            })?;
            must(!ready || work.is_ready, || format!("{job} waits and is in no lane"))?;
        }
        Ok(())
    }

    /// Limits and fairness, for what a commit claimed.
    fn check_claims(&mut self, commit: &Commit<'_>) -> Judged {
        for fact in commit.facts {
            match fact {
                Fact::Claimed { job, attempt, .. } => {
                    self.counts.claimed(commit.at, *job, &self.work[job])?;
                    self.rounds.claimed(*job, *attempt, &self.work[job])?;
                }
                Fact::Ended { job, .. } => self.counts.ended(*job, &self.work[job]),
                Fact::Ready { job, due_at, parked_on, .. } => {
                    let is_due = *due_at <= commit.at;
                    self.rounds.ready(*job, is_due, parked_on.as_ref(), &self.work[job]);
                }
                Fact::Task { task, to, .. } if to.is_final() => {
                    self.rounds.gone(Job::Task(*task));
                }
                Fact::Build { build, to, .. } if to.is_final() => {
                    self.rounds.gone(Job::Plan(*build));
                }
                Fact::Paused { .. } | Fact::Weight { .. } | Fact::Limits(_) => self.rounds.forget(),
                _ => {}
            }
        }
        Ok(())
    }
}
