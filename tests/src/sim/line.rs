//! A process's line to the outside: whatever it asks of the store or the queue goes through here,
//! and here it is held up, cut off, lost and answered wrongly, as the seed says.
//!
//! A process that stands still asks nothing and hears no answer until it goes on. What it has asked
//! before may be done all the same, also after its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use buildfleet::domain::id::HolderId;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::chance::Chance;

/// How much goes wrong, in a thousand calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    pub store: u64,
    pub queue: u64,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Done and answered, after so long each.
    Fine { there: Duration, back: Duration },
    /// Not done, and an error after so long.
    Refused { after: Duration },
    /// Done, and an error all the same.
    Unheard { there: Duration, back: Duration },
    /// An error at once, and done only later.
    Late { after: Duration },
}

/// What all lines have in common.
#[derive(Clone)]
pub struct World(Arc<Mutex<Common>>);

struct Common {
    faults: BTreeMap<&'static str, u64>,
    /// Calls into an outage: the outage is the fault, and these follow from it.
    in_vain: u64,
    /// Nothing goes wrong any more.
    is_calm: bool,
    store_away_until: Instant,
    queue_away_until: Instant,
    /// What goes on in the servers, whoever asked for it.
    servers: JoinSet<()>,
    notes: Vec<(Instant, String)>,
}

impl Default for World {
    fn default() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Common {
            faults: BTreeMap::new(),
            in_vain: 0,
            is_calm: false,
            store_away_until: now,
            queue_away_until: now,
            servers: JoinSet::new(),
            notes: Vec::new(),
        })))
    }
}

impl World {
    fn common(&self) -> MutexGuard<'_, Common> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something that went wrong.
    pub fn fault(&self, what: &'static str) {
        *self.common().faults.entry(what).or_default() += 1;
    }

    /// Keeps a line for the trace.
    pub fn note(&self, what: impl FnOnce() -> String) {
        let line = (Instant::now(), what());
        self.common().notes.push(line);
    }

    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.common().faults.clone()
    }

    /// Calls that were refused because a server was away or the process was cut off.
    pub fn in_vain(&self) -> u64 {
        self.common().in_vain
    }

    pub fn notes(&self) -> Vec<(Instant, String)> {
        self.common().notes.clone()
    }

    pub fn calm_down(&self) {
        let mut common = self.common();
        common.is_calm = true;
        (common.store_away_until, common.queue_away_until) = (Instant::now(), Instant::now());
    }

    pub fn is_calm(&self) -> bool {
        self.common().is_calm
    }

    pub fn store_is_away(&self, during: Duration) {
        self.common().store_away_until = Instant::now() + during;
    }

    pub fn queue_is_away(&self, during: Duration) {
        self.common().queue_away_until = Instant::now() + during;
    }

    /// Runs something in a server, to its end, whatever becomes of those who asked for it.
    pub fn in_server(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut common = self.common();
        while common.servers.try_join_next().is_some() {}
        common.servers.spawn(work);
    }
}

/// Which of the two a call goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Store,
    Queue,
}

/// The line of one process. Cheap to clone.
#[derive(Clone)]
pub struct Line(Arc<Mutex<Ends>>, World);

struct Ends {
    chance: Chance,
    weather: Weather,
    still_until: Instant,
    cut_until: Instant,
    holders: BTreeSet<HolderId>,
}

impl Line {
    pub fn new(chance: Chance, weather: Weather, world: World) -> Self {
        let now = Instant::now();
        let ends =
            Ends { chance, weather, still_until: now, cut_until: now, holders: BTreeSet::new() };
        Self(Arc::new(Mutex::new(ends)), world)
    }

    pub fn world(&self) -> &World {
        &self.1
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a lot of this process.
    pub fn draw<T>(&self, from: impl FnOnce(&mut Chance) -> T) -> T {
        from(&mut self.ends().chance)
    }

    /// The process claims under this name.
    pub fn holds_as(&self, holder: HolderId) {
        self.ends().holders.insert(holder);
    }

    /// All names under which it has claimed.
    pub fn holders(&self) -> BTreeSet<HolderId> {
        self.ends().holders.clone()
    }

    /// The process stands still for a while.
    pub fn stand_still(&self, during: Duration) {
        self.ends().still_until = Instant::now() + during;
    }

    /// It is cut off from both servers for a while.
    pub fn cut(&self, during: Duration) {
        self.ends().cut_until = Instant::now() + during;
    }

    /// Waits until the process does not stand still.
    pub async fn pass(&self) {
        loop {
            let until = self.ends().still_until;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    pub fn fate(&self, to: To) -> Fate {
        let (is_calm, is_away) = {
            let common = self.1.common();
            let away_until = match to {
                To::Store => common.store_away_until,
                To::Queue => common.queue_away_until,
            };
            (common.is_calm, Instant::now() < away_until)
        };
        let mut ends = self.ends();
        let is_cut = Instant::now() < ends.cut_until;
        let weather = match to {
            To::Store => ends.weather.store,
            To::Queue => ends.weather.queue,
        };
        let chance = &mut ends.chance;
        if is_calm {
            return Fate::Fine { there: chance.millis(0, 1), back: chance.millis(0, 1) };
        }
        let (fate, what) = if is_away || is_cut {
            let fate = Fate::Refused { after: chance.millis(0, 300) };
            drop(ends);
            self.1.common().in_vain += 1;
            return fate;
        } else if chance.per_mille(weather) {
            self::fault(chance)
        } else {
            let fate = Fate::Fine { there: chance.millis(0, 3), back: chance.millis(0, 3) };
            return fate;
        };
        drop(ends);
        self.1.fault(what);
        fate
    }
}

fn fault(chance: &mut Chance) -> (Fate, &'static str) {
    let (soon, long) = (chance.millis(0, 5), chance.millis(50, 4000));
    match chance.below(10) {
        0 | 1 => (Fate::Refused { after: soon }, "refused"),
        2 => (Fate::Refused { after: long }, "refused late"),
        3 | 4 => (Fate::Unheard { there: soon, back: soon }, "done and not heard of"),
        5 => (Fate::Unheard { there: soon, back: long }, "done and not heard of late"),
        6 => (Fate::Late { after: long }, "done after the answer"),
        7 => (Fate::Fine { there: long, back: soon }, "slow to be done"),
        _ => (Fate::Fine { there: soon, back: long }, "slow to be answered"),
    }
}

/// Waits, unless there is nothing to wait for.
pub async fn pause(during: Duration) {
    if !during.is_zero() {
        sleep(during).await;
    }
}
