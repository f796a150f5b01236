//! The rows of the model store, and the one place that moves leased work between its indices.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use buildfleet::{
    domain::{
        attempt::{self, Failure},
        brief::Brief,
        build::{self, Stop},
        delivery,
        dependency::OnLoss,
        event::{Kind, Tally},
        exchange::Exchange,
        id::{BuildId, DeliveryId, EndpointId, HolderId, PlanId, TaskId},
        limit::{By, Gate, Limit, Rate},
        plan::DraftTask,
        task,
    },
    job::{Job, Lane},
    store::{At, AuditEntry, EventView, FileContent, NewEndpoint, Pause, PlanView, WorkerBeat},
};
use secrecy::SecretString;
use ulid::Ulid;

use super::feed::{Commit, Fact, Plant, Watch};

/// A number that sorts: of work, the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rank(pub f64);

impl Eq for Rank {}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What builds, tasks and deliveries have in common: they are leased.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub build: BuildId,
    pub tenant: String,
    pub band: u8,
    pub kind: String,
    pub key: Option<String>,
    pub cost: u32,
    pub attempt: u32,
    pub failures: u32,
    pub crashes: u32,
    /// `None` until it is ready for the first time.
    pub rank: Option<f64>,
    pub stand: Stand,
}

/// Where leased work is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stand {
    /// Not ready, or final.
    Away,
    Ready {
        due_at: i64,
        parked_on: Option<Gate>,
    },
    Held {
        holder: HolderId,
        until: i64,
    },
}

#[derive(Debug, Clone)]
pub(super) struct AttemptRow {
    pub holder: HolderId,
    pub state: attempt::State,
    pub failure: Option<Failure>,
    pub started_at: i64,
    pub settled_at: Option<i64>,
    pub status: Option<u16>,
    pub took_ms: Option<u64>,
    pub excerpt: Option<String>,
    pub exchange: Option<Exchange>,
}

#[derive(Debug, Clone)]
pub(super) struct BuildRow {
    pub id: BuildId,
    pub tenant: String,
    pub brief: Brief,
    pub state: build::State,
    /// Key and hash.
    pub idempotency: Option<(String, String)>,
    pub deadline_at: Option<i64>,
    pub plan: Option<PlanId>,
    /// Every plan it ever had, oldest first.
    pub plans: Vec<PlanId>,
    pub stop: Option<Stop>,
    pub forked_from: Option<TaskId>,
    pub tally: Tally,
    pub endpoint: Option<EndpointRow>,
    pub events: Vec<EventView>,
    pub files: BTreeMap<String, FileContent>,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub settled_at: Option<i64>,
    pub updated_at: i64,
}

#[derive(Debug, Clone)]
pub(super) struct EndpointRow {
    pub id: EndpointId,
    pub url: String,
    pub secret: SecretString,
    pub wants: Vec<Kind>,
    /// By number of event; those that are not final.
    pub open: BTreeMap<u64, DeliveryId>,
}

