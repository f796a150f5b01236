//! One run: a function of its seed, from the first brief to the last delivery.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use buildfleet::queue::memory::Memory;
use tokio::{
    runtime,
    sync::mpsc,
    time::{Instant, sleep},
};
use worker::sweep::{PERIOD, Sweep};

use super::{
    chance::Chance,
    director::Director,
    fleet::{Ground, Process, Role},
    line::{Weather, World},
    store::{Model, feed::Plant},
    verdict,
    witness::{Seen, Witness},
    work::Ear,
};

/// What a run is told beside its seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    pub plant: Option<Plant>,
    /// How many calls in a thousand go wrong; drawn if not given.
    pub faults: Option<u64>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub seen: Seen,
    pub faults: BTreeMap<&'static str, u64>,
    /// Calls into outages, which are not counted as faults.
    pub in_vain: u64,
    pub builds: usize,
    /// How long it took by its own clock.
    pub lasted: Duration,
    /// The first thing that was wrong, if anything was.
    pub broken: Option<String>,
    /// The end of what happened; only if something was wrong.
    pub trace: Vec<String>,
}

impl Report {
    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// From the end of all faults until everything must have come to its end.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the last calls from before the peace may still take.
const ECHO: Duration = Duration::from_secs(5);

/// Runs a seed.
pub fn run(seed: u64, options: Options) -> Report {
    let mut builder = runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without threads can always be made");
    runtime.block_on(play(seed, options))
}

async fn play(seed: u64, options: Options) -> Report {
    let began = Instant::now();
    let mut chance = Chance::new(seed, 0);
    let model = Model::new(options.plant);
    let first = model.now();
    let witness = Witness::default();
    model.watched_by(Box::new(witness.clone()));
    let (poison, poisoned) = mpsc::unbounded_channel();
    let weather = options.faults.unwrap_or_else(|| chance.between(100, 400));
    let ground = Arc::new(Ground {
        seed,
        model: model.clone(),
        queue: Arc::new(Memory::new()),
        world: World::default(),
        witness: witness.clone(),
        ear: Ear::default(),
        lease: chance.millis(2000, 8000),
        time_limit: chance.millis(4000, 10_000),
        build_time_limit: chance.millis(30_000, 600_000),
        approve_within: chance.millis(3000, 40_000),
        weather: Weather { store: weather, queue: weather },
        sweep: if chance.once_in(2) { Sweep::FLEET } else { Sweep::ALONE },
        asked: Arc::new(Mutex::default()),
        poison,
    });
    let processes = fleet(&mut chance);
    let length = chance.millis(30_000, 50_000);
    let mut director = Director::new(Arc::clone(&ground), chance, processes, poisoned);

    director.direct(Instant::now() + length).await;
    if witness.broken().is_none() {
        director.make_peace().await;
        come_to_rest(&mut director).await;
    }
    if witness.broken().is_none()
        && let Err(wrong) = verdict::whole(&director).await
    {
        witness.object(wrong);
    }

    let broken = witness.broken();
    let trace = broken.is_some().then(|| trace(&ground, &witness, began, first));
    Report {
        seed,
        seen: witness.seen(),
        faults: ground.world.faults(),
        in_vain: ground.world.in_vain(),
        builds: director.submitted.len(),
        lasted: began.elapsed(),
        broken,
        trace: trace.unwrap_or_default(),
    }
}

/// Some of each, or some that do everything.
fn fleet(chance: &mut Chance) -> Vec<Process> {
    let mut roles = Vec::new();
    if chance.once_in(4) {
        roles.extend((0..chance.between(1, 3)).map(|_| Role::All));
    } else {
        for role in [Role::Plans, Role::Tasks, Role::Deliveries] {
            roles.extend((0..chance.between(1, 3)).map(|_| role));
        }
    }
    let slots = |chance: &mut Chance| u32::try_from(chance.between(1, 6)).unwrap_or(1);
    roles
        .into_iter()
        .enumerate()
        .map(|(number, role)| Process::new(number, role, slots(chance)))
        .collect()
}

/// Waits until everything has come to its end. Within a lease, nobody holds anything who is not
/// there any more.
async fn come_to_rest(director: &mut Director) {
    let witness = director.ground.witness.clone();
    let peace = Instant::now();
    let back_by = peace + director.ground.lease + PERIOD * 2 + ECHO;
    let mut is_looked_at = false;
    loop {
        director.attend().await;
        sleep(LOOK_EVERY).await;
        if witness.broken().is_some() || (is_looked_at && witness.open().is_empty()) {
            return;
        }
        if !is_looked_at && back_by <= Instant::now() {
            is_looked_at = true;
            // What a client asked for in the war may have been done long after its answer.
            director.open_gates().await;
            let alive: BTreeSet<_> = director.processes.iter().flat_map(Process::holders).collect();
            let held = witness.held_by_others(&alive);
            if !held.is_empty() {
                witness.object(format!("held by the dead after a lease: {}", held.join(", ")));
            }
        }
        if peace + PATIENCE <= Instant::now() {
            let open = witness.open();
            let (count, some) = (open.len(), open[..open.len().min(8)].join(", "));
            witness.object(format!("{count} did not come to their end: {some}"));
        }
    }
}

/// What the world did and what was committed, in one order.
fn trace(ground: &Ground, witness: &Witness, began: Instant, first: i64) -> Vec<String> {
    let notes = ground.world.notes();
    let mut lines: Vec<String> = notes
        .iter()
        .map(|(at, line)| format!("{:>8} ms* {line}", at.duration_since(began).as_millis()))
        .collect();
    let shown = lines.len().saturating_sub(40);
    lines.drain(..shown);
    lines.push(
        "(* by the world's clock; below by the store's, which may have been put forward)"
            .to_owned(),
    );
    lines.extend(witness.trace(first));
    lines
}
