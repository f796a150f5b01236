//! Whatever happens to the fleet from outside: clients who want things, operators who change
//! things, and everything that can go wrong with processes, servers and clocks.

use std::{future::Future, sync::Arc, time::Duration};

use buildfleet::{
    domain::{
        brief::{Brief, OnTaskFailure},
        build,
        dependency::OnLoss,
        event::Kind,
        id::BuildId,
        limit::{By, Gate, Limit, Rate},
        settle::ByHand,
        task::Operation,
    },
    job::Lane,
    queue::Queue as _,
    store::{BuildsWanted, DeliveriesWanted, Error, Idempotency, NewBuild, NewEndpoint, Store},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use ulid::Ulid;

use super::{
    chance::Chance,
    fleet::{Ground, Process},
    shapes::{self, Shape},
};

pub const TENANTS: &[&str] = &["ant", "bee", "cat", "dog"];
/// Drawn for builds and endpoints, far from what the store draws.
const CLIENTS: u128 = 1 << 60;

pub struct Director {
    pub ground: Arc<Ground>,
    pub chance: Chance,
    pub processes: Vec<Process>,
    /// When a process that is down starts again.
    restarts: Vec<Option<Instant>>,
    poisoned: mpsc::UnboundedReceiver<usize>,
    clients: JoinSet<()>,
    /// A client's own connection.
    store: Arc<dyn Store>,
    pub submitted: Vec<BuildId>,
    temper: Temper,
}

/// What a run is made of, beside what goes wrong in it.
#[derive(Debug, Clone, Copy)]
struct Temper {
    builds: usize,
    /// One tenant wants much at once, and another a little now and then.
    is_crowded: bool,
    changes_limits: bool,
    changes_weights: bool,
    shuts_gates: bool,
    /// How many builds may be forked.
    forks: usize,
}

impl Temper {
    fn draw(chance: &mut Chance) -> Self {
        let is_crowded = chance.once_in(3);
        let builds = if is_crowded { chance.between(6, 12) } else { chance.between(3, 8) };
        Self {
            builds: usize::try_from(builds).unwrap_or(3),
            is_crowded,
            changes_limits: chance.below(3) > u64::from(is_crowded),
            changes_weights: chance.once_in(3),
            shuts_gates: chance.once_in(2),
            forks: 2,
        }
    }
}

impl Director {
    pub fn new(
        ground: Arc<Ground>,
        mut chance: Chance,
        processes: Vec<Process>,
        poisoned: mpsc::UnboundedReceiver<usize>,
    ) -> Self {
        let temper = Temper::draw(&mut chance);
        let store = ground.store(&ground.line(7));
        let restarts = vec![None; processes.len()];
        let clients = JoinSet::new();
        let submitted = Vec::new();
        Self { ground, chance, processes, restarts, poisoned, clients, store, submitted, temper }
    }

    /// Lets things happen until `end`, or until something is found to be wrong.
    pub async fn direct(&mut self, end: Instant) {
        for process in &mut self.processes {
            process.start(&self.ground);
        }
        while Instant::now() < end && self.ground.witness.broken().is_none() {
            let after = self.chance.millis(5, 300);
            sleep_until((Instant::now() + after).min(end)).await;
            while self.clients.try_join_next().is_some() {}
            while let Ok(number) = self.poisoned.try_recv() {
                self.kill(number, "killed by its work");
            }
            self.restart();
            self.act().await;
        }
    }

    async fn act(&mut self) {
        if self.submitted.len() < self.temper.builds && self.chance.once_in(4) {
            self.submit();
        }
        let number = usize::try_from(self.chance.below(self.processes.len() as u64)).unwrap_or(0);
        let lease = self.ground.lease;
        match self.chance.below(100) {
            0..7 => self.kill(number, "killed"),
            7..14 => {
                let during = self.some_of(lease * 2);
                self.processes[number].stand_still(during);
                self.happened("stood still", format!("{number} stands still for {during:?}"));
            }
            14..19 => {
                let during = self.some_of(lease * 2);
                self.processes[number].cut(during);
                self.happened("cut off for a while", format!("{number} is cut off for {during:?}"));
            }
            19..24 => self.stop(number).await,
            24..27 => {
                let during = self.some_of(lease);
                self.ground.world.store_is_away(during);
                self.happened("store away", format!("the store is away for {during:?}"));
            }
            27..31 => {
                let during = self.some_of(lease * 3);
                self.ground.world.queue_is_away(during);
                self.happened("queue away", format!("the queue is away for {during:?}"));
            }
            31..36 => self.flush().await,
            36..38 => {
                let by = self.some_of(lease);
                self.ground.model.put_forward(by);
                self.happened("clock put forward", format!("the clock leaps by {by:?}"));
            }
            38..48 => self.meddle_with_a_build(),
            48..56 if self.temper.changes_limits => self.change_a_limit(),
            56..62 if self.temper.shuts_gates => self.shut_or_open_a_gate(),
            62..64 if self.temper.changes_weights => {
                let tenant = *self.chance.pick(TENANTS);
                let weight = *self.chance.pick(&[0.5, 1.0, 1.0, 2.0, 4.0]);
                self.by_client(move |store| async move {
                    store.put_weight(tenant, weight, "sim").await
                });
            }
            64..67 => self.redeliver(),
            67..77 => self.meddle_with_a_task(),
            _ => {}
        }
    }

    fn some_of(&mut self, most: Duration) -> Duration {
        self.chance.millis(50, u64::try_from(most.as_millis()).unwrap_or(u64::MAX))
    }

    fn happened(&self, what: &'static str, line: String) {
        self.ground.world.fault(what);
        self.ground.world.note(|| line);
    }

    fn kill(&mut self, number: usize, what: &'static str) {
        if self.processes[number].is_running() {
            self.processes[number].kill();
            let after = self.chance.millis(0, 6000);
            self.restarts[number] = Some(Instant::now() + after);
            self.happened(what, format!("{number} is {what}"));
        }
    }

    async fn stop(&mut self, number: usize) {
        if self.processes[number].is_running() {
            let within = self.chance.millis(0, 4000);
            self.happened("stopped", format!("{number} is stopped within {within:?}"));
            self.processes[number].stop(within).await;
            self.restarts[number] = Some(Instant::now());
        }
    }

    fn restart(&mut self) {
        for (process, at) in self.processes.iter_mut().zip(&mut self.restarts) {
            if at.is_some_and(|at| at <= Instant::now()) {
                *at = None;
                process.start(&self.ground);
            }
        }
    }

    async fn flush(&mut self) {
        let queue = &self.ground.queue;
        let nobody = Ulid::nil().into();
        for lane in Lane::ALL {
            if let Ok(taken) = queue.take(*lane, nobody, usize::MAX, Duration::ZERO).await {
                let receipts: Vec<String> = taken.into_iter().map(|taken| taken.receipt).collect();
                queue.done(*lane, &receipts).await.ok();
            }
        }
        self.happened("queue flushed", "the queue is flushed".to_owned());
    }

    /// Has a client ask for something, once.
    fn by_client<T, F>(&mut self, ask: impl FnOnce(Arc<dyn Store>) -> F)
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let asking = ask(Arc::clone(&self.store));
        self.clients.spawn(async move {
            asking.await.ok();
        });
    }

    fn submit(&mut self) {
        let number = self.submitted.len() as u128;
        let chance = &mut self.chance;
        let id: BuildId = Ulid::from_parts(0, CLIENTS + 2 * number).into();
        let mut tenant = *chance.pick(TENANTS);
        let mut shape = Shape::Any;
        if self.temper.is_crowded {
            (tenant, shape) = match number {
                0 | 1 => (TENANTS[0], Shape::Wide),
                _ => (*chance.pick(&TENANTS[1..]), Shape::Small),
            };
        }
        let tenant = tenant.to_owned();
        let key = *chance.pick(&[None, None, Some("one"), Some("two")]);
        let brief = Brief {
            require_approval: chance.once_in(8),
            on_task_failure: *chance.pick(OnTaskFailure::ALL),
            on_loss: if chance.once_in(2) { OnLoss::Skip } else { *chance.pick(OnLoss::ALL) },
            priority: if chance.once_in(2) {
                3
            } else {
                u8::try_from(chance.between(1, 5)).unwrap_or(3)
            },
            deadline_secs: chance.once_in(8).then(|| chance.between(5, 120)),
            limit_key: key.map(str::to_owned),
            ..Brief::of(format!("{number} {}", shape.as_str()))
        };
        let some = [Kind::TaskCompleted, Kind::BuildCompleted, Kind::BuildFailed];
        let wants: &[Kind] = if chance.once_in(3) { &some } else { &[] };
        let webhook = chance.once_in(2).then(|| NewEndpoint {
            id: Ulid::from_parts(0, CLIENTS + 2 * number + 1).into(),
            url: "http://receiver.test/hook".to_owned(),
            secret: "whsec_c2VjcmV0".to_owned().into(),
            events: wants.to_vec(),
        });
        let idempotency =
            Some(Idempotency { key: number.to_string(), request_hash: number.to_string() });
        let new = NewBuild { id, tenant, brief, idempotency, webhook };
        self.submitted.push(id);
        let witness = self.ground.witness.clone();
        // Whoever hears no answer asks again, with the same key and another id.
        self.by_client(move |store| async move {
            let mut new = new;
            for again in 0u128.. {
                match store.submit(new.clone()).await {
                    Ok(_) => break,
                    Err(Error::Unavailable { .. }) => sleep(Duration::from_millis(100)).await,
                    Err(error) => {
                        witness.object(format!("build {number} was refused: {error}"));
                        break;
                    }
                }
                new.id = Ulid::from_parts(0, CLIENTS * 2 + (number << 32) + again).into();
            }
            Ok(())
        });
    }

    /// The builds that the record knows.
    pub async fn builds(&self) -> Vec<(BuildId, build::State)> {
        let mut builds = Vec::new();
        for tenant in TENANTS {
            let wanted = BuildsWanted {
                tenant: (*tenant).to_owned(),
                state: None,
                project_id: None,
                limit: 1000,
                after: None,
            };
            if let Ok(page) = self.ground.model.builds(&wanted).await {
                builds.extend(page.rows.into_iter().map(|build| (build.id, build.state)));
            }
        }
        builds
    }

    fn meddle_with_a_build(&mut self) {
        let Some(build) = self.some_build() else { return };
        let lot = self.chance.below(10);
        self.ground.world.note(|| format!("a client meddles with {build} ({lot})"));
        self.by_client(move |store| async move {
            match store.build(build).await?.state {
                build::State::PendingApproval if lot < 7 => {
                    let plan = store.plan_of(build).await?.id;
                    store.approve_plan(plan).await
                }
                build::State::PendingApproval => {
                    let plan = store.plan_of(build).await?.id;
                    store.reject_plan(plan, "plan_rejected", "no").await
                }
                build::State::Failed | build::State::Cancelled => store.retry_build(build).await,
                _ if lot < 4 => store.cancel_build(build).await,
                _ => store.build(build).await,
            }
        });
    }

    fn meddle_with_a_task(&mut self) {
        let Some(build) = self.some_build() else { return };
        let mut chance = Chance::new(self.chance.draw(), 0);
        let forks = self.temper.forks > 0;
        let lot = chance.below(if forks { 8 } else { 7 });
        self.temper.forks -= usize::from(lot == 7);
        self.ground.world.note(|| format!("a client meddles with a task of {build} ({lot})"));
        self.by_client(move |store| async move {
            let tasks = store.tasks(build).await?;
            if tasks.is_empty() {
                return Ok(());
            }
            let task = chance.pick(&tasks).id;
            match lot {
                0 | 1 => drop(store.end_task(task, ByHand::Cancel, "not wanted").await?),
                2 | 3 => drop(store.end_task(task, ByHand::Skip, "not needed").await?),
                4 => drop(store.retry_task(task).await?),
                5 | 6 => {
                    let keys: Vec<String> = tasks.into_iter().map(|task| task.key).collect();
                    let prefix = format!("n{}x", keys.len());
                    let added = shapes::additions(&mut chance, &prefix, &keys);
                    drop(store.add_tasks(build, &added).await?);
                }
                _ => drop(store.fork(task, None).await?),
            }
            Ok(())
        });
    }

    fn some_build(&mut self) -> Option<BuildId> {
        if self.submitted.is_empty() { None } else { Some(*self.chance.pick(&self.submitted)) }
    }

    fn change_a_limit(&mut self) {
        let chance = &mut self.chance;
        let name = *chance.pick(&["plans", "tasks", "deliveries", "first", "second", "third"]);
        if chance.once_in(4) {
            self.by_client(move |store| async move { store.remove_limit(name, "sim").await });
            return;
        }
        let lane = match name {
            "plans" => Some(Lane::Plans),
            "tasks" => Some(Lane::Tasks),
            "deliveries" => Some(Lane::Deliveries),
            _ => *chance.pick(&[None, Some(Lane::Tasks), Some(Lane::Tasks), Some(Lane::Plans)]),
        };
        let by = *chance.pick(By::ALL);
        let value = match by {
            By::Tenant if chance.once_in(2) => Some((*chance.pick(TENANTS)).to_owned()),
            By::Kind if chance.once_in(2) => Some(chance.pick(Operation::ALL).to_string()),
            By::Key if chance.once_in(2) => Some("one".to_owned()),
            _ => None,
        };
        let per = chance.millis(200, 3000);
        let rate = chance
            .once_in(4)
            .then(|| Rate { count: u32::try_from(chance.between(1, 10)).unwrap_or(1), per });
        let least = u64::from(!chance.once_in(12));
        let most = u32::try_from(chance.between(least, 8)).unwrap_or(1);
        let concurrency = (rate.is_none() || chance.once_in(2)).then_some(most);
        let limit = Limit { name: name.to_owned(), lane, by, value, concurrency, rate };
        self.ground.world.note(|| format!("{limit:?}"));
        self.by_client(move |store| async move { store.put_limit(&limit, "sim").await });
    }

    fn shut_or_open_a_gate(&mut self) {
        let gate = match self.chance.below(4) {
            0 => Gate::Lane(*self.chance.pick(Lane::ALL)),
            1 => Gate::Tenant((*self.chance.pick(TENANTS)).to_owned()),
            _ => match self.some_build() {
                Some(build) => Gate::Build(build),
                None => return,
            },
        };
        let opens = self.chance.once_in(2);
        self.by_client(move |store| async move {
            if opens { store.resume(&gate, "sim").await } else { store.pause(&gate, "sim").await }
        });
    }

    fn redeliver(&mut self) {
        let tenant = (*self.chance.pick(TENANTS)).to_owned();
        let lot = self.chance.draw();
        self.by_client(move |store| async move {
            let wanted =
                DeliveriesWanted { tenant, build: None, state: None, limit: 50, after: None };
            let rows = store.deliveries(&wanted).await?.rows;
            let done: Vec<_> = rows.into_iter().filter(|row| row.settled_at.is_some()).collect();
            let count = done.len() as u64;
            if let Some(row) = done.get(usize::try_from(lot % count.max(1)).unwrap_or(0)) {
                store.redeliver(row.id).await?;
            }
            Ok(())
        });
    }

    /// Nothing goes wrong any more, and all that is shut is opened: from here on, whatever is open
    /// must come to its end.
    pub async fn make_peace(&mut self) {
        let ground = Arc::clone(&self.ground);
        ground.world.calm_down();
        ground.world.note(|| "nothing goes wrong any more".to_owned());
        for process in &mut self.processes {
            process.stand_still(Duration::ZERO);
            process.cut(Duration::ZERO);
            if !process.is_running() {
                process.start(&ground);
            }
        }
        self.restarts.iter_mut().for_each(|at| *at = None);
        // What clients have asked for before is answered first.
        while self.clients.join_next().await.is_some() {}
        while self.submitted.len() < self.temper.builds.min(3) {
            self.submit();
        }
        self.open_gates().await;
    }

    /// Ends all pauses, and leaves no limit that lets nothing through.
    pub async fn open_gates(&self) {
        let store = Arc::clone(&self.store);
        for pause in store.paused().await.unwrap_or_default() {
            store.resume(&pause.gate, "sim").await.ok();
        }
        for limit in store.limits().await.unwrap_or_default() {
            let rate = limit.rate.map(|rate| Rate { count: rate.count.max(5), ..rate });
            let concurrency = limit.concurrency.map(|most| most.max(3));
            store.put_limit(&Limit { concurrency, rate, ..limit }, "sim").await.ok();
        }
    }

    /// Says yes to whatever waits for a person, and brings back what its work has killed.
    pub async fn attend(&mut self) {
        for (build, state) in self.builds().await {
            if state == build::State::PendingApproval
                && let Ok(plan) = self.store.plan_of(build).await
            {
                self.store.approve_plan(plan.id).await.ok();
            }
        }
        while self.poisoned.try_recv().is_ok() {}
    }
}