impl From<NewEndpoint> for EndpointRow {
    fn from(new: NewEndpoint) -> Self {
        let NewEndpoint { id, url, secret, events } = new;
        Self { id, url, secret, wants: events, open: BTreeMap::new() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct PlanRow {
    pub view: PlanView,
    /// In the order of the plan.
    pub tasks: Vec<TaskId>,
    /// Who writes each path last.
    pub writers: BTreeMap<String, TaskId>,
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(super) struct TaskRow {
    pub id: TaskId,
    pub build: BuildId,
    pub plan: PlanId,
    pub place: usize,
    pub draft: DraftTask,
    pub depends_on: Vec<(TaskId, OnLoss)>,
    pub dependents: Vec<TaskId>,
    pub waiting_on: u32,
    pub state: task::State,
    pub failure: Option<Failure>,
    pub logs: Vec<String>,
    pub started_at: Option<i64>,
    pub settled_at: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) struct DeliveryRow {
    pub id: DeliveryId,
    pub build: BuildId,
    pub endpoint: EndpointId,
    pub seq: u64,
    pub kind: Kind,
    pub state: delivery::State,
    pub failure: Option<Failure>,
    pub created_at: i64,
    pub settled_at: Option<i64>,
}

/// A lane and its indices.
#[derive(Debug, Default)]
pub(super) struct LaneRow {
    pub virtual_time: f64,
    /// By tenant and priority: where the next work follows on.
    pub flows: BTreeMap<(String, u8), f64>,
    pub claimable: BTreeSet<(Rank, Job)>,
    pub timed: BTreeSet<(i64, Job)>,
    pub parked: BTreeMap<Gate, BTreeSet<(Rank, Job)>>,
    pub held: BTreeSet<Job>,
}

/// Everything that the model store remembers, and what the commit at hand has done so far.
pub struct Record {
    /// Of the commit at hand; in milliseconds since 1970.
    pub(super) now: i64,
    pub(super) plant: Option<Plant>,
    pub(super) watch: Option<Box<dyn Watch>>,
    drawn: u128,
    pub(super) facts: Vec<Fact>,
    pub(super) claimable: Vec<Job>,
    pub(super) recalled: Vec<BuildId>,
    /// Flows out of which work went that nobody had claimed.
    pub(super) gapped: BTreeSet<(Lane, String, u8)>,

    pub(super) builds: BTreeMap<BuildId, BuildRow>,
    pub(super) plans: BTreeMap<PlanId, PlanRow>,
    pub(super) tasks: BTreeMap<TaskId, TaskRow>,
    pub(super) deliveries: BTreeMap<DeliveryId, DeliveryRow>,
    pub(super) work: BTreeMap<Job, Work>,
    pub(super) attempts: BTreeMap<(Job, u32), AttemptRow>,
    pub(super) lanes: [LaneRow; 3],
    pub(super) limits: BTreeMap<String, Limit>,
    /// By limit and value: tokens, and when they were written.
    pub(super) buckets: BTreeMap<(String, String), (f64, i64)>,
    pub(super) weights: BTreeMap<String, f64>,
    pub(super) pauses: BTreeMap<Gate, Pause>,
    pub(super) audit: Vec<AuditEntry>,
    /// With when it began and when it was last heard of.
    pub(super) workers: BTreeMap<HolderId, (WorkerBeat, i64, i64)>,
}

impl Record {
    pub(super) fn new(plant: Option<Plant>) -> Self {
        Self {
            now: 0,
            plant,
            watch: None,
            drawn: 0,
            facts: Vec::new(),
            claimable: Vec::new(),
            recalled: Vec::new(),
            gapped: BTreeSet::new(),
            builds: BTreeMap::new(),
            plans: BTreeMap::new(),
            tasks: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            work: BTreeMap::new(),
            attempts: BTreeMap::new(),
            lanes: Default::default(),
            limits: default_limits(),
            buckets: BTreeMap::new(),
            weights: BTreeMap::new(),
            pauses: BTreeMap::new(),
            audit: Vec::new(),
            workers: BTreeMap::new(),
        }
    }

    /// An id that ascends, and is the same in every run.
    pub(super) fn draw<I: From<Ulid>>(&mut self) -> I {
        self.drawn += 1;
        I::from(Ulid::from_parts(0, self.drawn))
    }

    pub(super) fn has(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    pub(super) fn tell(&mut self, fact: Fact) {
        self.facts.push(fact);
    }

    /// Tells whoever watches, and forgets what the commit did.
    pub(super) fn end_commit(
        &mut self,
        verb: &'static str,
        fence: Option<buildfleet::store::Fence>,
        is_refused: bool,
    ) {
        let facts = std::mem::take(&mut self.facts);
        let commit = Commit { at: self.now, verb, fence, is_refused, facts: &facts };
        if let Some(watch) = &mut self.watch {
            watch.committed(&commit);
        }
    }

    pub(super) fn lane(&self, lane: Lane) -> &LaneRow {
        &self.lanes[lane.index()]
    }

    pub(super) fn lane_mut(&mut self, lane: Lane) -> &mut LaneRow {
        &mut self.lanes[lane.index()]
    }

    pub(super) fn add_work(&mut self, job: Job, work: Work) {
        self.tell(Fact::Work {
            job,
            build: work.build,
            tenant: work.tenant.clone(),
            band: work.band,
            kind: work.kind.clone(),
            key: work.key.clone(),
            cost: work.cost,
        });
        self.work.insert(job, work);
    }

    /// Moves work to another stand, and to the indices that go with it.
    pub(super) fn put(&mut self, job: Job, stand: Stand) {
        let Some(work) = self.work.get_mut(&job) else { return };
        let rank = Rank(work.rank.unwrap_or_default());
        let before = std::mem::replace(&mut work.stand, stand.clone());
        let lane = &mut self.lanes[job.lane().index()];
        match &before {
            Stand::Away => {}
            Stand::Ready { parked_on: None, .. } => {
                lane.claimable.remove(&(rank, job));
            }
            Stand::Ready { due_at, parked_on: Some(Gate::Time) } => {
                lane.timed.remove(&(*due_at, job));
            }
            Stand::Ready { parked_on: Some(gate), .. } => {
                if let Some(parked) = lane.parked.get_mut(gate) {
                    parked.remove(&(rank, job));
                    if parked.is_empty() {
                        lane.parked.remove(gate);
                    }
                }
            }
            Stand::Held { .. } => {
                lane.held.remove(&job);
            }
        }
        match &stand {
            Stand::Away => {}
            Stand::Ready { parked_on: None, .. } => {
                lane.claimable.insert((rank, job));
            }
            Stand::Ready { due_at, parked_on: Some(Gate::Time) } => {
                lane.timed.insert((*due_at, job));
            }
            Stand::Ready { parked_on: Some(gate), .. } => {
                lane.parked.entry(gate.clone()).or_default().insert((rank, job));
            }
            Stand::Held { .. } => {
                lane.held.insert(job);
            }
        }
        if let Stand::Ready { due_at, parked_on } = stand {
            self.tell(Fact::Ready { job, rank: rank.0, due_at, parked_on });
        }
    }

    /// Gives work that is in no index another rank.
    pub(super) fn set_rank(&mut self, job: Job, rank: f64) {
        if let Some(work) = self.work.get_mut(&job) {
            debug_assert!(!matches!(work.stand, Stand::Ready { .. }), "it is in an index");
            work.rank = Some(rank);
        }
    }
}

/// Those that the migrations put in.
fn default_limits() -> BTreeMap<String, Limit> {
    let limit = |name: &str, lane, most, rate| {
        let name = name.to_owned();
        let by = By::All;
        (
            name.clone(),
            Limit { name, lane: Some(lane), by, value: None, concurrency: Some(most), rate },
        )
    };
    let rate = Rate { count: 20, per: Duration::from_secs(1) };
    BTreeMap::from([
        limit("plans", Lane::Plans, 2, None),
        limit("tasks", Lane::Tasks, 5, None),
        limit("deliveries", Lane::Deliveries, 10, Some(rate)),
    ])
}

pub(super) const fn at(ms: i64) -> At {
    At(ms)
}

pub(super) fn at_if_any(ms: Option<i64>) -> Option<At> {
    ms.map(At)
}

/// So much later, in whole milliseconds.
pub(super) fn later(now: i64, by: Duration) -> i64 {
    now.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}
