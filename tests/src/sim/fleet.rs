//! The processes of the fleet: started, killed, stopped, held still and cut off.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use buildfleet::{
    domain::retry::Policy,
    member::Member,
    queue::{Queue, memory::Memory, serve::Work},
    store::{BuildClaim, DeliveryClaim, Store, TaskClaim},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use worker::{
    plan::handle::{Approval, PlanWorker},
    sweep::{self, Sweep},
    task::handle::TaskWorker,
};

use super::{
    chance::Chance,
    faulty_queue::FaultyQueue,
    faulty_store::FaultyStore,
    line::{Line, Weather, World},
    store::Model,
    witness::Witness,
    work::{ByChance, Dispatcher, Ear, Workshop},
};

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Plans,
    Tasks,
    Deliveries,
    /// All in one, as `buildfleet dev` is.
    All,
}

/// What all processes of a run have in common.
pub struct Ground {
    pub seed: u64,
    pub model: Model,
    pub queue: Arc<Memory>,
    pub world: World,
    pub witness: Witness,
    pub ear: Ear,
    pub lease: Duration,
    pub time_limit: Duration,
    /// How long the tasks of a plan may take together.
    pub build_time_limit: Duration,
    pub approve_within: Duration,
    pub weather: Weather,
    pub sweep: Sweep,
    pub asked: Arc<Mutex<BTreeMap<String, u32>>>,
    pub poison: mpsc::UnboundedSender<usize>,
}

impl Ground {
    /// A line for a new process or client.
    pub fn line(&self, stream: u64) -> Line {
        Line::new(Chance::new(self.seed, stream), self.weather, self.world.clone())
    }

    pub fn store(&self, line: &Line) -> Arc<dyn Store> {
        Arc::new(FaultyStore::new(self.model.connect(), line.clone()))
    }
}

pub struct Process {
    pub number: usize,
    role: Role,
    slots: u32,
    /// How often it was started.
    starts: u64,
    running: Option<Running>,
}

struct Running {
    line: Line,
    stop: CancellationToken,
    futures: JoinSet<()>,
}

impl Process {
    pub fn new(number: usize, role: Role, slots: u32) -> Self {
        Self { number, role, slots, starts: 0, running: None }
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The holders that this process was, since its last start.
    pub fn holders(&self) -> BTreeSet<buildfleet::domain::id::HolderId> {
        self.running.as_ref().map(|running| running.line.holders()).unwrap_or_default()
    }

    pub fn start(&mut self, ground: &Arc<Ground>) {
        self.starts += 1;
        let line = ground.line((self.number as u64 + 1) << 32 | self.starts);
        let store = ground.store(&line);
        let queue: Arc<dyn Queue> =
            Arc::new(FaultyQueue::new(Arc::clone(&ground.queue), line.clone()));
        let stop = CancellationToken::new();
        let (member, waker) = Member::new(store, queue, "sim", stop.clone());
        let seat = Seat {
            ground: Arc::clone(ground),
            member,
            line: line.clone(),
            slots: self.slots,
            process: self.number,
        };
        let role = self.role;
        let mut futures = JoinSet::new();
        futures.spawn(Box::pin(Member::run(waker, seat.work(role))));
        self.running = Some(Running { line, stop, futures });
    }

    /// Ends it between two instructions.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Tells it to stop, and leaves it some time.
    pub async fn stop(&mut self, within: Duration) {
        let Some(mut running) = self.running.take() else { return };
        running.stop.cancel();
        tokio::time::timeout(within, running.futures.join_next()).await.ok();
    }

    pub fn stand_still(&self, during: Duration) {
        if let Some(running) = &self.running {
            running.line.stand_still(during);
        }
    }

    pub fn cut(&self, during: Duration) {
        if let Some(running) = &self.running {
            running.line.cut(during);
        }
    }
}

/// A process at work.
struct Seat {
    ground: Arc<Ground>,
    member: Member,
    line: Line,
    slots: u32,
    process: usize,
}

impl Seat {
    async fn work(self, role: Role) {
        let is = |wanted: Role| role == wanted || role == Role::All;
        let sweeping = async {
            if role != Role::Deliveries {
                sweep::run(self.ground.sweep, &self.member).await;
            }
        };
        let plans = async {
            if is(Role::Plans) {
                self.plans().await;
            }
        };
        let tasks = async {
            if is(Role::Tasks) {
                self.tasks().await;
            }
        };
        let deliveries = async {
            if is(Role::Deliveries) {
                self.deliveries().await;
            }
        };
        tokio::join!(sweeping, plans, tasks, deliveries);
    }

    async fn plans(&self) {
        let ground = &self.ground;
        let planner = ByChance {
            seed: ground.seed,
            asked: Arc::clone(&ground.asked),
            line: self.line.clone(),
        };
        let worker = Arc::new(PlanWorker {
            store: Arc::clone(&self.member.store),
            planner: Arc::new(planner),
            lease: ground.lease,
            time_limit: ground.time_limit,
            build_time_limit: (!ground.seed.is_multiple_of(3)).then_some(ground.build_time_limit),
            retry: Policy::WORK,
            approval: Approval { always: false, within: ground.approve_within },
            straighten: ground.seed.is_multiple_of(2),
            stop: self.member.stop.clone(),
        });
        let handler = move |work: Work<BuildClaim>| {
            let worker = Arc::clone(&worker);
            async move { worker.handle(work).await }
        };
        self.member.serve(ground.lease, self.slots, handler).await;
    }

    async fn tasks(&self) {
        let ground = &self.ground;
        let runner = Workshop {
            seed: ground.seed,
            line: self.line.clone(),
            poison: ground.poison.clone(),
            process: self.process,
        };
        let worker = Arc::new(TaskWorker {
            store: Arc::clone(&self.member.store),
            runner: Arc::new(runner),
            lease: ground.lease,
            time_limit: ground.time_limit,
            retry: Policy::WORK,
            stop: self.member.stop.clone(),
        });
        let handler = move |work: Work<TaskClaim>| {
            let worker = Arc::clone(&worker);
            async move { worker.handle(work).await }
        };
        self.member.serve(ground.lease, self.slots, handler).await;
    }

    async fn deliveries(&self) {
        let ground = &self.ground;
        let dispatcher = Arc::new(Dispatcher {
            seed: ground.seed,
            store: Arc::clone(&self.member.store),
            lease: ground.lease,
            line: self.line.clone(),
            ear: ground.ear.clone(),
            witness: ground.witness.clone(),
        });
        let handler = move |work: Work<DeliveryClaim>| {
            let dispatcher = Arc::clone(&dispatcher);
            async move { dispatcher.handle(work).await }
        };
        self.member.serve(ground.lease, self.slots, handler).await;
    }
}
